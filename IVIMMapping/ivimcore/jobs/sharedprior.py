"""One prior for a whole cohort, learned from a few voxels of every series.

A prior learned from each image by itself differs from session to session, and so adds to the spread that a test-retest
study measures. Here every series gives an equal share of voxels, divided by its noise level, so that series of any
scaling can be pooled; S0 is integrated out of the posterior anyway. Both sessions of every subject teach it: the report
says so, because such a prior knows the patients that it is later used on.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..estimators import create
from ..physics.acquisition import Acquisition
from ..physics.noise import estimate_sigma
from .cohortscan import NOTES, ScanTask, job_of, requests_with, write_record
from .events import Emit, status, warning
from .fingerprint import checksums, fingerprint
from .job import Request, load, regions
from .scheduling import Lost, Workers

ESTIMATOR = "posterior"
POOL, FEWEST_EACH = 20000, 40
"""Voxels of the pool, and the fewest that one series gives."""


def sample_scan(pair: tuple[ScanTask, int]) -> dict[str, Any]:
    """Draw voxels of one series: {'b' (n,) [s/mm²], 'rows' (v, n) in units of sigma}, or {'error'}."""
    task, count = pair
    try:
        job = job_of(task.scan, task.settings)
        series = load(job)
        mask = regions(job, series).mask
        rows = series.signal[mask].astype(float)
        rows = rows[np.isfinite(rows).all(axis=1) & (rows > 0).all(axis=1)]
        sigma = series.acquisition.sigma or estimate_sigma(rows, series.acquisition).sigma
        if sigma is None:
            return {"error": "its noise level cannot be told from its images"}
        rows = rows[rows.mean(axis=1) > 2 * sigma]
        chosen = np.random.default_rng(1).permutation(len(rows))[:count]
        return {"b": series.acquisition.bvalues, "rows": (rows[np.sort(chosen)] / sigma).astype(np.float32)}
    except (InputError, OSError) as fault:
        return {"error": str(fault)}


def share_prior(
    tasks: list[ScanTask], requests: tuple[Request, ...], workers: Workers, emit: Emit
) -> tuple[Request, ...]:
    """Learn the prior of a cohort, save it as prior.npz, and return the requests that use it.

    The file is kept as it is while inputs and options are the same. Raises InputError where no estimator can use a
    prior, and where the series give too few voxels.
    """
    mine = next((request for request in requests if request.name == ESTIMATOR), None)
    if mine is None:
        raise InputError(f"A shared prior needs the estimator '{ESTIMATOR}'; add --estimator {ESTIMATOR}.")
    out = Path(tasks[0].settings.out)
    path, note = out / "prior.npz", out / NOTES / "prior.json"
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    inputs = checksums([name for task in tasks for name in task.scan.files], before.get("inputs"))
    mark = fingerprint(inputs, (mine,), tasks[0].settings.choices())
    shared = requests_with(requests, ESTIMATOR, {"prior": "file", "prior_file": str(path)})
    if path.is_file() and before.get("fingerprint") == mark:
        emit(status("The prior of the cohort is up to date"))
        return shared
    emit(status("Learning one prior from the whole cohort"))
    each = max(FEWEST_EACH, POOL // len(tasks))
    found = []
    for (task, _), sample in workers.map(sample_scan, [(task, each) for task in tasks]):
        sample = {"error": sample.sentence} if isinstance(sample, Lost) else sample
        if "error" in sample:
            emit(warning(f"{task.scan.label} teaches no prior: {sample['error']}"))
        else:
            found.append((task, sample))
    if not found:
        raise InputError("No series of the cohort can teach a prior; leave out --shared-prior.")
    protocols = Counter(tuple(sample["b"]) for _, sample in found)
    common = protocols.most_common(1)[0][0]
    for task, sample in found:
        if tuple(sample["b"]) != common:
            emit(warning(f"{task.scan.label} teaches no prior: its b-values are not those of the most series."))
    # In the order of the manifest, whoever finished first: the same cohort gives the same prior.
    order = {task.scan.key: number for number, task in enumerate(tasks)}
    usable = sorted((pair for pair in found if tuple(pair[1]["b"]) == common), key=lambda pair: order[pair[0].scan.key])
    rows = np.concatenate([sample["rows"] for _, sample in usable])[:POOL]
    options = {key: value for key, value in mine.options.items() if key not in ("prior", "prior_file", "sample")}
    learner = create(ESTIMATOR, **options, prior="learned", sample=int(np.clip(len(rows), 500, POOL)))
    prior = learner.learn(rows[:, None, None, :], Acquisition(np.array(common), sigma=1.0))
    prior.save(path)
    write_record(note, {"fingerprint": mark, "inputs": inputs, "series": len(usable), "voxels": len(rows)})
    return shared
