"""The shell as a person uses it: commands, exit codes, one line for each wrong input, nothing written."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ivimcore.cli import main
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.output import write_images, write_volume
from ivimcore.data.series import Geometry
from ivimcore.physics.signal import biexponential

PACKAGES = Path(__file__).parents[2] / "IVIMMapping"
B = [0, 10, 20, 50, 100, 200, 400, 800]
GRID = Geometry((12, 10, 3), np.diag([2.0, 2.0, 5.0, 1.0]))


@pytest.fixture
def dwi(tmp_path):
    """A folder with a series, its b-values, a mask, and files that are wrong in one way each."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    S0 = rng.uniform(500, 900, GRID.shape)
    signal = biexponential(np.array(B, float), S0, 1e-3, 0.2, 30e-3) + rng.normal(scale=5, size=(*GRID.shape, len(B)))
    write_images(signal.astype(np.float32), GRID, folder / "dwi.nii.gz")
    (folder / "dwi.bval").write_text(" ".join(map(str, B)))
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2:9, 2:8] = 1
    write_volume(mask, GRID, folder / "mask.nii.gz")
    write_volume(np.zeros_like(mask), GRID, folder / "empty.nii.gz")
    write_volume(mask[::2], Geometry((6, 10, 3), GRID.affine), folder / "other.nii.gz")
    return folder


def ivim(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_info_shows_the_table_of_b_values_with_its_source_and_what_estimators_say(dwi, capsys):
    assert ivim("info", dwi / "dwi.nii.gz") == 0
    text = capsys.readouterr().out
    for words in ("12 x 10 x 3 voxels of 2 x 2 x 5 mm, 8 images", "dwi.bval", "800   1", "Noise", "nlls", "segmented"):
        assert words in text


def test_info_as_json_can_be_read_by_a_script(dwi, capsys):
    assert ivim("info", dwi / "dwi.nii.gz", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert [row["b"] for row in about["bvalues"]] == B and about["estimators"]["nlls"] is not None


def test_map_writes_maps_and_says_where(dwi, tmp_path, capsys):
    assert ivim("map", dwi / "dwi.nii.gz", "--out", tmp_path / "out", "--mask", dwi / "mask.nii.gz") == 0
    D, _ = read_volumes(tmp_path / "out" / "D.nii.gz")
    mask, _ = read_volumes(dwi / "mask.nii.gz")
    assert abs(np.median(D[mask > 0]) - 1e-3) < 3e-5 and np.isnan(D[mask == 0]).all()
    assert "Written to" in capsys.readouterr().err


def test_map_takes_b_values_estimators_and_options_from_the_command_line(dwi, tmp_path):
    (dwi / "dwi.bval").unlink()
    code = ivim(
        "map", dwi / "dwi.nii.gz", "--out", tmp_path / "out", "--mask", "none", "--bvalues", *B, "--format", "nrrd",
        "--estimator", "nlls", "segmented", "--option", "segmented.threshold=100", "bounds.Dstar=0.01,0.1",
    )
    assert code == 0
    nlls, segmented = (
        json.loads((tmp_path / "out" / name / "provenance.json").read_text("utf-8"))["options"]
        for name in ("nlls", "segmented")
    )
    assert nlls["bounds"] == segmented["bounds"] == {"Dstar": [0.01, 0.1]} and segmented["threshold"] == 100
    Dstar, _ = read_volumes(tmp_path / "out" / "nlls" / "Dstar.nrrd")
    assert np.nanmin(Dstar) >= 0.01 and np.nanmax(Dstar) <= 0.1 + 1e-6


def test_json_events_are_one_object_per_line(dwi, tmp_path, capsys):
    assert ivim("map", dwi / "dwi.nii.gz", "--out", tmp_path / "out", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "result" and "D.nii.gz" in events[-1]["files"]


def test_region_statistics_hold_the_exact_numbers_of_the_maps(dwi, tmp_path):
    assert ivim(
        "map", dwi / "dwi.nii.gz", "--out", tmp_path / "out", "--rois", dwi / "mask.nii.gz", "--mask", "none"
    ) == 0
    with open(tmp_path / "out" / "roi_statistics.csv", encoding="utf-8") as stream:
        rows = {row["map"]: row for row in csv.DictReader(stream)}
    D, _ = read_volumes(tmp_path / "out" / "D.nii.gz")
    mask, _ = read_volumes(dwi / "mask.nii.gz")
    values = D[mask > 0].astype(float)
    assert float(rows["D"]["mean"]) == pytest.approx(values.mean(), rel=1e-12)
    assert float(rows["D"]["p95"]) == pytest.approx(np.percentile(values, 95), rel=1e-12)
    assert float(rows["D"]["volume_ml"]) == pytest.approx(values.size * 0.02)
    with open(tmp_path / "out" / "region_means.csv", encoding="utf-8") as stream:
        mean_fit = {row["map"]: float(row["value"]) for row in csv.DictReader(stream)}
    assert mean_fit["D"] == pytest.approx(1e-3, rel=0.01)


def test_models_lists_estimators_with_their_options(capsys):
    assert ivim("models") == 0
    text = capsys.readouterr().out
    assert "nlls" in text and "threshold = 200.0 s/mm²" in text
    assert ivim("models", "--json") == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} >= {"adc", "nlls", "segmented"}


def test_evaluate_prints_a_table_with_the_limit_and_writes_it(tmp_path, capsys):
    chosen = ("--snr", 20, "--voxels", 500, "--estimator", "nlls", "segmented")
    assert ivim("evaluate", "paper1", *chosen, "--out", tmp_path / "bench") == 0
    text = capsys.readouterr().out
    assert "(limit)" in text and "nlls" in text and "(prior mean)" in text
    written = {path.name for path in (tmp_path / "bench").iterdir()}
    assert {name for name in written if "scatter" not in name} == {"paper1.csv", "paper1.png", "paper1_bias_snr20.png"}
    assert "paper1_scatter_snr20.png" in written


@pytest.mark.parametrize("command", ["demo", "synthetic-cohort"])
@pytest.mark.parametrize("seed", ["-1", "one", "1.5", "9" * 20])
def test_a_seed_that_no_generator_takes_is_refused(command, seed, tmp_path, capsys):
    assert ivim(command, "--out", tmp_path / "o", f"--seed={seed}") == 2
    assert f"'{seed}' is no seed, give a whole number" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_evaluate_lists_the_benchmarks(capsys):
    assert ivim("evaluate", "list") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("paper1", "brain", "uniform", "labels", "lesion", "coverage"))


def test_evaluate_computes_the_limit_and_takes_options_of_estimators(capsys):
    arguments = ("--voxels", 200, "--limit", "--estimator", "nlls:bounds=benchmark", "--json")
    assert ivim("evaluate", "uniform", *arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["estimator"] for row in rows] == ["(limit, computed)"] * 3 + ["nlls:bounds=benchmark"] * 3
    assert rows[0]["nrmse"] < rows[3]["nrmse"]


@pytest.mark.parametrize("name", ["lesion", "coverage"])
def test_evaluate_measures_lesions_and_coverage(name, tmp_path, capsys):
    arguments = ("--snr", 40, "--voxels", 500, "--estimator", "segmented", "--out", tmp_path / "o")
    assert ivim("evaluate", name, *arguments) == 0
    assert name in capsys.readouterr().out
    assert (tmp_path / "o" / f"{name}.csv").exists() and (tmp_path / "o" / f"{name}.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), "paper1"), (("lesion", "--limit"), "no limit"), (("paper1", "--voxels", "5"), "too few"),
        (("paper1", "--snr", "-3"), "positive"), (("coverage", "--estimator", "nlls:colour=blue"), "known are"),
    ],
)
def test_evaluate_refuses_in_one_line(arguments, words, capsys):
    assert ivim("evaluate", *arguments) == 2
    complaint = capsys.readouterr().err
    assert words in complaint and complaint.count("\n") == 1


def break_nothing(folder):
    pass


def no_bval(folder):
    (folder / "dwi.bval").unlink()


def write_bval(text):
    return lambda folder: (folder / "dwi.bval").write_text(text)


def truncate(folder):
    path = folder / "dwi.nii.gz"
    path.write_bytes(path.read_bytes()[:-3000])


def not_an_image(folder):
    with gzip.open(folder / "dwi.nii.gz", "wb") as stream:
        stream.write(b"hello " * 1000)


def three_axes(folder):
    (folder / "dwi.nii.gz").write_bytes((folder / "mask.nii.gz").read_bytes())


WRONG = {
    "no bval": (no_bval, (), "--bval"),
    "too few b-values": (write_bval("0 50 100"), (), "3"),
    "letters": (write_bval("0 10 20 50 100 200 four 800"), (), "four"),
    "NaN": (write_bval("0 10 20 50 100 200 nan 800"), (), "nan"),
    "negative": (write_bval("0 10 20 50 100 200 -400 800"), (), "negative"),
    "wrong unit": (write_bval("0 .01 .02 .05 .1 .2 .4 .8"), (), "ms/µm²"),
    "one b-value": (write_bval(" ".join(["800"] * 8)), (), "at least 4 different b-values"),
    "three b-values": (write_bval("0 0 0 0 400 400 800 800"), (), "adc"),
    "truncated": (truncate, (), "truncated"),
    "no image": (not_an_image, (), "dwi.nii.gz"),
    "three axes": (three_axes, (), "4D"),
    "mask of another grid": (break_nothing, ("--mask", "other.nii.gz"), "12 x 10 x 3"),
    "regions of another grid": (break_nothing, ("--rois", "other.nii.gz"), "6 x 10 x 3"),
    "empty mask": (break_nothing, ("--mask", "empty.nii.gz"), "empty"),
    "missing mask": (break_nothing, ("--mask", "none.nii.gz"), "none.nii.gz"),
    "unknown estimator": (break_nothing, ("--estimator", "magic"), "nlls"),
    "unknown option": (break_nothing, ("--option", "colour=blue"), "bounds"),
    "option without value": (break_nothing, ("--option", "threshold"), "NAME=VALUE"),
    "unknown organ": (break_nothing, ("--option", "organ=toe"), "liver"),
    "bounds upside down": (break_nothing, ("--option", "bounds.D=3e-3,1e-3"), "lower first"),
    "unknown format": (break_nothing, ("--format", "png"), "nii.gz"),
    "no such argument": (break_nothing, ("--colour",), "--help"),
    "no threads": (break_nothing, ("--threads", "0"), "--threads"),
    "series of a file": (break_nothing, ("--series", "3"), "DICOM"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_exit_code_2_and_nothing_written(case, dwi, tmp_path, capsys, monkeypatch):
    spoil, arguments, words = WRONG[case]
    spoil(dwi)
    monkeypatch.chdir(dwi)
    code = ivim("map", "dwi.nii.gz", "--out", tmp_path / "out", *arguments)
    captured = capsys.readouterr()
    complaint = [line for line in captured.err.splitlines() if line.startswith("ivim: ")]
    assert code == 2 and len(complaint) == 1, captured.err
    assert words in complaint[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "DICOM"),
        (lambda path: path.write_text("not a picture"), "format"),
    ],
)
def test_an_input_that_is_none_is_one_line(make, words, tmp_path, capsys):
    make(tmp_path / "input")
    assert ivim("info", tmp_path / "input") == 2
    complaint = capsys.readouterr().err
    assert words in complaint and complaint.count("\n") == 1


def test_an_output_that_is_a_file_is_refused_before_the_fit(dwi, tmp_path, capsys):
    (tmp_path / "out").write_text("precious")
    assert ivim("map", dwi / "dwi.nii.gz", "--out", tmp_path / "out") == 2
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "out").read_text("utf-8") == "precious"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_output_without_permission_is_refused(dwi, tmp_path, capsys):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert ivim("map", dwi / "dwi.nii.gz", "--out", tmp_path / "closed" / "out") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_zero_negative_and_missing_voxels_are_a_status_and_no_failure(tmp_path, capsys):
    signal = np.tile(biexponential(np.array(B, float), 500.0, 1e-3, 0.2, 30e-3), (4, 4, 1, 1)).astype(np.float32)
    signal[0, 0, 0], signal[1, 0, 0], signal[2, 0, 0, 4] = 0, -20, np.nan
    write_images(signal, Geometry((4, 4, 1), np.eye(4)), tmp_path / "dwi.nii.gz")
    (tmp_path / "dwi.bval").write_text(" ".join(map(str, B)))
    assert ivim("map", tmp_path / "dwi.nii.gz", "--out", tmp_path / "out", "--mask", "none") == 0
    status, _ = read_volumes(tmp_path / "out" / "status.nii.gz")
    D, _ = read_volumes(tmp_path / "out" / "D.nii.gz")
    assert len(set(status[:3, 0, 0, 0])) == 3 and 0 not in status[:3, 0, 0, 0] and (status[3] == 0).all()
    assert np.isnan(D[:3, 0, 0]).all() and np.isfinite(D[3]).all()
    said = capsys.readouterr().err
    assert "zero in every image" in said and "NaN or infinity" in said


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another signal there")
def test_an_interrupt_in_the_middle_of_an_import_is_answered_like_any_other(tmp_path):
    """Every new dataclass runs through `exec`, where `python -m` treats an interrupt as one that nobody caught."""
    (tmp_path / "pressed.py").write_text(
        "import sys\nfrom ivimcore import cli\n"
        "press = 'import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)'\n"
        "cli._COMMANDS['models'] = lambda options: exec(press)\n"
        "sys.exit(cli.main(['models']))\n"
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run = subprocess.run([sys.executable, "-m", "pressed"], env={**os.environ, "PYTHONPATH": str(PACKAGES)},
                             cwd=tmp_path, stderr=subprocess.PIPE, encoding="utf-8", timeout=60)  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    assert (run.returncode, run.stderr) == (130, "ivim: stopped; nothing was written.\n")


def test_an_interrupted_run_leaves_nothing_and_a_second_run_works(dwi, tmp_path):
    shape = (128, 128, 40)
    images = np.tile(biexponential(np.array(B, float), 500.0, 1e-3, 0.2, 30e-3), (*shape, 1))
    images += np.random.default_rng(0).normal(scale=20, size=images.shape)
    write_images(images.astype(np.int16), Geometry(shape, np.eye(4)), tmp_path / "big.nrrd")
    command = [sys.executable, "-m", "ivimcore.cli", "map", "big.nrrd", "--bvalues", *map(str, B), "--mask", "none",
               "--out", "out"]
    # What a shell starts in the background ignores Ctrl-C, and so do its children unless somebody listens again.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PACKAGES)}, stderr=subprocess.PIPE, encoding="utf-8"
    )
    signal.signal(signal.SIGINT, before)
    with process.stderr:
        for line in process.stderr:
            if "Fitting" in line:
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.wait(timeout=60) == 130 and "stopped" in rest
    assert not (tmp_path / "out").exists()
    assert ivim("map", dwi / "dwi.nii.gz", "--out", tmp_path / "out") == 0
