"""The voxels that a closed curve encloses in the slice in which it was drawn."""

from __future__ import annotations

import numpy as np
import slicer

from ivimcore.errors import InputError

from .SeriesReader import SeriesInScene

LARGEST_DISTANCE = 1.0
"""How far a point may lie from the slice [voxels]: a curve drawn on a shown slice never lies half a slice off."""
AXES = ("column", "row", "slice")


def curveMask(series: SeriesInScene, node: slicer.vtkMRMLMarkupsCurveNode) -> tuple[np.ndarray, str]:
    """Return the mask (x, y, z) of the voxels whose centre the curve encloses, and where: 'slice 9 of 18'.

    Arguments: `node` a closed curve in one slice of the series, or in one plane of its rows or columns. Where it
    crosses itself, what is enclosed twice is outside. Transforms above curve and series are applied.
    Raises InputError for fewer than three points, a curve that does not lie in one slice, one outside the series, and
    one that encloses no voxel.
    """
    if node is None or not node.IsA("vtkMRMLMarkupsClosedCurveNode"):
        raise InputError("No closed curve is chosen; draw one with the Markups module, or choose one in step 2.")
    name = node.GetName()
    count = node.GetNumberOfDefinedControlPoints()
    if count < 3:
        points = "1 point" if count == 1 else f"{count} points"
        raise InputError(f"The curve '{name}' has {points}; place at least three around the region.")
    world = np.asarray(slicer.util.arrayFromMarkupsCurvePoints(node, world=True), dtype=float)
    matrix = series.rasToIjk()
    if matrix is None:
        raise InputError(f"'{series.name}' is bent by a non-linear transform; harden it on the series.")
    points = world @ matrix[:3, :3].T + matrix[:3, 3]
    extent = np.ptp(points, axis=0)
    axis = 2 if extent[2] <= LARGEST_DISTANCE else int(np.argmin(extent))
    number = int(np.rint(points[:, axis].mean()))
    if np.abs(points[:, axis] - number).max() > LARGEST_DISTANCE:
        low, high = np.rint(points[:, 2].min()) + 1, np.rint(points[:, 2].max()) + 1
        raise InputError(
            f"The curve '{name}' does not lie in one slice of '{series.name}' (it runs from slice {low:.0f} to "
            f"{high:.0f}); rotate the view to the volume plane and draw it there."
        )
    size = series.geometry.shape[axis]
    if not 0 <= number < size:
        raise InputError(f"The curve '{name}' lies outside '{series.name}'; draw it on its images.")
    across = [other for other in range(3) if other != axis]
    plane = insidePolygon(points[:, across], tuple(series.geometry.shape[other] for other in across))
    if not plane.any():
        raise InputError(f"The curve '{name}' encloses no voxel of '{series.name}'; draw a larger one.")
    mask = np.zeros(series.geometry.shape, dtype=bool)
    np.moveaxis(mask, axis, 2)[..., number] = plane
    return mask, f"{AXES[axis]} {number + 1} of {size}"


def insidePolygon(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return which pixel centres (u, v) of an image of that shape lie inside a closed polygon (p, 2), even-odd rule."""
    inside = np.zeros(shape, dtype=bool)
    low = np.maximum(np.ceil(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.floor(points.max(axis=0)).astype(int), np.array(shape) - 1)
    if (high < low).any():
        return inside
    u, v = np.ogrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
    part = inside[low[0] : high[0] + 1, low[1] : high[1] + 1]
    for (u1, v1), (u2, v2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if v1 == v2:
            continue
        crosses = (v1 > v) != (v2 > v)
        part ^= crosses & (u < u1 + (v - v1) / (v2 - v1) * (u2 - u1))
    return inside
