"""Between SimpleITK images with LPS geometry and arrays (x, y, z, n) with RAS geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .series import Geometry

Array = np.ndarray
Image = Any
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def file_suffix(path: Path) -> str:
    """Return the ending that tells the format, in lower case, compression included: '.nii.gz', '.seq.nrrd', '.dcm'."""
    name = path.name.lower()
    for ending in (".nii.gz", ".seq.nrrd", ".seg.nrrd", ".seq.nhdr"):
        if name.endswith(ending):
            return ending
    return path.suffix.lower()


def file_stem(path: Path) -> str:
    """Return the file name without the ending of `file_suffix`."""
    suffix = file_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def existing_file(path: Path | str) -> Path:
    """Return the path of a file that exists; refuse one that does not, and a folder, in a sentence."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder where a file is needed; give the file.")
    return path


def read_image(path: Path) -> Image:
    """Read an image file through SimpleITK.

    Returns the SimpleITK image. Refuses what SimpleITK cannot read, in one sentence without its internal messages,
    and complex numbers.
    """
    image = _execute(path, "Execute")
    if "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"{path.name} holds complex numbers; give magnitude images.")
    return image


def read_information(path: Path) -> Image:
    """Read the header of an image file through SimpleITK; returns a reader with the geometry of an image."""
    return _execute(path, "ReadImageInformation")


def simpleitk() -> Any:
    """Import SimpleITK, which takes half a second; raises InputError in a Python without it.

    Not every build of 3D Slicer brings it, and only files need it: a fit of what lies in the scene does not.
    """
    try:
        import SimpleITK
    except ImportError:
        raise InputError(
            "Image files need SimpleITK, which this Python does not have; install it with 'pip install SimpleITK', in "
            "Slicer with slicer.util.pip_install('SimpleITK')."
        ) from None
    return SimpleITK


def _execute(path: Path, method: str) -> Any:
    SimpleITK = simpleitk()  # noqa: N806  (the name of the module)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(existing_file(path)))
    warnings_shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return getattr(reader, method)() or reader
    except RuntimeError as error:
        raise InputError(f"{path.name} cannot be read: {_reason(str(error))}") from None
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(warnings_shown)


def _reason(message: str) -> str:
    """Translate the multi-line message of the file library into one advice."""
    lower = message.lower()
    if "orthonormal" in lower or "shear" in lower or "zero determinant" in lower:
        return "its axes are not perpendicular; resample it to a rectangular grid."
    if "expected" in lower and "received" in lower or "end of file" in lower or "eof" in lower:
        return "it is shorter than its header says; copy or export it again."
    if "data file" in lower or "couldn't open" in lower or "no such file" in lower:
        return "the data file that its header names is missing or unreadable; keep both files together."
    if "permission" in lower:
        return "it may not be opened; check the permissions."
    if "unable to determine imageio" in lower or "no suitable" in lower:
        return "it is not an image file of a known format; give NIfTI, NRRD or DICOM."
    return "it is damaged or of a kind that is not supported; copy or export it again."


def geometry_of(image: Image) -> Geometry:
    """Return the grid of the first three axes of a SimpleITK image, turned from LPS to RAS."""
    size = [*image.GetSize(), 1, 1][:3]
    dimension = image.GetDimension()
    used = min(dimension, 3)
    direction = np.eye(3)
    direction[:used, :used] = np.array(image.GetDirection()).reshape(dimension, dimension)[:used, :used]
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[:used], origin[:used] = image.GetSpacing()[:used], image.GetOrigin()[:used]
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = origin
    return Geometry(tuple(int(n) for n in size), LPS_TO_RAS @ affine)


def volumes_of(image: Image) -> Array:
    """Return the numbers of a SimpleITK image as (x, y, z, n), n being 1 for a 3D image.

    The array is a transposed view of one copy in the order of the file; its dtype is that of the file.
    Refuses images of fewer than three axes and series with more than one axis of images.
    """
    array = simpleitk().GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        if image.GetDimension() != 3:
            raise InputError(f"The image has {image.GetDimension()} axes of several values each; give a 4D image.")
        return array.transpose(2, 1, 0, 3)
    if array.ndim == 3:
        return array.transpose(2, 1, 0)[..., np.newaxis]
    if array.ndim != 4:
        raise InputError(f"The image has {array.ndim} axes; give a 4D image (x, y, z, image).")
    return array.transpose(3, 2, 1, 0)


def image_of(volume: Array, geometry: Geometry) -> Image:
    """Return a SimpleITK image of an array (x, y, z), placed by `geometry`; refuses another shape."""
    if volume.shape != tuple(geometry.shape):
        raise ValueError(f"array of shape {volume.shape} does not fit the grid {geometry.shape}")
    image = simpleitk().GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    affine = LPS_TO_RAS @ np.asarray(geometry.affine, dtype=float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image
