"""What a job says while it runs: status, progress, warning, result, error, each one JSON object on one line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Emit = Callable[[Event], None]

EVERY = 0.5
"""Longest silence [s] between two progress events."""


def status(text: str) -> Event:
    """Say what is being done now."""
    return {"event": "status", "text": text}


def warning(text: str) -> Event:
    """Say something that the person should know; work goes on."""
    return {"event": "warning", "text": text}


def result(**content: Any) -> Event:
    """Say that all work is done and where it lies."""
    return {"event": "result", **content}


def error(message: str, kind: str = "") -> Event:
    """Say why there is no result: what is wrong, and after the first semicolon what to do.

    `kind` names what a window can offer a way out of: "gpu_memory".
    """
    if kind:
        return {**error(message), "kind": kind}
    sentence, separator, advice = message.partition("; ")
    if not separator:
        return {"event": "error", "sentence": message, "advice": ""}
    return {"event": "error", "sentence": sentence + ".", "advice": advice[:1].upper() + advice[1:]}


def to_line(event: Event) -> str:
    """Write an event as one line of JSON."""
    return json.dumps(event, ensure_ascii=True, allow_nan=False)


class ProgressClock:
    """Turns "this step is so far" into progress events with the remaining time.

    Steps have weights, roughly the seconds that each takes; the remaining time follows from the time used so far. A
    small thread repeats the last progress while a step (a file being read or compressed) cannot report by itself.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._began = time.monotonic()
        self._done = 0.0
        self._step = 0.0
        self._inside = 0.0
        self._last = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> ProgressClock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def begin(self, share: float, text: str) -> None:
        """End the step before, and begin one that is `share` (0..1) of the whole job."""
        with self._lock:
            self._done, self._step, self._inside = self._done + self._step, share, 0.0
        self._emit(status(text))
        self._report()

    def inside(self, fraction: float) -> None:
        """Say how far (0..1) the present step is."""
        self._inside = fraction
        if time.monotonic() - self._last >= 0.1:
            self._report()

    def end(self) -> None:
        """Say that the job is complete."""
        with self._lock:
            self._done, self._step = 1.0, 0.0
        self._report()

    def _report(self) -> None:
        with self._lock:
            fraction = min(1.0, self._done + self._step * self._inside)
            now = time.monotonic()
            left = (now - self._began) * (1 - fraction) / fraction if fraction > 0.01 else None
            self._last = now
        self._emit(
            {
                "event": "progress",
                "fraction": round(fraction, 4),
                "seconds_left": None if left is None else round(left, 1),
            }
        )

    def _beat(self) -> None:
        while not self._stop.wait(EVERY / 2):
            if time.monotonic() - self._last >= EVERY:
                self._report()
