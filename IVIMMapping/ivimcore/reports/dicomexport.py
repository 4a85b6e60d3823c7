"""From a result folder to a folder of DICOM objects: which maps, which forms, where each file goes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.nifti_file import read_volumes
from ..data.output import OutputFolder
from ..data.reading import read_labels
from ..data.series import Geometry
from ..errors import InputError
from ..jobs.events import Emit, warning
from ..jobs.job import Outcome
from . import dicomcodes as codes
from .dicomcapture import encapsulated_pdf, secondary_capture
from .dicomimages import STEPS, plain_images
from .dicommaps import parametric_map
from .dicomreport import segmentation, structured_report
from .dicomsource import Source, read_source, require_packages

Array = np.ndarray
FORMS = ("maps", "images", "capture", "report")


@dataclass(eq=False)
class Result:
    """The maps of one estimator as `ivim map` wrote them."""

    folder: Path
    estimator: str
    bvalues: tuple[float, ...]
    provenance: dict[str, Any]
    geometry: Geometry
    maps: dict[str, Array]


@dataclass(eq=False)
class Exported:
    """What was written: folder of the study, files relative to it, and the sentences for the person."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_results(folder: Path | str) -> list[Result]:
    """Read a result folder of `ivim map`: of one estimator, or with a folder for each of several."""
    folder = Path(folder)
    homes = [folder] if (folder / "provenance.json").is_file() else sorted(
        path.parent for path in folder.glob("*/provenance.json")
    )  # fmt: skip
    if not homes:
        raise InputError(f"{folder} holds no result (no provenance.json); give the folder that 'ivim map' wrote.")
    return [_read_result(home) for home in homes]


def _read_result(folder: Path) -> Result:
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        estimator, bvalues = str(provenance["estimator"]), tuple(float(b) for b in provenance["bvalues_used"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(f"provenance.json of {folder} is damaged ({type(fault).__name__}); map again.") from None
    maps: dict[str, Array] = {}
    geometry = None
    for path in sorted([*folder.glob("*.nii.gz"), *folder.glob("*.nrrd")]):
        key = path.name.removesuffix(".nii.gz").removesuffix(".nrrd")
        if codes.parameter_of_map(key)[0] is None:
            continue
        volumes, grid = read_volumes(path)
        if geometry is not None and not grid.matches(geometry):
            raise InputError(f"{path.name} lies on another grid than the other maps of {folder}; map again.")
        geometry = grid if geometry is None else geometry
        maps[key] = volumes[..., 0]
    if geometry is None:
        raise InputError(f"{folder} holds no maps; give the folder that 'ivim map' wrote.")
    return Result(folder, estimator, bvalues, provenance, geometry, maps)


def export_dicom(
    folder: Path | str, source: Path | str | Sequence[Path], out: Path | str, forms: Sequence[str] = FORMS,
    maps: Iterable[str] | None = None, rois: Path | str | None = None, pdf: Path | str | None = None,
    series: str | None = None, patient_id: str | None = None, patient_name: str | None = None, time_point: str = "1",
) -> Exported:
    """Write a result folder as DICOM into `out`/<Study Instance UID>/: everything or nothing.

    Arguments: `source` the DICOM series that was mapped; `forms` of `FORMS`; `maps` keys, None for all; `rois` the
    label file for the report; `pdf` a report to encapsulate; the others as in `read_source`. A form that cannot be
    made because its input is not there is left out with a note; where no form is left, that is refused.
    """
    with warnings.catch_warnings():
        # pydicom and highdicom warn of names and lengths of the source, which are not ours to mend.
        warnings.simplefilter("ignore")
        return _export(Path(folder), source, Path(out), forms, maps, rois, pdf, time_point,
                       series=series, patient_id=patient_id, patient_name=patient_name)  # fmt: skip


def _export(
    folder: Path, source: Path | str | Sequence[Path], out: Path, forms: Sequence[str], maps: Iterable[str] | None,
    rois: Path | str | None, pdf: Path | str | None, time_point: str, **patient: str | None,
) -> Exported:
    require_packages()
    unknown = [form for form in forms if form not in FORMS]
    if unknown or not forms:
        raise InputError(f"Unknown form '{''.join(unknown[:1])}'; choose among {', '.join(FORMS)}.")
    results = read_results(folder)
    labels = None if rois is None else read_labels(Path(rois), results[0].geometry)
    return _write(results, labels, source, out, forms, maps, folder, None if pdf is None else Path(pdf), time_point,
                  **patient)  # fmt: skip


def _write(
    results: list[Result], labels: Any, source: Path | str | Sequence[Path], out: Path, forms: Sequence[str],
    maps: Iterable[str] | None, folder: Path, pdf: Path | None, time_point: str, **patient: str | None,
) -> Exported:
    geometry = results[0].geometry
    if not all(result.geometry.matches(geometry) for result in results):
        raise InputError("The estimators of the result lie on different grids; map them again in one run.")
    wanted = None if maps is None else set(maps)
    if wanted is not None:
        strangers = wanted - {key for result in results for key in result.maps}
        if strangers:
            raise InputError(f"The result has no map '{sorted(strangers)[0]}'; leave out --maps for all.")
        for result in results:
            result.maps = {key: volume for key, volume in result.maps.items() if key in wanted}
    used = sorted({b for result in results for b in result.bvalues})
    found = read_source(source, geometry, used, **patient)
    writer = _Writer(found)
    if "maps" in forms:
        writer.maps(results)
    if "images" in forms:
        writer.images(results)
    if "capture" in forms:
        writer.capture(folder, results, pdf)
    if "report" in forms:
        writer.report(results, labels, time_point)
    if not writer.made:
        raise InputError(f"Nothing to write. {' '.join(writer.notes)}")
    target = out / str(found.template.StudyInstanceUID)
    with OutputFolder(target) as work:
        for name, dataset in writer.made.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(work / name, enforce_file_format=True)
    return Exported(target, [Path(name) for name in writer.made], [*found.notes, *writer.notes])


@dataclass(frozen=True)
class DicomCompanion:
    """Writes the DICOM objects of a job into 'dicom' beside its maps; where that fails the reason is a warning.

    A series that is no DICOM must not cost a cohort its maps.
    """

    forms: tuple[str, ...]

    def __call__(self, outcome: Outcome, folder: Path, emit: Emit) -> None:
        """Write the objects of one outcome."""
        results = [
            Result(folder, name, tuple(float(b) for b in fit.provenance["bvalues_used"]), fit.provenance,
                   outcome.series.geometry,
                   {key: volume for key, volume in fit.all_maps().items() if codes.parameter_of_map(key)[0]})
            for name, fit in outcome.results.items()
        ]  # fmt: skip
        labels = None if outcome.labels is None else (outcome.labels, outcome.names)
        inputs = [Path(path) for path in outcome.job.inputs]
        try:
            require_packages()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = _write(results, labels, inputs, folder / "dicom", self.forms, None, folder, None, "1")
        except InputError as fault:
            emit(warning(f"No DICOM was written: {fault}"))
            return
        for note in done.notes:
            emit(warning(note))


class _Writer:
    """Collects the objects by the name of their file and numbers their series."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.made: dict[str, Any] = {}
        self.notes: list[str] = []
        self._number = 100 * max(int(source.template.get("SeriesNumber") or 1), 1)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def maps(self, results: list[Result]) -> None:
        for result in results:
            for key, volume in result.maps.items():
                self.made[f"maps/{result.estimator}_{key}.dcm"] = parametric_map(
                    volume, key, result.estimator, result.bvalues, result.provenance, self.source, self._next()
                )

    def images(self, results: list[Result]) -> None:
        for result in results:
            for key in (key for key in STEPS if key in result.maps):
                images, said = plain_images(
                    result.maps[key], key, result.estimator, result.bvalues, self.source, self._next(),
                    result.provenance.get("options"),
                )
                for number, image in enumerate(images, 1):
                    self.made[f"images/{result.estimator}_{key}/{number:04d}.dcm"] = image
                self.notes += [said] if said else []

    def capture(self, folder: Path, results: list[Result], pdf: Path | None) -> None:
        picture = folder / "overview.png"
        if picture.is_file():
            title = f"overview {' '.join(result.estimator for result in results)}"
            self.made["capture/overview.dcm"] = secondary_capture(picture, self.source, self._next(), title)
        else:
            self.notes.append("No picture was exported: the result has no overview.png; map with --figure.")
        if pdf is not None:
            self.made["capture/report.dcm"] = encapsulated_pdf(pdf, self.source.template, self._next(), "report")

    def report(self, results: list[Result], labels: Any, time_point: str) -> None:
        if labels is None:
            self.notes.append("No structured report was exported: it needs regions; give the label file with --rois.")
            return
        volume, names = labels
        regions = segmentation(volume, names, self.source, self._next())
        self.made["report/segmentation.dcm"] = regions
        self.made["report/report.dcm"] = structured_report(
            results, volume, names, regions, self.source, self._next(), time_point
        )
