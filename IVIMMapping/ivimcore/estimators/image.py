"""From voxels to volumes, written once: mask, chunks, threads, progress, cancel, status."""

from __future__ import annotations

import os
import platform
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
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

    `maps` and `errors` by parameter key; `rmse` root mean square over the images used [signal units]; `status` codes.
    """

    maps: dict[str, Array]
    errors: dict[str, Array]
    rmse: Array
    status: Array


class VoxelwiseEstimator(Estimator):
    """An estimator that treats each voxel by itself: subclasses write `fit_voxels`, `fit` is here.

    `threads` may be set before a fit to use fewer than all cores.
    """

    error_keys: tuple[str, ...] = ()

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
        signal = np.asarray(signal)
        voxels, shape = _check(self, signal, acquisition, mask)
        order = "F" if signal.flags.f_contiguous and not signal.flags.c_contiguous else "C"
        rows = signal.reshape(-1, signal.shape[-1], order=order)
        if order == "F":
            voxels = voxels if mask is None else _indices(mask.ravel(order="F"))
        began = time.perf_counter()
        flat = _empty(self.parameters, self.error_keys, rows.shape[0])
        _run(self, rows, acquisition, voxels, flat, progress, threads or os.cpu_count() or 1)
        maps, errors, rmse, status = flat
        volume = lambda array: array.reshape(shape, order=order)  # noqa: E731
        return FitResult(
            maps={key: volume(array) for key, array in maps.items()},
            errors={key: volume(array) for key, array in errors.items()},
            residual=volume(rmse),
            status=volume(status),
            provenance=provenance(self, acquisition, voxels.size, time.perf_counter() - began),
        )


def _check(
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


def _empty(
    keys: tuple[str, ...], error_keys: tuple[str, ...], count: int
) -> tuple[dict[str, Array], dict[str, Array], Array, Array]:
    nan = lambda: np.full(count, np.nan, dtype=np.float32)  # noqa: E731
    status = np.full(count, Status.OUTSIDE, dtype=np.uint8)
    return {key: nan() for key in keys}, {key: nan() for key in error_keys}, nan(), status


def _run(
    estimator: VoxelwiseEstimator, rows: Array, acquisition: Acquisition, voxels: Array, flat: tuple,
    progress: Progress, threads: int,
) -> None:
    """Fit all voxels in chunks over threads; results are written in place, so their order does not matter."""
    maps, errors, rmse, status = flat
    size = max(256, CHUNK_VALUES // rows.shape[1])
    chunks = [voxels[start : start + size] for start in range(0, voxels.size, size)]
    stop = threading.Event()

    def work(chunk: Array) -> int:
        if stop.is_set():
            return 0
        signal = rows[chunk].astype(np.float64)
        code = np.full(chunk.size, Status.OK, dtype=np.uint8)
        finite = np.isfinite(signal).all(axis=1)
        code[~finite] = Status.NOT_FINITE
        code[finite & ~signal.any(axis=1)] = Status.NO_SIGNAL
        good = code == Status.OK
        if good.any():
            fit = estimator.fit_voxels(signal if good.all() else signal[good], acquisition)
            code[good] = fit.status
            target = chunk[good]
            for key, values in fit.maps.items():
                maps[key][target] = values
            for key, values in fit.errors.items():
                errors[key][target] = values
            rmse[target] = fit.rmse
        status[chunk] = code
        return chunk.size

    done = 0
    _report(progress, done, voxels.size, stop)
    with _one_thread_per_product(threads), ThreadPoolExecutor(threads) as pool:
        pending = set()
        try:
            waiting: Iterator[Array] = iter(chunks)
            for chunk in waiting:
                pending.add(pool.submit(work, chunk))
                if len(pending) < 2 * threads:
                    continue
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                done += sum(future.result() for future in finished)
                _report(progress, done, voxels.size, stop)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                done += sum(future.result() for future in finished)
                _report(progress, done, voxels.size, stop)
        except BaseException:
            stop.set()
            raise


def _report(progress: Progress, done: int, total: int, stop: threading.Event) -> None:
    if progress(done, total) is False:
        stop.set()
        raise Cancelled("The fit was stopped; nothing was written.")


@contextmanager
def _one_thread_per_product(threads: int) -> Iterator[None]:
    """Keep the linear algebra library to one thread per call: the chunks already use every core."""
    limits: Any = nullcontext()
    if find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_limits

        limits = threadpool_limits(1, user_api="blas")
    with limits:
        yield


def provenance(estimator: Estimator, acquisition: Acquisition, voxels: int, seconds: float) -> dict[str, Any]:
    """Collect what is needed to repeat a fit: estimator, options, b-values used, versions, time. No names."""
    from .. import __version__

    return {
        "estimator": estimator.name,
        "options": estimator.values(),
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
