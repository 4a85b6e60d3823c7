"""The list of a cohort: who was scanned when, in which group, and where the files are.

A manifest is a CSV file (comma, semicolon or tab; UTF-8) with the columns

    subject, session, series            needed
    group, bval, rois, mask             may be there, and may be empty

Paths are relative to the manifest; several 3D files of one series are joined with '|'. The order of the rows is the
order of the sessions of a subject. `series` may be anything `ivim map` reads.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ..data.reading import side_files
from ..errors import InputError

NEEDED = ("subject", "session", "series")
KNOWN = (*NEEDED, "group", "bval", "rois", "mask")
LONGEST = 4096
"""Characters of a cell, a path included."""
REFERENCE_GROUPS = ("", "reference", "test-retest", "retest", "untreated", "control", "controls", "baseline")
"""Names of the group whose subjects are taken as unchanged between sessions."""


@dataclass(frozen=True)
class Scan:
    """One series of one subject in one session.

    `subject`, `session`, `group` as written in the manifest, of any characters; `key` a safe and unique name for files;
    `series` paths; `bval`, `rois`, `mask` paths or None; `entities` of a BIDS file, empty otherwise; `names` of label
    numbers where a table beside the labels gives them.
    """

    subject: str
    session: str
    group: str
    key: str
    series: tuple[str, ...]
    bval: str | None = None
    rois: str | None = None
    mask: str | None = None
    entities: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Every path that the scan names, and those that are read beside them: a .bval without a column of its own."""
        named = (*self.series, *(path for path in (self.bval, self.rois, self.mask) if path))
        beside = (str(file) for path in (*self.series, self.rois, self.mask) if path for file in side_files(path))
        return tuple(dict.fromkeys((*named, *beside)))

    @property
    def label(self) -> str:
        """Subject and session for a sentence."""
        return f"{self.subject}, session {self.session}"


@dataclass(frozen=True)
class Manifest:
    """The scans of a cohort in order, with what should be known about the list; `bids` where it is a BIDS data set."""

    path: str
    scans: tuple[Scan, ...]
    warnings: tuple[str, ...] = ()
    bids: bool = False


def safe_name(name: str) -> str:
    """Turn any name into one that is harmless on every file system; where that changed it, a checksum keeps it apart.

    Case alone does not keep names apart on every system, so a name with capitals gets the checksum too.
    """
    plain = re.sub(r"[^a-z0-9-]+", "-", name.casefold()).strip("-")[:40]
    if plain and plain == name and plain not in ("con", "prn", "aux", "nul"):
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def scan_key(subject: str, session: str) -> str:
    """Return the relative folder of a scan: '<subject>/<session>', both safe."""
    return f"{safe_name(subject)}/{safe_name(session)}"


def read_manifest(path: Path | str) -> Manifest:
    """Read a manifest.

    Raises InputError with one sentence for a file that is none: unreadable, without the needed columns, empty, with a
    subject and session that occur twice, with a row that lacks something. A file that does not exist is no reason to
    refuse the others: it becomes a failure of its own row, unless no file exists at all.
    """
    path = Path(path)
    rows = _rows(path)
    here = path.resolve().parent
    scans, lines = [], defaultdict(list)
    for number, row in rows:
        for column in NEEDED:
            if not row[column]:
                raise InputError(f"Line {number} of {path.name} has no {column}; fill it in or remove the line.")
        lines[row["subject"], row["session"]].append(number)
        scans.append(Scan(
            row["subject"], row["session"], row.get("group", ""), scan_key(row["subject"], row["session"]),
            tuple(_resolve(here, part) for part in row["series"].split("|")),
            **{name: _resolve(here, row[name]) for name in ("bval", "rois", "mask") if row.get(name)},
        ))  # fmt: skip
    twice = {pair: found for pair, found in lines.items() if len(found) > 1}
    if twice:
        (subject, session), found = next(iter(twice.items()))
        raise InputError(
            f"{path.name} lists subject '{subject}', session '{session}' {len(found)} times (lines "
            f"{', '.join(map(str, found))}); give each series a session of its own."
        )
    groups = defaultdict(set)
    for scan in scans:
        groups[scan.subject].add(scan.group)
    for subject, names in groups.items():
        if len(names) > 1:
            listed = ", ".join(sorted(f"'{name}'" for name in names))
            raise InputError(f"Subject '{subject}' is in several groups ({listed}); give all its lines the same group.")
    if not any(Path(scan.series[0]).exists() for scan in scans):
        raise InputError(
            f"None of the series of {path.name} exists, the first is {scans[0].series[0]}; "
            "paths are relative to the manifest."
        )
    return Manifest(str(path), tuple(scans), tuple(remarks(scans)))


def remarks(scans: list[Scan] | tuple[Scan, ...]) -> list[str]:
    """Say what a list of scans cannot give: subjects with one session, a cohort of one."""
    sessions = Counter(scan.subject for scan in scans)
    single = [subject for subject, count in sessions.items() if count == 1]
    found = []
    if len(single) == len(sessions):
        found.append("Every subject has one session only: maps are made, but repeatability cannot be measured.")
    elif single:
        found.append(
            f"{len(single)} of {len(sessions)} subjects have one session only; they are mapped, and left out of the "
            "repeatability."
        )
    if len(sessions) == 1:
        found.append("There is a single subject: its spread says nothing about others.")
    return found


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line number and cells by lower-case column name of every row that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is not UTF-8 text; save it as 'CSV UTF-8'.") from None
    except OSError as fault:
        reason = (fault.strerror or "unknown reason").lower()
        raise InputError(f"The manifest {path} cannot be read ({reason}); check the path.") from None
    if "\0" in text:
        raise InputError(f"{path.name} is no text file; give a CSV file.")
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(1 << 20)
    try:
        table = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as fault:
        raise InputError(f"{path.name} is not a well-formed CSV file ({fault}); save it again.") from None
    filled = [(number, row) for number, row in enumerate(table, start=1) if any(cell.strip() for cell in row)]
    if not filled:
        raise InputError(f"{path.name} is empty; give a header and one line for each series.")
    header = [cell.strip().casefold() for cell in filled[0][1]]
    missing = [column for column in NEEDED if column not in header]
    if missing:
        raise InputError(
            f"{path.name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"the first line must name {', '.join(NEEDED)} and may name group, bval, rois, mask."
        )
    doubled = sorted({name for name in header if name in KNOWN and header.count(name) > 1})
    if doubled:
        raise InputError(f"{path.name} has the column {doubled[0]} twice; remove one.")
    if len(filled) == 1:
        raise InputError(f"{path.name} has a header and no line below it; add one line for each series.")
    rows = []
    for number, row in filled[1:]:
        if len(row) > len(header):
            raise InputError(
                f"Line {number} of {path.name} has {len(row)} cells for {len(header)} columns; "
                "put text with a separator into quotation marks."
            )
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        for name in KNOWN:
            if len(cells.get(name, "")) > LONGEST or any(ord(c) < 32 for c in cells.get(name, "")):
                raise InputError(f"Line {number} of {path.name} has an unusable {name}; write it in one short line.")
        rows.append((number, {name: cells.get(name, "") for name in header if name in KNOWN}))
    return rows


def _resolve(folder: Path, text: str) -> str:
    path = Path(text.strip()).expanduser()
    return str(path if path.is_absolute() else folder / path)
