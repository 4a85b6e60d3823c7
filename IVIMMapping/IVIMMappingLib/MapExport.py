"""Results out of Slicer: tables, maps, scene and figure; each file appears complete or not at all.

Everything is written into a temporary folder inside the target folder and renamed when it is complete, so that an
existing file is replaced by a whole one, and a full disk leaves the old one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ivimcore.data.output import FORMATS, OutputFolder, write_json, write_volume
from ivimcore.errors import InputError
from ivimcore.reports.roistatistics import COLUMNS, FORMULA_STARTS, write_csv

from .MapDescription import STATUS, describeMap, isMapKey
from .RegionNumbers import NUMBER_COLUMNS
from .Runs import Run
from .StatisticsTable import rowsOfTable
from .VolumeNodes import arrayFromVolumeNode

_WHOLE_NUMBERS = {"n", "voxels", "left_out"}
_IN_UNIT = ("mean", "sd", "median", "q1", "q3", "p5", "p95")
_DIGITS = 5


def exportStatistics(
    runs: Run | Sequence[Run], path: str | Path, comparison: Sequence[Mapping[str, Any]] = ()
) -> list[Path]:
    """Write the statistics of runs as CSV, and their region numbers beside it as '<name>_region_numbers.csv'.

    `comparison` are rows of ScannerAdc, written as '<name>_scanner_adc.csv'.

    Numbers at full precision in stored units, each line with its unit, 'nan' where there is none.
    Returns the paths. Raises InputError if no run has a table, or the place cannot be written.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    rows = [row for run in runs if run.statistics is not None for row in _tidy(rowsOfTable(run.statistics))]
    if not rows:
        raise InputError("There are no statistics to export; press Apply first.")
    path = _target(path, ".csv")
    keys = [*COLUMNS, *(key for key in rows[0] if key not in COLUMNS)]
    rows = [{**dict.fromkeys(keys), **row} for row in rows]
    numbers = [
        {"estimator": run.estimator, "run": run.name, **row}
        for run in runs if run.regionNumbers is not None for row in _tidy(rowsOfTable(run.regionNumbers))
    ]
    beside = path.with_name(f"{path.stem}_region_numbers.csv")
    third = path.with_name(f"{path.stem}_scanner_adc.csv")
    with OutputFolder(path.parent) as folder:
        write_csv(folder / path.name, rows, keys)
        if numbers:
            columns = ("estimator", "run", *NUMBER_COLUMNS)
            write_csv(folder / beside.name, [{**dict.fromkeys(columns), **row} for row in numbers], columns)
        if comparison:
            write_csv(folder / third.name, comparison, list(comparison[0]))
    return [path, *([beside] if numbers else []), *([third] if comparison else [])]


def exportMaps(run: Run, folder: str | Path, fileFormat: str = "nii.gz") -> list[Path]:
    """Write every map of a run as '<key>.<format>', its status and provenance.json into an existing folder.

    `fileFormat` "nii.gz" or "nrrd". Stored units; NaN stays NaN. The transform above the maps is not applied.
    Returns the paths. Raises InputError for another format, a run without maps, or a place that cannot be written.
    """
    if fileFormat not in FORMATS:
        raise InputError(f"Unknown file format '{fileFormat}'; choose one of {', '.join(FORMATS)}.")
    if not run.maps:
        raise InputError(f"The run '{run.name}' has no maps any more; press Apply again.")
    folder = _existingFolder(Path(folder))
    nodes = {**run.maps, **({STATUS: run.status} if run.status is not None else {})}
    names = [f"{key}.{fileFormat}" for key in nodes]
    with OutputFolder(folder) as work:
        for (key, node), name in zip(nodes.items(), names, strict=True):
            values, geometry = arrayFromVolumeNode(node)
            write_volume(values.astype(np.uint8 if key == STATUS else np.float32), geometry, work / name)
        write_json(json.loads(json.dumps(run.provenance, default=str)), work / "provenance.json")
    return [folder / name for name in (*names, "provenance.json")]


def exportScene(scene: slicer.vtkMRMLScene, path: str | Path) -> Path:
    """Write the whole scene as .mrb, which 3D Slicer opens by drag and drop. Raises InputError if it cannot."""
    path = _target(path, ".mrb")
    with OutputFolder(path.parent) as folder:
        # WriteToMRB has been seen to return True without a file.
        if not scene.WriteToMRB(str(folder / path.name)) or not (folder / path.name).is_file():
            raise InputError(f"{path} was not written; make room on the disk or choose another folder.")
    return path


def exportFigure(
    runs: Run | Sequence[Run], path: str | Path, scene: slicer.vtkMRMLScene | None = None, applicationLogic=None,
    title: str = "",
) -> Path:
    """Draw runs as one picture (PNG): image, D, f, D*, RMSE with legends, one row for each run; see OverviewFigure.

    Runs on another grid than the first are left out, they have no slice in common with it. `scene` and
    `applicationLogic` are those of Slicer unless given. Raises InputError if nothing can draw on this computer.
    """
    from .RunFigure import drawRuns  # rendering is needed by nobody else

    runs = [runs] if isinstance(runs, Run) else list(runs)
    runs = [run for run in runs if run.maps]
    if not runs:
        raise InputError("There are no maps to draw; press Apply first.")
    path = _target(path, ".png")
    with OutputFolder(path.parent) as folder:
        logic = applicationLogic or slicer.app.applicationLogic()
        drawRuns(runs, folder / path.name, scene or slicer.mrmlScene, logic, title)
    return path


def tableText(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as tab-separated text for a spreadsheet: header first, no value empty.

    `columns` in the order wanted, those of the first row if None. A text that a spreadsheet would run as a formula gets
    an apostrophe in front.
    """
    columns = list(columns or (rows[0] if rows else ()))
    lines = ["\t".join(_safe(str(column)) for column in columns)]
    lines += ["\t".join(_cellText(row.get(column)) for column in columns) for row in rows]
    return "\n".join(lines) + "\n"


def statisticsText(runs: Run | Sequence[Run]) -> str:
    """Return the statistics of runs as tab-separated text: display units, the unit of each line in its map's name.

    One line for each run, region and map: 'D [10⁻³ mm²/s]'.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    rows = []
    for run in runs:
        if run.statistics is None:
            continue
        for row in _tidy(rowsOfTable(run.statistics)):
            if not isMapKey(str(row.get("map"))):
                continue
            description = describeMap(row["map"])
            factor = description.parameter.display_factor
            rows.append({
                "run": run.name, "estimator": row["estimator"], "region": row["region"],
                "map [unit]": description.label, "voxels": row["voxels"], "voxels with value": row["n"],
                **{key: _scaled(row.get(key), factor) for key in _IN_UNIT},
                "volume [mL]": _rounded(row.get("volume_ml")),
                "missing [%]": _scaled(row.get("missing_share"), 100.0),
                "information [%]": _scaled(row.get("information"), 100.0),
            })
    return tableText(rows)


def _target(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if not path.name.lower().endswith(suffix):
        raise InputError(f"{path.name} does not end with {suffix}; choose a name that does.")
    _existingFolder(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder where a file should be written; choose another name.")
    return path


def _existingFolder(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; choose one that does.")
    return folder


def _tidy(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn the doubles of a table node back into whole numbers where they count something."""
    return [
        {
            key: int(value) if key in _WHOLE_NUMBERS and isinstance(value, float) and math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in rows
    ]


def _scaled(value: Any, factor: float) -> Any:
    return _rounded(value * factor) if isinstance(value, float) else None


def _rounded(value: Any) -> Any:
    if not isinstance(value, float) or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def _cellText(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.12g}"
    return _safe(str(value))


def _safe(text: str) -> str:
    text = " ".join(text.split())
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
