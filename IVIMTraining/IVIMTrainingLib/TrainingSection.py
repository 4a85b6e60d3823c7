"""Step 4: Start, Cancel and Resume, the live loss, the time that is left, and trainings that are not saved yet."""

from __future__ import annotations

import json

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.wholefile import whole_file
from IVIMMappingLib.FileChoice import saveFile
from IVIMMappingLib.PanelLabels import showText
from IVIMMappingLib.RunSection import durationText

from .LossPlot import LossPlot
from .TrainingFolder import StoredTraining, diskSentence, storedTrainings
from .TrainingRun import DONE, STOPPED, TrainingRun
from .TrainingState import TrainingState

_WORKING = 100
"""Milliseconds between two looks at the process."""


class TrainingSection:
    """Moves a training on by a timer; it goes on while another module is shown or another scene is opened."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self.lossPlot = LossPlot(ui.lossFrame)
        self._stored: list[StoredTraining] = []
        self._updating = False
        self._timer = qt.QTimer(ui.startButton)
        self._timer.connect("timeout()", self._onTimer)
        connected = (
            ui.startButton.connect("clicked(bool)", self._onStart),
            ui.recipeButton.connect("clicked(bool)", self._onRecipe),
            ui.resumeButton.connect("clicked(bool)", self._onResume),
            ui.discardButton.connect("clicked(bool)", self._onDiscard),
            ui.titleEdit.connect("textChanged(QString)", self._onTitle),
            ui.unfinishedComboBox.connect("currentIndexChanged(int)", self._onShown),
        )
        assert all(answer is not False for answer in connected)
        for announcement in (state.seriesChanged, state.choicesChanged):
            announcement.connect(self._showButtons)
        state.modelsChanged.connect(self._onModels)

    def refresh(self) -> None:
        """Show what the scene has chosen; a training belongs to no scene and goes on."""
        self._showTitle()
        self.ui.lossFrame.setVisible(False)
        self._listStored()
        self._showRun()
        self._showButtons()

    def enter(self) -> None:
        """Look again: PyTorch may have been installed, a training finished, another scene loaded."""
        self._showTitle()
        self._listStored()
        self._showButtons()

    def exit(self) -> None:
        """A training goes on."""

    def close(self) -> None:
        """End the process at once; what it has saved can be resumed."""
        self._timer.stop()
        if self.state.run is not None:
            self.state.run.abandon()
            self.state.run = None
        self.lossPlot.close()

    # --- what a person does ------------------------------------------------------------------------------------

    def _showTitle(self) -> None:
        self._updating = True
        self.ui.titleEdit.setText(self.state.parameters.title)
        self._updating = False

    def _onTitle(self, text) -> None:
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.title = str(text)
        self.state.choicesChanged()

    def _onStart(self, checked=False) -> None:
        if self.state.isBusy:
            self.state.run.cancel()
            self._showRun()
            self._showButtons()
            return
        obstacle = self.state.obstacle()
        if obstacle:
            self.state.say(obstacle, "error")
            return
        try:
            self._begin(
                self.state.logic.start(self.state.plan(), self.state.parameters.minutes, self.state.series)
            )
        except InputError as fault:
            self.state.say(str(fault), "error")

    def _onResume(self, checked=False) -> None:
        if self.state.isBusy or self.state.shown is None:
            return
        try:
            self._begin(self.state.logic.resume(self.state.shown))
        except InputError as fault:
            self.state.say(str(fault), "error")

    def _onDiscard(self, checked=False) -> None:
        if self.state.isBusy or self.state.shown is None:
            return
        self.state.shown.discard()
        self._listStored()

    def _onRecipe(self, checked=False) -> None:
        try:
            recipe = self.state.plan().recipe()
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        path = saveFile(self.ui.recipeButton, _("Save recipe"), f"{recipe['id']}.json", "JSON (*.json)")
        if not path:
            return
        try:
            with whole_file(path) as unfinished, open(unfinished, "w", encoding="utf-8") as stream:
                json.dump(recipe, stream, indent=2, ensure_ascii=False)
        except OSError as fault:
            self.state.say(diskSentence(fault, path), "error")
            return
        self.state.say(
            _("Anybody can repeat this training by: ivim train {path} --minutes {minutes}").format(
                path=path, minutes=f"{self.state.parameters.minutes:g}"
            ), "information",
        )

    def _onShown(self, index) -> None:
        if self._updating or not 0 <= index < len(self._stored):
            return
        self.state.shown = self._stored[index]
        self._showButtons()
        self.state.shownChanged()

    # --- the training ------------------------------------------------------------------------------------------

    def _begin(self, run: TrainingRun) -> None:
        self.state.say("")
        self.state.run = run
        self.ui.progressBar.setValue(0)
        self._timer.start(_WORKING)
        self._showRun()
        self._showButtons()
        self.state.runChanged()

    def _onTimer(self) -> None:
        run = self.state.run
        if run is None:
            self._timer.stop()
            return
        goesOn = run.step()
        if goesOn and (run.processId is None):
            self._timer.setInterval(0)  # our own work: the series is being written
        else:
            self._timer.setInterval(_WORKING)
        if self.state.parameters is not None:
            self._showRun()
        if not goesOn:
            self._timer.stop()
            self._finish(run)

    def _finish(self, run: TrainingRun) -> None:
        if run.lacksGpuMemory and self._onLackOfMemory(run):
            return
        if run.sentence:
            self.state.say(run.sentence, "error")
        elif run.state == STOPPED:
            self.state.say(
                _("Stopped; the best so far is kept. It can be saved in step 6, or resumed.") if run.card is not None
                else _("Stopped before anything was learned."), "information",
            )
        elif run.state == DONE:
            sentence = _("The network is trained; look at the checks in step 5 and save it in step 6.")
            early = _endings(run)
            self.state.say(f"{sentence} {early}".strip(), "warning" if early else "information")
        if self.state.parameters is not None:
            self._listStored(run.stored)
            self._showButtons()
        self.state.runChanged()

    def _onLackOfMemory(self, run: TrainingRun) -> bool:
        """Ask whether the processor shall go on where the GPU has no memory left; say whether it does."""
        question = _("{sentence}\n\nGo on with the processor? It is slower.").format(sentence=run.sentence)
        if slicer.util.confirmYesNoDisplay(question):
            try:
                self._begin(self.state.logic.goOnWithProcessor(run.stored))
                return True
            except InputError as fault:
                run.sentence = str(fault)
        if not (run.stored.hasModel or run.stored.canResume):
            run.stored.discard()
        return False

    # --- showing -----------------------------------------------------------------------------------------------

    def _showRun(self) -> None:
        run = self.state.run
        self.ui.progressBar.setVisible(self.state.isBusy)
        if run is None:
            showText(self.ui.progressLabel, "")
            self.lossPlot.draw([])
            return
        self.ui.progressBar.setValue(round(1000 * run.fraction))
        left = "" if run.secondsLeft is None else _(", {time} left").format(time=durationText(run.secondsLeft))
        text = f"{run.title}: {run.statusText}{left}"
        if not self.state.isBusy:
            text = _("{title}: {status} after {time}").format(
                title=run.title, status=run.statusText, time=durationText(run.seconds)
            )
        elif run.notes:
            text = f"{text}\n{run.notes[-1]}"
        showText(self.ui.progressLabel, text)
        self.lossPlot.draw(run.history)
        shown = "\n".join(run.log)
        if self.ui.logText.toPlainText() != shown:
            self.ui.logText.setPlainText(shown)

    def _showButtons(self) -> None:
        if self.state.parameters is None:
            return
        ui, busy = self.ui, self.state.isBusy
        obstacle = "" if busy else self.state.obstacle()
        ui.startButton.setText(_("Cancel") if busy else _("Start"))
        ui.startButton.setEnabled(not (self.state.run.isStopping if busy else obstacle))
        ui.startButton.setToolTip(
            _("End this training; the best so far is kept") if busy
            else obstacle or _("Train in the background (Slicer stays usable)")
        )
        showText(ui.obstacleLabel, obstacle)
        ui.recipeButton.setEnabled(not self.state.fault())
        shown = self.state.shown
        ui.resumeButton.setEnabled(not busy and shown is not None and shown.canResume)
        ui.discardButton.setEnabled(not busy and shown is not None)
        ui.unfinishedComboBox.setEnabled(not busy)

    def _onModels(self) -> None:
        if self.state.parameters is not None:
            self._listStored()

    def _listStored(self, wanted: StoredTraining | None = None) -> None:
        """List the trainings on disk and look at `wanted`, else at the one before, else at the newest."""
        before = wanted or self.state.shown
        running = self.state.run.stored.folder if self.state.isBusy else None
        self._stored = [one for one in storedTrainings() if one.folder != running]
        index = next((i for i, one in enumerate(self._stored) if before is not None and one.folder == before.folder), 0)
        self._updating = True
        self.ui.unfinishedComboBox.clear()
        for one in self._stored:
            self.ui.unfinishedComboBox.addItem(
                _("{title} ({state}, {begun})").format(
                    title=one.title, state=one.state(), begun=one.about.get("begun", "")
                )
            )
        if self._stored:
            self.ui.unfinishedComboBox.setCurrentIndex(index)
        self._updating = False
        self.ui.unfinishedFrame.setVisible(bool(self._stored))
        self.state.shown = self._stored[index] if self._stored else None
        self._showButtons()
        self.state.shownChanged()


def _endings(run: TrainingRun) -> str:
    """Say why trainings ended before their time, '' where they did not: nothing improved, or the loss was no number."""
    endings = dict.fromkeys(str(one) for one in run.card.training.get("ended", ()) if one != "finished")
    return _("It ended early: {reasons}.").format(reasons="; ".join(endings)) if endings else ""
