"""Follow-up in the panel: from the start choice to the sentence on the clipboard, as a person clicks."""

import functools
from unittest import mock

import slicer
from IVIMTestFollowUp import LESION, cohort, patient
from IVIMTestSample import SampleTest

from IVIMMappingLib.Runs import runsOf


class FollowUpSectionTest(SampleTest):
    def openDates(self, growth=1.4, number=2):
        """Fit the first date, choose the second; returns the nodes of all dates."""
        self.openModule()
        self.state = self.panel.state
        applicationLogic = slicer.app.applicationLogic()
        self.dates = [
            patient(self.scene, applicationLogic, f"MUELLER {n}", growth ** min(n, 1), seed=n + 1)
            for n in range(number)
        ]
        self.panel.series.choose(self.dates[0][0])
        self.process(0.02)
        self.choose(self.ui.regionKindComboBox, "segments")
        self.ui.regionNodeSelector.setCurrentNode(self.dates[0][2])
        self.process(0.3)
        self.tickOnly("segmented")
        self.apply()
        self.ui.returnLayoutButton.click()
        self.before = runsOf(self.scene)[0]
        self.panel.series.choose(self.dates[1][0])
        self.process(0.02)

    def startFollowUp(self):
        self.ui.followUpStartButton.click()
        self.process(0.02)

    def chooseReference(self, **options):
        path = self.folder / "reference.json"
        cohort(self.before, **options).save(path)
        with mock.patch("IVIMMappingLib.FileChoice.openFile", lambda *_: str(path)):
            self.ui.referenceButton.click()
        self.process()

    def followUp(self):
        """Take over and fit."""
        self.choose(self.ui.earlierComboBox, self.before.key)
        self.ui.takeOverButton.click()
        self.process(0.3)
        self.apply()
        self.process(0.1)

    def row(self, name):
        return self.panel.estimators.names.index(name)

    def cells(self, row):
        return [self.ui.followUpTable.item(row, column).text() for column in range(self.ui.followUpTable.columnCount)]

    def line(self, region=LESION, symbol="D"):
        rows = [self.cells(row) for row in range(self.ui.followUpTable.rowCount)]
        return next(cells for cells in rows if cells[0] == region and cells[1].startswith(f"{symbol} "))

    def tearDown(self):
        slicer.app.userSettings().setValue("IVIMMapping/referenceCohort", "")
        super().tearDown()

    def test_the_tutorial_of_the_readme(self):
        from IVIMMappingLib import SeriesSection  # imports qt, which exists once the desktop has started

        self.openModule()
        self.state = self.panel.state
        ui, small = self.ui, {"shape": (48, 48, 3), "snr": 150.0, "variation": 0.0}
        samples = {name: functools.partial(getattr(SeriesSection, name), **small)
                   for name in ("createPhantomSeries", "createSecondDate")}
        with mock.patch.multiple(SeriesSection, **samples):
            ui.sampleButton.click()  # 1
            self.waitUntil(lambda: self.state.series is not None, 30)
            self.choose(ui.regionKindComboBox, "segments")
            self.process(0.3)
            self.tickOnly("segmented")
            self.apply()
            ui.followUpStartButton.click()  # 2
            ui.sampleButton.click()
            self.waitUntil(lambda: "second date" in self.state.series.name, 30)
        self.before = runsOf(self.scene)[0]
        self.choose(ui.earlierComboBox, self.before.key)  # 3
        ui.takeOverButton.click()
        self.process(0.3)
        self.assertIn("6 regions were taken over", ui.takeOverLabel.text)
        self.apply()  # 4
        self.process(0.1)
        self.assertIn("No verdict: 12 of 12", ui.answerLabel.text)
        self.chooseReference()  # 5
        self.assertIn("Changed: liver metastasis, D +2", ui.answerLabel.text)
        self.press("Shift+R")  # 6
        self.assertIn("liver metastasis: D 1.", self.clipboard())

    # --- the way through -------------------------------------------------------------------------------------------

    def test_one_click_begins_a_follow_up_and_is_saved_in_the_scene(self):
        self.openModule()
        self.assertTrue(self.ui.newSeriesButton.checked)
        self.assertTrue(self.ui.followUpButton.isHidden())
        self.ui.followUpStartButton.click()
        self.assertFalse(self.ui.followUpButton.isHidden())
        self.assertEqual(self.panel.state.parameters.startMode, "follow-up")
        self.panel.attach()
        self.assertTrue(self.ui.followUpStartButton.checked)
        self.ui.newSeriesButton.click()
        self.assertTrue(self.ui.followUpButton.isHidden())
        self.assertIn("none in this scene", self.ui.earlierComboBox.itemText(0))

    def test_from_two_dates_to_the_sentence_for_the_report(self):
        self.openDates()
        self.startFollowUp()
        self.assertEqual(self.ui.earlierComboBox.currentIndex, 0, "nobody is offered by a name")
        self.assertFalse(self.ui.takeOverButton.enabled)
        self.chooseReference()
        self.assertIn("n = 20", self.ui.referenceLabel.text)
        self.followUp()
        self.assertIn("check every position", self.ui.takeOverLabel.text)
        parameters = self.state.parameters
        self.assertEqual((parameters.regionKind, list(parameters.estimators)), ("segments", ["segmented"]))
        self.assertTrue(parameters.regionNode.GetName().endswith("(follow-up)"))
        self.assertEqual(self.ui.segmentList.count, 6)
        cells = self.line()
        self.assertIn("changed (higher)", cells[3])
        self.assertIn(f"Changed: {LESION}, D +", self.ui.answerLabel.text)
        self.assertIn("D* of 'liver', 'spleen'", self.ui.followUpLabel.text)
        self.assertRegex(cells[4], r"^\+\d+ % \(\+\d+ % … \+\d+ %\)$")
        self.assertIn("within chance", self.line(symbol="f")[3])
        self.assertIn("12 comparisons at 5 % each", self.ui.followUpLabel.text)
        self.assertTrue(self.panel.answer.layout.isShown, "both dates open by themselves")
        views = [slicer.app.layoutManager().sliceWidget(f"IVIMDate{n}").sliceLogic() for n in range(1, 5)]
        shown = [view.GetSliceCompositeNode().GetForegroundVolumeID() for view in views]
        after = runsOf(self.scene)[0]
        self.assertEqual(shown, [run.maps[key].GetID() for key in ("D", "f") for run in (self.before, after)])
        self.assertTrue(all(view.GetSliceCompositeNode().GetLinkedControl() for view in views))
        self.press("Shift+R")
        text = self.clipboard()
        self.assertIn(f"{LESION}: D 1.", text)
        self.assertIn("(n = 20): changed", text)
        self.assertNotIn("MUELLER", text)
        self.ui.followUpReturnButton.click()
        self.assertFalse(self.panel.answer.layout.isShown)
        self.picture("followup.png", width=500)

    def test_without_a_cohort_no_verdict_and_damaged_files_change_nothing(self):
        self.openDates()
        self.startFollowUp()
        self.followUp()
        self.assertIn("no verdict", self.line()[3])
        self.assertEqual(self.line()[5], "–")
        self.assertIn("No limit is known", self.ui.followUpLabel.text)
        for content in ("{", '{"format": "other"}', '{"format": "ivim-reference-cohort-1", "entries": [{}]}'):
            path = self.folder / "damaged.json"
            path.write_text(content)
            with mock.patch("IVIMMappingLib.FileChoice.openFile", lambda *_, path=path: str(path)):
                self.ui.referenceButton.click()
            self.assertIn("damaged.json", self.ui.messageLabel.text)
            self.assertIsNone(self.panel.answer.reference)
        self.chooseReference(subjects=6, estimator="segmented")
        self.assertIn("no verdict", self.line()[3])
        self.ui.fewCheckBox.click()
        self.process()
        self.assertIn("changed (higher)", self.line()[3])
        self.ui.holmCheckBox.click()
        self.process()
        self.assertIn("corrected for", self.ui.followUpTable.item(0, 3).toolTip())
        self.assertFalse([row for row in range(self.ui.followUpTable.rowCount) if "D*" in self.cells(row)[1]])
        self.ui.dstarCheckBox.click()
        self.process()
        self.assertTrue([row for row in range(self.ui.followUpTable.rowCount) if "D*" in self.cells(row)[1]])
        self.restartSettings()
        (self.folder / "reference.json").unlink()
        self.panel.answer.refresh()
        self.assertIn("cannot be read", self.ui.referenceLabel.text)
        self.ui.noReferenceButton.click()
        self.assertIn("No reference cohort", self.ui.referenceLabel.text)

    def test_a_foreign_cohort_is_doubted_and_judges_only_when_told_to(self):
        self.openDates()
        self.startFollowUp()
        path = self.folder / "foreign.json"
        made = cohort(self.before, region="prostate", estimator="nlls", bvalues=(0.0, 500.0), prior={"kind": "organ"})
        two = [*made.entries, *cohort(self.before, region="brain").entries]
        cohort(None, entries=tuple(two), bvalues=(0.0, 500.0), estimator="nlls").save(path)
        with mock.patch("IVIMMappingLib.FileChoice.openFile", lambda *_: str(path)):
            self.ui.referenceButton.click()
        self.followUp()
        self.assertIn("no verdict", self.line()[3])
        self.assertIn("limits are of the estimator 'nlls'", self.ui.followUpLabel.text)
        self.assertIn("b-values are not those", self.ui.followUpLabel.text)
        self.choose(self.ui.judgedByComboBox, "prostate")
        self.assertIn("changed", self.line()[3])
        self.assertIn("judged by the limits of 'prostate'", self.ui.followUpLabel.text)

    def test_a_third_date_draws_a_trend_with_limits(self):
        self.openDates(number=3)
        self.startFollowUp()
        self.chooseReference()
        self.followUp()
        self.assertTrue(self.ui.trendFrame.isHidden(), "two dates are no trend")
        self.before = runsOf(self.scene)[0]
        self.panel.series.choose(self.dates[2][0])
        self.process(0.02)
        self.followUp()
        self.assertFalse(self.ui.trendFrame.isHidden())
        charts = self.scene.GetNodesByClass("vtkMRMLPlotChartNode")
        chart = next(c for c in (charts.GetItemAsObject(i) for i in range(charts.GetNumberOfItems()))
                     if c.GetAttribute("IVIM.Chart") == "IVIM trend")
        self.assertEqual(chart.GetNumberOfPlotSeriesNodes(), 3)
        first = chart.GetNthPlotSeriesNode(0)
        self.assertEqual(first.GetTableNode().GetTable().GetNumberOfRows(), 3)
        self.assertEqual(chart.GetNthPlotSeriesNode(1).GetLineStyle(), first.LineStyleDash)
        self.assertIn("over 3 dates", self.ui.trendLabel.text)
        row = next(n for n in range(self.ui.followUpTable.rowCount) if self.cells(n)[0] == LESION)
        self.ui.followUpTable.setCurrentCell(row, 0)
        self.process()
        self.assertIn(f"of {LESION} over 3 dates", self.ui.trendLabel.text)
        self.picture("trend.png", width=500)

    def test_an_earlier_result_comes_from_a_scene_file(self):
        self.openDates()
        path = self.folder / "earlier.mrb"
        self.logic.exportScene(path)
        self.scene.Clear(0)
        self.process(0.05)
        nodes = patient(self.scene, slicer.app.applicationLogic(), "now", 1.4, seed=2)
        self.panel.series.choose(nodes[0])
        self.startFollowUp()
        with mock.patch("IVIMMappingLib.FileChoice.openFile", lambda *_: str(path)):
            self.ui.earlierSceneButton.click()
        self.process(0.1)
        self.assertEqual(self.ui.messageLabel.text, "")
        self.assertEqual(self.state.parameters.startMode, "follow-up")
        self.assertIs(self.state.series.node, nodes[0], "the chosen series stays")
        self.before = runsOf(self.scene)[0]
        self.assertEqual(self.state.parameters.earlierRun, self.before.key)
        self.followUp()
        self.assertIn(LESION, self.line()[0])
        (self.folder / "nothing").mkdir()
        with mock.patch("IVIMMappingLib.FileChoice.chooseFolder", lambda *_: str(self.folder / "nothing")):
            self.ui.earlierFolderButton.click()
        self.assertIn("holds no result", self.ui.messageLabel.text)

    def test_the_same_patient_is_offered_by_itself(self):
        self.openDates()
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        person = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "whoever")
        hierarchy.SetItemLevel(person, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient())
        hierarchy.SetItemAttribute(person, "DICOM.PatientID", "4711")
        for node in (*self.dates[0][:2], *self.dates[1][:2]):
            item = hierarchy.GetItemByDataNode(node)
            hierarchy.SetItemParent(item, person) if item else hierarchy.CreateItem(person, node)
        self.panel.start.enter()
        self.assertIn("earlier result of the same patient", self.ui.offerLabel.text)
        self.assertNotIn("4711", self.ui.offerLabel.text)
        self.startFollowUp()
        self.assertEqual(self.state.parameters.earlierRun, self.before.key)
        self.assertIn("Chosen by itself", self.ui.takeOverLabel.text)

    def test_a_scene_from_before_opens_as_a_new_series(self):
        self.openModule()
        node = self.panel.state.parameters.parameterNode
        self.startFollowUpOf(self.panel)
        for name in ("startMode", "earlierRun", "followUpAlign", "followUpHolm", "followUpFew", "followUpDstar",
                     "judgedBy", "retestSessions"):
            node.UnsetParameter(name)
        self.panel.attach()
        self.assertTrue(self.ui.newSeriesButton.checked)
        self.assertTrue(self.ui.followUpButton.isHidden())
        self.assertFalse(self.ui.holmCheckBox.checked)

    @staticmethod
    def startFollowUpOf(panel):
        panel.ui.followUpStartButton.click()
        panel.ui.holmCheckBox.click()

    def test_clicks_without_anything_do_no_harm(self):
        self.openModule()
        self.startFollowUp()
        with mock.patch("IVIMMappingLib.FileChoice.openFile", lambda *_: ""), \
                mock.patch("IVIMMappingLib.FileChoice.chooseFolder", lambda *_: ""):
            for name in ("earlierSceneButton", "earlierFolderButton", "takeOverButton", "referenceButton",
                         "noReferenceButton", "sideBySideButton", "followUpReturnButton", "copyFollowUpButton"):
                getattr(self.ui, name).click()
                self.process()
        self.press("Shift+R")
        self.scene.Clear(0)
        self.process(0.05)
        self.press("Shift+R")
