"""The benchmark `linearity`: is a change of the estimate a change of the tissue?

Limits of change assume that estimates follow the truth with slope 1. Here D, f and D* are varied one at a time over ten
equally spaced true values, the others at typical tissue, with many noisy voxels a level; the mean estimates are
regressed on the truth, weighted with their standard errors. Printed: slope with its 95 % interval, R² of the level
means, whether a quadratic term matters, bias of each level. Voxels stand alone here: what `posterior` learns from
neighbours in an image is not in these numbers. In the manner of QIBA: slope within 0.95 .. 1.05 and R²
above 0.90 (common numbers of its profiles); where the slope is below 0.95, a sentence says what that does to a claim.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ..data.output import OutputFolder
from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.noise import add_rician, sigma_of_snr
from ..physics.parameters import PARAMETERS
from ..physics.protocols import protocol
from ..physics.signal import biexponential
from ..reports.roistatistics import write_csv
from .benchmarks import number
from .requests import make

Array = np.ndarray
NAME = "linearity"
DESCRIPTION = "Estimate against truth over ten levels of D, f and D*: slope with interval, R², bias of each level."
KEYS = ("D", "f", "Dstar")
TYPICAL = {"D": 1.2e-3, "f": 0.15, "Dstar": 40e-3}
RANGES = {"D": (0.6e-3, 2.4e-3), "f": (0.05, 0.35), "Dstar": (15e-3, 90e-3)}
"""Truths [mm²/s, 1, mm²/s] that are covered, the ends included."""
BOUNDS = {"D": (0.3e-3, 3e-3), "f": (0.0, 0.5), "Dstar": (8e-3, 0.15)}
"""What 'bounds=benchmark' means here: wider than the truth on either side."""
LEVELS, FEWEST_LEVELS, VOXELS, SNRS, SEED = 10, 5, 4000, (20.0, 50.0), 20240501
PROTOCOL = "abdomen12"
LOW, HIGH, LEAST_R2 = 0.95, 1.05, 0.90
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "unit", "levels", "voxels", "slope", "slope_low", "slope_high",
    "intercept", "r2", "quadratic_p", "linear", "missing_share", "sentence",
)
LEVEL_COLUMNS = ("estimator", "snr", "parameter", "unit", "truth", "mean", "bias", "bias_low", "bias_high",
                 "relative_bias", "sd", "voxels")  # fmt: skip


class Line(NamedTuple):
    """A weighted straight line: slope with interval, intercept, R² of the means, p of a quadratic term."""

    slope: float
    low: float
    high: float
    intercept: float
    r2: float
    quadratic_p: float


def fit_line(truth: Array, mean: Array, error: Array, level: float = 0.95) -> Line:
    """Regress level means (m,) with standard errors (m,) on the truth (m,).

    Weights 1 / error²; the interval of the slope uses the scatter of the means around the line, by t with m − 2 degrees
    of freedom, where that is larger than what their errors explain. The p-value asks whether a quadratic term explains
    more than chance (F). NaN with fewer than four levels.
    """
    usable = np.isfinite(mean) & np.isfinite(error) & (error > 0)
    truth, mean, error = truth[usable], mean[usable], error[usable]
    m = truth.size
    if m < 4:
        return Line(*[np.nan] * 6)
    x = (truth - truth.mean()) / np.ptp(truth)
    weight = 1 / error
    straight = np.vander(x, 2) * weight[:, None]
    found, *_ = np.linalg.lstsq(straight, mean * weight, rcond=None)
    rest = float((((straight @ found) - mean * weight) ** 2).sum())
    covariance = np.linalg.inv(straight.T @ straight) * max(1.0, rest / (m - 2))
    slope = found[0] / np.ptp(truth)
    half = stats.t.ppf((1 + level) / 2, m - 2) * np.sqrt(covariance[0, 0]) / np.ptp(truth)
    curved = np.vander(x, 3) * weight[:, None]
    better, *_ = np.linalg.lstsq(curved, mean * weight, rcond=None)
    left = float((((curved @ better) - mean * weight) ** 2).sum())
    noise = max(left / (m - 3), 1.0)
    p = float(stats.f.sf((rest - left) / noise, 1, m - 3))
    plain = np.polyfit(truth, mean, 1)
    spread = float(((mean - mean.mean()) ** 2).sum())
    r2 = 1 - float(((np.polyval(plain, truth) - mean) ** 2).sum()) / spread if spread > 0 else np.nan
    return Line(float(slope), float(slope - half), float(slope + half),
                float(found[1] - slope * truth.mean()), r2, p)  # fmt: skip


def run(
    estimators: Iterable[str | tuple[str, Any]], snrs: Sequence[float] | None = None, voxels: int = VOXELS,
    levels: int = LEVELS, bvalues: Sequence[float] | None = None, seed: int = SEED,
) -> list[dict[str, Any]]:
    """Measure linearity and bias.

    Arguments: `estimators` as in `requests.make`; `snrs` S0 / sigma [1]; `voxels` simulated a level; `levels` of each
    parameter, five or more; `bvalues` one per image [s/mm²], by default `abdomen12`.
    Returns: rows with the keys `COLUMNS`, and `by_level` with rows of `LEVEL_COLUMNS`. Raises InputError for too few
    levels and unknown estimators.
    """
    if levels < FEWEST_LEVELS:
        raise InputError(f"{levels} levels do not show a line; use {FEWEST_LEVELS} or more.")
    fits = [make(estimator, BOUNDS) for estimator in estimators]
    bvalues = np.array(protocol(PROTOCOL).bvalues if bvalues is None else bvalues, dtype=float)
    rows = []
    for snr in SNRS if snrs is None else snrs:
        sigma = sigma_of_snr(1.0, snr)
        acquisition = Acquisition(bvalues, sigma=sigma)
        for key in KEYS:
            truth = np.linspace(*RANGES[key], levels)
            values = {name: np.full(levels * voxels, TYPICAL[name]) for name in KEYS}
            values[key] = np.repeat(truth, voxels)
            clean = biexponential(bvalues, np.ones(levels * voxels), values["D"], values["f"], values["Dstar"])
            signal = add_rician(clean, sigma, np.random.default_rng([seed, KEYS.index(key)]))[:, None, None, :]
            for label, estimator in fits:
                fit = estimator.fit(signal, acquisition, np.ones(signal.shape[:3], dtype=bool))
                if key in fit.maps:
                    found = np.asarray(fit.maps[key], dtype=float).reshape(levels, voxels)
                    rows.append(_row(label, float(snr), key, truth, found))
    return rows


def _row(label: str, snr: float, key: str, truth: Array, found: Array) -> dict[str, Any]:
    there = np.isfinite(found)
    count = there.sum(axis=1)
    kept = np.where(there, found, 0.0)
    mean = kept.sum(axis=1) / np.maximum(count, 1)
    sd = np.sqrt((np.where(there, found - mean[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(count - 1, 1))
    mean, error = np.where(count > 1, mean, np.nan), np.where(count > 1, sd / np.sqrt(np.maximum(count, 1)), np.nan)
    line = fit_line(truth, mean, error)
    linear = bool(line.low >= LOW and line.high <= HIGH and line.r2 > LEAST_R2)
    half = 1.96 * error
    head = {"estimator": label, "snr": snr, "parameter": key, "unit": PARAMETERS[key].unit}
    return {
        "benchmark": NAME, **head, "levels": truth.size, "voxels": found.size, "slope": line.slope,
        "slope_low": line.low, "slope_high": line.high, "intercept": line.intercept, "r2": line.r2,
        "quadratic_p": line.quadratic_p, "linear": linear, "missing_share": float(1 - there.mean()),
        "sentence": sentence(PARAMETERS[key].symbol, line),
        "by_level": [
            {**head, "truth": truth[i], "mean": mean[i], "bias": mean[i] - truth[i],
             "bias_low": mean[i] - truth[i] - half[i], "bias_high": mean[i] - truth[i] + half[i],
             "relative_bias": mean[i] / truth[i] - 1, "sd": sd[i], "voxels": int(count[i])}
            for i in range(truth.size)
        ],
    }  # fmt: skip


def sentence(symbol: str, line: Line) -> str:
    """Say what the slope means for a claim about changes."""
    if not np.isfinite(line.slope):
        return f"{symbol}: no line could be fitted."
    if line.slope < LOW:
        if line.slope <= 0:
            return f"{symbol}: the estimate does not follow the tissue at all; no claim about changes can be made."
        return (
            f"{symbol}: slope {line.slope:.2f} is below {LOW}: a true change is about {1 / line.slope:.2g} times the "
            "measured one, and a claim must carry the slope."
        )
    if line.slope > HIGH:
        return f"{symbol}: slope {line.slope:.2f} is above {HIGH}: changes are overstated; a claim must carry it."
    if line.r2 <= LEAST_R2:
        return f"{symbol}: R² {line.r2:.2f} is below {LEAST_R2}: the relation is no straight line."
    if line.low < LOW or line.high > HIGH:
        return f"{symbol}: slope {line.slope:.2f}, but its interval leaves {LOW} to {HIGH}: linearity is not shown."
    return f"{symbol}: linear enough for a claim without a slope."


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table for the shell: one block per SNR, one line per estimator and parameter."""
    if not rows:
        return "No estimator was measured."
    head = ("estimator", "map", "slope [95 %]", "R²", "quadratic p", "bias at levels [%]", "in words")
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        table = [head]
        for row in (row for row in rows if row["snr"] == snr):
            biases = [100 * level["relative_bias"] for level in row["by_level"]]
            shown = " ".join(f"{value:+.0f}" if np.isfinite(value) else "–" for value in biases)
            table.append((
                row["estimator"], PARAMETERS[row["parameter"]].symbol,
                f"{number(row['slope'], 3)} [{number(row['slope_low'], 3)}, {number(row['slope_high'], 3)}]",
                number(row["r2"], 3), number(row["quadratic_p"], 3), shown, row["sentence"].partition(": ")[2],
            ))  # fmt: skip
        widths = [max(len(row[column]) for row in table) for column in range(len(head))]
        lines += [f"SNR {snr:g}, {rows[0]['levels']} levels"]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                  for row in table]  # fmt: skip
        lines.append("")
    return "\n".join(lines).rstrip()


def write_all(folder: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write linearity.csv and linearity_levels.csv; return the paths."""
    names = ("linearity.csv", "linearity_levels.csv")
    with OutputFolder(folder) as work:
        write_csv(work / names[0], rows, COLUMNS)
        write_csv(work / names[1], [level for row in rows for level in row["by_level"]], LEVEL_COLUMNS)
    return [Path(folder) / name for name in names]
