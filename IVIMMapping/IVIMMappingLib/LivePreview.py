"""The chosen estimators on single signals, as fast as a plot is redrawn; no Qt, no scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ivimcore import Acquisition, InputError
from ivimcore.estimators import Estimator
from ivimcore.jobs.job import Request
from ivimcore.reports.preview import NOT_FITTED, POINTS, Preview, preview

_MOST_KEPT = 64
NO_PREVIEW = "A trained network has no live preview, because PyTorch is not loaded into Slicer itself; press Apply."


class LivePreview:
    """Fits signals with the estimators and the acquisition given last, and keeps what it has fitted.

    `problem` says in one sentence why nothing is fitted, or is empty.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._used = np.zeros(0, dtype=bool)
        self._group: np.ndarray | None = None
        self._average = "none"
        self._acquisition: Acquisition | None = None
        self._estimators: list[Estimator] = []
        self._kept: dict[bytes, list[Preview]] = {}

    def configure(
        self, acquisition: Acquisition | None, used: np.ndarray, average: str, requests: Sequence[Request]
    ) -> None:
        """Fit from now on in this way.

        `acquisition` is that of the images `used` (n,) of bool, None where a b-value is unknown; `average` one of
        `data.series.AVERAGING`; a request that cannot be made becomes the `problem`.
        """
        self._kept.clear()
        self._used, self._average, self._group = used, average, None
        self._acquisition, self._estimators, self.problem = acquisition, [], ""
        if acquisition is None:
            return
        if average != "none":
            bvalues, group = acquisition.groups()
            if bvalues.size < acquisition.count:
                # As the run does: the noise of a mean is not that of one image.
                self._group, self._acquisition = group, Acquisition(bvalues)
        try:
            self._estimators = [request.make() for request in requests]
        except InputError as fault:
            self.problem = str(fault)

    def fit(self, signal: np.ndarray) -> list[Preview]:
        """Return what each estimator says of `signal` (n,) [signal units] of all images; [] where nothing is fitted."""
        if self._acquisition is None or not self._estimators or signal.size != self._used.size:
            return []
        chosen = self._averaged(np.asarray(signal, dtype=float)[self._used])
        key = chosen.tobytes()
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = [_fit(estimator, chosen, self._acquisition) for estimator in self._estimators]
        return self._kept[key]

    def _averaged(self, signal: np.ndarray) -> np.ndarray:
        if self._group is None:
            return signal
        counts = np.bincount(self._group)
        if self._average == "geometric":
            with np.errstate(invalid="ignore", divide="ignore"):
                logs = np.log(np.where(signal > 0, signal, np.nan))
            return np.exp(np.bincount(self._group, weights=logs) / counts)
        return np.bincount(self._group, weights=signal) / counts


def _fit(estimator: Estimator, signal: np.ndarray, acquisition: Acquisition) -> Preview:
    """Fit one signal, but not by what would load torch: in Slicer's own process that can end Slicer."""
    if not getattr(estimator, "needs_torch", False):
        return preview(estimator, signal, acquisition)
    blocking = [str(problem) for problem in estimator.problems(acquisition) if problem.blocks]
    b = np.linspace(0.0, max(float(acquisition.bvalues.max()), 1.0), POINTS)
    nothing, nowhere = dict.fromkeys(estimator.parameters, np.nan), np.full(POINTS, np.nan)
    return Preview(
        estimator.name, nothing, dict(nothing), np.nan, NOT_FITTED, (blocking or [NO_PREVIEW])[0], b, nowhere,
        nowhere.copy(),
    )
