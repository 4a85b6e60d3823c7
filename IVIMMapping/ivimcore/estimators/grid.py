"""Nodes of the quadrature over D, f and D*, with unit signals: everything that does not depend on a voxel.

Coordinates are sqrt(D), sqrt(f) and ln D*: in these the width of a posterior varies least over the bounds, so that
equal steps serve everywhere. Nodes are the middles of equal cells (midpoint rule: for a smooth peak that covers two
cells its error is below 1 %, and it falls faster than any power of the step), their weights the widths of the cells in
stored units.

Grid error of the posterior mean, root mean square over voxels, in per cent of the mean of D / f / D*. Broad bounds,
against eight times the nodes: `paper1` 0.2 / 0.3 / 0.4 at SNR 8 and 0.4 / 0.4 / 0.4 at SNR 20, `brain` 0.0 / 0.1 / 0.3
at SNR 20 and 0.0 / 0.3 / 0.3 at SNR 40. Bounds of `paper1`, refinement included, against 8 to 27 times the nodes:
0.3 / 0.3 / 0.5 at SNR 33, 0.4 / 0.4 / 0.6 at SNR 50, 0.3 / 0.4 / 1.4 at SNR 100. Voxels whose likelihood is wide in D
take every second layer only (`thinned`), which adds less than a tenth to these errors (abdomen phantom, SNR 40).

The nodes are laid out (D, k, cell): `cell` runs over coarse cells of f and D*, k over the nodes inside one. A range of
D is then one contiguous block of memory, and sums over the inside of cells are sums over an axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..physics.parameters import Bounds

Array = np.ndarray
KEYS = ("D", "f", "Dstar")
SMALLEST_DSTAR = 1e-5
"""Lowest Dstar of a node [mm²/s], as its coordinate is a logarithm."""
STEP = {"D": 5e-3**0.5 / 64, "f": 0.06, "Dstar": 0.3413}
"""Largest step in the coordinates sqrt(D), sqrt(f), ln Dstar: 64 x 14 x 12 nodes for the broad bounds."""
FEWEST = {"D": 40, "f": 14, "Dstar": 12}
"""Fewest nodes: tight bounds are drawn where the posterior is tight."""
NODES_PER_CELL = {"D": 2, "f": 2, "Dstar": 2}
"""Nodes of a coarse cell, in which priors of neighbourhoods are kept."""
RESOLVED = 160.0
"""Length of the signal over sigma [1] above which data are shrunk for the grid: no step is then far too wide."""
NARROW = 0.42
"""Standard deviation of a posterior in steps of the grid below which it is refined."""
TRUNCATION = 1e-4
"""Share of a unit signal that may be left outside the basis."""

COORDINATE: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "D": (np.sqrt, np.square), "f": (np.sqrt, np.square), "Dstar": (np.log, np.exp),
}
"""Key -> stored value to coordinate, coordinate to stored value."""


@dataclass(frozen=True, eq=False)
class Axis:
    """Cells of one parameter: `nodes` (n,) and `edges` (n + 1,) in stored units; `group` nodes form a coarse cell."""

    key: str
    nodes: Array
    edges: Array
    group: int

    @property
    def widths(self) -> Array:
        """Quadrature weights of the nodes (n,) in stored units, 1 where the parameter is fixed.

        Step times derivative of the coordinate, with the end correction of the midpoint rule (h²/24 times the
        difference of the derivatives at the ends, these from three nodes): a posterior cut off by a bound needs it.
        """
        n = self.nodes.size
        if n == 1:
            return np.ones(1)
        correction = np.ones(n)
        if n >= 6:
            correction[:3] += np.array([2.0, -3.0, 1.0]) / 24
            correction[-3:] += np.array([1.0, -3.0, 2.0]) / 24
        step = np.ptp(COORDINATE[self.key][0](self.edges)) / n
        slope = self.nodes if self.key == "Dstar" else 2 * np.sqrt(self.nodes)
        return step * slope * correction

    @property
    def coordinates(self) -> Array:
        """Nodes (n,) in the coordinate of equal steps."""
        return COORDINATE[self.key][0](self.nodes)


def make_axis(key: str, bounds: Bounds, refine: float = 1.0) -> Axis:
    """Divide the bounds of a parameter into equal steps of its coordinate.

    Arguments: `key` D, f or Dstar; `bounds` in stored units, equal where it is fixed; `refine` divides the step.
    """
    to, back = COORDINATE[key]
    low, high = (max(bound, SMALLEST_DSTAR) if key == "Dstar" else bound for bound in bounds)
    if high <= low:
        return Axis(key, np.array([low]), np.array([low, low]), 1)
    group = NODES_PER_CELL[key]
    wanted = max((to(high) - to(low)) / STEP[key], FEWEST[key]) * refine
    cells = max(1, int(np.ceil(wanted / group - 1e-6)))
    edges = np.linspace(to(low), to(high), cells * group + 1)
    stored = back(edges)
    stored[[0, -1]] = low, high
    return Axis(key, back((edges[1:] + edges[:-1]) / 2), stored, group)


@dataclass(frozen=True, eq=False)
class Grid:
    """All nodes and the basis of their signals; arrays over nodes have the layout (D, k, cell), flattened.

    `axes` of D, f, Dstar; `b` (n,) [s/mm²] and `counts` (n,) images of each; `basis` (n, r) orthonormal columns that
    carry the weighted unit signals; `length` (g,) of the signals at S0 = 1; `volume` (g,) of the cells in stored units;
    `plane` (2, p) index of f and of Dstar of each place in a layer of D.
    """

    axes: tuple[Axis, Axis, Axis]
    b: Array
    counts: Array
    basis: Array
    length: Array
    volume: Array
    plane: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers of D, nodes of f and Dstar in a coarse cell, coarse cells of f and Dstar."""
        inside = self.axes[1].group * self.axes[2].group
        return self.axes[0].nodes.size, inside, self.plane.shape[1] // inside

    @property
    def cell_shape(self) -> tuple[int, int]:
        """Coarse layers of D, coarse cells of f and Dstar."""
        return self.axes[0].nodes.size // self.axes[0].group, self.shape[2]

    def flatten(self, values: Array) -> Array:
        """Bring values (D, f, Dstar) into the layout of the nodes (g,)."""
        return np.ascontiguousarray(values[:, self.plane[0], self.plane[1]]).reshape(-1)

    def unflatten(self, values: Array) -> Array:
        """Bring values of the nodes (g,) into the order (D, f, Dstar)."""
        volume = np.empty(tuple(axis.nodes.size for axis in self.axes), dtype=values.dtype)
        volume[:, self.plane[0], self.plane[1]] = values.reshape(volume.shape[0], -1)
        return volume

    def cells(self, values: Array) -> Array:
        """Sum values of the nodes (..., g) over coarse cells: (..., coarse D, cell)."""
        layers, inside, cells = self.shape
        group = self.axes[0].group
        return values.reshape(*values.shape[:-1], layers // group, group * inside, cells).sum(axis=-2)


def make_grid(b: Array, counts: Array, bounds: dict[str, Bounds], refine: float = 1.0) -> Grid:
    """Build the grid of a protocol, or return the one built before.

    Arguments: `b` (n,) distinct b-values [s/mm²]; `counts` (n,) images of each; `bounds` of D, f, Dstar in stored
    units; `refine` divides every step, to measure what the steps cost.
    """
    limits = tuple(tuple(float(x) for x in bounds[key]) for key in KEYS)
    return _make_grid(tuple(map(float, b)), tuple(map(float, counts)), limits, float(refine))


@lru_cache(maxsize=4)
def _make_grid(b: tuple, counts: tuple, bounds: tuple, refine: float) -> Grid:
    bvalues, number = np.array(b), np.array(counts)
    axes = tuple(make_axis(key, limit, refine) for key, limit in zip(KEYS, bounds, strict=True))
    plane = _plane(axes[1], axes[2])
    signals = _signals(axes, plane, bvalues, number)
    length = np.linalg.norm(signals, axis=1)
    signals /= length[:, None]
    values, vectors = np.linalg.eigh(signals.T @ signals)
    vectors = vectors[:, ::-1]
    for rank in range(1, bvalues.size + 1):
        outside = signals - (signals @ vectors[:, :rank]) @ vectors[:, :rank].T
        if np.abs(outside).max() <= TRUNCATION or rank == bvalues.size:
            break
    basis = np.ascontiguousarray(vectors[:, :rank])
    return Grid(axes, bvalues, number, basis, length, _volume(axes, plane), plane)


@lru_cache(maxsize=4)
def thinned(grid: Grid) -> Grid | None:
    """Return the grid with one layer of D for each coarse one and the same basis; None if none is coarse."""
    D, group = grid.axes[0], grid.axes[0].group
    if group == 1:
        return None
    to, back = COORDINATE["D"]
    edges = D.edges[::group]
    axis = Axis("D", back((to(edges[1:]) + to(edges[:-1])) / 2), edges, 1)
    axes = (axis, *grid.axes[1:])
    length = np.linalg.norm(_signals(axes, grid.plane, grid.b, grid.counts), axis=1)
    return Grid(axes, grid.b, grid.counts, grid.basis, length, _volume(axes, grid.plane), grid.plane)


def unit_signals(grid: Grid) -> Array:
    """Unit signals (r, g) of the nodes in the basis of a grid, in double precision."""
    signals = _signals(grid.axes, grid.plane, grid.b, grid.counts)
    return (signals / grid.length[:, None] @ grid.basis).T


def _signals(axes: tuple[Axis, ...], plane: Array, b: Array, counts: Array) -> Array:
    """Signals (g, n) of the nodes at S0 = 1, weighted by the square root of the number of images."""
    root = np.sqrt(counts)
    slow = np.exp(-np.outer(axes[0].nodes, b)) * root
    fast = np.exp(-np.outer(axes[2].nodes, b))[plane[1]] * root
    f = axes[1].nodes[plane[0]][:, None]
    return ((1 - f) * slow[:, None, :] + f * fast).reshape(-1, b.size)


def _volume(axes: tuple[Axis, ...], plane: Array) -> Array:
    """Volumes (g,) of the cells in stored units."""
    return (axes[0].widths[:, None] * (axes[1].widths[plane[0]] * axes[2].widths[plane[1]])).reshape(-1)


def _plane(f: Axis, Dstar: Axis) -> Array:
    """Order the nodes of f and Dstar so that the place inside a coarse cell is the outer index: (2, p)."""
    index = np.indices((f.nodes.size, Dstar.nodes.size))
    shape = (2, f.nodes.size // f.group, f.group, Dstar.nodes.size // Dstar.group, Dstar.group)
    return index.reshape(shape).transpose(0, 2, 4, 1, 3).reshape(2, -1)
