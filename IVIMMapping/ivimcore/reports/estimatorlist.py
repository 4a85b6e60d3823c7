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
            "card": about.card,
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
    known = available()
    lines = ["Estimators", ""]
    for about in (about for about in known.values() if about.card is None):
        lines += [f"  {about.name}: {about.title}", f"      {about.description}"]
        for option in about.options:
            default = "automatic" if _infinite(option.default) or option.default == {} else option.default
            unit = f" {option.unit}" if option.unit and default != "automatic" else ""
            choices = f" ({', '.join(option.choices)})" if option.choices else ""
            lines.append(f"      {option.name} = {default}{unit}   {option.sentence}{choices}")
        lines += [f"      [{reference}]" for reference in about.references] + [""]
    lines += ["Trained models (PyTorch needed; options of each: ensemble, sigma, and interval for any protocol)", ""]
    for about in (about for about in known.values() if about.card is not None):
        lines += [f"  {about.name}: {about.title}", f"      {about.description}", *_of_card(about.card)]
        lines += [f"      [{reference}]" for reference in about.references] + [""]
    from ..networks.zoo import find

    return "\n".join([*lines, *(f"  not used: {sentence}" for sentence in find().refused)]).rstrip()


def _of_card(card: dict[str, Any]) -> list[str]:
    """Say what a card tells a person: b-values, noise, training, and its numbers on the benchmarks."""
    acquisition, snr, training = card["acquisition"], card["noise"]["snr"], card["training"]
    if "bvalues" in acquisition:
        takes = "b = " + " ".join(f"{b:g}" for b in acquisition["bvalues"]) + " s/mm²"
    else:
        takes = f"{acquisition['images'][0]} to {acquisition['images'][1]} b-values up to {acquisition['b'][1]:g} s/mm²"
    noise = f"SNR {snr[0]:g}" if snr[0] == snr[1] else f"SNR {snr[0]:g} to {snr[1]:g}"
    lines = [f"      {takes}; {noise}; {card['members']} training" + ("s" if card["members"] > 1 else "")]
    if "seconds" in training:
        lines[0] += f" in {training['seconds'] / 60:.0f} min ({training.get('device', '')})"
    checks = [check for check in card.get("checks", []) if not check["options"]]
    for place in dict.fromkeys((check["benchmark"], check["snr"]) for check in checks):
        three = {check["parameter"]: check for check in checks if (check["benchmark"], check["snr"]) == place}
        numbers = " / ".join(f"{three[key]['nrmse']:.3f}" for key in ("D", "f", "Dstar") if key in three)
        lines.append(f"      {place[0]}, SNR {place[1]:g}: NRMSE of D / f / D* {numbers}")
    return lines


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)
