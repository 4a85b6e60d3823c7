"""How the work begins: with a new series, or with the question whether a lesion has changed since."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from .EarlierResults import offeredRun
from .PanelLabels import showText
from .PanelState import PanelState

NEW, FOLLOW_UP = "new", "follow-up"


class StartSection:
    """Two buttons at the top, saved in the scene; offers a follow-up where the scene says that it is the same patient.
    """

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        connected = (
            ui.newSeriesButton.connect("clicked(bool)", self._onNew),
            ui.followUpStartButton.connect("clicked(bool)", self._onFollowUp),
        )
        assert all(answer is not False for answer in connected)
        state.seriesChanged.connect(self._offer)
        state.runsChanged.connect(self._offer)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        isFollowUp = self.state.parameters.startMode == FOLLOW_UP
        self.ui.newSeriesButton.setChecked(not isFollowUp)
        self.ui.followUpStartButton.setChecked(isFollowUp)
        self.ui.followUpButton.setVisible(isFollowUp)
        self._offer()

    def enter(self) -> None:
        """Look again: series may have been loaded while another module was shown."""
        self._offer()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def _onNew(self, checked=False):
        self._choose(NEW)

    def _onFollowUp(self, checked=False):
        self._choose(FOLLOW_UP)

    def _choose(self, mode: str) -> None:
        if self.state.parameters is None:
            return
        self.state.parameters.startMode = mode
        self.refresh()
        self.state.startChanged()

    def _offer(self) -> None:
        if self.state.parameters is None:
            return
        isNew = self.state.parameters.startMode == NEW
        found = offeredRun(slicer.mrmlScene, self.state.series) if isNew else None
        offer = _("This scene holds an earlier result of the same patient: Follow-up compares the series with it.")
        showText(self.ui.offerLabel, offer if found is not None else "")
