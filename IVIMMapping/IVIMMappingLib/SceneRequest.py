"""What SceneProgram is asked to do, read from JSON.

    {
      "name": "liver 07",                            name of the input, first word of every node
      "base": "out/b0.nii.gz",                       image behind the maps
      "baseB": 0,                                    its b-value [s/mm²], 0 if left out
      "runs": [
        {"estimator": "nlls", "folder": "out/nlls", "title": "nlls",
         "statistics": "out/nlls/roi_statistics.csv", "provenance": "out/nlls/provenance.json"},
        {"estimator": "truth", "folder": "out/truth"}
      ],
      "labels": {"path": "rois.nii.gz", "names": {"1": "liver"}},
      "dwi": {"path": "dwi.nii.gz", "bvalues": [0, 10, 50]},
      "scene": "tmp/scene.mrb",                      where to write; leave out what is not wanted
      "overview": "tmp/overview.png",
      "title": "liver 07: nlls and truth"            heading of the overview
    }

Needed are "name", "base", "runs" with at least one run, and "scene" or "overview". Paths are absolute or relative to
the request file. Of a run only "estimator" and "folder" are needed; "statistics" and "provenance" are taken from
roi_statistics.csv and provenance.json of its folder if they are there. Titles differ. A known truth is a run whose
estimator is "truth".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivimcore.errors import InputError
from ivimcore.physics.parameters import PARAMETERS

from .MapDescription import MAP_KEYS, STATUS

SUFFIXES = (".nii.gz", ".nrrd", ".nii", ".nhdr")


@dataclass(frozen=True)
class RunRequest:
    """One run: its maps by key, and the files of its statistics and provenance if there are any."""

    estimator: str
    title: str
    maps: Mapping[str, Path]
    statistics: Path | None
    provenance: Path | None


@dataclass(frozen=True)
class SceneRequest:
    """Everything SceneProgram needs; see the head of this file for the JSON form."""

    name: str
    title: str
    base: Path
    baseB: float
    runs: tuple[RunRequest, ...]
    labels: Path | None
    labelNames: Mapping[int, str]
    dwi: Path | None
    bvalues: tuple[float, ...]
    scene: Path | None
    overview: Path | None


def readRequest(path: str | Path) -> SceneRequest:
    """Read and check a request file. Raises InputError with a sentence for anything that is missing."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise InputError(f"The request {path} cannot be read ({fault.strerror}); give a JSON file.") from fault
    except ValueError as fault:
        raise InputError(f"The request {path} is not JSON ({fault}); see IVIMMappingLib.SceneRequest.") from fault
    try:
        return _parse(content, path.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(f"The request {path} is wrong ({fault!r}); see IVIMMappingLib.SceneRequest.") from fault


def _parse(content: Mapping[str, Any], folder: Path) -> SceneRequest:
    missing = [key for key in ("name", "base", "runs") if not content.get(key)]
    if missing or not (content.get("scene") or content.get("overview")):
        lacking = missing or ["scene or overview"]
        raise InputError(f"The request lacks {', '.join(lacking)}; see IVIMMappingLib.SceneRequest.")
    titles = [run.get("title") or run["estimator"] for run in content["runs"]]
    if len(set(titles)) < len(titles):
        raise InputError(f"Two runs have the same title ({', '.join(titles)}); give each its own.")
    labels, dwi = content.get("labels") or {}, content.get("dwi") or {}
    return SceneRequest(
        name=str(content["name"]),
        title=str(content.get("title") or content["name"]),
        base=_existing(folder, content["base"]),
        baseB=float(content.get("baseB", 0.0)),
        runs=tuple(_parseRun(run, folder) for run in content["runs"]),
        labels=_existing(folder, labels["path"]) if labels else None,
        labelNames={int(value): str(name) for value, name in (labels.get("names") or {}).items()},
        dwi=_existing(folder, dwi["path"]) if dwi else None,
        bvalues=tuple(float(b) for b in dwi.get("bvalues", ())),
        scene=_target(folder, content.get("scene"), ".mrb"),
        overview=_target(folder, content.get("overview"), ".png"),
    )


def _parseRun(content: Mapping[str, Any], parent: Path) -> RunRequest:
    folder = parent / content["folder"]
    files = {key: folder / (key + suffix) for key in (*MAP_KEYS, STATUS) for suffix in reversed(SUFFIXES)
             if (folder / (key + suffix)).is_file()}
    if not set(files) & set(PARAMETERS):
        raise InputError(f"There is no map in {folder}; give a folder as 'ivim map' writes it.")
    beside = {name: folder / name for name in ("roi_statistics.csv", "provenance.json") if (folder / name).is_file()}
    return RunRequest(
        estimator=str(content["estimator"]),
        title=str(content.get("title") or content["estimator"]),
        maps=files,
        statistics=_existing(parent, content.get("statistics"), beside.get("roi_statistics.csv")),
        provenance=_existing(parent, content.get("provenance"), beside.get("provenance.json")),
    )


def _existing(folder: Path, name: str | None, otherwise: Path | None = None) -> Path | None:
    if name is None:
        return otherwise
    path = folder / name
    if not path.is_file():
        raise InputError(f"There is no file {path}; correct the request.")
    return path


def _target(folder: Path, name: str | None, suffix: str) -> Path | None:
    if not name:
        return None
    path = folder / name
    if path.suffix != suffix:
        raise InputError(f"The output {path.name} must end with {suffix}; correct the request.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; make it first.")
    return path
