"""The benchmark `cohort`: a synthetic test-retest study through the whole pipeline, verdicts held against the truth.

A manifest is written, every series is fitted by `ivim cohort`, the report is made, and its table of verdicts is scored:
how many of the patients who truly changed were called changed, and how many of the others. Beside it stands what
explains it:
wSD, the spread between subjects, ICC, information. Fewer than ten patients make a rough sensitivity; its interval
(Clopper and Pearson) is printed.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..data.output import OutputFolder
from ..errors import InputError
from ..jobs.cohort import open_cohort, run_cohort
from ..jobs.cohortscan import Settings
from ..jobs.job import Request
from ..physics.parameters import PARAMETERS
from ..reports.cohortanalysis import Options
from ..reports.cohortrows import COLUMNS as ROW_COLUMNS
from ..reports.cohortrows import describe_outcome, write_companions
from ..reports.report import Report as CohortReport
from ..reports.report import write_report
from ..reports.roistatistics import write_csv
from ..reports.verdicts import CHANGED
from .benchmarks import number
from .requests import parse
from .syntheticcohort import EFFECTS, generate

NAME = "cohort"
DESCRIPTION = "A synthetic test-retest study with treated patients: verdicts against truth, wSD, ICC, information."
ESTIMATORS = ("nlls", "bayes_map", "posterior")
REGION = "tumour"
SNR = 12.0
COLUMNS = (
    "benchmark", "estimator", "snr", "parameter", "unit", "subjects", "wsd", "wsd_low", "wsd_high", "wcv", "between_sd",
    "between_over_wsd", "icc", "icc_low", "icc_high", "information", "true_changes", "found", "sensitivity",
    "sensitivity_low", "sensitivity_high", "unchanged", "false_positives", "group_p",
)  # fmt: skip


def run(
    folder: Path, estimators: Sequence[str] = ESTIMATORS, snr: float = SNR, maps: Sequence[str] = ("D", "f", "Dstar"),
    workers: int | None = None, emit: Callable[[dict[str, Any]], None] = lambda event: None, pdf: bool = False,
    **cohort: Any,
) -> tuple[list[dict[str, Any]], CohortReport]:
    """Generate, fit, report and score.

    Arguments: `folder` receives `data/` and `results/`; `estimators` as 'name:OPTION=VALUE', each name once; `snr` of
    the liver [1]; `maps` to judge; `workers` as `jobs.scheduling.Workers`; `cohort` further arguments of `generate`.
    Returns: rows with the keys `COLUMNS`, and the report. Raises InputError for an unknown estimator.
    """
    made = generate(folder / "data", snr=snr, **cohort)
    requests = tuple(Request(*parse(request)) for request in estimators)
    run_cohort(
        open_cohort(made.manifest), Settings(str(folder / "results"), requests), emit, (write_companions,),
        describe_outcome, write_csv, ROW_COLUMNS, workers=workers,
    )
    report = write_report(
        folder / "results", Options(tuple(maps), name="Synthetic test-retest study"), identifiers=True, pdf=pdf
    )
    truth = {(row["subject"], row["map"]): row["responds"] for row in made.truth if row["region"] == REGION}
    return [_score(cell, truth, snr) for cell in report.analysis.cells if cell.region == REGION], report


def _score(cell: Any, truth: Mapping[tuple[Any, Any], Any], snr: float) -> dict[str, Any]:
    """Hold the verdicts of one estimator and map against the truth."""
    real = np.array([bool(truth[who, cell.map]) for who in cell.patients], dtype=bool)
    called = np.array([item.word == CHANGED for item in cell.verdicts], dtype=bool)
    found, total = int((real & called).sum()), int(real.sum())
    low, high = (np.nan, np.nan)
    if total:
        interval = stats.binomtest(found, total).proportion_ci(method="exact")
        low, high = float(interval.low), float(interval.high)
    spread = cell.found
    return {
        "benchmark": NAME, "estimator": cell.estimator, "snr": float(snr), "parameter": cell.map,
        "unit": PARAMETERS[cell.map].unit, "subjects": spread.subjects, "wsd": spread.wsd.value,
        "wsd_low": spread.wsd.low, "wsd_high": spread.wsd.high, "wcv": spread.wcv_log.value,
        "between_sd": spread.between, "between_over_wsd": spread.ratio.value, "icc": spread.icc.value,
        "icc_low": spread.icc.low, "icc_high": spread.icc.high, "information": spread.information,
        "true_changes": total, "found": found, "sensitivity": found / total if total else np.nan,
        "sensitivity_low": low, "sensitivity_high": high, "unchanged": int((~real).sum()),
        "false_positives": int((~real & called).sum()), "group_p": cell.treated.p_t,
    }  # fmt: skip


def measure(estimators: Sequence[str] | None, snrs: Sequence[float] | None) -> tuple[list[dict[str, Any]], Path]:
    """Run the benchmark in a temporary folder; return its rows and that folder, which goes with the program."""
    if snrs is not None and len(snrs) != 1:
        raise InputError("The benchmark 'cohort' is made at one SNR; give one number.")
    folder = Path(tempfile.mkdtemp(prefix="ivim-cohort-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return run(folder, tuple(estimators or ESTIMATORS), SNR if snrs is None else snrs[0], pdf=True)[0], folder


def write_all(folder: str | os.PathLike, rows: Sequence[Mapping[str, Any]], made: Path) -> list[Path]:
    """Write cohort.csv, and the generated data with all results and the report; return the paths."""
    with OutputFolder(folder) as work:
        write_csv(work / "cohort.csv", rows, COLUMNS)
    target = Path(folder)
    for name in ("data", "results"):
        shutil.copytree(made / name, target / name, dirs_exist_ok=True)
    return [target / "cohort.csv", target / "results" / "report.html"]


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table for the shell: a block for each parameter, a line for each estimator."""
    head = ("estimator", "wSD", "wCV [%]", "between / wSD", "ICC(2,1)", "information", "changes found", "[95 %]",
            "false", "p of the group")  # fmt: skip
    lines = [f"Synthetic cohort: {rows[0]['subjects']} subjects scanned twice, SNR {rows[0]['snr']:g}, tumour."
             if rows else "No estimator was measured."]  # fmt: skip
    for key in dict.fromkeys(row["parameter"] for row in rows):
        shown = PARAMETERS[key]
        effect = f"true effect {100 * EFFECTS[key]:+.0f} % in those who respond" if key in EFFECTS else "no true effect"
        table = [head]
        for r in (row for row in rows if row["parameter"] == key):
            found = f"{r['found']} of {r['true_changes']}" if r["true_changes"] else "–"
            ends = f"{100 * r['sensitivity_low']:.0f}-{100 * r['sensitivity_high']:.0f} %" if r["true_changes"] else ""
            table.append((
                r["estimator"], number(r["wsd"] * shown.display_factor, 3), number(100 * r["wcv"], 1),
                number(r["between_over_wsd"], 2), number(r["icc"], 2), number(r["information"], 2), found, ends,
                f"{r['false_positives']} of {r['unchanged']}",
                "< 0.001" if r["group_p"] < 0.001 else number(r["group_p"], 3),
            ))  # fmt: skip
        widths = [max(len(row[column]) for row in table) for column in range(len(head))]
        lines += ["", f"{shown.label}, {effect}"]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                  for row in table]  # fmt: skip
    return "\n".join(lines)
