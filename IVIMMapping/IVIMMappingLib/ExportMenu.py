"""The menu of the export button: statistics, maps, scene and figure, each with one sentence of where it went."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import InputError

from . import FileChoice
from .ActiveRun import activeRun
from .MapExport import exportFigure, exportMaps, exportScene, exportStatistics
from .PanelState import PanelState
from .Runs import runsOf


class ExportMenu:
    """Fills a tool button with a menu; `actions` are its entries by name, for tests."""

    def __init__(self, button, state: PanelState) -> None:
        self._button, self._state = button, state
        self._menu = qt.QMenu(button)  # kept: a menu without a reference disappears
        self._menu.setToolTipsVisible(True)
        self.actions = {}
        for name, title, tip, handler in (
            ("statistics", _("Statistics of all runs (CSV)…"), _("Stored units, full precision"), self._onStatistics),
            ("nifti", _("Maps as NIfTI…"), _("Voxels without a value are NaN, a README says the units"), self._onNifti),
            ("nrrd", _("Maps as NRRD…"), _("Voxels without a value are NaN, a README says the units"), self._onNrrd),
            ("scene", _("Scene (.mrb)…"), _("Everything, as Slicer saves it"), self._onScene),
            ("figure", _("Overview figure (PNG)…"), _("All maps of all runs in one picture"), self._onFigure),
        ):
            action = self._menu.addAction(title)
            action.setToolTip(tip)
            action.connect("triggered(bool)", handler)
            self.actions[name] = action
        button.setMenu(self._menu)
        button.setPopupMode(qt.QToolButton.InstantPopup)

    def _onStatistics(self, checked=False):
        path = self._ask(_("Save the statistics"), "statistics.csv", "CSV (*.csv)", ".csv")
        self._export(path, lambda: exportStatistics(runsOf(slicer.mrmlScene), path))

    def _onNifti(self, checked=False):
        self._exportMaps("nii.gz")

    def _onNrrd(self, checked=False):
        self._exportMaps("nrrd")

    def _onScene(self, checked=False):
        path = self._ask(_("Save the scene"), "ivim.mrb", "MRB (*.mrb)", ".mrb")
        self._export(path, lambda: exportScene(slicer.mrmlScene, path))

    def _onFigure(self, checked=False):
        path = self._ask(_("Save the figure"), "ivim.png", "PNG (*.png)", ".png")
        self._export(path, lambda: exportFigure(
            runsOf(slicer.mrmlScene), path, slicer.mrmlScene, slicer.app.applicationLogic()
        ))

    def _exportMaps(self, fileFormat: str) -> None:
        run = activeRun(self._state)
        if run is None:
            return
        folder = FileChoice.chooseFolder(self._button, _("Folder of the maps of {run}").format(run=run.name))
        self._export(folder, lambda: exportMaps(run, folder, fileFormat))

    def _ask(self, title: str, suggestion: str, filters: str, suffix: str) -> str:
        path = FileChoice.saveFile(self._button, title, suggestion, filters)
        return path if not path or path.lower().endswith(suffix) else path + suffix

    def _export(self, path: str, write) -> None:
        """Write, and say where; or what went wrong. Nothing happens where the person chose no place."""
        if not path:
            return
        try:
            write()
        except (InputError, OSError) as fault:
            self._state.say(
                str(fault) if isinstance(fault, InputError)
                else _("'{path}' could not be written ({reason}); choose another place.").format(
                    path=path, reason=fault.strerror or fault
                ),
                "error",
            )
            return
        self._state.say(_("Written: {path}").format(path=Path(path)), "information")
