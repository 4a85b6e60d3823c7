"""Test-retest: sessions of several subjects, the table of their repeatability, its plot, report and cohort file."""

from __future__ import annotations

import json

import slicer
from slicer.i18n import tr as _

from ivimcore import PARAMETERS, InputError
from ivimcore.reports.cohortanalysis import Analysis
from ivimcore.reports.reporttables import claim_sentences
from ivimcore.reports.verdicts import width_sentence

from . import FileChoice
from .ChartNodes import ChartNodes
from .EmbeddedPlot import EmbeddedPlot
from .PanelLabels import showText
from .PanelState import PanelState
from .Runs import Run, runsOf
from .TableText import Cell, copyText, fillTable, narrow, tableText
from .TestRetest import COLUMNS, RetestStudy, blandAltmanOf, saveReference, saveReport, tableOf


class TestRetestSection:
    """Owns the list of sessions; those of runs are saved in the scene, those of folders are not."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.study = RetestStudy()
        self.analysis: Analysis | None = None
        self.runs: list[Run] = []
        self._updating = False
        self._plot = EmbeddedPlot(ui.blandAltmanFrame, "IVIMBlandAltman")
        narrow(ui.retestRunComboBox)
        connected = (
            ui.addSessionButton.connect("clicked(bool)", self._onAddRun),
            ui.addFolderButton.connect("clicked(bool)", self._onAddFolder),
            ui.removeSessionButton.connect("clicked(bool)", self._onRemove),
            ui.sessionTable.connect("itemChanged(QTableWidgetItem*)", self._onSubject),
            ui.poolCheckBox.connect("toggled(bool)", self._onPool),
            ui.retestTable.connect("currentCellChanged(int,int,int,int)", self._onCell),
            ui.copyRetestButton.connect("clicked(bool)", self._onCopy),
            ui.saveReportButton.connect("clicked(bool)", self._onReport),
            ui.saveReferenceButton.connect("clicked(bool)", self._onReference),
        )
        assert all(answer is not False for answer in connected)
        state.runsChanged.connect(self._fillRuns)

    def refresh(self) -> None:
        """Take the sessions that the scene remembers."""
        self.study = RetestStudy()
        self._fillRuns()
        for key, subject in _remembered(self.state.parameters.retestSessions):
            run = next((run for run in self.runs if run.key == key), None)
            if run is not None:
                try:
                    self.study.addRun(run, subject)
                except InputError:
                    continue  # its statistics were removed
        self._show()

    def enter(self) -> None:
        """Look again: runs may have come while another module was shown."""
        if self.state.parameters is not None:
            self._fillRuns()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Let the plot go."""
        self._plot.close()

    # --- sessions ------------------------------------------------------------------------------------------------

    def _fillRuns(self) -> None:
        if self.state.parameters is None:
            return
        self.runs = list(reversed(runsOf(slicer.mrmlScene)))
        box = self.ui.retestRunComboBox
        index = box.currentIndex
        box.clear()
        for run in self.runs:
            box.addItem(run.name, run.key)
        if self.runs:
            box.setCurrentIndex(min(max(index, 0), len(self.runs) - 1))
        self.ui.addSessionButton.setEnabled(bool(self.runs))

    def _onAddRun(self, checked=False):
        index = self.ui.retestRunComboBox.currentIndex
        if self.state.parameters is None or not 0 <= index < len(self.runs):
            return
        self._do(lambda: self.study.addRun(self.runs[index]))
        if index + 1 < len(self.runs):
            self.ui.retestRunComboBox.setCurrentIndex(index + 1)

    def _onAddFolder(self, checked=False):
        folder = FileChoice.chooseFolder(self.ui.retestButton, _("Output folder of ivim map or ivim cohort"))
        if folder and self.state.parameters is not None:
            self._do(lambda: self.study.addFolder(folder))

    def _onRemove(self, checked=False):
        row = self.ui.sessionTable.currentRow()
        if self.state.parameters is not None and 0 <= row < len(self.study.sessions):
            self._do(lambda: self.study.remove(row))

    def _onSubject(self, item=None):
        if self._updating or item is None or item.column() != 0 or self.state.parameters is None:
            return
        self._do(lambda: self.study.rename(item.row(), item.text()))

    def _onPool(self, checked=False):
        if self.state.parameters is not None:
            self._show()

    def _do(self, change) -> None:
        """Change the list, say what is wrong with that, and show what follows."""
        try:
            change()
            self.state.say("")
        except InputError as fault:
            self.state.say(str(fault), "error")
        kept = [[session.runKey, session.subject] for session in self.study.sessions if session.runKey]
        self.state.parameters.retestSessions = json.dumps(kept)
        self._show()

    # --- what follows --------------------------------------------------------------------------------------------

    def _show(self) -> None:
        ui, sessions = self.ui, self.study.sessions
        self._updating = True
        subjects = [session.subject for session in sessions]
        tip = _("Whose session it is; the same name for sessions of one person")
        rows = [
            [Cell(session.subject, tip, editable=True), Cell(str(subjects[: index + 1].count(session.subject))),
             Cell(session.title), Cell(", ".join(session.estimators))]
            for index, session in enumerate(sessions)
        ]
        fillTable(ui.sessionTable, [_("Subject"), _("Session"), _("Result"), _("Estimator")], rows)
        ui.sessionTable.setVisible(bool(rows))
        self.analysis, said = None, ""
        if sessions:
            try:
                self.analysis = self.study.analyse(pool=bool(ui.poolCheckBox.checked))
                said = self._remarks(self.analysis)
            except InputError as fault:
                said = str(fault)
        lines = tableOf(self.analysis) if self.analysis is not None else []
        tips = [_tip(name) for name in COLUMNS]
        fillTable(ui.retestTable, [_header(name) for name in COLUMNS], lines, tips)
        ui.retestTable.setVisible(bool(lines))
        self._updating = False
        showText(ui.retestLabel, said)
        ui.removeSessionButton.setEnabled(bool(rows))
        for button in (ui.copyRetestButton, ui.saveReportButton, ui.saveReferenceButton):
            button.setEnabled(bool(lines))
        self._showPlot()

    def _remarks(self, analysis: Analysis) -> str:
        first = analysis.cells[0].found
        parts = [width_sentence(first.nu, first.subjects)]
        left = [reason.partition("; --maps")[0].rstrip(".") for reason in analysis.left_out]
        parts += [_("Left out: {reason}.").format(reason=reason) for reason in left]
        if any(not session.runKey for session in self.study.sessions):
            parts.append(_("Sessions of folders are not saved with the scene."))
        text = "\n".join(part for part in [*parts, *analysis.warnings] if part)
        for subject, written in analysis.data.names.items():
            # In the panel as in its list; only what is written uses numbers instead of names.
            text = text.replace(f"{written}: ", f"{subject}: ")
        return text

    def _claim(self, cell) -> str:
        """Return what the marked line means in one sentence, and what the lines of its plot are."""
        start = f"A change of {PARAMETERS[cell.map].symbol} in {cell.region} beyond "
        claims = [text for text in claim_sentences(self.analysis) if text.startswith(start)]
        lines = _("Plot: mean difference (solid), limits of agreement (dashed), limit of a single patient (dotted).")
        return "\n".join([*claims[:1], lines])

    def _cell(self):
        """Return the cell of the marked line, the first where none is marked."""
        cells = self.analysis.cells if self.analysis is not None else ()
        return cells[max(0, min(self.ui.retestTable.currentRow(), len(cells) - 1))] if cells else None

    def _onCell(self, row, column, previousRow, previousColumn):
        if not self._updating:
            self._showPlot()

    def _showPlot(self) -> None:
        cell = self._cell()
        curves, xTitle, yTitle = blandAltmanOf(cell) if cell is not None else ([], "", "")
        if not curves:
            self._plot.show(None)
            showText(self.ui.claimLabel, "")
            return
        showText(self.ui.claimLabel, self._claim(cell))
        title = f"{PARAMETERS[cell.map].symbol}, {cell.region}, {cell.estimator}"
        self._plot.show(ChartNodes(slicer.mrmlScene, "IVIM Bland-Altman").draw(curves, title, xTitle, yTitle))

    def _onCopy(self, checked=False):
        copyText(tableText(self.ui.retestTable))

    def _onReport(self, checked=False):
        if self.analysis is None:
            return
        folder = FileChoice.chooseFolder(self.ui.retestButton, _("Folder for the report"))
        if not folder:
            return
        try:
            written = saveReport(self.analysis, folder)
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        said = _("Written: {path}.").format(path=written.html)
        self.state.say(f"{said} {written.remark}".strip(), "information")

    def _onReference(self, checked=False):
        cell = self._cell()
        if cell is None:
            return
        suggestion = f"reference_{cell.estimator}.json"
        path = FileChoice.saveFile(self.ui.retestButton, _("Save reference cohort"), suggestion, "JSON (*.json)")
        if not path:
            return
        try:
            written = saveReference(self.analysis, cell.estimator, path)
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self.state.say(_("Written: {path}.").format(path=written), "information")


def _header(name: str) -> str:
    words = {
        "region": _("Region"), "map": _("Map [unit]"), "estimator": _("Estimator"), "n": _("n"), "mean": _("Mean"),
        "wSD": _("wSD"), "RC": _("RC"), "wCV [%]": _("wCV [%]"), "between / wSD": _("Between / wSD"),
        "ICC(2,1)": _("ICC(2,1)"), "information": _("Information"), "spread": _("Spread"),
    }
    return words[name]


def _tip(name: str) -> str:
    words = {
        "wSD": _("Within-subject standard deviation, with its 95 % interval"),
        "RC": _("2.77 wSD: 95 % of the differences of two scans of an unchanged patient lie within ± this"),
        "wCV [%]": _("Logarithmic within-subject coefficient of variation"),
        "between / wSD": _("Spread between subjects in units of wSD: shrinkage lowers wSD and leaves this"),
        "ICC(2,1)": _("Absolute agreement of single measurements; it grows with the spread of the subjects"),
        "information": _("Share of the prior's variance that the signal removed, where the estimator says it"),
        "spread": _("Whether the spread within subjects is constant or grows with the value"),
    }
    return words.get(name, _header(name))


def _remembered(text: str) -> list[tuple[str, str]]:
    """Read the sessions of a scene; a scene from outside may hold anything."""
    try:
        content = json.loads(text)
        return [(str(key), str(subject)) for key, subject in content]
    except (ValueError, TypeError):
        return []
