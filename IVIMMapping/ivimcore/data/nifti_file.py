"""The numbers of a NIfTI file, exactly as they are stored.

SimpleITK reads the geometry, but not the numbers: its NIfTI library fills what is missing in a truncated file with
zeros, and turns NaN into zero, both without a word, so that they would be fitted as if they had been measured.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError
from .geometry_io import existing_file, file_suffix, geometry_of, read_image, read_information, volumes_of
from .series import Geometry

Array = np.ndarray
DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}
NIFTI_SUFFIXES = (".nii", ".nii.gz")
CHUNK = 4 * 1024 * 1024
LARGEST_COMPRESSION = 1100
"""Deflate compresses no better than 1:1032; a header that promises more is damaged."""


@dataclass(frozen=True)
class NiftiHeader:
    """What is needed to find the numbers: shape (x, y, z, n), dtype with byte order, offset [bytes], scale."""

    shape: tuple[int, int, int, int]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float

    @property
    def size(self) -> int:
        """Length of the numbers [bytes]."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_nifti_file(path: Path | str) -> tuple[Array, Geometry]:
    """Read a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz).

    Returns the numbers (x, y, z, n), n being 1 for a 3D image, in the dtype of the file (float where it has a scale
    factor), and the grid. Refuses truncated and damaged files, complex and colour images, and more than four axes.
    """
    path = existing_file(path)
    compressed = file_suffix(path) == ".nii.gz"
    try:
        with (gzip.open if compressed else open)(path, "rb") as stream:
            header = _header(stream, path)
            room = path.stat().st_size * (LARGEST_COMPRESSION if compressed else 1)
            if header.offset + header.size > room:
                raise _damaged(path)
            stream.seek(header.offset)
            numbers = _numbers(stream, header, path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _damaged(path) from None
    except OSError as error:
        raise InputError(f"{path.name} cannot be opened ({error.strerror}); check the permissions.") from None
    return numbers, geometry_of(read_information(path))


def read_volumes(path: Path | str) -> tuple[Array, Geometry]:
    """Read the numbers (x, y, z, n) and the grid of an image file of any format: NIfTI here, others by SimpleITK."""
    path = existing_file(path)
    if file_suffix(path) in NIFTI_SUFFIXES:
        return read_nifti_file(path)
    image = read_image(path)
    return volumes_of(image), geometry_of(image)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path.name} is truncated or damaged; copy or export it again.")


def _numbers(stream: Any, header: NiftiHeader, path: Path) -> Array:
    """Fill an array from the stream, and read on to its end, where a compressed file has its checksum."""
    numbers = np.empty(header.shape[::-1], dtype=header.dtype)
    left = memoryview(numbers.reshape(-1)).cast("B") if numbers.size else memoryview(b"")
    while left:
        count = stream.readinto(left[:CHUNK])
        if not count:
            raise _damaged(path)
        left = left[count:]
    stream.read(CHUNK)
    if not header.dtype.isnative:
        numbers = numbers.astype(header.dtype.newbyteorder("="))
    if (header.slope, header.intercept) != (1.0, 0.0):
        # Sixteen bits fit into the 24 of a single-precision number; more need double precision.
        single = header.dtype.itemsize <= 2 or header.dtype == np.dtype("f4").newbyteorder(header.dtype.byteorder)
        kind = np.float32 if single else np.float64
        numbers = numbers.astype(kind, copy=False)
        numbers *= kind(header.slope)
        numbers += kind(header.intercept)
    return numbers.transpose(3, 2, 1, 0)


def _header(stream: BinaryIO, path: Path) -> NiftiHeader:
    raw = stream.read(540)
    for order in "<>":
        if len(raw) >= 348 and struct.unpack_from(order + "i", raw)[0] == 348 and raw[344:348] == b"n+1\0":
            dims, code = struct.unpack_from(order + "8h", raw, 40), struct.unpack_from(order + "h", raw, 70)[0]
            start = struct.unpack_from(order + "f", raw, 108)[0]
            scale = struct.unpack_from(order + "2f", raw, 112)
        elif len(raw) >= 540 and struct.unpack_from(order + "i", raw)[0] == 540 and raw[4:7] == b"n+2":
            dims, code = struct.unpack_from(order + "8q", raw, 16), struct.unpack_from(order + "h", raw, 12)[0]
            start = struct.unpack_from(order + "q", raw, 168)[0]
            scale = struct.unpack_from(order + "2d", raw, 176)
        else:
            continue
        if code not in DTYPES:
            raise InputError(f"{path.name} holds complex, colour or other numbers; give magnitude images.")
        if not (1 <= dims[0] <= 7 and min(dims[1 : dims[0] + 1]) >= 1 and 0 <= start < 2**31):
            raise _damaged(path)
        slope, intercept = (float(value) for value in scale)
        if slope == 0 or not np.isfinite(scale).all():
            slope, intercept = 1.0, 0.0
        return NiftiHeader(_shape(dims, path), np.dtype(order + DTYPES[code]), int(start), slope, intercept)
    raise InputError(f"{path.name} is not a NIfTI file; give a .nii or .nii.gz file.")


def _shape(dims: tuple[int, ...], path: Path) -> tuple[int, int, int, int]:
    """Return (x, y, z, n); vectors, which NIfTI keeps on the fifth axis with the fourth at one, count as images."""
    sizes = [*dims[1 : dims[0] + 1], 1, 1, 1][: max(int(dims[0]), 4)]
    images = [size for size in sizes[3:] if size > 1]
    if len(images) > 1:
        raise InputError(f"{path.name} has more than four axes; give a 4D image (x, y, z, image).")
    return (*sizes[:3], images[0] if images else 1)
