"""Which property and signal of a widget belong to a parameter."""

import enum
import typing

import ctk
import qt
import slicer

from .annotations import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange, first, split


class Connector:
    """Reads and writes one widget and calls back when a person changes it."""

    def __init__(self, widget, signal, read, write):
        self._widget = widget
        self._signal = signal
        self.read = read
        self.write = write
        self._callback = None

    def widget(self):
        return self._widget

    def onChanged(self, callback):
        before, self._callback = self._callback, callback
        if callback is None:
            if before is not None:
                self._widget.disconnect(self._signal, self._changed)
        elif before is None:
            self._widget.connect(self._signal, self._changed)

    def _changed(self):
        if self._callback is not None:
            self._callback()


def connectorFor(widget, kind):
    """Return the connector of a widget for a parameter of that type; raises RuntimeError where Slicer has none."""
    bare, extras = split(kind)
    exact = type(widget)
    if bare is bool and exact is qt.QCheckBox:
        return Connector(widget, "stateChanged(int)", lambda: widget.checked, widget.setChecked)
    if bare is bool and exact is qt.QPushButton:
        widget.setCheckable(True)
        return Connector(widget, "toggled(bool)", lambda: widget.checked, widget.setChecked)
    if bare is int and exact in (qt.QSpinBox, qt.QSlider):
        _limit(widget, extras, exact is qt.QSlider, (-2**31, 2**31 - 1))
        return Connector(widget, "valueChanged(int)", lambda: widget.value, widget.setValue)
    if bare is float and exact in (qt.QDoubleSpinBox, ctk.ctkSliderWidget):
        _limit(widget, extras, exact is ctk.ctkSliderWidget, (float("-inf"), float("inf")))
        return Connector(widget, "valueChanged(double)", lambda: widget.value, widget.setValue)
    if bare is str and exact is qt.QLineEdit:
        return Connector(widget, "textChanged(QString)", lambda: widget.text, widget.setText)
    if exact is qt.QComboBox and bare in (int, float, str, bool):
        choice = first(extras, Choice)
        if choice is None:
            raise RuntimeError("a combo box needs a Choice annotation")
        return _comboBox(widget, [(str(value), value) for value in choice.choices])
    if exact is qt.QComboBox and isinstance(bare, type) and issubclass(bare, enum.Enum):
        label = getattr(bare, "label", lambda member: member.name)
        return _comboBox(widget, [(label(member), member) for member in bare])
    if exact is slicer.qMRMLNodeComboBox:
        widget.nodeTypes = _nodeTypes(bare)
        return Connector(widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"no connector between {kind} and {exact.__name__} '{widget.name}'")


def _comboBox(widget, entries):
    widget.clear()
    for text, _ in entries:
        widget.addItem(text)

    def write(value):
        widget.setCurrentIndex([entry for _, entry in entries].index(value))

    return Connector(widget, "currentIndexChanged(int)", lambda: entries[widget.currentIndex][1], write)


def _limit(widget, extras, mustBeBounded, widest):
    for kind, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
        if first(extras, kind) is not None:
            setattr(widget, name, first(extras, kind).value)
    span, low, high = (first(extras, kind) for kind in (WithinRange, Minimum, Maximum))
    if span is None and (low is None or high is None) and mustBeBounded:
        raise RuntimeError(f"the slider '{widget.name}' needs a parameter with limits")
    widget.minimum = span.minimum if span else low.minimum if low else widest[0]
    widget.maximum = span.maximum if span else high.maximum if high else widest[1]


def _nodeTypes(kind):
    kinds = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    # Made to ask for its name, so that an abstract class raises here.
    return tuple(split(one)[0]().GetClassName() for one in kinds if one is not type(None))
