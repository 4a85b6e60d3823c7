"""The test-retest report of a cohort: one self-contained page, its PDF, CSV behind every figure, its limits as a file.

    write_report("DIR")      # what `ivim report DIR` does

writes into DIR

    report.html              opens without network and without scripts; figures are inside
    report.pdf               the same page on paper, where a program that prints it is installed
    report/*.csv             the numbers behind every figure and table, in stored units
    group_model-ivim_desc-*_repeatability.tsv    beside dataset_description.json of a BIDS data set
    reference_<estimator>.json   the limits for others to use (`referencecohort`)

No identifiers unless asked for: subjects are P01, P02 ... in the order of the manifest; file names stay out.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.output import OutputFolder
from ..errors import InputError
from ..estimators import available
from ..jobs.bids import group_table
from ..physics.parameters import PARAMETERS
from . import reporttables as tables
from . import reportwords as words
from .cohortanalysis import Analysis, Options, analyse_cohort
from .cohortdata import CohortData, load_cohort
from .conformance import Claim
from .followup import prior_of
from .referencecohort import NETWORK
from .reportfigures import assumption_figure, bland_altman_figure
from .reportpdf import print_pdf
from .roistatistics import guarded, write_csv
from .verdicts import chance_of_any, width_sentence

TEMPLATES = Path(__file__).with_name("templates")
THUMBNAILS = 60
"""Thumbnails on the page; more would make it slow to open."""
VERDICTS = 80
"""Verdicts on the page; of more, those 'within chance' stand in the CSV file alone."""
INSTALL = "install it with pip install 'ivimslicer[report]'"


@dataclass(frozen=True)
class Report:
    """What was written: paths, the analysis, and a sentence about the PDF where there is none."""

    html: Path
    pdf: Path | None
    tables: tuple[Path, ...]
    references: tuple[Path, ...]
    analysis: Analysis
    remark: str


def write_report(
    folder: Path | str, options: Options | None = None, claims: Sequence[Claim] = (),
    reference_groups: Sequence[str] = (), pool: bool = False, identifiers: bool = False, pdf: bool = True,
) -> Report:
    """Analyse a cohort and write its report, all or nothing.

    Arguments: `folder` of `ivim cohort`; `options`; `claims` to hold it against; `reference_groups`, `pool`,
    `identifiers` as `load_cohort`; `pdf` prints the page too.
    Raises InputError where the cohort cannot be analysed, or where matplotlib or Jinja is missing.
    """
    analysis = analyse_cohort(load_cohort(folder, reference_groups, pool, identifiers), options, claims)
    return write_analysis(analysis, folder, identifiers, pdf)


def write_analysis(analysis: Analysis, folder: Path | str, identifiers: bool = False, pdf: bool = True) -> Report:
    """Write the report of a cohort that was analysed already, all or nothing; see `write_report`."""
    folder = Path(folder)
    page = render(analysis, identifiers)
    remark, printed = "", False
    with OutputFolder(folder) as work:
        (work / "report.html").write_text(page, encoding="utf-8")
        if pdf:
            remark = print_pdf(work / "report.html", work / "report.pdf")
            printed = not remark
        (work / "report").mkdir()
        for name, (rows, columns) in csv_tables(analysis).items():
            write_csv(work / "report" / name, rows, columns)
        references = analysis.reference_cohorts()
        if analysis.data.settings.get("bids"):
            for estimator in analysis.data.estimators():
                mine = tables.repeatability_rows([cell for cell in analysis.cells if cell.estimator == estimator])
                mine = [{**row, "region": guarded(row["region"])} for row in mine]
                group_table(work, estimator, mine, tables.REPEATABILITY_COLUMNS)
        for estimator, cohort in references.items():
            cohort.save(work / f"reference_{estimator}.json")
    return Report(
        folder / "report.html", folder / "report.pdf" if printed else None,
        tuple(folder / "report" / name for name in csv_tables(analysis)),
        tuple(folder / f"reference_{estimator}.json" for estimator in references), analysis, remark,
    )  # fmt: skip


def csv_tables(analysis: Analysis) -> dict[str, tuple[list[dict[str, Any]], Sequence[str]]]:
    """Return rows and columns of every CSV file by its name."""
    cells, names = analysis.cells, analysis.data.names
    return {
        "repeatability.csv": (tables.repeatability_rows(cells), tables.REPEATABILITY_COLUMNS),
        "bland_altman.csv": (tables.point_rows(cells, names), tables.POINT_COLUMNS),
        "verdicts.csv": (tables.verdict_rows(cells, names), tables.VERDICT_COLUMNS),
        "treated_group.csv": (tables.treated_rows(cells), tables.TREATED_COLUMNS),
        "estimators.csv": (tables.comparison_rows(analysis), tables.COMPARISON_COLUMNS),
        "assumptions.csv": (tables.assumption_rows(cells), tables.ASSUMPTION_COLUMNS),
        "conformance.csv": (tables.conformance_rows(cells), tables.CONFORMANCE_COLUMNS),
        "left_out.csv": ([{"reason": text} for text in analysis.left_out], ("reason",)),
    }


def render(analysis: Analysis, identifiers: bool = False) -> str:
    """Write the page as HTML; everything that comes from outside is escaped by the template."""
    try:
        import jinja2
        import markupsafe
        import matplotlib  # noqa: F401 - asked for here, so that its absence is one sentence
    except ImportError as fault:
        raise InputError(f"A report needs {fault.name}; {INSTALL}.") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=False,
    )  # fmt: skip
    data, options, cells = analysis.data, analysis.options, analysis.cells
    groups = dict.fromkeys((cell.region, cell.map) for cell in cells)
    figures, profiles = [], []
    for index, (region, key) in enumerate(groups):
        mine = [cell for cell in cells if (cell.region, cell.map) == (region, key)]
        symbol = PARAMETERS[key].symbol
        figures.append({
            "id": f"bland-altman-{index}", "svg": markupsafe.Markup(bland_altman_figure(mine, dict(data.names))),
            "caption": f"{symbol} in {region}. {_named(mine, data)} Numbers: report/bland_altman.csv.",
        })  # fmt: skip
        profiles.append({
            "id": f"assumptions-{index}", "svg": markupsafe.Markup(assumption_figure(mine)),
            "caption": f"{symbol} in {region}: precision profile with the constant (dashed) and the proportional "
            "form, and normal plot of the differences. Numbers: report/bland_altman.csv.",
        })  # fmt: skip
    first = cells[0].found
    pictures = _thumbnails(data, identifiers)
    return environment.get_template("report.html").render(
        title=options.name, claims=tables.claim_sentences(analysis), conditions=_conditions(analysis),
        warnings=analysis.warnings, cohort=_cohort_table(data),
        repeatability=words.repeatability_table(tables.repeatability_rows(cells)),
        context=words.context_table(tables.repeatability_rows(cells)),
        width=width_sentence(first.nu, first.subjects, options.level), figures=figures,
        treated=words.treated_table(tables.treated_rows(cells)),
        verdicts=words.verdict_table(_shown(tables.verdict_rows(cells, data.names))),
        multiplicity=_multiplicity(analysis),
        comparison=words.comparison_table(tables.comparison_rows(analysis)),
        assumptions=words.assumption_table(tables.assumption_rows(cells)), checks=_checks(analysis), profiles=profiles,
        conformance=words.conformance_table(tables.conformance_rows(cells)), thumbnails=pictures[:THUMBNAILS],
        thumbnail_note="" if len(pictures) <= THUMBNAILS else f"The first {THUMBNAILS} of {len(pictures)} are shown.",
        methods=_methods_table(data), method_notes=_method_notes(analysis), left_out=analysis.left_out,
        footer=f"IVIMSlicer {__version__}, maps by version {data.version}, Python {sys.version.split()[0]}.",
    )


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the verdicts for the page: all, or of many only those that are not 'within chance'."""
    return rows if len(rows) <= VERDICTS else [row for row in rows if row["verdict"] != "within chance"]


def _named(cells: Sequence[Any], data: CohortData) -> str:
    found = {cell.estimator: ", ".join(data.names[who] for who in cell.changed) for cell in cells}
    parts = [f"{estimator}: {names}" for estimator, names in found.items() if names]
    if parts:
        return f"Changed: {'; '.join(parts)}."
    return "No patient changed more than chance." if any(len(cell.patients) for cell in cells) else ""


def _conditions(analysis: Analysis) -> str:
    data, options = analysis.data, analysis.options
    about = next(iter(data.scans[0].provenance.values()))
    bvalues = about.get("bvalues_used", [])
    distinct = " ".join(f"{b:g}" for b in sorted(set(bvalues)))
    sizes = [row["voxels"] for scan in data.scans for row in scan.values.values() if row.get("voxels")]
    volumes = [row["volume_ml"] for scan in data.scans for row in scan.values.values() if row.get("volume_ml")]
    given = {key: text for key, text in (options.conditions or {}).items() if text}
    parts = [f"b = {distinct} s/mm² ({len(bvalues)} images)", f"{options.statistic} of each region"]
    if sizes:
        parts.append(f"regions of {min(sizes)} to {max(sizes)} voxels ({min(volumes):.3g} to {max(volumes):.3g} mL)")
    parts += [f"{key} {given.get(key, 'not stated')}" for key in ("scanner", "reader", "interval")]
    parts += [f"{key} {text}" for key, text in given.items() if key not in ("scanner", "reader", "interval")]
    parts.append("linear response with slope 1 assumed (see ivim evaluate linearity)")
    return "; ".join(parts) + "."


def _cohort_table(data: CohortData) -> words.Table:
    rows = []
    for group in dict.fromkeys(scan.group for scan in data.scans):
        mine = [scan for scan in data.scans if scan.group == group]
        subjects = {scan.subject for scan in mine}
        counts = sorted({sum(scan.subject == who for scan in mine) for who in subjects})
        role = "taken as unchanged" if group in data.reference_groups else "judged against them"
        rows.append([group or "(no name)", role, str(len(subjects)), str(len(mine)), " or ".join(map(str, counts))])
    return words.Table(("group", "role", "subjects", "sessions", "sessions a subject"), rows, left=2)


def _multiplicity(analysis: Analysis) -> str:
    count, level = analysis.per_patient, analysis.options.level
    many = sum(len(cell.verdicts) for cell in analysis.cells) > VERDICTS
    chance = 100 * chance_of_any(count, level)
    applied = "Holm's correction was applied" if analysis.options.holm else (
        "The verdicts are not corrected for that; p (Holm) beside them is, and --holm applies it")  # fmt: skip
    return (
        f"{count} comparisons a patient and estimator: an unchanged patient is called changed in at least one of them "
        f"with a chance of up to {chance:.0f} %. {applied}."
        + (" Those within chance are in report/verdicts.csv." if many else "")
    )


def _checks(analysis: Analysis) -> list[str]:
    data = analysis.data
    same = "not all" if any("pooled" in text for text in analysis.warnings) else "all"
    said = [
        f"Same b-values, options and prior: checked; {same} of the sessions shown agree.",
        "Linearity and bias: not checked here; run ivim evaluate linearity --bvalues with these b-values. Where the "
        "slope is below 0.95, a change is underestimated and the limits hold for the estimate, not for the tissue.",
        "Normality of differences: Shapiro-Wilk and the plots below; few subjects cannot show it.",
        "Subjects of the reference group did not change between sessions: by design, not checked.",
    ]
    notes: dict[str, int] = {}
    for scan in data.scans:
        for text in dict.fromkeys(scan.warnings):
            if "left out" in text or "SNR" in text or "noise" in text.lower():
                notes[text] = notes.get(text, 0) + 1
    return said + [f"{text} ({count} series)" for text, count in list(notes.items())[:12]]


def _thumbnails(data: CohortData, identifiers: bool) -> list[dict[str, str]]:
    found = []
    for subject in data.subjects:
        for number, scan in enumerate((s for s in data.scans if s.subject == subject), start=1):
            path = data.folder / scan.thumbnail
            if scan.thumbnail and path.is_file():
                session = scan.session if identifiers else str(number)
                content = base64.b64encode(path.read_bytes()).decode("ascii")
                found.append({"label": f"{data.names[subject]}, session {session}", "data": content})
    return found


def _methods_table(data: CohortData) -> words.Table:
    rows = []
    for estimator in data.estimators():
        about = next(scan.provenance[estimator] for scan in data.scans if estimator in scan.provenance)
        options = ", ".join(f"{key}={value}" for key, value in sorted(about.get("options", {}).items())
                            if value not in ({}, "", None) and key != "prior_file")  # fmt: skip
        prior = prior_of(about)
        model = about.get("model") or {}
        card = f"{model.get('id', '')}, weights {str(model.get('sha256', ''))[:12]}" if model else ""
        described = f"{prior['kind']} {str(prior.get('checksum', ''))[:12]}" if prior else "none"
        if prior.get("kind") == NETWORK:
            described = "what it was trained on, see its card (ivim models)"
        elif prior.get("from_file"):
            described += " (from a file, the same for all)"
        versions = ", ".join(f"{key} {value}" for key, value in sorted(about.get("versions", {}).items()))
        rows.append([estimator, options or "–", described, card or "–", versions])
    return words.Table(("estimator", "options", "prior", "model", "versions"), rows, left=5)


def _method_notes(analysis: Analysis) -> list[str]:
    known = available()
    notes = [
        "wSD² = Σ (K − 1) s² / Σ (K − 1) over subjects; RC = 1.96 √2 wSD; intervals of both by chi-square.",
        "wCV (log) = √(exp(s²) − 1) with s the wSD of ln y; wCV (rms) = √(mean of s²/m²); limits of a change "
        "exp(± 2.77 s) − 1.",
        "Verdicts: t(0.975; ν) √2 wSD, or its logarithmic form. Where the form was chosen by likelihood, the p-values "
        "of both forms are averaged with their likelihood weights.",
        "ICC(2,1): absolute agreement, two-way random (Shrout and Fleiss 1979), interval of McGraw and Wong 1996. "
        "Bland-Altman limits with exact intervals (Carkeet 2015) are in report/repeatability.csv.",
    ]
    for estimator in analysis.data.estimators():
        if estimator in known and known[estimator].references:
            notes.append(f"{estimator}: {'; '.join(known[estimator].references)}.")
    return notes
