"""From the values of a cohort to everything that its report says: repeatability, verdicts, tests, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import InputError
from ..physics.parameters import INFORMATION_MEANS, PARAMETERS
from .agreement import Bias, bias
from .cohortdata import CohortData
from .conformance import Claim, Conformance, conformance, matching
from .estimatorcomparison import Comparison, compare
from .followup import prior_of
from .referencecohort import ReferenceCohort, entry_of
from .repeatability import Repeatability, analyse
from .roistatistics import WHOLE
from .verdicts import LEVEL, Verdict, corrected, verdict

Array = np.ndarray
MAPS = ("D", "f", "Dstar", "ADC")
STATISTICS = ("median", "mean")


@dataclass(frozen=True)
class Options:
    """What a person may choose of a report.

    `maps` shown, by default D and f (and ADC), with D* where its information supports it; `statistic` of a region;
    `form` of the spread; `holm` corrects verdicts within a patient; `few` allows verdicts below ten reference subjects;
    `level` of intervals and verdicts; `conditions` in words: scanner, reader, interval; `name` of the cohort.
    """

    maps: tuple[str, ...] = ()
    statistic: str = "median"
    form: str = "auto"
    holm: bool = False
    few: bool = False
    level: float = LEVEL
    conditions: Mapping[str, str] | None = None
    name: str = "Test-retest study"


@dataclass(frozen=True, eq=False)
class Cell:
    """One estimator, region and map.

    `subjects` and `values` (n, K) of the reference group; `found` their repeatability; `patients` and `pairs` (m, 2),
    first and last session of the others, with their `verdicts`; `treated` paired test of the others;
    `conformance` with claims.
    """

    estimator: str
    region: str
    map: str
    subjects: tuple[str, ...]
    values: Array
    found: Repeatability
    patients: tuple[str, ...]
    pairs: Array
    verdicts: tuple[Verdict, ...]
    treated: Bias
    conformance: tuple[Conformance, ...]

    @property
    def changed(self) -> list[str]:
        """Patients whose change is more than chance."""
        return [who for who, item in zip(self.patients, self.verdicts, strict=True) if item.word == "changed"]


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything found in a cohort: cells in the order region, map, estimator; comparisons of estimators by (region,
    map); what was left out; warnings; number of comparisons a patient."""

    data: CohortData
    options: Options
    cells: tuple[Cell, ...]
    comparisons: tuple[tuple[str, str, str, str, Comparison], ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    per_patient: int

    def reference_cohorts(self) -> dict[str, ReferenceCohort]:
        """Return the limits of each estimator as a cohort that others can use, by the name of the estimator."""
        found = {}
        for estimator in dict.fromkeys(cell.estimator for cell in self.cells):
            entries = [entry_of(c.region, c.map, c.found) for c in self.cells if c.estimator == estimator]
            about = next(s.provenance[estimator] for s in self.data.scans if estimator in s.provenance)
            if any(entries):
                found[estimator] = ReferenceCohort(
                    self.options.name, estimator, dict(about.get("options", {})) | {"prior_file": ""}
                    if "prior_file" in about.get("options", {}) else dict(about.get("options", {})),
                    prior_of(about), tuple(about.get("bvalues_used", ())), self.options.statistic,
                    tuple(entry for entry in entries if entry), dict(self.options.conditions or {}), None,
                    self.data.version,
                )  # fmt: skip
        return found


def check_options(options: Options) -> None:
    """Refuse an unknown map or statistic."""
    unknown = [key for key in options.maps if key not in MAPS]
    if unknown:
        raise InputError(f"Unknown map '{unknown[0]}'; choose among {', '.join(MAPS)}.")
    if options.statistic not in STATISTICS:
        raise InputError(f"Unknown statistic '{options.statistic}'; choose one of {', '.join(STATISTICS)}.")


def analyse_cohort(data: CohortData, options: Options | None = None, claims: Sequence[Claim] = ()) -> Analysis:
    """Analyse a cohort.

    Raises InputError for an unknown map or statistic, and where no subject of the reference group has a value.
    """
    options = options or Options()
    check_options(options)
    left_out, warnings = list(data.left_out), list(data.warnings)
    cells: list[Cell] = []
    for estimator in data.estimators():
        for region in _regions(data):
            for key in MAPS:
                if not any((estimator, region, key) in scan.values for scan in data.scans):
                    continue
                reason = _withheld(data, options, estimator, region, key)
                if reason:
                    left_out.append(reason)
                    continue
                cells.append(_cell(data, options, estimator, region, key, claims))
    if not any(np.isfinite(cell.values).any() or np.isfinite(cell.pairs).any() for cell in cells):
        raise InputError("No region of any session has a value; look at failures.csv and the status maps.")
    left_out += _unpaired(data, options)
    # Estimators of one region and map beside each other, as they are compared.
    order = {pair: number for number, pair in enumerate((region, key) for region in _regions(data) for key in MAPS)}
    cells, per_patient = _with_corrections(sorted(cells, key=lambda c: order[c.region, c.map]), options)
    for cell in cells:
        if cell.found.drifts:
            warnings.append(
                f"{_where(cell)}: the sessions differ by more than chance (paired t, 5 %); wSD without that shift is "
                "given beside it."
            )
        if not cell.found.profile.holds:
            warnings.append(f"{_where(cell)}: neither form of the spread holds over the range of values.")
    subjects = len(data.group_subjects(reference=True))
    if subjects < 2:
        warnings.append("The reference group has a single subject: its spread says nothing about others.")
    return Analysis(
        data, options, tuple(cells), tuple(_comparisons(cells, options)), tuple(dict.fromkeys(left_out)),
        tuple(dict.fromkeys(warnings)), per_patient,
    )  # fmt: skip


def _where(cell: Cell) -> str:
    return f"{PARAMETERS[cell.map].symbol} in {cell.region} by {cell.estimator}"


def _regions(data: CohortData) -> list[str]:
    """Regions; the whole mask is one only where nothing was drawn."""
    regions = data.regions()
    return [region for region in regions if region != WHOLE] or regions


def _withheld(data: CohortData, options: Options, estimator: str, region: str, key: str) -> str:
    """Say why a map is not shown, '' where it is: D* needs to be asked for, or supported by its information."""
    if options.maps:
        return "" if key in options.maps else f"{PARAMETERS[key].symbol}: not asked for."
    if key != "Dstar":
        return ""
    information, share = data.information(estimator, region, key)
    if information >= INFORMATION_MEANS and share >= 0.5:
        return ""
    if np.isfinite(information):
        why = f"the signal told too little about it (mean information {information:.2f})"
    else:
        why = "this estimator does not say what the signal told about it"
    return f"D* in {region} by {estimator}: {why}; --maps D f Dstar shows it all the same."


def _cell(
    data: CohortData, options: Options, estimator: str, region: str, key: str, claims: Sequence[Claim]
) -> Cell:
    subjects, values = data.table(estimator, region, key, True, options.statistic)
    patients, treated = data.table(estimator, region, key, False, options.statistic)
    information, _ = data.information(estimator, region, key)
    found = analyse(values, options.form, options.level, information)
    pairs = np.array([_first_and_last(row) for row in treated], dtype=float).reshape(len(patients), 2)
    verdicts = tuple(verdict(a, b, found.spread, options.level, options.few) for a, b in pairs)
    return Cell(
        estimator, region, key, tuple(subjects), values, found, tuple(patients), pairs, verdicts,
        bias(pairs[:, 0], pairs[:, 1], options.level),
        tuple(conformance(claim, region, estimator, found) for claim in matching(claims, key, region)),
    )  # fmt: skip


def _first_and_last(row: Array) -> tuple[float, float]:
    there = np.flatnonzero(np.isfinite(row))
    return (row[0] if row.size else np.nan, row[there[-1]] if there.size and there[-1] > 0 else np.nan)


def _with_corrections(cells: list[Cell], options: Options) -> tuple[list[Cell], int]:
    """Count the comparisons of each patient within an estimator, and correct the verdicts where that was asked for."""
    found: dict[tuple[int, int], Verdict] = {}
    most = 0
    for estimator in dict.fromkeys(cell.estimator for cell in cells):
        mine = [number for number, cell in enumerate(cells) if cell.estimator == estimator]
        for patient in dict.fromkeys(who for number in mine for who in cells[number].patients):
            places = [(n, cells[n].patients.index(patient)) for n in mine if patient in cells[n].patients]
            adjusted = corrected([cells[n].verdicts[row] for n, row in places], options.level)
            most = max(most, max((item.comparisons for item in adjusted), default=0))
            for (n, row), item in zip(places, adjusted, strict=True):
                plain = cells[n].verdicts[row]
                word = item.word if options.holm else plain.word
                found[n, row] = Verdict(**{**item.__dict__, "word": word})
    rebuilt = [
        Cell(**{**cell.__dict__, "verdicts": tuple(found[n, row] for row in range(len(cell.patients)))})
        for n, cell in enumerate(cells)
    ]
    return rebuilt, most


def _comparisons(cells: Sequence[Cell], options: Options) -> list[tuple[str, str, str, str, Comparison]]:
    """Compare every pair of estimators on the same region and map: (region, map, A, B, Comparison)."""
    found = []
    for region, key in dict.fromkeys((cell.region, cell.map) for cell in cells):
        mine = [cell for cell in cells if (cell.region, cell.map) == (region, key)]
        for a, b in combinations(mine, 2):
            if a.subjects == b.subjects and a.values.shape == b.values.shape:
                found.append((region, key, a.estimator, b.estimator, compare(a.values, b.values, options.level)))
    return found


def _unpaired(data: CohortData, options: Options) -> list[str]:
    """List regions that a subject has in some sessions only, and values that are missing, each once."""
    said = []
    for subject in data.subjects:
        mine = [scan for scan in data.scans if scan.subject == subject]
        shown = data.names[subject]
        if len(mine) < 2:
            said.append(f"{shown}: one session only; not part of the repeatability.")
            continue
        for region in dict.fromkeys(region for scan in mine for _, region, _ in scan.values):
            have = sum(any(name == region for _, name, _ in scan.values) for scan in mine)
            if have < len(mine):
                said.append(f"{shown}: the region '{region}' exists in {have} of {len(mine)} sessions.")
                continue
            empty = {key for scan in mine for (_, name, key), row in scan.values.items()
                     if name == region and key in MAPS and row.get(options.statistic) is None}  # fmt: skip
            if empty - {"Dstar"}:
                listed = ", ".join(sorted(empty - {"Dstar"}))
                said.append(f"{shown}: {listed} in '{region}' has no value in at least one session.")
    return said
