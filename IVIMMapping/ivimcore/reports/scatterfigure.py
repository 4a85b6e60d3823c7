"""Estimates against the truth, voxel by voxel, as figure 5 of Paper II draws them; a row of panels for each estimator.

As in `figures`, every function writes one file and needs no screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..physics.parameters import PARAMETERS
from .evaluationfigures import _name
from .figures import KEYS, PathLike, _figure, _save, _text

MOST = 6
"""Estimators in one file."""
BEYOND = 0.15
"""How far beyond the range of the truth the axis of the estimates reaches [share of the range]; what lies further
stands at its end, so that a few wild voxels do not make all others one dot."""


def parts(rows: Sequence[Mapping[str, Any]], snr: float) -> Iterator[list[Mapping[str, Any]]]:
    """Split the rows of `run_benchmark` at one SNR into as many groups of estimators as there are files."""
    mine = [row for row in rows if row["snr"] == snr and np.isfinite(row["nrmse"])]
    labels = list(dict.fromkeys(row["estimator"] for row in mine))
    for start in range(0, len(labels), MOST):
        yield [row for row in mine if row["estimator"] in labels[start : start + MOST]]


def plot_scatter(rows: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Draw estimates of D, f and D* against the truth, and D* against f, coloured by S0 where that varies.

    Estimates that answer the mean lie flat, those that follow the noise lie scattered around the diagonal; a band in
    the last panel means that D* follows f, which the truth does not.

    Arguments: `rows` of `run_benchmark` at one SNR, of one group of `parts`; `path`.
    """
    labels = list(dict.fromkeys(row["estimator"] for row in rows))
    figure = _figure(12.5, 2.75 * len(labels) + 0.9)
    panels = figure.subplots(len(labels), len(KEYS) + 1, squeeze=False)
    S0 = rows[0]["points"][2]
    varies = float(np.ptp(S0)) > 0.5 * float(np.max(S0))
    colors = {"c": S0, "cmap": "inferno", "vmin": 0.0, "vmax": float(np.max(S0))} if varies else {"color": "#0072B2"}
    for label, line in zip(labels, panels, strict=True):
        found = {row["parameter"]: row for row in rows if row["estimator"] == label}
        limits = {}
        for panel, key in zip(line, KEYS, strict=False):
            if key not in found:
                panel.set_axis_off()
                continue
            parameter = PARAMETERS[key]
            truth, estimate = (parameter.display_factor * values for values in found[key]["points"][:2])
            low, high = float(truth.min()), float(truth.max())
            limits[key] = (low - BEYOND * (high - low), high + BEYOND * (high - low))
            dots = panel.scatter(truth, np.clip(estimate, *limits[key]), s=4, alpha=0.5, linewidths=0, **colors)
            panel.plot([low, high], [low, high], color="0.3", linestyle="--", linewidth=1)
            panel.set_ylim(*limits[key])
            panel.set_xlabel(f"true {parameter.label}")
            panel.set_ylabel(f"estimated {parameter.label}")
        if {"f", "Dstar"} <= set(found):
            f, fast = (np.clip(PARAMETERS[key].display_factor * found[key]["points"][1], *limits[key])
                       for key in ("f", "Dstar"))  # fmt: skip
            line[-1].scatter(f, fast, s=4, alpha=0.5, linewidths=0, **colors)
            line[-1].set_xlabel(f"estimated {PARAMETERS['f'].label}")
            line[-1].set_ylabel(f"estimated {PARAMETERS['Dstar'].label}")
            line[-1].set_title(f"|ρ| = {abs(found['f']['rho_dstar_f']):.2f}", fontsize=9)
        line[0].set_title(_name(label), fontsize=9, loc="left", fontweight="bold")
    if varies:
        figure.colorbar(dots, ax=panels, label="true S0", shrink=min(1.0, 2.0 / len(labels)), aspect=30)
    figure.suptitle(f"{_text(rows[0]['benchmark'])}, SNR {rows[0]['snr']:g}: estimates against the truth")
    _save(figure, path)
