"""The overview picture of runs that lie in a scene: an image behind them, common windows, and a way to draw."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slicer

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from . import OpenGLProbe
from .OverviewFigure import writeOverview
from .OverviewLayout import OverviewRow
from .RunFolder import createBaseNode
from .Runs import Run, removeNodes
from .SeriesReader import readSeries
from .VolumeNodes import arrayFromVolumeNode, geometryOfVolumeNode


def drawRuns(runs: Sequence[Run], path: Path, scene: slicer.vtkMRMLScene, applicationLogic, title: str = "") -> None:
    """Draw runs as PNG; the scene is afterwards as it was. Raises InputError where nothing can draw."""
    prepareDrawing()
    first = geometryOfVolumeNode(next(iter(runs[0].maps.values())))
    runs = [run for run in runs if geometryOfVolumeNode(next(iter(run.maps.values()))).matches(first)]
    image, caption = _background(runs[0], first)
    base = createBaseNode(scene, image, first, "IVIMFigure image")
    base.SetHideFromEditors(True)
    regions = next((run.regionNode for run in runs if run.regionNode is not None), None)
    if regions is not None and not regions.IsA("vtkMRMLSegmentationNode"):
        regions = None
    try:
        with _commonWindows(runs):
            heading, names = _titles(runs)
            rows = [OverviewRow(name, base, run.maps) for name, run in zip(names, runs, strict=True)]
            writeOverview(path, scene, applicationLogic, rows, regions, title or heading, baseName=caption)
    finally:
        removeNodes(scene, [base])


def prepareDrawing() -> None:
    """Make sure that this computer can draw off screen: without OpenGL a render window ends the process.

    The desktop program draws all the time; elsewhere a child process tries it first. Raises InputError.
    """
    application = getattr(slicer, "app", None)
    if application is not None and application.inherits("qSlicerCoreApplication"):
        return
    window = OpenGLProbe.findRenderWindow()
    if window is None:
        raise InputError(f"The figure cannot be drawn on this computer; {OpenGLProbe.ADVICE}")
    os.environ[OpenGLProbe.VARIABLE] = window


def _background(run: Run, geometry: Geometry) -> tuple[np.ndarray, str]:
    """Return the mean of the images of lowest b and its caption; S0 where the series has left the scene."""
    if run.seriesNode is not None:
        try:
            series = readSeries(run.seriesNode)
        except InputError:
            series = None  # edited since; the maps are what is drawn
        if series is not None and series.geometry.matches(geometry):
            b = np.array([np.nan if x is None else x for x in run.settings.get("bvalues", series.bvalues)], dtype=float)
            b = b if b.size == series.count else series.bvalues
            numbers = np.flatnonzero(b == np.nanmin(b)) if np.isfinite(b).any() else np.array([0])
            return np.mean([series.image(int(n)) for n in numbers], axis=0).astype(np.float32), _caption(b[numbers[0]])
    key = "S0" if "S0" in run.maps else next(iter(run.maps))
    return np.nan_to_num(arrayFromVolumeNode(run.maps[key])[0]), key


def _titles(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """Return the heading of the picture and the title of each row; what all names begin with goes to the heading."""
    if len(runs) == 1:
        return runs[0].name, [runs[0].estimator]
    words = [run.name.split() for run in runs]
    shared = os.path.commonprefix(words)
    rests = [" ".join(each[len(shared):]) or run.estimator for each, run in zip(words, runs, strict=True)]
    return " ".join(shared) or "IVIM", rests


def _caption(b: float) -> str:
    return f"b = {b:g} image" if np.isfinite(b) else "first image"


@contextmanager
def _commonWindows(runs: Sequence[Run]) -> Iterator[None]:
    """Give maps of one quantity the window of the first run while the picture is drawn: its legend is for all rows."""
    before = []
    try:
        for key in {key for run in runs for key in run.maps}:
            displays = [run.maps[key].GetDisplayNode() for run in runs if key in run.maps]
            low, high = displays[0].GetWindowLevelMin(), displays[0].GetWindowLevelMax()
            for display in displays[1:]:
                before.append((display, display.GetWindowLevelMin(), display.GetWindowLevelMax()))
                display.SetWindowLevelMinMax(low, high)
        yield
    finally:
        for display, low, high in before:
            display.SetWindowLevelMinMax(low, high)
