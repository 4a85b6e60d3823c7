"""The ADC of a scanner beside that of a run, in the regions of the run: statistics of it and of the difference.

Maps are compared where they lie: the other ADC is taken at the nearest voxel of the run's grid, and only voxels that
have a value in both count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from ivimcore.estimators.result import Status
from ivimcore.reports.dicomimport import ImportedMap, on_grid
from ivimcore.reports.roistatistics import region_statistics

from .MapRecognition import RecognisedMap
from .RegionChoice import chooseRegion
from .RegionSegments import regionMasks
from .Runs import Run
from .SeriesReader import readSeries, worldMatrix
from .StatisticsTable import rowsOfTable
from .VolumeNodes import arrayFromVolumeNode

OURS = ("ADC", "D")
"""Maps of a run that are held against an ADC, the first that there is."""
ROLE, OFF_ATTRIBUTE = "IVIM.ScannerAdc", "IVIM.ScannerAdcOff"
SCANNER, DIFFERENCE, PERCENT = "scanner", "difference", "percent"
COLUMNS = ("estimator", "run", "region", "map", "what", "unit", "n", "mean", "sd", "median", "p5", "p95", "voxels")


def mapBesideAdc(run: Run | None) -> str | None:
    """Return the key of the map of a run that an ADC is held against, None without one."""
    return None if run is None else next((key for key in OURS if key in run.maps), None)


def chosenAdc(run: Run | None, known: Sequence[RecognisedMap]) -> RecognisedMap | None:
    """Return the ADC that stands beside a run: the one that was chosen, else the first; None where none is wanted."""
    key = mapBesideAdc(run)
    known = [one for one in known if one.key == "ADC"]
    if key is None or not known or run.maps[key].GetAttribute(OFF_ATTRIBUTE):
        return None
    wanted = run.maps[key].GetNodeReferenceID(ROLE)
    return next((one for one in known if one.node.GetID() == wanted), known[0])


def comparisons(runs: Sequence[Run], known: Sequence[RecognisedMap]) -> list[dict[str, Any]]:
    """Return the rows of `compareWithAdc` of every run that an ADC stands beside."""
    rows = []
    for run in runs:
        other = chosenAdc(run, known)
        if other is not None:
            with contextlib.suppress(InputError):  # the panel says why
                rows += compareWithAdc(run, other)
    return rows


def compareWithAdc(run: Run, other: RecognisedMap) -> list[dict[str, Any]]:
    """Describe another ADC, and ours minus it, in every region of a run.

    Returns three rows a region with the keys `COLUMNS`: `what` is the other's ADC, the difference of the voxels
    [mm²/s], and the difference of mean and median in per cent of the other's. Raises InputError where there is nothing
    to compare or a transform is not linear.
    """
    key = mapBesideAdc(run)
    if key is None:
        raise InputError("The run has neither an ADC nor a D to compare with; choose another run.")
    node = run.maps[key]
    mine, geometry = arrayFromVolumeNode(node)
    theirs = _onGridOf(node, geometry, other)
    both = np.isfinite(mine) & np.isfinite(theirs)
    if not both.any():
        names = f"'{other.node.GetName()}' and '{node.GetName()}'"
        raise InputError(f"{names} have no voxel with a value in common; choose another map.")
    masks = regionsOfRun(run, geometry)
    maps = {SCANNER: np.where(both, theirs, np.nan), DIFFERENCE: np.where(both, mine - theirs, np.nan)}
    rows = []
    for row in region_statistics(maps, geometry, masks, estimator=run.estimator):
        row = {"run": run.name, **row, "what": row["map"], "map": key, "unit": "mm2/s"}
        rows.append({column: row[column] for column in COLUMNS})
        if row["what"] == DIFFERENCE:
            rows.append(_inPercent(rows[-1], rows[-2]))
    return rows


def regionsOfRun(run: Run, geometry: Geometry) -> dict[str, np.ndarray]:
    """Return the masks (x, y, z) of the regions in the statistics of a run, as they are now; by name.

    A run of one region whose node is gone, or of the whole body, is described by the voxels that were fitted.
    """
    rows = rowsOfTable(run.statistics) if run.statistics is not None else []
    names = list(dict.fromkeys(str(row["region"]) for row in rows))
    found = _drawn(run, geometry)
    masks = {name: found[name] for name in names if name in found}
    if masks:
        return masks
    return {names[0] if len(names) == 1 else "whole region": _fitted(run, geometry)}


def _drawn(run: Run, geometry: Geometry) -> dict[str, np.ndarray]:
    kind = run.settings.get("regionKind")
    if run.regionNode is None or kind not in ("segments", "curve", "labels"):
        return {}
    try:
        if run.seriesNode is not None:
            segmentIds = [str(identifier) for identifier in run.settings.get("segmentIds") or []]
            masks = chooseRegion(readSeries(run.seriesNode), kind, run.regionNode, segmentIds).masks
        elif kind == "segments":
            masks = regionMasks(run.regionNode, next(iter(run.maps.values())))
        else:
            return {}
    except InputError:
        return {}  # the region was changed since, or lies under another transform
    return {name: mask for name, mask in masks.items() if mask.shape == tuple(geometry.shape)}


def _fitted(run: Run, geometry: Geometry) -> np.ndarray:
    if run.status is not None:
        status, _grid = arrayFromVolumeNode(run.status)
        if status.shape == tuple(geometry.shape):
            return status != Status.OUTSIDE
    return np.ones(geometry.shape, bool)


def _onGridOf(node, geometry: Geometry, other: RecognisedMap) -> np.ndarray:
    """Return the other map [mm²/s] on the grid of a node, transforms above both applied; NaN where it has no value."""
    values, grid = arrayFromVolumeNode(other.node)
    values = values.astype(np.float32) * np.float32(other.scale)
    values[values == 0] = np.nan
    matrices = worldMatrix(other.node), worldMatrix(node)
    if any(matrix is None for matrix in matrices):
        raise InputError("A map lies under a transform that is not linear; harden the transform first.")
    theirs = Geometry(grid.shape, matrices[0] @ grid.affine)
    ours = Geometry(geometry.shape, matrices[1] @ geometry.affine)
    moved = ImportedMap(other.key, values, theirs, "mm²/s", "scanner", other.node.GetName())
    return on_grid(moved, ours).volume


def _inPercent(difference: dict[str, Any], scanner: dict[str, Any]) -> dict[str, Any]:
    row = {**difference, "what": PERCENT, "unit": "%", "sd": np.nan, "p5": np.nan, "p95": np.nan}
    for name in ("mean", "median"):
        row[name] = 100 * difference[name] / scanner[name] if scanner[name] else np.nan
    return row
