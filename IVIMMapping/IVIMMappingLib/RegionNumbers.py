"""Two numbers for each region and parameter, and whether they agree.

The *fit of the mean signal* is the parameter of the region's averaged curve: little noise, but one tissue is assumed.
The *median of the voxel fits* is the middle of the map inside the region: nothing is assumed, but noise and what the
prior filled in come along. In a region of one tissue they agree; where they do not, the region is mixed, or the voxel
fits are biased by noise, and neither number may be quoted alone.

They are marked where they differ by more than their uncertainty: |a - b| > 2 sqrt(sd_a² + sd_b²). sd_a is the standard
deviation that the estimator gives for the fit of the mean. sd_b is that of the median of a normal sample,
1.253 s / sqrt(n), with s from the quartiles, (q3 - q1) / 1.349, so that a few wild voxels do not hide a difference, and
n the *effective* number of voxels: neighbours that resemble each other, through tissue or through a prior that
learns from neighbours, are no independent witnesses. With the correlation r of neighbours along an axis, negative ones
counted as 0, n is the number of voxels times (1 - r) / (1 + r) for each of the three axes, and at least 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ivimcore.data.series import DwiSeries, Geometry
from ivimcore.physics.acquisition import Acquisition
from ivimcore.physics.parameters import PARAMETERS
from ivimcore.reports.roistatistics import fit_region_means

MEAN_FIT, MEAN_FIT_SD = "fit of the mean signal", "sd of the fit"
MEDIAN, MEDIAN_SD = "median of the voxel fits", "sd of the median"
NUMBER_COLUMNS = (
    "region", "map", "symbol", "unit", MEAN_FIT, MEAN_FIT_SD, MEDIAN, MEDIAN_SD, "q1", "q3", "voxels", "n",
    "effective n", "differs",
)
"""Keys of a row. Values in the stored unit of the column 'unit'; `voxels` of the region, `n` with a value; `differs` is
'yes', 'no', or 'not known' where one of the numbers or its uncertainty is missing."""
YES, NO, UNKNOWN = "yes", "no", "not known"
CERTAIN = 2.0
"""Standard deviations of their difference by which two numbers differ."""
_MEDIAN_OF_NORMAL, _QUARTILES_OF_NORMAL = 1.253, 1.349


def meanSignal(
    readImage: Callable[[int], np.ndarray], acquisition: Acquisition, average: str, geometry: Geometry,
    mask: np.ndarray, result: dict[str, Any],
) -> Iterator[None]:
    """Average the signal of a region in short pieces of work, exactly as the fit saw it.

    `readImage` gives the image (x, y, z) of a number from 0 of `acquisition`; `average` one of AVERAGING; `mask`
    (x, y, z) of bool. In the end `result` holds 'series', a series of one voxel with the mean, and 'voxels'.
    """
    count = int(np.count_nonzero(mask))
    rows = np.empty((acquisition.count, count), dtype=np.float32)
    for number in range(acquisition.count):
        rows[number] = readImage(number)[mask]
        yield
    acquired = acquisition
    if average != "none":
        # One voxel after the other in a row: averaging does not ask where they lie.
        column = Geometry((count, 1, 1), geometry.affine)
        series = DwiSeries(rows.T.reshape(count, 1, 1, -1), column, acquisition, "", "")
        averaged = series.averaged(average)
        acquired, rows = averaged.acquisition, averaged.signal.reshape(count, -1).T
        yield
    usable = np.isfinite(rows).all(axis=0)
    means = np.full(acquired.count, np.nan)
    for number in range(acquired.count):
        if usable.any():
            means[number] = rows[number][usable].mean(dtype=float)
    point = Geometry((1, 1, 1), geometry.affine)
    result["series"] = DwiSeries(means[None, None, None], point, acquired, "", "")
    result["voxels"] = count


def fitMean(estimator, name: str, series: DwiSeries) -> dict[str, tuple[float, float]]:
    """Fit the mean signal of a region; returns (value, standard deviation) by parameter key, in stored units."""
    rows, _ = fit_region_means(estimator, series, {name: np.ones((1, 1, 1), dtype=bool)})
    return {row["map"]: (row["value"], row["sd"]) for row in rows}


def effectiveNumber(values: np.ndarray, mask: np.ndarray) -> float:
    """Return how many independent voxels the values (x, y, z) inside `mask` are worth; voxels without value left out.
    """
    if not mask.any():
        return 0.0
    box = tuple(slice(int(used[0]), int(used[-1]) + 1) for used in _extent(mask))
    inside = mask[box] & np.isfinite(values[box])
    count = int(np.count_nonzero(inside))
    if count < 3:
        return float(count)
    found = values[box][inside]
    low, middle, high = np.percentile(found, (5, 50, 95))
    # Outliers would decide the correlation alone.
    centred = np.where(inside, np.clip(values[box], low, high) - middle, 0.0)
    variance = float((centred**2).sum()) / count
    if variance <= 0:
        return 1.0
    number = float(count)
    for axis in range(3):
        first, second = _pairs(centred, axis), _pairs(inside, axis)
        both = second[0] & second[1]
        pairs = int(np.count_nonzero(both))
        if pairs > 2:
            r = min(max(float((first[0] * first[1])[both].sum()) / pairs / variance, 0.0), 0.999)
            number *= (1 - r) / (1 + r)
    return max(1.0, number)


def differ(a: float, sdA: float, b: float, sdB: float) -> str:
    """Say whether two numbers differ by more than their uncertainty: 'yes', 'no' or 'not known'."""
    if not all(math.isfinite(x) for x in (a, sdA, b, sdB)):
        return UNKNOWN
    return YES if abs(a - b) > CERTAIN * math.hypot(sdA, sdB) else NO


def regionRows(
    region: str, fit: Mapping[str, tuple[float, float]], statistics: Sequence[Mapping[str, Any]],
    effective: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Return one row with NUMBER_COLUMNS for each parameter of a region.

    `fit` from `fitMean`; `statistics` the rows of `region_statistics` of this region; `effective` number of voxels by
    parameter key.
    """
    described = {row["map"]: row for row in statistics}
    rows = []
    for key in (key for key in PARAMETERS if key in fit and key in described):
        value, sd = fit[key]
        row = described[key]
        n = effective.get(key, math.nan)
        spread = (row["q3"] - row["q1"]) / _QUARTILES_OF_NORMAL
        medianSd = _MEDIAN_OF_NORMAL * spread / math.sqrt(n) if n >= 1 and row["n"] > 2 else math.nan
        rows.append({
            "region": region, "map": key, "symbol": PARAMETERS[key].symbol, "unit": PARAMETERS[key].unit,
            MEAN_FIT: value, MEAN_FIT_SD: sd, MEDIAN: row["median"], MEDIAN_SD: medianSd, "q1": row["q1"],
            "q3": row["q3"], "voxels": row["voxels"], "n": row["n"], "effective n": n,
            "differs": differ(value, sd, row["median"], medianSd),
        })
    return rows


def _extent(mask: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]


def _pairs(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the array without its last and without its first layer along an axis: neighbours lie on each other."""
    return np.take(array, range(array.shape[axis] - 1), axis), np.take(array, range(1, array.shape[axis]), axis)
