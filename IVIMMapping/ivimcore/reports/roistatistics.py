"""Numbers of regions: statistics of maps, and the fit of the mean signal.

Regions come as a label image with names, as masks by name (segments may overlap), or not at all: then everything is
one region, 'whole region'.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.series import DwiSeries, Geometry
from ..errors import InputError
from ..physics.parameters import EXTRAS, INFORMATION, INFORMATION_MEANS, PARAMETERS, PERFUSION_EXISTS
from ..physics.signal import biexponential, monoexponential
from ..wholefile import whole_file

Array = np.ndarray
Regions = dict[str, Array]
Labels = Array | Mapping[str, Array] | None

WHOLE = "whole region"
COLUMNS = (
    "estimator", "region", "map", "unit", "n", "mean", "sd", "median", "q1", "q3", "p5", "p95", "pnr",
    "voxels", "volume_ml", "missing_share", "left_out", "information", "informed_share",
)
"""Keys of a row of `region_statistics`, in the order of the CSV file."""
MEAN_FIT_COLUMNS = ("estimator", "region", "map", "unit", "value", "sd", "rmse", "voxels", "volume_ml", "information")
"""Keys of a row of `fit_region_means`, in the order of the CSV file; `information` (0..1) is None where the estimator
has none on the parameter."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters with which a spreadsheet program takes a text for a formula (OWASP, CSV injection)."""


@dataclass(frozen=True, eq=False)
class RegionCurve:
    """The mean signal of a region and the curve fitted to it.

    `bvalues`, `mean`, `sd_of_mean` (n,) measured; `fine_b`, `fitted`, `tissue` (m,) the fit and its part without
    perfusion, NaN where the fit failed; [s/mm²] and [signal units]. `values` and `errors` by parameter key, likewise
    `information` (0..1) where the estimator has one.
    """

    region: str
    estimator: str
    bvalues: Array
    mean: Array
    sd_of_mean: Array
    fine_b: Array
    fitted: Array
    tissue: Array
    values: dict[str, float]
    errors: dict[str, float]
    information: dict[str, float] = field(default_factory=dict)


def regions_of(
    labels: Labels, names: Mapping[int, str] | None, shape: Sequence[int], mask: Array | None = None
) -> Regions:
    """Turn any description of regions into masks by name.

    Arguments: `labels` (x, y, z) of integers, or masks (x, y, z) by name, or None; `names` of the labels, those not
    named are called 'label 3'; `shape` (x, y, z); `mask` (x, y, z) of bool restricts every region, None is everything.
    Returns: name -> (x, y, z) of bool, empty regions included.
    Raises InputError where a grid does not fit.
    """
    inside = np.ones(tuple(shape), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if labels is None:
        found: Regions = {WHOLE: inside}
    elif isinstance(labels, Mapping):
        found = {name: np.asarray(region, dtype=bool) for name, region in labels.items()}
    else:
        labels = np.asarray(labels)
        numbers = sorted({int(n) for n in np.unique(labels)} | set(names or {}))
        found = {}
        for number in numbers:
            if number:
                name = (names or {}).get(number, f"label {number}")
                found[name] = (labels == number) | found.get(name, np.zeros(labels.shape, dtype=bool))
    for name, region in {**found, "the mask": inside}.items():
        if region.shape != tuple(shape):
            raise InputError(
                f"The region '{name}' has {region.shape} voxels, the maps {tuple(shape)}; "
                "give a region on the grid of the maps."
            )
    return {name: region & inside for name, region in found.items()}


def region_statistics(
    maps: Mapping[str, Array],
    geometry: Geometry,
    labels: Labels = None,
    names: Mapping[int, str] | None = None,
    mask: Array | None = None,
    estimator: str = "",
) -> list[dict[str, Any]]:
    """Describe every map in every region.

    D* and all that is said of it (its error, interval, information) count only where f >= 0.05, because where there is
    no blood D* is noise (Kaandorp et al. 2021); `left_out` says how many voxels with a D* that is. PNR is mean / SD
    (ibid.), meaningful in a homogeneous region. `information` is the mean, over the voxels that entered, of the
    information on the parameter that the map belongs to, `informed_share` the part of them in which it reaches
    INFORMATION_MEANS: a mean of which little is informed repeats the prior. Both are None without an information map.

    Arguments: `maps` key -> (x, y, z) in stored units, as `FitResult.all_maps()`; `geometry` of the maps; `labels`,
    `names`, `mask` as in `regions_of`; `estimator` its name.
    Returns: one row per region and map with the keys `COLUMNS`; values in stored units, NaN where there is nothing to
    describe. `n` voxels entered; `missing_share` of the `voxels` of the region have no value.
    """
    rows = []
    for region, inside in regions_of(labels, names, geometry.shape, mask).items():
        voxels = int(inside.sum())
        perfused = maps["f"][inside] >= PERFUSION_EXISTS if "f" in maps else np.ones(voxels, dtype=bool)
        for key, image in maps.items():
            values = np.asarray(image)[inside].astype(float)
            finite = np.isfinite(values)
            used = finite & perfused if parameter_of(key) == "Dstar" else finite
            rows.append({
                "estimator": estimator, "region": region, "map": key, "unit": unit_of(key),
                **_describe(values if used.all() else values[used]),
                "voxels": voxels, "volume_ml": voxels * geometry.voxel_volume,
                "missing_share": float(1 - finite.mean()) if voxels else np.nan,
                "left_out": int((finite & ~used).sum()),
                **_informed(maps.get(parameter_of(key) + INFORMATION), inside, used),
            })
    return rows


def parameter_of(key: str) -> str:
    """Return the key of the parameter that a map belongs to: 'Dstar' for 'Dstar_sd' and 'Dstar_low'."""
    return key.partition("_")[0]


def _informed(information: Array | None, inside: Array, used: Array) -> dict[str, float | None]:
    """Describe the information in the `used` voxels of a region; NaN where there is a map but no value."""
    if information is None:
        return {"information": None, "informed_share": None}
    known = np.asarray(information)[inside][used]
    known = known[np.isfinite(known)]
    if known.size == 0:
        return {"information": np.nan, "informed_share": np.nan}
    return {
        "information": float(known.mean(dtype=float)), "informed_share": float((known >= INFORMATION_MEANS).mean()),
    }


def unit_of(key: str) -> str:
    """Return the stored unit of a map, '' for an unknown one; `D_sd` has the unit of `D`."""
    parameter = PARAMETERS.get(key.removesuffix("_sd")) or EXTRAS.get(key)
    return parameter.unit if parameter else ""


def _describe(values: Array) -> dict[str, float]:
    """Compute the numbers of one cell; the SD is that of a sample (n - 1)."""
    if values.size == 0:
        return {"n": 0, **dict.fromkeys(("mean", "sd", "median", "q1", "q3", "p5", "p95", "pnr"), np.nan)}
    # The values are a copy already: working in place saves two more, each as large as a map in double precision.
    count, mean = int(values.size), float(values.mean())
    p5, q1, median, q3, p95 = (float(q) for q in np.percentile(values, (5, 25, 50, 75, 95), overwrite_input=True))
    values -= mean
    sd = float(np.sqrt(values @ values / (count - 1))) if count > 1 else np.nan
    return {
        "n": count, "mean": mean, "sd": sd, "median": median, "q1": q1, "q3": q3, "p5": p5, "p95": p95,
        "pnr": mean / sd if sd > 0 else np.nan,
    }


def region_mean_signals(
    series: DwiSeries, labels: Labels = None, names: Mapping[int, str] | None = None, mask: Array | None = None
) -> dict[str, tuple[Array, Array]]:
    """Average the signal of every region.

    Arguments: `series`; `labels`, `names`, `mask` as in `regions_of`. Voxels with a value that is not finite are left
    out; a region without voxels gives NaN.
    Returns: name -> (mean (n,), standard deviation of that mean (n,)) [signal units].
    """
    found = {}
    images = range(series.acquisition.count)
    for name, inside in regions_of(labels, names, series.geometry.shape, mask).items():
        # One image at a time: a copy of the whole region would cost more memory than the series itself.
        usable = np.ones(np.count_nonzero(inside), dtype=bool)
        for image in images:
            usable &= np.isfinite(series.signal[..., image][inside])
        voxels = np.count_nonzero(usable)
        mean, sd = np.full((2, series.acquisition.count), np.nan)
        for image in images:
            values = series.signal[..., image][inside][usable]
            if voxels:
                mean[image] = values.mean(dtype=float)
            if voxels > 1:
                sd[image] = values.std(ddof=1, dtype=float) / np.sqrt(voxels)
        found[name] = mean, sd
    return found


def fit_region_means(
    estimator: Any,
    series: DwiSeries,
    labels: Labels = None,
    names: Mapping[int, str] | None = None,
    mask: Array | None = None,
) -> tuple[list[dict[str, Any]], list[RegionCurve]]:
    """Fit the mean signal of every region: one curve per region, far less noisy than its voxels.

    The fit of the mean is not the mean of the fits, because the signal is not linear in D and D*; in a region of mixed
    tissue they differ.

    Arguments: `estimator` with `fit(signal (1, 1, 1, n), acquisition, mask)`; the rest as `region_mean_signals`.
    Returns: rows with the keys `MEAN_FIT_COLUMNS`, one per region and parameter, in stored units; and the curves.
    """
    rows, curves = [], []
    label = getattr(estimator, "name", type(estimator).__name__)
    regions = regions_of(labels, names, series.geometry.shape, mask)
    means = region_mean_signals(series, regions)
    for region, (mean, sd_of_mean) in means.items():
        voxels = int(regions[region].sum())
        acquisition = series.acquisition
        if acquisition.sigma is not None and voxels:
            acquisition = replace(acquisition, sigma=acquisition.sigma / np.sqrt(voxels))
        values: dict[str, float] = {}
        errors: dict[str, float] = {}
        information: dict[str, float] = {}
        rmse = np.nan
        if np.isfinite(mean).all():
            result = estimator.fit(mean[None, None, None], acquisition, np.ones((1, 1, 1), dtype=bool))
            values = {key: float(image[0, 0, 0]) for key, image in result.maps.items()}
            errors = {key: float(image[0, 0, 0]) for key, image in result.errors.items()}
            known = {key: result.extras.get(key + INFORMATION) for key in values}
            information = {key: float(image[0, 0, 0]) for key, image in known.items() if image is not None}
            rmse = float(result.residual[0, 0, 0])
        rows += [
            {
                "estimator": label, "region": region, "map": key, "unit": unit_of(key), "value": value,
                "sd": errors.get(key, np.nan), "rmse": rmse, "voxels": voxels,
                "volume_ml": voxels * series.geometry.voxel_volume, "information": information.get(key),
            }
            for key, value in values.items()
        ]
        fine_b = np.linspace(0.0, max(float(series.acquisition.bvalues.max()), 1.0), 301)
        fitted, tissue = fitted_curves(fine_b, values)
        curves.append(RegionCurve(
            region, label, series.acquisition.bvalues, mean, sd_of_mean, fine_b, fitted, tissue, values, errors,
            information,
        ))
    return rows, curves


def fitted_curves(b: Array, values: Mapping[str, float]) -> tuple[Array, Array]:
    """Compute the fitted signal and its part without perfusion from whatever parameters there are.

    Arguments: `b` (m,) [s/mm²]; `values` by key: S0 with D, f, Dstar, or with ADC. A missing D* means that no perfusion
    was found: then only the tissue is drawn.
    Returns: fitted (m,) and tissue (m,) [signal units]; NaN where the values do not give a curve.
    """
    nothing = np.full(b.shape, np.nan)
    S0, D, f, Dstar = (values.get(key, np.nan) for key in ("S0", "D", "f", "Dstar"))
    if np.isfinite([S0, D, f]).all():
        tissue = monoexponential(b, S0 * (1 - f), D)
        return (biexponential(b, S0, D, f, Dstar) if np.isfinite(Dstar) else tissue), tissue
    if np.isfinite([S0, values.get("ADC", D)]).all():
        decay = monoexponential(b, S0, values.get("ADC", D))
        return decay, decay
    return nothing, nothing


def write_csv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Write rows as comma-separated UTF-8, numbers at full precision, 'nan' where there is no number, '' for None.

    A text that a spreadsheet program would run as a formula gets an apostrophe in front. The file appears complete or
    not at all.

    Arguments: `path` of the file; `rows` with at least the keys `columns`, further keys are not written.
    """
    path = Path(path)
    with whole_file(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def guarded(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet program would run as a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def unguarded(text: str) -> str:
    """Take back the apostrophe of `guarded`."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_STARTS) else text


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return guarded(value)
    if value is None:
        return ""
    return repr(value.item() if isinstance(value, np.generic) else value)
