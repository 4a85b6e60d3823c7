"""The earlier result of the same patient: a run of this scene, of a scene file, or of an output folder.

Whatever it comes from, it becomes a run of the scene, so that everything else has one kind of thing to work with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ivimcore.data.output import REGIONS
from ivimcore.data.reading import read_regions
from ivimcore.errors import InputError
from ivimcore.jobs.bidsresults import result_folder

from .MapDescription import STATUS, isMapKey
from .PatientIdentity import patientOf, patientOfRun
from .RegionSegments import createOverlapping, createSegmentation
from .RunFolder import addRun, createFolder, moveToFolder
from .Runs import Run, removeNodes, runsOf
from .StatisticsTable import readRows
from .VolumeReading import readVolume

_MAP_ENDINGS = (".nii.gz", ".nii", ".nrrd")
_LARGEST_TEXT = 16 << 20
_PARAMETERS = "IVIMMapping"
"""Tag of the node that holds the choices of the panel."""


def earlierRuns(scene: slicer.vtkMRMLScene, series=None) -> list[Run]:
    """Return the runs that may be an earlier result: those of another series than `series` (SeriesInScene or None)."""
    return [run for run in runsOf(scene) if series is None or run.seriesNode is not series.node]


def offeredRun(scene: slicer.vtkMRMLScene, series) -> Run | None:
    """Return the newest earlier result of the patient of a series, None where nothing says that it is the same patient.
    """
    if series is None:
        return None
    patient = patientOf([series.displayNode(), series.node])
    if not patient:
        return None
    return next((run for run in earlierRuns(scene, series) if patientOfRun(run) == patient), None)


def loadEarlier(scene: slicer.vtkMRMLScene, path: str | Path) -> tuple[list[Run], str]:
    """Add the results of a scene file (.mrb), or of an output folder of `ivim map` or `ivim cohort` (of a BIDS cohort:
    the folder of one session), to the scene.

    Returns the runs that came, newest first, and a sentence about them. What was open stays: nodes, choices, views.
    Raises InputError for a file or folder without results; then the scene is as before.
    """
    path = Path(path).absolute()  # VTK takes a relative one for its own folder
    if path.is_dir():
        inside = sorted(path.glob("*.mrb"))
        if not inside:
            with result_folder(path) as folder:
                return _loadFolder(scene, folder)
        path = inside[0]
    if not path.is_file():
        raise InputError(f"{path} does not exist; choose a scene (.mrb) or an output folder.")
    if path.suffix.lower() != ".mrb":
        raise InputError(f"{path.name} is no scene file; choose an .mrb scene or an output folder.")
    return _loadScene(scene, path)


def regionNodeOf(run: Run) -> tuple[str, Any]:
    """Return kind and node of the regions of a run, ('', None) without; in scenes of the shell they lie beside it."""
    kind = run.settings.get("regionKind", "")
    if run.regionNode is not None:
        for className, itsKind in (
            ("vtkMRMLSegmentationNode", "segments"), ("vtkMRMLMarkupsClosedCurveNode", "curve"),
            ("vtkMRMLLabelMapVolumeNode", "labels"),
        ):
            if run.regionNode.IsA(className):
                return kind if kind == itsKind else itsKind, run.regionNode
    nodes = run.nodes()
    if kind in ("body", "whole") or not run.folderItem or not nodes:
        return "", None
    scene = nodes[0].GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = hierarchy.GetItemParent(run.folderItem)
    if parent in (hierarchy.GetSceneItemID(), hierarchy.GetInvalidItemID()):
        return "", None
    segmentations = scene.GetNodesByClass("vtkMRMLSegmentationNode")
    for index in range(segmentations.GetNumberOfItems()):
        node = segmentations.GetItemAsObject(index)
        if hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == parent:
            return "segments", node
    return "", None


# --- a scene file ------------------------------------------------------------------------------------------------


def _loadScene(scene, path: Path) -> tuple[list[Run], str]:
    before = {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
    known = {run.key for run in runsOf(scene)}
    kept = _keep(scene)
    place = scene.GetURL(), scene.GetRootDirectory()
    loaded = scene.ReadFromMRB(str(path), False)
    _restore(scene, kept)
    # Reading makes the file the place of the whole scene: Save would then offer to write over the earlier result.
    scene.SetURL(place[0])
    scene.SetRootDirectory(place[1])
    runs = [run for run in runsOf(scene) if any(node.GetID() not in before for node in run.nodes())]
    if not loaded or not runs:
        _takeOut(scene, before)
        reason = "cannot be read" if not loaded else "holds no run of IVIMSlicer"
        raise InputError(f"{path.name} {reason}; choose the scene in which the earlier result was saved.")
    again = [run for run in runs if run.key in known]
    said = "The results of the scene file were added to this scene."
    if again:
        said += " Some of them were here already; the file may be this very scene."
    return runs, said


def _keep(scene) -> list[tuple[Any, Any]]:
    """Copy the nodes that exist once in a scene and that a second scene would overwrite: our choices, and the views."""
    kept = []
    for className in (
        "vtkMRMLScriptedModuleNode", "vtkMRMLLayoutNode", "vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode",
        "vtkMRMLCrosshairNode", "vtkMRMLSelectionNode", "vtkMRMLViewNode", "vtkMRMLPlotViewNode",
        "vtkMRMLTableViewNode",
    ):
        nodes = scene.GetNodesByClass(className)
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if node.GetSingletonTag() is not None:
                copy = scene.CreateNodeByClass(className)
                copy.UnRegister(None)
                copy.CopyContent(node)
                copy.CopyReferences(node)
                if className == "vtkMRMLScriptedModuleNode":
                    copy.Copy(node)
                kept.append((node, copy))
    return kept


def _restore(scene, kept) -> None:
    for node, copy in kept:
        if scene.IsNodePresent(node):
            node.Copy(copy) if node.IsA("vtkMRMLScriptedModuleNode") else (
                node.CopyContent(copy), node.CopyReferences(copy)
            )


def _takeOut(scene, before: set[str]) -> None:
    """Remove what a file without results has brought."""
    for index in reversed(range(scene.GetNumberOfNodes())):
        node = scene.GetNthNode(index)
        if node is not None and node.GetID() not in before and node.GetSingletonTag() is None:
            removeNodes(scene, [node])


# --- an output folder --------------------------------------------------------------------------------------------


def _loadFolder(scene, folder: Path) -> tuple[list[Run], str]:
    """Add every estimator of an output folder: maps, statistics, provenance, and the regions that were measured."""
    sources = [path for path in _resultFolders(folder) if _mapsOf(path)]
    if not sources:
        raise InputError(f"{folder} holds no maps; choose the folder of one session that 'ivim map' wrote.")
    contents = [_readFolder(source) for source in sources]
    names = {str(row["region"]) for _, _, _, rows in contents for row in rows}
    labels, titles, masks, fault = _readRegions(folder, contents[0][1], names)
    before = {run.folderItem for run in runsOf(scene)}
    # One folder above runs and regions: that is how a run finds the regions that lie beside it.
    parent = createFolder(scene, "earlier result")
    for maps, geometry, provenance, rows in contents:
        # Not called after the folder, whose name may be that of a patient.
        addRun(
            scene, maps, geometry, "earlier", str(provenance.get("estimator", "unknown")), provenance, rows,
            parent, f"earlier result ({provenance.get('estimator', 'unknown')})",
        )
    runs = [run for run in runsOf(scene) if run.folderItem not in before]
    said = "The maps of the folder were added to the scene"
    if labels is None:
        why = fault or "It holds no drawn regions:"
        return runs, f"{said}. {why} draw or load them in step 2 with the same names."
    reference = next(iter(runs[0].maps.values()))
    node = createSegmentation(scene, labels, titles, contents[0][1], "earlier regions", reference) if masks is None \
        else createOverlapping(scene, masks, contents[0][1], "earlier regions", reference)
    node.GetDisplayNode().SetVisibility(False)
    moveToFolder(node, parent)
    return runs, f"{said}, and its regions ({', '.join(list(titles.values()) if masks is None else list(masks))})."


def _readRegions(folder: Path, geometry, names: set[str]) -> tuple:
    """Read the regions of an output folder: labels, names, masks (see `read_regions`) and why there are none, or ''.

    Only regions that its statistics name (`names`) belong to the result: a later run without regions into the same
    folder leaves the file of an earlier one.
    """
    path = next((place / REGIONS for place in (folder, folder.parent) if (place / REGIONS).is_file()), None)
    if path is None or (path.parent != folder and not (path.parent / "roi_statistics.csv").is_file()):
        return None, {}, None, ""
    try:
        labels, titles, masks = read_regions(path, geometry)
    except InputError as fault:
        return None, {}, None, f"Its regions cannot be used: {fault} So"
    titles = {value: name for value, name in titles.items() if name in names}
    labels = np.where(np.isin(labels, list(titles)), labels, 0)
    if masks is not None:
        masks = {name: mask for name, mask in masks.items() if name in names}
    return (labels, titles, masks or None, "") if titles else (None, {}, None, "")


def readFolderTexts(folder: str | Path) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Return estimator -> (statistics, provenance) of an output folder of one session, without reading its maps.

    Raises InputError for a folder that holds no statistics.
    """
    found = {}
    with result_folder(folder, images=False) as place:
        for source in _resultFolders(place):
            provenance, rows = _readTexts(source)
            if rows:
                found[str(provenance.get("estimator", "unknown"))] = (rows, provenance)
    if not found:
        raise InputError(f"{folder} holds no statistics of regions; run 'ivim map' with regions and choose its folder.")
    return found


def _resultFolders(folder: Path) -> list[Path]:
    """Return the folders of single estimators; raises InputError where there is none."""
    try:
        sources = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    except OSError:
        raise InputError(f"{folder} cannot be opened; choose another folder.") from None
    sources = [path for path in sources if (path / "provenance.json").is_file()]
    if not sources:
        raise InputError(
            f"{folder} holds no result (maps with provenance.json); choose the folder of one session that 'ivim map' "
            "or 'ivim cohort' wrote."
        )
    return sources


def _readTexts(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        for name in ("provenance.json", "roi_statistics.csv"):
            if (folder / name).is_file() and (folder / name).stat().st_size > _LARGEST_TEXT:
                raise InputError(f"{name} of the chosen folder is too large; choose a folder that 'ivim map' wrote.")
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        rows = readRows(folder / "roi_statistics.csv") if (folder / "roi_statistics.csv").is_file() else []
    except (OSError, ValueError) as fault:
        raise InputError(f"{folder} cannot be read ({type(fault).__name__}); choose another folder.") from None
    if not isinstance(provenance, dict):
        raise InputError(f"provenance.json in {folder} is damaged; choose another folder.")
    if rows and not {"region", "map", "median"} <= set(rows[0]):
        raise InputError(f"roi_statistics.csv in {folder} lacks columns; choose another folder.")
    return provenance, rows


def _readFolder(folder: Path) -> tuple:
    provenance, rows = _readTexts(folder)
    maps, first = {}, None
    for key, path in _mapsOf(folder).items():
        values, geometry = readVolume(path)
        if first is not None and not geometry.matches(first):
            raise InputError(f"The maps in {folder} lie on different grids; choose a folder of one run.")
        first = first or geometry
        maps[key] = values.astype(np.uint8 if key == STATUS else np.float32)
    return maps, first, provenance, rows


def _mapsOf(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.iterdir()):
        key = next((path.name[: -len(end)] for end in _MAP_ENDINGS if path.name.endswith(end)), "")
        if isMapKey(key) or key == STATUS:
            found[key] = path
    return found
