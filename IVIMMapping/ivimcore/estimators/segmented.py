"""Segmented fit: D where perfusion has decayed, then f, then D*."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds
from .adc import LogLine, log_linear
from .base import Array, Problem, bounds_option, describe_bvalues, effective_bounds, option, organ_option
from .fisher import KEYS
from .image import VoxelFit, VoxelwiseEstimator
from .nlls import SMALLEST_DSTAR, finish, held, merge_repeats, noise_variance
from .registry import register
from .result import Status
from .variable_projection import UNIT, solve_with_D
from .variable_projection import Problem as LeastSquares

ZERO = 1.0
"""Largest b [s/mm²] that counts as an image without diffusion weighting."""

_NODES = 16
_ITERATIONS = 30
_SMALL_STEP = 1e-5


@register
@dataclass(frozen=True)
class Segmented(VoxelwiseEstimator):
    """Two-step least squares."""

    name = "segmented"
    title = "Segmented least squares"
    description = (
        "D from b-values above the threshold, f from the intercept, then D* with D (and f) held. Steadier than one "
        "joint fit, but biased where perfusion is still visible above the threshold."
    )
    references = ("Kaandorp et al., thesis 1.4.2.2; Paper II 2.3", "Sigmund et al., Magn Reson Med 2011;65:1437")
    error_keys = KEYS

    threshold: float = option(
        "number", 200.0, "Images with b of at least this value serve for D.", "s/mm²", lower=0.0
    )
    fit_f: bool = option("flag", False, "Fit S0, f and D* together in the second step instead of D* alone.")
    organ: str = organ_option()
    bounds: dict[str, Bounds] = bounds_option()

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        said = super().problems(acquisition)
        if said:
            return said
        distinct = acquisition.distinct
        above = np.count_nonzero(distinct >= self.threshold)
        if above < 2 or distinct.size - above < 2:
            side = f"{above} at or above and {distinct.size - above} below"
            return [
                Problem(
                    f"The threshold {self.threshold:g} s/mm² leaves {side} it; 'segmented' needs two different "
                    "b-values on each side, choose another threshold.",
                    blocks=True,
                )
            ]
        said = describe_bvalues(acquisition, self.parameters)
        if distinct[0] > ZERO and not self.fit_f:
            said.append(Problem("Without an image at b = 0 the intercept gives no f: it is fitted in the second step."))
        return said

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n)."""
        bounds = effective_bounds(self.organ, self.bounds)
        b, weights, y, within = merge_repeats(signal, acquisition)
        high = b >= self.threshold
        positive = (y[high] > 0).all(axis=0)
        line = log_linear(b[high], weights[high], np.where(positive, y[high], 1.0))
        D = np.clip(line.slope, *bounds["D"])
        if self.fit_f or b[0] > ZERO:
            values, converged = self._second_step_joint(b, weights, y, D, bounds)
        else:
            values, converged = self._second_step_Dstar(b, weights, y, D, bounds, line.intercept, line.slope)
        slow, fast = np.exp(-b[:, None] * D), np.exp(-b[:, None] * values["Dstar"])
        with np.errstate(invalid="ignore"):
            model = values["S0"] * ((1 - values["f"]) * slow + values["f"] * fast)
            squares = weights @ (y - model) ** 2 + within
        found = None
        if not (self.fit_f or b[0] > ZERO):
            variance = noise_variance(squares, held(values, bounds)[2], acquisition)
            found = _propagated(b, weights, values, line, variance)
        fit = finish(values, bounds, converged, squares, acquisition, b, weights)
        if found is not None:
            # What `finish` holds (a parameter at its bound) stays without a standard deviation.
            fit.errors = {key: np.where(np.isfinite(fit.errors[key]), found[key], np.nan) for key in KEYS}
        for table in (fit.maps, fit.errors):
            for key in table:
                table[key] = np.where(positive, table[key], np.nan)
        fit.rmse = np.where(positive, fit.rmse, np.nan)
        fit.status[~positive] = Status.NEGATIVE
        return fit

    def _second_step_joint(
        self, b: Array, weights: Array, y: Array, D: Array, bounds: dict[str, Bounds]
    ) -> tuple[dict[str, Array], Array]:
        Dstar = tuple(max(limit, SMALLEST_DSTAR) / UNIT for limit in bounds["Dstar"])
        D_bounds = tuple(limit / UNIT for limit in bounds["D"])
        solution = solve_with_D(LeastSquares(b * UNIT, weights, D_bounds, bounds["f"], Dstar), y, D / UNIT)
        S0 = solution.a + solution.c
        with np.errstate(invalid="ignore", divide="ignore"):
            f = solution.c / S0
        return {"S0": S0, "D": D, "f": f, "Dstar": solution.Dstar * UNIT}, solution.converged

    def _second_step_Dstar(
        self, b: Array, weights: Array, y: Array, D: Array, bounds: dict[str, Bounds], intercept: Array, slope: Array
    ) -> tuple[dict[str, Array], Array]:
        """Take S0 from the images at b = 0 and f from the intercept; search D* alone."""
        zero = b <= ZERO
        S0 = weights[zero] @ y[zero] / weights[zero].sum()
        # Where D was moved to its bound, the intercept moves with it around the centre of the high b-values.
        centre = weights[b >= self.threshold] @ b[b >= self.threshold] / weights[b >= self.threshold].sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            f = np.clip(1 - np.exp(intercept + (D - slope) * centre) / S0, *bounds["f"])
        c = np.where(S0 > 0, S0 * f, 0.0)
        rest = y - (S0 - c) * np.exp(-b[:, None] * D)
        Dstar, converged = _fit_rate(b, weights, rest, c, bounds["Dstar"])
        return {"S0": S0, "D": D, "f": f, "Dstar": Dstar}, converged


def _propagated(
    b: Array, weights: Array, values: dict[str, Array], line: LogLine, variance: Array
) -> dict[str, Array]:
    """Propagate the noise through the steps: D and intercept from the line, S0 from b = 0, f from both, D* from all.

    D* solves sum(w b exp(-b D*) residual) = 0, so its change follows from that of the residual (implicit function); the
    images that carry D* weigh little in the line and the image at b = 0 not at all in that sum, hence taken as
    independent.

    Arguments: `b` (k,) [s/mm²]; `weights` (k,); `values` of KEYS (v,); `line` of the first step; `variance` (v,) of the
    noise of one image [signal units²].
    Returns: KEYS -> standard deviation (v,) in stored units.
    """
    S0, D, f, Dstar = (values[key] for key in KEYS)
    a, c = S0 * (1 - f), S0 * f
    slow, fast = np.exp(-b[:, None] * D), np.exp(-b[:, None] * Dstar)
    first, second = weights * b, weights * b * b
    mixed1, mixed2 = first @ (slow * fast), second @ (slow * fast)
    fast1, fast2 = first @ (fast * fast), second @ (fast * fast)
    S0_variance = variance / weights[b <= ZERO].sum()
    intercept, slope, both = (
        variance * unit for unit in (line.intercept_variance, line.slope_variance, line.covariance)
    )
    by_intercept, by_slope = a * (fast1 - mixed1), a * mixed2
    with np.errstate(divide="ignore", invalid="ignore"):
        f_variance = (1 - f) ** 2 * (intercept + S0_variance / S0**2)
        Dstar_variance = (
            variance * fast2 + by_intercept**2 * intercept + by_slope**2 * slope + 2 * by_intercept * by_slope * both
            + fast1**2 * S0_variance
        ) / (c * fast2) ** 2
        found = {"S0": S0_variance, "D": slope, "f": f_variance, "Dstar": Dstar_variance}
        return {key: np.sqrt(found[key]) for key in KEYS}


def _fit_rate(
    b: Array, weights: Array, rest: Array, amplitude: Array, bounds: Bounds
) -> tuple[Array, Array]:
    """Find the rate that minimises sum(w (rest - amplitude exp(-b rate))²) between bounds.

    Arguments: `b` (k,) [s/mm²]; `weights` (k,); `rest` (k, v), `amplitude` (v,) [signal units]; `bounds` [mm²/s].
    Returns: rate (v,) [mm²/s], and whether each search converged (v,).
    """
    low, high = (max(limit, SMALLEST_DSTAR) for limit in bounds)
    nodes = np.geomspace(low, high, _NODES if high > low else 1)
    decays = np.exp(-np.outer(nodes, b)) * weights
    cost = amplitude * ((decays**2 / weights).sum(axis=1)[:, None]) - 2 * (decays @ rest)
    eta = np.log(nodes)[np.argmin(cost * np.sign(amplitude), axis=0)]
    found = eta.copy()
    converged = amplitude <= 0
    active = np.flatnonzero(~converged)
    rest, amplitude, eta = rest[:, active], amplitude[active], eta[active]
    eta_low, eta_high = np.log(low), np.log(high)
    powers = weights * np.vander(b, 3, increasing=True).T
    for _ in range(_ITERATIONS):
        rate = np.exp(eta)
        decay = np.exp(-b[:, None] * rate)
        q = powers @ (rest * decay)
        C = powers @ (decay * decay)
        slope = rate * (q[1] - amplitude * C[1])
        curvature = rate * rate * (2 * amplitude * C[2] - q[2]) + slope
        # Where the cost is not convex, walk down by a fixed step instead.
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.where(curvature > 0, -slope / curvature, -0.3 * np.sign(slope))
        moved = np.clip(eta + np.clip(step, -0.5, 0.5), eta_low, eta_high)
        done = np.abs(moved - eta) < _SMALL_STEP
        found[active] = moved
        converged[active[done]] = True
        going = ~done
        if not going.any():
            break
        active, eta, rest, amplitude = active[going], moved[going], rest[:, going], amplitude[going]
    return np.exp(found), converged
