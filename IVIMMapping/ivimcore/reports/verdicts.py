"""Did this patient change? The change against what two scans of an unchanged patient differ by.

With wSD known from ν degrees of freedom, a new difference d of an unchanged patient makes d / (√2 wSD) follow Student's
t with ν degrees of freedom. The limit is therefore

    t(0.975; ν) √2 wSD            constant spread
    exp(± t(0.975; ν) √2 s_ln) − 1   proportional spread, as a relative change

and not 1.96 √2 wSD, which with 14 reference patients calls 7 % of unchanged patients changed. Several maps and regions
of a patient multiply the chances; Holm's correction (Scand J Stat 1979;6:65) takes them back.

Where the form was chosen from the same few subjects, the better-looking form has too small a wSD, and 5.5 to 7 % of
unchanged patients would be called changed (5 to 20 subjects, simulated). So the p-values of both forms are averaged
with the likelihood weights of `precisionprofile`, which gives 4.8 to 5.3 % from 5 to 100 subjects; limits and intervals
are where the averaged p-value is 5 %. A form that was chosen beforehand has weight 1, and the formulas above hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from .precisionprofile import PROPORTIONAL
from .withinsubject import LEVEL, chi_factors

Array = np.ndarray
FEWEST_SUBJECTS = 10
"""Reference subjects below which no verdict is given unless asked for."""
ENOUGH_SUBJECTS = 35
"""Reference subjects from which the width of the interval of wSD is no longer said."""
CHANGED, WITHIN, NONE = "changed", "within chance", "no verdict"


@dataclass(frozen=True)
class Spread:
    """What a verdict needs to know of the reference cohort for one map and region.

    `form` constant or proportional; `sd` wSD in the unit of the map and `log_sd` s_ln [1], NaN where values are not all
    positive; `nu` their degrees of freedom; `subjects` with two or more sessions; `proportional` the weight (0..1) of
    the proportional form, 0 or 1 where the form was chosen beforehand.
    """

    form: str
    sd: float
    log_sd: float
    nu: float
    subjects: int
    proportional: float

    @property
    def known(self) -> bool:
        """Tell whether there is a spread to compare with; equal values in all sessions are none."""
        sd = self.log_sd if self.proportional == 1 else self.sd
        return self.nu >= 1 and bool(np.isfinite(sd) and sd > 0)

    def p(self, before: Array | float, after: Array | float, change: Array | float = 0.0) -> Array:
        """Compute the two-sided p-value of "the true change is `change`", in the stored unit; arrays that broadcast."""
        before, after, change = (np.asarray(x, dtype=float) for x in (before, after, change))
        root = np.sqrt(2)
        total = np.zeros(np.broadcast(before, after, change).shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.proportional < 1:
                distance = np.abs(after - before - change) / (root * self.sd)
                total = total + (1 - self.proportional) * 2 * scipy.stats.t.sf(distance, self.nu)
            if self.proportional > 0:
                expected = before + change
                usable = (before > 0) & (after > 0) & (expected > 0)
                distance = np.abs(np.log(np.where(usable, after / np.where(usable, expected, 1.0), 1.0)))
                p = np.where(usable, 2 * scipy.stats.t.sf(distance / (root * self.log_sd), self.nu), 0.0)
                total = total + self.proportional * p
        return np.where(np.isfinite(before) & np.isfinite(after), total, np.nan)


@dataclass(frozen=True)
class Verdict:
    """What can be said of one value now and before, in the stored unit.

    `change` after − before; `relative` after / before − 1 [1], NaN where before is not positive; `low`, `high` the
    interval of the true change, `limit_low`, `limit_high` the changes that bound an unchanged patient, all as changes
    in the stored unit; the same as relative changes in `relative_limits`; `p` two-sided, `p_holm` after Holm's
    correction over `comparisons`; `word` one of CHANGED, WITHIN, NONE; `reason` why there is no verdict, or what to
    keep in mind.
    """

    before: float
    after: float
    change: float
    relative: float
    low: float
    high: float
    limit_low: float
    limit_high: float
    p: float
    word: str
    reason: str = ""
    p_holm: float = np.nan
    comparisons: int = 1

    @property
    def relative_limits(self) -> tuple[float, float]:
        """The limits as relative changes [1] of the value before."""
        if not self.before > 0:
            return np.nan, np.nan
        return self.limit_low / self.before, self.limit_high / self.before

    @property
    def relative_interval(self) -> tuple[float, float]:
        """The interval of the true change relative to the value before [1]."""
        if not self.before > 0:
            return np.nan, np.nan
        return self.low / self.before, self.high / self.before


def prediction_factor(nu: Array | float, level: float = LEVEL) -> Array | float:
    """Return t((1 + level) / 2; ν) √2: the limit of a verdict in units of wSD."""
    return scipy.stats.t.ppf((1 + level) / 2, nu) * np.sqrt(2)


def change_p(before: Array, after: Array, form: str, sd: Array, nu: Array) -> Array:
    """Compute the p-value of changes for one form and many cohorts at once; `sd` is s_ln for proportional spread."""
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs(np.log(after / before)) if form == PROPORTIONAL else np.abs(np.asarray(after) - before)
        return 2 * scipy.stats.t.sf(distance / (np.sqrt(2) * np.asarray(sd)), nu)


def change_limits(before: float, spread: Spread, level: float = LEVEL) -> tuple[float, float]:
    """Return the smallest and the largest change of an unchanged patient whose value was `before`, stored unit."""
    return _edges(lambda change: spread.p(before, before + change) - (1 - level), 0.0, _reach(before, spread, level))


def true_change(before: float, after: float, spread: Spread, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the true change of one patient, in the stored unit."""
    middle = after - before
    reach = max(_reach(before, spread, level), _reach(after, spread, level))
    return _edges(lambda change: spread.p(before, after, change) - (1 - level), middle, reach)


def limit_at_mean(means: Array, spread: Spread, level: float = LEVEL) -> Array:
    """Return the difference [stored unit] that bounds unchanged patients at each mean of two sessions (m,).

    By bisection on the p-value, which falls with the difference; NaN where the spread is unknown or a mean is not
    positive although the form needs it.
    """
    means = np.asarray(means, dtype=float)
    low, high = np.zeros(means.shape), np.full(means.shape, np.nan)
    if spread.known:
        half = float(prediction_factor(spread.nu, level))
        high = np.full(means.shape, half * spread.sd) if spread.proportional < 1 else np.zeros(means.shape)
        if spread.proportional > 0:
            high = np.where(means > 0, np.maximum(high, 2 * means * np.tanh(half * spread.log_sd / 2)), np.nan)
    for _ in range(60):
        middle = (low + high) / 2
        inside = spread.p(means - middle / 2, means + middle / 2) > 1 - level
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return high


def _reach(value: float, spread: Spread, level: float) -> float:
    """Return a change that is certainly beyond the limits of either form."""
    half = float(prediction_factor(spread.nu, level))
    wide = [half * spread.sd] if spread.proportional < 1 else []
    if spread.proportional > 0:
        wide.append(abs(value) * np.expm1(min(half * spread.log_sd, 50.0)))
    return 1.01 * max(wide) + 1e-300


def _edges(excess: Callable[[float], float], middle: float, reach: float) -> tuple[float, float]:
    """Find where a p-value that falls on both sides of `middle` crosses the level."""
    ends = []
    for side in (-1, 1):
        far = middle + side * reach
        # Below, a proportional form ends at minus the whole value, where its p-value is 0.
        ends.append(far if excess(far) > 0 else float(scipy.optimize.brentq(excess, middle, far, xtol=1e-12 * reach)))
    return ends[0], ends[1]


def holm(p: Sequence[float] | Array) -> Array:
    """Correct p-values (m,) for their number by Holm's step-down method; NaN are no comparisons and stay NaN."""
    p = np.asarray(p, dtype=float)
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if order.size else steps
    return corrected


def verdict(before: float, after: float, spread: Spread, level: float = LEVEL, few: bool = False) -> Verdict:
    """Judge one change.

    Arguments: `before`, `after` in the stored unit; `spread` of the reference cohort; `few` asks for a verdict from
    fewer than ten reference subjects too.
    """
    before, after = float(before), float(after)
    relative = after / before - 1 if before > 0 else np.nan
    nothing = Verdict(before, after, after - before, relative, *[np.nan] * 5, NONE)
    if not np.isfinite([before, after]).all():
        return replace(nothing, reason="A value is missing.")
    if not spread.known:
        return replace(nothing, reason="The reference cohort has no spread between sessions in this map and region.")
    if spread.proportional > 0 and not (before > 0 and after > 0):
        return replace(nothing, reason="A relative change needs positive values.")
    limits, ends = change_limits(before, spread, level), true_change(before, after, spread, level)
    p = float(spread.p(before, after))
    word, reason = (CHANGED if p < 1 - level else WITHIN), ""
    if spread.subjects < FEWEST_SUBJECTS and not few:
        word = NONE
        reason = f"{spread.subjects} reference subjects are too few for a verdict ({FEWEST_SUBJECTS} or more)."
    elif spread.subjects < ENOUGH_SUBJECTS:
        reason = width_sentence(spread.nu, spread.subjects, level)
    return Verdict(before, after, after - before, relative, *ends, *limits, p, word, reason)


def width_sentence(nu: float, subjects: int, level: float = LEVEL) -> str:
    """Say how far a limit from so few subjects may lie from the true one; '' from 35 subjects on."""
    if subjects >= ENOUGH_SUBJECTS or not nu >= 1:
        return ""
    low, high = chi_factors(nu, level)
    factors = f"{low:.2f} to {high:.2f}"
    return f"From {subjects} subjects the limits are known to a factor of {factors} ({100 * level:.0f} % interval)."


def corrected(found: Sequence[Verdict], level: float = LEVEL) -> list[Verdict]:
    """Apply Holm's correction to the verdicts of one patient: the words follow the corrected p-values."""
    adjusted = holm([item.p for item in found])
    count = int(np.isfinite(adjusted).sum())
    result = []
    for item, p in zip(found, adjusted, strict=True):
        word = item.word
        if item.word != NONE:
            word = CHANGED if p < 1 - level else WITHIN
        result.append(replace(item, p_holm=float(p), comparisons=count, word=word))
    return result


def chance_of_any(comparisons: int, level: float = LEVEL) -> float:
    """Return the chance that an unchanged patient is called changed in any of so many independent comparisons."""
    return 1 - level**comparisons
