"""Maps and their companions into an output folder, all or nothing."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from .geometry_io import image_of, simpleitk
from .raw_nrrd import NAMES, write_raw
from .series import Geometry

Array = np.ndarray
FORMATS = ("nii.gz", "nrrd")
REGIONS = "regions.seg.nrrd"
"""File of the regions that were measured, with their names, in an output folder: a follow-up takes them from there."""
NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Maps(Protocol):
    """What is needed of the result of a fit: its float maps by the name of their file, and the status (x, y, z)."""

    status: Array

    def all_maps(self) -> dict[str, Array]: ...


class OutputFolder:
    """An output folder that receives everything or nothing.

    Use as a context manager: it gives a temporary folder inside the target to write into. Where the block ends
    without an exception, every file is renamed into place and replaces one of the same name; on any exception, a
    cancellation and an interrupt included, all that was made is removed, the target too where it was created here.

        with OutputFolder("results") as folder:
            write_maps(result, geometry, folder, "nii.gz")
            write_json(result.provenance, folder / "provenance.json")

    Refuses, as InputError, a target that is a file, cannot be created or written, and a full disk.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._created: list[Path] = []
        self._work: Path | None = None

    def __enter__(self) -> Path:
        with _CHANGING:
            return self._enter()

    def _enter(self) -> Path:
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file where the output folder should be; choose another folder.")
        try:
            self._create(self.path)
            self._work = Path(tempfile.mkdtemp(prefix=".ivim-", dir=self.path))
            _OPEN.append(self)
        except OSError as error:
            self._remove()
            raise _refusal(error, self.path) from None
        except BaseException:
            self._remove()
            raise
        return self._work

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._work is not None
        with _CHANGING:
            try:
                if kind is None:
                    self._rename()
            except OSError as problem:
                raise _refusal(problem, self.path) from None
            finally:
                # After a complete rename nothing is left in the temporary folder, and the target is kept.
                self._remove()
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise _refusal(error, self.path) from None

    def _create(self, path: Path) -> None:
        """Create the folder and its missing parents one by one, so that exactly these can be removed again."""
        missing = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir()
            self._created.append(folder)

    def _rename(self) -> None:
        """Move every file into place; where one move fails, those of new names are taken back."""
        work = self._work
        assert work is not None
        placed: list[Path] = []
        sources = [path for path in sorted(work.rglob("*")) if path.is_file()]
        pairs = [(source, self.path / source.relative_to(work)) for source in sources]
        blocked = next((target for _, target in pairs if target.is_dir()), None)
        if blocked is not None:
            raise InputError(f"{blocked} is a folder where a file should be written; choose another output folder.")
        try:
            for source, target in pairs:
                self._create(target.parent)
                new = not target.exists()
                os.replace(source, target)
                if new:
                    placed.append(target)
        except BaseException:
            for target in placed:
                target.unlink(missing_ok=True)
            raise
        self._created.clear()

    def _remove(self) -> None:
        if self in _OPEN:
            _OPEN.remove(self)
        if self._work is not None:
            for _ in range(_TRIES):
                shutil.rmtree(self._work, ignore_errors=True)
                if not self._work.exists():
                    break
        for folder in reversed(self._created):
            try:
                folder.rmdir()
            except OSError:
                # Somebody else has put a file there meanwhile; it is theirs.
                break
        self._created.clear()


_OPEN: list[OutputFolder] = []
_TRIES = 20
"""Another thread may still be writing into a folder while it is removed."""
_CHANGING = threading.RLock()
"""Held while folders come, are filled or go, so that the end of the process does not come in between."""


def remove_unfinished() -> None:
    """Remove what unfinished output folders of this process have made: for an end that no exception announces.

    Waits for a folder that is about to go or to be filled; from then on no other thread can begin or fill one. Only for
    a process that ends at once.
    """
    _CHANGING.acquire()
    for folder in list(_OPEN):
        folder._remove()


def _refusal(error: OSError, path: Path) -> InputError:
    if error.errno in NO_SPACE:
        return InputError(f"There is no space left for {path}; make room or choose another folder.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return InputError(f"A part of the path {path} is a file, not a folder; choose another output folder.")
    reason = os.strerror(error.errno).lower() if error.errno else "unknown reason"
    return InputError(f"The output folder {path} cannot be written ({reason}); choose another folder.")


def write_maps(
    result: Maps, geometry: Geometry, folder: Path | str, file_format: str = "nii.gz", compress: bool = True
) -> list[Path]:
    """Write every map of a fit as an image: parameters, `rmse`, `<key>_sd` (float32) and `status` (uint8).

    Arguments: `geometry` the grid of the maps; `folder` an existing folder, usually that of an `OutputFolder`;
    `file_format` "nii.gz" or "nrrd"; `compress` False writes NRRD raw, for files that are read once and removed (NIfTI
    is compressed either way, as its ending says). Units are those of `physics.parameters`; NaN stays NaN.
    Returns the paths in the order of the maps, the status last. Refuses another format and maps of another shape.
    """
    if file_format not in FORMATS:
        raise InputError(f"Unknown file format '{file_format}'; choose one of {', '.join(FORMATS)}.")
    written = [
        write_volume(np.asarray(volume, dtype=np.float32), geometry, Path(folder) / f"{name}.{file_format}", compress)
        for name, volume in result.all_maps().items()
    ]
    status = np.asarray(result.status, dtype=np.uint8)
    written.append(write_volume(status, geometry, Path(folder) / f"status.{file_format}", compress))
    return written


def write_volume(volume: Array, geometry: Geometry, path: Path | str, compress: bool = True) -> Path:
    """Write one array (x, y, z) as an image of its own dtype; the ending of `path` is the format.

    `compress` False writes raw what the format allows. Returns the path. Raises OSError where the disk is full or the
    file cannot be written.
    """
    path = Path(path)
    if not compress and path.suffix == ".nrrd" and volume.dtype.str[1:] in NAMES:
        if volume.shape != tuple(geometry.shape):
            raise ValueError(f"array of shape {volume.shape} does not fit the grid {geometry.shape}")
        return write_raw(path, volume, geometry)
    return _write_image(image_of(volume, geometry), path, compress)


def write_images(volumes: Array, geometry: Geometry, path: Path | str, compress: bool = True) -> Path:
    """Write a series (x, y, z, n) as one 4D image of its own dtype; arguments, return and errors as `write_volume`."""
    images = [image_of(volumes[..., number], geometry) for number in range(volumes.shape[3])]
    return _write_image(simpleitk().JoinSeries(images), Path(path), compress)


def write_labels(
    labels: Array, names: Mapping[int, str], geometry: Geometry, path: Path | str,
    masks: Mapping[str, Array] | None = None,
) -> Path:
    """Write regions as a segmentation of 3D Slicer (.seg.nrrd): labels (x, y, z) with the name of each number.

    Arguments: `masks` (x, y, z) of bool by name instead of the labels, where regions overlap: each that would cover
    another one gets a further layer, as Slicer writes them.
    """
    if masks is None:
        layers = [labels.astype(np.uint8 if labels.max() < 256 else np.uint16)]
        segments = [(0, value, name) for value, name in sorted(names.items())]
    else:
        layers, segments = _layers_of(masks)
    images = [image_of(layer, geometry) for layer in layers]
    image = images[0] if len(images) == 1 else simpleitk().Compose(images)
    for index, (layer, value, name) in enumerate(segments):
        content = {"ID": f"region_{index + 1}", "Name": name, "LabelValue": str(value), "Layer": str(layer)}
        for key, text in content.items():
            image.SetMetaData(f"Segment{index}_{key}", text)
    return _write_image(image, Path(path))


def _layers_of(masks: Mapping[str, Array]) -> tuple[list[Array], list[tuple[int, int, str]]]:
    """Put masks into as few layers as their overlaps allow: layers (x, y, z), and (layer, value, name) of each."""
    layers: list[Array] = []
    segments = []
    for value, (name, mask) in enumerate(masks.items(), start=1):
        free = next((number for number, layer in enumerate(layers) if not layer[mask].any()), len(layers))
        if free == len(layers):
            layers.append(np.zeros(mask.shape, np.uint8 if len(masks) < 256 else np.uint16))
        layers[free][mask] = value
        segments.append((free, value, name))
    return layers, segments


def _write_image(image: Any, path: Path, compress: bool = True) -> Path:
    try:
        simpleitk().WriteImage(image, str(path), useCompression=compress)
    except RuntimeError:
        raise _write_error(path) from None
    # On a full disk the file library may leave a short file without an error.
    if path.stat().st_size == 0 or shutil.disk_usage(path.parent).free == 0:
        raise OSError(errno.ENOSPC, "no space left", str(path))
    return path


def _write_error(path: Path) -> OSError:
    """Find out why an image could not be written: the file library does not say."""
    try:
        with open(path, "ab") as stream:
            stream.write(b"\0" * 65536)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    finally:
        path.unlink(missing_ok=True)
    return OSError(errno.EIO, "the image could not be written", str(path))


def write_json(content: Mapping[str, Any], path: Path | str) -> Path:
    """Write a dictionary as JSON with sorted keys, NaN and infinity as null, arrays as lists. Returns the path.

    Refuses (TypeError) what has no JSON form, rather than writing its Python text.
    """
    path = Path(path)
    text = json.dumps(plain(content), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def plain(value: Any) -> Any:
    """Turn numpy numbers, arrays, paths, tuples and sets into what JSON knows; NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")
