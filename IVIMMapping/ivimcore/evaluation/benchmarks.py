"""The benchmarks: simulated voxels with known truth, on which every estimator is measured in the same way.

The truth is drawn once per benchmark and is the same at every SNR; estimators at one SNR see the same noise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..data.output import OutputFolder
from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.noise import add_rician, sigma_of_snr
from ..physics.parameters import PARAMETERS
from ..physics.protocols import protocol
from ..physics.signal import biexponential
from ..reports import evaluationfigures, figures, roistatistics, scatterfigure
from .benchmarktable import format_table as format_table
from .benchmarktable import number as number
from .limit import Limit
from .metrics import bias_and_spread, coverage_of_errors, cv_net, over_the_range, score, spearman
from .requests import make

Array = np.ndarray
KEYS = ("D", "f", "Dstar")
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "unit", "n", "nrmse", "nrmse_all", "mdape", "mdpe", "mape", "bias",
    "sd", "rho_dstar_f", "coverage90", "missing_share", "us_per_voxel", "limit_nrmse", "prior_mean_nrmse",
    "prior_mean_mdape", "cv_net", "over_limit", "bias_range", "sd_range",
)
"""Keys of a row, in the order of the CSV file: `over_limit` is NRMSE over that of the limit (the computed one, where it
was computed), `bias_range` and `sd_range` are root mean squares over the range of the truth. Rows also carry `binned`
and `points` (truth, estimate, S0 of some voxels), which are for figures."""
POINTS, WARM = 2000, 16
APART = 32
"""From one simulated voxel to the next in the volume that is fitted: farther than any network sees."""
COMPUTED = "(limit, computed)"
"""Name under which the limit, computed on the voxels of the benchmark, stands among the estimators."""
LIMIT_SOURCE = (
    "Smallest NRMSE that any estimator can reach: mean of the exact posterior under the prior of the benchmark, sigma "
    "known, S0 free; computed by quadrature for this project, two to three digits. A sample of a few thousand voxels "
    "scatters by some percent around it."
)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: a protocol, uniform `ranges` of the truth in stored units, Rician noise of several SNR.

    `S0_range` is that of S0; SNR refers to S0 = 1. `added`: the range of Dstar is that of D* - D, because the source's
    signal decays with D + D*; the truth is converted. `steps`: instead of drawing the truth, S0, D, f and D* each take
    the middles of so many cells of their range, every combination with its own noise; 0 draws them.
    """

    name: str
    description: str
    protocol: str
    ranges: Mapping[str, tuple[float, float]]
    snrs: tuple[float, ...]
    voxels: int
    seed: int
    limits: Mapping[float, tuple[float, float, float]]
    """SNR -> NRMSE of D, f, D* of the limit; see `LIMIT_SOURCE`."""
    S0_range: tuple[float, float] = (1.0, 1.0)
    added: bool = False
    steps: int = 0

    def simulate(
        self, snr: float, voxels: int | None = None, seed: int | None = None, known_sigma: bool = True
    ) -> tuple[Array, dict[str, Array], Acquisition]:
        """Draw the truth and measure it.

        Arguments: `snr` S0 / sigma [1]; `voxels` and `seed` instead of those of the benchmark; `known_sigma` writes
        sigma into the acquisition.
        Returns: signal (v, n) [S0 = 1]; truth key -> (v,) for D, f, Dstar, S0; acquisition.
        """
        voxels, seed = voxels or self.voxels, self.seed if seed is None else seed
        rng = np.random.default_rng(seed)
        draw = self._grid if self.steps else self._uniform
        truth = draw(voxels, rng)
        if self.added:
            truth["Dstar"] = truth["Dstar"] + truth["D"]
        sigma = sigma_of_snr(1.0, snr)
        acquisition = protocol(self.protocol).acquisition(sigma if known_sigma else None)
        signal = biexponential(acquisition.bvalues, truth["S0"], truth["D"], truth["f"], truth["Dstar"])
        noise = np.random.default_rng([seed, round(1000 * snr)])
        return add_rician(signal, sigma, noise), truth, acquisition

    @property
    def fit_bounds(self) -> dict[str, tuple[float, float]]:
        """The ranges of D, f and Dstar [stored units] as bounds of a fit, D* being the whole decay rate."""
        low, high = self.ranges["Dstar"]
        more = self.ranges["D"] if self.added else (0.0, 0.0)
        return {**self.ranges, "Dstar": (low + more[0], high + more[1])}

    @property
    def prior_mean(self) -> dict[str, float]:
        """The mean of the truth of D, f and Dstar [stored units]."""
        return {key: float(np.mean(bounds)) for key, bounds in self.fit_bounds.items()}

    def _uniform(self, voxels: int, rng: np.random.Generator) -> dict[str, Array]:
        truth = {key: rng.uniform(*self.ranges[key], voxels) for key in KEYS}
        return {**truth, "S0": rng.uniform(*self.S0_range, voxels)}

    def _grid(self, voxels: int, rng: np.random.Generator) -> dict[str, Array]:
        """Repeat the grid as often as it fits into `voxels`; the last, incomplete round is a random part of it."""
        ranges = {**self.ranges, "S0": self.S0_range}
        size = self.steps ** len(ranges)
        points = np.concatenate([rng.permutation(size) for _ in range(-(-voxels // size))])[:voxels]
        places = np.unravel_index(points, (self.steps,) * len(ranges))
        return {
            key: low + (high - low) * (place + 0.5) / self.steps
            for (key, (low, high)), place in zip(ranges.items(), places, strict=True)
        }


_TABLE = (
    Benchmark(
        "paper1",
        "Simulations of Kaandorp et al., Magn Reson Med 2021;86:2250: broad abdominal ranges, 11 b-values.",
        "paper1",
        {"D": (0.5e-3, 3e-3), "f": (0.05, 0.55), "Dstar": (10e-3, 100e-3)},
        (8.0, 15.0, 20.0, 33.0, 50.0, 100.0), 10_000, 20210601,
        {
            8.0: (0.27, 0.33, 0.44), 15.0: (0.19, 0.24, 0.39), 20.0: (0.163, 0.198, 0.361), 33.0: (0.11, 0.14, 0.29),
            50.0: (0.080, 0.100, 0.233), 100.0: (0.044, 0.054, 0.145),
        },
    ),
    Benchmark(
        "brain",
        "Brain-like ranges with 16 b-values: little perfusion, where most estimators know less of D* than the prior.",
        "brain16",
        {"D": (0.4e-3, 1.2e-3), "f": (0.02, 0.15), "Dstar": (5e-3, 50e-3)},
        (30.0, 100.0), 10_000, 20230401,
        {30.0: (0.069, 0.316, 0.441), 100.0: (0.030, 0.150, 0.307)},
    ),
    Benchmark(
        "uniform",
        "Uniform ranges of Kaandorp et al. on the brain (Paper II): 16 b-values, SNR 200 at S0 = 1, S0 from 0 to 1.",
        "brain16",
        {"D": (0.0, 3e-3), "f": (0.0, 0.5), "Dstar": (3e-3, 0.1)},
        (200.0,), 10_000, 20230402, {}, S0_range=(0.0, 1.0),
    ),
    Benchmark(
        "labels",
        "Grid of Epstein et al. on training labels: 10 values of each parameter, all combinations, D* is added to D.",
        "labels",
        {"D": (0.4e-3, 3e-3), "f": (0.1, 0.5), "Dstar": (0.01, 0.15)},
        (15.0, 30.0), 20_000, 20220601,
        {15.0: (0.202, 0.203, 0.388), 30.0: (0.120, 0.121, 0.286)}, S0_range=(0.8, 1.2), added=True, steps=10,
    ),
)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _TABLE}
"""Every benchmark by its name."""


def benchmark(name: str) -> Benchmark:
    """Look up a benchmark by name.

    Raises InputError, with the names there are, for another name.
    """
    if name not in BENCHMARKS:
        raise InputError(f"Unknown benchmark '{name}'; choose one of {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]


def run_benchmark(
    name: str,
    estimators: Iterable[str | tuple[str, Any]],
    snrs: Sequence[float] | None = None,
    voxels: int | None = None,
    seed: int | None = None,
    known_sigma: bool = True,
    progress: Callable[[int, int], bool | None] | None = None,
    limit: str | None = None,
) -> list[dict[str, Any]]:
    """Measure estimators on a benchmark.

    Arguments: `name` of the benchmark; `estimators` names with options as in `requests.make`, or pairs of a label and
    an object with `fit(signal (x, y, z, n), acquisition, mask) -> FitResult`; `snrs`, `voxels`, `seed` instead of those
    of the benchmark; `known_sigma` tells the estimators the noise level; `progress(done, total)` is called after each
    fit and stops the run by returning False; `limit` "gaussian" or "rician" computes the limit on the same voxels with
    this likelihood (about 1 or 10 ms a voxel) and adds its rows, under the name `COMPUTED`.
    Returns: one row per estimator, SNR and parameter with the keys `COLUMNS` and `binned` (bias and spread as functions
    of the truth). A parameter that the estimator does not give has missing_share 1. The time is that of one call of
    `fit`, without the simulation.
    Raises InputError for an unknown benchmark or estimator.
    """
    test = benchmark(name)
    fits = [make(estimator, test.fit_bounds) for estimator in estimators]
    if limit is not None:
        if not known_sigma:
            raise InputError("The limit needs the noise level; let the estimators know it too.")
        fits.insert(0, (COMPUTED, Limit(test.ranges, limit, test.added)))
    levels = tuple(test.snrs if snrs is None else snrs)
    rows: list[dict[str, Any]] = []
    done = 0
    for snr in levels:
        signal, truth, acquisition = test.simulate(snr, voxels, seed, known_sigma)
        count = signal.shape[0]
        volume, mask = isolated(signal)
        computed: dict[str, float] = {}
        for label, estimator in fits:
            if getattr(estimator, "needs_torch", False):  # loading torch and weights is no time a voxel
                estimator.fit(volume[: APART * WARM], acquisition, mask[: APART * WARM])
            start = time.perf_counter()
            result = estimator.fit(volume, acquisition, mask)
            microseconds = (time.perf_counter() - start) / count * 1e6
            rows += _rows(test, label, float(snr), truth, together(result, mask), microseconds)
            if label == COMPUTED:
                computed = {row["parameter"]: row["nrmse"] for row in rows[-len(KEYS):]}
            for row in rows[-len(KEYS):]:
                row["over_limit"] = row["nrmse"] / computed.get(row["parameter"], row["limit_nrmse"])
            done += 1
            if progress is not None and progress(done, len(levels) * len(fits)) is False:
                return rows
    return rows


def isolated(signal: Array) -> tuple[Array, Array]:
    """Place voxels in a volume so far apart that no estimator takes them for neighbours, which they are not.

    Arguments: `signal` (v, n). Returns: volume (x, 1, 1, n), NaN between the voxels, and mask (x, 1, 1) of the voxels.
    """
    volume = np.full((APART * signal.shape[0], 1, 1, signal.shape[1]), np.nan)
    volume[::APART, 0, 0] = signal
    return volume, np.isfinite(volume[..., 0])


def together(result: Any, mask: Array) -> SimpleNamespace:
    """Collect the voxels of `isolated` from a result: maps, errors and extras become (v,)."""
    kinds = {kind: {key: np.asarray(volume)[mask] for key, volume in (getattr(result, kind, None) or {}).items()}
             for kind in ("maps", "errors", "extras")}
    return SimpleNamespace(**kinds, provenance=getattr(result, "provenance", {}))


def _rows(
    test: Benchmark, label: str, snr: float, truth: dict[str, Array], result: Any, microseconds: float
) -> list[dict[str, Any]]:
    """Score one fit."""
    missing = np.full(truth["D"].shape, np.nan)
    maps = {key: np.asarray(result.maps[key], dtype=float).ravel() if key in result.maps else missing for key in KEYS}
    rho = spearman(maps["Dstar"], maps["f"])
    rows = []
    for place, key in enumerate(KEYS):
        error = result.errors.get(key)
        binned = bias_and_spread(maps[key], truth[key])
        prior = score(np.full(missing.shape, test.prior_mean[key]), truth[key])
        rows.append({
            "benchmark": test.name, "estimator": label, "snr": snr, "parameter": key, "unit": PARAMETERS[key].unit,
            **score(maps[key], truth[key]),
            "rho_dstar_f": rho,
            "coverage90": np.nan if error is None else coverage_of_errors(maps[key], np.ravel(error), truth[key], 0.90),
            "us_per_voxel": microseconds,
            "limit_nrmse": test.limits[snr][place] if snr in test.limits else np.nan,
            "prior_mean_nrmse": prior["nrmse"], "prior_mean_mdape": prior["mdape"],
            "cv_net": cv_net(result.extras.get(f"{key}_epistemic"), truth[key]),
            "bias_range": over_the_range(binned.bias), "sd_range": over_the_range(binned.sd), "binned": binned,
            "points": (truth[key][:POINTS], maps[key][:POINTS], truth["S0"][:POINTS]),
        })
    return rows


def write_csv(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of `run_benchmark` at full precision to `path`, with the columns `COLUMNS`."""
    roistatistics.write_csv(path, rows, COLUMNS)


def write_figure(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]], snr: float | None = None) -> None:
    """Draw the rows of `run_benchmark` to `path`: NRMSE against SNR; bias and spread against the truth at one `snr`."""
    figures.plot_benchmark(rows, path, snr)


def write_all(folder: os.PathLike, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write table and figures of a benchmark into a folder, complete or not at all; return their paths.

    The figures are that of `write_figure`, and for every SNR one of bias, spread and RMSE against the truth, and one or
    more of estimates against the truth, voxel by voxel.
    """
    name = rows[0]["benchmark"]
    written = [f"{name}.csv", f"{name}.png"]
    with OutputFolder(Path(folder)) as work:
        write_csv(work / written[0], rows)
        write_figure(work / written[1], rows)
        for snr in dict.fromkeys(row["snr"] for row in rows):
            written.append(f"{name}_bias_snr{snr:g}.png")
            evaluationfigures.plot_bias_and_spread(rows, work / written[-1], snr)
            for index, part in enumerate(scatterfigure.parts(rows, snr), 1):
                written.append(f"{name}_scatter_snr{snr:g}{'' if index == 1 else f'_{index}'}.png")
                scatterfigure.plot_scatter(part, work / written[-1])
    return [Path(folder) / file for file in written]
