"""Pictures for people: curves of regions, estimates against the truth, and benchmarks.

Every function writes one file and keeps no state, so that it may run in any thread and without a screen. Colours are
those of Okabe and Ito, which people with any colour vision can tell apart; markers repeat what colours say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..physics.parameters import INFORMATION_MEANS, PARAMETERS
from ..wholefile import whole_file
from .roistatistics import RegionCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
PathLike = str | os.PathLike

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#A6A000")
"""Blue, vermillion, green, purple, orange, sky blue, black, and the yellow darkened to be read on white."""
MARKERS = "osD^vP*X"
REFERENCE = {"color": "black", "linestyle": "-.", "marker": ""}
KEYS = ("D", "f", "Dstar")
DPI = 150
LONGEST_NAME = 32
POINTS_SHOWN = 3000


def _figure(width: float, height: float) -> Figure:
    """Make a figure [inch] that belongs to no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: PathLike) -> None:
    """Write the picture whole or not at all; the ending of `path` chooses the format, PNG without one."""
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=DPI, format=Path(path).suffix[1:] or "png", facecolor="white")


def _text(name: str) -> str:
    """Make a name of any origin safe to draw: no formulas, no line breaks, not endless, not hidden from the legend."""
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "…"
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _style(number: int) -> dict[str, str]:
    """Choose colour and marker; after all colours are used, they come again with other markers."""
    rounds = number // len(OKABE_ITO)
    return {"color": OKABE_ITO[number % len(OKABE_ITO)], "marker": MARKERS[(number + rounds) % len(MARKERS)]}


def _numbers(curve: RegionCurve) -> str:
    """Write the fitted numbers of a region for a person, with units; none where the prior spoke and not the signal."""
    parts = []
    for key, value in curve.values.items():
        if key not in PARAMETERS or key == "S0":
            continue
        parameter = PARAMETERS[key]
        shown = value * parameter.display_factor
        error = curve.errors.get(key, np.nan) * parameter.display_factor
        if not np.isfinite(value) or curve.information.get(key, 1.0) < INFORMATION_MEANS:
            parts.append(f"{parameter.symbol} not determined")
        elif np.isfinite(error) and error > 0 and value != 0:
            # One digit of the error; never more than four of the value, which no scan repeats.
            digits = max(0, int(min(-np.floor(np.log10(error)), 3 - np.floor(np.log10(abs(shown))))))
            parts.append(f"{parameter.symbol} ({shown:.{digits}f} ± {error:.{digits}f}) {parameter.display_unit}")
        else:
            parts.append(f"{parameter.symbol} {shown:.3g} {parameter.display_unit}")
    return ", ".join(parts) if parts else "no fit"


def plot_region_curves(curves: Sequence[RegionCurve], path: PathLike, title: str = "") -> None:
    """Draw the mean signal of every region with the fitted curve, on a linear and on a logarithmic scale.

    Dots with bars are the measured mean and its standard deviation; the line is the fit; the dashed line is the part
    without perfusion, so that the gap at low b is what f says.

    Arguments: `curves` of `fit_region_means`; `path` of the picture; `title` above it.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    legend_height = 0.22 * (len(curves) + 1)
    figure = _figure(10.0, 4.3 + legend_height)
    panels = figure.subplots(1, 2)
    handles, labels = [], []
    for number, curve in enumerate(curves):
        style = _style(number)
        # The order by b keeps unsorted series from drawing a zigzag of error bars over each other.
        order = np.argsort(curve.bvalues, kind="stable")
        bars = np.nan_to_num(curve.sd_of_mean[order])
        for panel in panels:
            panel.errorbar(
                curve.bvalues[order], curve.mean[order], yerr=bars, linestyle="none", markersize=4.5, capsize=2,
                elinewidth=1, **style,
            )
            panel.plot(curve.fine_b, curve.fitted, color=style["color"], linewidth=1.6)
            panel.plot(curve.fine_b, curve.tissue, color=style["color"], linewidth=1.0, linestyle="--")
        handles.append(Line2D([], [], linewidth=1.6, markersize=4.5, **style))
        labels.append(f"{_text(curve.region)}: {_numbers(curve)}")
    if any("f" in curve.values for curve in curves):
        handles.append(Line2D([], [], color="0.3", linewidth=1.0, linestyle="--"))
        labels.append("tissue without perfusion, S0 (1 − f) exp(−bD)")
    for panel, scale in zip(panels, ("linear", "log"), strict=True):
        panel.set_yscale(scale)
        panel.set_xlabel("b [s/mm²]")
        panel.set_ylabel(f"signal [signal units], {'linear' if scale == 'linear' else 'logarithmic'}")
        panel.grid(True, color="0.9")
        panel.set_axisbelow(True)
    panels[0].set_ylim(bottom=0)
    # Over less than two decades the default writes 6 x 10² beside the small ticks; plain numbers are read faster.
    panels[1].yaxis.set_major_formatter("{x:g}")
    shown = panels[1].get_ylim()
    if shown[1] < 30 * shown[0]:
        panels[1].yaxis.set_minor_formatter(
            FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "2346" else "")
        )
    if title:
        figure.suptitle(_text(title))
    figure.legend(handles, labels, loc="outside lower center", fontsize=9, frameon=False)
    _save(figure, path)


def plot_estimates_against_truth(
    truth: Mapping[str, Array], estimates: Mapping[str, Mapping[str, Array]], path: PathLike, title: str = ""
) -> None:
    """Draw estimate against truth, a row for each estimator and a column for each of D, f and D*.

    Points are voxels (a sample of them), the heavy line is the median of the estimates, the thin lines hold 90 % of
    them; the black diagonal is perfect.

    Arguments: `truth` key -> (...) in stored units; `estimates` label -> key -> (...) likewise; `path`; `title`.
    """
    keys = [key for key in KEYS if key in truth]
    figure = _figure(3.6 * len(keys) + 0.6, 3.2 * len(estimates) + 0.5)
    panels = figure.subplots(len(estimates), len(keys), squeeze=False)
    for number, (label, maps) in enumerate(estimates.items()):
        color = OKABE_ITO[number % len(OKABE_ITO)]
        for panel, key in zip(panels[number], keys, strict=True):
            parameter = PARAMETERS[key]
            true = np.ravel(truth[key]) * parameter.display_factor
            found = np.ravel(maps[key]) * parameter.display_factor if key in maps else np.full(true.size, np.nan)
            there = np.isfinite(true) & np.isfinite(found)
            true, found = true[there], found[there]
            panel.set_xlabel(f"true {parameter.label}")
            panel.set_ylabel(f"{_text(label)}: {parameter.label}")
            if not true.size:
                panel.text(0.5, 0.5, "no values", ha="center", va="center", transform=panel.transAxes)
                continue
            step = max(1, true.size // POINTS_SHOWN)
            panel.plot(true[::step], found[::step], ".", markersize=2, alpha=0.3, color=color, rasterized=True)
            middle, quantiles = _running_quantiles(true, found)
            for line, width in zip(quantiles, (1.0, 2.4, 1.0), strict=True):
                panel.plot(middle, line, color="white", linewidth=width + 1.6)
                panel.plot(middle, line, color=color, linewidth=width)
            low, high = true.min(), true.max()
            margin = 0.4 * (high - low) or 0.4 * abs(high) or 1.0
            panel.plot([low, high], [low, high], color="black", linewidth=1)
            panel.set_xlim(low - 0.05 * margin, high + 0.05 * margin)
            bottom = min(0.0, float(np.quantile(found, 0.01)))
            panel.set_ylim(bottom, high + margin)
            outside = np.mean((found > high + margin) | (found < bottom))
            if outside > 0.005:
                panel.set_title(f"{outside:.0%} of the points lie outside", fontsize=8)
    if title:
        figure.suptitle(_text(title))
    _save(figure, path)


def _running_quantiles(true: Array, found: Array, bins: int = 12) -> tuple[Array, Array]:
    """Return the middle of bins of the truth (m,) and the 5, 50, 95 % quantiles of the estimates there (3, m)."""
    edges = np.unique(np.quantile(true, np.linspace(0, 1, bins + 1)))
    where = np.clip(np.searchsorted(edges, true, side="right") - 1, 0, max(edges.size - 2, 0))
    filled = [number for number in range(max(edges.size - 1, 1)) if (where == number).any()]
    middle = np.array([true[where == number].mean() for number in filled])
    return middle, np.array([np.quantile(found[where == number], (0.05, 0.5, 0.95)) for number in filled]).T


def plot_error_bars_by_tissue(
    rows: Sequence[Mapping[str, Any]], truth: Mapping[str, Mapping[str, float]], path: PathLike, title: str = ""
) -> None:
    """Draw the estimates in every region beside the truth, one panel for each of D, f and D*.

    The marker is the median, the thick bar holds the middle half and the thin bar 90 % of the voxels; the black line is
    the truth.

    Arguments: `rows` of `region_statistics`, of one or several estimators; `truth` region -> key -> value in stored
    units (may be empty); `path`; `title`.
    """
    from matplotlib.lines import Line2D

    regions = list(dict.fromkeys(row["region"] for row in rows))
    labels = list(dict.fromkeys(row["estimator"] for row in rows))
    keys = [key for key in KEYS if any(row["map"] == key for row in rows)]
    height = max(0.45, 0.16 * len(labels) + 0.16)
    figure = _figure(3.6 * len(keys) + 2.0, height * len(regions) + 1.5)
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    reach = min(0.3, 0.14 * (len(labels) - 1))
    shifts = np.linspace(-reach, reach, len(labels))
    for panel, key in zip(panels, keys, strict=True):
        parameter = PARAMETERS[key]
        for row in (row for row in rows if row["map"] == key and row["n"]):
            place = regions.index(row["region"]) + shifts[labels.index(row["estimator"])]
            style = _style(labels.index(row["estimator"]))
            p5, q1, median, q3, p95 = (row[q] * parameter.display_factor for q in ("p5", "q1", "median", "q3", "p95"))
            panel.plot([p5, p95], [place, place], color=style["color"], linewidth=1)
            panel.plot([q1, q3], [place, place], color=style["color"], linewidth=3.2, solid_capstyle="butt")
            panel.plot([median], [place], markersize=5, markeredgecolor="white", **style)
        for place, region in enumerate(regions):
            if place % 2:
                panel.axhspan(place - 0.5, place + 0.5, color="0.95", zorder=0)
            if key in truth.get(region, {}):
                value = truth[region][key] * parameter.display_factor
                panel.plot([value, value], [place - 0.42, place + 0.42], color="black", linewidth=1.6, zorder=1)
        panel.set_xlabel(parameter.label)
        panel.grid(True, axis="x", color="0.9")
        panel.set_axisbelow(True)
    panels[0].set_yticks(range(len(regions)), [_text(region) for region in regions])
    panels[0].set_ylim(len(regions) - 0.4, -0.6)
    handles = [Line2D([], [], markersize=5, linewidth=3.2, **_style(n)) for n in range(len(labels))]
    names = [_text(label or "estimate") for label in labels]
    if truth:
        handles, names = [*handles, Line2D([], [], color="black", linewidth=1.6)], [*names, "truth"]
    if title:
        figure.suptitle(_text(title))
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), fontsize=9, frameon=False)
    _save(figure, path)


def plot_benchmark(rows: Sequence[Mapping[str, Any]], path: PathLike, snr: float | None = None) -> None:
    """Draw a benchmark: NRMSE against SNR, and bias and spread against the truth at one SNR.

    The dashed black line is the smallest NRMSE possible, the dotted line that of always answering the prior mean; in
    the row of the bias, that answer would be the falling diagonal.

    Arguments: `rows` of `run_benchmark`; `path`; `snr` of the rows below, by default the one nearest to 20.
    """
    from matplotlib.lines import Line2D

    # An estimator that gives none of the parameters has no line and no place in the legend.
    labels = list(dict.fromkeys(row["estimator"] for row in rows if np.isfinite(row["nrmse"])))
    # A reference, its name in brackets, is drawn last and in black, so that the estimators keep their colours.
    labels.sort(key=lambda label: label.startswith("("))
    snrs = sorted({row["snr"] for row in rows})
    chosen = min(snrs, key=lambda value: abs(np.log(value / (20.0 if snr is None else snr))))
    keys = [key for key in KEYS if any(row["parameter"] == key for row in rows)]
    figure = _figure(3.7 * len(keys) + 0.4, 8.6)
    panels = figure.subplots(3, len(keys), squeeze=False)
    for column, key in enumerate(keys):
        parameter, top = PARAMETERS[key], panels[0, column]
        mine = [row for row in rows if row["parameter"] == key]
        first = sorted((row for row in mine if row["estimator"] == rows[0]["estimator"]), key=lambda row: row["snr"])
        for name, dashes in (("limit_nrmse", "--"), ("prior_mean_nrmse", ":")):
            if len(snrs) == 1:
                top.axhline(first[0][name], color="black", linestyle=dashes, linewidth=1.3)
            top.plot([row["snr"] for row in first], [row[name] for row in first], color="black", linestyle=dashes,
                     linewidth=1.3)
        for number, label in enumerate(labels):
            style = _style(number) if not label.startswith("(") else REFERENCE
            line = sorted((row for row in mine if row["estimator"] == label), key=lambda row: row["snr"])
            if len(snrs) == 1 and style is REFERENCE:
                top.axhline(line[0]["nrmse"], color="black", linestyle="-.")
            top.plot([row["snr"] for row in line], [row["nrmse"] for row in line], markersize=4.5, **style)
            for row in (row for row in line if row["snr"] == chosen):
                bins = row["binned"]
                for panel, values in zip(panels[1:, column], (bins.bias, bins.sd), strict=True):
                    panel.plot(bins.truth * parameter.display_factor, values * parameter.display_factor,
                               markersize=4.5, **style)
        top.set_xscale("log")
        top.set_xticks(snrs, [f"{value:g}" for value in snrs])
        top.set_xticks([], minor=True)
        top.set_ylim(0, 1.12 * np.nanmax([row[name] for row in mine for name in ("nrmse", "prior_mean_nrmse")]))
        top.set_xlabel("SNR")
        top.set_ylabel(f"NRMSE of {parameter.symbol}")
        panels[1, column].axhline(0, color="black", linewidth=1)
        panels[2, column].set_ylim(bottom=0)
        for panel, what in zip(panels[1:, column], ("bias", "spread (SD)"), strict=True):
            panel.set_xlabel(f"true {parameter.label}, SNR {chosen:g}")
            panel.set_ylabel(f"{what} of {parameter.label}")
        for panel in panels[:, column]:
            panel.grid(True, color="0.9")
    handles = [Line2D([], [], markersize=4.5, **(REFERENCE if label.startswith("(") else _style(n)))
               for n, label in enumerate(labels)]
    references = {"--": "smallest possible", ":": "always the prior mean"}
    if not any(np.isfinite(row["limit_nrmse"]) for row in rows):
        del references["--"]
    handles += [Line2D([], [], color="black", linestyle=dashes) for dashes in references]
    names = [*map(_text, labels), *references.values()]
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    _save(figure, path)
