"""Pictures of benchmarks beyond plain errors: bias and spread, coverage, and lesions.

As in `figures`, every function writes one file and needs no screen; markers repeat what colours say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..physics.parameters import PARAMETERS
from .figures import KEYS, REFERENCE, PathLike, _figure, _save, _style, _text

Array = np.ndarray
LEVEL_COLORS = {0.50: "#56B4E9", 0.90: "#0072B2", 0.95: "#000000"}
"""One colour for each usual level of an interval; others are grey."""
MAPS_SHOWN = 7
"""Estimators in a picture of maps, the truth not counted; more would be too small to see."""


def _name(label: str) -> str:
    """Write an estimator with options in two lines, so that neither is cut: its name, and what was chosen."""
    name, _, options = label.partition(":")
    return _text(name) + (f"\n{_text(options.replace(':', ', '))}" if options else "")


def plot_bias_and_spread(rows: Sequence[Mapping[str, Any]], path: PathLike, snr: float) -> None:
    """Draw bias, spread and RMSE against the truth at one SNR, as figures 2 and 3 of Epstein et al. do.

    A bias that falls with the truth says that estimates are drawn to the middle: less can be told from them.

    Arguments: `rows` of `run_benchmark`; `path`; `snr` of the rows drawn.
    """
    from matplotlib.lines import Line2D

    mine = [row for row in rows if row["snr"] == snr and np.isfinite(row["nrmse"])]
    labels = list(dict.fromkeys(row["estimator"] for row in mine))
    figure = _figure(11.5, 8.6 + 0.35 * (len(labels) // 4))
    panels = figure.subplots(3, len(KEYS), sharex="col", squeeze=False)
    for column, key in enumerate(KEYS):
        parameter = PARAMETERS[key]
        for row in (row for row in mine if row["parameter"] == key):
            style, bins = reference_style(row["estimator"], labels), row["binned"]
            for panel, values in zip(panels[:, column], (bins.bias, bins.sd, bins.rmse), strict=True):
                panel.plot(bins.truth * parameter.display_factor, values * parameter.display_factor, markersize=4.5,
                           **style)
        panels[0, column].axhline(0, color="0.4", linewidth=1)
        panels[2, column].set_xlabel(f"true {parameter.label}")
        for panel, what in zip(panels[:, column], ("bias", "spread (SD)", "RMSE"), strict=True):
            panel.set_ylabel(f"{what} of {parameter.label}")
            panel.grid(True, color="0.9")
            panel.set_axisbelow(True)
        for panel in panels[1:, column]:
            panel.set_ylim(bottom=0)
    if mine:
        figure.suptitle(f"{_text(mine[0]['benchmark'])}, SNR {snr:g}: errors as functions of the truth")
    handles = [Line2D([], [], markersize=4.5, **reference_style(label, labels)) for label in labels]
    figure.legend(handles, list(map(_name, labels)), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    _save(figure, path)


def reference_style(label: str, labels: Sequence[str]) -> dict[str, Any]:
    """Choose the line of an estimator among `labels`; a reference in brackets gets a black line without markers."""
    if label.startswith("("):
        return REFERENCE
    return _style([name for name in labels if not name.startswith("(")].index(label))


def plot_coverage(rows: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Draw how often intervals hold the truth: a row of panels for each benchmark and SNR, a line for each estimator.

    Dots should lie on the dashed line of their colour: left of it the interval promises too much. Hollow diamonds are
    the estimator's own credible intervals, filled dots those of its standard deviation.

    Arguments: `rows` of `coverage.run`; `path`.
    """
    from matplotlib.lines import Line2D

    stated = [row for row in rows if np.isfinite(row["covered"])]
    cases = list(dict.fromkeys((row["benchmark"], row["snr"]) for row in rows))
    labels = list(dict.fromkeys(row["estimator"] for row in rows))
    figure = _figure(11.5, (0.34 * len(labels) + 0.9) * len(cases) + 0.6)
    panels = figure.subplots(len(cases), len(KEYS), sharex=True, sharey=True, squeeze=False)
    levels = sorted({row["level"] for row in stated})
    for (name, snr), line in zip(cases, panels, strict=True):
        for panel, key in zip(line, KEYS, strict=True):
            for level in levels:
                panel.axvline(100 * level, color=LEVEL_COLORS.get(level, "0.5"), linestyle="--", linewidth=1)
            there = [row for row in stated if (row["benchmark"], row["snr"], row["parameter"]) == (name, snr, key)]
            for row in there:
                own = row["kind"] == "credible interval"
                color = LEVEL_COLORS.get(row["level"], "0.5")
                panel.plot(100 * row["covered"], labels.index(row["estimator"]) + (0.2 if own else -0.12),
                           "D" if own else "o", color=color, markerfacecolor="white" if own else color, markersize=6)
            for place in set(range(len(labels))) - {labels.index(row["estimator"]) for row in there}:
                panel.text(50, place, "states no uncertainty", ha="center", va="center", fontsize=8, color="0.4",
                           backgroundcolor="white")
            panel.set_title(f"{_text(name)}, SNR {snr:g}: {PARAMETERS[key].symbol}", fontsize=10)
            panel.set_yticks(range(len(labels)), list(map(_name, labels)), fontsize=9)
            panel.set_ylim(len(labels) - 0.5, -0.5)
            panel.set_xlim(-2, 102)
            panel.set_xticks([0, 25, 50, 75, 90, 100])
            panel.grid(True, axis="y", color="0.9")
            panel.set_axisbelow(True)
    for panel in panels[-1]:
        panel.set_xlabel("intervals that hold the truth [%]")
    handles = [Line2D([], [], color=LEVEL_COLORS.get(level, "0.5"), linestyle="--", marker="o") for level in levels]
    names = [f"intervals of {100 * level:g} %" for level in levels]
    if any(row["kind"] == "credible interval" for row in stated):
        handles.append(Line2D([], [], color="0.3", linestyle="none", marker="D", markerfacecolor="white"))
        names.append("the estimator's own interval")
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    _save(figure, path)


def plot_lesion(rows: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Draw the benchmark `lesion`: error of D*, error of f, contrast kept and false positives of every estimator.

    Arguments: `rows` of `lesion.run`; `path`.
    """
    from matplotlib.lines import Line2D

    labels = list(dict.fromkeys(row["estimator"] for row in rows))
    snrs = sorted({row["snr"] for row in rows})
    figure = _figure(12.5, 0.36 * len(labels) + 1.9)
    panels = figure.subplots(1, 4, sharey=True)
    shifts = np.linspace(-0.14, 0.14, len(snrs)) if len(snrs) > 1 else np.zeros(1)
    for row in rows:
        style = {**_style(snrs.index(row["snr"])), "markersize": 6, "linestyle": "none"}
        place = labels.index(row["estimator"]) + shifts[snrs.index(row["snr"])]
        if row["parameter"] in ("Dstar", "f"):
            panels[0 if row["parameter"] == "Dstar" else 1].plot(row["mdape"], place, **style)
        if row["parameter"] == "f":
            panels[2].plot([row["contrast_q1"], row["contrast_q3"]], [place, place], color=style["color"], linewidth=1)
            panels[2].plot(row["contrast"], place, **style)
            panels[3].plot(100 * row["false_positives"], place, **style)
    panels[0].set_xscale("log")
    errors = [row["mdape"] for row in rows if row["parameter"] == "Dstar" and np.isfinite(row["mdape"])] or [10.0]
    # Wide enough for three ticks, however near each other the errors lie.
    low, high = min(0.8 * min(errors), 20), max(1.25 * max(errors), 120)
    panels[0].set_xlim(low, high)
    ticks = [tick for tick in (5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= high]
    panels[0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[0].set_xticks([], minor=True)
    panels[0].set_xlabel(f"median error of {PARAMETERS['Dstar'].symbol} [%]")
    panels[1].set_xlabel("median error of f [%]")
    panels[1].set_xlim(left=0)
    panels[2].set_xlabel("lesion contrast (and middle half)")
    truth = rows[0]["contrast_truth"]
    panels[2].axvline(truth, color="black", linewidth=1.3)
    panels[2].axvline(0.8 * truth, color="black", linewidth=1, linestyle="--")
    panels[2].axvline(1, color="0.6", linewidth=1, linestyle=":")
    panels[3].set_xlabel("false positives [%]")
    panels[3].axvline(5, color="black", linewidth=1, linestyle="--")
    panels[3].set_xlim(left=-0.5)
    panels[0].set_yticks(range(len(labels)), list(map(_name, labels)), fontsize=9)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    for panel in panels:
        panel.grid(True, color="0.9")
        panel.set_axisbelow(True)
    handles = [Line2D([], [], linestyle="none", **_style(number)) for number in range(len(snrs))]
    handles += [Line2D([], [], color="black", linewidth=1.3), Line2D([], [], color="black", linestyle="--")]
    names = [*(f"SNR {snr:g}" for snr in snrs), "truth", "what an estimator should reach"]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=9, frameon=False)
    _save(figure, path)


def plot_lesion_maps(rows: Sequence[Mapping[str, Any]], path: PathLike, snr: float | None = None) -> None:
    """Draw f and D* of the first map, truth first, then every estimator; frames mark the lesions.

    Arguments: `rows` of `lesion.run`; `path`; `snr` of the maps, by default the largest.
    """
    snr = max(row["snr"] for row in rows) if snr is None else snr
    mine = [row for row in rows if row["snr"] == snr]
    labels = list(dict.fromkeys(row["estimator"] for row in mine))[:MAPS_SHOWN]
    figure = _figure(2.1 * (len(labels) + 1) + 1.0, 5.0)
    panels = figure.subplots(2, len(labels) + 1, squeeze=False)
    for line, key, colors in zip(panels, ("f", "Dstar"), ("viridis", "cividis"), strict=True):
        parameter = PARAMETERS[key]
        found = {row["estimator"]: row["picture"] for row in mine if row["parameter"] == key}
        truth, _, lesions = found[labels[0]]
        middle = truth.shape[2] // 2
        top = 1.15 * parameter.display_factor * float(truth.max())
        shown = {"truth": truth, **{label: found[label][1] for label in labels}}
        for panel, (label, volume) in zip(line, shown.items(), strict=True):
            picture = panel.imshow(volume[:, :, middle].T * parameter.display_factor, vmin=0, vmax=top, cmap=colors,
                                   interpolation="nearest")
            for x, y, _ in (centre for centre in lesions if abs(centre[2] - middle) <= 1):
                panel.plot([x - 3.5, x + 3.5, x + 3.5, x - 3.5, x - 3.5], [y - 3.5, y - 3.5, y + 3.5, y + 3.5, y - 3.5],
                           color="white", linewidth=0.7)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_facecolor("0.5")  # no estimate
            if key == "f":
                panel.set_title(_name(label), fontsize=9)
        figure.colorbar(picture, ax=list(line), label=parameter.label, shrink=0.85)
    figure.suptitle(f"Maps with lesions of 3 x 3 voxels (framed), SNR {snr:g}", fontsize=11)
    _save(figure, path)
