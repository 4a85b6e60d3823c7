"""What is written beside the maps of a job: statistics and curves of regions, a learned prior, a figure, a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.output import REGIONS, write_labels
from ..jobs.events import Emit
from ..jobs.job import Companion, Outcome
from .figures import plot_region_curves
from .priorfigure import plot_prior
from .roistatistics import COLUMNS, MEAN_FIT_COLUMNS, RegionCurve, fit_region_means, region_statistics, write_csv
from .scene import write_scene

CURVE_COLUMNS = ("estimator", "region", "kind", "b", "signal", "sd")
"""Columns of region_curves.csv: kind is 'measured', 'fitted' or 'tissue'; b [s/mm²], signal and sd [signal units]."""


def companions(figure: bool = False, scene: bool = False, truth: Path | None = None) -> list[Companion]:
    """Return what `run` should write beside the maps.

    Statistics and a learned prior are always written. Arguments: `figure` overview.png, region_curves.png and
    prior.png; `scene` scene.mrb; `truth` a folder of maps that are shown as one more run (of a phantom).
    """

    def all_of_them(outcome: Outcome, folder: Path, emit: Emit) -> None:
        for name, curves in write_statistics(outcome, folder).items():
            if figure:
                plot_region_curves(curves, outcome.folders[name] / "region_curves.png", f"{outcome.job.name}: {name}")
        for name in outcome.results:
            write_prior(outcome, name, figure)
        if figure or scene:
            write_scene(outcome, folder, emit, overview=figure, scene=scene, truth=truth)

    return [all_of_them]


def write_statistics(outcome: Outcome, folder: Path) -> dict[str, list[RegionCurve]]:
    """Write roi_statistics.csv, region_means.csv and region_curves.csv of every estimator; return its curves.

    Each estimator's folder gets its own rows; with several estimators the output folder gets all of them too. Drawn
    regions are kept beside them as regions.seg.nrrd, whole where they overlap.
    """
    if outcome.labels is not None:
        write_labels(outcome.labels, outcome.names, outcome.series.geometry, folder / REGIONS, outcome.masks)
    every: dict[str, list] = {"roi_statistics.csv": [], "region_means.csv": [], "region_curves.csv": []}
    columns = dict(zip(every, (COLUMNS, MEAN_FIT_COLUMNS, CURVE_COLUMNS), strict=True))
    every_curve: dict[str, list[RegionCurve]] = {}
    for name, fit in outcome.results.items():
        regions = outcome.regions
        statistics = region_statistics(fit.all_maps(), outcome.series.geometry, *regions, estimator=name)
        means, curves = fit_region_means(outcome.estimators[name], outcome.series, *regions)
        tables = dict(zip(every, (statistics, means, _curve_rows(curves)), strict=True))
        every_curve[name] = curves
        for file, rows in tables.items():
            write_csv(outcome.folders[name] / file, rows, columns[file])
            every[file] += rows
    if len(outcome.results) > 1:
        for file, rows in every.items():
            write_csv(folder / file, rows, columns[file])
    return every_curve


def write_prior(outcome: Outcome, name: str, figure: bool) -> None:
    """Write the prior that an estimator learned from the series: prior.npz, and with `figure` prior.png.

    The file is what the option `prior_file` of the prior 'file' takes, for a second session or a cohort. Nothing is
    written where the estimator learns no prior of the whole region, or found the region too small to teach one.
    """
    estimator = outcome.estimators[name]
    learn = getattr(estimator, "learn", None)
    if learn is None or getattr(estimator, "prior", None) != "learned":
        return
    if outcome.results[name].provenance.get("prior", {}).get("kind") != "learned":
        return
    # A result does not carry its prior. Learning is seeded, so a second pass over the sample gives the same one; it
    # costs some seconds, of which the fit has spent the same.
    prior = learn(outcome.series.signal, outcome.series.acquisition, outcome.mask)
    prior.save(outcome.folders[name] / "prior.npz")
    if figure:
        plot_prior(prior, outcome.folders[name] / "prior.png", f"{outcome.job.name}: learned prior")


def _curve_rows(curves: list[RegionCurve]) -> list[dict[str, object]]:
    rows = []
    for curve in curves:
        fine = np.full(curve.fine_b.size, np.nan)
        for kind, b, signal, sd in (
            ("measured", curve.bvalues, curve.mean, curve.sd_of_mean),
            ("fitted", curve.fine_b, curve.fitted, fine),
            ("tissue", curve.fine_b, curve.tissue, fine),
        ):
            rows += [
                {"estimator": curve.estimator, "region": curve.region, "kind": kind, "b": x, "signal": y, "sd": e}
                for x, y, e in zip(b, signal, sd, strict=True)
            ]
    return rows
