"""Steps 1 to 3 of the training panel: protocol, noise, tissue, network; what a person types and what is refused."""

import json
from unittest import mock

import numpy as np
import slicer
from IVIMTestTraining import BVALUES, TrainingTest, needsTorch, withoutTorch


class TrainingChoicesTestCase(TrainingTest):
    def test_a_typed_protocol_is_read_and_described(self):
        state = self.openTraining()
        self.assertEqual(state.bvalues(), tuple(float(b) for b in BVALUES.split()))
        self.assertIn("8 different b-values from 0 to 800", self.ui.protocolLabel.text)
        self.assertEqual(state.fault(), "")

    def test_a_protocol_of_three_b_values_is_refused_with_the_reason(self):
        self.openTraining()
        self.ui.bvaluesEdit.setText("0 50 800")
        self.process()
        self.assertIn("at least 4", self.panel.state.fault())
        self.assertFalse(self.ui.startButton.enabled)
        self.ui.bvaluesEdit.setText("0 fifty")
        self.process()
        self.assertIn("fifty", self.panel.state.fault())
        self.ui.bvaluesEdit.setText("")
        self.process()
        self.assertIn("type them", self.panel.state.fault())

    def test_the_protocol_of_a_series_is_taken_when_it_is_chosen(self):
        state, sequence = self.openWithSeries()
        self.assertEqual(list(state.bvalues()), sorted(set(state.series.bvalues)))
        self.ui.bvaluesEdit.setText("0 1 2 3")
        self.ui.seriesBvaluesButton.click()
        self.assertEqual(len(state.bvalues()), len(set(state.series.bvalues)))

    def test_the_noise_of_a_series_is_estimated(self):
        state, _sequence = self.openWithSeries(snr=40.0)
        self.ui.estimateSnrButton.click()
        self.process()
        low, high = self.ui.snrLowSpinBox.value, self.ui.snrHighSpinBox.value
        self.assertEqual((low, high), (state.parameters.snrLow, state.parameters.snrHigh))
        self.assertTrue(5 < low < 40 < high < 150, (low, high))
        self.assertIn("5 to 95 % of the body", self.ui.noiseLabel.text)

    def test_a_noise_that_cannot_be_is_refused(self):
        self.openTraining()
        self.ui.snrLowSpinBox.setValue(0)
        self.process()
        self.assertIn("must be positive", self.panel.state.fault())
        self.ui.snrLowSpinBox.setValue(50)
        self.ui.snrHighSpinBox.setValue(20)
        self.process()
        self.assertIn("lower one first", self.panel.state.fault())

    def test_an_organ_fills_the_ranges_and_typing_changes_them(self):
        state = self.openTraining()
        self.choose(self.ui.organComboBox, "brain")
        self.assertLess(self.ui.rangefHighSpinBox.value, 50)
        self.assertAlmostEqual(state.ranges()["D"][1], 0.83e-3 * 2.5, places=5)
        self.ui.rangeDHighSpinBox.setValue(0.1)
        self.process()
        self.assertIn("D", state.fault())
        self.assertIn("larger", state.fault())

    def test_every_choice_has_a_hint_in_plain_words(self):
        self.openTraining()
        for key in ("mlp", "ivimnet", "cnn_bilstm", "anyprotocol"):
            self.choose(self.ui.architectureComboBox, key)
            self.assertGreater(len(self.ui.architectureHintLabel.text), 40)
            self.assertGreater(len(self.ui.strategyHintLabel.text), 40)
            self.assertEqual(self.panel.state.fault(), "", key)
        self.assertEqual(self.ui.strategyComboBox.count, 1)
        for key in ("uniform", "patients", "mixture", "series"):
            self.choose(self.ui.distributionComboBox, key)
            self.assertGreater(len(self.ui.distributionHintLabel.text), 40)

    def test_choices_that_contradict_each_other_are_refused(self):
        self.openTraining()
        self.choose(self.ui.distributionComboBox, "series")
        self.assertIn("no known truth", self.panel.state.fault())
        self.choose(self.ui.strategyComboBox, "signals")
        self.assertIn("choose one in step 1", self.panel.state.fault())
        self.choose(self.ui.distributionComboBox, "patients")
        self.assertIn("unsupervised", self.panel.state.fault())
        self.choose(self.ui.distributionComboBox, "uniform")
        self.choose(self.ui.strategyComboBox, "hybrid")
        self.assertIn("one SNR", self.panel.state.fault())

    def test_a_map_is_no_series_to_train_for(self):
        self.openTraining()
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "D map")
        slicer.util.updateVolumeFromArray(node, np.ones((2, 8, 8), np.float32))
        node.SetAttribute("IVIM.Parameter", "D")
        self.ui.seriesSelector.setCurrentNode(node)
        self.process()
        self.assertIn("is a map", self.ui.messageLabel.text)
        node.SetAttribute("IVIM.Parameter", None)

    def _spoil(self, value):
        state, sequence = self.openWithSeries()
        for number in range(sequence.GetNumberOfDataNodes()):
            array = slicer.util.arrayFromVolume(sequence.GetNthDataNode(number))
            array[:] = value
            slicer.util.arrayFromVolumeModified(sequence.GetNthDataNode(number))
        self.ui.seriesSelector.setCurrentNode(None)
        self.ui.seriesSelector.setCurrentNode(sequence)
        self.process()
        self.assertIsNotNone(state.series)
        self.ui.messageLabel.setText("")
        self.ui.estimateSnrButton.click()
        self.process()
        return self.ui.messageLabel.text

    def test_the_noise_of_a_constant_series_is_not_told(self):
        self.assertRegex(self._spoil(100.0), "cannot be told|no signal|no voxel|empty|body")

    def test_a_series_without_numbers_is_refused(self):
        self.assertRegex(self._spoil(np.nan), "no signal|no voxel|empty|body|not finite|no value")

    def test_a_series_of_zeros_is_refused(self):
        self.assertRegex(self._spoil(0.0), "no signal|no voxel|empty|body")

    def test_the_choices_are_saved_in_the_scene(self):
        self.openTraining()
        self.choose(self.ui.organComboBox, "kidney")
        self.choose(self.ui.architectureComboBox, "ivimnet")
        self.ui.snrLowSpinBox.setValue(11)
        path = str(self.folder / "scene.mrb")
        self.assertTrue(self.scene.WriteToMRB(path))
        slicer.mrmlScene.Clear(0)
        self.process()
        self.assertEqual(self.ui.bvaluesEdit.text, "")
        self.assertTrue(self.scene.ReadFromMRB(path, True))
        self.process()
        self.assertEqual(self.ui.bvaluesEdit.text, BVALUES)
        self.assertEqual(self.ui.snrLowSpinBox.value, 11)
        self.assertEqual(self.ui.organComboBox.itemData(self.ui.organComboBox.currentIndex), "kidney")
        self.assertEqual(self.panel.state.parameters.architecture, "ivimnet")

    def test_the_panel_shows_what_it_trains_after_another_module_has_put_the_choices_back(self):
        """As IVIM Mapping does around a scene file with an earlier result, whose choices are read meanwhile."""
        state = self.openTraining()
        before = slicer.vtkMRMLScriptedModuleNode()
        node = self.logic.getParameterNode().parameterNode
        before.Copy(node)
        self.ui.titleEdit.setText("of the file")
        self.ui.bvaluesEdit.setText("0 1 2 3")
        self.ui.snrLowSpinBox.setValue(3)
        self.ui.minutesSpinBox.setValue(7)
        self.ui.rangeDLowSpinBox.setValue(0.7)
        slicer.util.selectModule("IVIMMapping")
        node.Copy(before)
        slicer.util.selectModule("IVIMTraining")
        self.process()
        p, ui = state.parameters, self.ui
        self.assertEqual((ui.titleEdit.text, ui.bvaluesEdit.text), ("Test network", BVALUES))
        self.assertEqual((p.title, p.bvalues), ("Test network", BVALUES))
        self.assertEqual((ui.snrLowSpinBox.value, ui.minutesSpinBox.value, ui.rangeDLowSpinBox.value),
                         (p.snrLow, p.minutes, p.rangeDLow))
        self.assertNotEqual(p.snrLow, 3)

    def test_a_recipe_file_repeats_the_training_elsewhere(self):
        from ivimcore.networks.recipes import Recipe

        self.openTraining()
        path = self.folder / "mine.json"
        import qt

        with mock.patch.object(qt.QFileDialog, "getSaveFileName", lambda *a: str(path)):
            self.ui.recipeButton.click()
        self.assertEqual(Recipe.read(path).id, "test_network")
        self.assertIn("ivim train", self.ui.messageLabel.text)
        self.assertEqual(json.loads(path.read_text("utf-8"))["acquisition"]["bvalues"][-1], 800)

    def test_without_torch_the_panel_opens_and_says_how_to_get_it(self):
        with withoutTorch():
            self.openTraining()
            self.assertTrue(self.ui.torchFrame.visible)
            self.assertIn("PyTorch", self.ui.torchLabel.text)
            self.assertFalse(self.ui.startButton.enabled)
            self.assertIn("Get PyTorch", self.ui.obstacleLabel.text)
            self.ui.torchButton.click()
            self.process()
            self.assertIn("Extensions Manager", self.ui.messageLabel.text)
            self.assertTrue(self.ui.recipeButton.enabled)

    def test_safetensors_is_asked_for_where_only_it_is_missing(self):
        with withoutTorch("safetensors"), mock.patch.object(
            slicer.util, "confirmOkCancelDisplay", lambda *a, **k: False
        ), mock.patch("IVIMMappingLib.TorchOffer.isTorchInstalled", lambda: True):
            self.openTraining()
            self.ui.torchButton.click()
            self.process()
            self.assertIn("safetensors", self.ui.messageLabel.text)

    @needsTorch
    def test_where_torch_is_there_nothing_is_offered_and_nothing_is_loaded(self):
        self.openTraining()
        self.assertFalse(self.ui.torchFrame.visible)
        self.assertTrue(self.ui.startButton.enabled)
        self.assertTorchWasNotLoaded()
