"""The tables of a run's numbers: statistics of every region and map, and two numbers per region, in display units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from slicer.i18n import tr as _

from ivimcore.reports.preview import value_and_deviation

from .MapDescription import MAP_KEYS, MapDescription, describeMap, isMapKey
from .StatisticsTable import rowsOfTable
from .TableText import Cell, fillTable

_STATISTICS = ("median", "mean", "sd", "p5", "p95")
_DIFFERS = ("#ffe3a3", "#4a3200")


def showStatistics(
    table, node, withUncertainty: bool = True, beside: Mapping[str, Sequence[Sequence[Cell]]] | None = None
) -> bool:
    """Show the statistics of a run, a table node with the columns of `region_statistics`, None for nothing.

    Each line is one map in one region; the unit of its numbers stands with the map. Standard deviations, credible
    intervals and information are left out without `withUncertainty`. `beside` are lines of cells by region that follow
    the first ADC or D of that region. Tells whether the run has maps of uncertainty.
    """
    header = [
        _("Region"), _("Map [unit]"), _("Median"), _("Mean"), _("SD"), _("5 %"), _("95 %"), _("Voxels"),
        _("No value [%]"), _("Informed [%]"),
    ]
    tips = [
        _("Region of the run"), _("Map, with the unit of the numbers in this line"), _("Half of the voxels lie below"),
        _("Mean over the voxels"), _("Standard deviation over the voxels"), _("5 % of the voxels lie below"),
        _("95 % of the voxels lie below"), _("Voxels that entered"), _("Voxels of the region without a value"),
        _("Voxels in which the signal said something of the parameter, beyond the prior; empty without such a map"),
    ]
    every = _rows(node)
    rows = [row for row in every if withUncertainty or not describeMap(str(row["map"])).isUncertainty]
    lines, open_ = [], dict(beside or {})
    key = next((key for key in ("ADC", "D") if any(str(row["map"]) == key for row in rows)), "")
    for row in rows:
        lines.append(_statisticsCells(row))
        if str(row["map"]) == key:
            lines += open_.pop(str(row["region"]), [])
    lines += [line for left in open_.values() for line in left]
    fillTable(table, header, lines, tips)
    table.setVisible(bool(lines))
    return any(describeMap(str(row["map"])).isUncertainty for row in every)


def showRegionNumbers(table, node) -> None:
    """Show the fit of the mean signal and the median of the voxel fits of every region, marked where they differ."""
    header = [_("Region"), _("Map [unit]"), _("Agree"), _("Fit of the\nmean signal"), _("Median of the\nvoxel fits")]
    tips = [
        _("Region of the run"), _("Parameter, with the unit of the numbers in this line"),
        _("Marked where the two differ by more than their uncertainty: mixed tissue, noise or motion"),
        _("One fit to the mean signal of the region, ± its standard deviation"),
        _("Median over the voxels, ± its standard error"),
    ]
    rows = _rows(node)
    fillTable(table, header, [_regionCells(row) for row in rows], tips)
    table.setVisible(bool(rows))


def numberText(value: Any, description: MapDescription, digits: int = 3) -> str:
    """Write a stored value in display units, without the unit; '' for a value that does not exist."""
    number = _number(value) * description.parameter.display_factor
    if not math.isfinite(number):
        return ""
    text = f"{number:#.{digits}g}".rstrip(".")  # with its zeros, so that numbers in a column are equally precise
    return f"{number:.0f}" if "e" in text and 1 <= abs(number) < 1e9 else text


def valueText(value: float, deviation: float, description: MapDescription) -> str:
    """Write a stored value with its standard deviation and unit: 'D 1.23 ± 0.10 10⁻³ mm²/s'."""
    unit = description.parameter.display_unit
    text = f"{description.symbol} {_pairText(value, deviation, description)}"
    return text if unit == "1" else f"{text} {unit}"


def _pairText(value: Any, deviation: Any, description: MapDescription) -> str:
    """Write a stored value ± its deviation in display units, with as many decimals as the deviation deserves."""
    factor = description.parameter.display_factor
    text, error = value_and_deviation(_number(value) * factor, _number(deviation) * factor)
    return f"{text} ± {error}" if text and error else text


def _rows(node) -> list[dict[str, Any]]:
    """Return the lines of a table node about maps, region by region, maps in the order in which scenes show them."""
    rows = [] if node is None else [row for row in rowsOfTable(node) if isMapKey(str(row["map"]))]
    regions = list(dict.fromkeys(str(row["region"]) for row in rows))
    return sorted(rows, key=lambda row: (regions.index(str(row["region"])), MAP_KEYS.index(str(row["map"]))))


def _statisticsCells(row: Mapping[str, Any]) -> list[Cell]:
    description = describeMap(str(row["map"]))
    tip = f"{row['region']}: {description.description}"
    numbers = [numberText(row.get(name), description) for name in _STATISTICS]
    voxels = _number(row.get("n"))
    missing, informed = (_number(row.get(name)) for name in ("missing_share", "informed_share"))
    return [
        Cell(str(row["region"]), tip), Cell(description.label, tip), *(Cell(text, tip) for text in numbers),
        Cell(f"{voxels:.0f}" if math.isfinite(voxels) else "", tip),
        Cell(f"{100 * missing:.1f}" if math.isfinite(missing) else "", tip),
        Cell(f"{100 * informed:.0f}" if math.isfinite(informed) else "", tip),
    ]


def _regionCells(row: Mapping[str, Any]) -> list[Cell]:
    description = describeMap(str(row["map"]))
    differs = str(row["differs"]).lower() in ("1", "1.0", "true", "yes")

    def pair(value, deviation):
        return _pairText(row.get(value), row.get(deviation), description)

    apart, together = _("the two differ by more than their uncertainty"), _("the two agree within their uncertainty")
    said = apart if differs else together
    tip = f"{row['region']}, {description.symbol}: {said}"
    known = pair("fit of the mean signal", "sd of the fit") and pair("median of the voxel fits", "sd of the median")
    word = _("≠ differ") if differs else _("yes") if known else ""
    return [
        Cell(str(row["region"]), tip), Cell(description.label, tip),
        Cell(word, tip, colors=_DIFFERS if differs else None, bold=differs),
        Cell(pair("fit of the mean signal", "sd of the fit"), tip),
        Cell(pair("median of the voxel fits", "sd of the median"), tip),
    ]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
