"""Which steps of the panel are open: results open with the first result, and only then, so that nobody is disturbed."""

from __future__ import annotations

import qt
import slicer

from .PanelState import PanelState
from .Runs import runsOf

_LAYOUT_MS = 50
"""Milliseconds until the panel has found its new height; only then can it be scrolled to the results."""


class SectionFolding:
    """Opens step 4 when the scene gets its first run, and folds steps 1 and 2, whose work is done then."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self._hadRuns = False
        state.runsChanged.connect(self._onRuns)

    def refresh(self) -> None:
        """Show the results of a scene that brings some; fold them where there is nothing to see."""
        self._hadRuns = bool(runsOf(slicer.mrmlScene))
        self.ui.resultButton.collapsed = not self._hadRuns  # its setter is no slot, so Python lacks it

    def enter(self) -> None:
        """Nothing to connect: this section has no shortcuts."""

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def _onRuns(self) -> None:
        hasRuns = bool(runsOf(slicer.mrmlScene))
        if hasRuns and not self._hadRuns:
            self.ui.resultButton.collapsed = False
            self.ui.seriesButton.collapsed = True
            self.ui.regionButton.collapsed = True
            qt.QTimer.singleShot(_LAYOUT_MS, self._scroll)
        self._hadRuns = hasRuns

    def _scroll(self) -> None:
        if self.state.parameters is None:
            return
        widget = self.ui.resultButton.parent()
        while widget is not None and not widget.inherits("QScrollArea"):
            widget = widget.parent()
        if widget is not None:
            widget.ensureWidgetVisible(self.ui.resultButton)
