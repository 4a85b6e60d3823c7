"""The panel of IVIMMapping: puts the sections together and follows the scene; each section is a file of its own."""

from __future__ import annotations

from .BvalueSection import BvalueSection
from .CommandSection import CommandSection
from .CompareSection import CompareSection
from .CurveSection import CurveSection
from .EstimatorSection import EstimatorSection
from .ExpectationSection import ExpectationSection
from .FollowUpAnswer import FollowUpAnswer
from .FollowUpSection import FollowUpSection
from .PanelLabels import showMessage
from .PanelState import PanelState
from .RegionSection import RegionSection
from .ResultSection import ResultSection
from .RunSection import RunSection
from .SectionFolding import SectionFolding
from .SeriesSection import SeriesSection
from .StartSection import StartSection
from .TestRetestSection import TestRetestSection


class MappingPanel:
    """Owns the sections and the parameter node's life: `attach` after a scene was opened, `detach` before it closes.

    `uiWidget` is the loaded .ui, `ui` its widgets by name, `logic` the module's IVIMMappingLogic.
    """

    def __init__(self, uiWidget, ui, logic) -> None:
        self.uiWidget = uiWidget
        self.ui = ui
        self._moduleLogic = logic
        self._guiTag = None
        self._entered = False
        self.state = PanelState(logic.mapping)
        self.state.message.connect(self._showMessage)
        ui.messageCloseButton.connect("clicked(bool)", self._onDismiss)
        # In the order of the work: a section further down reads what those above have decided.
        self.series = SeriesSection(ui, self.state)
        self.bvalues = BvalueSection(ui, self.state)
        self.region = RegionSection(ui, self.state)
        self.estimators = EstimatorSection(ui, self.state)
        self.expectation = ExpectationSection(ui, self.state)
        self.curve = CurveSection(ui, self.state)
        self.run = RunSection(ui, self.state)
        self.command = CommandSection(ui, self.state)
        self.results = ResultSection(ui, self.state)
        self.compare = CompareSection(ui, self.state)
        self.start = StartSection(ui, self.state)
        self.followUp = FollowUpSection(ui, self.state)
        self.answer = FollowUpAnswer(ui, self.state)
        self.retest = TestRetestSection(ui, self.state)
        self.folding = SectionFolding(ui, self.state)
        self.state.sceneChanged.connect(self.attach)
        self.sections = (
            self.series, self.bvalues, self.region, self.estimators, self.expectation, self.curve, self.run,
            self.command, self.results, self.compare, self.start, self.followUp, self.answer, self.retest, self.folding,
        )

    def attach(self) -> None:
        """Take the choices of the scene that is open now."""
        self.detach()
        self.state.parameters = self._moduleLogic.getParameterNode()
        # connectGui does the same but returns no tag, so that the widgets could not be let go again.
        widgets = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
        self._guiTag = self.state.parameters.connectParametersToGui({name: w for name, w in widgets.items() if name})
        for section in self.sections:
            section.refresh()

    def detach(self) -> None:
        """Let go of the scene, which is about to close: a run ends, nothing points to its nodes any more."""
        if self.state.parameters is None:
            return
        if self.state.run is not None:
            self.state.run.cancel()
            self.state.run = None
        self.state.parameters.disconnectGui(self._guiTag)
        self.state.parameters = None
        self.state.series = None
        self.state.cursor = None
        self.state.say("")

    def enter(self) -> None:
        """The module is shown: follow the crosshair, take the keys."""
        self._entered = True
        if self.state.parameters is None:
            self.attach()
        for section in self.sections:
            section.enter()

    def exit(self) -> None:
        """Another module is shown: give the keys back; a run goes on."""
        self._entered = False
        for section in self.sections:
            section.exit()

    def close(self) -> None:
        """The widget goes away: no run, observer or timer is left."""
        self.exit()
        self.detach()
        for section in self.sections:
            section.close()

    def _showMessage(self, sentence: str, level: str) -> None:
        showMessage(self.ui.messageFrame, self.ui.messageLabel, sentence, level)

    def _onDismiss(self, checked: bool = False) -> None:
        self.state.say("")
