"""Errors from the profile likelihood: how far a parameter can move before the data object.

The profile of a parameter is the best cost with that parameter fixed. Where it has risen by 0.5 lies the end of the
68 % interval, whatever the shape of the likelihood, and also where a parameter sits at a bound; the Fisher information
knows only the curvature at the minimum (Venzon and Moolgavkar, Appl Stat 1988;37:87).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import option
from .descent import Box, Point, descend
from .fisher import KEYS
from .likelihood import Gaussian, Noise
from .variable_projection import UNIT

Array = np.ndarray

RISE = 0.5
"""Rise of the cost (negative log likelihood) that ends the interval of one standard deviation."""
_ROUNDS = 8
_CLOSE = 0.02
"""Distance from RISE at which the search stops: it moves the end by 1 % of the interval."""
_DESCENT = 12


def errors_option() -> Any:
    """Declare the option `errors` that likelihood estimators have."""
    return option(
        "choice", "fisher",
        "How standard deviations are found: from the Fisher information, or from the profile likelihood, which also "
        "holds near bounds and small f, at 5 (mle_rician) to 15 times (nlls) the time.",
        choices=("fisher", "profile"),
    )


def gaussian_profile(
    b: Array, weights: Array, y: Array, values: dict[str, Array], variance: Array,
    bounds: dict[str, tuple[float, float]],
) -> dict[str, Array]:
    """Compute profile errors of a least-squares solution.

    Arguments: `b` (k,) [s/mm²]; `weights` (k,) images of each; `y` (k, v) their means; `values` of KEYS (v,) in stored
    units; `variance` (v,) of one image [signal units²]; `bounds` of D, f, Dstar.
    Returns: KEYS -> half width (v,); NaN where the noise is not known or nothing limits the parameter.
    """
    errors = {key: np.full(variance.size, np.nan) for key in KEYS}
    there = np.flatnonzero((values["S0"] > 0) & (variance > 0))
    if not there.size:
        return errors
    scale = np.abs(y[:, there]).max(axis=0)
    box = Box.of(b, bounds, {"Dstar": 1e-5})
    noise = Gaussian(y[:, there] / scale, weights[:, None], np.sqrt(variance[there]) / scale)
    theta = np.stack([
        values["S0"][there] / scale, values["D"][there] / UNIT, values["f"][there],
        np.log(np.maximum(values["Dstar"][there], 1e-5) / UNIT),
    ])
    point, _ = descend(box, noise, theta)
    for key, width in half_widths(box, noise, point, scale).items():
        errors[key][there] = width
    return errors


def half_widths(box: Box, noise: Noise, best: Point, scale: Array) -> dict[str, Array]:
    """Find half the width of the interval in which the profile has risen by less than RISE.

    Each end is searched by regula falsi on the square root of the rise, which is linear for a Gaussian likelihood; each
    trial descends in the other three parameters from the last one. Where a bound comes first, the distance to the other
    end is taken; where both ends are bounds the data do not limit the parameter.

    Arguments: `box`; `noise`; `best` the minimum; `scale` (v,) of the signal.
    Returns: KEYS -> half width (v,) in stored units, NaN where nothing limits the parameter.
    """
    widths = {}
    for row, key in enumerate(KEYS):
        centre = best.theta[row]
        ends = [_end(box, noise, best, row, side) for side in (-1.0, 1.0)]
        distances = [np.abs(_stored(end, key) - _stored(centre, key)) for end in ends]
        with np.errstate(invalid="ignore"):
            both = 0.5 * (distances[0] + distances[1])
        width = np.where(np.isnan(both), np.where(np.isnan(distances[0]), distances[1], distances[0]), both)
        widths[key] = width * scale if key == "S0" else width
    return widths


def _stored(value: Array, key: str) -> Array:
    """Turn a parameter of the descent into stored units; S0 stays scaled."""
    if key == "Dstar":
        return np.exp(value) * UNIT
    return value * UNIT if key == "D" else value


def _end(box: Box, noise: Noise, best: Point, row: int, side: float) -> Array:
    """Return where the profile of one parameter has risen by RISE on one side (v,), NaN where a bound comes first."""
    centre = best.theta[row]
    limit = box.low[row] if side < 0 else box.high[row]
    curvature = np.maximum(best.hessian[[0, 4, 7, 9][row]], 1e-12)
    near, far = centre.copy(), np.full(centre.size, limit)
    near_rise, far_rise = np.zeros(centre.size), np.full(centre.size, np.nan)
    guess = box.inside(best.theta)[row] + side * np.maximum(1.0 / np.sqrt(curvature), 1e-9)
    theta, end = best.theta.copy(), np.full(centre.size, np.nan)
    hold = np.zeros(theta.shape, dtype=bool)
    hold[row] = True
    active = np.arange(centre.size)
    for _ in range(_ROUNDS):
        at = np.clip(guess[active], box.low[row], box.high[row])
        start = theta[:, active]
        start[row] = at
        here = noise if active.size == centre.size else noise.take(active)
        point, _ = descend(box, here, start, hold=hold[:, active], iterations=_DESCENT)
        rise = np.maximum(point.cost - best.cost[active], 0.0)
        theta[:, active] = point.theta
        end[active] = at
        below = rise < RISE
        near[active[below]], near_rise[active[below]] = at[below], rise[below]
        far[active[~below]], far_rise[active[~below]] = at[~below], rise[~below]
        bound = below & (at == limit)
        end[active[bound]] = np.nan
        going = ~bound & (np.abs(rise - RISE) > _CLOSE)
        active = active[going]
        if not active.size:
            break
        guess[active] = _next(
            centre[active], near[active], near_rise[active], far[active], far_rise[active], limit, side
        )
    return end


def _next(
    centre: Array, near: Array, near_rise: Array, far: Array, far_rise: Array, limit: float, side: float
) -> Array:
    """Choose the next trial between a point below RISE and one above it, or beyond while none is above it."""
    root, wanted = np.sqrt(near_rise), np.sqrt(RISE)
    bracketed = np.isfinite(far_rise)
    slope = (np.sqrt(np.where(bracketed, far_rise, 1.0)) - root) / np.where(far == near, 1.0, far - near)
    inner = near + (wanted - root) / np.where(slope == 0, 1.0, slope)
    # A trial that hardly leaves either end is replaced by the middle.
    width = np.abs(far - near)
    stuck = (np.abs(inner - near) < 0.05 * width) | (np.abs(far - inner) < 0.05 * width)
    inner = np.where(stuck | (np.abs(inner - near) > width), 0.5 * (near + far), inner)
    grow = np.clip(wanted / np.maximum(root, 1e-3), 1.3, 8.0)
    outer = centre + np.maximum(np.abs(near - centre), 1e-9) * grow * side
    outer = np.minimum(outer, limit) if side > 0 else np.maximum(outer, limit)
    return np.where(bracketed, inner, outer)
