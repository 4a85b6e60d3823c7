"""'What can I expect?': the expected error of each parameter with this protocol and noise, before anything is run."""

from __future__ import annotations

import math

import numpy as np
import qt
from slicer.i18n import tr as _

from ivimcore import PARAMETERS, InputError
from ivimcore.reports.expectation import Expectation, expect
from ivimcore.reports.recommendation import recommend

from .PanelLabels import showText
from .PanelState import PanelState
from .RegionNoise import RegionNoise
from .TableText import Cell, fillTable

COLORS = {"good": ("#b7e4cf", "#0b3d2a"), "fair": ("#ffe3a3", "#4a3200"), "poor": ("#f7c0b5", "#5a1408")}
"""Background and text of a level: both are set, so that they read alike in light and dark palettes, with a word."""
_DELAY = 200
"""Milliseconds without a further change after which everything is worked out anew."""
_SAMPLE = 20_000


class ExpectationSection:
    """Fills the table of expected errors for the marked estimator, and the sentence that recommends one."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self._updating = False
        self._noise = RegionNoise()
        self._timer = qt.QTimer(ui.expectationTable)
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self.update)
        ui.snrSpinBox.setKeyboardTracking(False)
        ui.snrSpinBox.connect("valueChanged(double)", self._onSnr)
        for announcement in (state.seriesChanged, state.signalChanged, state.regionChanged, state.estimatorsChanged):
            announcement.connect(self._updateSoon)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        self._updating = True
        self.ui.snrSpinBox.setValue(self.state.parameters.snr)
        self._updating = False
        self.update()

    def enter(self) -> None:
        """Nothing to connect: this section has no shortcuts."""

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Work out nothing any more."""
        self._timer.stop()

    def update(self) -> None:
        """Work out the expectation for the present choices."""
        if self.state.parameters is None:
            return
        try:
            acquisition = self.state.acquisition()
        except InputError as fault:
            self._show([], str(fault), "")
            return
        if acquisition is None:
            self._show([], _("Choose a series with known b-values first."), "")
            return
        snr, source = self._snr()
        if snr is None:
            self._show([], source, recommend(acquisition))
            return
        name = self.state.marked
        options = self.state.options(name)
        try:
            expected = expect(acquisition, snr, options.get("organ", self.state.parameters.organ), name, options)
        except InputError as fault:
            self._show([], str(fault), recommend(acquisition, snr))
            return
        self._show(expected, source, recommend(acquisition, snr))

    def _snr(self) -> tuple[float | None, str]:
        """Return the SNR at b = 0 and a sentence where it comes from; None where nobody knows."""
        typed = self.state.parameters.snr
        if typed > 0:
            return typed, _("One voxel of typical tissue; SNR {snr} as typed.").format(snr=f"{typed:.3g}")
        try:
            region = self.state.region()
        except InputError as fault:
            return None, str(fault)
        b, used, series = self.state.bvalues(), self.state.used(), self.state.series
        sigma, method = series.sigma(b, used), series.sigmaMethod
        if self.state.parameters.regionKind not in ("body", "whole"):
            # A prostate beside a coil or a moving liver may scatter several times more than the body as a whole.
            own, ownMethod = self._noise.measure(series, region, b, used)
            sigma, method = (own, ownMethod) if own else (sigma, method)
        if not sigma:
            return None, _("The noise of this series cannot be estimated; type the SNR above.")
        image = series.image(int(np.flatnonzero(used)[np.argmin(b[used])]))
        values = image[region.mask]
        values = values[:: max(1, values.size // _SAMPLE)]
        values = values[np.isfinite(values)]
        signal = float(np.median(values)) if values.size else 0.0
        if signal <= 0:
            return None, _("The image of the lowest b-value holds no signal in the region; type the SNR above.")
        return signal / sigma, _(
            "One voxel of typical tissue; SNR {snr}: median signal {signal} of the region at b = {b} s/mm², noise "
            "{sigma}, both in signal units. {method}"
        ).format(
            snr=f"{signal / sigma:.3g}", signal=f"{signal:.4g}", b=f"{b[used].min():g}", sigma=f"{sigma:.3g}",
            method=method,
        )

    def _show(self, expected: list[Expectation], source: str, recommendation: str) -> None:
        header = [_("Parameter"), _("Level"), _("Expected error"), _("Typical")]
        tips = [
            _("What is estimated"), _("Good up to 20 %, fair up to 50 % of the typical value, else poor"),
            _("Expected standard deviation in one voxel"), _("Value of the tissue for which this holds"),
        ]
        fillTable(self.ui.expectationTable, header, [_cells(line) for line in expected], tips)
        self.ui.expectationTable.setVisible(bool(expected))
        showText(self.ui.expectationLabel, source)
        showText(self.ui.recommendLabel, recommendation)

    def _updateSoon(self) -> None:
        self._timer.start(_DELAY)

    def _onSnr(self, value):
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.snr = float(value)
        self.state.estimatorsChanged()


def _cells(line: Expectation) -> list[Cell]:
    parameter = PARAMETERS[line.key]
    isKnown = math.isfinite(line.relative)
    error = f"± {parameter.format(line.deviation, 2)} ({100 * line.relative:.0f} %)" if isKnown else _("undetermined")
    words = {"good": _("✓ good"), "fair": _("~ fair"), "poor": _("✗ poor")}
    return [
        Cell(parameter.symbol, line.sentence, bold=True),
        Cell(words[line.level], line.sentence, colors=COLORS[line.level]),
        Cell(error, line.sentence), Cell(parameter.format(line.typical), line.sentence),
    ]
