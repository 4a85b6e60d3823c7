"""The shell for many patients: `ivim cohort | report | follow-up | protocol-sheet | synthetic-cohort`.

It parses, calls and prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .cli_values import seed
from .errors import InputError
from .wholefile import whole_file


def add_commands(commands: Any, add_estimators: Any) -> None:
    """Add the commands to the parser; `add_estimators` adds the options of the estimators."""
    cohort = commands.add_parser("cohort", help="every series of a manifest or BIDS data set, each once")
    cohort.add_argument("manifest", metavar="MANIFEST.csv|BIDS",
                        help="columns subject, session, series [, group, bval, rois, mask], or a BIDS data set")
    cohort.add_argument("--out", required=True, metavar="DIR", help="folder for the results; run again to go on")
    add_estimators(cohort)
    cohort.add_argument("--mask", default="auto", metavar="auto|none", help="region that is fitted (default auto)")
    cohort.add_argument("--bmin", type=float, default=0.0, metavar="B", help="use b-values from here [s/mm²]")
    cohort.add_argument("--bmax", type=float, default=None, metavar="B", help="use b-values up to here [s/mm²]")
    cohort.add_argument("--average", default="none", choices=("none", "geometric", "arithmetic"),
                        help="average images of equal b")
    cohort.add_argument("--format", default="nii.gz", choices=("nii.gz", "nrrd"), help="file format of the maps")
    cohort.add_argument("--dicom", nargs="+", default=None, choices=("maps", "images", "report"),
                        help="write DICOM objects beside the maps of each series that was DICOM")
    cohort.add_argument("--workers", type=int, default=None, metavar="N",
                        help="worker processes (default one a core); 0 works in this process")
    cohort.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask scheduler, such as tcp://host:8786")
    cohort.add_argument("--memory", default="auto", metavar="SIZE", help="memory of a worker, such as 4GB")
    cohort.add_argument("--shared-prior", action="store_true", help="learn one prior from the whole cohort first")
    cohort.add_argument("--threads", type=int, default=None, metavar="N", help="cores a series may use")
    cohort.add_argument("--json", action="store_true", help="print events and result as JSON lines")

    about = cohort.add_argument_group("with --report, as for 'ivim report'")
    about.add_argument("--report", action="store_true", help="make the report when the last series is done")
    _add_report_options(about)

    report = commands.add_parser("report", help="test-retest report of a cohort: page, PDF, CSV, reference cohort")
    report.add_argument("folder", metavar="DIR", help="folder of ivim cohort")
    _add_report_options(report)
    report.add_argument("--dicom", action="store_true",
                        help="file the PDF with every study that ivim cohort --dicom wrote")
    report.add_argument("--json", action="store_true", help="print what was written as JSON")

    follow = commands.add_parser("follow-up", help="one patient now and before, in words")
    follow.add_argument("before", metavar="BEFORE",
                        help="result folder of one estimator, or its *_stats.tsv in BIDS derivatives")
    follow.add_argument("after", metavar="AFTER", help="the same of the later date")
    follow.add_argument("--reference", metavar="FILE", help="reference cohort whose limits decide")
    follow.add_argument("--region", action="append", default=[], metavar="LESION=REGION",
                        help="judge a lesion by a region of the reference cohort of another name")
    follow.add_argument("--maps", nargs="+", default=(), metavar="MAP", help="maps to compare")
    follow.add_argument("--holm", action="store_true", help="correct for the number of comparisons")
    follow.add_argument("--few", action="store_true", help="verdicts from fewer than 10 reference subjects too")

    sheet = commands.add_parser("protocol-sheet", help="how to make a local test-retest study with your b-values")
    sheet.add_argument("--bvalues", type=float, nargs="+", required=True, metavar="B", help="one per image [s/mm²]")
    sheet.add_argument("--organ", default="abdomen", help="organ whose typical tissue is used (default abdomen)")
    sheet.add_argument("--snr", type=float, default=20.0, help="signal-to-noise ratio at b = 0 (default 20)")
    sheet.add_argument("--subjects", type=int, default=20, help="subjects you can scan twice (default 20)")
    sheet.add_argument("--out", metavar="FILE", help="write the sheet (.html or .txt) instead of printing it")

    made = commands.add_parser("synthetic-cohort", help="a test-retest study with known truth, to try things out on")
    made.add_argument("--out", required=True, metavar="DIR", help="folder for series, manifest.csv and truth.csv")
    made.add_argument("--reference", type=int, default=14, metavar="N", help="subjects scanned twice (default 14)")
    made.add_argument("--treated", type=int, default=9, metavar="N", help="treated patients (default 9)")
    made.add_argument("--responders", type=int, default=6, metavar="N", help="of whom so many change (default 6)")
    made.add_argument("--snr", type=float, default=12.0, help="signal-to-noise ratio of the liver (default 12)")
    made.add_argument("--seed", type=seed, default=1, help="seed of everything that is drawn (default 1)")


def _add_report_options(command: Any) -> None:
    command.add_argument("--maps", nargs="+", default=(), metavar="MAP", help="maps to show (default D f)")
    command.add_argument("--statistic", default="median", choices=("median", "mean"), help="of each region")
    command.add_argument("--spread", default="auto", choices=("auto", "constant", "proportional"),
                        help="how the spread depends on the value (default auto, by likelihood)")
    command.add_argument("--claims", metavar="FILE", help="claims to hold the cohort against (JSON)")
    command.add_argument("--reference-group", nargs="+", default=(), metavar="NAME", help="groups taken as unchanged")
    command.add_argument("--holm", action="store_true", help="correct verdicts for the comparisons within a patient")
    command.add_argument("--few", action="store_true", help="verdicts from fewer than 10 reference subjects too")
    command.add_argument("--pool", action="store_true", help="keep sessions of other b-values, options or prior")
    command.add_argument("--identifiers", action="store_true", help="names of the manifest instead of P01, P02 ...")
    command.add_argument("--name", default="Test-retest study", help="title of the report and name of the cohort file")
    for key, words in (("scanner", "scanner and field strength"), ("reader", "who drew the regions"),
                       ("interval", "time between the scans")):  # fmt: skip
        command.add_argument(f"--{key}", default="", metavar="TEXT", help=f"{words}, a condition of the claim")
    command.add_argument("--no-pdf", action="store_true", help="write the page only")


def cohort(options: argparse.Namespace, requests: tuple[Any, ...], screen: Any) -> None:
    """Run a cohort; a series that failed is listed and makes no fault of the others."""
    from .jobs.cohort import open_cohort, run_cohort
    from .jobs.cohortscan import Settings
    from .reports.cohortrows import COLUMNS, describe_outcome, write_companions
    from .reports.dicomexport import DicomCompanion
    from .reports.roistatistics import write_csv

    if options.mask not in ("auto", "none"):
        raise InputError("--mask of a cohort is auto or none; give a mask of each series in the manifest.")
    for name in ("workers", "threads"):
        value = getattr(options, name)
        if value is not None and value < (0 if name == "workers" else 1):
            raise InputError(f"--{name} is {value}; give a positive number.")
    if options.report:
        report_choices(options)  # what is wrong there is said before hours of fitting
    manifest = open_cohort(options.manifest)
    companions = (write_companions, *((DicomCompanion(tuple(options.dicom)),) if options.dicom else ()))
    settings = Settings(
        options.out, requests, options.mask, options.average, options.bmin, options.bmax, options.format,
        threads=options.threads,
    )
    summary = run_cohort(
        manifest, settings, screen.show, companions, describe_outcome, write_csv, COLUMNS,
        workers=options.workers, scheduler=options.scheduler, memory=options.memory, shared_prior=options.shared_prior,
    )
    if not options.json:
        failed = f", {len(summary.failures)} failed (failures.csv)" if summary.failures else ""
        then = "" if options.report else f"; next: ivim report {options.out}"
        print(f"{summary.done} series fitted, {summary.kept} up to date{failed}{then}", file=sys.stderr)
    if summary.failures and not summary.records:
        raise InputError(f"No series could be done; the first reason: {summary.failures[0][1]}")
    if options.report:
        options.folder = options.out
        report(options)


def report_choices(options: argparse.Namespace) -> tuple[Any, list[Any]]:
    """Return the options of a report and the claims; raises InputError for a claim file or a map that is none."""
    from .reports.cohortanalysis import Options, check_options
    from .reports.conformance import load_claims

    if options.command == "report" and options.dicom and options.identifiers:
        raise InputError("A report that names its subjects is not filed with other patients; leave out --identifiers.")
    if options.command == "report" and options.dicom and options.no_pdf:
        raise InputError("--dicom files the PDF, which --no-pdf leaves out; choose one of them.")
    chosen = Options(
        tuple(options.maps), options.statistic, options.spread, options.holm, options.few,
        conditions={"scanner": options.scanner, "reader": options.reader, "interval": options.interval},
        name=options.name,
    )
    check_options(chosen)
    return chosen, load_claims(options.claims) if options.claims else []


def report(options: argparse.Namespace) -> None:
    """Write the report of a cohort and print its claims."""
    from .reports.report import write_report
    from .reports.reporttables import claim_sentences

    chosen, claims = report_choices(options)
    found = write_report(
        options.folder, chosen, claims, tuple(options.reference_group), options.pool, options.identifiers,
        not options.no_pdf,
    )
    written = [path for path in (found.html, found.pdf, *found.references) if path]
    # A cohort that was asked for DICOM gets its report there, too, unless it names its subjects.
    if options.dicom and not options.no_pdf and not options.identifiers:
        from .reports.dicomcohort import file_report

        if found.pdf is None:
            raise InputError(f"The report was written, but not filed. {found.remark}")
        written += file_report(options.folder, found.pdf)
    if options.json:
        about = {"written": [str(path) for path in written], "claims": claim_sentences(found.analysis),
                 "left_out": found.analysis.left_out, "warnings": found.analysis.warnings}  # fmt: skip
        if options.command == "cohort":  # one line, as the events before it
            print(json.dumps({"event": "report", **about}, ensure_ascii=False))
        else:
            print(json.dumps(about, indent=2, ensure_ascii=False))
        return
    for text in claim_sentences(found.analysis):
        print(text)
    for text in (*found.analysis.warnings, *((found.remark,) if found.remark and not options.no_pdf else ())):
        print(f"note: {text}", file=sys.stderr)
    print(f"Written: {', '.join(str(path) for path in written)}", file=sys.stderr)


def follow_up(options: argparse.Namespace) -> None:
    """Print what can be said of one patient now and before."""
    from .reports import followup
    from .reports.referencecohort import load_reference

    pairs = dict(text.partition("=")[::2] for text in options.region)
    if not all(pairs.values()):
        raise InputError("--region is of the form LESION=REGION; write for example --region 'lesion 2=liver'.")
    unknown = [key for key in options.maps if key not in followup.KEYS]
    if unknown:
        raise InputError(f"Unknown map '{unknown[0]}'; choose among {', '.join(followup.KEYS)}.")
    reference = load_reference(options.reference) if options.reference else None
    before, after = followup.read_session(options.before), followup.read_session(options.after)
    print(followup.follow_up(before, after, reference, options.maps, pairs, options.holm, options.few).text())


def protocol_sheet(options: argparse.Namespace) -> None:
    """Print or write the sheet of a local test-retest study."""
    from .reports.protocolsheet import sheet, to_html, to_text

    made = sheet(options.bvalues, options.organ, options.snr, options.subjects)
    if not options.out:
        print(to_text(made))
        return
    path = Path(options.out)
    try:
        with whole_file(path) as unfinished:
            as_html = path.suffix.lower() in (".html", ".htm")
            unfinished.write_text(to_html(made) if as_html else to_text(made) + "\n", "utf-8")
    except OSError as fault:
        raise InputError(f"{path} cannot be written ({(fault.strerror or '').lower()}); choose another file.") from None
    print(f"Written: {path}", file=sys.stderr)


def synthetic_cohort(options: argparse.Namespace) -> None:
    """Write a cohort whose truth is known."""
    from .evaluation.syntheticcohort import generate

    made = generate(options.out, options.reference, options.treated, options.responders, options.snr, seed=options.seed)
    print(f"Written to {options.out}: {2 * (options.reference + options.treated)} series, manifest.csv, truth.csv; "
          f"next: ivim cohort {made.manifest} --out STUDY --report", file=sys.stderr)  # fmt: skip
