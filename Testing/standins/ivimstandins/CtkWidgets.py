"""Widgets of CTK that the panel uses."""

from __future__ import annotations

import types

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .PythonQtRules import standIn

_HEADER = 26  # pixels


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A heading with contents that a click hides; `collapsed` is a property only, its C++ setter is no slot."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments) -> None:
        parent = arguments[-1] if arguments and not isinstance(arguments[-1], str) else None
        super().__init__(parent)
        if arguments and isinstance(arguments[0], str):
            self.setText(arguments[0])
        self._collapsed = False
        self._shown = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, _HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.toggled.connect(lambda checked: self._setCollapsed(not checked))

    def _setCollapsed(self, collapsed: bool) -> None:
        collapsed = bool(collapsed)
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        if collapsed:
            for child in self._contents():
                self._hide(child)
        else:
            for child in self._shown:
                child.setVisible(True)
            self._shown = []
        self.setMaximumHeight(_HEADER if collapsed else 16777215)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, _setCollapsed)

    def childEvent(self, event) -> None:
        QtWidgets.QAbstractButton.childEvent(self, event)
        child = event.child()
        if self._collapsed and event.polished() and child.isWidgetType() and child not in self._shown:
            self._hide(child)

    def sizeHint(self):
        return QtCore.QSize(120, _HEADER) if self._collapsed else QtWidgets.QWidget.sizeHint(self)

    def minimumSizeHint(self):
        return QtCore.QSize(0, _HEADER) if self._collapsed else QtWidgets.QWidget.minimumSizeHint(self)

    def hitButton(self, position) -> bool:
        return position.y() < _HEADER

    def paintEvent(self, _event) -> None:
        painter = QtGui.QPainter(self)
        style = QtWidgets.QStyleOptionButton()
        style.initFrom(self)
        style.rect = QtCore.QRect(0, 0, self.width, _HEADER)
        style.text = ("▸ " if self._collapsed else "▾ ") + self.text
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, style, painter, self)
        painter.end()

    def _contents(self):
        return [child for child in self.children() if child.isWidgetType()]

    def _hide(self, child) -> None:
        if child.isVisibleTo(self):
            self._shown.append(child)
            child.setVisible(False)


def _forwarded(kind, name: str):
    """A property that the spin box and the slider of a ctkSliderWidget share."""
    setter = f"_set{name[0].upper()}{name[1:]}"
    return Property(kind, lambda self: getattr(self._spin, name), lambda self, value: getattr(self, setter)(value))


@standIn
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box, of decimal numbers.

    Only `setValue` is a slot in C++, so that PythonQt offers the others as properties only.
    """

    valueChanged = Signal(float)
    valueChanging = Signal(float)
    signatures = {"valueChanged(double)": "valueChanged", "valueChanging(double)": "valueChanging"}

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, 1000)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._spin.valueChanged.connect(self._onSpin)
        self._slider.valueChanged.connect(self._onSlider)

    value = Property(float, lambda self: self._spin.value, lambda self, value: self.setValue(value))
    minimum = _forwarded(float, "minimum")
    maximum = _forwarded(float, "maximum")
    singleStep = _forwarded(float, "singleStep")
    decimals = _forwarded(int, "decimals")
    suffix = _forwarded(str, "suffix")
    prefix = _forwarded(str, "prefix")
    tracking = Property(bool, lambda self: self._slider.tracking, lambda self, on: self._slider.setTracking(on))

    def setValue(self, value: float) -> None:
        self._spin.setValue(float(value))

    def _setMinimum(self, value: float) -> None:
        self._spin.setMinimum(float(value))
        self._follow()

    def _setMaximum(self, value: float) -> None:
        self._spin.setMaximum(float(value))
        self._follow()

    def _setSingleStep(self, step: float) -> None:
        self._spin.setSingleStep(float(step))

    def _setDecimals(self, decimals: int) -> None:
        self._spin.setDecimals(decimals)

    def _setSuffix(self, suffix: str) -> None:
        self._spin.setSuffix(suffix)

    def _setPrefix(self, prefix: str) -> None:
        self._spin.setPrefix(prefix)

    def _onSpin(self, value: float) -> None:
        self._follow()
        self.valueChanged.emit(value)

    def _onSlider(self, position: int) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._spin.setValue(low + (high - low) * position / 1000)

    def _follow(self) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        blocked = self._slider.blockSignals(True)
        self._slider.setValue(round(1000 * (self._spin.value - low) / (high - low)) if high > low else 0)
        self._slider.blockSignals(blocked)


@standIn
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box; shown in no test, since Slicer skips it in testing mode."""


@standIn
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """A spin box of decimal numbers."""


@standIn
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path to be typed; only there because Slicer's own parameterNodeWrapper names it (IVIM_SLICER_PY)."""


@standIn
class ctkDirectoryButton(QtWidgets.QPushButton):
    """A folder to be chosen; there for the same reason."""


@standIn
class ctkRangeWidget(QtWidgets.QWidget):
    """A range to be chosen; there for the same reason."""


WIDGETS = (ctkCollapsibleButton, ctkSliderWidget, ctkMessageBox, ctkDoubleSpinBox)
_ONLY_NAMES = (ctkPathLineEdit, ctkDirectoryButton, ctkRangeWidget)


def makeCtkModule() -> types.ModuleType:
    """Build the module `ctk`."""
    module = types.ModuleType("ctk", __doc__)
    for cls in (*WIDGETS, *_ONLY_NAMES):
        setattr(module, cls.__name__, cls)
    return module


def makeSubjectHierarchyModule() -> types.ModuleType:
    """Build a module that Slicer's own parameterNodeWrapper imports for one class that no panel of ours has."""
    module = types.ModuleType("qSlicerSubjectHierarchyModuleWidgetsPythonQt")
    module.qMRMLSubjectHierarchyTreeView = type("qMRMLSubjectHierarchyTreeView", (QtWidgets.QTreeView,), {})
    return module
