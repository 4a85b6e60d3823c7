"""Slice views side by side: all maps of a run, or the same map of two runs; and maps as overlay in the usual views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from .MapDescription import describeMap
from .MapDisplay import showOverlay
from .MapHiding import shownNode
from .Runs import Run
from .VolumeNodes import geometryOfVolumeNode

VIEW_PREFIX = "IVIM"
"""Start of the names of our own slice views; a layout name is part of node IDs, so it holds neither space nor '*'."""
_FIRST_LAYOUT = 27182
"""Number of our first custom layout, far from Slicer's own and from 499 to 501, which many extensions use."""
MAPS, PAIR, DATES = ("Map", 0), ("Pair", 1), ("Date", 2)
"""Name and number of our three ResultLayout: all maps of a run, one map of two runs, and both dates of a follow-up."""
_COLORS = ("#8c8c8c", "#3b75af", "#c44e52", "#8172b2", "#937860", "#64b5cd")
_ORIENTATIONS = ("Sagittal", "Coronal", "Axial")
_MOST = 6


@dataclass(frozen=True, eq=False)
class Panel:
    """One view: its title, the image behind, the map above; either may be None."""

    title: str
    background: Any
    foreground: Any = None


class ResultLayout:
    """A layout of own slice views, linked and in the plane of acquisition, that gives way to the layout before.

    `name` distinguishes its views from those of another ResultLayout, `number` (0..9) its layouts.
    """

    def __init__(self, name: str, number: int) -> None:
        self._name = name
        self._number = number
        self._before: int | None = None
        self._panels: list[Panel] = []

    @property
    def isShown(self) -> bool:
        return bool(self._panels) and _layoutNode().GetViewArrangement() == self._layoutOf(len(self._panels))

    def register(self) -> None:
        """Tell Slicer of our layouts, so that a scene that was saved with one of them opens with it."""
        node = _layoutNode()
        for count in range(1, _MOST + 1):
            layout = self._layoutOf(count)
            if not node.IsLayoutDescription(layout):
                node.AddLayoutDescription(layout, self._description(count))
                if node.GetViewArrangement() == layout:
                    node.SetViewArrangement(layout)  # a scene asked for it before it was known: there are no views yet

    def show(self, panels: Sequence[Panel], opacity: float, cursor=None) -> None:
        """Show these panels, at most six; `cursor` (RAS [mm]) is where the views look, None for the middle."""
        panels = list(panels)[:_MOST]
        layoutNode = _layoutNode()
        if not self.isShown:
            self._before = layoutNode.GetViewArrangement()
        identifier = self._layoutOf(len(panels))
        self.register()
        self._panels = panels
        slicer.app.layoutManager().setLayout(identifier)
        anchor = next((panel.foreground or panel.background for panel in panels if panel.foreground), None)
        anchor = anchor or panels[0].background
        for index, panel in enumerate(panels):
            logic = slicer.app.layoutManager().sliceWidget(self._viewName(index)).sliceLogic()
            self._fill(logic, panel, opacity)
            _aim(logic, anchor, cursor)

    def update(self, panels: Sequence[Panel], opacity: float) -> None:
        """Show other panels in the views that are there, without moving them; `show` if their number changed."""
        if not self.isShown or len(panels) != len(self._panels):
            self.show(panels, opacity)
            return
        self._panels = list(panels)
        for index, panel in enumerate(self._panels):
            self._fill(slicer.app.layoutManager().sliceWidget(self._viewName(index)).sliceLogic(), panel, opacity)

    def back(self) -> None:
        """Return to the layout before, if this one is still shown."""
        if self.isShown and self._before is not None:
            slicer.app.layoutManager().setLayout(self._before)
        self._panels = []
        self._before = None

    def forget(self) -> None:
        """The scene was closed: neither panels nor the layout before mean anything now."""
        self._panels = []
        self._before = None
        if slicer.app.layoutManager() is not None:  # there is none without a main window
            self.register()

    def _fill(self, logic, panel: Panel, opacity: float) -> None:
        composite = logic.GetSliceCompositeNode()
        showOverlay(composite, panel.background, panel.foreground, opacity if panel.foreground else 1.0)
        composite.SetLinkedControl(True)
        logic.GetSliceNode().SetLayoutLabel(panel.title)

    def _layoutOf(self, count: int) -> int:
        return _FIRST_LAYOUT + 10 * self._number + count

    def _viewName(self, index: int) -> str:
        return f"{VIEW_PREFIX}{self._name}{index + 1}"

    def _description(self, count: int) -> str:
        columns = count if count < 4 else (count + 1) // 2
        rows = [range(first, min(first + columns, count)) for first in range(0, count, columns)]
        lines = "".join(
            "<item><layout type=\"horizontal\">" + "".join(self._view(index) for index in row) + "</layout></item>"
            for row in rows
        )
        return f'<layout type="vertical">{lines}</layout>'

    def _view(self, index: int) -> str:
        return (
            f'<item><view class="vtkMRMLSliceNode" singletontag="{self._viewName(index)}">'
            '<property name="orientation" action="default">Axial</property>'
            f'<property name="viewlabel" action="default">{index + 1}</property>'
            f'<property name="viewcolor" action="default">{_COLORS[index]}</property>'
            f'<property name="viewgroup" action="default">{_FIRST_LAYOUT + self._number}</property>'
            "</view></item>"
        )


def registerLayouts() -> None:
    """Tell Slicer of all our layouts; in a program without a main window there is nobody to tell."""
    if slicer.app.layoutManager() is not None:
        for name, number in (MAPS, PAIR, DATES):
            ResultLayout(name, number).register()


def keysOfLayout(run: Run) -> list[str]:
    """Return the keys of the maps that stand beside b0: D, f, D*, RMSE, information; others where one is missing."""
    keys = [key for key in (_first(run, "D", "ADC"), "f", "Dstar", "rmse", _first(run, "Dstar_info", "f_info")) if key]
    keys = [key for key in keys if key in run.maps]
    keys += [key for key in run.maps if key not in keys and not key.startswith("rho")]
    return keys[: _MOST - 1]


def panelsOfRun(run: Run, background) -> list[Panel]:
    """Return the panels of b0 and of the maps of a run over `background`, which may be None."""
    panels = [Panel("b0", background)] if background is not None else []
    return panels + [
        panelOfMap(describeMap(key).label, shownNode(run, key), key, background) for key in keysOfLayout(run)
    ]


def panelOfMap(title: str, node, key: str, background) -> Panel:
    """Return a panel of one map: over the image, or alone if it is grey, because nobody could tell where it ends."""
    isGrey = describeMap(key).colors == "Grey"
    return Panel(title, node) if isGrey or background is None else Panel(title, background, node)


def usualComposites() -> list:
    """Return the composite nodes of all slice views but our own."""
    nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
    return [node for node in found if not (node.GetLayoutName() or "").startswith(VIEW_PREFIX)]


def ownComposites() -> list:
    """Return the composite nodes of our own slice views."""
    usual = usualComposites()
    nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    found = [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]
    return [node for node in found if node not in usual]


def showInUsualViews(background, node, opacity: float) -> None:
    """Show a map over an image in all slice views but our own; None leaves the image behind as it is."""
    for composite in usualComposites():
        if background is not None:
            composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(node.GetID() if node is not None else None)
        composite.SetForegroundOpacity(opacity)


def _first(run: Run, *keys: str) -> str | None:
    return next((key for key in keys if key in run.maps), None)


def _layoutNode():
    return slicer.app.layoutManager().layoutLogic().GetLayoutNode()


def _aim(logic, volume, cursor) -> None:
    """Turn a slice view into the plane of acquisition of a volume, at its size, onto a position."""
    if volume is None:
        return
    affine = np.asarray(geometryOfVolumeNode(volume).affine)
    node = logic.GetSliceNode()
    # RotateToVolumePlane turns to the nearest plane of the volume, so start near its plane of acquisition.
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    node.SetOrientation(_ORIENTATIONS[int(np.argmax(np.abs(normal)))])
    node.RotateToVolumePlane(volume)
    logic.FitSliceToBackground()
    if cursor is not None:
        node.JumpSliceByOffsetting(*cursor)
    logic.SnapSliceOffsetToIJK()
