"""One session of BIDS derivatives as the folder of results that it was made from."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..data.nifti_file import read_volumes
from ..data.output import REGIONS, write_labels
from ..errors import InputError
from .bids import PARAMS, convert_table, names_beside

_MAP = re.compile(
    r"(?P<scan>.+)_model-[A-Za-z0-9]+_param-(?P<param>[A-Za-z0-9]+)_desc-(?P<desc>[A-Za-z0-9]+)_dwimap\.nii\.gz"
)
_STATISTICS = re.compile(r"(?P<scan>.+)_model-[A-Za-z0-9]+_desc-(?P<desc>[A-Za-z0-9]+)_stats\.tsv")
_KEYS = {label: key for key, label in PARAMS.items()} | {f"{label}std": f"{key}_sd" for key, label in PARAMS.items()}


@contextlib.contextmanager
def result_folder(folder: Path | str, images: bool = True) -> Iterator[Path]:
    """Give a folder of results as it is, or a session of BIDS derivatives under the names of `ivim map`.

    The names of the second are those of a temporary copy. A session is its folder `dwi`, the one above it, or the table
    of one estimator in it (`*_stats.tsv`). Without `images` only provenance and statistics are copied.
    Raises InputError for derivatives of several series, or without the files in `extra` that belong to the maps.
    """
    folder = Path(folder)
    table = _STATISTICS.fullmatch(folder.name) if folder.is_file() else None
    place = folder.parent if table is not None else _place(folder)
    if place is None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="ivim-bids-") as temporary:
        try:
            _copy(place, Path(temporary), table, images)
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as fault:
            raise InputError(f"The derivatives in {place} cannot be read ({fault}); make them again.") from None
        yield Path(temporary)


def tables_of(folder: Path) -> list[str]:
    """Return the names of the tables of statistics, one for each estimator, in a session of BIDS derivatives."""
    place = _place(folder)
    return [] if place is None else [path.name for path, _ in _found(place, _STATISTICS)]


def _place(folder: Path) -> Path | None:
    """Return the folder with the maps of a session, None for a folder that is no BIDS derivative."""
    try:
        return next((place for place in (folder, folder / "dwi") if any(_found(place, _MAP))), None)
    except OSError:
        return None  # whoever reads it next says so


def _found(place: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match is not None:
            yield path, match


def _copy(place: Path, target: Path, table: re.Match[str] | None, images: bool) -> None:
    def chosen(match: re.Match[str]) -> bool:
        return table is None or (match["scan"], match["desc"]) == (table["scan"], table["desc"])

    maps = [(path, match) for path, match in _found(place, _MAP) if chosen(match)]
    tables = [(path, match) for path, match in _found(place, _STATISTICS) if chosen(match)]
    if not maps:
        raise InputError(f"{place} lacks the maps of {table.string if table else 'its table'}; copy them there.")
    scans = sorted({match["scan"] for _, match in maps})
    if len(scans) > 1:
        raise InputError(f"{place} holds results of several series ({', '.join(scans)}); put each in a folder.")
    names = sorted({match["desc"] for _, match in maps})
    homes = {name: target / name if len(names) > 1 else target for name in names}
    for name, home in homes.items():
        home.mkdir(exist_ok=True)
        start = f"{scans[0]}_{name}_"
        beside = [path for path in sorted((place / "extra").glob("*")) if path.name.startswith(start)]
        if not any(path.name == f"{start}provenance.json" for path in beside):
            raise InputError(f"{place} lacks extra/{start}provenance.json, which belongs to its maps; copy it there.")
        for path in beside:
            if images or path.suffix == ".json":
                shutil.copyfile(path, home / path.name.removeprefix(start))
    for path, match in tables:
        if match["desc"] in homes:
            convert_table(path, homes[match["desc"]] / "roi_statistics.csv", "\t", ",")
    if not images:
        return
    for path, match in maps:
        if match["param"] in _KEYS:
            shutil.copyfile(path, homes[match["desc"]] / f"{_KEYS[match['param']]}.nii.gz")
    _regions(place, scans[0], target / REGIONS)


def _regions(place: Path, scan: str, target: Path) -> None:
    """Write the regions that were measured as a segmentation: one image of labels, or masks that overlap."""
    labels = place / f"{scan}_desc-regions_dseg.nii.gz"
    if labels.is_file():
        values, geometry = read_volumes(labels)
        write_labels(np.rint(values[..., 0]).astype(np.uint16), names_beside(labels), geometry, target)
        return
    ordered = []
    for path in place.glob(f"{scan}_desc-*_mask.nii.gz"):
        about = json.loads(path.with_name(path.name.removesuffix(".nii.gz") + ".json").read_text(encoding="utf-8"))
        ordered.append((path.name.removesuffix("_mask.nii.gz")[-3:], str(about["Description"]), path))
    masks, geometry = {}, None
    for _, name, path in sorted(ordered):
        values, geometry = read_volumes(path)
        masks[name] = values[..., 0] > 0
    if geometry is not None:
        write_labels(np.zeros(geometry.shape), {}, geometry, target, masks)
