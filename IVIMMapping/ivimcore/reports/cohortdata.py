"""A finished or half finished cohort as arrays: who was measured when, what was found, what was left out and why."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..jobs.cohort import COHORT
from ..jobs.cohortscan import read_record
from ..jobs.manifest import REFERENCE_GROUPS, Scan
from .followup import prior_of
from .referencecohort import NOT_A_METHOD, prior_signature

Array = np.ndarray


@dataclass(frozen=True)
class ScanResult:
    """One scan of a cohort: who and when, its values, and how it was fitted.

    `values` (estimator, region, map) → row of the record; `provenance` by estimator; `folder` relative to the cohort's
    folder, where its thumbnail may be.
    """

    subject: str
    session: str
    group: str
    folder: str
    values: Mapping[tuple[str, str, str], Mapping[str, Any]]
    provenance: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...] = ()
    thumbnail: str = ""


@dataclass(frozen=True)
class CohortData:
    """Scans in the order of the manifest, the names of the reference groups, and what is missing, in sentences.

    `settings`, `version`, `requested` estimators of the run; `names` subject → name to be shown, 'P01' unless
    identifiers were asked for.
    """

    folder: Path
    scans: tuple[ScanResult, ...]
    reference_groups: tuple[str, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    settings: Mapping[str, Any]
    version: str
    names: Mapping[str, str] = field(default_factory=dict)
    requested: tuple[str, ...] = ()

    @property
    def subjects(self) -> list[str]:
        """Subjects in the order of the manifest."""
        return list(dict.fromkeys(scan.subject for scan in self.scans))

    def is_reference(self, scan: ScanResult) -> bool:
        """Tell whether a scan belongs to a subject taken as unchanged."""
        return scan.group in self.reference_groups

    def group_subjects(self, reference: bool) -> list[str]:
        """Subjects of the untreated or of the other groups."""
        return list(dict.fromkeys(scan.subject for scan in self.scans if self.is_reference(scan) == reference))

    def estimators(self) -> list[str]:
        """Estimators in the order in which they were asked for."""
        there = dict.fromkeys(name for scan in self.scans for name in scan.provenance)
        return [name for name in dict.fromkeys([*self.requested, *there]) if name in there]

    def regions(self) -> list[str]:
        """Regions in order of their appearance."""
        return list(dict.fromkeys(region for scan in self.scans for _, region, _ in scan.values))

    def table(self, estimator: str, region: str, key: str, reference: bool, statistic: str) -> tuple[list[str], Array]:
        """Return subjects (n) and their values (n, K) in the stored unit, sessions in order, NaN where missing."""
        rows: dict[str, list[float]] = defaultdict(list)
        for scan in self.scans:
            if self.is_reference(scan) == reference:
                row = scan.values.get((estimator, region, key))
                value = None if row is None else row.get(statistic)
                rows[scan.subject].append(np.nan if value is None else float(value))
        width = max((len(row) for row in rows.values()), default=0)
        values = np.array([row + [np.nan] * (width - len(row)) for row in rows.values()], dtype=float)
        return list(rows), values.reshape(len(rows), width)

    def information(self, estimator: str, region: str, key: str) -> tuple[float, float]:
        """Return mean information [1] and mean informed share [1] over the scans; NaN where there is no such map."""
        found = [scan.values.get((estimator, region, key), {}) for scan in self.scans]
        means = []
        for name in ("information", "informed_share"):
            known = [float(row[name]) for row in found if row.get(name) is not None]
            means.append(float(np.mean(known)) if known else np.nan)
        return means[0], means[1]


def load_cohort(
    folder: Path | str, reference_groups: Sequence[str] = (), pool: bool = False, identifiers: bool = False
) -> CohortData:
    """Read what `ivim cohort` wrote.

    Arguments: `reference_groups` names of the groups of unchanged subjects; by default those in `REFERENCE_GROUPS`,
    or the only group there is; `pool` keeps scans that were made or fitted in another way than most of the cohort,
    which are otherwise left out and said; `identifiers` shows the subjects by their names in the manifest.
    Raises InputError where the folder is no cohort, where nothing in it is done, and where no group is the reference.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))
        listed = about["scans"] if about.get("cohort") == COHORT else None
    except (OSError, ValueError, KeyError, AttributeError):
        listed = None
    if not listed:
        raise InputError(f"{folder} is no folder of 'ivim cohort' (no usable cohort.json); run ivim cohort first.")
    names = _names([entry["subject"] for entry in listed], identifiers)
    failures = _failures(folder)
    scans, left_out = [], []
    for entry in listed:
        scan = Scan(entry["subject"], entry["session"], entry["group"], entry["key"], ())
        record = read_record(folder, scan)
        shown = f"{names[scan.subject]}, session {scan.session if identifiers else _ordinal(listed, entry)}"
        if not record:
            reason = failures.get((scan.subject, scan.session), "not done yet; run the same ivim cohort again.")
            left_out.append(f"{shown}: {_without_paths(reason, identifiers)}")
            continue
        values = {(row["estimator"], row["region"], row["map"]): row for row in record["rows"]}
        picture = next((name for name in record.get("files", []) if name.endswith("thumbnail.png")), "")
        scans.append(ScanResult(
            scan.subject, scan.session, scan.group, scan.key, values, record.get("provenance", {}),
            tuple(record.get("warnings", ())), picture,
        ))  # fmt: skip
    if not scans:
        raise InputError(f"No series of {folder} is done; see failures.csv there for the reasons.")
    return cohort_of(
        scans, folder, names, reference_groups, pool, left_out, list(about.get("warnings", [])),
        about.get("settings", {}), str(about.get("version", "")),
        tuple(entry["name"] for entry in about.get("estimators", [])),
    )  # fmt: skip


def cohort_of(
    scans: Sequence[ScanResult], folder: Path | str, names: Mapping[str, str], reference_groups: Sequence[str] = (),
    pool: bool = False, left_out: Sequence[str] = (), warnings: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None, version: str = "", requested: Sequence[str] = (),
) -> CohortData:
    """Build a cohort from scans, wherever they were read.

    Arguments: `scans` sessions of a subject in their order; `folder` in which thumbnails may lie; `names` subject →
    name to be shown; the others as in `load_cohort` and `CohortData`.
    Raises InputError without scans, and where no group is the reference.
    """
    if not scans:
        raise InputError("There is no session; add at least two of each subject.")
    scans = list(scans)
    chosen = _reference(list(dict.fromkeys(scan.group for scan in scans)), reference_groups)
    left_out, warnings = list(left_out), list(warnings)
    scans, said = _of_one_method(scans, names, pool)
    (warnings if pool else left_out).extend(said)
    warnings += _own_priors(scans)
    return CohortData(
        Path(folder), tuple(scans), chosen, tuple(left_out), tuple(warnings), settings or {}, version, names,
        tuple(requested),
    )  # fmt: skip


def _names(subjects: Sequence[str], identifiers: bool) -> dict[str, str]:
    unique = list(dict.fromkeys(subjects))
    width = max(2, len(str(len(unique))))
    return {name: name if identifiers else f"P{number:0{width}d}" for number, name in enumerate(unique, start=1)}


def _ordinal(listed: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> int:
    mine = [other["session"] for other in listed if other["subject"] == entry["subject"]]
    return mine.index(entry["session"]) + 1


def _without_paths(reason: str, identifiers: bool) -> str:
    """Take file names out of a sentence: they often hold names of patients."""
    if identifiers:
        return reason
    marks = ("/", "\\", ".nii", ".nrrd", ".bval", ".dcm")
    return " ".join("(file)" if any(mark in word for mark in marks) else word for word in reason.split(" "))


def _failures(folder: Path) -> dict[tuple[str, str], str]:
    try:
        with open(folder / "failures.csv", encoding="utf-8", newline="") as stream:
            return {(row["subject"].removeprefix("'"), row["session"].removeprefix("'")): row["reason"]
                    for row in csv.DictReader(stream)}  # fmt: skip
    except (OSError, KeyError, csv.Error):
        return {}


def _reference(groups: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    listed = ", ".join(f"'{group}'" for group in groups)
    if wanted:
        unknown = [group for group in wanted if group not in groups]
        if unknown:
            raise InputError(f"There is no group '{unknown[0]}' in this cohort; its groups are {listed}.")
        return tuple(wanted)
    usual = tuple(group for group in groups if group.casefold() in REFERENCE_GROUPS)
    if usual:
        return usual
    if len(groups) == 1:
        return tuple(groups)
    raise InputError(f"Which of the groups {listed} was not treated? Name it with --reference-group.")


def signature(about: Mapping[str, Any]) -> tuple[str, str, tuple[str, str]]:
    """Return what must be equal for values to be pooled: b-values, options, prior, as texts."""
    options = {key: value for key, value in about.get("options", {}).items() if key not in NOT_A_METHOD}
    return (
        json.dumps(sorted(about.get("bvalues_used", []))), json.dumps(options, sort_keys=True, default=str),
        prior_signature(prior_of(about)),
    )  # fmt: skip


def _of_one_method(scans: list[ScanResult], names: Mapping[str, str], pool: bool) -> tuple[list[ScanResult], list[str]]:
    """Leave out scans that were made in another way than the most, unless they are pooled; say so either way."""
    said, odd = [], set()
    for estimator in dict.fromkeys(name for scan in scans for name in scan.provenance):
        mine = [scan for scan in scans if estimator in scan.provenance]
        common = Counter(signature(scan.provenance[estimator]) for scan in mine).most_common(1)[0][0]
        for scan in mine:
            other = signature(scan.provenance[estimator])
            what = [word for word, a, b in zip(("b-values", "options", "prior"), other, common, strict=True) if a != b]
            if what and id(scan) not in odd:
                odd.add(id(scan))
                fate = "pooled all the same, as you asked." if pool else "left out; --pool takes it in."
                differs = f"a session has other {' and '.join(what)} than most of the cohort"
                said.append(f"{names[scan.subject]}: {differs}: {fate}")
        missing = [scan for scan in scans if estimator not in scan.provenance]
        for scan in missing:
            said.append(f"{names[scan.subject]}: a session was not fitted by '{estimator}'; it has no value of it.")
    return ([scan for scan in scans if pool or id(scan) not in odd], said)


def _own_priors(scans: Sequence[ScanResult]) -> list[str]:
    said = []
    for estimator in dict.fromkeys(name for scan in scans for name in scan.provenance):
        kinds = {str(prior_of(scan.provenance.get(estimator, {})).get("kind", "")) for scan in scans}
        shared = all(prior_of(scan.provenance.get(estimator, {})).get("from_file") for scan in scans)
        if "learned" in kinds and not shared:
            said.append(
                f"'{estimator}' learned a prior from each image by itself: part of its spread between sessions is that "
                "of the priors. --shared-prior of ivim cohort learns one for all."
            )
    return said
