"""A line of text of our own in the corner of the slice views."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk

_SIZE = 15
_POSITION = (0.02, 0.94)  # of the view; the other corners are taken by Slicer's own annotations


class SliceAnnotation:
    """Writes one text into every slice view whose background a function accepts.

    An actor of our own, because Slicer's data probe rewrites the corner annotation at every move of the mouse.
    `isWanted(volumeNode)` tells whether the text belongs into a view with that background (None: an empty view).
    """

    def __init__(self, isWanted: Callable[[object], bool]) -> None:
        self._isWanted = isWanted
        self._actors: dict[str, tuple] = {}  # name of the view -> (renderer, actor, composite node, its observer)
        self.text = ""

    def show(self, text: str) -> None:
        """Write this text into the views, those included that came with another layout; '' writes nothing."""
        self.text = text
        layoutManager = slicer.app.layoutManager()
        names = set(layoutManager.sliceViewNames()) if layoutManager is not None else set()
        for name in set(self._actors) - names:
            self._release(name)
        for name in names:
            self._write(name, layoutManager.sliceWidget(name))

    def remove(self) -> None:
        """Take the texts out of all views."""
        self.text = ""
        for name in list(self._actors):
            self._release(name)

    def textIn(self, viewName: str) -> str:
        """Return what stands in that view."""
        actor = self._actors.get(viewName, (None, None))[1]
        return actor.GetInput() if actor is not None and actor.GetVisibility() else ""

    def _write(self, name: str, widget) -> None:
        if widget is None:
            return
        view = widget.sliceView()
        renderer = view.renderWindow().GetRenderers().GetFirstRenderer()
        if renderer is None:
            return
        known = self._actors.get(name)
        if known is not None and known[0] is not renderer:
            self._release(name)
            known = None
        if known is None:
            if not self.text:
                return
            composite = widget.sliceLogic().GetSliceCompositeNode()
            tag = composite.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onComposite)
            actor = _newActor()
            renderer.AddViewProp(actor)
            self._actors[name] = (renderer, actor, composite, tag)
        self._update(name)

    def _onComposite(self, caller, event) -> None:
        for name, (_renderer, _actor, composite, _tag) in list(self._actors.items()):
            if composite is caller:
                self._update(name)

    def _update(self, name: str) -> None:
        if name not in self._actors:
            return
        _renderer, actor, composite, _tag = self._actors[name]
        background = composite.GetBackgroundVolumeID()
        volume = slicer.mrmlScene.GetNodeByID(background) if background else None
        text = self.text if self._isWanted(volume) else ""
        if text != (actor.GetInput() or "") or bool(actor.GetVisibility()) != bool(text):
            actor.SetInput(text)
            actor.SetVisibility(bool(text))
            self._render(name)

    def _release(self, name: str) -> None:
        renderer, actor, composite, tag = self._actors.pop(name)
        renderer.RemoveViewProp(actor)
        composite.RemoveObserver(tag)
        self._render(name)

    @staticmethod
    def _render(name: str) -> None:
        layoutManager = slicer.app.layoutManager()
        widget = layoutManager.sliceWidget(name) if layoutManager is not None else None
        if widget is not None:
            widget.sliceView().scheduleRender()


def _newActor() -> vtk.vtkTextActor:
    actor = vtk.vtkTextActor()
    style = actor.GetTextProperty()
    style.SetFontSize(_SIZE)
    style.SetColor(1.0, 0.9, 0.3)
    style.SetShadow(True)
    style.SetVerticalJustificationToTop()
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    actor.SetPosition(*_POSITION)
    actor.SetVisibility(False)
    return actor
