"""Priors learned from the image: of the whole region, and of the neighbourhood of each voxel.

Whole region: expectation maximisation on the probabilities of the nodes, which climbs to the nonparametric
maximum-likelihood prior (Laird, J Am Stat Assoc 1978;73:805). Stopping early and a share of the broad prior keep it
from forgetting rare tissue.

Neighbourhood: the prior of a voxel is the mean posterior of its neighbours, the voxel itself left out, so that it is
not convinced of its own noise; with a share of the broad prior. Next to an edge the mean has a peak for either side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .grid import Grid
from .quadrature import Data, blocks, profile

Array = np.ndarray
BACKGROUND = 2.0
"""Mean magnitude over sigma below which a voxel is background and teaches no prior."""
CELLS = 96
"""Cells of the prior that are averaged over windows together."""


def teaches(signal: Array, sigma: float | None) -> Array:
    """Tell tissue from background (v,) of bool: a mean magnitude above twice sigma, that of pure noise being 1.25.

    Arguments: `signal` (v, n) and `sigma` [signal units]; without sigma every voxel counts.
    """
    return np.ones(len(signal), dtype=bool) if sigma is None else signal.mean(axis=1) > BACKGROUND * sigma


def learn(
    data: Data, grid: Grid, broad: Array, rounds: int, floor: float, stop: Callable[[float], None]
) -> tuple[Array, list[float]]:
    """Learn the probabilities of the nodes from a sample of voxels.

    Arguments: `data` of the sample; `broad` (g,) broad prior; `rounds` of expectation maximisation; `floor` share of
    the broad prior [1]; `stop(share done)` may raise.
    Returns: probabilities (g,) summing to 1; mean logarithm of the evidence after each round.
    """
    first, last, _ = profile(data, grid)
    bare = -np.log(grid.length).astype(np.float32)
    kept = [
        (block.nodes, block.weight.astype(np.float32))
        for block in blocks(data, grid, bare, first, last)
    ]
    mass, history = broad.copy(), []
    voxels = sum(weight.shape[0] for _, weight in kept)
    for number in range(rounds):
        single, gained, evidence = mass.astype(np.float32), np.zeros(mass.size), 0.0
        for nodes, weight in kept:
            total = weight @ single[nodes]
            gained[nodes] += (1 / np.maximum(total, 1e-30)) @ weight
            evidence += float(np.log(np.maximum(total, 1e-30)).sum())
        learned = mass * gained / voxels
        mass = (1 - floor) * learned / learned.sum() + floor * broad
        history.append(evidence / voxels)
        stop((number + 1) / rounds)
    return mass, history


def cell_posteriors(data: Data, grid: Grid, log_mass: Array) -> Array:
    """Compute the posterior of each voxel on the coarse cells under a broad prior.

    Arguments: `log_mass` (g,) float32 logarithm of the broad prior minus ln |m|.
    Returns: (v, coarse D, cell) float32, each voxel summing to 1.
    """
    group, per_layer = grid.axes[0].group, grid.plane.shape[1]
    layers, cells = grid.cell_shape
    found = np.zeros((data.x.shape[0], layers, cells), dtype=np.float32)
    first, last, _ = profile(data, grid)
    for block in blocks(data, grid, log_mass, first, last):
        rows = block.voxels.size
        summed = block.weight.reshape(rows, -1, group * per_layer // cells, cells).sum(axis=2)
        summed /= summed.sum(axis=(1, 2))[:, None, None]
        found[block.voxels, block.layers.start // group : block.layers.stop // group] = summed
    return found


def window_sum(volume: Array, radius: tuple[int, int, int]) -> Array:
    """Sum over a box around each voxel, the volume continued by zeros; (x, y, z, ...), `radius` in voxels."""
    for axis, reach in enumerate(radius):
        if reach == 0 or volume.shape[axis] == 1:
            continue
        result = volume.copy()
        moved, source = np.moveaxis(result, axis, 0), np.moveaxis(volume, axis, 0)
        for step in range(1, min(reach, volume.shape[axis] - 1) + 1):
            moved[step:] += source[:-step]
            moved[:-step] += source[step:]
        volume = result
    return volume


def neighbour_priors(
    posterior: Array, present: Array, broad: Array, radius: tuple[int, int, int], rounds: int, floor: float
) -> Array:
    """Compute the prior of each voxel from the posteriors of its neighbours, itself left out.

    Arguments: `posterior` (x, y, z, c) float32 under the broad prior, zero where not `present` (x, y, z) of bool;
    `broad` (c,) broad prior of the cells; `radius` of the window in voxels; `rounds` of putting the prior found into
    the posteriors of the neighbours again; `floor` share of the broad prior [1].
    Returns: ratio of the prior of each voxel to the broad one (x, y, z, c) float32; 1 where there are no neighbours.
    `posterior` is overwritten.
    """
    count = np.rint(window_sum(present.astype(np.float32), radius) - present)
    share = np.where(count > 0, (1 - floor) / np.maximum(count, 1), 0).astype(np.float32)[..., None]
    single = broad.astype(np.float32)
    # Relative to the broad prior, the mean over neighbours is the ratio itself. In place and a few cells at a time, so
    # that the sums over windows stay in the cache.
    own = posterior
    own *= 1 / np.maximum(single, 1e-30)
    ratio, scale = np.empty_like(own), None
    for number in range(rounds):
        evidence = np.zeros(present.shape, dtype=np.float32)
        for start in range(0, single.size, CELLS):
            part = slice(start, start + CELLS)
            current = own[..., part].copy() if number == 0 else own[..., part] * ratio[..., part] * scale
            mean = window_sum(current, radius)
            mean -= current
            mean *= share
            mean += np.float32(floor)
            ratio[..., part] = mean
            mean *= own[..., part]
            evidence += mean @ single[part]
        scale = (1 / np.where(evidence > 0, evidence, 1))[..., None]
    ratio[count == 0] = 1.0
    return ratio


def between_layers(ratio: Array, grid: Grid, layers: slice) -> Array:
    """Bring a ratio on coarse layers of D (m, coarse D, cell) to the layers of the grid by linear interpolation."""
    group = grid.axes[0].group
    place = (np.arange(layers.start, layers.stop) + 0.5) / group - 0.5
    low = np.clip(np.floor(place).astype(int), 0, max(ratio.shape[1] - 2, 0))
    share = np.clip(place - low, 0, 1).astype(np.float32)[:, None]
    high = np.minimum(low + 1, ratio.shape[1] - 1)
    return ratio[:, low] * (1 - share) + ratio[:, high] * share
