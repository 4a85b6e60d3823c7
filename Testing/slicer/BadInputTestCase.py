"""Everything that can be wrong with an input, by clicks: one sentence, the scene as it was, and the next run works."""

import errno
import os
import signal
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from IVIMTestSample import BVALUES, SampleTest

from ivimcore.data.series import Geometry
from IVIMMappingLib import RunTransfer
from IVIMMappingLib.DwiSequence import createDwiSequence
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.VolumeNodes import setVolumeArray

FULL = "/dev/full"  # every write to it fails as on a full disk


class BadInputTest(SampleTest):
    def setUp(self):
        super().setUp()
        self.openSample()
        self.tickOnly("adc")
        self.process(0.3)

    def nodes(self):
        """Return what is in the scene, but for the plot of the panel, which is hidden and never saved."""
        every = [self.scene.GetNthNode(index) for index in range(self.scene.GetNumberOfNodes())]
        return {node.GetID() for node in every if node.GetSaveWithScene() or not node.GetHideFromEditors()}

    def select(self, node):
        self.ui.seriesSelector.setCurrentNode(node)
        self.process(0.3)

    def refuses(self, label, sentence, before):
        """One sentence stands in the panel, Apply says why it cannot be pressed, and nothing was added or removed."""
        self.assertRegex(label.text, sentence)
        self.assertTrue(label.isVisibleTo(self.widget.parent), "nobody would see it")
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertTrue(self.ui.applyButton.toolTip)
        self.assertEqual(self.nodes(), before)
        self.assertEqual(runsOf(self.scene), [])

    def nextRunWorks(self):
        self.choose(self.ui.regionKindComboBox, "body")
        self.select(self.sequence)
        self.apply()
        self.assertEqual(len(runsOf(self.scene)), 1, self.ui.messageLabel.text)

    def add(self, className, images, bvalues=None):
        """Add a volume of several images of the phantom, with other b-values or none."""
        node = self.scene.AddNewNodeByClass(className, "other")
        values = self.state.series.signal(np.arange(images))
        if bvalues is not None:
            node.SetNumberOfGradients(images)
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(values.transpose(2, 1, 0, 3)))
        for number, b in enumerate(bvalues if bvalues is not None else ()):
            node.SetBValue(number, b)
            node.SetDiffusionGradient(number, [0.0, 0.0, 0.0])
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(self.state.series.geometry.affine))
        node.CreateDefaultDisplayNodes()
        self.process()
        return node

    # --- the series ----------------------------------------------------------------------------------------------

    def test_a_series_without_b_values(self):
        node = self.add("vtkMRMLVectorVolumeNode", 8)
        before = self.nodes()
        self.select(node)
        self.refuses(self.ui.bvalueSourceLabel, "8 images have no b-value; type, paste or load them", before)
        self.assertTrue(self.ui.seriesNotesLabel.isHidden(), "it is said once")
        slicer.app.clipboard().setText(" ".join(map(str, BVALUES)))
        self.ui.pasteButton.click()
        self.apply()
        self.assertEqual(len(runsOf(self.scene)), 1, "once they are typed, the same series is fitted")

    def test_a_sequence_file_in_which_equal_index_values_lost_images(self):
        path = self.folder / "repeated.seq.nrrd"
        storage = slicer.vtkMRMLVolumeSequenceStorageNode()
        storage.SetFileName(str(path))
        values = self.state.series.signal(np.arange(4))
        written = createDwiSequence(self.scene, values, self.state.series.geometry, BVALUES[:4], "written")
        self.assertTrue(storage.WriteData(written))
        self.scene.RemoveNode(written)
        path.write_bytes(path.read_bytes().replace(b"index values:=0 1 2 3", b"index values:=0 10 10 20"))
        node = slicer.app.applicationLogic().GetModuleLogic("Sequences").AddSequence(str(path))
        self.assertEqual(node.GetNumberOfDataNodes(), 3)
        self.select(node)
        before = self.nodes()
        self.refuses(self.ui.seriesNotesLabel, "holds 4 images but only 3 are here.*Import from file", before)
        self.nextRunWorks()

    def test_a_dwi_node_with_trace_images_has_b_values_that_are_no_numbers(self):
        node = self.add("vtkMRMLDiffusionWeightedVolumeNode", 8, [0.0, *[float("nan")] * 7])
        before = self.nodes()
        self.select(node)
        self.refuses(self.ui.seriesNotesLabel, "Images 2, 3, 4, 5, 6, 7, 8 have no b-value.*trace images", before)
        self.nextRunWorks()

    def test_frames_of_different_size(self):
        node = createDwiSequence(
            self.scene, self.state.series.signal(), self.state.series.geometry, BVALUES, "uneven"
        )
        smaller = Geometry((8, 8, 2), self.state.series.geometry.affine)
        setVolumeArray(node.GetNthDataNode(2), np.zeros((8, 8, 2), np.float32), smaller)
        before = self.nodes()
        self.select(node)
        self.refuses(self.ui.messageLabel, "Frame 3 of 'uneven' has another size or place than frame 1", before)
        self.nextRunWorks()

    def test_a_sequence_that_no_volume_shows_is_shown(self):
        node = createDwiSequence(self.scene, self.state.series.signal(), self.state.series.geometry, BVALUES, "bare")
        self.select(node)
        shown = self.state.series.displayNode()
        self.assertIsNotNone(shown)
        composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        self.assertEqual(composite.GetBackgroundVolumeID(), shown.GetID())
        self.ui.nextBButton.click()
        self.assertEqual(self.state.series.shownImage(), 1)

    # --- the region ----------------------------------------------------------------------------------------------

    def test_a_segmentation_on_another_grid_is_resampled_and_that_is_said(self):
        affine = np.array(self.state.series.geometry.affine)
        affine[:3, :3] *= 2
        coarse = Geometry((16, 16, 2), affine)
        labels = np.zeros((16, 16, 2), np.uint8)
        labels[5:11, 5:11] = 1
        from IVIMMappingLib.RegionSegments import createSegmentation

        node = createSegmentation(self.scene, labels, {1: "coarse"}, coarse, "drawn elsewhere")
        self.choose(self.ui.regionKindComboBox, "segments")
        self.ui.regionNodeSelector.setCurrentNode(node)
        self.process(0.4)
        self.assertIn("resampled from 16 x 16 x 2 voxels", self.ui.regionNotesLabel.text)
        self.apply()
        run = runsOf(self.scene)[0]
        self.assertEqual({self.ui.statisticsTable.item(0, 0).text()}, {"coarse"})
        shape = slicer.util.arrayFromVolume(run.maps["ADC"]).shape
        self.assertEqual(shape, tuple(reversed(self.state.series.geometry.shape)))

    def test_an_empty_segment(self):
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
        node.CreateDefaultDisplayNodes()
        node.GetSegmentation().AddEmptySegment("", "nothing yet")
        self.choose(self.ui.regionKindComboBox, "segments")
        self.process()
        before = self.nodes()
        self.ui.regionNodeSelector.setCurrentNode(node)
        self.process(0.4)
        self.refuses(self.ui.regionNotesLabel, "Segment 'nothing yet' has no voxel in the series", before)
        self.nextRunWorks()

    # --- the run -------------------------------------------------------------------------------------------------

    def fails(self, sentence, before, following=None):
        self.waitUntil(lambda: self.state.run is None, 60)
        self.assertRegex(self.ui.messageLabel.text, sentence)
        self.assertFalse(self.ui.messageFrame.isHidden())
        self.assertEqual(self.nodes(), before)
        if following is not None:
            self.tickOnly(following)
        self.nextRunWorks()
        self.assertTrue(self.ui.messageFrame.isHidden(), "the next run clears the message")

    def test_series_and_region_are_deleted_during_a_run(self):
        self.choose(self.ui.regionKindComboBox, "segments")
        self.process(0.4)
        self.start()
        for node in (self.sequence, self.proxy, self.segmentation):
            self.scene.RemoveNode(node)
            self.process()
        self.waitUntil(lambda: self.state.run is None, 60)
        self.assertEqual(len(runsOf(self.scene)), 1, "what was fitted is not thrown away")
        self.assertIn("was taken out of the scene", self.ui.messageLabel.text)
        self.assertFalse(self.ui.applyButton.enabled)
        self.openSample()
        self.choose(self.ui.regionKindComboBox, "body")
        self.apply()
        self.assertEqual(len(runsOf(self.scene)), 2)

    @unittest.skipIf(os.name == "nt", "signals of Unix")
    def test_the_fitting_process_is_killed_from_outside(self):
        before = self.nodes()
        self.tickOnly("bayes_mrf")
        self.start()
        self.waitUntil(lambda: self.state.run.isWaiting, 30)
        os.kill(self.state.run.processId, signal.SIGKILL)
        self.fails("ended unexpectedly.*press Apply again", before, following="adc")

    @unittest.skipUnless(Path(FULL).exists(), "a device that is always full, as Linux has it")
    def test_the_temporary_folder_is_full(self):
        before = self.nodes()
        made = []

        def makeFullFolder():
            folder = RunTransfer.makeFolder()
            (folder / RunTransfer.SERIES_FILE).symlink_to(FULL)
            made.append(folder)
            return folder

        with mock.patch("IVIMMappingLib.RunHandle.makeFolder", makeFullFolder):
            self.ui.applyButton.click()
            self.waitUntil(lambda: self.state.run is None, 60)
        self.assertFalse(made[0].exists(), "nothing is left there")
        self.fails("no space left in the temporary folder.*make room there", before)

    def test_there_is_no_temporary_folder(self):
        before = self.nodes()
        missing = OSError(errno.ENOENT, "gone")
        with mock.patch("IVIMMappingLib.RunTransfer.tempfile.mkdtemp", side_effect=missing):
            self.ui.applyButton.click()
            self.waitUntil(lambda: self.state.run is None, 60)
        self.fails("cannot use the temporary folder", before)
