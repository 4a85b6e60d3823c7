"""Trained networks in the panel of IVIMMapping: listed at once, refused with a reason, never loaded into Slicer."""

import hashlib
import importlib.util
import json
import os
from unittest import mock

import numpy as np
import slicer
from IVIMTestPanel import PanelTest
from PanelSeries import chooseSeries, openWithPhantom, smallPhantom

from ivimcore.jobs.job import Request


def addModel(parent, name, bvalues):
    """Write a model whose weights are a single number: enough for all that happens before a fit."""
    from ivimcore.networks.cards import write_card
    from ivimcore.networks.choices import Plan, training_ranges

    folder = parent / name
    folder.mkdir(parents=True)
    header = json.dumps({"0.a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = len(header).to_bytes(8, "little") + header + np.float32(1).tobytes()
    (folder / "w.safetensors").write_bytes(data)
    recipe = Plan(tuple(bvalues), (20.0, 20.0), training_ranges(), title=name).recipe()
    recipe.pop("training")
    weights = {"file": "w.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    about = {"schema": 1, "licence": "Apache-2.0", **recipe, "id": name, "members": 1, "training": {}}
    return write_card(folder, {**about, "weights": weights})


class NetworkEstimatorsTestCase(PanelTest):
    def setUp(self):
        super().setUp()
        self.models = self.folder / "models"
        patch = mock.patch.dict(os.environ, IVIM_MODELS=str(self.models))
        patch.start()
        self.addCleanup(patch.stop)

    def row(self, name):
        return self.ui.estimatorList.item(self.panel.estimators.names.index(name))

    def tick(self, name):
        import qt

        self.row(name).setCheckState(qt.Qt.Checked)
        self.process()

    def again(self):
        """Leave the module and come back."""
        slicer.util.selectModule("Welcome")
        slicer.util.selectModule("IVIMMapping")
        self.process()

    def test_a_model_is_listed_when_the_module_is_shown_again_and_leaves_the_list_when_it_is_gone(self):
        import shutil

        openWithPhantom(self)
        self.assertNotIn("late", self.panel.estimators.names)
        addModel(self.models, "late", self.panel.state.series.bvalues)
        self.again()
        self.assertIn("late", self.panel.estimators.names)
        self.assertEqual(self.ui.estimatorList.count, len(self.panel.estimators.names))
        self.ui.estimatorList.setCurrentRow(self.panel.estimators.names.index("late"))
        self.process()
        self.assertEqual(self.panel.state.marked, "late")
        self.tick("late")
        shutil.rmtree(self.models / "late")
        self.again()
        self.assertNotIn("late", self.panel.estimators.names)
        self.assertEqual(self.panel.state.marked, "posterior")
        self.assertNotIn("late", list(self.panel.state.parameters.estimators))

    def test_other_b_values_are_the_reason_why_a_network_is_not_possible(self):
        addModel(self.models, "other", (0, 11, 22, 33, 444))
        openWithPhantom(self)
        self.assertIn("not possible here", self.row("other").text())
        self.assertIn("trained for the b-values 0 11 22 33 444", self.row("other").toolTip())
        self.tick("other")
        self.assertIn("trained for the b-values", self.panel.state.obstacle())
        self.assertFalse(self.ui.applyButton.enabled)

    def test_without_torch_a_tick_offers_it(self):
        find = importlib.util.find_spec
        hidden = ("torch", "PyTorchUtils", "safetensors")
        with mock.patch("importlib.util.find_spec", lambda name, *r: None if name in hidden else find(name, *r)), \
                mock.patch("ivimcore.estimators.neural.find_spec", lambda name: None):  # fmt: skip
            openWithPhantom(self)
            addModel(self.models, "mine", self.panel.state.series.bvalues)
            self.again()
            self.assertIn("PyTorch", self.row("mine").toolTip())
            self.tick("mine")
            self.assertIn("Extensions Manager", self.ui.messageLabel.text)
            self.assertFalse(self.ui.applyButton.enabled)

    def test_the_preview_does_not_load_torch_and_says_so(self):
        with mock.patch("ivimcore.estimators.neural.find_spec", lambda name: object()):
            openWithPhantom(self)
            addModel(self.models, "mine", self.panel.state.series.bvalues)
            self.again()
            self.tick("mine")
            self.process(0.3)
            fits = self.panel.curve.preview.fit(np.ones(self.panel.state.series.count))
        found = next(one for one in fits if one.estimator == "mine")
        self.assertIn("no live preview", found.sentence)
        self.assertFalse(found.has_curve)
        self.assertTorchWasNotLoaded()

    def test_the_expected_time_of_a_network_follows_its_architecture(self):
        from ivimcore.jobs.expectedtime import expected_seconds

        addModel(self.models, "mine", (0, 10, 100, 800))
        seconds = expected_seconds([Request("mine")], 100_000, 4, threads=1)
        self.assertTrue(3 < seconds < 6, seconds)
        self.assertGreater(expected_seconds([Request("mine", {"ensemble": True})], 100_000, 4, threads=1), seconds)

    def test_a_damaged_model_is_left_out_and_the_others_stay(self):
        card = addModel(self.models, "good", (0, 10, 100, 800))
        (self.models / "bad").mkdir()
        (self.models / "bad" / "card.json").write_text('{"schema": 99}')
        self.openModule()
        self.assertIn(card.id, self.panel.estimators.names)
        self.assertNotIn("bad", self.panel.estimators.names)

    def test_a_network_does_not_stay_in_the_way_of_another_series(self):
        openWithPhantom(self)
        addModel(self.models, "mine", self.panel.state.series.bvalues)
        self.again()
        from ivimcore.physics.acquisition import Acquisition

        chooseSeries(self, smallPhantom("second", protocol=Acquisition([0.0, 10.0, 60.0, 300.0, 900.0]))[0])
        self.assertIn("not possible here", self.row("mine").text())
        self.assertNotIn("not possible here", self.row("nlls").text())
