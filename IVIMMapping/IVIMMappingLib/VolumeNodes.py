"""Between arrays of the core and volume nodes: (x, y, z) with an affine, and (k, j, i) with IJKToRAS."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ivimcore.data.series import Geometry


def createVolumeNode(
    scene: slicer.vtkMRMLScene, array: np.ndarray, geometry: Geometry, name: str,
    nodeClass: str = "vtkMRMLScalarVolumeNode", automaticWindow: bool = True,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume node that holds a copy of `array` (x, y, z), dtype kept (bool becomes uint8).

    `automaticWindow` False for a caller that sets the window: Slicer then does not work one out, 20 ms for each map.
    Raises ValueError if the shape is not that of the geometry.
    """
    if tuple(array.shape) != tuple(geometry.shape):
        raise ValueError(f"The array has shape {array.shape}, its geometry {geometry.shape}.")
    node = scene.AddNewNodeByClass(nodeClass, name)
    if not automaticWindow:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().AutoWindowLevelOff()
    setVolumeArray(node, array, geometry)
    node.CreateDefaultDisplayNodes()
    return node


def setVolumeArray(node: slicer.vtkMRMLScalarVolumeNode, array: np.ndarray, geometry: Geometry) -> None:
    """Put a copy of `array` (x, y, z) and its geometry into an existing volume node."""
    values = array.astype(np.uint8) if array.dtype == bool else array
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(values.transpose(2, 1, 0)))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(geometry.affine, dtype=float).ravel().tolist())
    node.SetIJKToRASMatrix(matrix)


def arrayFromVolumeNode(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[np.ndarray, Geometry]:
    """Return a copy of the voxels (x, y, z) and their geometry; a transform above the node is not applied."""
    array = slicer.util.arrayFromVolume(node).transpose(2, 1, 0).copy()
    return array, geometryOfVolumeNode(node)


def geometryOfVolumeNode(node: slicer.vtkMRMLVolumeNode) -> Geometry:
    """Return shape and affine [mm] of a volume node."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    return Geometry(tuple(node.GetImageData().GetDimensions()), affine)
