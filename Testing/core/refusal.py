"""One assertion for every refusal: a single sentence for the person, with the words that help."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ivimcore import InputError


def refused(call: Callable[[], object], *parts: str) -> str:
    """Assert that `call` is refused in one line that contains the given parts; return the line."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    for part in parts:
        assert part in message
    return message
