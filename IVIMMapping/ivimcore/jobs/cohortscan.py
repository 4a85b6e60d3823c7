"""One series of a cohort: fitted, written, and noted as done, all or nothing. This is what a worker carries out.

The note (a record) is written after the maps are in place. Whatever is killed before that is done again; what was noted
is never touched until an input, an option or the version changes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.output import plain
from ..errors import Cancelled, InputError
from ..wholefile import sweep, whole_file
from . import bids
from .events import Event
from .fingerprint import checksums, fingerprint
from .job import Companion, Job, Outcome, Request, run
from .manifest import Scan

NOTES = ".ivim"
"""Folder of the records inside the output folder."""
RECORD = "ivim-scan-1"
Describe = Callable[[Outcome], list[dict[str, Any]]]
"""Gives the numbers of a scan for its record: rows with estimator, region, map and statistics."""


@dataclass(frozen=True)
class Settings:
    """What is the same for every series: where to, which estimators, how to read; see `Job`.

    `bids` writes BIDS names, and follows from the manifest; `threads` cores a series may use.
    """

    out: str
    estimators: tuple[Request, ...]
    mask: str = "auto"
    average: str = "none"
    bmin: float = 0.0
    bmax: float | None = None
    file_format: str = "nii.gz"
    bids: bool = False
    threads: int | None = None

    def choices(self) -> dict[str, Any]:
        """Return what influences the result besides inputs and estimators."""
        return {"mask": self.mask, "average": self.average, "bmin": self.bmin, "bmax": self.bmax,
                "file_format": self.file_format, "bids": self.bids}  # fmt: skip


@dataclass(frozen=True)
class ScanTask:
    """A scan with everything a worker needs, ready to be sent to another process."""

    scan: Scan
    settings: Settings
    companions: tuple[Companion, ...] = ()
    describe: Describe | None = None
    before: dict[str, Any] = field(default_factory=dict)


def record_path(out: Path | str, scan: Scan) -> Path:
    """Return where the record of a scan lies."""
    return Path(out) / NOTES / (scan.key.replace("/", "__") + ".json")


def read_record(out: Path | str, scan: Scan) -> dict[str, Any]:
    """Read the record of a scan; an absent or damaged one is empty, so that the scan is done again."""
    try:
        content = json.loads(record_path(out, scan).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(content, dict) and content.get("record") == RECORD and isinstance(content.get("rows"), list)
    return content if good else {}


def is_current(record: Mapping[str, Any], task: ScanTask, read: bool = False) -> bool:
    """Tell whether a scan needs no work: same fingerprint, and every file of the result is there.

    Arguments: `read` allows reading input files whose size or time changed; without it such a scan is not current.
    """
    if not record:
        return False
    out = Path(task.settings.out)
    if not all((out / name).is_file() for name in record.get("files", [])):
        return False
    known = record.get("inputs", {})
    if not read and any(not _unchanged(path, known) for path in task.scan.files):
        return False
    return record.get("fingerprint") == _fingerprint(task, checksums(task.scan.files, known))


def _unchanged(name: str, known: Mapping[str, Mapping[str, Any]]) -> bool:
    path = Path(name)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for file in files:
        try:
            about, before = file.stat(), known[str(file)]
        except (OSError, KeyError):
            return False
        if (before.get("size"), before.get("mtime_ns")) != (about.st_size, about.st_mtime_ns):
            return False
    return True


def _fingerprint(task: ScanTask, notes: Mapping[str, Mapping[str, Any]]) -> str:
    scan = task.scan
    # The same files mean something else where a region becomes a mask.
    roles = [len(scan.series), *(path is not None for path in (scan.bval, scan.rois, scan.mask))]
    choices = task.settings.choices() | {"names": {str(k): v for k, v in scan.names.items()}, "roles": roles}
    if task.settings.mask not in ("auto", "none"):
        notes = {**notes, **checksums([task.settings.mask])}
    return fingerprint(notes, task.settings.estimators, choices)


def run_scan(task: ScanTask) -> dict[str, Any]:
    """Carry out one scan; return its record, or {'key', 'error', 'advice'} where it cannot be done.

    A fault of one series never leaves this function as an exception: the others go on.
    """
    scan, started, used = task.scan, time.perf_counter(), time.process_time()
    try:
        missing = [path for path in scan.files if not Path(path).exists()]
        if missing:
            raise InputError(f"{missing[0]} does not exist; check the path in the manifest.")
        before = task.before or read_record(task.settings.out, scan)
        notes = checksums(scan.files, before.get("inputs"))
        mark = _fingerprint(task, notes)
        if before.get("fingerprint") == mark and is_current(before, task, read=True):
            record = {**before, "inputs": notes, "again": False}
        else:
            record = _fit(task) | {"inputs": notes, "fingerprint": mark}
        record["seconds"] = round(time.perf_counter() - started, 3)
        write_record(record_path(task.settings.out, scan), record)
        return record | {"peak_mb": peak_memory(), "cpu_seconds": time.process_time() - used}
    except InputError as fault:
        return {"key": scan.key, "error": str(fault)}
    except Cancelled:
        raise
    except MemoryError:
        return {"key": scan.key, "error": "There is not enough memory for this series; use fewer workers."}
    except Exception as fault:
        traceback.print_exc()
        return {"key": scan.key, "error": f"A fault in IVIMSlicer ({type(fault).__name__}: {fault}); please report it."}


def _fit(task: ScanTask) -> dict[str, Any]:
    scan, settings = task.scan, task.settings
    out, said = Path(settings.out), []
    target = out / scan.key
    work = out / NOTES / "work" / scan.key.replace("/", "__") if settings.bids else target
    _sweep(target, work if settings.bids else None)

    def emit(event: Event) -> None:
        if event["event"] == "warning":
            said.append(event["text"])

    job = Job(
        inputs=scan.series, out=str(work), estimators=settings.estimators, bval=scan.bval, bmin=settings.bmin,
        bmax=settings.bmax, average=settings.average, mask=scan.mask or settings.mask, rois=scan.rois,
        file_format=settings.file_format, threads=settings.threads,
    )  # fmt: skip

    def named(outcome: Outcome, *_: object) -> None:
        outcome.names.update({number: name for number, name in scan.names.items() if number in outcome.names})

    outcome = run(job, emit, companions=(named, *task.companions))
    names = list(outcome.results)
    if settings.bids:
        files = bids.arrange(work, out, scan, names)
        shutil.rmtree(work, ignore_errors=True)
    else:
        files = sorted(path.relative_to(out).as_posix() for path in target.rglob("*") if path.is_file())
    kept = ("estimator", "options", "bvalues_used", "prior", "noise", "versions", "model", "card", "fit_seconds")
    return {
        "record": RECORD, "key": scan.key, "files": files, "again": True, "warnings": said,
        "rows": plain(task.describe(outcome)) if task.describe else [],
        "provenance": {
            name: plain({key: fit.provenance[key] for key in kept if key in fit.provenance})
            for name, fit in outcome.results.items()
        },
        "shape": [int(n) for n in outcome.series.signal.shape],
        "spacing_mm": [round(float(x), 4) for x in outcome.series.geometry.spacing],
    }  # fmt: skip


def _sweep(target: Path, work: Path | None) -> None:
    """Remove what a killed run left of this scan."""
    for left in target.glob(".ivim-*") if target.is_dir() else ():
        shutil.rmtree(left, ignore_errors=True)
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
        work.parent.mkdir(parents=True, exist_ok=True)


def sweep_records(out: Path) -> None:
    """Remove the halves of records that a killed run was writing into an output folder."""
    sweep(out, "*.json")
    sweep(out / NOTES, "*.json")


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all, on the disk before it gets its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished, open(unfinished, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, sort_keys=True, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())


def peak_memory() -> float | None:
    """Return the largest memory that this process has held [MB], None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def job_of(scan: Scan, settings: Settings) -> Job:
    """Return the job that reads a scan, without any output."""
    return Job(inputs=scan.series, out="", bval=scan.bval, bmin=settings.bmin, bmax=settings.bmax,
               average=settings.average, mask=scan.mask or settings.mask, rois=scan.rois)  # fmt: skip


def requests_with(requests: Sequence[Request], name: str, options: Mapping[str, Any]) -> tuple[Request, ...]:
    """Return the requests with more options for one estimator."""
    return tuple(Request(r.name, {**r.options, **options}) if r.name == name else r for r in requests)
