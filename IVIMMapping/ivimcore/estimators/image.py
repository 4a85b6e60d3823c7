"""From voxels to volumes, written once: mask, chunks, threads, progress, cancel, status."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy

from ..errors import Cancelled, InputError
from ..physics.acquisition import Acquisition
from .base import Array, Estimator, Progress, ignore
from .result import FitResult, Status

CHUNK_VALUES = 3 << 17
"""Measurements in one chunk (voxels times images): large enough that numpy's overhead vanishes beside the work, small
enough for steady progress, quick cancelling and little memory."""


@dataclass
class VoxelFit:
    """What a method returns for a list of voxels: every array (v,), in stored units.

    `maps` and `errors` by parameter key; `rmse` root mean square over the images used [signal units]; `status` codes;
    `extras` further maps by key.
    """

    maps: dict[str, Array]
    errors: dict[str, Array]
    rmse: Array
    status: Array
    extras: dict[str, Array] = field(default_factory=dict)


@dataclass
class FlatMaps:
    """The result of a fit while it is being filled: every array over all voxels of the volume, flat."""

    maps: dict[str, Array]
    errors: dict[str, Array]
    extras: dict[str, Array]
    rmse: Array
    status: Array

    @classmethod
    def empty(cls, estimator: VoxelwiseEstimator, count: int) -> FlatMaps:
        """Make room for the maps of an estimator: NaN, and outside the region."""
        new = lambda keys: {key: np.full(count, np.nan, dtype=np.float32) for key in keys}  # noqa: E731
        return cls(
            new(estimator.parameters), new(estimator.error_keys), new(estimator.extra_keys()),
            np.full(count, np.nan, dtype=np.float32), np.full(count, Status.OUTSIDE, dtype=np.uint8),
        )

    def put(self, target: Array, fit: VoxelFit) -> None:
        """Write the result of some voxels to their places (v,)."""
        for mine, theirs in ((self.maps, fit.maps), (self.errors, fit.errors), (self.extras, fit.extras)):
            for key, values in theirs.items():
                mine[key][target] = values
        self.rmse[target] = fit.rmse
        self.status[target] = fit.status

    def result(self, shape: tuple[int, ...], order: str, about: dict[str, Any]) -> FitResult:
        """Return the maps as volumes of a shape in memory order "C" or "F", with their provenance."""
        volumes = lambda table: {key: array.reshape(shape, order=order) for key, array in table.items()}  # noqa: E731
        return FitResult(
            maps=volumes(self.maps), errors=volumes(self.errors), residual=self.rmse.reshape(shape, order=order),
            status=self.status.reshape(shape, order=order), provenance=about, extras=volumes(self.extras),
        )


class VoxelwiseEstimator(Estimator):
    """An estimator that treats each voxel by itself: subclasses write `fit_voxels`, `fit` is here.

    `threads` may be set before a fit to use fewer than all cores.
    """

    error_keys: tuple[str, ...] = ()

    def extra_keys(self) -> tuple[str, ...]:
        """Keys of the further maps that this estimator gives with its options."""
        return ()

    @abstractmethod
    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels whose signal (v, n) is finite and not zero everywhere."""

    def fit(
        self,
        signal: Array,
        acquisition: Acquisition,
        mask: Array | None = None,
        progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Estimate every voxel of a volume; see `Estimator.fit`. `threads` limits the cores used, None takes all."""
        rows, voxels, shape, order = flatten(self, signal, acquisition, mask)
        began = time.perf_counter()
        flat = FlatMaps.empty(self, rows.shape[0])
        _run(self, rows, acquisition, voxels, flat, progress, threads or os.cpu_count() or 1)
        return flat.result(shape, order, provenance(self, acquisition, voxels.size, time.perf_counter() - began))


def flatten(
    estimator: Estimator, signal: Array, acquisition: Acquisition, mask: Array | None
) -> tuple[Array, Array, tuple[int, ...], str]:
    """Refuse what cannot be fitted; return the signal as rows (v, n), the flat indices of the voxels to fit, the shape
    of the volume and the memory order "C" or "F" of the rows, which avoids a copy of the series."""
    signal = np.asarray(signal)
    voxels, shape = check(estimator, signal, acquisition, mask)
    order = "F" if signal.flags.f_contiguous and not signal.flags.c_contiguous else "C"
    rows = signal.reshape(-1, signal.shape[-1], order=order)
    if order == "F":
        voxels = voxels if mask is None else _indices((np.asarray(mask) != 0).ravel(order="F"))
    return rows, voxels, shape, order


def check(
    estimator: Estimator, signal: Array, acquisition: Acquisition, mask: Array | None
) -> tuple[Array, tuple[int, ...]]:
    """Refuse what cannot be fitted; return the flat indices of the voxels (C order) and the shape of the volume."""
    if signal.ndim != 4:
        raise InputError(f"A fit needs a signal with four axes (x, y, z, image), not shape {signal.shape}.")
    shape = signal.shape[:3]
    if signal.shape[3] != acquisition.count:
        raise InputError(f"There are {acquisition.count} b-values for {signal.shape[3]} images; give one per image.")
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != shape:
            raise InputError(f"The mask has shape {mask.shape}, the series {shape}; give a mask on the series' grid.")
        if mask.dtype != bool:
            mask = mask != 0
    blocking = [problem for problem in estimator.problems(acquisition) if problem.blocks]
    if blocking:
        raise InputError(str(blocking[0]))
    voxels = np.arange(int(np.prod(shape)), dtype=np.int32) if mask is None else _indices(mask)
    if voxels.size == 0:
        raise InputError("The region is empty; draw or choose a region with at least one voxel.")
    return voxels, shape


def _indices(mask: Array) -> Array:
    """Return the flat indices of a mask; four bytes each, because a volume has fewer than 2e9 voxels."""
    return np.flatnonzero(mask).astype(np.int32)


def usable(signal: Array) -> Array:
    """Say of each voxel of a signal (v, n) whether it can be fitted: codes of `Status` (v,)."""
    code = np.full(signal.shape[0], Status.OK, dtype=np.uint8)
    finite = np.isfinite(signal).all(axis=1)
    code[~finite] = Status.NOT_FINITE
    code[finite & ~signal.any(axis=1)] = Status.NO_SIGNAL
    return code


def _run(
    estimator: VoxelwiseEstimator, rows: Array, acquisition: Acquisition, voxels: Array, flat: FlatMaps,
    progress: Progress, threads: int,
) -> None:
    """Fit all voxels in chunks over threads; results are written in place, so their order does not matter."""
    size = max(256, CHUNK_VALUES // rows.shape[1])

    def work(chunk: Array) -> int:
        signal = rows[chunk].astype(np.float64)
        code = usable(signal)
        good = code == Status.OK
        flat.status[chunk] = code
        if good.any():
            flat.put(chunk[good], estimator.fit_voxels(signal if good.all() else signal[good], acquisition))
        return chunk.size

    chunks = [voxels[start : start + size] for start in range(0, voxels.size, size)]
    over_threads(chunks, work, threads, lambda done: progress(done, voxels.size))


def over_threads(
    tasks: Iterable[Any], work: Callable[[Any], int], threads: int, report: Callable[[int], bool | None]
) -> None:
    """Do tasks in threads; linear algebra keeps to one core in each.

    Arguments: `work` does one task and returns how much it was; `report` is called in this thread with the sum so far,
    first with 0, and stops everything by returning False. Raises Cancelled then, and whatever a task raises.
    """
    stop = threading.Event()

    def guarded(task: Any) -> int:
        return 0 if stop.is_set() else work(task)

    def tell(done: int) -> None:
        if report(done) is False:
            stop.set()
            raise Cancelled("The fit was stopped; nothing was written.")

    done = 0
    tell(done)
    if threads == 1:
        # In this thread: starting another one costs more than a voxel under a cursor.
        with one_thread_per_product():
            for task in tasks:
                done += guarded(task)
                tell(done)
        return
    with one_thread_per_product(), ThreadPoolExecutor(threads) as pool:
        pending = set()
        try:
            waiting: Iterator[Any] = iter(tasks)
            for task in waiting:
                pending.add(pool.submit(guarded, task))
                if len(pending) < 2 * threads:
                    continue
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                done += sum(future.result() for future in finished)
                tell(done)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                done += sum(future.result() for future in finished)
                tell(done)
        except BaseException:
            stop.set()
            raise


@contextmanager
def one_thread_per_product() -> Iterator[None]:
    """Keep the linear algebra library to one thread per call: the chunks already use every core."""
    controller = _blas_controller(len(sys.modules))
    with nullcontext() if controller is None else controller.limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _blas_controller(modules: int) -> Any:
    """Return what sets the threads of the libraries in this process; looked for anew only after an import.

    The search takes 15 ms, longer than the fit of one voxel under a cursor.
    """
    if find_spec("threadpoolctl") is None:
        return None
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _shown(estimator: Estimator) -> dict[str, Any]:
    """Return the options for the provenance; of a file only that there was one, because a path may hold a name."""
    files = {option.name for option in estimator.options() if option.kind == "file"}
    return {key: "a file" if key in files and value else value for key, value in estimator.values().items()}


def provenance(estimator: Estimator, acquisition: Acquisition, voxels: int, seconds: float) -> dict[str, Any]:
    """Collect what is needed to repeat a fit: estimator, options, b-values used, versions, time. No names."""
    from .. import __version__

    return {
        "estimator": estimator.name,
        "options": _shown(estimator),
        "bvalues_used": [float(b) for b in acquisition.bvalues],
        "sigma": acquisition.sigma,
        "voxels": int(voxels),
        "fit_seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "ivimslicer": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "references": list(estimator.references),
    }
