"""The report of a cohort as encapsulated PDF in every study that the cohort run filed, everywhere or nowhere."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..wholefile import whole_file
from .dicomcapture import encapsulated_pdf
from .dicomsource import MANUFACTURER, PATIENT_AND_STUDY, require_pydicom

NAME = "cohort_report.dcm"


def file_report(folder: Path | str, pdf: Path | str) -> list[Path]:
    """Write the PDF of a report into each study folder below a cohort; returns the files.

    Patient and study are those of the objects that `ivim cohort --dicom` wrote there. Raises InputError where there are
    none, or where one cannot be written: then no study has the new file.
    """
    require_pydicom()
    studies = _studies(Path(folder))
    if not studies:
        raise InputError(
            f"{folder} holds no DICOM objects to file the report with; run 'ivim cohort' with --dicom first."
        )
    written = []
    try:
        with warnings.catch_warnings(), contextlib.ExitStack() as all_or_none:
            warnings.simplefilter("ignore")  # of names and lengths, which are the source's
            for study, template in studies.items():
                number = 1 + int(template.get("SeriesNumber") or 0)
                made = encapsulated_pdf(Path(pdf), template, number, "cohort report")
                target = study / "capture" / NAME
                target.parent.mkdir(exist_ok=True)
                made.save_as(all_or_none.enter_context(whole_file(target)), enforce_file_format=True)
                written.append(target)
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        raise InputError(f"The report could not be filed ({reason}); make room and try again.") from None
    return written


def _studies(folder: Path) -> dict[Path, Any]:
    """Return the study folders below 'dicom' folders, each with patient and study of an object in it."""
    import pydicom
    from pydicom.dataset import Dataset

    found: dict[Path, Any] = {}
    for study in sorted(path for path in folder.rglob("dicom/*") if path.is_dir()):
        number = 0
        for path in sorted(study.rglob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if header.get("Manufacturer") != MANUFACTURER or path.name == NAME:
                continue
            number = max(number, int(header.get("SeriesNumber") or 0))
            if study not in found:
                header.decode()
                found[study] = Dataset()
                for key in PATIENT_AND_STUDY:
                    if key in header:
                        found[study][key] = header[key]
        if study in found:
            found[study].SeriesNumber = number
    return found
