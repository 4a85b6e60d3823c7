"""Recipes for short trainings."""

from __future__ import annotations

import json
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "Resources" / "Models" / "recipes"


def recipe_of(name, training=None, without=(), **changes):
    """A recipe that comes along, with changes and without some entries, for a short training."""
    from ivimcore.networks.recipes import Recipe, checked

    content = json.loads((RECIPES / f"{name}.json").read_text(encoding="utf-8"))
    steps = content["training"]["steps"]
    steps = steps[0] if isinstance(steps, list) else steps
    content["training"] = {**content["training"], "steps": steps, "members": 1, **(training or {})}
    content = {key: value for key, value in content.items() if key not in without}
    return Recipe(checked({**content, **changes}), RECIPES)


SHORT = {"steps": 60, "every": 20, "batch": 64, "rate": 1e-3}


def trainer(folder, **settings):
    """A trainer of a small network for a second."""
    from ivimcore.networks.tasks import make_task
    from ivimcore.networks.training import Trainer

    recipe = recipe_of("mlp_supervised_paper1", {**SHORT, **settings})
    return Trainer(make_task(recipe, recipe.training["seed"]), recipe.settings(0), folder)
