"""Rings in the slice views around the pins, each in the colour of its curve.

Slicer draws all points of a markups node in one colour; these rings add the colour by which plot and table tell the
pins apart. They are actors of our own and are only there while the module is shown.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from .Pins import Pin

_RADIUS = 8  # pixels
_HALF_SLICE = 0.6
"""How far from the slice a pin is still drawn, in distances of slices."""


class PinMarks:
    """Draws `show(pins)` into every slice view and follows the views; `remove` takes everything away."""

    def __init__(self) -> None:
        self._pins: list[Pin] = []
        self._views: dict[str, tuple] = {}  # name -> (renderer, slice node, its observer, actors)

    def show(self, pins: list[Pin]) -> None:
        """Mark these pins and no others."""
        self._pins = pins
        layoutManager = slicer.app.layoutManager()
        names = set(layoutManager.sliceViewNames()) if layoutManager is not None and pins else set()
        for name in set(self._views) - names:
            self._release(name)
        for name in names:
            self._ensure(name, layoutManager.sliceWidget(name))
            self._place(name)

    def remove(self) -> None:
        """Take all rings away."""
        self._pins = []
        for name in list(self._views):
            self._release(name)

    def visibleIn(self, viewName: str) -> list[tuple[float, float, float]]:
        """Return the colours of the rings that are seen in that view."""
        actors = self._views.get(viewName, (None, None, None, []))[3]
        return [actor.GetProperty().GetColor() for actor in actors if actor.GetVisibility()]

    def _ensure(self, name: str, widget) -> None:
        renderer = None if widget is None else widget.sliceView().renderWindow().GetRenderers().GetFirstRenderer()
        if name in self._views and self._views[name][0] is not renderer:
            self._release(name)
        if renderer is not None and name not in self._views:
            node = widget.mrmlSliceNode()
            self._views[name] = (renderer, node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onSlice), [])

    def _onSlice(self, caller, event) -> None:
        for name, view in list(self._views.items()):
            if view[1] is caller:
                self._place(name)

    def _place(self, name: str) -> None:
        if name not in self._views:
            return
        renderer, node, _tag, actors = self._views[name]
        while len(actors) < len(self._pins):
            actors.append(_newRing())
            renderer.AddViewProp(actors[-1])
        rasToXy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()))
        for index, actor in enumerate(actors):
            isSeen = index < len(self._pins)
            if isSeen:
                x, y, z = (rasToXy @ [*self._pins[index].ras, 1.0])[:3]
                isSeen = abs(z) <= _HALF_SLICE
                actor.SetPosition(x, y)
                actor.GetProperty().SetColor(*self._pins[index].color)
            actor.SetVisibility(bool(isSeen))
        self._render(name)

    def _release(self, name: str) -> None:
        renderer, node, tag, actors = self._views.pop(name)
        node.RemoveObserver(tag)
        for actor in actors:
            renderer.RemoveViewProp(actor)
        self._render(name)

    @staticmethod
    def _render(name: str) -> None:
        layoutManager = slicer.app.layoutManager()
        widget = layoutManager.sliceWidget(name) if layoutManager is not None else None
        if widget is not None:
            widget.sliceView().scheduleRender()


def _newRing() -> vtk.vtkActor2D:
    circle = vtk.vtkRegularPolygonSource()
    circle.SetNumberOfSides(28)
    circle.SetRadius(_RADIUS)
    circle.GeneratePolygonOff()
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputConnection(circle.GetOutputPort())
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetLineWidth(2.5)
    return actor
