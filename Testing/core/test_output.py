"""Maps reach the output folder all at once or not at all, with exact geometry."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ivimcore.data import output
from ivimcore.data.geometry_io import geometry_of, read_image
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.output import OutputFolder, write_json, write_maps
from ivimcore.errors import Cancelled, InputError
from ivimcore.estimators.result import FitResult


@pytest.fixture
def result(oblique):
    rng = np.random.default_rng(2)
    maps = {key: rng.random(oblique.shape).astype(np.float32) for key in ("D", "f", "Dstar", "S0")}
    maps["Dstar"][0, 0, 0] = np.nan
    status = rng.integers(0, 8, oblique.shape).astype(np.uint8)
    return FitResult(maps, {"D": maps["D"] / 10}, maps["S0"] / 50, status)


def content(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("file_format", ["nii.gz", "nrrd"])
def test_maps_come_back_with_values_types_and_geometry(tmp_path, result, oblique, file_format):
    with OutputFolder(tmp_path / "out") as folder:
        paths = write_maps(result, oblique, folder, file_format)
    names = ["D", "f", "Dstar", "S0", "rmse", "D_sd", "status"]
    assert [path.name for path in paths] == [f"{name}.{file_format}" for name in names]
    assert content(tmp_path / "out") == sorted(path.name for path in paths)
    for name, expected in {**result.all_maps(), "status": result.status}.items():
        volumes, grid = read_volumes(tmp_path / "out" / f"{name}.{file_format}")
        volume = volumes[..., 0]
        assert volume.dtype == expected.dtype
        assert np.array_equal(volume, expected, equal_nan=volume.dtype.kind == "f")
        assert grid.matches(oblique, 1e-4 if file_format == "nii.gz" else 1e-9)
        point = oblique.affine @ [5, 1, 4, 1]
        voxel = np.rint(np.linalg.solve(grid.affine, point)[:3]).astype(int)
        assert volume[tuple(voxel)] == expected[5, 1, 4]


def test_mirrored_grids_survive_too(tmp_path, result, oblique):
    mirrored = type(oblique)(oblique.shape, np.asarray(oblique.affine) @ np.diag([-1, 1, 1, 1]))
    for file_format in output.FORMATS:
        paths = write_maps(result, mirrored, tmp_path, file_format)
        assert geometry_of(read_image(paths[0])).matches(mirrored, 1e-4)


def test_unknown_format_and_wrong_shape_are_refused(tmp_path, result, oblique):
    with pytest.raises(InputError, match="nii.gz, nrrd"):
        write_maps(result, oblique, tmp_path, "mat")
    with pytest.raises(ValueError, match="does not fit"):
        write_maps(result, type(oblique)((5, 6, 7), oblique.affine), tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), Cancelled(), InputError("x"), SystemExit(3)])
def test_failures_and_interrupts_leave_nothing(tmp_path, error):
    with pytest.raises(type(error)), OutputFolder(tmp_path / "a/b") as folder:
        (folder / "D.nii.gz").write_text("half")
        raise error
    assert content(tmp_path) == []


def test_failure_keeps_what_was_there_before(tmp_path):
    (tmp_path / "D.nii.gz").write_text("old")
    with pytest.raises(RuntimeError), OutputFolder(tmp_path) as folder:
        (folder / "D.nii.gz").write_text("new")
        raise RuntimeError
    assert content(tmp_path) == ["D.nii.gz"] and (tmp_path / "D.nii.gz").read_text("utf-8") == "old"


def test_success_replaces_files_of_the_same_name_and_keeps_others(tmp_path):
    (tmp_path / "D.nii.gz").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with OutputFolder(tmp_path) as folder:
        (folder / "D.nii.gz").write_text("new")
        (folder / "sub").mkdir()
        (folder / "sub/f.nii.gz").write_text("f")
        assert (tmp_path / "D.nii.gz").read_text("utf-8") == "old", "nothing is in place before the end"
    assert content(tmp_path) == ["D.nii.gz", "notes.txt", "sub", "sub/f.nii.gz"]
    assert (tmp_path / "D.nii.gz").read_text("utf-8") == "new"


def test_failure_of_a_rename_takes_new_files_back(tmp_path, monkeypatch):
    replace = os.replace

    def fail_at_f(source, target):
        if str(target).endswith("f"):
            raise OSError(errno.EACCES, "no")
        replace(source, target)

    monkeypatch.setattr(output.os, "replace", fail_at_f)
    with pytest.raises(InputError, match="cannot be written"), OutputFolder(tmp_path / "out") as folder:
        (folder / "D").write_text("1")
        (folder / "f").write_text("2")
    assert content(tmp_path) == []


def test_folder_where_a_file_should_go_is_refused_before_anything_moves(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(InputError, match="is a folder"), OutputFolder(tmp_path) as folder:
        (folder / "D").write_text("1")
        (folder / "f").write_text("2")
    assert content(tmp_path) == ["f"]


def test_target_that_is_a_file_or_below_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file/sub"):
        with pytest.raises(InputError, match="file"), OutputFolder(path):
            pass
    assert content(tmp_path) == ["file"]


def test_full_disk_is_said_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no space left"), OutputFolder(tmp_path / "out") as folder:
        (folder / "D").write_text("1")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert content(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"), OutputFolder(tmp_path / "out"):
        pass


def test_refused_creation_is_said_in_a_sentence(tmp_path, monkeypatch):
    def deny(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(output.tempfile, "mkdtemp", deny)
    with pytest.raises(InputError, match="permission denied"), OutputFolder(tmp_path / "out"):
        pass
    assert content(tmp_path) == []


def test_json_is_stable_and_free_of_nan(tmp_path):
    first = {"b": np.array([0.0, np.nan, 5.0]), "a": {"z": float("inf"), "y": np.float32(2), "x": (1, None, True)},
             "path": tmp_path, "unit": "mm²/s"}
    text = write_json(first, tmp_path / "1.json").read_text(encoding="utf-8")
    assert text == write_json(dict(reversed(first.items())), tmp_path / "2.json").read_text(encoding="utf-8")
    assert "NaN" not in text and "Infinity" not in text and "mm²/s" in text
    assert json.loads(text)["b"] == [0.0, None, 5.0]
    assert json.loads(text)["a"] == {"x": [1, None, True], "y": 2.0, "z": None}
    with pytest.raises(TypeError, match="object"):
        write_json({"a": object()}, tmp_path / "3.json")
    assert not (tmp_path / "3.json").exists()


ENDING = """
import os, shutil, threading, time
from ivimcore.data import output

began, remove = threading.Event(), shutil.rmtree

def slowly(*arguments, **options):
    began.set()
    time.sleep(0.5)
    remove(*arguments, **options)

shutil.rmtree = slowly

def cancelled():
    with output.OutputFolder("out") as folder:
        (folder / "D.nrrd").write_text("half")
        raise KeyboardInterrupt

threading.excepthook = lambda arguments: None
threading.Thread(target=cancelled).start()
began.wait()
output.remove_unfinished()
os._exit(130)
"""


def test_the_forced_end_of_a_process_waits_for_a_folder_that_is_being_removed(tmp_path):
    packages = str(Path(__file__).parents[2] / "IVIMMapping")
    child = subprocess.run([sys.executable, "-c", ENDING], cwd=tmp_path, env={"PYTHONPATH": packages}, timeout=60)
    assert child.returncode == 130 and not list(tmp_path.iterdir())
