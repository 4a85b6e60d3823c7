"""Maximum a posteriori with priors that are fitted to the least-squares result of the same series."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds
from .base import (
    Array,
    Problem,
    Progress,
    bounds_option,
    describe_bvalues,
    effective_bounds,
    ignore,
    option,
    organ_option,
)
from .descent import Box, Point, descend, matrices
from .fisher import KEYS
from .image import VoxelFit, VoxelwiseEstimator, check
from .likelihood import Gaussian, Noise, UnknownSigma
from .mle import signal_of, start_of, stored, with_sigma
from .nlls import NonLinearLeastSquares, finish, merge_repeats
from .parametricpriors import BROAD, ENOUGH_VOXELS, PriorPenalty, Priors, fit_priors
from .registry import register
from .result import FitResult, Status
from .variable_projection import UNIT, solve
from .variable_projection import Problem as LeastSquares

VOXELS_USED = 20_000
"""Voxels that serve to learn: the shape of a prior is then known to 1 %, and more only cost time."""
SMALLEST = {"D": 1e-5, "f": 1e-4, "Dstar": 1e-4}
"""Lowest D, f and Dstar of the search in stored units: logarithms of the priors end there."""


@dataclass
class Prepared:
    """Voxels ready for a penalised descent: what `prepare` returns."""

    box: Box
    noise: Noise
    theta: Array
    scale: Array
    ratio: Array
    b: Array
    weights: Array
    y: Array
    within: Array
    bounds: dict[str, Bounds]


def prepare(signal: Array, acquisition: Acquisition, organ: str, bounds: dict[str, Bounds]) -> Prepared:
    """Scale the data of voxels with signal (v, n) and start them at least squares.

    Without sigma in the acquisition it is integrated out in each voxel.
    """
    limits = effective_bounds(organ, bounds)
    # A fixed parameter keeps its value; otherwise the bound moves to where logarithms are finite.
    limits = {
        key: (low, high) if low == high and low > 0 else (max(low, SMALLEST[key]), max(high, SMALLEST[key]))
        for key, (low, high) in limits.items()
    }
    b, weights, y, within = merge_repeats(signal, acquisition)
    scale = np.abs(y).max(axis=0)
    y, within = y / scale, within / scale**2
    box = Box.of(b, limits)
    box.low[0] = 1e-3
    D, Dstar = (tuple(limit / UNIT for limit in limits[key]) for key in ("D", "Dstar"))
    problem = LeastSquares(b * UNIT, weights, D, limits["f"], Dstar)
    theta = box.inside(start_of(solve(problem, y)))
    if acquisition.sigma is None:
        noise: Noise = UnknownSigma(y, weights[:, None], within, acquisition.count)
    else:
        noise = Gaussian(y, weights[:, None], acquisition.sigma / scale)
    ratio = np.maximum(y[0], 0.05)
    return Prepared(box, noise, theta, scale, ratio, b, weights, y, within, limits)


def curvature_errors(box: Box, point: Point, scale: Array) -> dict[str, Array]:
    """Compute standard deviations from the second derivatives of the log posterior at its mode.

    Arguments: `box`; `point` the mode; `scale` (v,) of the signal.
    Returns: KEYS -> (v,) in stored units; NaN at a bound and where the curvature is not that of a maximum.
    """
    at = (point.theta <= box.low[:, None]) | (point.theta >= box.high[:, None])
    full = matrices(point.hessian)
    rows = at.T
    full[rows] = 0.0
    full.swapaxes(1, 2)[rows] = 0.0
    full[:, range(4), range(4)] += rows
    diagonal = np.einsum("vii->vi", full).copy()
    bad = ~(diagonal > 0)
    scaling = 1.0 / np.sqrt(np.where(bad, 1.0, diagonal))
    full *= scaling[:, :, None] * scaling[:, None, :]
    covariance = np.einsum("vii->vi", np.linalg.inv(full + 1e-12 * np.eye(4)))
    bad |= rows | ~(covariance > 0)
    deviation = np.sqrt(np.where(bad, np.nan, covariance)) * scaling
    units = (scale, UNIT, 1.0, np.exp(point.theta[3]) * UNIT)
    return {key: deviation[:, n] * units[n] for n, key in enumerate(KEYS)}


def conclude(data: Prepared, point: Point, converged: Array, acquisition: Acquisition) -> VoxelFit:
    """Turn modes into a VoxelFit; see `nlls.finish`."""
    values = stored(point.theta, data.scale)
    difference = signal_of(data.box, point.theta) - data.y
    squares = (data.weights @ (difference * difference) + data.within) * data.scale**2
    errors = curvature_errors(data.box, point, data.scale)
    # Mostly negative images: nothing that an S0 could be.
    values["S0"] = np.where(data.weights @ data.y > 0, values["S0"], 0.0)
    return finish(values, data.bounds, converged, squares, acquisition, data.b, data.weights, errors=errors)


def half(progress: Progress, begin: float, end: float) -> Progress:
    """Return a progress that reports `begin` .. `end` of the whole."""
    return lambda done, total: progress(int(total * begin + done * (end - begin)), total)


def learn(
    estimator: Any, signal: Array, acquisition: Acquisition, mask: Array | None, progress: Progress,
    threads: int | None, robust: bool,
) -> tuple[Priors, list[str]]:
    """Fit least squares to at most VOXELS_USED voxels of the region, and the priors to it; see `fit_priors`.

    Returns: priors, and warnings where they could not be learned.
    """
    voxels, _ = check(estimator, signal, acquisition, mask)
    rows = signal.reshape(-1, acquisition.count)[voxels[:: -(-voxels.size // VOXELS_USED)]]
    squares = NonLinearLeastSquares(organ=estimator.organ, bounds=estimator.bounds)
    scaled = lambda done, _: progress(int(done * voxels.size / rows.shape[0]), voxels.size)  # noqa: E731
    result = squares.fit(rows[:, None, None], acquisition, None, scaled, threads)
    flat = {key: result.maps[key].ravel() for key in KEYS}
    with np.errstate(invalid="ignore"):
        lowest = rows[:, acquisition.bvalues == acquisition.bvalues.min()].mean(axis=1)
        priors = fit_priors(flat, lowest, result.status.ravel(), robust)
    if priors is not None:
        return priors, []
    clean = int(np.count_nonzero(result.status == Status.OK))
    return BROAD, [
        f"Only {clean} voxels have a least-squares result inside the bounds: too few to learn priors from, "
        f"{ENOUGH_VOXELS} are needed. Broad priors of tissue were used instead; choose a larger region."
    ]


def sigma_of_prior_option() -> object:
    """Declare the option `sigma` of the estimators with priors."""
    return option(
        "number", "auto",
        "Noise of one image: a number; 'auto' takes that of the series, else estimates it from the region (or as the "
        "recipe says); 'marginal' integrates it out in each voxel.",
        "signal units", choices=("auto", "marginal"), lower=1e-300,
    )


def noise_for_priors(
    chosen: float | str, signal: Array, acquisition: Acquisition, mask: Array | None
) -> tuple[Acquisition, str, list[str]]:
    """Decide on the noise level as `mle.with_sigma` does, with an unknown one integrated out."""
    known, method, warnings = with_sigma("fitted" if chosen == "marginal" else chosen, signal, acquisition, mask)
    if known.sigma is None:
        method = "Integrated out in each voxel."
    return known, method, [text.replace("fitted in each voxel", "integrated out in each voxel") for text in warnings]


@register
@dataclass(frozen=True)
class DataDrivenMaximumAPosteriori(VoxelwiseEstimator):
    """Maximum a posteriori with data-driven priors."""

    name = "bayes_map"
    title = "Bayesian, priors from the image"
    description = (
        "Maximum a posteriori with lognormal priors of D and D* and beta priors of f and S0, fitted to the "
        "least-squares result of the same region. Fewer outliers than least squares; pulls unusual voxels towards the "
        "ordinary."
    )
    references = (
        "Kaandorp et al., Magn Reson Med 2021;86:2250, section 2.2",
        "Orton et al., Magn Reson Med 2014;71:411",
    )
    error_keys = KEYS

    organ: str = organ_option()
    bounds: dict[str, Bounds] = bounds_option()
    recipe: str = option(
        "choice", "published",
        "'published': as Paper I, priors from every voxel of least squares and sigma integrated out; 'robust': without "
        "voxels at a bound and with the sigma of the series, which is more accurate.",
        choices=("published", "robust"),
    )
    sigma: float | str = sigma_of_prior_option()
    priors: Priors | None = field(default=None)
    """Priors learned before, of another session or a cohort; None learns them from the region."""

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        return super().problems(acquisition) or describe_bvalues(acquisition, self.parameters)

    def fit(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Learn the priors from the region, then estimate every voxel; see `Estimator.fit`.

        Provenance gains `priors`, `sigma_method` and `warnings`.
        """
        signal = np.asarray(signal)
        check(self, signal, acquisition, mask)
        priors, warnings = self.priors, []
        if priors is None:
            priors, warnings = learn(self, signal, acquisition, mask, half(progress, 0.0, 0.5), threads,
                                     self.recipe == "robust")
            progress = half(progress, 0.5, 1.0)
        sigma = "marginal" if self.sigma == "auto" and self.recipe == "published" else self.sigma
        noise, method, more = noise_for_priors(sigma, signal, acquisition, mask)
        fitter = replace(self, priors=priors)
        result = super(DataDrivenMaximumAPosteriori, fitter).fit(signal, noise, mask, progress, threads)
        result.provenance.update(priors=priors.as_dict(), sigma_method=method, warnings=warnings + more)
        return result

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n)."""
        data = prepare(signal, acquisition, self.organ, self.bounds)
        priors = self.priors or BROAD
        penalty = PriorPenalty(priors, data.ratio)
        point, converged = descend(data.box, data.noise, data.theta, penalty)
        # Where least squares ended far from what the prior expects, its basin may not be the best one.
        typical = data.theta.copy()
        typical[1], typical[3] = np.exp(priors.D[0]) / UNIT, priors.Dstar[0] - np.log(UNIT)
        typical[2] = priors.f[0] / sum(priors.f)
        far = np.flatnonzero(np.abs(data.theta[3] - typical[3]) > 2 * priors.Dstar[1])
        if far.size:
            part = PriorPenalty(priors, data.ratio[far])
            other, other_converged = descend(data.box, data.noise.take(far), typical[:, far], part)
            better = other.cost < point.cost[far]
            point.put(far[better], other, better)
            converged[far[better]] = other_converged[better]
        return conclude(data, point, converged, acquisition)
