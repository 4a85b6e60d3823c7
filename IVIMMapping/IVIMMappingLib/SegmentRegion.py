"""Chosen segments of a segmentation as masks on the grid of a series, whatever grid they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from .RegionSegments import regionMasks
from .SeriesReader import SeriesInScene, worldMatrix
from .VolumeNodes import createVolumeNode

SAME_LATTICE = 0.02
"""Largest difference of two lattices over the whole series [voxels] that counts as rounding."""


def segmentMasks(
    series: SeriesInScene, node: slicer.vtkMRMLSegmentationNode, segmentIds: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the mask (x, y, z) of bool of each chosen segment by its name, and what was done on the way.

    Arguments: `segmentIds` of the chosen segments, visible or not; none for all. Segments may overlap.
    Returns masks that are never empty; an empty segment among several, and one that is gone, is left out with a note.
    Raises InputError for a segmentation without segments, and where no chosen segment has a voxel on the series' grid.
    """
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        raise InputError("No segmentation is chosen; choose one in step 2.")
    segmentation = node.GetSegmentation()
    every = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    if not every:
        raise InputError(f"The segmentation '{node.GetName()}' has no segments; draw one in the Segment Editor.")
    chosen = set(segmentIds) & set(every) if len(segmentIds) else set(every)
    if not chosen:
        raise InputError(f"The chosen segments are no longer in '{node.GetName()}'; choose others.")
    notes = []
    gone = len(set(segmentIds) - set(every))
    if gone:
        notes.append(f"{gone} of the chosen segments no longer {'exists' if gone == 1 else 'exist'} and is left out.")
    found = zip(every, _masksOnSeries(series, node).items(), strict=True)
    masks = {name: mask for identifier, (name, mask) in found if identifier in chosen}
    empty = [name for name, mask in masks.items() if not mask.any()]
    names = ", ".join(f"'{name}'" for name in empty)
    what = f"Segment {names} has" if len(empty) == 1 else f"Segments {names} have"
    if len(empty) == len(masks):
        raise InputError(f"{what} no voxel in the series '{series.name}'; draw on its images, or choose others.")
    if empty:
        notes.append(f"{what} no voxel in the series and {'is' if len(empty) == 1 else 'are'} left out.")
    notes.extend(_resampled(series, node, every, chosen))
    return {name: mask for name, mask in masks.items() if name not in empty}, tuple(notes)


def segmentIdsOf(node: slicer.vtkMRMLNode | None, names: Sequence[str]) -> list[str]:
    """Return the identifiers of the segments of these names, none for no names.

    Raises InputError for a name that no segment has, and for a region that is no segmentation.
    """
    if isinstance(names, str):
        names = (names,)
    if not len(names):
        return []
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        raise InputError("Segments can only be chosen of a segmentation; give one as segmentationNode.")
    segmentation = node.GetSegmentation()
    every = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    titles = {identifier: segmentation.GetSegment(identifier).GetName() for identifier in every}
    unknown = [name for name in names if name not in titles.values()]
    if unknown:
        raise InputError(
            f"'{node.GetName()}' has no segment '{unknown[0]}'; it has {', '.join(titles.values()) or 'none'}."
        )
    return [identifier for identifier in every if titles[identifier] in names]


def _masksOnSeries(series: SeriesInScene, node: slicer.vtkMRMLSegmentationNode) -> dict[str, np.ndarray]:
    reference = series.displayNode()
    if reference is not None:
        return regionMasks(node, reference)
    # A sequence without a browser has no volume of its own in the scene, but the export needs one.
    scene = node.GetScene()
    reference = createVolumeNode(scene, np.zeros(series.geometry.shape, np.uint8), series.geometry, "grid")
    try:
        return regionMasks(node, reference)
    finally:
        scene.RemoveNode(reference.GetDisplayNode())
        scene.RemoveNode(reference)


def _resampled(series: SeriesInScene, node, every: list[str], chosen: set[str]) -> list[str]:
    """Say that the segments were drawn on another lattice of voxels than that of the series."""
    above = worldMatrix(node)
    if above is None:
        return [f"The segments lie under a non-linear transform and were resampled to the grid of '{series.name}'."]
    for identifier in every:
        grid = _gridOfSegment(node, identifier) if identifier in chosen else None
        if grid is not None and not _sameLattice(above @ grid.affine, series.ijkToRas(), series.geometry.shape):
            return [
                f"The segments of '{node.GetName()}' were resampled from {_drawnOn(node, grid)} to the grid of the "
                f"series ({_shape(series.geometry)})."
            ]
    return []


def _gridOfSegment(node, identifier: str) -> Geometry | None:
    """Return the voxels in which a segment is stored, None for an empty one and for one that is a surface."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = node.GetSegmentation().GetSegment(identifier).GetRepresentation(name)
    return _gridOfImage(image) if image is not None and image.GetNumberOfPoints() > 0 else None


def _drawnOn(node, grid: Geometry) -> str:
    """Describe the whole grid on which the segments were drawn; they are stored cut to what is filled."""
    text = node.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    whole = slicer.vtkOrientedImageData()
    if text and slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, whole, False):
        drawn = _gridOfImage(whole)
        if _sameLattice(drawn.affine, grid.affine, grid.shape):
            return _shape(drawn)
    return _shape(grid)


def _gridOfImage(image) -> Geometry:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return Geometry(tuple(image.GetDimensions()), slicer.util.arrayFromVTKMatrix(matrix))


def _sameLattice(first: np.ndarray, second: np.ndarray, shape: tuple[int, int, int]) -> bool:
    """Tell whether voxels of one affine lie on voxels of the other, up to whole steps, over a grid of that shape."""
    step = np.linalg.inv(second) @ first
    turned = np.abs(step[:3, :3] - np.eye(3)).max() * max(shape)
    return bool(turned < SAME_LATTICE and np.abs(step[:3, 3] - np.rint(step[:3, 3])).max() < SAME_LATTICE)


def _shape(geometry: Geometry) -> str:
    """Describe a grid without its place: '144 x 144 x 18 voxels of 1.6 x 1.6 x 4 mm'."""
    return geometry.describe().split(", first voxel")[0]
