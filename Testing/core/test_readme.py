"""What the README shows is run: its Python example, its arguments, its pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ivimcore import available
from ivimcore.cli import parser
from ivimcore.data.output import write_images
from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.physics.phantom import abdomen

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_examples_run_as_printed(tmp_path, monkeypatch):
    series = series_of_phantom(abdomen(shape=(32, 32, 1)))
    write_images(series.signal, series.geometry, tmp_path / "dwi.nii.gz")
    (tmp_path / "dwi.bval").write_text(" ".join(f"{b:g}" for b in series.acquisition.bvalues))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", README, re.S):
        if "import slicer" in example:
            continue  # Testing/slicer runs those
        exec(compile(example, "README.md", "exec"), names)
    assert np.isfinite(names["result"].maps["D"]).any()
    assert names["found"].subjects == 3


def test_every_argument_in_the_readme_exists(capsys):
    known = set()
    commands = (
        "info", "map", "demo", "evaluate", "train", "models", "cohort", "report", "follow-up", "protocol-sheet",
        "export-dicom", "import-dicom",
    )
    for command in commands:
        with pytest.raises(SystemExit):
            parser().parse_args([command, "--help"])
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    assert mentioned <= known | {"--additional-module-paths"}, mentioned - known  # that one is Slicer's


def test_every_estimator_stands_in_the_readme_and_no_other():
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", README.partition("## Estimators")[2].partition("\n### ")[0], re.M))
    assert rows == {name for name, about in available().items() if about.card is None}


def test_every_picture_and_file_that_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):  # links into the page itself begin with '#'
        assert (ROOT / target).is_file(), target
