"""The list of estimators: registered by a decorator, made by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .base import Estimator, Option

_CLASSES: dict[str, type[Estimator]] = {}
_SOURCES: list[tuple[Callable[[], dict[str, type[Estimator]]], Callable[[str], type[Estimator] | None]]] = []


@dataclass(frozen=True)
class Description:
    """What a person needs to choose an estimator; interface and documentation are made from it."""

    name: str
    title: str
    description: str
    references: tuple[str, ...]
    parameters: tuple[str, ...]
    options: tuple[Option, ...]
    card: dict[str, Any] | None = None
    """What the card of a trained model says; None for an estimator that is written, not trained."""


def register(estimator: type[Estimator]) -> type[Estimator]:
    """Add an estimator class to the list; use as a decorator."""
    if estimator.name in _CLASSES:
        raise ValueError(f"two estimators are called '{estimator.name}'")
    _CLASSES[estimator.name] = estimator
    return estimator


def add_source(
    every: Callable[[], dict[str, type[Estimator]]], named: Callable[[str], type[Estimator] | None]
) -> None:
    """Add two functions that return all further classes by name, and that of one name, asked anew each time."""
    _SOURCES.append((every, named))


def _all() -> dict[str, type[Estimator]]:
    """Return every class by name; a name of the program cannot be taken by a source."""
    found = dict(_CLASSES)
    for every, _ in _SOURCES:
        found = {**found, **{name: made for name, made in every().items() if name not in found}}
    return found


def _class(name: str) -> type[Estimator]:
    if name in _CLASSES:
        return _CLASSES[name]
    found = next((made for _, named in _SOURCES if (made := named(name)) is not None), None)
    if found is None:
        raise InputError(f"Unknown estimator '{name}'; known are {', '.join(_all())}.")
    return found


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
    return _described(_class(name))


def _described(estimator: type[Estimator]) -> Description:
    return Description(
        estimator.name, estimator.title, estimator.description, estimator.references, estimator.parameters,
        estimator.options(), getattr(getattr(estimator, "card", None), "content", None),
    )


def available() -> dict[str, Description]:
    """Return every estimator's description by its name: in the order of registration, then the trained models."""
    return {name: _described(estimator) for name, estimator in _all().items()}
