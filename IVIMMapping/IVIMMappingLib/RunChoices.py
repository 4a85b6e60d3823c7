"""The choices that a run was made with: brought back to the panel, and said in words."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ivimcore import available
from ivimcore.estimators import create

from .MappingParameterNode import REGION_KINDS, optionsOf
from .PanelState import PanelState
from .Runs import Run


def restoreChoices(state: PanelState, run: Run) -> str:
    """Bring series, b-values, region, estimator and options of a run back to the panel, and return what was done."""
    parameters, settings = state.parameters, run.settings
    done = []
    if run.seriesNode is not None and parameters.seriesNode != run.seriesNode:
        parameters.seriesNode = run.seriesNode
        state.seriesChanged()
        done.append(_("series"))
    if _restoreSignal(state, settings):
        done.append(_("b-values"))
    if _restoreRegion(state, run):
        done.append(_("region"))
    if _restoreEstimator(state, run):
        done.append(_("estimator and options"))
    if not done:
        return ""
    return _("Choices of this run restored: {what}.").format(what=", ".join(done))


def sentenceOfRun(run: Run) -> str:
    """Say in one paragraph what a run is: estimator, options, b-values, time, and what was noted."""
    about = run.provenance
    parts = [_("{estimator}, version {version}").format(
        estimator=run.estimator, version=about.get("versions", {}).get("ivimslicer", "?")
    )]
    options = changedOptions(run.estimator, about.get("options", {}))
    if options:
        parts.append(", ".join(f"{name} = {value}" for name, value in options.items()))
    b = about.get("bvalues_used")
    if b:
        parts.append(_("{count} images, b = {listed} s/mm²").format(
            count=len(b), listed=", ".join(f"{value:g}" for value in sorted(set(b)))
        ))
    if about.get("fit_seconds") is not None:
        parts.append(_("fitted in {seconds} s").format(seconds=f"{float(about['fit_seconds']):.1f}"))
    return "; ".join(parts) + "."


def changedOptions(estimator: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of an estimator that differ from its defaults."""
    if estimator not in available():
        return dict(options)
    defaults = {name: _asJson(value) for name, value in create(estimator).values().items()}
    plain = {name: _asJson(value) for name, value in options.items()}
    return {name: value for name, value in plain.items() if name in defaults and value != defaults[name]}


def _restoreSignal(state: PanelState, settings: dict[str, Any]) -> bool:
    parameters = state.parameters
    count = state.series.count if state.series is not None else 0
    b = np.array([np.nan if value is None else value for value in settings.get("bvalues") or []], dtype=float)
    used = [bool(flag) for flag in settings.get("used") or []]
    average = settings.get("average", parameters.average)
    if len(b) != count or len(used) != count or count == 0:
        return False  # another series, or a run of the shell: nothing is known to bring back
    isSame = np.array_equal(b, state.bvalues(), equal_nan=True) and list(state.used()) == used
    if isSame and parameters.average == average:
        return False
    parameters.bvalues = [] if np.array_equal(b, state.series.bvalues, equal_nan=True) else [float(x) for x in b]
    parameters.excludedImages = [number for number, flag in enumerate(used, start=1) if not flag]
    parameters.average = average
    state.signalChanged()
    return True


def _restoreRegion(state: PanelState, run: Run) -> bool:
    parameters, settings = state.parameters, run.settings
    kind = settings.get("regionKind")
    if kind not in REGION_KINDS or (kind not in ("body", "whole") and run.regionNode is None):
        return False
    node = run.regionNode if kind not in ("body", "whole") else parameters.regionNode
    ids = [str(identifier) for identifier in settings.get("segmentIds") or []]
    if (parameters.regionKind, parameters.regionNode, _plain(parameters.segmentIds)) == (kind, node, ids):
        return False
    parameters.regionNode = node
    parameters.segmentIds = ids
    parameters.regionKind = kind
    state.regionChanged()
    return True


def _restoreEstimator(state: PanelState, run: Run) -> bool:
    """Mark the run's estimator, tick it, and give it the options it had; the other estimators stay as they are."""
    if run.estimator not in available():
        return False
    parameters = state.parameters
    kept = run.settings.get("options")
    # The provenance says of a file only that there was one; the settings hold its path.
    wanted = dict(kept.get(run.estimator, {})) if isinstance(kept, dict) else changedOptions(
        run.estimator, run.provenance.get("options", {})
    )
    organ = run.settings.get("organ", parameters.organ)
    if "organ" in wanted and wanted["organ"] == organ:
        wanted.pop("organ")
    every = optionsOf(parameters)
    isSame = (
        state.marked == run.estimator and run.estimator in parameters.estimators and parameters.organ == organ
        and every.get(run.estimator, {}) == wanted
    )
    if isSame:
        return False
    state.marked = run.estimator
    if run.estimator not in parameters.estimators:
        parameters.estimators = [*parameters.estimators, run.estimator]
    parameters.organ = organ
    every[run.estimator] = wanted
    parameters.optionsJson = json.dumps({name: options for name, options in every.items() if options}, sort_keys=True)
    state.estimatorsChanged()
    return True


def _asJson(value):
    """Return a value as a provenance holds it: tuples are lists, and infinity, which JSON has not, is None."""
    return None if isinstance(value, float) and not math.isfinite(value) else json.loads(json.dumps(value, default=str))


def _plain(value):
    return value if isinstance(value, str) else list(value)
