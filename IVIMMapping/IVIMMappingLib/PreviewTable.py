"""The numbers of the live preview as cells of a table: one row per position and estimator."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from ivimcore.physics.parameters import INFORMATION_MEANS, PARAMETERS
from ivimcore.reports.preview import Preview, with_deviation

from .TableText import Cell

_COLUMNS = ("D", "f", "Dstar", "ADC", "S0", "rmse")
_GREY = 0.45  # of the lightness of a colour from which on black text reads better than white


def columnsOf(previews: list[Preview]) -> tuple[str, ...]:
    """Return the parameters that any of the previews has, in the order of the table."""
    found = {key for one in previews for key in one.values} | {"rmse"}
    return tuple(key for key in _COLUMNS if key in found)


def headerOf(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the header: position, estimator, each parameter with its display unit on a line of its own, remarks."""
    return (
        _("Position"), _("Estimator"),
        *(f"{PARAMETERS[key].symbol}\n[{PARAMETERS[key].display_unit}]" for key in columns), _("Remark"),
    )


def rowOf(name: str, color, one: Preview | None, columns: tuple[str, ...], remark: str = "") -> list[Cell]:
    """Return one row; `color` (r, g, b) [0..1] is that of its curve; `one` is None where nothing was fitted."""
    cells = [Cell(name, colors=(hexColor(color), _textOn(color))), Cell(one.estimator if one else "")]
    remarks = [remark] if remark else []
    for key in columns:
        cells.append(_valueCell(one, key) if one is not None else Cell(""))
    if one is not None:
        remarks += [text for text in (one.sentence, one.note) if text]
    text = " ".join(remarks)
    return [*cells, Cell(_short(text), text)]


def hexColor(color) -> str:
    """Write a colour (r, g, b) [0..1] as '#rrggbb'."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)


def _valueCell(one: Preview, key: str) -> Cell:
    parameter = PARAMETERS[key]
    value = one.residual if key == "rmse" else one.values.get(key, math.nan)
    if not math.isfinite(value):
        return Cell("", one.sentence or _("This estimator gives no {symbol}").format(symbol=parameter.symbol))
    # The unit stands in the header of the column.
    text = with_deviation(key, value, one.errors.get(key)).removesuffix(parameter.display_unit).strip()
    share = one.information.get(key, math.nan)
    if share < INFORMATION_MEANS:
        tip = _("Mostly prior: the signal tells {percent:.0f} % about {symbol}").format(
            percent=100 * share, symbol=parameter.symbol
        )
        return Cell(_("{value} (mostly prior)").format(value=text), tip, enabled=False)
    tip = _("{symbol} = {value} {unit}").format(symbol=parameter.symbol, value=text, unit=parameter.display_unit)
    if math.isfinite(share):
        tip += " " + _("(the signal tells {percent:.0f} %)").format(percent=100 * share)
    return Cell(text, tip)


def _textOn(color) -> str:
    red, green, blue = color
    return "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > _GREY else "#ffffff"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
