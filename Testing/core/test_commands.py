"""A job as commands: what is written is run, and gives the maps of the job."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ivimcore import InputError
from ivimcore.cli import parser
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.output import write_images, write_labels, write_volume
from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.jobs.job import Job, Request, run
from ivimcore.physics.phantom import abdomen
from ivimcore.reports.commands import job_json, python_lines, shell_line, slicer_lines

CORE = Path(__file__).resolve().parents[2] / "IVIMMapping"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CORE), "PYTHONUTF8": "1"}
PROGRAM = f"{shlex.quote(sys.executable)} -m ivimcore.cli"
AWKWARD = "it's a \"series\"; $HOME `x` & ä"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny phantom on disk under a name that a shell could take apart."""
    folder = tmp_path_factory.mktemp("phantom") / AWKWARD
    folder.mkdir()
    phantom = abdomen(shape=(32, 32, 3), snr=60)
    series = series_of_phantom(phantom)
    write_images(series.signal, series.geometry, folder / "dwi.nii.gz")
    (folder / "dwi.bval").write_text(" ".join(f"{b:g}" for b in series.acquisition.bvalues))
    write_volume(phantom.mask.astype(np.uint8), series.geometry, folder / "my mask.nii.gz")
    write_labels(np.where(phantom.labels == 5, 5, 0), {5: "liver"}, series.geometry, folder / "rois.seg.nrrd")
    return folder


def jobs(folder: Path, out: Path) -> dict[str, Job]:
    series = (str(folder / "dwi.nii.gz"),)
    bvalues = (0.0, 10.0, 20.0, 30.0, 40.0, 50.5, 75.0, 100.0, 150.0, 250.0, 400.0, 600.0)
    return {
        "defaults": Job(inputs=series, out=str(out)),
        "everything": Job(
            inputs=series, out=str(out), bvalues=bvalues, bmin=5.0, bmax=500.0, exclude=(3, 5), average="arithmetic",
            mask=str(folder / "my mask.nii.gz"), rois=str(folder / "rois.seg.nrrd"), threads=1, name="-Jane's \"scan\"",
            estimators=(
                Request("nlls", {"organ": "liver", "bounds": {"D": (0.0, 4e-3), "Dstar": (0.05, 0.05)}}),
                Request("segmented", {"threshold": 150.0, "fit_f": True}), Request("adc", {"lowest": 100.0}),
            ),
        ),
        "bval file": Job(
            inputs=series, out=str(out), bval=str(folder / "dwi.bval"), mask="none", file_format="nrrd",
            estimators=(Request("mle_rician", {"sigma": 1 / 3}),),
        ),
    }  # fmt: skip


CASES = ("defaults", "everything", "bval file")


def maps_in(out: Path) -> dict[str, np.ndarray]:
    ends = (".nii.gz", ".nrrd")
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*")
             if path.name.endswith(ends) and path.name != "regions.seg.nrrd"}  # fmt: skip
    return {name: read_volumes(path)[0] for name, path in found.items()}


@pytest.fixture(scope="module")
def direct(folder, tmp_path_factory):
    """The maps of each job, run in this process."""
    found = {}
    for case in CASES:
        out = tmp_path_factory.mktemp("direct") / "out"
        run(jobs(folder, out)[case], lambda event: None)
        found[case] = maps_in(out)
    return found


def same_maps(out: Path, expected: dict[str, np.ndarray]) -> None:
    found = maps_in(out)
    assert set(found) == set(expected) and found
    for name, volume in expected.items():
        np.testing.assert_array_equal(found[name], volume, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_the_shell_line_gives_the_maps_of_the_job(folder, direct, tmp_path, case):
    out = tmp_path / "out of 'it'"
    line = shell_line(jobs(folder, out)[case], PROGRAM, windows=False)
    assert "\n" not in line
    done = subprocess.run(["/bin/sh", "-c", line], env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    same_maps(out, direct[case])
    assert any(out.rglob("roi_statistics.csv"))


@pytest.mark.parametrize("case", CASES)
def test_the_python_lines_give_the_maps_of_the_job(folder, direct, tmp_path, case):
    out = tmp_path / "out of 'it'"
    script = python_lines(jobs(folder, out)[case]) + "print('keys', sorted(maps))\n"
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    same_maps(out, direct[case])
    assert "'adc'" in done.stdout if case == "everything" else "'D_sd'" in done.stdout


def test_the_json_is_the_job_and_the_worker_runs_it(folder, direct, tmp_path):
    job = jobs(folder, tmp_path / "out")["everything"]
    assert Job.from_json(job_json(job)) == Job.from_json(job.to_json())
    (tmp_path / "job.json").write_text(job_json(job), encoding="utf-8")
    assert run_worker(tmp_path / "job.json") == 0
    same_maps(tmp_path / "out", direct["everything"])


def run_worker(path: Path) -> int:
    """Run the worker with its stdin kept open: closing it means cancel."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ivimcore.worker", str(path)], env=ENVIRONMENT, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        return process.wait(120)
    finally:
        process.kill()
        process.stdin.close()


def test_defaults_are_not_written_out():
    job = Job(inputs=("a.nii.gz",), out="out")
    assert shell_line(job, windows=False) == "ivim map a.nii.gz --out out"
    assert "    out='out',\n    estimators=(Request('posterior'),),\n)\n" in python_lines(job)
    assert slicer_lines(job, "DWI").splitlines()[2:] == [
        "dwiNode = slicer.util.getNode('DWI')", "maps = IVIMMappingLogic().process(", "    dwiNode,",
        "    estimator='posterior',", ")",
    ]  # fmt: skip


@pytest.mark.parametrize("windows", [False, True])
def test_names_that_begin_with_a_dash_are_no_flags(windows):
    job = Job(inputs=("-a.nii.gz",), out="--help", bval="-b", mask="-m", rois="-r", name="--json", series="-8")
    line = shell_line(job, windows=windows)
    words = shlex.split(line) if not windows else line.split()
    options = parser().parse_args(words[1:])
    assert (options.input, options.out, options.bval, options.mask, options.rois) == (
        ["./-a.nii.gz"], "./--help", "./-b", "./-m", "./-r",
    )  # fmt: skip
    assert options.name == "--json" and options.series == "-8" and not options.json


def test_numbers_arrive_exactly():
    values = (0.1 + 0.2, 1 / 3, 1000000.5, 1e-17)
    job = Job(inputs=("a",), out="o", bvalues=values, estimators=(Request("nlls", {"bounds": {"f": (1 / 3, 2 / 3)}}),))
    words = shlex.split(shell_line(job, windows=False))
    assert tuple(parser().parse_args(words[1:]).bvalues) == values
    assert f"bounds.f={1 / 3!r},{2 / 3!r}" in words or float(words[-3].partition("=")[2].split(",")[0]) == 1 / 3


def test_on_windows_names_are_quoted_for_its_programs():
    line = shell_line(Job(inputs=(r"C:\my data\a.nii.gz",), out=r"D:\out"), windows=True)
    assert line == r'ivim map "C:\my data\a.nii.gz" --out D:\out'


def test_a_name_with_a_line_break_is_refused():
    with pytest.raises(InputError, match="line break"):
        shell_line(Job(inputs=("a\nrm -rf x",), out="o"))


class _Process:
    """Stands for the logic of the module: keeps what it is called with, as its signature is."""

    def process(self, dwiNode, estimator="posterior", segmentationNode=None, bvalues=None, wait=True, *,  # noqa: N803
                options=None, mask="auto", exclude=(), average="none", name=None, segments=()):  # fmt: skip
        given = {key: value for key, value in locals().items() if key != "self"}
        self.given = given
        return given


def run_in_console(lines: str) -> dict:
    """Run the lines with nodes that are their names."""
    from types import ModuleType, SimpleNamespace

    module = ModuleType("IVIMMapping")
    module.IVIMMappingLogic = _Process
    scene = SimpleNamespace(GetFirstNodeByName=lambda name: f"exactly {name}")
    names = {"slicer": SimpleNamespace(util=SimpleNamespace(getNode=lambda name: f"node {name}"), mrmlScene=scene)}
    before = sys.modules.get("IVIMMapping")
    sys.modules["IVIMMapping"] = module
    try:
        exec(compile(ast.parse(lines), "console", "exec"), names)
    finally:
        if before is None:
            del sys.modules["IVIMMapping"]
        else:
            sys.modules["IVIMMapping"] = before
    return names["maps"]


def test_the_lines_for_the_console_call_the_logic_with_the_choices_of_the_job(tmp_path):
    job = jobs(tmp_path, tmp_path)["everything"]
    given = run_in_console(slicer_lines(job, "it's \"5\"", "regions"))
    assert given["dwiNode"] == "node it's \"5\"" and given["segmentationNode"] == "node regions"
    assert given["segments"] == ()
    given = run_in_console(slicer_lines(job, "it's \"5\"", "regions", ("liver", "it's")))
    assert given["segments"] == ["liver", "it's"]
    assert given["estimator"] == ("nlls", "segmented", "adc") and given["bvalues"] == list(job.bvalues)
    assert given["options"] == {request.name: request.options for request in job.estimators}
    assert given["exclude"] == (1, 3, 5, 12)  # those of bmin and bmax too
    assert given["average"] == "arithmetic" and given["name"] == job.name and given["wait"] is True


def test_one_estimator_has_its_options_alone_and_a_pattern_is_no_name():
    job = Job(inputs=("a",), out="o", mask="none", estimators=(Request("segmented", {"threshold": 150.0}),))
    given = run_in_console(slicer_lines(job, "DWI [1]*"))
    assert given["estimator"] == "segmented" and given["options"] == {"threshold": 150}
    assert given["dwiNode"] == "exactly DWI [1]*" and given["mask"] == "none"


def test_a_range_of_b_needs_the_b_values_for_the_console():
    with pytest.raises(InputError, match=re.escape("only with the b-values")):
        slicer_lines(Job(inputs=("a",), out="o", bmax=500.0), "DWI")


def test_a_job_that_json_cannot_hold_is_refused():
    with pytest.raises(InputError, match="not finite"):
        job_json(Job(inputs=("a",), out="o", estimators=(Request("adc", {"highest": float("inf")}),)))
