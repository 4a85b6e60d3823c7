"""Structured report TID 1500, a group of measurements for each region and estimator, with its segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from . import dicomcodes as codes
from .dicommaps import RESEARCH, _short, complete, equipment, name_sources
from .dicomsource import MANUFACTURER, Source
from .roistatistics import region_statistics

Array = np.ndarray
CATEGORY: codes.Code = ("85756007", "SCT", "Tissue")
STATISTICS = (("mean", codes.MEAN), ("median", codes.MEDIAN), ("sd", codes.STANDARD_DEVIATION))


def segmentation(labels: Array, names: Mapping[int, str], source: Source, series_number: int) -> Any:
    """Build the DICOM segmentation of a label image (x, y, z): one binary segment a label, tracked by name."""
    import highdicom
    from pydicom.uid import generate_uid

    values = _values(labels, names)
    if not values:
        raise InputError("The regions of the report hold no voxel; give other regions.")
    segments = [
        highdicom.seg.SegmentDescription(
            number, names[value][:64], codes.concept(CATEGORY), codes.concept(CATEGORY), "SEMIAUTOMATIC",
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name="regions given to IVIMSlicer", family=codes.concept(("123109", "DCM", "Manual Processing")),
                version=__version__,
            ),
            tracking_id=names[value][:64], tracking_uid=generate_uid(prefix=None),
        )
        for number, value in enumerate(values, 1)
    ]
    planes = np.stack([source.planes(labels == value) for value in values], axis=-1).astype(np.uint8)
    rows, columns = source.spacing[1:]
    made = highdicom.seg.Segmentation(
        source_images=[source.template], pixel_array=planes, segmentation_type="BINARY",
        segment_descriptions=segments, series_instance_uid=generate_uid(prefix=None), series_number=series_number,
        sop_instance_uid=generate_uid(prefix=None), instance_number=1, content_label="IVIM_REGIONS",
        content_description=f"{RESEARCH}: regions of the IVIM statistics",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=(rows, columns), slice_thickness=source.thickness, spacing_between_slices=source.spacing[0]
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", _short(source.orientation)),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", _short(source.position(number)))
                         for number in range(len(planes))],
        series_description=f"IVIM regions {RESEARCH}", specific_character_set="ISO_IR 192", **equipment(),
    )  # fmt: skip
    name_sources(made, source)
    complete(made, source)
    return made


def structured_report(
    results: Sequence[Any], labels: Array, names: Mapping[int, str], regions: Any, source: Source, series_number: int,
    time_point: str = "1",
) -> Any:
    """Build the report: mean, median and SD of every map in every segment, with method and tracking identifier."""
    import highdicom.sr as sr
    from pydicom.uid import generate_uid

    groups = []
    for result in results:
        shown = {key: volume for key, volume in result.maps.items() if key in ("D", "f", "Dstar", "ADC")}
        rows = region_statistics(shown, source.geometry, labels, names, None, estimator=result.estimator)
        for value, segment in zip(_values(labels, names), regions.SegmentSequence, strict=True):
            # Not by the segment's own name, which is cut to 64 characters.
            mine = [row for row in rows if row["region"] == names[value]]
            groups.append(_group(mine, segment, regions, source, result, time_point))
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=sr.ObserverContext(
            observer_type=codes.concept(("121007", "DCM", "Device")),
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=generate_uid(prefix=None), name=MANUFACTURER, manufacturer_name=MANUFACTURER,
                model_name=f"ivimcore {__version__}",
            ),
        )),
        procedure_reported=codes.concept(("113091000", "SCT", "Magnetic Resonance Imaging")),
        imaging_measurements=groups, title=codes.concept(("126000", "DCM", "Imaging Measurement Report")),
    )  # fmt: skip
    made = sr.Comprehensive3DSR(
        evidence=[regions, *(_evidence(header, source) for header in source.headers)], content=report[0],
        series_instance_uid=generate_uid(prefix=None),
        series_number=series_number, sop_instance_uid=generate_uid(prefix=None), instance_number=1,
        manufacturer=MANUFACTURER, is_complete=True, is_final=False,
        series_description=f"IVIM measurements {RESEARCH}", manufacturer_model_name="ivimcore",
        software_versions=__version__, specific_character_set="ISO_IR 192",
    )
    codes.declare_scheme(made)
    complete(made, source)
    return made


def _values(labels: Array, names: Mapping[int, str]) -> list[int]:
    """Return the labels that become segments, in the order of the segments."""
    return [value for value in sorted(names) if np.any(labels == value)]


def _group(
    rows: Sequence[Mapping[str, Any]], segment: Any, regions: Any, source: Source, result: Any, time_point: str
) -> Any:
    import highdicom.sr as sr

    measurements = []
    method = codes.concept(codes.model_code(result.estimator))
    fitting = codes.fitting_code(result.estimator, result.bvalues, result.provenance.get("options"))
    how = _how(fitting, result.bvalues)
    for row in rows:
        parameter, _ = codes.parameter_of_map(row["map"])
        assert parameter is not None
        for key, derivation in STATISTICS:
            if not np.isfinite(row[key]):
                continue
            one = sr.Measurement(
                name=codes.concept(parameter.quantity_code), value=float(row[key]),
                unit=codes.concept(parameter.unit_code), derivation=codes.concept(derivation), method=method,
                algorithm_id=sr.AlgorithmIdentification(
                    name=f"IVIMSlicer {result.estimator}", version=__version__,
                ),
            )
            one[0].ContentSequence.extend(how)
            measurements.append(one)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=segment.TrackingUID, identifier=segment.TrackingID),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=regions.SOPClassUID, sop_instance_uid=regions.SOPInstanceUID,
            segment_number=segment.SegmentNumber,
            source_series=sr.SourceSeriesForSegmentation(str(source.template.SeriesInstanceUID)),
        ),
        time_point_context=sr.TimePointContext(time_point=time_point), measurements=measurements,
        finding_type=codes.concept(CATEGORY), method=None,
    )


def _how(fitting: codes.Code, bvalues: Sequence[float]) -> list[Any]:
    """Build fitting method and b-values of a measurement, in the form of PS3.17 Annex EEEE.2."""
    import highdicom.sr as sr

    method = sr.CodeContentItem(
        name=codes.concept(codes.FITTING), value=codes.concept(fitting),
        relationship_type=sr.RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    return [method, *(
        sr.NumContentItem(
            name=codes.concept(codes.B_VALUE), value=float(b), unit=codes.concept(codes.B_UNIT),
            relationship_type=sr.RelationshipTypeValues.INFERRED_FROM,
        ) for b in bvalues
    )]  # fmt: skip


def _evidence(header: Any, source: Source) -> Any:
    """Return the header as highdicom takes patient and study from it: with the options of the person."""
    from pydicom.dataset import Dataset

    made = Dataset()
    made.update(source.template)
    for key in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(made, key, header.get(key))
    return made
