"""Bounded descent of a penalised likelihood in S0, D, f and D*, for many voxels at once.

Newton's method with exact second derivatives where the cost is convex; elsewhere the eigenvalues of the curvature are
made positive, which turns a step towards a saddle away from it. A step that does not lower the cost is shortened
by Marquardt's damping. A parameter at its bound whose slope points outwards is left out of the step.

The cost is a negative log likelihood, so that a difference of 1e-7 means nothing, whatever the signal.
Arrays are laid out (parameter or b-value, voxel). The parameters are S0, D, f and ln D*; b is in ms/µm² and rates are
in µm²/ms as in `variable_projection`, and the signal of each voxel is scaled to near one, so that all are near one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .likelihood import Noise, UnknownSigma
from .variable_projection import UNIT

Array = np.ndarray
PARTS = 4
LARGEST_S0 = 1e3
SMALLEST_S0 = 1e-6

_TOLERANCE = 1e-6
_FLAT = 1e-10
_LONGEST = np.array([0.5, 1.0, 0.3, 1.5])[:, None]
"""Longest step in S0, D, f and ln D*: the second derivatives tell nothing of what lies farther away."""
_PAIRS = [(i, j) for i in range(PARTS) for j in range(i, PARTS)]
_DIAGONAL = [number for number, (i, j) in enumerate(_PAIRS) if i == j]


Penalty = Callable[[Array, Array], tuple[Array, Array, Array]]
"""Called with the parameters (4, v) and the indices (v,) of the voxels; returns what is added to the cost (v,), to its
gradient (4, v) and to the diagonal of its second derivatives (4, v)."""


@dataclass(frozen=True)
class Box:
    """The b-values `b` (k,) [ms/µm²] of the data, and the bounds `low`, `high` (4,) of S0, D, f and ln D*."""

    b: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, b: Array, bounds: dict[str, tuple[float, float]], smallest: dict[str, float] | None = None) -> Box:
        """Translate b-values [s/mm²] and bounds in stored units; `smallest` raises lower bounds."""
        low = {key: max(bounds[key][0], (smallest or {}).get(key, 0.0)) for key in ("D", "f", "Dstar")}
        high = {key: max(bounds[key][1], low[key]) for key in low}
        ends = [
            np.array([S0, side["D"] / UNIT, side["f"], np.log(side["Dstar"] / UNIT)])
            for S0, side in ((SMALLEST_S0, low), (LARGEST_S0, high))
        ]
        return cls(b * UNIT, *ends)

    def inside(self, theta: Array) -> Array:
        """Return parameters (4, v) moved to the nearest allowed ones."""
        return np.minimum(np.maximum(theta, self.low[:, None]), self.high[:, None])


@dataclass
class Point:
    """Parameters (4, v) with cost (v,), gradient (4, v) and second derivatives (10, v), the upper triangle by rows."""

    theta: Array
    cost: Array
    gradient: Array
    hessian: Array

    def take(self, voxels: Array) -> Point:
        """Return some of the voxels."""
        return Point(self.theta[:, voxels], self.cost[voxels], self.gradient[:, voxels], self.hessian[:, voxels])

    def put(self, voxels: Array, other: Point, chosen: Array) -> None:
        """Overwrite `voxels` by those that are `chosen` (an index or a boolean list) of another set of points."""
        self.theta[:, voxels] = other.theta[:, chosen]
        self.cost[voxels] = other.cost[chosen]
        self.gradient[:, voxels] = other.gradient[:, chosen]
        self.hessian[:, voxels] = other.hessian[:, chosen]


def evaluate(
    box: Box, noise: Noise, theta: Array, penalty: Penalty | None = None, voxels: Array | None = None
) -> Point:
    """Compute cost, gradient and second derivatives.

    Arguments: `box`; `noise` with the data; `theta` (4, v); `penalty` of the parameters, and the indices `voxels` (v,)
    that it is called with.
    Returns: Point.
    """
    S0, D, f = theta[:3]
    P = np.exp(theta[3])
    minus_b = -box.b[:, None]
    slow, fast = np.exp(minus_b * D), np.exp(minus_b * P)
    cost, slope, curvature = noise.terms(S0 * ((1 - f) * slow + f * fast))
    powers = np.vander(box.b, 3, increasing=True).T
    R, Q = powers @ (slope * slow), powers @ (slope * fast)
    weighted = curvature * slow
    A, B = powers @ (weighted * slow), powers @ (weighted * fast)
    C = powers @ (curvature * fast * fast)
    a, c = S0 * (1 - f), S0 * f
    gradient = np.stack([(1 - f) * R[0] + f * Q[0], -a * R[1], S0 * (Q[0] - R[0]), -P * c * Q[1]])
    hessian = np.stack([
        (1 - f) ** 2 * A[0] + 2 * f * (1 - f) * B[0] + f * f * C[0],
        -a * ((1 - f) * A[1] + f * B[1]) - (1 - f) * R[1],
        S0 * ((1 - f) * (B[0] - A[0]) + f * (C[0] - B[0])) + Q[0] - R[0],
        -P * (c * ((1 - f) * B[1] + f * C[1]) + f * Q[1]),
        a * (a * A[2] + R[2]),
        S0 * (R[1] - a * (B[1] - A[1])),
        a * c * P * B[2],
        S0 * S0 * (C[0] - 2 * B[0] + A[0]),
        -P * S0 * (c * (C[1] - B[1]) + Q[1]),
        P * c * (P * (c * C[2] + Q[2]) - Q[1]),
    ])
    if isinstance(noise, UnknownSigma):
        for number, (i, j) in enumerate(_PAIRS):
            hessian[number] -= noise.rank_one * gradient[i] * gradient[j]
    if penalty is not None:
        extra_cost, extra_gradient, extra_curvature = penalty(theta, voxels)
        cost = cost + extra_cost
        gradient += extra_gradient
        hessian[_DIAGONAL] += extra_curvature
    return Point(theta, cost, gradient, hessian)


def matrices(hessian: Array) -> Array:
    """Return the upper triangles (10, v) as matrices (v, 4, 4)."""
    full = np.empty((hessian.shape[1], PARTS, PARTS))
    for number, (i, j) in enumerate(_PAIRS):
        full[:, i, j] = full[:, j, i] = hessian[number]
    return full


def _held(box: Box, point: Point, hold: Array | None) -> Array:
    low = (point.theta <= box.low[:, None]) & (point.gradient >= 0)
    high = (point.theta >= box.high[:, None]) & (point.gradient <= 0)
    # Without perfusion the cost does not depend on D*, nor on D without tissue: what is flat does not move.
    flat = (np.abs(point.gradient) < _FLAT) & (np.abs(point.hessian[_DIAGONAL]) < _FLAT)
    held = low | high | flat
    return held if hold is None else held | hold


def _solve(hessian: Array, gradient: Array, damping: Array) -> tuple[Array, Array]:
    """Solve for the Newton steps (4, v) by a square-root free Cholesky factorisation; say where it is not convex."""
    h00, h01, h02, h03, h11, h12, h13, h22, h23, h33 = hessian
    more = 1.0 + damping
    convex = h00 > 0

    def pivot(value: Array, diagonal: Array) -> Array:
        nonlocal convex
        good = value > 1e-13 * np.abs(diagonal)
        convex = convex & good
        return 1.0 / np.where(good, value, 1.0)

    r0 = pivot(h00 * more, h00)
    l10, l20, l30 = h01 * r0, h02 * r0, h03 * r0
    r1 = pivot(h11 * more - l10 * h01, h11)
    e21, e31 = h12 - l10 * h02, h13 - l10 * h03
    l21, l31 = e21 * r1, e31 * r1
    r2 = pivot(h22 * more - l20 * h02 - l21 * e21, h22)
    e32 = h23 - l20 * h03 - l21 * e31
    l32 = e32 * r2
    r3 = pivot(h33 * more - l30 * h03 - l31 * e31 - l32 * e32, h33)
    z0 = -gradient[0]
    z1 = -gradient[1] - l10 * z0
    z2 = -gradient[2] - l20 * z0 - l21 * z1
    z3 = (-gradient[3] - l30 * z0 - l31 * z1 - l32 * z2) * r3
    z2 = z2 * r2 - l32 * z3
    z1 = z1 * r1 - l21 * z2 - l31 * z3
    z0 = z0 * r0 - l10 * z1 - l20 * z2 - l30 * z3
    return np.stack([z0, z1, z2, z3]), convex


def _away_from_saddles(hessian: Array, gradient: Array, damping: Array) -> Array:
    """Return steps (4, v) with every eigenvalue of the scaled curvature made positive."""
    full = matrices(hessian)
    scale = 1.0 / np.sqrt(np.abs(hessian[_DIAGONAL].T) + 1e-6 * np.abs(hessian).max(axis=0)[:, None] + 1e-30)
    values, vectors = np.linalg.eigh(full * scale[:, :, None] * scale[:, None, :])
    values = np.maximum(np.abs(values), 1e-3) * (1.0 + damping[:, None])
    along = np.einsum("vij,vi->vj", vectors, gradient.T * scale)
    return -(np.einsum("vij,vj->vi", vectors, along / values) * scale).T


def newton_step(box: Box, point: Point, damping: Array, hold: Array | None = None) -> tuple[Array, Array, Array]:
    """Return the new parameters (4, v), the decrease of the cost that is predicted (v,), and where it is convex (v,).

    Arguments: `point` where the step starts; `damping` (v,) of Marquardt; `hold` (4, v) parameters that do not move.
    """
    held = _held(box, point, hold)
    gradient = np.where(held, 0.0, point.gradient)
    hessian = point.hessian.copy()
    if held.any():
        for number, (i, j) in enumerate(_PAIRS):
            if i == j:
                hessian[number][held[i]] = 1.0
            else:
                hessian[number][held[i] | held[j]] = 0.0
    step, convex = _solve(hessian, gradient, damping)
    bent = np.flatnonzero(~convex)
    if bent.size:
        step[:, bent] = _away_from_saddles(hessian[:, bent], gradient[:, bent], damping[bent])
    step = np.minimum(np.maximum(step, -_LONGEST), _LONGEST)
    new = box.inside(point.theta + step)
    step = new - point.theta
    curved = np.zeros(damping.size)
    for number, (i, j) in enumerate(_PAIRS):
        curved += (0.5 if i == j else 1.0) * hessian[number] * step[i] * step[j]
    return new, -(gradient * step).sum(axis=0) - curved, convex


def descend(
    box: Box, noise: Noise, theta: Array, penalty: Penalty | None = None, hold: Array | None = None,
    iterations: int = 60,
) -> tuple[Point, Array]:
    """Descend from one start in each voxel to a local minimum.

    Arguments: `box`; `noise`; `theta` (4, v) start; `penalty`; `hold` (4, v) of bool, parameters that keep their start;
    `iterations` at most.
    Returns: Point of the minimum; whether each search ended by itself (v,).
    """
    index = np.arange(theta.shape[1])
    if hold is None:
        theta = box.inside(theta)
    point = evaluate(box, noise, theta, penalty, index)
    final = Point(*(np.array(array) for array in (point.theta, point.cost, point.gradient, point.hessian)))
    converged = np.zeros(index.size, dtype=bool)
    damping = np.zeros(index.size)
    for _ in range(iterations):
        new, predicted, convex = newton_step(box, point, damping, hold)
        if hold is not None:
            new = np.where(hold, point.theta, new)
        trial = evaluate(box, noise, new, penalty, index)
        accept = trial.cost <= point.cost + noise.rounding
        done = (np.abs(predicted) <= _TOLERANCE + noise.rounding) & accept & convex
        point.put(accept, trial, accept)
        damping = np.where(accept, np.where(damping > 1e-3, damping * 0.1, 0.0), np.maximum(damping * 10, 1e-2))
        done |= damping > 1e9
        if done.any():
            final.put(index[done], point, done)
            converged[index[done]] = True
            going = np.flatnonzero(~done)
            if not going.size:
                return final, converged
            index, damping, noise, point = index[going], damping[going], noise.take(going), point.take(going)
            hold = None if hold is None else hold[:, going]
    final.put(index, point, np.arange(index.size))
    return final, converged
