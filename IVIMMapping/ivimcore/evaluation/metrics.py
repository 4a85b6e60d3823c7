"""How far estimates are from a known truth.

One rule for missing estimates (NaN) everywhere: the number is computed from the voxels that have an estimate, and
`missing_share` stands beside it, because an estimator that refuses the hard voxels looks better on the rest. `score`
also gives `nrmse_all`, in which a missing estimate counts as the mean of the truth: what one would have said without
measuring. The truth itself must be complete.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, spearmanr

from ..errors import InputError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Binned:
    """Errors as a function of the truth.

    All (m,), one entry per bin: `truth` mean of the true values; `bias` mean and `sd` standard deviation of estimate -
    truth; `rmse`; each in the unit of the parameter, NaN in bins with fewer than two estimates. `count` of estimates,
    `missing` estimates. Epstein et al. (choice of training labels, section 4.4): an RMSE alone rewards estimators that
    always answer the mean, which shows here as a bias that falls with the truth at little spread.
    """

    truth: Array
    bias: Array
    sd: Array
    rmse: Array
    count: Array
    missing: Array


def _pairs(estimate: Array, truth: Array) -> tuple[Array, Array]:
    """Return estimate and truth, flat, of the voxels that have an estimate."""
    estimate, truth = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    if estimate.shape != truth.shape:
        raise InputError(f"There are {estimate.shape} estimates for {truth.shape} true values; give one for each.")
    if not np.isfinite(truth).all():
        raise InputError("The truth contains NaN or infinity; evaluate only voxels whose truth is known.")
    there = np.isfinite(estimate)
    return estimate[there], truth[there]


def missing_share(estimate: Array) -> float:
    """Compute the share of voxels without a finite estimate; `estimate` (...)."""
    estimate = np.asarray(estimate, dtype=float)
    return float(1 - np.isfinite(estimate).mean()) if estimate.size else np.nan


def nrmse(estimate: Array, truth: Array) -> float:
    """Compute the root mean square error divided by the mean of the truth (of the voxels that have an estimate).

    Arguments: `estimate`, `truth` (...) in one unit. Returns: NRMSE [1], NaN without any estimate.
    Raises InputError for different shapes, and for a truth with NaN; so do all metrics here.
    Source: Kaandorp et al., Magn Reson Med 2021;86:2250, methods.
    """
    estimate, truth = _pairs(estimate, truth)
    return float(np.sqrt(((estimate - truth) ** 2).mean()) / truth.mean()) if truth.size else np.nan


def _percentage_errors(estimate: Array, truth: Array) -> Array:
    """Return 100 (estimate - truth) / truth of the voxels that have an estimate and a truth other than zero."""
    estimate, truth = _pairs(estimate, truth)
    estimate, truth = estimate[truth != 0], truth[truth != 0]
    return 100.0 * (estimate - truth) / truth


def mdape(estimate: Array, truth: Array) -> float:
    """Compute the median absolute percentage error [%]; voxels whose truth is 0 have no percentage and are left out."""
    errors = _percentage_errors(estimate, truth)
    return float(np.median(np.abs(errors))) if errors.size else np.nan


def mdpe(estimate: Array, truth: Array) -> float:
    """Compute the median signed percentage error [%], positive where the estimate is too high; see `mdape`."""
    errors = _percentage_errors(estimate, truth)
    return float(np.median(errors)) if errors.size else np.nan


def mape(estimate: Array, truth: Array) -> float:
    """Compute the mean absolute percentage error [%]; see `mdape`."""
    errors = _percentage_errors(estimate, truth)
    return float(np.abs(errors).mean()) if errors.size else np.nan


def spearman(first: Array, second: Array) -> float:
    """Compute the Spearman rank correlation of two maps over the voxels in which both have a value.

    Arguments: `first`, `second` (...). Returns: correlation -1..1; NaN with fewer than three pairs, and where one map
    is constant. Kaandorp et al. 2021 report its absolute value between D* and f: a truth drawn independently gives 0.
    """
    first, second = np.asarray(first, dtype=float).ravel(), np.asarray(second, dtype=float).ravel()
    there = np.isfinite(first) & np.isfinite(second)
    first, second = first[there], second[there]
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(spearmanr(first, second).statistic)


def coverage(low: Array, high: Array, truth: Array) -> float:
    """Compute how often the truth lies in its interval, ends included, among the voxels that have an interval.

    Arguments: `low`, `high`, `truth` (...) in one unit. Returns: share [1], to be compared with the nominal level.
    """
    low, high, truth = (np.asarray(value, dtype=float) for value in (low, high, truth))
    there = np.isfinite(low) & np.isfinite(high)
    return float(((low <= truth) & (truth <= high))[there].mean()) if there.any() else np.nan


def coverage_of_errors(estimate: Array, error: Array, truth: Array, level: float = 0.90) -> float:
    """Compute the coverage of the intervals estimate -/+ z * error that a normal distribution would give.

    Arguments: `estimate`, `error` (standard deviation), `truth` (...) in one unit; `level` nominal share [1].
    Returns: share [1] among the voxels that have an estimate and an error.
    """
    half = norm.ppf(0.5 + level / 2) * np.asarray(error, dtype=float)
    return coverage(np.asarray(estimate) - half, np.asarray(estimate) + half, truth)


def bias_and_spread(estimate: Array, truth: Array, bins: int | Array = 10) -> Binned:
    """Compute bias, spread and RMSE as functions of the truth.

    Arguments: `estimate`, `truth` (...) in one unit; `bins` number of bins of equal width over the range of the truth,
    or their edges (m + 1,).
    Returns: Binned. The spread is that of the errors, not of the estimates, so that the width of a bin does not enter.
    """
    estimate, truth = np.asarray(estimate, dtype=float).ravel(), np.asarray(truth, dtype=float).ravel()
    _pairs(estimate, truth)
    edges = np.linspace(truth.min(), truth.max(), bins + 1) if np.isscalar(bins) else np.asarray(bins, dtype=float)
    where = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, edges.size - 2)
    rows = []
    for number in range(edges.size - 1):
        inside = where == number
        errors = (estimate - truth)[inside]
        errors = errors[np.isfinite(errors)]
        enough = errors.size > 1
        rows.append((
            truth[inside].mean() if inside.any() else (edges[number] + edges[number + 1]) / 2,
            errors.mean() if enough else np.nan,
            errors.std(ddof=1) if enough else np.nan,
            np.sqrt((errors**2).mean()) if enough else np.nan,
            errors.size,
            inside.sum() - errors.size,
        ))
    truth_of_bin, bias, sd, rmse, count, missing = (np.array(column) for column in zip(*rows, strict=True))
    return Binned(truth_of_bin, bias, sd, rmse, count.astype(int), missing.astype(int))


def over_the_range(values: Array) -> float:
    """Compute the root mean square of a bias or spread (m,) in bins of the truth: each part of its range counts alike.

    Returns: in the unit of `values`, NaN without any. Source: Epstein et al., section 4.4, whose marginalised bias and
    spread this sums up in one number.
    """
    values = np.asarray(values, dtype=float)
    return float(np.sqrt(np.nanmean(values**2))) if np.isfinite(values).any() else np.nan


def cv_net(spread: Array | None, truth: Array) -> float:
    """Compute the coefficient of variation over repeated trainings of a network, CV_NET.

    Arguments: `spread` (...) standard deviation of the estimate of each voxel over the trainings, None without them;
    `truth` (...) in the same unit. Returns: mean spread / mean truth [1], NaN without repeated trainings.
    Source: Kaandorp et al., Magn Reson Med 2021;86:2250, eq. 5.
    """
    if spread is None or not np.isfinite(spread).any():
        return np.nan
    return float(np.nanmean(np.asarray(spread, dtype=float)) / np.mean(truth))


def score(estimate: Array, truth: Array) -> dict[str, float]:
    """Compute every number of one parameter.

    Arguments: `estimate`, `truth` (...) in one unit.
    Returns: `n` voxels, `missing_share`, `nrmse`, `nrmse_all` (missing counted as the mean of the truth), `mdape`,
    `mdpe`, `mape` [%], `bias` and `sd` of estimate - truth in the unit of the parameter.
    """
    estimate, truth = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    there, known = _pairs(estimate, truth)
    errors = there - known
    return {
        "n": int(truth.size),
        "missing_share": missing_share(estimate),
        "nrmse": nrmse(estimate, truth),
        "nrmse_all": nrmse(np.where(np.isfinite(estimate), estimate, truth.mean()), truth) if truth.size else np.nan,
        "mdape": mdape(estimate, truth),
        "mdpe": mdpe(estimate, truth),
        "mape": mape(estimate, truth),
        "bias": float(errors.mean()) if errors.size else np.nan,
        "sd": float(errors.std(ddof=1)) if errors.size > 1 else np.nan,
    }
