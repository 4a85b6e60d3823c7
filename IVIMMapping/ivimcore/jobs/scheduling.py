"""Work spread over processes by Dask: a local cluster, one that is already there, or none at all.

    with Workers(2) as workers:
        for result in workers.map(function, tasks): ...

At most two tasks a worker are handed out ahead, so that memory stays bounded and little is lost whoever is killed. A
worker that dies is replaced and its task given to another one, three times; then the task comes back as `Lost`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..errors import InputError

AHEAD = 2
"""Tasks handed out ahead for each thread of the cluster: one runs, one waits."""
CONNECT = 10.0
"""Seconds to wait for a scheduler that was named."""
INSTALL = "install it with pip install 'ivimslicer[cohort]'"


class Lost:
    """Stands for the result of a task whose workers died again and again."""

    def __init__(self, task: Any, sentence: str) -> None:
        self.task = task
        self.sentence = sentence


def dask_is_there() -> bool:
    """Tell whether Dask can be used, without importing it."""
    return importlib.util.find_spec("distributed") is not None


class Workers:
    """Processes that carry out tasks; a context manager.

    Arguments: `count` worker processes, 0 for this process alone, None for one a core where Dask is installed;
    `scheduler` address of a running Dask scheduler instead; `memory` limit of a worker, such as "4GB".
    Raises InputError where Dask is missing although asked for, and where the scheduler does not answer.
    """

    def __init__(self, count: int | None = None, scheduler: str | None = None, memory: str = "auto") -> None:
        if (scheduler or count) and not dask_is_there():
            raise InputError(f"Worker processes need Dask; {INSTALL}, or use --workers 0.")
        self._scheduler, self._memory = scheduler, memory
        self.count = (os.cpu_count() or 1) if count is None else count
        if scheduler is None and not dask_is_there():
            self.count = 0
        self._client: Any = None
        self._cluster: Any = None

    def __enter__(self) -> Workers:
        if not (self._scheduler or self.count):
            return self
        from distributed import Client, LocalCluster

        for name in ("distributed", "distributed.nanny", "distributed.worker", "distributed.scheduler", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self._scheduler:
            try:
                self._client = Client(self._scheduler, timeout=CONNECT, set_as_default=False)
            except (OSError, ValueError, TypeError) as fault:
                raise InputError(
                    f"The scheduler {self._scheduler} does not answer ({type(fault).__name__}); check the address."
                ) from None
            with contextlib.suppress(TimeoutError):
                self._client.wait_for_workers(1, timeout=CONNECT)
            self.count = sum(self._client.nthreads().values())
            if not self.count:
                self.close()
                raise InputError(f"The scheduler {self._scheduler} has no worker; start one with 'dask worker'.")
            self._check()
        else:
            # Dask serves its state over HTTP: to this computer only, at any free port.
            self._cluster = LocalCluster(
                n_workers=self.count, threads_per_worker=1, processes=True, memory_limit=self._memory,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
            )
            self._client = Client(self._cluster, set_as_default=False)
        return self

    def _check(self) -> None:
        """Refuse workers that do not have the same version of this program."""
        from .. import __version__

        try:
            found = set(self._client.run(_version).values())
        except Exception as fault:
            self.close()
            raise InputError(
                f"The workers of {self._scheduler} cannot import ivimcore ({type(fault).__name__}); "
                "install IVIMSlicer in their environment."
            ) from None
        if found != {__version__}:
            self.close()
            raise InputError(
                f"The workers of {self._scheduler} have version {', '.join(sorted(found))}, not {__version__}; "
                "install the same version."
            )

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and the cluster if it is ours."""
        for thing in (self._client, self._cluster):
            if thing is not None:
                with contextlib.suppress(Exception):  # it may be gone already
                    thing.close(timeout=5)
        self._client = self._cluster = None

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """Carry out `function(task)` for every task; yield (task, result) in the order in which they end.

        Raises InputError where the scheduler dies; what was finished until then is finished.
        """
        if self._client is None:
            for task in tasks:
                yield task, function(task)
            return
        yield from self._spread(function, iter(tasks))

    def _spread(self, function: Callable[[Any], Any], waiting: Iterator[Any]) -> Iterator[Any]:
        from distributed import as_completed

        gone = "The Dask scheduler has gone; what is finished is kept, run the same command for the rest."
        running: dict[str, Any] = {}
        ready = as_completed(raise_errors=False, loop=self._client.loop)

        def submit(number: int) -> None:
            for task in _first(waiting, number):
                future = self._client.submit(function, task, pure=False, retries=0)
                running[future.key] = task
                ready.add(future)

        try:
            submit(max(1, self.count) * AHEAD)
            for future in ready:
                task = running.pop(future.key)
                if future.status == "finished":
                    try:
                        found = future.result()
                    except OSError:  # the connection broke between the message and the result
                        raise InputError(gone) from None
                    yield task, found
                elif future.status == "error":
                    fault = future.exception()
                    if type(fault).__name__ == "KilledWorker":
                        sentence = "Its worker process died again and again; use fewer workers or more memory."
                    else:
                        sentence = f"A fault in IVIMSlicer ({type(fault).__name__}: {fault}); please report it."
                    yield task, Lost(task, sentence)
                else:
                    raise InputError(gone)
                future.release()
                submit(1)
        finally:
            ready.clear()


def _first(waiting: Iterator[Any], number: int) -> Iterator[Any]:
    for _ in range(number):
        try:
            yield next(waiting)
        except StopIteration:
            return


def _version() -> str:
    from ivimcore import __version__

    return __version__
