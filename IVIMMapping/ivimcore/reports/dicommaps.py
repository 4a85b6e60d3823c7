"""Parametric Map objects: one per map, float, NaN as padding, with coded quantity, unit, model, method and b-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import __version__
from . import dicomcodes as codes
from .dicomsource import MANUFACTURER, Frame, Source

Array = np.ndarray
RESEARCH = "RESEARCH"


def equipment() -> dict[str, str]:
    """Return who made an object, in the words of highdicom's constructors."""
    return {"manufacturer": MANUFACTURER, "manufacturer_model_name": "ivimcore",
            "software_versions": __version__, "device_serial_number": "none"}  # fmt: skip


def describe(key: str, estimator: str, unit: str = "") -> str:
    """Write the series description, the only text that many viewers show."""
    return f"IVIM {key}{f' [{unit}]' if unit else ''} {estimator} {RESEARCH}"[:64]


def parametric_map(
    volume: Array, key: str, estimator: str, bvalues: Sequence[float], provenance: Mapping[str, Any], source: Source,
    series_number: int,
) -> Any:
    """Build the Parametric Map of one map (x, y, z), in stored units, on the grid of the source."""
    import highdicom
    from pydicom.uid import generate_uid

    parameter, is_sd = codes.parameter_of_map(key)
    assert parameter is not None
    planes = source.planes(np.asarray(volume, np.float32))
    low, high = _range(planes)
    unit = codes.concept(parameter.unit_code)
    title = f"standard deviation of the {parameter.description}" if is_sd else parameter.description
    model = codes.model_sentence(provenance)
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=f"IVIM_{key}"[:16], lut_explanation=f"{title}"[:64], unit=unit,
        value_range=(low, high), slope=1.0, intercept=0.0,
    )
    mapping.QuantityDefinitionSequence = codes.quantity_definition(key, estimator, bvalues, provenance.get("options"))
    center, width = _window(parameter, is_sd, low, high)
    rows, columns = source.spacing[1:]
    made = highdicom.pm.ParametricMap(
        source_images=[source.template], pixel_array=planes, series_instance_uid=generate_uid(prefix=None),
        series_number=series_number, sop_instance_uid=generate_uid(prefix=None), instance_number=1,
        contains_recognizable_visual_features=_shows_a_face(source), real_world_value_mappings=[mapping],
        voi_lut_transformations=[highdicom.VOILUTTransformation(window_center=center, window_width=width,
                                                             voi_lut_function="LINEAR_EXACT")],
        transfer_syntax_uid="1.2.840.10008.1.2.1", content_qualification=RESEARCH,
        content_label=f"IVIM_{key}".upper()[:16],
        content_description=f"IVIM {title}, {estimator} {model}".strip()[:64],
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=(rows, columns), slice_thickness=source.thickness, spacing_between_slices=source.spacing[0]
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", _short(source.orientation)),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", _short(source.position(number)))
                         for number in range(len(planes))],
        image_flavor="VOLUME", derived_pixel_contrast="QUANTITY",
        series_description=describe(key, estimator, parameter.unit_code[0]), specific_character_set="ISO_IR 192",
        **equipment(),
    )  # fmt: skip
    if is_sd:
        made.ImageType[3] = "STD_DEVIATION"
        made.SharedFunctionalGroupsSequence[0].ParametricMapFrameTypeSequence[0].FrameType = list(made.ImageType)
    # highdicom sets no padding. Its limit is optional in the standard, but the validator asks for it.
    made.FloatPixelPaddingValue = made.FloatPixelPaddingRangeLimit = float("nan")
    made.ContentCreatorName = None
    _put_in_order(made, source)
    name_body(made, source)
    # Optional in the standard, but dcmqi, and with it Slicer's own reader, ends with a fault where it is missing.
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy_item(source)]
    name_sources(made, source)
    codes.declare_scheme(made)
    complete(made, source)
    return made


def name_sources(dataset: Any, source: Source) -> None:
    """Name at every frame all source images of that slice, found by position: the frames were put in another order."""
    first, normal = source.position(0), np.cross(source.orientation[:3], source.orientation[3:])
    for item in dataset.PerFrameFunctionalGroupsSequence:
        position = np.array([float(x) for x in item.PlanePositionSequence[0].ImagePositionPatient])
        number = int(np.rint((position - first) @ normal / source.spacing[0]))
        if number not in source.derivations:
            source.derivations[number] = derivation_item(source.slices[number])
        item.DerivationImageSequence = [source.derivations[number]]
    dataset.ReferencedSeriesSequence = referenced_series(source)


def derivation_item(frames: Sequence[Frame]) -> Any:
    """Build one item of Derivation Image Sequence from the source images of a slice."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.DerivationCodeSequence = [codes.concept(codes.ANALYSIS)]
    item.SourceImageSequence = source_items(frames)
    return item


def anatomy_item(source: Source) -> Any:
    """Build the item of Frame Anatomy Sequence from what the source says; a region that it does not name stays open."""
    from pydicom.dataset import Dataset

    item, template = Dataset(), source.template
    named = template.get("AnatomicRegionSequence")
    part = str(template.get("BodyPartExamined") or "").upper().replace(" ", "")
    item.AnatomicRegionSequence = named or [codes.concept(codes.BODY_PARTS.get(part, codes.SOMEWHERE))]
    side = str(template.get("Laterality") or "").upper()
    item.FrameLaterality = side if side in ("R", "L") else "U"
    return item


def source_items(frames: Sequence[Frame]) -> list[Any]:
    """Build the items of Source Image Sequence, one an instance, with the frames of multi-frame instances."""
    from pydicom.dataset import Dataset

    items: dict[str, Any] = {}
    for frame in frames:
        header = frame.header
        item = items.get(header.SOPInstanceUID)
        if item is None:
            item = items[header.SOPInstanceUID] = Dataset()
            item.ReferencedSOPClassUID = header.SOPClassUID
            item.ReferencedSOPInstanceUID = header.SOPInstanceUID
            item.PurposeOfReferenceCodeSequence = [codes.concept(codes.PURPOSE)]
            item.SpatialLocationsPreserved = "YES"
        if frame.number:
            known = item.get("ReferencedFrameNumber", [])
            item.ReferencedFrameNumber = [*([known] if isinstance(known, int) else known), frame.number]
    return list(items.values())


def referenced_series(source: Source) -> list[Any]:
    """Build Referenced Series Sequence: every source instance under its series."""
    from pydicom.dataset import Dataset

    series: dict[str, Any] = {}
    for header in source.headers:
        item = series.get(header.SeriesInstanceUID)
        if item is None:
            item = series[header.SeriesInstanceUID] = Dataset()
            item.SeriesInstanceUID = header.SeriesInstanceUID
            item.ReferencedInstanceSequence = []
        instance = Dataset()
        instance.ReferencedSOPClassUID = header.SOPClassUID
        instance.ReferencedSOPInstanceUID = header.SOPInstanceUID
        item.ReferencedInstanceSequence.append(instance)
    return list(series.values())


def complete(dataset: Any, source: Source) -> None:
    """Carry over what the constructors leave out: the state of de-identification and the study's description."""
    for key in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
                "StudyDescription", "IssuerOfPatientID"):  # fmt: skip
        if source.template.get(key):
            dataset[key] = source.template[key]


def name_body(dataset: Any, source: Source) -> None:
    """Carry over body part and side to an image; segmentations and reports name them in other ways."""
    for key in ("BodyPartExamined", "Laterality"):
        if key in source.template:
            dataset[key] = source.template[key]


def _put_in_order(made: Any, source: Source) -> None:
    """Put frames in the order of their positions along the normal: highdicom files them from the other end.

    Any order is allowed, but dcmqi, and with it Slicer's own reader, takes the frames as they come and would show the
    stack upside down.
    """
    normal = np.cross(source.orientation[:3], source.orientation[3:])
    items = list(made.PerFrameFunctionalGroupsSequence)
    along = [np.array([float(x) for x in item.PlanePositionSequence[0].ImagePositionPatient]) @ normal
             for item in items]  # fmt: skip
    order = np.argsort(along)
    planes = np.frombuffer(made.FloatPixelData, np.float32).reshape(len(items), -1)
    made.FloatPixelData = planes[order].tobytes()
    made.PerFrameFunctionalGroupsSequence = [items[number] for number in order]
    for number, item in enumerate(made.PerFrameFunctionalGroupsSequence, 1):
        item.FrameContentSequence[0].DimensionIndexValues = [number]


def _short(values: Array) -> list[float]:
    """Round to what fits into the 16 characters of a decimal string."""
    return [float(f"{float(value):.9g}") + 0.0 for value in values]


def _range(planes: Array) -> tuple[float, float]:
    finite = planes[np.isfinite(planes)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _window(parameter: Any, is_sd: bool, low: float, high: float) -> tuple[float, float]:
    if parameter.stored_range is not None:
        low, high = parameter.stored_range
        if is_sd:
            low, high = 0.0, 0.3 * (high - low)
    return float(f"{(low + high) / 2:.6g}"), float(f"{high - low:.6g}")


def _shows_a_face(source: Source) -> bool:
    return str(source.template.get("BodyPartExamined") or "").upper() in ("HEAD", "BRAIN", "FACE", "HEADNECK", "SKULL")
