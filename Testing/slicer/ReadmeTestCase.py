"""What the README says about Slicer is run: its tutorial, its examples, its keys."""

import functools
import os
import re
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from IVIMTestFollowUp import cohort, patient
from IVIMTestPanel import PanelTest
from IVIMTestSample import SampleTest

from ivimcore.data.output import write_images
from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.physics.phantom import abdomen

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class TutorialTestCase(SampleTest):
    """Six clicks from sample data to maps, on a smaller phantom than the button makes, so that the fit takes a second.
    """

    def test_the_tutorial_leads_from_sample_data_to_maps_and_numbers(self):
        tutorial = README.partition("### From sample data to maps in six clicks")[2].partition("What else is there")[0]
        steps = dict(re.findall(r"^(\d)\. (.*?)(?=^\d\. |\Z)", tutorial, re.S | re.M))
        self.assertEqual(list(steps), list("123456"))
        said = {number: re.match(r"\*\*(.+?)[.:]?\*\*", text)[1] for number, text in steps.items()}
        self.openModule()
        self.state, ui = self.panel.state, self.ui
        maker = "IVIMMappingLib.SeriesSection.createPhantomSeries"

        self.assertEqual(said["1"], ui.sampleButton.text)
        from IVIMMappingLib.PhantomSample import createPhantomSeries

        with mock.patch(maker, functools.partial(createPhantomSeries, shape=(64, 64, 4))):
            ui.sampleButton.click()
        self.waitUntil(lambda: self.state.series is not None)
        self.assertEqual(ui.bvalueTable.rowCount, 12, "the steps say twelve b-values")
        self.assertIn("12 b-values", " ".join(steps["1"].split()))
        self.assertIn("digital phantom", ui.bvalueSourceLabel.text)

        self.assertEqual(said["2"], "Move the mouse over the liver")
        self.moveMouse("liver")
        self.assertIn("±", ui.previewTable.item(0, 2).text())
        self.assertEqual(ui.previewTable.rowCount, 1)
        self.panel.curve.plot.clickPoint("cursor", 7)
        self.process()
        self.assertEqual(self.state.series.shownImage(), 7, "a click on a point shows that image")

        self.assertEqual(said["3"], "Tick a second estimator")
        title = re.search(r"\*([A-Z][^*]+)\* say", steps["3"])[1]
        self.assertIn(title, ui.estimatorList.item(self.row("nlls")).text())
        self.tick("nlls")
        self.assertEqual(ui.previewTable.rowCount, 2, "its curve appears beside the first")
        self.assertIn(ui.expectationButton.text, " ".join(steps["3"].split()))
        self.waitUntil(lambda: ui.expectationTable.rowCount == 3, 30)

        self.assertEqual(said["4"], ui.applyButton.text)
        self.start()
        self.assertEqual(ui.applyButton.text, re.search(r"the button is \*(\w+)\*", steps["4"])[1])
        self.waitUntil(lambda: self.state.run is None, 120)
        self.process(0.1)

        self.assertTrue(self.panel.results.layout.isShown, "at the first result all maps open by themselves")
        ui.returnLayoutButton.click()
        self.assertEqual(said["5"], ui.layoutButton.text)
        ui.layoutButton.click()
        manager = slicer.app.layoutManager()
        shown = [manager.sliceWidget(f"IVIMMap{number}").mrmlSliceNode().GetLayoutLabel() for number in range(1, 7)]
        wanted = re.search(r"shows (.+?) and (\w+) side by side", steps["5"])
        for label, word in zip(shown, [*wanted[1].split(", "), wanted[2]], strict=True):
            self.assertTrue(label.startswith(word), f"{label} is announced as {word}")

        self.assertEqual(said["6"], ui.copyStatisticsButton.text)
        ui.copyStatisticsButton.click()
        self.assertIn("D [10⁻³ mm²/s]", self.clipboard())
        self.assertIn("f [%]", self.clipboard())

    def moveMouse(self, region):
        segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        identifier = segmentation.GetSegmentation().GetSegmentIdBySegmentName(region)
        volume = self.state.series.displayNode()
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume)
        ijk = np.argwhere(mask > 0)[len(np.argwhere(mask > 0)) // 2][::-1]
        crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionRAS([float(x) for x in (self.state.series.ijkToRas() @ [*ijk, 1.0])[:3]])
        self.process(0.1)


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
