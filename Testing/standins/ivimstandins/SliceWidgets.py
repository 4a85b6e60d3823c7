"""slicer.qMRMLSliceWidget: a slice logic and a render window that nobody sees."""

from __future__ import annotations

import os

import slicer
import vtk
from PySide6 import QtWidgets

from IVIMMappingLib.OpenGLProbe import VARIABLE

from .MrmlWidgets import qMRMLWidget
from .PythonQtRules import standIn


@standIn
class qMRMLSliceView(qMRMLWidget):
    """The view: image, corner annotation and what others put into its renderer; drawn only by `forceRender`.

    Displayable managers (segments, markups, legends) are left out.
    """

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(320, 240)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._corner = vtk.vtkCornerAnnotation()
        self._renderer.AddViewProp(self._corner)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image = vtk.vtkActor2D()
        image.SetMapper(self._mapper)
        image.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(image)
        self._requests = 0
        self._logic = None

    def renderWindow(self):
        return self._window

    def renderer(self):
        return self._renderer

    def interactor(self):
        return self._interactor

    def cornerAnnotation(self):
        return self._corner

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def scheduleRender(self) -> None:
        """Ask for a picture soon; the stand-in only counts, as nobody looks."""
        self._requests += 1

    def forceRender(self) -> None:
        """Draw now; nothing happens on a computer that cannot draw, where VTK would end the process."""
        if not os.environ.get(VARIABLE):
            return
        self._logic.ResizeSliceNode(*self._window.GetSize())
        self._logic.UpdatePipeline()
        connection = self._logic.GetImageDataConnection()
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._window.Render()


@standIn
class qMRMLSliceWidget(qMRMLWidget):
    """A slice view with its logic and controller."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._view = qMRMLSliceView(self)
        self._controller = QtWidgets.QWidget(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self._controller)
        layout.addWidget(self._view)

    def _start(self, applicationLogic, scene, node) -> None:
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(scene)
        self._logic.SetSliceNode(node)
        self._view._logic = self._logic
        applicationLogic.GetSliceLogics().AddItem(self._logic)
        self._logic.ResizeSliceNode(320, 240)
        self.setMRMLScene(scene)

    def _stop(self) -> None:
        self._logic.SetMRMLScene(None)
        self._view._mapper.RemoveAllInputConnections(0)
        self._view._renderer.RemoveAllViewProps()
        self._view._window.Finalize()

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceView(self):
        return self._view

    def sliceController(self):
        return self._controller

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()
