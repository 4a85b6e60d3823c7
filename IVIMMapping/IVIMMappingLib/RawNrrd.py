"""Images as raw numbers behind a short NRRD header: how series and maps go to the fitting process and come back.

Compression would take longer than the fit of a small series, and SimpleITK takes half a second to import, during which
the window would stand still; a raw NRRD needs neither. The format is Teem's (http://teem.sourceforge.net/nrrd).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ivimcore.data.nrrd import read_header
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from .VolumeReading import readVolume

_TYPES = {
    "float": "f4", "double": "f8", "uint8": "u1", "unsigned char": "u1", "uchar": "u1", "uint8_t": "u1",
    "int8": "i1", "signed char": "i1", "short": "i2", "int16": "i2", "unsigned short": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "unsigned int": "u4", "uint32": "u4",
}
_NAMES = {"f4": "float", "f8": "double", "u1": "uint8", "i1": "int8", "i2": "int16", "u2": "uint16", "i4": "int32"}
_ENDIAN = {"little": "<", "big": ">"}


def writeImages(
    path: str | Path, images: Iterable[np.ndarray], count: int, geometry: Geometry, dtype: str = "f4"
) -> Iterator[int]:
    """Write `count` images (x, y, z) of `dtype` as a 4D NRRD, one for each `next`; yields how many are written.

    One image at a time keeps each piece of work short. Raises OSError on a full disk.
    """
    with open(path, "wb") as stream:
        stream.write(_header((*geometry.shape, count), geometry, dtype))
        for number, image in enumerate(images, 1):
            stream.write(_bytes(image, dtype))
            yield number


def writeImage(path: str | Path, image: np.ndarray, geometry: Geometry, dtype: str = "f4") -> None:
    """Write one image (x, y, z) as a 3D NRRD. Raises OSError on a full disk."""
    with open(path, "wb") as stream:
        stream.write(_header(geometry.shape, geometry, dtype))
        stream.write(_bytes(image, dtype))


def readRaw(path: str | Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read an image of that shape (x, y, z); one that is compressed takes the longer way through SimpleITK.

    Raises InputError if the file is missing, damaged, or of another shape.
    """
    path = Path(path)
    header = read_header(path)
    fields = header.fields
    dtype = _TYPES.get(fields.get("type", ""))
    order = _ENDIAN.get(fields.get("endian", sys.byteorder))
    if fields.get("encoding") != "raw" or dtype is None or order is None or "data file" in fields:
        values = readVolume(path)[0]
    else:
        sizes = tuple(int(size) for size in fields.get("sizes", "").split())
        wanted = int(np.prod(sizes)) * np.dtype(dtype).itemsize
        with open(path, "rb") as stream:
            # The numbers stand at the end of the file, behind the empty line that ends the header.
            start = path.stat().st_size - wanted
            stream.seek(max(start, 0))
            numbers = np.fromfile(stream, dtype=order + dtype)
        if start <= 0 or numbers.nbytes != wanted:
            raise InputError(f"{path.name} is shorter than its header says; run the fit again.")
        values = numbers.reshape(sizes, order="F")
    if values.shape != tuple(shape):
        raise InputError(f"{path.name} has {values.shape} voxels, not {tuple(shape)}; run the fit again.")
    return values


def _header(sizes: tuple[int, ...], geometry: Geometry, dtype: str) -> bytes:
    vectors = ["(" + ",".join(f"{x:.17g}" for x in column) + ")" for column in np.asarray(geometry.affine)[:3].T]
    images = len(sizes) - 3
    lines = [
        "NRRD0004", f"type: {_NAMES[dtype]}", f"dimension: {len(sizes)}", "space: right-anterior-superior",
        f"sizes: {' '.join(str(size) for size in sizes)}",
        f"space directions: {' '.join([*vectors[:3], *['none'] * images])}",
        f"kinds: {' '.join(['domain'] * 3 + ['list'] * images)}", "endian: little", "encoding: raw",
        f"space origin: {vectors[3]}",
    ]
    return ("\n".join(lines) + "\n\n").encode("ascii")


def _bytes(image: np.ndarray, dtype: str) -> memoryview:
    """Return the numbers in the order of the file, x fastest."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 1, 0), dtype="<" + dtype).data
