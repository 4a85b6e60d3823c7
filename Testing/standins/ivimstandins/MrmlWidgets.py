"""slicer.qMRMLWidget and the plot view."""

from __future__ import annotations

import os

import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from IVIMMappingLib.OpenGLProbe import VARIABLE
from IVIMMappingLib.PlotPicture import ChartView

from .PythonQtRules import standIn


@standIn
class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and tells its children."""

    mrmlSceneChanged = Signal(object)
    signatures = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@standIn
class qMRMLPlotView(qMRMLWidget):
    """Shows the chart of a plot view node in a real vtkChartXY, which takes the mouse as in desktop Slicer."""

    dataSelected = Signal(object, object)
    signatures = {**qMRMLWidget.signatures, "dataSelected(vtkStringArray*,vtkCollection*)": "dataSelected"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._node = None
        self._chartNode = None
        self._tags = []
        self._canvas = ChartView((320, 220))
        self._canvas.chart.AddObserver("SelectionChangedEvent", lambda *_: self._emitSelection())
        # Buttons of the mouse in the mode "pan", with which a plot view begins.
        self._canvas.chart.SetActionToButton(vtk.vtkChart.PAN, vtk.vtkContextMouseEvent.LEFT_BUTTON)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._canvas.window)
        self._style = vtk.vtkContextInteractorStyle()
        self._style.SetScene(self._canvas.scene)
        self._interactor.SetInteractorStyle(self._style)
        self._interactor.Initialize()
        self._interactor.Enable()
        self.setMinimumSize(QtCore.QSize(100, 100))

    def mrmlPlotViewNode(self):
        return self._node

    def setMRMLPlotViewNode(self, node) -> None:
        self._observe(node)
        self.update()

    def chart(self):
        return self._canvas.chart

    def scene(self):
        return self._canvas.scene

    def renderWindow(self):
        return self._canvas.window

    def fitToContent(self) -> None:
        self.update()

    def RemovePlotSelections(self) -> None:  # noqa: N802  (the name in Slicer)
        for index in range(self._canvas.chart.GetNumberOfPlots()):
            self._canvas.chart.GetPlot(index).SetSelection(None)

    def draw(self):
        """Draw now and return the pixels (height, width, 3)."""
        self._canvas.show(self._chartNode, None, (self.width, self.height))
        self._interactor.UpdateSize(self.width, self.height)
        return self._canvas.pixels()

    def paintEvent(self, _event) -> None:
        if not os.environ.get(VARIABLE):
            return  # this computer cannot draw, and VTK would end the process
        pixels = self.draw()
        image = QtGui.QImage(pixels.data, pixels.shape[1], pixels.shape[0], 3 * pixels.shape[1],
                             QtGui.QImage.Format.Format_RGB888)
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, image.copy())
        painter.setPen(QtGui.QColor("gray"))
        painter.drawRect(0, 0, self.width - 1, self.height - 1)
        painter.end()

    def mousePressEvent(self, event) -> None:
        self._mouse(event)
        self._interactor.LeftButtonPressEvent()

    def mouseReleaseEvent(self, event) -> None:
        self._mouse(event)
        self._interactor.LeftButtonReleaseEvent()

    def _mouse(self, event) -> None:
        place = event.position()
        self._interactor.SetEventInformation(round(place.x()), self.height - 1 - round(place.y()))
        self._interactor.MouseMoveEvent()

    def _emitSelection(self) -> None:
        names, selections = vtk.vtkStringArray(), vtk.vtkCollection()
        for index in range(self._canvas.chart.GetNumberOfPlots()):
            plot = self._canvas.chart.GetPlot(index)
            selection = plot.GetSelection()
            if selection is not None and selection.GetNumberOfValues() > 0:
                selections.AddItem(selection)
                names.InsertNextValue(self._canvas.drawing.seriesIdOf(plot))
        self.dataSelected.emit(names, selections)

    def _observe(self, node) -> None:
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []
        self._node = node
        self._chartNode = node.GetPlotChartNode() if node is not None else None
        if node is not None:
            self._tags.append((node, node.AddObserver("ModifiedEvent", self._onViewNode)))
        if self._chartNode is not None:
            self._tags.append((self._chartNode, self._chartNode.AddObserver("ModifiedEvent", self._onChart)))

    def _onViewNode(self, *_) -> None:
        if self._node.GetPlotChartNode() is not self._chartNode:
            self._observe(self._node)
        self.update()

    def _onChart(self, *_) -> None:
        # The plots follow at once, as in Slicer, and are painted later.
        self._canvas.drawing.update(self._chartNode)
        self.update()


@standIn
class qMRMLPlotWidget(qMRMLWidget):
    """A plot view with its controller, which is left out."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._controller = QtWidgets.QWidget(self)
        self._view = qMRMLPlotView(self)
        layout.addWidget(self._controller)
        layout.addWidget(self._view)

    viewLabel = Property(str, lambda self: self._view.mrmlPlotViewNode().GetLayoutLabel())

    def setMRMLScene(self, scene) -> None:
        qMRMLWidget.setMRMLScene(self, scene)
        self._view.setMRMLScene(scene)

    def plotView(self):
        return self._view

    def plotController(self):
        return self._controller

    def mrmlPlotViewNode(self):
        return self._view.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node) -> None:
        self._view.setMRMLPlotViewNode(node)
