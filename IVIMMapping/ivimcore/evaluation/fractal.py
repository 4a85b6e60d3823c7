"""The benchmark `fractal`: what neighbours are good for, on maps whose truth is spatially correlated, and their price.

Part one: 40 maps of 128 x 128 voxels with 16 b-values, seven tissues of very different signal with slow variation
inside each (fractal noise; Kaandorp, thesis, section 3.3, Paper III), SNR 200 for S0 = 1. Median absolute (MDAPE) and
signed (MDPE) and mean absolute (MAPE) percentage error, over everything and by the SNR of the voxel, and how sharp
borders between tissues stay.

Part two, the check for what was wiped out or invented: maps with lesions of 3 x 3 voxels of twice the f, single voxels
and thin vessels at SNR 30 (`physics.findings`).

* Borders: estimated step between two touching voxels of different tissue / true step, by regression; 100 % is sharp.
* Kept: contrast of a lesion / true contrast (2), as in the benchmark `lesion`, and in brackets the excess over 1 that
  was kept, which is 0 where the lesion has vanished. For voxels and vessels the excess alone: (f inside - f of the rest
  of the window) / the true one.
* Spread: the same excess in the voxels that touch the finding, which have none.
* Coverage: how often intervals of 90 % hold the truth.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.output import OutputFolder
from ..physics.findings import LESION_RATIO, FindingMaps, finding_maps
from ..physics.fractal import SEVEN_TISSUES, FractalMaps, fractal_maps
from ..physics.parameters import PARAMETERS
from ..reports import fractalfigures, roistatistics
from .benchmarks import number
from .coverage import covered
from .metrics import mape, mdape, mdpe, missing_share, nrmse
from .neighbourmean import LABEL, NeighbourMean
from .requests import make

Array = np.ndarray
NAME = "fractal"
DESCRIPTION = "Maps of fractal noise with seven tissues: errors by SNR, borders, small findings, for spatial networks."
KEYS = ("D", "f", "Dstar")
SNR, FINDING_SNR = 200.0, 30.0
MAPS, FINDING_MAPS, SHAPE, SEED = 40, 16, (128, 128, 1), 20231201
BOUNDS = {"D": (0.0, 3e-3), "f": (0.0, 0.5), "Dstar": (3e-3, 0.1)}
"""What 'bounds=benchmark' means here: the ranges of the trained networks (Paper II)."""
REGIONS = (("low", 0.0, 50.0), ("middle", 50.0, 100.0), ("high", 100.0, np.inf))
"""Regions by the SNR of a voxel, true S0 / sigma."""
SMALLEST_STEP = 0.2
"""Smallest true step at a border, relative to the mean of both sides, that sharpness is measured at."""
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "unit", "n", "nrmse", "mdape", "mdpe", "mape", "missing_share",
    *(f"{metric}_{region}" for region, _, _ in REGIONS for metric in ("mdape", "mdpe")), "border", "coverage90",
    "finding_snr", "lesions", "lesion_contrast", "lesion_kept", "lesion_excess", "lesion_spread", "voxel_kept",
    "voxel_spread", "vessel_kept", "vessel_spread", "invented", "us_per_voxel",
)
"""Keys of a row, in the order of the CSV file; those of the findings concern f and are the same in all three rows."""


def run(
    estimators: Iterable[str | tuple[str, Any]],
    snrs: Sequence[float] | None = None,
    maps: int = MAPS,
    shape: tuple[int, int, int] = SHAPE,
    seed: int = SEED,
    progress: Callable[[int, int], bool | None] | None = None,
) -> list[dict[str, Any]]:
    """Measure estimators; least squares of the 3 x 3 mean is added to them.

    Arguments: `estimators` as in `requests.make`; `snrs` S0 / sigma [1] of part one; `maps` number of maps, of part two
    no more than that; `shape` of a map; `seed`; `progress(done, total)` is called after each estimator and stops the
    run by returning False.
    Returns: one row per SNR, estimator and parameter with the keys `COLUMNS`, and `per_map` and `picture`, which are
    for figures. Raises InputError for an unknown estimator.
    """
    fits = [*(make(estimator, BOUNDS) for estimator in estimators), (LABEL, NeighbourMean())]
    small = [finding_maps(FINDING_SNR, seed + number, shape) for number in range(min(maps, FINDING_MAPS))]
    levels = tuple([SNR] if snrs is None else snrs)
    rows: list[dict[str, Any]] = []
    whole = np.ones(shape, dtype=bool)
    for snr in levels:
        objects = [fractal_maps(shape, snr, seed + n, SEVEN_TISSUES, "brain16", lesions=0) for n in range(maps)]
        for label, estimator in fits:
            start = time.perf_counter()
            results = [estimator.fit(item.signal, item.acquisition, whole) for item in objects]
            seconds = time.perf_counter() - start
            findings = findings_kept(small, [estimator.fit(item.signal, item.acquisition, whole) for item in small])
            rows += _rows(label, float(snr), objects, results, findings, 1e6 * seconds / (maps * whole.size))
            if progress is not None and progress(len(rows) // 3, len(levels) * len(fits)) is False:
                return rows
    return rows


def borders(estimate: Array, item: FractalMaps, key: str) -> tuple[Array, Array]:
    """Return estimated and true steps (k,) between touching voxels of different tissue, two voxels deep on each side.

    Steps smaller than `SMALLEST_STEP` of the mean of both sides are left out.
    """
    found, true = [], []
    for axis in (0, 1):
        tissue, values, map_ = (np.moveaxis(part[..., 0], axis, 0) for part in (item.tissue, item.truth[key], estimate))
        clean = (tissue[:-3] == tissue[1:-2]) & (tissue[2:-1] == tissue[3:]) & (tissue[1:-2] != tissue[2:-1])
        step = values[2:-1] - values[1:-2]
        clean &= np.abs(step) > SMALLEST_STEP * 0.5 * (values[2:-1] + values[1:-2])
        true.append(step[clean])
        found.append((map_[2:-1] - map_[1:-2])[clean])
    return np.concatenate(found), np.concatenate(true)


def findings_kept(maps: Sequence[FindingMaps], results: Sequence[Any]) -> dict[str, float]:
    """Measure what is left of findings in maps of f; keys as in `COLUMNS`, medians over the findings."""
    kept: dict[str, list[float]] = {}
    for item, fit in zip(maps, results, strict=True):
        true = item.truth["f"].reshape(-1)
        f = np.asarray(fit.maps["f"], dtype=float).reshape(-1) if "f" in fit.maps else np.full(true.size, np.nan)
        for finding in item.findings:
            inside, near, rest = (_mean(f[part]) for part in (finding.inside, finding.near, finding.rest))
            if finding.kind == "nothing":
                kept.setdefault("nothing", []).append(inside / rest)
                continue
            excess = true[finding.inside].mean() - true[finding.rest].mean()
            kept.setdefault(f"{finding.kind}_excess", []).append((inside - rest) / excess)
            # The tissue itself varies slowly: what is true there is no spread.
            slope = true[finding.near].mean() - true[finding.rest].mean()
            kept.setdefault(f"{finding.kind}_spread", []).append((near - rest - slope) / excess)
            if finding.kind == "lesion":
                kept.setdefault("contrast", []).append(inside / rest)
    middle = {key: float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan for key, values in kept.items()}
    nothing = np.array(kept.get("nothing", [np.nan]))
    return {
        "lesions": len(kept.get("contrast", [])), "lesion_contrast": middle.get("contrast", np.nan),
        "lesion_kept": middle.get("contrast", np.nan) / LESION_RATIO,
        "lesion_excess": middle.get("lesion_excess", np.nan), "lesion_spread": middle.get("lesion_spread", np.nan),
        "voxel_kept": middle.get("voxel_excess", np.nan), "voxel_spread": middle.get("voxel_spread", np.nan),
        "vessel_kept": middle.get("vessel_excess", np.nan), "vessel_spread": middle.get("vessel_spread", np.nan),
        # Half way between nothing and the truth somebody would see a lesion.
        "invented": float((nothing > (1 + LESION_RATIO) / 2).mean()) if np.isfinite(nothing).any() else np.nan,
    }  # fmt: skip


def _mean(values: Array) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else np.nan


def _rows(
    label: str, snr: float, objects: list[FractalMaps], results: list[Any], findings: dict[str, float],
    microseconds: float,
) -> list[dict[str, Any]]:
    """Score the fits of all maps by one estimator."""
    missing = np.full(objects[0].tissue.shape, np.nan)
    levels = np.concatenate([item.truth["S0"].ravel() for item in objects]) * snr
    rows = []
    for key in KEYS:
        maps = [np.asarray(fit.maps.get(key, missing), dtype=float) for fit in results]
        truth = np.concatenate([item.truth[key].ravel() for item in objects])
        found = np.concatenate([one.ravel() for one in maps])
        hit = np.concatenate([covered(fit, key, item.truth[key], 0.90).ravel()
                              for item, fit in zip(objects, results, strict=True)])  # fmt: skip
        steps, true = (np.concatenate(part) for part in zip(
            *(borders(one, item, key) for one, item in zip(maps, objects, strict=True)), strict=True))  # fmt: skip
        there = np.isfinite(steps)
        regions = {}
        for region, low, high in REGIONS:
            here = (levels >= low) & (levels < high)
            regions[f"mdape_{region}"] = mdape(found[here], truth[here])
            regions[f"mdpe_{region}"] = mdpe(found[here], truth[here])
        rows.append({
            "benchmark": NAME, "estimator": label, "snr": snr, "parameter": key, "unit": PARAMETERS[key].unit,
            "n": truth.size, "nrmse": nrmse(found, truth), "mdape": mdape(found, truth), "mdpe": mdpe(found, truth),
            "mape": mape(found, truth), "missing_share": missing_share(found), **regions,
            "border": float((steps[there] * true[there]).sum() / (true[there] ** 2).sum()) if there.any() else np.nan,
            "coverage90": _mean(hit), "finding_snr": FINDING_SNR, **findings, "us_per_voxel": microseconds,
            "per_map": [mdape(one, item.truth[key]) for one, item in zip(maps, objects, strict=True)],
            "picture": (objects[0].truth[key][..., 0], maps[0][..., 0]),
        })  # fmt: skip
    return rows


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as two tables for the shell and each SNR: errors, and what is left of borders and findings."""
    if not rows:
        return "No estimator was measured."
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        block = [row for row in rows if row["snr"] == snr]
        lines.append(f"{NAME}, SNR {snr:g} for S0 = 1, {block[0]['n']} voxels; D / f / D* in each cell, errors in %")
        errors = [("estimator", "MDAPE", "MDPE", "MAPE", "MDAPE, SNR < 50", "MDPE, SNR < 50", "MDAPE, SNR > 100",
                   "90 % covers", "missing D*", "µs/voxel")]  # fmt: skip
        small = [("estimator", "border kept [%]", "lesion kept (excess) [%]", "spread", "voxel kept [%]", "spread",
                  "vessel kept [%]", "spread", "invented [%]")]  # fmt: skip
        for label in dict.fromkeys(row["estimator"] for row in block):
            three = [row for row in block if row["estimator"] == label]
            one = three[0]
            errors.append((
                label, _three(three, "mdape", 1), _three(three, "mdpe", 1, "+"), _three(three, "mape", 0),
                _three(three, "mdape_low", 1), _three(three, "mdpe_low", 1, "+"), _three(three, "mdape_high", 1),
                _three(three, "coverage90", 0, factor=100), number(100 * three[2]["missing_share"], 1),
                number(one["us_per_voxel"], 1),
            ))
            percent = {key: number(100 * one[key], 0) for key in COLUMNS if key.startswith(("lesion_", "v", "inv"))}
            small.append((
                label, _three(three, "border", 0, factor=100), f"{percent['lesion_kept']} ({percent['lesion_excess']})",
                percent["lesion_spread"], percent["voxel_kept"], percent["voxel_spread"], percent["vessel_kept"],
                percent["vessel_spread"], percent["invented"],
            ))  # fmt: skip
        lines += _columns(errors)
        counted = f"{block[0]['lesions']} lesions of 3 x 3 voxels with twice the f, as many single voxels, vessels"
        lines += ["", f"Findings: {counted} and empty places, SNR {block[0]['finding_snr']:g}", *_columns(small), ""]
    return "\n".join(lines).rstrip()


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]


def _three(rows: Sequence[Mapping[str, Any]], key: str, digits: int, sign: str = "", factor: float = 1.0) -> str:
    return " / ".join(number(row[key] * factor, digits, sign) for row in rows)


def write_all(folder: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write table and figures into a folder, complete or not at all; return their paths."""
    folder = Path(folder)
    written = [f"{NAME}.csv", f"{NAME}_boxes.png", f"{NAME}_maps.png"]
    with OutputFolder(folder) as work:
        roistatistics.write_csv(work / written[0], rows, COLUMNS)
        fractalfigures.plot_boxes(rows, work / written[1])
        fractalfigures.plot_maps(rows, work / written[2])
    return [folder / file for file in written]
