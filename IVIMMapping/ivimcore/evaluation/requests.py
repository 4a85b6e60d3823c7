"""How a person asks for an estimator with options in one word: 'posterior:prior=uniform:bounds.D=0,3e-3'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds

BROUGHT = ("organ", "file")
"""Priors that a person must choose or bring; they are not measured here."""


def every_request(acquisition: Acquisition | None = None) -> list[str]:
    """List every estimator that gives D, f and D*, the posterior once with each of its priors.

    Trained models are listed where they can run: those of a benchmark's own b-values, and those for any.
    """
    from ..estimators import available, create

    requests = []
    for name, about in available().items():
        if about.card is not None and (
            acquisition is None or any(problem.blocks for problem in create(name).problems(acquisition))
        ):
            continue
        priors = next((option.choices for option in about.options if option.name == "prior"), ())
        if name == "posterior" and priors:
            requests += [f"{name}:prior={prior}" for prior in priors if prior not in BROUGHT]
        elif {"D", "f", "Dstar"} <= set(about.parameters):
            requests.append(name)
    return requests


def make(request: str | tuple[str, Any], bounds: Mapping[str, Bounds] | None = None) -> tuple[str, Any]:
    """Make an estimator from its name and options.

    Arguments: `request` name, followed by ':OPTION=VALUE' as often as needed, where bounds are written
    'bounds.D=0,0.003', and 'bounds=benchmark' takes those of the benchmark; or a pair of a label and an object, which
    is returned as it is; `bounds` of the benchmark, key -> (low, high) in stored units.
    Returns: label for tables, and the estimator.
    Raises InputError for an unknown name or option, and for a request that has another form.
    """
    from ..estimators import create

    if not isinstance(request, str):
        return request
    name, options = parse(request, bounds)
    return request, create(name, **options)


def parse(request: str, bounds: Mapping[str, Bounds] | None = None) -> tuple[str, dict[str, Any]]:
    """Split 'name:OPTION=VALUE:...' into the name of the estimator and its options; arguments as `make`."""
    name, *parts = request.split(":")
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise InputError(f"'{part}' in '{request}' is not of the form OPTION=VALUE; write posterior:prior=uniform.")
        owner, _, entry = key.partition(".")
        if part == "bounds=benchmark":
            if bounds is None:
                raise InputError(f"This benchmark has no bounds of its own; write them out instead of '{part}'.")
            options["bounds"] = {**bounds, **options.get("bounds", {})}
        elif entry:
            options.setdefault(owner, {})[entry] = tuple(value.split(","))
        else:
            options[owner] = value
    return name, options
