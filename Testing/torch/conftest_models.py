"""Recipes for short trainings."""

from __future__ import annotations

import json
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "Resources" / "Models" / "recipes"


def recipe_of(name, training=None, without=(), **changes):
    """A recipe that comes along, with changes and without some entries, for a short training."""
    from ivimcore.networks.recipes import Recipe, checked

    content = json.loads((RECIPES / f"{name}.json").read_text(encoding="utf-8"))
    content["training"] = {**content["training"], "members": 1, **(training or {})}
    content = {key: value for key, value in content.items() if key not in without}
    return Recipe(checked({**content, **changes}), RECIPES)
