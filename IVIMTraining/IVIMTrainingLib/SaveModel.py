"""Step 6: a trained network gets its name and becomes an estimator; the person's models, and models of others."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.networks.cards import ModelCard
from ivimcore.networks.keeping import add_model, remove_model
from ivimcore.networks.zoo import find, user_folder
from IVIMMappingLib.FileChoice import chooseFolder
from IVIMMappingLib.PanelLabels import showText

from .TrainingState import TrainingState


class SaveModel:
    """Saves what is looked at, and lists what was saved; IVIM Mapping lists the same folder."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self.models: list[ModelCard] = []
        self._saved = ""
        connected = (
            ui.saveButton.connect("clicked(bool)", self._onSave),
            ui.addModelButton.connect("clicked(bool)", self._onAdd),
            ui.removeModelButton.connect("clicked(bool)", self._onRemove),
            ui.mappingButton.connect("clicked(bool)", self._onMapping),
            ui.modelsComboBox.connect("currentIndexChanged(int)", self._onModel),
        )
        assert all(answer is not False for answer in connected)
        state.shownChanged.connect(self._showShown)

    def refresh(self) -> None:
        """Show what can be saved, and what was."""
        self._saved = ""
        self._list()
        self._showShown()

    def enter(self) -> None:
        """List again: the folder may have changed."""
        self._list()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def _showShown(self) -> None:
        shown = self.state.shown
        there = shown is not None and shown.hasModel
        if there:
            self.ui.modelsButton.collapsed = False
            self.ui.saveNameEdit.setText(shown.title)
            self.ui.saveDescriptionEdit.setText(str(shown.recipe.get("description", "")))
            self._saved = ""
        for name in ("saveNameEdit", "saveDescriptionEdit", "saveButton"):
            getattr(self.ui, name).setEnabled(there)
        showText(
            self.ui.saveLabel,
            _("Goes into {folder}.").format(folder=user_folder()) if there
            else self._saved or _("There is nothing to save yet: train a network first."),
        )

    def _onSave(self, checked=False) -> None:
        shown = self.state.shown
        if shown is None or self.state.isBusy:
            return
        try:
            card = self.state.logic.save(shown, str(self.ui.saveNameEdit.text), str(self.ui.saveDescriptionEdit.text))
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self.state.shown = None
        self._saved = _("Saved as '{name}' in {folder}.").format(name=card.id, folder=card.folder)
        self.state.say(
            _("'{title}' is saved; IVIM Mapping lists it as the estimator '{name}'.").format(
                title=card.title, name=card.id
            ), "information",
        )
        self._list(card.id)
        self.state.modelsChanged()

    def _onAdd(self, checked=False) -> None:
        folder = chooseFolder(self.ui.addModelButton, _("Folder of a model"))
        if not folder:
            return
        try:
            card = add_model(folder)
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self.state.say(_("'{name}' was added to your models.").format(name=card.id), "information")
        self._list(card.id)
        self.state.modelsChanged()

    def _onRemove(self, checked=False) -> None:
        index = self.ui.modelsComboBox.currentIndex
        if not 0 <= index < len(self.models):
            return
        card = self.models[index]
        if not slicer.app.testingEnabled() and not slicer.util.confirmOkCancelDisplay(
            _("Delete the model '{name}' for ever?").format(name=card.title)
        ):
            return
        try:
            remove_model(card)
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self._list()
        self.state.modelsChanged()

    def _onModel(self, index) -> None:
        there = 0 <= index < len(self.models)
        showText(self.ui.modelLabel, self.models[index].scope() if there else "")

    def _onMapping(self, checked=False) -> None:
        slicer.util.selectModule("IVIMMapping")

    def _list(self, wanted: str = "") -> None:
        self.models = self.state.logic.models()
        wasBlocked = self.ui.modelsComboBox.blockSignals(True)
        self.ui.modelsComboBox.clear()
        for card in self.models:
            self.ui.modelsComboBox.addItem(_("{title} ({name})").format(title=card.title, name=card.id))
        index = next((i for i, card in enumerate(self.models) if card.id == wanted), 0 if self.models else -1)
        self.ui.modelsComboBox.setCurrentIndex(index)
        self.ui.modelsComboBox.blockSignals(wasBlocked)
        self._onModel(index)
        self.ui.removeModelButton.setEnabled(bool(self.models))
        showText(self.ui.refusedLabel, "\n".join(find().refused))
