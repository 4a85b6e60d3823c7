"""Make a Slicer scene and an overview picture from finished maps, without the desktop program.

    python -m IVIMMappingLib.SceneProgram request.json

A process of its own, because drawing on a computer without OpenGL ends the process. SceneRequest describes the
request. One JSON object per line on stdout: status, warning, result, error, as the worker writes them. Exit codes: 0
done; 2 the request or the computer does not allow it and nothing was written; 1 a fault of ours.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from ivimcore.jobs.events import error, result, status, to_line, warning

from . import OpenGLProbe
from .MapDescription import STATUS
from .SceneRequest import RunRequest, SceneRequest, readRequest
from .VolumeReading import readVolume, readVolumes

DONE, FAULT, WRONG_INPUT = 0, 1, 2
TRUTH = "truth"
"""Name of the run that holds a known truth."""
Emit = Callable[[dict[str, Any]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the request named on the command line and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)

    def emit(event: dict[str, Any]) -> None:
        print(to_line(event), flush=True)

    try:
        if len(arguments) != 1:
            raise InputError("Give exactly one request file; usage: python -m IVIMMappingLib.SceneProgram request.json")
        run(readRequest(arguments[0]), emit)
    except InputError as fault:
        emit(error(str(fault)))
        return WRONG_INPUT
    except Exception as fault:
        traceback.print_exc()
        emit(error(f"The scene could not be made ({fault}); the details are on stderr"))
        return FAULT
    return DONE


def run(request: SceneRequest, emit: Emit) -> None:
    """Write the files that `request` asks for and emit what happens. Raises InputError before anything is written."""
    try:
        import slicer  # noqa: F401
    except ImportError:
        raise InputError(
            "The scene needs Slicer's libraries; install them with: pip install 'ivimslicer[scene]'"
        ) from None
    from .VtkMessages import VtkMessages

    with ThreadPoolExecutor(max_workers=1) as pool:
        # Asking the computer whether it can draw takes a second, which the reading of files fills.
        probe = pool.submit(OpenGLProbe.findRenderWindow) if request.overview else None
        with VtkMessages() as messages:
            emit(status("Reading maps"))
            inputs = _readInputs(request)
            if probe is not None:
                window = probe.result()
                if window is None:
                    raise InputError(f"The overview cannot be drawn on this computer; {OpenGLProbe.ADVICE}")
                os.environ[OpenGLProbe.VARIABLE] = window
            written = _write(request, inputs, emit)
    for text in dict.fromkeys(messages.errors):
        emit(warning(f"VTK: {text}"))
    emit(result(**written))


def _readInputs(request: SceneRequest) -> dict[str, Any]:
    """Read every file of the request; raises InputError for grids that do not fit."""
    base, geometry = readVolume(request.base)
    inputs: dict[str, Any] = {"base": base, "geometry": geometry, "runs": [], "labels": None, "dwi": None}
    for runRequest in request.runs:
        maps = {key: _onGrid(path, geometry) for key, path in runRequest.maps.items()}
        if STATUS in maps:
            maps[STATUS] = maps[STATUS].astype(np.uint8)
        inputs["runs"].append((runRequest, maps))
    if request.labels is not None:
        inputs["labels"] = np.rint(_onGrid(request.labels, geometry)).astype(np.int32)
    if request.dwi is not None:
        inputs["dwi"], grid = readVolumes(request.dwi)
        if inputs["dwi"].shape[3] != len(request.bvalues):
            raise InputError(
                f"{request.dwi.name} holds {inputs['dwi'].shape[3]} images for {len(request.bvalues)} b-values; "
                "give one b-value per image."
            )
        _check(request.dwi, grid, geometry)
    return inputs


def _onGrid(path: Path, geometry: Geometry) -> np.ndarray:
    values, grid = readVolume(path)
    _check(path, grid, geometry)
    return values


def _check(path: Path, grid: Geometry, geometry: Geometry) -> None:
    if not grid.matches(geometry):
        raise InputError(
            f"{path.name} lies on another grid than the base image ({grid.describe()}, not {geometry.describe()}); "
            "give files of one run."
        )


def _write(request: SceneRequest, inputs: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Fill a scene, write what was asked for, and return the names of the files."""
    # These import slicer, which a request without it must not reach.
    from .DwiSequence import browseSequence, createDwiSequence
    from .HeadlessSlicer import HeadlessSlicer
    from .OverviewFigure import writeOverview
    from .OverviewLayout import OverviewRow
    from .RegionSegments import createSegmentation
    from .RunFolder import addRun, createBaseNode, createFolder, moveToFolder, shareWindows
    from .SceneViews import showInSliceViews

    written: dict[str, Any] = {}
    with HeadlessSlicer() as application:
        scene, geometry = application.scene, inputs["geometry"]
        folder = createFolder(scene, request.name)
        base = createBaseNode(scene, inputs["base"], geometry, f"{request.name} b{request.baseB:g}")
        moveToFolder(base, folder)
        # A known truth comes last: plain names and the slice views belong to what was fitted.
        requests = sorted(inputs["runs"], key=lambda pair: pair[0].estimator == TRUTH)
        runs = {
            runRequest.title: addRun(
                scene, maps, geometry, request.name, runRequest.estimator, _provenance(runRequest),
                _statistics(runRequest), folder,
            )
            for runRequest, maps in requests
        }
        shareWindows(list(runs.values()))
        regions = None
        if inputs["labels"] is not None and inputs["labels"].any():
            regions = createSegmentation(
                scene, inputs["labels"], request.labelNames, geometry, f"{request.name} regions", base
            )
            moveToFolder(regions, folder)
        if inputs["dwi"] is not None:
            sequence = createDwiSequence(scene, inputs["dwi"], geometry, request.bvalues, f"{request.name} DWI")
            for node in (sequence, browseSequence(application.applicationLogic, sequence)):
                moveToFolder(node, folder)
        if request.overview is not None:
            emit(status("Drawing the overview"))
            rows = [OverviewRow(each.title, base, runs[each.title].maps) for each in request.runs]
            shown = writeOverview(
                request.overview, scene, application.applicationLogic, rows, regions, request.title,
                baseName=f"b = {request.baseB:g} image",
            )
            written.update(overview=str(request.overview), slice=shown["slice"])
        if request.scene is not None:
            emit(status("Writing the scene"))
            maps = next(iter(runs.values())).maps
            showInSliceViews(application, base, maps.get("D") or next(iter(maps.values())))
            # WriteToMRB has been seen to return True without a file.
            if not scene.WriteToMRB(str(request.scene)) or not request.scene.is_file():
                raise OSError(f"{request.scene} was not written; is the disk full?")
            written["scene"] = str(request.scene)
    return written


def _provenance(runRequest: RunRequest) -> dict[str, Any]:
    if runRequest.provenance is None:
        return {}
    try:
        content = json.loads(runRequest.provenance.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise InputError(f"{runRequest.provenance} is not JSON ({fault}); run the estimator again.") from fault
    return content if isinstance(content, dict) else {"provenance": content}


def _statistics(runRequest: RunRequest) -> list[dict[str, Any]]:
    from .StatisticsTable import readRows

    return readRows(runRequest.statistics) if runRequest.statistics is not None else []


if __name__ == "__main__":
    raise SystemExit(main())
