"""A run out of Slicer as DICOM: its maps, picture and regions go through a temporary result folder to the core."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer

from ivimcore.data.output import write_labels
from ivimcore.errors import InputError
from ivimcore.reports.dicomexport import Exported, export_dicom
from ivimcore.reports.dicomsource import require_packages

from .MapExport import exportFigure, exportMaps
from .RegionSegments import regionMasks
from .Runs import Run
from .RunTransfer import temporaryPath
from .VolumeNodes import arrayFromVolumeNode


def sourceFiles(run: Run) -> list[Path]:
    """Return the files of the run's series in Slicer's DICOM database; empty if it did not come from there."""
    database = getattr(slicer, "dicomDatabase", None)
    node = run.seriesNode
    identifiers = (node.GetAttribute("DICOM.instanceUIDs") or "").split() if node is not None else []
    files = [database.fileForInstance(identifier) for identifier in identifiers] if database is not None else []
    return [Path(file) for file in files] if files and all(files) else []


def exportDicom(
    run: Run, source: str | Path | Sequence[Path], folder: str | Path, forms: Sequence[str],
    scene: slicer.vtkMRMLScene, applicationLogic, patientId: str | None = None,
) -> Exported:
    """Write a run as DICOM objects into a folder of its study inside `folder`.

    `source` folder or files of the DICOM series that was mapped; `forms` of "maps", "images", "capture", "report".
    Raises InputError in one sentence, `PatientIdNeeded` where only the patient's identifier is missing.
    """
    require_packages()
    work = Path(tempfile.mkdtemp(prefix="ivim-dicom-", dir=temporaryPath()))
    notes, rois = [], None
    try:
        exportMaps(run, work, "nrrd")
        if "capture" in forms:
            try:
                exportFigure(run, work / "overview.png", scene, applicationLogic)
            except InputError as fault:
                notes.append(str(fault))
        if "report" in forms:
            rois = _writeRegions(run, work / "regions.seg.nrrd", notes)
        done = export_dicom(work, source, folder, forms, rois=rois, patient_id=patientId)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    done.notes[:0] = notes
    return done


def _writeRegions(run: Run, path: Path, notes: list[str]) -> Path | None:
    node = run.regionNode
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        return None
    reference = next(iter(run.maps.values()))
    masks = {name: mask for name, mask in regionMasks(node, reference).items() if mask.any()}
    if not masks:
        return None
    _values, geometry = arrayFromVolumeNode(reference)
    labels = np.zeros(geometry.shape, np.uint16)
    shared = 0
    for number, mask in enumerate(masks.values(), 1):
        shared += int(np.count_nonzero(labels[mask]))
        labels[mask] = number
    if shared:
        notes.append(f"Segments overlap: {shared} voxels count for the later segment only.")
    return write_labels(labels, dict(enumerate(masks, 1)), geometry, path)
