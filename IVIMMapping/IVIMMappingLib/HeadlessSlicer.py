"""The MRML scene and the application logic without the desktop program."""

from __future__ import annotations

import shutil
import tempfile

import slicer
import vtk

_MODULE_LOGICS = {
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
}


class HeadlessSlicer:
    """Own a real MRML scene and its logics in a plain Python process.

    Example::

        with HeadlessSlicer() as application:
            node = application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "b0")
            application.scene.WriteToMRB("scene.mrb")

    The object keeps every logic alive: nodes of the scene point to them, and a collected logic turns slices into
    noise instead of raising. One may exist at a time. Raises RuntimeError inside desktop Slicer, which has its own.
    """

    _running = False

    def __init__(self) -> None:
        if getattr(slicer, "app", None) is not None:
            raise RuntimeError("Desktop Slicer has its own scene, slicer.mrmlScene: HeadlessSlicer is not for it.")
        if HeadlessSlicer._running:
            raise RuntimeError("A headless scene is already open in this process; close it first.")
        HeadlessSlicer._running = True
        self._cacheFolder = tempfile.mkdtemp(prefix="ivim_scene_")
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene  # slicer.util works on this one
        self._addDataManagers()
        self.applicationLogic = slicer.vtkSlicerApplicationLogic()
        self.applicationLogic.SetMRMLScene(self.scene)
        self._addColors()
        self.applicationLogic.SetSliceLogics(vtk.vtkCollection())
        self.applicationLogic.SetViewLogics(vtk.vtkCollection())
        self._setFactories(self.applicationLogic)
        self.moduleLogics = {name: self._startLogic(name, className) for name, className in _MODULE_LOGICS.items()}
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.sliceLogics: dict[str, slicer.vtkMRMLSliceLogic] = {}

    def __enter__(self) -> HeadlessSlicer:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def addSliceView(self, name: str = "Red") -> slicer.vtkMRMLSliceLogic:
        """Return the logic of the slice view of that name, made on first use; desktop has Red, Green and Yellow."""
        if name not in self.sliceLogics:
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self.applicationLogic)
            logic.SetMRMLScene(self.scene)
            logic.AddSliceNode(name)
            self.applicationLogic.GetSliceLogics().AddItem(logic)
            self.sliceLogics[name] = logic
        return self.sliceLogics[name]

    def close(self) -> None:
        """Empty the scene, then let the logics go in the order that leaves no dangling observer."""
        if self.scene is None:
            return
        self.applicationLogic.GetSliceLogics().RemoveAllItems()
        for logic in self.sliceLogics.values():
            logic.SetMRMLScene(None)
        self.sliceLogics.clear()
        self.scene.Clear(1)
        self._setFactories(None)
        self.applicationLogic.SetMRMLScene(None)
        self.moduleLogics.clear()
        self.applicationLogic = None
        slicer.mrmlScene = None
        self.scene = None
        shutil.rmtree(self._cacheFolder, ignore_errors=True)
        HeadlessSlicer._running = False

    def _addDataManagers(self) -> None:
        # Without a cache and a data manager ReadFromMRB fails.
        self._cacheManager = slicer.vtkCacheManager()
        self._cacheManager.SetRemoteCacheDirectory(self._cacheFolder)
        self.scene.SetCacheManager(self._cacheManager)
        self._dataManager = slicer.vtkDataIOManager()
        self._dataManager.SetCacheManager(self._cacheManager)
        self.scene.SetDataIOManager(self._dataManager)

    def _addColors(self) -> None:
        self._colorLogic = self.applicationLogic.GetColorLogic()
        self._colorLogic.SetMRMLScene(self.scene)
        self._colorLogic.AddDefaultColorNodes()

    def _startLogic(self, name: str, className: str):
        logic = getattr(slicer, className)()
        logic.SetMRMLApplicationLogic(self.applicationLogic)
        logic.SetMRMLScene(self.scene)
        self.applicationLogic.SetModuleLogic(name, logic)
        return logic

    @staticmethod
    def _setFactories(applicationLogic) -> None:
        for factory in (
            slicer.vtkMRMLSliceViewDisplayableManagerFactory, slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(applicationLogic)
