"""Is this lesion responding? Two runs of one patient compared region by region, usable without any panel.

    before, after = logic.runs()[1], logic.runs()[0]
    print(compareRuns(before, after, load_reference("reference_posterior.json")).text())

The numbers and words are those of `ivimcore.reports.followup`; texts hold names of regions, nothing else of a scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import slicer

from ivimcore import InputError
from ivimcore.reports import followup
from ivimcore.reports.followup import FollowUp, Session
from ivimcore.reports.referencecohort import ReferenceCohort
from ivimcore.reports.roistatistics import WHOLE
from ivimcore.reports.verdicts import change_limits

from .PatientIdentity import dateOfRun, patientOfRun
from .RegionChoice import BODY
from .RegionChoice import WHOLE as WHOLE_VOLUME
from .RegionNumbers import MEDIAN_SD
from .Runs import Run, findRun, runsOf
from .StatisticsTable import rowsOfTable

EARLIER_SETTING = "earlierRun"
"""Key of the settings of a run that was made as a follow-up: the key of the run before it."""
_NOT_LESIONS = (WHOLE, BODY, WHOLE_VOLUME)


@dataclass(frozen=True)
class TrendPoint:
    """One date: `place` on the axis, in days since the first date or the number of the examination; `value` stored."""

    place: float
    value: float
    runKey: str


@dataclass(frozen=True)
class Trend:
    """A region and map over all dates: `points` in order; `inDays` tells what the axis is; `limits` smallest and
    largest value of an unchanged patient after the first date (stored unit), None where no limit is known.
    """

    region: str
    key: str
    points: tuple[TrendPoint, ...]
    inDays: bool
    limits: tuple[float, float] | None


def sessionOf(run: Run) -> Session:
    """Return what was measured in a run, region by region, for `ivimcore.reports.followup`.

    Raises InputError for a run without statistics of regions.
    """
    session = followup.session_of(sessionRows(run), {"estimator": run.estimator, **run.provenance})
    errors: dict[str, dict[str, float]] = {}
    for row in rowsOfTable(run.regionNumbers) if run.regionNumbers is not None else []:
        error = row.get(MEDIAN_SD)
        if isinstance(error, float) and np.isfinite(error):
            errors.setdefault(regionName(row["region"]), {})[str(row["map"])] = error
    return replace(session, errors=errors)


def sessionRows(run: Run) -> list[dict[str, Any]]:
    """Return the statistics of a run: its drawn regions, or where there is none of the whole of what was fitted.

    Raises InputError for a run without statistics of regions.
    """
    rows = [] if run.statistics is None else rowsOfTable(run.statistics)
    if not rows or not {"region", "map", "median"} <= set(rows[0]):
        raise InputError(f"The run '{run.name}' has no statistics of regions; fit it again with regions in step 2.")
    for row in rows:
        row["region"] = regionName(row["region"])
    return [row for row in rows if row["region"] not in _NOT_LESIONS] or rows


def regionName(name: Any) -> str:
    """Return the name of a region on one line: it may be anything that somebody typed."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(name)).split()) or "(no name)"


def compareRuns(
    before: Run, after: Run, reference: ReferenceCohort | None = None, keys: Sequence[str] = (),
    regionOf: Mapping[str, str] | None = None, holm: bool = False, few: bool = False,
) -> FollowUp:
    """Compare two runs of one patient in words.

    Arguments: `reference` cohort whose limits decide, None for changes without a verdict; `keys` maps, by default D and
    f, ADC, and D* where both runs say that it was measured; `regionOf` lesion -> region of the cohort; `holm` corrects
    for the number of comparisons; `few` allows verdicts from fewer than ten reference subjects.
    Raises InputError where there is nothing to compare.
    """
    if before.key == after.key:
        raise InputError("Both results are the same run; choose an earlier one.")
    found = followup.follow_up(sessionOf(before), sessionOf(after), reference, keys, regionOf, holm, few)
    if not found.lines:
        raise InputError(
            "The two results have no region of the same name, so nothing can be compared; give the lesions the same "
            "names as before."
        )
    warnings = list(found.warnings)
    dates = dateOfRun(before), dateOfRun(after)
    if None not in dates and dates[0] > dates[1]:
        warnings.append("The result taken as the earlier one was scanned later than the other one.")
    patients = patientOfRun(before), patientOfRun(after)
    if "" not in patients and patients[0] != patients[1]:
        warnings.insert(0, "The scene says that the two results are of different patients: check which ones they are.")
    return replace(found, warnings=tuple(warnings))


def judgedRegions(before: Run, after: Run, reference: ReferenceCohort | None, judgedBy: str) -> dict[str, str]:
    """Return lesion -> region `judgedBy` of the cohort, for the lesions that the cohort has no region of that name for.
    """
    if reference is None or judgedBy not in reference.regions():
        return {}
    known = {region.casefold() for region in reference.regions()}
    names = {name for run in (before, after) for name in sessionOf(run).values}
    return {name: judgedBy for name in names if name.casefold() not in known}


# --- more than two dates -----------------------------------------------------------------------------------------


def runsOfPatient(scene: slicer.vtkMRMLScene, run: Run, earlier: Run | None = None) -> list[Run]:
    """Return the runs of one patient by the same estimator, the earliest examination first, one of each series.

    They are the run, `earlier`, what earlier follow-ups were compared with, and the runs that the subject hierarchy
    says to be of this patient.
    """
    chain: list[Run] = [run]
    following = earlier or findRun(scene, str(run.settings.get(EARLIER_SETTING, "")))
    while following is not None and all(following.key != known.key for known in chain):
        chain.append(following)
        following = findRun(scene, str(following.settings.get(EARLIER_SETTING, "")))
    chain.reverse()
    patient = patientOfRun(run)
    others = [other for other in runsOf(scene) if patient and patientOfRun(other) == patient]
    others = [other for other in reversed(others) if all(other.key != known.key for known in chain)]
    found = [*others, *chain]
    found = [other for other in found if other.estimator == run.estimator]
    found = list(_onePerSeries(found))
    dates = [dateOfRun(other) for other in found]
    if None not in dates:
        found = [other for _, _, other in sorted(zip(dates, range(len(found)), found, strict=True))]
    return found


def trendOf(
    runs: Sequence[Run], region: str, key: str, reference: ReferenceCohort | None = None, judgedBy: str = ""
) -> Trend:
    """Return the values of a region and map over the runs, which are in their order, with the limits around the first.

    Runs without such a value are passed over.
    """
    known: list[tuple[Run, date | None, float]] = []
    for run in runs:
        try:
            value = sessionOf(run).values.get(region, {}).get(key, np.nan)
        except InputError:
            continue
        if np.isfinite(value):
            known.append((run, dateOfRun(run), float(value)))
    inDays = len(known) > 1 and all(day is not None for _, day, _ in known)
    points = tuple(
        TrendPoint(float((day - known[0][1]).days) if inDays else float(number), value, run.key)
        for number, (run, day, value) in enumerate(known, start=1)
    )
    limits = None
    entry = None
    if reference is not None and points:
        entry = reference.entry(key, region) or (reference.entry(key, judgedBy) if judgedBy else reference.entry(key))
    first = points[0].value if points else np.nan
    if entry is not None and entry.spread.known and (first > 0 or entry.spread.proportional == 0):
        low, high = change_limits(first, entry.spread)
        limits = (first + low, first + high)
    return Trend(region, key, points, inDays, limits)


def _onePerSeries(runs: Sequence[Run]) -> Iterator[Run]:
    """Yield the last run of each series, in order; a run without a series is one by itself."""
    for number, run in enumerate(runs):
        later = runs[number + 1 :]
        if run.seriesNode is None or all(other.seriesNode is not run.seriesNode for other in later):
            yield run
