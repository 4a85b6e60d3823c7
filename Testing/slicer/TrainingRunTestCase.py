"""Step 4 to 6 of the training panel: a real training of seconds, its loss, cancel, kill and resume, checks, saving."""

import json
import os
import signal
from dataclasses import replace
from unittest import mock

import slicer
from IVIMTestTraining import MINUTES, TrainingTest, needsTorch, withoutTorch
from PanelSeries import smallPhantom

LONG = 20.0


@needsTorch
class TrainingRunTestCase(TrainingTest):
    def test_train_check_save_and_fit(self):
        self.openTraining()
        self.ui.minutesSpinBox.setValue(6 * MINUTES)  # time to look at it while it learns, on a busy machine, too
        run = self.startTraining()
        self.assertEqual(self.ui.startButton.text, "Cancel")
        self.waitUntil(lambda: run.isOver or run.history, 120)
        self.process(0.3)
        self.assertTrue(self.ui.lossFrame.visible)
        self.assertIn("1: held out", self.panel.training.lossPlot.chart.names())
        self.assertIn("step", self.ui.progressLabel.text)
        self.finish(run)
        self.assertEqual(run.state, "done", "\n".join(run.log))
        self._lookAtChecks()
        card = self.save("Mine")
        self.assertEqual((card.id, card.folder.parent), ("mine", self.models))
        self.assertIn("IVIM Mapping lists it", self.ui.messageLabel.text)
        self.assertEqual(sorted(path.name for path in card.folder.iterdir()),
                         ["card.json", "checks.json", "recipe.json", "weights.safetensors"])  # fmt: skip
        self.assertEqual(list((self.models / ".trainings").iterdir()), [])
        self.assertFalse(self.ui.saveButton.enabled)
        self._fit(card)
        self.assertTorchWasNotLoaded()

    def _lookAtChecks(self):
        self.assertTrue(self.ui.checksFrame.visible)
        self.assertIn("simulated voxels", self.ui.verdictLabel.text)
        self.assertEqual(self.ui.checksTable.rowCount, 9)
        self.assertIn("[10⁻³ mm²/s]", self.ui.checksTable.item(0, 1).text())
        chart = self.panel.checks.chart
        for kind, name in (("scatter", "voxels"), ("bias", "bias + SD"), ("calibration", "ideal"),
                           ("correlation", "voxels")):  # fmt: skip
            for key in ("D", "f", "Dstar"):
                self.choose(self.ui.checkComboBox, kind)
                self.choose(self.ui.checkParameterComboBox, key)
                self.assertIn(name, chart.names())
                self.assertGreater(chart.points(name), 1)
        self.choose(self.ui.checkComboBox, "scatter")
        self.choose(self.ui.checkParameterComboBox, "D")
        self.assertEqual(chart.chartNode.GetXAxisTitle(), "True D [10^-3 mm²/s]")
        self.ui.copyChecksButton.click()
        self.assertIn("Exact posterior [%]", slicer.app.clipboard().text())

    def _fit(self, card):
        """Use the model in the other module, which was opened before it existed."""
        self.ui.mappingButton.click()
        self.openModule()
        self.assertIn(card.id, self.panel.estimators.names)
        sequence = smallPhantom(shape=(32, 32, 1), protocol=_acquisition())[0]
        self.ui.seriesSelector.setCurrentNode(sequence)
        self.process()
        item = self.ui.estimatorList.item(self.panel.estimators.names.index(card.id))
        self.assertNotIn("not possible", item.text())
        import qt

        for row in range(self.ui.estimatorList.count):
            self.ui.estimatorList.item(row).setCheckState(qt.Qt.Unchecked)
        item.setCheckState(qt.Qt.Checked)
        self.process(0.3)
        self.assertRegex(self.ui.expectedTimeLabel.text, "Expected time")
        self.ui.applyButton.click()
        self.waitUntil(lambda: self.panel.state.run is None, 120)
        runs = self.logic.runs()
        self.assertEqual([one.estimator for one in runs], [card.id], self.ui.messageLabel.text)
        self.assertIn("novelty", runs[0].maps)
        self.process(0.3)
        self.assertIn("novelty", " ".join(self.ui.mapComboBox.itemText(i) for i in range(self.ui.mapComboBox.count)))

    def test_a_network_for_any_protocol_gives_information_maps_in_the_other_module(self):
        self.openTraining()
        self.choose(self.ui.architectureComboBox, "anyprotocol")
        self.train(400)
        card = self.save("Any")
        self._fit(card)
        self.assertTrue({"D_info", "f_info", "Dstar_info", "novelty"} <= set(self.logic.runs()[0].maps))

    def test_cancel_keeps_the_best_so_far_and_resume_goes_on(self):
        self.openTraining()
        self.ui.minutesSpinBox.setValue(LONG)
        run = self.startTraining()
        self.waitUntil(lambda: len(run.history) > 1, 120)
        self.ui.startButton.click()
        self.assertFalse(self.ui.startButton.enabled)
        self.finish(run)
        self.assertEqual(run.state, "stopped", "\n".join(run.log))
        self.assertIsNotNone(run.card)
        self.assertIn("best so far is kept", self.ui.messageLabel.text)
        self.assertEqual(self.ui.checksTable.rowCount, 9)
        self.assertTrue(self.ui.resumeButton.enabled)
        reached = run.card.training["steps"][0]
        self.ui.resumeButton.click()
        again = self.panel.state.run
        self.waitUntil(lambda: again.isOver or len(again.history) > 0, 120)
        self.assertGreater(again.history[0].step, reached, "\n".join(again.log))
        self.ui.startButton.click()
        self.finish(again)
        self.assertGreater(again.card.training["steps"][0], reached)
        self.save("Second")

    def test_a_killed_training_is_found_again_and_resumed(self):
        self.openTraining()
        self.ui.minutesSpinBox.setValue(LONG)
        run = self.startTraining()
        self.waitUntil(lambda: run.stored.canResume, 120)
        os.kill(run.processId, signal.SIGKILL)
        self.finish(run)
        self.assertEqual(run.state, "failed")
        self.assertIn("SIGKILL", self.ui.messageLabel.text)
        self.assertIn("press Resume", self.ui.messageLabel.text)
        self.assertIn("interrupted", self.ui.unfinishedComboBox.currentText)
        self.assertFalse(self.ui.saveButton.enabled)
        if self.desktop is not None:  # as after the end of Slicer
            self.desktop.reset()
            self.openModule("IVIMTraining")
        self.assertTrue(self.ui.resumeButton.enabled)
        self.ui.resumeButton.click()
        again = self.panel.state.run
        self.waitUntil(lambda: again.isOver or len(again.history) > 0, 120)
        self.assertIn("resumed at step", " ".join(again.notes))
        self.ui.startButton.click()
        self.finish(again)
        self.assertIsNotNone(again.card)
        self.ui.discardButton.click()
        self.assertEqual(list((self.models / ".trainings").iterdir()), [])

    def test_a_training_goes_on_under_another_module_and_another_scene(self):
        self.openTraining()
        run = self.startTraining()
        self.waitUntil(lambda: run.processId is not None, 60)
        slicer.util.selectModule("IVIMMapping")
        slicer.mrmlScene.Clear(0)
        self.process(0.5)
        self.assertTrue(run.isOver or run.processId)
        self.openModule("IVIMTraining")
        self.finish(run)
        self.assertEqual(run.state, "done", "\n".join(run.log))
        self.assertIsNotNone(self.panel.state.shown)
        self.assertTrue(self.ui.saveButton.enabled)

    def test_the_tissue_of_a_series_is_learned_and_its_voxels_are_forgotten(self):
        state, _sequence = self.openWithSeries()
        self.ui.estimateSnrButton.click()
        self.choose(self.ui.distributionComboBox, "mixture")
        run = self.train()
        self.assertIn("segmented fit", " ".join(run.notes))
        self.assertEqual(sorted(path.name for path in run.stored.folder.glob("*.nrrd")), [])
        card = self.save("Liver")
        self.assertEqual(list(card.folder.glob("*.npy")), [])
        self.assertEqual(card.distribution["kind"], "mixture")

    def test_an_unsupervised_network_learns_from_the_series_itself(self):
        state, _sequence = self.openWithSeries()
        self.choose(self.ui.strategyComboBox, "signals")
        self.choose(self.ui.distributionComboBox, "series")
        run = self.train()
        self.assertEqual(run.card.training["data"], "a loaded series")

    def test_the_console_trains_and_saves(self):
        self.openModule("IVIMTraining")
        card = self.logic.train("From the console", bvalues=[0, 20, 50, 100, 400, 800], snr=30, minutes=0.03, members=1)
        self.assertEqual(card.id, "from_the_console")
        self.assertIn("from_the_console", [one.id for one in self.logic.models()])
        run = self.logic.train("Later", bvalues=[0, 20, 50, 100, 400, 800], snr=30, minutes=5, members=1, wait=False)
        self.waitUntil(lambda: run.step() and len(run.history) > 0, 120)
        run.cancel()
        run.wait()
        self.assertEqual(run.state, "stopped")
        self.assertEqual(self.logic.training.save(run.stored, "Later").id, "later")

    def test_where_the_gpu_has_no_memory_the_processor_is_offered(self):
        """The process says so, as it would on a small GPU; the second one computes where it was told to."""
        from IVIMTrainingLib import TrainingRun as module

        begun = []

        class Full(module.WorkerProcess):
            def __init__(self, job, *rest):
                begun.append(job.device)
                super().__init__(replace(job, recipe="nowhere") if len(begun) == 1 else job, *rest)

            def poll(self):
                lacks = {"event": "error", "sentence": "The GPU has no memory left.", "kind": "gpu_memory"}
                return [lacks if event["event"] == "error" else event for event in super().poll()]

        self.openTraining()
        for answer, expected in ((True, ["auto", "cpu"]), (False, ["auto"])):
            begun.clear()
            ask = mock.Mock(return_value=answer)
            with mock.patch.object(module, "WorkerProcess", Full), mock.patch("slicer.util.confirmYesNoDisplay", ask):
                self.finish(self.startTraining())
                self.waitUntil(lambda: not self.panel.state.isBusy, 180)
                self.process(0.2)
            self.assertEqual(begun, expected)
            self.assertIn("Go on with the processor?", ask.call_args.args[0])
            self.assertEqual(self.panel.state.run.state, "done" if answer else "failed")
            self.assertEqual(len(list((self.models / ".trainings").iterdir())), 1 if answer else 0)
            self.ui.discardButton.click()
        self.assertIn("no memory left", self.ui.messageLabel.text)

    def test_a_full_disk_is_said(self):
        self.openTraining()
        with mock.patch("IVIMTrainingLib.TrainingFolder.Path.write_text", side_effect=OSError(28, "full")):
            self.ui.startButton.click()
        self.assertIn("no space left", self.ui.messageLabel.text)
        self.assertFalse(self.panel.state.isBusy)

    def test_a_name_that_is_taken_is_refused_and_another_one_is_not(self):
        self.openTraining()
        self.train()
        for name, reason in (("posterior", "taken by an estimator"), ("***", "letters or digits")):
            self.ui.saveNameEdit.setText(name)
            self.ui.saveButton.click()
            self.process()
            self.assertIn(reason, self.ui.messageLabel.text)
        first = self.save("Same")
        self.train()
        self.ui.saveNameEdit.setText("Same")
        self.ui.saveButton.click()
        self.process()
        self.assertIn("taken by another model", self.ui.messageLabel.text)
        self.save("Other")
        self._refuseForeign(first)

    def _refuseForeign(self, card):
        """Offer models of a stranger that cannot be trusted."""
        import shutil

        import qt

        def offer(folder):
            with mock.patch.object(qt.QFileDialog, "getExistingDirectory", lambda *a: str(folder)):
                self.ui.addModelButton.click()
            self.process()
            return self.ui.messageLabel.text

        self.assertIn("holds no card.json", offer(self.folder))
        stranger = self.folder / "stranger"
        shutil.copytree(card.folder, stranger)
        content = json.loads((stranger / "card.json").read_text("utf-8"))
        for change, reason in (
            ({"id": "stranger", "weights": {**content["weights"], "file": "../w.safetensors"}}, "own folder"),
            ({"id": "stranger", "weights": {**content["weights"], "file": "weights.pt"}}, "run code"),
            ({"id": "stranger", "weights": {**content["weights"], "sha256": "0" * 64}}, "SHA-256 differs"),
            ({}, "taken by another model"),
        ):
            (stranger / "card.json").write_text(json.dumps({**content, **change}))
            self.assertIn(reason, offer(stranger))
        (stranger / "card.json").write_text(json.dumps({**content, "id": "stranger"}))
        self.assertIn("added", offer(stranger))
        self.ui.removeModelButton.click()
        self.assertNotIn("stranger", [one.id for one in self.logic.models()])

    def test_the_self_test_of_the_module_passes(self):
        self.openModule("IVIMTraining")
        from IVIMTrainingLib.SelfTest import runSelfTest

        said = []
        runSelfTest(self.logic.training, said.append)
        self.assertEqual(said[-1], "The network was trained and checked")
        self.assertEqual(list((self.models / ".trainings").iterdir()), [])


class TrainingWithoutTorchTestCase(TrainingTest):
    def test_a_script_is_refused_with_the_way_out(self):
        from ivimcore import InputError

        self.openModule("IVIMTraining")
        with withoutTorch(), self.assertRaisesRegex(InputError, "Get PyTorch"):
            self.logic.train("x", bvalues=[0, 20, 100, 400, 800], snr=30, minutes=1)
        self.assertEqual(list((self.models / ".trainings").iterdir()), [])

    def test_wrong_choices_of_a_script_are_refused(self):
        from ivimcore import InputError

        self.openModule("IVIMTraining")
        for choices, reason in (
            ({"bvalues": [0, 100, 800], "snr": 20}, "at least 4"), ({"bvalues": [0, 10, 100, 800], "snr": 0}, "SNR"),
            ({"snr": 20}, "neither"), ({"bvalues": [0, 10, 100, 800], "snr": 20, "minutes": 0}, "budget"),
            ({"bvalues": [0, 10, 100, 800], "snr": 20, "ranges": {"D": (2e-3, 1e-3)}}, "larger"),
            ({"bvalues": [0, 10, 100, 800], "snr": 20, "distribution": "patients"}, "series"),
        ):
            with self.subTest(reason), self.assertRaisesRegex(InputError, reason):
                self.logic.train("x", **choices)


def _acquisition():
    from IVIMTestTraining import BVALUES

    from ivimcore.physics.acquisition import Acquisition

    return Acquisition([float(b) for b in BVALUES.split()])
