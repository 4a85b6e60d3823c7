"""Regions and numbers out of DICOM: segmentations and TID 1500 reports, our own and those of others.

Read with pydicom alone, which comes with Slicer, by the codes of the templates and not by the place in the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.geometry_io import LPS_TO_RAS
from ..data.series import Geometry
from ..errors import InputError
from . import dicomcodes as codes
from .dicomsource import Frame, frames_of

Array = np.ndarray
GROUP = "125007"
TRACKING_IDENTIFIER, TRACKING_UID = "112039", "112040"
TIME_POINT = "C2348792"


def stack(frames: Sequence[Frame], planes: Array) -> tuple[Array, Geometry]:
    """Put planes (slice, row, column) in order by their positions; return (x, y, z) and the grid."""
    orientation = frames[0].orientation
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(along)
    steps = np.diff(along[order])
    if any(np.abs(frame.orientation - orientation).max() > 1e-3 for frame in frames) or (
        steps.size and (steps.min() <= 1e-3 or np.ptp(steps) > 0.02 * steps.mean() + 1e-3)
    ):
        raise InputError("The slices of a map are doubled, missing or not parallel; export it again.")
    step = float(steps.mean()) if steps.size else float(frames[0].thickness or 1.0)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * frames[0].spacing[1]
    affine[:3, 1] = orientation[3:] * frames[0].spacing[0]
    affine[:3, 2] = normal * step
    affine[:3, 3] = frames[order[0]].position
    volume = np.ascontiguousarray(planes[order].transpose(2, 1, 0))
    return volume, Geometry(volume.shape, LPS_TO_RAS @ affine)


def read_segmentation(path: Path, grid: Geometry | None = None) -> tuple[Array, dict[int, str], Geometry, int]:
    """Read a binary segmentation onto `grid`, or its own where that is None.

    Returns the labels (x, y, z), their names, the grid, and how many voxels lay outside it. Where segments overlap the
    later one owns the voxel. Refuses fractional segmentations, whose voxels belong to no segment for certain.
    """
    import pydicom

    read = pydicom.dcmread(path)
    if str(read.get("SegmentationType", "BINARY")) == "FRACTIONAL":
        raise InputError(f"{path.name} is a fractional segmentation; save it as a binary one.")
    frames = frames_of(read)
    labelmap = str(read.get("SegmentationType")) == "LABELMAP"
    numbers = [0 if labelmap else int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
               for item in read.PerFrameFunctionalGroupsSequence]  # fmt: skip
    pixels = read.pixel_array.reshape(-1, read.Rows, read.Columns)
    if grid is None:
        normal = np.cross(frames[0].orientation[:3], frames[0].orientation[3:])
        once = {round(float(frame.position @ normal), 3): number for number, frame in enumerate(frames)}
        _, grid = stack([frames[number] for number in once.values()], pixels[list(once.values())])
    labels = np.zeros(grid.shape, np.uint16)
    inverse, outside = np.linalg.inv(LPS_TO_RAS @ grid.affine), 0
    for frame, number, plane in zip(frames, numbers, pixels, strict=True):
        rows, columns = np.nonzero(plane)
        points = (frame.position[:, None] + np.outer(frame.orientation[:3], columns * frame.spacing[1])
                  + np.outer(frame.orientation[3:], rows * frame.spacing[0]))  # fmt: skip
        index = np.rint((inverse @ np.vstack([points, np.ones(rows.size)]))[:3]).astype(int)
        inside = np.all((index >= 0) & (np.array(grid.shape) > index.T).T, axis=0)
        outside += int(np.count_nonzero(~inside))
        labels[tuple(index[:, inside])] = plane[rows, columns][inside] if labelmap else number
    names = {int(one.SegmentNumber): str(one.get("TrackingID") or one.get("SegmentLabel") or f"segment {number}")
             for number, one in enumerate(read.SegmentSequence, 1)}  # fmt: skip
    return labels, {number: name for number, name in names.items() if number}, grid, outside


def read_measurements(report: Any) -> list[dict[str, Any]]:
    """Return the numbers of a TID 1500 report: one row with region, map, statistic, value, unit and method each.

    `report` the pydicom data set; empty for a report of another template. `map` is the key of one of ours, else the
    meaning of the quantity.
    """
    rows = []
    for group in _groups(report):
        named = {_code(item): item for item in group.get("ContentSequence") or []}
        region = str(getattr(named.get(TRACKING_IDENTIFIER), "TextValue", "") or "")
        uid = str(getattr(named.get(TRACKING_UID), "UID", "") or "")
        point = str(getattr(named.get(TIME_POINT), "TextValue", "") or "")
        for item in group.get("ContentSequence") or []:
            value = _value(item)
            if value is None:
                continue
            modifiers = {_code(one): one.ConceptCodeSequence[0] for one in item.get("ContentSequence") or []
                         if one.get("ConceptCodeSequence")}  # fmt: skip
            name, derivation = item.ConceptNameCodeSequence[0], modifiers.get(codes.DERIVATION[0])
            fitting = modifiers.get(codes.FITTING[0])
            number, unit = value
            rows.append({
                "region": region, "map": codes.key_of((name.CodeValue, name.CodingSchemeDesignator))
                or str(name.CodeMeaning), "statistic": str(derivation.CodeMeaning) if derivation else "",
                "value": number, "unit": unit, "method": str(fitting.CodeMeaning) if fitting else "",
                "time_point": point, "tracking_uid": uid,
            })  # fmt: skip
    return rows


def _groups(item: Any) -> Iterator[Any]:
    """Yield the measurement groups below an item of a report."""
    for one in item.get("ContentSequence") or []:
        if _code(one) == GROUP:
            yield one
        else:
            yield from _groups(one)


def _code(item: Any) -> str:
    name = item.get("ConceptNameCodeSequence")
    return str(name[0].get("CodeValue", "")) if name else ""


def _value(item: Any) -> tuple[float, str] | None:
    """Return number and unit of a numeric item that has one."""
    measured = item.get("MeasuredValueSequence")
    if item.get("ValueType") != "NUM" or not measured or not item.get("ConceptNameCodeSequence"):
        return None
    exact = measured[0].get("FloatingPointValue")
    units = measured[0].get("MeasurementUnitsCodeSequence")
    value = float(exact if exact is not None else measured[0].NumericValue)
    return value, str(units[0].CodeValue) if units else ""
