"""Trained networks that look at neighbours: the fit of a volume in tiles with a halo, so that any volume fits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..physics.acquisition import Acquisition
from .base import Array, Progress, ignore, option
from .image import FlatMaps, check, over_threads, provenance, usable
from .neural import AnyProtocolNetwork, Network, measured
from .nlls import merge_repeats
from .result import FitResult, Status

TILE_BYTES = 320_000_000
"""Memory [bytes] that a tile may take, in each thread."""
SMALLEST_TILE = 16
THICKEST_TILE = 4
"""Slices of a tile, where slices look at each other."""
Range = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """A box of a volume: `core` what is estimated, `box` what is looked at, each a range along x, y and z."""

    core: tuple[Range, Range, Range]
    box: tuple[Range, Range, Range]


def tiles(mask: Array, needs: Any, edge: int) -> Iterator[Tile]:
    """Cut the region of a volume into tiles that overlap by what a network sees beyond them.

    Arguments: `mask` (x, y, z); `needs` of the network; `edge` extent of a core in x and y.
    """
    shape, inside = mask.shape, np.argwhere(mask)
    low, high = inside.min(0), inside.max(0) + 1
    low[:2] -= low[:2] % needs.grid
    edge = max(needs.grid, edge - edge % needs.grid)
    thick = THICKEST_TILE if needs.reach_z else 1
    reach = (needs.reach, needs.reach, needs.reach_z)
    for z in range(low[2], high[2], thick):
        for x in range(low[0], high[0], edge):
            for y in range(low[1], high[1], edge):
                core = tuple(
                    (start, int(min(start + size, end)))
                    for start, size, end in zip((x, y, z), (edge, edge, thick), high, strict=True)
                )
                if mask[box_of(core)].any():
                    box = tuple((max(a - r, 0), min(b + r, n)) for (a, b), r, n in zip(core, reach, shape, strict=True))
                    yield Tile(core, box)


def box_of(ranges: tuple[Range, Range, Range]) -> tuple[slice, slice, slice]:
    """Return the slices of a box."""
    return tuple(slice(*one) for one in ranges)


@dataclass(frozen=True)
class SpatialNetwork(Network):
    """A network that sees the neighbours within a slice; the classes that are listed are made for each card."""

    sees_neighbours: ClassVar[bool] = True
    attention: ClassVar[str] = "auto"
    neighbourhood: ClassVar[str] = "2d"

    @property
    def depth(self) -> int:
        """Extent of the windows in z."""
        return 3 if self.neighbourhood == "3d" else 1

    def _runner(self, inside: Array, acquisition: Acquisition) -> Any:
        from ..networks.spatialrunning import SpatialFixedRunner

        _, counts, y, _ = merge_repeats(np.asarray(inside, dtype=float), acquisition)
        lowest = y[0][np.isfinite(y[0]) & (y[0] > 0)]
        unit = float(np.percentile(lowest, 98)) if lowest.size else 1.0
        return SpatialFixedRunner(
            self.card, counts, acquisition.count, acquisition.sigma, unit, self.ensemble,
            backend=self.attention, depth=self.depth,
        )

    def fit(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Estimate every voxel of a volume; see `Estimator.fit`. Neighbours outside the region count for nothing."""
        signal = np.asarray(signal)
        voxels, shape = check(self, signal, acquisition, mask)
        ready, noise, about = self._ready(signal, acquisition, voxels, shape)
        from ..networks.running import one_thread

        region = np.ones(shape, dtype=bool) if mask is None else np.asarray(mask) != 0
        began = time.perf_counter()
        threads = threads or os.cpu_count() or 1
        edge = ready.largest_tile()
        with one_thread():
            while True:
                flat = FlatMaps.empty(self, region.size)
                del ready.shares[:]
                try:
                    ready.run(signal, noise, region, flat, edge, threads, lambda done: progress(done, voxels.size))
                    break
                except (MemoryError, RuntimeError) as fault:
                    # torch says so in a sentence of its own.
                    short = isinstance(fault, MemoryError) or "allocate memory" in str(fault)
                    if not short or edge <= SMALLEST_TILE:
                        raise (MemoryError() if short else fault) from None
                    edge = max(SMALLEST_TILE, edge // 2)
        more = [ready.runner.note] if ready.runner.note else []
        about["warnings"] = [*about["warnings"], *more]
        record = provenance(self, noise, voxels.size, time.perf_counter() - began)
        return ready.told(flat.result(shape, "C", {**record, "tile": edge}), about)

    def largest_tile(self) -> int:
        """Return the extent in x and y of the largest tile that stays within `TILE_BYTES`."""
        needs = self.runner.needs
        slices = THICKEST_TILE + 2 * needs.reach_z if needs.reach_z else 1
        return max(SMALLEST_TILE, int((TILE_BYTES / (needs.bytes * slices)) ** 0.5) - 2 * needs.reach)

    def run(
        self, signal: Array, acquisition: Acquisition, region: Array, flat: FlatMaps, edge: int, threads: int,
        report: Any,
    ) -> None:
        """Estimate all tiles; each writes its core into `flat`."""

        def work(tile: Tile) -> int:
            target, fit = self.fit_tile(signal, acquisition, region, tile, flat.status)
            if target.size:
                flat.put(target, fit)
            return int(region[box_of(tile.core)].sum())

        over_threads(tiles(region, self.runner.needs, edge), work, threads, report)

    def fit_tile(
        self, signal: Array, acquisition: Acquisition, region: Array, tile: Tile, status: Array
    ) -> tuple[Array, Any]:
        """Estimate the core of a tile; writes the status of voxels that cannot be fitted.

        Returns: flat indices of the voxels that were estimated, and their fit.
        """
        from ..networks.spatialrunning import Piece

        box = box_of(tile.box)
        shape = tuple(stop - start for start, stop in tile.box)
        rows = np.asarray(signal[box], dtype=float).reshape(-1, signal.shape[3])
        code = usable(rows)
        good = (code == Status.OK) & region[box].ravel()
        averages, within, empty = measured(np.where(good[:, None], rows, 1.0), acquisition)
        valid = (good & ~empty).reshape(shape)
        core = np.zeros(shape, dtype=bool)
        core[tuple(slice(a - o, b - o) for (a, b), (o, _) in zip(tile.core, tile.box, strict=True))] = True
        places = _places(tile, region)
        wanted = core & region[box]
        status[places[wanted]] = np.where(
            (code.reshape(shape) == Status.OK) & empty.reshape(shape), Status.NO_DECAY, code.reshape(shape)
        )[wanted]
        asked = wanted & valid
        if not asked.any():
            return np.empty(0, dtype=int), None
        piece = Piece(averages.T.reshape(*shape, -1), within.reshape(shape), valid, asked)
        found = self.runner.estimate_piece(piece)
        return places[asked], self.concluded(found, np.zeros(int(asked.sum()), dtype=bool))


def _places(tile: Tile, region: Array) -> Array:
    """Return the flat indices (C order) of the voxels of a tile's box."""
    x, y, z = (np.arange(*one) for one in tile.box)
    return np.ravel_multi_index(np.ix_(x, y, z), region.shape)


def neighbourhood_option() -> Any:
    """Return the option of networks whose windows may reach into the next slices."""
    return option(
        "choice", "2d", "Neighbours within a slice, or also in the next slices (for slices at most twice as thick as "
        "the pixels are wide; the training knew slices only).", choices=("2d", "3d"),
    )


def attention_option() -> Any:
    """Return the option that chooses who computes the attention."""
    return option(
        "choice", "auto", "Who computes the attention: plain torch, or the package natten where its kernels can run; "
        "the result is the same.", choices=("auto", "reference", "natten"),
    )


@dataclass(frozen=True)
class AttentionNetwork(SpatialNetwork):
    """A network of neighbourhood attention."""

    neighbourhood: str = neighbourhood_option()
    attention: str = attention_option()


@dataclass(frozen=True)
class SpatialAnyProtocolNetwork(AnyProtocolNetwork, AttentionNetwork):
    """A network that takes any list of b-values and sees neighbours, with the posterior of every voxel."""

    # With neighbours a posterior has longer tails than a normal distribution of its deviation: intervals are its own.
    interval: float = option(
        "number", 0.9, "Probability inside the credible intervals that are written as maps; 0 writes none.", "1",
        lower=0.0, upper=0.999,
    )

    def _runner(self, inside: Array, acquisition: Acquisition) -> Any:
        from ..networks.spatialrunning import SpatialAnyProtocolRunner

        b, counts, _, _ = merge_repeats(np.zeros((1, acquisition.count)), acquisition)
        return SpatialAnyProtocolRunner(
            self.card, b, counts, acquisition.count, acquisition.sigma, self.ensemble, self.interval,
            self.attention, self.depth,
        )
