"""Step 4 as a person uses it: maps, values, tables, layout, hiding, renaming, removing, exports, the saved scene."""

import csv
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from IVIMTestSample import SampleTest

from ivimcore.data.nifti_file import read_volumes
from ivimcore.reports.dicomexport import Exported
from ivimcore.reports.dicomsource import PatientIdNeeded
from IVIMMappingLib.ResultLayout import registerLayouts
from IVIMMappingLib.Runs import runsOf


class LayoutRegistrationTest(SampleTest):
    def test_a_scene_that_asks_for_a_layout_before_it_is_known_gets_its_views(self):
        node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
        layout = 27188  # six views
        if node.IsLayoutDescription(layout):
            node.SetLayoutDescription(layout, "")
        node.SetViewArrangement(layout)
        self.assertFalse(node.GetCurrentLayoutDescription())
        registerLayouts()
        self.assertIn("IVIMMap6", node.GetCurrentLayoutDescription())
        self.assertIsNotNone(slicer.app.layoutManager().sliceWidget("IVIMMap6"))


class ResultSectionTest(SampleTest):
    def openResults(self, *names):
        self.openSample()
        self.tickOnly(*(names or ("nlls",)))
        self.apply()
        self.run_ = self.panel.results.run
        self.assertIsNotNone(self.run_, self.ui.messageLabel.text)

    def composite(self, name="Red"):
        return slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceCompositeNode()

    def shown(self, name="Red"):
        return self.scene.GetNodeByID(self.composite(name).GetForegroundVolumeID() or "")

    def layout(self):
        return slicer.app.layoutManager().layoutLogic().GetLayoutNode().GetViewArrangement()

    def cursorAt(self, ijk):
        affine = self.phantom_affine()
        self.state.cursor = tuple(float(x) for x in (affine @ [*ijk, 1])[:3])
        self.state.cursorMoved()

    def phantom_affine(self):
        return np.asarray(self.state.series.geometry.affine)

    def inside(self, label="liver"):
        number = next(key for key, name in self.phantom.names.items() if name == label)
        return tuple(int(x) for x in np.argwhere(self.phantom.labels == number)[0])

    def test_the_first_result_opens_all_maps_and_later_ones_leave_the_layout_alone(self):
        self.openSample()
        before = self.layout()
        self.tickOnly("nlls")
        self.apply()
        allMaps = self.layout()
        self.assertNotEqual(allMaps, before)
        self.assertTrue(self.panel.results.layout.isShown)
        titles = [
            slicer.app.layoutManager().sliceWidget(f"IVIMMap{n}").sliceLogic().GetSliceNode().GetLayoutLabel()
            for n in range(1, 6)
        ]
        self.assertEqual(titles[0], "b0")
        self.assertTrue(titles[1].startswith("D "))
        for n in range(1, 6):
            self.assertTrue(self.composite(f"IVIMMap{n}").GetLinkedControl())
        self.assertEqual(self.shown("IVIMMap2"), self.panel.results.run.maps["D"])
        self.ui.returnLayoutButton.click()
        self.assertEqual(self.layout(), before)
        self.tickOnly("segmented")
        self.apply()
        self.assertEqual(self.layout(), before)
        self.ui.layoutButton.click()
        self.assertEqual(self.layout(), allMaps)

    def test_a_chosen_map_lies_over_the_image_of_the_lowest_b(self):
        self.openResults()
        self.assertEqual(self.shown(), self.run_.maps["D"])
        self.assertEqual(self.composite().GetBackgroundVolumeID(), self.proxy.GetID())
        self.assertAlmostEqual(self.composite().GetForegroundOpacity(), 0.7)
        self.assertEqual(self.state.series.shownImage(), 0)
        self.choose(self.ui.mapComboBox, "f")
        self.assertEqual(self.shown(), self.run_.maps["f"])
        self.assertEqual(self.state.parameters.activeMap, "f")
        self.assertIn("[%]", self.ui.mapComboBox.currentText)
        self.ui.opacitySlider.setValue(0.4)
        self.assertAlmostEqual(self.composite().GetForegroundOpacity(), 0.4)
        self.assertAlmostEqual(self.composite("IVIMMap2").GetForegroundOpacity(), 0.4)

    def test_the_value_at_the_cursor_has_deviation_and_unit_or_a_reason(self):
        self.openResults()
        self.cursorAt(self.inside())
        self.assertIn("10⁻³ mm²/s", self.ui.voxelLabel.text)
        self.assertIn("±", self.ui.voxelLabel.text)
        value = slicer.util.arrayFromVolume(self.run_.maps["D"])[self.inside()[::-1]]
        self.assertIn(f"D {1e3 * value:.3g}", self.ui.voxelLabel.text)
        self.cursorAt((0, 0, 0))
        self.assertIn("Outside the chosen region", self.ui.voxelLabel.text)

    def test_windows_follow_the_table_or_the_map(self):
        self.openResults()
        display = self.run_.maps["D"].GetDisplayNode()
        self.assertAlmostEqual(display.GetWindowLevelMax(), 3e-3)
        self.ui.windowComboBox.setCurrentIndex(1)
        self.assertNotAlmostEqual(display.GetWindowLevelMax(), 3e-3, 5)
        self.ui.windowComboBox.setCurrentIndex(0)
        self.assertAlmostEqual(display.GetWindowLevelMax(), 3e-3)

    def test_voxels_are_hidden_by_another_map_and_the_stored_values_stay(self):
        self.openResults()
        stored = slicer.util.arrayFromVolume(self.run_.maps["D"]).copy()
        f = slicer.util.arrayFromVolume(self.run_.maps["f"])
        self.choose(self.ui.thresholdComboBox, "f")
        self.assertEqual(self.ui.thresholdSpinBox.value, 5.0)
        self.assertIn("%", self.ui.thresholdSpinBox.suffix)
        self.ui.thresholdSpinBox.setValue(15.0)
        shown = slicer.util.arrayFromVolume(self.shown())
        self.assertFalse(np.isfinite(shown[f < 0.15]).any())
        self.assertTrue(np.array_equal(shown[f > 0.16], stored[f > 0.16], equal_nan=True))
        self.assertTrue(np.array_equal(slicer.util.arrayFromVolume(self.run_.maps["D"]), stored, equal_nan=True))
        self.choose(self.ui.thresholdComboBox, "rmse")
        self.assertIn("above", self.ui.thresholdComboBox.currentText)
        self.choose(self.ui.thresholdComboBox, "")
        self.assertEqual(self.shown(), self.run_.maps["D"])

    def test_the_statistics_show_every_map_with_its_unit_and_are_copied_as_they_stand(self):
        self.openResults()
        table = self.ui.statisticsTable
        self.assertGreater(table.rowCount, 4)
        labels = [table.item(row, 1).text() for row in range(table.rowCount)]
        self.assertIn("D [10⁻³ mm²/s]", labels)
        self.assertIn("f [%]", labels)
        row = labels.index("D [10⁻³ mm²/s]")
        d = slicer.util.arrayFromVolume(self.run_.maps["D"])
        self.assertAlmostEqual(float(table.item(row, 2).text()), 1e3 * np.nanmedian(d), 2)
        numbers = self.ui.regionNumbersTable
        self.assertGreater(numbers.rowCount, 2)
        self.assertIn("±", numbers.item(0, 3).text())
        self.ui.copyStatisticsButton.click()
        lines = self.clipboard().splitlines()
        self.assertEqual(lines[0].split("\t")[:3], ["Region", "Map [unit]", "Median"])
        self.assertEqual(len(lines[1].split("\t")), len(lines[0].split("\t")))
        self.assertIn("Fit of the mean signal", self.clipboard())

    def test_segments_are_the_lines_of_the_statistics(self):
        self.openSample()
        parameters = self.state.parameters
        parameters.regionNode = self.segmentation
        segmentation = self.segmentation.GetSegmentation()
        parameters.segmentIds = [segmentation.GetNthSegmentID(n) for n in range(2)]
        parameters.regionKind = "segments"
        self.state.regionChanged()
        self.tickOnly("segmented")
        self.apply()
        names = {self.ui.statisticsTable.item(row, 0).text() for row in range(self.ui.statisticsTable.rowCount)}
        self.assertEqual(names, {segmentation.GetNthSegment(n).GetName() for n in range(2)})

    def test_choosing_a_run_brings_its_choices_back_and_says_so(self):
        self.openSample()
        self.mark("segmented")
        self.panel.estimators.form("segmented").editor("threshold").setValue(150)
        self.tickOnly("segmented")
        self.apply()
        first = self.panel.results.run.key
        self.state.parameters.excludedImages = [8]
        self.state.signalChanged()
        self.panel.estimators.form("segmented").editor("threshold").setValue(120)
        self.tickOnly("nlls")
        self.mark("nlls")
        self.apply()
        self.assertNotEqual(self.panel.results.run.key, first)
        self.choose(self.ui.runComboBox, first)
        self.assertIn("restored", self.ui.runNotesLabel.text)
        self.assertEqual(self.state.marked, "segmented")
        self.assertEqual(self.state.options("segmented"), {"threshold": 150.0})
        self.assertEqual(list(self.state.parameters.excludedImages), [])
        self.assertEqual(self.shown(), self.panel.results.run.maps["D"])
        self.assertEqual(self.panel.results.run.key, first)
        self.choose(self.ui.mapComboBox, "f")
        self.state.parameters.excludedImages = [7]
        self.choose(self.ui.mapComboBox, "D")
        self.assertEqual(list(self.state.parameters.excludedImages), [7], "a map alone overwrites no edit")

    def test_a_map_that_is_chosen_as_series_opens_its_run(self):
        self.openResults("nlls", "segmented")
        shown = self.panel.results.run.key
        other = next(run for run in runsOf(self.scene) if run.key != shown)
        self.ui.seriesSelector.setCurrentNode(other.maps["f"])
        self.process()
        self.assertEqual(self.panel.results.run.key, other.key)
        self.assertIn("f [%]", self.ui.mapComboBox.currentText)
        self.assertEqual(self.shown(), other.maps["f"])
        self.assertIn("is a map, no series", self.ui.messageLabel.text)
        self.assertIs(self.state.series.node, self.sequence, "the series stays")
        self.assertIs(self.ui.seriesSelector.currentNode(), self.sequence)

    def test_a_map_that_slicers_own_tools_put_into_a_view_opens_its_run(self):
        self.openResults("nlls", "segmented")
        self.ui.returnLayoutButton.click()
        shown = self.panel.results.run.key
        other = next(run for run in runsOf(self.scene) if run.key != shown)
        self.state.parameters.excludedImages = [8]
        self.state.signalChanged()
        green = self.composite("Green")
        green.SetForegroundVolumeID(other.maps["f"].GetID())  # as the controller of the view does
        self.process(0.05)
        self.assertEqual(self.panel.results.run.key, other.key)
        self.assertIn("f [%]", self.ui.mapComboBox.currentText)
        self.assertEqual(list(self.state.parameters.excludedImages), [], "its choices are back")
        self.assertEqual(self.shown("Green"), other.maps["f"])
        self.assertNotEqual(self.shown("Red"), other.maps["f"], "the other views are left alone")
        slicer.util.selectModule("Data")
        green.SetForegroundVolumeID(runsOf(self.scene)[0].maps["D"].GetID())
        self.process(0.05)
        self.assertEqual(self.state.parameters.activeMap, "f", "nobody looks while another module is shown")
        slicer.util.selectModule("IVIMMapping")
        self.process(0.05)
        self.assertEqual(self.panel.results.run.key, runsOf(self.scene)[0].key)
        self.assertEqual(self.state.parameters.activeMap, "D")

    def test_what_the_panel_and_a_loaded_scene_show_is_no_choice_of_a_person(self):
        self.openResults("nlls", "segmented")
        self.choose(self.ui.mapComboBox, "f")
        self.composite("Green").SetForegroundVolumeID(self.panel.results.run.maps["D"].GetID())
        self.process(0.05)
        self.assertEqual(self.state.parameters.activeMap, "D")
        self.choose(self.ui.mapComboBox, "f")
        self.process(0.05)
        self.assertEqual(self.state.parameters.activeMap, "f")
        self.choose(self.ui.compareModeComboBox, "blink")
        self.process(1.2)
        key = self.panel.results.run.key
        self.choose(self.ui.compareModeComboBox, "none")
        self.process(0.05)
        self.assertEqual((self.panel.results.run.key, self.state.parameters.activeMap), (key, "f"))
        self.export("scene", self.folder / "all.mrb")
        self.scene.Clear(0)
        slicer.util.loadScene(str(self.folder / "all.mrb"))
        self.process(0.1)
        self.assertEqual((self.panel.results.run.key, self.state.parameters.activeMap), (key, "f"))

    def test_a_run_is_renamed_in_place_and_removed_after_a_second_click(self):
        self.openResults("nlls", "segmented")
        self.assertEqual(self.ui.runComboBox.count, 2)
        self.ui.renameRunButton.click()
        self.assertFalse(self.ui.renameRunEdit.isHidden())
        self.ui.renameRunEdit.setText("before therapy")
        self.ui.renameRunEdit.returnPressed.emit()
        self.assertIn("before therapy", [run.name for run in runsOf(self.scene)])
        self.assertEqual(self.ui.runComboBox.currentText, "before therapy")
        self.ui.removeRunButton.click()
        self.assertEqual(len(runsOf(self.scene)), 2, "the first click only asks")
        self.ui.removeRunButton.click()
        self.assertEqual([run.name for run in runsOf(self.scene)], [self.ui.runComboBox.currentText])
        self.assertNotEqual(self.ui.runComboBox.currentText, "before therapy")
        self.ui.removeRunButton.click()
        self.ui.removeRunButton.click()
        self.assertEqual(runsOf(self.scene), [])
        self.assertFalse(self.ui.mapComboBox.enabled)

    def export(self, name, answer):
        with mock.patch("IVIMMappingLib.FileChoice.saveFile", lambda *_: str(answer)), \
                mock.patch("IVIMMappingLib.FileChoice.chooseFolder", lambda *_: str(answer)):
            self.panel.results.export.actions[name].trigger()
        self.process()

    def test_every_export_is_written_and_can_be_read_back(self):
        self.openResults()
        self.export("statistics", self.folder / "numbers")
        with open(self.folder / "numbers.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        self.assertEqual({row["map"] for row in rows} >= {"D", "f", "Dstar"}, True)
        self.assertIn("numbers.csv", self.ui.messageLabel.text)
        d = slicer.util.arrayFromVolume(self.run_.maps["D"])
        for name, suffix in (("nifti", ".nii.gz"), ("nrrd", ".nrrd")):
            target = self.folder / name
            target.mkdir()
            self.export(name, target)
            path = next(target.rglob(f"D{suffix}"))
            # Not by SimpleITK: its NIfTI reader turns NaN into 0.
            read, geometry = read_volumes(path)
            np.testing.assert_array_equal(read[..., 0].transpose(2, 1, 0), d, suffix)
            self.assertTrue(geometry.matches(self.state.series.geometry))
        self.export("scene", self.folder / "all.mrb")
        self.assertTrue(zipfile.is_zipfile(self.folder / "all.mrb"))
        self.export("statistics", self.folder / "missing" / "folder" / "numbers.csv")
        self.assertEqual(self.ui.messageLabel.property("level"), "error")
        self.export("statistics", "")
        self.assertEqual(self.ui.messageLabel.property("level"), "error", "declining changes nothing")

    def test_dicom_is_written_by_tick_marks(self):
        self.openResults()
        export, asked = self.panel.results.export, []
        self.assertTrue(all(action.isChecked() for action in export.forms.values()))
        for name in ("images", "capture", "report"):
            export.forms[name].trigger()

        def write(run, source, folder, forms, scene, logic, patientId=None):
            asked.append((source, folder, forms, patientId))
            if patientId is None:
                raise PatientIdNeeded("No Patient ID.")
            return Exported(Path(folder), [Path("D.dcm")], ["A note."])

        with mock.patch("IVIMMappingLib.ExportMenu.exportDicom", write), \
                mock.patch("IVIMMappingLib.FileChoice.askText", lambda *_: "P7"):
            self.export("dicom", self.folder)
        folder = str(self.folder)
        self.assertEqual(asked, [(folder, folder, ["maps"], None), (folder, folder, ["maps"], "P7")])
        self.assertIn("A note.", self.ui.messageLabel.text)
        export.forms["maps"].trigger()
        self.export("dicom", self.folder)
        self.assertEqual(len(asked), 2)
        self.assertIn("at least one", self.ui.messageLabel.text)

    def test_the_figure_is_written_or_the_reason_is_said(self):
        self.openResults()
        self.export("figure", self.folder / "figure.png")
        path = self.folder / "figure.png"
        if not path.exists():
            self.assertEqual(self.ui.messageLabel.property("level"), "error")
            self.skipTest(self.ui.messageLabel.text)
        self.assertEqual(path.read_bytes()[:4], b"\x89PNG")

    def test_everything_comes_back_with_the_saved_scene(self):
        self.openResults("nlls", "segmented")
        self.mark("nlls")
        self.ui.parameterTable.item(0, 3).setText("4")
        self.choose(self.ui.mapComboBox, "f")
        self.ui.opacitySlider.setValue(0.5)
        other = self.ui.runComboBox.itemData(1)
        self.choose(self.ui.runComboBox, other)
        self.state.parameters.excludedImages = [8]
        self.state.signalChanged()
        statistics = [self.ui.statisticsTable.item(row, 2).text() for row in range(5)]
        options = self.state.parameters.optionsJson
        self.export("scene", self.folder / "all.mrb")
        self.scene.Clear(0)
        self.process(0.1)
        self.assertEqual(self.ui.runComboBox.count, 0)
        slicer.util.loadScene(str(self.folder / "all.mrb"))
        self.process(0.3)
        parameters = self.state.parameters
        self.assertEqual(list(parameters.estimators), ["nlls", "segmented"])
        self.assertEqual(parameters.optionsJson, options)
        self.assertEqual(list(parameters.excludedImages), [8])
        self.assertEqual(self.ui.runComboBox.count, 2)
        self.assertEqual(self.ui.runComboBox.itemData(self.ui.runComboBox.currentIndex), other)
        self.assertIn("f [%]", self.ui.mapComboBox.currentText)
        self.assertAlmostEqual(self.ui.opacitySlider.value, 0.5)
        self.assertEqual([self.ui.statisticsTable.item(row, 2).text() for row in range(5)], statistics)
        self.assertIsNotNone(self.state.series)
        self.apply()
        self.assertEqual(self.ui.runComboBox.count, 4, "a loaded scene can be gone on with")

    def test_a_mono_exponential_run_has_a_layout_too(self):
        self.openResults("adc")
        self.assertIn("ADC", self.run_.maps)
        self.assertEqual(self.shown(), self.run_.maps["ADC"])
        self.assertTrue(self.panel.results.layout.isShown)
        self.assertIn("adc", self.ui.runNotesLabel.text)
        self.assertNotIn("highest", self.ui.runNotesLabel.text, "what was not changed is not listed")
