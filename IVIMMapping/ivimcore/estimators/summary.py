"""From the weights of a block of voxels to means, standard deviations, quantiles and probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field

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


def summarise(block: Block, data: Data, grid: Grid, into: Summary, mode: bool) -> None:
    """Reduce the weights of a block to what `into` holds; `mode` also finds the node of largest posterior density.

    Centre and spread are filled for the voxels whose posterior is too narrow for the grid, or whose data were shrunk.
    """
    voxels, weight, at = block.voxels, block.weight, block.voxels
    rows, per_layer = voxels.size, grid.plane.shape[1]
    layered = weight.reshape(rows, -1, per_layer)
    D = (layered.reshape(-1, per_layer) @ np.ones(per_layer, dtype=np.float32)).reshape(rows, -1).astype(float)
    plane = layered.sum(axis=1)
    total = D.sum(axis=1)
    D /= total[:, None]
    plane = plane / total[:, None].astype(np.float32)
    by_pair = np.empty((rows, grid.axes[1].nodes.size, grid.axes[2].nodes.size))
    by_pair[:, grid.plane[0], grid.plane[1]] = plane
    share = {"D": D, "f": by_pair.sum(axis=2), "Dstar": by_pair.sum(axis=1)}
    nodes = {axis.key: axis.nodes for axis in grid.axes}
    nodes["D"] = nodes["D"][block.layers]
    for key in KEYS:
        share[key] /= share[key].sum(axis=1, keepdims=True)
        mean = share[key] @ nodes[key]
        into.mean[key][at] = mean
        into.sd[key][at] = np.sqrt(((nodes[key] - mean[:, None]) ** 2 * share[key]).sum(axis=1))
    f, Dstar = into.mean["f"][at], into.mean["Dstar"][at]
    with np.errstate(invalid="ignore", divide="ignore"):
        both = (by_pair @ nodes["Dstar"]) @ nodes["f"]
        into.rho[at] = np.clip((both - f * Dstar) / (into.sd["f"][at] * into.sd["Dstar"][at]), -1, 1)
    into.f_probability[at] = np.minimum(share["f"] @ share_above(grid.axes[1], PERFUSION_EXISTS), 1.0)
    if into.levels:
        full = np.zeros((rows, grid.axes[0].nodes.size))
        full[:, block.layers] = share["D"]
        for axis in grid.axes:
            into.quantiles[axis.key][at] = quantiles(axis, full if axis.key == "D" else share[axis.key], into.levels)
    if mode:
        best = (weight / grid.volume[block.nodes].astype(np.float32)).argmax(axis=1)
        layer, place = np.divmod(best, per_layer)
        into.mode["D"][at] = nodes["D"][layer]
        into.mode["f"][at] = nodes["f"][grid.plane[0][place]]
        into.mode["Dstar"][at] = nodes["Dstar"][grid.plane[1][place]]
    _spread(layered, share, by_pair, total, data.blur[at] < 1, block, grid, into)
    _S0(block, data, grid, total, into)


def _S0(block: Block, data: Data, grid: Grid, total: Array, into: Summary) -> None:
    """Mean and variance of S0: those over the nodes, plus the variance at each node, sigma² / |m|²."""
    at = block.voxels
    inverse = (1.0 / grid.length[block.nodes]).astype(np.float32)
    given = block.weight @ (inverse * inverse) / total
    product = block.z
    if data.freedom is not None:
        whole = (data.x[at] ** 2).sum(axis=1) + data.rest[at]
        left = np.maximum(whole - np.einsum("vg,vg,vg->v", product, product, block.weight) / total, 0.0)
        given = given * (left + least_residual(data)) / max(data.freedom - 2, 1.0)
    product *= inverse
    mean = np.einsum("vg,vg->v", product, block.weight) / total
    product -= mean[:, None].astype(np.float32)
    product *= product
    variance = np.einsum("vg,vg->v", product, block.weight) / total
    into.mean["S0"][at] = mean * data.unit[at]
    into.sd["S0"][at] = np.sqrt(variance + given) * data.unit[at]


def _spread(
    layered: Array, share: dict[str, Array], by_pair: Array, total: Array, shrunk: Array, block: Block, grid: Grid,
    into: Summary,
) -> None:
    """Find the voxels to be refined, and mean and covariance of their weights in the coordinates of the grid."""
    u = [axis.coordinates for axis in grid.axes]
    steps = np.array([np.ptp(x) / (x.size - 1) if x.size > 1 else 0.0 for x in u])
    u[0] = u[0][block.layers]
    mean = np.stack([share[key] @ u[i] for i, key in enumerate(KEYS)], axis=1)
    square = np.stack([share[key] @ u[i] ** 2 for i, key in enumerate(KEYS)], axis=1)
    at = np.flatnonzero(shrunk | (square - mean**2 < (NARROW * steps) ** 2 * (steps > 0)).any(axis=1))
    if at.size == 0:
        return
    centred = [u[i] - mean[at, i : i + 1] for i in range(3)]
    spread = np.empty((at.size, 3, 3))
    for i, key in enumerate(KEYS):
        # A grid that is too coarse may see no width at all; the stages after it need a start of the right order.
        spread[:, i, i] = np.maximum((share[key][at] * centred[i] ** 2).sum(axis=1), (NARROW * steps[i]) ** 2)
    along_D = np.einsum("vdp,vd->vp", layered[at], centred[0].astype(np.float32)) / total[at, None]
    spread[:, 0, 1] = (along_D * centred[1][:, grid.plane[0]]).sum(axis=1)
    spread[:, 0, 2] = (along_D * centred[2][:, grid.plane[1]]).sum(axis=1)
    spread[:, 1, 2] = (np.matmul(by_pair[at], centred[2][:, :, None])[:, :, 0] * centred[1]).sum(axis=1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        spread[:, j, i] = spread[:, i, j]
    into.centre[block.voxels[at]], into.spread[block.voxels[at]] = mean[at], spread
