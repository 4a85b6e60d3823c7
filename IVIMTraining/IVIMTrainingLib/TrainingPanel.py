"""The panel of IVIMTraining: puts the sections together and follows the scene; each section is a file of its own."""

from __future__ import annotations

from slicer.i18n import tr as _

from IVIMMappingLib.PanelLabels import showMessage
from IVIMMappingLib.TableText import narrow
from IVIMMappingLib.TorchOffer import canRunNetworks, isTorchInstalled, offerNetworks

from .ChecksView import ChecksView
from .DistributionSection import DistributionSection
from .NoiseSection import NoiseSection
from .ProtocolSection import ProtocolSection
from .SaveModel import SaveModel
from .StrategySection import StrategySection
from .TrainingSection import TrainingSection
from .TrainingState import TrainingState


class TrainingPanel:
    """Owns the sections and the parameter node's life: `attach` after a scene was opened, `detach` before it closes.

    `uiWidget` is the loaded .ui, `ui` its widgets by name, `logic` the module's IVIMTrainingLogic.
    """

    def __init__(self, uiWidget, ui, logic) -> None:
        self.uiWidget = uiWidget
        self.ui = ui
        self._moduleLogic = logic
        self._guiTag = None
        self.state = TrainingState(logic.training)
        self.state.message.connect(self._showMessage)
        ui.messageCloseButton.connect("clicked(bool)", self._onDismiss)
        ui.torchButton.connect("clicked(bool)", self._onTorch)
        for box in (
            ui.organComboBox, ui.distributionComboBox, ui.architectureComboBox, ui.strategyComboBox, ui.checkComboBox,
            ui.checkParameterComboBox, ui.unfinishedComboBox, ui.modelsComboBox,
        ):
            narrow(box)
        # In the order of the work: a section further down reads what those above have decided.
        self.protocol = ProtocolSection(ui, self.state)
        self.noise = NoiseSection(ui, self.state)
        self.distribution = DistributionSection(ui, self.state)
        self.strategy = StrategySection(ui, self.state)
        self.checks = ChecksView(ui, self.state)
        self.save = SaveModel(ui, self.state)
        self.training = TrainingSection(ui, self.state)  # announces what checks and saving show
        self.sections = (
            self.protocol, self.noise, self.distribution, self.strategy, self.checks, self.save, self.training,
        )

    def attach(self) -> None:
        """Take the choices of the scene that is open now; a training goes on."""
        if self._guiTag is not None:
            self.detach()
        self.state.parameters = self._moduleLogic.getParameterNode()
        widgets = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
        self._guiTag = self.state.parameters.connectParametersToGui({name: w for name, w in widgets.items() if name})
        self._showTorch()
        for section in self.sections:
            section.refresh()

    def detach(self) -> None:
        """Let go of the scene, which is about to close; a training needs nothing of it and goes on."""
        if self.state.parameters is None:
            return
        self.state.parameters.disconnectGui(self._guiTag)
        self._guiTag = None
        self.state.parameters = None
        self.state.series = None
        self.state.say("")

    def enter(self) -> None:
        """The module is shown: look again at what may have changed."""
        if self.state.parameters is None:
            self.attach()
        self._showTorch()
        for section in self.sections:
            section.enter()

    def exit(self) -> None:
        """Another module is shown; a training goes on."""
        for section in self.sections:
            section.exit()

    def close(self) -> None:
        """The widget goes away: no process, observer or timer is left."""
        self.exit()
        self.detach()
        for section in self.sections:
            section.close()

    def _showTorch(self) -> None:
        missing = not canRunNetworks()
        self.ui.torchFrame.setVisible(missing)
        what = _("the package 'safetensors'") if isTorchInstalled() else _("PyTorch (extension 'PyTorch')")
        self.ui.torchLabel.setText(
            _("Training needs {what}, which is not installed. Everything else of IVIMSlicer works without it.").format(
                what=what
            ) if missing else ""
        )

    def _onTorch(self, checked=False) -> None:
        missing = offerNetworks()
        self.state.say(missing, "error")
        self._showTorch()
        self.state.choicesChanged()

    def _showMessage(self, sentence: str, level: str) -> None:
        showMessage(self.ui.messageFrame, self.ui.messageLabel, sentence, level)

    def _onDismiss(self, checked: bool = False) -> None:
        self.state.say("")
