"""The posterior of D, f and D* of many voxels as sums over a grid, S0 integrated out exactly.

For data x, Gaussian noise sigma and the signal S0 * m(node), the integral over all S0 under a flat prior is

    integral exp(-|x - S0 m|² / 2 sigma²) dS0  =  const * exp((x.u)² / 2 sigma²) / |m|,      u = m / |m|,

because |x - S0 m|² = |x|² - (x.u)² + |m|² (S0 - x.u / |m|)². So the logarithm of the likelihood of a node is
(x.u)² / 2 sigma² - ln |m|: one matrix product for all nodes and voxels. (A prior 1/S0 has no such form and changes the
mean by less than its error wherever S0 / sigma > 5.) Where sigma is unknown it is integrated out too, under the prior
1 / sigma; with n images this gives -(n - 1)/2 * ln(|x|² - (x.u)²) - ln |m|.

Images of equal b enter as one of weight sqrt(their number). Products are float32 after the data have been divided by
sigma; the largest exponent of each voxel is subtracted before the exponential, so that nothing overflows at any SNR.
At SNR 40 the exponent itself is some ten thousand, of which float32 keeps a thousandth: each weight would be wrong by
0.1 to 1 %, in a way that hangs on how the product was cut into pieces. So basis and data are turned until the first
coordinate follows a direction c amid the nodes, a = x.c; with w = x.(u - c), the product that is taken, the exponent
less its part a² / 2 sigma², the same for all nodes, is w (w + 2 a) / 2 sigma². u - c is small, and so is the rounding.

Only the layers of D whose best fit lies within exp(-16) of the best of the voxel enter its sum; they are found by a
coarse table in which f is solved in closed form (two rays span the signals of a pair of rates). Voxels are sorted by
these layers and treated in blocks, each of which sees one contiguous piece of the grid. What a voxel does not need of
that piece weighs nothing: a prior of its neighbours can make exp(-16) a thousand times larger, and then it would show
which voxels happened to share a block.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .grid import RESOLVED, Grid, thinned, unit_signals

Array = np.ndarray
BLOCK = 96
"""Voxels in one block: its weights stay in the cache of a core."""
SHARPEST = 1 / 64
"""Where sigma is unknown, the smallest noise that is told from none is this share of what the grid resolves."""
CLEAR = 10.0
"""Residual, in units of the least that the grid resolves, above which a voxel of unknown sigma needs no refinement: the
floor under the residual then adds at most 5 % to sigma."""
BLOCK_OF_TABLE = 128
"""Voxels that are looked up in the coarse table together: its products stay in the cache."""
LAYERS_OF_REFERENCE = 8
"""Layers of D that are looked at along the same direction."""
LEAST = 16.0
"""Layers of D less likely than exp(-16) of the best are left out."""
WIDE = 30
"""Layers of D, of those not left out, from which on a voxel needs only one node of D in each coarse cell: its posterior
then has a standard deviation of 3 such steps."""


@dataclass(eq=False)
class Data:
    """Voxels made ready for the sums.

    `x` (v, r) float32 data in the basis of the grid, divided by `unit` (v,) [signal units]; `rest` (v,) what of |x|²
    lies outside, repeats included; `freedom` is None where sigma is known (x is then in units of it), else the
    exponent n - 1 of the marginal likelihood. `blur` (v,) factor by which the data were shrunk (1: none), so that no
    likelihood is sharper than the grid resolves; where it is below 1, the result is a start for the refinement.
    `full` (v, n) weighted data in signal units.
    """

    x: Array
    unit: Array
    rest: Array
    freedom: float | None
    blur: Array
    full: Array
    within: Array

    def take(self, voxels: Array) -> Data:
        """Return some of the voxels; `voxels` are indices."""
        parts = {key: getattr(self, key)[voxels] for key in ("x", "unit", "rest", "blur", "full", "within")}
        return Data(freedom=self.freedom, **parts)


def prepare(y: Array, within: Array, grid: Grid, sigma: float | Array | None, images: int) -> Data:
    """Bring voxels into the basis of the grid.

    Arguments: `y` (v, n) mean signal at each distinct b and `within` (v,) sum of squares about these means [signal
    units, squared]; `sigma` of one image, for all voxels or each (v,) [signal units], or None; `images` their number.
    """
    full = y * np.sqrt(grid.counts)
    size = np.linalg.norm(full, axis=1)
    safe = np.where(size > 0, size, 1.0)
    if sigma is None:
        unit, freedom = safe, float(images - 1)
        # Every voxel counts as sharp until `profile` has seen its residual.
        blur = np.full(safe.size, SHARPEST)
    else:
        blur = np.minimum(1.0, RESOLVED * sigma / safe)
        unit, freedom = np.full(safe.size, sigma, dtype=float) / blur, None
    x = (full @ grid.basis) / unit[:, None]
    rest = np.maximum((size**2 + within) / unit**2 - (x**2).sum(axis=1), 0.0)
    return Data(x.astype(np.float32), unit, rest, freedom, blur, full, within)


@dataclass(frozen=True, eq=False)
class _Coarse:
    """Rays of the smallest and the largest f for pairs of rates: `first`, `second` (r, Dstar * D), and the border."""

    layers: Array
    first: Array
    second: Array
    outward: Array


@lru_cache(maxsize=4)
def _coarse(grid: Grid) -> _Coarse:
    layers = np.unique(np.append(np.arange(0, grid.axes[0].nodes.size, 2), grid.axes[0].nodes.size - 1))
    root = np.sqrt(grid.counts)
    Dstar = grid.axes[2].nodes[:: 2 if grid.axes[2].nodes.size > 3 else 1]
    slow = np.exp(-np.outer(grid.axes[0].nodes[layers], grid.b)) * root
    fast = (np.exp(-np.outer(Dstar, grid.b)) * root)[:, None, :]
    rays = [
        (((1 - f) * slow + f * fast).reshape(-1, grid.b.size)) @ grid.basis for f in grid.axes[1].edges[[0, -1]]
    ]
    first = rays[0] / np.linalg.norm(rays[0], axis=1, keepdims=True)
    along = (rays[1] * first).sum(axis=1, keepdims=True)
    rest = rays[1] - along * first
    height = np.linalg.norm(rest, axis=1, keepdims=True)
    flat = height < 1e-6 * np.linalg.norm(rays[1], axis=1, keepdims=True)
    second = np.where(flat, 0.0, rest / np.where(flat, 1.0, height))
    length = np.hypot(along, height).ravel()
    outward = np.stack([-height.ravel() / length, along.ravel() / length])
    single = lambda array: np.ascontiguousarray(array, dtype=np.float32)  # noqa: E731
    return _Coarse(layers, single(first.T), single(second.T), single(outward))


def profile(data: Data, grid: Grid) -> tuple[Array, Array, Array]:
    """Find the layers of D that matter for each voxel, and its best curve on the coarse table.

    Where sigma is unknown, `data.blur` becomes 1 for voxels whose residual is above what the grid resolves.

    Returns: first and last + 1 layer (v,) of the grid; curve (v, n) weighted, in units of `data.unit`.
    """
    table = _coarse(grid)
    nodes, voxels = table.layers.size, data.x.shape[0]
    low, high = np.empty(voxels, dtype=int), np.empty(voxels, dtype=int)
    curve = np.empty((voxels, grid.basis.shape[1]))
    for start in range(0, voxels, BLOCK_OF_TABLE):
        part = slice(start, start + BLOCK_OF_TABLE)
        z1, z2 = data.x[part] @ table.first, data.x[part] @ table.second
        np.maximum(z2, 0.0, out=z2)
        over = table.outward[0] * z1
        over += table.outward[1] * z2
        np.maximum(over, 0.0, out=over)
        over *= over
        gain = z1 * z1
        gain += z2 * z2
        gain -= over
        best = gain.argmax(axis=1)
        row = np.arange(best.size)
        curve[part] = z1[row, best][:, None] * table.first.T[best] + z2[row, best][:, None] * table.second.T[best]
        along = gain.reshape(best.size, -1, nodes).max(axis=1)
        top = along.max(axis=1, keepdims=True)
        if data.freedom is None:
            near = along > top - 2 * LEAST
        else:
            whole = (data.x[part] ** 2).sum(axis=1) + data.rest[part]
            rest = lambda g, w=whole: np.maximum(w[:, None] - g, 0) + least_residual(data)  # noqa: E731
            data.blur[part][rest(top)[:, 0] > CLEAR * least_residual(data)] = 1.0
            near = rest(along) < rest(top) * np.exp(min(2 * LEAST / data.freedom, 50.0))
        low[part], high[part] = near.argmax(axis=1), nodes - near[:, ::-1].argmax(axis=1)
    group = grid.axes[0].group
    first = table.layers[np.maximum(low - 1, 0)] // group * group
    last = np.minimum(-(-(table.layers[np.minimum(high, nodes - 1)] + 1) // group) * group, grid.axes[0].nodes.size)
    return first, last, curve @ grid.basis.T


def least_residual(data: Data) -> float:
    """Smallest residual of unit data that the grid resolves, for unknown sigma."""
    return data.freedom / RESOLVED**2


@dataclass(eq=False)
class Block:
    """Weights of some voxels over a piece of the grid.

    `voxels` (m,) indices; `nodes` the slice of the grid; `z` (m, g) projections x.u; `weight` (m, g) likelihood
    times prior, the largest 1 before any prior of the voxel's own, and 0 in layers that the voxel does not need.
    """

    voxels: Array
    layers: slice
    nodes: slice
    z: Array
    weight: Array


def split(grid: Grid, first: Array, last: Array) -> list[tuple[Grid, Array, Array, Array]]:
    """Choose for each voxel whether it needs every layer of D or one in each coarse cell.

    Arguments: `first`, `last` (v,) layers from `profile`. Returns: for each grid its voxels (m,) and their layers.
    """
    thin = thinned(grid)
    if thin is None:
        return [(grid, np.arange(first.size), first, last)]
    wide, group = last - first >= WIDE, grid.axes[0].group
    parts = []
    for one, chosen, step in ((grid, ~wide, 1), (thin, wide, group)):
        at = np.flatnonzero(chosen)
        if at.size:
            parts.append((one, at, first[at] // step, last[at] // step))
    return parts


def on_thinned(grid: Grid, values: Array) -> Array:
    """Bring probabilities of the nodes (g,) to the nodes of `thinned(grid)`: density, times the volume there."""
    thin, group, per_layer = thinned(grid), grid.axes[0].group, grid.plane.shape[1]
    pairs = lambda array: array.reshape(-1, group, per_layer).sum(axis=1).reshape(-1)  # noqa: E731
    return pairs(values) / pairs(grid.volume) * thin.volume


def by_layers(first: Array, last: Array) -> Array:
    """Order of the voxels in which neighbours need about the same layers."""
    return np.lexsort((first, last))


@dataclass(frozen=True, eq=False)
class Reference:
    """A direction amid the nodes, from which their unit signals differ little.

    `rotation` (r, r) orthonormal columns in the basis of the grid, the first of them the direction; `unit` (r, g)
    float32 unit signals in that basis, less the direction.
    """

    rotation: Array
    unit: Array


def reference(grid: Grid, layers: slice) -> Reference:
    """Return a direction for some layers of D, the same one for all that lie about there."""
    return _reference(grid, (layers.start + layers.stop) // 2 // LAYERS_OF_REFERENCE)


@lru_cache(maxsize=32)
def _reference(grid: Grid, number: int) -> Reference:
    unit, per_layer = unit_signals(grid), grid.plane.shape[1]
    layer = min(number * LAYERS_OF_REFERENCE + LAYERS_OF_REFERENCE // 2, grid.axes[0].nodes.size - 1)
    direction = unit[:, layer * per_layer : (layer + 1) * per_layer].mean(axis=1)
    direction /= np.linalg.norm(direction)
    rotation = np.linalg.qr(np.column_stack([direction, np.eye(direction.size)]))[0]
    rotation[:, 0] = direction
    turned = rotation.T @ unit
    turned[0] -= 1
    return Reference(rotation, turned.astype(np.float32))


_buffers = threading.local()


def _room(size: int) -> Array:
    """Return memory of the thread for some float32 numbers, the same every time."""
    store = getattr(_buffers, "store", None)
    if store is None or store.size < size:
        store = _buffers.store = np.empty(size, dtype=np.float32)
    return store[:size]


def blocks(
    data: Data, grid: Grid, log_mass: Array, first: Array, last: Array, order: Array | None = None, size: int = BLOCK
) -> Iterator[Block]:
    """Go through the voxels in blocks of like D.

    Arguments: `log_mass` (g,) float32 logarithm of the prior of each node minus ln |m|; `first`, `last` (v,) layers
    from `profile`; `order` voxels to go through, None for all, those of like layers together. The arrays of a block
    are overwritten by the next one.
    """
    order = by_layers(first, last) if order is None else order
    per_layer = grid.plane.shape[1]
    for start in range(0, order.size, size):
        voxels = order[start : start + size]
        layers = slice(int(first[voxels].min()), int(last[voxels].max()))
        nodes = slice(layers.start * per_layer, layers.stop * per_layer)
        count = nodes.stop - nodes.start
        z, weight = _room(2 * voxels.size * count).reshape(2, voxels.size, count)
        about = reference(grid, layers)
        x = data.x[voxels] @ about.rotation
        along = x[:, :1].astype(np.float32)
        np.matmul(x.astype(np.float32), about.unit[:, nodes], out=z)
        np.multiply(z, np.float32(0.5), out=weight)
        weight += along
        weight *= z
        z += along
        if data.freedom is not None:
            beside = (x[:, 1:] ** 2).sum(axis=1) + data.rest[voxels]
            weight *= np.float32(-2)
            weight += beside[:, None].astype(np.float32)
            np.maximum(weight, 0, out=weight)
            weight += np.float32(least_residual(data))
            np.log(weight, out=weight)
            weight *= np.float32(-0.5 * data.freedom)
        weight += log_mass[nodes]
        weight -= weight.max(axis=1, keepdims=True)
        np.exp(weight, out=weight)
        starts, stops = (first[voxels] - layers.start) * per_layer, (last[voxels] - layers.start) * per_layer
        for row in np.flatnonzero(starts).tolist():
            weight[row, : starts[row]] = 0.0
        for row in np.flatnonzero(stops < count).tolist():
            weight[row, stops[row] :] = 0.0
        yield Block(voxels, layers, nodes, z, weight)
