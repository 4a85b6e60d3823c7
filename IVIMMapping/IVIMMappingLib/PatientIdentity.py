"""Whose examination a node is, and of which day: read from the subject hierarchy, never guessed from a name.

What is returned only compares; it is shown nowhere and written into no text or file.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import slicer

from .Runs import Run

_PATIENT_TAG = "0010,0020"
_STUDY_DATE = "DICOM.StudyDate"
_PATIENT_ID = "DICOM.PatientID"


def patientOf(nodes: Iterable, item: int = 0) -> str:
    """Return what tells the patient of some nodes (and of an item of the subject hierarchy) from others, '' if unknown.

    It is the patient identifier of the subject hierarchy or of Slicer's DICOM database, else the patient's item in the
    hierarchy. Nodes that are None or in no scene are passed over.
    """
    nodes = [node for node in nodes if node is not None and node.GetScene() is not None]
    unnamed = ""
    for hierarchy, ancestor in _ancestorsOf(nodes, item):
        if hierarchy.GetItemLevel(ancestor) == slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient():
            identifier = hierarchy.GetItemAttribute(ancestor, _PATIENT_ID) or hierarchy.GetItemUID(ancestor, "DICOM")
            if identifier:
                return f"identifier {identifier}"
            unnamed = unnamed or f"item {ancestor}"
    identifier = next((found for node in nodes if (found := _identifierOfDatabase(node))), "")
    return f"identifier {identifier}" if identifier else unnamed


def patientOfRun(run: Run) -> str:
    """Return what tells the patient of a run from others, '' if unknown."""
    return patientOf([run.seriesNode, *run.nodes()], run.folderItem)


def dateOfRun(run: Run) -> datetime.date | None:
    """Return the day on which the series of a run was scanned, None where the subject hierarchy does not say."""
    nodes = [node for node in (run.seriesNode, *run.nodes()) if node is not None and node.GetScene() is not None]
    for hierarchy, ancestor in _ancestorsOf(nodes, run.folderItem):
        text = (hierarchy.GetItemAttribute(ancestor, _STUDY_DATE) or "").replace("-", "").replace(".", "")
        try:
            return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:8]))
        except ValueError:
            continue
    return None


def _ancestorsOf(nodes: list, item: int) -> Iterator[tuple]:
    """Yield the hierarchy and every item from the nodes and from `item` up to the scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(
        nodes[0].GetScene() if nodes else slicer.mrmlScene
    )
    if hierarchy is None:
        return
    top = (hierarchy.GetSceneItemID(), hierarchy.GetInvalidItemID(), 0)
    for start in [item, *(hierarchy.GetItemByDataNode(node) for node in nodes)]:
        current = start
        while current not in top:
            yield hierarchy, current
            current = hierarchy.GetItemParent(current)


def _identifierOfDatabase(node) -> str:
    """Ask Slicer's DICOM database whose files a volume was made from."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not database.isOpen or not instances:
        return ""
    path = database.fileForInstance(instances[0])
    return (database.fileValue(path, _PATIENT_TAG) or "").strip() if path else ""
