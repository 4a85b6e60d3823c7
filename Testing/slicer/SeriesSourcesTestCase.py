"""The b-values of a series come from the first source that holds them, and the source is named; nothing is guessed."""

import numpy as np
import slicer
from IVIMTestScene import obliqueGeometry
from IVIMTestSeries import B, SeriesTest

from ivimcore.data.output import write_images
from IVIMMappingLib.SeriesReader import readSeries


class SeriesSourcesTestCase(SeriesTest):
    def test_frame_labels_of_a_multivolume_are_bvalues(self):
        for node in (self.bareSequence(), self.components(count=3)):
            node.SetAttribute("MultiVolume.FrameLabels", "0.0,50.0,800.0")
            node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "GE.B-value")
            series = readSeries(node)
            np.testing.assert_array_equal(series.bvalues, [0, 50, 800])
            self.assertEqual(series.source, "attribute MultiVolume.FrameLabels (GE.B-value)")

    def test_flag_that_ge_adds_to_labels_is_taken_off_and_it_is_said(self):
        node = self.bareSequence()
        node.SetAttribute("MultiVolume.FrameLabels", "0,1000000050,1000000800")
        node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "GE.B-value")
        series = readSeries(node)
        np.testing.assert_array_equal(series.bvalues, [0, 50, 800])
        self.assertIn("adds a flag", series.notes[0])

    def test_frame_labels_of_time_are_no_bvalues(self):
        node = self.bareSequence()
        node.SetAttribute("MultiVolume.FrameLabels", "0,50,800")
        node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "TriggerTime")
        node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
        series = readSeries(node)
        self.assertTrue(np.isnan(series.bvalues).all())
        self.assertIn("labelled with 'TriggerTime' (ms), which is no b-value", series.notes[0])

    def test_more_labels_than_frames_are_not_distributed_by_guess(self):
        node = self.bareSequence()
        node.SetAttribute("MultiVolume.FrameLabels", "0,50,50,800")
        node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "Siemens.B-value")
        series = readSeries(node)
        self.assertTrue(np.isnan(series.bvalues).all())
        self.assertIn("3 images but 4 frame labels", series.notes[0])

    def test_index_counts_only_where_its_name_or_unit_says_b(self):
        for name, unit in (("b", ""), ("b-value", "s/mm2"), ("", "s/mm^2")):
            series = readSeries(self.bareSequence(3, name, unit, (0, 50, 800)))
            np.testing.assert_array_equal(series.bvalues, [0, 50, 800])
            self.assertIn("index of the sequence", series.source)
        for name, unit in (("time", "s"), ("frame", ""), ("", ""), ("TriggerTime", "ms")):
            self.assertTrue(np.isnan(readSeries(self.bareSequence(3, name, unit, (0, 50, 800))).bvalues).all())

    def test_frames_without_attribute_are_named(self):
        node = self.sequence()
        node.GetNthDataNode(1).RemoveAttribute("DWMRI_b-value")
        node.GetNthDataNode(3).SetAttribute("DWMRI_b-value", "much")
        series = readSeries(node)
        np.testing.assert_array_equal(np.isnan(series.bvalues), [False, True, False, True, False])
        self.assertIn("Images 2, 4 have no readable attribute DWMRI_b-value", series.notes[0])

    def test_trace_images_in_a_dwi_volume_have_no_bvalue_and_the_note_says_what_to_do(self):
        series = readSeries(self.dwi([0.0, np.nan, 800.0]))
        np.testing.assert_array_equal(np.isnan(series.bvalues), [False, True, False])
        self.assertIn("Image 2 has no b-value in the DWI volume", series.notes[0])
        self.assertIn("type, paste or load", series.notes[0])

    def test_bval_file_beside_a_trace_dwi_volume_fills_the_gap(self):
        node = self.dwi([0.0, np.nan, 800.0])
        (self.folder / "trace.bval").write_text("0 50 800\n")
        node.AddDefaultStorageNode(str(self.folder / "trace.nrrd"))
        np.testing.assert_array_equal(readSeries(node).bvalues, [0, 50, 800])

    def test_short_dwi_volume_is_said_to_lose_its_bvalues_when_saved(self):
        self.assertIn("saves a DWI volume of 5 images without its b-values", readSeries(self.dwi()).notes[0])

    def test_bval_file_beside_the_image_is_the_last_source(self):
        write_images(self.signal[..., :3], obliqueGeometry(), self.folder / "scan.nii.gz")
        (self.folder / "scan.bval").write_text("0 50 800\n")
        logic = self.applicationLogic.GetModuleLogic("Sequences")
        series = readSeries(logic.AddSequence(str(self.folder / "scan.nii.gz")))
        np.testing.assert_array_equal(series.bvalues, [0, 50, 800])
        self.assertEqual(series.source, "the .bval file beside the image")
        (self.folder / "scan.bval").write_text("0 50\n")
        series = readSeries(series.node)
        self.assertTrue(np.isnan(series.bvalues).all())
        self.assertIn("does not hold 3 b-values", series.notes[0])

    def test_images_that_replaced_each_other_on_loading_are_missed(self):
        for withAttributes in (True, False):
            path = self.folder / f"repeated{withAttributes}.seq.nrrd"
            storage = slicer.vtkMRMLVolumeSequenceStorageNode()
            storage.SetFileName(str(path))
            self.assertTrue(storage.WriteData(self.sequence(B[:4], browse=False)))
            content = path.read_bytes().replace(b"index values:=0 1 2 3", b"index values:=0 10 10 200")
            content = content.replace(b'"frame"', b'"b"')
            path.write_bytes(content if withAttributes else content.replace(b"DWMRI_b-value", b"DWMRI_x-value"))
            node = self.applicationLogic.GetModuleLogic("Sequences").AddSequence(str(path))
            self.assertEqual(node.GetNumberOfDataNodes(), 3)
            series = readSeries(node)
            self.assertIn("holds 4 images but only 3 are here", series.notes[0])
            self.assertEqual(bool(np.isnan(series.bvalues).all()), withAttributes)

    def test_unit_that_looks_wrong_is_said(self):
        self.assertIn("looks like ms/µm²", readSeries(self.sequence([0.0, 0.2, 0.8])).notes[0])
