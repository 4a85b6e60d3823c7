"""What goes wrong with a run is told in one sentence; the scene stays as it was, and the next run works."""

import errno
import os
import signal
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from IVIMTestRuns import ProcessTest

from ivimcore.errors import InputError
from ivimcore.jobs.job import Request
from IVIMMappingLib import RunLoading, RunTransfer
from IVIMMappingLib.RegionChoice import chooseRegion
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.SeriesReader import readSeries


class RunFaultsTestCase(ProcessTest):
    def failsWith(self, handle, sentence, before):
        handle.wait()
        self.assertEqual(handle.state, "failed", handle.sentence)
        self.assertRegex(handle.sentence, sentence)
        self.assertEqual(self.nodeIds(), before)
        self.assertEqual(runsOf(self.scene), [])
        self.logic.process(self.sequence, "adc", self.segmentation)  # the next run works
        self.assertEqual(len(runsOf(self.scene)), 1)

    @unittest.skipIf(os.name == "nt", "signals of Unix")
    def test_process_killed_from_outside_gives_a_sentence(self):
        handle = self.begin()
        before = self.nodeIds()
        self.stepUntil(handle, lambda: handle.statusText.startswith("Fitting"))
        os.kill(handle.processId, signal.SIGKILL)
        self.failsWith(handle, r"ended unexpectedly \(signal 9, SIGKILL\).*press Apply again", before)

    def test_full_disk_while_the_series_is_written_gives_a_sentence(self):
        before = self.nodeIds()
        full = OSError(errno.ENOSPC, "no space")
        with mock.patch.object(RunTransfer, "writeImage", side_effect=full):
            handle = self.logic.process(self.sequence, "adc", wait=False)
            handle.wait()
        self.failsWith(handle, "no space left in the temporary folder .*press Apply again", before)

    def test_full_disk_while_the_maps_are_written_gives_the_same_sentence(self):
        before = self.nodeIds()
        handle = self.logic.process(self.sequence, "adc", wait=False)
        event = {"event": "error", "sentence": "There is no space left for /x.", "advice": "Make room."}
        self.stepUntil(handle, lambda: handle.isWaiting)
        with mock.patch.object(handle._process, "poll", side_effect=self._says(handle._process, event)):
            handle.wait()
        self.failsWith(handle, "no space left in the temporary folder", before)

    @staticmethod
    def _says(process, event):
        def poll():
            process.kill()
            return [event]

        return poll

    def test_folder_that_cannot_be_written_gives_a_sentence(self):
        before = self.nodeIds()
        self.temporary.rmdir()
        handle = self.logic.process(self.sequence, "adc", wait=False)
        handle.wait()
        self.temporary.mkdir()
        self.failsWith(handle, "cannot use the temporary folder", before)

    def test_temporary_folder_is_private(self):
        handle = self.begin()
        self.stepUntil(handle, lambda: handle.isWaiting)
        folder = next(Path(self.temporary).iterdir())
        if os.name != "nt":
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
        handle.cancel()
        self.assertFalse(folder.exists())

    def test_fault_while_loading_takes_everything_out_again(self):
        before = self.nodeIds()
        with mock.patch.object(RunLoading, "writeSettings", side_effect=RuntimeError("broken")):
            handle = self.logic.process(self.sequence, "nlls", self.segmentation, wait=False)
            handle.wait()
        self.assertTrue(handle.isOurFault)
        self.assertTrue([line for line in handle.log if "Traceback" in line])
        self.failsWith(handle, "A fault in IVIMSlicer .*please report", before)

    def test_what_cannot_be_fitted_is_refused_before_anything_begins(self):
        before = self.nodeIds()
        b = list(self.phantom.acquisition.bvalues)
        refusals = (
            ({"estimator": "nothing"}, "Unknown estimator 'nothing'"),
            ({"estimator": ("nlls", "nlls")}, "chosen twice"),
            ({"estimator": ()}, "No estimator"),
            ({"estimator": "nlls", "options": {"nothing": 1}}, "no option 'nothing'"),
            ({"estimator": ("nlls", "adc"), "options": {"mle_rician": {}}}, "not among the estimators"),
            ({"bvalues": b[:-1]}, "11 b-values for 12 images"),
            ({"bvalues": [np.nan, *b[1:]]}, "no b-value"),
            ({"bvalues": [-5.0, *b[1:]]}, "negative"),
            ({"exclude": range(1, 13)}, "No image is used"),
            ({"exclude": (13,)}, "Image 13 cannot be left out"),
            ({"exclude": range(3, 12), "estimator": "nlls"}, "at least 4 different b-values"),
            ({"average": "median"}, "Unknown averaging"),
            ({"mask": "head"}, "Unknown mask"),
            ({"segmentationNode": self.proxy}, "is no region"),
            ({"segmentationNode": self.segmentation, "segments": ["heart"]}, "no segment 'heart'; it has liver"),
            ({"segments": ["liver"]}, "only be chosen of a segmentation"),
        )
        for choices, sentence in refusals:
            with self.subTest(sentence), self.assertRaisesRegex(InputError, sentence):
                self.logic.process(self.sequence, **choices)
        with self.assertRaisesRegex(InputError, "No series"):
            self.logic.process(None)
        self.assertEqual(self.nodeIds(), before)

    def test_region_of_another_series_is_refused(self):
        series = readSeries(self.sequence)
        region = chooseRegion(readSeries(self.addLarge()), "whole")
        used = np.ones(series.count, dtype=bool)
        with self.assertRaisesRegex(InputError, "made for another series"):
            self.logic.start(series, series.bvalues, used, "none", region, (Request("adc"),))
