"""Step 3: which network, how it learns, and for how long, each with a hint what it is good for."""

from __future__ import annotations

from ivimcore.networks.choices import ARCHITECTURES, STRATEGIES, strategies_of

from .TrainingState import TrainingState


class StrategySection:
    """Keeps architecture, strategy, number of trainings, early stopping and budget."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self._updating = False
        for choice in ARCHITECTURES:
            ui.architectureComboBox.addItem(choice.title, choice.key)
        connected = (
            ui.architectureComboBox.connect("currentIndexChanged(int)", self._onArchitecture),
            ui.strategyComboBox.connect("currentIndexChanged(int)", self._onStrategy),
            ui.membersSpinBox.connect("valueChanged(int)", self._onMembers),
            ui.minutesSpinBox.connect("valueChanged(double)", self._onMinutes),
            ui.earlyCheckBox.connect("toggled(bool)", self._onEarly),
        )
        assert all(answer is not False for answer in connected)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        p, ui = self.state.parameters, self.ui
        self._updating = True
        ui.architectureComboBox.setCurrentIndex(max(0, ui.architectureComboBox.findData(p.architecture)))
        ui.strategyComboBox.clear()
        for choice in strategies_of(p.architecture):
            ui.strategyComboBox.addItem(choice.title, choice.key)
        ui.strategyComboBox.setCurrentIndex(max(0, ui.strategyComboBox.findData(p.strategy)))
        ui.membersSpinBox.setValue(p.members)
        ui.minutesSpinBox.setValue(p.minutes)
        ui.earlyCheckBox.setChecked(p.early)
        self._updating = False
        ui.architectureHintLabel.setText(_hint(ARCHITECTURES, p.architecture))
        ui.strategyHintLabel.setText(_hint(STRATEGIES, p.strategy))

    def enter(self) -> None:
        """Show the choices again: IVIM Mapping may have loaded an earlier result and put them back after it."""
        self.refresh()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def _onArchitecture(self, index) -> None:
        if self._updating or self.state.parameters is None:
            return
        p = self.state.parameters
        p.architecture = self.ui.architectureComboBox.itemData(index)
        possible = [choice.key for choice in strategies_of(p.architecture)]
        if p.strategy not in possible:
            p.strategy = possible[0]
        self._changed()

    def _onStrategy(self, index) -> None:
        if self._updating or self.state.parameters is None or index < 0:
            return
        self.state.parameters.strategy = self.ui.strategyComboBox.itemData(index)
        self._changed()

    def _onMembers(self, value) -> None:
        self._keep("members", int(value))

    def _onMinutes(self, value) -> None:
        self._keep("minutes", float(value))

    def _onEarly(self, checked=False) -> None:
        self._keep("early", bool(checked))

    def _keep(self, name: str, value) -> None:
        if self._updating or self.state.parameters is None:
            return
        setattr(self.state.parameters, name, value)
        self.state.choicesChanged()

    def _changed(self) -> None:
        self.refresh()
        self.state.choicesChanged()


def _hint(choices, key: str) -> str:
    return next((choice.hint for choice in choices if choice.key == key), "")
