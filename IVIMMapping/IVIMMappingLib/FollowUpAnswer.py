"""Follow-up, after the fit: one line for each lesion and map in words, both dates side by side, and the trend."""

from __future__ import annotations

from dataclasses import replace

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import PARAMETERS, InputError
from ivimcore.reports.followup import FollowUp
from ivimcore.reports.referencecohort import ReferenceCohort

from . import FileChoice, ReferenceFile
from .ActiveRun import activeRun
from .ChartNodes import ChartNodes
from .EmbeddedPlot import EmbeddedPlot
from .FollowUp import compareRuns, judgedRegions, runsOfPatient, trendOf
from .FollowUpView import answerOf, condensed, panelsOfDates, showLines, trendCurves
from .PanelLabels import showText
from .PanelState import PanelState
from .ResultLayout import DATES, ResultLayout
from .Runs import Run, findRun, runsOf
from .StartSection import FOLLOW_UP
from .TableText import copyText, narrow

EVERY_MAP = ("D", "f", "Dstar", "ADC")
FEWEST_DATES = 3
"""Dates from which on a trend is drawn."""


class FollowUpAnswer:
    """Compares the shown run of the new series with `parameters.earlierRun`; the words are those of the core."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.layout = ResultLayout(*DATES)
        self.found: FollowUp | None = None
        self.reference: ReferenceCohort | None = None
        self._updating = False
        self._shortcut = None
        self._plot = EmbeddedPlot(ui.trendFrame, "IVIMTrend")
        narrow(ui.judgedByComboBox)
        connected = (
            ui.referenceButton.connect("clicked(bool)", self._onReference),
            ui.noReferenceButton.connect("clicked(bool)", self._onNoReference),
            ui.judgedByComboBox.connect("currentIndexChanged(int)", self._onJudgedBy),
            ui.holmCheckBox.connect("toggled(bool)", self._onOption),
            ui.fewCheckBox.connect("toggled(bool)", self._onOption),
            ui.dstarCheckBox.connect("toggled(bool)", self._onOption),
            ui.followUpTable.connect("currentCellChanged(int,int,int,int)", self._onLine),
            ui.sideBySideButton.connect("clicked(bool)", self._onSideBySide),
            ui.followUpReturnButton.connect("clicked(bool)", self._onReturn),
            ui.copyFollowUpButton.connect("clicked(bool)", self._onCopy),
        )
        assert all(answer is not False for answer in connected)
        for announcement in (state.startChanged, state.earlierChanged, state.seriesChanged, state.mapChanged):
            announcement.connect(self._show)
        state.runsChanged.connect(self._onRunsChanged)

    def refresh(self) -> None:
        """Take the reference cohort of this computer and the runs of the scene."""
        self.layout.forget()
        self.found = None
        self._takeReference()
        self._show()

    def enter(self) -> None:
        """Take the key Shift+R."""
        if self._shortcut is None:
            window = slicer.util.mainWindow() or self.ui.followUpButton
            self._shortcut = qt.QShortcut(qt.QKeySequence("Shift+R"), window)
            connected = self._shortcut.connect("activated()", self._onKey)
            assert connected is not False
        self._shortcut.setEnabled(True)
        self._show()

    def exit(self) -> None:
        """Give the key back."""
        if self._shortcut is not None:
            self._shortcut.setEnabled(False)

    def close(self) -> None:
        """Let the plot and the key go."""
        self._plot.close()
        if self._shortcut is not None:
            self._shortcut.setParent(None)
            self._shortcut = None

    def pair(self) -> tuple[Run | None, Run | None]:
        """Return the earlier run and the run of now; None where there is none yet."""
        before = findRun(slicer.mrmlScene, self.state.parameters.earlierRun)
        if before is None:
            return None, None
        runs = [run for run in runsOf(slicer.mrmlScene) if run.key != before.key]
        runs = [run for run in runs if before.seriesNode is None or run.seriesNode is not before.seriesNode]
        if self.state.series is not None:
            runs = [run for run in runs if run.seriesNode is self.state.series.node]
        shown = activeRun(self.state, runs)
        alike = [run for run in runs if shown and run.runId == shown.runId and run.estimator == before.estimator]
        return before, (alike[0] if alike else shown)

    # --- the lines -----------------------------------------------------------------------------------------------

    def _show(self) -> None:
        parameters = self.state.parameters
        if parameters is None or parameters.startMode != FOLLOW_UP:
            return
        ui = self.ui
        self.found = None
        before, after = self.pair()
        said = ""
        if before is not None and after is None:
            said = _("Take over the regions, check them, and press Apply in step 3; then the answer stands here.")
        elif before is not None:
            try:
                self.found = compareRuns(
                    before, after, self.reference, EVERY_MAP if ui.dstarCheckBox.checked else (),
                    judgedRegions(before, after, self.reference, parameters.judgedBy), bool(ui.holmCheckBox.checked),
                    bool(ui.fewCheckBox.checked),
                )
                said = self._remarks(self.found)
            except InputError as fault:
                said = str(fault)
        self._updating = True
        showLines(ui.followUpTable, self.found)
        self._updating = False
        showText(ui.answerLabel, answerOf(self.found) if self.found is not None else "")
        showText(ui.followUpLabel, said)
        for button in (ui.sideBySideButton, ui.copyFollowUpButton):
            button.setEnabled(self.found is not None)
        ui.followUpReturnButton.setEnabled(self.layout.isShown)
        self._showTrend()

    def _remarks(self, found: FollowUp) -> str:
        parts = []
        if found.comparisons and (found.comparisons == 1 or self.ui.holmCheckBox.checked):
            parts.append(_("{count} comparisons with a limit.").format(count=found.comparisons))
        if self.reference is None:
            parts.append(_("No limit is known without a reference cohort, so there is no verdict."))
        parts += [_("Not compared: {reason}").format(reason=reason) for reason in condensed(found.left_out)]
        return "\n".join([*parts, *condensed(found.warnings)])

    def _onRunsChanged(self) -> None:
        if self.state.parameters is None:
            return
        self._show()
        ended = self.state.run
        if ended is not None and ended.state == "done" and self.found is not None:
            # A moment later: the window should first say that the run is done.
            qt.QTimer.singleShot(0, self._onSideBySide)

    def _onOption(self, checked=False):
        self._show()

    # --- the reference cohort ------------------------------------------------------------------------------------

    def _takeReference(self) -> None:
        self.reference, fault = ReferenceFile.rememberedReference()
        text = _("No reference cohort is chosen: changes are shown without limits and verdicts.")
        if self.reference is not None:
            text = _("Limits of {cohort}").format(cohort=ReferenceFile.sentenceOf(self.reference))
        showText(self.ui.referenceLabel, fault or text)
        self._updating = True
        box = self.ui.judgedByComboBox
        box.clear()
        regions = self.reference.regions() if self.reference is not None else []
        # A cohort of one region judges every lesion, and the remarks say so.
        box.addItem(_("limits of '{region}'").format(region=regions[0]) if len(regions) == 1 else _("nothing"), "")
        for region in regions if len(regions) > 1 else ():
            box.addItem(region, region)
        box.setCurrentIndex(max(0, box.findData(self.state.parameters.judgedBy)))
        self._updating = False
        box.setEnabled(self.reference is not None)

    def _onReference(self, checked=False):
        path = FileChoice.openFile(self.ui.followUpButton, _("Reference cohort"), "JSON (*.json)")
        if not path or self.state.parameters is None:
            return
        try:
            ReferenceFile.rememberReference(path)
            self.state.say("")
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self._takeReference()
        self._show()

    def _onNoReference(self, checked=False):
        ReferenceFile.forgetReference()
        if self.state.parameters is not None:
            self._takeReference()
            self._show()

    def _onJudgedBy(self, index):
        if not self._updating and self.state.parameters is not None and index >= 0:
            self.state.parameters.judgedBy = self.ui.judgedByComboBox.itemData(index) or ""
            self._show()

    # --- views, clipboard, trend ---------------------------------------------------------------------------------

    def _onSideBySide(self, checked=False):
        if self.state.parameters is None or self.found is None:
            return
        panels = panelsOfDates(*self.pair(), [line.map for line in self.found.lines])
        if panels:
            self.layout.show(panels, self.state.parameters.overlayOpacity, self.state.cursor)
        self.ui.followUpReturnButton.setEnabled(self.layout.isShown)

    def _onReturn(self, checked=False):
        self.layout.back()
        self.ui.followUpReturnButton.setEnabled(False)

    def _onKey(self):
        self._onCopy()

    def _onCopy(self, checked=False):
        if self.found is not None and self.state.parameters.startMode == FOLLOW_UP:
            remarks = {name: tuple(condensed(getattr(self.found, name))) for name in ("left_out", "warnings")}
            copyText(replace(self.found, **remarks).text())

    def _onLine(self, row, column, previousRow, previousColumn):
        if not self._updating:
            self._showTrend()

    def _showTrend(self) -> None:
        chart, said = None, ""
        if self.found is not None and self.found.lines:
            before, after = self.pair()
            line = self.found.lines[max(0, min(self.ui.followUpTable.currentRow(), len(self.found.lines) - 1))]
            runs = runsOfPatient(slicer.mrmlScene, after, before)
            trend = trendOf(runs, line.region, line.map, self.reference, self.state.parameters.judgedBy)
            if len(trend.points) >= FEWEST_DATES:
                symbol = PARAMETERS[line.map].symbol
                chart = ChartNodes(slicer.mrmlScene, "IVIM trend").draw(*trendCurves(trend))
                said = _("{symbol} of {region} over {count} dates").format(
                    symbol=symbol, region=line.region, count=len(trend.points)
                )
                said += _("; dashed: what an unchanged patient stays within.") if trend.limits else "."
        self._plot.show(chart)
        showText(self.ui.trendLabel, said)
