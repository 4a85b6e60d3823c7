"""What is measured of a network that was just trained, and the budget of minutes."""

from __future__ import annotations

import json
import math

import pytest
from conftest_models import recipe_of

from ivimcore.evaluation.trainingchecks import after_training, check_model
from ivimcore.networks.zoo import find


@pytest.mark.parametrize("name", ["small_any", "small_mlp"])
def test_the_checks_have_numbers_and_plots_of_every_parameter(models, name):
    found = check_model(find().cards[name], voxels=300)
    mine = [row for row in found["rows"] if row["estimator"] == name and row["snr"] == found["snr"]]
    assert [row["parameter"] for row in mine] == ["D", "f", "Dstar"]
    assert all(0 < row["nrmse"] < 3 and 0 <= row["coverage90"] <= 1 for row in mine)
    for part in ("scatter", "bias"):
        assert set(found[part]) == {"D", "f", "Dstar"}
    assert all(len(found["calibration"][key]) == len(found["calibration"]["levels"]) for key in ("D", "f", "Dstar"))
    json.dumps(found, allow_nan=False)
    limit = [row["nrmse"] for row in found["rows"] if row["estimator"] == "posterior" and row["snr"] == found["snr"]]
    assert all(math.isfinite(value) for value in limit)


def test_the_numbers_stand_in_the_card_and_the_plots_beside_it(tmp_path):
    from ivimcore.networks.modelling import train

    card = train(recipe_of("mlp_supervised_brain16", {"steps": 50, "every": 50}, id="short"), tmp_path)
    said = []
    card = after_training(card, said.append)
    assert {row["benchmark"] for row in card.checks} == {"own"}
    assert json.loads((card.folder / "checks.json").read_text("utf-8"))["model"] == "short"
    assert said[-1]["event"] == "checks"


def test_a_budget_is_used_whatever_the_first_steps_take(tmp_path):
    """The first steps load what torch needs; counted in, they made a training of minutes one of seconds."""
    from ivimcore.networks.modelling import train

    recipe = recipe_of("mlp_supervised_brain16", {"steps": 10**6, "every": 100}, id="short")
    card = train(recipe, tmp_path, minutes=0.1)
    assert card.training["seconds"] > 2
