"""The plot of curves: what is drawn, in which order, and as which picture."""

import unittest

import numpy as np
import slicer
from IVIMTestPanel import PanelTest
from IVIMTestScene import IN_DESKTOP, renderWindow

from ivimcore.errors import InputError

B = np.array([0.0, 50.0, 100.0, 400.0, 800.0])
SIGNAL = np.array([100.0, 90.0, 80.0, 50.0, 30.0])
USED = np.array([True, True, True, True, False])
FINE = np.linspace(0, 800, 81)


class CurvePlotTestCase(PanelTest):
    def setUp(self):
        super().setUp()
        if renderWindow() is None:
            self.skipTest("no OpenGL library draws on this computer")
        import qt

        from IVIMMappingLib.CurvePlot import CurvePlot
        from IVIMMappingLib.PlottedCurves import Line, Points

        self.Points, self.Line = Points, Line
        self.clicked = []
        self.frame = qt.QFrame()
        qt.QVBoxLayout(self.frame)
        self.frame.resize(420, 300)
        self.plot = CurvePlot(self.frame, self.clicked.append)
        self.addCleanup(self.plot.close)

    def draw(self, logScale=False, used=USED, name="cursor"):
        points = [self.Points(name, (0.2, 0.2, 0.2), B, SIGNAL, used, tuple(f"image {n}" for n in range(1, 6)))]
        lines = [self.Line(f"{name}, nlls", (0.5, 0.5, 0.5), FINE, 100 * np.exp(-FINE / 600), 90 * np.exp(-FINE / 650))]
        self.plot.draw(points, lines, logScale)

    def names(self):
        chart = self.plot.chartNode
        return [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]

    def test_points_lie_above_lines_and_excluded_ones_are_rings(self):
        self.draw()
        self.assertEqual(self.names(), [
            "cursor, nlls, fit", "cursor, nlls, tissue only", "cursor, measured", "cursor, left out (ring)",
            "cursor, left out (hole)",
        ])
        ring, hole = (self.plot.chartNode.GetNthPlotSeriesNode(index) for index in (3, 4))
        self.assertGreater(ring.GetMarkerSize(), hole.GetMarkerSize())
        self.assertGreater(min(hole.GetColor()), 0.9)

    def test_a_moving_curve_reuses_its_nodes_and_updates_in_place(self):
        self.draw()
        before = [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")]
        modified = self.plot.chartNode.GetMTime()
        for _move in range(5):
            self.draw()
        self.assertEqual([node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")], before)
        self.assertGreater(self.plot.chartNode.GetMTime(), modified)

    def test_the_nodes_are_hidden_not_saved_and_gone_after_close(self):
        self.draw()
        for className in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode", "vtkMRMLPlotViewNode"):
            for node in slicer.util.getNodesByClass(className):
                if className != "vtkMRMLPlotViewNode" or node.GetLayoutName() == "IVIMCurve":
                    self.assertTrue(node.GetHideFromEditors(), node.GetName())
                    self.assertFalse(node.GetSaveWithScene(), node.GetName())
        self.plot.close()
        for className in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
            self.assertEqual(slicer.util.getNodesByClass(className), [])

    def test_a_chart_that_another_module_shows_does_not_take_our_views(self):
        """Slicer's Plots module shows a chart in every plot view of the scene that does not refuse it."""
        from IVIMMappingLib.EmbeddedPlot import EmbeddedPlot

        self.draw()
        own = self.scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "own")
        embedded = EmbeddedPlot(self.frame, "IVIMOther")
        self.addCleanup(embedded.close)
        embedded.show(own)
        other = self.scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "other")
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActivePlotChartID(other.GetID())
        logic.PropagatePlotChartSelection()
        views = {view.GetLayoutName(): view for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode")}
        self.assertIs(views["IVIMOther"].GetPlotChartNode(), own)
        self.assertIs(views["IVIMCurve"].GetPlotChartNode(), self.plot.chartNode)

    def test_the_plot_survives_the_end_of_the_scene(self):
        self.draw()
        self.scene.Clear(0)
        self.draw()
        self.assertEqual(len(self.names()), 5)
        self.assertIs(self.plot.widget.mrmlPlotViewNode().GetPlotChartNode(), self.plot.chartNode)

    def test_values_that_a_logarithm_cannot_show_are_left_out_of_it(self):
        points = [self.Points("cursor", (0, 0, 0), B, np.array([100.0, 0.0, -3.0, np.nan, 30.0]), np.ones(5, bool))]
        self.plot.draw(points, [], True)
        self.assertTrue(self.plot.chartNode.GetYAxisLogScale())
        table = self.plot.chartNode.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
        self.assertEqual(table.GetNumberOfRows(), 2)
        self.plot.draw(points, [], False)
        self.assertEqual(table.GetNumberOfRows(), 4)  # NaN is no point

    def test_the_axes_have_units(self):
        self.draw()
        self.assertEqual(self.plot.chartNode.GetXAxisTitle(), "b [s/mm²]")
        self.assertIn("[signal units]", self.plot.chartNode.GetYAxisTitle())

    @unittest.skipIf(IN_DESKTOP, "sends mouse events through the bindings of the stand-ins")
    def test_a_click_of_the_mouse_on_a_point_shows_its_image(self):
        self.draw()
        self.frame.show()
        self.process(0.05)
        for image in (3, 4, 1, 1):  # the last one but one again, and one that is left out
            self.click(B[image], SIGNAL[image])
            self.assertEqual(self.clicked[-1], image)
        self.assertEqual(len(self.clicked), 4)

    def click(self, b, signal):
        """Press and release the mouse where the point lies on the screen."""
        from PySide6 import QtCore, QtGui

        view = self.plot.widget.plotView()
        view.draw()
        place = []
        for side, value in ((1, b), (0, signal)):
            axis = view.chart().GetAxis(side)
            part = (value - axis.GetMinimum()) / (axis.GetMaximum() - axis.GetMinimum())
            place.append(axis.GetPoint1()[1 - side] + part * (axis.GetPoint2()[1 - side] - axis.GetPoint1()[1 - side]))
        point = QtCore.QPointF(place[0], view.height - 1 - place[1])
        for kind in (QtCore.QEvent.Type.MouseButtonPress, QtCore.QEvent.Type.MouseButtonRelease):
            button = QtCore.Qt.MouseButton.LeftButton
            event = QtGui.QMouseEvent(kind, point, point, button, button, QtCore.Qt.KeyboardModifier.NoModifier)
            QtCore.QCoreApplication.sendEvent(view, event)
        self.process(0.02)

    def test_pictures_show_curves_and_a_legend_and_svg_keeps_the_lines(self):
        from IVIMMappingLib.CurveFiles import saveCurves

        self.draw()
        png = saveCurves(self.plot, self.folder / "plot.png")
        self.assertEqual(png.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        svg = saveCurves(self.plot, self.folder / "plot.svg").read_text("utf-8")
        self.assertIn("<svg", svg)
        self.assertGreater(svg.count("polyline"), 2)

    def test_the_drawn_pixels_change_with_the_curve(self):
        from IVIMMappingLib.PlotPicture import drawChart

        self.draw()
        first = drawChart(self.plot.chartNode, (400, 240))
        self.assertEqual(first.shape, (240, 400, 3))
        self.draw(logScale=True)
        self.assertGreater((drawChart(self.plot.chartNode, (400, 240)) != first).mean(), 0.005)

    def test_numbers_are_written_with_units(self):
        from IVIMMappingLib.CurveFiles import saveCurves

        self.draw()
        lines = saveCurves(self.plot, self.folder / "plot.csv").read_text("utf-8").splitlines()
        self.assertIn("b of cursor, measured [s/mm²]", lines[0])
        self.assertIn("cursor, measured [signal units]", lines[0])
        self.assertEqual(len(lines), 1 + FINE.size)

    def test_another_end_and_an_impossible_place_are_refused_in_one_sentence(self):
        from IVIMMappingLib.CurveFiles import saveCurves

        self.draw()
        with self.assertRaisesRegex(InputError, "neither .png nor .svg"):
            saveCurves(self.plot, self.folder / "plot.gif")
        (self.folder / "file").write_text("")
        for name in ("plot.png", "plot.csv"):
            with self.assertRaisesRegex(InputError, "could not be written"):
                saveCurves(self.plot, self.folder / "file" / name)
