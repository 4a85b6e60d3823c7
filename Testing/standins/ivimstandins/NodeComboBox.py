"""slicer.qMRMLNodeComboBox: a list of the nodes of the scene."""

from __future__ import annotations

import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .PythonQtRules import standIn
from .SceneWatch import SceneWatch


def _flag(name: str):
    return Property(bool, lambda self: self._flags[name], lambda self, on: self._setFlag(name, on))


@standIn
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the nodes of the types asked for and of all types derived from them, in the order of the scene.

    Types and flags are properties only: their C++ setters are no slots, so that PythonQt does not offer them.
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAddedByUser = Signal(object)
    _currentNodeValid = Signal(bool)
    signatures = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_currentNodeValid",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._flags = dict.fromkeys(
            ("addEnabled", "removeEnabled", "showChildNodeTypes", "selectNodeUponCreation"), True,
        ) | dict.fromkeys(("noneEnabled", "renameEnabled", "editEnabled", "showHidden"), False)
        self._types: tuple[str, ...] = ()
        self._hidden: tuple[str, ...] = ()
        self._attributes: list[tuple[str, str, str | None]] = []
        self._scene = None
        self._watch = SceneWatch()
        self._announced = None
        self._box = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(lambda index: self._announce())
        self._box.activated.connect(lambda index: self.nodeActivated.emit(self.currentNode()))
        self.destroyed.connect(self._watch.stop)

    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    renameEnabled = _flag("renameEnabled")
    editEnabled = _flag("editEnabled")
    noneEnabled = _flag("noneEnabled")
    showHidden = _flag("showHidden")
    showChildNodeTypes = _flag("showChildNodeTypes")
    selectNodeUponCreation = _flag("selectNodeUponCreation")

    def _setNodeTypes(self, types) -> None:
        self._types = tuple(types)
        self._fill()

    def _setHideChildNodeTypes(self, types) -> None:
        self._hidden = tuple(types)
        self._fill()

    nodeTypes = Property("QStringList", lambda self: list(self._types), _setNodeTypes)
    hideChildNodeTypes = Property("QStringList", lambda self: list(self._hidden), _setHideChildNodeTypes)

    def addAttribute(self, nodeType: str, name: str, value: str | None = None) -> None:
        """List nodes of that type only if they have the attribute (of that value)."""
        self._attributes.append((nodeType, name, value))
        self._fill()

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is self._scene:
            return
        self._watch.stop()
        self._scene = scene
        if scene is not None:
            self._watch.add(scene, scene.NodeAddedEvent, self._onNodeAdded)
            self._watch.add(scene, scene.NodeRemovedEvent, self._onNodeRemoved)
            for event in (scene.EndBatchProcessEvent, scene.EndCloseEvent, scene.EndImportEvent, scene.EndRestoreEvent):
                self._watch.add(scene, event, self._onBatchEnd)
        self._fill()

    def currentNode(self):
        identifier = self._box.currentData
        return self._scene.GetNodeByID(identifier) if self._scene is not None and identifier else None

    def setCurrentNode(self, node) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier: str) -> None:
        index = self._box.findData(identifier) if identifier else -1
        if index < 0 and self.noneEnabled:
            index = 0
        self._box.setCurrentIndex(index)

    currentNodeID = Property(str, lambda self: self._box.currentData or "", setCurrentNodeID)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._box.setCurrentIndex(index + int(self.noneEnabled))

    def nodeCount(self) -> int:
        return self._box.count - int(self.noneEnabled)

    def nodeFromIndex(self, index: int):
        identifier = self._box.itemData(index + int(self.noneEnabled))
        return self._scene.GetNodeByID(identifier) if identifier else None

    def _setFlag(self, name: str, on: bool) -> None:
        self._flags[name] = bool(on)
        self._fill()

    def _isListed(self, node) -> bool:
        if node is None or (node.GetHideFromEditors() and not self.showHidden):
            return False
        if self.showChildNodeTypes:
            fits = any(node.IsA(name) for name in self._types) and not any(node.IsA(name) for name in self._hidden)
        else:
            fits = node.GetClassName() in self._types
        return fits and all(
            not node.IsA(kind) or (node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)))
            for kind, name, value in self._attributes
        )

    def _fill(self) -> None:
        """Build the list again; the current node stays if it is still listed."""
        wished = self._box.currentData
        self._box.blockSignals(True)
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem("None", "")
        if self._scene is not None:
            nodes = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
            for node in nodes:
                if self._isListed(node):
                    self._box.addItem(node.GetName(), node.GetID())
                self._watchNode(node)
        index = self._box.findData(wished) if wished else -1
        self._box.setCurrentIndex(index if index >= 0 else (0 if self._box.count else -1))
        self._box.blockSignals(False)
        self._announce()

    def _watchNode(self, node) -> None:
        if any(node.IsA(name) for name in self._types):
            self._watch.add(node, "ModifiedEvent", self._onNodeModified)

    def _onNodeModified(self, node, _event) -> None:
        index = self._box.findData(node.GetID())
        if (index >= 0) != self._isListed(node):
            self._fill()
        elif index >= 0 and self._box.itemText(index) != node.GetName():
            self._box.setItemText(index, node.GetName())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, scene, _event, node) -> None:
        if scene.IsBatchProcessing():
            return
        self._watchNode(node)
        if self._isListed(node) and self._box.findData(node.GetID()) < 0:
            self._box.addItem(node.GetName(), node.GetID())

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, scene, _event, node) -> None:
        self._watch.forget(node)
        index = self._box.findData(node.GetID())
        if index >= 0:
            self._box.removeItem(index)

    def _onBatchEnd(self, *_) -> None:
        self._fill()

    def _announce(self) -> None:
        identifier = self._box.currentData or ""
        if identifier == self._announced:
            return
        self._announced = identifier
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self._currentNodeValid.emit(node is not None)
        self.currentNodeIDChanged.emit(identifier)
