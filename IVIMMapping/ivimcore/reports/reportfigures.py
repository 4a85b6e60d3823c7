"""Figures of a test-retest report as SVG texts, which stand inside the page and need nothing from outside.

Text stays text (it can be searched and read aloud), identifiers follow from the content, and no date is written, so
that the same data draw the same page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from ..physics.parameters import PARAMETERS
from .cohortanalysis import Cell
from .figures import LONGEST_NAME, MARKERS, OKABE_ITO
from .verdicts import CHANGED, limit_at_mean

Array = np.ndarray
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "ivimslicer", "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"], "font.size": 9, "axes.titlesize": 10,
    "text.parse_math": False, "axes.unicode_minus": True,
}  # fmt: skip
COLORS = [color for color in OKABE_ITO if color != "#000000"]
PANEL, HEIGHT = 3.35, 3.1
FULL_WIDTH, SMALLEST_SHARE = 3 * PANEL + 0.3, 50
"""Width of a figure that fills the page [inch], and the smallest share of the page that a figure takes [%]."""
NAMED_AT_MOST = 12
"""Patients written beside their symbols in one panel; the table names all."""


def safe_text(name: str) -> str:
    """Make a name of any origin short and without line breaks or control characters; nothing in it is a formula."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def to_svg(figure: Any, title: str) -> str:
    """Write a figure as one `<svg>` element with a title for those who do not see it."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # Letters of the same size in all figures: a share of the page for the width on which they were drawn.
    share = float(np.clip(100 * figure.get_size_inches()[0] / FULL_WIDTH, SMALLEST_SHARE, 100))
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{escaped}" style="width:{share:.0f}%" ', 1)


def _panels(cells: Sequence[Cell], rows: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(PANEL * len(cells), 4.2) + 0.3, HEIGHT * rows + 0.45), layout=None)
    FigureCanvasSVG(figure)
    width, height = figure.get_size_inches()
    # Fixed margins [inch]: solving for them would take longer than drawing.
    figure.subplots_adjust(
        left=0.72 / width, right=1 - 0.1 / width, bottom=0.5 / height, top=1 - 0.28 / height, wspace=0.22,
        hspace=0.34,
    )  # fmt: skip
    return figure, figure.subplots(rows, len(cells), squeeze=False)


def bland_altman_figure(cells: Sequence[Cell], names: dict[str, str], classical: bool = True) -> str:
    """Draw difference against mean of two sessions, one panel for each estimator of one region and map.

    Black crosses: unchanged subjects; dashed: ± RC around zero, as Paper I draws it; shaded: where a single patient is
    called unchanged; coloured symbols: treated patients, filled and named where they changed.
    Arguments: `cells` of one region and map; `names` of subjects as shown; `classical` draws the dashed lines.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(cells)
        shown = PARAMETERS[cells[0].map]
        factor = shown.display_factor
        top = 0.0
        for panel, cell in zip(panels[0], cells, strict=True):
            first, last = first_and_last(cell.values)
            means, differences = (first + last) / 2 * factor, (last - first) * factor
            treated, changes = cell.pairs.mean(axis=1) * factor, (cell.pairs[:, 1] - cell.pairs[:, 0]) * factor
            everything = np.concatenate([means, treated])
            everything = everything[np.isfinite(everything)]
            panel.set_title(safe_text(cell.estimator))
            panel.set_xlabel(f"mean of both sessions: {shown.label}")
            panel.axhline(0, color="0.5", linewidth=0.8)
            if everything.size:
                room = 0.08 * (np.ptp(everything) or abs(everything[0]) or 1.0)
                grid = np.linspace(everything.min() - room, everything.max() + room, 121)
                limit = limit_at_mean(grid / factor, cell.found.spread) * factor
                panel.fill_between(grid, -limit, limit, color="0.9", linewidth=0)
                for sign in (-1, 1):
                    panel.plot(grid, sign * limit, color="0.35", linewidth=1.2)
                    if classical and np.isfinite(cell.found.rc.value):
                        panel.axhline(sign * cell.found.rc.value * factor, color="black", linewidth=1, linestyle="--")
                panel.set_xlim(grid[0], grid[-1])
                top = max(top, float(np.nanmax([0.0, *limit[np.isfinite(limit)]])))
            panel.plot(means, differences, "x", color="black", markersize=5, markeredgewidth=1.2)
            _draw_treated(panel, cell, treated, changes, names)
            spread = np.concatenate([differences, changes])
            top = max(top, float(np.nanmax(np.abs(spread))) if np.isfinite(spread).any() else 0.0)
        for panel in panels[0]:
            panel.set_ylim(-1.15 * (top or 1.0), 1.15 * (top or 1.0))
        panels[0][0].set_ylabel(f"later − earlier: {shown.label}")
        return to_svg(figure, f"Bland-Altman plot of {shown.symbol} in {cells[0].region}")


def _draw_treated(panel: Any, cell: Cell, means: Array, changes: Array, names: dict[str, str]) -> None:
    named = 0
    for number, (who, verdict) in enumerate(zip(cell.patients, cell.verdicts, strict=True)):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        out = verdict.word == CHANGED
        panel.plot(
            means[number], changes[number], marker, color=color, markersize=6, markeredgewidth=1.2,
            markerfacecolor=color if out else "white",
        )
        if out and named < NAMED_AT_MOST:
            named += 1
            low, high = panel.get_xlim()
            right = means[number] > low + 0.85 * (high - low)
            panel.annotate(
                safe_text(names.get(who, who)), (means[number], changes[number]), xytext=(-5 if right else 5, 3),
                ha="right" if right else "left", fontsize=7.5, textcoords="offset points",
            )


def first_and_last(values: Array) -> tuple[Array, Array]:
    """Return first and last session (n,), the last that exists; NaN where there is no pair."""
    first, last = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for row, value in enumerate(values):
        there = np.flatnonzero(np.isfinite(value))
        if there.size > 1:
            first[row], last[row] = value[there[0]], value[there[-1]]
    return first, last


def assumption_figure(cells: Sequence[Cell]) -> str:
    """Draw the precision profile (above) and the normal plot of the differences (below), a column an estimator."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(cells, rows=2)
        shown = PARAMETERS[cells[0].map]
        factor = shown.display_factor
        for column, cell in enumerate(cells):
            profile, normal = panels[:, column]
            means, deviations = cell.found.profile.means * factor, cell.found.profile.deviations * factor
            profile.plot(means, deviations, "o", color=OKABE_ITO[0], markersize=4)
            if means.size and np.isfinite(cell.found.wsd.value):
                line = np.array([means.min(), means.max()])
                profile.axhline(cell.found.wsd.value * factor, color="0.35", linestyle="--", linewidth=1)
                profile.plot(line, line * cell.found.wcv_log.value, color=OKABE_ITO[1], linewidth=1.2)
            profile.set_title(safe_text(cell.estimator))
            profile.set_xlabel(f"mean of a subject: {shown.label}")
            standard = standardised_differences(cell)
            if standard.size > 1:
                ordered = np.sort(standard)
                expected = scipy.stats.norm.ppf((np.arange(ordered.size) + 0.625) / (ordered.size + 0.25))
                normal.plot(expected, ordered, "o", color=OKABE_ITO[0], markersize=4)
                normal.plot([-2.5, 2.5], [-2.5, 2.5], color="0.35", linewidth=1)
            normal.set_xlabel("normal quantile")
        panels[0, 0].set_ylabel(f"SD within a subject: {shown.label}")
        panels[1, 0].set_ylabel("difference / √2 wSD")
        return to_svg(figure, f"Precision profile and normal plot of {shown.symbol} in {cells[0].region}")


def standardised_differences(cell: Cell) -> Array:
    """Return differences of first and last session in units of √2 wSD (of their logarithms where that is the form)."""
    first, last = first_and_last(cell.values)
    kept = np.isfinite(first) & np.isfinite(last)
    if cell.found.profile.form == "proportional":
        difference, scale = np.log(last[kept] / first[kept]), cell.found.log_sd.value
    else:
        difference, scale = last[kept] - first[kept], cell.found.wsd.value
    return difference / (np.sqrt(2) * scale) if scale > 0 else np.empty(0)


