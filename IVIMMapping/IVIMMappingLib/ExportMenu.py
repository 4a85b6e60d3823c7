"""The menu of the export button: statistics, maps, scene and figure, each with one sentence of where it went."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.reports.dicomsource import PatientIdNeeded

from . import FileChoice
from .ActiveRun import activeRun
from .DicomExport import exportDicom, sourceFiles
from .DicomPackages import offerHighdicom
from .MapExport import exportFigure, exportMaps, exportScene, exportStatistics
from .MapRecognition import recognisedMaps
from .PanelState import PanelState
from .Runs import runsOf
from .ScannerAdc import comparisons


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
        self.forms = self._addForms()
        button.setMenu(self._menu)
        button.setPopupMode(qt.QToolButton.InstantPopup)

    def _addForms(self) -> dict:
        """Add the entry for archives, and below it a tick mark for each form that it writes."""
        self._menu.addSeparator()
        action = self._menu.addAction(_("DICOM for an archive…"))
        action.setToolTip(_("The forms ticked below, into a folder of the study; research use, no archive was tried"))
        action.connect("triggered(bool)", self._onDicom)
        self.actions["dicom"] = action
        forms = {}
        for name, title, tip in (
            ("maps", _("DICOM: parametric maps"), _("Exact numbers with codes; few viewers show them")),
            ("images", _("DICOM: plain MR images"), _("Whole numbers that every viewer shows")),
            ("capture", _("DICOM: colour picture"), _("The overview figure as secondary capture")),
            ("report", _("DICOM: report and segmentation"), _("Statistics of each segment as TID 1500")),
        ):
            forms[name] = self._menu.addAction(title)
            forms[name].setCheckable(True)
            forms[name].setChecked(True)
            forms[name].setToolTip(tip)
        return forms

    def _onDicom(self, checked=False):
        run = activeRun(self._state)
        if run is None:
            return
        forms = [name for name, action in self.forms.items() if action.isChecked()]
        if not forms:
            self._state.say(_("Tick at least one of the DICOM forms below the entry."), "warning")
            return
        missing = offerHighdicom()
        if missing:
            self._state.say(missing, "warning")
            return
        source = sourceFiles(run) or FileChoice.chooseFolder(
            self._button, _("Folder with the DICOM series that was mapped")
        )
        folder = FileChoice.chooseFolder(self._button, _("Folder for the DICOM objects")) if source else ""
        self._export(folder, lambda: self._writeDicom(run, source, folder, forms))

    def _writeDicom(self, run, source, folder: str, forms: list[str]) -> str:
        scene, logic = slicer.mrmlScene, slicer.app.applicationLogic()
        try:
            done = exportDicom(run, source, folder, forms, scene, logic)
        except PatientIdNeeded as fault:
            patientId = FileChoice.askText(self._button, _("Patient ID"), str(fault))
            if not patientId:
                raise
            done = exportDicom(run, source, folder, forms, scene, logic, patientId)
        return " ".join([f"{done.folder} ({len(done.files)} DICOM).", *done.notes])

    def _onStatistics(self, checked=False):
        path = self._ask(_("Save the statistics"), "statistics.csv", "CSV (*.csv)", ".csv")
        runs = runsOf(slicer.mrmlScene)
        beside = comparisons(runs, recognisedMaps(slicer.mrmlScene)) if path else []
        self._export(path, lambda: exportStatistics(runs, path, beside))

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
            said = write()
        except (InputError, OSError) as fault:
            self._state.say(
                str(fault) if isinstance(fault, InputError)
                else _("'{path}' could not be written ({reason}); choose another place.").format(
                    path=path, reason=fault.strerror or fault
                ),
                "error",
            )
            return
        self._state.say(_("Written: {path}").format(path=said if isinstance(said, str) else Path(path)), "information")
