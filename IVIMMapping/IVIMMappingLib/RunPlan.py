"""What a run is to do, checked before anything begins."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer

from ivimcore.data.series import AVERAGING
from ivimcore.errors import InputError
from ivimcore.jobs.job import Request
from ivimcore.physics.acquisition import Acquisition

from .RegionChoice import Region
from .SeriesReader import SeriesInScene


@dataclass(frozen=True, eq=False)
class RunPlan:
    """A run before it begins; make one with `planRun`.

    `images` (m,) indices from 0 of the images used; `acquisition` their b-values; `name` heads the names of the nodes,
    `folderName` is what the person called the run, or empty; `settings` what is kept to bring the choices back.
    """

    scene: slicer.vtkMRMLScene
    series: SeriesInScene
    images: np.ndarray
    acquisition: Acquisition
    average: str
    region: Region
    requests: tuple[Request, ...]
    name: str
    folderName: str
    settings: dict[str, Any]
    regionNode: Any = None
    transformNode: Any = None
    runId: str = field(default_factory=lambda: f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}")


def planRun(
    scene: slicer.vtkMRMLScene, series: SeriesInScene, bvalues: Sequence[float], used: Sequence[bool], average: str,
    region: Region, requests: Sequence[Request], folderName: str = "", settings: Mapping[str, Any] | None = None,
    regionNode=None,
) -> RunPlan:
    """Check everything that can be checked before a run begins. Raises InputError with what is wrong and what to do."""
    bvalues = np.asarray(bvalues, dtype=float).ravel()
    used = np.asarray(used, dtype=bool).ravel()
    for values, what in ((bvalues, "b-values"), (used, "marks of used images")):
        if values.size != series.count:
            raise InputError(
                f"There are {values.size} {what} for the {series.count} images of '{series.name}'; give one per image."
            )
    if not used.any():
        raise InputError("No image is used; use at least the images of four different b-values.")
    missing = [str(number + 1) for number in np.flatnonzero(used & ~np.isfinite(bvalues))]
    if missing:
        raise InputError(
            f"{len(missing)} of the images used have no b-value (image {', '.join(missing[:5])}"
            f"{' ...' if len(missing) > 5 else ''}); type, paste or load their b-values, or leave them out."
        )
    if average not in AVERAGING:
        raise InputError(f"Unknown averaging '{average}'; choose one of {', '.join(AVERAGING)}.")
    acquisition = Acquisition(bvalues[used])
    requests = tuple(requests)
    if not requests:
        raise InputError("No estimator is chosen; choose at least one.")
    names = [request.name for request in requests]
    if len(set(names)) < len(names):
        raise InputError("An estimator is chosen twice; choose each one once.")
    for request in requests:
        for problem in request.make().problems(acquisition):
            if problem.blocks:
                raise InputError(str(problem))
    for mask in (region.mask, *region.masks.values()):
        if mask.shape != tuple(series.geometry.shape):
            raise InputError(
                f"The region has {mask.shape} voxels, the series {tuple(series.geometry.shape)}; choose the region "
                "again, it was made for another series."
            )
    if not region.mask.any():
        raise InputError("The region is empty; draw or choose a region with at least one voxel.")
    kept = {
        **(settings or {}), "bvalues": [float(b) if np.isfinite(b) else None for b in bvalues],
        "used": [bool(flag) for flag in used], "average": average, "region": region.sentence,
        "estimators": [{"name": request.name, "options": request.options} for request in requests],
    }
    return RunPlan(
        scene, series, np.flatnonzero(used), acquisition, average, region, requests, series.name, folderName.strip(),
        kept, regionNode, series.transformNode(),
    )
