"""The shell towards archives: `ivim export-dicom | import-dicom`. It parses, calls and prints."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    export = commands.add_parser("export-dicom", help="maps, pictures and statistics as DICOM for an archive")
    export.add_argument("folder", metavar="RESULT", help="folder that ivim map wrote")
    export.add_argument("--source", required=True, metavar="DICOMDIR", help="the DICOM series that was mapped")
    export.add_argument("--out", required=True, metavar="DIR", help="folder; a folder of the study is made inside")
    export.add_argument("--forms", nargs="+", default=None, choices=("maps", "images", "capture", "report"),
                        help="parametric maps, plain MR images, colour picture and PDF, structured report (all)")
    export.add_argument("--maps", nargs="+", default=None, metavar="MAP", help="maps to write (default all)")
    export.add_argument("--rois", metavar="FILE", help="regions of the structured report: labels or .seg.nrrd")
    export.add_argument("--pdf", metavar="FILE", help="a report to write as encapsulated PDF")
    export.add_argument("--series", metavar="NUMBER|TEXT", help="which series of the source, if several fit")
    export.add_argument("--patient-id", metavar="TEXT", help="where the source has none, or another one")
    export.add_argument("--patient-name", metavar="TEXT", help="where the source has none, or another one")
    export.add_argument("--time-point", default="1", metavar="TEXT", help="time point of the report (default 1)")
    export.add_argument("--json", action="store_true", help="print what was written as JSON")

    back = commands.add_parser("import-dicom", help="maps, regions and numbers out of DICOM objects")
    back.add_argument("folder", metavar="DICOMDIR", help="our objects, parametric maps of others, ADC of a scanner")
    back.add_argument("--out", required=True, metavar="DIR", help="folder for the maps (NIfTI) and tables")
    back.add_argument("--result", metavar="RESULT", help="folder of ivim map: compare a scanner's ADC with it")
    back.add_argument("--rois", metavar="FILE", help="regions of the comparison (default: the whole region)")
    back.add_argument("--json", action="store_true", help="print what was written as JSON")


def export_dicom(options: argparse.Namespace) -> None:
    """Write a result folder as DICOM."""
    from .reports.dicomexport import FORMS, export_dicom

    done = export_dicom(
        options.folder, options.source, options.out, options.forms or FORMS, options.maps, options.rois, options.pdf,
        options.series, options.patient_id, options.patient_name, options.time_point,
    )
    if options.json:
        about = {"folder": str(done.folder), "files": [path.as_posix() for path in done.files], "notes": done.notes}
        print(json.dumps(about, indent=2, ensure_ascii=False))
        return
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"Written to {done.folder}: {len(done.files)} DICOM files", file=sys.stderr)


def import_dicom(options: argparse.Namespace) -> None:
    """Write what DICOM objects hold as maps and tables."""
    from .reports.dicomfiles import write_imported

    files, notes = write_imported(options.folder, options.out, options.result, options.rois)
    if options.json:
        print(json.dumps({"folder": options.out, "files": files, "notes": notes}, indent=2, ensure_ascii=False))
        return
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"Written to {options.out}: {', '.join(files)}", file=sys.stderr)
