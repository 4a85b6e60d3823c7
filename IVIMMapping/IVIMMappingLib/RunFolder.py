"""One run of one estimator in the subject hierarchy: a folder with its maps, status and statistics.

    <input>                       folder of the input
        <input> b0                image behind the maps
        <input> DWI               sequence, if wanted
        <input> regions           segmentation, shared by all runs
        <input> IVIM <estimator>  folder of one run
            <input> IVIM D, ...   maps
            uncertainty           folder of the maps that say how sure those are, closed at first
                <input> IVIM SD of D, ...
            <input> IVIM statistics, region numbers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer
import vtk

from ivimcore.data.series import Geometry

from .MapDescription import STATUS, describeMap, robustWindow, roundWindow
from .MapDisplay import (
    ESTIMATOR_ATTRIBUTE,
    RUN_ATTRIBUTE,
    addLegend,
    createMapNode,
    createStatusNode,
    displayMap,
    setProvenance,
)
from .StatisticsTable import createTable
from .VolumeNodes import createVolumeNode

UNCERTAINTY = "uncertainty"


@dataclass
class RunNodes:
    """The nodes of one run: `maps` by parameter key, `status` where there is one, `tables` by what they are."""

    title: str
    folderItem: int = 0
    maps: dict[str, Any] = field(default_factory=dict)
    status: Any = None
    tables: dict[str, Any] = field(default_factory=dict)

    def nodes(self) -> list[Any]:
        """Return every node that is there."""
        return [node for node in (*self.maps.values(), self.status, *self.tables.values()) if node is not None]


def createFolder(scene: slicer.vtkMRMLScene, name: str, parentItem: int | None = None) -> int:
    """Add a folder to the subject hierarchy, under `parentItem` or at the top, and return its item."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID() if parentItem is None else parentItem, name)
    hierarchy.SetItemExpanded(item, True)
    return item


def moveToFolder(node: slicer.vtkMRMLNode, folderItem: int) -> None:
    """Put a node into a folder of the subject hierarchy of its scene."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    if item == slicer.vtkMRMLSubjectHierarchyNode.GetInvalidItemID():
        hierarchy.CreateItem(folderItem, node)  # without the desktop program nobody adds new nodes to the hierarchy
    else:
        hierarchy.SetItemParent(item, folderItem)


def removeFromHierarchy(node: slicer.vtkMRMLNode) -> None:
    """Take a node out of the subject hierarchy of its scene; to be done before the node itself is removed.

    Without the desktop program nobody else does it, and the hierarchy would take a later node at the same address for
    this one.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    if item != slicer.vtkMRMLSubjectHierarchyNode.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, False)


def createBaseNode(
    scene: slicer.vtkMRMLScene, image: np.ndarray, geometry: Geometry, name: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add the b = 0 image (x, y, z) in grey, with a window that noise outside and bright fluid do not spoil."""
    node = createVolumeNode(scene, image, geometry, name)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*robustWindow(image))
    return node


def addRun(
    scene: slicer.vtkMRMLScene, maps: Mapping[str, np.ndarray], geometry: Geometry, inputName: str, estimator: str,
    provenance: Mapping[str, Any] | None = None, statistics: Sequence[Mapping[str, Any]] | None = None,
    parentItem: int | None = None, folderName: str | None = None,
) -> RunNodes:
    """Add one run: a folder with a node for each map of `maps` (key -> (x, y, z) in stored units) and its table.

    `maps` may hold "status". `statistics` are the lines of the table. The folder is called
    '<input> IVIM <estimator>' unless `folderName` says otherwise; maps of uncertainty lie in a folder inside it.
    """
    run = RunNodes(estimator)
    for _ in addRunInSteps(
        scene, maps, geometry, inputName, estimator, provenance, {"statistics": statistics or ()}, parentItem,
        folderName, run,
    ):
        pass
    return run


def addRunInSteps(
    scene: slicer.vtkMRMLScene, maps: Mapping[str, np.ndarray], geometry: Geometry, inputName: str, estimator: str,
    provenance: Mapping[str, Any] | None, tables: Mapping[str, Sequence[Mapping[str, Any]]], parentItem: int | None,
    folderName: str | None, run: RunNodes,
) -> Iterator[None]:
    """Do the work of `addRun` one node at a time and write down in `run` what is there already.

    `tables` are lines by what the table is: "statistics" or "region numbers"; one without lines is left out. Whoever
    stops half-way takes the nodes of `run` out again.
    """
    provenance = {"estimator": estimator, **(provenance or {})}
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    tables = {what: lines for what, lines in tables.items() if lines}
    symbols = {key: STATUS if key == STATUS else describeMap(key).symbol for key in maps}
    ending = _ending(scene, inputName, [*symbols.values(), *tables], estimator)
    run.folderItem = createFolder(
        scene, _freeItemName(hierarchy, folderName or f"{inputName} IVIM {estimator}"), parentItem
    )
    hierarchy.SetItemAttribute(run.folderItem, ESTIMATOR_ATTRIBUTE, estimator)
    hierarchy.SetItemAttribute(run.folderItem, RUN_ATTRIBUTE, str(provenance.get("run_id", "")))
    uncertaintyItem = None
    for key, values in maps.items():
        name = f"{inputName} IVIM {symbols[key]}{ending}"
        if key == STATUS:
            run.status = createStatusNode(scene, values, geometry, name, provenance)
            moveToFolder(run.status, run.folderItem)
        else:
            description = describeMap(key)
            run.maps[key] = createMapNode(scene, key, values, geometry, name, provenance)
            if description.isUncertainty and uncertaintyItem is None:
                uncertaintyItem = createFolder(scene, UNCERTAINTY, run.folderItem)
                hierarchy.SetItemExpanded(uncertaintyItem, False)
            moveToFolder(run.maps[key], uncertaintyItem if description.isUncertainty else run.folderItem)
        yield
    for what, lines in tables.items():
        table = createTable(scene, lines, f"{inputName} IVIM {what}{ending}")
        run.tables[what] = table
        setProvenance(table, what, provenance)
        moveToFolder(table, run.folderItem)
        yield


def _ending(scene: slicer.vtkMRMLScene, inputName: str, names: Sequence[str], estimator: str) -> str:
    """Return what the names of a run end with: selectors list volumes without folders, so it says whose map it is."""
    number = 1
    ending = ""
    while any(scene.GetFirstNodeByName(f"{inputName} IVIM {name}{ending}") is not None for name in names):
        ending = f" ({estimator})" if number == 1 else f" ({estimator} {number})"
        number += 1
    return ending


def _freeItemName(hierarchy, wanted: str) -> str:
    """Return `wanted`, or with a number behind it if the subject hierarchy has such an item already."""
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), children, True)
    taken = {hierarchy.GetItemName(children.GetId(index)) for index in range(children.GetNumberOfIds())}
    number = 2
    name = wanted
    while name in taken:
        name = f"{wanted} {number}"
        number += 1
    return name


def shareWindows(runs: Sequence[RunNodes]) -> None:
    """Give maps of the same quantity the same window in all runs, where the window follows the image."""
    for key in {key for run in runs for key in run.maps}:
        description = describeMap(key)
        nodes = [run.maps[key] for run in runs if key in run.maps]
        if description.range is None and len(nodes) > 1:
            window = roundWindow(*robustWindow(*(slicer.util.arrayFromVolume(node) for node in nodes)))
            for node in nodes:
                displayMap(node, description, window)
                addLegend(node, description)
