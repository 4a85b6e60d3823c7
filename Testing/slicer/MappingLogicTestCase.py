"""From a series in the scene to maps in the scene, through the real process, watched and cancelled."""

import gc
import sys
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from IVIMTestRuns import ProcessTest

from ivimcore.errors import Cancelled
from ivimcore.estimators import create
from IVIMMappingLib import RunHandle as RunHandleModule
from IVIMMappingLib import RunLoading
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.SelfTest import runSelfTest


def mapArray(node):
    return slicer.util.arrayFromVolume(node).transpose(2, 1, 0)


class MappingLogicTestCase(ProcessTest):
    # --- what comes out ------------------------------------------------------------------------------------------

    def test_maps_are_those_of_the_core(self):
        maps = self.logic.process(self.sequence, estimator="nlls", mask="none")
        expected = create("nlls").fit(self.phantom.signal, self.phantom.acquisition)
        self.assertEqual(set(maps), {*expected.all_maps(), "status"})
        for key, values in expected.all_maps().items():
            np.testing.assert_allclose(mapArray(maps[key]), values, rtol=1e-5, atol=1e-9)
        np.testing.assert_array_equal(mapArray(maps["status"]), expected.status)

    def test_proxy_volume_leads_to_its_sequence(self):
        maps = self.logic.process(self.proxy, "adc")
        self.assertIn("ADC", maps)

    def test_several_estimators_give_a_folder_each(self):
        maps = self.logic.process(self.sequence, ("nlls", "adc"), self.segmentation)
        self.assertEqual(list(maps), ["nlls", "adc"])
        runs = runsOf(self.scene)
        self.assertEqual({run.estimator for run in runs}, {"nlls", "adc"})
        self.assertEqual(len({run.folderItem for run in runs}), 2)
        self.assertEqual(len({run.runId for run in runs}), 1)

    def test_choices_reach_the_fit_and_stay_with_the_run(self):
        b = self.phantom.acquisition.bvalues.copy()
        b[1] = 12.0
        self.logic.process(
            self.sequence, "segmented", self.segmentation, list(b), options={"threshold": 150.0}, exclude=(3,),
            name="my run",
        )
        run = runsOf(self.scene)[0]
        self.assertEqual(run.name, "my run")
        self.assertEqual(run.provenance["options"]["threshold"], 150.0)
        self.assertEqual(run.provenance["bvalues_used"], [x for number, x in enumerate(b) if number != 2])
        self.assertEqual(run.settings["bvalues"], list(b))
        self.assertEqual(run.settings["used"].index(False), 2)
        self.assertEqual(run.settings["regionKind"], "segments")
        self.assertEqual(run.settings["estimators"], [{"name": "segmented", "options": {"threshold": 150.0}}])
        self.assertEqual(run.provenance["images_used"], [n for n in range(1, b.size + 1) if n != 3])

    def test_images_of_equal_b_are_averaged_where_that_was_chosen(self):
        b = list(self.phantom.acquisition.bvalues)
        b[1] = b[2]
        self.logic.process(self.sequence, "adc", self.segmentation, b, average="arithmetic")
        run = runsOf(self.scene)[0]
        self.assertEqual(len(run.provenance["bvalues_used"]), len(set(b)))
        self.assertTrue(run.regionNumbers is not None)

    def test_image_without_any_value_is_left_out_of_the_fit_and_of_the_regions(self):
        slicer.util.arrayFromVolume(self.sequence.GetNthDataNode(4))[:] = 0
        self.logic.process(self.sequence, "adc", self.segmentation)
        run = runsOf(self.scene)[0]
        self.assertEqual(len(run.provenance["bvalues_used"]), self.phantom.acquisition.count - 1)
        self.assertTrue(run.regionNumbers is not None)

    def test_maps_lie_where_the_series_lies(self):
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        self.proxy.SetAndObserveTransformNodeID(transform.GetID())
        maps = self.logic.process(self.sequence, "adc")
        self.assertEqual(maps["ADC"].GetParentTransformNode(), transform)

    def test_self_test_of_the_module_passes(self):
        said = []
        runSelfTest(self.logic, said.append)
        self.assertIn("agree", said[-1])

    # --- while it runs -------------------------------------------------------------------------------------------

    @mock.patch.object(RunLoading, "_BREATH", 0.0)  # as on a slow computer: every thread takes several pieces
    def test_handle_tells_how_far_it_is(self):
        handle = self.logic.process(self.sequence, "nlls", self.segmentation, wait=False)
        self.assertEqual(handle.state, "running")
        fractions, states = [0.0], []
        goesOn = True
        while goesOn:
            goesOn = handle.step()
            fractions.append(handle.fraction)
            states.append(handle.state)
        self.assertEqual(fractions, sorted(fractions))
        self.assertEqual(fractions[-1], 1.0)
        self.assertEqual(list(dict.fromkeys(states)), ["running", "loading", "done"])
        self.assertEqual(handle.sentence, "")
        self.assertEqual([run.estimator for run in handle.runs], ["nlls"])
        self.assertFalse(handle.step())

    def test_cancelled_run_leaves_the_scene_as_it_was(self):
        handle = self.begin()
        before = self.nodeIds()
        self.stepUntil(handle, lambda: handle.statusText.startswith("Fitting"))
        handle.cancel()
        self.assertEqual(handle.state, "cancelled")
        self.assertEqual(self.nodeIds(), before)
        self.fit("adc")

    def test_cancelling_while_maps_are_loaded_takes_them_out_again(self):
        before = self.nodeIds()
        handle = self.logic.process(self.sequence, "nlls", self.segmentation, wait=False)
        with mock.patch.object(RunHandleModule, "_PIECE", 0.0):
            self.stepUntil(handle, lambda: len(self.nodeIds()) > len(before) + 6)
        handle.cancel()
        self.assertEqual(self.nodeIds(), before)
        self.assertEqual(runsOf(self.scene), [])

    def test_blocking_call_that_is_cancelled_raises(self):
        handles = []
        start = self.logic.start

        def remember(*arguments, **named):
            handles.append(start(*arguments, **named))
            return handles[-1]

        def cancel():
            if handles[0].isWaiting:
                handles[0].cancel()

        with mock.patch.object(self.logic, "start", remember), mock.patch(
            "IVIMMappingLib.MappingLogic._processEvents", cancel
        ), self.assertRaises(Cancelled):
            self.logic.process(self.sequence, "posterior")

    def test_series_that_is_deleted_during_the_run_gets_its_maps_all_the_same(self):
        sequence = self.addLarge()
        handle = self.logic.process(sequence, "nlls", wait=False)
        self.stepUntil(handle, lambda: handle.isWaiting)
        self.scene.RemoveNode(sequence)
        del sequence
        handle.wait()
        self.assertEqual(handle.state, "done", handle.sentence)
        self.assertTrue([note for note in handle.notes if "removed from the scene" in note])
        self.assertIsNone(handle.runs[0].seriesNode)

    def test_scene_that_closes_ends_the_run(self):
        handle = self.begin()
        self.stepUntil(handle, lambda: handle.isWaiting)
        self.scene.Clear(0)
        self.assertEqual(handle.state, "cancelled")
        self.assertFalse(handle.step())
        self.assertEqual(runsOf(self.scene), [])

    def test_scene_that_closes_while_maps_are_loaded_is_left_empty(self):
        handle = self.logic.process(self.sequence, "nlls", self.segmentation, wait=False)
        count = self.scene.GetNumberOfNodes()
        with mock.patch.object(RunHandleModule, "_PIECE", 0.0):
            self.stepUntil(handle, lambda: self.scene.GetNumberOfNodes() > count + 6)
        self.scene.Clear(0)
        self.assertEqual(handle.state, "cancelled")
        self.assertEqual(runsOf(self.scene), [])
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 0)

    @unittest.skipUnless(sys.platform.startswith("linux"), "looks into /proc")
    def test_run_that_nobody_holds_any_more_ends_and_leaves_nothing(self):
        handle = self.begin()
        while not handle.isWaiting:
            self.assertTrue(handle.step())
        process = Path("/proc") / str(handle.processId)
        self.assertTrue(process.exists())
        del handle
        gc.collect()
        self.assertFalse(process.exists())
        self.assertEqual(list(self.temporary.iterdir()), [])
        self.fit("adc")
