"""The form of a file of weights (safetensors), checked before anything else reads it. Needs no torch."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import InputError

LARGEST_HEADER = 1_000_000
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}


def check_safetensors(data: bytes, name: str) -> dict[str, Any]:
    """Check the form of a safetensors file before anything else reads it; return its table of tensors.

    Eight bytes with the length of a JSON table, the table, then numbers: every tensor must lie inside the file, without
    gaps that could hide something, and have the size that its shape says. Raises InputError with one sentence.
    """

    def wrong(what: str) -> InputError:
        return InputError(f"The weights of '{name}' cannot be used: {what}.")

    # A header of 640 bytes begins with the same two bytes as a pickle; what follows the length tells them apart.
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK") and data[8:9] != b"{":
        raise wrong("they are a pickle, which could run code; only safetensors are read")
    if len(data) < 8:
        raise wrong("the file is too short")
    length = int.from_bytes(data[:8], "little")
    if length > min(LARGEST_HEADER, len(data) - 8):
        raise wrong(f"their header claims {length} bytes")
    try:
        table = json.loads(data[8 : 8 + length])
        entries = {key: value for key, value in table.items() if key != "__metadata__"}
        spans = []
        for key, entry in entries.items():
            begin, end = entry["data_offsets"]
            shape = entry["shape"]
            if not all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end)):
                raise wrong(f"the shape of '{key[:40]}' is impossible")
            if math.prod(shape) * _SIZES[entry["dtype"]] != end - begin:
                raise wrong(f"the size of '{key[:40]}' differs from its shape")
            spans.append((begin, end))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise wrong("their header is damaged") from None
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise wrong("their tensors overlap or leave gaps")
        reached = end
    if reached != len(data) - 8 - length:
        raise wrong("their tensors do not fill the file")
    return entries
