"""From decisions to a recipe, and from a trained model to one that is kept; both without torch."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from ivimcore.errors import InputError
from ivimcore.networks import keeping, zoo
from ivimcore.networks.cards import write_card
from ivimcore.networks.choices import (
    ARCHITECTURES,
    DISTRIBUTIONS,
    STRATEGIES,
    WIDER,
    Plan,
    name_to_id,
    strategies_of,
    training_ranges,
)
from ivimcore.physics.presets import PRESETS

B = (0.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0)


def plan(**choices):
    return Plan(**{"bvalues": B, "snr": (20.0, 20.0), "ranges": training_ranges(), **choices})


def test_every_architecture_with_every_strategy_makes_a_recipe():
    for architecture in ARCHITECTURES:
        for strategy in strategies_of(architecture.key):
            recipe = plan(architecture=architecture.key, strategy=strategy.key).recipe()
            assert recipe["strategy"]["labels"] == strategy.key
            assert recipe["noise"]["snr"] == [20, 20]


def test_every_choice_says_what_it_is_good_for():
    for choice in (*ARCHITECTURES, *STRATEGIES, *DISTRIBUTIONS):
        assert len(choice.hint) > 40 and choice.hint.endswith("."), choice


@pytest.mark.parametrize(("choices", "reason"), [
    ({"bvalues": (0, 50, 800)}, "at least 4"), ({"snr": (0.0, 20.0)}, "SNR"),
    ({"ranges": {**training_ranges(), "D": (2e-3, 1e-3)}}, "D ends before"),
    ({"architecture": "anyprotocol"}, "another strategy"), ({"strategy": "hybrid", "snr": (10.0, 20.0)}, "one SNR"),
    ({"distribution": "series"}, "no known truth"), ({"distribution": "patients", "strategy": "signals"}, "uniform"),
    ({"title": "***"}, "letters or digits"),
])  # fmt: skip
def test_decisions_that_contradict_each_other_are_refused(choices, reason):
    with pytest.raises(InputError, match=reason):
        plan(**choices).recipe()


def test_the_ranges_of_an_organ_hold_its_typical_tissue():
    for organ, about in PRESETS.items():
        for key, (low, high) in training_ranges(organ).items():
            assert low < about.typical[key] < high, (organ, key)


def test_a_sigmoid_never_reaches_a_negative_dstar():
    low, high = plan(architecture="ivimnet", strategy="signals").recipe()["bounds"]["Dstar"]
    assert low - WIDER * (high - low) == pytest.approx(0, abs=1e-9)


def test_a_typed_name_becomes_that_of_a_model():
    assert [name_to_id(name) for name in ("Liver, 3 T", "x", "7T brain")] == ["liver_3_t", "model_x", "model_7t_brain"]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A folder with a card and weights as a training leaves them; the person's models are elsewhere."""
    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path / "models"))
    folder = tmp_path / "training" / "net"
    folder.mkdir(parents=True)
    header = json.dumps({"0.a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = len(header).to_bytes(8, "little") + header + np.float32(1).tobytes()
    (folder / "weights.safetensors").write_bytes(data)
    (folder / "patients.npy").write_bytes(b"voxels of a person")
    (folder / keeping.CHECKS).write_text("{}")
    recipe = {key: value for key, value in plan(title="Net").recipe().items() if key != "training"}
    weights = {"file": "weights.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    write_card(folder, {"schema": 1, "licence": "Apache-2.0", **recipe, "members": 1, "training": {},
                        "weights": weights})  # fmt: skip
    return folder


def test_a_model_is_saved_under_its_name_without_the_voxels_of_a_person(trained):
    card = keeping.save_model(trained, "Liver, 3 T", "For our scanner.")
    assert (card.id, card.title, card.description) == ("liver_3_t", "Liver, 3 T", "For our scanner.")
    assert sorted(path.name for path in card.folder.iterdir()) == ["card.json", "checks.json", "weights.safetensors"]
    assert [one.id for one in keeping.own_models()] == ["liver_3_t"]
    assert trained.is_dir()
    keeping.remove_model(card)
    assert keeping.own_models() == []


def test_a_name_that_is_taken_is_refused(trained):
    keeping.save_model(trained, "one")
    with pytest.raises(InputError, match="taken by another model"):
        keeping.save_model(trained, "One")
    with pytest.raises(InputError, match="taken by an estimator"):
        keeping.save_model(trained, "posterior")


def test_a_model_with_other_weights_is_not_saved_and_leaves_nothing(trained):
    data = bytearray((trained / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (trained / "weights.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="SHA-256 differs"):
        keeping.save_model(trained, "one")
    assert not zoo.user_folder().exists() or list(zoo.user_folder().iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(trained, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeping, "write_card", full)
    with pytest.raises(InputError, match="no space left"):
        keeping.save_model(trained, "one")
    assert list(zoo.user_folder().iterdir()) == []


def test_a_folder_without_a_card_is_no_model(trained, tmp_path):
    with pytest.raises(InputError, match="holds no card.json"):
        keeping.add_model(tmp_path)
    assert keeping.add_model(trained).id == "net"
