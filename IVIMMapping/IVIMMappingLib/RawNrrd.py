"""Series and maps on their way to the fitting process and back, as raw NRRD: in pieces, and without SimpleITK.

The format is `ivimcore.data.raw_nrrd`; here a series is written one image at a time, because a window is waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ivimcore.data.nrrd import read_header
from ivimcore.data.raw_nrrd import raw_bytes, raw_header, raw_numbers
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from .VolumeReading import readVolume


def writeImages(
    path: str | Path, images: Iterable[np.ndarray], count: int, geometry: Geometry, dtype: str = "f4"
) -> Iterator[int]:
    """Write `count` images (x, y, z) of `dtype` as a 4D NRRD, one for each `next`; yields how many are written.

    One image at a time keeps each piece of work short. Raises OSError on a full disk.
    """
    with open(path, "wb") as stream:
        stream.write(raw_header((*geometry.shape, count), geometry, dtype))
        for number, image in enumerate(images, 1):
            stream.write(raw_bytes(image, dtype))
            yield number


def writeImage(path: str | Path, image: np.ndarray, geometry: Geometry, dtype: str = "f4") -> None:
    """Write one image (x, y, z) as a 3D NRRD. Raises OSError on a full disk."""
    with open(path, "wb") as stream:
        stream.write(raw_header(geometry.shape, geometry, dtype))
        stream.write(raw_bytes(image, dtype))


def readRaw(path: str | Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read an image of that shape (x, y, z); one that is compressed takes the longer way through SimpleITK.

    Raises InputError if the file is missing, damaged, or of another shape.
    """
    path = Path(path)
    values = raw_numbers(path, read_header(path).fields)
    if values is None:
        values = readVolume(path)[0]
    if values.shape != tuple(shape):
        raise InputError(f"{path.name} has {values.shape} voxels, not {tuple(shape)}; run the fit again.")
    return values
