"""Bounded non-linear least squares on all four parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds
from .base import Array, Problem, bounds_option, describe_bvalues, effective_bounds, organ_option
from .fisher import KEYS, standard_deviations
from .image import VoxelFit, VoxelwiseEstimator
from .profile import errors_option, gaussian_profile
from .registry import register
from .result import POOR, Status
from .variable_projection import UNIT, solve
from .variable_projection import Problem as LeastSquares

SMALLEST_DSTAR = 1e-5
"""Lowest bound of Dstar [mm²/s] in the search, which runs over its logarithm."""


def merge_repeats(signal: Array, acquisition: Acquisition) -> tuple[Array, Array, Array, Array]:
    """Average images of exactly equal b, which leaves the least-squares problem unchanged if weighted by their number.

    Arguments: `signal` (v, n).
    Returns: b (k,) [s/mm²]; number of images of each (k,); mean signal (k, v); sum of squares about the means (v,).
    """
    b, group, counts = np.unique(acquisition.bvalues, return_inverse=True, return_counts=True)
    if b.size == acquisition.count:
        y = np.ascontiguousarray(signal[:, np.argsort(acquisition.bvalues)].T)
        return b, np.ones(b.size), y, np.zeros(len(signal))
    mean = np.zeros((b.size, acquisition.count))
    mean[group, np.arange(acquisition.count)] = 1.0 / counts[group]
    y = mean @ signal.T
    return b, counts.astype(float), y, ((signal.T - y[group]) ** 2).sum(axis=0)


@register
@dataclass(frozen=True)
class NonLinearLeastSquares(VoxelwiseEstimator):
    """Global minimum of the sum of squares inside the bounds."""

    name = "nlls"
    title = "Non-linear least squares"
    description = (
        "Bounded least squares on S0, D, f and D* together; finds the global minimum. "
        "Unbiased where the noise is low, noisy in D* where f is small."
    )
    references = (
        "Le Bihan et al., Radiology 1988;168:497",
        "Golub and Pereyra, Inverse Problems 2003;19:R1 (variable projection)",
    )
    error_keys = KEYS

    organ: str = organ_option()
    bounds: dict[str, Bounds] = bounds_option()
    errors: str = errors_option()

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        return super().problems(acquisition) or describe_bvalues(acquisition, self.parameters)

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n) by variable projection; see `variable_projection`."""
        bounds = effective_bounds(self.organ, self.bounds)
        b, weights, y, within = merge_repeats(signal, acquisition)
        D_bounds, Dstar_bounds = (tuple(limit / UNIT for limit in bounds[key]) for key in ("D", "Dstar"))
        Dstar_bounds = tuple(max(limit, SMALLEST_DSTAR / UNIT) for limit in Dstar_bounds)
        solution = solve(LeastSquares(b * UNIT, weights, D_bounds, bounds["f"], Dstar_bounds), y)
        S0 = solution.a + solution.c
        with np.errstate(invalid="ignore", divide="ignore"):
            f = solution.c / S0
        values = {"S0": S0, "D": solution.D * UNIT, "f": f, "Dstar": solution.Dstar * UNIT}
        squares = np.maximum(2 * solution.cost + within, 0.0)
        errors = None
        if self.errors == "profile":
            variance = noise_variance(squares, held(values, bounds)[2], acquisition)
            errors = gaussian_profile(b, weights, y, values, variance, bounds)
        return finish(values, bounds, solution.converged, squares, acquisition, b, weights, errors=errors)


def finish(
    values: dict[str, Array], bounds: dict[str, Bounds], converged: Array, squares: Array, acquisition: Acquisition,
    b: Array, weights: Array, variance: Array | None = None, errors: dict[str, Array] | None = None,
) -> VoxelFit:
    """Turn a solution into a VoxelFit: standard deviations, residual, status.

    Arguments: `values` of S0, D, f, Dstar (v,) in stored units; `bounds` of D, f, Dstar; `converged` (v,);
    `squares` (v,) sum of squared residuals over all images; `b` (k,) as the fit used them, and the information of its
    images `weights` (k,) or (k, v) as `standard_deviations` wants it; `variance` (v,) of one image instead of the known
    or that of the residuals; `errors` (v,) of KEYS instead of those of the Fisher information.
    """
    squares = np.maximum(squares, 0.0)
    at_bound, no_perfusion, free = held(values, bounds)
    if errors is None:
        if variance is None:
            variance = noise_variance(squares, free, acquisition)
        errors = standard_deviations(b, weights, values, variance, free)
    status = np.full(squares.size, Status.OK, dtype=np.uint8)
    status[at_bound] = Status.AT_BOUND
    status[~converged] = Status.NOT_CONVERGED
    status[no_perfusion] = Status.NO_PERFUSION
    values["Dstar"] = np.where(no_perfusion, np.nan, values["Dstar"])
    errors["Dstar"] = np.where(no_perfusion, np.nan, errors["Dstar"])
    empty = ~(values["S0"] > 0)
    rmse = np.where(empty, np.nan, np.sqrt(squares / acquisition.count))
    status[rmse > POOR * values["S0"]] = Status.POOR_FIT
    status[empty] = Status.NO_DECAY
    for table in (values, errors):
        for key in table:
            table[key] = np.where(empty, np.nan, table[key])
    return VoxelFit(values, errors, rmse, status)


def held(values: dict[str, Array], bounds: dict[str, Bounds]) -> tuple[Array, Array, dict[str, Array]]:
    """Say which voxels lie at a bound (v,), which show no perfusion (v,), and what is free: KEYS -> (v,)."""
    free = {"S0": np.ones(values["S0"].shape, dtype=bool)}
    at_bound = np.zeros(values["S0"].shape, dtype=bool)
    for key, (low, high) in bounds.items():
        margin = 1e-9 * high
        free[key] = (values[key] > low + margin) & (values[key] < high - margin)
        if high > low:
            at_bound |= ~free[key]
    no_perfusion = (values["f"] <= bounds["f"][0] + 1e-9) & (bounds["f"][0] == 0)
    free["Dstar"] = free["Dstar"] & ~no_perfusion
    return at_bound, no_perfusion, free


def noise_variance(squares: Array, free: dict[str, Array], acquisition: Acquisition) -> Array:
    """Return the noise variance of each voxel (v,): the known one, else that of the residuals, NaN without freedom."""
    if acquisition.sigma is not None:
        return np.full(squares.size, float(acquisition.sigma) ** 2)
    degrees = acquisition.count - sum(flag.astype(int) for flag in free.values())
    return np.where(degrees > 0, squares / np.maximum(degrees, 1), np.nan)
