"""What several tests of the core need: the folder of real measurements, and an oblique, anisotropic grid."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ivimcore.data.series import Geometry


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real measurements: IVIM_TEST_DATA, else shared/data beside the project's folder."""
    named = os.environ.get("IVIM_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real measurements are not at {folder}; set IVIM_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def oblique():
    """A grid with three different spacings, rotated about every axis."""
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    rotation[:, 2] *= np.linalg.det(rotation)
    affine = np.eye(4)
    affine[:3, :3] = rotation * [1.5, 2.25, 4.0]
    affine[:3, 3] = [-31.5, 12.25, 87.0]
    return Geometry((7, 6, 5), affine)


@pytest.fixture
def write_series(oblique):
    """Write a signal (x, y, z, n) on the oblique grid as 4D NIfTI; returns the path."""
    import SimpleITK

    from ivimcore.data.geometry_io import image_of

    def write(path, signal):
        image = SimpleITK.JoinSeries([image_of(signal[..., i], oblique) for i in range(signal.shape[3])])
        SimpleITK.WriteImage(image, str(path))
        return path

    return write


@pytest.fixture(scope="session")
def signal():
    """A signal (7, 6, 5, 4) of int16 in which every value occurs once."""
    return np.arange(7 * 6 * 5 * 4, dtype=np.int16).reshape(7, 6, 5, 4)
