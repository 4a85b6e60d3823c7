"""One way in: the reader is picked from what is given, and masks and labels are held against the grid of the series."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .dicom import read_dicom
from .geometry_io import existing_file, file_suffix
from .nifti import bval_beside, read_files, read_nifti
from .nifti_file import NIFTI_SUFFIXES, read_volumes
from .nrrd import read_header, read_nrrd, read_nrrd_file
from .series import DwiSeries, Geometry

Array = np.ndarray
NRRD = (".nrrd", ".nhdr", ".seq.nrrd", ".seq.nhdr")
LARGEST_LABEL = 65535


def read_series(
    inputs: Path | str | Sequence[Path | str], bval: Path | str | None = None,
    bvalues: Sequence[float] | None = None, series: int | str | None = None,
) -> DwiSeries:
    """Read a diffusion-weighted series from whatever holds one.

    Arguments: `inputs` a 4D NIfTI or NRRD file, several 3D files in the order of their b-values, a folder of DICOM or
    DICOM files; `bval` a b-value file and `bvalues` (n,) [s/mm²], each instead of those of the input; `series` the
    number or description of a DICOM series, or numbers to join ('17,18,19').
    Returns the series, with the source of its b-values and every decision in words.
    Refuses, in one sentence, what cannot be read as one series.
    """
    paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(path) for path in inputs]
    if not paths:
        raise InputError("There is no input; give a 4D image file, several 3D files, or a folder of DICOM.")
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
    if bval is not None:
        existing_file(bval)
    kinds = {_kind(path) for path in paths}
    if kinds == {"dicom"}:
        return read_dicom(paths if len(paths) > 1 else paths[0], bval, bvalues, series)
    if series is not None:
        raise InputError("--series chooses among DICOM series, but the input is no DICOM; leave it out.")
    if "dicom" in kinds:
        raise InputError("Image files and DICOM were given together; give one or the other.")
    if len(paths) > 1:
        return read_files(paths, bvalues, bval)
    read = read_nifti if kinds == {"nifti"} else read_nrrd
    return read(paths[0], bval, bvalues)


def side_files(path: Path | str) -> list[Path]:
    """List the files that are read with an image without being named: b-values, directions, data of a bare header."""
    path = Path(path)
    suffix = file_suffix(path)
    if path.is_dir() or suffix not in (*NIFTI_SUFFIXES, *NRRD):
        return []
    beside = [bval_beside(path), bval_beside(path, ".bvec")]
    if suffix.endswith("nhdr"):
        beside += sorted(path.parent.glob(f"{glob.escape(path.name.split('.')[0])}.*"))
    return [file for file in dict.fromkeys(beside) if file.is_file() and file != path]


def _kind(path: Path) -> str:
    """Tell "nifti", "nrrd" or "dicom" from the ending; other files are DICOM if they say so at byte 128."""
    if path.is_dir():
        return "dicom"
    suffix = file_suffix(path)
    if suffix in NIFTI_SUFFIXES:
        return "nifti"
    if suffix in NRRD:
        return "nrrd"
    try:
        with open(path, "rb") as stream:
            start = stream.read(132)
    except OSError:
        raise InputError(f"{path.name} cannot be opened; check the permissions.") from None
    if start[128:132] == b"DICM" or suffix == ".dcm":
        return "dicom"
    raise InputError(
        f"{path.name} is of no known format; give a NIfTI (.nii, .nii.gz) or NRRD (.nrrd, .nhdr) file, or DICOM."
    )


def read_mask(path: Path | str, geometry: Geometry) -> Array:
    """Read a mask: every voxel that is not zero, of any label.

    Arguments: `geometry` the grid of the series. Returns (x, y, z) bool.
    Refuses another grid, with both described, an empty mask, and NaN.
    """
    labels, _ = read_labels(path, geometry)
    return labels > 0


def read_labels(path: Path | str, geometry: Geometry) -> tuple[Array, dict[int, str]]:
    """Read regions from a label image, or from a 3D Slicer segmentation (.seg.nrrd) with its segment names.

    Arguments: `geometry` the grid of the series.
    Returns labels (x, y, z) int32, zero outside, and the name of each label that occurs; without names a label is
    called 'label 3'. Where segments of several layers overlap, the last segment owns the voxel.
    Refuses another grid, with both described, an empty image, numbers that are no labels, and several images.
    """
    labels, names, _ = read_regions(path, geometry)
    return labels, names


def read_regions(path: Path | str, geometry: Geometry) -> tuple[Array, dict[int, str], dict[str, Array] | None]:
    """Read regions as `read_labels` does, and whole where they overlap.

    Returns labels and names as `read_labels`, and the masks (x, y, z) of bool by name, in the order of the file, where
    some voxel belongs to several segments; None where none does, because then the labels say everything.
    """
    path = existing_file(path)
    suffix = file_suffix(path)
    header = read_header(path) if suffix in (".nrrd", ".nhdr", ".seg.nrrd") else None
    volumes, grid = read_volumes(path) if header is None else read_nrrd_file(path, header)
    pairs = {} if header is None else header.pairs
    if not grid.matches(geometry):
        raise InputError(
            f"{path.name} lies on another grid ({grid.describe()}) than the series ({geometry.describe()}); "
            "resample it to the grid of the series."
        )
    segments = _segments(pairs)
    if volumes.shape[3] > 1 and not segments:
        raise InputError(f"{path.name} holds {volumes.shape[3]} images; give a single 3D label image.")
    for layer in range(volumes.shape[3]):
        _check_labels(volumes[..., layer], path.name)
    if segments:
        labels, names = _merge(volumes, segments)
    else:
        labels = volumes[..., 0].astype(np.int32)
        names = {}
    present = [int(value) for value in np.unique(labels) if value != 0]
    if not present:
        raise InputError(f"{path.name} is empty: no voxel belongs to a region; draw one, or leave the file out.")
    masks = _overlapping(volumes, segments) if volumes.shape[3] > 1 else None
    return labels, {value: names.get(value, f"label {value}") for value in present}, masks


def _check_labels(volume: Array, name: str) -> None:
    """Refuse numbers that cannot be labels: NaN, fractions, negative and very large values."""
    if volume.dtype.kind == "f" and not (np.isfinite(volume).all() and (volume == np.rint(volume)).all()):
        raise InputError(f"{name} contains numbers that are no labels (fractions or NaN); give a label image.")
    if volume.size and (volume.min() < 0 or volume.max() > LARGEST_LABEL):
        raise InputError(f"{name} contains labels outside 0 to {LARGEST_LABEL}; give a label image.")


def _segments(pairs: dict[str, str]) -> list[tuple[int, int, str]]:
    """List the segments of a Slicer segmentation header in order: (layer, label value, name)."""
    numbers = sorted(int(match[1]) for key in pairs if (match := re.fullmatch(r"Segment(\d{1,6})_ID", key)))
    found = []
    for number in numbers:
        layer, value = pairs.get(f"Segment{number}_Layer", "0"), pairs.get(f"Segment{number}_LabelValue", "1")
        if not (layer.isdecimal() and value.isdecimal() and len(layer) < 7 and len(value) < 7):
            raise InputError(f"Segment {number} of the segmentation has no usable label value; save it again.")
        found.append((int(layer), int(value), pairs.get(f"Segment{number}_Name", f"segment {number + 1}")))
    return found


def _merge(volumes: Array, segments: list[tuple[int, int, str]]) -> tuple[Array, dict[int, str]]:
    """Merge layers into one label image; label values that occur in several layers are numbered anew."""
    values = [value for _, value, _ in segments]
    renumber = len(set(values)) != len(values) or volumes.shape[3] > 1
    labels = np.zeros(volumes.shape[:3], dtype=np.int32)
    names = {}
    for number, (layer, value, name) in enumerate(segments, start=1):
        if layer >= volumes.shape[3]:
            raise InputError(f"Segment '{name}' lies in layer {layer + 1}, which is missing; save it again.")
        label = number if renumber else value
        labels[volumes[..., layer] == value] = label
        names[label] = name
    return labels, names


def _overlapping(volumes: Array, segments: list[tuple[int, int, str]]) -> dict[str, Array] | None:
    """Return the mask of each segment by name where some voxel belongs to two, else None; empty ones are left out.

    Segments of one name are one region, as labels of one name are.
    """
    masks: dict[str, Array] = {}
    for layer, value, name in segments:
        mask = volumes[..., layer] == value
        if mask.any():
            masks[name] = mask | masks[name] if name in masks else mask
    count = np.sum(list(masks.values()), axis=0) if masks else np.zeros(1)
    return masks if count.max() > 1 else None
