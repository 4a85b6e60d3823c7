"""Maps of the scene go into DICOM by tick marks; what is missing is asked or said."""

import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from IVIMTestRuns import RunTest

from ivimcore.errors import InputError
from ivimcore.reports.dicomsource import PatientIdNeeded
from IVIMMappingLib import DicomExport
from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode

try:
    import highdicom as hd
    import pydicom
    from dicomseries import write_dicom_on
except ImportError:
    hd = None


@unittest.skipIf(hd is None, "highdicom is not installed")
class DicomExportTestCase(RunTest):
    def setUp(self):
        super().setUp()
        self.run_ = self.fit("nlls")
        self.source = self.folder / "source"
        self.values, geometry = arrayFromVolumeNode(self.run_.maps["D"])
        write_dicom_on(self.source, geometry)

    def tearDown(self):
        self.run_ = None
        super().tearDown()

    def export(self, forms, **more):
        out = self.folder / "out"
        return DicomExport.exportDicom(
            self.run_, self.source, out, forms, self.scene, self.applicationLogic, **more
        )

    def test_a_run_becomes_maps_report_and_segmentation(self):
        done = self.export(["maps", "images", "report"])
        self.assertTrue((done.folder / "report/report.dcm").is_file())
        planes = np.frombuffer(pydicom.dcmread(done.folder / "maps/nlls_D.dcm").FloatPixelData, np.float32)
        np.testing.assert_array_equal(np.sort(planes), np.sort(self.values.astype(np.float32).ravel()))
        regions = pydicom.dcmread(done.folder / "report/segmentation.dcm")
        self.assertGreater(len(regions.SegmentSequence), 2)
        groups = hd.sr.srread(done.folder / "report/report.dcm").content.get_volumetric_roi_measurement_groups()
        self.assertEqual(len(groups), len(regions.SegmentSequence))

    def test_a_missing_identifier_can_be_given(self):
        for path in self.source.iterdir():
            header = pydicom.dcmread(path)
            header.PatientID = ""
            header.save_as(path)
        with self.assertRaises(PatientIdNeeded):
            self.export(["maps"])
        done = self.export(["maps"], patientId="P7")
        self.assertEqual(pydicom.dcmread(done.folder / done.files[0]).PatientID, "P7")

    def test_a_run_of_no_dicom_is_refused_and_leaves_nothing(self):
        for path in self.source.iterdir():
            path.unlink()
        with self.assertRaisesRegex(InputError, "no DICOM MR images"):
            self.export(["maps"])
        self.assertFalse((self.folder / "out").exists())

    def test_files_of_the_database_are_taken_without_a_question(self):
        self.run_.seriesNode.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
        database = mock.Mock(fileForInstance=lambda identifier: f"/data/{identifier}.dcm")
        with mock.patch.object(DicomExport.slicer, "dicomDatabase", database, create=True):
            self.assertEqual(DicomExport.sourceFiles(self.run_), [Path("/data/1.2.dcm"), Path("/data/1.3.dcm")])
        self.run_.seriesNode.RemoveAttribute("DICOM.instanceUIDs")
        self.assertEqual(DicomExport.sourceFiles(self.run_), [])
