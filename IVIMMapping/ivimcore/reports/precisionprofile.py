"""Does the spread grow with the value? The choice between a constant and a proportional within-subject spread.

Both forms are models of the same data: differences of constant SD, or differences of ln y of constant SD. The one with
the larger likelihood of the within-subject differences is taken. With the Jacobian of the logarithm that is

    gain = ν (ln wSD − ln s_ln − mean ln y),   the mean weighted with K_i − 1,

positive where the proportional form explains the data better. A rank correlation of s_i with m_i is printed beside it,
before and after the logarithm: where it stays significant in the chosen form, neither form holds, and one limit for
all values of the parameter is not honest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from .withinsubject import complete, logarithm, within_variance

Array = np.ndarray
CONSTANT, PROPORTIONAL = "constant", "proportional"
FORMS = (CONSTANT, PROPORTIONAL)
FEWEST_TO_TEST = 8
"""Subjects below which a rank correlation says nothing."""
TREND = 0.01
"""p-value below which a trend that remains in the chosen form is called real."""


@dataclass(frozen=True, eq=False)
class PrecisionProfile:
    """How the spread depends on the value.

    `form` constant or proportional, `gain` its log likelihood ratio (positive for proportional, NaN where values are
    not all positive); `rank`, `p` the Spearman correlation of s_i with m_i, `rank_log`, `p_log` of ln y, NaN with
    fewer than eight subjects; `means`, `deviations` (n,) of the subjects in the unit of the values; `holds` is False
    where a trend remains in the chosen form; `chosen` says who chose the form.
    """

    form: str
    gain: float
    rank: float
    p: float
    rank_log: float
    p_log: float
    means: Array
    deviations: Array
    holds: bool
    chosen: str

    @property
    def sentence(self) -> str:
        """Say in words which form is used and why."""
        text = f"The spread within subjects is taken as {self.form} ({self.chosen}"
        if np.isfinite(self.gain):
            text += f"; log likelihood ratio {self.gain:+.1f} for proportional"
        if np.isfinite(self.rank):
            text += f"; rank correlation of spread and mean {self.rank:+.2f}, of their logarithms' {self.rank_log:+.2f}"
        text += ")."
        if not self.holds:
            text += " A trend remains: neither form holds, and the limits are not right over the whole range of values."
        return text


def proportional_gain(values: Array) -> Array:
    """Compute the log likelihood ratio (...) of proportional against constant spread; values (..., n, K) in any unit.

    NaN where a value is not positive or there is no spread at all.
    """
    logs = logarithm(values)
    usable = np.isfinite(values).sum(axis=(-2, -1)) == np.isfinite(logs).sum(axis=(-2, -1))
    raw, log = within_variance(values), within_variance(logs)
    there = np.isfinite(logs) & complete(logs)[..., None]
    count = there.sum(axis=-1)
    level = np.where(there, logs, 0.0).sum(axis=-1) * np.where(count > 0, (count - 1) / np.maximum(count, 1), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = level.sum(axis=-1) / raw.nu
        gain = raw.nu * (0.5 * np.log(raw.value) - 0.5 * np.log(log.value) - mean)
    return np.where(usable & (raw.value > 0), gain, np.nan)


def precision_profile(values: Array, form: str = "auto") -> PrecisionProfile:
    """Choose the form of the spread of one cohort (n, K), NaN where a session is missing.

    Arguments: `form` "auto" chooses by likelihood, "constant" or "proportional" is taken as given (a value that is not
    positive makes it constant all the same: it has no logarithm).
    """
    values = np.asarray(values, dtype=float)
    values = values[complete(values)]
    gain = float(proportional_gain(values)) if len(values) else np.nan
    chosen = "by likelihood" if form == "auto" else "by choice"
    if form == "auto":
        form = PROPORTIONAL if gain > 0 else CONSTANT
    if form == PROPORTIONAL and not (values > 0)[np.isfinite(values)].all():
        form, chosen = CONSTANT, "because values that are not positive have no logarithm"
    logs = logarithm(values)
    (rank, p), (rank_log, p_log) = _trend(values), _trend(logs)
    left = p if form == CONSTANT else p_log
    means = np.nanmean(values, axis=1) if len(values) else np.empty(0)
    deviations = np.nanstd(values, axis=1, ddof=1) if len(values) else np.empty(0)
    return PrecisionProfile(
        form, gain, rank, p, rank_log, p_log, means, deviations, not left < TREND, chosen
    )


def _trend(values: Array) -> tuple[float, float]:
    """Return Spearman's correlation of s_i and m_i and its p-value; NaN where it says nothing."""
    values = values[complete(values)]
    if len(values) < FEWEST_TO_TEST:
        return np.nan, np.nan
    means, deviations = np.nanmean(values, axis=1), np.nanstd(values, axis=1, ddof=1)
    if np.ptp(means) == 0 or np.ptp(deviations) == 0:
        return np.nan, np.nan
    found = scipy.stats.spearmanr(means, deviations)
    return float(found.statistic), float(found.pvalue)
