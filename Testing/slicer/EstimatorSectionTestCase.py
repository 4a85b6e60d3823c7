"""Step 3 as a person uses it: ticks, description, organ, parameter table, options, expectation, command."""

import json
import math

import numpy as np
import slicer
from IVIMTestSample import SampleTest

from ivimcore import available
from ivimcore.jobs.job import Job
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.StatisticsTable import rowsOfTable

LOWER, UPPER, FIXED = 2, 3, 4


class EstimatorSectionTest(SampleTest):
    def cell(self, row, column):
        return self.ui.parameterTable.item(row, column)

    def own(self, name):
        from IVIMMappingLib.MappingParameterNode import optionsOf

        return optionsOf(self.state.parameters).get(name, {})

    def test_every_estimator_is_listed_and_the_posterior_is_first_and_ticked(self):
        self.openModule()
        names = self.panel.estimators.names
        self.assertEqual(set(names), set(available()))
        self.assertEqual(names[0], "posterior")
        ticked = [
            name for row, name in enumerate(names)
            if self.ui.estimatorList.item(row).checkState() == self.qt.Qt.Checked
        ]
        self.assertEqual(ticked, ["posterior"])
        for row, name in enumerate(names):
            about = available()[name]
            tip = self.ui.estimatorList.item(row).toolTip()
            self.assertIn(about.description, tip)
            self.assertIn(about.references[0], tip)

    def test_a_tick_is_written_to_the_scene_in_the_order_of_the_list(self):
        self.openSample()
        self.tick("segmented")
        self.tick("nlls")
        self.assertEqual(list(self.state.parameters.estimators), ["posterior", "nlls", "segmented"])
        self.tick("posterior", False)
        self.assertEqual(list(self.state.parameters.estimators), ["nlls", "segmented"])

    def test_an_estimator_that_cannot_fit_the_series_says_why(self):
        self.openSample(bvalues=(0, 200, 800))
        item = self.ui.estimatorList.item(self.row("nlls"))
        self.assertIn("not possible", item.text())
        self.assertIn("different b-values", item.toolTip())
        self.assertNotIn("not possible", self.ui.estimatorList.item(self.row("adc")).text())
        self.mark("nlls")
        self.assertIn("different b-values", self.ui.estimatorLabel.text)
        self.assertFalse(self.ui.applyButton.enabled)
        self.assertIn("different b-values", self.ui.applyButton.toolTip)
        self.process(0.4)
        self.assertIn("adc", self.ui.recommendLabel.text)

    def test_the_marked_estimator_is_described_with_its_reference(self):
        self.openSample()
        self.mark("segmented")
        about = available()["segmented"]
        self.assertIn(about.description, self.ui.estimatorLabel.text)
        self.assertIn(about.references[0], self.ui.estimatorLabel.text)
        self.assertEqual(list(self.state.parameters.estimators), ["posterior"], "marking is not ticking")

    def test_an_edited_limit_becomes_an_option_in_stored_units(self):
        self.openSample()
        self.mark("nlls")
        self.cell(0, UPPER).setText("4")
        self.assertEqual(self.own("nlls"), {"bounds": {"D": [0.0, 4e-3]}})
        self.assertEqual(self.cell(0, UPPER).text(), "4")
        self.ui.resetOptionsButton.click()
        self.assertEqual(self.own("nlls"), {})
        self.assertEqual(self.cell(0, UPPER).text(), "5")

    def test_a_wrong_limit_is_refused_with_a_sentence_and_the_old_one_stays(self):
        self.openSample()
        self.mark("nlls")
        for text in ("nonsense", "1,5", "-3"):
            self.cell(0, LOWER).setText(text)
            self.assertEqual(self.cell(0, LOWER).text(), "0")
            self.assertFalse(self.ui.messageFrame.isHidden())
            self.assertGreater(len(self.ui.messageLabel.text), 20)
        self.cell(0, LOWER).setText("9")
        self.assertEqual(self.own("nlls"), {})
        self.cell(0, LOWER).setText("0.1")
        self.assertTrue(self.ui.messageFrame.isHidden(), "a right entry clears the message")

    def test_a_fixed_parameter_has_equal_limits_and_can_be_released(self):
        self.openSample()
        self.mark("nlls")
        self.cell(2, FIXED).setCheckState(self.qt.Qt.Checked)
        low, high = self.own("nlls")["bounds"]["Dstar"]
        self.assertEqual(low, high)
        self.cell(2, FIXED).setCheckState(self.qt.Qt.Unchecked)
        self.assertEqual(self.own("nlls"), {})

    def test_only_what_the_estimator_uses_can_be_edited(self):
        self.openSample()
        self.mark("adc")
        for row in range(self.ui.parameterTable.rowCount):
            for column in (LOWER, UPPER):
                self.assertFalse(bool(self.cell(row, column).flags() & self.qt.Qt.ItemIsEditable))
        self.mark("nlls")
        self.assertTrue(bool(self.cell(0, LOWER).flags() & self.qt.Qt.ItemIsEditable))
        self.assertFalse(bool(self.cell(0, 1).flags() & self.qt.Qt.ItemIsEditable), "start is found by the estimator")

    def test_an_organ_fills_the_table_and_names_its_source(self):
        self.openSample()
        self.mark("nlls")
        self.cell(0, UPPER).setText("3")
        self.choose(self.ui.organComboBox, "brain")
        self.assertEqual(self.cell(0, UPPER).text(), "4")
        self.assertEqual(self.cell(0, 6).text(), "0.83")
        self.assertIn("Vieni", self.ui.organNotesLabel.text)
        self.assertIn("nlls", self.ui.messageLabel.text, "typed limits do not vanish silently")
        self.assertEqual(self.state.options("nlls"), {"organ": "brain"})

    def test_options_are_edited_by_widgets_of_their_kind(self):
        self.openSample()
        self.mark("segmented")
        form = self.panel.estimators.form("segmented")
        form.editor("threshold").setValue(150.0)
        form.editor("fit_f").setChecked(True)
        self.assertEqual(self.own("segmented"), {"threshold": 150.0, "fit_f": True})
        form.editor("fit_f").setChecked(False)
        self.assertEqual(self.own("segmented"), {"threshold": 150.0})
        self.mark("posterior")
        form = self.panel.estimators.form("posterior")
        self.choose(form.editor("prior"), "uniform")
        self.assertEqual(self.own("posterior"), {"prior": "uniform"})
        self.choose(form.editor("prior"), "learned_local")
        self.assertEqual(self.own("posterior"), {})

    def test_a_number_may_be_a_word(self):
        self.openSample()
        self.mark("mle_rician")
        editor = self.panel.estimators.form("mle_rician").editor("sigma")
        self.assertEqual(editor.currentText, "automatic")

        def write(text):
            editor.setEditText(text)
            editor.lineEdit().editingFinished.emit()

        write("12.5")
        self.assertEqual(self.own("mle_rician"), {"sigma": 12.5})
        self.assertEqual(editor.currentText, "12.5 signal units")
        write("loud")
        self.assertEqual(self.own("mle_rician"), {"sigma": 12.5}, "the old value stays")
        self.assertIn("needs a number", self.ui.messageLabel.text)
        self.assertEqual(editor.currentText, "12.5 signal units")
        write("automatic")
        self.assertEqual(self.own("mle_rician"), {})
        self.mark("adc")
        editor = self.panel.estimators.form("adc").editor("highest")
        self.assertEqual(editor.currentText, "no limit")

    def test_every_option_of_every_estimator_has_a_widget_and_a_tool_tip(self):
        self.openSample()
        for name, about in available().items():
            self.mark(name)
            form = self.panel.estimators.form(name)
            for option in about.options:
                if option.name not in ("organ", "bounds"):
                    self.assertIn(option.sentence[:30], form.editor(option.name).toolTip or form.widget.toolTip or
                                  option.sentence)
            self.assertFalse(form.widget.isHidden())

    def test_what_to_expect_in_a_chosen_region_follows_from_the_noise_of_that_region(self):
        self.openSample()
        masks = self.phantom.labels
        noisy = masks == np.unique(masks[masks > 0])[0]
        rng = np.random.default_rng(1)
        for number in range(self.sequence.GetNumberOfDataNodes()):
            node = self.sequence.GetNthDataNode(number)
            values = slicer.util.arrayFromVolume(node)
            values[noisy.transpose(2, 1, 0)] += rng.normal(0, 60, int(noisy.sum()))
            slicer.util.arrayFromVolumeModified(node)
        slicer.util.addVolumeFromArray(
            noisy.transpose(2, 1, 0).astype(np.uint8), np.asarray(self.state.series.geometry.affine), "noisy part",
            "vtkMRMLLabelMapVolumeNode",
        )
        self.process(0.4)
        before = float(self.ui.expectationLabel.text.split("noise ")[1].split(",")[0])
        self.choose(self.ui.regionKindComboBox, "labels")
        self.process(0.5)
        self.assertIn("In this region", self.ui.expectationLabel.text)
        after = float(self.ui.expectationLabel.text.split("noise ")[1].split(",")[0])
        self.assertGreater(after, 1.5 * before)
        self.assertAlmostEqual(after / 60, 1.0, delta=0.5)

    def test_what_to_expect_is_said_in_words_and_colours_before_a_run(self):
        self.openSample()
        self.process(0.4)
        table = self.ui.expectationTable
        self.assertEqual([table.item(row, 0).text() for row in range(table.rowCount)], ["D", "f", "D*"])
        for row in range(table.rowCount):
            self.assertRegex(table.item(row, 1).text(), "good|fair|poor")
            self.assertRegex(table.item(row, 2).text(), "%|undetermined")
        self.assertIn("signal units", self.ui.expectationLabel.text)
        self.assertIn("posterior", self.ui.recommendLabel.text)
        self.ui.snrSpinBox.setValue(3.0)
        self.process(0.4)
        self.assertIn("SNR 3 as typed", self.ui.expectationLabel.text)
        self.assertEqual(self.state.parameters.snr, 3.0)
        self.assertIn("poor", " ".join(table.item(row, 1).text() for row in range(3)))
        self.mark("adc")
        self.process(0.4)
        self.assertEqual(table.item(0, 0).text(), "ADC")

    def test_the_present_choices_can_be_copied_as_a_command(self):
        self.openSample()
        self.tickOnly("nlls")
        self.mark("nlls")
        self.cell(0, UPPER).setText("4")
        self.ui.commandButton.click()
        self.assertFalse(self.ui.commandFrame.isHidden())
        self.choose(self.ui.commandComboBox, "shell")
        self.ui.copyCommandButton.click()
        self.assertIn("ivim map", self.clipboard())
        self.assertIn("save it", self.clipboard(), "the series lies in the scene only")
        self.choose(self.ui.commandComboBox, "python")
        self.ui.copyCommandButton.click()
        compile(self.clipboard(), "copied", "exec")
        self.choose(self.ui.commandComboBox, "slicer")
        self.ui.copyCommandButton.click()
        compile(self.clipboard(), "copied", "exec")
        self.choose(self.ui.commandComboBox, "json")
        job = Job.from_json(self.ui.commandText.toPlainText())
        self.assertEqual(job.estimators[0].options["bounds"]["D"], [0.0, 4e-3])
        self.assertEqual(len(job.bvalues), 8)
        self.tick("segmented")
        self.assertIn("segmented", json.dumps(self.ui.commandText.toPlainText()), "the text follows the choices")
        self.tickOnly()
        self.assertIn("Tick at least one estimator", self.ui.commandText.toPlainText())

    def test_the_lines_for_the_console_fit_the_region_of_the_panel(self):
        self.openSample()
        self.tickOnly("adc")
        self.choose(self.ui.regionKindComboBox, "segments")
        self.ui.segmentList.item(0).setCheckState(self.qt.Qt.Unchecked)
        self.process(0.3)
        wanted = self.state.region()
        self.assertNotIn("liver", wanted.masks)
        self.ui.commandButton.click()
        self.choose(self.ui.commandComboBox, "slicer")
        exec(compile(self.ui.commandText.toPlainText(), "panel", "exec"), {"slicer": slicer})
        run = runsOf(self.scene)[0]
        regions = {row["region"] for row in rowsOfTable(run.statistics)}
        self.assertEqual(regions, set(wanted.masks))
        fitted = slicer.util.arrayFromVolume(run.maps["D" if "D" in run.maps else "ADC"]).transpose(2, 1, 0)
        self.assertFalse((np.isfinite(fitted) & ~wanted.mask).any())
        curve = self.scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", "outline")
        self.choose(self.ui.regionKindComboBox, "curve")
        self.ui.regionNodeSelector.setCurrentNode(curve)
        self.process(0.3)
        self.assertIn("segmentationNode=slicer.util.getNode('outline')", self.ui.commandText.toPlainText())

    def test_nothing_in_the_tables_is_without_unit(self):
        self.openSample()
        self.mark("nlls")
        units = [self.cell(row, 5).text() for row in range(self.ui.parameterTable.rowCount)]
        self.assertEqual(units[:3], ["10⁻³ mm²/s", "%", "10⁻³ mm²/s"])
        self.assertTrue(math.isfinite(float(self.cell(1, UPPER).text())))
