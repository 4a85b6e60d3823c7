"""Positions that a person keeps: ordinary markups points, so that Slicer's own tools place, move and delete them.

All pins are one node, because Slicer's placing adds points to one node, and its undo, its table and its jump-to-point
work on one. Slicer gives a whole node one colour; so views show the labels P1, P2, …, and PinMarks adds a ring in the
colour that the pin has in plot and table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import slicer

NODE_NAME = "IVIM pins"
COLORS = (
    (0.00, 0.45, 0.70), (0.84, 0.37, 0.00), (0.00, 0.62, 0.45), (0.80, 0.35, 0.60), (0.34, 0.55, 0.85),
    (0.70, 0.50, 0.00), (0.45, 0.30, 0.75), (0.55, 0.25, 0.20),
)
"""Apart for colour-blind eyes too, and dark enough for the light background of a plot."""
_NODE_COLOR = (1.0, 0.85, 0.2)
_SIZE = 1.6  # percent of the view


@dataclass(frozen=True)
class Pin:
    """One kept position: `index` of its point in the node, `label`, `color` (r, g, b) [0..1], `ras` [mm]."""

    index: int
    label: str
    color: tuple[float, float, float]
    ras: tuple[float, float, float]


class Pins:
    """Reads and changes the points of `parameters.pinsNode`; `onChange()` is called whenever they changed.

    `parameters()` returns the parameter node of the scene that is open, or None.
    """

    def __init__(self, parameters: Callable[[], object], onChange: Callable[[], None]) -> None:
        self._parameters = parameters
        self._onChange = onChange
        self._node = None
        self._tags: list[int] = []

    def attach(self) -> None:
        """Follow the node of the scene that is open now."""
        parameters = self._parameters()
        node = parameters.pinsNode if parameters is not None else None
        if node is self._node:
            return
        self.detach()
        self._node = node
        if node is not None:
            events = (
                node.PointPositionDefinedEvent, node.PointPositionUndefinedEvent, node.PointRemovedEvent,
                node.PointModifiedEvent,
            )
            self._tags = [node.AddObserver(event, self._onEvent) for event in events]

    def detach(self) -> None:
        """Follow nothing."""
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._tags, self._node = [], None

    def isGone(self) -> bool:
        """Tell whether the node of the pins was taken out of the scene."""
        return self._node is not None and self._node.GetScene() is None

    def add(self, ras: tuple[float, float, float]) -> str:
        """Keep a position [mm] and return its label."""
        node = self._ensureNode()
        taken = {node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())}
        number = next(number for number in range(1, len(taken) + 2) if f"P{number}" not in taken)
        node.AddControlPointWorld(*ras, f"P{number}")
        return f"P{number}"

    def remove(self, label: str) -> None:
        """Give up the pin with that label; without it, nothing happens."""
        for pin in self.all():
            if pin.label == label:
                self._node.RemoveNthControlPoint(pin.index)
                return

    def all(self) -> list[Pin]:
        """Return the pins that have a position, in the order of the node."""
        self.attach()
        if self._node is None or self._node.GetScene() is None:
            return []
        pins = []
        for index in range(self._node.GetNumberOfControlPoints()):
            if self._node.GetNthControlPointPositionStatus(index) == self._node.PositionDefined:
                position = [0.0, 0.0, 0.0]
                self._node.GetNthControlPointPositionWorld(index, position)
                label = self._node.GetNthControlPointLabel(index) or f"P{index + 1}"
                pins.append(Pin(index, label, colorOf(label, index), tuple(position)))
        return pins

    def _ensureNode(self):
        self.attach()
        if self._node is None or self._node.GetScene() is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", NODE_NAME)
            node.CreateDefaultDisplayNodes()
            node.SetControlPointLabelFormat("P%d")
            node.SetUndoEnabled(True)
            display = node.GetDisplayNode()
            display.SetSelectedColor(*_NODE_COLOR)
            display.SetGlyphScale(_SIZE)
            display.SetPointLabelsVisibility(True)
            self._parameters().pinsNode = node
            self.attach()
        return self._node

    def _onEvent(self, caller, event) -> None:
        self._onChange()


def colorOf(label: str, index: int = 0) -> tuple[float, float, float]:
    """Return the colour of a pin: by the number in its label, so that it keeps it when others are removed."""
    digits = label.removeprefix("P")
    return COLORS[((int(digits) - 1) if digits.isdigit() and int(digits) > 0 else index) % len(COLORS)]
