"""Cohort runs: once and only once, whatever is missing, wrong or killed in between."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from refusal import refused

from ivimcore import Cancelled, InputError
from ivimcore.cli import main
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.output import write_images, write_labels
from ivimcore.data.reading import read_regions
from ivimcore.data.series import Geometry
from ivimcore.jobs.bidsresults import result_folder
from ivimcore.jobs.cohort import open_cohort, run_cohort
from ivimcore.jobs.cohortscan import Settings, record_path
from ivimcore.jobs.job import Request
from ivimcore.physics.signal import biexponential
from ivimcore.reports.cohortrows import COLUMNS, describe_outcome, write_companions
from ivimcore.reports.followup import read_session
from ivimcore.reports.roistatistics import write_csv

PACKAGES = Path(__file__).parents[2] / "IVIMMapping"
B = np.array([0, 10, 20, 50, 100, 200, 400, 800], float)
GRID = Geometry((16, 14, 2), np.diag([2.0, 2.0, 5.0, 1.0]))
HOSTILE = ("=HYPERLINK(\"http://x\")", "<script>alert(1)</script>", "../../up", "Jörg Müller", "患者")


def write_scan(folder: Path, seed: int, shape=GRID.shape, b=B, region: str = "tumour", bval: bool = True) -> Path:
    """Write a small series with its regions; return the path of the series."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grid = Geometry(shape, GRID.affine)
    D = 1e-3 * (1 + 0.1 * (seed // 2)) * np.ones(shape)
    signal = biexponential(b, np.full(shape, 800.0), D, np.full(shape, 0.15), np.full(shape, 0.03))
    write_images((signal + rng.normal(scale=12, size=signal.shape)).astype(np.float32), grid, folder / "dwi.nii.gz")
    if bval:
        (folder / "dwi.bval").write_text(" ".join(f"{x:g}" for x in b))
    labels = np.zeros(shape, np.uint8)
    labels[4:10, 4:10] = 1
    write_labels(labels, {1: region}, grid, folder / "rois.seg.nrrd")
    return folder / "dwi.nii.gz"


@pytest.fixture
def study(tmp_path):
    """A manifest of three subjects with two sessions each; returns its path."""
    return write_study(tmp_path / "in", [f"s{number}" for number in range(3)])


def write_study(folder: Path, subjects, group=lambda number: "reference") -> Path:
    rows = []
    for number, subject in enumerate(subjects):
        for session in range(2):
            place = folder / f"{number}-{session}"
            write_scan(place, 2 * number + session)
            rows.append((subject, f"v{session}", group(number), place / "dwi.nii.gz", place / "rois.seg.nrrd"))
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("subject", "session", "group", "series", "rois"), *rows])
    return folder / "manifest.csv"


def run(manifest, out, estimators=("segmented",), workers=0, **more):
    events = []
    settings = Settings(str(out), tuple(r if isinstance(r, Request) else Request(r) for r in estimators), mask="none")
    summary = run_cohort(
        open_cohort(manifest), settings, events.append, (write_companions,), describe_outcome, write_csv, COLUMNS,
        workers=workers, **more,
    )
    return summary, events


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_cohort_writes_maps_values_and_what_the_report_needs(study, tmp_path):
    summary, events = run(study, tmp_path / "out")
    assert (summary.done, summary.kept, summary.failures) == (6, 0, ())
    folder = tmp_path / "out" / "s1" / "v0"
    assert {"D.nii.gz", "provenance.json", "roi_statistics.csv", "thumbnail.png"} <= {p.name for p in folder.iterdir()}
    assert (folder / "thumbnail.png").read_bytes().startswith(b"\x89PNG")
    values = rows_of(tmp_path / "out" / "values.csv")
    assert len(values) == 6 * 3 and {row["region"] for row in values} == {"tumour"}
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert events[-1]["event"] == "result" and events[-1]["done"] == 6


def test_a_second_run_does_only_what_changed(study, tmp_path):
    out = tmp_path / "out"
    run(study, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("D.nii.gz")}
    assert run(study, out)[0].done == 0
    # Touched but equal: read again, not fitted again.
    os.utime(study.parent / "0-0" / "dwi.nii.gz")
    assert run(study, out)[0].done == 0
    write_scan(study.parent / "1-0", seed=99)
    assert run(study, out)[0].done == 1
    (out / "s2" / "v1" / "f.nii.gz").unlink()
    assert run(study, out)[0].done == 1
    changed = [path for path, mark in before.items() if path.stat().st_mtime_ns != mark]
    assert sorted(path.parent.relative_to(out).as_posix() for path in changed) == ["s1/v0", "s2/v1"]
    assert run(study, out, ("adc",))[0].done == 6


def test_what_lies_beside_a_series_counts_too_and_so_does_what_a_file_is_used_for(study, tmp_path):
    out = tmp_path / "out"
    run(study, out)
    (study.parent / "0-0" / "dwi.bval").write_text(" ".join(f"{x:g}" for x in 0.9 * B))
    summary, _ = run(study, out)
    assert summary.done == 1
    about = summary.records["s0/v0"]["provenance"]["segmented"]
    assert max(about["bvalues_used"]) == pytest.approx(720)
    # The region becomes the mask: the same files, another result.
    study.write_text(study.read_text("utf-8").replace("rois", "mask", 1))
    assert run(study, out)[0].done == 6


def test_a_network_that_was_trained_anew_fits_again(monkeypatch):
    from ivimcore.jobs import fingerprint

    marks = []
    for checksum in ("a", "b", "b"):
        about = SimpleNamespace(options=(), card={"weights": {"sha256": checksum * 64}})
        monkeypatch.setattr(fingerprint, "describe", lambda name, about=about: about)
        marks.append(fingerprint.fingerprint({}, (Request("mine"),), {}))
    assert marks[0] != marks[1] == marks[2]


def test_overlapping_regions_are_measured_whole_and_kept_for_a_follow_up(study, tmp_path):
    organ, lesion = np.zeros((2, *GRID.shape), bool)
    organ[3:12, 3:12], lesion[8:13, 8:13] = True, True
    path = study.parent / "0-0" / "rois.seg.nrrd"
    write_labels(organ, {}, GRID, path, {"organ": organ, "=lesion": lesion})
    events = run(study, tmp_path / "out")[1]
    mine = [row for row in rows_of(tmp_path / "out" / "values.csv") if (row["subject"], row["session"]) == ("s0", "v0")]
    assert {(row["region"], row["voxels"]) for row in mine} == {("organ", "162"), ("'=lesion", "50")}
    folder = tmp_path / "out" / "s0" / "v0"
    masks = read_regions(folder / "regions.seg.nrrd", GRID)[2]
    assert np.array_equal(masks["organ"], organ) and np.array_equal(masks["=lesion"], lesion)
    assert set(read_session(folder).values) == {"organ", "=lesion"}
    assert not any("failed" in event.get("text", "") for event in events)


def test_a_damaged_record_is_done_again(study, tmp_path):
    run(study, tmp_path / "out")
    scan = open_cohort(study).scans[0]
    record_path(tmp_path / "out", scan).write_text("{ half", encoding="utf-8")
    assert run(study, tmp_path / "out")[0].done == 1


def test_what_a_killed_run_was_writing_is_removed_and_nothing_of_the_user(study, tmp_path):
    out = tmp_path / "out"
    run(study, out)
    record = record_path(out, open_cohort(study).scans[0])
    halves = [record.with_name(f".{record.name}.24396.part"), out / ".cohort.json.24396.part"]
    theirs = out / "download.part"
    for path in (*halves, theirs):
        path.write_text("{ half", encoding="utf-8")
    assert run(study, out)[0].kept == 6
    assert not any(path.exists() for path in halves) and theirs.exists()


def test_failed_series_are_listed_with_their_sentence_and_stop_nobody(study, tmp_path):
    (study.parent / "0-1" / "dwi.bval").unlink()
    (study.parent / "2-0" / "dwi.nii.gz").write_bytes(b"no image")
    (study.parent / "2-1" / "dwi.nii.gz").unlink()
    summary, _ = run(study, tmp_path / "out")
    assert summary.done == 3 and len(summary.failures) == 3
    failed = {(row["subject"], row["session"]): row["reason"] for row in rows_of(tmp_path / "out" / "failures.csv")}
    assert set(failed) == {("s0", "v1"), ("s2", "v0"), ("s2", "v1")}
    assert "does not exist" in failed["s2", "v1"] and "\n" not in "".join(failed.values())
    write_scan(study.parent / "2-0", 4)
    assert run(study, tmp_path / "out")[0].done == 1


def test_an_estimator_that_cannot_run_is_refused_before_anything_is_written(study, tmp_path):
    refused(lambda: run(study, tmp_path / "out", ("nothing",)), "Unknown estimator")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    refused(lambda: run(study, tmp_path / "file"), "cannot be made")
    refused(lambda: open_cohort(tmp_path / "none"), "does not exist")
    refused(lambda: open_cohort(tmp_path), "no BIDS data set")


def test_stopping_keeps_what_is_finished(study, tmp_path):
    asked = iter([False, True, True])
    with pytest.raises(Cancelled):
        run(study, tmp_path / "out", stop=lambda: next(asked))
    assert run(study, tmp_path / "out")[0].done == 4


def test_hostile_names_stay_inside_the_folder_and_harmless_in_spreadsheets(tmp_path):
    study = write_study(tmp_path / "in", HOSTILE)
    summary, _ = run(study, tmp_path / "out")
    assert summary.done == 10
    inside = {path.resolve() for path in tmp_path.rglob("*") if "in" not in path.relative_to(tmp_path).parts[:1]}
    assert all((tmp_path / "out").resolve() in (path, *path.parents) for path in inside)
    assert all(path.name.isascii() for path in (tmp_path / "out").iterdir())
    text = (tmp_path / "out" / "values.csv").read_text(encoding="utf-8")
    assert "'=HYPERLINK" in text and "\n=" not in text and ',"=' not in text
    assert {row["subject"].removeprefix("'") for row in rows_of(tmp_path / "out" / "values.csv")} == set(HOSTILE)


def test_a_prior_is_learned_once_from_all_series_and_kept(tmp_path):
    study, out = write_study(tmp_path / "in", ["s0"]), tmp_path / "out"
    quick = (Request("posterior", {"rounds": 5, "interval": 0}),)
    summary, events = run(study, out, quick, shared_prior=True)
    assert summary.done == 2 and (out / "prior.npz").is_file()
    about = {json.dumps(r["provenance"]["posterior"]["prior"]["checksum"]) for r in summary.records.values()}
    assert len(about) == 1
    first = (out / "prior.npz").read_bytes()
    summary, events = run(study, out, quick, shared_prior=True)
    assert summary.done == 0 and (out / "prior.npz").read_bytes() == first
    assert any("up to date" in event.get("text", "") for event in events)
    refused(lambda: run(study, out, shared_prior=True), "needs the estimator 'posterior'")


def test_the_shell_runs_a_cohort_and_says_what_is_wrong(study, tmp_path, capsys):
    arguments = ["cohort", str(study), "--out", str(tmp_path / "out"), "--estimator", "segmented", "--workers", "0"]
    assert main(arguments) == 0
    assert "6 series fitted" in capsys.readouterr().err
    assert main(arguments) == 0 and "6 up to date" in capsys.readouterr().err
    assert main(["cohort", str(tmp_path / "x.csv"), "--out", str(tmp_path / "o")]) == 2
    assert main([*arguments, "--mask", "m.nii.gz"]) == 2 and "in the manifest" in capsys.readouterr().err
    assert main([*arguments[:-1], "-3"]) == 2


# --- killed ------------------------------------------------------------------------------------------------------


CHILD = """
import sys; sys.path.insert(0, sys.argv[1])
from ivimcore.cli import main
sys.exit(main(sys.argv[2:]))
"""


def child(*arguments, **more) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(PACKAGES), *map(str, arguments)], encoding="utf-8",
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)  # fmt: skip


def wait_for(condition, seconds: float = 60.0):
    """Wait until `condition()` is true and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def listens(port: int) -> bool:
    """Tell whether something on this computer answers at a port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port of this computer that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def assert_whole(out: Path) -> None:
    """Assert that every map in a folder can be read, and every record."""
    for path in out.rglob("*.nii.gz"):
        if ".ivim-" not in str(path):
            read_volumes(path)
    for path in (out / ".ivim").glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_a_killed_run_leaves_nothing_half_and_goes_on_where_it_was(tmp_path):
    study = write_study(tmp_path / "in", [f"s{number}" for number in range(4)])
    out = tmp_path / "out"
    command = ("cohort", study, "--out", out, "--estimator", "bayes_map", "--workers", "0", "--mask", "none")
    running = child(*command)
    wait_for(lambda: len(list((out / ".ivim").glob("s*.json"))) >= 2)
    running.kill()
    running.communicate()
    done = len(list((out / ".ivim").glob("s*.json")))
    assert done < 8
    assert_whole(out)
    again = child(*command, "--json")
    events = [json.loads(line) for line in again.communicate(timeout=60)[0].splitlines()]
    assert again.returncode == 0 and events[-1]["kept"] == done and events[-1]["done"] == 8 - done
    assert_whole(out)
    assert not list(out.rglob(".ivim-*")) and not list(out.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_a_killed_worker_costs_at_most_the_series_in_flight(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed")
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    study = write_study(tmp_path / "in", [f"s{number}" for number in range(4)])
    out = tmp_path / "out"
    running = child("cohort", study, "--out", out, "--estimator", "bayes_map", "--workers", "2", "--mask", "none",
                    "--json")  # fmt: skip
    wait_for(lambda: list((out / ".ivim").glob("s*.json")))
    workers = [p for p in psutil.Process(running.pid).children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    workers[0].send_signal(signal.SIGKILL)
    output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    last = json.loads(output.splitlines()[-1])
    # A series whose worker died after its maps were in place is found done, not done again.
    assert (last["done"] + last["kept"], last["failed"]) == (8, 0) and last["kept"] <= 2
    assert_whole(out)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_a_killed_client_takes_its_workers_along_and_loses_nothing(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed")
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    study = write_study(tmp_path / "in", [f"s{number}" for number in range(4)])
    out = tmp_path / "out"
    command = ("cohort", study, "--out", out, "--estimator", "bayes_map", "--mask", "none")
    running = child(*command, "--workers", "2")
    wait_for(lambda: running.poll() is not None or list((out / ".ivim").glob("s*.json")), 300)
    workers = psutil.Process(running.pid).children(recursive=True)
    assert workers
    running.kill()
    running.communicate()
    # No orphan goes on computing; what one was writing is whole or not there.
    gone, left = psutil.wait_procs(workers, timeout=300)
    assert not left
    done = len(list((out / ".ivim").glob("s*.json")))
    assert_whole(out)
    again = child(*command, "--workers", "0", "--json")
    last = json.loads(again.communicate(timeout=300)[0].splitlines()[-1])
    assert (last["kept"], last["done"]) == (done, 8 - done)
    assert not list(out.rglob(".ivim-*")) and not list(out.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_a_scheduler_that_dies_is_one_sentence_and_the_rest_is_done_later(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed")
    study = write_study(tmp_path / "in", [f"s{number}" for number in range(6)])
    out, port = tmp_path / "out", free_port()
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
            "--no-dashboard"]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    scheduler = subprocess.Popen(dask, **quiet)
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard",
         "--no-nanny", "--death-timeout", "20"], cwd=tmp_path, **quiet)  # fmt: skip
    try:
        wait_for(lambda: listens(port))
        command = ("cohort", study, "--out", out, "--estimator", "bayes_map", "--mask", "none")
        running = child(*command, "--scheduler", address)
        wait_for(lambda: running.poll() is not None or len(list((out / ".ivim").glob("s*.json"))) >= 2)
        scheduler.kill()
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 2 and "scheduler has gone" in errors, errors
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    done = len(list((out / ".ivim").glob("s*.json")))
    assert 2 <= done < 12
    assert_whole(out)
    again = child(*command, "--workers", "0", "--json")
    last = json.loads(again.communicate(timeout=60)[0].splitlines()[-1])
    assert last["kept"] >= done - 1 and last["kept"] + last["done"] == 12


def test_a_scheduler_that_is_not_there_is_refused(study, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr("ivimcore.jobs.scheduling.CONNECT", 0.5)
    refused(lambda: run(study, tmp_path / "out", workers=None, scheduler="tcp://127.0.0.1:9"), "does not answer")


# --- BIDS --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bids(tmp_path):
    """A BIDS data set with inherited b-values, groups, and regions in derivatives."""
    pytest.importorskip("bids2table", reason="bids2table is not installed")
    root = tmp_path / "bids"
    for number in (1, 2):
        for session in ("a", "b"):
            name = f"sub-{number:02d}_ses-{session}"
            place = root / f"sub-{number:02d}" / f"ses-{session}" / "dwi"
            write_scan(place, number, bval=False).rename(place / f"{name}_dwi.nii.gz")
            labels = root / "derivatives" / "regions" / f"sub-{number:02d}" / f"ses-{session}" / "dwi"
            labels.mkdir(parents=True)
            (place / "rois.seg.nrrd").unlink()
            mask = np.zeros(GRID.shape, np.uint8)
            mask[4:10, 4:10] = 1
            from ivimcore.data.output import write_volume

            write_volume(mask, GRID, labels / f"{name}_dseg.nii.gz")
            (labels / f"{name}_dseg.tsv").write_text("index\tname\n1\tliver lesion\n")
    (root / "dwi.bval").write_text(" ".join(f"{x:g}" for x in B))
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tcontrol\nsub-02\ttreated\n")
    return root


def test_a_bids_data_set_becomes_a_cohort_and_derivatives_with_bids_names(bids, tmp_path):
    manifest = open_cohort(bids)
    assert [(s.subject, s.session, s.group) for s in manifest.scans] == [
        ("01", "a", "control"), ("01", "b", "control"), ("02", "a", "treated"), ("02", "b", "treated")]  # fmt: skip
    assert manifest.scans[0].bval.endswith("bids/dwi.bval")
    out = tmp_path / "ivimslicer"
    summary, _ = run(bids, out, ("nlls", "segmented"))
    assert summary.done == 4 and not summary.failures
    folder = out / "sub-01" / "ses-a" / "dwi"
    stem = folder / "sub-01_ses-a_model-ivim_param-dstar_desc-nlls_dwimap"
    assert np.isfinite(read_volumes(Path(f"{stem}.nii.gz"))[0]).any()
    about = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    assert about["Units"] == "mm^2/s" and "whole decay rate" in about["Description"]
    assert about["Model"]["Parameters"]["FitMethod"] == "nlls" and about["BValuesUsed"] == list(B)
    assert about["Sources"] == ["bids:raw:sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz"]
    assert (folder / "sub-01_ses-a_model-ivim_param-dstd_desc-nlls_dwimap.nii.gz").is_file()
    assert (folder / "sub-01_ses-a_model-ivim_desc-segmented_stats.tsv").is_file()
    dataset = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))
    assert dataset["DatasetType"] == "derivative" and dataset["GeneratedBy"][0]["Name"] == "IVIMSlicer"
    assert "*_dwimap*" in (out / ".bidsignore").read_text("utf-8")
    assert {row["region"] for row in rows_of(out / "values.csv")} == {"liver lesion"}
    assert (folder / "sub-01_ses-a_desc-regions_dseg.tsv").read_text(encoding="utf-8").split("\n")[1].strip() == (
        "1\tliver lesion")
    regions = read_volumes(folder / "sub-01_ses-a_desc-regions_dseg.nii.gz")[0]
    assert np.array_equal(np.unique(regions), [0, 1]) and (regions > 0).sum() == 72
    assert run(bids, out, ("nlls", "segmented"))[0].done == 0
    assert (folder / "extra" / "sub-01_ses-a_thumbnail.png").is_file()
    pytest.importorskip("jinja2", reason="Jinja is not installed: reports are not tested")
    assert main(["report", str(out), "--few", "--no-pdf"]) == 0
    with open(out / "group_model-ivim_desc-nlls_repeatability.tsv", encoding="utf-8") as stream:
        assert {row["map"] for row in csv.DictReader(stream, delimiter="\t")} == {"D", "f"}
    assert "data:image/png;base64" in (out / "report.html").read_text(encoding="utf-8")
    assert not list(out.rglob("work/*"))


def test_a_session_of_bids_derivatives_is_an_earlier_result(bids, tmp_path):
    run(bids, tmp_path / "bids_out", ("nlls", "segmented"))
    manifest = open_cohort(bids)
    plain = tmp_path / "plain"
    both = Settings(str(plain), (Request("nlls"), Request("segmented")), mask="none")
    run_cohort(replace(manifest, bids=False), both, lambda event: None, (write_companions,), describe_outcome)
    session = tmp_path / "bids_out" / "sub-01" / "ses-a"
    with result_folder(session) as folder:
        theirs = plain / "01" / "a"
        for name in ("nlls/D.nii.gz", "nlls/Dstar_sd.nii.gz", "segmented/f.nii.gz"):
            np.testing.assert_array_equal(read_volumes(folder / name)[0], read_volumes(theirs / name)[0])
        assert (folder / "nlls" / "roi_statistics.csv").read_text() == (theirs / "nlls/roi_statistics.csv").read_text()
        labels, names, masks = read_regions(folder / "regions.seg.nrrd", GRID)
        assert list(names.values()) == ["liver lesion"] and masks is None and (labels > 0).sum() == 72
    assert not folder.exists()
    table = session / "dwi" / "sub-01_ses-a_model-ivim_desc-nlls_stats.tsv"
    found = read_session(table)
    assert found.values == read_session(theirs / "nlls").values
    refused(lambda: read_session(session), "give one of its tables: sub-01_ses-a_model-ivim_desc-nlls_stats.tsv, sub")
    for name in ("model-ivim_desc-nlls_stats.tsv", "desc-regions_dseg.tsv", "desc-regions_dseg.nii.gz"):
        path = session / "dwi" / f"sub-01_ses-a_{name}"
        whole = path.read_bytes()
        for damaged in (b"", b"index\n\n", b"index\tname\n1", b"\0\xff", whole[: len(whole) // 2]):
            path.write_bytes(damaged)
            with contextlib.suppress(InputError), result_folder(table) as folder:  # half a table may still be one
                read_session(folder)
        path.write_bytes(whole)
    (session / "dwi" / "extra" / "sub-01_ses-a_nlls_provenance.json").unlink()
    refused(lambda: read_session(table), "lacks extra/sub-01_ses-a_nlls_provenance.json")
    other = session / "dwi" / "sub-01_ses-a_run-2_model-ivim_param-d_desc-nlls_dwimap.nii.gz"
    other.write_bytes(b"")
    refused(lambda: read_session(session), "several series (sub-01_ses-a, sub-01_ses-a_run-2)")


def test_regions_that_overlap_come_back_from_bids_derivatives(study, tmp_path):
    organ, lesion = np.zeros((2, *GRID.shape), bool)
    organ[3:12, 3:12], lesion[8:13, 8:13] = True, True
    # With numbers of no fixed width both 'a2' (the first) and 'a' (the 21st) would be written as 'a21'.
    named = {"a2": organ, **{f"-{number}": lesion for number in range(2, 21)}, "a": lesion}
    write_labels(organ, {}, GRID, study.parent / "0-0" / "rois.seg.nrrd", named)
    manifest = open_cohort(study)
    scans = tuple(replace(s, entities={"sub": s.subject, "ses": s.session}) for s in manifest.scans)
    settings = Settings(str(tmp_path / "out"), (Request("adc"),), mask="none")
    run_cohort(replace(manifest, scans=scans, bids=True), settings, lambda event: None, (write_companions,),
               describe_outcome)  # fmt: skip
    with result_folder(tmp_path / "out" / "sub-s0" / "ses-v0") as folder:
        masks = read_regions(folder / "regions.seg.nrrd", GRID)[2]
        assert list(masks) == list(named)
        assert all(np.array_equal(masks[name], mask) for name, mask in named.items())
        assert set(read_session(folder).values) == set(named)


def test_a_data_set_without_diffusion_is_refused(bids, tmp_path):
    for path in bids.glob("sub-*/**/*_dwi.nii.gz"):
        path.unlink()
    refused(lambda: open_cohort(bids), "no diffusion series")
