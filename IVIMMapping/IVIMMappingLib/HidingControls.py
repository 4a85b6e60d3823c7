"""'Hide where': by which map of the run voxels are hidden, and from which limit on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
from slicer.i18n import tr as _

from ivimcore.physics.parameters import INFORMATION, INFORMATION_MEANS, PERFUSION_EXISTS

from .MapDescription import describeMap
from .MapHiding import hideWhere, showAll
from .PanelState import PanelState
from .Runs import Run

_KEYS = ("f", "rmse", "Dstar_info", "f_info", "D_info")
"""Maps by which voxels may be hidden; misfits hide above their limit, everything else below."""
_ABOVE = ("rmse",)


class HidingControls:
    """Follows the two widgets; `changed()` is called after a person chose another map or limit."""

    def __init__(self, ui, state: PanelState, changed: Callable[[], None]) -> None:
        self.ui, self.state = ui, state
        self._changed = changed
        self._run: Run | None = None
        self._updating = False
        ui.thresholdComboBox.connect("currentIndexChanged(int)", self._onMap)
        ui.thresholdSpinBox.setKeyboardTracking(False)
        ui.thresholdSpinBox.connect("valueChanged(double)", self._onLimit)

    def fill(self, run: Run | None) -> None:
        """Offer the maps of this run, and show what the scene has chosen."""
        self._run = run
        self._updating = True
        box = self.ui.thresholdComboBox
        box.clear()
        box.addItem(_("nowhere"), "")
        for key in (key for key in _KEYS if run is not None and key in run.maps):
            words = _("{symbol} above the limit") if key in _ABOVE else _("{symbol} below the limit")
            box.addItem(words.format(symbol=describeMap(key).symbol), key)
        box.setCurrentIndex(max(0, box.findData(self.state.parameters.thresholdMap)))
        self._showLimit()
        self._updating = False

    def hide(self, run: Run, keys) -> None:
        """Hide voxels of the maps `keys` of a run as chosen; a run without the map that decides shows everything."""
        threshold = self.state.parameters.thresholdMap
        if threshold not in run.maps:
            showAll(run)
            return
        limit = self.state.parameters.thresholdValue / describeMap(threshold).parameter.display_factor
        for key in keys:
            hideWhere(run, key, threshold, limit, threshold in _ABOVE)

    def _showLimit(self) -> None:
        key, spin = self.state.parameters.thresholdMap, self.ui.thresholdSpinBox
        isUsed = self._run is not None and key in self._run.maps
        for widget in (self.ui.thresholdValueLabel, spin):
            widget.setVisible(isUsed)
        spin.setEnabled(isUsed)
        spin.setSuffix(f" {describeMap(key).parameter.display_unit}" if isUsed else "")
        spin.setValue(self.state.parameters.thresholdValue)

    def _onMap(self, index):
        if self._updating or self.state.parameters is None or index < 0:
            return
        key = self.ui.thresholdComboBox.itemData(index)
        self.state.parameters.thresholdMap = key
        self.state.parameters.thresholdValue = self._suggested(key)
        self._updating = True
        self._showLimit()
        self._updating = False
        self._changed()

    def _onLimit(self, value):
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.thresholdValue = float(value)
        self._changed()

    def _suggested(self, key: str) -> float:
        """Return a limit to begin with, in display units: the one that the statistics use, or the worst twentieth."""
        if not key or self._run is None:
            return 0.0
        factor = describeMap(key).parameter.display_factor
        if key == "f":
            return factor * PERFUSION_EXISTS
        if key.endswith(INFORMATION):
            return factor * INFORMATION_MEANS
        values = slicer.util.arrayFromVolume(self._run.maps[key])
        finite = values[np.isfinite(values)]
        return factor * float(np.percentile(finite, 95)) if finite.size else 0.0
