"""DICOM without the program dcm2niix: images put together from the standard headers, by pydicom and SimpleITK.

Both come with 3D Slicer, dcm2niix does not. The result lies in a folder in the form in which dcm2niix leaves it: a
NIfTI file for each image with `.bval` and `.json` beside it, rows from the back to the front, so that everything after
it is the same. Gradient directions are not written. Mosaics of Siemens are left to dcm2niix: their slices are found by
private headers only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .dicom_choice import MADE_BY_SCANNER, NOT_MAGNITUDE
from .dicom_tags import header_bvalues
from .geometry_io import LPS_TO_RAS, simpleitk
from .output import write_images
from .series import Geometry

Array = np.ndarray
SOFTWARE = "pydicom"
MOSAIC = (
    "The series is stored as Siemens mosaics, which need the program dcm2niix; install it with 'pip install dcm2niix' "
    "(in 3D Slicer: slicer.util.pip_install('dcm2niix'))."
)
MISSING = "Slices of the DICOM series are missing (the images do not fill whole volumes); export the series again."
TRUNCATED = "A DICOM file of the input is truncated (shorter than its header says); copy or export the series again."
_PHILIPS_SCALE = (0x2005, 0x100E)
_SAME_PLACE = 0.01
"""Largest distance [mm] of two slices that are one."""
_UNEVEN = 0.05
"""Largest deviation of a distance between slices from their median, as a part of it."""


@dataclass(eq=False)
class _Frame:
    """One slice of one image: where its pixels are, where it lies (LPS [mm]), its b-value [s/mm²], None if unknown."""

    path: Path
    dataset: Any
    index: int
    position: Array
    orientation: Array
    spacing: tuple[float, float]
    b: float | None
    directed: bool | None
    kind: str
    scaling: tuple[float, float]


def convert_directly(folder: Path, output: Path) -> bool:
    """Write the images of a folder of DICOM (subfolders included) into `output`; return True if something is left out.

    Raises InputError in a sentence for truncated files, missing slices, and where nothing can be read.
    """
    frames, mosaics, odd = [], 0, 0
    for path, dataset in _datasets(folder):
        if "MOSAIC" in [str(word) for word in dataset.get("ImageType", None) or []]:
            mosaics += 1
            continue
        try:
            frames += _frames_of(path, dataset)
        except (AttributeError, TypeError, ValueError):
            odd += 1  # a header without spacing or orientation: no slice that could be placed
    groups: dict[tuple, list[_Frame]] = {}
    for frame in frames:
        groups.setdefault(_group_of(frame), []).append(frame)
    faults: list[InputError] = []
    names: set[str] = set()
    for group in groups.values():
        try:
            _write(_unlike_traces(group), output, names)
        except InputError as fault:
            faults.append(fault)
    if names:
        return bool(mosaics or faults or odd)
    if mosaics:
        raise InputError(MOSAIC)
    if faults:
        raise faults[0]
    return False


def _datasets(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield every DICOM image below a folder, pixels unread."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            dataset = pydicom.dcmread(path, defer_size=1024)
        except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError, NotImplementedError):
            continue  # not DICOM
        if "Rows" in dataset and "PixelData" in dataset and int(dataset.get("SamplesPerPixel", 1)) == 1:
            yield path, dataset


def _frames_of(path: Path, dataset: Any) -> list[_Frame]:
    """Return the slices of one file: one of a classic image, all frames of an enhanced one; none without a place."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        if int(dataset.get("NumberOfFrames", 1) or 1) > 1 or "ImagePositionPatient" not in dataset:
            return []
        values, _ = header_bvalues(dataset)
        return [_Frame(
            path, dataset, 0, np.array(dataset.ImagePositionPatient, float),
            np.array(dataset.ImageOrientationPatient, float), tuple(float(x) for x in dataset.PixelSpacing),
            values.pop() if len(values) == 1 else None, _directed(dataset), _kind(dataset.get("ImageType")),
            _scaling(dataset, dataset),
        )]
    frames = []
    for index, group in enumerate(per_frame):

        def item(name: str, group=group) -> Any:
            sequence = group.get(name) or (shared.get(name) if shared is not None else None)
            return sequence[0] if sequence else {}

        place, plane = item("PlanePositionSequence"), item("PlaneOrientationSequence")
        measures, scale = item("PixelMeasuresSequence"), item("PixelValueTransformationSequence")
        diffusion = item("MRDiffusionSequence")
        if not (place and plane and measures):
            return []
        b = diffusion.get("DiffusionBValue")
        if b is None and diffusion.get("DiffusionDirectionality") == "NONE":
            b = 0.0
        frames.append(_Frame(
            path, dataset, index, np.array(place.ImagePositionPatient, float),
            np.array(plane.ImageOrientationPatient, float), tuple(float(x) for x in measures.PixelSpacing),
            None if b is None else float(b), _directed(diffusion),
            _kind(item("MRImageFrameTypeSequence").get("FrameType") or dataset.get("ImageType")),
            _scaling(scale, group),
        ))
    return frames


def _scaling(header: Any, private: Any) -> tuple[float, float]:
    """Return slope and intercept from stored to signal units.

    Philips rescales each image for display; what is comparable between images stands in a private tag (2005,100E).
    """
    slope, intercept = float(header.get("RescaleSlope", 1) or 1), float(header.get("RescaleIntercept", 0) or 0)
    scale = private[_PHILIPS_SCALE].value if _PHILIPS_SCALE in private else None
    if isinstance(scale, bytes):
        scale = np.frombuffer(scale, "<f4")[0] if len(scale) == 4 else None
    if not isinstance(scale, (int, float, np.floating)) or not np.isfinite(scale) or scale == 0:
        return slope, intercept
    return 1 / float(scale), intercept / (slope * float(scale))


def _kind(image_type: Any) -> str:
    words = {str(word).upper() for word in image_type or []}
    if words & MADE_BY_SCANNER:
        return "map"
    return "other" if words & NOT_MAGNITUDE else "trace" if "TRACEW" in words else "dwi"


def _directed(header: Any) -> bool | None:
    """Tell whether an image has one gradient direction, False for one of all directions; None where nothing is said."""
    said = header.get("DiffusionDirectionality") or (header[0x2001, 0x1004].value if (0x2001, 0x1004) in header else "")
    first = (said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)).strip().upper()[:1]
    return {"D": True, "B": True, "P": True, "R": True, "O": True, "I": False}.get(first)


def _group_of(frame: _Frame) -> tuple:
    """Return what the slices of one image have in common."""
    dataset = frame.dataset
    return (
        str(dataset.get("SeriesInstanceUID", "")), round(float(dataset.get("EchoTime", 0) or 0), 3), frame.kind,
        int(dataset.Rows), int(dataset.Columns), tuple(np.round(frame.orientation, 3) + 0.0),
    )


def _unlike_traces(group: list[_Frame]) -> list[_Frame]:
    """Leave out images of all directions that a scanner has computed of directed ones of the same b-value."""
    directed = {frame.b for frame in group if frame.directed and frame.b}
    return [frame for frame in group if frame.directed is not False or frame.b not in directed]


def _write(group: list[_Frame], output: Path, names: set[str]) -> None:
    """Write one image with what is known of it; its name is that of the series, with a number where it is taken."""
    volumes, geometry, bvalues = _stack(group)
    dataset = group[0].dataset
    number = int(dataset.get("SeriesNumber", 0) or 0)
    name, again = f"s{number}", 1
    while name in names:
        again += 1
        name = f"s{number}_{again}"
    names.add(name)
    write_images(volumes, geometry, output / f"{name}.nii", compress=False)
    if all(b is not None for b in bvalues):
        (output / f"{name}.bval").write_text(" ".join(f"{b:.8g}" for b in bvalues) + "\n", encoding="utf-8")
    echo = dataset.get("EchoTime")
    phase = {"ROW": "i", "COL": "j", "COLUMN": "j"}.get(str(dataset.get("InPlanePhaseEncodingDirection", "")), "")
    texts = ("SeriesDescription", "ProtocolName", "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID",
             "SequenceName")  # fmt: skip
    sidecar = {key: str(dataset.get(key) or "") for key in texts} | {
        "SeriesNumber": number, "ImageType": [str(word) for word in dataset.get("ImageType", None) or []],
        "EchoTime": None if not echo else float(echo) / 1000, "PhaseEncodingDirection": phase,
        "ConversionSoftware": SOFTWARE,
    }
    (output / f"{name}.json").write_text(json.dumps(sidecar), encoding="utf-8")


def _stack(group: list[_Frame]) -> tuple[Array, Geometry, list[float | None]]:
    """Put slices together: images (x, y, z, n) of float32, their grid, and one b-value each.

    Raises InputError where slices are missing or lie unevenly.
    """
    across, down = group[0].orientation[:3], group[0].orientation[3:]
    normal = np.cross(across, down)
    depths = np.array([frame.position @ normal for frame in group])
    levels = np.sort(depths)[np.r_[True, np.diff(np.sort(depths)) > _SAME_PLACE]]
    slices = [[group[i] for i in np.flatnonzero(np.abs(depths - level) <= 2 * _SAME_PLACE)] for level in levels]
    count = len(slices[0])
    gaps = np.diff(levels)
    if any(len(frames) != count for frames in slices) or (
        gaps.size and np.abs(gaps - np.median(gaps)).max() > _UNEVEN * np.median(gaps)
    ):
        raise InputError(MISSING)
    for frames in slices:
        frames.sort(key=_order)
    bvalues = [frame.b for frame in slices[0]]
    if any([frame.b for frame in frames] != bvalues for frames in slices):
        raise InputError(MISSING)
    dataset = group[0].dataset
    thickness = float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 1)
    step = float(np.median(gaps)) if gaps.size else thickness
    down_mm, across_mm = group[0].spacing
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([across * across_mm, -down * down_mm, normal * step])
    affine[:3, 3] = slices[0][0].position + down * down_mm * (int(dataset.Rows) - 1)
    shape = (int(dataset.Columns), int(dataset.Rows), levels.size)
    volumes = np.empty((*shape, count), dtype=np.float32)
    read: dict[Path, Array] = {}
    for k, frames in enumerate(slices):
        for n, frame in enumerate(frames):
            volumes[:, ::-1, k, n] = _pixels(frame, read).T
    return volumes, Geometry(shape, LPS_TO_RAS @ affine), bvalues


def _order(frame: _Frame) -> tuple:
    """Return what orders the images of one slice: b-value, then as they were measured."""
    header = frame.dataset
    numbers = [int(header.get(key, 0) or 0) for key in ("AcquisitionNumber", "InstanceNumber")]
    return (np.inf if frame.b is None else frame.b, *numbers, frame.index)


def _pixels(frame: _Frame, read: dict[Path, Array]) -> Array:
    """Return the signal (rows, columns) of one slice; `read` keeps the last file, which may hold many frames."""
    if frame.path not in read:
        read.clear()
        try:
            values = np.asarray(frame.dataset.pixel_array)
        except (ValueError, RuntimeError, OSError, EOFError, AttributeError, NotImplementedError, ImportError):
            if not frame.dataset.file_meta.TransferSyntaxUID.is_compressed:
                raise InputError(TRUNCATED) from None
            values = _decompressed(frame.path)
        read[frame.path] = values.reshape(-1, *values.shape[-2:])
    slope, intercept = frame.scaling
    return read[frame.path][frame.index] * np.float32(slope) + np.float32(intercept)


def _decompressed(path: Path) -> Array:
    """Return the stored numbers of a file that pydicom has no decoder for, by SimpleITK, which has all of GDCM's."""
    itk = simpleitk()
    try:
        reader = itk.ImageFileReader()
        reader.SetFileName(str(path))
        values = itk.GetArrayFromImage(reader.Execute()).astype(np.float64)
        slope, intercept = (
            float(reader.GetMetaData(tag)) if reader.HasMetaDataKey(tag) else default
            for tag, default in (("0028|1053", 1.0), ("0028|1052", 0.0))
        )
    except RuntimeError:
        raise InputError(
            "The pixels of a DICOM file can be decoded neither by pydicom nor by SimpleITK; export the series again, "
            "uncompressed."
        ) from None
    return (values - intercept) / (slope or 1.0)  # the reader has applied them already
