"""Model cards: what a trained network is, which data it accepts, and that its weights are what the card says.

Readable without torch. A model may come from a stranger: the card is JSON that is checked entry by entry, the weights
are safetensors (numbers only, no code) of bounded size inside the folder of the card, and the checksum must agree.
`Resources/Models/card-schema.json` describes every entry with an example.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.output import plain
from ..errors import InputError
from ..physics.acquisition import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, Acquisition
from ..physics.parameters import PARAMETERS
from ..wholefile import whole_file
from .weightfile import check_safetensors

CARD = "card.json"
SCHEMA = 1
LARGEST_CARD = 1_000_000
"""Bytes a card may have."""
LARGEST_WEIGHTS = 256_000_000
"""Bytes a file of weights may have; the networks of this project have some hundred thousand numbers."""
ID = re.compile(r"[a-z][a-z0-9_]{1,47}")
KEYS = ("D", "f", "Dstar")
KINDS = {
    "mlp": ("hidden", "layers", "parallel", "dropout", "batch_norm", "output", "fit_S0"),
    "cnn_bilstm": ("channels", "units", "heads", "dropout", "output", "fit_S0"),
    "anyprotocol": ("hidden", "layers", "components", "token", "context", "depth", "heads"),
    "conv3": ("hidden", "layers", "output", "fit_S0"),
    "attention": ("size", "width", "heads", "layers", "output", "fit_S0"),
    "natten": ("windows", "width", "heads", "output", "fit_S0"),
    "unet": ("channels", "levels", "output", "fit_S0"),
    "uresnet": ("channels", "levels", "output", "fit_S0"),
    "uattennet": ("channels", "levels", "output", "fit_S0"),
    "anyprotocol_spatial": (
        "hidden", "layers", "components", "token", "context", "depth", "heads", "width", "looks", "windows",
    ),
}
"""Architectures and the options each has."""
ANY_PROTOCOL = ("anyprotocol", "anyprotocol_spatial")
"""Architectures that take any list of b-values, and give a posterior."""
SPATIAL = ("conv3", "attention", "natten", "unet", "uresnet", "uattennet", "anyprotocol_spatial")
"""Architectures that look at a voxel's neighbours."""
MOST_WINDOWS, LARGEST_WINDOW = 8, 33
LARGEST_OPTION = 1024
MOST_LAYERS = 16
"""With the largest width, so many layers stay below what `LARGEST_WEIGHTS` allows: a card alone cannot fill the memory,
because the network is built before its shapes are compared with those of the weights."""
MOST_MEMBERS = 64
NORMALISATIONS = ("b0", "series", "direction")
_REQUIRED = {
    "schema": int, "id": str, "title": str, "description": str, "licence": str, "references": list,
    "architecture": dict, "strategy": dict, "acquisition": dict, "parameters": dict, "noise": dict,
    "normalisation": str, "members": int, "training": dict, "weights": dict,
}


@dataclass(frozen=True, eq=False)
class ModelCard:
    """A card that was read and found in order; `folder` holds it and its weights, `content` is the JSON."""

    folder: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, folder: Path | str) -> ModelCard:
        """Read and check the card in a folder; raises InputError with one sentence for a card that cannot be used."""
        folder = Path(folder)
        path = folder / CARD
        try:
            if path.stat().st_size > LARGEST_CARD:
                raise InputError(f"The card {folder.name}/{CARD} has more than {LARGEST_CARD} bytes; it is no card.")
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
        except OSError as error:
            raise InputError(f"The model '{folder.name}' has no readable {CARD} ({error.strerror}).") from None
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The card of the model '{folder.name}' is not valid JSON; get the model again.") from None
        check_card(content, folder.name)
        return cls(folder, content)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.content[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def bvalues(self) -> np.ndarray | None:
        """The list of b-values (n,) [s/mm²] that the network is tied to, None for one that takes any."""
        listed = self.content["acquisition"].get("bvalues")
        return None if listed is None else np.array(listed, dtype=float)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The ranges of D, f and Dstar [stored units] that the training covered."""
        return {key: tuple(float(x) for x in self.content["parameters"][key]) for key in KEYS}

    @property
    def snr(self) -> tuple[float, float]:
        """The range of SNR that the training covered."""
        low, high = self.content["noise"]["snr"]
        return float(low), float(high)

    @property
    def weights_path(self) -> Path:
        """Where the weights lie: always in the folder of the card."""
        return self.folder / self.content["weights"]["file"]

    def misfits(self, acquisition: Acquisition) -> list[str]:
        """Say in sentences why the network cannot take an acquisition; none if it can."""
        mine = acquisition.distinct
        wanted = self.bvalues
        if wanted is None:
            return self._misfits_of_any(mine)
        listed = lambda values: " ".join(f"{b:g}" for b in values)  # noqa: E731
        if mine.size == wanted.size:
            same = np.abs(mine - wanted) <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * wanted
            if same.all():
                return []
        return [
            f"'{self.id}' was trained for the b-values {listed(wanted)} s/mm², the series has {listed(mine)}; use "
            "'anyprotocol' or 'posterior', which take any list, or train a model for this one."
        ]

    def _misfits_of_any(self, mine: np.ndarray) -> list[str]:
        fewest, most = self.content["acquisition"]["images"]
        low, high = self.content["acquisition"]["b"]
        if not fewest <= mine.size <= most:
            return [
                f"'{self.id}' takes {fewest} to {most} different b-values, the series has {mine.size}; use 'posterior'."
            ]
        if mine[0] < low or mine[-1] > high * (1 + RELATIVE_TOLERANCE):
            return [
                f"'{self.id}' was trained for b-values from {low:g} to {high:g} s/mm², the series has {mine[0]:g} to "
                f"{mine[-1]:g}; leave out images (bmax), or use 'posterior'."
            ]
        return []

    def scope(self) -> str:
        """Say in one sentence for which tissue and noise the network was trained."""
        parts = []
        for key, (low, high) in self.ranges.items():
            p = PARAMETERS[key]
            parts.append(f"{p.symbol} {low * p.display_factor:.3g} to {high * p.display_factor:.3g} {p.display_unit}")
        low, high = self.snr
        noise = f"SNR {low:g}" if low == high else f"SNR {low:g} to {high:g}"
        return f"Trained on {', '.join(parts)} and {noise}: other tissue is drawn into these ranges."

    def check_weights(self) -> bytes:
        """Return the file of weights after checking size, form and checksum; raises InputError with one sentence."""
        path, about = self.weights_path, self.content["weights"]
        try:
            if path.is_symlink() or path.resolve().parent != self.folder.resolve():
                raise InputError(f"The weights of '{self.id}' lie outside its folder; such a model is not used.")
            size = path.stat().st_size
            if size > LARGEST_WEIGHTS:
                raise InputError(f"The weights of '{self.id}' have {size} bytes; at most {LARGEST_WEIGHTS} are read.")
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"The weights of '{self.id}' cannot be read ({error.strerror}); get it again.") from None
        check_safetensors(data, self.id)
        digest = hashlib.sha256(data).hexdigest()
        if digest != about["sha256"]:
            raise InputError(
                f"The weights of '{self.id}' are not those that its card names (SHA-256 differs); get the model again."
            )
        return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def check_card(content: Any, name: str) -> None:
    """Check a card entry by entry; raises InputError with one sentence for the first that cannot be."""

    def wrong(what: str) -> InputError:
        return InputError(f"The card of the model '{name}' cannot be used: {what}.")

    if not isinstance(content, dict):
        raise wrong("it is not a table")
    for key, kind in _REQUIRED.items():
        if key not in content:
            raise wrong(f"the entry '{key}' is missing")
        if not isinstance(content[key], kind) or isinstance(content[key], bool):
            raise wrong(f"the entry '{key}' has the wrong form")
    if content["schema"] != SCHEMA:
        raise wrong(f"it is written in form {content['schema']}, this version reads form {SCHEMA}")
    if not ID.fullmatch(content["id"]):
        raise wrong("its id is not made of small letters, digits and _")
    if not 1 <= content["members"] <= MOST_MEMBERS:
        raise wrong(f"it has {content['members']} members")
    check_architecture(content["architecture"], wrong)
    _check_weights_entry(content["weights"], wrong)
    _check_scope(content, wrong)


def check_architecture(architecture: dict[str, Any], wrong: Any) -> None:
    """Check kind and options of an architecture; `wrong(what)` makes the error to raise."""
    kind, options = architecture.get("kind"), architecture.get("options", {})
    if kind not in KINDS:
        raise wrong(f"its architecture '{kind}' is unknown; known are {', '.join(KINDS)}")
    if not isinstance(options, dict):
        raise wrong("the options of its architecture are not a table")
    for key, value in options.items():
        if key not in KINDS[kind]:
            raise wrong(f"the architecture '{kind}' has no option '{key}'")
        if isinstance(value, bool) or (key == "output" and value in ("absolute", "sigmoid", "scaled")):
            continue
        if key == "windows" and _windows(value):
            continue
        deep = ("layers", "depth", "levels")
        most = MOST_LAYERS if key in deep else {"dropout": 0.99, "size": 9}.get(key, LARGEST_OPTION)
        if key == "output" or not isinstance(value, int | float) or not 0 <= value <= most:
            raise wrong(f"the option '{key}' of its architecture is {value!r}")


def _check_weights_entry(weights: dict[str, Any], wrong: Any) -> None:
    file = weights.get("file")
    if not isinstance(file, str) or not file.endswith(".safetensors"):
        raise wrong("its weights are not safetensors; pickles and other files that can run code are refused")
    if os.path.basename(file) != file or file.startswith(".") or "\\" in file or ":" in file:
        raise wrong("its weights are not a file in its own folder")
    if not re.fullmatch(r"[0-9a-f]{64}", str(weights.get("sha256"))):
        raise wrong("it names no SHA-256 of its weights")


def _numbers(value: Any, count: int | None = None) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in value)
        and (count is None or len(value) == count)
    )


def _windows(value: Any) -> bool:
    """Tell whether an option is a list of odd extents."""
    few = _numbers(value) and 1 <= len(value) <= MOST_WINDOWS
    return few and all(1 <= n <= LARGEST_WINDOW and n % 2 == 1 for n in value)


def _check_scope(content: dict[str, Any], wrong: Any) -> None:
    for key in KEYS:
        pair = content["parameters"].get(key)
        if not _numbers(pair, 2) or not 0 <= pair[0] < pair[1] <= 1:
            raise wrong(f"the range of {key} is not two numbers in stored units, lower first")
    snr = content["noise"].get("snr")
    if not _numbers(snr, 2) or not 0 < snr[0] <= snr[1]:
        raise wrong("the range of SNR is not two positive numbers, lower first")
    if content["normalisation"] not in NORMALISATIONS:
        raise wrong(f"its normalisation '{content['normalisation']}' is unknown")
    acquisition = content["acquisition"]
    if content["architecture"]["kind"] in ANY_PROTOCOL:
        if not _numbers(acquisition.get("images"), 2) or not _numbers(acquisition.get("b"), 2):
            raise wrong("it does not say how many images, and which range of b, it takes")
        return
    bvalues = acquisition.get("bvalues")
    if not _numbers(bvalues) or not 2 <= len(bvalues) <= 512 or min(bvalues) < 0 or sorted(bvalues) != bvalues:
        raise wrong("its b-values are not an ascending list of numbers")
    bounds = content.get("bounds")
    if not isinstance(bounds, dict) or not all(_numbers(bounds.get(key), 2) for key in (*KEYS, "S0")):
        raise wrong("its bounds are not pairs of numbers for D, f, Dstar and S0")


def write_card(folder: Path | str, content: dict[str, Any]) -> ModelCard:
    """Check and write a card into its folder, whole or not at all; return it."""
    folder = Path(folder)
    content = plain(content)
    check_card(content, folder.name)
    with whole_file(folder / CARD) as unfinished:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        unfinished.write_text(text + "\n", encoding="utf-8")
    return ModelCard(folder, content)
