"""Figures of the benchmark `fractal`: maps with their errors, and the spread of the errors over the maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..physics.parameters import PARAMETERS
from .evaluationfigures import MAPS_SHOWN, PathLike, _figure, _name, _save

KEYS = ("D", "f", "Dstar")
COLORS = {"D": "viridis", "f": "viridis", "Dstar": "cividis"}
WORST = 60.0
"""Error [%] at which the colours of error maps end."""


def _labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["estimator"] for row in rows))


def plot_boxes(rows: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Draw for each parameter the median absolute percentage errors of the single maps, a box for each estimator.

    Arguments: `rows` of `evaluation.fractal.run`, of which the largest SNR is drawn; `path`.
    """
    rows = [row for row in rows if row["snr"] == max(row["snr"] for row in rows)]
    labels = _labels(rows)
    figure = _figure(13.0, 0.34 * len(labels) + 1.4)
    for panel, key in zip(figure.subplots(1, 3, sharey=True), KEYS, strict=True):
        mine = {row["estimator"]: row["per_map"] for row in rows if row["parameter"] == key}
        values = [np.asarray(mine[label])[np.isfinite(mine[label])] for label in labels]
        panel.boxplot(values, positions=range(len(labels)), widths=0.6, showfliers=False, **_lying(),
                      medianprops={"color": "#b2182b", "linewidth": 1.6})  # fmt: skip
        panel.set_xscale("log")
        low = min((part.min() for part in values if part.size), default=1.0)
        high = max((part.max() for part in values if part.size), default=100.0)
        panel.set_xlim(0.8 * low, 1.25 * high)
        ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if 0.8 * low <= tick <= 1.25 * high]
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_xticks([], minor=True)
        panel.set_xlabel(f"median absolute error of {PARAMETERS[key].symbol} in a map [%]")
        panel.set_yticks(range(len(labels)), list(map(_name, labels)), fontsize=9)
        panel.set_ylim(len(labels) - 0.4, -0.6)
        panel.grid(True, axis="x", color="0.9")
        panel.set_axisbelow(True)
    _save(figure, path)


def plot_maps(rows: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Draw the first map: truth and estimates of D, f and D*, and below each the error in percent.

    Arguments: `rows` of `evaluation.fractal.run`, of which the largest SNR is drawn; `path`.
    """
    rows = [row for row in rows if row["snr"] == max(row["snr"] for row in rows)]
    labels = _labels(rows)[:MAPS_SHOWN]
    figure = _figure(1.9 * (len(labels) + 1) + 1.2, 2 * 3 * 1.75)
    panels = figure.subplots(6, len(labels) + 1, squeeze=False)
    for number, key in enumerate(KEYS):
        parameter = PARAMETERS[key]
        found = {row["estimator"]: row["picture"] for row in rows if row["parameter"] == key}
        truth = found[labels[0]][0]
        top = 1.1 * parameter.display_factor * float(truth.max())
        shown = {"truth": truth, **{label: found[label][1] for label in labels}}
        values, errors = panels[2 * number], panels[2 * number + 1]
        for column, (label, image) in enumerate(shown.items()):
            picture = values[column].imshow(image.T * parameter.display_factor, vmin=0, vmax=top, cmap=COLORS[key],
                                            interpolation="nearest")  # fmt: skip
            error = 100 * (image - truth) / truth
            if column:
                wrong = errors[column].imshow(error.T, vmin=-WORST, vmax=WORST, cmap="RdBu_r", interpolation="nearest")
            if number == 0:
                values[column].set_title(_name(label), fontsize=8)
        figure.colorbar(picture, ax=list(values), label=parameter.label, shrink=0.9)
        figure.colorbar(wrong, ax=list(errors), label="error [%]", shrink=0.9)
        errors[0].axis("off")
    for panel in panels.ravel():
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_facecolor("0.5")  # no estimate
    _save(figure, path)


def _lying() -> dict[str, Any]:
    """Return what turns boxes on their side; the older word is deprecated since matplotlib 3.10."""
    import matplotlib

    new = tuple(int(part) for part in matplotlib.__version__.split(".")[:2]) >= (3, 10)
    return {"orientation": "horizontal"} if new else {"vert": False}
