"""Two runs against each other: their difference as a map, and a sample of voxels for a scatter plot."""

from __future__ import annotations

import numpy as np
import slicer

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from ivimcore.reports.colormaps import srgb_from_oklab

from .MapDescription import describeMap, labelCount, roundWindow
from .MapDisplay import ATTRIBUTE_PREFIX, createColorTable, findColorTable
from .RunFolder import moveToFolder
from .Runs import Run
from .VolumeNodes import createVolumeNode, geometryOfVolumeNode

DIFFERENCE_ATTRIBUTE = ATTRIBUTE_PREFIX + "Difference"
"""Of a difference node: the parameter key."""
COLORS = "IVIM Difference"
_PERCENTILE = 98.0


def createDifference(
    scene: slicer.vtkMRMLScene, runA: Run, runB: Run, key: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add the map `key` of run A minus that of run B, stored unit, NaN where one of them has no value.

    The window is symmetric about zero, so that equal is always the same grey; blue is less in A, orange is more, which
    every form of colour blindness tells apart. The node lies beside the folders of the runs. A second call with the
    same runs and key fills the same node.
    Raises InputError if a run lacks the map or the grids differ.
    """
    nodeA, nodeB = _mapsOf(runA, runB, key)
    description = describeMap(key)
    values = slicer.util.arrayFromVolume(nodeA) - slicer.util.arrayFromVolume(nodeB)
    name = f"{description.symbol}: {runA.name} − {runB.name}"
    node = _existing(scene, name, key)
    if node is None:
        node = createVolumeNode(scene, values.transpose(2, 1, 0), geometryOfVolumeNode(nodeA), name)
        node.SetAttribute(DIFFERENCE_ATTRIBUTE, key)
    else:
        slicer.util.updateVolumeFromArray(node, values)
    node.SetDescription(f"Difference of two IVIM maps, {name}, in {description.parameter.unit}")
    node.SetVoxelValueQuantity(nodeA.GetVoxelValueQuantity())
    node.SetVoxelValueUnits(nodeA.GetVoxelValueUnits())
    transform = nodeA.GetParentTransformNode()
    node.SetAndObserveTransformNodeID(transform.GetID() if transform is not None else None)
    _display(node, values, description)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    moveToFolder(node, hierarchy.GetItemParent(runA.folderItem) or hierarchy.GetSceneItemID())
    return node


def scatterSample(
    nodeA: slicer.vtkMRMLScalarVolumeNode, nodeB: slicer.vtkMRMLScalarVolumeNode, mask: np.ndarray | None = None,
    most: int = 1000, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (m,) of two maps in the same voxels, in stored units: where both have one, m at most `most`.

    `mask` (x, y, z) of bool limits the voxels. The sample is drawn with `seed`, so that the same plot comes back.
    Raises InputError if the grids differ.
    """
    _refuseOtherGrid(nodeA, nodeB)
    a, b = (slicer.util.arrayFromVolume(node) for node in (nodeA, nodeB))
    both = np.isfinite(a) & np.isfinite(b)
    if mask is not None:
        if mask.shape != a.shape[::-1]:
            raise InputError(f"The region has {mask.shape} voxels, the maps {a.shape[::-1]}; choose another region.")
        both &= mask.transpose(2, 1, 0)
    found = np.flatnonzero(both.ravel())
    if found.size > most:
        found = np.sort(np.random.default_rng(seed).choice(found, most, replace=False))
    return a.ravel()[found].astype(float), b.ravel()[found].astype(float)


def _mapsOf(runA: Run, runB: Run, key: str):
    for run in (runA, runB):
        if key not in run.maps:
            raise InputError(f"The run '{run.name}' has no map '{key}'; compare a map that both runs have.")
    _refuseOtherGrid(runA.maps[key], runB.maps[key])
    return runA.maps[key], runB.maps[key]


def _refuseOtherGrid(nodeA, nodeB) -> None:
    gridA, gridB = _grid(nodeA), _grid(nodeB)
    if not gridA.matches(gridB):
        raise InputError(
            f"The maps lie on different grids ({gridA.describe()}; {gridB.describe()}), so that their voxels cannot be "
            "compared; compare runs of the same series."
        )


def _grid(node) -> Geometry:
    if node is None or node.GetImageData() is None:
        raise InputError("A map has no voxels; choose another run.")
    return geometryOfVolumeNode(node)


def _display(node, values: np.ndarray, description) -> None:
    finite = np.abs(values[np.isfinite(values)])
    reach = float(np.percentile(finite, _PERCENTILE)) if finite.size else 0.0
    reach = roundWindow(0.0, reach or 1.0)[1]
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colors(node.GetScene()).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(-reach, reach)
    display.SetInterpolate(False)
    display.AutoThresholdOff()
    largest = max(float(finite.max()) if finite.size else reach, reach)
    display.SetThreshold(-1.01 * largest, 1.01 * largest)
    display.ApplyThresholdOn()  # NaN is on neither side and stays hidden
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetTitleText(description.legendTitle)
        legend.SetLabelFormat("%.3g")
        legend.SetNumberOfLabels(labelCount(-reach, reach) | 1)  # an odd number has zero in the middle
        legend.SetMaxNumberOfColors(256)
        legend.SetSize(0.12, 0.5)
        legend.SetPosition(0.97, 0.5)
        legend.SetVisibility(True)


def _colors(scene):
    existing = findColorTable(scene, COLORS)
    if existing is not None:
        return existing
    part = np.linspace(-1.0, 1.0, 256)
    # Grey in the middle, darker and more colourful towards both ends: blue below, orange above.
    lightness = 0.82 - 0.34 * np.abs(part)
    chroma = 0.14 * np.abs(part)
    hue = np.deg2rad(np.where(part < 0, 255.0, 55.0))
    table = np.clip(srgb_from_oklab(np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)), 0, 1)
    colors = [(f"{index}", *color) for index, color in enumerate(table)]
    return createColorTable(scene, COLORS, "IVIMSlicer: differences, grey is equal", colors)


def _existing(scene, name: str, key: str):
    nodes = scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    for index in range(nodes.GetNumberOfItems()):
        node = nodes.GetItemAsObject(index)
        if node.GetAttribute(DIFFERENCE_ATTRIBUTE) == key and node.GetName() == name:
            return node
    return None
