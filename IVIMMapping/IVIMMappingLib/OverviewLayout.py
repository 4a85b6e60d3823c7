"""Titles, legends and notes around the slices of an overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivimcore.physics.parameters import INFORMATION, PARAMETERS
from ivimcore.reports.colormaps import colormap

from .FigureCanvas import Color, FigureCanvas, niceTicks, widthOf
from .MapDescription import describeMap

INFORMATION_COLUMN = "Dstar" + INFORMATION
COLUMNS = ("base", "ADC", "D", "f", "Dstar", INFORMATION_COLUMN, "rmse")
_NAMES = {
    "D": "tissue diffusion", "f": "perfusion fraction", "Dstar": "pseudo-diffusion",
    "rmse": "misfit", "S0": "signal at b = 0", "ADC": "apparent diffusion", INFORMATION_COLUMN: "information",
}
_NOTE = "Research use only. Not for diagnosis."
_BACKGROUND, _TEXT, _QUIET = (0.043, 0.051, 0.063), (0.949, 0.957, 0.969), (0.604, 0.643, 0.698)

# Layout in pixels.
_PANEL, _GAP, _LEFT, _RIGHT, _TOP, _TITLE, _LEGEND, _BOTTOM = 380, 14, 64, 24, 64, 40, 74, 52
_LEAST_WIDTH, _LEAST_HEIGHT = 0.72, 0.55  # of a panel, as a part of _PANEL
_BAR = 14


@dataclass
class OverviewRow:
    """One row of the picture: `title` at its left, `base` the b = 0 image node, `maps` nodes by parameter key."""

    title: str
    base: Any
    maps: Mapping[str, Any] = field(default_factory=dict)


def sizeOfPanel(width: float, height: float) -> tuple[int, int]:
    """Return width and height of a panel in pixels, for a slice of that size [mm]."""
    return (
        round(_PANEL * min(1.0, max(width / height, _LEAST_WIDTH))),
        round(_PANEL * min(1.0, max(height / width, _LEAST_HEIGHT))),
    )


def compose(
    rows: Sequence[OverviewRow], pictures: Mapping[tuple[int, str], np.ndarray], panel: tuple[int, int],
    letters: tuple[str, str], names: Sequence[tuple[str, Color]], title: str, where: str, baseName: str,
    notes: Sequence[str],
) -> FigureCanvas:
    """Lay the pictures out and write everything around them.

    `pictures` by row and column, (h, w, 3) uint8 of the size `panel`; `letters` of the sides of the patient; `names`
    and colours of regions; `where` which slice; `notes` at the foot, before the one on research.
    """
    columns = [key for key in COLUMNS if any((number, key) in pictures for number in range(len(rows)))]
    width = _LEFT + len(columns) * panel[0] + (len(columns) - 1) * _GAP + _RIGHT
    height = _TOP + _TITLE + len(rows) * panel[1] + (len(rows) - 1) * _GAP + _LEGEND + _BOTTOM
    canvas = FigureCanvas(width, height, _BACKGROUND)
    room = (width - _LEFT - _RIGHT - 150) / max(1, widthOf(title, 17, True))
    canvas.text(_LEFT, _TOP / 2 + 4, title, 17 * min(1.0, room), _TEXT, bold=True)
    canvas.text(width - _RIGHT, _TOP / 2 + 4, where, 12, _QUIET, align="right")
    for c, key in enumerate(columns):
        left = _LEFT + c * (panel[0] + _GAP)
        _heading(canvas, left, key, baseName)
        for r in range(len(rows)):
            top = _TOP + _TITLE + r * (panel[1] + _GAP)
            _panel(canvas, left, top, panel, pictures.get((r, key)), letters if key == "base" else ())
        node = next(row.base if key == "base" else row.maps[key] for row in rows if key == "base" or key in row.maps)
        _legend(canvas, left + 12, height - _BOTTOM - _LEGEND + 14, panel[0] - 24, key, node)
    for r, row in enumerate(rows):
        middle = _TOP + _TITLE + r * (panel[1] + _GAP) + panel[1] / 2
        room = panel[1] / max(1, widthOf(row.title, 15, True))
        canvas.text(
            _LEFT / 2, middle, row.title, 15 * min(1.0, room), _TEXT, bold=True, align="center", upwards=True
        )
    _footer(canvas, width, height, names, (*notes, _NOTE))
    return canvas


def _heading(canvas: FigureCanvas, left: float, key: str, baseName: str) -> None:
    if key == "base":
        canvas.text(left, _TOP + _TITLE / 2, baseName, 13, _TEXT)
        return
    # The symbol over the information is that of what it informs about.
    symbol = PARAMETERS[key.removesuffix(INFORMATION)].symbol
    indent = canvas.text(left, _TOP + _TITLE / 2, symbol, 16, _TEXT, bold=True) + 12
    canvas.text(left + indent, _TOP + _TITLE / 2, _NAMES[key], 13, _QUIET)


def _panel(canvas: FigureCanvas, left: int, top: int, panel, picture, letters) -> None:
    if picture is None:
        middle = (left + panel[0] / 2, top + panel[1] / 2)
        canvas.text(*middle, "not available", 12, _QUIET, align="center")
        return
    canvas.picture(left, top, picture)
    for x, letter, side in zip((0.025, 0.975), letters, ("left", "right"), strict=False):
        canvas.text(left + x * panel[0], top + 0.03 * panel[1] + 9, letter, 12, _TEXT, bold=True, align=side)


def _legend(canvas: FigureCanvas, left: int, top: int, width: int, key: str, node) -> None:
    """Draw the colours of a map with numbers in display units, taken from the window of its node."""
    display = node.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    if key == "base":
        table, factor, label = colormap("Grey"), 1.0, "signal [signal units]"
    else:
        description = describeMap(key)
        table, factor, label = colormap(description.colors), description.parameter.display_factor, description.label
    canvas.rectangle(left - 1, top - 1, width + 2, _BAR + 2, _QUIET)
    canvas.gradient(left, top, width, _BAR, table)
    low, high = low * factor, high * factor
    for tick in niceTicks(low, high):
        x = left + (tick - low) / (high - low) * width if high > low else left
        canvas.rectangle(x, top + _BAR, 1, 4, _QUIET)
        canvas.text(x, top + _BAR + 14, f"{tick:g}", 11, _TEXT, align="center")
    canvas.text(left + width / 2, top + _BAR + 33, label, 12, _TEXT, align="center")


def _footer(canvas: FigureCanvas, width: int, height: int, names, notes) -> None:
    """Write the regions with their colours at the left and the notes at the right, all on one line."""
    line = height - _BOTTOM / 2 + 4
    end = width - _RIGHT - canvas.text(width - _RIGHT, line, "     ".join(notes), 11, _QUIET, align="right") - 24
    more = widthOf(f"and {len(names)} more", 12) + 24
    x = _LEFT
    for number, (name, color) in enumerate(names):
        right = x + 26 + widthOf(name, 12)
        if right > end - (more if number < len(names) - 1 else 0):
            canvas.text(x, line, f"and {len(names) - number} more", 12, _TEXT)
            return
        canvas.rectangle(x, line - 1, 18, 3, color)
        canvas.text(x + 26, line, name, 12, _TEXT)
        x = right + 24
