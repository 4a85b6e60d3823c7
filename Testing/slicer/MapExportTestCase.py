"""Every export is read back: the same numbers, NaN included, and a file that is complete or as it was."""

import csv
import json
import os
import unittest
from unittest import mock

import numpy as np
from IVIMTestRuns import RunTest
from IVIMTestScene import IN_DESKTOP

from ivimcore.errors import InputError
from IVIMMappingLib import MapExport, OpenGLProbe
from IVIMMappingLib.MapDescription import describeMap
from IVIMMappingLib.MapExport import (
    exportFigure,
    exportMaps,
    exportScene,
    exportStatistics,
    statisticsText,
    tableText,
)
from IVIMMappingLib.MapHiding import hideWhere
from IVIMMappingLib.RunFolder import addRun
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.StatisticsTable import rowsOfTable
from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode
from IVIMMappingLib.VolumeReading import readVolume


def readCsv(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


class MapExportTestCase(RunTest):
    def setUp(self):
        super().setUp()
        self.run_ = self.fit("nlls")
        self.target = self.folder / "results"
        self.target.mkdir()

    def tearDown(self):
        self.run_ = None
        super().tearDown()

    def files(self):
        return sorted(path.name for path in self.target.rglob("*"))

    def test_maps_come_back_exactly_with_every_nan(self):
        hideWhere(self.run_, "D", "f", 0.2)  # only a matter of display
        for fileFormat in ("nii.gz", "nrrd"):
            paths = exportMaps(self.run_, self.target, fileFormat)
            self.assertEqual({path.name for path in paths} - set(self.files()), set())
            for key, node in {**self.run_.maps, "status": self.run_.status}.items():
                expected, grid = arrayFromVolumeNode(node)
                values, geometry = readVolume(self.target / f"{key}.{fileFormat}")
                np.testing.assert_array_equal(values, expected)
                self.assertTrue(geometry.matches(grid))
            self.assertTrue(np.isnan(readVolume(self.target / f"D.{fileFormat}")[0]).any())
        provenance = json.loads((self.target / "provenance.json").read_text(encoding="utf-8"))
        self.assertEqual(provenance["estimator"], "nlls")
        self.assertNotIn("IVIM phantom", json.dumps(provenance))

    def test_statistics_come_back_at_full_precision_with_their_units(self):
        self.fit("adc")
        runs = runsOf(self.scene)
        paths = exportStatistics(runs, self.target / "all.csv")
        rows = readCsv(paths[0])
        expected = [row for run in runs for row in rowsOfTable(run.statistics)]
        self.assertEqual(len(rows), len(expected))
        for row, wanted in zip(rows, expected, strict=True):
            for column in ("region", "map", "unit"):
                self.assertEqual(row[column], wanted[column])
            np.testing.assert_equal(float(row["median"]), wanted["median"])
            self.assertEqual(row["n"], str(int(wanted["n"])))
        numbers = readCsv(paths[1])
        self.assertEqual(len(numbers), sum(len(rowsOfTable(run.regionNumbers)) for run in runs))
        self.assertIn(numbers[0]["differs"], ("yes", "no", "not known"))
        self.assertEqual({row["run"] for row in numbers}, {run.name for run in runs})

    def test_scene_comes_back_in_an_empty_one(self):
        path = exportScene(self.scene, self.target / "all.mrb")
        self.assertEqual(self.files(), ["all.mrb"])
        d = arrayFromVolumeNode(self.run_.maps["D"])[0]
        self.sequence = self.proxy = self.segmentation = self.run_ = None
        self.scene.Clear(0)
        self.assertTrue(self.scene.ReadFromMRB(str(path), True))
        np.testing.assert_array_equal(arrayFromVolumeNode(runsOf(self.scene)[0].maps["D"])[0], d)

    def test_existing_file_is_replaced_and_a_failed_one_leaves_the_old(self):
        path = self.target / "all.csv"
        path.write_text("old", encoding="utf-8")
        with mock.patch.object(MapExport, "write_csv", side_effect=OSError(28, "no space")), self.assertRaisesRegex(
            InputError, "no space left"
        ):
            exportStatistics(self.run_, path)
        self.assertEqual(path.read_text(encoding="utf-8"), "old")
        self.assertEqual(self.files(), ["all.csv"])
        exportStatistics(self.run_, path)
        self.assertTrue(path.read_text(encoding="utf-8").startswith("estimator"))

    def test_maps_that_fail_half_way_leave_nothing(self):
        written = []
        write = MapExport.write_volume

        def fail(*arguments):
            written.append(arguments)
            if len(written) == 3:
                raise OSError(28, "no space")
            return write(*arguments)

        with mock.patch.object(MapExport, "write_volume", fail), self.assertRaisesRegex(InputError, "no space left"):
            exportMaps(self.run_, self.target)
        self.assertEqual(self.files(), [])

    def test_wrong_places_and_names_are_refused_in_a_sentence(self):
        missing = self.target / "missing"
        for export, sentence in (
            (lambda: exportStatistics(self.run_, missing / "a.csv"), "does not exist"),
            (lambda: exportMaps(self.run_, missing), "does not exist"),
            (lambda: exportScene(self.scene, missing / "a.mrb"), "does not exist"),
            (lambda: exportFigure(self.run_, missing / "a.png", self.scene, self.applicationLogic), "does not exist"),
            (lambda: exportStatistics(self.run_, self.target / "a.txt"), "end with .csv"),
            (lambda: exportScene(self.scene, self.target / "a.zip"), "end with .mrb"),
            (lambda: exportMaps(self.run_, self.target, "dcm"), "Unknown file format"),
            (lambda: exportStatistics([], self.target / "a.csv"), "no statistics"),
            (lambda: exportFigure([], self.target / "a.png", self.scene, self.applicationLogic), "no maps"),
        ):
            with self.subTest(sentence), self.assertRaisesRegex(InputError, sentence):
                export()
        (self.target / "folder.csv").mkdir()
        with self.assertRaisesRegex(InputError, "is a folder"):
            exportStatistics(self.run_, self.target / "folder.csv")
        self.assertEqual(self.files(), ["folder.csv"])

    @unittest.skipIf(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), "root may write everywhere")
    def test_folder_without_permission_is_refused(self):
        self.target.chmod(0o500)
        self.addCleanup(self.target.chmod, 0o700)
        with self.assertRaisesRegex(InputError, "cannot be written"):
            exportMaps(self.run_, self.target)

    def test_table_text_is_what_a_spreadsheet_takes(self):
        rows = [{"region": "=1+1\t", "D [mm²/s]": 0.001, "n": 3}, {"region": "b", "D [mm²/s]": float("nan"), "n": None}]
        self.assertEqual(tableText(rows), "region\tD [mm²/s]\tn\n'=1+1\t0.001\t3\nb\t\t\n")
        self.assertEqual(tableText([], ("a", "b")), "a\tb\n")

    def test_statistics_text_has_display_units_and_the_numbers_of_the_table(self):
        lines = statisticsText(self.run_).splitlines()
        header = lines[0].split("\t")
        rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
        label = describeMap("D").label
        self.assertEqual(label, "D [10⁻³ mm²/s]")
        row = next(row for row in rows if row["map [unit]"] == label and row["region"] == "liver")
        stored = next(
            row for row in rowsOfTable(self.run_.statistics) if row["map"] == "D" and row["region"] == "liver"
        )
        self.assertAlmostEqual(float(row["median"]), 1e3 * stored["median"], places=4)
        self.assertEqual(float(row["voxels"]), stored["voxels"])


class FigureTestCase(RunTest):
    needsDrawing = True

    def test_figure_shows_all_runs_and_leaves_the_scene_as_it_was(self):
        self.fit("nlls")
        self.fit("adc")
        runs = runsOf(self.scene)
        before = self.nodeIds()
        window = runs[0].maps["rmse"].GetDisplayNode().GetWindowLevelMax()
        path = exportFigure(runs, self.folder / "figure.png", self.scene, self.applicationLogic)
        self.assertEqual(self.nodeIds(), before)
        self.assertEqual(runs[0].maps["rmse"].GetDisplayNode().GetWindowLevelMax(), window)
        pixels = self.pixels(path)
        self.assertGreater(pixels.shape[0], 700)  # two rows
        self.assertGreater(len(np.unique(pixels.reshape(-1, 3), axis=0)), 500)

    def test_series_that_has_gone_is_replaced_by_s0(self):
        run = self.fit("nlls")
        self.scene.RemoveNode(self.sequence)
        run = runsOf(self.scene)[0]
        exportFigure(run, self.folder / "figure.png", self.scene, self.applicationLogic, "title")
        self.assertTrue((self.folder / "figure.png").is_file())

    def test_run_on_another_grid_is_left_out(self):
        self.fit("adc")
        other = arrayFromVolumeNode(runsOf(self.scene)[0].maps["ADC"])
        grid = other[1].__class__((10, 10, 2), other[1].affine)
        addRun(self.scene, {"ADC": other[0][:10, :10]}, grid, "other", "adc")
        runs = sorted(runsOf(self.scene), key=lambda run: run.runId == "")
        exportFigure(runs, self.folder / "figure.png", self.scene, self.applicationLogic)
        self.assertLess(self.pixels(self.folder / "figure.png").shape[0], 700)

    @unittest.skipIf(IN_DESKTOP, "the desktop always draws")
    def test_computer_that_cannot_draw_says_what_to_install(self):
        run = self.fit("adc")
        with mock.patch.object(OpenGLProbe, "findRenderWindow", lambda: None), self.assertRaisesRegex(
            InputError, "cannot be drawn on this computer; Install"
        ):
            exportFigure(run, self.folder / "figure.png", self.scene, self.applicationLogic)
        self.assertFalse((self.folder / "figure.png").exists())

    @staticmethod
    def pixels(path):
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(path))
        reader.Update()
        image = reader.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., :3]
