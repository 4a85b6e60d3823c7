"""From the weights of a block of voxels to means, standard deviations, quantiles and probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..physics.parameters import PERFUSION_EXISTS
from .grid import COORDINATE, KEYS, NARROW, Axis, Grid
from .quadrature import Block, Data, least_residual

Array = np.ndarray


@dataclass(eq=False)
class Summary:
    """What is known of each voxel, arrays (v,) by key in stored units.

    `mean`, `sd`, `mode` of D, f, Dstar, S0 (`mode` of D, f, Dstar); `quantiles` key -> (v, q); `f_probability` that f
    exceeds 0.05; `rho` correlation of D* and f. `centre` (v, 3) and `spread` (v, 3, 3) mean and covariance in the
    coordinates of the grid, filled for voxels that are to be refined.
    """

    levels: tuple[float, ...]
    mean: dict[str, Array] = field(default_factory=dict)
    sd: dict[str, Array] = field(default_factory=dict)
    mode: dict[str, Array] = field(default_factory=dict)
    quantiles: dict[str, Array] = field(default_factory=dict)
    f_probability: Array = field(default_factory=lambda: np.empty(0))
    rho: Array = field(default_factory=lambda: np.empty(0))
    centre: Array = field(default_factory=lambda: np.empty(0))
    spread: Array = field(default_factory=lambda: np.empty(0))

    def put(self, at: Array, part: Summary) -> None:
        """Write the results of some voxels `at` (m,) to their places."""
        for mine, theirs in (
            (self.mean, part.mean), (self.sd, part.sd), (self.mode, part.mode), (self.quantiles, part.quantiles),
        ):
            for key, values in theirs.items():
                mine[key][at] = values
        self.f_probability[at], self.rho[at] = part.f_probability, part.rho
        self.centre[at], self.spread[at] = part.centre, part.spread

    @classmethod
    def empty(cls, voxels: int, levels: tuple[float, ...]) -> Summary:
        """Make room for a number of voxels; `levels` are the quantiles asked for, 0..1."""
        new = lambda *shape: np.full((voxels, *shape), np.nan)  # noqa: E731
        keys = (*KEYS, "S0")
        return cls(
            tuple(levels), {k: new() for k in keys}, {k: new() for k in keys}, {k: new() for k in KEYS},
            {k: new(len(levels)) for k in KEYS} if levels else {}, new(), new(), new(3), new(3, 3),
        )


def share_above(axis: Axis, limit: float) -> Array:
    """Compute the share of each cell (n,) that lies above a limit [stored units], in the coordinate of the axis."""
    to = COORDINATE[axis.key][0]
    if axis.nodes.size == 1:
        return (axis.nodes > limit).astype(float)
    low, high = to(axis.edges[:-1]), to(axis.edges[1:])
    return np.clip((high - to(limit)) / (high - low), 0.0, 1.0)


def quantiles(axis: Axis, share: Array, levels: tuple[float, ...]) -> Array:
    """Compute quantiles of a marginal distribution, spread evenly inside each cell of the coordinate.

    Arguments: `share` (v, n) of the cells, summing to 1; `levels` (q,). Returns (v, q) in stored units.
    """
    if axis.nodes.size == 1:
        return np.broadcast_to(axis.nodes[0], (share.shape[0], len(levels))).copy()
    to, back = COORDINATE[axis.key]
    edges = to(axis.edges)
    reached = np.cumsum(share, axis=1)
    row = np.arange(share.shape[0])
    found = np.empty((share.shape[0], len(levels)))
    for number, level in enumerate(levels):
        cell = np.minimum((reached < level).sum(axis=1), share.shape[1] - 1)
        inside = share[row, cell]
        part = np.clip((level - reached[row, cell] + inside) / np.maximum(inside, 1e-30), 0.0, 1.0)
        found[:, number] = edges[cell] + part * (edges[cell + 1] - edges[cell])
    return back(found)


@dataclass(eq=False)
class Sums:
    """Sums over the weights of some voxels (v,): what a block leaves behind.

    `D` (v, layers) and `plane` (v, p) over the other nodes; `along_D` (v, p) as `plane`, times the coordinate of D less
    `middle`; `inverse2`, `z2`, `S0` and `S0_spread` (v,) averages of 1 / |m|², (x.u)² and S0, and the variance of S0
    over the nodes; `best` (v,) node of largest density where it is asked for.
    """

    D: Array
    plane: Array
    along_D: Array
    middle: Array
    inverse2: Array
    z2: Array
    S0: Array
    S0_spread: Array
    best: Array
    done: int = 0

    @classmethod
    def empty(cls, voxels: int, grid: Grid) -> Sums:
        """Make room for a number of voxels."""
        single = lambda *shape: np.empty((voxels, *shape), dtype=np.float32)  # noqa: E731
        places = grid.plane.shape[1]
        D = np.zeros((voxels, grid.axes[0].nodes.size), dtype=np.float32)
        numbers = (np.empty(voxels) for _ in range(5))
        return cls(D, single(places), single(places), *numbers, best=np.empty(voxels, dtype=int))

    def add(self, block: Block, data: Data, grid: Grid, mode: bool) -> None:
        """Add up the voxels of a block, whose arrays are used up; `mode` also finds the node of largest density."""
        weight, z, rows, places = block.weight, block.z, block.voxels.size, grid.plane.shape[1]
        at = slice(self.done, self.done + rows)
        self.done += rows
        u = grid.axes[0].coordinates[block.layers]
        self.middle[at] = u.mean()
        layered = weight.reshape(rows, -1, places)
        self.D[at, block.layers] = (layered.reshape(-1, places) @ np.ones(places, dtype=np.float32)).reshape(rows, -1)
        both = np.matmul(np.stack([np.ones(u.size), u - u.mean()]).astype(np.float32), layered)
        self.plane[at], self.along_D[at] = both[:, 0], both[:, 1]
        if mode:
            self.best[at] = (weight / grid.volume[block.nodes].astype(np.float32)).argmax(axis=1) + block.nodes.start
        total = self.D[at, block.layers].sum(axis=1, dtype=float)
        inverse, inverse2 = (values[block.nodes] for values in _inverse(grid))
        self.inverse2[at] = weight @ inverse2 / total
        if data.freedom is not None:
            self.z2[at] = _dots(z * z, weight) / total
        z *= inverse
        self.S0[at] = _dots(z, weight) / total
        z -= self.S0[at, None].astype(np.float32)
        z *= z
        self.S0_spread[at] = _dots(z, weight) / total


@lru_cache(maxsize=4)
def _inverse(grid: Grid) -> tuple[Array, Array]:
    """Return 1 / |m| and its square (g,) float32."""
    inverse = (1.0 / grid.length).astype(np.float32)
    return inverse, inverse * inverse


def _dots(first: Array, second: Array) -> Array:
    """Products of the rows of two arrays (v, g): (v,)."""
    return np.matmul(first[:, None, :], second[:, :, None])[:, 0, 0]


def summarise(sums: Sums, at: Array, data: Data, grid: Grid, into: Summary, mode: bool) -> None:
    """Reduce the sums of voxels `at` (v,) to what `into` holds; `mode` also writes the node of largest density.

    Centre and spread are filled for the voxels whose posterior is too narrow for the grid, or whose data were shrunk.
    """
    D = sums.D.astype(float)
    total = D.sum(axis=1)
    D /= total[:, None]
    by_pair = np.empty((at.size, grid.axes[1].nodes.size, grid.axes[2].nodes.size))
    by_pair[:, grid.plane[0], grid.plane[1]] = sums.plane
    by_pair /= by_pair.sum(axis=(1, 2))[:, None, None]
    share = {"D": D, "f": by_pair.sum(axis=2), "Dstar": by_pair.sum(axis=1)}
    nodes = {axis.key: axis.nodes for axis in grid.axes}
    mean = {key: share[key] @ nodes[key] for key in KEYS}
    sd = {key: np.sqrt(np.einsum("vn,vn->v", (nodes[key] - mean[key][:, None]) ** 2, share[key])) for key in KEYS}
    for key in KEYS:
        into.mean[key][at], into.sd[key][at] = mean[key], sd[key]
    with np.errstate(invalid="ignore", divide="ignore"):
        both = (by_pair @ nodes["Dstar"]) @ nodes["f"]
        into.rho[at] = np.clip((both - mean["f"] * mean["Dstar"]) / (sd["f"] * sd["Dstar"]), -1, 1)
    into.f_probability[at] = np.minimum(share["f"] @ share_above(grid.axes[1], PERFUSION_EXISTS), 1.0)
    if into.levels:
        for axis in grid.axes:
            into.quantiles[axis.key][at] = quantiles(axis, share[axis.key], into.levels)
    if mode:
        layer, place = np.divmod(sums.best, grid.plane.shape[1])
        into.mode["D"][at] = nodes["D"][layer]
        into.mode["f"][at] = nodes["f"][grid.plane[0][place]]
        into.mode["Dstar"][at] = nodes["Dstar"][grid.plane[1][place]]
    _spread(sums, share, by_pair, total, at, data, grid, into)
    # The variance of S0: that over the nodes, plus that at each node, sigma² / |m|².
    given = sums.inverse2
    if data.freedom is not None:
        left = np.maximum((data.x[at] ** 2).sum(axis=1) + data.rest[at] - sums.z2, 0.0)
        given = given * (left + least_residual(data)) / max(data.freedom - 2, 1.0)
    into.mean["S0"][at] = sums.S0 * data.unit[at]
    into.sd["S0"][at] = np.sqrt(sums.S0_spread + given) * data.unit[at]


def _spread(
    sums: Sums, share: dict[str, Array], by_pair: Array, total: Array, voxels: Array, data: Data, grid: Grid,
    into: Summary,
) -> None:
    """Find the voxels to be refined, and mean and covariance of their weights in the coordinates of the grid."""
    u = [axis.coordinates for axis in grid.axes]
    steps = np.array([np.ptp(x) / (x.size - 1) if x.size > 1 else 0.0 for x in u])
    mean = np.stack([share[key] @ u[i] for i, key in enumerate(KEYS)], axis=1)
    square = np.stack([share[key] @ u[i] ** 2 for i, key in enumerate(KEYS)], axis=1)
    # A fixed parameter has no width, only rounding.
    narrow = ((square - mean**2 < (NARROW * steps) ** 2) & (steps > 0)).any(axis=1)
    at = np.flatnonzero((data.blur[voxels] < 1) | narrow)
    if at.size == 0:
        return
    centred = [u[i] - mean[at, i : i + 1] for i in range(3)]
    spread = np.empty((at.size, 3, 3))
    for i, key in enumerate(KEYS):
        # A grid that is too coarse may see no width at all; the stages after it need a start of the right order.
        spread[:, i, i] = np.maximum((share[key][at] * centred[i] ** 2).sum(axis=1), (NARROW * steps[i]) ** 2)
    along_D = sums.along_D[at] + (sums.middle[at] - mean[at, 0])[:, None] * sums.plane[at]
    along_D /= total[at, None]
    spread[:, 0, 1] = (along_D * centred[1][:, grid.plane[0]]).sum(axis=1)
    spread[:, 0, 2] = (along_D * centred[2][:, grid.plane[1]]).sum(axis=1)
    spread[:, 1, 2] = (np.matmul(by_pair[at], centred[2][:, :, None])[:, :, 0] * centred[1]).sum(axis=1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        spread[:, j, i] = spread[:, i, j]
    into.centre[voxels[at]], into.spread[voxels[at]] = mean[at], spread
