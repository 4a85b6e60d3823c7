"""Make the PySide classes behave as PythonQt shows them, in this process.

Properties are attributes, signals are connected by their signature as text, lists come back as tuples. What PythonQt
refuses raises: new attributes on C++ objects, keyword arguments, signals that do not exist.
"""

from __future__ import annotations

import functools
import html
import types

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets
from shiboken6 import Shiboken

from .Connections import connectByName, disconnectByName

MODULES = (QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools)
_WITHOUT_PROPERTY = {("QTimer", "singleShot")}  # in PythonQt the static method hides the property
_rawSetAttribute = Shiboken.Object.__setattr__
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinMethodType, functools.partial)
_applied = False


class Method:
    """A C++ method bound to its object: takes no keyword arguments, returns lists as tuples."""

    __slots__ = ("native",)

    def __init__(self, native) -> None:
        self.native = native

    def __call__(self, *arguments, **keywords):
        if keywords:
            raise TypeError(f"{self.native.__name__}() takes no keyword arguments in PythonQt")
        _refuseFunctions(self.native.__name__, arguments)
        result = self.native(*arguments)
        return tuple(result) if type(result) is list else result

    def __eq__(self, other) -> bool:
        return type(other) is Method and self.native == other.native

    def __hash__(self) -> int:
        return hash(self.native)

    def __repr__(self) -> str:
        return f"<C++ method {self.native.__qualname__}>"


class _PropertyAttribute:
    """A Qt property as attribute of instances; on the class the method of that name stays."""

    def __init__(self, name: str, method) -> None:
        self.name = name
        self.method = method
        self.setter = "set" + name[0].upper() + name[1:]

    def __get__(self, instance, owner):
        if instance is None:
            if self.method is None:
                raise AttributeError(f"type object '{owner.__name__}' has no attribute '{self.name}'")
            return self.method.__get__(None, owner) if hasattr(self.method, "__get__") else self.method
        value = self._read(instance)
        return tuple(value) if type(value) is list else value

    def __set__(self, instance, value) -> None:
        setter = getattr(instance, self.setter, None)
        if setter is not None:
            setter(value)
        elif not instance.setProperty(self.name, value):
            raise AttributeError(f"property '{self.name}' of {type(instance).__name__} cannot be written")

    def _read(self, instance):
        if self.method is not None:
            bound = self.method.__get__(instance, type(instance)) if hasattr(self.method, "__get__") else self.method
            try:
                return bound()
            except TypeError:
                return instance.property(self.name)
        for prefix in ("is", "has"):
            getter = getattr(type(instance), prefix + self.name[0].upper() + self.name[1:], None)
            if getter is not None:
                return getter(instance)
        return instance.property(self.name)


class _ToolTip(_PropertyAttribute):
    """Slicer wraps plain tool tips so that long ones break; reading shows it."""

    def _read(self, instance):
        text = super()._read(instance)
        return f"<p>{html.escape(text, quote=False)}</p>" if text and not text.startswith("<") else text


class _Name:
    """PythonQt calls objectName `name` as well."""

    def __get__(self, instance, owner):
        return self if instance is None else instance.objectName

    def __set__(self, instance, value) -> None:
        instance.setObjectName(value)


def apply() -> None:
    """Change the PySide classes once; there is no way back, and nobody else in the tests uses them."""
    global _applied
    if _applied:
        return
    _applied = True
    classes = qtClasses()
    for cls in classes:
        if issubclass(cls, QtCore.QObject):
            _addProperties(cls)
    roots = [cls for cls in classes if not any(base in classes for base in cls.__mro__[1:])]
    for cls in classes:
        if cls in roots or "__getattribute__" in cls.__dict__:
            _wrapAttributes(cls)
        if cls in roots or "__setattr__" in cls.__dict__:
            cls.__setattr__ = _setAttribute
        if "__init__" in cls.__dict__:
            cls.__init__ = _withoutKeywords(cls.__init__)
    QtCore.QObject.name = _Name()
    QtCore.QObject.className = lambda self: self.metaObject().className()
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu, QtCore.QCoreApplication, QtCore.QEventLoop):
        cls.exec_ = _refuseToBlock
        cls.exec = _refuseToBlock
    QtCore.QObject.findChildren = _childrenFinder(QtCore.QObject.findChildren)
    QtWidgets.QWidget.toolTip = _ToolTip("toolTip", QtWidgets.QWidget.__dict__["toolTip"].method)


def qtClasses() -> set[type]:
    """Return the wrapped C++ classes of the merged modules."""
    shiboken = type(QtCore.QObject)
    return {
        value for module in MODULES for value in [getattr(module, name) for name in dir(module)]
        if isinstance(value, type) and isinstance(value, shiboken) and value.__module__.startswith("PySide6")
    }


def isCppClass(cls: type) -> bool:
    """Whether objects of this class would be plain C++ objects in PythonQt: no attributes of their own."""
    return cls.__module__.startswith("PySide6") or "standsForCpp" in cls.__dict__


def standIn(cls: type) -> type:
    """Mark a Python class that stands for a C++ one: from outside it takes no new attributes."""
    cls.standsForCpp = True
    return cls


def _addProperties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        name = meta.property(index).name()
        # A class that only overrides the method of an inherited property has the property too.
        isOwn = index >= meta.propertyOffset() or name in cls.__dict__
        if not isOwn or (cls.__name__, name) in _WITHOUT_PROPERTY:
            continue
        method = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
        if isinstance(method, _PropertyAttribute):
            method = method.method
        if method is not None and isinstance(method, QtCore.Signal):
            continue
        setattr(cls, name, _PropertyAttribute(name, method))


def _wrapAttributes(cls: type) -> None:
    original = cls.__getattribute__
    isObject = issubclass(cls, QtCore.QObject)

    def getAttribute(self, name):
        if isObject and name == "connect":
            return lambda *arguments: connectByName(self, original(self, "connect"), *arguments)
        if isObject and name == "disconnect":
            return lambda *arguments: disconnectByName(self, original(self, "disconnect"), *arguments)
        value = original(self, name)
        return Method(value) if type(value) is types.BuiltinMethodType else value

    cls.__getattribute__ = getAttribute


def _setAttribute(self, name, value):
    cls = type(self)
    known = _lookup(cls, name)
    if isinstance(known, QtCore.Property):
        self.setProperty(name, list(value) if isinstance(value, tuple) else value)
        return
    own = name.startswith("_") and not cls.__module__.startswith("PySide6")  # a stand-in keeps its state
    own = own or isinstance(value, QtCore.SignalInstance)  # so PySide itself keeps a signal once it was asked for
    if isCppClass(cls) and not own and not hasattr(type(known), "__set__"):
        raise AttributeError(f"'{cls.__name__}' object takes no attribute '{name}' in PythonQt")
    _rawSetAttribute(self, name, value)


def _lookup(cls: type, name: str):
    return next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)


def _withoutKeywords(original):
    def initialise(self, *arguments, **keywords):
        if keywords:
            raise TypeError(f"{type(self).__name__}() takes no keyword arguments in PythonQt")
        _refuseFunctions(type(self).__name__, arguments)
        original(self, *arguments)

    return initialise


def _refuseFunctions(name: str, arguments: tuple) -> None:
    if any(isinstance(argument, _FUNCTIONS) for argument in arguments):
        raise TypeError(f"{name}() takes no Python function in PythonQt; connect its signal")


def _childrenFinder(original):
    def findChildren(self, kind=QtCore.QObject, *arguments):
        """Find children of a class, given as such or by its name."""
        found = original(self, QtCore.QObject if isinstance(kind, str) else kind, *arguments)
        return tuple(child for child in found if not isinstance(kind, str) or child.inherits(kind))

    return findChildren


def _refuseToBlock(self, *_):
    raise AssertionError(f"{type(self).__name__}.exec would wait for a person; answer it in the test")
