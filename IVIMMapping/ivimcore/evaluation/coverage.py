"""The benchmark `coverage`: whether uncertainty means what it says, for every estimator that states one.

An interval of 90 % must hold the truth nine times in ten. Intervals are those that an estimator gives (credible
intervals, `extras` with the keys D_low and D_high), or estimate -/+ z standard deviations, cut to nothing. Beside them
stands the information: the share of the prior's variance that the data have removed; with none, a narrow interval is
only the prior.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from ..data.output import OutputFolder
from ..physics.parameters import PARAMETERS
from ..reports import evaluationfigures, roistatistics
from .benchmarks import benchmark, isolated, together
from .requests import make

Array = np.ndarray
NAME = "coverage"
DESCRIPTION = "How often intervals of 50, 90 and 95 % hold the truth on paper1 and brain; information per parameter."
KEYS = ("D", "f", "Dstar")
LEVELS = (0.50, 0.90, 0.95)
CASES = (("paper1", 20.0), ("paper1", 50.0), ("brain", 30.0), ("brain", 100.0))
VOXELS = 4000
CREDIBLE_LEVEL = 0.90
"""Nominal level of the intervals in `extras`, unless the options in the provenance state another as `interval`."""
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "kind", "level", "covered", "stated_share", "median_width", "unit",
    "information", "n",
)
"""Keys of a row, in the order of the CSV file. `kind` is "standard deviation" or "credible interval"; `stated_share`
the share of voxels with an interval; `median_width` of the intervals in `unit`; `information` the median over voxels,
NaN where the estimator gives none."""


def interval(fit: Any, key: str, level: float) -> tuple[Array, Array] | None:
    """Return lower and upper end of the intervals of a parameter that estimate and standard deviation give.

    Arguments: `fit` result with `maps` and `errors`; `key` of the parameter; `level` nominal share [1].
    Returns: two arrays like the map in stored units, NaN without an interval; None where the fit states no error.
    """
    error = fit.errors.get(key)
    if error is None or key not in fit.maps:
        return None
    estimate, half = np.asarray(fit.maps[key], dtype=float), norm.ppf(0.5 + level / 2) * np.asarray(error, dtype=float)
    return estimate - half, estimate + half


def credible_interval(fit: Any, key: str) -> tuple[Array, Array, float] | None:
    """Return lower and upper end of the intervals that the estimator gives itself, and their level; None without."""
    extras = getattr(fit, "extras", None) or {}
    if f"{key}_low" not in extras or f"{key}_high" not in extras:
        return None
    options = (getattr(fit, "provenance", None) or {}).get("options", {})
    stated = options.get("interval", CREDIBLE_LEVEL)
    low, high = (np.asarray(extras[f"{key}_{end}"], dtype=float) for end in ("low", "high"))
    return low, high, float(stated)


def covered(fit: Any, key: str, truth: Array, level: float) -> Array:
    """Say for every voxel whether its interval holds the truth, the estimator's own interval if it has that level.

    Arguments: as for `interval`; `truth` like the map.
    Returns: 1 or 0 like the map, NaN without an interval.
    """
    own = credible_interval(fit, key)
    ends = own[:2] if own is not None and abs(own[2] - level) < 1e-6 else interval(fit, key, level)
    if ends is None:
        return np.full(np.shape(truth), np.nan)
    low, high = ends
    return np.where(np.isfinite(low) & np.isfinite(high), (low <= truth) & (truth <= high), np.nan)


def run(
    estimators: Iterable[str | tuple[str, Any]],
    snrs: Sequence[float] | None = None,
    voxels: int = VOXELS,
    seed: int | None = None,
    known_sigma: bool = True,
) -> list[dict[str, Any]]:
    """Measure the coverage of every estimator that states its uncertainty.

    Arguments: `estimators` as in `requests.make`; `snrs` instead of those of `CASES`, for both benchmarks; `voxels` of
    each; `seed` instead of those of the benchmarks; `known_sigma` tells the estimators the noise level.
    Returns: one row per case, estimator, parameter, kind of interval and level, with the keys `COLUMNS`. An estimator
    without uncertainty has one row per parameter with `covered` NaN, so that it is seen to have none.
    Raises InputError for an unknown estimator.
    """
    cases = CASES if snrs is None else tuple((name, float(snr)) for name in ("paper1", "brain") for snr in snrs)
    requests = list(estimators)
    rows = []
    for name, snr in cases:
        test = benchmark(name)
        signal, truth, acquisition = test.simulate(snr, voxels, seed, known_sigma)
        volume, mask = isolated(signal)
        for label, estimator in [make(request, test.fit_bounds) for request in requests]:
            fit = together(estimator.fit(volume, acquisition, mask), mask)
            for key in KEYS:
                about = {"benchmark": name, "estimator": label, "snr": snr, "parameter": key,
                         "unit": PARAMETERS[key].unit, "information": _information(fit, key), "n": voxels}
                rows += [{**about, **row} for row in _levels(fit, key, truth[key])]
    return rows


def _information(fit: Any, key: str) -> float:
    values = np.asarray((getattr(fit, "extras", None) or {}).get(f"{key}_info", np.nan), dtype=float)
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan


def _levels(fit: Any, key: str, truth: Array) -> list[dict[str, Any]]:
    """Score one parameter of one fit at every level."""
    kinds = []
    for level in LEVELS:
        ends = interval(fit, key, level)
        if ends is not None:
            kinds.append(("standard deviation", level, *ends))
    own = credible_interval(fit, key)
    if own is not None:
        kinds.append(("credible interval", own[2], *own[:2]))
    rows = []
    for kind, level, low, high in kinds:
        low, high = low.ravel(), high.ravel()
        there = np.isfinite(low) & np.isfinite(high)
        hit = ((low <= truth) & (truth <= high))[there]
        rows.append({
            "kind": kind, "level": level, "covered": float(hit.mean()) if hit.size else np.nan,
            "stated_share": float(there.mean()),
            "median_width": float(np.median((high - low)[there])) if hit.size else np.nan,
        })
    nothing = {"kind": "none", "level": np.nan, "covered": np.nan, "stated_share": 0.0, "median_width": np.nan}
    return rows or [nothing]


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table for the shell: one block per case, one line per estimator and kind of interval."""
    if not rows:
        return "No estimator was measured."
    lines = []
    for name, snr in dict.fromkeys((row["benchmark"], row["snr"]) for row in rows):
        case = [row for row in rows if (row["benchmark"], row["snr"]) == (name, snr)]
        table = [("estimator", "interval", "level [%]", "covers D / f / D* [%]", "stated D / f / D* [%]",
                  "information D / f / D*")]
        for label, kind, level in dict.fromkeys((row["estimator"], row["kind"], str(row["level"])) for row in case):
            mine = {row["parameter"]: row for row in case
                    if (row["estimator"], row["kind"], str(row["level"])) == (label, kind, level)}
            table.append((label, kind, _shown(float(level), 100, 0), *(
                " / ".join(_shown(mine[key][column], factor, digits) if key in mine else "-" for key in KEYS)
                for column, factor, digits in (("covered", 100, 1), ("stated_share", 100, 0), ("information", 1, 2))
            )))
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines.append(f"coverage, {name}, SNR {snr:g}, {case[0]['n']} voxels")
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                  for line in table]
        lines.append("")
    return "\n".join(lines).rstrip()


def _shown(value: float, factor: float, digits: int) -> str:
    return f"{value * factor:.{digits}f}" if np.isfinite(value) else "-"


def write_all(folder: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write table and figure into a folder, complete or not at all; return their paths."""
    folder = Path(folder)
    with OutputFolder(folder) as work:
        roistatistics.write_csv(work / f"{NAME}.csv", rows, COLUMNS)
        evaluationfigures.plot_coverage(rows, work / f"{NAME}.png")
    return [folder / f"{NAME}.csv", folder / f"{NAME}.png"]
