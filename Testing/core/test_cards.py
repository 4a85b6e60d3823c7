"""Model cards without torch: what is read, what is refused, and how a model becomes an estimator."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from refusal import refused

from ivimcore import Acquisition, available, create
from ivimcore.estimators import neural
from ivimcore.evaluation.cardchecks import write_checks
from ivimcore.networks import cards, recipes, zoo
from ivimcore.networks.cards import ModelCard
from ivimcore.networks.weightfile import check_safetensors

ROOT = Path(__file__).parents[2]
B = [0, 10, 20, 50, 100, 200, 400, 800]


def safetensors_file(table: dict | None = None, data: bytes = b"\0" * 16) -> bytes:
    """A file of weights, made by hand: header length, header, numbers."""
    table = {"0.a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}} if table is None else table
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + data


def content(**changes) -> dict:
    card = {
        "schema": 1, "id": "a_model", "title": "A model", "description": "For tests.", "licence": "Apache-2.0",
        "references": ["none"], "architecture": {"kind": "mlp", "options": {"hidden": 8, "layers": 2}},
        "strategy": {"labels": "truth"}, "acquisition": {"bvalues": B},
        "parameters": {"D": [5e-4, 3e-3], "f": [0.05, 0.55], "Dstar": [0.01, 0.1]},
        "bounds": {"D": [0, 3e-3], "f": [0, 0.6], "Dstar": [0, 0.1], "S0": [0.7, 1.3]},
        "noise": {"snr": [20, 20]}, "normalisation": "b0", "members": 1, "training": {},
        "weights": {"file": "w.safetensors", "sha256": hashlib.sha256(safetensors_file()).hexdigest()},
    }
    return card | changes


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Write a model into a folder that is searched; returns a function of changes to its card."""
    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path))
    monkeypatch.setattr(zoo, "bundled_folder", lambda: None)

    def write(folder="a_model", data=None, **changes):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "card.json").write_text(json.dumps(content(**changes)))
        (place / "w.safetensors").write_bytes(safetensors_file() if data is None else data)
        return place

    return write


def test_a_card_in_order_is_an_estimator_that_says_what_it_was_trained_for(model, monkeypatch):
    model()
    about = available()["a_model"]
    assert about.title == "A model" and about.card["members"] == 1
    monkeypatch.setattr(neural, "torch_can_run", lambda: True)
    said = create("a_model").problems(Acquisition(B))
    assert not any(problem.blocks for problem in said)
    assert "D 0.5 to 3 10⁻³ mm²/s" in said[0] and "SNR 20" in said[0]


def test_other_bvalues_block_with_both_lists_and_what_to_use_instead(model):
    model()
    (problem,) = create("a_model").problems(Acquisition([0, 50, 100, 400, 800]))
    assert problem.blocks and "0 10 20 50 100 200 400 800" in problem and "0 50 100 400 800" in problem
    assert "'posterior'" in problem
    assert not ModelCard.read(model()).misfits(Acquisition([800, *B[1:-1], 0, 0, 804]))  # repeats, order, rounding


def test_a_network_for_any_protocol_says_how_many_bvalues_and_which_range_it_takes(model):
    any_protocol = {"architecture": {"kind": "anyprotocol"}, "acquisition": {"images": [4, 32], "b": [0, 1500]},
                    "normalisation": "direction"}  # fmt: skip
    card = ModelCard.read(model(**any_protocol))
    assert not card.misfits(Acquisition(B))
    assert "0 to 1500" in card.misfits(Acquisition([0, 10, 100, 500, 3000]))[0]
    assert "4 to 32 different" in card.misfits(Acquisition(np.arange(0, 1000, 20)))[0]


def test_without_torch_the_reason_blocks(model, monkeypatch):
    model()
    monkeypatch.setattr(neural, "find_spec", lambda name: None)
    (problem,) = create("a_model").problems(Acquisition(B))
    assert problem.blocks and "needs PyTorch; install it through Slicer's PyTorch extension or 'pip install" in problem


def test_listing_models_imports_no_torch(model):
    model()
    code = "import sys, ivimcore; print('a_model' in ivimcore.available(), 'torch' in sys.modules)"
    path = {**os.environ, "PYTHONPATH": str(ROOT / "IVIMMapping"), zoo.VARIABLE: str(model().parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=path, check=False)
    assert run.stdout.split() == ["True", "False"], run.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, "form 2"),
        ({"id": "../evil"}, "id"),
        ({"members": 1000}, "1000 members"),
        ({"architecture": {"kind": "eval"}}, "architecture 'eval' is unknown"),
        ({"architecture": {"kind": "mlp", "options": {"code": "import os"}}}, "no option 'code'"),
        ({"architecture": {"kind": "mlp", "options": {"hidden": 10**9}}}, "'hidden'"),
        ({"architecture": {"kind": "mlp", "options": {"layers": "x"}}}, "'layers'"),
        ({"architecture": {"kind": "mlp", "options": {"layers": 4096}}}, "'layers'"),
        ({"architecture": {"kind": "mlp", "options": {"dropout": 5}}}, "'dropout'"),
        ({"architecture": {"kind": "mlp", "options": {"output": 1}}}, "'output'"),
        ({"weights": {"file": "w.pt", "sha256": "0" * 64}}, "not safetensors"),
        ({"weights": {"file": "../w.safetensors", "sha256": "0" * 64}}, "own folder"),
        ({"weights": {"file": "/etc/w.safetensors", "sha256": "0" * 64}}, "own folder"),
        ({"weights": {"file": "a\\w.safetensors", "sha256": "0" * 64}}, "own folder"),
        ({"weights": {"file": "w.safetensors", "sha256": "abc"}}, "SHA-256"),
        ({"parameters": {"D": [3e-3, 5e-4], "f": [0, 0.5], "Dstar": [0, 0.1]}}, "range of D"),
        ({"noise": {"snr": [0, 20]}}, "range of SNR"),
        ({"acquisition": {"bvalues": [100, 0]}}, "ascending"),
        ({"acquisition": {"bvalues": list(range(1000))}}, "ascending"),
        ({"normalisation": "magic"}, "normalisation"),
        ({"bounds": {"D": [0, 1]}}, "bounds"),
    ],
)
def test_a_wrong_card_is_refused_with_the_entry_and_is_not_listed(model, changes, words):
    folder = model(**changes)
    refused(lambda: ModelCard.read(folder), words)
    assert "a_model" not in available() and any(words in said for said in zoo.find().refused)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"schema": NaN}', "[" * 100000])
def test_a_card_that_is_no_json_table_is_refused(model, text):
    folder = model()
    (folder / "card.json").write_text(text)
    refused(lambda: ModelCard.read(folder), "a_model")


def test_a_card_of_a_million_bytes_is_not_read(model):
    folder = model()
    (folder / "card.json").write_text(" " * (cards.LARGEST_CARD + 1))
    refused(lambda: ModelCard.read(folder), "it is no card")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80\x04\x95abcdefgh", "pickle"),
        (b"PK\x03\x04" + b"\0" * 40, "pickle"),
        (b"abc", "too short"),
        (struct.pack("<Q", 2**60) + b"{}", "header claims"),
        (safetensors_file({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 16]}}), "size of 'a'"),
        (safetensors_file({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}), "impossible"),
        (safetensors_file({"a": {"dtype": "PY", "shape": [4], "data_offsets": [0, 16]}}), "damaged"),
        (safetensors_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}), "gaps"),
        (safetensors_file(data=b"\0" * 24), "do not fill"),
        (safetensors_file([1, 2]), "damaged"),
    ],
)
def test_weights_of_a_wrong_form_are_refused_before_anything_reads_them(data, words):
    refused(lambda: check_safetensors(data, "a_model"), words)


@pytest.mark.parametrize("length", [0x280, 0x480])
def test_weights_whose_header_begins_like_a_pickle_by_its_length_are_read(length):
    table = {"0.a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "__metadata__": {"pad": ""}}
    table["__metadata__"]["pad"] = "x" * (length - len(json.dumps(table)))
    data = safetensors_file(table)
    assert data[:2] in (b"\x80\x02", b"\x80\x04")
    assert set(check_safetensors(data, "a_model")) == {"0.a"}


def test_weights_with_another_checksum_are_refused(model):
    folder = model(data=safetensors_file(data=b"\1" * 16))
    refused(lambda: ModelCard.read(folder).check_weights(), "SHA-256 differs")


def test_weights_behind_a_link_are_refused(model, tmp_path_factory):
    folder = model()
    outside = tmp_path_factory.mktemp("outside") / "w.safetensors"
    outside.write_bytes(safetensors_file())
    (folder / "w.safetensors").unlink()
    try:
        (folder / "w.safetensors").symlink_to(outside)
    except OSError:
        pytest.skip("links cannot be made here")
    refused(lambda: ModelCard.read(folder).check_weights(), "outside its folder")


def test_weights_of_any_size_are_not_read(model, monkeypatch):
    monkeypatch.setattr(cards, "LARGEST_WEIGHTS", 10)
    folder = model()
    refused(lambda: ModelCard.read(folder).check_weights(), "at most 10")


def test_missing_weights_are_said(model):
    folder = model()
    (folder / "w.safetensors").unlink()
    refused(lambda: ModelCard.read(folder).check_weights(), "cannot be read")


def test_a_second_model_of_a_name_and_a_name_of_the_program_are_not_used(model):
    model()
    model(folder="copy")
    assert any("A second model is called 'a_model'" in said for said in zoo.find().refused)
    model(folder="thief", id="posterior")
    assert available()["posterior"].card is None


def test_a_card_that_changes_is_read_again(model):
    model()
    assert available()["a_model"].title == "A model"
    folder = model(title="Another")
    os.utime(folder / "card.json", ns=(1, 1))
    assert available()["a_model"].title == "Another"


def test_the_persons_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv(zoo.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert zoo.user_folder() == tmp_path / "IVIMSlicer" / "Models"


def test_numbers_of_an_evaluation_go_into_the_card_and_replace_older_ones(model):
    folder = model()
    row = {"benchmark": "paper1", "estimator": "a_model", "snr": 20.0, "parameter": "D", "n": 100, "mdape": 1.0,
           "bias": 0.0, "sd": 1.0, "rho_dstar_f": 0.1, "coverage90": None, "missing_share": 0.0, "us_per_voxel": 1.0,
           "limit_nrmse": 0.1}  # fmt: skip
    for value in (0.3, 0.2):
        write_checks([{**row, "nrmse": value}, {**row, "estimator": "nlls", "nrmse": 1.0}])
    (check,) = ModelCard.read(folder).checks
    assert check["nrmse"] == 0.2 and check["benchmark"] == "paper1"
    assert ModelCard.read(folder).check_weights()


# --- what comes with the program --------------------------------------------------------------------------------------


def bundled() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "Resources" / "Models").glob("*/card.json"))


@pytest.mark.parametrize("folder", bundled(), ids=lambda path: path.name)
def test_every_bundled_model_is_in_order_small_and_can_be_trained_again(folder):
    card = ModelCard.read(folder)
    assert card.id == folder.name and card.check_weights()
    assert card.licence == "Apache-2.0" and card.references and card.checks
    recipe = recipes.Recipe.read(card.id)
    assert recipe.content.get("training") == card.training["recipe"] and recipe.training["members"] == card.members
    for member, (done, ended) in enumerate(zip(card.training["steps"], card.training["ended"], strict=True)):
        # By a budget of minutes nobody would come to the same weights.
        assert done == recipe.settings(member)["steps"] or ended.startswith("no progress")


def test_all_bundled_weights_together_are_small():
    assert sum(path.stat().st_size for folder in bundled() for path in folder.iterdir()) < 30_000_000


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_that_comes_along_can_be_read(name):
    assert recipes.Recipe.read(name).id == name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"acquisition": {"bvalues": [800]}}, "at least 4"),
        ({"parameters": {"D": [3e-3, 1e-3], "f": [0, 0.5], "Dstar": [0.01, 0.1]}}, "lower first"),
        ({"parameters": {"D": [1e-3, 3e-3], "f": [0, 50], "Dstar": [0.01, 0.1]}}, "stored units"),
        ({"parameters": {"D": [1e-3, 3e-3], "f": [0, 0.5], "Dstar": [1e-4, 5e-4]}}, "below that of D"),
        ({"acquisition": {"bvalues": [0, 0]}}, "names one b-value"),
        ({"noise": {"snr": 0}}, "positive"),
        ({"noise": {"snr": "loud"}}, "one positive number"),
        ({"strategy": {"labels": "posterior"}}, "cannot be trained"),
        ({"strategy": {"labels": "hybrid", "alpha": 2}}, "alpha"),
        ({"training": {"steps": 0}}, "'steps'"),
        ({"training": {"rate": -1}}, "positive"),
        ({"training": {"speed": 1}}, "no entry 'speed'"),
        ({"training": {"rate": "fast"}}, "'rate'"),
        ({"training": {"pool": -1}}, "'pool'"),
        ({"training": {"amp": "yes"}}, "true or false"),
        ({"training": {"validation": 1}}, "between 0 and 1"),
        ({"training": [1]}, "'training' is not a table"),
        ({"architecture": "mlp"}, "'architecture' is not a table"),
        ({"architecture": {"kind": "mlp", "options": {"speed": 1}}}, "no option 'speed'"),
        ({"noise": 20}, "'noise' is not a table"),
        ({"acquisition": {"bvalues": "many"}}, "not a list of numbers"),
        ({"acquisition": {"bvalues": [0, -10, 100, 800]}}, "negative"),
        ({"distribution": {"kind": "magic"}}, "uniform, patients, mixture"),
        ({"distribution": {"kind": "uniform", "ranges": {"D": [3e-3, 1e-3]}}}, "lower first"),
        ({"distribution": {"kind": "mixture", "parts": []}}, "no parts"),
        ({"strategy": {"labels": "truth", "weights": [1, 2]}}, "four numbers"),
        ({"normalisation": "direction"}, "any protocol"),
        ({"id": "Bad Name"}, "id"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_work(changes, words):
    recipe = json.loads((ROOT / "Resources/Models/recipes/mlp_supervised_paper1.json").read_text("utf-8"))
    refused(lambda: recipes.checked(recipe | changes), words)


def test_an_unknown_recipe_is_refused_with_the_list():
    refused(lambda: recipes.Recipe.read("nonsense"), "mlp_supervised_paper1")


def test_the_schema_names_every_entry_of_a_card():
    schema = json.loads((ROOT / "Resources/Models/card-schema.json").read_text("utf-8"))
    assert set(schema["required"]) <= set(content())
    for folder in bundled():
        assert set(json.loads((folder / "card.json").read_text("utf-8"))) <= set(schema["properties"])
