"""Voxels of a map hidden where another map says so, without touching a stored value.

Slicer's own display threshold looks only at the values of the map itself, so hiding D where f is small needs another
image. A companion node holds a copy of the map that is NaN where it is hidden (see MapDisplay: NaN is not drawn); the
slice views show the companion instead of the map, with its colours, window and a legend of its own. Statistics,
exports, comparisons and the data of the map are never affected, and removing the companion undoes it all.
A copy that is masked in the display pipeline would have to be hung into every slice view by hand, and would be gone
from a saved scene.

The companion is hidden from selectors and from the subject hierarchy and carries the attribute 'IVIM.Display', a
node reference of the same name to its map, and no parameter of its own: it is no result.
"""

from __future__ import annotations

import numpy as np
import slicer

from ivimcore.errors import InputError

from .MapDescription import describeMap
from .MapDisplay import DISPLAY_ATTRIBUTE, addLegend
from .Runs import Run, removeNodes

HIDDEN = "hidden voxels"


def hidesAbove(thresholdKey: str) -> bool:
    """Tell on which side of the limit a map hides: large misfits and deviations, but small f and information."""
    return thresholdKey == "rmse" or thresholdKey.endswith("_sd")


def hideWhere(
    run: Run, key: str, thresholdKey: str, limit: float, hideAbove: bool | None = None
) -> slicer.vtkMRMLScalarVolumeNode:
    """Hide voxels of the map `key` where the map `thresholdKey` of the same run lies on the wrong side of `limit`.

    `limit` in the stored unit of `thresholdKey`; voxels below it are hidden, for a misfit or a deviation those above
    it, unless `hideAbove` says otherwise. Where the threshold map has no value, the voxel is hidden too.
    Returns the companion node to show in place of the map; one per map, filled anew at each call. `shownNode` finds it.
    Raises InputError if the run lacks one of the maps.
    """
    for wanted in (key, thresholdKey):
        if wanted not in run.maps:
            raise InputError(f"The run '{run.name}' has no map '{wanted}'; choose another one.")
    node = run.maps[key]
    values = slicer.util.arrayFromVolume(node)
    decisive = slicer.util.arrayFromVolume(run.maps[thresholdKey])
    above = hidesAbove(thresholdKey) if hideAbove is None else hideAbove
    with np.errstate(invalid="ignore"):
        isShown = decisive <= limit if above else decisive >= limit
    companion = _companionOf(node) or _createCompanion(node, key)
    slicer.util.updateVolumeFromArray(companion, np.where(isShown, values, np.float32(np.nan)))
    followMap(node)
    sign = ">" if above else "<"
    symbol = describeMap(thresholdKey).parameter
    companion.SetDescription(f"{node.GetName()}, hidden where {thresholdKey} {sign} {symbol.format(limit)}")
    return companion


def followMap(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Give the companion of a map, if there is one, place, colours and window of its map; call it when these change."""
    companion = _companionOf(node)
    if companion is None:
        return
    companion.CopyOrientation(node)
    transform = node.GetParentTransformNode()
    companion.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)
    display, source = companion.GetDisplayNode(), node.GetDisplayNode()
    display.SetAndObserveColorNodeID(source.GetColorNodeID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(source.GetWindowLevelMin(), source.GetWindowLevelMax())
    display.SetInterpolate(source.GetInterpolate())
    display.AutoThresholdOff()
    display.SetThreshold(source.GetLowerThreshold(), source.GetUpperThreshold())
    display.ApplyThresholdOn()
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    own = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(companion)
    if legend is not None and own is not None:
        own.SetNumberOfLabels(legend.GetNumberOfLabels())
        own.SetSize(*legend.GetSize())


def shownNode(run: Run, key: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Return what to show for the map `key`: its companion while voxels are hidden, else the map itself."""
    return _companionOf(run.maps[key]) or run.maps[key]


def mapOfShown(node: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLNode | None:
    """Return the map behind a node that is shown: itself, unless it is a companion."""
    if node is None or node.GetAttribute(DISPLAY_ATTRIBUTE) != HIDDEN:
        return node
    return node.GetNodeReference(DISPLAY_ATTRIBUTE)


def showAll(run: Run, key: str | None = None) -> None:
    """Hide nothing any more, in the map `key` or in all maps of a run: the companions go.

    Slice views that show a companion go back to its map.
    """
    maps = [run.maps[key]] if key is not None else list(run.maps.values())
    for node in maps:
        companion = _companionOf(node)
        if companion is None:
            continue
        _replaceInViews(node.GetScene(), companion, node)
        removeNodes(node.GetScene(), [companion])


def _companionOf(node):
    """Return the companion of a map or None; the scene knows, so that it is found again after a reload."""
    scene = node.GetScene()
    if scene is None:
        return None
    nodes = scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    for index in range(nodes.GetNumberOfItems()):
        other = nodes.GetItemAsObject(index)
        if other.GetAttribute(DISPLAY_ATTRIBUTE) == HIDDEN and (
            other.GetNodeReferenceID(DISPLAY_ATTRIBUTE) == node.GetID()
        ):
            return other
    return None


def _createCompanion(node, key: str):
    companion = slicer.vtkMRMLScalarVolumeNode()
    companion.SetName(f"{node.GetName()} (shown)")
    companion.SetHideFromEditors(True)  # before it enters the scene, or the subject hierarchy would list it
    companion.SetAttribute(DISPLAY_ATTRIBUTE, HIDDEN)
    companion = node.GetScene().AddNode(companion)
    companion.SetNodeReferenceID(DISPLAY_ATTRIBUTE, node.GetID())
    slicer.util.updateVolumeFromArray(companion, slicer.util.arrayFromVolume(node))
    companion.CreateDefaultDisplayNodes()
    companion.SetVoxelValueQuantity(node.GetVoxelValueQuantity())
    companion.SetVoxelValueUnits(node.GetVoxelValueUnits())
    followMap(node)
    addLegend(companion, describeMap(key))
    return companion


def _replaceInViews(scene, old, new) -> None:
    composites = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    for index in range(composites.GetNumberOfItems()):
        composite = composites.GetItemAsObject(index)
        if composite.GetForegroundVolumeID() == old.GetID():
            composite.SetForegroundVolumeID(new.GetID())
        if composite.GetBackgroundVolumeID() == old.GetID():
            composite.SetBackgroundVolumeID(new.GetID())
