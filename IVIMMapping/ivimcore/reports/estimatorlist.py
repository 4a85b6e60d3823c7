"""The list of estimators as text and JSON: description, references and every option, from their own descriptions."""

from __future__ import annotations

import math
from typing import Any

from ..estimators import available


def describe_estimators() -> list[dict[str, Any]]:
    """Return every estimator with its options, ready for JSON (an infinite default is null)."""
    return [
        {
            "name": about.name,
            "title": about.title,
            "description": about.description,
            "references": list(about.references),
            "parameters": list(about.parameters),
            "options": [
                {
                    "name": option.name, "kind": option.kind, "unit": option.unit, "sentence": option.sentence,
                    "default": None if _infinite(option.default) else option.default, "choices": list(option.choices),
                }
                for option in about.options
            ],
        }
        for about in available().values()
    ]


def format_estimators() -> str:
    """Write the list for a terminal."""
    lines = ["Estimators", ""]
    for about in available().values():
        lines += [f"  {about.name}: {about.title}", f"      {about.description}"]
        for option in about.options:
            default = "automatic" if _infinite(option.default) or option.default == {} else option.default
            unit = f" {option.unit}" if option.unit and default != "automatic" else ""
            choices = f" ({', '.join(option.choices)})" if option.choices else ""
            lines.append(f"      {option.name} = {default}{unit}   {option.sentence}{choices}")
        lines += [f"      [{reference}]" for reference in about.references] + [""]
    return "\n".join([*lines, "Trained models: none are bundled with this version."])


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)
