"""Which trained models there are: those that come with the program, and those of the person. Reads JSON only."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .cards import CARD, ModelCard

VARIABLE = "IVIM_MODELS"
"""Environment variable with folders of models, separated as PATH is, instead of the person's own."""
_HERE = Path(__file__).resolve()
_BUNDLED = (_HERE.parents[1] / "Models", _HERE.parents[3] / "Resources" / "Models")


@dataclass(frozen=True)
class Found:
    """What a search found: cards by id, and one sentence for every folder that cannot be used."""

    cards: dict[str, ModelCard]
    refused: list[str]


def user_folder() -> Path:
    """Return the person's folder of models, as the platform wants it; it need not exist."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named.split(os.pathsep)[0])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "IVIMSlicer" / "Models"


def bundled_folder() -> Path | None:
    """Return the folder of the models that come with the program: in a checkout, or installed beside the package."""
    return next((candidate for candidate in _BUNDLED if candidate.is_dir()), None)


def folders() -> list[Path]:
    """Return the folders that are searched, in order: the first model of a name counts."""
    named = os.environ.get(VARIABLE)
    own = [Path(part) for part in named.split(os.pathsep) if part] if named else [user_folder()]
    bundled = bundled_folder()
    return ([bundled] if bundled else []) + own


_CACHE: dict[str, tuple[int, ModelCard | str]] = {}


def _read(folder: str) -> ModelCard | str | None:
    """Read a card, or the sentence why it cannot be used; again only when the file has changed. None: no model."""
    try:
        changed = os.stat(os.path.join(folder, CARD)).st_mtime_ns
        known = _CACHE.get(folder)
        if known is None or known[0] != changed:
            try:
                card: ModelCard | str = ModelCard.read(Path(folder))
            except InputError as refusal:
                card = str(refusal)
            known = _CACHE[folder] = (changed, card)
    except OSError:
        return None
    return known[1]


_FOUND: dict[str, ModelCard] = {}
_FOUND_IN: list[Path] = []


def find_card(name: str) -> ModelCard | None:
    """Find the model of one name, None if there is none.

    Asked for every estimator at every choice in the panel, hence without a search where the model of the last search
    is still there and unchanged.
    """
    known = _FOUND.get(name)
    if known is not None and folders() == _FOUND_IN and _read(os.fspath(known.folder)) is known:
        return known
    return find().cards.get(name)


def find() -> Found:
    """Find all models.

    A second model of a name that is taken is refused, so that nobody's folder can replace a bundled model unseen.
    """
    cards: dict[str, ModelCard] = {}
    refused = []
    places = folders()
    for parent in places:
        try:
            names = sorted(os.listdir(parent))
        except OSError:
            continue
        for name in names:
            card = _read(os.path.join(parent, name))
            if card is None:
                continue
            if isinstance(card, str):
                refused.append(card)
            elif card.id in cards:
                refused.append(f"A second model is called '{card.id}'; that in {name} is not used: rename it.")
            else:
                cards[card.id] = card
    _FOUND.clear()
    _FOUND.update(cards)
    _FOUND_IN[:] = places
    return Found(cards, refused)
