"""DICOM maps, regions and reports into the scene: ours as runs, those of others as maps with our colours and units.

Reading needs pydicom alone, which Slicer brings; nothing is installed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from ivimcore.reports.dicomimport import Imported, ImportedMap, read_objects
from ivimcore.reports.dicomsource import MANUFACTURER
from ivimcore.reports.roistatistics import region_statistics

from .MapDescription import MAP_KEYS, isMapKey
from .MapRecognition import ORIGIN_ATTRIBUTE, showAs
from .RegionSegments import createSegmentation
from .RunFolder import RunNodes, addRun, createFolder, moveToFolder
from .Runs import writeSettings
from .StatisticsTable import createTable
from .VolumeNodes import createVolumeNode

INPUT = "DICOM"
"""Name of what was imported: descriptions of series may name patients."""


@dataclass
class ImportedNodes:
    """What came into the scene: `runs` of ours, `volumes` of others, `segmentation` and `table` or None, sentences."""

    runs: list[RunNodes] = field(default_factory=list)
    volumes: list[Any] = field(default_factory=list)
    segmentation: Any = None
    table: Any = None
    notes: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """Say what came in."""
        parts = []
        if self.runs:
            parts.append(f"{sum(len(run.maps) for run in self.runs)} maps of ours")
        if self.volumes:
            parts.append(f"{len(self.volumes)} maps of others")
        if self.segmentation is not None:
            parts.append(f"{self.segmentation.GetSegmentation().GetNumberOfSegments()} regions")
        if self.table is not None:
            parts.append(f"a table of {self.table.GetNumberOfRows()} measurements")
        return f"Imported: {', '.join(parts)}."


def importDicom(scene: slicer.vtkMRMLScene, path: str | Path) -> ImportedNodes:
    """Read every map, segmentation and TID 1500 report below a folder into the scene.

    Maps of ours become runs with their statistics in the regions that came along; ADC maps of scanners and parametric
    maps of others become volumes in stored units that know their quantity. Raises InputError in one sentence, before
    anything is added.
    """
    found = read_objects(path)
    nodes = ImportedNodes(notes=list(found.notes))
    groups: dict[tuple, dict[str, ImportedMap]] = {}
    others = []
    for one in sorted(found.maps, key=lambda one: not one.exact):
        if one.origin != MANUFACTURER or not isMapKey(one.key):
            others.append(one)
            continue
        group = groups.setdefault((one.estimator, one.geometry.shape, one.geometry.affine.round(3).tobytes()), {})
        if one.key in group:
            _note(nodes, "Plain images of a map that is there exactly were left out.")
        else:
            group[one.key] = one
    for (estimator, *_grid), maps in groups.items():
        nodes.runs.append(_addRun(scene, estimator, maps, found))
    nodes.volumes = [_addVolume(scene, one) for one in others]
    reference = next((node for run in nodes.runs for node in run.maps.values()), next(iter(nodes.volumes), None))
    if found.labels is not None and found.labels.any():
        nodes.segmentation = createSegmentation(
            scene, found.labels, found.names, found.label_geometry, f"{INPUT} regions",
            reference if found.maps else None,
        )
        for run in nodes.runs:
            for node in run.nodes():
                writeSettings(node, {"regionKind": "segments"}, None, nodes.segmentation)
    if found.measurements:
        nodes.table = createTable(scene, found.measurements, f"{INPUT} measurements")
    return nodes


def _addRun(scene: slicer.vtkMRMLScene, estimator: str, maps: dict[str, ImportedMap], found: Imported) -> RunNodes:
    first = next(iter(maps.values()))
    values = {key: maps[key].volume for key in MAP_KEYS if key in maps}
    provenance = {
        "run_id": uuid.uuid4().hex, "estimator": estimator, "bvalues_used": list(first.bvalues),
        "versions": {"ivimslicer": first.software}, "origin": "DICOM objects",
    }
    isOnGrid = found.labels is not None and found.label_geometry.matches(first.geometry)
    labels, names = (found.labels, found.names) if isOnGrid else (None, None)
    rows = region_statistics(values, first.geometry, labels, names, estimator=estimator)
    return addRun(scene, values, first.geometry, INPUT, estimator, provenance, rows)


def _addVolume(scene: slicer.vtkMRMLScene, one: ImportedMap) -> Any:
    what = one.key if isMapKey(one.key) else one.label or "map"
    node = createVolumeNode(scene, one.volume, one.geometry, scene.GenerateUniqueName(f"{what} ({one.origin})"))
    node.SetAttribute(ORIGIN_ATTRIBUTE, one.origin)
    node.SetDescription(one.label)
    if isMapKey(one.key):
        showAs(node, one.key, 1.0)
    moveToFolder(node, _folderOfOthers(scene))
    return node


def _folderOfOthers(scene: slicer.vtkMRMLScene) -> int:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), f"{INPUT} maps of others")
    return item or createFolder(scene, f"{INPUT} maps of others")


def _note(nodes: ImportedNodes, sentence: str) -> None:
    if sentence not in nodes.notes:
        nodes.notes.append(sentence)

