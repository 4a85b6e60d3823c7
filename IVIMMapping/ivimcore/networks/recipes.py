"""Recipes: files that say how a model is trained, so that anyone can repeat it by `ivim train RECIPE`.

A recipe is JSON with the entries of a card that are known beforehand (id, title, architecture, parameters, ...) plus
`distribution` and `training`. Recipes that come with the program are named without folder and ending.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.protocols import protocol
from .cards import ANY_PROTOCOL, ID, KEYS, KINDS, LARGEST_CARD, NORMALISATIONS
from .zoo import bundled_folder

LABELS = ("signals", "truth", "mle_rician", "mle_gaussian", "hybrid", "rician", "gaussian", "posterior")
"""What a network is compared with: measured signals, true parameters, maximum-likelihood labels (Rician, Gaussian),
both (hybrid), the likelihood of the measured signals, or, for `anyprotocol`, the posterior."""
DEFAULTS: dict[str, Any] = {
    "steps": 20000, "batch": 128, "rate": 1e-4, "schedule": "constant", "warmup": 0, "decay": 0.0, "clip": 0.0,
    "l2": 0.0, "pool": 0, "validation": 0.1, "every": 500, "patience": 0, "keep": "last", "seed": 1, "members": 1,
    "groups": 16, "amp": False,
}
"""Entries of `training`. `batch` voxels a step (for `anyprotocol` in each of `groups` protocols); `schedule` constant
or cosine; `pool` simulated voxels used again and again, 0 draws fresh ones; `every` steps a validation; `patience`
validations without progress that end the training, 0 trains to the end; `keep` best or last; `members` trainings."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """A recipe that was read and found in order."""

    content: dict[str, Any]
    folder: Path

    @property
    def id(self) -> str:
        """Name of the model."""
        return self.content["id"]

    @property
    def training(self) -> dict[str, Any]:
        """Entries of `training`, with defaults."""
        return {**DEFAULTS, **self.content.get("training", {})}

    def lengthened(self) -> Recipe:
        """Return the recipe with the longer training that it names for a GPU; raises InputError where it names none."""
        if not isinstance(self.content.get("long"), dict):
            raise InputError(f"The recipe '{self.id}' names no longer training ('long'); leave out --long.")
        training = {**self.content.get("training", {}), **self.content["long"]}
        return Recipe(checked({**self.content, "training": training}), self.folder)

    @property
    def kind(self) -> str:
        """Architecture."""
        return self.content["architecture"]["kind"]

    @classmethod
    def read(cls, name: str | Path) -> Recipe:
        """Read a recipe by its path, or by its name among those that come with the program."""
        path = Path(name)
        if not path.is_file() and path.name == str(name) and not path.suffix:
            bundled = bundled_folder()
            path = (bundled or Path(".")) / "recipes" / f"{name}.json"
        if not path.is_file():
            raise InputError(f"There is no recipe '{name}'; give a file, or one of {', '.join(names()) or 'none'}.")
        try:
            if path.stat().st_size > LARGEST_CARD:
                raise InputError(f"The recipe '{path.name}' is too large to be one.")
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The recipe '{path.name}' is not valid JSON ({error}); correct it.") from None
        if isinstance(content, dict) and content.get("noise", {}).get("snr") == "measured":
            return cls(content, path.parent)  # checked when the series is known
        return cls(checked(content), path.parent)


def names() -> list[str]:
    """Name the recipes that come with the program."""
    bundled = bundled_folder()
    return sorted(path.stem for path in (bundled / "recipes").glob("*.json")) if bundled else []


def checked(content: Any) -> dict[str, Any]:
    """Check a recipe and write out its list of b-values; raises InputError with one sentence for what cannot be."""

    def wrong(what: str) -> InputError:
        return InputError(f"The recipe cannot be used: {what}.")

    if not isinstance(content, dict):
        raise wrong("it is not a table")
    content = dict(content)
    for key in ("id", "title", "description", "architecture", "strategy", "acquisition", "parameters", "noise"):
        if key not in content:
            raise wrong(f"the entry '{key}' is missing")
    if not ID.fullmatch(str(content["id"])):
        raise wrong("the id is not made of small letters, digits and _")
    kind = content["architecture"].get("kind")
    if kind not in KINDS:
        raise wrong(f"the architecture '{kind}' is unknown; known are {', '.join(KINDS)}")
    labels = content["strategy"].get("labels")
    if labels not in LABELS or (labels == "posterior") != (kind in ANY_PROTOCOL):
        raise wrong(f"the architecture '{kind}' cannot be trained with the labels '{labels}'")
    alpha = content["strategy"].get("alpha", 0.5)
    if not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
        raise wrong("alpha of the hybrid lies between 0 and 1")
    content["parameters"] = {key: _range(content["parameters"].get(key), key, wrong) for key in KEYS}
    if content["parameters"]["Dstar"][1] <= content["parameters"]["D"][0]:
        raise wrong("the whole range of D* lies below that of D; blood decays faster than tissue")
    content.setdefault("S0", [1.0, 1.0])
    content["S0"] = _range(content["S0"], "S0", wrong, largest=1e6, equal=True)
    content["noise"] = {**content["noise"], "snr": _snr(content["noise"].get("snr"), wrong)}
    content.setdefault("normalisation", "direction" if kind in ANY_PROTOCOL else "b0")
    if content["normalisation"] not in NORMALISATIONS:
        raise wrong(f"the normalisation is one of {', '.join(NORMALISATIONS)}")
    content.setdefault("distribution", {"kind": "uniform"})
    if kind not in ANY_PROTOCOL:
        content["acquisition"] = {"bvalues": _bvalues(content["acquisition"], wrong)}
        bounds = content.get("bounds", {})
        content["bounds"] = {key: _range(bounds.get(key, content["parameters"].get(key, content["S0"])), key, wrong,
                                         largest=1e6, equal=True) for key in (*KEYS, "S0")}  # fmt: skip
    _check_training({**DEFAULTS, **content.get("training", {})}, wrong)
    return content


def _range(pair: Any, key: str, wrong: Any, largest: float = 1.0, equal: bool = False) -> list[float]:
    try:
        low, high = (float(x) for x in pair)
    except (TypeError, ValueError):
        raise wrong(f"the range of {key} is two numbers, lower and upper") from None
    if not (math.isfinite(low) and math.isfinite(high) and 0 <= low <= high <= largest and (equal or low < high)):
        raise wrong(f"the range of {key} is {low:g} to {high:g}; lower first, in stored units")
    return [low, high]


def _snr(value: Any, wrong: Any) -> list[float]:
    if value == "measured":
        raise wrong("the SNR is to be measured, which needs a series to train on")
    pair = [value, value] if isinstance(value, int | float) else value
    try:
        low, high = (float(x) for x in pair)
    except (TypeError, ValueError):
        raise wrong("the SNR is one positive number, or a range") from None
    if not (0 < low <= high < math.inf):
        raise wrong(f"the SNR is {low:g}" + ("" if low == high else f" to {high:g}") + "; it must be positive")
    return [low, high]


def _bvalues(acquisition: dict[str, Any], wrong: Any) -> list[float]:
    if "protocol" in acquisition:
        measured = protocol(acquisition["protocol"]).acquisition()
    else:
        measured = Acquisition(np.array(acquisition.get("bvalues", []), dtype=float))
    distinct = [round(float(b), 6) for b in measured.distinct]
    if len(distinct) < 4:
        count = "one b-value" if len(distinct) == 1 else f"{len(distinct)} different b-values"
        raise wrong(f"it names {count}, and four unknowns need at least 4")
    return distinct


def _check_training(training: dict[str, Any], wrong: Any) -> None:
    for key in ("steps", "batch", "every", "members", "groups"):
        if not isinstance(training[key], int) or training[key] < 1:
            raise wrong(f"'{key}' of the training is {training[key]!r}; it must be a positive whole number")
    if not training["rate"] > 0:
        raise wrong(f"the learning rate is {training['rate']}; it must be positive")
    if training["schedule"] not in ("constant", "cosine") or training["keep"] not in ("best", "last"):
        raise wrong("the schedule is constant or cosine, and best or last is kept")
    unknown = set(training) - set(DEFAULTS)
    if unknown:
        raise wrong(f"'training' has no entry '{min(unknown)}'; known are {', '.join(DEFAULTS)}")
