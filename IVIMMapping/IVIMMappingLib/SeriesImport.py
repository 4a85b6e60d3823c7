"""A series from files or from several volumes, as a sequence in the scene with a volume that shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer

from ivimcore.data.dicom_tags import private_bvalue
from ivimcore.data.geometry_io import file_stem, file_suffix
from ivimcore.data.nifti_file import NIFTI_SUFFIXES, read_volumes
from ivimcore.data.reading import NRRD, read_series
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from .DwiSequence import BVALUE_ATTRIBUTE, browseSequence, createDwiSequence
from .MapDisplay import PARAMETER_ATTRIBUTE
from .SeriesSources import NOT_KNOWN, SOURCE_ATTRIBUTE
from .VolumeNodes import arrayFromVolumeNode, geometryOfVolumeNode

DEFAULT_NAME = "DWI"
"""Of a DICOM series: its folder and files are often called after the patient."""
DICOM_TAGS = ("0018,9087", "0019,100c", "0043,1039", "2001,1003")
B_IN_NAME = re.compile(r"(?<![A-Za-z0-9])b[ =_-]?(\d{1,5})(?![A-Za-z0-9.])(?![_-]\d)", re.IGNORECASE)


def importSeries(
    scene: slicer.vtkMRMLScene, applicationLogic, path: Path | str | Sequence[Path | str],
    bval: Path | str | None = None, series: int | str | None = None,
) -> tuple[slicer.vtkMRMLSequenceNode, slicer.vtkMRMLScalarVolumeNode, tuple[str, ...]]:
    """Read a series from files and add it to the scene.

    Arguments: `path` a 4D NIfTI or NRRD file, several 3D files, or a folder of DICOM; `bval` a b-value file instead of
    what the input says; `series` the number or description of a DICOM series where there are several.
    Returns the sequence, the volume that shows it, and the decisions of the reader in words. An image file without
    usable b-values is added without them, and the notes say why.
    Raises InputError in one sentence, before anything is added to the scene.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(item) for item in path]
    try:
        read = read_series(paths, bval=bval, series=series)
    except InputError as fault:
        if bval is not None:
            raise
        signal, geometry = _imagesOnly(paths, fault)
        bvalues, source = np.full(signal.shape[3], np.nan), NOT_KNOWN
        notes: tuple[str, ...] = (f"{_withoutAdvice(str(fault))}.",)  # what to do is said by readSeries
    else:
        signal, geometry, bvalues = read.signal, read.geometry, read.acquisition.bvalues
        source, notes = read.bvalue_source, read.decisions
    if signal.shape[3] < 2:
        raise InputError("The input holds a single image; give a series of several b-values.")
    sequenceNode = _addSequence(scene, signal, geometry, bvalues, source, _nameOf(paths, series))
    return sequenceNode, browseSequence(applicationLogic, sequenceNode), tuple(notes)


def combineVolumes(
    scene: slicer.vtkMRMLScene, applicationLogic, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
    name: str | None = None,
) -> tuple[slicer.vtkMRMLSequenceNode, slicer.vtkMRMLScalarVolumeNode]:
    """Make one series of several scalar volumes, ordered by b where all b-values are known, else as given.

    The b-value of a volume is its attribute DWMRI_b-value, what the DICOM files say that it was loaded from, or what
    its name says ('b50'); else it is not known and is asked for later. The volumes themselves stay as they are.
    Returns the sequence and the volume that shows it; that lies under the transform of the volumes.
    Raises InputError for fewer than two volumes, maps of ours, colours, other grids, and different transforms.
    """
    volumes = list(dict.fromkeys(volumeNodes))
    _checkCombination(volumes)
    found = [_bvalueOf(volume) for volume in volumes]
    bvalues = np.array([value for value, _ in found])
    if np.isfinite(bvalues).all():
        order = np.argsort(bvalues, kind="stable")
        volumes, bvalues = [volumes[index] for index in order], bvalues[order]
    source = ", ".join(dict.fromkeys(words for _, words in found if words)) or NOT_KNOWN
    signal = np.stack([arrayFromVolumeNode(volume)[0] for volume in volumes], axis=-1)
    title = name or _commonName([volume.GetName() for volume in volumes])
    sequenceNode = _addSequence(scene, signal, geometryOfVolumeNode(volumes[0]), bvalues, source, title)
    proxyNode = browseSequence(applicationLogic, sequenceNode)
    proxyNode.SetAndObserveTransformNodeID(volumes[0].GetTransformNodeID())
    return sequenceNode, proxyNode


def _addSequence(
    scene: slicer.vtkMRMLScene, signal: np.ndarray, geometry: Geometry, bvalues: np.ndarray, source: str, name: str
) -> slicer.vtkMRMLSequenceNode:
    node = createDwiSequence(scene, signal, geometry, bvalues, scene.GenerateUniqueName(name))
    node.SetAttribute(SOURCE_ATTRIBUTE, source)
    for number in np.flatnonzero(~np.isfinite(bvalues)):
        frame = node.GetNthDataNode(int(number))
        frame.RemoveAttribute(BVALUE_ATTRIBUTE)
        frame.SetName(f"{node.GetName()} image {number + 1}")
    return node


# --- files -------------------------------------------------------------------------------------------------------


def _imagesOnly(paths: list[Path], fault: InputError) -> tuple[np.ndarray, Geometry]:
    """Read the images of one file whose b-values could not be read; raise the fault where that was not the trouble."""
    if len(paths) != 1 or not paths[0].is_file() or file_suffix(paths[0]) not in (*NIFTI_SUFFIXES, *NRRD):
        raise fault
    try:
        signal, geometry = read_volumes(paths[0])
    except InputError:
        raise fault from None
    if signal.shape[3] < 2:
        raise fault
    return signal, geometry


def _withoutAdvice(sentence: str) -> str:
    """Cut the advice of the command line ('...; give the b-values with --bval FILE') off a sentence."""
    return sentence.split("; ")[0].rstrip(".")


def _nameOf(paths: list[Path], series: int | str | None) -> str:
    """Name the series after its file; DICOM after the description that was asked for, since files carry patients."""
    if len(paths) == 1 and file_suffix(paths[0]) in (*NIFTI_SUFFIXES, *NRRD):
        return file_stem(paths[0]) or DEFAULT_NAME
    described = str(series or "").strip()
    return described if re.search(r"[A-Za-z]", described) else DEFAULT_NAME


# --- volumes -----------------------------------------------------------------------------------------------------


def _checkCombination(volumes: list) -> None:
    if len(volumes) < 2:
        raise InputError("A series needs at least two volumes; tick more.")
    for volume in volumes:
        name = volume.GetName()
        if volume.GetAttribute(PARAMETER_ATTRIBUTE):
            raise InputError(f"'{name}' is a map of IVIMSlicer; tick only measured images.")
        image = volume.GetImageData() if volume.IsA("vtkMRMLScalarVolumeNode") else None
        if image is None:
            raise InputError(f"'{name}' holds no image; tick only volumes with voxels.")
        if image.GetNumberOfScalarComponents() != 1 or volume.IsA("vtkMRMLLabelMapVolumeNode"):
            raise InputError(f"'{name}' is no single measured image; tick scalar volumes only.")
    first = geometryOfVolumeNode(volumes[0])
    others = [volume.GetName() for volume in volumes if not geometryOfVolumeNode(volume).matches(first)]
    if others:
        names = ", ".join(f"'{name}'" for name in others)
        raise InputError(
            f"{names} {'has' if len(others) == 1 else 'have'} another size or place than '{volumes[0].GetName()}'; "
            "resample the volumes to one grid, or leave some out."
        )
    if len({volume.GetTransformNodeID() for volume in volumes}) > 1:
        raise InputError("The volumes lie under different transforms; harden the transforms, or remove them.")


def _bvalueOf(volume) -> tuple[float, str]:
    """Return the b-value [s/mm²] of a volume and where it stands, or NaN and an empty text."""
    try:
        value = float(volume.GetAttribute(BVALUE_ATTRIBUTE))
        if np.isfinite(value) and value >= 0:
            return value, f"attribute {BVALUE_ATTRIBUTE} of the volumes"
    except (TypeError, ValueError):
        pass
    value = _bvalueOfDicom(volume)
    if value is not None:
        return value, "DICOM files of the volumes"
    named = {float(text) for text in B_IN_NAME.findall(volume.GetName() or "")}
    return (named.pop(), "names of the volumes") if len(named) == 1 else (np.nan, "")


def _bvalueOfDicom(volume) -> float | None:
    """Ask Slicer's DICOM database for the b-value of the files of a volume; None unless first and last agree."""
    database = getattr(slicer, "dicomDatabase", None)
    identifiers = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not database.isOpen or not identifiers:
        return None
    found = set()
    for identifier in {identifiers[0], identifiers[-1]}:
        path = database.fileForInstance(identifier)
        texts = (database.fileValue(path, tag) for tag in DICOM_TAGS) if path else ()
        found.add(next((value for value in map(private_bvalue, filter(None, texts)) if value is not None), None))
    return found.pop() if len(found) == 1 else None


def _commonName(names: list[str]) -> str:
    """Return the beginning that all names share, up to the b-value, or 'DWI'."""
    shared = names[0]
    for name in names[1:]:
        while not name.startswith(shared):
            shared = shared[:-1]
    # Shared digits belong to the b-values: of 'scan b10' and 'scan b100' the series is 'scan'.
    shared = re.sub(r"(?:(?:^|[ _=-])b)?[ _=-]*\d*$", "", shared, flags=re.IGNORECASE).strip(" _-:=")
    return shared if len(shared) > 1 else DEFAULT_NAME
