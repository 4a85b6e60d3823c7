"""Image files as the core writes them, with every NaN still there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ivimcore.data.geometry_io import geometry_of, read_image, volumes_of
from ivimcore.data.nifti_file import NIFTI_SUFFIXES, read_nifti_file
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError


def readVolumes(path: str | Path) -> tuple[np.ndarray, Geometry]:
    """Read an image file: (x, y, z, n), and the geometry. Raises InputError if it cannot be read.

    NIfTI goes through the core's own reader: ITK, and with it SimpleITK and Slicer, reads each NaN of NIfTI as 0.
    """
    path = Path(path)
    if path.name.endswith(NIFTI_SUFFIXES):
        return read_nifti_file(path)
    image = read_image(path)
    return volumes_of(image), geometry_of(image)


def readVolume(path: str | Path) -> tuple[np.ndarray, Geometry]:
    """Read an image file with one volume: (x, y, z), and the geometry. Raises InputError for several volumes."""
    values, geometry = readVolumes(path)
    if values.shape[3] != 1:
        raise InputError(f"{Path(path).name} holds {values.shape[3]} volumes where one is needed; give a 3D image.")
    return values[..., 0], geometry
