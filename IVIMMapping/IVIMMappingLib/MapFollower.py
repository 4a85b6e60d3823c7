"""Notice which map a person puts into a slice view with Slicer's own tools: slice controller, Data module, drag."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
import vtk

from .MapDisplay import PARAMETER_ATTRIBUTE
from .MapHiding import mapOfShown
from .ResultLayout import usualComposites


class MapFollower:
    """Calls `onMap(node)` with a map of ours that came into a layer of a usual slice view.

    Whoever is called decides whether that map is news: maps that the panel itself puts there are reported, too, once
    all views have been set. `parent` is a Qt object that keeps the timer alive.
    """

    def __init__(self, parent, onMap: Callable[[slicer.vtkMRMLNode], None]) -> None:
        self._onMap = onMap
        self._known: dict[str, tuple] = {}  # identifier of a composite node -> its layers as they were last
        self._observed: list[tuple] = []
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        connected = self._timer.connect("timeout()", self._onTimeout)
        assert connected is not False

    def start(self) -> None:
        """Follow the views; a map that was put there since `stop` is reported now."""
        self._observe()
        self._timer.start()

    def stop(self) -> None:
        """Follow nothing, but remember what the views show."""
        self._timer.stop()
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []

    def forget(self) -> None:
        """Take what the views show now as known: a scene brought it, and no person has chosen it."""
        self._timer.stop()
        self._known = {node.GetID(): _layersOf(node) for node in usualComposites()}
        if self._observed:
            self._observe()

    def _observe(self) -> None:
        self.stop()
        self._observed = [
            (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onComposite)) for node in usualComposites()
        ]

    def _onComposite(self, caller, event) -> None:
        # Later: whoever sets the views sets one after the other.
        if not self._timer.isActive():
            self._timer.start()

    def _onTimeout(self) -> None:
        came = []
        for node in usualComposites():
            layers = _layersOf(node)
            before = self._known.get(node.GetID(), layers)
            came += [new for new, old in zip(layers, before, strict=True) if new and new != old]
            self._known[node.GetID()] = layers
        if len(self._observed) != len(usualComposites()):
            self._observe()  # another layout has brought views
        for identifier in came:
            node = mapOfShown(slicer.mrmlScene.GetNodeByID(identifier))
            if node is not None and node.GetAttribute(PARAMETER_ATTRIBUTE):
                self._onMap(node)
                return


def _layersOf(composite) -> tuple:
    return composite.GetForegroundVolumeID(), composite.GetBackgroundVolumeID()
