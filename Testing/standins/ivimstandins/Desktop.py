"""Start and end an imitation of desktop Slicer in this process."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import types
from pathlib import Path

import slicer

from IVIMMappingLib.HeadlessSlicer import HeadlessSlicer

VARIABLE = "IVIM_SLICER_PY"
"""Names a folder with Slicer's own Python files, to be used in place of ours."""
_WITHOUT_LOGIC = ("SegmentEditor", "SegmentStatistics", "Data", "Welcome")
_modules: dict[str, types.ModuleType] = {}


class Desktop:
    """Slicer with stand-ins: `slicer.app`, `slicer.modules`, views, and the modules of the files `modulePaths`.

    `close` takes it away again, so that tests of the scene without a desktop run before and after. PySide6 is
    imported here and not before; ImportError if it, or a library it needs, is missing.
    """

    def __init__(self, modulePaths: list[Path]) -> None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("MPLBACKEND", "Agg")  # matplotlib would take Qt where it finds an application
        self._names: list[str] = []
        self.scripted = []
        self.layoutManager = self.mainWindow = None
        self._addNames()
        self._folder = tempfile.TemporaryDirectory(prefix="ivim_standins_")
        self.temporary = self.home = self._folder.name
        self._excepthook = sys.excepthook
        self._headless = HeadlessSlicer()
        self.scene = self._headless.scene
        self.applicationLogic = self._headless.applicationLogic
        self.logics = self._headless.moduleLogics
        try:
            self._start(modulePaths)
        except BaseException:
            self.close()
            raise

    def reset(self) -> None:
        """Bring scene, layout, settings and module back to what a new program shows."""
        self.mainWindow.moduleSelector().selectModule("Welcome")
        for module in self.scripted:
            module.discard()
        self.deleteObjects()
        self.scene.Clear(0)
        self.layoutManager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
        self.settings.clear()
        self.app.clipboard().clear()
        self.app.processEvents()

    def deleteObjects(self) -> None:
        """Do what `deleteLater` asked for; outside of Qt's own loop nobody else does."""
        self.app.processEvents()
        self.app.sendPostedEvents(None, _modules["qt"].QEvent.DeferredDelete.value)

    def close(self) -> None:
        """End the desktop: widgets first, then the scene."""
        from . import Connections

        for module in self.scripted:
            module.discard()
        self.scripted.clear()
        if self.layoutManager is not None:
            self.layoutManager._stop()
        if self.mainWindow is not None:
            self.mainWindow.close()
            self.mainWindow.deleteLater()
        self.deleteObjects()
        self.app._desktop = None
        sys.excepthook = self._excepthook
        Connections.forget()
        for name in self._names:
            delattr(slicer, name)
        for name in _modules:
            sys.modules.pop(name, None)
        self.scene = self.applicationLogic = None
        self.logics = {}
        self._headless.close()
        self._folder.cleanup()

    def _start(self, modulePaths: list[Path]) -> None:
        from . import Application, Connections, LayoutManager, ScriptedModules

        self.app = Application.application()
        self.app._desktop = self
        self._name("app", self.app)
        self._openSettings()
        sys.excepthook = Connections.keepFault
        self._addCrosshair()
        self.layoutManager = LayoutManager.qSlicerLayoutManager(self.applicationLogic, self.scene)
        self.moduleManager = Application.qSlicerModuleManager()
        self.ioManager = Application.IOManager(self.scene)
        self._name("modules", types.SimpleNamespace())
        for name, logic in [*self.logics.items(), *dict.fromkeys(_WITHOUT_LOGIC).items()]:
            self._register(name, ScriptedModules.LogicModule(name, logic))
        self.mainWindow = Application.qSlicerMainWindow(self.moduleManager)
        for path in modulePaths:
            if str(path.parent) not in sys.path:
                sys.path.insert(0, str(path.parent))
            module = ScriptedModules.qSlicerScriptedLoadableModule(path)
            missing = set(module.dependencies) - set(self.moduleManager.modulesNames())
            if missing:  # Slicer leaves such a module out
                raise RuntimeError(f"{path.stem} depends on {', '.join(sorted(missing))}, which is not loaded")
            self._register(path.stem, module)
            self.scripted.append(module)
        self.app.startupCompleted.emit()

    def _name(self, name: str, value) -> None:
        setattr(slicer, name, value)
        self._names.append(name)

    def _register(self, name: str, module) -> None:
        setattr(slicer.modules, name.lower(), module)
        self.moduleManager._modules[name] = module

    def _openSettings(self) -> None:
        qt = _modules["qt"]
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, self.temporary)
        self.settings = qt.QSettings()

    def _addCrosshair(self) -> None:
        node = slicer.vtkMRMLCrosshairNode()
        node.SetCrosshairName("default")
        node.SetSingletonTag("default")
        self.scene.AddNode(node)

    def _addNames(self) -> None:
        """Add the modules `qt` and `ctk`, Slicer's Python files, and the qMRML classes to `slicer`."""
        from . import CtkWidgets, QtModule

        if not _modules:
            _modules["qt"] = QtModule.makeQtModule()
            _modules["ctk"] = CtkWidgets.makeCtkModule()
            _modules["qSlicerSubjectHierarchyModuleWidgetsPythonQt"] = CtkWidgets.makeSubjectHierarchyModule()
        sys.modules.update(_modules)
        from . import MrmlWidgets, NodeComboBox, ScriptedModules, SliceWidgets, UiLoader

        for cls in (
            MrmlWidgets.qMRMLWidget, MrmlWidgets.qMRMLPlotWidget, MrmlWidgets.qMRMLPlotView,
            NodeComboBox.qMRMLNodeComboBox, SliceWidgets.qMRMLSliceWidget, SliceWidgets.qMRMLSliceView,
            ScriptedModules.qSlicerScriptedLoadableModule, ScriptedModules.qSlicerScriptedLoadableModuleWidget,
        ):
            self._name(cls.__name__, cls)
        UiLoader.CUSTOM.update({cls.__name__: cls for cls in (
            *CtkWidgets.WIDGETS, MrmlWidgets.qMRMLWidget, MrmlWidgets.qMRMLPlotWidget, NodeComboBox.qMRMLNodeComboBox,
        )})
        folder = os.environ.get(VARIABLE) or str(Path(__file__).parent / "slicerpackage")
        if folder not in slicer.__path__:
            slicer.__path__.append(folder)
        logging.getLogger().setLevel(logging.WARNING)
