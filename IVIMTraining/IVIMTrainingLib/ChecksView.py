"""Step 5: how a trained network does on voxels with known truth, as plots of the scene and as numbers with units."""

from __future__ import annotations

from typing import Any

import numpy as np
from slicer.i18n import tr as _

from ivimcore.physics.parameters import PARAMETERS
from IVIMMappingLib.PanelLabels import showText
from IVIMMappingLib.TableText import copyText, fillTable, tableText

from .CheckNumbers import header, tableRows, verdict
from .LineChart import DASHED, DOTS, Curve, LineChart
from .TrainingState import KEYS, TrainingState

SCATTER, BIAS, CALIBRATION, CORRELATION = "scatter", "bias", "calibration", "correlation"
_BLUE, _ORANGE, _GREY = (0.0, 0.45, 0.7), (0.84, 0.37, 0.0), (0.4, 0.4, 0.4)


class ChecksView:
    """Shows the checks of the training that is looked at."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self.checks: dict[str, Any] | None = None
        self.chart = LineChart(ui.checksFrame, "IVIMChecks")
        for title, key in (
            (_("Estimated against true"), SCATTER), (_("Bias and spread against the truth"), BIAS),
            (_("Calibration of the uncertainty"), CALIBRATION), (_("D* against f"), CORRELATION),
        ):
            ui.checkComboBox.addItem(title, key)
        for key in KEYS:
            ui.checkParameterComboBox.addItem(PARAMETERS[key].symbol, key)
        connected = (
            ui.checkComboBox.connect("currentIndexChanged(int)", self._onChoice),
            ui.checkParameterComboBox.connect("currentIndexChanged(int)", self._onChoice),
            ui.copyChecksButton.connect("clicked(bool)", self._onCopy),
        )
        assert all(answer is not False for answer in connected)
        state.shownChanged.connect(self.refresh)

    def refresh(self) -> None:
        """Show the checks of the training that is looked at, or nothing."""
        shown = self.state.shown
        self.checks = None if shown is None else shown.checks()
        there = self.checks is not None
        for name in ("checksFrame", "checksTable", "copyChecksButton", "checkComboBox", "checkParameterComboBox",
                     "checkLabel", "checkParameterLabel"):
            getattr(self.ui, name).setVisible(there)
        if not there:
            showText(self.ui.verdictLabel, _("There is nothing to check yet: train a network, or choose one above."))
            self.chart.clear()
            return
        self.ui.checksButton.collapsed = False
        showText(self.ui.verdictLabel, verdict(self.checks))
        texts, tips = header()
        fillTable(self.ui.checksTable, texts, tableRows(self.checks), tips)
        self._draw()

    def enter(self) -> None:
        """Nothing to connect: this section has no shortcuts."""

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Take the nodes out of the scene."""
        self.chart.close()

    def _onChoice(self, index) -> None:
        if self.checks is not None and self.state.parameters is not None:
            self._draw()

    def _onCopy(self, checked=False) -> None:
        copyText(tableText(self.ui.checksTable))

    def _draw(self) -> None:
        kind = self.ui.checkComboBox.itemData(self.ui.checkComboBox.currentIndex)
        key = self.ui.checkParameterComboBox.itemData(self.ui.checkParameterComboBox.currentIndex)
        self.ui.checkParameterComboBox.setEnabled(kind in (SCATTER, BIAS))
        {SCATTER: self._scatter, BIAS: self._bias, CALIBRATION: self._calibration,
         CORRELATION: self._correlation}[kind](key)

    def _scatter(self, key: str) -> None:
        factor, name = PARAMETERS[key].display_factor, PARAMETERS[key].label
        known, found = (factor * _array(self.checks["scatter"][key][part]) for part in ("truth", "estimate"))
        ends = np.array([np.nanmin(known), np.nanmax(known)])
        self.chart.draw(
            [Curve(_("voxels"), known, found, _BLUE, DOTS), Curve(_("equal"), ends, ends, _GREY, DASHED)],
            _("True {name}").format(name=name), _("Estimated {name}").format(name=name),
        )

    def _bias(self, key: str) -> None:
        factor, name = PARAMETERS[key].display_factor, PARAMETERS[key].label
        known, bias, sd = (factor * _array(self.checks["bias"][key][part]) for part in ("truth", "bias", "sd"))
        self.chart.draw(
            [Curve(_("bias"), known, bias, _BLUE), Curve(_("bias + SD"), known, bias + sd, _ORANGE, DASHED),
             Curve(_("bias - SD"), known, bias - sd, _ORANGE, DASHED),
             Curve(_("none"), known, np.zeros(known.size), _GREY, DASHED)],
            _("True {name}").format(name=name), _("Estimate - truth [{unit}]").format(
                unit=PARAMETERS[key].display_unit),
        )  # fmt: skip

    def _calibration(self, key: str) -> None:
        levels = 100 * _array(self.checks["calibration"]["levels"])
        colors = dict(zip(KEYS, (_BLUE, _ORANGE, (0.0, 0.62, 0.45)), strict=True))
        curves = [
            Curve(PARAMETERS[name].symbol, levels, 100 * _array(self.checks["calibration"][name]), colors[name])
            for name in KEYS if name in self.checks["calibration"]
        ]
        curves.append(Curve(_("ideal"), np.array([0.0, 100.0]), np.array([0.0, 100.0]), _GREY, DASHED))
        self.chart.draw(curves, _("Interval should hold the truth in [%]"), _("It does in [%]"))

    def _correlation(self, key: str) -> None:
        fast, share = (
            PARAMETERS[name].display_factor * _array(self.checks["scatter"][name]["estimate"])
            for name in ("Dstar", "f")
        )
        self.chart.draw(
            [Curve(_("voxels"), share, fast, _BLUE, DOTS)],
            _("Estimated {name}").format(name=PARAMETERS["f"].label),
            _("Estimated {name}").format(name=PARAMETERS["Dstar"].label),
        )


def _array(values) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)
