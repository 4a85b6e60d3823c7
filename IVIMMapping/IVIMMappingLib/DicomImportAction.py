"""The entry of the import menu that brings maps, regions and reports back from an archive."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore.errors import InputError

from .DicomImport import ImportedNodes, importDicom
from .FileChoice import chooseFolder
from .MapDisplay import RUN_ATTRIBUTE
from .PanelState import PanelState
from .ResultLayout import showInUsualViews


class DicomImportAction:
    """Asks for a folder, imports what is in it, and says what came; `button` is the parent of the dialog."""

    def __init__(self, button, state: PanelState) -> None:
        self._button, self._state = button, state
        self.title = _("DICOM maps and regions…")
        self.tip = _("Maps, segmentations and reports of ours, parametric maps of others, ADC maps of scanners")

    def onTriggered(self, checked: bool = False) -> None:
        """Import what a person chooses."""
        self.importPath(chooseFolder(self._button, _("Folder with DICOM maps, segmentations or reports")))

    def importPath(self, path: str) -> bool:
        """Import a folder; tells whether that worked."""
        if not path or self._state.parameters is None:
            return False
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            found = importDicom(slicer.mrmlScene, path)
        except InputError as fault:
            self._state.say(str(fault), "error")
            return False
        finally:
            qt.QApplication.restoreOverrideCursor()
        if found.runs:
            first = next(iter(found.runs[0].maps.values()))
            self._state.parameters.activeRun = f"{first.GetAttribute(RUN_ATTRIBUTE)}/{found.runs[0].title}"
        self._state.runsChanged()
        self._show(found)
        self._state.say(" ".join([found.sentence, *found.notes]), "information")
        return True

    def _show(self, found: ImportedNodes) -> None:
        """Put the first map over the image in the usual views."""
        maps = [run.maps.get("D") or next(iter(run.maps.values())) for run in found.runs] + found.volumes
        if maps:
            series = self._state.series
            background = series.displayNode() if series is not None else None
            showInUsualViews(background, maps[0], self._state.parameters.overlayOpacity)
