"""DICOM objects back into maps, regions and numbers: our own, parametric maps of others, ADC maps of scanners."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.series import Geometry
from ..errors import InputError
from . import dicomcodes as codes
from .dicomregions import read_measurements, read_segmentation, stack
from .dicomsource import MANUFACTURER, MR_IMAGES, frames_of, require_pydicom

Array = np.ndarray
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
REPORTS = {"1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.22"}
SCALES = {"mm2/s": 1.0, "um2/s": 1e-6, "10-6.mm2/s": 1e-6, "10*-6.mm2/s": 1e-6, "10-3.mm2/s": 1e-3,
          "10*-3.mm2/s": 1e-3, "1": 1.0, "{0:1}": 1.0, "%": 1e-2, "[arb'U]": 1.0}  # fmt: skip
"""What a unit of others is worth in stored units."""
OLD_NAMES = {"G-C1C6": codes.QUANTITY[0], "G-C306": codes.METHOD[0]}
"""Names that objects of earlier years give in SNOMED-RT."""


@dataclass(frozen=True, eq=False)
class ImportedMap:
    """One map: `key` as in the parameter table, '' if unknown; `volume` (x, y, z) in stored units with NaN; `unit`.

    `origin` is "IVIMSlicer", "parametric map" (of another program) or "scanner"; `label` is its series description;
    `estimator` and `bvalues` [s/mm²] where the object says them; `exact` False for plain images of whole numbers;
    `software` the version that wrote it.
    """

    key: str
    volume: Array
    geometry: Geometry
    unit: str
    origin: str
    label: str
    estimator: str = ""
    bvalues: tuple[float, ...] = ()
    exact: bool = True
    software: str = ""


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
    require_pydicom()
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder} does not exist; check the path.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and lengths, which are not ours to mend
        return _read(folder)


def _read(folder: Path) -> Imported:
    import pydicom

    found, series, regions, faults = Imported(), {}, [], []
    for path in [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            kind = str(header.get("SOPClassUID", ""))
        except Exception:  # noqa: BLE001 - any of the files may be no DICOM, and pydicom raises many kinds
            continue
        if kind == PARAMETRIC_MAP or (kind in MR_IMAGES and _is_map(header)):
            series.setdefault(header.get("SeriesInstanceUID"), {}).setdefault(header.get("SOPInstanceUID"), path)
        elif kind == SEGMENTATION:
            regions.append(path)
        elif kind in REPORTS:
            rows = _guarded(lambda: read_measurements(header), path.name, faults) or []  # noqa: B023 - called at once
            found.measurements += rows
            if not rows:
                found.notes.append(f"{path.name} is a report without measurements of regions and was passed over.")
    for paths in series.values():
        files = list(paths.values())
        found.maps += _guarded(lambda: _maps([pydicom.dcmread(path) for path in files], found.notes),  # noqa: B023
                               files[0].parent.name + "/" + files[0].name, faults) or []  # fmt: skip
    if regions:
        _regions(regions[0], found, faults)
        if len(regions) > 1:
            found.notes.append(f"{len(regions) - 1} more segmentations are there; only the first was read.")
    if not found.maps and found.labels is None and not found.measurements:
        raise InputError(faults[0] if faults else (
            f"{folder} holds no maps, segmentations or measurement reports; give the folder of some."
        ))
    found.notes += faults
    return found


def _guarded(work: Callable[[], Any], name: str, faults: list[str]) -> Any:
    """Read one object; one that cannot be read is named in a sentence and does not stop the others."""
    try:
        return work()
    except InputError as fault:
        faults.append(str(fault))
    except Exception as fault:  # noqa: BLE001 - objects of others, and pydicom raises many kinds
        reason = " ".join(str(fault).split())[:120]
        faults.append(f"{name} cannot be read ({reason}); export it again, without compression.")
    return None


def _regions(path: Path, found: Imported, faults: list[str]) -> None:
    """Read a segmentation onto the grid of the maps, or its own where there are none."""
    grid = found.maps[0].geometry if found.maps else None
    read = _guarded(lambda: read_segmentation(path, grid), path.name, faults)
    if read is None:
        return
    found.labels, found.names, found.label_geometry, outside = read
    if outside:
        found.notes.append(f"{outside} voxels of the segmentation lie outside the maps and were left out.")


def _is_map(header: Any) -> bool:
    if header.get("Manufacturer") == MANUFACTURER and "RealWorldValueMappingSequence" in header:
        return True
    return is_adc([str(word) for word in header.get("ImageType") or []], str(header.get("SeriesDescription") or ""))


def is_adc(image_type: Sequence[str], description: str) -> bool:
    """Tell whether an image of a scanner is an ADC map, by its type, or as a derived image by its description."""
    words = {word.strip().upper() for word in image_type}
    if words & {"ADC", "ADC_MAP", "ADC_UNSPECIFIED"}:
        return True
    named = re.search(r"(?<![a-z])d?adc(?![a-z])|apparent diffusion", description.lower())
    return "DERIVED" in words and named is not None and not re.search(r"exp|(?<![a-z])e-?adc", description.lower())


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
        planes[planes == 0] = np.nan  # scanners write 0 where they have no value
        planes = planes * guess_scale(planes, label, notes)
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
                       words[-1] if words else "", bvalues, "PixelData" not in first,
                       _text(first.get("SoftwareVersions")))  # fmt: skip


def _text(value: Any) -> str:
    """Return an attribute of one or several values as text."""
    return "" if value is None else str(value) if isinstance(value, str) else ", ".join(str(item) for item in value)


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
        name = OLD_NAMES.get(item.ConceptNameCodeSequence[0].CodeValue, item.ConceptNameCodeSequence[0].CodeValue)
        if "ConceptCodeSequence" in item:
            value = item.ConceptCodeSequence[0]
            coded[name] = (value.CodeValue, value.CodingSchemeDesignator)
        elif name == codes.B_VALUE[0] and item.get("NumericValue") is not None:
            numbers.append(float(item.NumericValue))
    quantity, derivation = coded.get(codes.QUANTITY[0]), coded.get(codes.DERIVATION[0])
    return codes.key_of(quantity, derivation), str(units[0].CodeValue) if units else "", tuple(numbers)


def guess_scale(planes: Array, label: str, notes: list[str]) -> float:
    """Return what the numbers of an ADC map without unit are worth in mm²/s: soft tissue has about 1e-3."""
    positive = planes[np.isfinite(planes) & (planes > 0)]
    middle = float(np.median(positive)) if positive.size else 1000.0
    scale = 1e-6 if middle > 10 else 1e-3 if middle > 0.05 else 1.0
    notes.append(f"'{label}' names no unit; its numbers were taken for {scale:g} mm²/s each, by their size.")
    return scale


def on_grid(one: ImportedMap, geometry: Geometry) -> ImportedMap:
    """Return a map on another grid of the same voxels, other axes allowed; NaN where there are none."""
    index = np.indices(geometry.shape).reshape(3, -1)
    there = np.linalg.inv(one.geometry.affine) @ geometry.affine @ np.vstack([index, np.ones(index.shape[1])])
    nearest = np.rint(there[:3]).astype(int)
    inside = np.all((nearest >= 0) & (one.geometry.shape > nearest.T).T, axis=0)
    values = np.full(index.shape[1], np.nan, np.float32)
    values[inside] = one.volume[tuple(nearest[:, inside])]
    return replace(one, volume=values.reshape(geometry.shape), geometry=geometry)
