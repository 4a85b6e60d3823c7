"""Every benchmark behind one call, for the shell and for scripts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.output import plain
from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.protocols import protocol
from . import benchmarks, cohortbenchmark, coverage, fractal, lesion, linearity
from .requests import every_request

FEWEST_VOXELS = 100


@dataclass(frozen=True, eq=False)
class Report:
    """What a benchmark found: `text` for the shell, `rows` ready for JSON, `write(folder)` returns what it wrote."""

    text: str
    rows: list[dict[str, Any]]
    write: Callable[[str | os.PathLike], list[Path]]


def descriptions() -> dict[str, str]:
    """Return one sentence for every benchmark by its name."""
    simulated = {name: test.description for name, test in benchmarks.BENCHMARKS.items()}
    others = {kind.NAME: kind.DESCRIPTION for kind in (lesion, fractal, coverage, linearity, cohortbenchmark)}
    return {**simulated, **others}


def evaluate(
    name: str,
    estimators: Sequence[str | tuple[str, Any]] | None = None,
    snrs: Sequence[float] | None = None,
    voxels: int | None = None,
    limit: str | None = "auto",
    bvalues: Sequence[float] | None = None,
) -> Report:
    """Run one benchmark.

    Arguments: `name` of the benchmark; `estimators` as in `requests.make`, None for all; `snrs` S0 / sigma instead of
    its own; `voxels` simulated, for `lesion` and `fractal` rounded up to whole maps, for `linearity` a level; `limit`
    "gaussian" or "rician" computes the limit too, "auto" with the first where there is one, None never; `bvalues` one
    per image [s/mm²], for `linearity` only.
    Returns: Report. Raises InputError for an unknown name, an SNR that is not positive, too few voxels, and for a limit
    or b-values where there are none.
    """
    if name not in descriptions():
        raise InputError(f"Unknown benchmark '{name}'; choose one of {', '.join(descriptions())}.")
    if voxels is not None and voxels < FEWEST_VOXELS:
        raise InputError(f"{voxels} voxels are too few to measure an error; use {FEWEST_VOXELS} or more.")
    for snr in snrs or []:
        if not snr > 0:
            raise InputError(f"The SNR is {snr:g}; give positive numbers.")
    if limit == "auto":
        limit = "gaussian" if name in benchmarks.BENCHMARKS else None
    if limit is not None and name not in benchmarks.BENCHMARKS:
        raise InputError(f"The benchmark '{name}' has no limit; leave out --limit.")
    if bvalues is not None and name != linearity.NAME:
        raise InputError(f"The benchmark '{name}' has b-values of its own; leave out --bvalues.")
    if name == cohortbenchmark.NAME:
        return _cohort(estimators, snrs, voxels)
    estimators = estimators or every_request(_acquisition_of(name))
    if name == lesion.NAME:
        a_map = lesion.SHAPE[0] * lesion.SHAPE[1]
        rows = lesion.run(estimators, snrs, lesion.MAPS if voxels is None else -(-voxels // a_map))
        kind: Any = lesion
    elif name == fractal.NAME:
        a_map = fractal.SHAPE[0] * fractal.SHAPE[1]
        rows = fractal.run(estimators, snrs, fractal.MAPS if voxels is None else -(-voxels // a_map))
        kind = fractal
    elif name == coverage.NAME:
        rows, kind = coverage.run(estimators, snrs, voxels or coverage.VOXELS), coverage
    elif name == linearity.NAME:
        rows, kind = linearity.run(estimators, snrs, voxels or linearity.VOXELS, bvalues=bvalues), linearity
    else:
        rows, kind = benchmarks.run_benchmark(name, estimators, snrs, voxels, limit=limit), benchmarks
    plain_rows = [plain({key: row[key] for key in kind.COLUMNS}) for row in rows]
    return Report(kind.format_table(rows), plain_rows, lambda folder: kind.write_all(folder, rows))


def _acquisition_of(name: str) -> Acquisition | None:
    """Return the acquisition of a benchmark with b-values of its own."""
    if name == fractal.NAME:
        return protocol("brain16").acquisition()
    measured = benchmarks.BENCHMARKS.get(name)
    return None if measured is None else protocol(measured.protocol).acquisition()


def _cohort(estimators: Sequence[Any] | None, snrs: Sequence[float] | None, voxels: int | None) -> Report:
    """Run the benchmark that goes through files, and so takes estimators by name only."""
    if voxels is not None:
        raise InputError("The benchmark 'cohort' has patients instead of voxels; leave out --voxels.")
    rows, made = cohortbenchmark.measure(estimators, snrs)
    plain_rows = [plain({key: row[key] for key in cohortbenchmark.COLUMNS}) for row in rows]
    return Report(
        cohortbenchmark.format_table(rows), plain_rows, lambda folder: cohortbenchmark.write_all(folder, rows, made)
    )
