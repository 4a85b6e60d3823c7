"""How a typed value stands in the text parameters and node references of a parameter node."""

import collections.abc
import enum
import pathlib
import typing

import slicer

from .annotations import IsInstance, NotNone, Validator, split


def storageFor(kind):
    """Return what stores values of this (annotated) type; raises TypeError for one that Slicer cannot store."""
    bare, extras = split(kind)
    validators = [extra for extra in extras if isinstance(extra, Validator)]
    storage = _bareStorage(bare)
    storage.validators = [*storage.validators, *validators]
    return storage


def _bareStorage(kind):
    if kind in (int, float, str, bool):
        return _Text(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _Enum(kind)
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        return _Text(kind)
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return _Node(kind)
    if typing.get_origin(kind) is list:
        return _List(typing.get_args(kind)[0])
    if typing.get_origin(kind) is typing.Union:
        return _Union(typing.get_args(kind))
    raise TypeError(f"a parameter node has no way to store {kind}")


class _Storage:
    validators: list[Validator] = []

    def check(self, value):
        for validator in self.validators:
            validator.validate(value)


class _Text(_Storage):
    def __init__(self, kind):
        self.kind = kind
        self.validators = [NotNone(), IsInstance((int, float) if kind is float else kind)]

    def default(self):
        return self.kind()

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        self.check(value)
        node.SetParameter(name, str(value))

    def read(self, node, name):
        text = node.GetParameter(name)
        return text == "True" if self.kind is bool else self.kind(text)

    def remove(self, node, name):
        node.UnsetParameter(name)


class _Enum(_Text):
    def default(self):
        return next(iter(self.kind))

    def write(self, node, name, value):
        self.check(value)
        node.SetParameter(name, value.name)

    def read(self, node, name):
        return self.kind[node.GetParameter(name)]


class _Node(_Storage):
    def __init__(self, kind):
        self.kind = kind
        self.validators = [IsInstance(kind)]

    def default(self):
        return None

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        self.check(value)
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class _Union(_Storage):
    """One of several types; None must be named to be allowed."""

    def __init__(self, kinds):
        self.choices = [(index, None if kind is type(None) else storageFor(kind)) for index, kind in enumerate(kinds)]
        self.allowsNone = type(None) in kinds

    def default(self):
        return self.choices[0][1].default()

    def isIn(self, node, name):
        return any(node.HasParameter(f"{name}_{index}") for index, _ in self.choices)

    def write(self, node, name, value):
        self.check(value)
        chosen = None
        for index, storage in self.choices:
            if storage is None:
                if value is None:
                    chosen = (index, None)
                continue
            try:
                storage.check(value)
            except (TypeError, ValueError):
                continue
            if value is not None:
                chosen = (index, storage)
                break
        if chosen is None:
            raise TypeError(f"{value!r} is of none of the types of this parameter")
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            if chosen[1] is None:
                node.SetParameter(f"{name}_{chosen[0]}", "True")
            else:
                chosen[1].write(node, f"{name}_{chosen[0]}", value)

    def read(self, node, name):
        for index, storage in self.choices:
            if node.HasParameter(f"{name}_{index}"):
                return None if storage is None else storage.read(node, f"{name}_{index}")
        return self.default()

    def remove(self, node, name):
        for index, storage in self.choices:
            if storage is None:
                node.UnsetParameter(f"{name}_{index}")
            else:
                storage.remove(node, f"{name}_{index}")


class _List(_Storage):
    def __init__(self, kind):
        self.element = storageFor(kind)

    def default(self):
        return []

    def isIn(self, node, name):
        return node.HasParameter(f"{name}_len")

    def write(self, node, name, value):
        self.check(value)
        items = list(value)
        for item in items:
            self.element.check(item)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            for index, item in enumerate(items):
                self.element.write(node, f"{name}_{index}", item)
            node.SetParameter(f"{name}_len", str(len(items)))

    def read(self, node, name):
        count = int(node.GetParameter(f"{name}_len") or 0)
        items = [self.element.read(node, f"{name}_{index}") for index in range(count)]
        return ObservedList(items, lambda changed: self.write(node, name, changed))

    def remove(self, node, name):
        for index in range(int(node.GetParameter(f"{name}_len") or 0)):
            self.element.remove(node, f"{name}_{index}")
        node.UnsetParameter(f"{name}_len")


class ObservedList(collections.abc.MutableSequence):
    """Elements that are written to the node at each change; no `list`, and cannot be added to one."""

    def __init__(self, items, save):
        self._items = items
        self._save = save

    def __getitem__(self, index):
        return self._items[index]

    def __len__(self):
        return len(self._items)

    def __setitem__(self, index, value):
        self._items[index] = value
        self._save(self._items)

    def __delitem__(self, index):
        del self._items[index]
        self._save(self._items)

    def insert(self, index, value):
        self._items.insert(index, value)
        self._save(self._items)

    def sort(self, **how):
        self._items.sort(**how)
        self._save(self._items)

    def __eq__(self, other):
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __repr__(self):
        return f"ObservedList({self._items})"

    def __add__(self, other):
        raise NotImplementedError("An ObservedList cannot be added; use +=")

    __radd__ = __add__
