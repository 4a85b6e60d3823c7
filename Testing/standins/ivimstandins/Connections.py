"""Signals connected by their signature as text, with the number of values that PythonQt hands over."""

from __future__ import annotations

import inspect
import sys

from PySide6 import QtCore
from shiboken6 import Shiboken

faults: list[tuple[type, BaseException, object]] = []
"""Exceptions raised in slots since the list was emptied, as (type, exception, traceback)."""

_connections: dict[tuple[int, str], list[tuple[object, object]]] = {}


class ConnectError(AssertionError):
    """A connection that desktop Slicer would refuse with False and a line in the log that nobody reads."""


def connectByName(sender, native, *arguments):
    """Do `sender.connect("signal(types)", slot)`; returns True or raises ConnectError.

    `slot` is a callable, or a receiver followed by "slot(types)". Calls of other forms go to `native`.
    """
    if not arguments or type(arguments[0]) is not str or arguments[0][:1] in "12":
        return native(*arguments)
    signature = _normalized(sender, arguments[0])
    if len(arguments) == 3:
        name = arguments[2].partition("(")[0]
        slot = getattr(arguments[1], name, None)
        if slot is None or "(" not in arguments[2]:
            raise ConnectError(f"{type(arguments[1]).__name__} has no slot '{arguments[2]}'")
    else:
        slot = arguments[1]
    if not callable(slot):
        raise ConnectError(f"'{slot}' cannot be called")
    signal, count = _signal(sender, signature)
    relay = _relay(slot, count)
    signal.connect(relay)
    _connections.setdefault((Shiboken.getCppPointer(sender)[0], signature), []).append((slot, relay))
    return True


def disconnectByName(sender, native, *arguments):
    """Undo `connectByName`; returns whether there was such a connection."""
    if len(arguments) < 2 or type(arguments[0]) is not str or arguments[0][:1] in "12":
        return native(*arguments)
    signature = _normalized(sender, arguments[0])
    made = _connections.get((Shiboken.getCppPointer(sender)[0], signature), [])
    for index, (slot, relay) in enumerate(made):
        if slot == arguments[1]:
            _signal(sender, signature)[0].disconnect(relay)
            del made[index]
            return True
    return False


def forget() -> None:
    """Drop what is remembered of connections; the objects of a desktop are gone."""
    _connections.clear()
    faults.clear()


def keepFault(kind, fault, trace) -> None:
    """Remember an exception that Qt or VTK would only print."""
    faults.append((kind, fault, trace))
    sys.__excepthook__(kind, fault, trace)


def _normalized(sender, text: str) -> str:
    if not text.endswith(")") or "(" not in text:
        raise ConnectError(f"signal '{text}' of {type(sender).__name__} is written without its parentheses")
    return QtCore.QMetaObject.normalizedSignature(text).data().decode()


def _signal(sender, signature: str):
    """Return the native signal and the number of values that it hands over."""
    name, _, types = signature[:-1].partition("(")
    count = len(types.split(",")) if types else 0
    declared = getattr(type(sender), "signatures", {})
    if signature in declared:
        return getattr(sender, declared[signature]), count
    if sender.metaObject().indexOfSignal(signature) < 0:
        raise ConnectError(f"{type(sender).__name__} has no signal '{signature}'")
    signal = getattr(sender, name)
    try:
        return signal[types] if types else signal[()] if _hasEmptyOverload(signal) else signal, count
    except (KeyError, IndexError, TypeError):
        return signal, count


def _hasEmptyOverload(signal) -> bool:
    try:
        signal[()]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _relay(slot, count: int):
    """Return a function of exactly `count` values; PySide counts parameters to decide what it hands over."""
    most = _acceptedCount(slot)

    def call(*values):
        try:
            slot(*(values if most is None else values[:most]))
        except BaseException as fault:
            if isinstance(fault, KeyboardInterrupt):
                raise
            keepFault(type(fault), fault, fault.__traceback__)

    return (
        lambda: call(), lambda a: call(a), lambda a, b: call(a, b), lambda a, b, c: call(a, b, c),
        lambda a, b, c, d: call(a, b, c, d), lambda a, b, c, d, e: call(a, b, c, d, e),
    )[count]


def _acceptedCount(slot) -> int | None:
    """Return how many values a slot takes at most; None: any number."""
    native = getattr(slot, "native", None)
    if native is not None:
        return _nativeCount(native)
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
               for parameter in parameters)


def _nativeCount(native) -> int | None:
    owner = native.__self__
    if not isinstance(owner, QtCore.QObject):
        return None
    meta = owner.metaObject()
    counts = [meta.method(index).parameterCount() for index in range(meta.methodCount())
              if bytes(meta.method(index).name().data()).decode() == native.__name__]
    return max(counts, default=None)
