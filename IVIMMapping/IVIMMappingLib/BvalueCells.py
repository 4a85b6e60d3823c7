"""A row of the b-value table as cells."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from ivimcore.data.bvaluetable import BvalueRow

from .TableText import Cell

_MOST_NUMBERS = 8
_UNKNOWN = ("#ffe3a3", "#4a3200")


def cellsOf(row: BvalueRow) -> list[Cell]:
    """Return the row as cells: used, b, number of images, numbers of the images; an unknown b stands out."""
    numbers = ", ".join(str(number) for number in row.numbers[:_MOST_NUMBERS])
    if row.count > _MOST_NUMBERS:
        numbers += ", …"
    return [
        Cell("", _("Ticked: fitted"), checked=row.used),
        Cell(
            bText(row.b), _("Double click to correct it") if row.known else _("Unknown; type it"), editable=True,
            colors=None if row.known else _UNKNOWN,
        ),
        Cell(str(row.count)),
        Cell(numbers, ", ".join(str(number) for number in row.numbers)),
    ]


def bText(b: float) -> str:
    """Write a b-value [s/mm²] without its unit; '' for one that nobody knows."""
    return f"{b:.6g}" if math.isfinite(b) else ""
