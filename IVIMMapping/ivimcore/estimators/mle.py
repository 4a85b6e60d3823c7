"""Bounded maximum likelihood with Rician noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..physics.acquisition import Acquisition
from ..physics.noise import estimate_sigma
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
from .descent import Box, Point, descend
from .fisher import KEYS
from .image import VoxelFit, VoxelwiseEstimator, check
from .likelihood import Rician
from .nlls import SMALLEST_DSTAR, finish, held
from .profile import errors_option, half_widths
from .registry import register
from .result import FitResult, Status
from .rician import information, log_bessel, mean_magnitude
from .variable_projection import UNIT, Solution, solve
from .variable_projection import Problem as LeastSquares

FLOOR = 3.0
"""Signal / sigma below which the floor lifts magnitudes so far that least squares may end in another basin."""
SMALLEST_SIGMA = 1e-6
"""Smallest sigma that is fitted, relative to the signal: below lies the rounding of single precision."""
SPLIT = 25e-3
"""D* [mm²/s] between the two basins that a likelihood may have."""
SLOW = 1.4
"""Distance of ln D* from its lower bound within which the other basin is searched."""
LIKELY, LIKELY_AT_FLOOR = 0.3, 2.0
"""Rise of the Gaussian cost up to which the Rician one may fall in the other basin."""
_ROUNDS = 12
_DSTAR_NODES = 12


def sigma_option() -> object:
    """Declare the option `sigma` that estimators with a noise model have."""
    return option(
        "number", "auto",
        "Noise of each complex channel: a number; 'auto' takes that of the series, else estimates it from the region, "
        "else fits it; 'fitted' finds it in each voxel.",
        "signal units", choices=("auto", "fitted"), lower=1e-300,
    )


def with_sigma(
    option_value: float | str, signal: Array, acquisition: Acquisition, mask: Array | None
) -> tuple[Acquisition, str, list[str]]:
    """Decide on the noise level of a fit.

    Arguments: `option_value` of the option `sigma`; `signal` (x, y, z, n); `acquisition`; `mask` (x, y, z) or None.
    Returns: acquisition with sigma, or without where each voxel has to find its own; one sentence about the method;
    warnings.
    """
    if option_value == "fitted":
        return replace(acquisition, sigma=None), "Fitted in each voxel.", []
    if option_value != "auto":
        return replace(acquisition, sigma=float(option_value)), "Given as an option.", []
    if acquisition.sigma is not None:
        return acquisition, "Known with the series.", []
    inside = signal.reshape(-1, acquisition.count) if mask is None else signal[np.asarray(mask) != 0]
    found = estimate_sigma(inside, acquisition)
    if found.sigma is not None:
        return replace(acquisition, sigma=found.sigma), found.method, []
    return acquisition, "Fitted in each voxel.", [found.method + " It is fitted in each voxel instead, which is rough."]


@register
@dataclass(frozen=True)
class RicianMaximumLikelihood(VoxelwiseEstimator):
    """Global maximum of the Rician likelihood inside the bounds."""

    name = "mle_rician"
    title = "Maximum likelihood, Rician noise"
    description = (
        "Bounded maximum likelihood that knows the noise of magnitude images: a quarter of the bias of D that least "
        "squares has where the signal falls to the noise floor; as noisy as least squares."
    )
    references = (
        "Gudbjartsson and Patz, Magn Reson Med 1995;34:910",
        "Epstein et al., Choice of training label matters, section 2.1",
    )
    error_keys = KEYS

    organ: str = organ_option()
    bounds: dict[str, Bounds] = bounds_option()
    sigma: float | str = sigma_option()
    errors: str = errors_option()

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        return super().problems(acquisition) or describe_bvalues(acquisition, self.parameters)

    def fit(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Estimate every voxel of a volume; see `Estimator.fit`. Provenance gains `sigma_method` and `warnings`."""
        signal = np.asarray(signal)
        check(self, signal, acquisition, mask)
        noise, method, warnings = with_sigma(self.sigma, signal, acquisition, mask)
        result = super().fit(signal, noise, mask, progress, threads)
        result.provenance.update(sigma_method=method, warnings=warnings)
        return result

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n); sigma is that of the acquisition, or fitted where it has none."""
        bounds = effective_bounds(self.organ, self.bounds)
        order = np.argsort(acquisition.bvalues, kind="stable")
        b, first, group, counts = np.unique(
            acquisition.bvalues[order], return_index=True, return_inverse=True, return_counts=True
        )
        # A magnitude is not negative; such voxels get their status below and anything finite here.
        negative = (signal < 0).any(axis=1)
        m = np.abs(signal.T[order])
        scale = m.max(axis=0)
        m /= scale
        least_squares = _problem(b, counts, bounds)
        box = Box.of(b, bounds, {"Dstar": SMALLEST_DSTAR})
        y = m if b.size == order.size else np.add.reduceat(m, first, axis=0) / counts[:, None]
        solution = solve(least_squares, y)
        theta = box.inside(start_of(solution))
        if acquisition.sigma is not None:
            sigma = np.full(scale.size, acquisition.sigma) / scale
            noise = Rician(m, first, group, sigma)
            point, converged = _global_minimum(box, noise, theta, y, least_squares)
        else:
            noise, point, converged = _with_fitted_sigma(box, m, first, group, theta, y, least_squares)
            sigma = noise.sigma
        values = stored(point.theta, scale)
        model = signal_of(box, point.theta)
        squares = ((m - mean_magnitude(model, sigma)[group]) ** 2).sum(axis=0) * scale**2
        variance = (sigma * scale) ** 2
        if acquisition.sigma is None:
            # Maximum likelihood spends one degree of freedom per parameter without saying so.
            free = sum(flag.astype(int) for flag in held(values, bounds)[2].values())
            left = order.size - free
            variance = np.where(left > 0, variance * order.size / np.maximum(left, 1), np.nan)
        errors = half_widths(box, noise, point, scale) if self.errors == "profile" else None
        weights = counts[:, None] * information(model, sigma)
        fit = finish(values, bounds, converged, squares, acquisition, b, weights, variance, errors)
        for table in (fit.maps, fit.errors):
            for key in table:
                table[key] = np.where(negative, np.nan, table[key])
        fit.rmse = np.where(negative, np.nan, fit.rmse)
        fit.status[negative] = Status.NEGATIVE
        return fit


def _problem(b: Array, counts: Array, bounds: dict[str, Bounds]) -> LeastSquares:
    """Write the least-squares problem that gives the starts."""
    D = tuple(limit / UNIT for limit in bounds["D"])
    Dstar = tuple(max(limit, SMALLEST_DSTAR) / UNIT for limit in bounds["Dstar"])
    return LeastSquares(b * UNIT, counts.astype(float), D, bounds["f"], Dstar)


def start_of(solution: Solution) -> Array:
    """Return the parameters (4, v) of a least-squares solution of scaled data."""
    S0 = np.maximum(solution.a + solution.c, 1e-6)
    return np.stack([S0, solution.D, np.clip(solution.c / S0, 0.0, 1.0), np.log(solution.Dstar)])


def stored(theta: Array, scale: Array) -> dict[str, Array]:
    """Return parameters (4, v) as values in stored units."""
    return {"S0": theta[0] * scale, "D": theta[1] * UNIT, "f": theta[2].copy(), "Dstar": np.exp(theta[3]) * UNIT}


def signal_of(box: Box, theta: Array) -> Array:
    """Return the signal (k, v) of parameters (4, v)."""
    b = -box.b[:, None]
    return theta[0] * ((1 - theta[2]) * np.exp(b * theta[1]) + theta[2] * np.exp(b * np.exp(theta[3])))


def _global_minimum(
    box: Box, noise: Rician, theta: Array, y: Array, least_squares: LeastSquares
) -> tuple[Point, Array]:
    """Descend from least squares, and from further starts where the noise floor may have hidden the best basin."""
    point, converged = descend(box, noise, theta)
    weights = least_squares.weights[:, None]
    squares = 0.5 * (weights * (signal_of(box, theta) - y) ** 2).sum(axis=0)

    def improve(again: Array, start: Array) -> None:
        if again.size:
            other, other_converged = descend(box, noise.take(again), start)
            better = other.cost < point.cost[again]
            point.put(again[better], other, better)
            converged[again[better]] = other_converged[better]

    # Beside a basin of slow pseudo-diffusion with much f there may be one of fast with little, and the reverse.
    f, eta = point.theta[2:]
    middle = np.clip(np.log(SPLIT / UNIT), box.low[3], box.high[3])
    floor = (y < FLOOR * noise.sigma).any(axis=0)
    full = f >= box.high[2] - 1e-9
    for again, part in (
        (np.flatnonzero((eta < middle) & (full | floor | (eta < box.low[3] + SLOW))), (middle, box.high[3])),
        (np.flatnonzero((eta > middle) & (full | (eta > box.high[3] - 1e-9))), (box.low[3], middle)),
    ):
        if again.size and part[1] > part[0]:
            other = replace(least_squares, Dstar=tuple(np.exp(part)))
            found = solve(other, y[:, again])
            worse = (found.cost - squares[again]) / noise.sigma[again] ** 2
            limit = np.where(floor[again], LIKELY_AT_FLOOR, LIKELY)
            likely = worse < limit
            improve(again[likely], start_of(found)[:, likely])
    again = np.flatnonzero(floor & (point.theta[1] < 0.5 * box.high[1]))
    start = point.theta[:, again]
    start[1], start[2], start[3] = 0.8 * box.high[1], 0.3 * box.high[2], 0.8 * box.high[3] + 0.2 * box.low[3]
    improve(again, start)
    improve(*_leave_zero_perfusion(box, noise, point))
    return point, converged


def _leave_zero_perfusion(box: Box, noise: Rician, point: Point) -> tuple[Array, Array]:
    """Name the voxels without perfusion that a little of some D* would improve, with starts (4, u).

    At f = 0 the cost does not depend on D*, so that a descent stops there whatever D* it arrived with.
    """
    at = np.flatnonzero(point.theta[2] <= box.low[2] + 1e-9)
    if not at.size or box.low[2] > 0 or not box.high[2] > 0:
        return at[:0], point.theta[:, :0]
    theta = point.theta[:, at]
    _, slope, _ = noise.take(at).terms(signal_of(box, theta))
    nodes = np.linspace(box.low[3], box.high[3], _DSTAR_NODES)
    gain = -theta[0] * (
        np.exp(-np.outer(np.exp(nodes), box.b)) @ slope - (np.exp(-box.b[:, None] * theta[1]) * slope).sum(axis=0)
    )
    best = gain.argmax(axis=0)
    good = gain[best, np.arange(at.size)] > 1e-7 + noise.rounding[at]
    start = theta[:, good]
    start[2], start[3] = 0.02 * box.high[2], nodes[best[good]]
    return at[good], start


def _with_fitted_sigma(
    box: Box, m: Array, first: Array, group: Array, theta: Array, y: Array, least_squares: LeastSquares
) -> tuple[Rician, Point, Array]:
    """Find sigma in each voxel together with the parameters, by turns: each turn raises the likelihood."""
    images = m.shape[0]
    sigma = np.sqrt(((m - signal_of(box, theta)[group]) ** 2).mean(axis=0))
    sigma = np.clip(sigma, SMALLEST_SIGMA, 1.0)
    noise = Rician(m, first, group, sigma)
    point, converged = _global_minimum(box, noise, theta, y, least_squares)
    for _ in range(_ROUNDS):
        s = signal_of(box, point.theta)[group]
        squares = ((m - s) ** 2).sum(axis=0)
        before = sigma
        for _ in range(4):
            # Where the likelihood is stationary in sigma, with what the Bessel functions add written as a share of
            # sigma² (1 for Gaussian noise, 0 without signal), so that one turn is enough far from the floor.
            variance = sigma**2
            _, ratio, _ = log_bessel(m * s / variance)
            share = 2 * (m * s * (1 - ratio)).sum(axis=0) / (images * variance)
            sigma = np.clip(np.sqrt(squares / (images * np.maximum(2 - share, 0.1))), SMALLEST_SIGMA, 1.0)
        noise = Rician(m, first, group, sigma)
        point, converged = descend(box, noise, point.theta)
        if (np.abs(sigma - before) <= 1e-4 * before).all():
            break
    return noise, point, converged
