"""The two ways in which work ends without a result, each with a sentence for the person."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence for the person who gave it: what is wrong, and what to do. The shell prints it and
    ends with exit code 2; nothing has been written.
    """


class Cancelled(Exception):
    """The person asked to stop. Nothing has been written."""
