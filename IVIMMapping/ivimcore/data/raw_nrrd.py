"""Images as raw numbers behind a short NRRD header: how series and maps go between the panel and its fitting process.

Compression would take longer than the fit of a small series, and SimpleITK takes half a second to import and is not
there in every Python that could fit; raw NRRD needs neither. The format is Teem's
(http://teem.sourceforge.net/nrrd). Only the form that is written here is read here; every other file is left to
SimpleITK, which knows all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .series import Geometry

Array = np.ndarray
TYPES = {
    "float": "f4", "double": "f8", "uint8": "u1", "unsigned char": "u1", "uchar": "u1", "uint8_t": "u1",
    "int8": "i1", "signed char": "i1", "short": "i2", "int16": "i2", "unsigned short": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "unsigned int": "u4", "uint32": "u4",
}
NAMES = {"f4": "float", "f8": "double", "u1": "uint8", "i1": "int8", "i2": "int16", "u2": "uint16", "i4": "int32"}
"""Number types that are written, by their numpy name."""
_ENDIAN = {"little": "<", "big": ">"}
_SPACE = "right-anterior-superior"
_KINDS = {3: "domain domain domain", 4: "domain domain domain list"}


def raw_header(sizes: Sequence[int], geometry: Geometry, dtype: str) -> bytes:
    """Return the header of an image of `sizes` (x, y, z) or (x, y, z, n) and `dtype`, one of NAMES."""
    vectors = ["(" + ",".join(f"{x:.17g}" for x in column) + ")" for column in np.asarray(geometry.affine)[:3].T]
    lines = [
        "NRRD0004", f"type: {NAMES[dtype]}", f"dimension: {len(sizes)}", f"space: {_SPACE}",
        f"sizes: {' '.join(str(size) for size in sizes)}",
        f"space directions: {' '.join([*vectors[:3], *['none'] * (len(sizes) - 3)])}",
        f"kinds: {_KINDS[len(sizes)]}", "endian: little", "encoding: raw", f"space origin: {vectors[3]}",
    ]
    return ("\n".join(lines) + "\n\n").encode("ascii")


def raw_bytes(image: Array, dtype: str) -> memoryview:
    """Return the numbers of an image (x, y, z) in the order of the file, x fastest."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 1, 0), dtype="<" + dtype).data


def write_raw(path: Path | str, image: Array, geometry: Geometry) -> Path:
    """Write one image (x, y, z) in its own dtype, one of NAMES. Returns the path; raises OSError on a full disk."""
    dtype = image.dtype.str[1:]
    with open(path, "wb") as stream:
        stream.write(raw_header(geometry.shape, geometry, dtype))
        stream.write(raw_bytes(image, dtype))
    return Path(path)


def raw_numbers(path: Path, fields: Mapping[str, str]) -> Array | None:
    """Return the numbers behind the header `fields` with the shape of its sizes, None if they are not raw in the file.

    Raises InputError for a file that is shorter than its header says.
    """
    dtype = TYPES.get(fields.get("type", ""))
    order = _ENDIAN.get(fields.get("endian", sys.byteorder))
    words = fields.get("sizes", "").split()
    is_known = dtype is not None and order is not None and bool(words) and all(word.isdecimal() for word in words)
    if fields.get("encoding") != "raw" or not is_known or "data file" in fields or "datafile" in fields:
        return None
    sizes = tuple(int(word) for word in words)
    # Of Python and not of numpy: a damaged header may promise more than fits into 64 bits.
    wanted = np.dtype(dtype).itemsize
    for size in sizes:
        wanted *= size
    start = path.stat().st_size - wanted
    with open(path, "rb") as stream:
        # The numbers stand at the end of the file, behind the empty line that ends the header.
        stream.seek(max(start - 2, 0))
        if start < 2 or stream.read(2) != b"\n\n":
            raise InputError(f"{path.name} is shorter than its header says; copy it, or run the fit, again.")
        return np.fromfile(stream, dtype=order + dtype).reshape(sizes, order="F")


def read_raw(path: Path, fields: Mapping[str, str], directions: Sequence) -> tuple[Array, Geometry] | None:
    """Read a file as `write_raw` makes it: (x, y, z, n), n being 1 for one image, and the grid; None for any other.

    `fields` of its header and `directions`, its vectors of 'space directions'. Raises InputError if it is truncated.
    """
    count = len(fields.get("sizes", "").split())
    origin = fields.get("space origin", "").strip("()").split(",")
    is_ours = fields.get("space") == _SPACE and fields.get("kinds") == _KINDS.get(count, "") and len(origin) == 3
    if not is_ours or len(directions) != count or any(vector is None or len(vector) != 3 for vector in directions[:3]):
        return None
    try:
        affine = np.column_stack([*directions[:3], [float(word) for word in origin]])
    except ValueError:
        return None
    numbers = raw_numbers(path, fields)
    if numbers is None or not np.isfinite(affine).all():
        return None
    values = numbers if numbers.ndim == 4 else numbers[..., np.newaxis]
    return values, Geometry(values.shape[:3], np.vstack([affine, [0.0, 0.0, 0.0, 1.0]]))
