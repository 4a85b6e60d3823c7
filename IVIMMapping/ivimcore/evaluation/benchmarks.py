"""The benchmarks: simulated voxels with known truth, on which every estimator is measured in the same way.

The truth is drawn once per benchmark and is the same at every SNR; estimators at one SNR see the same noise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.output import OutputFolder, plain
from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.noise import add_rician, sigma_of_snr
from ..physics.parameters import PARAMETERS
from ..physics.protocols import protocol
from ..physics.signal import biexponential
from ..reports import figures, roistatistics
from .metrics import bias_and_spread, coverage_of_errors, score, spearman

Array = np.ndarray
KEYS = ("D", "f", "Dstar")
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "unit", "n", "nrmse", "nrmse_all", "mdape", "mdpe", "mape", "bias",
    "sd", "rho_dstar_f", "coverage90", "missing_share", "us_per_voxel", "limit_nrmse", "prior_mean_nrmse",
    "prior_mean_mdape",
)
"""Keys of a row, in the order of the CSV file. Rows also carry `binned`, which is for figures."""
LIMIT_SOURCE = (
    "Smallest NRMSE that any estimator can reach: mean of the exact posterior under the prior of the benchmark, sigma "
    "known, S0 free; computed by quadrature for this project, two to three digits. A sample of a few thousand voxels "
    "scatters by some percent around it."
)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: a protocol, uniform `ranges` of the truth in stored units, S0 = 1, Rician noise of several SNR."""

    name: str
    description: str
    protocol: str
    ranges: Mapping[str, tuple[float, float]]
    snrs: tuple[float, ...]
    voxels: int
    seed: int
    limits: Mapping[float, tuple[float, float, float]]
    """SNR -> NRMSE of D, f, D* of the limit; see `LIMIT_SOURCE`."""

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
        truth = {key: rng.uniform(*self.ranges[key], voxels) for key in KEYS}
        truth["S0"] = np.ones(voxels)
        sigma = sigma_of_snr(1.0, snr)
        acquisition = protocol(self.protocol).acquisition(sigma if known_sigma else None)
        signal = biexponential(acquisition.bvalues, truth["S0"], truth["D"], truth["f"], truth["Dstar"])
        noise = np.random.default_rng([seed, round(1000 * snr)])
        return add_rician(signal, sigma, noise), truth, acquisition


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
) -> list[dict[str, Any]]:
    """Measure estimators on a benchmark.

    Arguments: `name` of the benchmark; `estimators` names, or pairs of a label and an object with
    `fit(signal (x, y, z, n), acquisition, mask) -> FitResult`; `snrs`, `voxels`, `seed` instead of those of the
    benchmark; `known_sigma` tells the estimators the noise level; `progress(done, total)` is called after each fit and
    stops the run by returning False.
    Returns: one row per estimator, SNR and parameter with the keys `COLUMNS` and `binned` (bias and spread as functions
    of the truth). A parameter that the estimator does not give has missing_share 1. The time is that of one call of
    `fit`, without the simulation.
    Raises InputError for an unknown benchmark or estimator.
    """
    test = benchmark(name)
    fits = [_labelled(estimator) for estimator in estimators]
    levels = tuple(test.snrs if snrs is None else snrs)
    rows: list[dict[str, Any]] = []
    done = 0
    for snr in levels:
        signal, truth, acquisition = test.simulate(snr, voxels, seed, known_sigma)
        count = signal.shape[0]
        mask = np.ones((count, 1, 1), dtype=bool)
        for label, estimator in fits:
            start = time.perf_counter()
            result = estimator.fit(signal[:, None, None, :], acquisition, mask)
            microseconds = (time.perf_counter() - start) / count * 1e6
            rows += _rows(test, label, float(snr), truth, result, microseconds)
            done += 1
            if progress is not None and progress(done, len(levels) * len(fits)) is False:
                return rows
    return rows


def _labelled(estimator: str | tuple[str, Any]) -> tuple[str, Any]:
    """Return label and object; names are looked up among the registered estimators."""
    if isinstance(estimator, str):
        from ..estimators import create

        return estimator, create(estimator)
    return estimator


def _rows(
    test: Benchmark, label: str, snr: float, truth: dict[str, Array], result: Any, microseconds: float
) -> list[dict[str, Any]]:
    """Score one fit."""
    missing = np.full(truth["D"].shape, np.nan)
    maps = {key: np.asarray(result.maps[key], dtype=float).ravel() if key in result.maps else missing for key in KEYS}
    rho = spearman(maps["Dstar"], maps["f"])
    rows = []
    for number, key in enumerate(KEYS):
        error = result.errors.get(key)
        prior = score(np.full(missing.shape, np.mean(test.ranges[key])), truth[key])
        rows.append({
            "benchmark": test.name, "estimator": label, "snr": snr, "parameter": key, "unit": PARAMETERS[key].unit,
            **score(maps[key], truth[key]),
            "rho_dstar_f": rho,
            "coverage90": np.nan if error is None else coverage_of_errors(maps[key], np.ravel(error), truth[key], 0.90),
            "us_per_voxel": microseconds,
            "limit_nrmse": test.limits[snr][number] if snr in test.limits else np.nan,
            "prior_mean_nrmse": prior["nrmse"], "prior_mean_mdape": prior["mdape"],
            "binned": bias_and_spread(maps[key], truth[key]),
        })
    return rows


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table for the shell: one block per SNR, one line per estimator, D / f / D* in each cell.

    The first lines of a block are the references: the limit, and always answering the mean of the prior.
    """
    if not rows:
        return "No estimator was measured."
    head = ("estimator", "NRMSE D / f / D*", "MDAPE [%]", "MDPE [%]", "|rho(D*, f)|", "90 % covers [%]", "missing [%]",
            "µs/voxel")
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        block = [row for row in rows if row["snr"] == snr]
        first = [row for row in block if row["estimator"] == block[0]["estimator"]]
        table = [head]
        if np.isfinite([row["limit_nrmse"] for row in first]).all():
            table.append(("(limit)", _triple(first, "limit_nrmse", 3), *[""] * 6))
        table.append((
            "(prior mean)", _triple(first, "prior_mean_nrmse", 3), _triple(first, "prior_mean_mdape", 0), *[""] * 5
        ))
        for label in dict.fromkeys(row["estimator"] for row in block):
            three = [row for row in block if row["estimator"] == label]
            table.append((
                label, _triple(three, "nrmse", 3), _triple(three, "mdape", 0), _triple(three, "mdpe", 0, "+"),
                _number(abs(three[0]["rho_dstar_f"]), 2), _triple(three, "coverage90", 0, factor=100),
                _triple(three, "missing_share", 1, factor=100), _number(three[0]["us_per_voxel"], 1),
            ))
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines.append(f"{block[0]['benchmark']}, SNR {snr:g}, {block[0]['n']} voxels")
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                  for line in table]
        lines.append("")
    return "\n".join(lines).rstrip()


def write_csv(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of `run_benchmark` at full precision to `path`, with the columns `COLUMNS`."""
    roistatistics.write_csv(path, rows, COLUMNS)


def write_figure(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]], snr: float | None = None) -> None:
    """Draw the rows of `run_benchmark` to `path`: NRMSE against SNR; bias and spread against the truth at one `snr`."""
    figures.plot_benchmark(rows, path, snr)


def write_all(folder: os.PathLike, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write table and figure of a benchmark into a folder, complete or not at all; return their paths."""
    name = rows[0]["benchmark"]
    with OutputFolder(Path(folder)) as work:
        write_csv(work / f"{name}.csv", rows)
        write_figure(work / f"{name}.png", rows)
    return [Path(folder) / f"{name}.csv", Path(folder) / f"{name}.png"]


def plain_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of `run_benchmark` ready for JSON, with the columns `COLUMNS`."""
    return [plain({key: row[key] for key in COLUMNS}) for row in rows]


def _number(value: float, digits: int, sign: str = "") -> str:
    # Adding zero turns the -0 of a rounded small negative number into 0.
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}" if np.isfinite(value) else "-"


def _triple(rows: Sequence[Mapping[str, Any]], key: str, digits: int, sign: str = "", factor: float = 1.0) -> str:
    return " / ".join(_number(row[key] * factor, digits, sign) for row in rows)
