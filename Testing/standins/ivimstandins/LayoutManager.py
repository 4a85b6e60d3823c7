"""slicer.app.layoutManager(): views as the layout node of the scene asks for them."""

from __future__ import annotations

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .MrmlWidgets import qMRMLPlotWidget
from .PythonQtRules import standIn
from .SliceWidgets import qMRMLSliceWidget


@standIn
class qSlicerLayoutManager(QtCore.QObject):
    """Makes a widget for each slice and plot view; arranges nothing, since nobody looks."""

    layoutChanged = Signal(int)

    def __init__(self, applicationLogic, scene) -> None:
        super().__init__()
        self._applicationLogic = applicationLogic
        self._scene = scene
        self._viewport = QtWidgets.QWidget()
        self._slices: dict[str, qMRMLSliceWidget] = {}
        self._plots: dict[str, qMRMLPlotWidget] = {}
        self._layoutLogic = slicer.vtkMRMLLayoutLogic()
        self._layoutLogic.SetMRMLApplicationLogic(applicationLogic)
        self._layoutLogic.SetMRMLScene(scene)
        self._node = self._layoutLogic.GetLayoutNode()
        self._shown = None
        self._tag = self._node.AddObserver("ModifiedEvent", lambda *_: self._update())
        # Desktop Slicer starts with the four-up layout behind the conventional one.
        self._node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
        self._update()

    def _stop(self) -> None:
        self._node.RemoveObserver(self._tag)
        for widget in self._slices.values():
            widget._stop()
        for widget in self._plots.values():
            widget.setMRMLPlotViewNode(None)
        self._applicationLogic.GetSliceLogics().RemoveAllItems()
        self._slices.clear()
        self._plots.clear()
        self._layoutLogic.SetMRMLScene(None)
        self._viewport.deleteLater()

    def setLayout(self, layout: int) -> None:
        self._node.SetViewArrangement(layout)

    layout = Property(int, lambda self: self._node.GetViewArrangement(), setLayout)

    def layoutLogic(self):
        return self._layoutLogic

    def viewport(self):
        return self._viewport

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of all slice views ever made, those outside the present layout too."""
        return tuple(self._slices)

    def sliceWidget(self, name: str):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return self._applicationLogic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """There are no 3D views."""

    threeDViewCount = Property(int, lambda self: 0)
    tableViewCount = Property(int, lambda self: 0)
    plotViewCount = Property(int, lambda self: len(self._plots))

    def plotWidget(self, index: int):
        return list(self._plots.values())[index] if 0 <= index < len(self._plots) else None

    def threeDWidget(self, index: int):
        return None

    def tableWidget(self, index: int):
        return None

    def _update(self) -> None:
        nodes = self._layoutLogic.GetViewNodes()
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            name = node.GetLayoutName()
            if node.IsA("vtkMRMLSliceNode") and name not in self._slices:
                self._slices[name] = qMRMLSliceWidget(self._viewport)
                self._slices[name]._start(self._applicationLogic, self._scene, node)
            elif node.IsA("vtkMRMLPlotViewNode") and name not in self._plots:
                self._plots[name] = qMRMLPlotWidget(self._viewport)
                self._plots[name].setMRMLScene(self._scene)
                self._plots[name].setMRMLPlotViewNode(node)
        if self._shown != self._node.GetViewArrangement():
            self._shown = self._node.GetViewArrangement()
            self.layoutChanged.emit(self._shown)
