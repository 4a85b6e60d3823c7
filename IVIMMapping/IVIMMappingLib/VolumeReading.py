"""Image files as the core writes them, with every NaN still there."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from ivimcore.data.geometry_io import geometry_of, read_image, volumes_of
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

_NIFTI_FLOATS = {16: "f4", 64: "f8"}


def readVolumes(path: str | Path) -> tuple[np.ndarray, Geometry]:
    """Read an image file: (x, y, z, n), and the geometry. Raises InputError if it cannot be read."""
    path = Path(path)
    image = read_image(path)
    values = volumes_of(image)
    if path.name.endswith((".nii", ".nii.gz")) and values.dtype.kind == "f":
        missing = _notFiniteInNifti(path, values.shape)
        if missing is not None:
            values = np.where(missing, np.array(np.nan, values.dtype), values)
    return values, geometry_of(image)


def readVolume(path: str | Path) -> tuple[np.ndarray, Geometry]:
    """Read an image file with one volume: (x, y, z), and the geometry. Raises InputError for several volumes."""
    values, geometry = readVolumes(path)
    if values.shape[3] != 1:
        raise InputError(f"{Path(path).name} holds {values.shape[3]} volumes where one is needed; give a 3D image.")
    return values[..., 0], geometry


def _notFiniteInNifti(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Tell where the numbers in a NIfTI-1 file are not finite, or None where the file is of another kind.

    ITK, and with it SimpleITK and Slicer, replaces each NaN of a NIfTI file by 0 when it reads it.
    """
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    order = "<" if len(content) > 348 and struct.unpack("<i", content[:4])[0] == 348 else ">"
    if len(content) <= 348 or struct.unpack(order + "i", content[:4])[0] != 348:
        return None
    kind = _NIFTI_FLOATS.get(struct.unpack(order + "h", content[70:72])[0])
    offset = int(struct.unpack(order + "f", content[108:112])[0])
    count = int(np.prod(shape))
    if kind is None or len(content) < offset + count * int(kind[1]):
        return None
    numbers = np.frombuffer(content, order + kind, count, offset)
    return ~np.isfinite(numbers).reshape(shape, order="F")
