"""Follow-up, before the fit: the earlier result, its regions, and how it was made."""

from __future__ import annotations

import json

import slicer
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.estimators import create

from . import FileChoice
from .EarlierResults import earlierRuns, loadEarlier, offeredRun
from .FollowUpMethod import Method, methodOf
from .FollowUpRegions import copyRegions
from .MappingParameterNode import optionsOf
from .PanelLabels import showText
from .PanelState import PanelState
from .Runs import Run
from .StartSection import FOLLOW_UP
from .TableText import narrow


class FollowUpSection:
    """Writes `parameters.earlierRun`, and on request region, estimator, options and images as they were then."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.runs: list[Run] = []
        self._updating = False
        narrow(ui.earlierComboBox)
        connected = (
            ui.earlierComboBox.connect("currentIndexChanged(int)", self._onEarlier),
            ui.earlierSceneButton.connect("clicked(bool)", self._onScene),
            ui.earlierFolderButton.connect("clicked(bool)", self._onFolder),
            ui.takeOverButton.connect("clicked(bool)", self._onTakeOver),
        )
        assert all(answer is not False for answer in connected)
        for announcement in (state.seriesChanged, state.runsChanged, state.startChanged):
            announcement.connect(self._fill)

    def refresh(self) -> None:
        """Show the earlier results of the scene."""
        showText(self.ui.takeOverLabel, "")
        self._fill()

    def enter(self) -> None:
        """Look again: runs may have been loaded while another module was shown."""
        self._fill()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    @property
    def earlier(self) -> Run | None:
        """The chosen earlier result."""
        return next((run for run in self.runs if run.key == self.state.parameters.earlierRun), None)

    def _fill(self) -> None:
        parameters = self.state.parameters
        if parameters is None or parameters.startMode != FOLLOW_UP:
            return
        self.runs = earlierRuns(slicer.mrmlScene, self.state.series)
        if self.earlier is None:
            offered = offeredRun(slicer.mrmlScene, self.state.series)
            if offered is not None:
                parameters.earlierRun = offered.key
                said = _("Chosen by itself, because the scene says that it is the same patient.")
                showText(self.ui.takeOverLabel, said)
                self.state.earlierChanged()
        self._updating = True
        box = self.ui.earlierComboBox
        box.clear()
        box.addItem(_("choose…") if self.runs else _("none in this scene; load it from a file"), "")
        for run in self.runs:
            box.addItem(run.name, run.key)
        box.setCurrentIndex(max(0, box.findData(parameters.earlierRun)))
        self._updating = False
        self.ui.takeOverButton.setEnabled(self.earlier is not None and self.state.series is not None)

    def _onEarlier(self, index):
        if self._updating or self.state.parameters is None or index < 0:
            return
        self.state.parameters.earlierRun = self.ui.earlierComboBox.itemData(index) or ""
        showText(self.ui.takeOverLabel, "")
        self.ui.takeOverButton.setEnabled(self.earlier is not None and self.state.series is not None)
        self.state.earlierChanged()

    # --- from files ----------------------------------------------------------------------------------------------

    def _onScene(self, checked=False):
        self._load(FileChoice.openFile(self.ui.followUpButton, _("Scene with the earlier result"), "Scene (*.mrb)"))

    def _onFolder(self, checked=False):
        self._load(FileChoice.chooseFolder(self.ui.followUpButton, _("Output folder of the earlier session")))

    def _load(self, path: str) -> None:
        if not path or self.state.parameters is None:
            return
        if self.state.run is not None:
            self.state.say(_("A run goes on; wait until it has ended, or cancel it, before loading a result."))
            return
        self.state.say("")
        fault = ""
        try:
            runs, said = loadEarlier(slicer.mrmlScene, path)
        except InputError as problem:
            runs, said, fault = [], "", str(problem)
        # A scene file has touched the nodes that the panel observes, also where it held no result.
        self.state.sceneChanged()
        if fault:
            self.state.say(fault, "error")
            return
        self.state.parameters.earlierRun = runs[0].key
        self._fill()
        showText(self.ui.takeOverLabel, said)
        self.state.runsChanged()

    # --- what comes along ----------------------------------------------------------------------------------------

    def _onTakeOver(self, checked=False):
        state, run = self.state, self.earlier if self.state.parameters is not None else None
        if run is None or state.series is None:
            return
        if state.run is not None:
            state.say(_("A run goes on; wait until it has ended, or cancel it."))
            return
        state.say("")
        said = []
        try:
            method = methodOf(run, state.bvalues())
            said += method.sentences
            self._setMethod(method)
        except InputError as fault:
            state.say(str(fault), "error")
        try:
            node, sentence = copyRegions(
                slicer.mrmlScene, run, state.series, bool(self.ui.alignCheckBox.checked)
            )
            said.insert(0, sentence)
            if node is not None:
                self._setRegion(node)
        except InputError as fault:
            state.say(str(fault), "error")
        showText(self.ui.takeOverLabel, " ".join(said))
        state.earlierChanged()

    def _setMethod(self, method: Method) -> None:
        """Tick the estimator of the earlier run alone, with its options, and use the images that it used."""
        state, parameters = self.state, self.state.parameters
        options = dict(method.options)
        if "organ" in {option.name for option in create(method.estimator).options()}:
            parameters.organ = str(options.pop("organ", "none"))
        every = optionsOf(parameters)
        every[method.estimator] = options
        parameters.optionsJson = json.dumps({name: kept for name, kept in every.items() if kept}, sort_keys=True)
        state.marked = method.estimator
        parameters.estimators = [method.estimator]
        state.estimatorsChanged()
        parameters.average = method.average
        parameters.excludedImages = [number for number, flag in enumerate(method.used, start=1) if not flag]
        state.signalChanged()

    def _setRegion(self, node) -> None:
        # The kind first: the binding of the selector refuses a node of a class that it does not list yet.
        self.state.parameters.regionKind = "segments"
        self.state.regionChanged()
        self.state.parameters.regionNode = node
        self.state.parameters.segmentIds = []
        self.state.regionChanged()
