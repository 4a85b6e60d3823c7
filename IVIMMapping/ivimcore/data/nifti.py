"""NIfTI series: one 4D file with a .bval beside it, or several 3D files with a b-value each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from .geometry_io import existing_file, file_stem
from .nifti_file import read_nifti_file, read_volumes
from .series import DwiSeries, Geometry

Array = np.ndarray
LARGEST_TEXT = 4 * 1024 * 1024


def read_numbers(path: Path) -> list[list[float]]:
    """Read a text table of numbers separated by blanks, tabs, commas or semicolons.

    Returns one list per line that is not empty. Refuses letters, NaN, infinity, binary files and files above 4 MiB.
    """
    path = existing_file(path)
    if path.stat().st_size > LARGEST_TEXT:
        raise InputError(f"{path.name} is too large for a list of b-values; give the .bval file of the series.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (UnicodeDecodeError, OSError):
        raise InputError(f"{path.name} is not a readable text file; give the .bval file of the series.") from None
    rows = []
    for line in text.splitlines():
        words = [word for word in re.split(r"[\s,;]+", line) if word]
        row = []
        for word in words:
            try:
                value = float(word)
            except ValueError:
                value = np.nan
            if not np.isfinite(value):
                shown = re.sub(r"[^\x20-\x7e]", "?", word[:20])
                raise InputError(f"{path.name} contains '{shown}', not a number; write numbers in s/mm² only.")
            row.append(value)
        if row:
            rows.append(row)
    return rows


def read_bval(path: Path | str) -> Array:
    """Read the b-values of a .bval file, written as a row or a column.

    Returns (n,) [s/mm²] in the order of the file. Refuses letters, NaN, an empty file, and a table of three rows
    (which is a .bvec file).
    """
    path = Path(path)
    rows = read_numbers(path)
    if len(rows) == 3 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
        raise InputError(f"{path.name} has three rows of {len(rows[0])} numbers, like a .bvec; give the .bval file.")
    values = [value for row in rows for value in row]
    if not values:
        raise InputError(f"{path.name} contains no b-values; write one b-value in s/mm² for each image.")
    return np.array(values)


def read_bvec(path: Path, affine: Array) -> Array:
    """Read the directions of a .bvec file of the FSL convention, three rows or three columns.

    Arguments: `affine` (4, 4) voxel index to RAS [mm] of the image.
    Returns unit vectors in RAS (n, 3), zero where there is none. Refuses a table of another shape.
    Reference: FSL stores directions along the voxel axes, with x reversed where the affine has a positive determinant.
    """
    rows = read_numbers(path)
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 3 not in (len(rows), *lengths):
        raise InputError(f"{path.name} is not a table of three rows; correct or remove it.")
    table = np.array(rows)
    directions = table.T if table.shape[0] == 3 else table
    matrix = np.asarray(affine)[:3, :3]
    if np.linalg.det(matrix) > 0:
        directions = directions * [-1.0, 1.0, 1.0]
    return unit_vectors(directions @ (matrix / np.linalg.norm(matrix, axis=0)).T)


def unit_vectors(vectors: Array) -> Array:
    """Scale vectors (n, 3) to length one; vectors of no length stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors, dtype=float), where=length > 1e-6)


def bval_beside(path: Path, suffix: str = ".bval") -> Path:
    """Return the path of the .bval (or other) file that belongs to an image by its name, existing or not."""
    name = path.with_name(file_stem(path) + suffix)
    if not name.exists() and name.with_suffix(suffix.upper()).exists():
        return name.with_suffix(suffix.upper())
    return name


def given_bvalues(
    count: int, what: str, bval: Path | str | None, bvalues: Sequence[float] | None
) -> tuple[Array, str] | None:
    """Return the b-values that the user gave, with their source, or None where none were given.

    Arguments: `count` images of the series; `what` names it; `bval` file; `bvalues` list [s/mm²].
    Refuses both at once and a wrong number of them.
    """
    if bval is not None and bvalues is not None:
        raise InputError("The b-values were given twice, as a list and as a file; give one of them.")
    if bvalues is not None:
        try:
            values = np.array(bvalues, dtype=float, ndmin=1)
        except (TypeError, ValueError):
            raise InputError("The given b-values are not all numbers; give one number in s/mm² per image.") from None
        source = "list given by the user"
        shown = "The given list"
    elif bval is not None:
        values = read_bval(bval)
        source = f"{Path(bval).name}, given by the user"
        shown = Path(bval).name
    else:
        return None
    check_count(values, count, shown, what)
    return values, source


def check_count(values: Array, count: int, source: str, what: str) -> None:
    """Refuse a number of b-values that differs from the number of images, saying both numbers."""
    if values.size != count:
        raise InputError(
            f"{source} has {values.size} b-values but {what} has {count} images; give exactly one b-value per image."
        )


def read_nifti(
    path: Path | str, bval: Path | str | None = None, bvalues: Sequence[float] | None = None
) -> DwiSeries:
    """Read a 4D NIfTI file (.nii, .nii.gz) with its b-values, and its directions where a .bvec lies beside it.

    Arguments: `bval` a b-value file to use instead of the one beside the image; `bvalues` (n,) [s/mm²] to use
    instead of any file. Returns the series, in the dtype of the file (float where the file has a scale factor).
    Refuses a missing or wrong b-value file, a wrong count, a 3D image, and a file shorter than its header says.
    """
    path = existing_file(path)
    signal, geometry = read_nifti_file(path)
    return series_with_bval(path, signal, geometry, "NIfTI", bval, bvalues)


def series_with_bval(
    path: Path, signal: Array, geometry: Geometry, file_format: str, bval: Path | str | None,
    bvalues: Sequence[float] | None,
) -> DwiSeries:
    """Complete the signal (x, y, z, n) of an image file with given b-values or with the .bval file beside it."""
    count = signal.shape[3]
    if count == 1:
        raise InputError(
            f"{path.name} holds a single 3D image, but a series has one image per b-value; "
            "give a 4D file, or all 3D files together with a b-value each."
        )
    decisions = []
    beside = bval_beside(path)
    given = given_bvalues(count, path.name, bval, bvalues)
    if given is not None:
        values, source = given
        if beside.exists() and (bval is None or Path(bval).resolve() != beside.resolve()):
            decisions.append(f"The b-values given by the user are used instead of those of {beside.name}.")
    elif beside.exists():
        values, source = read_bval(beside), beside.name
        check_count(values, count, beside.name, path.name)
    else:
        raise InputError(
            f"There is no b-value file {beside.name} beside {path.name}; "
            "put it there, or give the b-values with --bval FILE."
        )
    directions = None
    bvec = bval_beside(path, ".bvec")
    if bvec.exists():
        try:
            directions = read_bvec(bvec, geometry.affine)
            if directions.shape[0] != count:
                raise InputError(f"{bvec.name} has {directions.shape[0]} directions for {count} images.")
        except InputError as problem:
            directions = None
            decisions.append(f"The directions are not used: {problem}")
    acquisition = Acquisition(values, directions)
    return DwiSeries(signal, geometry, acquisition, source, file_format, tuple(decisions))


def read_files(
    paths: Sequence[Path | str], bvalues: Sequence[float] | None = None, bval: Path | str | None = None
) -> DwiSeries:
    """Read several 3D files of one grid, one b-value each, in the given order.

    Arguments: `paths` n image files; `bvalues` (n,) [s/mm²] or `bval`, a file with n b-values; where neither is
    given, each file needs its own .bval beside it. Refuses grids that differ, 4D files, and a file given twice.
    """
    paths = [existing_file(path) for path in paths]
    if len({path.resolve() for path in paths}) != len(paths):
        raise InputError("One of the files is given twice; give each file once.")
    given = given_bvalues(len(paths), "the input", bval, bvalues)
    if given is None:
        values, source = np.array([_single_bvalue(path) for path in paths]), "the .bval file beside each image"
    else:
        values, source = given
    volumes, grid = [], None
    for path in paths:
        volume, geometry = read_volumes(path)
        if volume.shape[3] != 1:
            raise InputError(
                f"{path.name} holds {volume.shape[3]} images; give either one 4D file or several 3D files."
            )
        if grid is None:
            grid = geometry
        elif not grid.matches(geometry):
            raise InputError(
                f"{path.name} lies on another grid ({geometry.describe()}) than {paths[0].name} ({grid.describe()}); "
                "give images of one series, or resample them."
            )
        volumes.append(volume[..., 0].T)
    signal = np.stack(volumes).transpose(3, 2, 1, 0)
    decision = f"{len(paths)} 3D files are read as one series, in the order given."
    return DwiSeries(signal, grid, Acquisition(values), source, "several 3D files", (decision,))


def _single_bvalue(path: Path) -> float:
    beside = bval_beside(path)
    if not beside.exists():
        raise InputError(
            f"There is no b-value file {beside.name} beside {path.name}; "
            "put it there, or give one b-value per file with --bval FILE."
        )
    values = read_bval(beside)
    check_count(values, 1, beside.name, path.name)
    return float(values[0])
