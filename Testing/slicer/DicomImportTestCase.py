"""What an archive gives back is recognised, looks like ours, and stands beside ours in the table of statistics."""

import csv
import sys
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from IVIMTestSample import SampleTest

from ivimcore.data.series import Geometry
from IVIMMappingLib import MapRecognition
from IVIMMappingLib.DicomExport import exportDicom
from IVIMMappingLib.MapDisplay import codedEntry
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.ScannerAdc import compareWithAdc
from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode, createVolumeNode

REGION_KINDS = ("body", "whole", "segments", "curve", "labels")

try:
    import highdicom  # noqa: F401
    import pydicom
    sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
    from dicomseries import write_dicom_on, write_scanner_adc
except ImportError:
    pydicom = None


class ArchiveTest(SampleTest):
    def fit(self, *names, regions=False):
        self.openSample()
        self.tickOnly(*names)
        if regions:
            self.ui.regionKindComboBox.setCurrentIndex(REGION_KINDS.index("segments"))
            self.process(0.35)
        self.apply()
        return self.panel.results.run

    def table(self):
        table = self.ui.statisticsTable
        return [[table.item(row, column).text() for column in range(table.columnCount)]
                for row in range(table.rowCount)]

    def addAdc(self, name="ep2d_diff_ADC", scale=1e-6, value=1.2e-3):
        """A scanner's ADC as Slicer loads it: whole numbers without a unit."""
        _values, geometry = arrayFromVolumeNode(self.panel.results.run.maps["S0"])
        values = np.full(geometry.shape, round(value / scale), np.int16)
        values[:2] = 0
        node = createVolumeNode(self.scene, values, geometry, name)
        self.process(0.05)
        return node


class ScannerAdcTest(ArchiveTest):
    def test_an_adc_of_the_scanner_stands_beside_ours_with_the_difference(self):
        run = self.fit("adc")
        self.assertTrue(self.ui.scannerAdcFrame.isHidden())
        before = self.table()
        node = self.addAdc()
        self.assertFalse(self.ui.scannerAdcFrame.isHidden())
        self.assertEqual(self.ui.scannerAdcComboBox.currentText, "ep2d_diff_ADC")
        lines = self.table()
        self.assertEqual(len(lines), len(before) + 3 * len({line[0] for line in before}))
        labels = [line[1] for line in lines]
        first = labels.index("ADC of scanner [10⁻³ mm²/s]")
        self.assertEqual(labels[first - 1: first + 3], [
            "ADC [10⁻³ mm²/s]", "ADC of scanner [10⁻³ mm²/s]", "ADC − scanner [10⁻³ mm²/s]", "ADC − scanner [%]",
        ])
        self.assertAlmostEqual(float(lines[first][2]), 1.2, 2)
        ours, _grid = arrayFromVolumeNode(run.maps["ADC"])
        theirs, _grid = arrayFromVolumeNode(node)
        rows = compareWithAdc(run, MapRecognition.recogniseMap(node))
        both = np.isfinite(ours) & (theirs > 0)
        if len({row["region"] for row in rows}) == 1:
            self.assertAlmostEqual(rows[1]["median"], float(np.median(ours[both] - 1.2e-3)), 7)
        self.assertAlmostEqual(float(lines[first + 1][2]), 1e3 * rows[1]["median"], 2)
        self.assertIn("1e-06 mm²/s", self.ui.scannerAdcLabel.text)
        self.ui.copyStatisticsButton.click()
        self.assertIn("ADC − scanner", self.clipboard())
        path = self.folder / "s.csv"
        with mock.patch("IVIMMappingLib.FileChoice.saveFile", lambda *_: str(path)):
            self.panel.results.export.actions["statistics"].trigger()
        with open(self.folder / "s_scanner_adc.csv", newline="", encoding="utf-8") as stream:
            written = list(csv.DictReader(stream))
        self.assertEqual([row["what"] for row in written[:3]], ["scanner", "difference", "percent"])
        self.assertAlmostEqual(float(written[0]["median"]), 1.2e-3, 8)
        self.ui.scannerAdcComboBox.setCurrentIndex(0)
        self.process()
        self.assertEqual(self.table(), before)
        self.panel.results.enter()
        self.assertEqual(self.table(), before)  # "none" is remembered
        self.ui.scannerAdcComboBox.setCurrentIndex(1)
        self.process()
        self.assertEqual(self.table(), lines)
        self.scene.RemoveNode(node)
        self.process(0.05)
        self.assertEqual(self.table(), before)
        self.assertTrue(self.ui.scannerAdcFrame.isHidden())

    def test_d_is_compared_with_a_warning_and_another_grid_by_position(self):
        run = self.fit("nlls")
        _values, geometry = arrayFromVolumeNode(run.maps["D"])
        coarse = geometry.affine.copy()
        coarse[:3, 0] *= 2
        half = Geometry((geometry.shape[0] // 2, *geometry.shape[1:]), coarse)
        values = np.zeros(half.shape, np.float32)
        values[4:] = 1.0e-3
        node = createVolumeNode(self.scene, values, half, "b0_800_ADC")
        self.process(0.05)
        self.assertIn("expected to be lower", self.ui.scannerAdcLabel.text)
        rows = [row for row in compareWithAdc(run, MapRecognition.recogniseMap(node)) if row["n"]]
        for row in rows:
            if row["what"] == "scanner":
                self.assertAlmostEqual(row["mean"], 1e-3, 8)
                self.assertLess(row["n"], row["voxels"])

    def test_maps_that_have_nothing_in_common_are_said_and_not_compared(self):
        run = self.fit("adc")
        node = self.addAdc()
        matrix = slicer.vtkMRMLLinearTransformNode()
        self.scene.AddNode(matrix)
        moved = np.eye(4)
        moved[0, 3] = 1e4
        slicer.util.updateTransformMatrixFromArray(matrix, moved)
        node.SetAndObserveTransformNodeID(matrix.GetID())
        with self.assertRaisesRegex(Exception, "no voxel with a value in common"):
            compareWithAdc(run, MapRecognition.recogniseMap(node))


class MapRecognitionTest(ArchiveTest):
    def test_a_volume_that_carries_our_quantity_gets_our_colours_window_and_legend_once(self):
        self.openModule()
        values = np.full((4, 4, 2), 1100.0, np.float32)
        node = createVolumeNode(self.scene, values, Geometry(values.shape, np.eye(4)), "401: ADC map")
        node.SetVoxelValueQuantity(codedEntry(("113041", "DCM", "Apparent Diffusion Coefficient")))
        node.SetVoxelValueUnits(codedEntry(("um2/s", "UCUM", "um2/s")))
        self.panel.results.enter()
        display = node.GetDisplayNode()
        self.assertIn("IVIM", display.GetColorNode().GetName())
        self.assertAlmostEqual(display.GetWindowLevelMax(), 3000, 3)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        self.assertEqual(legend.GetTitleText(), "ADC [1e-06 mm²/s]")
        display.SetWindowLevelMinMax(0, 500)
        self.panel.results.enter()
        self.assertEqual(display.GetWindowLevelMax(), 500)

    def test_headers_of_the_database_say_what_a_volume_is(self):
        self.openModule()
        values = np.full((4, 4, 2), 1100, np.int16)
        node = createVolumeNode(self.scene, values, Geometry(values.shape, np.eye(4)), "8: unnamed")
        self.assertIsNone(MapRecognition.recogniseMap(node))
        node.SetAttribute("DICOM.instanceUIDs", "1.2")
        for imageType, known in (("DERIVED\\PRIMARY\\DIFFUSION\\ADC", True), ("DERIVED\\PRIMARY\\EADC", False)):
            database = mock.Mock(
                isOpen=True, fileForInstance=lambda uid: "/a.dcm",
                fileValue=lambda path, tag, words=imageType: words if tag == "0008,0008" else "eADC",
            )
            with mock.patch.object(MapRecognition.slicer, "dicomDatabase", database, create=True):
                found = MapRecognition.recogniseMap(node)
            self.assertEqual(found is not None, known)
        self.assertIsNone(MapRecognition.recogniseMap(None))


@unittest.skipIf(pydicom is None, "highdicom is not installed")
class DicomImportTest(ArchiveTest):
    def exported(self, forms, estimator="nlls"):
        run = self.fit(estimator, regions="report" in forms)
        _values, geometry = arrayFromVolumeNode(run.maps["S0"])
        source = self.folder / "source"
        write_dicom_on(source, geometry)
        out = self.folder / "out"
        exportDicom(run, source, out, forms, self.scene, slicer.app.applicationLogic())
        return run, out, geometry

    def imported(self, folder):
        with mock.patch("IVIMMappingLib.DicomImportAction.chooseFolder", lambda *_: str(folder)):
            self.panel.series.archive.onTriggered()
        self.process(0.05)

    def test_our_objects_come_back_as_a_run_with_the_same_numbers_units_and_regions(self):
        run, out, _geometry = self.exported(["maps", "images", "report"])
        maps = {key: arrayFromVolumeNode(node) for key, node in run.maps.items()}
        names = [self.segmentation.GetSegmentation().GetNthSegment(index).GetName()
                 for index in range(self.segmentation.GetSegmentation().GetNumberOfSegments())]
        self.imported(out)
        self.assertEqual(self.ui.messageLabel.property("level"), "information", self.ui.messageLabel.text)
        self.assertIn("maps of ours", self.ui.messageLabel.text)
        back = self.panel.results.run
        self.assertEqual(back.estimator, "nlls")
        self.assertEqual(set(back.maps), set(maps))
        for key, node in back.maps.items():
            values, grid = arrayFromVolumeNode(node)
            before, other = maps[key]
            index = np.argwhere(np.isfinite(before))[::37]
            places = np.linalg.inv(grid.affine) @ other.affine @ np.c_[index, np.ones(len(index))].T
            there = tuple(np.rint(places[:3]).astype(int))
            np.testing.assert_array_equal(values[there], before[tuple(index.T)])
        self.assertEqual(back.maps["D"].GetVoxelValueUnits().GetCodeValue(), "mm2/s")
        self.assertEqual(back.maps["D"].GetDisplayNode().GetColorNode().GetName(),
                         run.maps["D"].GetDisplayNode().GetColorNode().GetName())
        self.assertEqual(back.provenance["bvalues_used"], run.provenance["bvalues_used"])
        table = self.table()
        self.assertTrue({line[0] for line in table} <= set(names) | {"whole region"})
        self.assertIsNotNone(self.scene.GetFirstNodeByName("DICOM measurements"))
        self.assertIsNotNone(back.regionNode)

    def test_an_adc_of_a_scanner_comes_in_with_our_colours_and_is_compared_at_once(self):
        run = self.fit("adc")
        _values, geometry = arrayFromVolumeNode(run.maps["ADC"])
        write_scanner_adc(self.folder / "adc", geometry, np.full(geometry.shape, 1.1e-3))
        self.imported(self.folder / "adc")
        self.assertIn("names no unit", self.ui.messageLabel.text)
        node = self.scene.GetFirstNodeByName("ADC (scanner)")
        self.assertAlmostEqual(float(np.nanmedian(arrayFromVolumeNode(node)[0])), 1.1e-3, 7)
        self.assertIn("IVIM", node.GetDisplayNode().GetColorNode().GetName())
        self.assertIn("ADC of scanner [10⁻³ mm²/s]", [line[1] for line in self.table()])
        self.assertEqual(len(runsOf(self.scene)), 1)

    def test_a_folder_without_objects_is_one_sentence_and_adds_nothing(self):
        self.openModule()
        count = self.scene.GetNumberOfNodes()
        (self.folder / "empty").mkdir()
        self.imported(self.folder / "empty")
        self.assertIn("holds no maps", self.ui.messageLabel.text)
        self.assertEqual(self.scene.GetNumberOfNodes(), count)

    def test_the_import_is_in_the_menu_and_a_console_call(self):
        run, out, _geometry = self.exported(["maps"], "adc")
        titles = [action.text for action in self.ui.importButton.menu().actions()]
        self.assertIn(self.panel.series.archive.title, titles)
        found = self.logic.importDicom(out)
        self.assertEqual(len(found.runs), 1)
        self.assertEqual(len(runsOf(self.scene)), 2)
        self.assertEqual(run.estimator, "adc")


class DicomPackagesTest(SampleTest):
    def test_highdicom_is_offered_once_and_never_installed_without_consent(self):
        from IVIMMappingLib import DicomPackages  # needs Slicer's translations, which the stand-ins bring

        installed = []
        with mock.patch.object(DicomPackages, "canWriteDicom", lambda: bool(installed)), mock.patch.object(
            slicer.util, "pip_install", installed.append
        ):
            with mock.patch.object(slicer.util, "confirmOkCancelDisplay", lambda *_: False):
                self.assertIn("was not installed", DicomPackages.offerHighdicom())
            self.assertEqual(installed, [])
            with mock.patch.object(slicer.util, "confirmOkCancelDisplay", lambda *_: True):
                self.assertEqual(DicomPackages.offerHighdicom(), "")
            self.assertEqual(installed, [DicomPackages.HIGHDICOM])

    def test_an_installation_that_fails_is_a_sentence(self):
        from IVIMMappingLib import DicomPackages

        def fail(*_):
            raise RuntimeError("no network")

        with mock.patch.object(DicomPackages, "canWriteDicom", lambda: False), mock.patch.object(
            slicer.util, "pip_install", fail
        ), mock.patch.object(slicer.util, "confirmOkCancelDisplay", lambda *_: True):
            self.assertIn("no network", DicomPackages.offerHighdicom())
