"""The reference cohort as a file that others can use: how far two scans of an unchanged patient differ.

It holds no identifiers: numbers of subjects, spreads with their degrees of freedom, the range of values, and the
conditions under which they hold (b-values, estimator, options, prior, scanner, reader, time between scans). The form is
described by `referencecohort-schema.json` beside this file.

    cohort = load_reference("reference_cohort.json")
    spread = cohort.spread("D", "liver metastasis")
    verdict(1.02e-3, 1.31e-3, spread)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..data.output import plain
from ..errors import InputError
from ..wholefile import whole_file
from .precisionprofile import FORMS
from .repeatability import Repeatability
from .verdicts import Spread

FORMAT = "ivim-reference-cohort-1"
SCHEMA = Path(__file__).with_name("referencecohort-schema.json")
LARGEST_FILE = 4 << 20
STATISTICS = ("median", "mean", "fit")
NETWORK = "network"
"""Kind of the prior of a fit by a network: what it was trained on."""


@dataclass(frozen=True)
class ReferenceEntry:
    """The spread of one map in one region; values in the stored unit, relative numbers [1].

    `form` of the spread and `proportional`, the weight of the proportional form; `subjects` with two or more sessions,
    `nu` degrees of freedom; `wsd`, `log_sd` (None where values are not all positive); `mean`, `low`, `high` of the
    cohort; `between` SD between subjects, `icc`, `information` (None where unknown).
    """

    region: str
    map: str
    form: str
    proportional: float
    subjects: int
    nu: float
    wsd: float
    log_sd: float | None
    mean: float
    low: float
    high: float
    between: float | None = None
    icc: float | None = None
    information: float | None = None

    @property
    def spread(self) -> Spread:
        """What a verdict needs."""
        log_sd = np.nan if self.log_sd is None else self.log_sd
        return Spread(self.form, self.wsd, log_sd, self.nu, self.subjects, self.proportional)

    def holds(self, value: float, margin: float = 0.25) -> bool:
        """Tell whether a value lies in the range of the cohort, widened on either side by a share of its width."""
        room = margin * (self.high - self.low)
        return self.low - room <= value <= self.high + room


@dataclass(frozen=True)
class ReferenceCohort:
    """The limits of one estimator under one protocol.

    `name` for people; `estimator`, `options`, `prior` (kind, and checksum where it is a file); `bvalues` one per image
    used [s/mm²]; `statistic` of a region that was compared (median, mean, fit); `entries`; `conditions` in words
    (scanner, reader, time between scans); `dates` first and last scan, None unless somebody gave them; `version` of the
    program.
    """

    name: str
    estimator: str
    options: dict[str, Any]
    prior: dict[str, Any]
    bvalues: tuple[float, ...]
    statistic: str
    entries: tuple[ReferenceEntry, ...]
    conditions: dict[str, str] = field(default_factory=dict)
    dates: tuple[str, str] | None = None
    version: str = ""

    def regions(self) -> list[str]:
        """List the regions in order."""
        return list(dict.fromkeys(entry.region for entry in self.entries))

    def entry(self, key: str, region: str | None = None) -> ReferenceEntry | None:
        """Find the spread of a map: of a region by its name without regard to case, or of the only region there is."""
        mine = [entry for entry in self.entries if entry.map == key]
        if region is not None:
            named = [entry for entry in mine if entry.region.casefold() == region.casefold()]
            if named:
                return named[0]
        return mine[0] if region is None and len(mine) == 1 else None

    def spread(self, key: str, region: str | None = None) -> Spread | None:
        """Return what a verdict needs, or None where the cohort does not know this map and region."""
        found = self.entry(key, region)
        return None if found is None else found.spread

    def save(self, path: Path | str) -> None:
        """Write the file, whole or not at all."""
        path = Path(path)
        content = {"format": FORMAT, **plain(asdict(self))}
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def entry_of(region: str, key: str, found: Repeatability) -> ReferenceEntry | None:
    """Make an entry of what was found in a cohort; None where there is no spread to speak of."""
    if not found.spread.known:
        return None

    def known(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return ReferenceEntry(
        region, key, found.profile.form, found.spread.proportional, found.subjects, found.nu, found.wsd.value,
        known(found.log_sd.value), found.mean, found.low, found.high, known(found.between), known(found.icc.value),
        known(found.information),
    )  # fmt: skip


def load_reference(path: Path | str) -> ReferenceCohort:
    """Read a reference cohort; raises InputError with one sentence where the file is none or has senseless numbers."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path.name} is too large for a reference cohort; choose another file.")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        reason = (fault.strerror or "unknown reason").lower()
        raise InputError(f"The reference cohort {path} cannot be read ({reason}); check the path.") from None
    except ValueError:
        raise InputError(f"{path.name} is not valid JSON; choose a reference cohort file.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path.name} is no reference cohort (format {FORMAT}); 'ivim report' writes one.")
    return reference_of(content, path.name)


def reference_of(content: Mapping[str, Any], name: str) -> ReferenceCohort:
    """Build a reference cohort from the content of a file; raises InputError naming what is wrong."""
    try:
        known = {item.name for item in fields(ReferenceEntry)}
        entries = tuple(
            ReferenceEntry(**{key: value for key, value in entry.items() if key in known})
            for entry in content["entries"]
        )
        cohort = ReferenceCohort(
            str(content["name"]), str(content["estimator"]), dict(content["options"]), dict(content["prior"]),
            tuple(float(b) for b in content["bvalues"]), str(content["statistic"]), entries,
            {str(key): str(value) for key, value in (content.get("conditions") or {}).items()},
            tuple(content["dates"]) if content.get("dates") else None, str(content.get("version", "")),
        )  # fmt: skip
        for entry in entries:
            _check(entry)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        said = f"lacks {fault}" if isinstance(fault, KeyError) else f"has an entry of the wrong form ({fault})"
        raise InputError(f"The reference cohort {name} {said}; write it again with 'ivim report'.") from None
    if not entries:
        raise InputError(f"The reference cohort {name} has no entries; write it again with 'ivim report'.")
    return cohort


def _check(entry: ReferenceEntry) -> None:
    """Refuse numbers that would make a verdict meaningless."""
    numbers = {"nu": entry.nu, "wsd": entry.wsd, "mean": entry.mean, "low": entry.low, "high": entry.high}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise ValueError(f"{key} of {entry.map} in {entry.region} is no number")
    if entry.form not in FORMS:
        raise ValueError(f"form of {entry.map} is '{entry.form}'")
    if not (entry.nu >= 1 and entry.wsd > 0 and entry.subjects >= 1 and 0 <= entry.proportional <= 1):
        raise ValueError(f"the spread of {entry.map} in {entry.region} makes no sense")
    if entry.proportional > 0 and not (entry.log_sd is not None and entry.log_sd > 0):
        raise ValueError(f"the logarithmic spread of {entry.map} in {entry.region} is missing")


def differences_of_method(
    cohort: ReferenceCohort, estimator: str, options: Mapping[str, Any], prior: Mapping[str, Any],
    bvalues: Sequence[float], statistic: str | None = None,
) -> list[str]:
    """Say in sentences where a measurement was made in another way than the cohort; none where it is the same.

    `prior` as in the provenance of a fit: kind and checksum. A prior that each image teaches itself has a checksum of
    its own and is compared by kind only.
    """
    said = []
    if estimator != cohort.estimator:
        said.append(f"The limits are of the estimator '{cohort.estimator}', this measurement is of '{estimator}'.")
    elif changed := changed_options(cohort.options, options):
        said.append(f"The estimator has other options than in the reference cohort: {changed}.")
    if prior_signature(prior) != prior_signature(cohort.prior):
        if NETWORK in (prior.get("kind"), cohort.prior.get("kind")) and estimator == cohort.estimator:
            said.append("The network was trained anew since the reference cohort was fitted; its limits may not hold.")
        else:
            said.append("The prior is not that of the reference cohort; values shrink towards it differently.")
    if sorted(float(b) for b in bvalues) != sorted(cohort.bvalues):
        said.append(
            f"The b-values are not those of the reference cohort ({_listed(bvalues)}, there {_listed(cohort.bvalues)})."
        )
    if statistic is not None and statistic != cohort.statistic:
        said.append(f"The limits are of the {cohort.statistic} of a region, this measurement is its {statistic}.")
    return said


NOT_A_METHOD = ("prior_file", "backend")
"""Options that say where a file lies or what computes, and not what is computed."""


def changed_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """List the options that differ, '' for none; where a file lies is no difference."""
    keys = [key for key in sorted({*before, *now}) if key not in NOT_A_METHOD]
    return ", ".join(
        f"{key} {now.get(key)} instead of {before.get(key)}" for key in keys
        if plain(before.get(key)) != plain(now.get(key))
    )


def prior_signature(prior: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return kind and checksum of a prior for a comparison; what an image taught itself has no checksum."""
    prior = prior or {}
    kind, about = str(prior.get("kind", "")), prior.get("checksum", "")
    return kind, "" if kind.startswith("learned") and not prior.get("from_file") else str(about)


def _listed(bvalues: Sequence[float]) -> str:
    distinct = sorted({float(b) for b in bvalues})
    return " ".join(f"{b:g}" for b in distinct) + (f", {len(bvalues)} images" if len(bvalues) > len(distinct) else "")
