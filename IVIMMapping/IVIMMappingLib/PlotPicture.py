"""A plot of the scene as a picture: pixels, PNG or SVG, without a plot view and without Qt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ivimcore.errors import InputError

BACKGROUND = (255, 253, 246)
"""Red, green and blue [0..255] behind the curves: that of Slicer's own plot views."""
NO_LEGEND = "IVIM.NoLegend"
"""Attribute of a plot series that is a companion of another one (a ring around a point) and has no legend entry."""
_LEAST_OF_LOG_AXIS = 1e-4
_SUFFIXES = (".png", ".svg")


def drawChart(chartNode, size: tuple[int, int] = (480, 260), legend: bool | None = None) -> np.ndarray:
    """Draw a chart node off screen and return its pixels (height, width, 3) uint8.

    `size` is (width, height) [pixels]; `legend` shows or hides the legend, None leaves it to the chart. The computer
    must be able to draw (OpenGLProbe).
    """
    view = ChartView(size)
    view.show(chartNode, legend)
    pixels = view.pixels()
    view.close()
    return pixels


def writeChart(chartNode, path, size: tuple[int, int] = (960, 540), legend: bool | None = None) -> Path:
    """Write a chart node as .png or .svg, by the end of the name, and return the path.

    `size` is (width, height) [pixels]. Raises InputError for another end and where the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"'{path.name}' ends in neither .png nor .svg; choose one of them for the plot.")
    view = ChartView(size)
    view.show(chartNode, legend)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # VTK reports a place that cannot be written on stderr only
        view.write(path)
    except OSError as fault:
        raise InputError(
            f"The plot could not be written to '{path}' ({fault.strerror}); choose another place."
        ) from None
    finally:
        view.close()
    return path


class ChartDrawing:
    """Draws the series nodes of a chart node into a vtkChartXY as Slicer's plot view does.

    `chart` is the vtkChartXY. Plots are kept from one `update` to the next, so that a moving curve costs little.
    """

    def __init__(self, chart: vtk.vtkChartXY) -> None:
        self.chart = chart
        self._plots: dict[str, vtk.vtkPlotLine] = {}
        self._order: list[str] = []

    def update(self, chartNode, legend: bool | None = None) -> None:
        """Show what the chart node holds now; None shows an empty chart."""
        nodes = [] if chartNode is None else [
            chartNode.GetNthPlotSeriesNode(index) for index in range(chartNode.GetNumberOfPlotSeriesNodes())
        ]
        nodes = [node for node in nodes if node is not None and _columns(node) is not None]
        order = [node.GetID() for node in nodes]
        if order != self._order:
            self.chart.ClearPlots()
            self._plots = {identifier: vtk.vtkPlotLine() for identifier in order}
            for plot in self._plots.values():
                self.chart.AddPlot(plot)
            self._order = order
        for node in nodes:
            _copySeries(node, self._plots[node.GetID()])
        if chartNode is not None:
            self._copyAxes(chartNode, legend)
        self.chart.RecalculateBounds()
        self.chart.GetScene().SetDirty(True)

    def seriesIdOf(self, plot) -> str | None:
        """Return the ID of the series node that a plot of the chart shows."""
        return next((identifier for identifier, known in self._plots.items() if known == plot), None)

    def _copyAxes(self, chartNode, legend: bool | None) -> None:
        chart = self.chart
        chart.SetTitle((chartNode.GetTitle() or "") if chartNode.GetTitleVisibility() else "")
        chart.SetShowLegend(bool(chartNode.GetLegendVisibility()) if legend is None else legend)
        for side, letter in ((vtk.vtkAxis.BOTTOM, "X"), (vtk.vtkAxis.LEFT, "Y")):
            axis = chart.GetAxis(side)
            shown = getattr(chartNode, f"Get{letter}AxisTitleVisibility")()
            axis.SetTitle((getattr(chartNode, f"Get{letter}AxisTitle")() or "") if shown else "")
            axis.SetLogScale(bool(getattr(chartNode, f"Get{letter}AxisLogScale")()))
            axis.SetGridVisible(bool(chartNode.GetGridVisibility()))
            axis.GetTitleProperties().SetFontSize(chartNode.GetAxisTitleFontSize())
            axis.GetLabelProperties().SetFontSize(chartNode.GetAxisLabelFontSize())
            if getattr(chartNode, f"Get{letter}AxisRangeAuto")():
                axis.SetBehavior(vtk.vtkAxis.AUTO)
            else:
                axis.SetBehavior(vtk.vtkAxis.FIXED)
                low, high = getattr(chartNode, f"Get{letter}AxisRange")()
                axis.SetUnscaledRange(max(low, _LEAST_OF_LOG_AXIS) if axis.GetLogScale() else low, high)


class ChartView:
    """A render window that nobody sees with one chart in it; `close` frees it.

    `chart` is the vtkChartXY, `window` the render window. Keeping the view makes drawing again cheap.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._view = vtk.vtkContextView()
        self.window = self._view.GetRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(int(size[0]), int(size[1]))
        self._view.GetRenderer().SetBackground(*(part / 255 for part in BACKGROUND))
        self.chart = vtk.vtkChartXY()
        self.chart.GetBackgroundBrush().SetColor(*BACKGROUND, 255)
        self.scene = self._view.GetScene()
        self.scene.AddItem(self.chart)
        self.drawing = ChartDrawing(self.chart)

    def show(self, chartNode, legend: bool | None = None, size: tuple[int, int] | None = None) -> None:
        """Draw what the chart node holds now, in another size [pixels] if one is given."""
        if size is not None and tuple(size) != tuple(self.window.GetSize()):
            self.window.SetSize(int(size[0]), int(size[1]))
        self.drawing.update(chartNode, legend)
        self.window.Render()

    def close(self) -> None:
        """Free the window."""
        if self.window is not None:
            self.chart.ClearPlots()
            self.window.Finalize()
            self.window = self._view = None

    def pixels(self) -> np.ndarray:
        """Return what was drawn last (height, width, 3) uint8."""
        image = self._capture()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()

    def write(self, path: Path) -> None:
        """Write what was drawn last as .png or .svg."""
        if path.suffix.lower() == ".png":
            writer = vtk.vtkPNGWriter()
            writer.SetInputData(self._capture())
        else:
            writer = vtk.vtkSVGExporter()
            writer.SetRenderWindow(self.window)
        writer.SetFileName(str(path))
        writer.Write()

    def _capture(self):
        capture = vtk.vtkWindowToImageFilter()
        capture.SetInput(self.window)
        capture.ReadFrontBufferOff()
        capture.Update()
        return capture.GetOutput()


def _columns(seriesNode):
    """Return the table and the names of x and y of a series node, or None where one is missing."""
    tableNode = seriesNode.GetTableNode()
    table = tableNode.GetTable() if tableNode is not None else None
    names = seriesNode.GetXColumnName(), seriesNode.GetYColumnName()
    if table is None or any(not name or table.GetColumnByName(name) is None for name in names):
        return None
    return table, *names


def _copySeries(node, plot) -> None:
    plot.SetInputData(*_columns(node))
    color = [round(255 * part) for part in node.GetColor()]
    plot.SetColor(*color, round(255 * node.GetOpacity()))
    plot.SetWidth(node.GetLineWidth())
    plot.SetLabel(node.GetName() or "")
    plot.SetLegendVisibility(node.GetAttribute(NO_LEGEND) is None)
    plot.GetPen().SetLineType(_LINES.get(node.GetLineStyle(), vtk.vtkPen.NO_PEN))
    plot.SetMarkerStyle(_MARKERS.get(node.GetMarkerStyle(), vtk.vtkPlotPoints.NONE))
    plot.SetMarkerSize(node.GetMarkerSize())


_SERIES = slicer.vtkMRMLPlotSeriesNode
_LINES = {
    _SERIES.LineStyleNone: vtk.vtkPen.NO_PEN, _SERIES.LineStyleSolid: vtk.vtkPen.SOLID_LINE,
    _SERIES.LineStyleDash: vtk.vtkPen.DASH_LINE, _SERIES.LineStyleDot: vtk.vtkPen.DOT_LINE,
    _SERIES.LineStyleDashDot: vtk.vtkPen.DASH_DOT_LINE, _SERIES.LineStyleDashDotDot: vtk.vtkPen.DASH_DOT_DOT_LINE,
}
_MARKERS = {
    _SERIES.MarkerStyleNone: vtk.vtkPlotPoints.NONE, _SERIES.MarkerStyleCross: vtk.vtkPlotPoints.CROSS,
    _SERIES.MarkerStylePlus: vtk.vtkPlotPoints.PLUS, _SERIES.MarkerStyleSquare: vtk.vtkPlotPoints.SQUARE,
    _SERIES.MarkerStyleCircle: vtk.vtkPlotPoints.CIRCLE, _SERIES.MarkerStyleDiamond: vtk.vtkPlotPoints.DIAMOND,
}
