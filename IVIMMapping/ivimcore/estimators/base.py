"""What every estimator is: options in the constructor, problems before work, a fit over a volume."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.parameters import PARAMETERS, Bounds
from ..physics.presets import PRESETS, broad_bounds, preset
from .result import FitResult

Array = np.ndarray
Progress = Callable[[int, int], bool]
"""Called with (voxels done, voxels in all); returning False asks to stop."""


def ignore(done: int, total: int) -> bool:
    """Take no notice of progress, and go on."""
    return True


class Problem(str):
    """A sentence about an acquisition: why an estimator cannot run (`blocks`), or what a person should know."""

    blocks: bool

    def __new__(cls, sentence: str, blocks: bool = False) -> Problem:
        problem = super().__new__(cls, sentence)
        problem.blocks = blocks
        return problem


@dataclass(frozen=True)
class Option:
    """One option of an estimator: name, kind, unit, default, one sentence.

    `kind` is 'number', 'choice', 'flag', 'bounds' or 'file'; `choices` lists the values of a choice, or the words that
    a number may be instead; `lower` and `upper` limit a number.
    """

    name: str
    kind: str
    unit: str
    default: Any
    sentence: str
    choices: tuple[str, ...] = ()
    lower: float | None = None
    upper: float | None = None

    def check(self, value: Any) -> Any:
        """Return the value in its proper type; raises InputError with one sentence if it does not fit."""
        if self.kind == "flag":
            if isinstance(value, bool | np.bool_):
                return bool(value)
            if str(value).lower() in ("true", "yes", "on", "1"):
                return True
            if str(value).lower() in ("false", "no", "off", "0"):
                return False
            raise InputError(f"Option '{self.name}' is yes or no, not '{value}'.")
        if self.kind == "choice":
            if value not in self.choices:
                raise InputError(f"Option '{self.name}' cannot be '{value}'; choose one of {', '.join(self.choices)}.")
            return value
        if self.kind == "bounds":
            return _check_bounds(self.name, value)
        if self.kind == "file":
            if not isinstance(value, str | os.PathLike):
                raise InputError(f"Option '{self.name}' is the path of a file, not '{value}'.")
            return os.fspath(value)
        if self.choices and value in self.choices:
            return value
        try:
            number = float(value)
        except (TypeError, ValueError):
            words = "".join(f" or '{word}'" for word in self.choices)
            raise InputError(f"Option '{self.name}' needs a number{words}, not '{value}'.") from None
        low = -np.inf if self.lower is None else self.lower
        high = np.inf if self.upper is None else self.upper
        if not low <= number <= high:
            unit = "" if self.unit in ("", "1") else f" {self.unit}"
            raise InputError(f"Option '{self.name}' is {number:g}{unit}; it must lie in {low:g} .. {high:g}{unit}.")
        return number


def _check_bounds(name: str, value: Any) -> dict[str, Bounds]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"Option '{name}' is a table such as D=(0, 5e-3), not '{value}'.")
    checked = {}
    for key, pair in value.items():
        if key not in ("D", "f", "Dstar"):
            raise InputError(f"Option '{name}' knows D, f and Dstar, not '{key}'.")
        try:
            low, high = (float(x) for x in pair)
        except (TypeError, ValueError):
            raise InputError(f"The bounds of {key} are two numbers, lower and upper, not '{pair}'.") from None
        limit = 1.0 if key == "f" else np.inf
        if not (np.isfinite([low, high]).all() and 0 <= low <= high <= limit):
            raise InputError(
                f"The bounds of {key} are {low:g} .. {high:g}; they must be positive, lower first"
                + (", and at most 1." if key == "f" else ", in mm²/s.")
            )
        if key != "f" and high > 1:
            raise InputError(f"The upper bound of {key} is {high:g} mm²/s; that is not a tissue value, check the unit.")
        checked[key] = (low, high)
    return checked


def option(kind: str, default: Any, sentence: str, unit: str = "", **limits: Any) -> Any:
    """Declare an option as a field of an estimator; see `Option`."""
    declared = {"kind": kind, "unit": unit, "sentence": sentence, **limits}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"option": declared, "default": default})
    return field(default=default, metadata={"option": declared})


def bounds_option() -> Any:
    """Declare the option `bounds` that every bi-exponential fit has."""
    return option(
        "bounds", {}, "Lower and upper limit of D, f or Dstar in stored units; equal limits fix a parameter.",
        "mm²/s, 1, mm²/s",
    )


def organ_option() -> Any:
    """Declare the option `organ` that fills the bounds from a preset."""
    return option(
        "choice", "none", "Take bounds and typical values from the preset of an organ.", choices=("none", *PRESETS)
    )


@dataclass(frozen=True)
class Estimator(ABC):
    """One way to turn signals into parameters.

    Options are fields, declared by `option`; data go to `fit`. An estimator is a small frozen object that can be shown,
    compared and written to JSON.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    references: ClassVar[tuple[str, ...]]
    parameters: ClassVar[tuple[str, ...]] = ("D", "f", "Dstar", "S0")
    smallest_number_of_bvalues: ClassVar[int] = 4

    def __post_init__(self) -> None:
        for declared in self.options():
            object.__setattr__(self, declared.name, declared.check(getattr(self, declared.name)))

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """Return the description of every option, in order."""
        return tuple(
            Option(
                name=item.name,
                default=item.default if item.default is not MISSING else item.metadata["default"],
                **item.metadata["option"],
            )
            for item in fields(cls)
            if "option" in item.metadata
        )

    def values(self) -> dict[str, Any]:
        """Return the value of every option, ready for JSON."""
        return {declared.name: getattr(self, declared.name) for declared in self.options()}

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know about it, before any work."""
        distinct = acquisition.distinct
        needed = self.smallest_number_of_bvalues
        if distinct.size < needed:
            listed = ", ".join(f"{b:g}" for b in distinct)
            return [
                Problem(
                    f"'{self.name}' needs at least {needed} different b-values, but the series has {distinct.size} "
                    f"({listed} s/mm²); "
                    + ("use 'adc', which needs 2, or " if distinct.size >= 2 and needed > 2 else "")
                    + "load a series with more b-values.",
                    blocks=True,
                )
            ]
        return []

    @abstractmethod
    def fit(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore
    ) -> FitResult:
        """Estimate the parameters of every voxel of a volume.

        Arguments: `signal` (x, y, z, n) [signal units]; `acquisition` with n b-values; `mask` (x, y, z) of bool, or
        None for all voxels; `progress` is called with (voxels done, voxels in all) and stops the fit by returning
        False.
        Returns: FitResult over (x, y, z).
        Raises InputError if shapes disagree, the mask is empty or a problem blocks; Cancelled if progress said so.
        """


def effective_bounds(organ: str, bounds: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """Return the bounds of D, f and Dstar: broad, then those of the organ, then the given ones."""
    return (broad_bounds() if organ == "none" else dict(preset(organ).bounds)) | dict(bounds)


def describe_bvalues(acquisition: Acquisition, keys: tuple[str, ...]) -> list[Problem]:
    """Say what the list of b-values means for the parameters of a bi-exponential fit."""
    distinct = acquisition.distinct
    said = []
    if distinct[0] > 1:
        said.append(
            Problem(f"There is no image at b = 0 (lowest b is {distinct[0]:g} s/mm²): S0 is extrapolated by the model.")
        )
    low = np.count_nonzero(distinct < 100)
    if "Dstar" in keys and low < 3:
        said.append(
            Problem(
                f"b-values below 100 s/mm²: {low} different, where 3 or more are needed; "
                f"{PARAMETERS['Dstar'].symbol} and f can hardly be determined."
            )
        )
    if distinct[-1] > 1000:
        said.append(
            Problem(
                f"The b-values reach {distinct[-1]:g} s/mm²: above 1000 the decay is no longer bi-exponential "
                "(kurtosis, noise floor); consider using b <= 1000 only."
            )
        )
    if distinct[-1] < 200:
        said.append(Problem(f"The largest b-value is {distinct[-1]:g} s/mm²: D can hardly be separated from D*."))
    return said
