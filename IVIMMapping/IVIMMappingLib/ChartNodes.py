"""A plot of the scene: one chart with points and lines, each with a table, that Slicer's plot views show and save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from .Runs import removeNodes

CHART_ATTRIBUTE = "IVIM.Chart"
"""Attribute of the nodes of a chart of ours: its name, by which it is found again in a loaded scene."""
_STYLES = {"solid": "LineStyleSolid", "dash": "LineStyleDash", "dot": "LineStyleDot", "none": "LineStyleNone"}
BLUE, VERMILLION, GREY = (0.0, 0.45, 0.70), (0.84, 0.37, 0.0), (0.4, 0.4, 0.4)
"""Colours that people with any colour vision tell apart (Okabe and Ito)."""


@dataclass(frozen=True)
class Curve:
    """One curve in display units: `x`, `y` (n,); `line` "solid", "dash", "dot" or "none"; `isMarked` draws its points.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    line: str = "solid"
    isMarked: bool = False
    color: tuple[float, float, float] = BLUE


class ChartNodes:
    """Owns the nodes of the chart `name` of a scene; `draw` fills them, `remove` takes them out."""

    def __init__(self, scene: slicer.vtkMRMLScene, name: str) -> None:
        self._scene, self._name = scene, name

    @property
    def chartNode(self):
        """The chart node, None as long as nothing was drawn."""
        return next(iter(self._nodes("vtkMRMLPlotChartNode")), None)

    def draw(self, curves: Sequence[Curve], title: str, xTitle: str, yTitle: str):
        """Show these curves and no others, and return the chart node; values that are not finite are left out."""
        self._removeSeries()
        chart = self.chartNode or self._add("vtkMRMLPlotChartNode", self._name)
        wasModifying = chart.StartModify()
        chart.SetTitle(title)
        chart.SetTitleVisibility(bool(title))
        # The font of VTK has no superscript minus and would draw '10³'.
        chart.SetXAxisTitle(xTitle.replace("10⁻³", "10^-3"))
        chart.SetYAxisTitle(yTitle.replace("10⁻³", "10^-3"))
        chart.SetLegendVisibility(False)  # in a small plot it would cover the points; the panel says what lines mean
        chart.SetAxisTitleFontSize(12)
        chart.SetAxisLabelFontSize(11)
        for curve in curves:
            series = self._createSeries(curve)
            if series is not None:
                chart.AddAndObservePlotSeriesNodeID(series.GetID())
        chart.EndModify(wasModifying)
        return chart

    def remove(self) -> None:
        """Take the chart with everything that belongs to it out of the scene."""
        self._removeSeries()
        removeNodes(self._scene, self._nodes("vtkMRMLPlotChartNode"))

    def _createSeries(self, curve: Curve):
        x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
        shown = np.isfinite(x) & np.isfinite(y)
        x, y = x[shown], y[shown]
        if not x.size:
            return None
        if x.size == 1:
            x, y = np.repeat(x, 2), np.repeat(y, 2)  # VTK reports an error for a curve of one point
        table = self._add("vtkMRMLTableNode", f"{self._name}: {curve.name}")
        for name, values in (("x", x), ("y", y)):
            array = vtk.vtkDoubleArray()
            array.SetName(name)
            for value in values:
                array.InsertNextValue(float(value))
            table.AddColumn(array)
        node = self._add("vtkMRMLPlotSeriesNode", curve.name)
        node.SetPlotType(node.PlotTypeScatter)
        node.SetLineStyle(getattr(node, _STYLES[curve.line]))
        node.SetLineWidth(2)
        node.SetMarkerStyle(node.MarkerStyleCircle if curve.isMarked else node.MarkerStyleNone)
        node.SetMarkerSize(8)
        node.SetColor(*curve.color)
        node.SetXColumnName("x")
        node.SetYColumnName("y")
        node.SetAndObserveTableNodeID(table.GetID())
        return node

    def _add(self, className: str, name: str):
        node = self._scene.CreateNodeByClass(className)
        node.UnRegister(None)
        node.SetName(name)
        node.SetAttribute(CHART_ATTRIBUTE, self._name)
        return self._scene.AddNode(node)

    def _nodes(self, className: str) -> list:
        nodes = self._scene.GetNodesByClass(className)
        found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
        return [node for node in found if node.GetAttribute(CHART_ATTRIBUTE) == self._name]

    def _removeSeries(self) -> None:
        chart = self.chartNode
        if chart is not None:
            chart.RemoveAllPlotSeriesNodeIDs()
        for className in ("vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
            removeNodes(self._scene, self._nodes(className))
