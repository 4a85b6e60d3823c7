"""The reference cohort whose limits decide: a file that is chosen once and remembered on this computer."""

from __future__ import annotations

from pathlib import Path

import slicer

from ivimcore.errors import InputError
from ivimcore.reports.referencecohort import ReferenceCohort, load_reference

SETTING = "IVIMMapping/referenceCohort"
"""Key of the user's settings; the path stays out of the scene, which others may receive."""


def rememberedReference() -> tuple[ReferenceCohort | None, str]:
    """Return the remembered reference cohort and '', or None and the sentence that says why it cannot be used."""
    path = str(slicer.app.userSettings().value(SETTING) or "")
    if not path:
        return None, ""
    try:
        return load_reference(path), ""
    except InputError as fault:
        return None, str(fault)


def rememberReference(path: str | Path) -> ReferenceCohort:
    """Read a reference cohort and remember its file; raises InputError for a file that is none, and keeps the old one.
    """
    cohort = load_reference(path)
    slicer.app.userSettings().setValue(SETTING, str(Path(path).absolute()))
    return cohort


def forgetReference() -> None:
    """Use no reference cohort from now on."""
    slicer.app.userSettings().setValue(SETTING, "")


def sentenceOf(cohort: ReferenceCohort) -> str:
    """Describe a cohort in one line: name, subjects, estimator, protocol, conditions."""
    subjects = sorted({entry.subjects for entry in cohort.entries})
    n = f"n = {subjects[0]}" if len(subjects) == 1 else f"n = {subjects[0]} to {subjects[-1]}"
    listed = " ".join(f"{b:g}" for b in sorted(set(cohort.bvalues)))
    conditions = [f"{key} {text}" for key, text in cohort.conditions.items() if text]
    parts = [f"{cohort.name}: {n}", cohort.estimator, f"regions {', '.join(cohort.regions())}", f"b = {listed} s/mm²"]
    return "; ".join([*parts, *conditions]) + "."
