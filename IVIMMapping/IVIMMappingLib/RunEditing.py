"""A run gets another name in place, or is taken out of the scene after a second click; no dialog is needed."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from .PanelState import PanelState
from .Runs import Run, removeRun, renameRun

_SURE_MILLISECONDS = 4000
"""How long the button asks whether a run shall really be removed."""


class RunEditing:
    """Follows the two buttons below the results.

    `run()` returns the run they are about; `removing()` is called before one is taken out of the scene.
    """

    def __init__(self, ui, state: PanelState, run: Callable[[], Run | None], removing: Callable[[], None]) -> None:
        self.ui, self.state = ui, state
        self._run, self._removing = run, removing
        self._sure = qt.QTimer(ui.removeRunButton)
        self._sure.setSingleShot(True)
        self._sure.connect("timeout()", self.reset)
        ui.renameRunButton.connect("clicked(bool)", self._onRename)
        ui.renameRunEdit.connect("returnPressed()", self._onRenamed)
        ui.removeRunButton.connect("clicked(bool)", self._onRemove)

    def reset(self) -> None:
        """Forget that a button was pressed once."""
        self._sure.stop()
        self.ui.removeRunButton.setText(_("Remove"))
        self.ui.renameRunEdit.setVisible(False)
        self.ui.renameRunButton.setText(_("Rename…"))

    def _onRename(self, checked=False):
        if not self.ui.renameRunEdit.isHidden():
            self._onRenamed()
            return
        self.ui.renameRunEdit.setText(self._run().name)
        self.ui.renameRunEdit.setVisible(True)
        self.ui.renameRunEdit.setFocus()
        self.ui.renameRunEdit.selectAll()
        self.ui.renameRunButton.setText(_("Keep name"))

    def _onRenamed(self):
        name, run = self.ui.renameRunEdit.text.strip(), self._run()
        self.reset()
        if name and run is not None and name != run.name:
            renameRun(run, name)
            self.state.runsChanged()

    def _onRemove(self, checked=False):
        if not self._sure.isActive():
            self.ui.removeRunButton.setText(_("Really remove?"))
            self._sure.start(_SURE_MILLISECONDS)
            return
        run = self._run()
        self.reset()
        self._removing()
        removeRun(slicer.mrmlScene, run)
        self.state.parameters.activeRun = ""
        self.state.runsChanged()
