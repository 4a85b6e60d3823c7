"""The list of estimators: registered by a decorator, made by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .base import Estimator, Option

_CLASSES: dict[str, type[Estimator]] = {}


@dataclass(frozen=True)
class Description:
    """What a person needs to choose an estimator; interface and documentation are made from it."""

    name: str
    title: str
    description: str
    references: tuple[str, ...]
    parameters: tuple[str, ...]
    options: tuple[Option, ...]


def register(estimator: type[Estimator]) -> type[Estimator]:
    """Add an estimator class to the list; use as a decorator."""
    if estimator.name in _CLASSES:
        raise ValueError(f"two estimators are called '{estimator.name}'")
    _CLASSES[estimator.name] = estimator
    return estimator


def _class(name: str) -> type[Estimator]:
    if name not in _CLASSES:
        raise InputError(f"Unknown estimator '{name}'; known are {', '.join(_CLASSES)}.")
    return _CLASSES[name]


def create(name: str, **options: Any) -> Estimator:
    """Make an estimator by name with its options.

    Raises InputError for an unknown name or option (with the list of known ones) and for a value out of range.
    """
    estimator = _class(name)
    known = [option.name for option in estimator.options()]
    for option in options:
        if option not in known:
            raise InputError(f"Estimator '{name}' has no option '{option}'; known are {', '.join(known)}.")
    return estimator(**options)


def describe(name: str) -> Description:
    """Return the description of one estimator; raises InputError for an unknown name."""
    estimator = _class(name)
    return Description(
        estimator.name, estimator.title, estimator.description, estimator.references, estimator.parameters,
        estimator.options(),
    )


def available() -> dict[str, Description]:
    """Return every estimator's description by its name, in the order of registration."""
    return {name: describe(name) for name in _CLASSES}
