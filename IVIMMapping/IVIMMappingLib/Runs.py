"""The runs of a scene, found again from what their maps say of themselves: nothing is kept beside the scene.

Each map carries the run it belongs to, its parameter and the whole provenance as attributes, and references to the
series and the region as node references, which a saved scene brings back even where identifiers change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import slicer
import vtk

from .MapDescription import MAP_KEYS, STATUS
from .MapDisplay import (
    COLORS_ATTRIBUTE,
    DISPLAY_ATTRIBUTE,
    ESTIMATOR_ATTRIBUTE,
    PARAMETER_ATTRIBUTE,
    PROVENANCE_ATTRIBUTE,
    RUN_ATTRIBUTE,
    SETTINGS_ATTRIBUTE,
)
from .RunFolder import removeFromHierarchy

SERIES_ROLE, REGION_ROLE = "IVIM.Series", "IVIM.Region"
STATISTICS, REGION_NUMBERS = "statistics", "region numbers"


@dataclass(eq=False)
class Run:
    """One run of one estimator, as it lies in the scene.

    `runId` and `estimator` name it (estimators of one press of Apply share the id); `folderItem` in the subject
    hierarchy and its name; `maps` nodes by parameter key; `status`, `statistics`, `regionNumbers` nodes or None;
    `provenance` what the fit wrote; `settings` what the person had chosen: 'bvalues' one per image [s/mm²], 'used' one
    flag per image, 'average', 'estimators' with options, and whatever the panel added; `seriesNode`, `regionNode`
    as long as they are in the scene.
    """

    runId: str
    estimator: str
    folderItem: int
    name: str
    maps: dict[str, Any] = field(default_factory=dict)
    status: Any = None
    statistics: Any = None
    regionNumbers: Any = None
    provenance: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seriesNode: Any = None
    regionNode: Any = None

    @property
    def key(self) -> str:
        """A text that tells this run from every other of the scene, for a parameter node or a selector."""
        return f"{self.runId or self.name}/{self.estimator}"

    @property
    def unfitted(self) -> dict[str, int]:
        """How many voxels there are of each status, by its sentence, as the provenance counts them."""
        return dict(self.provenance.get("status", {}))

    def nodes(self) -> list[Any]:
        """Return every node that belongs to the run."""
        nodes = (*self.maps.values(), self.status, self.statistics, self.regionNumbers)
        return [node for node in nodes if node is not None]


def runsOf(scene: slicer.vtkMRMLScene) -> list[Run]:
    """Return the runs of a scene, newest first."""
    found: dict[tuple, list[Any]] = {}
    for className in ("vtkMRMLScalarVolumeNode", "vtkMRMLTableNode"):
        nodes = scene.GetNodesByClass(className)
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if _isOfARun(node):
                found.setdefault(_groupOf(node), []).append(node)
    runs = [_assemble(group[1], group[2], nodes) for group, nodes in found.items()]
    runs = [run for run in runs if run.maps or run.status is not None]
    # A stable sort of what came last first: runs that end within one second keep the order of the scene.
    return sorted(reversed(runs), key=lambda run: str(run.provenance.get("finished", "")), reverse=True)


def runOfMap(node: slicer.vtkMRMLNode | None) -> Run | None:
    """Return the run that a map, a status, a table or a companion of a map belongs to; None for any other node."""
    if node is None or node.GetScene() is None:
        return None
    if node.GetAttribute(DISPLAY_ATTRIBUTE) is not None:
        node = node.GetNodeReference(DISPLAY_ATTRIBUTE)
        if node is None:
            return None
    if not _isOfARun(node):
        return None
    identifier = node.GetID()
    for run in runsOf(node.GetScene()):
        if any(other.GetID() == identifier for other in run.nodes()):
            return run
    return None


def findRun(scene: slicer.vtkMRMLScene, key: str) -> Run | None:
    """Return the run with that `Run.key`, or None."""
    return next((run for run in runsOf(scene) if run.key == key), None)


def renameRun(run: Run, name: str) -> None:
    """Give the folder of a run another name; the names of its maps stay."""
    if not name.strip() or not run.folderItem:
        return
    hierarchy = _hierarchy(run.nodes()[0].GetScene())
    hierarchy.SetItemName(run.folderItem, name.strip())
    run.name = name.strip()


def removeRun(scene: slicer.vtkMRMLScene, run: Run) -> None:
    """Take a run out of the scene with everything that belongs to it; what a person put into its folder moves up."""
    companions = [
        node for node in _volumes(scene)
        if node.GetAttribute(DISPLAY_ATTRIBUTE) is not None
        and any(node.GetNodeReferenceID(DISPLAY_ATTRIBUTE) == map_.GetID() for map_ in run.maps.values())
    ]
    removeNodes(scene, [*run.nodes(), *companions], run.folderItem)


def removeNodes(scene: slicer.vtkMRMLScene, nodes: Iterable[Any], folderItem: int = 0) -> None:
    """Take nodes with their display, legend and storage nodes out of the scene, then the folder that held them."""
    wasBatch = scene.IsBatchProcessing()
    if not wasBatch:
        scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        for node in nodes:
            _removeWithCompanions(scene, node)
        _removeUnusedColors(scene)
        if folderItem:
            _removeFolder(_hierarchy(scene), folderItem)
    finally:
        if not wasBatch:
            scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def writeSettings(node: slicer.vtkMRMLNode, settings: dict[str, Any], seriesNode, regionNode) -> None:
    """Write on a node of a run what the person had chosen, and refer to series and region."""
    node.SetAttribute(SETTINGS_ATTRIBUTE, json.dumps(settings, ensure_ascii=False, sort_keys=True))
    for role, target in ((SERIES_ROLE, seriesNode), (REGION_ROLE, regionNode)):
        if target is not None and target.GetScene() is node.GetScene() and target.GetID():
            node.SetNodeReferenceID(role, target.GetID())


def _isOfARun(node) -> bool:
    return node.GetAttribute(RUN_ATTRIBUTE) is not None and node.GetAttribute(PARAMETER_ATTRIBUTE) is not None


def _groupOf(node) -> tuple[str, str, int]:
    """Return what nodes of one run share; scenes of the shell have no run id, there the folder tells."""
    runId = node.GetAttribute(RUN_ATTRIBUTE) or ""
    item = _folderOf(node)
    return (runId or f"folder {item}", node.GetAttribute(ESTIMATOR_ATTRIBUTE) or "", item)


def _folderOf(node) -> int:
    """Return the item of the folder of the run of a node, 0 where it lies in none."""
    hierarchy = _hierarchy(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    top = (hierarchy.GetSceneItemID(), hierarchy.GetInvalidItemID())
    while item not in top:
        if hierarchy.GetItemAttribute(item, ESTIMATOR_ATTRIBUTE):
            return item
        item = hierarchy.GetItemParent(item)
    return 0


def _assemble(estimator: str, folderItem: int, nodes: list[Any]) -> Run:
    first = nodes[0]
    name = _hierarchy(first.GetScene()).GetItemName(folderItem) if folderItem else first.GetName()
    run = Run(first.GetAttribute(RUN_ATTRIBUTE) or "", estimator, folderItem, name)
    byKey = {node.GetAttribute(PARAMETER_ATTRIBUTE): node for node in nodes}
    run.maps = {key: byKey[key] for key in MAP_KEYS if key in byKey}
    run.status, run.statistics, run.regionNumbers = (byKey.get(key) for key in (STATUS, STATISTICS, REGION_NUMBERS))
    run.provenance = _json(first.GetAttribute(PROVENANCE_ATTRIBUTE))
    run.settings = _json(next((text for node in nodes if (text := node.GetAttribute(SETTINGS_ATTRIBUTE))), None))
    for role, attribute in ((SERIES_ROLE, "seriesNode"), (REGION_ROLE, "regionNode")):
        setattr(run, attribute, next((other for node in nodes if (other := node.GetNodeReference(role))), None))
    return run


def _json(text: str | None) -> dict[str, Any]:
    """Read an attribute; a scene from outside may hold anything."""
    try:
        content = json.loads(text) if text else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _hierarchy(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def _volumes(scene) -> list[Any]:
    nodes = scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    return [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]


def _removeWithCompanions(scene, node) -> None:
    if node.GetScene() is None:
        return  # somebody has removed it already
    companions = []
    if node.IsA("vtkMRMLDisplayableNode"):
        companions += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        companions += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    removeFromHierarchy(node)
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and companion.GetScene() is not None:
            scene.RemoveNode(companion)


def _removeUnusedColors(scene) -> None:
    """Remove our colour tables that no display node uses any more."""
    displays = scene.GetNodesByClass("vtkMRMLDisplayNode")
    used = {displays.GetItemAsObject(index).GetColorNodeID() for index in range(displays.GetNumberOfItems())}
    tables = scene.GetNodesByClass("vtkMRMLColorTableNode")
    for node in [tables.GetItemAsObject(index) for index in range(tables.GetNumberOfItems())]:
        if node.GetAttribute(COLORS_ATTRIBUTE) is not None and node.GetID() not in used:
            storage = node.GetStorageNode()
            if storage is not None:
                scene.RemoveNode(storage)
            scene.RemoveNode(node)


def _removeFolder(hierarchy, folderItem: int) -> None:
    parent = hierarchy.GetItemParent(folderItem)
    if parent == hierarchy.GetInvalidItemID():
        return  # a person has removed it already
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(folderItem, children, True)
    for item in [children.GetId(index) for index in range(children.GetNumberOfIds())]:
        if hierarchy.GetItemDataNode(item) is not None:
            hierarchy.SetItemParent(item, parent)
    hierarchy.RemoveItem(folderItem, False, True)
