"""How an earlier result was made, for a new series: same estimator, options, prior and b-values, as far as it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivimcore import available
from ivimcore.errors import InputError
from ivimcore.estimators import create

from .Runs import Run

TOLERANCE = 1.0
"""Largest difference [s/mm²] at which two b-values are taken as the same."""
FEWEST = 4
"""Distinct b-values that must be common; with fewer, all of the new series are used."""


@dataclass(frozen=True)
class Method:
    """What to set for a new series: `options` of `estimator` that differ from its defaults, `used` images (n,) of bool,
    `average`, `organ`; `sentences` where the new series cannot match the earlier one.
    """

    estimator: str
    options: dict[str, Any]
    used: np.ndarray
    average: str
    organ: str
    sentences: tuple[str, ...]


def methodOf(run: Run, bvalues: Sequence[float]) -> Method:
    """Work out how to fit a series with `bvalues` (n,) [s/mm²], NaN where unknown, as an earlier run was fitted.

    Raises InputError where its estimator is not installed.
    """
    if run.estimator not in available():
        raise InputError(
            f"The earlier result was made by the estimator '{run.estimator}', which is not installed here; fit both "
            "series with another one."
        )
    about, average = run.provenance, str(run.settings.get("average", run.provenance.get("average", "none")))
    options = optionsOfRun(run)
    said = []
    used, differences = matchImages(earlierBvalues(run), bvalues, average != "none")
    said += differences
    prior = about.get("prior") if isinstance(about.get("prior"), dict) else {}
    if options.get("prior") == "file" and not options.get("prior_file"):
        said.append(
            "The earlier result used a prior from a file, which is not known here; choose that file under Options."
        )
    elif str(prior.get("kind", "")).startswith("learned") and options.get("prior") != "file":
        said.append("The prior is learned from each image by itself, then and now: a part of the change is that of it.")
    return Method(run.estimator, options, used, average, str(run.settings.get("organ", "none")), tuple(said))


def optionsOfRun(run: Run) -> dict[str, Any]:
    """Return the options of the estimator of a run that differ from its defaults, with the path of a prior if known."""
    for request in run.settings.get("estimators") or []:
        if isinstance(request, dict) and request.get("name") == run.estimator:
            return dict(request.get("options") or {})
    defaults = create(run.estimator).values()
    kept = run.provenance.get("options") or {}
    return {
        key: value for key, value in kept.items()
        if key in defaults and key != "prior_file" and value is not None and value != _plain(defaults[key])
    }


def earlierBvalues(run: Run) -> np.ndarray:
    """Return the b-values [s/mm²] of the images that a run used, one per image."""
    b, used = run.settings.get("bvalues") or [], run.settings.get("used") or []
    if b and len(b) == len(used):
        return np.array([value for value, flag in zip(b, used, strict=True) if flag and value is not None], dtype=float)
    return np.asarray(run.provenance.get("bvalues_used") or [], dtype=float)


def matchImages(
    wanted: Sequence[float], offered: Sequence[float], isAveraged: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Choose the images (n,) of `offered` b-values that an earlier run with `wanted` ones had, and say what differs.

    Both [s/mm²]. `isAveraged` takes every image of an equal b, because they are averaged anyway.
    """
    wanted, offered = np.asarray(wanted, dtype=float), np.asarray(offered, dtype=float)
    known = np.isfinite(offered)
    if wanted.size == 0:
        said = "The b-values of the earlier result are not known; all images are used."
        return np.ones(offered.size, dtype=bool), [said]
    used = np.zeros(offered.size, dtype=bool)
    missing, fewer = [], []
    distinct, counts = np.unique(np.round(wanted, 3), return_counts=True)
    for b, count in zip(distinct, counts, strict=True):
        there = np.flatnonzero(known & ~used & (np.abs(np.where(known, offered, np.inf) - b) <= TOLERANCE))
        if not there.size:
            missing.append(f"{b:g}")
        elif there.size < count and not isAveraged:
            fewer.append(f"{b:g} ({there.size} instead of {count})")
        used[there if isAveraged else there[:count]] = True
    if np.unique(offered[used]).size < min(FEWEST, distinct.size):
        return np.ones(offered.size, dtype=bool), [
            "The new series has hardly any b-value of the earlier one, so all its images are used: a change may be a "
            "change of protocol."
        ]
    said = []
    if missing:
        said.append(
            f"The new series has no image at b = {', '.join(missing)} s/mm², which the earlier result used: a change "
            "may be a change of protocol."
        )
    if fewer:
        said.append(f"The new series has fewer images than before at b = {', '.join(fewer)} s/mm².")
    extra = sorted({f"{b:g}" for b in offered[known & ~used]}, key=float)
    if extra:
        said.append(f"Images at b = {', '.join(extra)} s/mm² are left out, as the earlier result did not use them.")
    return used, said


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
