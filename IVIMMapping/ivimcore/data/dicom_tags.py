"""b-values straight from DICOM headers: the second source where dcm2niix gives none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
DIFFUSION_NAMES = re.compile(r"dwi|diff|dti|ivim|trace|\bb ?=? ?\d", re.IGNORECASE)
SEQUENCE_B = re.compile(r"(?:^|_)b(\d{1,5})(?:t|#\d+)?$")
LARGEST_B = 100000


def sequence_bvalue(sidecar: dict[str, Any], count: int) -> tuple[Array | None, str]:
    """Read b from the SequenceName of Siemens ('ep_b0', 'ep_b800t') in a dcm2niix sidecar, for a single image.

    Returns the b-values (count,) [s/mm²] or None, and the name of the source.
    """
    match = SEQUENCE_B.search(str(sidecar.get("SequenceName", "")))
    if match is None or count != 1:
        return None, ""
    return np.array([float(match[1])]), f"SequenceName (0018,0024) '{sidecar['SequenceName']}'"


def bvalues_of_tags(folder: Path, uids: set[str]) -> dict[str, tuple[set[float], str]]:
    """Collect the distinct b-values [s/mm²] of the DICOM headers of some series, with the tag they came from.

    Arguments: `folder` searched with its subfolders; `uids` series to look for. Returns series UID -> (b-values,
    source). Without pydicom nothing is found. A b of zero only counts where the series is named as diffusion, since
    some scanners write the tag into every series.
    """
    try:
        import pydicom
    except ImportError:
        return {}
    wanted = [
        "SeriesInstanceUID", "SeriesDescription", "ImageType", "SequenceName", "DiffusionBValue",
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", (0x0019, 0x100C), (0x0043, 0x1039),
        (0x2001, 0x1003), (0x0065, 0x1009),
    ]
    found: dict[str, tuple[set[float], str]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
            uid = str(dataset.get("SeriesInstanceUID", ""))
            if uid not in uids:
                continue
            values, source = header_bvalues(dataset)
            named = "DIFFUSION" in [str(word) for word in dataset.get("ImageType", None) or []] or any(
                DIFFUSION_NAMES.search(str(dataset.get(key, ""))) for key in ("SeriesDescription", "SequenceName")
            )
        except Exception:  # noqa: BLE001 - any of the files may be no DICOM, and pydicom raises many kinds
            continue
        if named or any(value > 0 for value in values):
            known, first = found.get(uid, (set(), source))
            found[uid] = (known | values, first)
    return found


def header_bvalues(dataset: Any) -> tuple[set[float], str]:
    """Return the b-values [s/mm²] of one DICOM header and the tag: standard, Siemens, GE, Philips, United Imaging."""
    values = {float(dataset.DiffusionBValue)} if dataset.get("DiffusionBValue") is not None else set()
    groups = [*dataset.get("SharedFunctionalGroupsSequence", []), *dataset.get("PerFrameFunctionalGroupsSequence", [])]
    for group in groups:
        for item in group.get("MRDiffusionSequence", []):
            if item.get("DiffusionBValue") is not None:
                values.add(float(item.DiffusionBValue))
    if values:
        return values, "DICOM tag (0018,9087), read directly"
    for group, element in ((0x0019, 0x100C), (0x0043, 0x1039), (0x2001, 0x1003), (0x0065, 0x1009)):
        if (group, element) in dataset:
            value = private_bvalue(dataset[group, element].value)
            if value is not None:
                return {value}, f"private DICOM tag ({group:04X},{element:04X}), read directly"
    match = SEQUENCE_B.search(str(dataset.get("SequenceName", "")))
    return ({float(match[1])}, "SequenceName (0018,0024)") if match else (set(), "")


def private_bvalue(value: Any) -> float | None:
    """Read the b-value of a private tag, whatever its representation: bytes, text, a number or a list.

    GE adds 1,000,000,000 to the first of its numbers, so that only the value modulo 100,000 counts. Eight bytes that
    are no text are a little-endian double, four a float, as in files whose representation was lost.
    """
    if isinstance(value, bytes):
        text = value.strip(b" \x00")
        if not re.fullmatch(rb"[0-9.\\eE+-]+", text):
            kind = {4: "<f4", 8: "<f8"}.get(len(value))
            number = float(np.frombuffer(value, kind)[0]) if kind else np.nan
            return number if np.isfinite(number) and 0 <= number < LARGEST_B else None
        value = text.decode("ascii")
    if isinstance(value, str):
        value = value.split("\\")
    if not isinstance(value, int | float):
        value = list(value)[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number % LARGEST_B if np.isfinite(number) and number >= 0 else None
