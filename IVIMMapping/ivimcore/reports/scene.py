"""A scene and an overview picture for 3D Slicer, made by a process of their own.

The core knows no Slicer. It writes a request and starts the scene program by name; drawing without OpenGL would end
the process that tries it, and this one must live.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..data.output import write_json, write_volume
from ..errors import InputError
from ..jobs.events import Emit, warning
from ..jobs.job import Outcome

PROGRAM = "IVIMMappingLib.SceneProgram"
LARGEST_SERIES = 256 * 2**20
"""Bytes of a series up to which it is stored in the scene."""


def check_scene_program() -> None:
    """Refuse before any work if a scene or figure is wanted and Slicer's libraries are missing."""
    if find_spec("slicer") is None or find_spec(PROGRAM.partition(".")[0]) is None:
        raise InputError(
            "A scene or figure needs Slicer's libraries; install them with: pip install 'ivimslicer[scene]'."
        )


def write_scene(
    outcome: Outcome, folder: Path, emit: Emit, overview: bool, scene: bool, truth: Path | None = None
) -> None:
    """Write overview.png and scene.mrb of an outcome into `folder`, as asked.

    Arguments: `truth` a folder of maps that are shown as one more run. Raises InputError with the program's own
    sentence if the computer cannot draw, RuntimeError for a fault.
    """
    with tempfile.TemporaryDirectory(prefix="ivim-scene-") as temporary:
        request = Path(temporary) / "request.json"
        write_json(_request(outcome, folder, Path(temporary), emit, overview, scene, truth), request)
        done = subprocess.run(
            [sys.executable, "-m", PROGRAM, str(request)], capture_output=True, stdin=subprocess.DEVNULL,
            encoding="utf-8", errors="replace",
        )
    events = [_event(line) for line in done.stdout.splitlines()]
    for event in events:
        if event.get("event") == "warning":
            emit(event)
        elif event.get("event") == "error":
            sentence = f"{event['sentence']} {event['advice']}".strip()
            raise InputError(sentence) if done.returncode == 2 else RuntimeError(sentence)
    if done.returncode:
        raise RuntimeError(f"The scene program ended with {done.returncode}: {done.stderr[-500:]}")


def _event(line: str) -> dict[str, Any]:
    """Read one line of the program's output; the libraries below it may print lines of their own."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _request(
    outcome: Outcome, folder: Path, temporary: Path, emit: Emit, overview: bool, scene: bool, truth: Path | None
) -> dict[str, Any]:
    series, name = outcome.series, outcome.job.name
    bvalues, group = series.acquisition.groups()
    base = series.signal[..., group == 0].mean(axis=-1, dtype=np.float32)
    write_volume(np.nan_to_num(base), series.geometry, temporary / "b0.nii.gz")
    runs = [
        {"estimator": estimator, "folder": str(path.resolve()), "title": estimator}
        for estimator, path in outcome.folders.items()
    ]
    if truth is not None:
        runs.insert(0, {"estimator": "truth", "folder": str(truth.resolve()), "title": "truth"})
    request: dict[str, Any] = {
        "name": name, "title": f"{name}: {', '.join(run['title'] for run in runs)}",
        "base": str(temporary / "b0.nii.gz"), "baseB": bvalues[0], "runs": runs,
    }
    if outcome.labels is not None:
        write_volume(outcome.labels.astype(np.uint16), series.geometry, temporary / "labels.nrrd")
        request["labels"] = {"path": str(temporary / "labels.nrrd"), "names": outcome.names}
    if overview:
        request["overview"] = str((folder / "overview.png").resolve())
    if scene:
        request["scene"] = str((folder / "scene.mrb").resolve())
        if series.signal.nbytes <= LARGEST_SERIES:
            from ..data.output import write_images

            write_images(series.signal, series.geometry, temporary / "dwi.nrrd")
            request["dwi"] = {"path": str(temporary / "dwi.nrrd"), "bvalues": series.acquisition.bvalues}
        else:
            emit(warning("The series itself is too large for the scene; load it in 3D Slicer beside the maps."))
    return request
