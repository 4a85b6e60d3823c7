"""DICOM objects back into maps, regions and numbers: our own, parametric maps of others, ADC maps of scanners."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.geometry_io import LPS_TO_RAS
from ..data.series import Geometry
from ..errors import InputError
from ..physics.parameters import EXTRAS, PARAMETERS
from . import dicomcodes as codes
from .dicomsource import MANUFACTURER, MR_IMAGES, Frame, frames_of, require_packages

Array = np.ndarray
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
REPORTS = {"1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.22"}
SCALES = {"mm2/s": 1.0, "um2/s": 1e-6, "10-6.mm2/s": 1e-6, "10*-6.mm2/s": 1e-6, "10-3.mm2/s": 1e-3,
          "10*-3.mm2/s": 1e-3, "1": 1.0, "{0:1}": 1.0, "%": 1e-2, "[arb'U]": 1.0}  # fmt: skip
"""What a unit of others is worth in stored units."""


@dataclass(frozen=True, eq=False)
class ImportedMap:
    """One map: `key` as in the parameter table, '' if unknown; `volume` (x, y, z) in stored units with NaN; `unit`.

    `origin` is "IVIMSlicer", "parametric map" (of another program) or "scanner"; `label` is its series description;
    `estimator` and `bvalues` [s/mm²] where the object says them.
    """

    key: str
    volume: Array
    geometry: Geometry
    unit: str
    origin: str
    label: str
    estimator: str = ""
    bvalues: tuple[float, ...] = ()


@dataclass(eq=False)
class Imported:
    """Everything found: maps, regions (labels (x, y, z), names, grid), rows of the reports, sentences."""

    maps: list[ImportedMap] = field(default_factory=list)
    labels: Array | None = None
    names: dict[int, str] = field(default_factory=dict)
    label_geometry: Geometry | None = None
    measurements: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_objects(folder: Path | str) -> Imported:
    """Read every map, segmentation and TID 1500 report in a folder of DICOM; other objects are passed over.

    Refuses, in one sentence, a folder without any of them, and maps whose slices are not evenly spaced.
    """
    require_packages()
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder} does not exist; check the path.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and lengths, which are not ours to mend
        return _read(folder)


def _read(folder: Path) -> Imported:
    import pydicom

    found, series, regions = Imported(), {}, []
    for path in [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            kind = str(header.get("SOPClassUID", ""))
        except Exception:  # noqa: BLE001 - any of the files may be no DICOM, and pydicom raises many kinds
            continue
        if kind == PARAMETRIC_MAP or (kind in MR_IMAGES and _is_map(header)):
            series.setdefault(header.SeriesInstanceUID, []).append(path)
        elif kind == SEGMENTATION:
            regions.append(path)
        elif kind in REPORTS:
            found.measurements += _measurements(path, found.notes)
    for paths in series.values():
        found.maps += _maps([pydicom.dcmread(path) for path in paths], found.notes)
    if regions:
        _regions(regions[0], found)
        if len(regions) > 1:
            found.notes.append(f"{len(regions) - 1} more segmentations are there; only the first was read.")
    if not found.maps and found.labels is None and not found.measurements:
        raise InputError(f"{folder} holds no maps, segmentations or measurement reports; give the folder of some.")
    return found


def _is_map(header: Any) -> bool:
    words = {str(word).upper() for word in header.get("ImageType") or []}
    return "ADC" in words or (header.get("Manufacturer") == MANUFACTURER and "RealWorldValueMappingSequence" in header)


def _maps(objects: Sequence[Any], notes: list[str]) -> list[ImportedMap]:
    """Read one series: each multi-frame object is a map, single images together are one."""
    groups = [[one] for one in objects if "PerFrameFunctionalGroupsSequence" in one]
    single = [one for one in objects if "PerFrameFunctionalGroupsSequence" not in one]
    return [_map(group, notes) for group in [*groups, *([single] if single else [])]]


def _map(objects: Sequence[Any], notes: list[str]) -> ImportedMap:
    frames = [frame for one in objects for frame in frames_of(one)]
    planes = np.concatenate([_planes(one) for one in objects])
    first = objects[0]
    mapping = _mapping(first, 1)
    key, unit, bvalues = _meaning(mapping)
    ours = first.get("Manufacturer") == MANUFACTURER
    label = str(first.get("SeriesDescription", ""))
    if mapping is None:
        key, unit = "ADC", "mm2/s"
        planes = planes * _guess_scale(planes, label, notes)
    else:
        scale = SCALES.get(unit)
        if scale is None:
            notes.append(f"The unit '{unit}' of '{label}' is not known; its numbers were left as they are.")
        planes = planes * (1.0 if scale is None else scale)
    scanner = not ours and str(first.SOPClassUID) != PARAMETRIC_MAP
    volume, geometry = stack(frames, planes.astype(np.float32))
    origin = MANUFACTURER if ours else "scanner" if scanner else "parametric map"
    words = label.removesuffix(" RESEARCH").split() if ours else []
    parameter = codes.parameter_of_map(key)[0]
    return ImportedMap(key, volume, geometry, parameter.unit if parameter else unit, origin, label,
                       words[-1] if words else "", bvalues)  # fmt: skip


def _planes(one: Any) -> Array:
    if "FloatPixelData" in one:
        planes = np.frombuffer(one.FloatPixelData, "<f4").reshape(-1, one.Rows, one.Columns).astype(np.float64)
        padding = one.get("FloatPixelPaddingValue")
    elif "DoubleFloatPixelData" in one:
        planes = np.frombuffer(one.DoubleFloatPixelData, "<f8").reshape(-1, one.Rows, one.Columns).copy()
        padding = one.get("DoubleFloatPixelPaddingValue")
    else:
        planes = one.pixel_array.reshape(-1, one.Rows, one.Columns).astype(np.float64)
        padding = one.get("PixelPaddingValue")
    empty = np.zeros(planes.shape, bool) if padding is None else planes == padding
    for number in range(len(planes)):
        mapping = _mapping(one, number + 1)
        if mapping is not None:
            slope, shift = float(mapping.RealWorldValueSlope), float(mapping.RealWorldValueIntercept)
        else:
            holder = _group(one, number + 1, "PixelValueTransformationSequence") or one
            slope, shift = float(holder.get("RescaleSlope") or 1), float(holder.get("RescaleIntercept") or 0)
        if (slope, shift) != (1.0, 0.0):
            planes[number] = planes[number] * slope + shift
    planes[empty] = np.nan
    return planes


def _group(one: Any, number: int, name: str) -> Any:
    if "PerFrameFunctionalGroupsSequence" not in one:
        return None
    found = one.PerFrameFunctionalGroupsSequence[number - 1].get(name)
    found = found or one.SharedFunctionalGroupsSequence[0].get(name)
    return found[0] if found else None


def _mapping(one: Any, number: int) -> Any:
    """Return the linear real-world mapping of a frame, None where there is none."""
    found = _group(one, number, "RealWorldValueMappingSequence") or next(
        iter(one.get("RealWorldValueMappingSequence") or []), None
    )
    return found if found is not None and found.get("RealWorldValueSlope") is not None else None


def _meaning(mapping: Any) -> tuple[str, str, tuple[float, ...]]:
    """Return key, unit and b-values of a real-world mapping; the key is '' if the quantity is not one of ours."""
    if mapping is None:
        return "", "", ()
    units = mapping.get("MeasurementUnitsCodeSequence")
    coded, numbers = {}, []
    for item in mapping.get("QuantityDefinitionSequence") or []:
        name = item.ConceptNameCodeSequence[0].CodeValue
        if "ConceptCodeSequence" in item:
            value = item.ConceptCodeSequence[0]
            coded[name] = (value.CodeValue, value.CodingSchemeDesignator)
        elif name == codes.B_VALUE[0] and item.get("NumericValue") is not None:
            numbers.append(float(item.NumericValue))
    quantity, derivation = coded.get(codes.QUANTITY[0]), coded.get(codes.DERIVATION[0])
    return _key(quantity, derivation), str(units[0].CodeValue) if units else "", tuple(numbers)


def _key(quantity: tuple[str, str] | None, derivation: tuple[str, str] | None) -> str:
    if quantity is None:
        return ""
    candidates = [key for key, parameter in {**PARAMETERS, **EXTRAS}.items()
                  if parameter.quantity_code[:2] == quantity]  # fmt: skip
    candidates += [f"{key}_sd" for key in candidates]
    for key in candidates:
        code = codes.derivation_code(key)
        if (code[:2] if code else None) == derivation:
            return key
    return "ADC" if quantity in codes.SCANNER_ADC and derivation is None else ""


def _guess_scale(planes: Array, label: str, notes: list[str]) -> float:
    """Return what the numbers of an ADC map without unit are worth in mm²/s: soft tissue has about 1e-3."""
    positive = planes[np.isfinite(planes) & (planes > 0)]
    middle = float(np.median(positive)) if positive.size else 1000.0
    scale = 1e-6 if middle > 10 else 1e-3 if middle > 0.05 else 1.0
    notes.append(f"'{label}' names no unit; its numbers were taken for {scale:g} mm²/s each, by their size.")
    return scale


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


def _regions(path: Path, found: Imported) -> None:
    """Read a segmentation onto the grid of the maps, or its own where there are none."""
    import highdicom

    read = highdicom.seg.segread(path)
    frames, numbers = frames_of(read), []
    for item in read.PerFrameFunctionalGroupsSequence:
        numbers.append(int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber))
    pixels = read.pixel_array.reshape(-1, read.Rows, read.Columns)
    if found.maps:
        geometry = found.maps[0].geometry
    else:
        once = {round(float(frame.position @ np.cross(frame.orientation[:3], frame.orientation[3:])), 3): number
                for number, frame in enumerate(frames)}  # fmt: skip
        _, geometry = stack([frames[number] for number in once.values()], pixels[list(once.values())])
    labels = np.zeros(geometry.shape, np.uint16)
    inverse, outside = np.linalg.inv(LPS_TO_RAS @ geometry.affine), 0
    for frame, number, plane in zip(frames, numbers, pixels, strict=True):
        rows, columns = np.nonzero(plane)
        points = (frame.position[:, None] + np.outer(frame.orientation[:3], columns * frame.spacing[1])
                  + np.outer(frame.orientation[3:], rows * frame.spacing[0]))  # fmt: skip
        index = np.rint((inverse @ np.vstack([points, np.ones(rows.size)]))[:3]).astype(int)
        inside = np.all((index >= 0) & (geometry.shape > index.T).T, axis=0)
        outside += int(np.count_nonzero(~inside))
        labels[tuple(index[:, inside])] = number
    if outside:
        found.notes.append(f"{outside} voxels of the segmentation lie outside the maps and were left out.")
    found.names = {int(one.SegmentNumber): str(one.get("TrackingID") or one.SegmentLabel)
                   for one in read.SegmentSequence}  # fmt: skip
    found.labels, found.label_geometry = labels, geometry


def _measurements(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    import highdicom

    rows = []
    try:
        report = highdicom.sr.srread(path)
        for group in report.content.get_volumetric_roi_measurement_groups():
            for one in group.get_measurements():
                derivation = one.derivation
                rows.append({
                    "region": group.tracking_identifier, "map": _key((one.name.value, one.name.scheme_designator), None)
                    or one.name.meaning, "statistic": derivation.meaning if derivation else "", "value": one.value,
                    "unit": one.unit.value, "tracking_uid": group.tracking_uid,
                })  # fmt: skip
    except Exception:  # noqa: BLE001 - reports of other templates, and highdicom raises many kinds
        notes.append(f"{path.name} is a report of another template and was passed over.")
    return rows


def on_grid(one: ImportedMap, geometry: Geometry) -> ImportedMap:
    """Return a map on another grid of the same voxels, other axes allowed; NaN where there are none."""
    index = np.indices(geometry.shape).reshape(3, -1)
    there = np.linalg.inv(one.geometry.affine) @ geometry.affine @ np.vstack([index, np.ones(index.shape[1])])
    nearest = np.rint(there[:3]).astype(int)
    inside = np.all((nearest >= 0) & (one.geometry.shape > nearest.T).T, axis=0)
    values = np.full(index.shape[1], np.nan, np.float32)
    values[inside] = one.volume[tuple(nearest[:, inside])]
    return replace(one, volume=values.reshape(geometry.shape), geometry=geometry)


def compare_adc(
    found: Imported, maps: dict[str, Array], geometry: Geometry, labels: Any = None, names: Any = None,
    estimator: str = "",
) -> list[dict[str, Any]]:
    """Put each ADC map of a scanner beside ours: rows of region, ours, scanner, difference [mm²/s] and [%].

    Ours is ADC where there is one, else D; both medians over the voxels of the region where both have a value.
    """
    from .roistatistics import regions_of

    ours = next((key for key in ("ADC", "D") if key in maps), None)
    others = [one for one in found.maps if one.key == "ADC" and one.origin != MANUFACTURER]
    if ours is None or not others:
        raise InputError("There is no ADC map of a scanner beside one of ours to compare; give both.")
    rows = []
    for one in others:
        theirs = on_grid(one, geometry).volume
        for region, inside in regions_of(labels, names, geometry.shape, None).items():
            both = inside & np.isfinite(theirs) & np.isfinite(maps[ours])
            mine, other = (float(np.median(v[both])) if both.any() else np.nan for v in (maps[ours], theirs))
            rows.append({
                "estimator": estimator, "map": ours, "scanner": one.label, "region": region, "n": int(both.sum()),
                "ours": mine, "theirs": other, "difference": mine - other,
                "difference_percent": 100 * (mine - other) / other if other else np.nan,
            })  # fmt: skip
    return rows
