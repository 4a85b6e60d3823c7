"""Where the b-values of a series in the scene stand: the first source that is there, named in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from ivimcore.data.dicom_tags import LARGEST_B
from ivimcore.data.geometry_io import file_suffix
from ivimcore.data.nifti import bval_beside, read_bval
from ivimcore.data.nrrd import B_NAME, B_UNITS, NrrdHeader, header_bvalues, read_header
from ivimcore.data.reading import NRRD
from ivimcore.errors import InputError

from .DwiSequence import BVALUE_ATTRIBUTE
from .SeriesFrames import numberList

SOURCE_ATTRIBUTE = "IVIM.BvalueSource"
"""On a sequence that IVIMSlicer made: where its b-values came from, in words."""
LABELS_ATTRIBUTE = "MultiVolume.FrameLabels"
TAG_ATTRIBUTE = "MultiVolume.FrameIdentifyingDICOMTagName"
UNIT_ATTRIBUTE = "MultiVolume.FrameIdentifyingDICOMTagUnits"
WHAT_TO_DO = "type, paste or load them in the b-value table"
NOT_KNOWN = "nowhere in the scene"
IMPORT_INSTEAD = "load the file with 'Import from file or folder…'"
LARGEST_WRONG_UNIT = 20.0
SAFE_DWI_IMAGES = 7
DECIMALS = 3
"""Slicer works the b-values of a DWI volume out of gradient lengths, which leaves 249.99999664."""


@dataclass(frozen=True, eq=False)
class FoundBvalues:
    """b-values (n,) [s/mm²], NaN where unknown; their source in words; sentences for the person who reads them."""

    bvalues: np.ndarray
    source: str
    notes: tuple[str, ...] = ()


def findBvalues(node: slicer.vtkMRMLNode, count: int) -> FoundBvalues:
    """Look for the b-values of the `count` images of a node.

    In this order: the DWI node's own; an attribute of each frame of a sequence; attributes of the node (frame labels of
    a multivolume whose tag is a b-value, diffusion gradients); the index of a sequence whose name or unit is that of a
    b-value; the .bval file beside the file that the node was loaded from. What is found but cannot be used is said in
    the notes, and nothing is guessed.
    """
    notes: list[str] = []
    for search in (_ofDwiNode, _ofFrames, _ofLabels, _ofGradients, _ofIndex, _ofFile):
        found = search(node, count, notes)
        if found is not None:
            notes.extend(found.notes)
            break
    else:
        found = FoundBvalues(np.full(count, np.nan), NOT_KNOWN)
        if not any(WHAT_TO_DO in note for note in notes):
            notes.append(f"The b-values of '{node.GetName()}' are not known; {WHAT_TO_DO}.")
    if node.IsA("vtkMRMLDiffusionWeightedVolumeNode") and count < SAFE_DWI_IMAGES:
        notes.append(
            f"Slicer saves a DWI volume of {count} images without its b-values; import the file with "
            "'Import from file or folder…' to keep them."
        )
    known = found.bvalues[np.isfinite(found.bvalues)]
    if known.size and 0 < known.max() <= LARGEST_WRONG_UNIT:
        notes.append(
            f"The largest b-value is {known.max():g} s/mm², which looks like ms/µm²; multiply the b-values by 1000."
        )
    return FoundBvalues(found.bvalues, found.source, tuple(dict.fromkeys(notes)))


def _ofDwiNode(node, count: int, notes: list[str]) -> FoundBvalues | None:
    if not node.IsA("vtkMRMLDiffusionWeightedVolumeNode"):
        return None
    stored = node.GetBValues()
    values = np.zeros(0) if stored is None else np.array(vtk_to_numpy(stored), dtype=float).ravel()
    if values.size != count:
        notes.append(f"The DWI volume has {count} images but {values.size} b-values; {WHAT_TO_DO}.")
        return None
    values, wrong = _usable(np.round(values, DECIMALS))
    source = "b-values of the DWI volume"
    if not wrong.any():
        return FoundBvalues(values, source)
    beside = _ofFile(node, count, [])
    if beside is not None:
        return beside
    images = _imagesWere(wrong, "has", "have")
    return FoundBvalues(values, source, (
        f"{images} no b-value in the DWI volume, as happens with trace images, whose gradients are zero; {WHAT_TO_DO}.",
    ))


def _ofFrames(node, count: int, notes: list[str]) -> FoundBvalues | None:
    if not node.IsA("vtkMRMLSequenceNode"):
        return None
    texts = [node.GetNthDataNode(number).GetAttribute(BVALUE_ATTRIBUTE) for number in range(count)]
    if not any(texts):
        return None
    if _indicesInFile(node)[1]:
        notes.append(f"{_replaced(node, count)}, so that b-values may stand at the wrong image; {IMPORT_INSTEAD}.")
        return FoundBvalues(np.full(count, np.nan), NOT_KNOWN)
    values, wrong = _usable(np.array([_number(text) for text in texts]))
    source = f"each frame's attribute {BVALUE_ATTRIBUTE}"
    origin = node.GetAttribute(SOURCE_ATTRIBUTE)
    if origin:
        source = f"{origin} (kept as {source})"
    if not wrong.any():
        return FoundBvalues(values, source)
    return FoundBvalues(values, source, (
        f"{_imagesWere(wrong, 'has', 'have')} no readable attribute {BVALUE_ATTRIBUTE}; {WHAT_TO_DO}.",
    ))


def _ofLabels(node, count: int, notes: list[str]) -> FoundBvalues | None:
    text = node.GetAttribute(LABELS_ATTRIBUTE)
    if not text:
        return None
    tag = node.GetAttribute(TAG_ATTRIBUTE) or ""
    if B_NAME.search(tag) is None:
        unit = node.GetAttribute(UNIT_ATTRIBUTE) or "no unit"
        notes.append(f"The frames are labelled with '{tag or 'nothing'}' ({unit}), which is no b-value.")
        return None
    labels = np.array([_number(word) for word in text.replace(",", " ").split()])
    if labels.size != count:
        notes.append(
            f"There are {count} images but {labels.size} frame labels, so that it is not known which b-value belongs "
            f"to which image (images of equal b may have replaced each other); {WHAT_TO_DO}."
        )
        return None
    if (labels >= LARGEST_B).any():
        notes.append(f"The scanner adds a flag to the b-values of this series; only what is below {LARGEST_B} counts.")
        labels = labels % LARGEST_B
    values, wrong = _usable(labels)
    source = f"attribute {LABELS_ATTRIBUTE} ({tag})"
    if not wrong.any():
        return FoundBvalues(values, source)
    return FoundBvalues(values, source, (f"{_imagesWere(wrong, 'has', 'have')} no readable label; {WHAT_TO_DO}.",))


def _ofGradients(node, count: int, notes: list[str]) -> FoundBvalues | None:
    """Slicer keeps the diffusion header of a NRRD file as attributes where it loads the file as sequence or vectors."""
    pairs = {name: node.GetAttribute(name) for name in node.GetAttributeNames() if name.startswith("DWMRI_")}
    if BVALUE_ATTRIBUTE not in pairs:
        return None
    try:
        found = header_bvalues(NrrdHeader({}, pairs), count, f"'{node.GetName()}'")
    except InputError as fault:
        notes.append(f"{str(fault).split(';')[0]}; {WHAT_TO_DO}.")
        return None
    decision = (found.decision,) if found.decision else ()
    return FoundBvalues(found.values, "attributes DWMRI_b-value and DWMRI_gradient of the node", decision)


def _ofIndex(node, count: int, notes: list[str]) -> FoundBvalues | None:
    if not node.IsA("vtkMRMLSequenceNode"):
        return None
    name, unit = node.GetIndexName() or "", node.GetIndexUnit() or ""
    if B_NAME.search(name) is None and unit.lower() not in B_UNITS:
        return None
    values, wrong = _usable(np.array([_number(node.GetNthIndexValue(number)) for number in range(count)]))
    indices, repeated = _indicesInFile(node)
    remarks = []
    if repeated:
        remarks.append(f"{_replaced(node, count)}; {IMPORT_INSTEAD}.")
    elif not indices:
        remarks.append(
            "An index cannot hold one b-value twice: if the series had repeated images, only the last of each is here; "
            f"{IMPORT_INSTEAD} to be sure."
        )
    if wrong.any():
        remarks.append(f"{_imagesWere(wrong, 'has', 'have')} no number as index; {WHAT_TO_DO}.")
    source = f"index of the sequence ({name or 'no name'}, unit {unit or 'not given'})"
    return FoundBvalues(values, source, tuple(remarks))


def _indicesInFile(node) -> tuple[list[str], bool]:
    """Return the index values in the file that a sequence was loaded from, and whether equal ones lost images.

    Slicer reads the later of two frames of equal index over the earlier one; attributes then move to other frames.
    """
    storage = node.GetStorageNode()
    path = Path(storage.GetFileName() or "") if storage is not None else Path()
    if file_suffix(path) not in NRRD or not path.is_file():
        return [], False
    try:
        pairs = read_header(path).pairs
    except InputError:
        return [], False
    texts = [text for key, text in pairs.items() if re.fullmatch(r"axis \d+ index values", key)]
    indices = texts[0].split() if texts else []
    return indices, node.GetNumberOfDataNodes() == len(set(indices)) < len(indices)


def _replaced(node, count: int) -> str:
    return (
        f"The file of this sequence holds {len(_indicesInFile(node)[0])} images but only {count} are here, because "
        "images of equal index replaced each other"
    )


def _ofFile(node, count: int, notes: list[str]) -> FoundBvalues | None:
    storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    name = storage.GetFileName() if storage is not None else None
    if not name:
        return None
    beside = bval_beside(Path(name))
    if not beside.is_file():
        return None
    try:
        values, wrong = _usable(read_bval(beside))
    except InputError as fault:
        notes.append(str(fault))
        return None
    if values.size != count or wrong.any():
        notes.append(f"The .bval file beside the image does not hold {count} b-values; {WHAT_TO_DO}.")
        return None
    return FoundBvalues(values, "the .bval file beside the image")


def _number(text: str | None) -> float:
    """Read a number, NaN where there is none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


def _usable(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values with NaN for those that cannot be b-values, and which those are."""
    wrong = ~np.isfinite(values) | (values < 0)
    return np.where(wrong, np.nan, values), wrong


def _imagesWere(wrong: np.ndarray, one: str, several: str) -> str:
    numbers = np.flatnonzero(wrong) + 1
    return f"Image {numbers[0]} {one}" if numbers.size == 1 else f"Images {numberList(numbers)} {several}"
