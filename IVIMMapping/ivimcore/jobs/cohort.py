"""A whole cohort: every series of a manifest or a BIDS data set, each once, whatever happens in between.

Two runs of the same command do the work once. A series that cannot be done is listed with its sentence and does not
stop the others. What is written where:

    DIR/<subject>/<session>/...     maps as `ivim map` writes them, or BIDS names (see `bids`)
    DIR/values.csv                  one row for each subject, session, estimator, region and map
    DIR/failures.csv                one row for each series that could not be done, with the reason
    DIR/cohort.json                 the list of scans and the settings, for `ivim report DIR`
    DIR/.ivim/                      records by which a second run knows what is done
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.output import plain
from ..errors import Cancelled, InputError
from ..estimators import create
from . import bids
from .cohortscan import Describe, ScanTask, Settings, is_current, read_record, run_scan, sweep_records, write_record
from .events import Emit, result, status, warning
from .job import Companion
from .manifest import Manifest, Scan, read_manifest
from .scheduling import Lost, Workers
from .sharedprior import share_prior

COHORT = "ivim-cohort-1"
WriteTable = Callable[[os.PathLike, Sequence[dict[str, Any]], Sequence[str]], None]
FAILURE_COLUMNS = ("subject", "session", "group", "series", "reason")
SCAN_COLUMNS = ("subject", "session", "group")


@dataclass(frozen=True)
class Summary:
    """What a cohort run did: records of all scans that are done, failures as (scan, sentence), and its cost.

    `done` scans fitted in this run, `kept` those that were up to date; `seconds` wall time; `peak_mb` of the largest
    worker, None where unknown; `fit_seconds`, `scan_seconds` (wall) and `cpu_seconds` (processor) summed over the scans
    done in this run.
    """

    records: dict[str, dict[str, Any]]
    failures: tuple[tuple[Scan, str], ...]
    done: int
    kept: int
    seconds: float
    peak_mb: float | None
    fit_seconds: float
    scan_seconds: float
    cpu_seconds: float


def open_cohort(path: Path | str) -> Manifest:
    """Read a manifest or a BIDS data set; raises InputError for anything else."""
    path = Path(path)
    if path.is_dir():
        if not bids.is_bids(path):
            raise InputError(f"{path} is no BIDS data set (no dataset_description.json); give one, or a manifest.")
        return bids.read_bids(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a manifest (CSV) or a BIDS data set.")
    return read_manifest(path)


def run_cohort(
    manifest: Manifest, settings: Settings, emit: Emit, companions: Sequence[Companion] = (),
    describe: Describe | None = None, write_table: WriteTable | None = None, columns: Sequence[str] = (),
    workers: int | None = None, scheduler: str | None = None, memory: str = "auto", shared_prior: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Carry out every series of a cohort that is not up to date.

    Arguments: `manifest`; `settings`; `emit` receives status, progress with the seconds left, warnings and the result;
    `companions` and `describe` as `ScanTask`, importable by workers; `write_table(path, rows, columns)` and `columns`
    for values.csv and failures.csv, not written without; `workers`, `scheduler`, `memory` as `Workers`;
    `shared_prior` learns one prior from all series first; `stop` is asked after each series.
    Raises InputError where nothing can be done at all, Cancelled if `stop` said so (what is finished is kept).
    """
    started = time.monotonic()
    out = Path(settings.out)
    for request in settings.estimators:
        create(request.name, **request.options)
    if len({request.name for request in settings.estimators}) < len(settings.estimators):
        raise InputError("An estimator was chosen twice; choose each one once.")
    _create(out)
    sweep_records(out)
    for sentence in manifest.warnings:
        emit(warning(sentence))
    settings = replace(settings, out=str(out.resolve()), bids=manifest.bids)
    tasks = [ScanTask(scan, settings, tuple(companions), describe) for scan in manifest.scans]
    records: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    with Workers(workers, scheduler, memory) if _any_work(tasks, shared_prior) else Workers(0) as pool:
        if workers is None and scheduler is None and pool.count == 0 and len(tasks) > 1:
            emit(status("One series after the other: several at once need Dask"))
        if shared_prior:
            settings = replace(settings, estimators=share_prior(tasks, settings.estimators, pool, emit))
        if pool.count > 1 and settings.threads is None:
            settings = replace(settings, threads=1)
        tasks = [replace(task, settings=settings, before=read_record(out, task.scan)) for task in tasks]
        records.update({task.scan.key: task.before for task in tasks if is_current(task.before, task)})
        todo, kept = [task for task in tasks if task.scan.key not in records], len(records)
        write_record(out / "cohort.json", _about(manifest, settings))
        if settings.bids:
            bids.describe_dataset(out, manifest.path, __version__)
        emit(status(f"{len(tasks)} series, {kept} up to date, {len(todo)} to do"))
        peaks, fit_seconds, scan_seconds, cpu_seconds, done, began = [], 0.0, 0.0, 0.0, 0, time.monotonic()
        for number, (task, found) in enumerate(pool.map(run_scan, todo), start=1):
            sentence = found.sentence if isinstance(found, Lost) else found.get("error")
            if sentence:
                failures[task.scan.key] = sentence
                emit(warning(f"{task.scan.label} failed: {sentence}"))
            else:
                records[task.scan.key] = found
                done += bool(found["again"])
                scan_seconds += found["seconds"]
                cpu_seconds += found["cpu_seconds"]
                fit_seconds += sum(about.get("fit_seconds") or 0.0 for about in found["provenance"].values())
                peaks.append(found["peak_mb"])
            left = (time.monotonic() - began) / number * (len(todo) - number)
            emit({"event": "progress", "fraction": round((kept + number) / len(tasks), 4),
                  "seconds_left": round(left, 1)})  # fmt: skip
            if stop():
                raise Cancelled("The cohort run was stopped; what is finished is kept.")
    scans = {scan.key: scan for scan in manifest.scans}
    if write_table is not None:
        _tables(out, manifest, records, failures, write_table, columns)
    summary = Summary(
        records, tuple((scans[key], sentence) for key, sentence in failures.items()), done, len(records) - done,
        time.monotonic() - started, max((peak for peak in peaks if peak), default=None), fit_seconds, scan_seconds,
        cpu_seconds,
    )  # fmt: skip
    emit(result(
        folder=str(out), files=sorted(path.name for path in out.iterdir() if path.is_file()), series=len(tasks),
        done=summary.done, kept=summary.kept, failed=len(failures), seconds=round(summary.seconds, 1),
    ))  # fmt: skip
    return summary


def _any_work(tasks: list[ScanTask], shared_prior: bool) -> bool:
    """Tell whether a cluster is worth its start; a shared prior is known only after it was checked."""
    return shared_prior or not all(is_current(read_record(t.settings.out, t.scan), t) for t in tasks)


def _create(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        reason = (fault.strerror or "unknown reason").lower()
        raise InputError(f"The output folder {out} cannot be made ({reason}); choose another folder.") from None
    if not os.access(out, os.W_OK):
        raise InputError(f"The output folder {out} cannot be written; choose another folder.")


def _about(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    return plain({
        "cohort": COHORT, "version": __version__, "bids": settings.bids, "settings": settings.choices(),
        "estimators": [asdict(request) for request in settings.estimators], "warnings": manifest.warnings,
        "scans": [{"subject": s.subject, "session": s.session, "group": s.group, "key": s.key} for s in manifest.scans],
    })  # fmt: skip


def _tables(
    out: Path, manifest: Manifest, records: dict[str, dict[str, Any]], failures: dict[str, str],
    write_table: WriteTable, columns: Sequence[str],
) -> None:
    rows, lost = [], []
    for scan in manifest.scans:
        who = {"subject": scan.subject, "session": scan.session, "group": scan.group}
        rows += [{**who, **row} for row in records.get(scan.key, {}).get("rows", [])]
        if scan.key in failures:
            lost.append({**who, "series": "|".join(scan.series), "reason": failures[scan.key]})
    write_table(out / "values.csv", rows, (*SCAN_COLUMNS, *columns))
    write_table(out / "failures.csv", lost, FAILURE_COLUMNS)
