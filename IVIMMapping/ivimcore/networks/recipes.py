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
from .cards import ANY_PROTOCOL, ID, KEYS, LARGEST_CARD, NORMALISATIONS, SPATIAL, check_architecture
from .zoo import bundled_folder

LABELS = ("signals", "truth", "mle_rician", "mle_gaussian", "hybrid", "rician", "gaussian", "posterior")
"""What a network is compared with: measured signals, true parameters, maximum-likelihood labels (Rician, Gaussian),
both (hybrid), the likelihood of the measured signals, or, for `anyprotocol`, the posterior."""
DEFAULTS: dict[str, Any] = {
    "steps": 20000, "batch": 128, "rate": 1e-4, "schedule": "constant", "warmup": 0, "decay": 0.0, "clip": 0.0,
    "l2": 0.0, "pool": 0, "validation": 0.1, "every": 500, "patience": 0, "keep": "last", "seed": 1, "members": 1,
    "groups": 16, "amp": False, "deterministic": True,
}
"""Entries of `training`. `steps` a number, or a list of one for each member; `batch` voxels a step (for `anyprotocol`
in each of `groups` protocols); `schedule` constant or cosine; `pool` simulated voxels used again and again, 0 draws
fresh ones; `every` steps a validation; `patience` validations without progress that end the training, 0 trains to the
end; `keep` best or last; `members` trainings; `amp` mixed precision; `deterministic` the same weights from the same
seed on a GPU, too, which costs it some speed."""
POSITIVE = ("steps", "batch", "every", "members", "groups")
TABLES = ("architecture", "strategy", "acquisition", "parameters", "noise", "distribution", "bounds", "training")
DISTRIBUTIONS = ("uniform", "patients", "mixture")
SCENES = ("patch_uni", "mask_uni", "patch_dist", "mask_dist", "test")
"""Sets of maps that spatial networks for one list of b-values are trained on; see `scenes`."""
FINDINGS = "findings"
"""The set of maps of `anyprotocol_spatial`."""
FINDING_SETTINGS = ("size", "most_findings", "scattered")
"""What a recipe may say of that set, fields of `scenes.Findings`."""


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

    def settings(self, member: int) -> dict[str, Any]:
        """Entries of `training` for one of its members."""
        steps = self.training["steps"]
        return {**self.training, "steps": steps[member] if isinstance(steps, list) else steps}

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
        noise = content.get("noise") if isinstance(content, dict) else None
        if isinstance(noise, dict) and noise.get("snr") == "measured":
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
    for key in TABLES:
        if not isinstance(content.get(key, {}), dict):
            raise wrong(f"the entry '{key}' is not a table")
    if not ID.fullmatch(str(content["id"])):
        raise wrong("the id is not made of small letters, digits and _")
    check_architecture(content["architecture"], wrong)
    kind = content["architecture"]["kind"]
    labels = content["strategy"].get("labels")
    if labels not in LABELS or (labels == "posterior") != (kind in ANY_PROTOCOL):
        raise wrong(f"the architecture '{kind}' cannot be trained with the labels '{labels}'")
    alpha = content["strategy"].get("alpha", 0.5)
    if not _number(alpha) or not 0 <= alpha <= 1:
        raise wrong("alpha of the hybrid lies between 0 and 1")
    _check_weights(content["strategy"].get("weights", "range"), wrong)
    content["parameters"] = {key: _range(content["parameters"].get(key), key, wrong) for key in KEYS}
    if content["parameters"]["Dstar"][1] <= content["parameters"]["D"][0]:
        raise wrong("the whole range of D* lies below that of D; blood decays faster than tissue")
    content.setdefault("S0", [1.0, 1.0])
    content["S0"] = _range(content["S0"], "S0", wrong, largest=1e6, equal=True)
    content["noise"] = {**content["noise"], "snr": _snr(content["noise"].get("snr"), wrong)}
    content.setdefault("normalisation", "direction" if kind in ANY_PROTOCOL else "b0")
    if content["normalisation"] not in NORMALISATIONS:
        raise wrong(f"the normalisation is one of {', '.join(NORMALISATIONS)}")
    if content["normalisation"] == "direction" and kind in ("mlp", "cnn_bilstm"):
        raise wrong("the normalisation 'direction' is that of networks for any protocol")
    content.setdefault("distribution", {"kind": "uniform"})
    if kind in SPATIAL:
        _check_scenes(content["distribution"], kind, wrong)
    else:
        _check_distribution(content["distribution"], wrong)
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
        measured = protocol(str(acquisition["protocol"])).acquisition()
    else:
        try:
            listed = np.array(acquisition.get("bvalues", []), dtype=float)
        except (TypeError, ValueError):
            raise wrong("its b-values are not a list of numbers") from None
        measured = Acquisition(listed)
    distinct = [round(float(b), 6) for b in measured.distinct]
    if len(distinct) < 4:
        count = "one b-value" if len(distinct) == 1 else f"{len(distinct)} different b-values"
        raise wrong(f"it names {count}, and four unknowns need at least 4")
    return distinct


def _check_weights(weights: Any, wrong: Any) -> None:
    if isinstance(weights, str):
        if weights not in ("range", "mean"):
            raise wrong(f"the weights of the loss are '{weights}'; known are range, mean, or four numbers")
    elif not (isinstance(weights, list) and len(weights) == 4 and all(map(_number, weights)) and min(weights) >= 0):
        raise wrong("the weights of the loss are four numbers, those of D, f, D* and S0")


def _check_distribution(about: Any, wrong: Any) -> None:
    if not isinstance(about, dict) or about.get("kind") not in DISTRIBUTIONS:
        raise wrong(f"the kind of its distribution is unknown; known are {', '.join(DISTRIBUTIONS)}")
    if not isinstance(about.get("ranges", {}), dict):
        raise wrong("the ranges of its distribution are not a table")
    for key, pair in about.get("ranges", {}).items():
        _range(pair, key, wrong, largest=1e6, equal=True)
    if about["kind"] == "mixture":
        parts = about.get("parts")
        if not isinstance(parts, list) or not parts:
            raise wrong("the mixture of its distribution has no parts")
        for part in parts:
            _check_distribution(part, wrong)
            if not (_number(part.get("share", 1)) and part.get("share", 1) >= 0):
                raise wrong("the shares of its distribution are not positive numbers")


def _check_scenes(about: dict[str, Any], kind: str, wrong: Any) -> None:
    listed = about.get("kind")
    known = (FINDINGS,) if kind in ANY_PROTOCOL else SCENES
    listed = listed if isinstance(listed, list) else [listed]
    if not listed or not all(isinstance(one, str) and one in known for one in listed):
        raise wrong(f"the distribution of a spatial network is one or more of {', '.join(known)}")
    if not isinstance(about.get("size", 32), int) or isinstance(about.get("size"), bool):
        raise wrong("the size of its training maps is not a whole number of voxels")
    if kind in ANY_PROTOCOL:
        if not 8 <= about.get("size", 32) <= 128:
            raise wrong("the size of its training maps lies between 8 and 128 voxels")
        most, scattered = about.get("most_findings", 0), about.get("scattered", 0)
        if not isinstance(most, int) or isinstance(most, bool) or most < 0:
            raise wrong("the most findings of its training maps are not a whole number")
        if not _number(scattered) or not 0 <= scattered <= 1:
            raise wrong("the share of its training maps with scattered voxels lies between 0 and 1")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_training(training: dict[str, Any], wrong: Any) -> None:
    unknown = set(training) - set(DEFAULTS)
    if unknown:
        raise wrong(f"'training' has no entry '{min(unknown)}'; known are {', '.join(DEFAULTS)}")
    for key, usual in DEFAULTS.items():
        value = training[key]
        if isinstance(usual, bool):
            if not isinstance(value, bool):
                raise wrong(f"'{key}' of the training is {value!r}; it is true or false")
        elif key == "steps" and isinstance(value, list) and len(value) == training["members"]:
            if not all(isinstance(one, int) and one > 0 for one in value):
                raise wrong(f"'steps' of the training is {value!r}; they must be positive whole numbers")
        elif isinstance(usual, int):
            fewest = 1 if key in POSITIVE else 0
            if not isinstance(value, int) or isinstance(value, bool) or value < fewest:
                raise wrong(f"'{key}' of the training is {value!r}; it must be a whole number, {fewest} or more")
        elif isinstance(usual, float) and not (_number(value) and value >= 0):
            raise wrong(f"'{key}' of the training is {value!r}; it must be a positive number")
    if not training["rate"] > 0:
        raise wrong("the learning rate is 0; it must be positive")
    if not 0 < training["validation"] < 1:
        raise wrong(f"the share of validation is {training['validation']}; it lies between 0 and 1")
    if training["schedule"] not in ("constant", "cosine") or training["keep"] not in ("best", "last"):
        raise wrong("the schedule is constant or cosine, and best or last is kept")
