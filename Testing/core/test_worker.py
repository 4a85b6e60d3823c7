"""The worker as a real child process: events, cancel, end with its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ivimcore.data.output import write_images
from ivimcore.data.series import Geometry
from ivimcore.jobs.job import Job, Request
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential

PACKAGES = Path(__file__).parents[2] / "IVIMMapping"


@pytest.fixture
def start():
    """Start workers and close what is left of them afterwards."""
    processes = []

    def begin(job_file: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "ivimcore.worker", str(job_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8", env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def finish(process: subprocess.Popen) -> str:
    """Read everything to the end with stdin open, because closing it means cancel."""
    output = process.stdout.read()
    process.wait(timeout=60)
    return output


def events_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def write_series(folder: Path, shape) -> Path:
    acquisition = protocol("brain16").acquisition()
    rng = np.random.default_rng(0)
    signal = biexponential(acquisition.bvalues, rng.uniform(500, 900, shape), 1e-3, 0.2, 30e-3)
    signal = (signal + rng.normal(scale=20, size=signal.shape)).astype(np.int16)
    path = folder / "dwi.nrrd"
    write_images(signal, Geometry(tuple(shape), np.diag([2.0, 2.0, 4.0, 1.0])), path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("small"), (20, 20, 4))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A series whose fit takes several seconds."""
    return write_series(tmp_path_factory.mktemp("large"), (128, 128, 50))


def job_file(folder: Path, series: Path, **changes) -> Path:
    bvalues = tuple(float(b) for b in protocol("brain16").bvalues)
    defaults = {"inputs": (str(series),), "out": str(folder / "out"), "bvalues": bvalues, "mask": "none"}
    job = Job(**{**defaults, "estimators": (Request("nlls"),), **changes})
    path = folder / "job.json"
    path.write_text(job.to_json())
    return path


def test_a_job_is_carried_out_and_reported_line_by_line(start, small, tmp_path):
    process = start(job_file(tmp_path, small))
    events = events_of(finish(process))
    assert process.returncode == 0, process.stderr.read()
    assert {"status", "progress", "result"} <= {event["event"] for event in events}
    assert events[-1]["event"] == "result" and "D.nii.gz" in events[-1]["files"]
    assert (tmp_path / "out" / "D.nii.gz").is_file()


def test_wrong_input_is_a_sentence_with_advice_and_exit_code_2(start, small, tmp_path):
    process = start(job_file(tmp_path, small, bvalues=(0.0, 100.0)))
    output = finish(process)
    last = events_of(output)[-1]
    assert process.returncode == 2
    assert last["event"] == "error" and last["sentence"].endswith(".") and last["advice"]
    assert not (tmp_path / "out").exists()


def test_a_missing_job_file_is_a_sentence(start, tmp_path):
    process = start(tmp_path / "none.json")
    output = finish(process)
    assert process.returncode == 2 and "job file" in events_of(output)[-1]["sentence"]


def wait_for_fit(process: subprocess.Popen) -> list[dict]:
    """Read events until the fit has really begun."""
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "progress" and seen[-1]["fraction"] > 0.12:
            return seen
    raise AssertionError(f"the worker ended before its fit: {seen[-1]}")


@pytest.mark.parametrize(
    ("estimator", "how"),
    [("nlls", "close stdin"), ("nlls", "say cancel"), ("nlls", "terminate"), ("posterior", "close stdin"),
     ("bayes_mrf", "close stdin"), ("mle_rician", "close stdin")],
)
def test_a_cancelled_worker_ends_and_leaves_nothing(start, large, tmp_path, estimator, how):
    process = start(job_file(tmp_path, large, estimators=(Request(estimator),)))
    wait_for_fit(process)
    if how == "close stdin":
        process.stdin.close()
    elif how == "say cancel":
        process.stdin.write("cancel\n")
        process.stdin.flush()
    else:
        process.terminate()
    process.wait(timeout=60)
    assert process.returncode == 130
    assert events_of(process.stdout.read())[-1] == {"event": "status", "text": "cancelled"}
    assert not (tmp_path / "out").exists()


def test_a_worker_is_stopped_while_it_reads_too(start, large, tmp_path):
    process = start(job_file(tmp_path, large))
    assert json.loads(process.stdout.readline())["event"] == "status"
    process.stdin.close()
    process.wait(timeout=60)
    assert process.returncode == 130 and not (tmp_path / "out").exists()


def test_the_worker_ends_when_its_parent_is_killed(large, tmp_path):
    """A desktop that crashes must not leave a process behind."""
    code = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-m', 'ivimcore.worker', sys.argv[1]], "
        "stdin=subprocess.PIPE, stdout=subprocess.DEVNULL); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(job_file(tmp_path, large))], stdout=subprocess.PIPE, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
    )
    worker = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.kill()
    parent.communicate()
    for _ in range(50):
        if not _running(worker):
            break
        time.sleep(0.1)
    assert not _running(worker)
    assert not (tmp_path / "out").exists()


def _running(pid: int) -> bool:
    """Tell whether a process lives; one that has ended but was not collected by anybody counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_progress_comes_while_it_fits(start, large, tmp_path):
    process = start(job_file(tmp_path, large, threads=1))
    fractions = []
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress":
            fractions.append(event["fraction"])
    process.wait(timeout=60)
    assert process.returncode == 0 and fractions[-1] == 1.0
    assert len(fractions) > 2 and fractions == sorted(fractions)
