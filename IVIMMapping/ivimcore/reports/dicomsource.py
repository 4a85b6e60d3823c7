"""What is taken from the source series: patient, study, frame of reference, and the images at every slice.

Nothing is invented. What the source lacks is named, and asked by options where a person can know it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dicom_tags import header_bvalues
from ..data.geometry_io import LPS_TO_RAS
from ..data.series import Geometry
from ..errors import InputError

Array = np.ndarray
MANUFACTURER = "IVIMSlicer"
MR_IMAGES = {"1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"}
PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight",
    "IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "StudyDescription", "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "BodyPartExamined",
    "Laterality", "AnatomicRegionSequence",
)
ALLOWED_EMPTY = (
    "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "PositionReferenceIndicator",
)
NEEDED = {
    "StudyInstanceUID": "Study Instance UID (0020,000D)", "SeriesInstanceUID": "Series Instance UID (0020,000E)",
    "SOPInstanceUID": "SOP Instance UID (0008,0018)", "FrameOfReferenceUID": "Frame of Reference UID (0020,0052)",
}
OF_THE_SCAN = (
    "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength",
    "RepetitionTime", "MagneticFieldStrength", "SliceThickness", "AcquisitionDate", "AcquisitionTime",
)
HOW_TO_INSTALL = (
    "Writing DICOM needs the packages highdicom and pydicom; install them with 'pip install ivimslicer[dicom]', in "
    "Slicer with slicer.util.pip_install('highdicom')."
)


class PatientIdNeeded(InputError):
    """All that is missing is the identifier of the patient, which a person can give."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of the source: its instance, its number in a multi-frame instance (0 if it is none), slice and b."""

    header: Any
    number: int
    orientation: Array
    position: Array
    spacing: Array
    b: float | None
    thickness: float | None = None


@dataclass(eq=False)
class Source:
    """The source series on the grid of the maps.

    `template` a header with patient and study; `slices` the frames at each slice, in the order of `planes`; `axes`
    and `flips` turn a map (x, y, z) into (slice, row, column); `notes` sentences for the person; `derivations` the
    items that name the images of a slice, built once for all maps.
    """

    template: Any
    slices: list[list[Frame]]
    geometry: Geometry
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    orientation: Array
    thickness: float
    notes: list[str] = field(default_factory=list)
    derivations: dict[int, Any] = field(default_factory=dict)

    def planes(self, volume: Array) -> Array:
        """Turn a map (x, y, z) into (slice, row, column) as the scanner would have stored it."""
        return np.ascontiguousarray(_turned(volume, self.axes, self.flips))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of slices, rows and columns [mm]."""
        return tuple(float(self.geometry.spacing[axis]) for axis in self.axes)

    def position(self, number: int) -> Array:
        """Return the centre of the first voxel of a slice (3,), LPS [mm]."""
        return corner_of(self.geometry, self.axes, self.flips, number)

    @property
    def headers(self) -> list[Any]:
        """Every instance once."""
        return list({frame.header.SOPInstanceUID: frame.header for group in self.slices for frame in group}.values())


def _turned(volume: Array, axes: Sequence[int], flips: Sequence[bool]) -> Array:
    return volume.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def corner_of(geometry: Geometry, axes: Sequence[int], flips: Sequence[bool], number: int) -> Array:
    """Return the first voxel of slice `number` of a turned map, LPS [mm]."""
    index = np.zeros(4)
    index[3] = 1
    for axis, flip, place in zip(axes, flips, (number, 0, 0), strict=True):
        index[axis] = geometry.shape[axis] - 1 - place if flip else place
    return (LPS_TO_RAS @ geometry.affine @ index)[:3]


def require_packages() -> None:
    """Refuse, with how to install them, where highdicom or pydicom is missing."""
    try:
        import highdicom  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError:
        raise InputError(HOW_TO_INSTALL) from None


def require_pydicom() -> None:
    """Refuse, with how to install it, where pydicom is missing; Slicer brings it."""
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise InputError("Reading DICOM objects needs pydicom; install it with 'pip install pydicom'.") from None


def read_source(
    path: Path | str | Sequence[Path], geometry: Geometry, bvalues: Sequence[float] = (), series: str | None = None,
    patient_id: str | None = None, patient_name: str | None = None,
) -> Source:
    """Find in DICOM, a folder or files, the images that maps on `geometry` were made of, at every slice.

    Arguments: `bvalues` those used, by which images of others are left out; `series` number, UID or part of the
    description where several series fit; `patient_id`, `patient_name` instead of those of the source.
    Refuses, in one sentence: no DICOM, missing identifiers, more than one patient or study, mixed geometry, slices
    without image.
    """
    require_packages()
    headers, notes = _headers([Path(path)] if isinstance(path, str | Path) else [Path(file) for file in path])
    if series is not None:
        headers = [header for header in headers if _is_series(header, series)]
        if not headers:
            raise InputError(f"The source has no series '{series}'; give a number or part of its description.")
    missing = sorted({words for header in headers for key, words in NEEDED.items() if not header.get(key)})
    if missing:
        raise InputError(f"The source lacks {', '.join(missing)}, which cannot be made up; export the series again.")
    groups: dict[str, list[Frame]] = {}
    mixed, wrong = [], []
    for uid in dict.fromkeys(header.SeriesInstanceUID for header in headers):
        frames = [frame for header in headers if header.SeriesInstanceUID == uid for frame in frames_of(header)]
        fitting = [frame for frame in frames if _place(frame, geometry) is not None]
        if fitting and len(fitting) == len(frames):
            groups[uid] = frames
        else:
            (mixed if fitting else wrong).append(uid)
    if not groups and mixed:
        raise InputError("The source series mixes images of several geometries; give the folder of one of them.")
    if not groups:
        raise InputError(
            f"No series of the source lies on the grid of the maps ({geometry.describe()}); give the series that the "
            "maps were made of."
        )
    frames = _of_these_bvalues(groups, bvalues, notes)
    headers = [frame.header for frame in frames]
    for key, words in (("PatientID", "patients"), ("StudyInstanceUID", "studies"), ("FrameOfReferenceUID", "frames")):
        if len({str(header.get(key, "")) for header in headers}) > 1:
            raise InputError(f"The source holds several {words}; give the folder of one series.")
    axes, flips, slices = _sorted(frames, geometry)
    template = _template(frames[0], patient_id, patient_name, notes)
    thickness = next((frame.thickness for frame in frames if frame.thickness), None) or geometry.spacing[axes[0]]
    return Source(template, slices, geometry, axes, flips, frames[0].orientation, float(thickness), notes)


def _headers(paths: list[Path]) -> tuple[list[Any], list[str]]:
    import pydicom

    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path of the source.")
    found: dict[str, Any] = {}
    doubled = 0
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    for file in files:
        if not file.is_file():
            continue
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            header.decode()
        except Exception:  # noqa: BLE001 - any of the files may be no DICOM, and pydicom raises many kinds
            continue
        if header.get("SOPClassUID") not in MR_IMAGES or header.get("Manufacturer") == MANUFACTURER:
            continue
        doubled += header.get("SOPInstanceUID") in found
        found.setdefault(header.get("SOPInstanceUID") or file.name, header)
    if not found:
        raise InputError(
            f"{paths[0]} holds no DICOM MR images, so that patient, study and frame of reference are missing; give the "
            "DICOM series that the maps were made of."
        )
    notes = [f"{doubled} instances of the source are there twice and count once."] if doubled else []
    return list(found.values()), notes


def _is_series(header: Any, series: str) -> bool:
    return series in (str(header.get("SeriesNumber", "")), header.get("SeriesInstanceUID")) or (
        not series.isdigit() and series.lower() in str(header.get("SeriesDescription", "")).lower()
    )


def frames_of(header: Any) -> list[Frame]:
    """Return the images of an instance, one or many, each with where it lies; refuses it without positions."""
    try:
        if "PerFrameFunctionalGroupsSequence" not in header:
            values, _ = header_bvalues(header)
            return [Frame(
                header, 0, _floats(header.ImageOrientationPatient), _floats(header.ImagePositionPatient),
                _floats(header.PixelSpacing), values.copy().pop() if len(values) == 1 else None,
                float(header.get("SliceThickness") or 0) or None,
            )]  # fmt: skip
        shared = header.SharedFunctionalGroupsSequence[0]
        return [_of_enhanced(header, number, shared, item)
                for number, item in enumerate(header.PerFrameFunctionalGroupsSequence, 1)]  # fmt: skip
    except (AttributeError, TypeError, ValueError, IndexError):
        raise InputError(
            "The source lacks Image Position, Image Orientation or Pixel Spacing in the standard tags; export the "
            "series again without removing them."
        ) from None


def _of_enhanced(header: Any, number: int, shared: Any, item: Any) -> Frame:
    def group(name: str) -> Any:
        found = item.get(name) or shared.get(name)
        return found[0] if found else None

    diffusion, measures = group("MRDiffusionSequence"), group("PixelMeasuresSequence")
    b = None if diffusion is None else diffusion.get("DiffusionBValue")
    if b is None and diffusion is not None and diffusion.get("DiffusionDirectionality") == "NONE":
        b = 0.0
    return Frame(
        header, number, _floats(group("PlaneOrientationSequence").ImageOrientationPatient),
        _floats(group("PlanePositionSequence").ImagePositionPatient), _floats(measures.PixelSpacing),
        None if b is None else float(b), float(measures.get("SliceThickness") or 0) or None,
    )  # fmt: skip


def _floats(values: Any) -> Array:
    return np.array([float(value) for value in values])


def _axes(orientation: Array, geometry: Geometry) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]] | None:
    directions = (LPS_TO_RAS @ geometry.affine)[:3, :3] / geometry.spacing
    row, column = orientation[:3], orientation[3:]
    cosines = np.array([directions.T @ np.cross(row, column), directions.T @ column, directions.T @ row])
    axes = tuple(int(axis) for axis in np.abs(cosines).argmax(axis=1))
    along = cosines[range(3), axes]
    if len(set(axes)) < 3 or np.abs(along).min() < 0.9999:
        return None
    return axes, tuple(bool(value < 0) for value in along)


def _place(frame: Frame, geometry: Geometry) -> int | None:
    """Return the slice of the maps at which an image lies, None for another grid."""
    found = _axes(frame.orientation, geometry)
    if found is None:
        return None
    axes, flips = found
    size = tuple(geometry.shape[axis] for axis in axes)
    spacing = geometry.spacing[list(axes)]
    if size[1:] != (frame.header.Rows, frame.header.Columns) or not np.allclose(spacing[1:], frame.spacing, rtol=1e-3):
        return None
    first = corner_of(geometry, axes, flips, 0)
    normal = np.cross(frame.orientation[:3], frame.orientation[3:])
    number = int(np.rint((frame.position - first) @ normal / spacing[0]))
    if not 0 <= number < size[0]:
        return None
    away = np.abs(frame.position - corner_of(geometry, axes, flips, number)).max()
    return number if away < 0.05 * spacing.min() + 0.01 else None


def _of_these_bvalues(groups: dict[str, list[Frame]], bvalues: Sequence[float], notes: list[str]) -> list[Frame]:
    used = np.unique(np.asarray(bvalues, float))

    def matches(b: float | None) -> bool:
        return b is not None and bool(used.size) and bool(np.abs(used - b).min() <= max(1.0, 0.01 * b))

    chosen = {uid: [frame for frame in frames if matches(frame.b)] for uid, frames in groups.items()}
    chosen = {uid: frames for uid, frames in chosen.items() if frames}
    if not chosen:
        notes.append("The b-values used stand in no header of the source: every image on the grid is named as source.")
        return [frame for frames in groups.values() for frame in frames]

    def covered(frames: list[Frame]) -> bool:
        there = np.array([frame.b for frame in frames])
        return all(np.abs(there - b).min() <= max(1.0, 0.01 * b) for b in used)

    complete = [uid for uid, frames in chosen.items() if covered(frames)]
    if len(complete) > 1:
        listed = ", ".join(f"{chosen[uid][0].header.get('SeriesNumber', '?')}" for uid in complete)
        raise InputError(f"Several series of the source fit (series {listed}); choose one with --series.")
    if complete:
        return chosen[complete[0]]
    frames = [frame for group in chosen.values() for frame in group]
    if not covered(frames):
        notes.append("Not every b-value used stands in the headers of the source; the images found are named.")
    return frames


def _sorted(frames: list[Frame], geometry: Geometry) -> tuple[Any, Any, list[list[Frame]]]:
    axes, flips = _axes(frames[0].orientation, geometry)
    slices: list[list[Frame]] = [[] for _ in range(geometry.shape[axes[0]])]
    for frame in frames:
        slices[_place(frame, geometry)].append(frame)
    empty = sum(not group for group in slices)
    if empty:
        raise InputError(f"The source has no image at {empty} of {len(slices)} slices; export the series again.")
    for group in slices:
        group.sort(key=lambda frame: (-1.0 if frame.b is None else frame.b, frame.header.get("InstanceNumber") or 0,
                                      frame.number))  # fmt: skip
    return axes, flips, slices


def _template(frame: Frame, patient_id: str | None, patient_name: str | None, notes: list[str]) -> Any:
    """Return a header with patient, study and scan only; its texts are in UTF-8."""
    from pydicom.dataset import Dataset

    header, made = frame.header, Dataset()
    for key in (*PATIENT_AND_STUDY, *OF_THE_SCAN, "SeriesInstanceUID", "SeriesNumber", "SOPInstanceUID", "SOPClassUID",
                "Rows", "Columns"):  # fmt: skip
        if key in header:
            made[key] = copy.deepcopy(header[key])
    for key in ALLOWED_EMPTY:
        if key not in made:
            setattr(made, key, None)
    made.PatientName = made.PatientName if patient_name is None else patient_name
    made.PatientID = made.get("PatientID") if patient_id is None else patient_id
    if not made.PatientID:
        raise PatientIdNeeded(
            "The source has no Patient ID (0010,0020), perhaps because it was de-identified; give it with --patient-id."
        )
    if made.PatientSex not in (None, "", "M", "F", "O"):
        notes.append(f"Patient's Sex of the source is no DICOM value and left empty ({made.PatientSex}).")
        made.PatientSex = None
    if made.get("PatientIdentityRemoved") == "YES":
        notes.append("The source is de-identified, and so are the objects; give --patient-id to file them elsewhere.")
    else:
        lacking = [words for key, words in (("PatientName", "name"), ("PatientBirthDate", "date of birth"))
                   if not made.get(key)]  # fmt: skip
        if lacking:
            notes.append(f"The source has no {' and no '.join(lacking)} of the patient; the objects have none either.")
    # Without a body part the side has to be there, if only empty; with one, an empty side is wrong.
    for key in ("BodyPartExamined", "Laterality"):
        if not made.get(key) and key in made:
            del made[key]
    if "BodyPartExamined" not in made and "Laterality" not in made:
        made.Laterality = None
    made.SpecificCharacterSet = "ISO_IR 192"
    # One frame stands for all: highdicom takes its grid from single images only, and the references are ours.
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.ImagePositionPatient = [f"{x:.9g}" for x in frame.position]
    made.ImageOrientationPatient = [f"{x:.9g}" for x in frame.orientation]
    made.PixelSpacing = [f"{x:.9g}" for x in frame.spacing]
    made.SliceThickness = frame.thickness
    return made
