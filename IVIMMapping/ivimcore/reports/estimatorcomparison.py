"""Two estimators on the same scans: which one repeats better, and is that more than chance?

The estimators saw the same noise, so their within-subject deviations are correlated and an F test is wrong. Pitman and
Morgan: two variables have the same variance exactly when their sum and difference are uncorrelated (Morgan, Biometrika
1939;31:13), tested with t on the correlation r of sum and difference,

    t = r √(m − 2) / √(1 − r²),   m − 2 degrees of freedom, and without the means m − 1.

It is applied to orthonormal contrasts within each subject (K sessions give K − 1 of them, of mean zero and variance
wSD² each), so that the value of the subject plays no part. It is exact for normal deviations, and so is the interval of
the ratio of both wSD that the same test leaves in: with R the ratio of the variances and r the correlation of both

    R (k ± √(k² − 1)),   k = 1 + 2 (1 − r²) t² / ν                     (Maloney and Rastogi, Biometrics 1970;26:671).

Shrinkage (a smaller wSD bought with a smaller spread between subjects) shows in the ratio of between-subject SD to wSD;
no formula gives its interval for two estimators on the same subjects, so it is bootstrapped over subjects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from .withinsubject import LEVEL, Interval, between_sd, within_variance

Array = np.ndarray
BOOTSTRAP, SEED = 2000, 20240501


class Comparison(NamedTuple):
    """Estimator A against B on the same subjects.

    `wsd_ratio` wSD(A) / wSD(B) [1]; `p` Pitman-Morgan; `discrimination_ratio` (between / wSD) of A over that of B [1]:
    above 1, A tells subjects apart better, with a bootstrap interval; `subjects` used.
    """

    wsd_ratio: Interval
    p: float
    discrimination_ratio: Interval
    subjects: int

    @property
    def shrinks(self) -> bool:
        """Tell whether A repeats better without telling subjects apart better: lower wSD, ratio not above 1."""
        return self.wsd_ratio.value < 1 and self.discrimination_ratio.value <= 1


def contrasts(values: Array) -> Array:
    """Return orthonormal contrasts (n, K − 1) of the sessions of each subject (n, K) without gaps."""
    k = values.shape[1]
    helmert = np.zeros((k - 1, k))
    for row in range(k - 1):
        helmert[row, : row + 1] = 1.0
        helmert[row, row + 1] = -(row + 1.0)
        helmert[row] /= np.linalg.norm(helmert[row])
    return values @ helmert.T


def pitman_morgan(first: Array, second: Array) -> float:
    """Test whether two paired variables (m,) of mean zero have the same variance; two-sided p, NaN for m < 3."""
    total, difference = first + second, first - second
    scale = np.sqrt((total**2).sum() * (difference**2).sum())
    if first.size < 3 or not scale > 0:
        return np.nan
    r = float(np.clip((total * difference).sum() / scale, -1, 1))
    freedom = first.size - 1
    if abs(r) == 1:
        return 0.0
    return float(2 * scipy.stats.t.sf(abs(r) * np.sqrt(freedom / (1 - r * r)), freedom))


def variance_ratio(first: Array, second: Array, level: float = LEVEL) -> Interval:
    """Return the variance of `first` over that of `second` (m,), paired and of mean zero, with its exact interval."""
    a, b, ab = first @ first, second @ second, first @ second
    if first.size < 3 or not (a > 0 and b > 0):
        return Interval(np.nan, np.nan, np.nan)
    freedom = first.size - 1
    k = 1 + 2 * max(1 - ab * ab / (a * b), 0.0) * scipy.stats.t.ppf((1 + level) / 2, freedom) ** 2 / freedom
    width = np.sqrt(k * k - 1)
    return Interval(float(a / b), float(a / b / (k + width)), float(a / b * (k + width)))


def resampled(values: Array, resamples: int = BOOTSTRAP, seed: int = SEED) -> Array:
    """Draw cohorts with replacement from the subjects: (resamples, n, ...), seeded."""
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    return values[draws]


def compare(first: Array, second: Array, level: float = LEVEL, resamples: int = BOOTSTRAP) -> Comparison:
    """Compare the repeatability of two estimators.

    Arguments: `first`, `second` (n, K) of the same subjects and sessions in the same unit; subjects with a missing
    value in either are left out.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    usable = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    first, second = first[usable], second[usable]
    nothing = Interval(np.nan, np.nan, np.nan)
    if len(first) < 3 or first.shape[1] < 2:
        return Comparison(nothing, np.nan, nothing, len(first))
    deviations = contrasts(first).ravel(), contrasts(second).ravel()
    within = Interval(*(float(np.sqrt(end)) for end in variance_ratio(*deviations, level)))

    def discrimination_ratio(cohorts: Array) -> Array:
        one, other = cohorts[..., 0, :], cohorts[..., 1, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.sqrt(within_variance(other).value / within_variance(one).value)
            return between_sd(one) / between_sd(other) * ratio

    both = np.stack([first, second], axis=1)
    found = discrimination_ratio(resampled(both, resamples))
    # A resample without any spread between subjects has no ratio.
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, ((1 - level) / 2, (1 + level) / 2)) if found.size else (np.nan, np.nan)
    between = Interval(float(discrimination_ratio(both)), float(low), float(high))
    return Comparison(within, pitman_morgan(*deviations), between, len(first))
