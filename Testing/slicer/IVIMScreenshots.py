"""The pictures of the README: the panel at work on the digital phantom, and what a person then sees.

    python Testing/slicer/IVIMScreenshots.py Resources/Screenshots

Without the desktop program the panel is drawn by the same Qt widgets on stand-ins for Slicer's own, its plots by the
same charts, and slice views by the same libraries; frames, menus and controllers of Slicer's window are missing.
"""

import importlib.util
import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "IVIMMapping"), str(ROOT / "Testing" / "slicer")]

import numpy as np  # noqa: E402
import slicer  # noqa: E402
from IVIMTestFollowUp import cohort  # noqa: E402
from IVIMTestPanel import PanelTest  # noqa: E402
from IVIMTestSample import SampleTest  # noqa: E402

WIDTH, NARROW = 480, 360
SECTIONS = ("seriesButton", "curveButton", "regionButton", "estimatorButton", "resultButton")


class Screenshots(PanelTest):
    """Does what the tutorial says and takes pictures on the way."""

    out = Path("Screenshots")

    def runTest(self):
        self.openModule()
        ui = self.ui
        ui.sampleButton.click()
        self.process(0.5)
        self._lookAtLiver()
        self.shoot("panel_series.png", "seriesButton", "curveButton")
        ui.expectationButton.setProperty("collapsed", False)
        self.shoot("panel_estimate.png", "regionButton", "estimatorButton")
        self._tick("nlls")
        ui.applyButton.click()
        self.waitUntil(lambda: self.panel.state.run is None or self.panel.state.run.fraction > 0.3, 120)
        self.shoot("panel_running.png", "estimatorButton")
        self.waitUntil(lambda: self.panel.state.run is None or self.panel.state.run.state == "done", 300)
        self.process(1.0)
        self._lookAtLiver()
        self.shoot("panel_results.png", "resultButton")
        self.shoot("panel_narrow.png", "seriesButton", "curveButton", width=NARROW)
        self._darken()
        self.shoot("panel_dark.png", "curveButton", "estimatorButton")
        self._shootViews("result_views.png")

    def shoot(self, name, *openSections, width=WIDTH, sections=SECTIONS):
        """Take a picture of the panel with only these steps open, as high as they need."""
        for section in sections:
            getattr(self.ui, section).setProperty("collapsed", section not in openSections)
        slicer.util.mainWindow().setPanelWidth(width)
        self.process(0.5)
        self.assertTrue(self.widget.parent.grab().save(str(self.out / name)))

    def _tick(self, name):
        qt = sys.modules["qt"]
        item = self.ui.estimatorList.item(self.panel.estimators.names.index(name))
        item.setCheckState(qt.Qt.Checked)
        self.process(0.2)

    def _lookAtLiver(self):
        """Put the crosshair onto a voxel of the liver, where curve and numbers are worth a look."""
        series = self.panel.state.series
        ijk = np.array([45, 75, series.geometry.shape[2] // 2, 1])
        ras = (np.asarray(series.geometry.affine) @ ijk)[:3]
        crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        crosshair.SetCrosshairRAS(*ras)
        self.process(0.5)

    def _darken(self):
        qt = sys.modules["qt"]
        palette = qt.QPalette()
        for role, color in (
            (qt.QPalette.Window, "#323232"), (qt.QPalette.WindowText, "#ffffff"), (qt.QPalette.Base, "#232323"),
            (qt.QPalette.AlternateBase, "#323232"), (qt.QPalette.Text, "#ffffff"), (qt.QPalette.Button, "#3c3c3c"),
            (qt.QPalette.ButtonText, "#ffffff"), (qt.QPalette.Highlight, "#2a6fb0"),
            (qt.QPalette.HighlightedText, "#ffffff"), (qt.QPalette.ToolTipBase, "#323232"),
            (qt.QPalette.ToolTipText, "#ffffff"), (qt.QPalette.PlaceholderText, "#9a9a9a"),
        ):
            palette.setColor(role, qt.QColor(color))
        for role in (qt.QPalette.WindowText, qt.QPalette.Text, qt.QPalette.ButtonText):
            palette.setColor(qt.QPalette.Disabled, role, qt.QColor("#7f7f7f"))
        self.addCleanup(slicer.app.setPalette, slicer.app.palette())
        slicer.app.setPalette(palette)
        self.process(0.3)

    def _shootViews(self, name):
        """Draw what the layout of all maps shows, view by view."""
        from IVIMMappingLib.ResultLayout import panelsOfRun
        from IVIMMappingLib.Runs import runsOf
        from IVIMMappingLib.SliceFigure import LEGEND_MANAGER, SEGMENTS_MANAGER, SliceFigure

        run = runsOf(slicer.mrmlScene)[-1]
        background = self.panel.state.series.displayNode()
        rows, line = [], []
        scene, managers = slicer.mrmlScene, (SEGMENTS_MANAGER, LEGEND_MANAGER)
        with SliceFigure(scene, slicer.app.applicationLogic(), size=(420, 330), managers=managers) as figure:
            for panel in panelsOfRun(run, background):
                self._renewLegend(panel.foreground or panel.background)
                picture = figure.render(panel.background, panel.foreground, opacity=1.0)
                line.append(picture)
                if len(line) == 3:
                    rows.append(np.hstack(line))
                    line = []
        write(np.vstack(rows), self.out / name)


    @staticmethod
    def _renewLegend(node):
        """Show the legend of this map alone, made anew: the manager knows only legends that come after its view."""
        from IVIMMappingLib.MapDescription import describeMap
        from IVIMMappingLib.MapDisplay import PARAMETER_ATTRIBUTE, addLegend

        legends = slicer.mrmlScene.GetNodesByClass("vtkMRMLColorLegendDisplayNode")
        for index in range(legends.GetNumberOfItems()):
            slicer.mrmlScene.RemoveNode(legends.GetItemAsObject(index))
        if node.GetAttribute(PARAMETER_ATTRIBUTE):
            addLegend(node, describeMap(node.GetAttribute(PARAMETER_ATTRIBUTE)))


class FollowUpScreenshots(SampleTest):
    """Follows a lesion over two dates of the sample data, as the README says, with limits of a made-up cohort."""

    out = Path("Screenshots")

    def runTest(self):
        from IVIMMappingLib.Runs import runsOf

        self.openModule()
        self.state, ui = self.panel.state, self.ui
        ui.sampleButton.click()
        self.waitUntil(lambda: self.state.series is not None)
        self.choose(ui.regionKindComboBox, "segments")
        self.process(0.3)
        self.tickOnly("segmented")
        self.apply()
        ui.followUpStartButton.click()
        ui.sampleButton.click()
        self.waitUntil(lambda: "second date" in self.state.series.name)
        before = runsOf(self.scene)[0]
        self.choose(ui.earlierComboBox, before.key)
        ui.takeOverButton.click()
        self.process(0.3)
        self.apply()
        path = self.folder / "reference.json"
        cohort(before, spread=0.06).save(path)
        with mock.patch("IVIMMappingLib.FileChoice.openFile", lambda *_: str(path)):
            ui.referenceButton.click()
        Screenshots.shoot(self, "followup.png", "followUpButton", sections=("followUpButton", *SECTIONS))


class TrainingScreenshots(PanelTest):
    """Trains a network for the phantom, as the README says, and takes pictures on the way; needs PyTorch."""

    out = Path("Screenshots")
    minutes = 1.5

    def runTest(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, IVIM_MODELS=folder):
            self._train()

    def _train(self):
        from IVIMMappingLib.PhantomSample import createPhantomSeries

        self.openModule("IVIMTraining")
        ui = self.ui
        node = createPhantomSeries(slicer.mrmlScene, slicer.app.applicationLogic(), shape=(96, 96, 6))[0]
        ui.seriesSelector.setCurrentNode(node)
        self.process(0.3)
        ui.estimateSnrButton.click()
        ui.organComboBox.setCurrentIndex(ui.organComboBox.findData("abdomen"))
        ui.titleEdit.setText("Abdomen of our scanner")
        ui.minutesSpinBox.setValue(self.minutes)
        ui.startButton.click()
        run = self.panel.state.run
        self.waitUntil(lambda: run.isOver or run.fraction > 0.7, 600)
        self.shoot("training_panel.png", "protocolButton", "tissueButton", "strategyButton", "trainingButton")
        self.waitUntil(lambda: run.isOver, 600)
        self.process(0.5)
        self.shoot("training_checks.png", "checksButton")
        Screenshots._darken(self)
        self.shoot("training_dark.png", "strategyButton", "trainingButton", "checksButton")

    def shoot(self, name, *openSections):
        names = ("protocol", "tissue", "strategy", "training", "checks", "models")
        Screenshots.shoot(self, name, *openSections, sections=[f"{one}Button" for one in names])


def write(pixels, path):
    """Write (h, w, 3) uint8 as PNG."""
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(pixels), isVector=True), str(path))


def main(arguments):
    if len(arguments) != 1:
        print("usage: python Testing/slicer/IVIMScreenshots.py FOLDER", file=sys.stderr)
        return 2
    Screenshots.out = FollowUpScreenshots.out = TrainingScreenshots.out = Path(arguments[0])
    Screenshots.out.mkdir(parents=True, exist_ok=True)
    cases = [Screenshots(), FollowUpScreenshots()]
    if importlib.util.find_spec("torch") is not None and importlib.util.find_spec("safetensors") is not None:
        cases.append(TrainingScreenshots())
    else:
        print("Pictures of the training panel need PyTorch: pip install .[networks]", file=sys.stderr)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    outcome = unittest.TextTestRunner().run(unittest.TestSuite(cases))
    return 0 if outcome.wasSuccessful() and not outcome.skipped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
