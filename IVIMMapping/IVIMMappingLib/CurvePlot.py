"""The plot of signal curves: chart, series and tables of the scene, and the plot view that is embedded in the panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import qt
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .PlotPicture import BACKGROUND, NO_LEGEND
from .PlottedCurves import Line, Points

_VIEW_NAME = "IVIMCurve"
_HEIGHT = 220
_MARGIN = 0.03
_LOG_MARGIN = 0.15


@dataclass
class _Series:
    node: object
    table: object
    kind: str
    owner: str
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))


class CurvePlot:
    """Owns the plot nodes of the panel and shows them in a plot view inside `frame`.

    The nodes are hidden, are not saved with the scene and are not undone: everything in them follows from the series,
    the pins and the regions. They are reused from one `draw` to the next, and made anew after the scene was closed.
    `onImage` is called with the number from 0 of the image whose point was clicked.
    """

    def __init__(self, frame, onImage: Callable[[int], None]) -> None:
        self._onImage = onImage
        self.widget = slicer.qMRMLPlotWidget()
        self.widget.setMinimumHeight(_HEIGHT)
        self.widget.setMRMLScene(slicer.mrmlScene)
        frame.layout().addWidget(self.widget)
        controller = self.widget.plotController()
        controller.setVisible(False)  # its menus would offer every other plot of the scene
        self._background = tuple(part / 255 for part in BACKGROUND)
        self.chartNode = None
        self._viewNode = None
        self._series: dict[tuple[str, str], _Series] = {}
        self._selecting = False
        self._clicked: int | None = None
        self._followClicks()

    def draw(self, points: list[Points], lines: list[Line], logScale: bool) -> None:
        """Show these curves and no others; names must differ."""
        self._ensureNodes()
        wanted: list[tuple[str, str]] = []
        for line in lines:
            wanted += [(line.name, "stored" if line.stored else "fit")]
            wanted += [(line.name, "tissue")] if line.tissue is not None else []
        for curve in points:
            shown = np.isfinite(curve.b) & np.isfinite(curve.signal) & ((curve.signal > 0) | (not logScale))
            wanted += [(curve.name, "used")] if (shown & curve.used).any() else []
            wanted += [(curve.name, "excluded"), (curve.name, "hole")] if (shown & ~curve.used).any() else []
        if wanted != list(self._series):
            self._rebuild(wanted)
        modifying = self.chartNode.StartModify()
        for line in lines:
            self._fill((line.name, "stored" if line.stored else "fit"), line.color, line.b, line.signal)
            if line.tissue is not None:
                self._fill((line.name, "tissue"), line.color, line.b, line.tissue)
        for curve in points:
            self._fillPoints(curve, logScale)
        if bool(self.chartNode.GetYAxisLogScale()) != logScale:
            self.chartNode.SetYAxisLogScale(logScale)
        self._fitAxes(logScale)
        self.chartNode.EndModify(modifying)

    def clear(self) -> None:
        """Show nothing."""
        if self.chartNode is not None and self.chartNode.GetScene() is not None:
            self._rebuild([])

    def close(self) -> None:
        """Take the nodes out of the scene and let the view go."""
        self.widget.setMRMLPlotViewNode(None)
        scene = slicer.mrmlScene
        if scene is not None:
            self._removeSeries()
            for node in (self._viewNode, self.chartNode):
                if node is not None and scene.IsNodePresent(node):
                    scene.RemoveNode(node)
        self._viewNode = self.chartNode = None

    def clickPoint(self, name: str, image: int) -> None:
        """Do what a click on the point of that image (from 0) of the curve `name` does."""
        for kind in ("used", "excluded", "hole"):
            series = self._series.get((name, kind))
            if series is not None and image in series.numbers:
                self._onImage(image)
                return

    def columns(self) -> list[tuple[str, np.ndarray]]:
        """Return what is plotted as columns of unequal length: name with unit, values."""
        table = []
        for series in self._series.values():
            if series.kind == "hole":
                continue
            rows = slice(0, 1) if np.unique(series.numbers).size == 1 else slice(None)
            x, y = (vtk_to_numpy(series.table.GetTable().GetColumn(column))[rows] for column in (0, 1))
            name = series.node.GetName()
            table += [(f"b of {name} [s/mm²]", x.copy()), (f"{name} [signal units]", y.copy())]
        return table

    # --- nodes -------------------------------------------------------------------------------------------------

    def _ensureNodes(self) -> None:
        scene = slicer.mrmlScene
        if self.chartNode is None or not scene.IsNodePresent(self.chartNode):
            self._series.clear()
            self.chartNode = self._add(slicer.vtkMRMLPlotChartNode(), "IVIM signal curves")
            self.chartNode.SetTitleVisibility(False)
            self.chartNode.SetLegendVisibility(False)  # the table below the plot is the legend
            self.chartNode.SetXAxisRangeAuto(False)
            self.chartNode.SetYAxisRangeAuto(False)
            self.chartNode.SetXAxisTitle("b [s/mm²]")
            self.chartNode.SetYAxisTitle("Signal [signal units]")
            self.chartNode.SetAxisTitleFontSize(12)
            self.chartNode.SetAxisLabelFontSize(11)
        former = self._viewNode  # kept until the widget has let it go
        if former is None or not scene.IsNodePresent(former):
            node = slicer.vtkMRMLPlotViewNode()
            node.SetLayoutName(_VIEW_NAME)
            # A view with another parent than the main layout is left alone by the layout manager.
            node.SetAndObserveParentLayoutNodeID(self.chartNode.GetID())
            # A chart that another module shows would be put into every plot view of the scene, and so into this one.
            node.SetDoPropagatePlotChartSelection(False)
            self._viewNode = self._add(node, _VIEW_NAME)
        if self._viewNode.GetPlotChartNodeID() != self.chartNode.GetID():
            self._viewNode.SetAndObserveParentLayoutNodeID(self.chartNode.GetID())
            self._viewNode.SetPlotChartNodeID(self.chartNode.GetID())
        if self.widget.mrmlPlotViewNode() is not self._viewNode:
            self.widget.setMRMLScene(scene)
            self.widget.setMRMLPlotViewNode(self._viewNode)

    @staticmethod
    def _add(node, name: str):
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        return slicer.mrmlScene.AddNode(node)

    def _rebuild(self, wanted: list[tuple[str, str]]) -> None:
        # All are taken out first: a plot view keeps the order in which series came, and points must lie above lines.
        self.chartNode.RemoveAllPlotSeriesNodeIDs()
        kept = {key: series for key, series in self._series.items() if key in set(wanted)}
        self._removeSeries(set(self._series) - set(kept))
        self._series = {key: kept.get(key) or self._createSeries(*key) for key in wanted}
        modifying = self.chartNode.StartModify()
        for series in self._series.values():
            self.chartNode.AddAndObservePlotSeriesNodeID(series.node.GetID())
        self.chartNode.EndModify(modifying)

    def _removeSeries(self, keys=None) -> None:
        scene = slicer.mrmlScene
        for key in list(self._series) if keys is None else keys:
            series = self._series.pop(key)
            for node in (series.node, series.table):
                if scene.IsNodePresent(node):
                    scene.RemoveNode(node)

    def _createSeries(self, owner: str, kind: str) -> _Series:
        name = {
            "fit": "{name}, fit", "tissue": "{name}, tissue only", "stored": "{name}, stored fit",
            "used": "{name}, measured", "excluded": "{name}, left out (ring)", "hole": "{name}, left out (hole)",
        }[kind].format(name=owner)
        table = slicer.vtkMRMLTableNode()
        for column in ("b", "signal"):
            array = vtk.vtkDoubleArray()
            array.SetName(column)
            table.GetTable().AddColumn(array)
        labels = vtk.vtkStringArray()
        labels.SetName("image")
        table.GetTable().AddColumn(labels)
        table = self._add(table, name)
        node = slicer.vtkMRMLPlotSeriesNode()
        node.SetPlotType(node.PlotTypeScatter)
        style = {"fit": node.LineStyleSolid, "tissue": node.LineStyleDash, "stored": node.LineStyleDot}
        node.SetLineStyle(style.get(kind, node.LineStyleNone))
        node.SetLineWidth(2 if kind != "tissue" else 1.5)
        isPoint = kind in ("used", "excluded", "hole")
        node.SetMarkerStyle(node.MarkerStyleCircle if isPoint else node.MarkerStyleNone)
        node.SetMarkerSize({"used": 9, "excluded": 10, "hole": 6}.get(kind, 1))
        node.SetXColumnName("b")
        node.SetYColumnName("signal")
        if isPoint:
            node.SetLabelColumnName("image")
        if kind == "hole":
            node.SetAttribute(NO_LEGEND, "1")
            node.SetColor(*self._background)
        node.SetAndObserveTableNodeID(table.GetID())
        return _Series(self._add(node, name), table, kind, owner)

    # --- values ------------------------------------------------------------------------------------------------

    def _fillPoints(self, curve: Points, logScale: bool) -> None:
        shown = np.isfinite(curve.b) & np.isfinite(curve.signal) & ((curve.signal > 0) | (not logScale))
        out = shown & ~curve.used
        for kind, chosen in (("used", shown & curve.used), ("excluded", out), ("hole", out)):
            if (curve.name, kind) in self._series:
                numbers = np.flatnonzero(chosen)
                if numbers.size == 1:
                    numbers = np.repeat(numbers, 2)  # VTK reports an error for a curve of one point
                labels = [curve.labels[number] for number in numbers] if curve.labels else []
                color = None if kind == "hole" else curve.color
                self._fill((curve.name, kind), color, curve.b[numbers], curve.signal[numbers], labels)
                self._series[curve.name, kind].numbers = numbers

    def _fill(self, key, color, x: np.ndarray, y: np.ndarray, labels=()) -> None:
        series = self._series[key]
        table = series.table.GetTable()
        for name, values in (("b", x), ("signal", y)):
            array = table.GetColumnByName(name)
            if array.GetNumberOfTuples() == len(values):
                vtk_to_numpy(array)[:] = values
            else:
                array.DeepCopy(numpy_to_vtk(np.ascontiguousarray(values, dtype=float)))
                array.SetName(name)
            array.Modified()
        column = table.GetColumnByName("image")
        column.SetNumberOfValues(len(x))
        for index in range(len(x)):
            column.SetValue(index, labels[index] if index < len(labels) else "")
        if color is not None and tuple(series.node.GetColor()) != tuple(color):
            series.node.SetColor(*color)
        table.Modified()

    def _fitAxes(self, logScale: bool) -> None:
        """Leave a margin around the curves: a point on an axis is cut in half and is hard to click."""
        tables = [series.table.GetTable() for series in self._series.values()]
        if not tables:
            return
        x, y = (np.concatenate([vtk_to_numpy(table.GetColumn(column)) for table in tables]) for column in (0, 1))
        y = y[np.isfinite(y) & ((y > 0) | (not logScale))]
        if y.size == 0:
            return
        ranges = [(-_MARGIN * max(x.max(), 1.0), (1 + _MARGIN) * max(x.max(), 1.0))]
        if logScale:
            ranges.append((y.min() / (1 + _LOG_MARGIN), y.max() * (1 + _LOG_MARGIN)))
        else:
            ranges.append((min(0.0, float(y.min())), max((1 + 2 * _MARGIN) * float(y.max()), 1e-6)))
        for new, old, change in zip(
            ranges, (self.chartNode.GetXAxisRange(), self.chartNode.GetYAxisRange()),
            (self.chartNode.SetXAxisRange, self.chartNode.SetYAxisRange), strict=True,
        ):
            if not np.allclose(new, old, rtol=1e-9, atol=0):
                change(*(float(end) for end in new))

    # --- clicks ------------------------------------------------------------------------------------------------

    def _followClicks(self) -> None:
        view = self.widget.plotView()
        connected = view.connect("dataSelected(vtkStringArray*, vtkCollection*)", self._onDataSelected)
        assert connected is not False
        if hasattr(view, "chart"):
            chart = view.chart()
            # By default a click only notifies; so it selects the point, while dragging still pans.
            chart.SetClickActionToButton(vtk.vtkChart.SELECT, vtk.vtkContextMouseEvent.LEFT_BUTTON)
            color = chart.GetBackgroundBrush().GetColorObject()
            self._background = (color.GetRed() / 255, color.GetGreen() / 255, color.GetBlue() / 255)

    def _onDataSelected(self, seriesIds, selections) -> None:
        if self._selecting:
            return
        for index in range(min(seriesIds.GetNumberOfValues(), selections.GetNumberOfItems())):
            identifier = seriesIds.GetValue(index)
            series = next((s for s in self._series.values() if s.node.GetID() == identifier), None)
            picked = selections.GetItemAsObject(index)
            if series is None or series.numbers.size == 0 or picked.GetNumberOfValues() == 0:
                continue
            row = picked.GetValue(0)
            if row < series.numbers.size:
                # Later, because Slicer is still in the mouse event, and is not done with the selection.
                self._clicked = int(series.numbers[row])
                qt.QTimer.singleShot(0, self._showClicked)
                return

    def _showClicked(self) -> None:
        image, self._clicked = self._clicked, None
        if image is None:
            return
        self._selecting = True
        try:
            self.widget.plotView().RemovePlotSelections()
        finally:
            self._selecting = False
        self._onImage(image)
