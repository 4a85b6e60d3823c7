"""NRRD series as 3D Slicer writes them: diffusion volumes, sequences, multivolumes, and plain 4D images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from .geometry_io import existing_file
from .nifti import bval_beside, check_count, given_bvalues, series_with_bval, unit_vectors
from .nifti_file import read_volumes
from .raw_nrrd import read_raw
from .series import DwiSeries, Geometry

Array = np.ndarray
LARGEST_HEADER = 8 * 1024 * 1024
B_NAME = re.compile(r"(^|[._ -])(diffusion)?b([-_ ]?values?)?$", re.IGNORECASE)
B_UNITS = {"s/mm2", "s/mm^2", "s/mm²", "sec/mm2", "sec/mm^2", "sec/mm²"}
ROUNDING = 1


@dataclass(frozen=True)
class NrrdHeader:
    """The text header of a NRRD file: `fields` ('sizes: 4 5') and `pairs` ('key:=value'), as they are written."""

    fields: dict[str, str]
    pairs: dict[str, str]

    def vectors(self, field: str) -> list[list[float] | None]:
        """Return the vectors of a field such as 'measurement frame: (1,0,0) (0,1,0) (0,0,1)', None for 'none'."""
        found = []
        for word in re.findall(r"\([^)]*\)|none", self.fields.get(field, "")):
            found.append(None if word == "none" else _numbers(word.strip("()"), f"the field '{field}'"))
        return found

    def quoted(self, field: str) -> list[str]:
        """Return the words of a field such as 'labels: "" "" "" "frame"'."""
        return re.findall(r'"([^"]*)"', self.fields.get(field, ""))


@dataclass(frozen=True)
class Found:
    """The b-values of a header (n,) [s/mm²], where they stand, directions in RAS (n, 3) or None, and a remark."""

    values: Array
    source: str
    directions: Array | None = None
    decision: str | None = None


def read_header(path: Path | str) -> NrrdHeader:
    """Read the text header of a NRRD or NHDR file, which ends at its first empty line.

    Refuses files that do not start as NRRD and headers above 8 MiB. Of a repeated key the first value counts.
    """
    path = existing_file(path)
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    with open(path, "rb") as stream:
        if not stream.readline(64).startswith(b"NRRD000"):
            raise InputError(f"{path.name} is not a NRRD file; give a .nrrd or .nhdr file.")
        used = 0
        while True:
            raw = stream.readline(LARGEST_HEADER - used + 1)
            used += len(raw)
            if used > LARGEST_HEADER:
                raise InputError(f"The header of {path.name} does not end within 8 MiB; the file is damaged.")
            line = raw.decode("utf-8", "replace").strip("\r\n")
            if not line:
                return NrrdHeader(fields, pairs)
            if line.startswith("#"):
                continue
            key, separator, value = line.partition(":")
            if separator and value.startswith("="):
                pairs.setdefault(key, value[1:].strip())
            elif separator:
                fields.setdefault(key.strip().lower(), value.strip())


def read_nrrd_file(path: Path, header: NrrdHeader) -> tuple[Array, Geometry]:
    """Read the numbers (x, y, z, n) and the grid of a NRRD or NHDR file whose header is known.

    Raw files of our own need no library; SimpleITK reads all others.
    """
    return read_raw(path, header.fields, header.vectors("space directions")) or read_volumes(path)


def read_nrrd(path: Path | str, bval: Path | str | None = None, bvalues: Sequence[float] | None = None) -> DwiSeries:
    """Read a NRRD or NHDR series with the b-values of its header.

    The b-values are taken from the first of these that is there: `bvalues` (n,) [s/mm²] or `bval` (a file) given by
    the user; diffusion gradients (`modality:=DWMRI`); an attribute of each frame of a Slicer sequence; the frame
    labels of a multivolume whose tag is a b-value; the index of a sequence whose name or unit is that of a b-value;
    the .bval file beside the image.
    Refuses a header without b-values, saying what its frames are labelled with instead.
    """
    path = existing_file(path)
    header = read_header(path)
    signal, geometry = read_nrrd_file(path, header)
    count = signal.shape[3]
    kind = format_of(header)
    given = given_bvalues(count, path.name, bval, bvalues)
    try:
        found = header_bvalues(header, count, path.name) if count > 1 else None
    except InputError:
        # What the user typed, or wrote beside the file, repairs a header without usable b-values.
        if given is None and not (bval_beside(path).exists() and kind != "DWI NRRD"):
            raise
        found = None
    if found is None:
        return series_with_bval(path, signal, geometry, kind, bval, bvalues)
    decisions = [found.decision] if found.decision else []
    values, source = found.values, found.source
    if given is not None:
        values, source = given
        decisions = [f"The b-values given by the user are used instead of those of the file ({found.source})."]
    acquisition = Acquisition(values, found.directions)
    return DwiSeries(signal, geometry, acquisition, source, kind, tuple(decisions))


def format_of(header: NrrdHeader) -> str:
    """Name the kind of series that a header describes."""
    if header.pairs.get("modality") == "DWMRI":
        return "DWI NRRD"
    if "DataNodeClassName" in header.pairs or any(key.startswith("axis ") for key in header.pairs):
        return "sequence NRRD"
    if "MultiVolume.FrameLabels" in header.pairs:
        return "MultiVolume NRRD"
    return "NRRD"


def header_bvalues(header: NrrdHeader, count: int, name: str) -> Found | None:
    """Find the b-values of a header for `count` images; None where it says nothing about its frames.

    Refuses diffusion headers that cannot tell the b-values, and frames labelled with something else.
    """
    if header.pairs.get("modality") == "DWMRI" or "DWMRI_b-value" in header.pairs:
        return _gradient_bvalues(header, count, name)
    for search in (_frame_attributes, _multivolume_labels, _index_values):
        found = search(header, count, name)
        if found is not None:
            return found
    label = header.pairs.get("MultiVolume.FrameIdentifyingDICOMTagName")
    if label is not None or "MultiVolume.FrameLabels" in header.pairs:
        unit = header.pairs.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "no unit")
        raise InputError(
            f"The frames of {name} are labelled with '{label or 'nothing'}' ({unit}), not with b-values; "
            "give the b-values with --bval FILE."
        )
    return None


def _gradient_bvalues(header: NrrdHeader, count: int, name: str) -> Found:
    """Compute b = b_max |g|² / max |g|², the convention of the NAMIC diffusion header."""
    gradients = np.zeros((count, 3))
    known = np.zeros(count, dtype=bool)
    for key, text in header.pairs.items():
        match = re.fullmatch(r"DWMRI_gradient_(\d{1,9})", key)
        if match is None:
            continue
        number = int(match[1])
        vector = _numbers(text, f"{key} of {name}")
        if len(vector) != 3 or number >= count:
            raise InputError(f"{key} of {name} does not belong to one of its {count} images; export the file again.")
        repeats = header.pairs.get(f"DWMRI_NEX_{match[1]}", "1")
        repeats = int(repeats) if repeats.isdecimal() and len(repeats) < 7 else 1
        gradients[number : number + repeats] = vector
        known[number : number + repeats] = True
    if not known.all():
        raise InputError(
            f"{name} has {count} images but diffusion gradients for {int(known.sum())} of them; "
            "give the b-values with --bval FILE."
        )
    nominal = _numbers(header.pairs.get("DWMRI_b-value", ""), f"DWMRI_b-value of {name}")
    if len(nominal) != 1:
        raise InputError(f"{name} has no DWMRI_b-value; give the b-values with --bval FILE.")
    square = (gradients**2).sum(axis=1)
    if not square.max() > 0:
        if nominal[0] > 0 and count > 1:
            raise InputError(
                f"{name} holds trace images: its gradients are all zero, so its header cannot tell the b-values "
                "of the images; give them with --bval FILE."
            )
        square[:] = 0.0
    values = np.round(nominal[0] * square / max(float(square.max()), 1e-30), ROUNDING)
    frame = [vector for vector in header.vectors("measurement frame") if vector is not None]
    matrix = np.array(frame, dtype=float).T if [len(vector) for vector in frame] == [3, 3, 3] else np.eye(3)
    if header.fields.get("space", "").lower() in ("left-posterior-superior", "lps"):
        matrix = np.diag([-1.0, -1.0, 1.0]) @ matrix
    return Found(
        values, "DWMRI_b-value and gradient lengths of the header", unit_vectors(gradients @ matrix.T),
        f"The b-values follow from the gradient lengths (b = {nominal[0]:g} s/mm² for the longest), "
        "rounded to 0.1 s/mm².",
    )


def _frame_attributes(header: NrrdHeader, count: int, name: str) -> Found | None:
    """Read the b-value attribute of each frame of a sequence, as Slicer 5.10 and newer write it."""
    values: dict[int, float] = {}
    attribute = ""
    for key, text in header.pairs.items():
        match = re.fullmatch(r"axis \d+ item (\d{1,9}) (.+)", key)
        if match is None or B_NAME.search(match[2]) is None:
            continue
        number = _numbers(text, f"'{key}' of {name}")
        if len(number) != 1:
            raise InputError(f"'{key}' of {name} is not a b-value; give the b-values with --bval FILE.")
        values[int(match[1])] = number[0]
        attribute = match[2]
    if not values:
        return None
    if sorted(values) != list(range(count)):
        raise InputError(
            f"{name} has {count} images but {len(values)} of them carry a b-value; give the b-values with --bval FILE."
        )
    return Found(np.array([values[number] for number in range(count)]), f"attribute '{attribute}' of each frame")


def _multivolume_labels(header: NrrdHeader, count: int, name: str) -> Found | None:
    label = header.pairs.get("MultiVolume.FrameIdentifyingDICOMTagName", "")
    text = header.pairs.get("MultiVolume.FrameLabels")
    if text is None or B_NAME.search(label) is None:
        return None
    values = np.array(_numbers(text, f"MultiVolume.FrameLabels of {name}"))
    check_count(values, count, "MultiVolume.FrameLabels", name)
    return Found(values, f"frame labels of the header (MultiVolume.FrameLabels, tag '{label}')")


def _index_values(header: NrrdHeader, count: int, name: str) -> Found | None:
    for key, text in header.pairs.items():
        match = re.fullmatch(r"axis (\d{1,2}) index values", key)
        if match is None:
            continue
        labels, units = header.quoted("labels"), header.quoted("units")
        axis = int(match[1])
        label = labels[axis] if axis < len(labels) else ""
        unit = units[axis] if axis < len(units) else ""
        if B_NAME.search(label) is None and unit.lower() not in B_UNITS:
            return None
        values = np.array(_numbers(text, f"'{key}' of {name}"))
        check_count(values, count, f"The sequence index '{label}'", name)
        return Found(values, f"sequence index '{label}' [{unit or 'no unit'}]")
    return None


def _numbers(text: str, what: str) -> list[float]:
    """Read finite numbers separated by blanks or commas; `what` names them in the refusal."""
    try:
        numbers = [float(word) for word in re.split(r"[\s,]+", text.strip()) if word]
    except ValueError:
        numbers = [np.nan]
    if not np.isfinite(numbers).all():
        raise InputError(f"{what[:1].upper()}{what[1:]} is not a list of numbers; give the b-values with --bval FILE.")
    return numbers
