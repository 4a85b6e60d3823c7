"""Load a .ui file as desktop Slicer does, but refuse what it would silently drop."""

from __future__ import annotations

from xml.etree import ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

CUSTOM: dict[str, type] = {}
"""Stand-ins for classes of CTK and Slicer that a .ui file may name."""


class UiError(AssertionError):
    """A .ui file names a class, property, signal or slot that does not exist."""


class UiLoader:
    """What `slicer.util.loadUI` uses of QUiLoader."""

    def load(self, device, parent=None):
        """Return the widget of the file; raises UiError where desktop Slicer would drop something with a log line."""
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = root.findall("./connections/connection")
        for name in ("connections", "resources"):
            for part in root.findall(name):
                root.remove(part)
        _checkClasses(root)
        loader = QtUiTools.QUiLoader()
        for cls in CUSTOM.values():
            loader.registerCustomWidget(cls)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = loader.load(buffer, parent)
        if widget is None:
            raise UiError(f"the .ui file gives no widget: {loader.errorString()}")
        _checkProperties(root, widget)
        for connection in connections:
            _connect(widget, *(connection.findtext(name) for name in ("sender", "signal", "receiver", "slot")))
        return widget


def _checkClasses(root) -> None:
    declared = {part.findtext("class") for part in root.iter("customwidget")}
    for part in root.iter("widget"):
        name = part.get("class")
        if name.startswith("Q") and hasattr(QtWidgets, name):
            continue
        if name not in CUSTOM:
            raise UiError(f"there is no stand-in for the class {name} of widget '{part.get('name')}'")
        if name not in declared:
            raise UiError(f"the class {name} is not among the custom widgets of the .ui file: Qt would drop it")


def _checkProperties(root, widget) -> None:
    for part in root.iter("widget"):
        found = _find(widget, part.get("name"))
        for prop in part.findall("property"):
            if prop.get("stdset") != "0" and found.metaObject().indexOfProperty(prop.get("name")) < 0:
                raise UiError(f"{part.get('class')} '{part.get('name')}' has no property '{prop.get('name')}'")


def _find(widget, name: str):
    found = widget if widget.objectName == name else widget.findChild(QtCore.QObject, name)
    if found is None:
        raise UiError(f"no widget is called '{name}'")
    return found


def _connect(widget, sender: str, signal: str, receiver: str, slot: str) -> None:
    _find(widget, sender).connect(signal, _find(widget, receiver), slot)
