"""Everything the panel computes, for Python scripts: fit a series of the scene, blocking or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ivimcore.errors import Cancelled, InputError
from ivimcore.estimators import DEFAULT
from ivimcore.jobs.job import Request
from ivimcore.reports.followup import FollowUp
from ivimcore.reports.referencecohort import load_reference

from .DicomImport import ImportedNodes, importDicom
from .EarlierResults import loadEarlier
from .FollowUp import EARLIER_SETTING, compareRuns
from .FollowUpMethod import methodOf
from .FollowUpRegions import copyRegions
from .MapDescription import STATUS
from .MapExport import exportMaps, exportScene, exportStatistics
from .RegionChoice import Region, chooseRegion
from .RunHandle import CANCELLED, FAILED, RunHandle
from .RunPlan import planRun
from .Runs import Run, runsOf
from .SegmentRegion import segmentIdsOf
from .SeriesImport import importSeries
from .SeriesReader import SeriesInScene, readSeries
from .StatisticsTable import rowsOfTable

_KIND_OF_MASK = {"auto": "body", "none": "whole"}


class MappingLogic:
    """Fits series of `scene`, whose application logic is `applicationLogic`.

    Example, in Slicer's Python console, with a diffusion-weighted sequence and a segmentation in the scene::

        logic = slicer.modules.ivimmapping.widgetRepresentation().self().logic
        series, liver = slicer.util.getNode("DWI"), slicer.util.getNode("liver")
        maps = logic.process(series, estimator="nlls", segmentationNode=liver)
        print(slicer.util.arrayFromVolume(maps["D"]).mean())
    """

    def __init__(self, scene: slicer.vtkMRMLScene, applicationLogic) -> None:
        self.scene = scene
        self.applicationLogic = applicationLogic

    def process(
        self, dwiNode, estimator: str | Sequence[str] = DEFAULT, segmentationNode=None,
        bvalues: Sequence[float] | None = None, wait: bool = True, *, options: Mapping[str, Any] | None = None,
        mask: str = "auto", exclude: Sequence[int] = (), average: str = "none", name: str | None = None,
        segments: Sequence[str] = (),
    ) -> dict[str, Any] | RunHandle:
        """Fit a series and add its maps to the scene, in a process of its own.

        Arguments: `dwiNode` sequence (or its proxy volume), DWI, vector or multivolume node, or a SeriesInScene;
        `estimator` one name or several; `segmentationNode` a segmentation, closed curve or label volume that limits the
        fit and whose regions are described; `bvalues` one per image [s/mm²] instead of those of the series; `options`
        of the one estimator, or name of an estimator -> its options; `mask` without a segmentation: "auto" the body,
        "none" every voxel; `exclude` numbers of images left out, from 1; `average` images of equal b: "none",
        "geometric" or "arithmetic"; `name` of the run, else made from series and estimator; `segments` names of those
        of the segmentation that are fitted, none for all.

        Returns a dictionary parameter key -> map node, "status" among them; for several estimators a dictionary of
        these by estimator. With `wait` False a RunHandle at once: call its `step` until it returns False.
        The window of the desktop program stays alive meanwhile.

        Raises InputError, before anything begins, for what cannot be fitted, and when the fit ends without a result;
        Cancelled if the run was cancelled; RuntimeError for a fault of ours. The scene is as before then.
        """
        series = dwiNode if isinstance(dwiNode, SeriesInScene) else readSeries(_node(dwiNode))
        used = np.ones(series.count, dtype=bool)
        for number in exclude:
            if not 1 <= int(number) <= series.count:
                raise InputError(f"Image {number} cannot be left out; the series has images 1 to {series.count}.")
            used[int(number) - 1] = False
        b = series.bvalues if bvalues is None else np.asarray(bvalues, dtype=float)
        if b.size != series.count:
            raise InputError(f"There are {b.size} b-values for {series.count} images; give one per image.")
        names = (estimator,) if isinstance(estimator, str) else tuple(estimator)
        requests = _requests(names, options or {})
        kind, regionNode = _regionKind(segmentationNode, mask)
        identifiers = segmentIdsOf(regionNode, segments)
        region = chooseRegion(series, kind, regionNode, identifiers, b, used)
        settings = {
            "regionKind": kind, "segmentIds": identifiers,
            "bvalueSource": None if bvalues is None else "given to process()",
        }
        handle = self.start(
            series, b, used, average, region, requests, name or "", settings=settings, regionNode=regionNode
        )
        if not wait:
            return handle
        handle.wait(between=_processEvents)
        maps = _mapsOf(handle)
        return maps[names[0]] if isinstance(estimator, str) else maps

    def start(
        self, series: SeriesInScene, bvalues: Sequence[float], used: Sequence[bool], average: str, region: Region,
        requests: Sequence[Request], name: str = "", *, settings: Mapping[str, Any] | None = None, regionNode=None,
    ) -> RunHandle:
        """Start a run of everything that was chosen and return its handle; nothing has been waited for.

        Arguments: `bvalues` (n,) [s/mm²] and `used` (n,) for every image of `series`; `average` as in `process`;
        `region` from chooseRegion; `requests` estimators with options; `name` of the run, or empty; `settings` further
        choices, kept with the run so that they can be brought back ('regionKind', 'segmentIds', 'organ' ...;
        'bvalueSource' says in words where edited b-values come from); `regionNode` that the region was made from.
        Raises InputError for what cannot be fitted; then nothing was started.
        """
        return RunHandle(
            planRun(self.scene, series, bvalues, used, average, region, requests, name, settings, regionNode)
        )

    # --- follow-up -----------------------------------------------------------------------------------------------

    def followUp(
        self, after, before: Run | str | Path, reference=None, segmentationNode=None, align: bool = False,
        **choices: Any,
    ) -> FollowUp:
        """Compare an examination with an earlier one of the same patient: `print(logic.followUp(...).text())`.

        Arguments: `after` a run, or the node of a new series, which is then fitted as the earlier one was, in its
        regions; `before` the earlier run, or the path of its scene (.mrb) or output folder; `reference` cohort
        whose limits decide, or its file, None for changes without a verdict; `segmentationNode` corrected regions
        of the new series instead of those that come along, which `align` moves by a rigid registration; `choices`
        as in `FollowUp.compareRuns`: keys, regionOf, holm, few.
        Raises InputError where something cannot be compared.
        """
        if not isinstance(before, Run):
            before = loadEarlier(self.scene, before)[0][0]
        if isinstance(reference, (str, Path)):
            reference = load_reference(reference)
        said: list[str] = []
        if not isinstance(after, Run):
            after = self._fitLike(before, after, segmentationNode, align, said)
        found = compareRuns(before, after, reference, **choices)
        return replace(found, warnings=(*found.warnings, *said))

    def _fitLike(self, before: Run, node, segmentationNode, align: bool, said: list[str]) -> Run:
        """Fit a series as an earlier run was fitted, in the regions that come along; `said` receives what differs."""
        series = node if isinstance(node, SeriesInScene) else readSeries(_node(node))
        method = methodOf(before, series.bvalues)
        said += method.sentences
        if segmentationNode is None:
            segmentationNode, sentence = copyRegions(self.scene, before, series, align)
            said.append(sentence)
        handle = self.process(
            series, method.estimator, segmentationNode, wait=False, options={method.estimator: method.options},
            average=method.average, exclude=[number for number, flag in enumerate(method.used, 1) if not flag],
        )
        handle.plan.settings[EARLIER_SETTING] = before.key
        handle.wait(between=_processEvents)
        _mapsOf(handle)
        return handle.runs[0]

    # --- before and after a fit --------------------------------------------------------------------------------

    def importSeries(self, path: str | Path, bval: str | Path | None = None, series: str | None = None) -> tuple:
        """Load a 4D NIfTI (with its .bval beside it, or `bval`), a NRRD or a folder of DICOM into the scene.

        `series` says which of several DICOM series: "8", or "17,18" for some that belong together. Returns the sequence
        node, the volume node that shows it, and what was decided while reading. Raises InputError if it cannot be read.
        """
        return importSeries(self.scene, self.applicationLogic, path, bval, series)

    def runs(self) -> list[Run]:
        """Return the runs of the scene, the newest first; each has `maps` and `provenance`."""
        return runsOf(self.scene)

    def importDicom(self, path: str | Path) -> ImportedNodes:
        """Read DICOM maps, segmentations and reports below a folder into the scene; see DicomImport.importDicom."""
        return importDicom(self.scene, path)

    def statistics(self, run: Run | None = None) -> list[dict[str, Any]]:
        """Return the statistics of a run, the newest if None: one row per region and map, in the unit of its 'unit'."""
        table = self._run(run).statistics
        return [] if table is None else rowsOfTable(table)

    def exportMaps(self, folder: str | Path, run: Run | None = None, fileFormat: str = "nii.gz") -> list[Path]:
        """Write the maps of a run, the newest if None, into a folder, which is made if it is not there."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        return exportMaps(self._run(run), folder, fileFormat)

    def exportStatistics(self, path: str | Path, runs: Sequence[Run] | None = None) -> list[Path]:
        """Write the statistics of runs, of all if None, as CSV, and their region numbers beside it."""
        return exportStatistics(self.runs() if runs is None else runs, path)

    def exportScene(self, path: str | Path) -> Path:
        """Write the whole scene as .mrb."""
        return exportScene(self.scene, path)

    def _run(self, run: Run | None) -> Run:
        runs = [run] if run is not None else self.runs()
        if not runs:
            raise InputError("There is no run in the scene; fit a series first.")
        return runs[0]


def _node(node):
    if node is None or not hasattr(node, "IsA"):
        raise InputError("No series was given; give the node of a diffusion-weighted series.")
    return node


def _requests(names: Sequence[str], options: Mapping[str, Any]) -> tuple[Request, ...]:
    """Give each estimator its options; those of a single one need not be under its name."""
    if len(names) == 1 and not (names[0] in options and isinstance(options[names[0]], Mapping)):
        return (Request(names[0], dict(options)),)
    unknown = [key for key in options if key not in names]
    if unknown:
        raise InputError(f"There are options for {', '.join(unknown)}, which is not among the estimators; add it.")
    return tuple(Request(name, dict(options.get(name, {}))) for name in names)


def _regionKind(node, mask: str) -> tuple[str, Any]:
    if node is None:
        if mask not in _KIND_OF_MASK:
            raise InputError(f"Unknown mask '{mask}'; choose 'auto' or 'none', or give a segmentation node.")
        return _KIND_OF_MASK[mask], None
    for className, kind in (
        ("vtkMRMLSegmentationNode", "segments"), ("vtkMRMLMarkupsClosedCurveNode", "curve"),
        ("vtkMRMLLabelMapVolumeNode", "labels"),
    ):
        if _node(node).IsA(className):
            return kind, node
    raise InputError(f"'{node.GetName()}' is no region; give a segmentation, a closed curve or a label volume.")


def _processEvents() -> None:
    """Let the window breathe, where there is one."""
    application = getattr(slicer, "app", None)
    if application is not None:
        application.processEvents()


def _mapsOf(handle: RunHandle) -> dict[str, dict[str, Any]]:
    if handle.state == CANCELLED:
        raise Cancelled("The run was cancelled; nothing was added to the scene.")
    if handle.state == FAILED:
        raise (RuntimeError if handle.isOurFault else InputError)(handle.sentence)
    return {run.estimator: _withStatus(run) for run in handle.runs}


def _withStatus(run: Run) -> dict[str, Any]:
    return dict(run.maps) if run.status is None else {**run.maps, STATUS: run.status}
