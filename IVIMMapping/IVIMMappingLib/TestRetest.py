"""Test-retest in the scene: sessions of several subjects, their repeatability, report and reference cohort.

    study = RetestStudy()
    for subject, (first, second) in pairs.items():
        study.addRun(first, subject), study.addRun(second, subject)
    study.analyse().cells[0].found.wsd

Subjects are called P01, P02 ... in everything that is written; what a person types as their names stays in the panel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ivimcore import PARAMETERS, InputError, __version__
from ivimcore.reports.cohortanalysis import Analysis, Cell, Options, analyse_cohort
from ivimcore.reports.cohortdata import ScanResult, cohort_of, load_cohort
from ivimcore.reports.report import Report, write_analysis
from ivimcore.reports.reporttables import point_rows, repeatability_rows
from ivimcore.reports.reportwords import interval, number
from ivimcore.reports.verdicts import limit_at_mean

from .ChartNodes import BLUE, GREY, VERMILLION, Curve
from .EarlierResults import readFolderTexts
from .FollowUp import regionName, sessionRows
from .PatientIdentity import patientOfRun
from .Runs import Run

KEYS = ("D", "f", "Dstar", "ADC")
COLUMNS = ("region", "map", "estimator", "n", "mean", "wSD", "RC", "wCV [%]", "between / wSD", "ICC(2,1)",
           "information", "spread")  # fmt: skip
"""Columns of `tableOf`; mean, wSD and RC in the display unit of the map, intervals 95 %. A small wSD proves nothing
alone, because an estimator that repeats its prior has one: what it must be read beside stands in the same line."""


@dataclass(frozen=True)
class RetestSession:
    """One examination: `subject` whose, `estimators` estimator -> (rows of its statistics, provenance); `title` what it
    is, for the panel; `runKey` of a run of the scene, '' for a folder.
    """

    subject: str
    title: str
    estimators: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]]
    runKey: str = ""


class RetestStudy:
    """Sessions in the order in which they were added, which is their order in time within a subject."""

    def __init__(self) -> None:
        self.sessions: list[RetestSession] = []
        self._patients: dict[str, str] = {}  # subject -> patient, where the scene says so

    def addRun(self, run: Run, subject: str = "") -> RetestSession:
        """Add a run of the scene; without `subject` it belongs to the patient whom the scene says, or to a new subject.

        Raises InputError for a run without statistics of regions, and for one that is there already.
        """
        if any(session.runKey == run.key for session in self.sessions):
            raise InputError(f"The run '{run.name}' is in the list already; choose another one.")
        rows = sessionRows(run)
        subject = subject.strip() or self._subjectOf(run) or self.newSubject()
        session = RetestSession(subject, run.name, {run.estimator: (rows, _about(run))}, run.key)
        self._patients[subject] = self._patients.get(subject) or patientOfRun(run)
        self.sessions.append(session)
        return session

    def addFolder(self, folder: str | Path, subject: str = "") -> list[RetestSession]:
        """Add an output folder of `ivim map` as one session, or every session of a folder of `ivim cohort`.

        Raises InputError for a folder that holds no result.
        """
        folder = Path(folder)
        if (folder / "cohort.json").is_file():
            added = _sessionsOfCohort(folder, len({session.subject for session in self.sessions}))
        else:
            added = [RetestSession(subject.strip() or self.newSubject(), "folder", readFolderTexts(folder))]
        self.sessions += added
        return added

    def newSubject(self) -> str:
        """Return the next free name, P01, P02 ..."""
        taken = {session.subject for session in self.sessions}
        return next(name for name in (f"P{number:02d}" for number in range(1, 10**6)) if name not in taken)

    def rename(self, index: int, subject: str) -> None:
        """Say whose a session is; raises InputError for an empty name."""
        if not subject.strip():
            raise InputError("A session belongs to a subject; type a name such as P01.")
        self.sessions[index] = replace(self.sessions[index], subject=subject.strip())

    def remove(self, index: int) -> None:
        """Take a session out of the study; its run stays in the scene."""
        del self.sessions[index]

    def analyse(self, options: Options | None = None, pool: bool = False) -> Analysis:
        """Describe the repeatability of every region and map that the sessions of a subject share.

        Regions are paired by name without regard to case. Sessions of other b-values, options or prior than most are
        left out and said, unless `pool`. Raises InputError without two sessions of a subject.
        """
        subjects = [session.subject for session in self.sessions]
        if not any(subjects.count(subject) > 1 for subject in subjects):
            raise InputError("No subject has two sessions; add the second examination, or correct the subjects' names.")
        names = {subject: f"P{number:02d}" for number, subject in enumerate(dict.fromkeys(subjects), start=1)}
        spelled: dict[str, str] = {}
        scans = [
            ScanResult(
                session.subject, str(subjects[: index + 1].count(session.subject)), "", "",
                _values(session, spelled), {name: about for name, (_, about) in session.estimators.items()},
            )
            for index, session in enumerate(self.sessions)
        ]
        return analyse_cohort(cohort_of(scans, ".", names, pool=pool, version=__version__), options)

    def _subjectOf(self, run: Run) -> str:
        patient = patientOfRun(run)
        return next((name for name, known in self._patients.items() if patient and known == patient), "")


def tableOf(analysis: Analysis) -> list[list[str]]:
    """Return one line of texts with `COLUMNS` for each cell, in display units, intervals in brackets."""
    lines = []
    for row in repeatability_rows(analysis.cells):
        shown = PARAMETERS[row["map"]]
        factor = shown.display_factor
        lines.append([
            row["region"], shown.label, row["estimator"], str(row["subjects"]), number(row["mean"] * factor),
            interval(row, "wsd", factor), interval(row, "rc", factor), interval(row, "wcv_log", 100),
            interval(row, "between_over_wsd"), interval(row, "icc"), number(row["information"], 2), row["form"],
        ])
    return lines


def blandAltmanOf(cell: Cell, names: Mapping[str, str] | None = None) -> tuple[list[Curve], str, str]:
    """Return the curves of a Bland-Altman plot in display units, and the titles of its axes.

    Points are the subjects; solid the mean difference, dashed the limits of agreement, dotted the limit beyond which a
    single patient is called changed.
    """
    shown = PARAMETERS[cell.map]
    factor, unit = shown.display_factor, "" if shown.display_unit == "1" else f" [{shown.display_unit}]"
    rows = [row for row in point_rows([cell], names or {}) if np.isfinite(row["difference"])]
    mean = factor * np.array([row["mean"] for row in rows])
    difference = factor * np.array([row["difference"] for row in rows])
    titles = (f"Mean of the sessions, {shown.symbol}{unit}", f"Difference, {shown.symbol}{unit}")
    if not rows:
        return [], *titles
    room = 0.1 * max(float(np.ptp(mean)), 1e-3 * abs(float(mean[0])), 1e-12)
    ends = np.array([mean.min() - room, mean.max() + room])
    curves = [Curve("subjects", mean, difference, "none", True, BLUE)]
    limits = cell.found.bland_altman
    for name, value, line in (
        ("mean difference", limits.mean.value, "solid"), ("lower limit of agreement", limits.lower.value, "dash"),
        ("upper limit of agreement", limits.upper.value, "dash"),
    ):
        curves.append(Curve(name, ends, np.full(2, factor * float(value)), line, False, GREY))
    place = np.linspace(ends[0], ends[1], 41)
    verdict = factor * limit_at_mean(place / factor, cell.found.spread)
    curves += [
        Curve("limit of a verdict, below", place, -verdict, "dot", False, VERMILLION),
        Curve("limit of a verdict, above", place, verdict, "dot", False, VERMILLION),
    ]
    return curves, *titles


def saveReport(analysis: Analysis, folder: str | Path, pdf: bool = True) -> Report:
    """Write report.html, report.pdf, CSV files and reference cohorts into a folder, without identifiers.

    Raises InputError where the folder cannot be written, or where matplotlib or Jinja is missing.
    """
    return write_analysis(analysis, folder, False, pdf)


def saveReference(analysis: Analysis, estimator: str, path: str | Path) -> Path:
    """Write the limits of one estimator as a reference cohort file; raises InputError where there are none."""
    cohort = analysis.reference_cohorts().get(estimator)
    if cohort is None:
        raise InputError(f"There is no spread between sessions of '{estimator}' to save; add more sessions.")
    path = Path(path)
    path = path if path.suffix.lower() == ".json" else path.with_name(path.name + ".json")
    try:
        cohort.save(path)
    except OSError as fault:
        raise InputError(f"{path} cannot be written ({(fault.strerror or '').lower()}); choose another file.") from None
    return path


def _about(run: Run) -> dict[str, Any]:
    return {"estimator": run.estimator, **run.provenance}


def _values(session: RetestSession, spelled: dict[str, str]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Return (estimator, region, map) -> row; a region is spelled as it was first, and cells without value are None."""
    found = {}
    for estimator, (rows, _) in session.estimators.items():
        for row in rows:
            if row["map"] in KEYS:
                name = regionName(row["region"])
                name = spelled.setdefault(name.casefold(), name)
                found[estimator, name, str(row["map"])] = {key: _known(key, value) for key, value in row.items()}
    return found


def _known(key: str, value: Any) -> Any:
    """Return a value as a record holds it: None for nothing, which a table node holds as '' or NaN."""
    if value == "" or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return int(value) if key in ("n", "voxels") else value


def _sessionsOfCohort(folder: Path, offset: int) -> list[RetestSession]:
    """Read the reference group of a cohort, its subjects numbered after those that are there already."""
    data = load_cohort(folder, pool=True)
    scans = [scan for scan in data.scans if data.is_reference(scan)]
    names = {who: f"P{number:02d}" for number, who in enumerate(dict.fromkeys(s.subject for s in scans), offset + 1)}
    sessions = []
    for scan in scans:
        estimators: dict[str, tuple[list[Mapping[str, Any]], Mapping[str, Any]]] = {}
        for (estimator, _, _), row in scan.values.items():
            estimators.setdefault(estimator, ([], scan.provenance.get(estimator, {})))[0].append(row)
        sessions.append(RetestSession(names[scan.subject], "cohort", estimators))
    return sessions
