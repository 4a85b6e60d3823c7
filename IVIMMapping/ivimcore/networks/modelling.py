"""From a recipe to a model in a folder: trainings of all members, weights, card."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import torch

from .. import __version__
from ..errors import InputError
from ..wholefile import whole_file
from .build import weights_of
from .cards import ANY_PROTOCOL, SCHEMA, ModelCard, write_card
from .novelty import describe_training
from .recipes import Recipe
from .tasks import make_task
from .training import Progress, Tell, Trainer, choose_device

WEIGHTS = "weights.safetensors"
WORK = ".training"
"""Folder inside that of the model with what a resumed training needs; removed at the end."""
ROOM = 50_000_000
"""Bytes that must be free on the disk before a training begins."""


def train(
    recipe: Recipe, out: Path | str, minutes: float | None = None, resume: bool = False,
    measured: torch.Tensor | None = None, tell: Tell = lambda progress: True, device: str = "auto",
    say: Callable[[str], None] = lambda sentence: None,
) -> ModelCard:
    """Train the model of a recipe and write it into the folder `out`/id.

    Arguments: `minutes` budget of all members together, by fewer steps; `resume` continues a training that was stopped
    or killed, with the same result as without; `measured` (v, n) normalised signals to train on; `tell` is called at
    every validation, and stops by returning False (the members trained so far, the best of the last, are kept); `say`
    gets sentences.
    Returns: the card. Raises InputError for what the person can mend, GpuMemoryError where the GPU is too small.
    """
    folder = Path(out) / recipe.id
    work = folder / WORK
    settings = recipe.training
    members, trained = int(settings["members"]), []
    _begin(recipe, folder, work, resume)
    stopped = False

    def listen(progress: Progress) -> bool:
        nonlocal stopped
        stopped = tell(progress) is False
        return not stopped

    for member in range(members):
        place = work / f"member{member}"
        trainer = Trainer(
            make_task(recipe, settings["seed"] + 1000 * member, measured), recipe.settings(member), place,
            None if minutes is None else minutes / members, device, member, members,
        )  # fmt: skip
        if resume and trainer.resume():
            say(f"Member {member + 1} of {members}: resumed at step {trainer.step} of {trainer.steps}.")
            if trainer.ended.startswith("stopped"):
                trainer.ended = ""
        result = trainer.run(listen)
        if result.ended not in ("finished",):
            say(f"Member {member + 1} of {members}: ended at step {result.steps}: {result.ended}.")
        trained.append(result)
        if stopped:
            break
    about = {
        "recipe": recipe.content.get("training", {}), "seconds": round(sum(result.seconds for result in trained), 1),
        "steps": [result.steps for result in trained], "ended": [result.ended for result in trained],
        "minutes": minutes, "best_check_loss": [result.best for result in trained], "seed": settings["seed"],
        "device": _device(device), "threads": torch.get_num_threads(),
        "software": {"ivimslicer": __version__, "torch": str(torch.__version__), "python": platform.python_version(),
                     "safetensors": safetensors.__version__},
        "date": time.strftime("%Y-%m-%d"), "data": "simulated" if measured is None else "a loaded series",
    }  # fmt: skip
    card = _write(recipe, folder, [result.weights for result in trained], about, measured)
    if not stopped:
        shutil.rmtree(work, ignore_errors=True)
    return card


def _begin(recipe: Recipe, folder: Path, work: Path, resume: bool) -> None:
    try:
        if not resume and work.exists():
            shutil.rmtree(work)
        work.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(work).free < ROOM:
            raise InputError(f"There is less than {ROOM // 1_000_000} MB room for the training; make room on the disk.")
        mine = json.dumps(recipe.content, sort_keys=True)
        before = work / "recipe.json"
        if resume and before.is_file() and before.read_text(encoding="utf-8") != mine:
            raise InputError("The recipe has changed since this training began; train without --resume.")
        before.write_text(mine, encoding="utf-8")
        for member in range(recipe.training["members"]):
            (work / f"member{member}").mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written ({error.strerror}); choose another one.") from None


def _device(name: str) -> str:
    device = choose_device(name)
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {platform.machine()}"


def _write(
    recipe: Recipe, folder: Path, members: list[dict[str, Any]], about: dict[str, Any], measured: Any
) -> ModelCard:
    content = {key: value for key, value in recipe.content.items() if key != "training"}
    data = weights_of(members)
    content = {"schema": SCHEMA, "licence": "Apache-2.0", "references": [], **content, "members": len(members)}
    content["training"] = about
    content["weights"] = {"file": WEIGHTS, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if recipe.kind not in ANY_PROTOCOL:
        content["novelty"] = describe_training(recipe, measured)
    content.setdefault("checks", [])
    try:
        with whole_file(folder / WEIGHTS) as unfinished:
            unfinished.write_bytes(data)
        return write_card(folder, content)
    except OSError as error:
        raise InputError(f"The model cannot be written to {folder} ({error.strerror}); make room, resume.") from None
