"""Apply and Cancel: what is in the way, how long it will take, how far it is, what came of it."""

from __future__ import annotations

import json
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.estimators import create
from ivimcore.jobs.expectedtime import expected_seconds

from .FollowUp import EARLIER_SETTING
from .MappingParameterNode import optionsOf
from .PanelLabels import showText
from .PanelState import PanelState

RATES = "IVIMMapping/rates"
"""Key of the user's settings: µs per voxel that each estimator took on this computer, as JSON."""
LONG = 300.0
"""Seconds above which a person is asked before the run begins."""
LARGE = 2e9
"""Bytes above which a person is asked before the run begins."""
_WORKING, _PIECES, _DELAY = 50, 0, 150
"""Milliseconds between two looks at the process, between two pieces of our own work (whatever the window has to do goes
first), and before the time is estimated."""


class RunSection:
    """Starts a run, moves it on by a timer, and shows its progress; a run goes on while another module is shown."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self._handle = None
        self._abandoned: list = []
        self._voxels = 0
        self._timer = qt.QTimer(ui.applyButton)
        self._timer.connect("timeout()", self._onTimer)
        self._later = qt.QTimer(ui.applyButton)
        self._later.setSingleShot(True)
        self._later.connect("timeout()", self._showExpectedTime)
        ui.applyButton.connect("clicked(bool)", self._onApply)
        for announcement in (state.seriesChanged, state.signalChanged, state.regionChanged, state.estimatorsChanged):
            announcement.connect(self._onChoices)

    def refresh(self) -> None:
        """Show what the scene has chosen; a run of the scene before ends in the background."""
        if self._handle is not None and self.state.run is not self._handle:
            self._abandoned.append(self._handle)
            self._handle = None
        self.ui.progressBar.setVisible(self._handle is not None)
        showText(self.ui.progressLabel, "")
        self.ui.logText.setPlainText("")
        self._onChoices()

    def enter(self) -> None:
        """Look again: nodes may have changed while another module was shown."""
        self._onChoices()

    def exit(self) -> None:
        """A run goes on."""

    def close(self) -> None:
        """End everything at once; nothing waits for a widget that is gone."""
        self._timer.stop()
        self._later.stop()
        for handle in [*self._abandoned, *([self._handle] if self._handle is not None else [])]:
            handle.cancel()
            handle.wait()
        self._abandoned, self._handle = [], None

    # --- before a run ------------------------------------------------------------------------------------------

    def _onChoices(self) -> None:
        if self.state.parameters is None:
            return
        self._showButton(self.state.obstacle())
        self._later.start(_DELAY)

    def _showButton(self, obstacle: str) -> None:
        button = self.ui.applyButton
        if self._handle is not None:
            button.setText(_("Cancel"))
            button.setEnabled(True)
            button.setToolTip(_("End this run; nothing of it is kept"))
            return
        button.setText(_("Apply"))
        if not obstacle and not button.enabled:
            showText(self.ui.expectedTimeLabel, "")  # what was in the way is gone; the time follows in a moment
        button.setEnabled(not obstacle)
        button.setToolTip(obstacle or _("Fit the ticked estimators in the background (Slicer stays usable)"))
        if obstacle:
            showText(self.ui.expectedTimeLabel, obstacle)

    def _showExpectedTime(self) -> None:
        if self.state.parameters is None or self._handle is not None:
            return
        obstacle = self.state.obstacle()
        if not obstacle:
            try:
                region = self.state.region()
            except InputError as fault:
                obstacle = str(fault)
        self._showButton(obstacle)
        if obstacle:
            return
        voxels = int(region.mask.sum())
        requests = self.state.requests()
        showText(
            self.ui.expectedTimeLabel,
            _("Expected time: {time} for {voxels} voxels and {estimators}.").format(
                time=durationText(self._expectedSeconds(voxels)), voxels=f"{voxels:,}".replace(",", " "),
                estimators=", ".join(request.name for request in requests),
            )
        )

    def _expectedSeconds(self, voxels: int) -> float:
        images = self.state.acquisition()
        count = images.count if self.state.parameters.average == "none" else images.distinct.size
        plain = [request.name for request in self.state.requests() if not self._slows(request.name)]
        measured = {name: rate for name, rate in rememberedRates().items() if name in plain}
        return expected_seconds(self.state.requests(), voxels, count, measured=measured)

    def _slows(self, name: str) -> bool:
        """Tell whether options were changed on which the time may depend."""
        return bool(set(optionsOf(self.state.parameters).get(name, {})) - {"organ", "bounds"})

    def _expectedBytes(self) -> float:
        """Return the memory that the images for the process and the maps of all estimators take, about."""
        maps = 0
        for request in self.state.requests():
            estimator = create(request.name, **request.options)
            extras = estimator.extra_keys() if hasattr(estimator, "extra_keys") else ()
            maps += 2 * len(estimator.parameters) + 2 + len(extras)
        grid = 1
        for extent in self.state.series.geometry.shape:
            grid *= int(extent)
        return 4.0 * grid * (self.state.series.count + maps)

    def _mayBegin(self, voxels: int) -> bool:
        seconds, size = self._expectedSeconds(voxels), self._expectedBytes()
        if (seconds <= LONG and size <= LARGE) or slicer.app.testingEnabled():
            return True
        return slicer.util.confirmOkCancelDisplay(
            _("This run will take about {time} and {size} GB of memory. Begin?").format(
                time=durationText(seconds), size=f"{size / 1e9:.1f}"
            )
        )

    # --- during a run ------------------------------------------------------------------------------------------

    def _onApply(self, checked=False):
        if self._handle is not None:
            self._handle.cancel()
            self.ui.applyButton.setEnabled(False)
            showText(self.ui.progressLabel, _("Ending the run…"))
            return
        obstacle = self.state.obstacle()
        if obstacle:
            self.state.say(obstacle, "error")
            return
        self.state.say("")
        parameters = self.state.parameters
        try:
            region = self.state.region()
            self._voxels = int(region.mask.sum())
            if not self._mayBegin(self._voxels):
                return
            self._handle = self.state.logic.start(
                self.state.series, self.state.bvalues(), self.state.used(), parameters.average, region,
                self.state.requests(), parameters.runName.strip(), settings=settingsOf(self.state),
                regionNode=parameters.regionNode if parameters.regionKind in ("segments", "curve", "labels") else None,
            )
        except (InputError, OSError) as fault:
            self._handle = None
            self.state.say(str(fault), "error")
            return
        self.state.run = self._handle
        self.ui.progressBar.setValue(0)
        self.ui.progressBar.setVisible(True)
        self.ui.logText.setPlainText("")
        self._showButton("")
        self._timer.start(_PIECES)
        self.state.runChanged()

    def _onTimer(self):
        # A run of a scene that was closed has still to end its process and to remove its folder.
        self._abandoned = [handle for handle in self._abandoned if handle.step()]
        handle = self._handle
        if handle is not None and self.state.run is not handle:
            self._abandoned.append(handle)
            self._handle = handle = None
        if handle is None:
            if not self._abandoned:
                self._timer.stop()
            return
        if handle.isOver:
            self._finish(handle)
            return
        handle.step()
        self._showProgress(handle)
        # What comes after the last step takes as long again: in a turn of its own it does not hold up the window.
        isOurs = handle.isOver or handle.state == "loading" or handle.processId is None
        self._timer.setInterval(_PIECES if isOurs else _WORKING)

    def _showProgress(self, handle) -> None:
        self.ui.progressBar.setValue(round(1000 * handle.fraction))
        left = "" if handle.secondsLeft is None else _(", {time} left").format(time=durationText(handle.secondsLeft))
        showText(self.ui.progressLabel, f"{handle.statusText}{left}")
        shown = "\n".join(handle.log)
        if self.ui.logText.toPlainText() != shown:
            self.ui.logText.setPlainText(shown)
            bar = self.ui.logText.verticalScrollBar()
            bar.setValue(bar.maximum)

    # --- after a run -------------------------------------------------------------------------------------------

    def _finish(self, handle) -> None:
        self._handle = None
        self._timer.stop()
        self.ui.progressBar.setVisible(False)
        if handle.state == "done":
            self._rememberRates(handle)
            if handle.runs and self.state.parameters is not None:
                self.state.parameters.activeRun = handle.runs[0].key
            showText(
                self.ui.progressLabel,
                _("Done in {time}: {runs}.").format(
                    time=durationText(handle.seconds), runs=", ".join(run.name for run in handle.runs)
                )
            )
            if handle.notes:
                showText(
                    self.ui.progressLabel,
                    self.ui.progressLabel.text + " " + _("What was decided on the way stands in the log."),
                )
            self.state.runsChanged()
        elif handle.state == "cancelled":
            showText(
                self.ui.progressLabel,
                _("Cancelled after {time}; the scene is as before.").format(time=durationText(handle.seconds))
            )
        else:
            showText(self.ui.progressLabel, _("The run failed; the scene is as before."))
            self.state.say(handle.sentence, "error")
        self.state.run = None
        self.state.runChanged()
        self._onChoices()

    def _rememberRates(self, handle) -> None:
        rates = rememberedRates()
        for run in handle.runs:
            seconds = run.provenance.get("fit_seconds")
            if seconds and self._voxels >= 1000 and not self._slows(run.estimator):
                rates[run.estimator] = 1e6 * float(seconds) / self._voxels
        slicer.app.userSettings().setValue(RATES, json.dumps(rates))


def settingsOf(state: PanelState) -> dict[str, Any]:
    """Return what a run keeps of the panel, beside what every run keeps, so that it can be brought back with it."""
    parameters = state.parameters
    followUp = {EARLIER_SETTING: parameters.earlierRun} if parameters.startMode == "follow-up" else {}
    return {
        **followUp,
        "regionKind": parameters.regionKind,
        "segmentIds": list(parameters.segmentIds),
        "organ": parameters.organ,
        "options": optionsOf(parameters),
        "snr": parameters.snr,
    }


def rememberedRates() -> dict[str, float]:
    """Return µs per voxel of each estimator as measured on this computer; empty where nothing was measured."""
    try:
        rates = json.loads(slicer.app.userSettings().value(RATES) or "{}")
        return {str(name): float(rate) for name, rate in rates.items() if float(rate) > 0}
    except (ValueError, TypeError, AttributeError):
        return {}


def durationText(seconds: float) -> str:
    """Write a duration for a person: '0.8 s', '45 s', '3 min', '2.5 h'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
