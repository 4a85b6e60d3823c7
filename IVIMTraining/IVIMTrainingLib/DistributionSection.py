"""Step 2: the tissue that the network is trained on: organ, ranges, and how tissue is drawn from them."""

from __future__ import annotations

from slicer.i18n import tr as _

from ivimcore.networks.choices import DISTRIBUTIONS, training_ranges
from ivimcore.physics.parameters import PARAMETERS
from ivimcore.physics.presets import PRESETS

from .TrainingState import KEYS, TrainingState


class DistributionSection:
    """An organ fills the ranges, which can then be typed; the hint says what a distribution is good for."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self._updating = False
        ui.organComboBox.addItem(_("any (broad)"), "none")
        for name in PRESETS:
            ui.organComboBox.addItem(name.replace("_", " "), name)
        for choice in DISTRIBUTIONS:
            ui.distributionComboBox.addItem(choice.title, choice.key)
        connected = [
            ui.organComboBox.connect("currentIndexChanged(int)", self._onOrgan),
            ui.distributionComboBox.connect("currentIndexChanged(int)", self._onDistribution),
        ]
        self._boxes = {
            f"range{key}{end}": getattr(ui, f"range{key}{end}SpinBox") for key in KEYS for end in ("Low", "High")
        }
        connected += [box.connect("valueChanged(double)", self._onRange) for box in self._boxes.values()]
        assert all(answer is not False for answer in connected)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        p = self.state.parameters
        self._updating = True
        self.ui.organComboBox.setCurrentIndex(max(0, self.ui.organComboBox.findData(p.organ)))
        self.ui.distributionComboBox.setCurrentIndex(max(0, self.ui.distributionComboBox.findData(p.distribution)))
        for name, box in self._boxes.items():
            box.setValue(getattr(p, name))
        self._updating = False
        self._showHint()

    def enter(self) -> None:
        """Show the choices again: IVIM Mapping may have loaded an earlier result and put them back after it."""
        self.refresh()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def _onOrgan(self, index) -> None:
        if self._updating or self.state.parameters is None:
            return
        organ = self.ui.organComboBox.itemData(index)
        self.state.parameters.organ = organ
        for key, (low, high) in training_ranges(organ).items():
            factor = PARAMETERS[key].display_factor
            setattr(self.state.parameters, f"range{key}Low", float(low * factor))
            setattr(self.state.parameters, f"range{key}High", float(high * factor))
        self.refresh()
        self.state.choicesChanged()

    def _onRange(self, value) -> None:
        if self._updating or self.state.parameters is None:
            return
        for name, box in self._boxes.items():
            setattr(self.state.parameters, name, float(box.value))
        self.state.choicesChanged()

    def _onDistribution(self, index) -> None:
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.distribution = self.ui.distributionComboBox.itemData(index)
        self._showHint()
        self.state.choicesChanged()

    def _showHint(self) -> None:
        chosen = self.state.parameters.distribution
        hint = next((choice.hint for choice in DISTRIBUTIONS if choice.key == chosen), "")
        self.ui.distributionHintLabel.setText(hint)

