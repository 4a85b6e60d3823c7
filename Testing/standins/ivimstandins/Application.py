"""slicer.app, the main window and the module manager."""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .PythonQtRules import standIn

_application = None


@standIn
class qSlicerApplication(QtWidgets.QApplication):
    """The application; it lives as long as the process, its scene as long as a desktop (Desktop)."""

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    signatures = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def __init__(self, arguments) -> None:
        super().__init__(arguments)
        self._desktop = None

    def applicationLogic(self):
        return self._desktop.applicationLogic

    def mrmlScene(self):
        return self._desktop.scene

    def layoutManager(self):
        return self._desktop.layoutManager

    def moduleManager(self):
        return self._desktop.moduleManager

    def coreIOManager(self):
        return self._desktop.ioManager

    def ioManager(self):
        return self._desktop.ioManager

    def testingEnabled(self) -> bool:
        return True

    def userSettings(self):
        return self._desktop.settings

    def settings(self):
        return self._desktop.settings

    def revisionUserSettings(self):
        return self._desktop.settings

    def startupEnvironment(self):
        return QtCore.QProcessEnvironment.systemEnvironment()

    def translate(self, context: str, text: str, *_) -> str:
        return text

    def pauseRender(self) -> None:
        """Nothing is rendered."""

    def resumeRender(self) -> None:
        """Nothing is rendered."""

    def setRenderPaused(self, paused: bool) -> None:
        """Nothing is rendered."""

    slicerHome = Property(str, lambda self: self._desktop.home)
    temporaryPath = Property(str, lambda self: self._desktop.temporary)
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 12)


@standIn
class qSlicerModuleManager(QtCore.QObject):
    """Knows the modules by name."""

    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules = {}

    def module(self, name: str):
        return self._modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def factoryManager(self):
        return self

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(self._modules)


@standIn
class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """Shows one module at a time and tells both when that changes."""

    moduleSelected = Signal(str)

    def __init__(self, moduleManager, parent) -> None:
        super().__init__(parent)
        self._manager = moduleManager
        self._selected = ""

    selectedModule = Property(str, lambda self: self._selected)

    def selectModule(self, name: str) -> None:
        if name == self._selected:
            return
        previous = self._manager.module(self._selected)
        self._selected = name
        if previous is not None:
            previous.leave()
        module = self._manager.module(name)
        if module is not None:
            self.window().showModule(module.widgetRepresentation())
            module.show()
        self.moduleSelected.emit(name)


@standIn
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window: the module selector, and the panel of the module that is shown."""

    def __init__(self, moduleManager) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar(moduleManager, self)
        self._panel = QtWidgets.QScrollArea(self)
        self._panel.setWidgetResizable(True)
        self.setCentralWidget(self._panel)
        self.resize(560, 900)
        self.show()

    def moduleSelector(self):
        return self._selector

    def setPanelWidth(self, width: int) -> None:
        """Make the panel of the module that wide [pixels]."""
        self.resize(self.width + width - self._panel.viewport().width, self.height)

    def showModule(self, widget) -> None:
        """Put the widget of a module into the panel; None empties it."""
        previous = self._panel.takeWidget()
        if previous is not None:
            previous.setParent(None)
            previous.hide()
        if widget is not None:
            self._panel.setWidget(widget)
            widget.show()


class IOManager:
    """Reads and writes through slicer-core where the tests need it."""

    def __init__(self, scene) -> None:
        self.scene = scene

    def fileType(self, path) -> str:
        return "SceneFile" if str(path).endswith((".mrml", ".mrb")) else "VolumeFile"

    def loadNodes(self, kind, properties, loaded=None, messages=None) -> bool:
        """Load a volume, a sequence or a scene file."""
        import slicer

        path = str(properties["fileName"])
        if kind == "SceneFile":
            return bool(self.scene.ReadFromMRB(path, bool(properties.get("clear", False))))
        logics = slicer.app._desktop.logics
        if kind == "SequenceFile":
            node = logics["Sequences"].AddSequence(path)
        elif kind == "VolumeFile":
            node = logics["Volumes"].AddArchetypeVolume(
                path, properties.get("name", ""), 1 if properties.get("labelmap") else 0)
        elif kind == "SegmentationFile":
            node = logics["Segmentations"].LoadSegmentationFromFile(path)
        else:
            raise NotImplementedError(f"the stand-in loads no {kind}")
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def saveNodes(self, kind, properties, *_) -> bool:
        """Save a node by its storage node, or the scene."""
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return bool(self.scene.WriteToMRB(path))
        node = self.scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))


def application() -> qSlicerApplication:
    """Return the one application of this process."""
    global _application
    if _application is None:
        _application = qSlicerApplication(["IVIMStandIns", "-platform", "offscreen"])
        _application.setApplicationName("IVIMStandIns")
        _application.setOrganizationName("IVIMStandIns")
        _application.setQuitOnLastWindowClosed(False)
    return _application
