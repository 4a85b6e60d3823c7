"""A run on its way to the fitting process: a private temporary folder with series, region and job."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import slicer

from ivimcore.data.output import NO_SPACE
from ivimcore.errors import InputError
from ivimcore.jobs.job import Job

from .PythonExecutable import PythonSearch
from .RawNrrd import writeImage, writeImages
from .RunPlan import RunPlan
from .WorkerProcess import WorkerProcess

SERIES_FILE, MASK_FILE, OUTPUT = "series.nrrd", "mask.nrrd", "maps"


def makeFolder() -> Path:
    """Make a folder that only this user may open, where Slicer keeps its temporary files. Raises InputError."""
    try:
        return Path(tempfile.mkdtemp(prefix="ivim_", dir=temporaryPath()))
    except OSError as fault:
        raise InputError(spaceSentence(fault, temporaryPath())) from None


def temporaryPath() -> str:
    """Return Slicer's temporary folder, which a person may have chosen in its settings; else that of the system."""
    application = getattr(slicer, "app", None)
    path = getattr(application, "temporaryPath", None)
    return path if isinstance(path, str) and os.path.isdir(path) else tempfile.gettempdir()


def spaceSentence(fault: OSError | None, folder) -> str:
    """Return the sentence for a temporary folder that cannot be written, `fault` None for a full one."""
    where = Path(folder or temporaryPath())
    where = where.parent if where.name.startswith("ivim_") else where
    if fault is None or fault.errno in NO_SPACE:
        return f"There is no space left in the temporary folder {where}; make room there and press Apply again."
    reason = (os.strerror(fault.errno) if fault.errno else str(fault)).lower()
    return (
        f"The fit cannot use the temporary folder {where} ({reason}); choose another one in Slicer's settings and "
        "press Apply again."
    )


def writePlan(plan: RunPlan, folder: Path) -> Generator[None, None, WorkerProcess]:
    """Write what the process needs, one image at a time, while a Python for it is looked for.

    Returns the process, which is not started yet.
    Raises OSError on a full disk, InputError without a usable Python.
    """
    search = PythonSearch()
    try:
        search.poll()
        yield
        geometry, count = plan.series.geometry, plan.images.size
        images = (plan.series.image(int(number)) for number in plan.images)
        for _ in writeImages(folder / SERIES_FILE, images, count, geometry):
            search.poll()
            yield
        writeImage(folder / MASK_FILE, plan.region.mask, geometry, "u1")
        while not search.poll():
            yield
        job = Job(
            inputs=(str(folder / SERIES_FILE),), out=str(folder / OUTPUT), estimators=plan.requests,
            bvalues=tuple(float(b) for b in plan.acquisition.bvalues), average=plan.average,
            mask=str(folder / MASK_FILE), file_format="nrrd", compress=False,
        )
        return WorkerProcess(job, folder, search.executable)
    finally:
        search.close()
