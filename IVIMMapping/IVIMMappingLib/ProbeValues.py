"""What the maps of a run say at one position in space: values, the sentence of the status, the fitted curve."""

from __future__ import annotations

import math

import numpy as np
import slicer
import vtk

from ivimcore.estimators.result import SENTENCES, Status
from ivimcore.reports.roistatistics import fitted_curves

from .MapDescription import DEVIATION_SUFFIX
from .Runs import Run
from .StatisticsTable import rowsOfTable

CURVE_POINTS = 301
NOWHERE = "Outside the volume."


def voxelAt(node: slicer.vtkMRMLVolumeNode, ras) -> tuple[int, int, int] | None:
    """Return the voxel (i, j, k) of a volume at a position (3,) [mm] in world RAS; None outside the volume.

    The transform above the node, linear or not, is taken into account.
    """
    if node is None or node.GetImageData() is None:
        return None
    point = [float(x) for x in ras]
    parent = node.GetParentTransformNode()
    if parent is not None:
        fromWorld = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, parent, fromWorld)
        point = fromWorld.TransformPoint(point)
    matrix = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(matrix)
    ijk = tuple(math.floor(x + 0.5) for x in matrix.MultiplyPoint([*point, 1.0])[:3])
    inside = all(0 <= index < size for index, size in zip(ijk, node.GetImageData().GetDimensions(), strict=True))
    return ijk if inside else None


def valuesAt(run: Run, ras) -> dict[str, tuple[float, float]]:
    """Return (value, standard deviation) of every map of a run at a position (3,) [mm], by parameter key.

    Stored units; NaN where there is no value, or no map of the deviation. Empty outside the volume.
    """
    ijk = next((voxelAt(node, ras) for node in run.maps.values()), None)
    if ijk is None:
        return {}
    return {
        key: (_valueOf(node, ijk), _valueOf(run.maps.get(key + DEVIATION_SUFFIX), ijk))
        for key, node in run.maps.items() if not key.endswith(DEVIATION_SUFFIX)
    }


def statusSentence(run: Run, ras) -> str:
    """Return why the voxel at a position (3,) [mm] has, or has not, a value; empty where the run has no status."""
    if run.status is None:
        return ""
    ijk = voxelAt(run.status, ras)
    if ijk is None:
        return NOWHERE
    code = int(_valueOf(run.status, ijk))
    return SENTENCES[Status(code)] if code in set(Status) else f"Unknown status {code}."


def curveAt(run: Run, ras) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return b (m,) [s/mm²], the fitted signal (m,) and its part without perfusion (m,) [signal units] at a position.

    The curve comes from the maps, so it is exactly what they say. None where the voxel has no fit.
    """
    return _curve(run, {key: value for key, (value, _) in valuesAt(run, ras).items()})


def regionCurves(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the same for the fit of the mean signal of each region, by its name; regions without a fit left out."""
    if run.regionNumbers is None:
        return {}
    values: dict[str, dict[str, float]] = {}
    for row in rowsOfTable(run.regionNumbers):
        values.setdefault(row["region"], {})[row["map"]] = row["fit of the mean signal"]
    curves = {region: _curve(run, found) for region, found in values.items()}
    return {region: curve for region, curve in curves.items() if curve is not None}


def _valueOf(node, ijk) -> float:
    if node is None or node.GetImageData() is None:
        return math.nan
    return node.GetImageData().GetScalarComponentAsDouble(*ijk, 0)


def _curve(run: Run, values: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    used = run.provenance.get("bvalues_used") or [1000.0]
    fineB = np.linspace(0.0, max(float(max(used)), 1.0), CURVE_POINTS)
    fitted, tissue = fitted_curves(fineB, values)
    return (fineB, fitted, tissue) if np.isfinite(fitted).any() else None
