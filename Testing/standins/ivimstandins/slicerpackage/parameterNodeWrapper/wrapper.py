"""The decorator that makes parameters of the annotations of a class."""

import logging
import typing
import weakref

import qt
import slicer
import vtk

from .annotations import Decimals, Default, SingleStep, Validator, first, split
from .connectors import connectorFor
from .storage import storageFor

SlicerParameterNamePropertyName = "SlicerParameterName"


class _Field:
    """One parameter of a wrapper class."""

    def __init__(self, name, kind, default):
        self.basename = name
        self.unalteredType = kind
        self.storage = storageFor(kind)
        self.default = Default(default if default is not None else self.storage.default())


class _Value:
    """One parameter of one node, read again when the node changes."""

    def __init__(self, field, node, prefix):
        self.field = field
        self.node = node
        self.name = f"{prefix or ''}{field.basename}"
        self._writing = False
        if not field.storage.isIn(node, self.name):
            field.storage.write(node, self.name, field.default.value)
        self._value = self._fromNode()
        me = weakref.ref(self)
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: me() and me()._onModified())

    def __del__(self):
        self.node.RemoveObserver(self._tag)

    def _fromNode(self):
        if not self.field.storage.isIn(self.node, self.name):
            self.field.storage.write(self.node, self.name, self.field.default.value)
        return self.field.storage.read(self.node, self.name)

    def _onModified(self):
        if not self._writing:
            self._value = self._fromNode()

    def read(self):
        return self._value

    def write(self, value):
        self._writing = True
        try:
            with slicer.util.NodeModify(self.node):
                self.field.storage.write(self.node, self.name, value)
                self._value = self._fromNode()
        finally:
            self._writing = False


class _Methods:
    """What a wrapper class gets besides its properties."""

    def __init__(self, parameterNode, prefix=None):
        self.parameterNode = parameterNode
        self._values = {name: _Value(field, parameterNode, prefix) for name, field in self.allParameters.items()}
        self._guis = {}
        self._nextTag = 0
        self._observers = []
        self._updating = False

    def _check(self, name):
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")

    def default(self, name):
        self._check(name)
        return self.allParameters[name].default

    def dataType(self, name):
        self._check(name)
        return self.allParameters[name].unalteredType

    def isCached(self, name):
        self._check(name)
        return True

    def getValue(self, name):
        self._check(name)
        return self._values[name].read()

    def setValue(self, name, value):
        self._check(name)
        self._values[name].write(value)

    def connectGui(self, gui):
        """Bind each widget whose dynamic property names a parameter; returns None, as in Slicer."""
        widgets = gui.findChildren(qt.QWidget) if getattr(gui, "isWidgetType", lambda: False)() else vars(gui).values()
        named = {widget.property(SlicerParameterNamePropertyName): widget for widget in widgets}
        self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping):
        """Bind widgets by the name of their parameter; returns the tag for `disconnectGui`."""
        for name in mapping:
            self._check(name)
        connectors = {name: connectorFor(widget, self.dataType(name)) for name, widget in mapping.items()}
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        self._guis[tag] = connectors
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._writer(name, connector))
        self._observers.append(self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._updateGui()))
        return tag

    def disconnectGui(self, tag):
        """Undo `connectParametersToGui`; an unknown tag is passed over in silence, as in Slicer."""
        for connector in self._guis.pop(tag, {}).values():
            connector.onChanged(None)

    def _writer(self, name, connector):
        def write():
            if not self._updating:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return write

    def _updateGui(self):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connectors in list(self._guis.values()):
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def __del__(self):
        # Python empties a function that only an unreachable wrapper of the node holds; VTK would still call it.
        for tag in self._observers:
            self.parameterNode.RemoveObserver(tag)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        return self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype=None):
    """Class decorator: each annotation becomes a parameter with its type, limits and default."""
    return _wrap if classtype is None else _wrap(classtype)


def isParameterNodeWrapper(classOrObject):
    """Whether this is such a class or an object of one."""
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)


def _wrap(cls):
    fields = {}
    for name, kind in typing.get_type_hints(cls, include_extras=True).items():
        extras = split(kind)[1]
        unused = [extra for extra in extras if not isinstance(extra, (Validator, Default, Decimals, SingleStep))]
        if unused:
            logging.warning("Unused annotations: %s", unused)
        given = first(extras, Default)
        default = getattr(cls, name) if hasattr(cls, name) else given.value if given else None
        fields[name] = _Field(name, kind, default)
    for name, value in vars(_Methods).items():
        if name in ("__init__", "__del__") or not name.startswith("__"):
            if name in fields:
                raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
            setattr(cls, name, value)
    for name in fields:
        setattr(cls, name, property(
            lambda self, name=name: self._values[name].read(),
            lambda self, value, name=name: self._values[name].write(value),
        ))
    cls.allParameters = fields
    cls._is_parameter_node_wrapper = True
    return cls
