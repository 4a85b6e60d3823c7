"""How a follow-up looks: its table with marks that differ in form, word and colour, its views, and its trend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from slicer.i18n import tr as _

from ivimcore import PARAMETERS, InputError
from ivimcore.reports.followup import FollowUp, Line
from ivimcore.reports.verdicts import CHANGED, WITHIN

from .ChartNodes import BLUE, VERMILLION, Curve
from .FollowUp import Trend
from .MapDescription import describeMap
from .MapHiding import shownNode
from .ResultLayout import Panel, panelOfMap
from .Runs import Run
from .SeriesReader import readSeries
from .TableText import Cell, fillTable

_COLORS = {CHANGED: ("#e69f00", "#000000"), WITHIN: ("#56b4e9", "#000000")}
"""Background and text of a verdict (Okabe and Ito): told apart by any colour vision, and the words say the same."""
_NO_VERDICT = ("#d9d9d9", "#202020")
_SHOWN = ("D", "f", "ADC")


def showLines(table, found: FollowUp | None) -> None:
    """Show one line for each lesion and map in a QTableWidget, nothing for None."""
    header = [_("Region"), _("Map [unit]"), _("Before → now"), _("Verdict"), _("Change"), _("Limits")]
    tips = [
        _("Lesion, by its name"), _("Map, with the unit of the numbers in this line"),
        _("Values of the earlier and of the new date"), _("Whether the change is real"),
        _("Change with its 95 % interval"), _("Changes that bound an unchanged patient, from the reference cohort"),
    ]
    fillTable(table, header, [_cells(line) for line in found.lines] if found is not None else [], tips)
    table.setVisible(found is not None)


def answerOf(found: FollowUp) -> str:
    """Return the answer in one sentence: what changed, and how much else was compared."""
    words = [line.verdict.word for line in found.lines]
    changed = [
        f"{line.region}, {PARAMETERS[line.map].symbol} {_changeText(line)}" for line in found.lines
        if line.verdict.word == CHANGED
    ]
    parts = [_("Changed: {lesions}.").format(lesions="; ".join(changed))] if changed else []
    if WITHIN in words:
        parts.append(_("Within chance: {count} of {all}.").format(count=words.count(WITHIN), all=len(words)))
    if len(changed) + words.count(WITHIN) < len(words):
        count = len(words) - len(changed) - words.count(WITHIN)
        parts.append(_("No verdict: {count} of {all}.").format(count=count, all=len(words)))
    return " ".join(parts)


def condensed(sentences: Sequence[str]) -> list[str]:
    """Put sentences together that differ only in the name that they quote first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for sentence in sentences:
        parts = sentence.split("'", 2)
        key, name = ((parts[0], parts[2]), parts[1]) if len(parts) == 3 else ((sentence, ""), "")
        groups.setdefault(key, []).append(name)
    return [
        f"{start}{', '.join(_quoted(name) for name in names)}{end}" if any(names) else start
        for (start, end), names in groups.items()
    ]


def markOf(line: Line) -> str:
    """Return the verdict as a sign and words."""
    word = line.verdict.word
    if word == CHANGED:
        return _("▲ changed (higher)") if line.verdict.change > 0 else _("▼ changed (lower)")
    return _("○ within chance") if word == WITHIN else _("– no verdict")


def panelsOfDates(before: Run | None, after: Run | None, keys: Sequence[str]) -> list[Panel]:
    """Return the views of both dates: for each map the earlier one, then the one of now."""
    if before is None or after is None:
        return []
    shown = [key for key in dict.fromkeys(keys) if key in _SHOWN and key in before.maps and key in after.maps]
    backgrounds = {run.key: _background(run) for run in (before, after)}
    return [
        panelOfMap(title.format(map=describeMap(key).label), shownNode(run, key), key, backgrounds[run.key])
        for key in shown for run, title in ((before, _("{map}, before")), (after, _("{map}, now")))
    ]


def trendCurves(trend: Trend) -> tuple[list[Curve], str, str, str]:
    """Return the curves of a trend in display units, the title and the titles of the axes."""
    shown = PARAMETERS[trend.key]
    places = np.array([point.place for point in trend.points])
    values = shown.display_factor * np.array([point.value for point in trend.points])
    curves = [Curve(f"{shown.symbol}, {trend.region}", places, values, "solid", True, BLUE)]
    if trend.limits is not None:
        ends = places[[0, -1]]
        names = (_("lower limit of no change"), _("upper limit of no change"))
        for name, limit in zip(names, trend.limits, strict=True):
            curves.append(Curve(name, ends, np.full(2, shown.display_factor * limit), "dash", False, VERMILLION))
    unit = "" if shown.display_unit == "1" else f" [{shown.display_unit}]"
    axis = _("Days since the first date") if trend.inDays else _("Examination")
    return curves, trend.region, axis, f"{shown.symbol}{unit}"


def _quoted(name: str) -> str:
    return f"'{name}'"


def _cells(line: Line) -> list[Cell]:
    found, shown = line.verdict, PARAMETERS[line.map]
    factor = shown.display_factor
    isRelative = np.isfinite(found.relative)
    interval = found.relative_interval if isRelative else (found.low, found.high)
    limits = found.relative_limits if isRelative else (found.limit_low, found.limit_high)
    changeText = _changeText(line)
    if np.isfinite(interval[0]):
        changeText += f" ({' … '.join(_signed(end, isRelative, factor) for end in interval)})"
    limitText = "–"
    if np.isfinite(limits[0]):
        limitText = " … ".join(_signed(end, isRelative, factor) for end in limits)
    values = [
        f"{factor * value:#.3g}".rstrip(".") if np.isfinite(value) else "–" for value in (found.before, found.after)
    ]
    tip = line.text
    colors = _COLORS.get(found.word, _NO_VERDICT)
    return [
        Cell(line.region, tip), Cell(shown.label, tip), Cell(" → ".join(values), tip),
        Cell(markOf(line), tip, colors=colors, bold=found.word == CHANGED), Cell(changeText, tip), Cell(limitText, tip),
    ]


def _changeText(line: Line) -> str:
    found = line.verdict
    isRelative = bool(np.isfinite(found.relative))
    return _signed(found.relative if isRelative else found.change, isRelative, PARAMETERS[line.map].display_factor)


def _signed(value: float, isRelative: bool, factor: float) -> str:
    """Write a change with its sign: in percent if it is relative, else in display units."""
    if not np.isfinite(value):
        return "–"
    digits = ".0f" if abs(value) >= 0.0095 else ".1f"
    return (f"{100 * value:+{digits}} %" if isRelative else f"{factor * value:+.3g}").replace("-", "−")


def _background(run: Run):
    """Return the image behind the maps of a run: its series at the lowest b-value, None where the series is gone."""
    if run.seriesNode is None:
        return None
    try:
        series = readSeries(run.seriesNode)
    except InputError:
        return None
    if series.canShowImages and np.isfinite(series.bvalues).any():
        series.showImage(int(np.nanargmin(series.bvalues)))
    return series.displayNode()
