"""Step 3: which estimators are fitted, and how: list, description, organ, parameter table, options."""

from __future__ import annotations

import json
from typing import Any

import qt
from slicer.i18n import tr as _

from ivimcore import Acquisition, InputError, available, create
from ivimcore.estimators import DEFAULT
from ivimcore.estimators.parametertable import other_options
from ivimcore.jobs.job import Request
from ivimcore.physics.presets import PRESETS, preset

from .MappingParameterNode import optionsOf
from .OptionForm import OptionForm
from .PanelLabels import showText
from .PanelState import PanelState
from .ParameterTableView import ParameterTableView
from .TorchOffer import canRunNetworks, isNetwork, isTorchInstalled, needsTorch, offerNetworks, offerTorch

_MOST_ROWS = 12


class EstimatorSection:
    """Ticks say what is fitted; the marked row (`state.marked`) is described and set up below the list."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self._abouts = available()
        self.names = [DEFAULT, *(name for name in self._abouts if name != DEFAULT)]
        self._forms: dict[str, OptionForm] = {}
        self._updating = False
        self._problems: dict[str, list] = {}
        self._table = ParameterTableView(ui.parameterTable, self._onBounds, self._refuse)
        self._fillList()
        self._fillOrgans()
        ui.estimatorList.connect("itemChanged(QListWidgetItem*)", self._onTick)
        ui.estimatorList.connect("currentRowChanged(int)", self._onRow)
        ui.organComboBox.connect("currentIndexChanged(int)", self._onOrgan)
        ui.resetOptionsButton.connect("clicked(bool)", self._onReset)
        for announcement in (state.seriesChanged, state.signalChanged):
            announcement.connect(self._showProblems)
        state.estimatorsChanged.connect(self.refresh)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        parameters = self.state.parameters
        if parameters is None:
            return
        self._updating = True
        chosen = list(parameters.estimators)
        known = [name for name in chosen if name in self._abouts]
        if known != chosen:
            parameters.estimators = known
            self.state.say(
                _("The scene names estimators that this version does not have ({names}); they were left out.").format(
                    names=", ".join(sorted(set(chosen) - set(known)))
                )
            )
        for row, name in enumerate(self.names):
            self.ui.estimatorList.item(row).setCheckState(qt.Qt.Checked if name in known else qt.Qt.Unchecked)
        self.ui.estimatorList.setCurrentRow(self.names.index(self.state.marked))
        self.ui.organComboBox.setCurrentIndex(max(0, self.ui.organComboBox.findData(parameters.organ)))
        self._updating = False
        self._showProblems()

    def enter(self) -> None:
        """List the estimators anew if a model was trained, added or removed meanwhile."""
        abouts = available()
        if abouts.keys() == self._abouts.keys() and all(
            about.card is self._abouts[name].card for name, about in abouts.items()
        ):
            return
        self._abouts = abouts
        self.names = [DEFAULT, *(name for name in abouts if name != DEFAULT)]
        for name in [name for name in self._forms if name not in abouts]:
            self._forms.pop(name).widget.setVisible(False)
        if self.state.marked not in abouts:
            self.state.marked = DEFAULT
        self._updating = True
        self._fillList()
        self._updating = False
        if self.state.parameters is not None:
            self.state.estimatorsChanged()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    # --- filling -----------------------------------------------------------------------------------------------

    def _fillList(self) -> None:
        self.ui.estimatorList.clear()
        for name in self.names:
            item = qt.QListWidgetItem(self._abouts[name].title)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Unchecked)
            self.ui.estimatorList.addItem(item)
        rows = min(len(self.names), _MOST_ROWS)  # beyond, with many trained models, the list scrolls
        height = self.ui.estimatorList.sizeHintForRow(0) * rows + 2 * self.ui.estimatorList.frameWidth
        self.ui.estimatorList.setFixedHeight(height + 4)

    def _fillOrgans(self) -> None:
        self.ui.organComboBox.addItem(_("any (broad limits)"), "none")
        for name in PRESETS:
            self.ui.organComboBox.addItem(name.replace("_", " "), name)

    def _showProblems(self) -> None:
        """Grey the estimators that cannot fit this series, say why, and describe the marked one."""
        if self.state.parameters is None:
            return
        self._updating = True
        try:
            acquisition = self.state.acquisition()
        except InputError:
            acquisition = None  # the sentence of a wrong b-value stands below Apply already
        self._problems = {name: self._problemsOf(name, acquisition) for name in self.names}
        grey = qt.QBrush(self.ui.estimatorList.palette.color(qt.QPalette.Disabled, qt.QPalette.Text))
        for row, name in enumerate(self.names):
            about, item = self._abouts[name], self.ui.estimatorList.item(row)
            blocked = any(problem.blocks for problem in self._problems[name])
            item.setText(
                _("{title}: not possible here").format(title=about.title) if blocked else f"{about.title} ({name})"
            )
            # Without a colour of its own the row follows the palette, also when a person changes the style.
            item.setData(qt.Qt.ForegroundRole, grey if blocked else None)
            item.setToolTip("\n\n".join([about.description, *self._problems[name], *about.references]))
        self._updating = False
        self._showMarked()

    def _problemsOf(self, name: str, acquisition: Acquisition | None) -> list:
        try:
            return [] if acquisition is None else create(name, **self.state.options(name)).problems(acquisition)
        except InputError:
            return []  # the sentence of a wrong option stands below Apply already, once and not for each estimator

    def _showMarked(self) -> None:
        name = self.state.marked
        about, options = self._abouts[name], self.state.options(name)
        said = [f"• {problem}" for problem in self._problems.get(name, [])]
        self.ui.estimatorLabel.setText("\n".join([about.description, *said, *_referenceLines(about.references)]))
        self.ui.estimatorLabel.setToolTip("\n".join(about.references))
        try:
            self._table.show(name, options.get("organ", "none"), options.get("bounds", {}))
        except InputError as fault:
            self._table.show(name, "none", {})
            self._refuse(str(fault))
        self._showForm(name, options)
        organ = self.state.parameters.organ
        hasOrgan = any(option.name == "organ" for option in about.options)
        sentence = self._organSentence(organ, hasOrgan)
        showText(self.ui.organNotesLabel, sentence)

    def _organSentence(self, organ: str, hasOrgan: bool) -> str:
        if organ == "none":
            return ""
        if not hasOrgan:
            return _("The marked estimator has no limits that an organ could fill.")
        return _("Limits and typical values of {organ}; typical values from {source}.").format(
            organ=organ.replace("_", " "), source=preset(organ).source
        )

    def _showForm(self, name: str, options: dict[str, Any]) -> None:
        if name not in self._forms:
            # Made once and kept: a form that is deleted while one of its boxes tells of a change would crash.
            form = OptionForm(other_options(name), self._onOption, self._refuse)
            self._forms[name] = form
            self.ui.optionsFrame.layout().addRow(form.widget)
        for other, form in self._forms.items():
            form.widget.setVisible(other == name)
        self._forms[name].show(options)
        self.ui.optionsFrame.setVisible(bool(other_options(name)))
        self.ui.resetOptionsButton.setEnabled(bool(self._ownOptions(name)))

    def form(self, name: str) -> OptionForm:
        """Return the form of an estimator that was marked at least once."""
        return self._forms[name]

    # --- what a person does ------------------------------------------------------------------------------------

    def _onTick(self, item):
        if self._updating or self.state.parameters is None:
            return
        ticked = [
            name for row, name in enumerate(self.names)
            if self.ui.estimatorList.item(row).checkState() == qt.Qt.Checked
        ]
        added = [name for name in ticked if name not in self.state.parameters.estimators]
        self.state.say("")
        self.state.parameters.estimators = ticked
        self._offerTorch(added)
        self.state.estimatorsChanged()

    def _onRow(self, row):
        if self._updating or self.state.parameters is None or not 0 <= row < len(self.names):
            return
        self.state.marked = self.names[row]
        self.state.estimatorsChanged()

    def _onOrgan(self, index):
        if self._updating or self.state.parameters is None:
            return
        organ = self.ui.organComboBox.itemData(index)
        self.state.parameters.organ = organ
        every = optionsOf(self.state.parameters)
        replaced = [name for name, own in every.items() if own.pop("bounds", None) or own.pop("organ", None)]
        self.state.say("")
        if replaced:
            self.state.parameters.optionsJson = json.dumps({name: own for name, own in every.items() if own})
            self.state.say(
                _("The preset replaced limits that were typed for {names}.").format(names=", ".join(replaced))
            )
        self.state.estimatorsChanged()

    def _onReset(self, checked=False):
        self.state.say("")
        self.state.setOptions(self.state.marked, {})

    def _onBounds(self, bounds):
        self._keep("bounds", {key: list(pair) for key, pair in bounds.items()})

    def _onOption(self, name, value):
        self._keep(name, value)
        self._offerTorch([self.state.marked])

    def _keep(self, name: str, value: Any) -> None:
        """Write one option of the marked estimator, if the estimator takes it; leave out what is the default."""
        marked = self.state.marked
        options = self._ownOptions(marked)
        default = next(option.default for option in self._abouts[marked].options if option.name == name)
        if value == default:
            options.pop(name, None)
        else:
            options[name] = value
        try:
            create(marked, **options)
        except InputError as fault:
            self._refuse(str(fault))
            self._showMarked()
            return
        self.state.say("")
        self.state.setOptions(marked, options)

    def _ownOptions(self, name: str) -> dict[str, Any]:
        """Return the options that a person changed, without the organ that counts for all estimators."""
        return dict(optionsOf(self.state.parameters).get(name, {}))

    def _offerTorch(self, names) -> None:
        requests = [Request(name, self.state.options(name)) for name in names]
        networks = any(isNetwork(request.make()) for request in requests)
        if not (networks or needsTorch(requests)) or (canRunNetworks() if networks else isTorchInstalled()):
            return
        missing = offerNetworks() if networks else offerTorch()
        if missing:
            self.state.say(missing)
        else:
            self._showProblems()

    def _refuse(self, sentence: str) -> None:
        self.state.say(sentence, "error")


def _referenceLines(references) -> list[str]:
    """Return one line with the first reference and the number of others; none for a model of one's own without any."""
    if not references:
        return []
    line = _("Reference: {reference}").format(reference=references[0])
    if len(references) > 1:
        line += " " + _("(and {count} more, see the tool tip)").format(count=len(references) - 1)
    return [line]
