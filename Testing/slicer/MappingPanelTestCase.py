"""The whole panel: the self test, widgets and their tool tips, and one wrong click after another."""

from unittest import mock

import slicer
from IVIMTestSample import SampleTest

from IVIMMappingLib.Runs import runsOf

_NEEDS_TIP = ("QPushButton", "QToolButton", "QCheckBox", "QComboBox", "QLineEdit", "QDoubleSpinBox", "QTableWidget",
              "QListWidget", "qMRMLNodeComboBox", "ctkSliderWidget", "QProgressBar", "QPlainTextEdit")


class MappingPanelTest(SampleTest):
    def test_the_self_test_of_the_module_passes(self):
        import IVIMMapping

        IVIMMapping.IVIMMappingTest().runTest()

    def test_every_widget_has_a_tool_tip_and_every_number_field_a_label(self):
        self.openModule()
        missing = []
        for name, widget in vars(self.ui).items():
            if hasattr(widget, "className") and widget.className() in _NEEDS_TIP and not widget.toolTip and (
                not name.startswith("qt_")
            ):
                missing.append(name)
        self.assertEqual(missing, [])

    def test_research_use_is_visible(self):
        self.openModule()
        self.assertIn("Research use", self.ui.researchLabel.text)
        self.assertFalse(self.ui.researchLabel.isHidden())

    def test_a_message_can_be_dismissed(self):
        self.openModule()
        self.panel.state.say("Something; do this.", "error")
        self.assertFalse(self.ui.messageFrame.isHidden())
        self.ui.messageCloseButton.click()
        self.assertTrue(self.ui.messageFrame.isHidden())

    def test_clicks_without_a_series_do_no_harm(self):
        self.openModule()
        with mock.patch("IVIMMappingLib.FileChoice.saveFile", lambda *_: ""), \
                mock.patch("IVIMMappingLib.FileChoice.chooseFolder", lambda *_: ""):
            for button in (
                self.ui.applyButton, self.ui.commandButton, self.ui.copyCommandButton, self.ui.layoutButton,
                self.ui.returnLayoutButton, self.ui.renameRunButton, self.ui.removeRunButton,
                self.ui.copyStatisticsButton, self.ui.resetOptionsButton,
            ):
                button.click()
                self.process()
            for action in self.panel.results.export.actions.values():
                action.trigger()
        self.ui.commandButton.click()
        self.ui.organComboBox.setCurrentIndex(2)
        self.ui.thresholdSpinBox.setValue(3)
        self.ui.windowComboBox.setCurrentIndex(1)
        self.ui.snrSpinBox.setValue(20)
        self.process(0.4)

    def test_the_panel_survives_reloading_of_scene_and_module(self):
        self.openSample()
        for _ in range(2):
            self.scene.Clear(0)
            self.process(0.05)
        self.assertIsNone(self.state.series)
        slicer.util.selectModule("Data")
        slicer.util.selectModule("IVIMMapping")
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        self.assertEqual(len(runsOf(self.scene)), 1)
