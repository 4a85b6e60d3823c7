"""DICOM series of any vendor, through the dcm2niix program: classic and enhanced, one folder or single files.

Where that program is missing, as in 3D Slicer, `dicom_direct` puts the images together from the standard headers.

dcm2niix knows the private tags and the orientation rules of the vendors. It runs as a separate process that writes
into a temporary folder, which is removed before the series is returned. Which of its images make up the series is
decided in `dicom_choice`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from .dicom_choice import Converted, choose, join_sentences, role_of
from .dicom_direct import convert_directly
from .dicom_tags import bvalues_of_tags, sequence_bvalue
from .geometry_io import geometry_of, read_information
from .nifti import given_bvalues, read_bval, read_bvec
from .nifti_file import read_nifti_file
from .series import DwiSeries

HOW_TO_INSTALL = (
    "Reading DICOM needs the program dcm2niix, which is not installed; install it with 'pip install dcm2niix' "
    "(in 3D Slicer: slicer.util.pip_install('dcm2niix'))."
)
DIRECT = "The program dcm2niix is not installed: the images were put together from the standard DICOM headers."


def read_dicom(
    inputs: Path | str | Sequence[Path | str], bval: Path | str | None = None,
    bvalues: Sequence[float] | None = None, series: int | str | None = None,
) -> DwiSeries:
    """Read a diffusion-weighted DICOM series from a folder (subfolders included) or from DICOM files.

    Arguments: `inputs` a folder, a file, or files; `bval` a b-value file or `bvalues` (n,) [s/mm²] to use instead of
    those of the headers; `series` a series number, or a description, to choose one of several, or
    numbers ('17,18,19') to join them.
    Returns the series in the order of the series numbers; several series of one measurement are joined, see
    `dicom_choice.choose`, and `decisions` says so.
    Refuses folders without DICOM, more than one patient, truncated files, missing slices, series that are not
    diffusion-weighted, and several measurements of which none is chosen.
    """
    with tempfile.TemporaryDirectory(prefix="ivim-dicom-") as temporary:
        folder = _gather(inputs, Path(temporary) / "in")
        output = Path(temporary) / "out"
        output.mkdir()
        direct = _without_program()
        incomplete = convert_directly(folder, output) if direct else _convert(folder, output)
        if direct and not any(output.glob("*.nii")):
            raise _no_dicom(folder)
        images = _inventory(output, folder)
        user_gives_b = bval is not None or bvalues is not None
        chosen, decisions = choose(images, series, user_gives_b)
        if direct:
            decisions.append(DIRECT)
        if incomplete:
            decisions.append(
                f"Part of the folder could not be {'read' if direct else 'converted by dcm2niix'} and is not among the "
                "images."
            )
        return _load(chosen, images, decisions, bval, bvalues)


def _without_program() -> bool:
    """Tell whether the headers have to be read directly; refuse if neither dcm2niix nor pydicom is there."""
    try:
        dcm2niix_program()
    except InputError:
        if importlib.util.find_spec("pydicom") is None:
            raise
        return True
    return False


def dcm2niix_program() -> str:
    """Return the path of the dcm2niix program, from its Python package or the search path; refuse if there is none."""
    try:
        from dcm2niix import bin as program
    except ImportError:
        program = shutil.which("dcm2niix")
    if not program or not Path(program).exists():
        raise InputError(HOW_TO_INSTALL)
    return str(program)


def _gather(inputs: Path | str | Sequence[Path | str], folder: Path) -> Path:
    """Return the folder to convert; single files are copied into `folder`, since dcm2niix reads whole folders."""
    paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(path) for path in inputs]
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0].resolve()
    folder.mkdir()
    for number, path in enumerate(paths):
        if path.is_dir():
            raise InputError("Several folders were given; give the folder that contains them all.")
        shutil.copyfile(path, folder / f"{number:06d}.dcm")
    return folder


def _convert(folder: Path, output: Path) -> bool:
    """Run dcm2niix; return True where it left something out. Refuse in a sentence what it cannot convert.

    Its messages may quote headers, so that they are only searched for known causes and never passed on.
    """
    # -ba n keeps the patient's identity in the temporary sidecars: it is needed to notice two patients.
    command = [
        dcm2niix_program(), "-b", "y", "-ba", "n", "-z", "n", "-g", "i", "-d", "9", "-w", "2", "-f", "s%s",
        "-o", str(output), str(folder),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError:
        raise InputError(HOW_TO_INSTALL) from None
    text = done.stdout.decode("utf-8", "replace")
    if "not large enough to store image data" in text or "FileSize <" in text:
        raise InputError(
            "A DICOM file of the input is truncated (shorter than its header says); copy or export the series again."
        )
    if any(output.glob("*.nii")):
        return done.returncode != 0
    if "Unable to find any DICOM" in text:
        raise _no_dicom(folder)
    if "missing images" in text or "Interslice distance varies" in text:
        raise InputError(
            "Slices of the DICOM series are missing (the images do not fill whole volumes); export the series again."
        )
    raise InputError(f"dcm2niix could not convert the DICOM images of {_shown(folder)}; export the series again.")


def _no_dicom(folder: Path) -> InputError:
    others = sum(1 for path in folder.rglob("*") if path.name.endswith((".nii", ".nii.gz", ".nrrd", ".nhdr")))
    advice = f"it has {others} NIfTI or NRRD files, give one of them" if others else "give the folder of the series"
    return InputError(f"{_shown(folder)} contains no DICOM images; {advice}.")


def _shown(folder: Path) -> str:
    return "The input" if folder.name == "in" and folder.parent.name.startswith("ivim-dicom-") else str(folder)


def _inventory(output: Path, folder: Path) -> list[Converted]:
    """List what dcm2niix wrote, ordered by series number, each with its b-values where there are any."""
    found = []
    for path in sorted(output.glob("*.nii")):
        try:
            reader = read_information(path)
        except InputError:
            # A localiser of several directions, a colour map: no grid, and no part of a series.
            continue
        # The computed images that dcm2niix takes out of a series have no sidecar of their own.
        sidecar = _sidecar(path.with_suffix(".json")) or _sidecar(path.with_name(path.stem.split("_")[0] + ".json"))
        size = reader.GetSize()
        beside = path.with_suffix(".bval")
        bvalues = read_bval(beside) if beside.exists() else None
        count = int(size[3]) if len(size) > 3 else 1
        if bvalues is not None and bvalues.size != count:
            bvalues = None
        identity = str(sidecar.get("PatientID") or sidecar.get("PatientName") or "")
        found.append(Converted(
            path=path, number=_series_number(path, sidecar),
            description=_printable(sidecar.get("SeriesDescription") or sidecar.get("ProtocolName")),
            geometry=geometry_of(reader), count=count, bvalues=bvalues, source=_source(sidecar),
            role=role_of(path, sidecar), patient=identity, study=str(sidecar.get("StudyInstanceUID", "")),
            uid=str(sidecar.get("SeriesInstanceUID")),
            echo_time=_number(sidecar.get("EchoTime")), phase=str(sidecar.get("PhaseEncodingDirection", "")),
        ))
        if bvalues is None and found[-1].role in ("dwi", "trace"):
            found[-1].bvalues, found[-1].source = sequence_bvalue(sidecar, count)
    _complete_from_tags(found, folder)
    for image in found:
        if image.bvalues is None and image.role in ("dwi", "trace"):
            image.role = "other"
    return sorted(found, key=lambda image: (image.number, image.path.name))


def _complete_from_tags(images: list[Converted], folder: Path) -> None:
    """Give a series without b-value that of its DICOM tags: dcm2niix writes none for a series of b = 0 only."""
    missing = [image for image in images if image.bvalues is None and image.role in ("dwi", "trace")]
    if not missing:
        return
    tags = bvalues_of_tags(folder, {image.uid for image in missing})
    for image in missing:
        values, source = tags.get(image.uid, (set(), ""))
        # Several b-values cannot be given to images without the order that dcm2niix chose.
        if len(values) == 1:
            image.bvalues = np.full(image.count, values.copy().pop())
            image.source = source


def _load(
    chosen: list[Converted], images: list[Converted], decisions: list[str], bval: Path | str | None,
    bvalues: Sequence[float] | None,
) -> DwiSeries:
    count = sum(image.count for image in chosen)
    given = given_bvalues(count, "the DICOM series", bval, bvalues)
    volumes = [read_nifti_file(image.path)[0] for image in chosen]
    directions: list[Any] = []
    for image in chosen:
        bvec = image.path.with_suffix(".bvec")
        table = read_bvec(bvec, image.geometry.affine) if bvec.exists() else None
        directions.append(table if table is not None and len(table) == image.count else np.zeros((image.count, 3)))
    decisions = [*decisions, *join_sentences(chosen, volumes)]
    signal = volumes[0] if len(volumes) == 1 else np.concatenate([v.T for v in volumes], axis=0).T
    if given is not None:
        values, source = given
        if all(image.bvalues is not None for image in chosen):
            decisions.append(f"The b-values given by the user are used instead of those of the {_sources(chosen)[0]}.")
    else:
        values = np.concatenate([image.bvalues for image in chosen])
        source = "; ".join(_sources(chosen))
    known = np.concatenate(directions)
    acquisition = Acquisition(values, known if known.any() else None)
    return DwiSeries(signal, chosen[0].geometry, acquisition, source, "DICOM", tuple(decisions))


def _sources(chosen: list[Converted]) -> list[str]:
    """Name each source of b-values once, with the series numbers where there are several sources."""
    names = list(dict.fromkeys(image.source for image in chosen))
    if len(names) == 1:
        return names
    return [
        f"{name} (series {', '.join(str(image.number) for image in chosen if image.source == name)})" for name in names
    ]


def _source(sidecar: dict[str, Any]) -> str:
    return f"DICOM headers, read by {sidecar.get('ConversionSoftware') or 'dcm2niix'}"


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8", "replace"), strict=False)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _series_number(path: Path, sidecar: dict[str, Any]) -> int:
    match = re.match(r"s(\d+)", path.stem)
    number = _number(sidecar.get("SeriesNumber"))
    return int(number) if number is not None else int(match[1]) if match else 0


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _printable(text: Any) -> str:
    return re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", str(text or "without description"))[:64].strip()
