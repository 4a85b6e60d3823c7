"""Follow the mouse and the crosshair of the slice views, but not faster than a plot can be redrawn."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
import vtk

INTERVAL_MS = 30


class CrosshairFollower:
    """Calls `onMove(ras)` with the last position [mm] of the mouse over a slice view, or of the crosshair.

    At most one call per 30 ms: positions in between are skipped, the last one always arrives. `parent` is a Qt object
    that keeps the timer alive.
    """

    def __init__(self, parent, onMove: Callable[[tuple[float, float, float]], None]) -> None:
        self._onMove = onMove
        self._node = None
        self._tags: list[int] = []
        self._crosshair: tuple[float, ...] | None = None
        self._pending: tuple[float, float, float] | None = None
        self._timer = qt.QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(INTERVAL_MS)
        connected = self._timer.connect("timeout()", self._onTimeout)
        assert connected is not False

    def start(self) -> None:
        """Follow the crosshair of the scene that is open now."""
        node = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
        if node is self._node and self._tags:
            return
        self.stop()
        self._node = node
        if node is not None:
            self._crosshair = crosshairPosition()
            self._tags = [
                node.AddObserver(slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._onCursor),
                node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onCrosshair),
            ]

    def stop(self) -> None:
        """Follow nothing; a position that waits is forgotten."""
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._tags = []
        self._node = None
        self._pending = None
        self._timer.stop()

    def _onCursor(self, caller, event) -> None:
        ras = [0.0, 0.0, 0.0]
        if caller.GetCursorPositionRAS(ras):  # false while the mouse is outside all views: the last one stays
            self._move(ras)

    def _onCrosshair(self, caller, event) -> None:
        ras = tuple(caller.GetCrosshairRAS())
        if ras != self._crosshair:
            self._crosshair = ras
            self._move(ras)

    def _move(self, ras) -> None:
        self._pending = (float(ras[0]), float(ras[1]), float(ras[2]))
        if not self._timer.isActive():
            self._timer.start()

    def _onTimeout(self) -> None:
        position, self._pending = self._pending, None
        if position is not None:
            self._onMove(position)


def crosshairPosition() -> tuple[float, float, float] | None:
    """Return where the crosshair of the scene stands [mm], or None in a scene without one."""
    node = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
    return tuple(node.GetCrosshairRAS()) if node is not None else None
