"""Tell others that something changed, without Qt: plain functions that are called in order."""

from __future__ import annotations

from collections.abc import Callable


class Announcement:
    """A list of functions to call. Example::

        seriesChanged = Announcement()
        seriesChanged.connect(curve.redraw)
        seriesChanged()
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[..., None]] = []

    def connect(self, listener: Callable[..., None]) -> None:
        """Call `listener` whenever this is announced, after those connected before."""
        self._listeners.append(listener)

    def __call__(self, *arguments) -> None:
        for listener in list(self._listeners):
            listener(*arguments)
