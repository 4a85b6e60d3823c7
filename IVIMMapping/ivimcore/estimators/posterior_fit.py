"""The work behind the estimator `posterior`: chunks of voxels, tiles of an image, learning from a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import Cancelled
from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds
from . import learning
from .backends import Backend
from .grid import KEYS, Grid, make_grid, thinned
from .image import FlatMaps, VoxelFit, usable
from .misfit import voxel_sigma
from .nlls import merge_repeats
from .noisefloor import correct
from .priors import Prior, describe
from .quadrature import Data, blocks, by_layers, on_thinned, prepare, profile, split
from .refinement import LogRatio, interpolate, refine
from .result import POOR, Status
from .summary import Summary, Sums, summarise

Array = np.ndarray
TILE_BYTES = 24 << 20
"""Bytes that the posteriors of one tile take in coarse cells; a few copies of it are alive in each thread."""

SMOOTH = 0.6
"""Standard deviation of a likelihood in steps of the grid above which a posterior that is narrower than the grid is so
by its prior only."""
TOGETHER = 1024
"""Voxels whose sums are turned into means and intervals together."""


@dataclass(eq=False)
class Plan:
    """What all voxels of a fit share: `options` is the estimator, `local` the radius of a local prior or None.

    `seen` collects (voxels, those whose residual was too large for `sigma`) from all threads.
    """

    acquisition: Acquisition
    b: Array
    counts: Array
    bounds: dict[str, Bounds]
    sigma: float | None
    options: Any
    about: dict[str, Any]
    warnings: list[str]
    local: tuple[int, int, int] | None = None
    seen: list[tuple[int, int]] = field(default_factory=list)
    backend: Backend = field(default_factory=Backend)

    @cached_property
    def grid(self) -> Grid:
        """The nodes for these b-values and bounds."""
        return make_grid(self.b, self.counts, self.bounds)

    def set_prior(self, prior: Prior) -> None:
        """Use a prior for all voxels from now on."""
        self.prior = prior
        self.mass = self.grid.flatten(prior.mass)
        tiny = self.mass[self.mass > 0].min()
        self.log_mass = (np.log(np.maximum(self.mass, tiny * 1e-12)) - np.log(self.grid.length)).astype(np.float32)
        self.log_mass -= self.log_mass.max()
        self._thin_log_mass = None
        if thinned(self.grid) is not None:
            mass, length = on_thinned(self.grid, self.mass), thinned(self.grid).length
            tiny = mass[mass > 0].min()
            self._thin_log_mass = (np.log(np.maximum(mass, tiny * 1e-12)) - np.log(length)).astype(np.float32)
            self._thin_log_mass -= self._thin_log_mass.max()
        ratio = prior.mass / self.grid.unflatten(self.grid.volume)
        self._ratio = np.maximum(ratio / ratio.max(), 1e-30).astype(np.float32)[None]
        self.is_uniform = prior.kind == "uniform"

    def log_mass_on(self, grid: Grid) -> Array:
        """Logarithm of the prior of each node minus ln |m| (g,) float32, on the grid of the plan or the thinned one."""
        return self.log_mass if grid is self.grid else self._thin_log_mass

    def without_neighbours(self) -> None:
        """Give up a local prior for want of neighbours, and say so."""
        self.local = None
        self.about["prior"] = describe(self.prior)
        self.warnings.append(
            "The voxels of the region have hardly any neighbours, so that no local prior can be learned: the broad one "
            "was used."
        )

    @property
    def log_ratio(self) -> LogRatio | None:
        """Logarithm of prior over uniform, up to a constant, for the refinement."""
        if self.is_uniform:
            return None
        return lambda at, places: np.log(self.ratio_at(at, places))

    def ratio_at(self, at: Array, places: tuple[Array, Array, Array]) -> Array:
        """Prior over uniform, the largest 1, at nodes of the refinement; arguments as in `LogRatio`."""
        return interpolate(self._ratio, np.zeros_like(at), places)

    @cached_property
    def cell_moments(self) -> Array:
        """Mass of the prior in each coarse cell, and for each parameter mass times its value less the mean of the
        prior, and times the square of that: (cells, 7) float32."""
        grid, columns = self.grid, [self.mass]
        for index, axis in enumerate(grid.axes):
            shape = [1, 1, 1]
            shape[index] = -1
            value = np.broadcast_to(axis.nodes.reshape(shape), self.prior.mass.shape)
            scaled = grid.flatten(value - float((value * self.prior.mass).sum()))
            columns += [self.mass * scaled, self.mass * scaled**2]
        return np.stack([grid.cells(column).reshape(-1) for column in columns], axis=1).astype(np.float32)

    @cached_property
    def log_volume(self) -> Array:
        """Logarithm of the uniform prior of each node minus ln |m| (g,) float32."""
        return np.log(np.abs(self.grid.volume) / self.grid.length).astype(np.float32)

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantiles that are needed."""
        half = self.options.interval / 2
        ends = (0.5 - half, 0.5 + half) if half > 0 else ()
        return (*ends, 0.5) if self.options.point == "median" else ends

    def data(self, signal: Array) -> tuple[Data, Array, Array]:
        """Make voxels (v, n) ready; also return their means (v, k) at each b, and sums of squares about them (v,)."""
        _, _, y, within = merge_repeats(signal, self.acquisition)
        y = np.ascontiguousarray(y.T)
        used, curve = y, None
        if self.sigma is not None and self.options.noise_model == "rician":
            used, curve = correct(y, within, self.grid, self.sigma, self.acquisition.count)
        noise = self.sigma
        if noise is not None:
            noise = voxel_sigma(used, within, self.b, self.counts, self.bounds, noise, curve)
            self.seen.append((within.size, int((noise > self.sigma).sum())))
        return prepare(used, within, self.grid, noise, self.acquisition.count), y, within

    def misfit_share(self) -> float:
        """Share of the voxels so far whose residual was too large for the noise of the image."""
        voxels, raised = (sum(column) for column in zip(*self.seen, strict=True)) if self.seen else (1, 0)
        return raised / max(voxels, 1)


def fit_chunk(plan: Plan, signal: Array, ratio: Array | None = None) -> VoxelFit:
    """Fit voxels (v, n) with the prior of the plan, or with one of their own.

    Arguments: `ratio` (v, coarse D, cell) float32 prior of each voxel over that of the plan.
    """
    data, y, within = plan.data(signal)
    first, last, _ = profile(data, plan.grid)
    return _fit(plan, data, y, within, first, last, ratio)


def _fit(
    plan: Plan, data: Data, y: Array, within: Array, first: Array, last: Array, ratio: Array | None
) -> VoxelFit:
    """Fit voxels; arguments as `Plan.data` and `profile` give them, `ratio` as in `fit_chunk`."""
    grid, count = plan.grid, within.size
    summary = Summary.empty(count, plan.levels)
    grid_pass = plan.backend.grid_pass or _grid_pass
    mode = plan.options.point == "mode"
    # The mode is one of the nodes: it needs them all.
    parts = [(grid, np.arange(count), first, last)] if mode else split(grid, first, last)
    for one, at, start, stop in parts:
        if len(parts) == 1:
            grid_pass(data, one, plan.log_mass_on(one), ratio, start, stop, summary, mode)
            break
        part = Summary.empty(at.size, plan.levels)
        own = None if ratio is None else ratio[at]
        grid_pass(data.take(at), one, plan.log_mass_on(one), own, start, stop, part, mode)
        summary.put(at, part)
    sharp = np.flatnonzero(np.isfinite(summary.centre[:, 0]))
    if sharp.size:
        if ratio is not None or not plan.is_uniform:
            sharp = _start_from_likelihood(plan, data, sharp, first, last, summary)
        refine(data, grid, plan.log_ratio if ratio is None else _log_ratio(plan, ratio), sharp, summary)
    return _finish(plan, summary, y, within, _prior_variance(plan, ratio, count))


def _grid_pass(
    data: Data, grid: Grid, log_mass: Array, ratio: Array | None, first: Array, last: Array, into: Summary, mode: bool
) -> None:
    """Sum the posterior of voxels over the grid; arguments as `networks.quadrature_torch.grid_pass`, in numpy."""
    _, inside, cells = grid.shape
    order = by_layers(first, last)
    for start in range(0, order.size, TOGETHER):
        voxels = order[start : start + TOGETHER]
        sums = Sums.empty(voxels.size, grid)
        for block in blocks(data, grid, log_mass, first, last, voxels):
            if ratio is not None:
                weight = block.weight.reshape(block.voxels.size, -1, inside, cells)
                weight *= learning.between_layers(ratio, grid, block.voxels, block.layers)[:, :, None, :]
            sums.add(block, data, grid, mode)
        summarise(sums, voxels, data, grid, into, mode)


def _start_from_likelihood(
    plan: Plan, data: Data, sharp: Array, first: Array, last: Array, summary: Summary
) -> Array:
    """Replace centre and spread of the voxels to be refined by those under a uniform prior.

    Returns: the voxels whose signal is too sharp for the grid. The others are narrow by their prior only, which is made
    of the cells of the grid.
    """
    some = data.take(sharp)
    # All of these shall be given a centre and a spread, also those that only the prior makes narrow.
    some.blur = np.full(sharp.size, 0.5)
    alone = Summary.empty(sharp.size, ())
    grid_pass = plan.backend.grid_pass or _grid_pass
    grid_pass(some, plan.grid, plan.log_volume, None, first[sharp], last[sharp], alone, False)
    summary.centre[sharp], summary.spread[sharp] = alone.centre, alone.spread
    steps = np.array([np.ptp(axis.coordinates) / max(axis.nodes.size - 1, 1) for axis in plan.grid.axes])
    variance = np.diagonal(alone.spread, axis1=1, axis2=2)
    narrow = (variance < (SMOOTH * steps) ** 2 * (steps > 0)).any(axis=1)
    return sharp[narrow | (data.blur[sharp] < 1)]


def _log_ratio(plan: Plan, ratio: Array) -> LogRatio:
    """Give the prior of each voxel, interpolated between the middles of coarse cells, for the refinement."""
    axes = plan.grid.axes
    cells = ratio.reshape(-1, *(axis.nodes.size // axis.group for axis in axes))

    def at_nodes(at: Array, places: tuple[Array, Array, Array]) -> Array:
        coarse = tuple((place + 0.5) / axis.group - 0.5 for place, axis in zip(places, axes, strict=True))
        found = interpolate(cells, at, coarse)
        if not plan.is_uniform:
            found *= plan.ratio_at(at, places)
        return np.log(found)

    return at_nodes


def _prior_variance(plan: Plan, ratio: Array | None, voxels: int) -> dict[str, Array]:
    """Variance of the prior of each voxel, by key (v,)."""
    if ratio is None:
        return {key: np.full(voxels, sd**2) for key, (_, sd) in plan.prior.moments().items()}
    sums = (ratio.reshape(voxels, -1) @ plan.cell_moments).astype(float)
    total, sums = sums[:, 0], sums[:, 1:]
    # The broad mean was taken off, so that single precision is enough for the variance.
    return {
        key: np.maximum(sums[:, 2 * i + 1] / total - (sums[:, 2 * i] / total) ** 2, 0.0)
        for i, key in enumerate(KEYS)
    }


def _finish(plan: Plan, summary: Summary, y: Array, within: Array, prior_variance: dict[str, Array]) -> VoxelFit:
    """Turn a summary into maps, errors, extras, residual and status."""
    options = plan.options
    if options.point == "mean":
        values = dict(summary.mean)
    else:
        median = options.point == "median"
        values = {key: summary.quantiles[key][:, -1] if median else summary.mode[key] for key in KEYS}
    curve = (1 - values["f"])[:, None] * np.exp(-values["D"][:, None] * plan.b)
    curve += values["f"][:, None] * np.exp(-values["Dstar"][:, None] * plan.b)
    best = ((y * curve) @ plan.counts) / ((curve * curve) @ plan.counts)
    if options.point != "mean":
        values["S0"] = best
    empty = ~(summary.mean["S0"] > 0) | ~np.isfinite(values["D"])
    squares = within + ((y - best[:, None] * curve) ** 2) @ plan.counts
    rmse = np.sqrt(np.maximum(squares, 0.0) / plan.acquisition.count)
    status = np.full(rmse.size, Status.OK, dtype=np.uint8)
    status[rmse > POOR * np.maximum(values["S0"], 0)] = Status.POOR_FIT
    status[empty] = Status.NO_DECAY
    extras: dict[str, Array] = {}
    for key in KEYS:
        # A fixed parameter has no variance, only rounding: nothing can be learned of it.
        low, high = plan.bounds[key]
        variance = prior_variance[key] if high > low else 0.0 * prior_variance[key]
        with np.errstate(invalid="ignore", divide="ignore"):
            known = 1 - summary.sd[key] ** 2 / variance
        extras[f"{key}_info"] = np.where(variance > 0, np.clip(known, 0.0, 1.0), np.nan)
    extras["f_probability"], extras["rho_Dstar_f"] = summary.f_probability, summary.rho
    if options.interval > 0:
        for key in KEYS:
            extras[f"{key}_low"], extras[f"{key}_high"] = summary.quantiles[key][:, 0], summary.quantiles[key][:, 1]
    for table in (values, summary.sd, extras):
        for key in table:
            table[key] = np.where(empty, np.nan, table[key])
    return VoxelFit(values, summary.sd, np.where(empty, np.nan, rmse), status, extras)


def learn_prior(plan: Plan, rows: Array, good: Array, tell: Callable[[float], Any]) -> Prior:
    """Learn the prior of a region from a seeded sample of its usable voxels.

    Arguments: `rows` (v, n) signal; `good` indices of usable voxels. Raises Cancelled where `tell` returns False.
    """
    options = plan.options
    chosen = good
    if good.size > options.sample:
        chosen = np.sort(np.random.default_rng(int(options.seed)).choice(good, int(options.sample), replace=False))

    def stop(share: float) -> None:
        if tell(share) is False:
            raise Cancelled("The fit was stopped; nothing was written.")

    data, _, _ = plan.data(rows[chosen].astype(float))
    mass, history = learning.learn(data, plan.grid, plan.mass, int(options.rounds), options.floor, stop)
    about = {
        "voxels": int(chosen.size), "rounds": int(options.rounds), "floor": options.floor, "seed": int(options.seed),
        "bvalues": [float(b) for b in plan.b], "organ": options.organ, "sigma": plan.sigma,
        "log_evidence": [round(history[0], 6), round(history[-1], 6)],
    }
    return Prior("learned", plan.prior.edges, plan.grid.unflatten(mass), about)


def neighbours(region: Array, radius: tuple[int, int, int]) -> float:
    """Count the neighbours that the voxels of a region (x, y, z) of bool have inside it, on average."""
    inside = region.astype(np.float32)
    return float((learning.window_sum(inside, radius) - inside)[region].mean())


def tiles(plan: Plan, inside: Array) -> Iterator[tuple[slice, slice, slice]]:
    """Cut the region (x, y, z) into pieces whose posteriors fit into memory; slices without voxels are left out."""
    per_voxel = 4 * int(np.prod(plan.grid.cell_shape))
    x_any, y_any = np.flatnonzero(inside.any(axis=(1, 2))), np.flatnonzero(inside.any(axis=(0, 2)))
    columns = slice(int(y_any[0]), int(y_any[-1]) + 1)
    width = max(4, TILE_BYTES // (per_voxel * (columns.stop - columns.start)))
    for z in np.flatnonzero(inside.any(axis=(0, 1))):
        for start in range(int(x_any[0]), int(x_any[-1]) + 1, width):
            part = slice(start, min(start + width, int(x_any[-1]) + 1))
            if inside[part, columns, z].any():
                yield part, columns, slice(int(z), int(z) + 1)


def fit_tile(
    plan: Plan, rows: Array, index: Array, inside: Array, tile: tuple[slice, slice, slice], flat: FlatMaps
) -> int:
    """Fit one tile, each voxel with the prior of its neighbours; returns the number of voxels.

    Arguments: `rows` (v, n) signal; `index` (x, y, z) row of each voxel; `inside` (v,) of bool the region; `flat`
    receives the result.
    """
    radius, rounds = plan.local, int(plan.options.local_rounds)
    halo = tuple(reach * rounds for reach in radius)
    wide = tuple(
        slice(max(part.start - reach, 0), min(part.stop + reach, size))
        for part, reach, size in zip(tile, halo, index.shape, strict=True)
    )
    around = index[wide]
    present = inside[around]
    signal = rows[around[present]].astype(float)
    code = usable(signal)
    good = code == Status.OK
    present[present] = good
    grid = plan.grid
    centre = np.zeros(around.shape, dtype=bool)
    centre[tuple(
        slice(part.start - outer.start, part.stop - outer.start) for part, outer in zip(tile, wide, strict=True)
    )] = True
    target = around[centre & inside[around]]
    flat.status[target] = usable(rows[target].astype(float))
    mine = np.flatnonzero(centre[present])
    if mine.size == 0:
        return target.size
    signal = signal[good]
    data, y, within = plan.data(signal)
    first, last, _ = profile(data, grid)
    # Background is fitted like all else, but teaches nobody.
    teaches = learning.teaches(signal, plan.sigma)
    teacher = present.copy()
    teacher[present] = teaches
    posterior = learning.cell_posteriors(
        data.take(np.flatnonzero(teaches)), grid, plan.log_mass_on, first[teaches], last[teaches]
    ).reshape(-1, int(np.prod(grid.cell_shape)))
    broad = grid.cells(plan.mass).reshape(-1)
    wanted = centre & present
    ratio = learning.neighbour_priors(posterior, teacher, broad, radius, rounds, plan.options.floor, wanted)
    del posterior
    own = ratio.reshape(-1, *grid.cell_shape)
    flat.put(around[wanted], _fit(plan, data.take(mine), y[mine], within[mine], first[mine], last[mine], own))
    return target.size
