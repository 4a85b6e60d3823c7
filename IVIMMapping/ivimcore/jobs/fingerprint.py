"""What a result depends on, as one checksum: input files, estimators with options, their files and models, version.

A second run of a cohort does a series again only where its fingerprint has changed. Files whose size and time of change
are those noted before are not read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..estimators import describe
from .job import Request

Notes = dict[str, dict[str, Any]]
BLOCK = 1 << 20


def checksums(paths: Iterable[str], known: Mapping[str, Mapping[str, Any]] | None = None) -> Notes:
    """Return size, time of change [ns] and SHA-256 of files, those of a folder file by file.

    Arguments: `paths` of files and folders; `known` what was noted before, path -> size, mtime_ns, sha256.
    A path that does not exist gets the checksum 'missing'.
    """
    notes: Notes = {}
    for name in paths:
        path = Path(name)
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            notes[str(file)] = _note(file, (known or {}).get(str(file)))
    return notes


def _note(path: Path, before: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        about = path.stat()
        seen = {"size": about.st_size, "mtime_ns": about.st_mtime_ns}
        if before and all(before.get(key) == value for key, value in seen.items()):
            return dict(before)
        digest = hashlib.sha256()
        with open(path, "rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    except OSError:
        return {"size": None, "mtime_ns": None, "sha256": "missing"}
    return {**seen, "sha256": digest.hexdigest()}


def fingerprint(
    notes: Mapping[str, Mapping[str, Any]], requests: Iterable[Request], settings: Mapping[str, Any]
) -> str:
    """Return the checksum of everything that a result depends on; names of files play no part.

    Arguments: `notes` of the input files in order; `requests` estimators with options, of which files are read;
    `settings` further choices that JSON can hold.
    """
    estimators = []
    for request in requests:
        about = describe(request.name)
        files = {option.name for option in about.options if option.kind == "file"}
        options = {
            key: next(iter(checksums([str(value)]).values()))["sha256"] if key in files and value else value
            for key, value in request.options.items()
        }
        # A network of the same name may have been trained anew.
        weights = (about.card or {}).get("weights", {}).get("sha256")
        estimators.append([request.name, options, weights])
    content = [[note["sha256"] for note in notes.values()], estimators, dict(settings), __version__]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
