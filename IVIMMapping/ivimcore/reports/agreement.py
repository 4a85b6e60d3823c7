"""How sessions agree: bias, Bland-Altman limits and the intraclass correlation, each with its interval.

d_i = y_i2 − y_i1, n pairs, SD(d) with n − 1. Limits of agreement are mean d ± 1.96 SD(d). Their interval is exact for
normal differences: √n (limit − mean d) / SD(d) follows a non-central t distribution with n − 1 degrees of freedom and
non-centrality 1.96 √n (Carkeet, Optom Vis Sci 2015;92:e71). The approximation of Bland and Altman 1986, ± t √(3/n)
SD(d), is kept beside it to compare with print.

ICC(2,1) is absolute agreement of single measurements, subjects and sessions random (Shrout and Fleiss, Psychol Bull
1979;86:420), with the interval of McGraw and Wong, Psychol Methods 1996;1:30 (an approximation by Satterthwaite's
degrees of freedom). It grows with the spread of the cohort: never alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from .withinsubject import CLASSICAL, LEVEL, Interval

Array = np.ndarray


class Bias(NamedTuple):
    """The mean difference of two sessions [unit] with its t interval, and whether it is more than chance.

    `pairs` subjects with both sessions; `p_t` of the paired t test; `p_wilcoxon` of the signed-rank test, NaN with
    fewer than two differences that are not zero.
    """

    difference: Interval
    pairs: int
    p_t: float
    p_wilcoxon: float


class Limits(NamedTuple):
    """Bland-Altman limits [unit]: mean difference, lower and upper limit, each with interval; SD; number of pairs."""

    mean: Interval
    lower: Interval
    upper: Interval
    sd: Array | float
    pairs: Array | int


def differences(first: Array, second: Array) -> Array:
    """Return second − first of the pairs that both exist, (m,)."""
    difference = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    return difference[np.isfinite(difference)]


def mean_interval(values: Array, level: float = LEVEL) -> Interval:
    """Return the mean of values (..., n) without gaps with its t interval; the ends are NaN for n < 2."""
    values = np.asarray(values, dtype=float)
    n = values.shape[-1]
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = values.mean(axis=-1)
    if n < 2:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def bias(first: Array, second: Array, level: float = LEVEL) -> Bias:
    """Compare two sessions (n,) of the same subjects, NaN where one is missing."""
    difference = differences(first, second)
    p_t = p_wilcoxon = np.nan
    if difference.size > 1 and np.ptp(difference) > 0:
        p_t = float(scipy.stats.ttest_1samp(difference, 0.0).pvalue)
        if np.count_nonzero(difference) > 1:
            p_wilcoxon = float(scipy.stats.wilcoxon(difference[difference != 0]).pvalue)
    found = mean_interval(difference, level)
    return Bias(Interval(*(float(end) for end in found)), int(difference.size), p_t, p_wilcoxon)


def bland_altman(difference: Array, factor: float = CLASSICAL, level: float = LEVEL, exact: bool = True) -> Limits:
    """Compute the limits of agreement of differences (..., n) without gaps.

    Arguments: `factor` times the SD (1.96; Bland and Altman 1986 printed 2); `exact` takes the non-central t interval,
    else the approximation of 1986 with the variance 3 SD²/n. Returns NaN with fewer than two differences.
    """
    difference = np.asarray(difference, dtype=float)
    n = difference.shape[-1]
    mean = mean_interval(difference, level)
    if n < 2:
        nothing = Interval(np.nan, np.nan, np.nan)
        return Limits(mean, nothing, nothing, np.nan, n)
    sd = difference.std(axis=-1, ddof=1)
    if exact:
        inner, outer = scipy.stats.nct.ppf([(1 - level) / 2, (1 + level) / 2], n - 1, factor * np.sqrt(n)) / np.sqrt(n)
    else:
        half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(3 / n)
        inner, outer = factor - half, factor + half
    lower = Interval(mean.value - factor * sd, mean.value - outer * sd, mean.value - inner * sd)
    upper = Interval(mean.value + factor * sd, mean.value + inner * sd, mean.value + outer * sd)
    return Limits(mean, lower, upper, sd, n)


def icc_agreement(values: Array, level: float = LEVEL) -> Interval:
    """Compute ICC(2,1) with its interval.

    With mean squares of rows (subjects) MSR, columns (sessions) MSC and the rest MSE,
    ICC = (MSR − MSE) / (MSR + (K − 1) MSE + K (MSC − MSE) / n).

    Arguments: `values` (..., n, K) in any unit. Where one cohort is given, subjects with a missing session are left
    out; several cohorts at once must be without gaps. Returns numbers or arrays (...) [1]; NaN with fewer than two
    complete subjects or two sessions.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim == 2:
        values = values[np.isfinite(values).all(axis=-1)]
    n, k = values.shape[-2:]
    if n < 2 or k < 2:
        return Interval(np.nan, np.nan, np.nan)
    grand = values.mean(axis=(-2, -1), keepdims=True)
    rows, columns = values.mean(axis=-1, keepdims=True), values.mean(axis=-2, keepdims=True)
    msr = k * ((rows - grand) ** 2).sum(axis=(-2, -1)) / (n - 1)
    msc = n * ((columns - grand) ** 2).sum(axis=(-2, -1)) / (k - 1)
    mse = ((values - rows - columns + grand) ** 2).sum(axis=(-2, -1)) / ((n - 1) * (k - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        icc = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
        a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
        freedom = (a * msc + b * mse) ** 2 / ((a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1)))
        upper = scipy.stats.f.ppf((1 + level) / 2, n - 1, freedom)
        lower = scipy.stats.f.ppf((1 + level) / 2, freedom, n - 1)
        rest = k * msc + (k * n - k - n) * mse
        low = n * (msr - upper * mse) / (upper * rest + n * msr)
        high = n * (lower * msr - mse) / (rest + n * lower * msr)
    return Interval(icc, np.minimum(low, icc), np.maximum(high, icc))
