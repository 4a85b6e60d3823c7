"""Plain MR images for archives that show nothing else: 16 bit, slope 1, integers that read well, zero is no value."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import __version__
from . import dicomcodes as codes
from .dicommaps import RESEARCH, complete, equipment, source_items
from .dicomsource import OF_THE_SCAN, PATIENT_AND_STUDY, Source

Array = np.ndarray
STEPS = {"D": 1e-6, "ADC": 1e-6, "Dstar": 1e-5, "f": 1e-3}
"""Maps that are written, with what one step of the stored integer is worth in stored units."""
UNITS = {"D": "10-6 mm2/s", "ADC": "10-6 mm2/s", "Dstar": "10-5 mm2/s", "f": "0.1 %"}
LARGEST = 65535


def to_integers(planes: Array, key: str) -> tuple[Array, str]:
    """Turn values into integers 1 .. 65535, 0 where there is none; return them and a sentence on what was clipped.

    Values that would round to 0 become 1, since 0 says that there is no value.
    """
    there = np.isfinite(planes)
    steps = np.rint(np.where(there, planes, 0.0).astype(np.float64) / STEPS[key])
    above, below = np.count_nonzero(steps > LARGEST), np.count_nonzero(steps < 0)
    words = [f"{count} values {place}" for count, place in
             ((above, f"above {LARGEST * STEPS[key]:.4g}"), (below, "below 0")) if count]  # fmt: skip
    said = f"Plain images of {key}: {' and '.join(words)} do not fit into 16 bits and were clipped." if words else ""
    return np.where(there, np.clip(steps, 1, LARGEST), 0).astype(np.uint16), said


def plain_images(
    volume: Array, key: str, estimator: str, bvalues: Sequence[float], source: Source, series_number: int,
    options: Mapping[str, Any] | None = None,
) -> tuple[list[Any], str]:
    """Build one MR image a slice of a map (x, y, z) in stored units; returns them and the sentence of `to_integers`."""
    from pydicom.uid import generate_uid

    planes, said = to_integers(source.planes(volume), key)
    series, now = generate_uid(prefix=None), datetime.datetime.now()
    made = []
    for number, plane in enumerate(planes):
        image = _image(plane, number, key, estimator, bvalues, source, series_number, series, now, options)
        made.append(image)
    return made, said


def _image(
    plane: Array, number: int, key: str, estimator: str, bvalues: Sequence[float], source: Source, series_number: int,
    series: str, now: datetime.datetime, options: Mapping[str, Any] | None,
) -> Any:
    import highdicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    parameter, _ = codes.parameter_of_map(key)
    assert parameter is not None
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    for name in (*PATIENT_AND_STUDY, *OF_THE_SCAN):
        if name in source.template:
            image[name] = source.template[name]
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = MRImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    image.Modality = "MR"
    image.SeriesInstanceUID, image.SeriesNumber, image.InstanceNumber = series, series_number, number + 1
    image.SeriesDescription = f"IVIM {key} [{UNITS[key]}] {estimator} {RESEARCH}"[:64]
    image.ImageComments = f"{RESEARCH}: {parameter.description}, one step {UNITS[key]}, 0 is no value"
    image.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION MAP", key.upper()]
    image.InstanceCreationDate = image.ContentDate = now.strftime("%Y%m%d")
    image.InstanceCreationTime = image.ContentTime = now.strftime("%H%M%S")
    image.Manufacturer, image.ManufacturerModelName = equipment()["manufacturer"], "ivimcore"
    image.SoftwareVersions = __version__
    # Required, and enhanced sources lack them: RM is the standard's word for research mode.
    for name, value in (("ScanningSequence", "RM"), ("SequenceVariant", "NONE")):
        if not image.get(name):
            setattr(image, name, value)
    for name in ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength", "RepetitionTime",
                 "PatientPosition"):  # fmt: skip
        if name not in image:
            setattr(image, name, None)
    image.ImagePositionPatient = [f"{x:.9g}" for x in source.position(number)]
    image.ImageOrientationPatient = [f"{x:.9g}" for x in source.orientation]
    image.PixelSpacing = [f"{x:.9g}" for x in source.spacing[1:]]
    image.SliceThickness, image.SpacingBetweenSlices = f"{source.thickness:.9g}", f"{source.spacing[0]:.9g}"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = plane.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelPaddingValue = 0
    image.BurnedInAnnotation = "NO"
    low, high = (end / STEPS[key] for end in parameter.stored_range)
    image.WindowCenter, image.WindowWidth = f"{(low + high) / 2:.6g}", f"{high - low:.6g}"
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=f"IVIM_{key}"[:16], lut_explanation=parameter.description[:64],
        unit=codes.concept(parameter.unit_code), value_range=(1, LARGEST), slope=STEPS[key], intercept=0.0,
    )
    mapping.QuantityDefinitionSequence = codes.quantity_definition(key, estimator, bvalues, options)
    image.RealWorldValueMappingSequence = [mapping]
    image.DerivationDescription = f"IVIMSlicer {__version__}, {estimator}"
    image.DerivationCodeSequence = [codes.concept(codes.ANALYSIS)]
    image.SourceImageSequence = source_items(source.slices[number])
    codes.declare_scheme(image)
    complete(image, source)
    image.PixelData = plane.tobytes()
    return image
