"""A coarse table over both decay rates, in which the basins of a bi-exponential least-squares problem show.

Rates in µm²/ms and b in ms/µm², as in `variable_projection`, which searches from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

D_NODES = 32
DSTAR_NODES = 12
SPACING = 1.5
BLOCK = 1024
"""Voxels treated at once: long enough for few calls, short enough for the cache of one core."""


@dataclass(frozen=True)
class Problem:
    """One weighted least-squares problem, shared by all voxels.

    `b` (k,) distinct b-values [ms/µm²]; `weights` (k,) number of images averaged into each; `D`, `Dstar` bounds
    [µm²/ms]; `f` bounds [1].
    """

    b: Array
    weights: Array
    D: tuple[float, float]
    f: tuple[float, float]
    Dstar: tuple[float, float]


class RateTable:
    """For each Dstar of a coarse table the best D and the gain there: a profile in which basins show as peaks.

    With orthonormal coordinates (z1, z2) in the plane of two decays, the first along the ray of smallest f, the gain
    of free amplitudes is z1² + z2². It is smooth in D, so that a parabola through three nodes gives place and height
    of its maximum between them. The bounds of f are applied there: below the first ray (z2 < 0) the best D is that of
    the ray itself, which is the same for all Dstar if f may be zero; beyond the second the overstep is subtracted.
    """

    def __init__(self, problem: Problem) -> None:
        low, high = problem.D
        # Denser toward small D, where large b-values still resolve it.
        self._span = (low, high - low)
        self._f_low = problem.f[0]
        self.nodes = D_NODES if high > low else 1
        D = self._D_at(np.arange(self.nodes))
        low, high = problem.Dstar
        self.Dstar = np.geomspace(low, high, DSTAR_NODES) if high > low else np.array([low])
        root = np.sqrt(problem.weights)
        slow = np.exp(-np.outer(D, problem.b)) * root
        fast = np.exp(-np.outer(self.Dstar, problem.b)) * root
        rays = [((1 - f) * slow[None, :, :] + f * fast[:, None, :]).reshape(-1, root.size) for f in problem.f]
        first = rays[0] / np.linalg.norm(rays[0], axis=1, keepdims=True)
        along = (rays[1] * first).sum(axis=1, keepdims=True)
        rest = rays[1] - along * first
        height = np.linalg.norm(rest, axis=1, keepdims=True)
        flat = height < 1e-7 * np.linalg.norm(rays[1], axis=1, keepdims=True)
        second = np.where(flat, 0.0, rest / np.where(flat, 1.0, height))
        self._first, self._second = (
            np.ascontiguousarray((rows * root).T, dtype=np.float32) for rows in (first, second)
        )
        norm = np.hypot(along, height).ravel()
        self._outward = np.array([-height.ravel() / norm, along.ravel() / norm], dtype=np.float32)

    def _D_at(self, position: Array) -> Array:
        """Return D [µm²/ms] at a position between 0 and the last node."""
        return self._span[0] + self._span[1] * (position / max(self.nodes - 1, 1)) ** SPACING

    def profile(self, y: Array) -> tuple[Array, Array]:
        """Return the best D (v, Dstar) and its gain (v, Dstar) for data y (k, v), in blocks that stay in cache."""
        D = np.empty((y.shape[1], self.Dstar.size))
        gain = np.empty((y.shape[1], self.Dstar.size), dtype=np.float32)
        for start in range(0, y.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            D[block], gain[block] = self._profile_of_block(np.ascontiguousarray(y[:, block].T, dtype=np.float32))
        return D, gain

    def _profile_of_block(self, y: Array) -> tuple[Array, Array]:
        v, n = y.shape[0], self.nodes
        z1 = y @ self._first
        z2 = y @ self._second
        ray = z1 * z1
        free = z2 * z2
        free += ray
        best, height = self._peak(free)
        if self._f_low == 0:
            # Without perfusion Dstar has no influence: one column stands for all.
            ray = np.ascontiguousarray(ray[:, :n])
        ray_best, ray_height = (np.repeat(x, best.size // x.size) for x in self._peak(ray))
        z1, z2 = z1.ravel(), z2.ravel()
        nearest = np.rint(best).astype(int)
        node = np.arange(best.size) * n + nearest
        column = np.arange(best.size) % self.Dstar.size * n + nearest
        z1, z2 = z1.take(node), z2.take(node)
        overstep = np.maximum(self._outward[0].take(column) * z1 + self._outward[1].take(column) * z2, 0.0)
        below = z2 < 0
        height = np.where(below, ray_height, height - overstep * overstep)
        return self._D_at(np.where(below, ray_best, best)).reshape(v, -1), height.reshape(v, -1)

    def _peak(self, gain: Array) -> tuple[Array, Array]:
        """Return position (between nodes) and height of the maximum along D of a gain (v, Dstar * D), flattened."""
        n = self.nodes
        gain = gain.reshape(-1, n)
        best = gain.argmax(axis=1)
        start = np.arange(best.size) * n
        flat = gain.ravel()
        if n < 3:
            return best.astype(float), flat[start + best]
        middle = np.minimum(np.maximum(best, 1), n - 2)
        at = start + middle
        left, centre, right = flat.take(at - 1), flat.take(at), flat.take(at + 1)
        slope, curvature = 0.5 * (right - left), np.maximum(2 * centre - left - right, 1e-12)
        offset = np.clip(slope / curvature, -1.0, 1.0)
        return middle + offset, centre + offset * (slope - 0.5 * curvature * offset)
