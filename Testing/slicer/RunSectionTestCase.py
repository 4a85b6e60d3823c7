"""Apply and Cancel with the real fitting process: progress, second run, cancel, failure, closing the scene."""

import os
import signal
from unittest import mock

import slicer
from IVIMTestSample import SampleTest

from ivimcore import InputError
from IVIMMappingLib.Runs import runsOf


class RunSectionTest(SampleTest):
    def nodes(self):
        return {self.scene.GetNthNode(index).GetID() for index in range(self.scene.GetNumberOfNodes())}

    def test_a_run_shows_its_progress_and_ends_with_maps_and_a_sentence(self):
        self.openSample()
        self.tickOnly("nlls", "segmented")
        self.process(0.3)
        self.assertIn("Expected time", self.ui.expectedTimeLabel.text)
        self.assertIn("nlls, segmented", self.ui.expectedTimeLabel.text)
        seen = []
        self.state.runChanged.connect(lambda: seen.append(self.state.run and self.state.run.state))
        self.start()
        self.assertEqual(self.ui.applyButton.text, "Cancel")
        self.assertFalse(self.ui.progressBar.isHidden())
        values = []
        while self.state.run is not None:
            values.append(self.ui.progressBar.value)
            self.process(0.02)
        self.assertEqual(values, sorted(values), "progress never goes back")
        self.assertGreater(len(set(values)), 2)
        self.assertEqual(self.ui.applyButton.text, "Apply")
        self.assertTrue(self.ui.progressBar.isHidden())
        self.assertIn("Done in", self.ui.progressLabel.text)
        self.assertGreater(len(self.ui.logText.toPlainText().splitlines()), 2)
        runs = runsOf(self.scene)
        self.assertEqual({run.estimator for run in runs}, {"nlls", "segmented"})
        self.assertEqual(seen[0], "running")
        self.assertIsNone(seen[-1])

    def test_a_second_run_makes_a_second_folder_and_leaves_the_first_alone(self):
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        first = runsOf(self.scene)
        self.ui.runNameEdit.setText("second")
        self.apply()
        runs = runsOf(self.scene)
        self.assertEqual(len(runs), 2)
        self.assertNotEqual(runs[0].folderItem, runs[1].folderItem)
        self.assertEqual(runs[1].runId, first[0].runId)
        self.assertIn("second", runs[0].name)
        self.assertEqual(self.state.parameters.activeRun, runs[0].key)

    def test_a_cancelled_run_leaves_the_scene_as_it_was_and_the_next_one_works(self):
        self.openSample(shape=(64, 64, 8))
        self.tickOnly("posterior")
        before = self.nodes()
        self.start()
        self.waitUntil(lambda: self.state.run.processId is not None, 20)
        self.ui.applyButton.click()
        self.waitUntil(lambda: self.state.run is None, 30)
        self.assertEqual(self.nodes(), before)
        self.assertIn("Cancelled", self.ui.progressLabel.text)
        self.assertEqual(self.ui.applyButton.text, "Apply")
        self.tickOnly("segmented")
        self.apply()
        self.assertEqual(len(runsOf(self.scene)), 1)

    def test_a_process_that_is_killed_from_outside_gives_one_sentence_and_the_next_run_works(self):
        self.openSample(shape=(64, 64, 8))
        self.tickOnly("posterior")
        before = self.nodes()
        self.start()
        self.waitUntil(lambda: self.state.run.processId is not None, 20)
        self.process(0.5)
        os.kill(self.state.run.processId, signal.SIGKILL)
        self.waitUntil(lambda: self.state.run is None, 30)
        self.assertEqual(self.nodes(), before)
        self.assertIn("ended unexpectedly", self.ui.messageLabel.text)
        self.assertFalse(self.ui.messageFrame.isHidden())
        self.tickOnly("segmented")
        self.apply()
        self.assertTrue(self.ui.messageFrame.isHidden(), "the next run clears the message")

    def test_a_full_disk_gives_one_sentence(self):
        self.openSample()
        self.tickOnly("segmented")
        before = self.nodes()
        fault = OSError(28, "No space left on device")
        with mock.patch("IVIMMappingLib.RunHandle.writePlan", side_effect=fault):
            self.ui.applyButton.click()
            self.waitUntil(lambda: self.state.run is None, 30)
        self.assertIn("space", self.ui.messageLabel.text)
        self.assertEqual(self.nodes(), before)

    def test_the_run_goes_on_while_another_module_is_shown(self):
        self.openSample()
        self.tickOnly("segmented")
        self.start()
        slicer.util.selectModule("Data")
        self.waitUntil(lambda: self.state.run is None, 60)
        self.assertEqual(len(runsOf(self.scene)), 1)
        slicer.util.selectModule("IVIMMapping")
        self.assertEqual(self.ui.runComboBox.count, 1)

    def test_closing_the_scene_during_a_run_ends_it_cleanly(self):
        self.openSample(shape=(64, 64, 8))
        self.start()
        handle = self.state.run
        self.waitUntil(lambda: handle.processId is not None, 20)
        self.scene.Clear(0)
        self.process(0.3)
        self.assertEqual(handle.state, "cancelled")
        self.assertIsNone(self.state.run)
        self.assertEqual(self.ui.applyButton.text, "Apply")
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertTrue(self.ui.progressBar.isHidden())
        self.assertEqual(runsOf(self.scene), [])

    def test_the_series_may_be_removed_during_a_run(self):
        self.openSample()
        self.tickOnly("segmented")
        self.start()
        self.waitUntil(lambda: self.state.run is None or self.state.run.processId is not None, 20)
        self.scene.RemoveNode(self.sequence)
        self.waitUntil(lambda: self.state.run is None, 60)
        self.process(0.3)
        self.assertEqual(len(runsOf(self.scene)), 1)
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("Choose a diffusion-weighted series", self.ui.applyButton.toolTip)

    def test_apply_says_why_it_is_disabled(self):
        self.openModule()
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("step 1", self.ui.applyButton.toolTip)
        self.openSample()
        self.process(0.3)
        self.assertTrue(self.ui.applyButton.enabled)
        self.tickOnly()
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("Tick at least one estimator", self.ui.applyButton.toolTip)
        self.assertIn("Tick at least one estimator", self.ui.expectedTimeLabel.text)
        self.tick("nlls")
        self.state.parameters.regionKind = "segments"
        self.state.regionChanged()
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("step 2", self.ui.applyButton.toolTip)
        self.state.parameters.regionKind = "body"
        self.state.parameters.bvalues = [0, 10, 20, 40, 80, 200, 400, float("nan")]
        self.state.signalChanged()
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("no b-value", self.ui.applyButton.toolTip)

    def test_a_region_that_cannot_be_worked_out_disables_apply(self):
        self.openSample()
        with mock.patch("IVIMMappingLib.PanelState.chooseRegion", side_effect=InputError("The region is empty; draw.")):
            self.state.regionChanged()
            self.state._region = None
            self.process(0.4)
            self.assertFalse(self.ui.applyButton.enabled)
            self.assertIn("The region is empty", self.ui.applyButton.toolTip)

    def test_a_long_run_asks_once_and_can_be_declined(self):
        self.openSample()
        self.tickOnly("segmented")
        self.process(0.3)
        asked = []

        def confirm(text, *_):
            asked.append(text)
            return False

        with mock.patch("IVIMMappingLib.RunSection.LONG", 0.0), \
                mock.patch.object(type(slicer.app), "testingEnabled", lambda self: False), \
                mock.patch("slicer.util.confirmOkCancelDisplay", confirm):
            self.ui.applyButton.click()
        self.assertEqual(len(asked), 1)
        self.assertIn("GB", asked[0])
        self.assertIsNone(self.state.run)

    def test_the_panel_learns_how_fast_this_computer_is(self):
        from IVIMMappingLib.RunSection import RATES, rememberedRates

        settings = slicer.app.userSettings()
        before = settings.value(RATES)
        self.addCleanup(lambda: settings.setValue(RATES, before) if before else settings.remove(RATES))
        settings.remove(RATES)
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        self.assertGreater(rememberedRates()["segmented"], 0)
        settings.setValue(RATES, "nonsense")
        self.assertEqual(rememberedRates(), {})

    def test_the_window_goes_on_answering_during_a_run(self):
        self.openSample(shape=(64, 64, 8))
        self.tickOnly("segmented")
        self.process(0.3)
        turns = 0
        self.ui.applyButton.click()
        while self.state.run is not None:  # the benchmark of the panel prints how long a turn takes
            slicer.app.processEvents()
            turns += 1
        self.assertGreater(turns, 2)
