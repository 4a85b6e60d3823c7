"""A test-retest study on one sheet: what to scan, how often, how many, and what comes out of it.

Nobody trusts other people's limits. This sheet says how a hospital gets its own, for its b-values: the scans, the
number of subjects with what that number buys, what this protocol can resolve at all (Cramér-Rao bound at typical
tissue), a manifest to fill in, and the one command.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..estimators import DEFAULT, create
from ..estimators.fisher import standard_deviations
from ..physics.acquisition import Acquisition
from ..physics.parameters import PARAMETERS
from ..physics.presets import preset
from .verdicts import ENOUGH_SUBJECTS, FEWEST_SUBJECTS, prediction_factor
from .withinsubject import chi_factors, upper_factor

KEYS = ("D", "f", "Dstar")
SIZES = (10, 14, 20, 35, 50)
REGION = 100
"""Voxels of a region for which the precision of a mean is stated."""
MANIFEST = (
    "subject,session,group,series,bval,rois",
    "01,test,reference,01/test/dwi.nii.gz,01/test/dwi.bval,01/test/rois.seg.nrrd",
    "01,retest,reference,01/retest/dwi.nii.gz,01/retest/dwi.bval,01/retest/rois.seg.nrrd",
)
COMMANDS = ("ivim cohort MANIFEST.csv --out STUDY --report --scanner '...' --reader '...' --interval '...'",)


@dataclass(frozen=True)
class Sheet:
    """The sheet: title, paragraphs of advice by heading, and tables (heading, head, rows)."""

    title: str
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...]
    manifest: tuple[str, ...]
    commands: tuple[str, ...]


def sheet(bvalues: Sequence[float], organ: str = "abdomen", snr: float = 20.0, subjects: int = 20) -> Sheet:
    """Make the sheet.

    Arguments: `bvalues` one per image [s/mm²]; `organ` a preset; `snr` S0 / sigma of one image [1]; `subjects` that can
    be scanned twice. Raises InputError for b-values that no estimator can use, and for senseless numbers.
    """
    acquisition = Acquisition(np.array(bvalues, dtype=float))
    if not (np.isfinite(snr) and snr > 0):
        raise InputError(f"The SNR is {snr:g}; give a positive number.")
    if subjects < 2:
        raise InputError(f"{subjects} subjects make no study; plan {FEWEST_SUBJECTS} to {ENOUGH_SUBJECTS}.")
    said = create(DEFAULT).problems(acquisition)
    for problem in said:
        if problem.blocks:
            raise InputError(str(problem))
    typical = preset(organ).typical
    distinct = " ".join(f"{b:g}" for b in acquisition.distinct)
    sections = (
        ("What to scan", (
            f"Exactly the diffusion series of your clinical protocol: b = {distinct} s/mm², {acquisition.count} images."
            " Same scanner, coil, sequence, breathing scheme and reconstruction in both sessions; write them down.",
            "Two sessions of each subject. Between them the subject leaves the table and is positioned anew, so that "
            "repositioning is part of the limits. Same day (coffee break) gives the limits of the measurement; 1 to 7 "
            "days apart without treatment gives those of a follow-up, which is what you need. Same time of the day, "
            "same preparation (fasting, drinking).",
            "Patients like those whom you will follow, not only healthy volunteers: the limits hold for the range of "
            "values that was scanned.",
        )),
        ("Regions", (
            "The same reader draws each lesion in both sessions, the second time without looking at the first. Give a "
            "region the same name in both sessions: pairs are made by name. Keep the usual size; a limit from large "
            "regions does not hold for small ones.",
        )),
        ("How many", (
            f"{ENOUGH_SUBJECTS} subjects is the number of the QIBA guidance; {FEWEST_SUBJECTS} is the fewest from which"
            " this program judges single patients. The table says what a number buys.",
            _planned(subjects),
        )),
        ("What this protocol can resolve", (
            f"Smallest possible standard deviation (Cramér-Rao) of one voxel at SNR {snr:g} in typical tissue of the "
            f"preset '{organ}', and of the mean of {REGION} voxels if noise were all. Motion, position and physiology "
            "come on top; the study measures them.",
            *(str(problem) for problem in said),
        )),
        ("What comes out", (
            "A report (page, PDF, tables) with wSD, RC, ICC and Bland-Altman plots of D and f, and the limits of your "
            "hospital as a file without identifiers, by which ivim follow-up and the panel judge later patients.",
            f"Check linearity for these b-values as well: ivim evaluate linearity --bvalues {distinct}. Where its "
            "slope is below 0.95 the limits hold for the estimate, and a true change is larger than the measured one.",
            "Research use only, not a medical device. Ask your ethics committee before scanning.",
        )),
    )  # fmt: skip
    return Sheet(
        f"Test-retest study for b = {distinct} s/mm²", sections,
        (_sizes_table(), _precision_table(acquisition, typical, snr)), MANIFEST, COMMANDS,
    )  # fmt: skip


def _planned(subjects: int) -> str:
    low, high = (float(x) for x in chi_factors(subjects))
    text = f"With your {subjects} subjects, wSD will be known to a factor of {low:.2f} to {high:.2f} (95 % interval)"
    if subjects < FEWEST_SUBJECTS:
        return text + ": too few for verdicts on single patients."
    return text + ("." if subjects >= ENOUGH_SUBJECTS else "; the report will say so.")


def _sizes_table() -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = []
    for n in SIZES:
        low, high = (float(x) for x in chi_factors(n))
        rows.append((
            str(n), f"{low:.2f} .. {high:.2f}", f"{float(prediction_factor(n)) / np.sqrt(2):.2f}",
            f"{1 / float(upper_factor(n)):.2f}",
        ))  # fmt: skip
    head = ("subjects", "95 % interval of wSD (factor)", "t instead of 1.96", "largest observed share of a claimed wCV")
    return "What a number of subjects buys (two scans each)", head, tuple(rows)


def _precision_table(
    acquisition: Acquisition, typical: dict[str, float], snr: float
) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    b, group = acquisition.groups()
    values = {"S0": np.ones(1), **{key: np.array([typical[key]]) for key in KEYS}}
    free = dict.fromkeys(("S0", *KEYS), np.array(True))
    found = standard_deviations(b, np.bincount(group).astype(float), values, np.array([1 / snr**2]), free)
    rows = []
    for key in KEYS:
        share = float(found[key][0]) / typical[key]
        voxel, mean = (
            f"{100 * error:.0f} %" if np.isfinite(error) else "not determined"
            for error in (share, share / np.sqrt(REGION))
        )
        rows.append((PARAMETERS[key].symbol, PARAMETERS[key].format(typical[key]), voxel, mean))
    return "Precision from noise alone", ("map", "typical", "one voxel", f"mean of {REGION} voxels"), tuple(rows)


def to_text(made: Sheet) -> str:
    """Write the sheet as plain text."""
    lines = [made.title, "=" * len(made.title)]
    places = {"How many": 0, "What this protocol can resolve": 1}
    for heading, paragraphs in made.sections:
        lines += ["", heading, "-" * len(heading), *(f"* {text}" for text in paragraphs)]
        if heading in places:
            title, head, rows = made.tables[places[heading]]
            widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
            lines += ["", f"  {title}"]
            lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                      for row in (head, *rows)]  # fmt: skip
    lines += ["", "Manifest (MANIFEST.csv, one line a scan)", *(f"  {line}" for line in made.manifest)]
    lines += ["", "Command (run it again after more scans: only what is new is done)"]
    lines += [f"  {line}" for line in made.commands]
    return "\n".join(lines)


def to_html(made: Sheet) -> str:
    """Write the sheet as a page for printing."""
    quoted = html.escape
    parts = [f"<h1>{quoted(made.title)}</h1>"]
    places = {"How many": 0, "What this protocol can resolve": 1}
    for heading, paragraphs in made.sections:
        parts.append(f"<h2>{quoted(heading)}</h2><ul>" + "".join(f"<li>{quoted(p)}</li>" for p in paragraphs) + "</ul>")
        if heading in places:
            title, head, rows = made.tables[places[heading]]
            body = "".join("<tr>" + "".join(f"<td>{quoted(c)}</td>" for c in row) + "</tr>" for row in rows)
            cells = "".join(f"<th>{quoted(c)}</th>" for c in head)
            parts.append(f"<table><caption>{quoted(title)}</caption><tr>{cells}</tr>{body}</table>")
    for heading, lines in (("Manifest", made.manifest), ("Command", made.commands)):
        parts.append(f"<h2>{heading}</h2><pre>{quoted(chr(10).join(lines))}</pre>")
    style = (
        "body{font:11pt/1.45 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
        "td,th{border-bottom:1px solid #999;padding:.2em .8em;text-align:left}caption{text-align:left}"
        "pre{background:#f3f3f3;padding:.6em;white-space:pre-wrap;font-size:9pt}"
    )
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{quoted(made.title)}</title>'
            f"<style>{style}</style></head><body>{''.join(parts)}</body></html>\n")  # fmt: skip
