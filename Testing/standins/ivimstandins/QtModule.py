"""The module `qt`: the names of QtCore, QtGui, QtWidgets and QtNetwork in one, as PythonQt has it."""

from __future__ import annotations

import enum
import types

from . import PythonQtRules
from .UiLoader import UiLoader

# Made for Python code of PySide; string connect to such signals fails in PythonQt.
_LEFT_OUT = {"Signal", "Slot", "Property", "SIGNAL", "SLOT", "QEnum", "QFlag", "ClassInfo", "SignalInstance"}


class BoolResult:
    """A truth value that a static dialog of Qt writes into."""

    def __init__(self) -> None:
        self.value = False

    def __bool__(self) -> bool:
        return self.value


def makeQtModule() -> types.ModuleType:
    """Build the module; the PySide classes are changed for good (PythonQtRules)."""
    module = types.ModuleType("qt", __doc__)
    for source in PythonQtRules.MODULES:
        for name in dir(source):  # not vars(): PySide makes its classes when they are asked for
            if not name.startswith("_") and name not in _LEFT_OUT:
                setattr(module, name, getattr(source, name))
    _unscopeEnums(module)
    PythonQtRules.apply()
    _answerDialogs(module)
    module.QUiLoader = UiLoader
    module.BoolResult = BoolResult
    return module


def _unscopeEnums(module: types.ModuleType) -> None:
    """Make Qt.CheckState.Checked reachable as Qt.Checked too."""
    for owner in [module.Qt, *PythonQtRules.qtClasses()]:
        for scoped in [value for value in vars(owner).values() if isinstance(value, type)
                       and issubclass(value, enum.Enum)]:
            for name, member in scoped.__members__.items():
                if name not in vars(owner):
                    try:
                        setattr(owner, name, member)
                    except (AttributeError, TypeError):
                        break


def _answerDialogs(module: types.ModuleType) -> None:
    """Static dialogs would wait for a person; a test replaces them by its answer."""
    def refuse(owner: str, name: str):
        def dialog(*_):
            raise AssertionError(f"qt.{owner}.{name} would wait for a person; answer it in the test")

        return staticmethod(dialog)

    for owner, names in {
        "QFileDialog": ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory"),
        "QInputDialog": ("getText", "getInt", "getDouble", "getItem", "getMultiLineText"),
        "QMessageBox": ("information", "warning", "critical", "question", "about"),
        "QColorDialog": ("getColor",),
    }.items():
        for name in names:
            setattr(getattr(module, owner), name, refuse(owner, name))
