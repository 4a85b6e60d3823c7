"""Step 1, second part: the noise that is added while training, typed or estimated from the series."""

from __future__ import annotations

import math

from slicer.i18n import tr as _

from ivimcore.errors import InputError
from IVIMMappingLib.PanelLabels import showText

from .SeriesForTraining import measureSnr
from .TrainingState import TrainingState


class NoiseSection:
    """Keeps the lowest and highest SNR; an estimate is written into the same two boxes."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self._updating = False
        self._source = ""
        connected = (
            ui.snrLowSpinBox.connect("valueChanged(double)", self._onLow),
            ui.snrHighSpinBox.connect("valueChanged(double)", self._onHigh),
            ui.estimateSnrButton.connect("clicked(bool)", self._onEstimate),
        )
        assert all(answer is not False for answer in connected)
        state.seriesChanged.connect(self._showState)
        state.choicesChanged.connect(self._showState)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        self._source = ""
        self._fill()
        self._showState()

    def enter(self) -> None:
        """Show the choices again: IVIM Mapping may have loaded an earlier result and put them back after it."""
        self._fill()
        self._showState()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def _fill(self) -> None:
        self._updating = True
        self.ui.snrLowSpinBox.setValue(self.state.parameters.snrLow)
        self.ui.snrHighSpinBox.setValue(self.state.parameters.snrHigh)
        self._updating = False

    def _onLow(self, value) -> None:
        self._keep("snrLow", value)

    def _onHigh(self, value) -> None:
        self._keep("snrHigh", value)

    def _keep(self, name: str, value) -> None:
        if self._updating or self.state.parameters is None:
            return
        self._source = ""
        setattr(self.state.parameters, name, float(value))
        self.state.choicesChanged()

    def _onEstimate(self, checked=False) -> None:
        if self.state.series is None:
            return
        try:
            found = measureSnr(self.state.series)
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self.state.say("")
        self.state.parameters.snrLow, self.state.parameters.snrHigh = found.low, found.high
        self._fill()
        self._source = found.sentence
        self.state.choicesChanged()

    def _showState(self) -> None:
        p = self.state.parameters
        if p is None:
            return
        self.ui.estimateSnrButton.setEnabled(self.state.series is not None)
        if not 0 < p.snrLow <= p.snrHigh:
            text = _("The SNR must be positive, the lower one first.")
        elif self._source:
            text = self._source
        elif p.snrLow == p.snrHigh:
            text = _("Rician noise of exactly this SNR; other noise will be outside of the training.")
        else:
            text = _("Rician noise; the SNR is drawn from this range by its logarithm, half below {middle}.").format(
                middle=f"{math.sqrt(p.snrLow * p.snrHigh):.3g}"
            )
        showText(self.ui.noiseLabel, text)
