"""The same map of two runs as a scatter plot with the line of identity, in a plot view of its own."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

_VIEW_NAME = "IVIMScatter"
_HEIGHT = 220


class ScatterPlot:
    """Owns the nodes and the view inside `frame`; nothing of it is saved with the scene, it follows from the maps."""

    def __init__(self, frame) -> None:
        self.widget = slicer.qMRMLPlotWidget()
        self.widget.setMinimumHeight(_HEIGHT)
        self.widget.setMRMLScene(slicer.mrmlScene)
        frame.layout().insertWidget(0, self.widget)  # above the button that saves it
        self.widget.plotController().setVisible(False)  # its menus would offer every other plot of the scene
        self.chartNode = None
        self._nodes: list = []

    def draw(self, x: np.ndarray, y: np.ndarray, xTitle: str, yTitle: str) -> None:
        """Show points `x`, `y` (n,) in display units, and the line on which both are equal."""
        self._ensureNodes()
        ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())]) if x.size else np.array([0.0, 1.0])
        points, line = self._series
        _fill(points.GetTableNode(), x, y)
        _fill(line.GetTableNode(), ends, ends)
        self.chartNode.SetXAxisTitle(xTitle)
        self.chartNode.SetYAxisTitle(yTitle)
        self.chartNode.Modified()

    def points(self) -> int:
        """Return the number of points shown."""
        return self._series[0].GetTableNode().GetTable().GetNumberOfRows() if self._nodes else 0

    def close(self) -> None:
        """Take the nodes out of the scene and let the view go."""
        self.widget.setMRMLPlotViewNode(None)
        for node in self._nodes:
            if slicer.mrmlScene is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        self._nodes, self.chartNode = [], None

    def _ensureNodes(self) -> None:
        if self.chartNode is not None and slicer.mrmlScene.IsNodePresent(self.chartNode):
            return
        former, self._nodes = self._nodes, []  # held until the widget has let go of those of a closed scene
        self.chartNode = chart = self._add(slicer.vtkMRMLPlotChartNode(), "IVIM comparison")
        chart.SetTitleVisibility(False)
        chart.SetLegendVisibility(False)
        chart.SetAxisTitleFontSize(12)
        chart.SetAxisLabelFontSize(11)
        self._series = [self._createSeries("voxels", False), self._createSeries("identity", True)]
        for series in self._series:
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
        view = slicer.vtkMRMLPlotViewNode()
        view.SetSingletonTag(_VIEW_NAME)
        view.SetLayoutName(_VIEW_NAME)
        # A view with another parent than the main layout is left alone by the layout manager.
        view.SetAndObserveParentLayoutNodeID(chart.GetID())
        # A chart that another module shows would be put into every plot view of the scene, and so into this one.
        view.SetDoPropagatePlotChartSelection(False)
        view = self._add(view, _VIEW_NAME)
        view.SetPlotChartNodeID(chart.GetID())
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.setMRMLPlotViewNode(view)
        former.clear()

    def _createSeries(self, name: str, isLine: bool):
        table = slicer.vtkMRMLTableNode()
        for column in ("x", "y"):
            array = vtk.vtkDoubleArray()
            array.SetName(column)
            table.GetTable().AddColumn(array)
        table = self._add(table, f"IVIM comparison {name}")
        node = slicer.vtkMRMLPlotSeriesNode()
        node.SetPlotType(node.PlotTypeScatter)
        node.SetLineStyle(node.LineStyleDash if isLine else node.LineStyleNone)
        node.SetMarkerStyle(node.MarkerStyleNone if isLine else node.MarkerStyleCircle)
        node.SetMarkerSize(4)
        node.SetColor(*((0.4, 0.4, 0.4) if isLine else (0.0, 0.45, 0.7)))
        node.SetXColumnName("x")
        node.SetYColumnName("y")
        node.SetAndObserveTableNodeID(table.GetID())
        return self._add(node, name)

    def _add(self, node, name: str):
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        node = slicer.mrmlScene.AddNode(node)
        self._nodes.append(node)
        return node


def _fill(tableNode, x: np.ndarray, y: np.ndarray) -> None:
    table = tableNode.GetTable()
    for name, values in (("x", x), ("y", y)):
        array = table.GetColumnByName(name)
        array.DeepCopy(numpy_to_vtk(np.ascontiguousarray(values, dtype=float)))
        array.SetName(name)
    table.Modified()
    tableNode.Modified()
