"""Which run and which map the panel shows: written in the scene, found again after it was loaded."""

from __future__ import annotations

import slicer

from .PanelState import PanelState
from .Runs import Run, runsOf


def activeRun(state: PanelState, runs: list[Run] | None = None) -> Run | None:
    """Return the run that the panel shows, the newest where the remembered one is gone; None without any."""
    runs = runsOf(slicer.mrmlScene) if runs is None else runs
    return next((run for run in runs if run.key == state.parameters.activeRun), runs[0] if runs else None)


def activeMap(state: PanelState, run: Run | None) -> str | None:
    """Return the key of the map that the panel shows of a run: the remembered one, or the first that there is."""
    if run is None or not run.maps:
        return None
    wanted = (state.parameters.activeMap, "D", "ADC")
    return next((key for key in wanted if key in run.maps), next(iter(run.maps)))
