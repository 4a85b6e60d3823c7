"""Observers of a widget on the scene, which end with the widget."""

from __future__ import annotations


class SceneWatch:
    """Observers that are taken away by `stop`; connect `destroyed` of the widget to it.

    It is no QObject: PySide drops a connection to a method of the very object that is destroyed.
    """

    def __init__(self) -> None:
        self._observed: dict[tuple[str, str], tuple[object, int]] = {}

    def add(self, subject, event, callback) -> None:
        """Call `callback` at that event of a scene or node; a second time for the same pair changes nothing."""
        key = (subject.GetAddressAsString(""), str(event))
        if key not in self._observed:
            self._observed[key] = (subject, subject.AddObserver(event, callback))

    def forget(self, subject) -> None:
        """Let go of a node that left the scene."""
        address = subject.GetAddressAsString("")
        for key in [key for key in self._observed if key[0] == address]:
            subject.RemoveObserver(self._observed.pop(key)[1])

    def stop(self, *_) -> None:
        """Take all observers away."""
        for subject, tag in self._observed.values():
            subject.RemoveObserver(tag)
        self._observed.clear()
