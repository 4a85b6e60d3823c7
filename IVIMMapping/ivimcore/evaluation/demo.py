"""The main job on a generated phantom: everything a real series goes through, with the truth beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data.output import OutputFolder, write_images, write_labels, write_volume
from ..data.phantom_series import series_of_phantom
from ..errors import InputError
from ..estimators.result import Status
from ..jobs.events import Emit
from ..jobs.job import Job, Outcome, Request, run
from ..physics.parameters import PARAMETERS
from ..physics.phantom import Phantom, abdomen
from ..reports.companions import companions
from ..reports.figures import plot_estimates_against_truth
from ..reports.roistatistics import write_csv
from .metrics import mdape, mdpe, missing_share

KEYS = ("D", "f", "Dstar")
REGIONS = ("liver", "spleen", "kidney cortex", "pancreas", "liver metastasis", "lesion")
"""Tissues of the phantom that serve as regions of interest."""
COLUMNS = ("estimator", "tissue", "voxels", "map", "unit", "truth", "median", "mdape", "mdpe", "missing_share")
"""Columns of errors.csv: truth and median in stored units, mdape and mdpe in %."""


def run_demo(
    out: Path, emit: Emit, snr: float = 40.0, seed: int = 1, scene: bool = True, threads: int | None = None,
    shape: tuple[int, int, int] = (112, 112, 10), estimators: tuple[str, ...] = ("nlls", "posterior"),
) -> str:
    """Make a phantom, fit it, and compare with its truth.

    Writes into `out`: the series as it would come from a scanner (phantom/dwi.nii.gz with dwi.bval, regions), the truth
    (phantom/truth), maps, statistics, figures and scene as `ivim map` writes them, errors.csv and truth.png.
    Returns the table of errors. Raises InputError for an SNR that is not positive.
    """
    if not (np.isfinite(snr) and snr > 0):
        raise InputError(f"The SNR is {snr:g}; give a positive number.")
    phantom = abdomen(shape=shape, snr=snr, seed=seed)
    with OutputFolder(out / "phantom") as folder:
        _write_phantom(phantom, folder)
    rows: list[dict] = []

    def compare(outcome: Outcome, folder: Path, _: Emit) -> None:
        rows.extend(error_rows(phantom, outcome))
        write_csv(folder / "errors.csv", rows, COLUMNS)
        kept = {key: phantom.truth[key][phantom.mask] for key in KEYS}
        found = {name: {key: fit.maps[key][phantom.mask] for key in KEYS} for name, fit in outcome.results.items()}
        plot_estimates_against_truth(kept, found, folder / "truth.png", f"Digital phantom, SNR {snr:g}")

    source = out / "phantom"
    job = Job(
        inputs=(str(source / "dwi.nii.gz"),), out=str(out), estimators=tuple(Request(name) for name in estimators),
        mask=str(source / "mask.nii.gz"), rois=str(source / "regions.seg.nrrd"), threads=threads, name="Phantom",
    )
    run(job, emit, companions=[*companions(figure=scene, scene=scene, truth=source / "truth"), compare])
    return format_errors(rows, snr)


def _write_phantom(phantom: Phantom, folder: Path) -> None:
    series = series_of_phantom(phantom)
    write_images(series.signal, series.geometry, folder / "dwi.nii.gz")
    bvalues = " ".join(f"{b:g}" for b in series.acquisition.bvalues)
    (folder / "dwi.bval").write_text(bvalues + "\n", encoding="utf-8")
    write_volume(phantom.mask.astype(np.uint8), series.geometry, folder / "mask.nii.gz")
    names = {label: name for label, name in phantom.names.items() if name in REGIONS}
    regions = np.where(np.isin(phantom.labels, list(names)), phantom.labels, 0)
    write_labels(regions, names, series.geometry, folder / "regions.seg.nrrd")
    (folder / "truth").mkdir()
    for key, volume in phantom.truth.items():
        write_volume(volume.astype(np.float32), series.geometry, folder / "truth" / f"{key}.nii.gz")


def error_rows(phantom: Phantom, outcome: Outcome) -> list[dict]:
    """Compare every estimator's maps with the truth, per tissue and over the whole body; see `COLUMNS`."""
    regions = {"whole body": phantom.mask, **{name: phantom.labels == label for label, name in phantom.names.items()}}
    rows = []
    for estimator, fit in outcome.results.items():
        for tissue, inside in regions.items():
            for key in KEYS:
                truth, found = phantom.truth[key][inside].astype(float), fit.maps[key][inside].astype(float)
                rows.append({
                    "estimator": estimator, "tissue": tissue, "voxels": int(inside.sum()), "map": key,
                    "unit": PARAMETERS[key].unit, "truth": float(np.median(truth)),
                    "median": float(np.nanmedian(found)) if np.isfinite(found).any() else np.nan,
                    "mdape": mdape(found, truth), "mdpe": mdpe(found, truth),
                    "missing_share": missing_share(found),
                })
    return rows


def format_errors(rows: list[dict], snr: float) -> str:
    """Write the comparison as a table: truth, and median estimate with the median absolute error, per tissue."""
    estimators = list(dict.fromkeys(row["estimator"] for row in rows))
    head = ["tissue", "voxels", *(f"{PARAMETERS[key].label} truth" for key in KEYS)]
    lines = [f"Digital phantom, SNR {snr:g} at b = 0 of the liver: median estimate (median absolute error)", ""]
    table = [head]
    for tissue in dict.fromkeys(row["tissue"] for row in rows):
        cells = {(row["estimator"], row["map"]): row for row in rows if row["tissue"] == tissue}
        first = cells[estimators[0], "D"]
        table.append([tissue, str(first["voxels"]), *(_shown(key, cells[estimators[0], key]["truth"]) for key in KEYS)])
        for estimator in estimators:
            table.append([
                f"  {estimator}", "",
                *(
                    f"{_shown(key, cells[estimator, key]['median'])} ({cells[estimator, key]['mdape']:.0f} %)"
                    for key in KEYS
                ),
            ])
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines += ["", f"A voxel with f = 0 has no D* ({Status.NO_PERFUSION.name} in the status map) and does not count."]
    return "\n".join(lines)


def _shown(key: str, value: float) -> str:
    return f"{value * PARAMETERS[key].display_factor:.3g}"
