"""The pictures of the README: the panel at work on the digital phantom, and what a person then sees.

    python Testing/slicer/IVIMScreenshots.py Resources/Screenshots

Without the desktop program the panel is drawn by the same Qt widgets on stand-ins for Slicer's own, its plots by the
same charts, and slice views by the same libraries; frames, menus and controllers of Slicer's window are missing.
"""

import os
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "IVIMMapping"), str(ROOT / "Testing" / "slicer")]

import numpy as np  # noqa: E402
import slicer  # noqa: E402
from IVIMTestPanel import PanelTest  # noqa: E402

WIDTH, NARROW = 480, 360


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

    def shoot(self, name, *openSections, width=WIDTH):
        """Take a picture of the panel with only these steps open, as high as they need."""
        for section in ("seriesButton", "curveButton", "regionButton", "estimatorButton", "resultButton"):
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


def write(pixels, path):
    """Write (h, w, 3) uint8 as PNG."""
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(pixels), isVector=True), str(path))


def main(arguments):
    if len(arguments) != 1:
        print("usage: python Testing/slicer/IVIMScreenshots.py FOLDER", file=sys.stderr)
        return 2
    Screenshots.out = Path(arguments[0])
    Screenshots.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    outcome = unittest.TextTestRunner().run(unittest.TestSuite([Screenshots()]))
    return 0 if outcome.wasSuccessful() and not outcome.skipped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
