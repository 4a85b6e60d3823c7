"""Does this cohort conform to a claim? In the manner of QIBA: "a wCV no larger than the claim".

The claim is met where the one-sided 95 % upper bound of wCV lies below it (Obuchowski et al., Acad Radiol 2016;23:496).
It is never "failed" because the subjects are few: then it is not shown.

A claim file is JSON:

    {"name": "our liver claim", "source": "doi or words",
     "claims": [{"map": "D", "region": "liver", "wcv_percent": 5.0}, {"map": "f", "region": "*", "rc": 0.08}]}

`region` "*" is every region; `wcv_percent` bounds the logarithmic wCV, `rc` the repeatability coefficient in stored
units.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .repeatability import Repeatability
from .withinsubject import LEVEL, upper_factor

MET, NOT_SHOWN, EXCEEDED = "met", "not shown", "exceeded"


@dataclass(frozen=True)
class Claim:
    """One claim: a bound on wCV [1] or on RC [stored unit] of a map in a region, '*' for all."""

    map: str
    region: str
    wcv: float | None
    rc: float | None
    name: str = ""
    source: str = ""


@dataclass(frozen=True)
class Conformance:
    """A claim held against a cohort: the observed value, its one-sided bound, and the word."""

    claim: Claim
    region: str
    estimator: str
    observed: float
    upper: float
    word: str
    sentence: str


def load_claims(path: Path | str) -> list[Claim]:
    """Read a claim file; raises InputError with one sentence where it is none."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"The claim file {path} cannot be read ({fault}); check the path.") from None
    except ValueError as fault:
        raise InputError(f"The claim file {path.name} is not valid JSON ({fault}); write it again.") from None
    entries = content.get("claims") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path.name} holds no list 'claims'; see the README for the form of a claim file.")
    claims = []
    for number, entry in enumerate(entries, start=1):
        bounds = {key: entry.get(key) for key in ("wcv_percent", "rc")} if isinstance(entry, dict) else {}
        given = {key: value for key, value in bounds.items() if value is not None}
        good = len(given) == 1 and all(
            isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in given.values()
        )
        if not good or not isinstance(entry.get("map"), str):
            raise InputError(
                f"Claim {number} of {path.name} needs 'map' and one positive number, 'wcv_percent' or 'rc'; mend it."
            )
        wcv = given.get("wcv_percent")
        claims.append(Claim(
            entry["map"], str(entry.get("region", "*")), None if wcv is None else wcv / 100, given.get("rc"),
            str(content.get("name", path.stem)), str(content.get("source", "")),
        ))  # fmt: skip
    return claims


def conformance(claim: Claim, region: str, estimator: str, found: Repeatability) -> Conformance:
    """Hold one claim against what was found in a region."""
    if claim.wcv is not None:
        observed, bound, upper, what = found.wcv_log.value, claim.wcv, found.wcv_upper, "wCV"
    else:
        observed, bound, what = found.rc.value, float(claim.rc or np.nan), "RC"
        upper = observed * float(upper_factor(found.nu, LEVEL)) if found.nu >= 1 else np.nan
    if upper < bound:
        word = MET
    elif found.nu >= 1 and found.rc.low / found.rc.value * observed > bound:
        word = EXCEEDED
    else:
        word = NOT_SHOWN
    shown = "{:.1%}" if claim.wcv is not None else "{:.3g}"
    needed = bound / float(upper_factor(found.nu, LEVEL)) if found.nu >= 1 else np.nan
    sentence = (
        f"{what} of {claim.map} in {region}: observed {shown.format(observed)}, one-sided 95 % bound "
        f"{shown.format(upper)}, claimed {shown.format(bound)}: {word}."
    )
    if word == NOT_SHOWN:
        sentence += (
            f" With {found.subjects} subjects the observed {what} would have to be at most {shown.format(needed)}; "
            "this is no proof against the claim."
        )
    return Conformance(claim, region, estimator, observed, upper, word, sentence)


def matching(claims: Sequence[Claim], key: str, region: str) -> list[Claim]:
    """Return the claims that speak of a map in a region; regions are compared without regard to case."""
    return [c for c in claims if c.map == key and (c.region == "*" or c.region.casefold() == region.casefold())]


