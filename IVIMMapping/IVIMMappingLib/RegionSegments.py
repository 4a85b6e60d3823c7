"""Regions as segments: a label array and its names to a segmentation node, and back to masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer
import vtk

from ivimcore.data.series import Geometry
from ivimcore.reports.colormaps import srgb_from_oklab

from .Runs import removeNodes
from .VolumeNodes import arrayFromVolumeNode, createVolumeNode

# Light and saturated, so that outlines stay visible on b = 0 images and on all four families of map colours.
COLORS = (
    (1.00, 1.00, 1.00), (1.00, 0.88, 0.20), (0.35, 1.00, 0.95), (1.00, 0.45, 0.75), (0.60, 1.00, 0.35),
    (1.00, 0.60, 0.25), (0.70, 0.65, 1.00), (0.75, 0.75, 0.75),
)


def regionColor(index: int) -> tuple[float, float, float]:
    """Return the colour of the region with that number from 0: chosen by hand at first, then ever new hues."""
    if index < len(COLORS):
        return COLORS[index]
    angle = np.deg2rad(137.5 * index)  # the golden angle never comes back to a hue it has used
    lightness = 0.88 if index % 2 else 0.74
    red, green, blue = np.clip(srgb_from_oklab([lightness, 0.12 * np.cos(angle), 0.12 * np.sin(angle)]), 0, 1)
    return float(red), float(green), float(blue)


def createSegmentation(
    scene: slicer.vtkMRMLScene, labels: np.ndarray, names: Mapping[int, str], geometry: Geometry, name: str,
    referenceNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation with one outlined segment for each label that occurs in `labels` (x, y, z).

    `names` gives the name of a label; a label without one is called "label <label>", as in the statistics.
    `referenceNode` is the volume on whose grid the segments are edited later. Raises ValueError if no voxel is
    labelled.
    """
    values = [int(value) for value in np.unique(labels) if value != 0]
    if not values:
        raise ValueError("The label image has no labelled voxel.")
    # Numbered 1, 2, ...: the import looks each label up in a colour table, which ends at 256.
    numbers = np.where(labels != 0, 1 + np.searchsorted(values, labels), 0).astype(np.int16)
    labelNode = createVolumeNode(scene, numbers, geometry, "regions", "vtkMRMLLabelMapVolumeNode")
    try:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(referenceNode or labelNode)
        if not slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelNode, node):
            raise RuntimeError("The label image could not be turned into segments.")
    finally:
        _removeWithDisplay(scene, labelNode)
    if referenceNode is not None:
        node.SetNodeReferenceID(
            slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole(), referenceNode.GetID()
        )
    segmentation = node.GetSegmentation()
    for index, value in enumerate(values):  # segments come in the order of their labels
        segment = segmentation.GetNthSegment(index)
        segment.SetName(names.get(value, f"label {value}"))
        segment.SetColor(*regionColor(index))
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSliceIntersectionThickness(2)
    return node


def createOverlapping(
    scene: slicer.vtkMRMLScene, masks: Mapping[str, np.ndarray], geometry: Geometry, name: str,
    referenceNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation with one outlined segment for each mask (x, y, z) of bool by name; they may overlap.

    Arguments as in `createSegmentation`; each segment has a layer of its own. Raises ValueError for an empty mask.
    """
    whole = None
    for number, (title, mask) in enumerate(masks.items()):
        part = createSegmentation(scene, mask.astype(np.int16), {1: title}, geometry, name, referenceNode)
        part.GetSegmentation().GetNthSegment(0).SetColor(*regionColor(number))
        if whole is None:
            whole = part
            continue
        identifier = part.GetSegmentation().GetNthSegmentID(0)
        # A name of its own: the identifiers come from the label and are all alike.
        segment = part.GetSegmentation().GetSegment(identifier)
        free = whole.GetSegmentation().GenerateUniqueSegmentID(identifier)
        whole.GetSegmentation().AddSegment(segment, free)
        removeNodes(scene, [part])
    if whole is None:
        raise ValueError("There is no mask.")
    return whole


def regionMasks(
    node: slicer.vtkMRMLSegmentationNode, referenceNode: slicer.vtkMRMLScalarVolumeNode
) -> dict[str, np.ndarray]:
    """Return the mask (x, y, z) of bool of every segment, on the grid of `referenceNode`, by segment name.

    Segments may overlap; two of the same name are told apart by a number in brackets.
    """
    scene = referenceNode.GetScene()
    segmentation = node.GetSegmentation()
    masks: dict[str, np.ndarray] = {}
    for index in range(segmentation.GetNumberOfSegments()):
        identifiers = vtk.vtkStringArray()
        identifiers.InsertNextValue(segmentation.GetNthSegmentID(index))
        labelNode = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "regions")
        try:
            slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
                node, identifiers, labelNode, referenceNode
            )
            mask = arrayFromVolumeNode(labelNode)[0] != 0
        finally:
            _removeWithDisplay(scene, labelNode)
        name = segmentation.GetNthSegment(index).GetName()
        masks[name if name not in masks else f"{name} ({index + 1})"] = mask
    return masks


def _removeWithDisplay(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLDisplayableNode) -> None:
    """Remove a temporary label node with its display node, and the colour table that an export made for it."""
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    if colors is not None and colors.GetSingletonTag() is not None:
        colors = None  # one of Slicer's own
    for companion in (display, node.GetStorageNode(), colors):
        if companion is not None:
            scene.RemoveNode(companion)
    scene.RemoveNode(node)
