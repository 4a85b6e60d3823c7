"""What a person meets in every widget: tool tips, words that are not cut off, the way of the Tab key, folding steps."""

import unittest.mock
from xml.etree import ElementTree

import slicer
from IVIMTestPanel import MODULE
from IVIMTestSample import SampleTest
from IVIMTestScene import IN_DESKTOP

from ivimcore import available
from ivimcore.errors import ChoiceNeeded

UI = MODULE.parent / "Resources" / "UI" / "IVIMMapping.ui"
INTERACTIVE = {
    "QPushButton", "QRadioButton", "QToolButton", "QCheckBox", "QComboBox", "QLineEdit", "QDoubleSpinBox",
    "QTableWidget", "QListWidget", "QPlainTextEdit", "qMRMLNodeComboBox", "ctkSliderWidget", "ctkCollapsibleButton",
}
STEPS = ("seriesButton", "curveButton", "regionButton", "estimatorButton", "resultButton")
WIDTH = 420
WORDS = (
    "averageComboBox", "regionKindComboBox", "organComboBox", "windowComboBox", "thresholdComboBox",
    "compareModeComboBox", "commandComboBox",
)
"""Boxes whose entries are ours, not names of nodes that may have any length."""
ARROW = 32  # pixels of a box that no text has


def widgetsOfFile():
    """Return (name, class) of every widget of the .ui, from top to bottom."""
    return [(item.get("name"), item.get("class")) for item in ElementTree.parse(UI).iter("widget")]


class PanelWidgetsTest(SampleTest):
    @unittest.skipIf(IN_DESKTOP, "there it is an option of the program")
    def test_both_panels_open_without_a_main_window(self):
        """As with `Slicer --no-main-window`, which has no layout manager either."""
        with (
            unittest.mock.patch.object(self.desktop, "layoutManager", None),
            unittest.mock.patch.object(slicer.util, "mainWindow", lambda: None),
        ):
            for module in (slicer.modules.ivimmapping, slicer.modules.ivimtraining):
                widget = module.widgetRepresentation().self()
                widget.enter()
                self.process()
                widget.exit()
                self.assertIsNotNone(widget.panel.state.parameters)

    def test_every_widget_that_can_be_used_has_a_tool_tip(self):
        self.openModule()
        names = [name for name, kind in widgetsOfFile() if kind in INTERACTIVE]
        self.assertGreater(len(names), 50)
        self.assertEqual([name for name in names if not getattr(self.ui, name).toolTip], [])

    def test_the_tab_key_goes_from_top_to_bottom_and_leaves_nothing_out(self):
        stops = [item.text for item in ElementTree.parse(UI).iter("tabstop")]
        self.assertEqual(stops, [name for name, kind in widgetsOfFile() if kind in INTERACTIVE])

    def test_no_word_is_cut_off_in_a_narrow_panel(self):
        self.openSample()
        self.ui.combineButton.setChecked(True)
        self.ui.commandButton.click()
        self.tickOnly("segmented")
        self.apply()
        for step in (*STEPS, "optionsButton", "expectationButton", "compareButton"):
            getattr(self.ui, step).setProperty("collapsed", False)
        if self.desktop is not None:
            self.desktop.mainWindow.setPanelWidth(WIDTH)
        self.process(0.3)
        self.assertLessEqual(self.widget.parent.minimumSizeHint.width(), WIDTH)
        checked, cut = 0, []
        for name, kind in widgetsOfFile():
            widget = getattr(self.ui, name)
            isWord = kind in ("QPushButton", "QToolButton", "QCheckBox") or (kind == "QLabel" and not widget.wordWrap)
            if isWord and widget.isVisible():
                checked += 1
                if widget.sizeHint.width() > widget.width or widget.sizeHint.height() > widget.height:
                    cut.append(name)
        for name in WORDS:
            box = getattr(self.ui, name)
            room = box.width - ARROW
            texts = [box.itemText(index) for index in range(box.count)]
            cut += [text for text in texts if box.fontMetrics().horizontalAdvance(text) > room and box.isVisible()]
        self.assertEqual(cut, [])
        self.assertGreater(checked, 40)

    def test_tables_are_as_high_as_their_rows_and_as_wide_as_the_panel(self):
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        for name in ("bvalueTable", "expectationTable", "parameterTable", "statisticsTable", "regionNumbersTable"):
            table = getattr(self.ui, name)
            rows = sum(table.rowHeight(row) for row in range(table.rowCount))
            with self.subTest(name):
                self.assertGreater(table.rowCount, 0)
                self.assertGreaterEqual(table.height, rows + table.horizontalHeader().sizeHint.height())
                self.assertTrue(table.horizontalHeader().stretchLastSection)

    def test_results_open_with_the_first_run_and_never_again_by_themselves(self):
        self.openSample()
        self.assertTrue(self.ui.resultButton.collapsed)
        self.tickOnly("segmented")
        self.apply()
        self.assertFalse(self.ui.resultButton.collapsed)
        self.assertTrue(self.ui.seriesButton.collapsed)
        self.ui.seriesButton.setProperty("collapsed", False)
        self.ui.resultButton.setProperty("collapsed", True)
        self.apply()
        self.assertFalse(self.ui.seriesButton.collapsed, "a person opened it")
        self.assertTrue(self.ui.resultButton.collapsed, "a person folded it")
        self.scene.Clear(0)
        self.process(0.1)
        self.assertTrue(self.ui.resultButton.collapsed)

    def test_what_is_hidden_in_a_folded_step_stays_hidden_when_it_is_opened(self):
        self.openSample()
        self.ui.estimatorButton.setProperty("collapsed", False)
        self.tickOnly("segmented")
        self.start()
        self.ui.estimatorButton.setProperty("collapsed", True)
        self.waitUntil(lambda: self.state.run is None, 90)
        self.ui.estimatorButton.setProperty("collapsed", False)
        self.process()
        self.assertFalse(self.ui.progressBar.isVisible())

    def test_the_statistics_begin_with_the_parameters_and_uncertainty_is_asked_for(self):
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        table, box = self.ui.statisticsTable, self.ui.uncertaintyCheckBox
        maps = [table.item(row, 1).text().split()[0] for row in range(table.rowCount)]
        self.assertEqual(maps, ["D", "f", "D*", "S0", "RMSE"])
        self.ui.copyStatisticsButton.click()
        self.assertNotIn("SD of D", self.clipboard())
        box.click()
        self.process()
        self.assertGreater(table.rowCount, len(maps))
        self.assertEqual([table.item(row, 1).text().split()[0] for row in range(5)], maps)
        self.ui.copyStatisticsButton.click()
        self.assertIn("SD of D", self.clipboard())

    def test_options_have_plain_titles_and_their_name_in_the_tool_tip(self):
        self.openSample()
        from IVIMMappingLib.OptionTitles import titleOf  # needs what stands for Slicer

        for name, about in available().items():
            self.mark(name)
            form = self.panel.estimators.form(name)
            for option in about.options:
                if option.name in ("organ", "bounds"):
                    continue
                with self.subTest(f"{name}: {option.name}"):
                    self.assertIn(option.name, form.editor(option.name).toolTip)
                    self.assertIn(option.sentence, form.editor(option.name).toolTip)
                    plain = option.name.replace("_", " ").lower()
                    self.assertNotEqual(titleOf(option).lower(), plain if option.name != "recipe" else "")

    def test_an_option_without_effect_is_grey(self):
        self.openSample()
        self.mark("posterior")
        form = self.panel.estimators.form("posterior")
        self.assertTrue(form.editor("window").enabled)
        self.assertFalse(form.editor("prior_file").enabled)
        self.choose(form.editor("prior"), "learned")
        self.assertFalse(form.editor("window").enabled)
        self.assertTrue(form.editor("sample").enabled)
        self.ui.resetOptionsButton.click()
        self.process()
        self.assertTrue(form.editor("window").enabled)

    def test_a_message_has_colours_of_its_own(self):
        self.openModule()
        self.panel.state.say("Something is wrong; do this.", "error")
        self.assertIn("background", self.ui.messageFrame.styleSheet)
        self.assertIn("color", self.ui.messageLabel.styleSheet)

    def test_another_series_is_not_drawn_with_the_stored_fit_of_the_first(self):
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")}
        self.assertTrue(any("stored fit" in name for name in names), names)
        self.openSample()  # on the same grid
        names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")}
        self.assertFalse(any("stored fit" in name for name in names), names)

    def test_a_folder_with_several_series_offers_them_in_words(self):
        self.openModule()
        asked, read, picked = [], [], []
        ways = (("8", "series 8 'a' (4 images)"), ("17,18", "series 17 'b'; series 18 'c'"))

        def importSeries(scene, logic, path, bval=None, series=None):
            read.append(series)
            raise ChoiceNeeded("There are several: 8 or 17,18; choose with --series 8.", ways)

        def getItem(parent, title, question, items, current, editable):
            asked.append((question, items))
            return items[picked[-1]]

        for pick, expected in ((2, [None, "17,18"]), (0, [None])):
            read.clear()
            picked.append(pick)
            with unittest.mock.patch("IVIMMappingLib.SeriesSection.importSeries", importSeries), \
                    unittest.mock.patch.object(self.qt.QInputDialog, "getItem", staticmethod(getItem)):
                self.assertFalse(self.panel.series.importPath(str(self.folder)))
            self.assertEqual(read, expected)
        self.assertEqual(asked[0][1][1:], [words for _numbers, words in ways])
        self.assertNotIn("--", asked[0][0])
