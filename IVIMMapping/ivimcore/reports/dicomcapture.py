"""Pictures and pages for archives: the overview figure as colour secondary capture, a report as encapsulated PDF."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..data.geometry_io import read_image, simpleitk
from ..errors import InputError
from .dicommaps import RESEARCH, complete, equipment, name_body
from .dicomsource import PATIENT_AND_STUDY, Source


def secondary_capture(picture: Path, source: Source, series_number: int, title: str) -> Any:
    """Build a colour secondary capture of a picture file."""
    import highdicom
    from pydicom.uid import generate_uid

    pixels = simpleitk().GetArrayFromImage(read_image(picture))
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    made = highdicom.sc.SCImage.from_ref_dataset(
        source.template, pixel_array=np.ascontiguousarray(pixels.astype(np.uint8)), photometric_interpretation="RGB",
        bits_allocated=8, coordinate_system="PATIENT", series_instance_uid=generate_uid(prefix=None),
        series_number=series_number, sop_instance_uid=generate_uid(prefix=None), instance_number=1,
        manufacturer=equipment()["manufacturer"], patient_orientation=("L", "P"),
        series_description=f"IVIM {title} {RESEARCH}"[:64],
    )
    # A figure of several panels has no orientation.
    made.PatientOrientation = None
    made.Modality = "OT"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "YES"
    made.SpecificCharacterSet = "ISO_IR 192"
    made.ManufacturerModelName, made.SoftwareVersions = "ivimcore", __version__
    name_body(made, source)
    complete(made, source)
    return made


def encapsulated_pdf(document: Path, template: Any, series_number: int, title: str) -> Any:
    """Build an encapsulated PDF of a report, for the patient and study of `template`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid

    try:
        content = document.read_bytes()
    except OSError:
        raise InputError(f"{document} cannot be read; give a PDF file.") from None
    if not content.startswith(b"%PDF"):
        raise InputError(f"{document.name} is no PDF; give the report.pdf of 'ivim report'.")
    now = datetime.datetime.now()
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for key in PATIENT_AND_STUDY:
        if key in template and key not in ("FrameOfReferenceUID", "PositionReferenceIndicator",
                                           "PatientPosition", "BodyPartExamined", "Laterality",
                                           "AnatomicRegionSequence"):  # fmt: skip
            made[key] = template[key]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    made.Modality, made.ConversionType = "DOC", "WSD"
    made.SeriesInstanceUID, made.SeriesNumber, made.InstanceNumber = generate_uid(prefix=None), series_number, 1
    made.SeriesDescription = made.DocumentTitle = f"IVIM {title} {RESEARCH}"[:64]
    made.Manufacturer, made.ManufacturerModelName = equipment()["manufacturer"], "ivimcore"
    made.DeviceSerialNumber, made.SoftwareVersions = "none", __version__
    made.ContentDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.ContentTime = made.InstanceCreationTime = now.strftime("%H%M%S")
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = "YES"
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made
