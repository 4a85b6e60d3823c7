"""What was read from DICOM objects into a folder: maps as NIfTI, regions, tables, everything or nothing."""

from __future__ import annotations

import re
from pathlib import Path

from ..data.output import OutputFolder, write_labels, write_volume
from ..data.reading import read_labels
from .dicomcomparison import compare_adc
from .dicomexport import read_results
from .dicomimport import Imported, ImportedMap, read_objects
from .roistatistics import write_csv

MEASUREMENTS = ("region", "map", "statistic", "value", "unit", "method", "time_point", "tracking_uid")
COMPARISON = ("estimator", "map", "scanner", "region", "n", "ours", "theirs", "difference", "difference_percent")


def write_imported(
    folder: Path | str, out: Path | str, result: Path | str | None = None, rois: Path | str | None = None
) -> tuple[list[str], list[str]]:
    """Read DICOM objects and write them into `out`; returns the names of the files and the sentences.

    `result` a folder of `ivim map`, whose ADC (or D) is compared with that of the scanner in `adc_comparison.csv`, in
    the regions of `rois`.
    """
    found = read_objects(folder)
    rows = []
    for one in [] if result is None else read_results(result):
        labels, names = (None, None) if rois is None else read_labels(Path(rois), one.geometry)
        if "ADC" in one.maps or "D" in one.maps:
            rows += compare_adc(found, one.maps, one.geometry, labels, names, one.estimator)
    with OutputFolder(Path(out)) as work:
        for name, one in _names(found.maps).items():
            write_volume(one.volume, one.geometry, work / name)
        if found.labels is not None:
            write_labels(found.labels, found.names, found.label_geometry, work / "regions.seg.nrrd")
        if found.measurements:
            write_csv(work / "measurements.csv", found.measurements, MEASUREMENTS)
        if rows:
            write_csv(work / "adc_comparison.csv", rows, COMPARISON)
        files = sorted(path.name for path in work.iterdir())
    return files, [*_sentences(found), *found.notes]


def _names(maps: list[ImportedMap]) -> dict[str, ImportedMap]:
    named: dict[str, ImportedMap] = {}
    for one in maps:
        origin = one.estimator if one.origin == "IVIMSlicer" else one.origin.replace(" ", "_")
        stem = "_".join(part for part in (origin, one.key or re.sub(r"\W+", "_", one.label).strip("_")) if part)
        name, number = f"{stem}.nii.gz", 1
        while name in named:
            number += 1
            name = f"{stem}_{number}.nii.gz"
        named[name] = one
    return named


def _sentences(found: Imported) -> list[str]:
    unknown = [one.label for one in found.maps if not one.key]
    return [f"The quantity of '{label}' is none of ours; the map was kept under its description." for label in unknown]
