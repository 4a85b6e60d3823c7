"""A plot view of the panel's own that shows one chart of the scene."""

from __future__ import annotations

import slicer

_HEIGHT = 220


class EmbeddedPlot:
    """Shows a chart node inside `frame`; `viewName` is the name of its plot view, without spaces.

    The view is hidden and not saved: the chart is, and opens in any plot view of Slicer.
    """

    def __init__(self, frame, viewName: str) -> None:
        self._frame, self._name = frame, viewName
        self._viewNode = None
        self.widget = None

    def show(self, chartNode) -> None:
        """Show a chart node, or hide the plot for None."""
        self._frame.setVisible(chartNode is not None)
        if chartNode is None:
            return
        if self.widget is None:
            self.widget = slicer.qMRMLPlotWidget()
            self.widget.setMinimumHeight(_HEIGHT)
            self.widget.setMRMLScene(slicer.mrmlScene)
            self._frame.layout().addWidget(self.widget)
            self.widget.plotController().setVisible(False)  # its menus would offer every other plot of the scene
        former = self._viewNode  # kept until the widget has let it go
        if former is None or not slicer.mrmlScene.IsNodePresent(former):
            node = slicer.vtkMRMLPlotViewNode()
            node.SetSingletonTag(self._name)
            node.SetLayoutName(self._name)
            # A view with another parent than the main layout is left alone by the layout manager.
            node.SetAndObserveParentLayoutNodeID(chartNode.GetID())
            node.SetName(self._name)
            node.SetHideFromEditors(True)
            node.SetSaveWithScene(False)
            node.SetUndoEnabled(False)
            self._viewNode = slicer.mrmlScene.AddNode(node)
            self.widget.setMRMLScene(slicer.mrmlScene)
            self.widget.setMRMLPlotViewNode(self._viewNode)
        # Each time, because a scene that closes sets its views back.
        self._viewNode.SetAndObserveParentLayoutNodeID(chartNode.GetID())
        # A chart that another module shows would be put into every plot view of the scene, and so into this one.
        self._viewNode.SetDoPropagatePlotChartSelection(False)
        self._viewNode.SetPlotChartNodeID(chartNode.GetID())

    def close(self) -> None:
        """Let the view go; the chart stays in the scene."""
        if self.widget is not None:
            self.widget.setMRMLPlotViewNode(None)
        scene = slicer.mrmlScene
        if self._viewNode is not None and scene is not None and scene.IsNodePresent(self._viewNode):
            scene.RemoveNode(self._viewNode)
        self._viewNode = None
