"""The limit: the smallest error that any estimator can reach on a benchmark.

No estimator has a smaller mean square error over a prior than the mean of the exact posterior under that prior. Here it
is computed by brute force, voxel by voxel, on a grid of its own for every voxel that follows the posterior as it
narrows; nothing is shared with the estimators, so that it can judge them.

The noise level is known and the ranges of D, f and D* are the prior. S0 is free, with a flat prior: images come in
arbitrary units, and the S0 of a benchmark is not a thing that an estimator may know.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
from scipy.special import i0e

from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds

Array = np.ndarray
KEYS = ("D", "f", "Dstar")
TEMPERATURES = (64.0, 16.0, 4.0, 1.0)
"""Each round multiplies the variance of the noise by one of these: the box around the posterior shrinks in steps that
its grid can follow, from the whole range to a narrow ridge."""
NODES = {"gaussian": (24, 18, 24), "rician": (16, 14, 16)}
"""Nodes of D, f and D* in the box of a voxel; a Rician node costs thirty times as much. Twice as many in each direction
change NRMSE by less than 0.5 % on the sets of `benchmarks`. Where D* may come near D, 80 nodes are needed at SNR 50."""
RELEVANT = 1e-6
"""Share of the largest marginal weight below which the box of a voxel ends."""
RICIAN_REACH = 14.0
"""Nodes whose Gaussian log likelihood lies further below the best one are not given to the Rician likelihood."""
CHUNK = 64


class Limit:
    """The mean of the exact posterior, with the interface of an estimator (`fit`), for benchmarks only.

    Arguments: `ranges` of D, f, Dstar in stored units: a uniform prior; `likelihood` "gaussian" or "rician";
    `added` says that the range of Dstar is that of D* - D, as in papers whose signal decays with D + D*;
    `nodes` of the grid in the box of a voxel, for D, f, Dstar.
    Raises InputError for an unknown likelihood, and for a range that is empty.
    """

    def __init__(
        self, ranges: Mapping[str, Bounds], likelihood: str = "gaussian", added: bool = False,
        nodes: tuple[int, int, int] | None = None,
    ) -> None:
        if likelihood not in ("gaussian", "rician"):
            raise InputError(f"Unknown likelihood '{likelihood}'; choose gaussian or rician.")
        for key in KEYS:
            low, high = ranges[key]
            if not low < high:
                raise InputError(f"The range of {key} is {low:g} .. {high:g}; give the lower end first.")
        self.low, self.high = (np.array([ranges[key][end] for key in KEYS], dtype=float) for end in (0, 1))
        self.likelihood, self.added, self.nodes = likelihood, added, nodes or NODES[likelihood]

    def fit(self, signal: Array, acquisition: Acquisition, mask: Array | None = None) -> SimpleNamespace:
        """Compute mean and standard deviation of the posterior in every voxel.

        Arguments: `signal` (x, y, z, n) [signal units]; `acquisition` with n b-values and sigma; `mask` (x, y, z).
        Returns: `maps` and `errors` of D, f, Dstar (x, y, z) in stored units, NaN outside the mask.
        Raises InputError without sigma.
        """
        if acquisition.sigma is None:
            raise InputError("The limit needs the noise level; give an acquisition with sigma.")
        shape = signal.shape[:3]
        inside = np.ones(shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        rows = np.asarray(signal[inside], dtype=float) / acquisition.sigma
        mean, spread = (np.full((2, rows.shape[0], 3), np.nan))
        for start in range(0, rows.shape[0], CHUNK):
            part = slice(start, start + CHUNK)
            mean[part], spread[part] = self._moments(rows[part], np.asarray(acquisition.bvalues, dtype=float))
        volumes = []
        for values in (mean, spread):
            volume = np.full((*shape, 3), np.nan)
            volume[inside] = values
            volumes.append({key: volume[..., number] for number, key in enumerate(KEYS)})
        return SimpleNamespace(maps=volumes[0], errors=volumes[1])

    def _moments(self, x: Array, b: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation (v, 3) of voxels x (v, n), signal in units of sigma."""
        low, high = np.tile(self.low, (x.shape[0], 1)), np.tile(self.high, (x.shape[0], 1))
        for temperature in TEMPERATURES:
            axes = [_middles(low[:, k], high[:, k], self.nodes[k]) for k in range(3)]
            log = _log_gaussian(x, b, *axes, self.added, temperature)
            if temperature == TEMPERATURES[-1] and self.likelihood == "rician":
                log = _log_rician(x, b, *axes, self.added, log)
            weights = np.exp(log - log.max(axis=(1, 2, 3), keepdims=True))
            if temperature > TEMPERATURES[-1]:
                low, high = self._box(weights, low, high)
        weights /= weights.sum(axis=(1, 2, 3), keepdims=True)
        D, f, fast = (axis.reshape(axis.shape[0], *shape) for axis, shape in
                      zip(axes, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True))
        values = (D, f, fast + D if self.added else fast)
        mean = [(weights * value).sum(axis=(1, 2, 3)) for value in values]
        square = [(weights * (value - m[:, None, None, None]) ** 2).sum(axis=(1, 2, 3))
                  for value, m in zip(values, mean, strict=True)]
        return np.stack(mean, axis=1), np.sqrt(np.stack(square, axis=1))

    def _box(self, weights: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """Shrink the box of every voxel to where its marginal weights are relevant, and one cell more."""
        new_low, new_high = low.copy(), high.copy()
        for k, others in enumerate(((2, 3), (1, 3), (1, 2))):
            marginal = weights.sum(axis=others)
            there = marginal > RELEVANT * marginal.max(axis=1, keepdims=True)
            cell = (high[:, k] - low[:, k]) / self.nodes[k]
            first = there.argmax(axis=1) - 1
            last = self.nodes[k] - there[:, ::-1].argmax(axis=1) + 1
            new_low[:, k] = np.maximum(low[:, k] + first * cell, self.low[k])
            new_high[:, k] = np.minimum(low[:, k] + last * cell, self.high[k])
        return new_low, new_high


def _middles(low: Array, high: Array, count: int) -> Array:
    """Return the middles (v, count) of equal cells between low and high (v,)."""
    return low[:, None] + (high - low)[:, None] * (np.arange(count) + 0.5) / count


def _log_gaussian(x: Array, b: Array, D: Array, f: Array, fast: Array, added: bool, temperature: float) -> Array:
    """Return the log likelihood (v, D, f, D*) up to a constant, S0 integrated out.

    With u the signal of S0 = 1, the integral over S0 is exp((x·u)² / 2|u|²) / |u|. Both products are sums of a few
    terms that depend on two of the three parameters, which makes a node cheap.
    """
    slow, decay = np.exp(-D[:, :, None] * b), np.exp(-fast[:, :, None] * b)
    xs = np.einsum("vn,vdn->vd", x, slow)[:, :, None, None]
    ss = (slow**2).sum(axis=2)[:, :, None, None]
    if added:
        xf = np.matmul(x[:, None, :] * slow, decay.swapaxes(1, 2))[:, :, None, :]
        sf = np.matmul(slow**2, decay.swapaxes(1, 2))[:, :, None, :]
        ff = np.matmul(slow**2, (decay**2).swapaxes(1, 2))[:, :, None, :]
    else:
        xf = np.einsum("vn,vpn->vp", x, decay)[:, None, None, :]
        sf = np.matmul(slow, decay.swapaxes(1, 2))[:, :, None, :]
        ff = (decay**2).sum(axis=2)[:, None, None, :]
    f = f[:, None, :, None]
    product = (1 - f) * xs + f * xf
    square = (1 - f) ** 2 * ss + 2 * f * (1 - f) * sf + f**2 * ff
    return np.maximum(product, 0) ** 2 / (2 * temperature * square) - 0.5 * np.log(square)


def _log_rician(x: Array, b: Array, D: Array, f: Array, fast: Array, added: bool, gaussian: Array) -> Array:
    """Return the log of the Rician likelihood integrated over S0, where the Gaussian one is not negligible.

    The integral over S0 is a sum over nodes of Gauss and Hermite around the best S0 of the node: exact enough but for
    voxels whose S0 is below about 3 sigma, which hold no information anyway.
    """
    roots, mass = np.polynomial.hermite_e.hermegauss(5)
    log_mass = np.log(mass) + roots**2 / 2
    result = np.full(gaussian.shape, -np.inf)
    for v in range(x.shape[0]):
        near = np.nonzero(gaussian[v] > gaussian[v].max() - RICIAN_REACH)
        slow = np.exp(-np.outer(D[v][near[0]], b))
        rapid = np.exp(-np.outer(fast[v][near[2]], b)) * (slow if added else 1.0)
        u = slow + f[v][near[1]][:, None] * (rapid - slow)
        square = (u**2).sum(axis=1)
        best, width = np.maximum(u @ x[v], 0) / square, square**-0.5
        terms = []
        for root, log_weight in zip(roots, log_mass, strict=True):
            S0 = best + root * width
            m = np.maximum(S0, 0)[:, None] * u
            # log(x) and -x²/2 are the same for every node; i0e carries exp(-x m).
            log = (np.log(i0e(x[v] * m)) + m * (x[v] - m / 2)).sum(axis=1)
            terms.append(np.where(S0 > 0, log + log_weight, -np.inf))
        top = np.max(terms, axis=0)
        result[v][near] = top + np.log(np.exp(np.array(terms) - top).sum(axis=0)) + np.log(width)
    return result
