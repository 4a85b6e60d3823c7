"""Two estimators on the same scans: which one repeats better, and is that more than chance?

The estimators saw the same noise, so their within-subject deviations are correlated and an F test is wrong. Pitman and
Morgan: two variables have the same variance exactly when their sum and difference are uncorrelated (Morgan, Biometrika
1939;31:13), tested with t on the correlation r of sum and difference,

    t = r √(m − 2) / √(1 − r²),   m − 2 degrees of freedom, and without the means m − 1.

It is applied to orthonormal contrasts within each subject (K sessions give K − 1 of them, of mean zero and variance
wSD² each), so that a shift between sessions or the value of the subject plays no part. It is exact for normal
deviations. Two ways in which it could mislead are answered beside it: heavy tails by a bootstrap over subjects of the
ratio of wSD, and shrinkage (a smaller wSD bought with a smaller spread between subjects) by the same bootstrap of the
ratio of between-subject SD to wSD.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from .repeatability import BOOTSTRAP, resampled
from .withinsubject import LEVEL, Interval, between_sd, within_variance

Array = np.ndarray


class Comparison(NamedTuple):
    """Estimator A against B on the same subjects.

    `wsd_ratio` wSD(A) / wSD(B) [1]; `p` Pitman-Morgan; `discrimination_ratio` (between / wSD) of A over that of B [1]:
    above 1, A tells subjects apart better; both with bootstrap intervals; `subjects` used.
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
    return float(2 * stats.t.sf(abs(r) * np.sqrt(freedom / (1 - r * r)), freedom))


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
    p = pitman_morgan(contrasts(first).ravel(), contrasts(second).ravel())
    both = np.stack([first, second], axis=1)

    def ratios(cohorts: Array) -> tuple[Array, Array]:
        one, other = cohorts[..., 0, :], cohorts[..., 1, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            within = np.sqrt(within_variance(one).value / within_variance(other).value)
            return within, between_sd(one) / between_sd(other) / within

    value = ratios(both)
    found = ratios(resampled(both, resamples))
    ends = ((1 - level) / 2, (1 + level) / 2)
    intervals = [
        Interval(float(one), *(float(end) for end in np.nanquantile(many[np.isfinite(many)], ends)))
        if np.isfinite(many).any() else Interval(float(one), np.nan, np.nan)
        for one, many in zip(value, found, strict=True)
    ]
    return Comparison(intervals[0], p, intervals[1], len(first))
