"""A file that appears complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path

ENDING = ".part"


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Give the path to write to; the file there becomes `path` where the block ends without an exception.

        with whole_file("table.csv") as unfinished:
            unfinished.write_text("D,f\\n")

    On any exception, a full disk and an interrupt included, what was written is removed and a file that was there
    before stays as it was. What a killed process left of the same file is removed, too. A device or pipe is written to
    directly. Raises OSError where the file cannot be put in its place.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    # Hidden, so that nobody who lists the folder meanwhile takes half a file for a result.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{ENDING}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        sweep(path.parent, glob.escape(path.name))


def sweep(folder: Path, names: str) -> None:
    """Remove the unfinished files of a folder whose names match a pattern of `fnmatch`."""
    for left in folder.glob(f".{names}.*{ENDING}"):
        with contextlib.suppress(OSError):
            left.unlink()
