"""One training job: a recipe, perhaps a series to train on, and the folder of models that receives the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..estimators.nlls import merge_repeats
from ..physics.noise import estimate_sigma
from .events import Emit, result, status, warning
from .job import Job, load, regions

Array = np.ndarray
TORCH_IS_MISSING = (
    "Training needs PyTorch; install it through Slicer's PyTorch extension or 'pip install torch safetensors'."
)
PATIENTS = "patients.npy"
NOISE_VOXELS = 20_000
Finish = Callable[[Any, Emit], Any]
"""Called with the card of a model that was just trained, and `emit`; returns the card."""


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained, ready for JSON.

    `recipe` path, or name of a recipe that comes with the program; `out` folder of models, in which a folder is named
    after the model; `minutes` budget, None for all steps of the recipe; `resume` goes on with a training that was
    stopped or killed; `series` a mapping job whose series is trained on, None for simulated voxels only; `id` and
    `title` instead of those of the recipe; `device` auto, cpu or cuda; `threads` cores used, None leaves it to torch;
    `longer` takes the longer training that the recipe names for a GPU.
    """

    recipe: str
    out: str
    minutes: float | None = None
    resume: bool = False
    series: Job | None = None
    id: str | None = None
    title: str | None = None
    seed: int | None = None
    device: str = "auto"
    threads: int | None = None
    longer: bool = False

    def to_json(self) -> str:
        """Write the job as JSON."""
        return json.dumps({"train": asdict(self)}, indent=2)

    @classmethod
    def from_content(cls, content: Any) -> TrainingJob:
        """Read the entry `train` of a job file; raises InputError if it is not one."""
        known = {item.name for item in fields(cls)}
        if not isinstance(content, dict) or not {"recipe", "out"} <= set(content) <= known:
            raise InputError(f"A training job needs recipe and out, and knows {', '.join(sorted(known))}; correct it.")
        content = dict(content)
        if content.get("series"):
            content["series"] = Job.from_json(json.dumps({"out": "", **content["series"]}))
        return cls(**content)


def run_training(
    job: TrainingJob, emit: Emit, stop: Callable[[], bool] = lambda: False, finish: Finish | None = None
) -> Any:
    """Train as the job says; return the card. A stop keeps the best so far, ready to be resumed.

    Events: `status`, `training` (member, step, losses, seconds left), `warning`, `result`; `finish` looks at the model
    before the last one. Raises InputError for what the person can mend.
    """
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise InputError(TORCH_IS_MISSING)
    if job.minutes is not None and not job.minutes > 0:
        raise InputError(f"The budget is {job.minutes:g} minutes; give a positive number, or none at all.")
    from ..networks.modelling import train
    from ..networks.recipes import Recipe, checked
    from ..networks.training import use_threads

    use_threads(job.threads)
    recipe = Recipe.read(job.recipe)
    if job.longer:
        recipe = recipe.lengthened()
    content = {**recipe.content, **{key: value for key in ("id", "title") if (value := getattr(job, key))}}
    if job.seed is not None:
        content["training"] = {**content.get("training", {}), "seed": int(job.seed)}
    folder, measured = recipe.folder, None
    if job.series is not None:
        emit(status("Reading the series"))
        content, measured, folder = _on_series(content, job, folder, emit)
    recipe = replace(recipe, content=checked(content), folder=folder)
    if job.series is not None and recipe.content["strategy"]["labels"] in ("signals", "rician", "gaussian"):
        from ..networks.tasks import measured_signals

        measured = measured_signals(measured, recipe)
    else:
        measured = None
    emit(status(f"Training {recipe.id}"))

    told: list[str] = []

    def tell(progress: Any) -> bool:
        done = (progress.member + progress.step / progress.steps) / progress.members
        emit({"event": "training", "member": progress.member + 1, "members": progress.members, "step": progress.step,
              "steps": progress.steps, "loss": _number(progress.loss), "check": _number(progress.check)})
        emit({"event": "progress", "fraction": round(done, 4), "seconds_left": round(progress.seconds_left, 1)})
        if progress.note and progress.note not in told:
            told.append(progress.note)
            emit(warning(progress.note[:1].upper() + progress.note[1:] + "."))
        return not stop()

    card = train(recipe, job.out, job.minutes, job.resume, measured, tell, job.device, lambda said: emit(warning(said)))
    if finish is not None:
        card = finish(card, emit)
    emit(result(folder=str(card.folder), model=card.id, files=sorted(path.name for path in card.folder.glob("[!.]*"))))
    return card


def _number(value: float) -> float | None:
    return round(float(value), 8) if np.isfinite(value) else None


def _on_series(content: dict[str, Any], job: TrainingJob, folder: Path, emit: Emit) -> tuple[dict[str, Any], Any, Path]:
    """Write b-values, noise and tissue of a loaded series into a recipe; return it, the signals, and its folder."""
    from ..networks.sampling import patients_of, save_patients

    series = load(job.series)
    mask = regions(job.series, series).mask
    inside = np.asarray(series.signal[mask], float)
    content = dict(content)
    content["acquisition"] = {"bvalues": [float(b) for b in series.acquisition.distinct]}
    _, _, merged, _ = merge_repeats(inside, series.acquisition)
    if content["noise"].get("snr") == "measured" or content["noise"].get("measured"):
        sigma = series.acquisition.sigma or estimate_sigma(
            inside[:: max(1, len(inside) // NOISE_VOXELS)], series.acquisition
        ).sigma
        if sigma is None:
            raise InputError("The noise of the series cannot be told; write a number into the recipe, not 'measured'.")
        lowest = merged[0][merged[0] > 0] / sigma
        low, high = np.percentile(lowest, [5, 95])
        content["noise"] = {"model": "rician", "snr": [round(float(low), 1), round(float(high), 1)]}
        emit(warning(f"SNR of the series: {low:.0f} to {high:.0f} (5th to 95th percentile)."))
    about = content.get("distribution", {})
    parts = (about, *about.get("parts", ()))
    wanting = [part for part in parts if part.get("kind") == "patients" and "file" not in part]
    if wanting:
        rows = patients_of(series.signal, series.acquisition, mask)
        folder = Path(job.out) / content["id"]
        folder.mkdir(parents=True, exist_ok=True)
        save_patients(folder / PATIENTS, rows)
        named = lambda part: {**part, "file": PATIENTS} if part in wanting else part  # noqa: E731
        content["distribution"] = named(about)
        if "parts" in about:
            content["distribution"] = {**about, "parts": [named(part) for part in about["parts"]]}
        emit(warning(f"Tissue of {len(rows)} voxels of the series (segmented fit) is what the network is trained on."))
    return content, merged.T, folder
