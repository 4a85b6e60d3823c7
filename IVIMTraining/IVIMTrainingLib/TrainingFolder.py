"""Trainings on disk that are not saved yet: each in a folder of its own, so that they survive the end of Slicer."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ivimcore.data.output import NO_SPACE
from ivimcore.errors import InputError
from ivimcore.networks.cards import CARD, ModelCard
from ivimcore.networks.keeping import CHECKS, RECIPE, training_folder
from ivimcore.wholefile import whole_file

from .SeriesForTraining import MASK_FILE, SERIES_FILE

ABOUT, MODELS = "training.json", "model"
_WORK = ".training"
_CHECKPOINT = "checkpoint.safetensors"
_LARGEST = 5_000_000


@dataclass(frozen=True)
class StoredTraining:
    """One training in `folder`: `recipe`, and `about` (minutes, bvalues of the series or None, begun, device)."""

    folder: Path
    recipe: dict[str, Any]
    about: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.recipe.get("title", self.folder.name))

    @property
    def modelFolder(self) -> Path:
        """Where card and weights lie as soon as there are some."""
        return self.folder / MODELS / str(self.recipe["id"])

    @property
    def hasModel(self) -> bool:
        """Whether something was trained that can be saved."""
        return (self.modelFolder / CARD).is_file()

    @property
    def canResume(self) -> bool:
        """Whether it was stopped or interrupted after its first checkpoint."""
        return any((self.modelFolder / _WORK).glob(f"member*/{_CHECKPOINT}"))

    @property
    def device(self) -> str:
        """Where it computes: "auto" is the GPU where there is one, else "cpu"."""
        return str(self.about.get("device", "auto"))

    def onProcessor(self) -> StoredTraining:
        """Return the same training, from now on without the GPU; raises InputError where that cannot be written."""
        about = {**self.about, "device": "cpu"}
        try:
            with whole_file(self.folder / ABOUT) as unfinished:
                unfinished.write_text(json.dumps(about), encoding="utf-8")
        except OSError as fault:
            raise InputError(diskSentence(fault, self.folder)) from None
        return StoredTraining(self.folder, self.recipe, about)

    def card(self) -> ModelCard | None:
        """Return the card of what was trained, None without any; raises InputError for a damaged one."""
        return ModelCard.read(self.modelFolder) if self.hasModel else None

    def checks(self) -> dict[str, Any] | None:
        """Return the checks of what was trained, None where there are none that can be read."""
        return readChecks(self.modelFolder)

    def state(self) -> str:
        """Say in one word how far it is."""
        if self.canResume:
            return _("stopped") if self.hasModel else _("interrupted")
        return _("finished") if self.hasModel else _("not begun")

    def forgetSeries(self) -> None:
        """Delete the voxels of the series: they are needed only as long as the training may go on."""
        for name in (SERIES_FILE, MASK_FILE):
            (self.folder / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete everything of this training."""
        shutil.rmtree(self.folder, ignore_errors=True)


def createTraining(recipe: dict[str, Any], minutes: float, bvalues: tuple[float, ...] | None) -> StoredTraining:
    """Make the folder of a new training; `bvalues` one per image of the series that it reads, or None.

    Raises InputError for a folder that cannot be written, and for a full disk.
    """
    parent = training_folder()
    about = {"minutes": minutes, "bvalues": bvalues, "begun": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = _ownFolder(parent, recipe["id"])
        (folder / RECIPE).write_text(json.dumps(recipe, indent=2, ensure_ascii=False), encoding="utf-8")
        (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    except OSError as fault:
        raise InputError(diskSentence(fault, parent)) from None
    return StoredTraining(folder, recipe, about)


def storedTrainings() -> list[StoredTraining]:
    """Return the trainings that are not saved yet, the newest first."""
    found = []
    for path in training_folder().glob(f"*/{ABOUT}"):
        try:
            recipe, about = (_read(path.with_name(name)) for name in (RECIPE, ABOUT))
        except (OSError, ValueError):
            continue
        if {"id", "title"} <= set(recipe):
            found.append(StoredTraining(path.parent, recipe, about))
    return sorted(found, key=lambda one: (str(one.about.get("begun")), one.folder.name), reverse=True)


def readChecks(folder: Path) -> dict[str, Any] | None:
    """Return the checks beside a model, None where there are none that can be read."""
    try:
        found = _read(Path(folder) / CHECKS)
    except (OSError, ValueError):
        return None
    return found if {"rows", "scatter", "bias", "calibration", "snr"} <= set(found) else None


def diskSentence(fault: OSError | None, folder: Path) -> str:
    """Return the sentence for a folder of models that cannot be written, `fault` None for a full disk."""
    if fault is None or fault.errno in NO_SPACE:
        return _("There is no space left in {folder}; make room there and try again.").format(folder=folder)
    reason = (os.strerror(fault.errno) if fault.errno else str(fault)).lower()
    return _("The folder {folder} cannot be used ({reason}); mend that and try again.").format(
        folder=folder, reason=reason
    )


def _ownFolder(parent: Path, name: str) -> Path:
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise InputError(_("There are too many trainings called '{name}'; discard some.").format(name=name))


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST:
        raise ValueError("too large")
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("no table")
    return content
