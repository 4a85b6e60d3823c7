"""What the README says about Slicer is run: its batch example, its keys, its pictures' command."""

import os
import re
from pathlib import Path

import numpy as np
import slicer
from IVIMTestFollowUp import cohort, patient
from IVIMTestPanel import PanelTest

from ivimcore.data.output import write_images
from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.physics.phantom import abdomen

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class ReadmeTestCase(PanelTest):
    def test_the_batch_example_runs_as_printed(self):
        (example,) = [text for text in re.findall(r"```python\n(.*?)```", README, re.S) if "importSeries" in text]
        (self.folder / "series").mkdir()
        for number in (1, 2):
            series = series_of_phantom(abdomen(shape=(32, 32, 2), seed=number))
            write_images(series.signal, series.geometry, self.folder / "series" / f"patient{number}.nii.gz")
            bvalues = " ".join(f"{b:g}" for b in series.acquisition.bvalues)
            (self.folder / "series" / f"patient{number}.bval").write_text(bvalues)
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        names = {}
        exec(compile(example, "README.md", "exec"), names)
        os.chdir(before)
        for number in (1, 2):
            maps = self.folder / "maps" / f"patient{number}"
            self.assertTrue((maps / "D.nii.gz").is_file())
            self.assertTrue((maps / "provenance.json").is_file())
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSequenceNode"), 0)

    def test_the_follow_up_example_runs_as_printed(self):
        (example,) = [text for text in re.findall(r"```python\n(.*?)```", README, re.S) if "followUp" in text]
        self.openModule()
        first = patient(self.scene, slicer.app.applicationLogic(), "first", seed=1)
        self.logic.process(first[0], "segmented", first[2])
        cohort(self.logic.runs()[0]).save(self.folder / "reference_segmented.json")
        self.logic.exportScene(self.folder / "first_visit.mrb")
        self.scene.Clear(0)
        patient(self.scene, slicer.app.applicationLogic(), "new DWI", 1.4, seed=2)
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        names = {}
        exec(compile(example, "README.md", "exec"), names)
        text = names["found"].text()
        self.assertIn("liver metastasis: D 1.", text)
        self.assertIn("changed (p = ", text)

    def test_the_keys_of_the_readme_are_those_of_the_panel(self):
        keys = set(re.findall(r"(?:Ctrl\+)?Shift\+\w+", README.partition("| key (while")[2].partition("\n\n")[0]))
        library = ROOT / "IVIMMapping" / "IVIMMappingLib"
        sources = "".join(path.read_text(encoding="utf-8") for path in library.glob("*.py"))
        used = set(re.findall(r"\"((?:Ctrl\+)?Shift\+\w+)\"", sources))
        self.assertEqual(keys, used)

    def test_without_waiting_the_handle_says_how_far_it_is(self):
        self.openModule()
        path = self.folder / "dwi.nii.gz"
        series = series_of_phantom(abdomen(shape=(32, 32, 2)))
        write_images(series.signal, series.geometry, path)
        bvalues = [float(b) for b in series.acquisition.bvalues]
        node, shown, notes = self.logic.importSeries(path)
        self.assertTrue(any("b" in note for note in notes), "the file has no .bval, and that is said")
        handle = self.logic.process(node, estimator="segmented", bvalues=bvalues, wait=False)
        while handle.step():
            self.assertTrue(0 <= handle.fraction <= 1)
            self.process(0.01)
        self.assertEqual((handle.state, handle.sentence), ("done", ""))
        rows = {row["map"]: row for row in self.logic.statistics()}
        self.assertTrue(np.isfinite(rows["D"]["median"]))
        self.logic.exportStatistics(self.folder / "statistics.csv")
        self.logic.exportScene(self.folder / "scene.mrb")
        self.assertTrue((self.folder / "scene.mrb").is_file() and (self.folder / "statistics.csv").is_file())
