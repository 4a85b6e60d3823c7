"""Priors of a few numbers, fitted to least-squares results, and their densities as a penalty of a descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from .fisher import KEYS
from .result import Status
from .variable_projection import UNIT

Array = np.ndarray

ENOUGH_VOXELS = 30
"""Voxels with a clean least-squares result below which no prior is learned."""
S0_RANGE = 2.0
"""Upper end of the beta prior of S0 / S(lowest b), unless the image needs more."""


@dataclass(frozen=True)
class Priors:
    """Priors of D and Dstar (lognormal), f (beta) and S0 / S(lowest b) (beta on 0 .. `S0_range`).

    `D`, `Dstar`: mean and standard deviation of the logarithm of the rate in mm²/s; `f`, `S0`: the two shape numbers;
    `voxels` that they were fitted to, 0 for the broad priors.
    """

    D: tuple[float, float]
    f: tuple[float, float]
    Dstar: tuple[float, float]
    S0: tuple[float, float]
    S0_range: float = S0_RANGE
    voxels: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the priors ready for JSON."""
        return {
            "D_lognormal": list(self.D), "f_beta": list(self.f), "Dstar_lognormal": list(self.Dstar),
            "S0_beta": list(self.S0), "S0_range": self.S0_range, "voxels": self.voxels,
        }


BROAD = Priors(D=(np.log(1.2e-3), 0.8), f=(1.0, 2.0), Dstar=(np.log(30e-3), 1.0), S0=(30.0, 30.0))
"""Priors that say no more than what tissue is: used where too few voxels are there to learn from."""


def fit_priors(values: dict[str, Array], reference: Array, status: Array, robust: bool) -> Priors | None:
    """Fit the priors to least-squares results.

    `robust` leaves out voxels at a bound or badly fitted, whose values are those of the bounds, and the 2 % at each end
    of every parameter, because the logarithm of a rate that the noise decides has long tails. The shape numbers of the
    beta densities are kept at 1 or more: below, the density has no upper limit at f = 0 and its mode is there whatever
    was measured.

    Arguments: `values` of KEYS (v,) in stored units; `reference` (v,) signal at the lowest b [signal units]; `status`
    (v,) of the fit; `robust`, else every voxel with positive values serves.
    Returns: Priors, or None with fewer than ENOUGH_VOXELS voxels inside the bounds.
    """
    there = (reference > 0) & np.all([values[key] > 1e-8 for key in KEYS], axis=0)
    clean = there & (status == Status.OK)
    if np.count_nonzero(clean) < ENOUGH_VOXELS:
        return None
    if not robust:
        clean = there
    taken = {key: values[key][clean].astype(float) for key in KEYS}
    taken["S0"] = taken["S0"] / reference[clean]
    S0_range = float(max(S0_RANGE, 1.2 * np.quantile(taken["S0"], 0.98)))
    taken["S0"] = taken["S0"] / S0_range
    if robust:
        taken = {key: _inner(x) for key, x in taken.items()}
    return Priors(
        _lognormal(taken["D"]), _beta(taken["f"]), _lognormal(taken["Dstar"]), _beta(taken["S0"]), S0_range,
        int(np.count_nonzero(clean)),
    )


def _inner(x: Array) -> Array:
    low, high = np.quantile(x, (0.02, 0.98))
    return x[(x >= low) & (x <= high)]


def _lognormal(x: Array) -> tuple[float, float]:
    logarithm = np.log(x)
    return float(logarithm.mean()), float(max(logarithm.std(), 0.05))


def _beta(x: Array) -> tuple[float, float]:
    """Fit a beta density by maximum likelihood: Newton's method on the two shape numbers, from the moments."""
    x = np.clip(x, 1e-4, 1 - 1e-4)
    mean, variance = x.mean(), max(x.var(), 1e-5)
    shape = np.array([mean, 1 - mean]) * max(mean * (1 - mean) / variance - 1, 2.0)
    target = np.array([np.log(x).mean(), np.log1p(-x).mean()])
    for _ in range(30):
        # In the logarithm of the shapes, which keeps them positive.
        gradient = shape * (scipy.special.digamma(shape) - scipy.special.digamma(shape.sum()) - target)
        each, together = scipy.special.polygamma(1, shape), scipy.special.polygamma(1, shape.sum())
        curvature = np.diag(shape**2 * each) - np.outer(shape, shape) * together
        step = np.clip(np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient), -0.5, 0.5)
        shape = shape * np.exp(-step)
        if np.abs(step).max() < 1e-6:
            break
    return float(np.clip(shape[0], 1.0, 1e4)), float(np.clip(shape[1], 1.0, 1e4))


class PriorPenalty:
    """The negative log priors as a function of S0, D, f and ln D*, with the first two derivatives.

    The densities are those of D and D* themselves, as Paper I has them, so that the mode is in these and not in their
    logarithms.

    Arguments: `priors`; `ratio` (v,) scaled S0 that is one in units of the signal at the lowest b.
    """

    def __init__(self, priors: Priors, ratio: Array) -> None:
        self._priors = priors
        self._unit = ratio * priors.S0_range

    def __call__(self, theta: Array, voxels: Array) -> tuple[Array, Array, Array]:
        """Return cost (v,), gradient (4, v) and second derivatives (4, v) of the voxels."""
        S0, D, f, eta = theta
        p = self._priors
        unit = self._unit[voxels]
        # Beyond the range the density of S0 is zero; its end is moved where a trial steps over it.
        x = np.clip(S0 / unit, 1e-6, 1 - 1e-6)
        rows = [_beta_terms(x, *p.S0), _lognormal_terms(D, p.D[0] - np.log(UNIT), p.D[1]),
                _beta_terms(np.clip(f, 1e-6, 1 - 1e-6), *p.f)]
        mean, sd = p.Dstar[0] - np.log(UNIT), p.Dstar[1]
        rows.append((eta + 0.5 * ((eta - mean) / sd) ** 2, 1 + (eta - mean) / sd**2, np.full(eta.size, sd**-2)))
        cost, first, second = (np.stack([row[n] for row in rows]) for n in range(3))
        first[0] /= unit
        second[0] /= unit * unit
        return cost.sum(axis=0), first, second


def _beta_terms(x: Array, alpha: float, beta: float) -> tuple[Array, Array, Array]:
    one, two = alpha - 1, beta - 1
    return (
        -one * np.log(x) - two * np.log1p(-x), -one / x + two / (1 - x), one / x**2 + two / (1 - x) ** 2,
    )


def _lognormal_terms(x: Array, mean: float, sd: float) -> tuple[Array, Array, Array]:
    z = (np.log(x) - mean) / sd**2
    return np.log(x) + 0.5 * (z * sd) ** 2, (1 + z) / x, (1 / sd**2 - 1 - z) / x**2
