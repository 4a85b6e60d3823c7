"""The program that makes scene and overview: a process of its own, from files to files, one JSON line per event."""

import csv
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np
import SimpleITK
from IVIMTestScene import IN_DESKTOP, NAMES, SceneTest, obliqueGeometry, smallExtras, smallRun

import IVIMMappingLib
from ivimcore.data.geometry_io import image_of
from ivimcore.reports.colormaps import colormap
from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode
from IVIMMappingLib.VolumeReading import readVolume


def write(array, path):
    SimpleITK.WriteImage(image_of(array, obliqueGeometry()), str(path), True)


@unittest.skipIf(IN_DESKTOP, "the program runs in plain Python")
class SceneProgramTestCase(SceneTest):
    needsDrawing = True

    def setUp(self):
        super().setUp()
        base, self.maps, status, labels = smallRun()
        for estimator, suffix in (("nlls", ".nii.gz"), ("truth", ".nrrd")):
            (self.folder / estimator).mkdir()
            for key, values in self.maps.items():
                if (estimator, key) != ("truth", "rmse"):
                    write(values, self.folder / estimator / (key + suffix))
        write(status, self.folder / "nlls" / "status.nii.gz")
        write(base, self.folder / "b0.nii.gz")
        write(labels.astype(np.uint8), self.folder / "labels.nii.gz")
        (self.folder / "nlls" / "provenance.json").write_text(json.dumps({"estimator": "nlls", "run_id": "r-7"}))
        with open(self.folder / "nlls" / "roi_statistics.csv", "w", newline="") as stream:
            csv.writer(stream).writerows([["region", "mean"], ["liver", 0.001], ["lesion", ""]])
        self.request = {
            "name": "case", "base": "b0.nii.gz", "scene": "made.mrb", "overview": "made.png",
            "runs": [{"estimator": "truth", "folder": "truth"}, {"estimator": "nlls", "folder": "nlls"}],
            "labels": {"path": "labels.nii.gz", "names": {str(value): name for value, name in NAMES.items()}},
        }

    def program(self, **environment):
        (self.folder / "request.json").write_text(json.dumps(self.request))
        child = subprocess.run(
            [sys.executable, "-m", "IVIMMappingLib.SceneProgram", str(self.folder / "request.json")],
            env={**os.environ, "PYTHONPATH": str(Path(IVIMMappingLib.__file__).parents[1]), **environment},
            capture_output=True, encoding="utf-8", timeout=120, check=False,
        )
        return child.returncode, [json.loads(line) for line in child.stdout.splitlines()], child.stderr

    def test_scene_and_overview_are_made(self):
        code, events, stderr = self.program()
        self.assertEqual((code, stderr), (0, ""))
        self.assertEqual({event["event"] for event in events}, {"status", "result"})
        self.assertEqual(events[-1]["event"], "result")
        self.checkOverview(events[-1]["slice"])
        self.scene.Clear(0)
        self.assertTrue(self.scene.ReadFromMRB(str(self.folder / "made.mrb"), True))
        for name in ("case IVIM D", "case IVIM D (truth)"):
            values = arrayFromVolumeNode(self.node(name))[0]
            np.testing.assert_array_equal(values.view(np.uint32), self.maps["D"].view(np.uint32))
        self.assertEqual(self.node("case IVIM D").GetAttribute("IVIM.RunId"), "r-7")
        self.assertEqual(self.node("case IVIM statistics").GetNumberOfRows(), 2)
        red = self.scene.GetNodeByID("vtkMRMLSliceCompositeNodeRed")
        self.assertEqual(red.GetForegroundVolumeID(), self.node("case IVIM D").GetID())

    def picture(self):
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(self.folder / "made.png")))[..., :3].astype(int)

    def test_information_is_a_column_and_hatches_where_the_data_said_little(self):
        del self.request["scene"], self.request["labels"], self.request["runs"][0]
        self.assertEqual(self.program()[0], 0)
        before = self.picture()
        for key, values in smallExtras().items():
            write(values, self.folder / "nlls" / (key + ".nii.gz"))
        code, events, stderr = self.program()
        self.assertEqual((code, stderr), (0, ""))
        after = self.picture()
        self.assertGreater(after.shape[1], before.shape[1] + 200)
        # D* is unsure in half of the voxels, f (at the threshold) in none; the lesion lies in the unsure half.
        for key, high, value, part in (("f", 0.4, 0.3, 1.0), ("Dstar", 0.1, 0.06, 0.0), ("Dstar", 0.1, 0.02, 0.6)):
            color = 255 * colormap({"f": "IVIM Perfusion", "Dstar": "IVIM Flow"}[key])[int(255 * value / high + 0.5)]
            counts = [int((np.abs(image - color).max(axis=2) < 6).sum()) for image in (before, after)]
            self.assertGreater(counts[0], 1000)
            self.assertAlmostEqual(counts[1] / counts[0], part, delta=0.1, msg=key)

    def checkOverview(self, k):
        picture = self.picture()
        self.assertGreater(picture.shape[1], 5 * 380)
        # The value of most voxels outside the lesion fills a part of each panel with its colour.
        for key, low, high in (("D", 0.0, 3e-3), ("f", 0.0, 0.4), ("Dstar", 0.0, 0.1)):
            values = self.maps[key][..., k]
            index = int(255 * (np.nanmedian(values) - low) / (high - low) + 0.5)
            name = {"D": "IVIM Diffusion", "f": "IVIM Perfusion", "Dstar": "IVIM Flow"}[key]
            near = np.abs(picture - 255 * colormap(name)[index]).max(axis=2) < 9
            self.assertGreater(near.sum(), 2 * 0.15 * 380 * 300, key)

    def test_wrong_request_is_refused_in_one_sentence_and_nothing_is_written(self):
        self.request["base"] = "absent.nii.gz"
        code, events, _ = self.program()
        self.assertEqual(code, 2)
        self.assertIn("absent.nii.gz", events[-1]["sentence"])
        self.assertFalse(list(self.folder.glob("made.*")))

    def test_runs_of_equal_title_are_refused(self):
        self.request["runs"][0]["title"] = "nlls"
        code, events, _ = self.program()
        self.assertEqual(code, 2)
        self.assertIn("same title", events[-1]["sentence"])

    def test_map_on_another_grid_is_refused(self):
        image = SimpleITK.ReadImage(str(self.folder / "nlls" / "f.nii.gz"))
        image.SetSpacing((1.0, 1.0, 1.0))
        SimpleITK.WriteImage(image, str(self.folder / "nlls" / "f.nii.gz"))
        code, events, _ = self.program()
        self.assertEqual(code, 2)
        self.assertIn("f.nii.gz lies on another grid", events[-1]["sentence"])

    def test_computer_that_cannot_draw_is_told_which_packages_help(self):
        script = (
            "import sys; from IVIMMappingLib import OpenGLProbe, SceneProgram; "
            "OpenGLProbe._PROGRAM = 'raise SystemExit(139)'; sys.exit(SceneProgram.main(sys.argv[1:]))"
        )
        (self.folder / "request.json").write_text(json.dumps(self.request))
        child = subprocess.run(
            [sys.executable, "-c", script, str(self.folder / "request.json")],
            env={**os.environ, "PYTHONPATH": str(Path(IVIMMappingLib.__file__).parents[1])},
            capture_output=True, encoding="utf-8", timeout=120, check=False,
        )
        self.assertEqual(child.returncode, 2)
        self.assertIn("libegl1", json.loads(child.stdout.splitlines()[-1])["advice"])
        self.assertFalse(list(self.folder.glob("made.*")))


class VolumeReadingTestCase(SceneTest):
    def test_nan_of_a_nifti_file_survives(self):
        for name in ("D.nii.gz", "D.nii", "D.nrrd"):
            values = smallRun()[1]["D"]
            write(values, self.folder / name)
            array, geometry = readVolume(self.folder / name)
            np.testing.assert_array_equal(array, values)
            self.assertTrue(geometry.matches(obliqueGeometry()))
