"""The benchmark `lesion`: what an estimator does to a small finding, beside what it gains everywhere else.

Priors that an image teaches, and neighbours that speak for each other, lower the error of nearly every voxel and may
wipe out the one that matters. So errors over the whole map stand beside the contrast that lesions of 3 x 3 voxels keep,
and beside the contrast that appears where there is none.

* Contrast: mean f of the lesion / mean f of its ring (7 x 7 without the lesion); the truth is 1.79 in every lesion. The
  table shows the median over lesions.
* Kept (the headline): contrast / 1.79. Beside it `kept_excess`, (contrast - 1) / 0.79, which is 0 where the lesion has
  vanished; the headline is then still 56 %.
* False positives: the share of places without a lesion, inside one tissue like the lesions, whose contrast exceeds the
  one that finds half of the true lesions. The threshold is the estimator's own, so that neither shrinking all contrasts
  nor stretching them helps. `false_fixed` is the share above 1.395, half way between nothing and the truth: how
  often a person who reads the numbers as they are sees a lesion in nothing.
* Coverage: how often intervals of 90 % hold the truth, in lesions and elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.output import OutputFolder
from ..physics.fractal import LESION_RATIO, FractalMaps, fractal_maps, lesion_and_ring
from ..physics.parameters import PARAMETERS
from ..reports import evaluationfigures, roistatistics
from .benchmarks import number
from .coverage import covered
from .metrics import mdape, mdpe, missing_share
from .requests import make

Array = np.ndarray
NAME = "lesion"
DESCRIPTION = "Brain-like maps of fractal noise with 3 x 3 lesions: errors, contrast kept, false positives, coverage."
KEYS = ("D", "f", "Dstar")
SNRS = (20.0, 40.0)
MAPS, LESIONS, SHAPE, SEED = 6, 10, (128, 128, 1), 20240501
BOUNDS = {"D": (0.4e-3, 1.2e-3), "f": (0.02, 0.15), "Dstar": (5e-3, 50e-3)}
"""What 'bounds=benchmark' means here: the brain-like ranges, in which nearly all of the truth lies."""
HALF_WAY = (1 + LESION_RATIO) / 2
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "unit", "voxels", "mdape", "mdpe", "missing_share", "lesions",
    "contrast", "contrast_se", "contrast_q1", "contrast_q3", "contrast_truth", "kept", "kept_excess", "shams",
    "false_positives", "false_fixed", "coverage90_lesion", "coverage90_elsewhere", "us_per_voxel",
)
"""Keys of a row, in the order of the CSV file; those of the lesions are the same in the rows of D, f and D*."""


def run(
    estimators: Iterable[str | tuple[str, Any]],
    snrs: Sequence[float] | None = None,
    maps: int = MAPS,
    shape: tuple[int, int, int] = SHAPE,
    seed: int = SEED,
    known_sigma: bool = True,
    progress: Callable[[int, int], bool | None] | None = None,
) -> list[dict[str, Any]]:
    """Measure estimators on maps with lesions.

    Arguments: `estimators` as in `requests.make`; `snrs` S0 / sigma [1]; `maps` number of independent maps, each fitted
    as a volume of its own; `shape` of a map; `seed`; `known_sigma` tells the estimators the noise level;
    `progress(done, total)` is called after each fit and stops the run by returning False.
    Returns: one row per SNR, estimator and parameter with the keys `COLUMNS`, and `picture`, which is for figures.
    Raises InputError for an unknown estimator.
    """
    fits = [make(estimator, BOUNDS) for estimator in estimators]
    levels = tuple(SNRS if snrs is None else snrs)
    rows: list[dict[str, Any]] = []
    done = 0
    for snr in levels:
        objects = [fractal_maps(shape, snr, seed + number, lesions=LESIONS) for number in range(maps)]
        for label, estimator in fits:
            results, seconds = [], 0.0
            for item in objects:
                acquisition = item.acquisition if known_sigma else replace(item.acquisition, sigma=None)
                start = time.perf_counter()
                results.append(estimator.fit(item.signal, acquisition, np.ones(shape, dtype=bool)))
                seconds += time.perf_counter() - start
            rows += _rows(label, float(snr), objects, results, 1e6 * seconds / (maps * np.prod(shape)))
            done += 1
            if progress is not None and progress(done, len(levels) * len(fits)) is False:
                return rows
    return rows


def contrasts(f: Array, centres: Array) -> Array:
    """Compute mean f in 3 x 3 voxels / mean f in the ring around them.

    Arguments: `f` (x, y, z), NaN where there is no estimate; `centres` (m, 3) voxel indices.
    Returns: contrast (m,) [1]; NaN where lesion or ring have no estimate, or the ring has f = 0.
    """
    values = []
    for centre in centres:
        inside, around = (f[mask] for mask in lesion_and_ring(centre, f.shape))
        inside, around = inside[np.isfinite(inside)], around[np.isfinite(around)]
        there = inside.size and around.size and around.mean() > 0
        values.append(inside.mean() / around.mean() if there else np.nan)
    return np.array(values, dtype=float)


def false_positive_shares(lesions: Array, shams: Array) -> tuple[float, float]:
    """Compute the share of places without a lesion that look like one.

    Arguments: `lesions` (m,) and `shams` (k,) contrasts [1]; a place without a contrast shows no lesion.
    Returns: share above the contrast that finds half of the lesions, and share above half of the true contrast [1].
    """
    if not (lesions.size and shams.size):
        return np.nan, np.nan
    threshold = np.median(np.where(np.isfinite(lesions), lesions, -np.inf))
    shams = np.where(np.isfinite(shams), shams, -np.inf)
    return float((shams >= threshold).mean()), float((shams > HALF_WAY).mean())


def _rows(label: str, snr: float, objects: list[FractalMaps], results: list, microseconds: float) -> list[dict]:
    """Score the fits of all maps of one SNR by one estimator."""
    pairs = list(zip(objects, results, strict=True))
    missing = np.full(objects[0].tissue.shape, np.nan)
    f = [np.asarray(fit.maps.get("f", missing), dtype=float) for fit in results]
    lesions, shams = (
        np.concatenate([contrasts(found, getattr(item, places)) for found, item in zip(f, objects, strict=True)])
        for places in ("lesions", "shams")
    )
    seen = lesions[np.isfinite(lesions)]
    q1, contrast, q3 = np.quantile(seen, (0.25, 0.5, 0.75)) if seen.size else (np.nan,) * 3
    false_positives, false_fixed = false_positive_shares(lesions, shams)
    inside = np.concatenate([item.lesion_mask.ravel() for item in objects])
    rows = []
    for key in KEYS:
        truth = np.concatenate([item.truth[key].ravel() for item in objects])
        found = np.concatenate([np.ravel(fit.maps.get(key, missing)) for fit in results]).astype(float)
        hit = np.concatenate([covered(fit, key, item.truth[key], 0.90).ravel() for item, fit in pairs])
        rows.append({
            "benchmark": NAME, "estimator": label, "snr": snr, "parameter": key, "unit": PARAMETERS[key].unit,
            "voxels": truth.size, "mdape": mdape(found, truth), "mdpe": mdpe(found, truth),
            "missing_share": missing_share(found), "lesions": lesions.size, "contrast": float(contrast),
            "contrast_se": _error_of_median(seen), "contrast_q1": float(q1), "contrast_q3": float(q3),
            "contrast_truth": LESION_RATIO,
            "kept": float(contrast) / LESION_RATIO, "kept_excess": (float(contrast) - 1) / (LESION_RATIO - 1),
            "shams": shams.size, "false_positives": false_positives, "false_fixed": false_fixed,
            "coverage90_lesion": _mean(hit[inside]), "coverage90_elsewhere": _mean(hit[~inside]),
            "us_per_voxel": microseconds,
            "picture": (objects[0].truth[key], np.asarray(results[0].maps.get(key, missing)), objects[0].lesions),
        })
    return rows


def _error_of_median(values: Array) -> float:
    """Estimate the standard error of a median from the quartiles, as for a normal distribution."""
    if values.size < 2:
        return np.nan
    q1, q3 = np.quantile(values, (0.25, 0.75))
    return float(np.sqrt(np.pi / 2) * (q3 - q1) / 1.349 / np.sqrt(values.size))


def _mean(values: Array) -> float:
    """Average the finite values, NaN without any."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else np.nan


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table for the shell: one block per SNR, one line per estimator."""
    if not rows:
        return "No estimator was measured."
    head = ("estimator", "MDAPE D / f / D* [%]", "MDPE f [%]", "contrast ± SE (quartiles)", "kept (excess) [%]",
            "false pos. [%]", "> 1.395 [%]",
            "90 % covers D / f / D* [%]", "in lesions [%]", "missing D* [%]", "µs/voxel")
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        block = [row for row in rows if row["snr"] == snr]
        table = [head]
        for label in dict.fromkeys(row["estimator"] for row in block):
            three = {row["parameter"]: row for row in block if row["estimator"] == label}
            f = three["f"]
            table.append((
                label, _three(three, "mdape", 1), number(f["mdpe"], 0, "+"),
                f"{number(f['contrast'], 2)} ± {number(f['contrast_se'], 2)} "
                f"({number(f['contrast_q1'], 2)}-{number(f['contrast_q3'], 2)})",
                f"{number(100 * f['kept'], 0)} ({number(100 * f['kept_excess'], 0)})",
                number(100 * f["false_positives"], 1), number(100 * f["false_fixed"], 1),
                _three(three, "coverage90_elsewhere", 0, 100), _three(three, "coverage90_lesion", 0, 100),
                number(100 * three["Dstar"]["missing_share"], 1), number(f["us_per_voxel"], 1),
            ))
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        one = block[0]
        lines.append(f"lesion, SNR {snr:g}, {one['voxels']} voxels, {one['lesions']} lesions of true contrast "
                     f"{one['contrast_truth']:g}, {one['shams']} places without")
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                  for line in table]
        lines.append("")
    return "\n".join(lines).rstrip()


def _three(rows: Mapping[str, Mapping[str, Any]], key: str, digits: int, factor: float = 1.0) -> str:
    return " / ".join(number(rows[parameter][key] * factor, digits) for parameter in KEYS)


def write_all(folder: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write table and figures into a folder, complete or not at all; return their paths."""
    folder = Path(folder)
    with OutputFolder(folder) as work:
        roistatistics.write_csv(work / f"{NAME}.csv", rows, COLUMNS)
        evaluationfigures.plot_lesion(rows, work / f"{NAME}.png")
        evaluationfigures.plot_lesion_maps(rows, work / f"{NAME}_maps.png")
    return [folder / f"{NAME}.csv", folder / f"{NAME}.png", folder / f"{NAME}_maps.png"]
