"""Posteriors narrower than the grid: the sum is repeated on nodes that follow the posterior itself.

The grid gives mean and covariance, of very sharp likelihoods with the data shrunk as if the noise were larger. Stage
by stage the shrinking is halved; each stage lays 7 x 7 x 7 nodes within 3.5 standard deviations along the axes of the
covariance before it (an adaptive product rule in the sense of Naylor and Smith, Appl Stat 1982;31:214) and finds the
next mean and covariance. The prior enters in the last two stages, at the true noise: before, its steps could draw a
voxel away from where its own signal puts it. Nodes outside the bounds weigh nothing.

The axes are taken in the order D, D*, f with a triangular factor, so that the exponentials are needed for 8 values of
D and 64 of D* only; all else are products of sums over b.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy

from ..physics.parameters import PERFUSION_EXISTS
from .grid import COORDINATE, KEYS, RESOLVED, Axis, Grid
from .quadrature import Data
from .summary import Summary

Array = np.ndarray
LogRatio = Callable[[Array, tuple[Array, Array, Array]], Array]
"""Logarithm of prior over uniform (v, 7, 7, 7) of voxels (v,) at places of D (v, 7, 1, 1), f (v, 7, 7, 7) and Dstar
(v, 7, 7, 1), counted in nodes of the grid."""
NODES = 7
REACH = 3.5
BLOCK = 64
SMALLEST = 1e-7
"""Added to the standard deviations in the coordinates, relative to the range: a fixed parameter has none."""
LEAST_AXIS = 1e-7
"""Smallest eigenvalue of a matrix of correlations between the coordinates."""
KEPT = 0.01
"""Share of the variance before that the next stage adds, lest a box that saw one node only should shrink to a point."""
ORDER = [0, 2, 1]
"""D, Dstar, f: from the outermost to the innermost index of the nodes."""


@lru_cache(maxsize=1)
def _pattern() -> Array:
    """Places of the nodes in units of standard deviations (3, NODES³), in the order of ORDER."""
    xi = (np.arange(NODES) + 0.5) * (2 * REACH / NODES) - REACH
    return np.stack([index.ravel() for index in np.meshgrid(xi, xi, xi, indexing="ij")])


def refine(data: Data, grid: Grid, log_ratio: LogRatio | None, voxels: Array, into: Summary) -> None:
    """Replace the results of voxels whose posterior the grid does not resolve.

    Arguments: `log_ratio` gives the logarithm of the prior relative to the uniform one, None for the uniform prior;
    `into` holds centre and spread of the likelihood on the grid and receives the refined results.
    """
    limits = [tuple(COORDINATE[axis.key][0](axis.edges[[0, -1]])) for axis in grid.axes]
    # Voxels of like sharpness together, as they need the same number of stages.
    voxels = voxels[np.argsort(data.blur[voxels], kind="stable")]
    for start in range(0, voxels.size, BLOCK):
        at = voxels[start : start + BLOCK]
        centre, spread = into.centre[at][:, ORDER], into.spread[at][:, ORDER][:, :, ORDER]
        blur = data.blur[at]
        stages = max(1, int(np.ceil(np.log2(1.0 / blur.min()) - 1e-9)))
        for stage in range(stages + 2):
            blur = np.minimum(1.0, blur * 2) if stage < stages - 1 else np.ones_like(blur)
            if log_ratio is None and stage == stages + 1:
                break
            prior = log_ratio if stage >= stages else None
            factor = _factor(spread, limits)
            u = centre[:, :, None] + np.matmul(factor, _pattern())
            before = np.diagonal(spread, axis1=1, axis2=2)
            weight, S0, noise = _weigh(data, grid, prior, at, u, blur, limits)
            shift, found = _moments(weight, factor)
            centre = centre + shift
            spread = found + KEPT * before[:, :, None] * np.eye(3)
        _report(u, weight, S0, noise, centre, found, at, limits, into)


def _factor(spread: Array, limits: list[tuple[float, float]]) -> Array:
    """Find how the nodes are laid: triangular factor (v, 3, 3), with which D depends on the first index only."""
    ranges = np.array([limits[i][1] - limits[i][0] for i in ORDER])
    spread = spread + np.diag((SMALLEST * np.maximum(ranges, 1e-6)) ** 2)
    sd = np.sqrt(np.diagonal(spread, axis1=1, axis2=2))
    scale = sd[:, :, None] * sd[:, None, :]
    # Single precision may have left a correlation beyond 1 in what the grid gave.
    values, vectors = np.linalg.eigh(spread / scale)
    spread = np.matmul(vectors * np.maximum(values, LEAST_AXIS)[:, None, :], vectors.swapaxes(1, 2)) * scale
    return np.linalg.cholesky(spread)


@lru_cache(maxsize=1)
def _squares() -> Array:
    """Places of the nodes and their products in pairs: (NODES³, 12)."""
    xi = _pattern()
    return np.concatenate([xi, (xi[:, None] * xi).reshape(9, -1)]).T.copy()


def _moments(weight: Array, factor: Array) -> tuple[Array, Array]:
    """Mean (v, 3), relative to the centre of the nodes, and covariance (v, 3, 3) of weights that sum to 1."""
    sums = weight @ _squares()
    shift = sums[:, :3]
    spread = sums[:, 3:].reshape(-1, 3, 3) - shift[:, :, None] * shift[:, None, :]
    return np.matmul(factor, shift[:, :, None])[:, :, 0], np.matmul(np.matmul(factor, spread), factor.swapaxes(1, 2))


def _weigh(
    data: Data, grid: Grid, log_ratio: LogRatio | None, at: Array, u: Array, blur: Array,
    limits: list[tuple[float, float]],
) -> tuple[Array, Array, Array]:
    """Weights (v, g) summing to 1, S0 at each node, and the variance of S0 at each node [signal units²]."""
    nodes = u.reshape(at.size, 3, NODES, NODES, NODES)
    coordinates = (nodes[:, 0, :, :1, :1], nodes[:, 2], nodes[:, 1, :, :, :1])
    outside, clipped = [], []
    for (low, high), coordinate in zip(limits, coordinates, strict=True):
        outside.append(((coordinate < low) | (coordinate > high)) & (high > low))
        clipped.append(np.minimum(np.maximum(coordinate, low), high))
    D, f, Dstar = (COORDINATE[key][1](value) for key, value in zip(KEYS, clipped, strict=True))
    root, y = np.sqrt(grid.counts), data.full[at]
    slow = np.exp(-D * grid.b) * root
    fast = np.exp(-Dstar * grid.b) * root
    p = np.matmul(slow[:, :, 0], y[:, :, None])[:, :, :, None]
    A = np.einsum("vdsb,vdsb->vds", slow, slow)[..., None]
    C = np.einsum("vdsb,vdsb->vds", fast, fast)[..., None]
    both = np.matmul(fast, np.stack([slow[:, :, 0], np.broadcast_to(y[:, None], slow[:, :, 0].shape)], axis=-1))
    B, q = both[..., :1], both[..., 1:]
    # Signal slow + f (fast - slow): its square and its product with the data are polynomials in f.
    length2 = f * (f * (A - 2 * B + C) + 2 * (B - A)) + A
    S0 = (f * (q - p) + p) / length2
    whole = (y * y).sum(axis=1) + data.within[at]
    misfit = np.maximum(whole[:, None, None, None] - S0 * S0 * length2, 0.0)
    if data.freedom is None:
        noise = ((data.unit[at] * data.blur[at] / blur) ** 2)[:, None, None, None]
        log = -0.5 / noise * misfit
    else:
        floor = whole * data.freedom * (data.blur[at] / (blur * RESOLVED)) ** 2
        misfit += floor[:, None, None, None]
        log = -0.5 * data.freedom * np.log(misfit)
        noise = misfit / max(data.freedom - 2, 1.0)
    log += 0.5 * np.log(np.maximum(f, 1e-12) / length2)
    log += 0.5 * np.log(np.maximum(D, 1e-12)) + clipped[2]
    if log_ratio is not None:
        log += log_ratio(at, tuple(_place(axis, value) for axis, value in zip(grid.axes, clipped, strict=True)))
    log[np.broadcast_to(outside[0] | outside[1] | outside[2], log.shape)] = -np.inf
    log = log.reshape(at.size, -1)
    top = log.max(axis=1, keepdims=True)
    weight = np.exp(log - np.where(np.isfinite(top), top, 0.0))
    total = weight.sum(axis=1, keepdims=True)
    weight /= np.where(total > 0, total, 1.0)
    return weight, S0.reshape(at.size, -1), (noise / length2).reshape(at.size, -1)


def _place(axis: Axis, coordinate: Array) -> Array:
    """Count coordinates in nodes of an axis, from the first node; within half a cell of the bounds beyond the nodes."""
    low, high = COORDINATE[axis.key][0](axis.edges[[0, -1]])
    return (coordinate - low) * (axis.nodes.size / (high - low) if high > low else 0.0) - 0.5


def interpolate(table: Array, at: Array, places: tuple[Array, Array, Array]) -> Array:
    """Interpolate linearly between the cells of a table at the nodes of voxels; constant beyond the outermost cells.

    A prior that jumped at the borders of its cells would do so for a whole plane of nodes by one rounding error.

    Arguments: `table` (w, D, f, Dstar) float32; `at` (v,) which of the w belongs to each voxel; `places` of the nodes,
    shapes and order as in `LogRatio`, counted in cells from the middle of the first. Returns: (v, 7, 7, 7) float32.
    """
    layers, size, columns = table.shape[1:]
    # One parameter after the other, from the outermost: D needs 7 places of a voxel, Dstar 49.
    low, high, share = _between(places[0][:, :, 0, 0], layers)
    row = at[:, None] * layers
    table = table.reshape(-1, columns * size)
    found = _mix(table.take(row + low, axis=0), table.take(row + high, axis=0), share[..., None])
    low, high, share = _between(places[2][..., 0], columns)
    row = (np.arange(at.size * NODES) * columns).reshape(-1, NODES, 1)
    found = found.reshape(-1, size, columns).swapaxes(1, 2).reshape(-1, size)
    found = _mix(found.take(row + low, axis=0), found.take(row + high, axis=0), share[..., None])
    low, high, share = _between(places[1], size)
    row = (np.arange(at.size * NODES**2) * size).reshape(-1, NODES, NODES, 1)
    return _mix(found.take(row + low), found.take(row + high), share)


def _between(place: Array, size: int) -> tuple[Array, Array, Array]:
    """Cells below and above each place, and the share of the one above, float32."""
    place = np.minimum(np.maximum(place, 0.0), size - 1.0)
    low = place.astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (place - low).astype(np.float32)


def _mix(low: Array, high: Array, share: Array) -> Array:
    """Return (1 - share) * low + share * high, in the memory of `high`."""
    high -= low
    high *= share
    high += low
    return high


def _report(
    u: Array, weight: Array, S0: Array, noise: Array, centre: Array, spread: Array, at: Array,
    limits: list[tuple[float, float]], into: Summary,
) -> None:
    parts = {}
    best = weight.argmax(axis=1)
    for number, key in enumerate(KEYS):
        place, back, (low, high) = ORDER.index(number), COORDINATE[key][1], limits[number]
        value = back(np.minimum(np.maximum(u[:, place], low), high))
        mean = (weight * value).sum(axis=1)
        value -= mean[:, None]
        into.mean[key][at] = mean
        into.sd[key][at] = np.sqrt((weight * value * value).sum(axis=1))
        into.mode[key][at] = value[np.arange(at.size), best] + mean
        parts[key] = value
        if into.levels:
            sd = np.sqrt(np.maximum(spread[:, place, place], 0.0))
            normal = centre[:, place, None] + sd[:, None] * scipy.special.ndtri(np.array(into.levels))
            into.quantiles[key][at] = back(np.clip(normal, low, high))
        if key == "f":
            into.f_probability[at] = (weight * (value + mean[:, None] > PERFUSION_EXISTS)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        both = (weight * parts["f"] * parts["Dstar"]).sum(axis=1)
        into.rho[at] = np.clip(both / (into.sd["f"][at] * into.sd["Dstar"][at]), -1, 1)
    mean = (weight * S0).sum(axis=1)
    into.mean["S0"][at] = mean
    S0 = S0 - mean[:, None]
    into.sd["S0"][at] = np.sqrt((weight * (S0 * S0 + noise)).sum(axis=1))
