"""A chart of curves and points inside the panel: plot nodes of the scene, and a plot view that shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

_HEIGHT = 220
LINE, DASHED, DOTS = "line", "dashed", "dots"


@dataclass(frozen=True, eq=False)
class Curve:
    """Points (n,) of a curve: `kind` one of LINE, DASHED, DOTS; `color` (r, g, b) from 0 to 1."""

    name: str
    x: np.ndarray
    y: np.ndarray
    color: tuple[float, float, float]
    kind: str = LINE


class LineChart:
    """Owns the nodes and the view inside `frame`; nothing of it is saved with the scene.

    `name` distinguishes the views of one panel. The nodes are made anew after the scene was closed.
    """

    def __init__(self, frame, name: str) -> None:
        self._name = name
        self.widget = slicer.qMRMLPlotWidget()
        self.widget.setMinimumHeight(_HEIGHT)
        self.widget.setMRMLScene(slicer.mrmlScene)
        frame.layout().addWidget(self.widget)
        self.widget.plotController().setVisible(False)  # its menus would offer every other plot of the scene
        self.chartNode = None
        self._viewNode = None
        self._series: dict[tuple[str, str], tuple] = {}

    def draw(self, curves: list[Curve], xTitle: str, yTitle: str, logScale: bool = False) -> None:
        """Show these curves and no others; what is not finite, or not positive on a logarithmic axis, is left out."""
        self._ensureNodes()
        ready = []
        for curve in curves:
            x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
            shown = np.isfinite(x) & np.isfinite(y) & ((y > 0) | (not logScale))
            if shown.any():
                ready.append((curve, x[shown], y[shown]))
        wanted = [(curve.name, curve.kind) for curve, _x, _y in ready]
        if wanted != list(self._series):
            self._rebuild(wanted)
        modifying = self.chartNode.StartModify()
        for curve, x, y in ready:
            if x.size == 1:
                x, y = np.repeat(x, 2), np.repeat(y, 2)  # VTK reports an error for a curve of one point
            node, table = self._series[curve.name, curve.kind]
            _fill(table, x, y)
            node.SetColor(*curve.color)
        self.chartNode.SetYAxisLogScale(logScale)
        self.chartNode.SetXAxisTitle(_drawable(xTitle))
        self.chartNode.SetYAxisTitle(_drawable(yTitle))
        self.chartNode.EndModify(modifying)

    def clear(self) -> None:
        """Show nothing."""
        if self.chartNode is not None and self.chartNode.GetScene() is not None:
            self._rebuild([])

    def names(self) -> list[str]:
        """Return the names of the curves that are shown."""
        return [name for name, _kind in self._series]

    def points(self, name: str) -> int:
        """Return the number of points of a curve, 0 for one that is not shown."""
        tables = [table for (known, _kind), (_node, table) in self._series.items() if known == name]
        return sum(table.GetTable().GetNumberOfRows() for table in tables)

    def close(self) -> None:
        """Take the nodes out of the scene and let the view go."""
        self.widget.setMRMLPlotViewNode(None)
        self._rebuild([])
        for node in (self._viewNode, self.chartNode):
            if node is not None and slicer.mrmlScene is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        self._viewNode = self.chartNode = None

    def _ensureNodes(self) -> None:
        if self.chartNode is not None and slicer.mrmlScene.IsNodePresent(self.chartNode):
            return
        self._series = {}
        self.chartNode = chart = self._add(slicer.vtkMRMLPlotChartNode(), self._name)
        chart.SetTitleVisibility(False)
        chart.SetLegendVisibility(True)
        chart.SetAxisTitleFontSize(12)
        chart.SetAxisLabelFontSize(11)
        view = slicer.vtkMRMLPlotViewNode()
        view.SetSingletonTag(self._name)
        view.SetLayoutName(self._name)
        # A view with another parent than the main layout is left alone by the layout manager.
        view.SetAndObserveParentLayoutNodeID(chart.GetID())
        # A chart that another module shows would be put into every plot view of the scene, and so into this one.
        view.SetDoPropagatePlotChartSelection(False)
        self._viewNode = self._add(view, self._name)
        self._viewNode.SetPlotChartNodeID(chart.GetID())
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.setMRMLPlotViewNode(self._viewNode)

    def _rebuild(self, wanted: list[tuple[str, str]]) -> None:
        scene = slicer.mrmlScene
        if self.chartNode is not None:
            self.chartNode.RemoveAllPlotSeriesNodeIDs()
        for node, table in self._series.values():
            for one in (node, table):
                if scene is not None and scene.IsNodePresent(one):
                    scene.RemoveNode(one)
        self._series = {key: self._createSeries(*key) for key in wanted}
        for node, _table in self._series.values():
            self.chartNode.AddAndObservePlotSeriesNodeID(node.GetID())

    def _createSeries(self, name: str, kind: str):
        table = slicer.vtkMRMLTableNode()
        for column in ("x", "y"):
            array = vtk.vtkDoubleArray()
            array.SetName(column)
            table.GetTable().AddColumn(array)
        table = self._add(table, f"{self._name} {name}")
        node = slicer.vtkMRMLPlotSeriesNode()
        node.SetPlotType(node.PlotTypeScatter)
        styles = {LINE: node.LineStyleSolid, DASHED: node.LineStyleDash, DOTS: node.LineStyleNone}
        node.SetLineStyle(styles[kind])
        node.SetLineWidth(2)
        node.SetMarkerStyle(node.MarkerStyleCircle if kind == DOTS else node.MarkerStyleNone)
        node.SetMarkerSize(4)
        node.SetXColumnName("x")
        node.SetYColumnName("y")
        node.SetAndObserveTableNodeID(table.GetID())
        return self._add(node, name), table

    def _add(self, node, name: str):
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        return slicer.mrmlScene.AddNode(node)


def _drawable(title: str) -> str:
    """Return a title for VTK, whose font lacks the raised minus: '10⁻³' would be drawn as '10³'."""
    return title.replace("10⁻³", "10^-3")


def _fill(tableNode, x: np.ndarray, y: np.ndarray) -> None:
    table = tableNode.GetTable()
    for name, values in (("x", x), ("y", y)):
        array = table.GetColumnByName(name)
        array.DeepCopy(numpy_to_vtk(np.ascontiguousarray(values, dtype=float)))
        array.SetName(name)
    table.Modified()
    tableNode.Modified()
