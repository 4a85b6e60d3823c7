"""One job: a series, a region and estimators in; a folder of maps with their provenance out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.mask import body_mask
from ..data.output import FORMATS, OutputFolder, write_json, write_maps
from ..data.reading import read_mask, read_regions, read_series
from ..data.series import AVERAGING, DwiSeries
from ..errors import Cancelled, InputError
from ..estimators import DEFAULT, SENTENCES, Estimator, FitResult, create
from .events import Emit, ProgressClock, result, warning

Array = np.ndarray


@dataclass(frozen=True)
class Request:
    """One estimator with its options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Estimator:
        """Create the estimator; raises InputError for an unknown name or option."""
        return create(self.name, **self.options)


@dataclass(frozen=True)
class Job:
    """What is to be done, ready for JSON.

    `inputs` paths of the series; `bval` path of a b-value file; `bvalues` one per image [s/mm²]; `series` which DICOM
    series; `bmin`, `bmax` range of b-values used [s/mm²]; `exclude` numbers of images left out, from 1; `average` one
    of `AVERAGING`; `mask` "auto", "none" or a path; `rois` path of a label file; `estimators`; `out` folder;
    `file_format` "nii.gz" or "nrrd"; `compress` False writes maps in NRRD raw, for whoever reads them once and removes
    them; `threads` cores used, None for all;
    `name` heads pictures and the nodes of a scene: the file's own name may be that of a patient and is not used.
    """

    inputs: tuple[str, ...]
    out: str
    estimators: tuple[Request, ...] = (Request(DEFAULT),)
    bval: str | None = None
    bvalues: tuple[float, ...] | None = None
    series: str | None = None
    bmin: float = 0.0
    bmax: float | None = None
    exclude: tuple[int, ...] = ()
    average: str = "none"
    mask: str = "auto"
    rois: str | None = None
    file_format: str = "nii.gz"
    compress: bool = True
    threads: int | None = None
    name: str = "DWI"

    def to_json(self) -> str:
        """Write the job as JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a job from JSON; raises InputError if it is not one."""
        try:
            content = json.loads(text)
        except ValueError as fault:
            raise InputError(f"The job file is not valid JSON ({fault}); write it again.") from None
        if not isinstance(content, dict):
            raise InputError("The job file does not hold a JSON object; write it again.")
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            listed = ", ".join(sorted(known))
            raise InputError(f"The job file has unknown entries ({', '.join(unknown)}); known are {listed}.")
        missing = sorted({"inputs", "out"} - set(content))
        if missing:
            raise InputError(f"The job file lacks {', '.join(missing)}; add what is missing.")
        try:
            requests = tuple(Request(**request) for request in content.pop("estimators", [{"name": DEFAULT}]))
            present = [key for key in ("inputs", "bvalues", "exclude") if content.get(key) is not None]
            lists = {key: tuple(content[key]) for key in present}
            return cls(**{**content, **lists, "estimators": requests})
        except TypeError as fault:
            raise InputError(f"The job file has an entry of the wrong form ({fault}); see the README.") from None


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything a job made, in memory, for those who add to its output folder.

    `labels` (x, y, z) of int and `names` describe the regions, or are None and empty; where regions overlap, `masks`
    (x, y, z) of bool by name hold them whole, and `labels` give a shared voxel to the last one. `folders` tells where
    the maps of each estimator lie while the output is still being made.
    """

    job: Job
    series: DwiSeries
    mask: Array
    labels: Array | None
    names: dict[int, str]
    results: dict[str, FitResult]
    estimators: dict[str, Estimator]
    folders: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Array] | None = None

    @property
    def regions(self) -> tuple[Any, dict[int, str], Array]:
        """Labels or overlapping masks, names and mask, as the functions of `reports.roistatistics` take them."""
        return (self.labels if self.masks is None else self.masks), self.names, self.mask


Companion = Callable[[Outcome, Path, Emit], None]
"""Adds files to the output (statistics, figure, scene): called with the outcome, the folder to write to, and `emit`."""


def load(job: Job) -> DwiSeries:
    """Read the series of a job and apply what the job says of its images: range of b, images left out, averaging.

    Images without any value are left out too. Numbers of images are those of the file.
    """
    series = read_series(
        [Path(path) for path in job.inputs], bval=None if job.bval is None else Path(job.bval), bvalues=job.bvalues,
        series=job.series,
    )
    return prepare(series, job)


def prepare(series: DwiSeries, job: Job) -> DwiSeries:
    """Leave out images and average as the job says; raises InputError if nothing is left or a number is wrong."""
    if job.average not in AVERAGING:
        raise InputError(f"Unknown averaging '{job.average}'; choose one of {', '.join(AVERAGING)}.")
    b, count = series.acquisition.bvalues, series.acquisition.count
    for number in job.exclude:
        if not 1 <= number <= count:
            raise InputError(f"Image {number} cannot be left out; the series has images 1 to {count}.")
    highest = np.inf if job.bmax is None else job.bmax
    keep = (b >= job.bmin) & (b <= highest)
    keep[[number - 1 for number in job.exclude]] = False
    if not keep.any():
        raise InputError(
            f"No image has a b-value between {job.bmin:g} and {highest:g} s/mm²; the series has "
            f"{', '.join(f'{x:g}' for x in series.acquisition.distinct)}."
        )
    if not keep.all():
        left_out = ", ".join(f"{x:g}" for x in np.unique(b[~keep]))
        number = np.count_nonzero(~keep)
        series = series.select(keep, f"{number} of {count} images left out by choice (b = {left_out}).")
    return series.without_empty_images().averaged(job.average)


@dataclass(frozen=True, eq=False)
class JobRegions:
    """The region that is fitted and those that are measured: `mask` (x, y, z) of bool; `labels`, `names` and `masks` as
    in `Outcome`; `sentences` about them."""

    mask: Array
    labels: Array | None
    names: dict[int, str]
    masks: dict[str, Array] | None
    sentences: tuple[str, ...]


def regions(job: Job, series: DwiSeries) -> JobRegions:
    """Return the regions of a job.

    Regions that reach outside the mask are fitted too. Raises InputError for another grid or an empty region.
    """
    labels, names, masks = (None, {}, None) if job.rois is None else read_regions(Path(job.rois), series.geometry)
    if job.mask == "none":
        mask, sentence = np.ones(series.geometry.shape, bool), "All voxels are fitted."
    elif job.mask == "auto":
        mask = body_mask(series.signal, series.acquisition)
        sentence = f"Automatic mask: {np.count_nonzero(mask)} of {mask.size} voxels."
    else:
        mask = read_mask(Path(job.mask), series.geometry)
        sentence = f"Mask from a file: {np.count_nonzero(mask)} of {mask.size} voxels."
    if labels is not None:
        added = np.count_nonzero((labels > 0) & ~mask)
        mask = mask | (labels > 0)
        if added:
            sentence += f" {added} voxels of the regions added."
    if not mask.any():
        raise InputError("The mask is empty; use '--mask none' or give a mask file.")
    sentences = [sentence]
    if masks is not None:
        sentences.append(
            f"Regions overlap ({', '.join(masks)}): each is measured whole; pictures give shared voxels to the last."
        )
    return JobRegions(mask, labels, names, masks, tuple(sentences))


def run(
    job: Job, emit: Emit, stop: Callable[[], bool] = lambda: False, companions: Sequence[Companion] = ()
) -> Outcome:
    """Carry out a job: read, fit, write. Either the whole output folder is there at the end, or nothing of it.

    `emit` receives the events; `stop` is asked often whether to give up; `companions` add files before the output is
    moved into place. Raises InputError for what the person can mend, Cancelled if `stop` said so.
    """
    if job.file_format not in FORMATS:
        raise InputError(f"Unknown file format '{job.file_format}'; choose one of {', '.join(FORMATS)}.")
    if not job.estimators:
        raise InputError("No estimator was chosen; choose at least one.")
    estimators = {request.name: request.make() for request in job.estimators}
    if len(estimators) < len(job.estimators):
        raise InputError("An estimator was chosen twice; choose each one once.")

    def check() -> None:
        if stop():
            raise Cancelled("The job was stopped; nothing was written.")

    with OutputFolder(Path(job.out)) as folder, ProgressClock(emit) as clock:
        clock.begin(0.08, "Reading the series")
        series = load(job)
        check()
        where = regions(job, series)
        for decision in (*series.decisions, *where.sentences):
            emit(warning(decision))
        outcome = Outcome(
            job, series, where.mask, where.labels, where.names, {}, estimators, masks=where.masks
        )
        digest = checksum(series)
        for name, estimator in estimators.items():
            problems = estimator.problems(series.acquisition)
            for problem in problems:
                if problem.blocks:
                    raise InputError(str(problem))
                emit(warning(f"{name}: {problem}"))
        for name, estimator in estimators.items():
            clock.begin(0.7 / len(estimators), f"Fitting {name}")
            check()
            fit = _fit(job, estimator, outcome, clock, stop)
            fit.provenance.update(_about(series, where.sentences[0], digest), status=fit.status_counts())
            outcome.results[name] = fit
            for sentence in fit.provenance.get("warnings", ()):
                emit(warning(f"{name}: {sentence}"))
        clock.begin(0.1, "Writing maps")
        for name, fit in outcome.results.items():
            check()
            target = folder if len(estimators) == 1 else folder / name
            target.mkdir(exist_ok=True)
            outcome.folders[name] = target
            write_maps(fit, series.geometry, target, job.file_format, job.compress)
            write_json(fit.provenance, target / "provenance.json")
        if companions:
            clock.begin(0.12, "Writing statistics and figures")
        for companion in companions:
            check()
            companion(outcome, folder, emit)
        check()
        clock.end()
    emit(
        result(
            folder=str(Path(job.out)),
            estimators=list(outcome.results),
            files=sorted(str(path.relative_to(job.out)) for path in Path(job.out).rglob("*") if path.is_file()),
            status={name: fit.status_counts() for name, fit in outcome.results.items()},
        )
    )
    return replace(
        outcome,
        folders={name: Path(job.out) if len(estimators) == 1 else Path(job.out) / name for name in outcome.results},
    )


def _fit(job: Job, estimator: Estimator, outcome: Outcome, clock: ProgressClock, stop: Callable[[], bool]) -> FitResult:
    def progress(done: int, total: int) -> bool:
        clock.inside(done / total)
        return not stop()

    arguments = {"threads": job.threads} if job.threads else {}
    return estimator.fit(
        outcome.series.signal, outcome.series.acquisition, outcome.mask, progress=progress, **arguments
    )


def checksum(series: DwiSeries) -> str:
    """Return the SHA-256 of signal and b-values: the same measurement gives the same string, whatever its name."""
    digest = hashlib.sha256(series.acquisition.bvalues.tobytes())
    for image in range(series.signal.shape[3]):
        digest.update(np.ascontiguousarray(series.signal[..., image].T))
    return digest.hexdigest()


def _about(series: DwiSeries, mask_sentence: str, digest: str) -> dict[str, Any]:
    return {
        "input": {
            "format": series.format,
            "shape": [int(n) for n in series.signal.shape],
            "spacing_mm": [round(float(x), 6) for x in series.geometry.spacing],
            "sha256": digest,
        },
        "bvalue_source": series.bvalue_source,
        "decisions": list(series.decisions),
        "mask": mask_sentence,
        "status_codes": {str(int(code)): sentence for code, sentence in SENTENCES.items()},
    }
