"""Test-retest in the panel: add sessions, read the table and the plot, save report and cohort file."""

import json
from unittest import mock

import slicer
from IVIMTestFollowUp import LESION, patient
from IVIMTestSample import SampleTest

from ivimcore.reports.referencecohort import load_reference
from IVIMMappingLib.Runs import runsOf


class RetestSectionTest(SampleTest):
    def openSessions(self):
        """Fit two phantom subjects twice and open the section."""
        self.openModule()
        self.state = self.panel.state
        for subject in (1, 2):
            for session in (1, 2):
                nodes = patient(self.scene, slicer.app.applicationLogic(), f"MUELLER {subject} {session}",
                                1 + 0.2 * subject, seed=10 * subject + session)
                self.logic.process(nodes[0], "segmented", nodes[2])
        self.state.runsChanged()
        self.ui.retestButton.collapsed = False
        self.process()

    def addAll(self):
        self.ui.retestRunComboBox.setCurrentIndex(0)
        for row, subject in enumerate(("A", "A", "B", "B")):
            self.ui.addSessionButton.click()
            self.process()
            self.ui.sessionTable.item(row, 0).setText(subject)
            self.process()

    def text(self, table, row, column):
        return table.item(row, column).text()

    def test_sessions_become_a_table_a_plot_and_files(self):
        self.openSessions()
        self.addAll()
        ui = self.ui
        self.assertEqual([self.text(ui.sessionTable, row, 1) for row in range(4)], ["1", "2", "1", "2"])
        lines = [self.text(ui.retestTable, row, 0) for row in range(ui.retestTable.rowCount)]
        self.assertIn(LESION, lines)
        row = next(n for n, name in enumerate(lines) if name == LESION)
        ui.retestTable.setCurrentCell(row, 1)
        self.process()
        self.assertFalse(ui.blandAltmanFrame.isHidden())
        charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
        chart = next(c for c in charts if c.GetAttribute("IVIM.Chart") == "IVIM Bland-Altman")
        self.assertIn(LESION, chart.GetTitle())
        self.assertEqual(chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetNumberOfRows(), 2)
        self.assertIn("2 subjects", ui.retestLabel.text)
        self.assertIn(f"D in {LESION} beyond", ui.claimLabel.text)
        ui.copyRetestButton.click()
        self.assertIn("ICC(2,1)", self.clipboard())
        path = self.folder / "ours.json"
        with mock.patch("IVIMMappingLib.FileChoice.saveFile", lambda *_: str(path)):
            ui.saveReferenceButton.click()
        self.assertIn(LESION, load_reference(path).regions())
        self.assertNotIn("MUELLER", path.read_text("utf-8"))
        folder = self.folder / "report"
        with mock.patch("IVIMMappingLib.FileChoice.chooseFolder", lambda *_: str(folder)), \
                mock.patch("ivimcore.reports.report.print_pdf", lambda *_: "No PDF was made."):
            ui.saveReportButton.click()
        self.assertTrue((folder / "report.html").is_file() or "needs" in ui.messageLabel.text, ui.messageLabel.text)
        self.picture("retest.png", width=600)

    def test_sessions_are_saved_in_the_scene_and_come_back(self):
        self.openSessions()
        self.addAll()
        kept = json.loads(self.state.parameters.retestSessions)
        self.assertEqual([subject for _, subject in kept], ["A", "A", "B", "B"])
        path = self.folder / "study.mrb"
        self.logic.exportScene(path)
        self.scene.Clear(0)
        self.process(0.05)
        self.assertEqual(self.ui.sessionTable.rowCount, 0)
        slicer.util.loadScene(str(path))
        self.process(0.05)
        self.assertEqual(self.ui.sessionTable.rowCount, 4)
        self.assertEqual(len(runsOf(self.scene)), 4)
        self.ui.sessionTable.setCurrentCell(3, 0)
        self.ui.removeSessionButton.click()
        self.process()
        self.assertEqual(self.ui.sessionTable.rowCount, 3)
        self.assertEqual(len(runsOf(self.scene)), 4, "the run stays")

    def test_wrong_clicks_are_sentences(self):
        self.openModule()
        self.state = self.panel.state
        with mock.patch("IVIMMappingLib.FileChoice.chooseFolder", lambda *_: str(self.folder)), \
                mock.patch("IVIMMappingLib.FileChoice.saveFile", lambda *_: ""):
            for name in ("addSessionButton", "removeSessionButton", "copyRetestButton", "saveReportButton",
                         "saveReferenceButton", "addFolderButton"):
                getattr(self.ui, name).click()
                self.process()
        self.assertIn("holds no result", self.ui.messageLabel.text)
        self.openSessions()
        self.ui.addSessionButton.click()
        self.assertIn("No subject has two sessions", self.ui.retestLabel.text)
        self.ui.sessionTable.item(0, 0).setText("  ")
        self.process()
        self.assertIn("type a name", self.ui.messageLabel.text)
        self.ui.retestRunComboBox.setCurrentIndex(0)
        self.ui.addSessionButton.click()
        self.assertIn("already", self.ui.messageLabel.text)
        self.state.parameters.retestSessions = "{nothing"
        self.panel.attach()
        self.assertEqual(self.ui.sessionTable.rowCount, 0)
