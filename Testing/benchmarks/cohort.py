"""A large cohort through a cluster: throughput, peak memory a worker, overhead over the plain fit.

    python Testing/benchmarks/cohort.py [--subjects 500] [--workers 2] [--quick]

Synthetic subjects with two sessions each are generated, then fitted by `ivim cohort`. The plain fit is the same series
read, fitted and written by `jobs.job.run`, a sample of them, in as many processes at once as there are workers.
Overhead compares the processor time that a series takes in a worker with that of the plain fit, which other programs on
the machine disturb less than wall time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from ivimcore.evaluation.syntheticcohort import generate
from ivimcore.jobs.cohort import open_cohort, run_cohort
from ivimcore.jobs.cohortscan import Settings
from ivimcore.jobs.job import Job, Request, run
from ivimcore.reports.cohortrows import COLUMNS, describe_outcome, write_companions
from ivimcore.reports.roistatistics import write_csv

ESTIMATOR = "posterior"
SAMPLE = 24


def fit_plainly(scans: list, out: Path) -> float:
    """Fit some series one after the other as `ivim map` does; return the processor time of all [s]."""
    started = 0.0
    for number, scan in enumerate([scans[0], *scans]):
        if number == 1:
            started = time.process_time()  # the first one warms up
        job = Job(scan.series, str(out / str(number)), (Request(ESTIMATOR),), mask=scan.mask, rois=scan.rois, threads=1)
        run(job, lambda event: None, companions=(write_companions,))
    return time.process_time() - started


def plain(scans: list, out: Path, workers: int) -> float:
    """Fit some series plainly, in as many processes at once as there are workers; return processor time a series [s].

    At once, because cores that share a memory bus, or are two halves of one, each slow down when both work.
    """
    parts = [scans[number::workers] for number in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        spent = pool.map(fit_plainly, parts, [out / str(number) for number in range(workers)])
        return sum(spent) / len(scans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="24 subjects")
    options = parser.parse_args()
    subjects = 24 if options.quick else options.subjects
    folder = Path(tempfile.mkdtemp(prefix="ivim-benchmark-"))
    try:
        started = time.perf_counter()
        made = generate(folder / "data", reference=subjects, treated=0, responders=0)
        manifest = open_cohort(made.manifest)
        print(f"{len(manifest.scans)} series generated in {time.perf_counter() - started:.0f} s")
        scans = list(manifest.scans)
        sample = scans[:: max(1, len(scans) // SAMPLE)][:SAMPLE]
        before = plain(sample, folder / "plain-1", options.workers)

        last = [0.0]

        def emit(event: dict) -> None:
            if event["event"] == "progress" and time.monotonic() - last[0] > 20:
                last[0] = time.monotonic()
                print(f"  {event['fraction']:.0%}, {event['seconds_left']:.0f} s left", flush=True)

        settings = Settings(str(folder / "out"), (Request(ESTIMATOR),))
        summary = run_cohort(
            manifest, settings, emit, (write_companions,), describe_outcome, write_csv, COLUMNS,
            workers=options.workers,
        )  # fmt: skip
        after = plain(sample, folder / "plain-2", options.workers)
        alone = (before + after) / 2
        series = len(scans)
        working = summary.cpu_seconds / series
        print(f"plain fit            {alone:.3f} s of processor a series ({before:.3f} before, {after:.3f} after)")
        print(f"cohort               {summary.seconds:.1f} s for {series} series with {options.workers} workers: "
              f"{series / summary.seconds:.2f} series a second")  # fmt: skip
        over = 100 * (working / alone - 1)
        print(f"a series in a worker {working:.3f} s of processor, {over:+.1f} % over the plain fit")
        print(f"peak memory          {summary.peak_mb:.0f} MB in the largest worker")
        print(f"failed               {len(summary.failures)}")
        started = time.perf_counter()
        again = run_cohort(manifest, settings, emit, (write_companions,), describe_outcome, workers=options.workers)
        print(f"second run           {time.perf_counter() - started:.1f} s, {again.done} done, {again.kept} up to date")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
