"""A trained model on its way into the person's own folder: under its name, checked, and never over another one."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ..errors import InputError
from .cards import CARD, ModelCard, write_card
from .choices import name_to_id
from .zoo import find, user_folder

TRAININGS = ".trainings"
"""Folder inside that of the models with trainings that are not saved yet; hidden from the list of models."""
CHECKS = "checks.json"
RECIPE = "recipe.json"


def training_folder() -> Path:
    """Return the folder in which trainings go on that are not saved yet; it need not exist."""
    return user_folder() / TRAININGS


def save_model(folder: Path, title: str, description: str | None = None) -> ModelCard:
    """Give a trained model its name and put it beside the person's other models; return its card.

    Arguments: `folder` with card and weights, which stays; `title` as it is shown, from which the short name follows;
    `description` instead of that of the card. What belongs to a training, voxels of patients above all, is left behind.
    Raises InputError for a name that is taken, a model that is damaged, and a disk that is full.
    """
    return _keep(ModelCard.read(folder), title, description)


def add_model(folder: Path) -> ModelCard:
    """Copy a model that somebody else has trained to the person's models; return its card.

    Raises InputError with one sentence for what is no model, or one that cannot be trusted.
    """
    if not (Path(folder) / CARD).is_file():
        raise InputError(f"The folder '{Path(folder).name}' holds no {CARD}; choose the folder of one model.")
    card = ModelCard.read(folder)
    return _keep(card, card.title, None, card.id)


def remove_model(card: ModelCard) -> None:
    """Delete a model of the person; raises InputError for one that came with the program."""
    if card.folder.resolve().parent != user_folder().resolve():
        raise InputError(f"'{card.id}' is not among your own models; only those can be removed.")
    shutil.rmtree(card.folder, ignore_errors=True)


def own_models() -> list[ModelCard]:
    """Return the person's own models, in the order of their names."""
    home = user_folder().resolve()
    return [card for name, card in sorted(find().cards.items()) if card.folder.resolve().parent == home]


def _keep(card: ModelCard, title: str, description: str | None, name: str | None = None) -> ModelCard:
    name = name or name_to_id(title)
    taken = _taken_by(name)
    if taken:
        raise InputError(f"The name '{name}' is taken by {taken}; type another name.")
    data = card.check_weights()
    target, beside = user_folder() / name, user_folder() / f".{name}.{os.getpid()}"
    try:
        beside.mkdir(parents=True)
        (beside / card.weights["file"]).write_bytes(data)
        for extra in (CHECKS, RECIPE):
            if (card.folder / extra).is_file() and (card.folder / extra).stat().st_size < 2_000_000:
                shutil.copyfile(card.folder / extra, beside / extra)
        content = {**card.content, "id": name, "title": title.strip()}
        if description and description.strip():
            content["description"] = description.strip()
        write_card(beside, content)
        os.replace(beside, target)
    except OSError as fault:
        shutil.rmtree(beside, ignore_errors=True)
        if fault.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise InputError(f"There is no space left in {user_folder()}; make room there and save again.") from None
        reason = (fault.strerror or str(fault)).lower()
        raise InputError(f"The model cannot be written to {user_folder()} ({reason}); mend that, save again.") from None
    except InputError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return ModelCard.read(target)


def _taken_by(name: str) -> str:
    from ..estimators import available

    if name in find().cards:
        return "another model"
    if name in available():
        return "an estimator of the program"
    return "another folder" if (user_folder() / name).exists() else ""
