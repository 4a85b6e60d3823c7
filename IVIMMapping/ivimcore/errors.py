"""The two ways in which work ends without a result, each with a sentence for the person."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence for the person who gave it: what is wrong, and what to do. The shell prints it and
    ends with exit code 2; nothing has been written.
    """


class ChoiceNeeded(InputError):
    """The input holds several things that could be meant; `ways` says which, so that a window can offer them.

    Each way is a pair: what to give as `series`, and in words what that is.
    """

    def __init__(self, sentence: str, ways: tuple[tuple[str, str], ...]) -> None:
        super().__init__(sentence)
        self.ways = ways


class GpuMemoryError(InputError):
    """The GPU holds not even the smallest part of the work; a window can offer the processor instead."""


class Cancelled(Exception):
    """The person asked to stop. Nothing has been written."""
