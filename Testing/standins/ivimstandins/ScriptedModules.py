"""Modules of Slicer as objects: our own one with its widget, and those in C++ of which only the logic is used."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property

from .MrmlWidgets import qMRMLWidget
from .PythonQtRules import standIn


@standIn
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What Slicer puts around the Python widget of a scripted module."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._python = None
        QtWidgets.QVBoxLayout(self)

    def self(self):
        return self._python


@standIn
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """A scripted module: the class of its file, and its widget once somebody asks for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = Path(path)
        self._title = ""
        self._categories = self._dependencies = self._contributors = ()
        self._help = self._acknowledgement = ""
        self._index = -1
        self._icon = QtGui.QIcon()
        self._widget = None
        self._entered = False
        self.setObjectName(self._path.stem)
        specification = importlib.util.spec_from_file_location(self._path.stem, self._path)
        self._file = importlib.util.module_from_spec(specification)
        sys.modules[self._path.stem] = self._file
        specification.loader.exec_module(self._file)
        self._python = getattr(self._file, self._path.stem)(self)

    title = Property(str, lambda self: self._title, lambda self, value: setattr(self, "_title", value))
    categories = Property("QStringList", lambda self: list(self._categories),
                          lambda self, value: setattr(self, "_categories", tuple(value)))
    dependencies = Property("QStringList", lambda self: list(self._dependencies),
                            lambda self, value: setattr(self, "_dependencies", tuple(value)))
    contributors = Property("QStringList", lambda self: list(self._contributors),
                            lambda self, value: setattr(self, "_contributors", tuple(value)))
    helpText = Property(str, lambda self: self._help, lambda self, value: setattr(self, "_help", value))
    acknowledgementText = Property(str, lambda self: self._acknowledgement,
                                   lambda self, value: setattr(self, "_acknowledgement", value))
    index = Property(int, lambda self: self._index, lambda self, value: setattr(self, "_index", value))
    icon = Property("QIcon", lambda self: self._icon, lambda self, value: setattr(self, "_icon", value))
    path = Property(str, lambda self: str(self._path))

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget()
            self._widget.setMRMLScene(slicer.mrmlScene)
            python = getattr(self._file, self._path.stem + "Widget")(self._widget)
            self._widget._python = python
            setattr(slicer.modules, self._path.stem + "Widget", python)
            python.setup()
        return self._widget

    def logic(self):
        return None

    def show(self) -> None:
        """Another module was left for this one."""
        self.widgetRepresentation().self().enter()
        self._entered = True

    def leave(self) -> None:
        """This module is left."""
        if self._entered:
            self._entered = False
            self._widget.self().exit()

    def discard(self) -> None:
        """Take the widget away, as Slicer does when it ends."""
        if self._widget is None:
            return
        self.leave()
        self._widget.self().cleanup()
        self._widget._python = None
        delattr(slicer.modules, self._path.stem + "Widget")
        self._widget.deleteLater()
        self._widget = None


class LogicModule:
    """A module of which tests use no more than the logic."""

    def __init__(self, name: str, logic) -> None:
        self.name = name
        self._logic = logic
        self.autoShowToolBar = True

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return None

    def show(self) -> None:
        """It has no widget."""

    def leave(self) -> None:
        """It has no widget."""
