"""Slices as pictures, drawn by Slicer's own slice logic and displayable managers into a window that nobody sees."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ivimcore.data.series import Geometry

from .MapDisplay import showOverlay
from .VolumeNodes import geometryOfVolumeNode

SEGMENTS_MANAGER = "vtkMRMLSegmentationsDisplayableManager2D"
LEGEND_MANAGER = "vtkMRMLColorLegendDisplayableManager"
_ORIENTATIONS = ("Sagittal", "Coronal", "Axial")


class SliceFigure:
    """An off-screen slice view in a scene.

    `applicationLogic` is that of the scene; `size` (width, height) in pixels; `managers` are the displayable managers
    that draw on top of the image. The view adds a slice node of its own and `close` takes it away again. The computer
    must be able to draw (OpenGLProbe), or the process ends. The legend manager knows only legends that come into the
    scene after the view.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, applicationLogic, size: tuple[int, int] = (420, 420),
        managers: tuple[str, ...] = (SEGMENTS_MANAGER,), name: str = "IVIMFigure",
    ) -> None:
        self.scene = scene
        self.size = size
        self._nodesBefore = _nodeIds(scene)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(scene)
        self.sliceNode = self._logic.AddSliceNode(name)
        # The legend manager asks the application which volume this view shows.
        self._sliceLogics = applicationLogic.GetSliceLogics()
        self._sliceLogics.AddItem(self._logic)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*size)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        # Displayable managers ask for the interactor of the window they draw into.
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        # The image itself is drawn by the view and not by a manager.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(actor)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self._renderer)
        for manager in managers:
            displayableManager = getattr(slicer, manager)()
            displayableManager.SetMRMLApplicationLogic(applicationLogic)
            self._group.AddDisplayableManager(displayableManager)
        self._group.SetMRMLDisplayableNode(self.sliceNode)

    def __enter__(self) -> SliceFigure:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def render(
        self, background: slicer.vtkMRMLScalarVolumeNode, foreground: slicer.vtkMRMLScalarVolumeNode | None = None,
        sliceIndex: int | None = None, opacity: float = 1.0, box: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw one slice in the plane of acquisition of `background` and return it (height, width, 3) uint8.

        `sliceIndex` is the index along k (middle if None). `box` (2, 2) limits the picture to voxels i from
        box[0][0] to box[1][0] and j from box[0][1] to box[1][1], both included; the view keeps its proportions.
        """
        showOverlay(self._logic.GetSliceCompositeNode(), background, foreground, opacity)
        self._logic.ResizeSliceNode(*self.size)
        self._aim(background, sliceIndex, box)
        self._logic.UpdatePipeline()
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())
        for volume in (background, foreground):
            legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(volume) if volume is not None else None
            if legend is not None:
                legend.Modified()  # the legend manager does not notice the volume of a view that is no widget
        self._window.Render()
        return self._pixels()

    def edgeLetters(self) -> tuple[str, str]:
        """Return the side of the patient at the left and at the right edge of the picture drawn last: ('R', 'L')."""
        sliceToRas = self.sliceNode.GetSliceToRAS()
        toTheRight = [sliceToRas.GetElement(row, 0) for row in range(3)]
        axis = int(np.argmax(np.abs(toTheRight)))
        negative, positive = ("LR", "PA", "IS")[axis]
        return (negative, positive) if toTheRight[axis] > 0 else (positive, negative)

    def close(self) -> None:
        """Free the window and take the nodes of the view out of the scene."""
        if self._logic is None:
            return
        self._mapper.RemoveAllInputConnections(0)
        self._group.SetMRMLDisplayableNode(None)
        self._renderer.RemoveAllViewProps()
        self._window.Finalize()
        self._group = self._interactor = self._renderer = self._window = None
        self._sliceLogics.RemoveItem(self._logic)
        self._logic.SetMRMLScene(None)
        self._logic = None
        for identifier in _nodeIds(self.scene) - self._nodesBefore:
            node = self.scene.GetNodeByID(identifier)
            if _isPartOfSliceView(node):
                self.scene.RemoveNode(node)

    def _aim(self, volume, sliceIndex: int | None, box: np.ndarray | None) -> None:
        """Turn the slice node into the plane of `volume`, onto the middle of the box, at its size."""
        geometry = geometryOfVolumeNode(volume)
        affine = np.asarray(geometry.affine)
        k = (geometry.shape[2] - 1) // 2 if sliceIndex is None else int(sliceIndex)
        corners = np.array([[0, 0], [geometry.shape[0] - 1, geometry.shape[1] - 1]], float) if box is None else box
        node = self.sliceNode
        # RotateToVolumePlane turns to the nearest plane of the volume, so start near its plane of acquisition.
        node.SetOrientation(_ORIENTATIONS[int(np.argmax(np.abs(affine[:3, 2] / np.linalg.norm(affine[:3, 2]))))])
        node.RotateToVolumePlane(volume)
        sliceToRas = node.GetSliceToRAS()
        middle = affine @ [*np.mean(corners, axis=0), k, 1]
        for row in range(3):
            sliceToRas.SetElement(row, 3, middle[row])
        node.UpdateMatrices()
        axes = np.array([[sliceToRas.GetElement(row, column) for row in range(3)] for column in range(2)])
        width, height = _extent(affine, np.asarray(corners, float), axes)
        scale = max(width / self.size[0], height / self.size[1])  # mm per pixel
        node.SetXYZOrigin(0, 0, 0)
        node.SetFieldOfView(self.size[0] * scale, self.size[1] * scale, node.GetFieldOfView()[2])

    def _pixels(self) -> np.ndarray:
        capture = vtk.vtkWindowToImageFilter()
        capture.SetInput(self._window)
        capture.ReadFrontBufferOff()
        capture.Update()
        image = capture.GetOutput()
        width, height, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
        return pixels[::-1, :, :3].copy()  # VTK counts lines from below


def sizeOfSlice(geometry: Geometry, box: np.ndarray | None = None) -> tuple[float, float]:
    """Return width and height [mm] of the picture of one slice of that geometry, box as in `SliceFigure.render`."""
    corners = np.array([[0, 0], [geometry.shape[0] - 1, geometry.shape[1] - 1]]) if box is None else np.asarray(box)
    affine = np.asarray(geometry.affine)
    directions = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    # Across the picture runs the axis nearest to left-right, or front-back where the slices are sagittal.
    sagittal = int(np.argmax(np.abs(affine[:3, 2] / np.linalg.norm(affine[:3, 2])))) == 0
    first = int(np.argmax(np.abs(directions[1 if sagittal else 0])))
    return _extent(affine, corners.astype(float), directions.T[[first, 1 - first]])


def _extent(affine: np.ndarray, corners: np.ndarray, axes: np.ndarray) -> tuple[float, float]:
    """Size [mm] along two unit vectors of the voxels between two corners, whole voxels included."""
    edges = np.array([[i, j] for i in (corners[0][0] - 0.5, corners[1][0] + 0.5)
                      for j in (corners[0][1] - 0.5, corners[1][1] + 0.5)])
    points = edges @ affine[:3, :2].T @ axes.T
    width, height = points.max(axis=0) - points.min(axis=0)
    return float(width), float(height)


def _nodeIds(scene) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def _isPartOfSliceView(node) -> bool:
    return node is not None and any(
        node.IsA(name) for name in (
            "vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode", "vtkMRMLSliceDisplayNode", "vtkMRMLModelNode",
            "vtkMRMLModelDisplayNode", "vtkMRMLLinearTransformNode",
        )
    )
