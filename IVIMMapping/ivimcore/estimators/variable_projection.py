"""Global least squares of the bi-exponential decay by variable projection, for many voxels at once.

For fixed decay rates the IVIM signal is linear in its two amplitudes a = S0 (1 - f) and c = S0 f, so their best values
follow in closed form and only the two rates remain to be searched (Golub and Pereyra, Inverse Problems 2003;19:R1).
Bounds on f make the allowed amplitudes a cone between two rays in the (a, c) plane; the best point of the cone is the
free solution if that lies inside, else the better of the two rays.

The search has two steps. A table of both rates (`rate_table`) finds the basins. Newton's method with exact second
derivatives of the reduced problem then descends from the best place of the table; from a second place where the table
shows another basin of nearly equal gain; and, where f went to zero, from the D* that would best explain the residual.

Every sum over b that a Newton step needs is a moment sum(w b^k e^(-b r)), so a step costs two exponentials and a few
products a measurement. Arrays are laid out (b-value, voxel) with voxels contiguous, which keeps every operation in
long inner loops.

Inside this file b is in ms/µm² and rates in µm²/ms (1e-3 mm²/s), which keeps all numbers near one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rate_table import DSTAR_NODES, Problem, RateTable

Array = np.ndarray

UNIT = 1e-3
"""µm²/ms in mm²/s."""

_FIRST_ITERATIONS = 8
"""Rounds for all voxels together; the few that need more continue with those that start again."""
_RELATIVE_TOLERANCE = 1e-9
"""Predicted decrease, relative to the cost, at which a search ends."""
_ROUNDING = 1e-15
"""Increase of the cost, relative to the signal, that is rounding and no rise."""
_SMALLEST_STEP = 1e-19
"""Predicted decrease, relative to the signal, at which a search of noise-free data ends."""
_SECOND_PEAK = 0.1
"""A second peak is tried if its gain falls short by less than this share of the residual."""


@dataclass
class Solution:
    """The minimum found in each voxel, arrays (v,).

    `D`, `Dstar` [µm²/ms]; `a` = S0 (1 - f) and `c` = S0 f [signal units]; `cost` half the weighted sum of squares;
    `interior` whether f lies strictly between its bounds; `converged` whether the search ended by itself.
    """

    D: Array
    Dstar: Array
    a: Array
    c: Array
    cost: Array
    interior: Array
    converged: Array


class _Moments:
    """Sums over b at given rates: data with each decay, and the decays with each other, for powers 0, 1, 2 of b."""

    def __init__(self, problem: Problem, powers: Array, y: Array, D: Array, Dstar: Array) -> None:
        # The arrays (k, v) are the largest of a step: one spare serves all products, the decays are squared in place.
        b = -problem.b[:, None]
        slow, fast = b * D, b * Dstar
        if fast.shape != slow.shape:
            fast = np.repeat(fast, D.size, axis=1)
        np.exp(slow, out=slow)
        np.exp(fast, out=fast)
        product = y * slow
        self.p = powers @ product
        np.multiply(y, fast, out=product)
        self.q = powers @ product
        np.multiply(slow, fast, out=product)
        self.B = powers @ product
        np.multiply(slow, slow, out=slow)
        self.A = powers @ slow
        np.multiply(fast, fast, out=fast)
        self.C = powers @ fast


@dataclass
class _Amplitudes:
    a: Array
    c: Array
    cost: Array
    interior: Array
    inverse: tuple[Array, Array, Array]


def _best_amplitudes(problem: Problem, m: _Moments, yy: Array) -> _Amplitudes:
    """Solve for the amplitudes inside the cone of allowed f, and give the inverse Hessian on what stayed free."""
    f0, f1 = problem.f
    p, q, A, B, C = m.p[0], m.q[0], m.A[0], m.B[0], m.C[0]
    determinant = A * C - B * B
    safe = determinant > 1e-14 * A * C
    inverse = 1.0 / np.where(safe, determinant, 1.0)
    a = (C * p - B * q) * inverse
    c = (A * q - B * p) * inverse
    interior = safe & (c * (1 - f0) >= a * f0) & (c * (1 - f1) <= a * f1) & (f1 > f0)
    aa, ac, cc = C * inverse, -B * inverse, A * inverse
    gain = a * p + c * q
    outside = np.flatnonzero(~interior)
    if outside.size:
        p, q, A, B, C = p[outside], q[outside], A[outside], B[outside], C[outside]
        best = np.full(outside.size, -1.0)
        for f in (f0, f1):
            norm = (1 - f) ** 2 * A + 2 * f * (1 - f) * B + f * f * C
            S0 = np.maximum((1 - f) * p + f * q, 0.0) / norm
            ray_gain = S0 * S0 * norm
            better = ray_gain > best
            at = outside[better]
            best[better] = ray_gain[better]
            a[at], c[at] = (S0 * (1 - f))[better], (S0 * f)[better]
            gain[at] = ray_gain[better]
            reciprocal = 1.0 / norm[better]
            aa[at], ac[at], cc[at] = (1 - f) ** 2 * reciprocal, f * (1 - f) * reciprocal, f * f * reciprocal
    return _Amplitudes(a, c, 0.5 * (yy - gain), interior, (aa, ac, cc))


class _Row:
    """Rows of the state array (row, voxel): a point of the reduced problem with its cost, gradient and Hessian."""

    D, ETA, A, C, COST, INTERIOR, G_D, G_ETA, H_DD, H_DETA, H_ETAETA = range(11)
    COUNT = 11


def _evaluate(problem: Problem, powers: Array, y: Array, yy: Array, D: Array, eta: Array) -> Array:
    """Compute the state at the rates D and Dstar = exp(eta): cost, gradient, Hessian with the amplitudes solved for."""
    Dstar = np.exp(eta)
    m = _Moments(problem, powers, y, D, Dstar)
    best = _best_amplitudes(problem, m, yy)
    a, c = best.a, best.c
    aa, ac, cc = best.inverse
    # Residual times each decay, for the powers 1 and 2 of b.
    slow1, slow2 = m.p[1:] - a * m.A[1:] - c * m.B[1:]
    fast1, fast2 = m.q[1:] - a * m.B[1:] - c * m.C[1:]
    # Mixed derivatives of the full problem between the rates (D, P) and the amplitudes (a, c), and their projection.
    aD, cD = slow1 - a * m.A[1], -a * m.B[1]
    aP, cP = -c * m.B[1], fast1 - c * m.C[1]
    kaD, kcD = aa * aD + ac * cD, ac * aD + cc * cD
    kaP, kcP = aa * aP + ac * cP, ac * aP + cc * cP
    gradient_P = c * fast1
    state = np.empty((_Row.COUNT, D.size))
    state[_Row.D], state[_Row.ETA], state[_Row.A], state[_Row.C] = D, eta, a, c
    state[_Row.COST], state[_Row.INTERIOR] = best.cost, best.interior
    state[_Row.G_D] = a * slow1
    state[_Row.G_ETA] = Dstar * gradient_P
    state[_Row.H_DD] = a * (a * m.A[2] - slow2) - aD * kaD - cD * kcD
    state[_Row.H_DETA] = Dstar * (a * c * m.B[2] - aP * kaD - cP * kcD)
    state[_Row.H_ETAETA] = Dstar * (Dstar * (c * (c * m.C[2] - fast2) - aP * kaP - cP * kcP) + gradient_P)
    return state


def _newton_step(
    problem: Problem, state: Array, damping: Array, hold_D: bool
) -> tuple[Array, Array, Array]:
    """Return the new D and ln Dstar inside the bounds, and the decrease of the cost that the model predicts."""
    D, eta, g1, g2 = state[_Row.D], state[_Row.ETA], state[_Row.G_D], state[_Row.G_ETA]
    h11, h12, h22 = state[_Row.H_DD], state[_Row.H_DETA], state[_Row.H_ETAETA]
    (D_low, D_high), (eta_low, eta_high) = problem.D, np.log(problem.Dstar)
    free1 = 1.0 - (((D_low >= D) & (g1 >= 0)) | ((D_high <= D) & (g1 <= 0)) | hold_D)
    free2 = 1.0 - (((eta <= eta_low) & (g2 >= 0)) | ((eta >= eta_high) & (g2 <= 0)))
    # What is held at a bound leaves the system; the other coordinate then moves by itself.
    g1, g2, h11, h22, h12 = g1 * free1, g2 * free2, h11 * free1, h22 * free2, h12 * free1 * free2
    # Off the convex region the smallest eigenvalue is made slightly positive, which gives a long step along the valley;
    # Marquardt's damping stretches the diagonal where a step was too long.
    half = 0.5 * (h11 + h22)
    radius = np.hypot(0.5 * (h11 - h22), h12)
    shift = np.maximum(radius - half, 0.0) * 1.1 + 1e-14 * radius + 1e-300
    d11, d22, d12 = (h11 + shift) * (1.0 + damping), (h22 + shift) * (1.0 + damping), h12
    # A direction held at its bound has no curvature left; the other then moves alone.
    d11, d22 = d11 + (1.0 - free1), d22 + (1.0 - free2)
    reciprocal = 1.0 / np.maximum(d11 * d22 - d12 * d12, 1e-300)
    s1 = (d12 * g2 - d22 * g1) * reciprocal
    s2 = (d12 * g1 - d11 * g2) * reciprocal
    new_D = np.clip(D + np.clip(s1, -1.0, 1.0), D_low, D_high)
    new_eta = np.clip(eta + np.clip(s2, -1.5, 1.5), eta_low, eta_high)
    s1, s2 = new_D - D, new_eta - eta
    predicted = -(g1 * s1 + g2 * s2) - 0.5 * (h11 * s1 * s1 + 2 * h12 * s1 * s2 + h22 * s2 * s2)
    return new_D, new_eta, predicted


def _descend(
    problem: Problem, y: Array, yy: Array, D: Array, Dstar: Array, iterations: int = 60, hold_D: bool = False
) -> tuple[Array, Array]:
    """Descend from one start per voxel to a local minimum; return the states (row, v) and whether each converged."""
    powers = _powers(problem)
    final = _evaluate(problem, powers, y, yy, D, np.log(Dstar))
    converged = np.zeros(D.size, dtype=bool)
    active = np.arange(D.size)
    state, damping = final.copy(), np.zeros(D.size)
    for _ in range(iterations):
        new_D, new_eta, predicted = _newton_step(problem, state, damping, hold_D)
        done = np.abs(predicted) <= _RELATIVE_TOLERANCE * state[_Row.COST] + _SMALLEST_STEP * yy
        trial = _evaluate(problem, powers, y, yy, new_D, new_eta)
        accept = trial[_Row.COST] <= state[_Row.COST] + _ROUNDING * yy
        np.copyto(state, trial, where=accept)
        damping = np.where(accept, np.where(damping > 1e-4, damping * 0.1, 0.0), np.maximum(damping * 10, 1e-2))
        done &= accept
        done |= damping > 1e9
        if done.any():
            finished = active[done]
            final[:, finished] = state[:, done]
            converged[finished] = True
            going = ~done
            if not going.any():
                return final, converged
            active, state, damping = active[going], state[:, going], damping[going]
            y, yy = y[:, going], yy[going]
    final[:, active] = state
    return final, converged


def solve(problem: Problem, y: Array) -> Solution:
    """Find the global minimum of the bounded problem in each voxel.

    Arguments: `problem`; `y` (k, v) mean signal at each distinct b-value [signal units], finite.
    Returns: Solution with arrays (v,).
    """
    scale = np.maximum(np.abs(y).max(axis=0), np.finfo(float).tiny)
    y = y / scale
    yy = problem.weights @ (y * y)
    table = RateTable(problem)
    D, profile = table.profile(y)
    voxels, first = np.arange(yy.size), profile.argmax(axis=1)
    state, converged = _descend(problem, y, yy, D[voxels, first], table.Dstar[first], _FIRST_ITERATIONS)
    slow = np.flatnonzero(~converged)
    starts = (
        (slow, state[_Row.D, slow], np.exp(state[_Row.ETA, slow])),
        _second_peak(table, D, profile, first, yy - 2 * state[_Row.COST], yy),
        _leave_zero_perfusion(problem, table, state, y),
    )
    # One descent for all that is left: a few voxels in many rounds cost more in overhead than in arithmetic.
    again, D, Dstar = (np.concatenate(parts) for parts in zip(*starts, strict=True))
    if again.size:
        other, other_converged = _descend(problem, y[:, again], yy[again], D, Dstar)
        ends = np.cumsum([start[0].size for start in starts])
        for part in np.split(np.arange(again.size), ends[:-1]):
            better = part[other[_Row.COST, part] <= state[_Row.COST, again[part]]]
            state[:, again[better]] = other[:, better]
            converged[again[better]] = other_converged[better]
    return _solution(state, converged, scale)


def solve_with_D(problem: Problem, y: Array, D: Array) -> Solution:
    """Find the minimum over S0, f and Dstar for a known D (v,) [µm²/ms]; otherwise as `solve`."""
    scale = np.maximum(np.abs(y).max(axis=0), np.finfo(float).tiny)
    y = y / scale
    yy = problem.weights @ (y * y)
    powers = _powers(problem)
    nodes = np.geomspace(*problem.Dstar, DSTAR_NODES)
    costs = [_best_amplitudes(problem, _Moments(problem, powers, y, D, node), yy).cost for node in nodes]
    Dstar = nodes[np.argmin(costs, axis=0)]
    return _solution(*_descend(problem, y, yy, np.clip(D, *problem.D), Dstar, hold_D=True), scale)


def _solution(state: Array, converged: Array, scale: Array) -> Solution:
    return Solution(
        D=state[_Row.D], Dstar=np.exp(state[_Row.ETA]), a=state[_Row.A] * scale, c=state[_Row.C] * scale,
        cost=state[_Row.COST] * scale * scale, interior=state[_Row.INTERIOR] > 0, converged=converged,
    )


def _powers(problem: Problem) -> Array:
    """Weighted powers of b as rows (3, k): sums over b become matrix products."""
    return problem.weights * np.vander(problem.b, 3, increasing=True).T


def _second_peak(
    table: RateTable, D: Array, profile: Array, first: Array, gain: Array, yy: Array
) -> tuple[Array, Array, Array]:
    """Name the voxels with a second peak of nearly equal gain, and the rates of that peak as a start."""
    v, n = profile.shape
    padded = np.full((v, n + 2), -np.inf, dtype=profile.dtype)
    padded[:, 1:-1] = profile
    peak = (profile > padded[:, :-2]) & (profile > padded[:, 2:])
    peak[np.arange(v), first] = False
    candidate = np.where(peak, profile, -np.inf)
    second = candidate.argmax(axis=1)
    residual = yy - gain
    again = np.flatnonzero(candidate[np.arange(v), second] >= gain - _SECOND_PEAK * residual - 1e-6 * yy)
    second = second[again]
    return again, D[again, second], table.Dstar[second]


def _leave_zero_perfusion(
    problem: Problem, table: RateTable, state: Array, y: Array
) -> tuple[Array, Array, Array]:
    """Name the voxels at the lower bound of f that a small perfusion of some D* would improve, and that D* as a start.

    At f = 0 the cost does not depend on D*, so a descent that arrives there stops for want of a gradient. It is a
    minimum only if no decay correlates positively with the residual.
    """
    low = problem.f[0]
    at = np.flatnonzero((state[_Row.INTERIOR] == 0) & (state[_Row.C] * (1 - low) <= state[_Row.A] * low * (1 + 1e-9)))
    b = -problem.b[:, None]
    residual = (
        y[:, at] - state[_Row.A, at] * np.exp(b * state[_Row.D, at])
        - state[_Row.C, at] * np.exp(b * np.exp(state[_Row.ETA, at]))
    )
    decays = np.exp(b * table.Dstar)
    correlation = (problem.weights * decays.T / np.sqrt(problem.weights @ decays**2)[:, None]) @ residual
    best = correlation.argmax(axis=0)
    promising = correlation[best, np.arange(at.size)] > 1e-9
    return at[promising], state[_Row.D, at[promising]], table.Dstar[best[promising]]
