"""A run on its way back: maps read, regions described, and nodes added, each in pieces that a window does not feel."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ivimcore.data.series import DwiSeries
from ivimcore.errors import InputError
from ivimcore.physics.parameters import PARAMETERS
from ivimcore.reports.roistatistics import WHOLE, region_statistics

from .MapDescription import STATUS, isMapKey
from .RawNrrd import readRaw
from .RegionNumbers import effectiveNumber, fitMean, meanSignal, regionRows
from .RunFolder import RunNodes, addRunInSteps
from .RunPlan import RunPlan
from .Runs import REGION_NUMBERS, STATISTICS, writeSettings
from .RunTransfer import OUTPUT, SERIES_FILE

_BREATH = 0.012
"""Longest time [s] that a piece waits for its thread: short for a window, long for the thread."""
Progress = Iterator[tuple[float, list[str]]]


@dataclass
class _Loaded:
    """What one estimator made, and what was computed from it: everything but the nodes."""

    maps: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    statistics: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(default_factory=list)


def loadRuns(plan: RunPlan, folder: Path, added: list[RunNodes]) -> Progress:
    """Turn the output of the process into runs in the scene, in pieces; yields (part done 0..1, sentences to say).

    `added` receives what is in the scene; whoever gives up half-way takes these out again. All reading and computing
    comes first, so that nothing is in the scene if it fails. Raises InputError for damaged files.
    """
    loaded = {request.name: _Loaded() for request in plan.requests}
    count = len(loaded)
    for name, one in loaded.items():
        source = folder / OUTPUT if count == 1 else folder / OUTPUT / name
        for part in _read(plan, source, one):
            yield 0.2 * part / count, []
    means: dict[str, DwiSeries] = {}
    for part in _averageRegions(plan, folder, means):
        yield 0.2 + 0.2 * part, []
    for number, (name, one) in enumerate(loaded.items()):
        for part in _describeRegions(plan, name, one, means):
            yield 0.4 + 0.3 * (number + part) / count, []
    said = []
    if plan.series.node.GetScene() is not plan.scene:
        said.append("The series was removed from the scene during the run; its maps were loaded all the same.")
    yield 0.7, said
    for number, (name, one) in enumerate(loaded.items()):
        for part in _addNodes(plan, name, one, added):
            yield 0.7 + 0.3 * (number + part) / count, []


def _read(plan: RunPlan, folder: Path, one: _Loaded) -> Iterator[float]:
    try:
        one.provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise InputError(f"The maps in {folder.name} cannot be read ({fault}); press Apply again.") from None
    # What was chosen in the scene is known here only; names of nodes are left out, they may be those of patients.
    mask = plan.region.mask
    one.provenance |= {
        "run_id": plan.runId, "bvalue_source": plan.settings.get("bvalueSource") or plan.series.source,
        "mask": f"{np.count_nonzero(mask)} of {mask.size} voxels ({plan.settings.get('regionKind', 'chosen region')}).",
        "images_used": [int(number) + 1 for number in plan.images],
    }
    paths = [path for path in sorted(folder.glob("*.nrrd")) if isMapKey(path.stem) or path.stem == STATUS]
    for number, path in enumerate(paths, 1):
        one.maps[path.stem] = readRaw(path, plan.series.geometry.shape)
        yield number / len(paths)
    if STATUS not in one.maps or len(one.maps) < 2:
        raise InputError("The fitting process left no maps; press Apply again.")


def _averageRegions(plan: RunPlan, folder: Path, means: dict[str, Any]) -> Iterator[float]:
    """Average the signal of every region, from the same file that the process has fitted."""
    shape = (*plan.series.geometry.shape, plan.images.size)
    path = folder / SERIES_FILE
    offset = path.stat().st_size - 4 * int(np.prod(shape, dtype=np.int64))
    signal = np.memmap(path, dtype="<f4", mode="r", offset=offset, shape=shape, order="F")
    filled = []
    for number in range(plan.images.size):
        # The process leaves out images without any value; the mean must be that of the same images.
        if np.any(np.nan_to_num(signal[..., number])):
            filled.append(number)
        yield 0.0
    acquisition = plan.acquisition.select(np.array(filled or range(plan.images.size)))
    masks = _masks(plan)
    for done, (name, mask) in enumerate(masks.items()):
        found: dict[str, Any] = {}

        def image(number: int) -> np.ndarray:
            return signal[..., filled[number]]

        for _ in meanSignal(image, acquisition, plan.average, plan.series.geometry, mask, found):
            yield done / len(masks)
        means[name] = found["series"]


def _describeRegions(plan: RunPlan, name: str, one: _Loaded, means: dict[str, DwiSeries]) -> Iterator[float]:
    """Compute the statistics of every region and map, and the two numbers of every region."""
    estimator = next(request for request in plan.requests if request.name == name).make()
    geometry = plan.series.geometry
    values = {key: array for key, array in one.maps.items() if key != STATUS}
    masks = _masks(plan)
    for done, (region, mask) in enumerate(masks.items(), 1):
        rows, effective = yield from inThread(_describe, values, geometry, region, mask, name)
        one.statistics += rows
        if np.isfinite(means[region].signal).all():
            fit = yield from inThread(_fitMean, estimator, region, means[region])
            one.numbers += regionRows(region, fit, rows, effective)
        yield done / len(masks)


def _fitMean(estimator, region: str, mean: DwiSeries) -> dict[str, tuple[float, float]]:
    """Fit the mean signal of a region by what works without torch, which is not loaded into Slicer's own process.

    A trained network has no such number: the mean is far less noisy than anything it was trained on.
    """
    if getattr(estimator, "needs_torch", False):
        return dict.fromkeys(estimator.parameters, (np.nan, np.nan))
    if hasattr(estimator, "backend"):
        estimator = replace(estimator, backend="numpy")  # the numbers are the same
    return fitMean(estimator, region, mean)


def _describe(values, geometry, region: str, mask, name: str) -> tuple[list[dict[str, Any]], dict[str, float]]:
    rows = region_statistics(values, geometry, {region: mask}, estimator=name)
    return rows, {key: effectiveNumber(values[key], mask) for key in values if key in PARAMETERS}


def _addNodes(plan: RunPlan, name: str, one: _Loaded, added: list[RunNodes]) -> Iterator[float]:
    nodes = RunNodes(name)
    added.append(nodes)
    folderName = plan.folderName
    if folderName and len(plan.requests) > 1:
        folderName = f"{folderName} {name}"
    tables = {STATISTICS: one.statistics, REGION_NUMBERS: one.numbers}
    steps = addRunInSteps(
        plan.scene, one.maps, plan.series.geometry, plan.name, name, one.provenance, tables, _parentItem(plan),
        folderName or None, nodes,
    )
    for known, _ in enumerate(steps, 1):
        yield min(1.0, known / (len(one.maps) + 2))
    transform = plan.transformNode
    for node in nodes.nodes():
        writeSettings(node, plan.settings, plan.series.node, plan.regionNode)
        if node.IsA("vtkMRMLVolumeNode") and transform is not None and transform.GetScene() is plan.scene:
            node.SetAndObserveTransformNodeID(transform.GetID())  # the maps lie where the series lies


def _parentItem(plan: RunPlan) -> int | None:
    """Return the folder, study or patient in which the series lies, None for the top of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(plan.scene)
    invalid = hierarchy.GetInvalidItemID()
    for node in (plan.series.displayNode(), plan.series.node):
        item = invalid if node is None or node.GetScene() is None else hierarchy.GetItemByDataNode(node)
        if item != invalid:
            parent = hierarchy.GetItemParent(item)
            return None if parent in (invalid, hierarchy.GetSceneItemID()) else parent
    return None


def _masks(plan: RunPlan) -> dict[str, np.ndarray]:
    return plan.region.masks or {WHOLE: plan.region.mask}


def inThread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Iterator[tuple]:
    """Call a function in a thread of its own and yield while it works; the value of `yield from` is what it returns.

    In an idle desktop window a Python thread gets no time, so each piece waits a breath for it: that is when it works.
    """
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append((function(*arguments, **named), None))
        except BaseException as fault:
            outcome.append((None, fault))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_BREATH)
    while thread.is_alive():
        yield 0.0
        thread.join(_BREATH)
    value, fault = outcome[0]
    if fault is not None:
        raise fault
    return value
