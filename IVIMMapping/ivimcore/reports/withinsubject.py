"""The spread of repeated measurements of an unchanged subject: wSD, RC, wCV, each with its interval.

n subjects i, K_i sessions each, y_ik the value, m_i the mean and s_i the standard deviation of a subject:

    wSD² = Σ (K_i − 1) s_i² / Σ (K_i − 1),   ν = Σ (K_i − 1);   two sessions: wSD² = Σ d_i² / 2n
    RC   = 1.96 √2 wSD                  95 % of the differences of two scans of an unchanged patient lie within ± RC
    s_ln = wSD of ln y,  wCV = √(exp(s_ln²) − 1);   wCV_rms² = Σ (K_i − 1) s_i² / m_i² / ν

ν wSD² / σ² follows a chi-square distribution with ν degrees of freedom, so wSD √(ν / χ²(0.975; ν)) and
wSD √(ν / χ²(0.025; ν)) hold σ with 95 %.

All arrays are (..., subjects, sessions); NaN is a missing session; leading axes are independent cohorts, so that ten
thousand simulated cohorts are one call.

References: Bland and Altman, BMJ 1996;313:744; Raunig et al., Stat Methods Med Res 2015;24:27.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

Array = np.ndarray
LEVEL = 0.95
CLASSICAL = 1.96
"""The normal quantile of the usual definition of RC."""
SHIFT_ROUNDS = 60


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval, numbers or arrays (...) of one unit; NaN where unknown."""

    value: Array | float
    low: Array | float
    high: Array | float

    def scaled(self, factor: float) -> Interval:
        """Return all three times a positive factor."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


class Variance(NamedTuple):
    """A within-subject variance [unit²] with its degrees of freedom and the number of subjects that gave it."""

    value: Array
    nu: Array
    subjects: Array


def complete(values: Array) -> Array:
    """Tell which subjects (..., n) of bool have two or more sessions with a value; (..., n, K) in any unit."""
    return np.isfinite(values).sum(axis=-1) >= 2


def within_variance(values: Array, remove_shift: bool = False) -> Variance:
    """Pool the variance within subjects.

    Arguments: `values` (..., n, K) in any unit, NaN where a session is missing; `remove_shift` takes the mean of each
    session out first, which costs K − 1 degrees of freedom: a drift between visits inflates the plain wSD.
    Returns: wSD² [unit²], ν and the number of subjects with two or more sessions, arrays (...); NaN where ν is 0.
    """
    values = np.where(complete(values)[..., None], np.asarray(values, dtype=float), np.nan)
    there = np.isfinite(values)
    residual = _centred(np.where(there, values, 0.0), there, axis=-1)
    subjects = there.any(axis=-1).sum(axis=-1)
    nu = there.sum(axis=(-2, -1)) - subjects
    if remove_shift:
        # Alternating projections onto "no subject mean" and "no session mean"; one round is exact without gaps.
        for _ in range(SHIFT_ROUNDS if not there.all() else 1):
            residual = _centred(_centred(residual, there, axis=-2), there, axis=-1)
        nu = nu - (there.any(axis=-2).sum(axis=-1) - 1)
    squares = (residual**2).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Variance(np.where(nu > 0, squares / np.maximum(nu, 1), np.nan), nu, subjects)


def _centred(values: Array, there: Array, axis: int) -> Array:
    count = np.maximum(there.sum(axis=axis, keepdims=True), 1)
    return np.where(there, values - values.sum(axis=axis, keepdims=True) / count, 0.0)


def chi_factors(nu: Array | float, level: float = LEVEL) -> tuple[Array, Array]:
    """Return the factors that turn an estimated SD with `nu` degrees of freedom into its interval; NaN for nu < 1."""
    nu = np.asarray(nu, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.sqrt(nu / scipy.stats.chi2.ppf((1 + level) / 2, nu))
        high = np.sqrt(nu / scipy.stats.chi2.ppf((1 - level) / 2, nu))
    return low, high


def upper_factor(nu: Array | float, level: float = LEVEL) -> Array:
    """Return the factor of the one-sided upper bound of an SD: with it, σ lies below with probability `level`."""
    nu = np.asarray(nu, dtype=float)
    return np.sqrt(nu / scipy.stats.chi2.ppf(1 - level, nu))


def _with_interval(value: Array, nu: Array, level: float) -> Interval:
    low, high = chi_factors(nu, level)
    return Interval(value, value * low, value * high)


def wsd(values: Array, remove_shift: bool = False, level: float = LEVEL) -> Interval:
    """Compute the within-subject SD with its chi-square interval; arguments as `within_variance`, same unit."""
    variance = within_variance(values, remove_shift)
    return _with_interval(np.sqrt(variance.value), variance.nu, level)


def repeatability_coefficient(values: Array, level: float = LEVEL) -> Interval:
    """Compute RC = 1.96 √2 wSD with its interval, in the unit of `values` (..., n, K)."""
    return wsd(values, level=level).scaled(CLASSICAL * np.sqrt(2))


def logarithm(values: Array) -> Array:
    """Return ln y, NaN where y is not positive: a value that has no logarithm is a missing one."""
    values = np.asarray(values, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(values > 0, np.log(np.where(values > 0, values, 1.0)), np.nan)


def wcv_of_log_sd(log_sd: Array | float) -> Array | float:
    """Turn the SD of the logarithm into a coefficient of variation [1]: √(exp(s²) − 1)."""
    return np.sqrt(np.expm1(np.square(log_sd)))


def wcv_log(values: Array, level: float = LEVEL) -> Interval:
    """Compute the logarithmic wCV [1] of positive values (..., n, K), with the interval of s_ln carried over."""
    spread = wsd(logarithm(values), level=level)
    return Interval(*(wcv_of_log_sd(end) for end in spread))


def wcv_rms(values: Array, level: float = LEVEL) -> Interval:
    """Compute the root-mean-square wCV [1], √(Σ (K_i − 1) s_i² / m_i² / ν).

    Its interval uses the chi-square factors, which hold to first order in wCV; above some 20 % take the logarithmic
    form. Subjects whose mean is zero or negative have no CV and are left out.
    """
    values = np.where(complete(values)[..., None], np.asarray(values, dtype=float), np.nan)
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    mean = np.where(there, values, 0.0).sum(axis=-1) / np.maximum(count, 1)
    usable = (count >= 2) & (mean > 0)
    squares = np.where(there, values - mean[..., None], 0.0) ** 2
    share = np.where(usable, squares.sum(axis=-1) / np.where(usable, mean, 1.0) ** 2, 0.0)
    nu = np.where(usable, count - 1, 0).sum(axis=-1)
    value = np.sqrt(np.where(nu > 0, share.sum(axis=-1) / np.maximum(nu, 1), np.nan))
    return _with_interval(value, nu, level)


def asymmetric_limits(log_sd: Array | float, factor: float = CLASSICAL) -> tuple[Array | float, Array | float]:
    """Return the relative changes [1] that bound an unchanged patient: exp(± factor √2 s_ln) − 1."""
    half = factor * np.sqrt(2) * log_sd
    return np.expm1(-half), np.expm1(half)


def between_sd(values: Array) -> Array:
    """Estimate the SD between subjects of their true means, in the unit of `values` (..., n, K), never negative.

    One-way analysis of variance: variance of the subject means less what the spread within subjects adds to it,
    wSD² · mean(1 / K_i).
    """
    values = np.where(complete(values)[..., None], np.asarray(values, dtype=float), np.nan)
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    used = count >= 2
    mean = np.where(there, values, 0.0).sum(axis=-1) / np.maximum(count, 1)
    n = used.sum(axis=-1)
    grand = np.where(used, mean, 0.0).sum(axis=-1) / np.maximum(n, 1)
    squares = np.where(used, mean - grand[..., None], 0.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        of_means = squares.sum(axis=-1) / (n - 1)
        added = within_variance(values).value * np.where(used, 1 / np.maximum(count, 1), 0.0).sum(axis=-1) / n
        return np.where(n > 1, np.sqrt(np.maximum(of_means - added, 0.0)), np.nan)
