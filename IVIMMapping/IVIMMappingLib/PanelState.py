"""What the sections of the panel share: the chosen series with its edits, the estimators, and what is running."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ivimcore import Acquisition, InputError
from ivimcore.estimators import DEFAULT, describe
from ivimcore.jobs.job import Request

from .Announcement import Announcement
from .MappingLogic import MappingLogic, RunHandle
from .MappingParameterNode import MappingParameterNode, optionsOf
from .RegionChoice import Region, chooseRegion
from .SeriesReader import SeriesInScene, worldMatrix


class PanelState:
    """Shared by the sections; each reads and writes `parameters`, and announces what it changed.

    Announcements without arguments: `seriesChanged` another series (or none); `signalChanged` its b-values, images
    used, or averaging; `regionChanged`; `estimatorsChanged` names, options, organ or SNR; `runChanged` a run began,
    went on or ended; `runsChanged` the runs of the scene; `mapChanged` the map that is shown; `cursorMoved` another
    position; `pinsChanged`; `startChanged` new series or follow-up; `earlierChanged` the earlier run of a follow-up;
    `sceneChanged` a scene file was added, so that everything is read anew.
    """

    def __init__(self, logic: MappingLogic) -> None:
        self.logic = logic
        self.parameters: MappingParameterNode | None = None
        self.series: SeriesInScene | None = None
        self.run: RunHandle | None = None
        self.cursor: tuple[float, float, float] | None = None  # RAS [mm]
        self.marked = DEFAULT  # the estimator whose row is current: described and set up, ticked or not
        self._region: tuple[tuple, Region] | None = None  # what the region was worked out from, and the region
        for name in (
            "seriesChanged", "signalChanged", "regionChanged", "estimatorsChanged", "runChanged", "runsChanged",
            "mapChanged", "cursorMoved", "pinsChanged", "startChanged", "earlierChanged", "sceneChanged",
        ):
            setattr(self, name, Announcement())
        self.message = Announcement()
        """Called with (sentence, level): level is 'error', 'warning' or '' to clear."""
        self.mapPicked = Announcement()
        """Called with the node of a map that a person chose where a series was asked for."""

    def say(self, sentence: str, level: str = "warning") -> None:
        """Show one sentence at the top of the panel; an empty one clears it."""
        self.message(sentence, level if sentence else "")

    # --- the series as it will be fitted -----------------------------------------------------------------------

    def bvalues(self) -> np.ndarray:
        """Return one b-value per image [s/mm²], edits included, NaN where nobody knows it; empty without a series."""
        if self.series is None:
            return np.zeros(0)
        edited = self.parameters.bvalues
        if len(edited) == self.series.count:
            return np.asarray(edited, dtype=float)
        return self.series.bvalues.copy()

    def used(self) -> np.ndarray:
        """Return for each image whether it is used."""
        used = np.ones(self.series.count if self.series else 0, dtype=bool)
        for number in self.parameters.excludedImages:
            if 1 <= number <= used.size:
                used[number - 1] = False
        return used

    def acquisition(self) -> Acquisition | None:
        """Return the b-values of the images used, or None as long as one of them is unknown or none is used."""
        used = self.used()
        b = self.bvalues()[used]
        if b.size == 0 or not (np.isfinite(b).all() and (b >= 0).all()):
            return None
        sigma = self.series.sigma(self.bvalues(), used) if self.parameters.snr <= 0 else None
        return Acquisition(bvalues=b, sigma=sigma)

    def region(self) -> Region:
        """Work out the chosen region; raises InputError with what is missing."""
        if self.series is None:
            raise InputError(_("No series is chosen; choose one in step 1."))
        parameters, node = self.parameters, self.parameters.regionNode
        chosen = (parameters.regionKind, node, tuple(parameters.segmentIds), self.bvalues(), self.used())
        # Worked out once for the table, the expectation and the run: it may take a second in a large series.
        basis = (
            id(self.series), *(chosen[0], node.GetID() if node else "", _lastChange(node), chosen[2]),
            chosen[3].tobytes(), chosen[4].tobytes(),
        )
        if self._region is None or self._region[0] != basis:
            self._region = basis, chooseRegion(self.series, *chosen)
        return self._region[1]

    # --- estimators --------------------------------------------------------------------------------------------

    def options(self, name: str) -> dict[str, Any]:
        """Return the options of an estimator that differ from its defaults, the organ included where it has one."""
        options = dict(optionsOf(self.parameters).get(name, {}))
        if self.parameters.organ != "none" and "organ" in {option.name for option in describe(name).options}:
            options.setdefault("organ", self.parameters.organ)
        return options

    def setOptions(self, name: str, options: dict[str, Any]) -> None:
        """Keep the options of one estimator, and announce it."""
        every = optionsOf(self.parameters)
        every[name] = options
        self.parameters.optionsJson = json.dumps({key: value for key, value in every.items() if value}, sort_keys=True)
        self.estimatorsChanged()

    def requests(self) -> tuple[Request, ...]:
        """Return the ticked estimators with their options."""
        return tuple(Request(name, self.options(name)) for name in self.parameters.estimators)

    # --- may Apply be pressed ----------------------------------------------------------------------------------

    def obstacle(self) -> str:
        """Return the sentence that says why the fit cannot begin, or an empty one."""
        if self.series is None:
            return _("Choose a diffusion-weighted series in step 1.")
        b = self.bvalues()
        used = self.used()
        if not used.any():
            return _("No image is used; tick at least the images of four different b-values in step 1.")
        if not np.isfinite(b[used]).all():
            count = np.count_nonzero(~np.isfinite(b[used]))
            return _("{count} of the images used have no b-value; type, paste or load them in step 1.").format(
                count=count
            )
        if (b[used] < 0).any():
            return _("A b-value is negative; correct it in step 1.")
        if not self.parameters.estimators:
            return _("Tick at least one estimator in step 3.")
        if self.parameters.regionKind in ("segments", "curve", "labels") and self.parameters.regionNode is None:
            return _("Choose the segmentation, curve or label volume of the region in step 2.")
        try:
            acquisition = self.acquisition()
            for request in self.requests():
                for problem in request.make().problems(acquisition):
                    if problem.blocks:
                        return str(problem)
        except InputError as fault:
            return str(fault)
        return ""


def _lastChange(node) -> tuple:
    """Return what differs after every change of a region's node: drawn, renamed, moved, or put under a transform."""
    if node is None:
        return ()
    matrix = worldMatrix(node)
    basis = [node.GetMTime(), None if matrix is None else matrix.tobytes()]
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
        pictures = [segment.GetRepresentation("Binary labelmap") for segment in segments]
        basis += [segment.GetMTime() for segment in segments]
        basis += [picture.GetMTime() for picture in pictures if picture is not None]
    elif node.IsA("vtkMRMLMarkupsNode"):
        # A moved point leaves the time of the node as it was.
        basis.append(slicer.util.arrayFromMarkupsControlPoints(node).tobytes())
    elif node.IsA("vtkMRMLVolumeNode") and node.GetImageData() is not None:
        basis.append(node.GetImageData().GetMTime())
    return tuple(basis)
