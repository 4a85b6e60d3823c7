"""The options of one estimator as a form, generated from the estimator's own description."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.estimators import Option

from .FileChoice import openFile
from .OptionTitles import isUsed, titleOf, wordsOf
from .TableText import narrow

_WORDS = {"auto": "automatic"}
"""How a person reads a word that a number may be instead."""
_LARGEST = 1e9


class OptionForm:
    """A widget with one row for each option.

    `widget` is to be put into a layout. `changed(name, value)` is called with a checked value, `refused(sentence)`
    with what is wrong; the old value then stays.
    """

    def __init__(
        self, options: Sequence[Option], changed: Callable[[str, Any], None], refused: Callable[[str], None]
    ) -> None:
        self.widget = qt.QWidget()
        self._changed = changed
        self._refused = refused
        self._rows: dict[str, _Row] = {}
        form = qt.QFormLayout(self.widget)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(qt.QFormLayout.AllNonFixedFieldsGrow)
        for option in options:
            row = _rowOf(option, self._onEdit)
            self._rows[option.name] = row
            label = qt.QLabel(f"{titleOf(option)}:")
            # A box that lies in a row has a tool tip of its own: one of the row would not be shown over the box.
            for widget in (label, row.widget, row.editor):
                widget.setToolTip(row.tip)
            form.addRow(label, row.widget)
            row.label = label
        self._showUse()

    def show(self, values: dict[str, Any]) -> None:
        """Show these values, defaults for the others, without calling `changed`."""
        for name, row in self._rows.items():
            row.set(values.get(name, row.option.default))
        self._showUse()

    def _showUse(self) -> None:
        """Grey what has no effect while the others are as they are."""
        values = {name: row.shown for name, row in self._rows.items()}
        for row in self._rows.values():
            used = isUsed(row.option, values)
            row.label.setEnabled(used)
            row.widget.setEnabled(used)

    def editor(self, name: str):
        """Return the widget in which an option is edited."""
        return self._rows[name].editor

    def _onEdit(self, row: _Row, value: Any) -> None:
        try:
            checked = row.option.check(value)
        except InputError as fault:
            row.set(row.shown)
            self._refused(str(fault))
            return
        if checked != row.shown:
            row.shown = checked
            self._changed(row.option.name, checked)
        row.set(checked)
        self._showUse()


class _Row:
    """One option: the widget in the form, the editor inside it, and the value that is shown."""

    def __init__(self, option: Option, onEdit: Callable[[_Row, Any], None]) -> None:
        self.option = option
        self.shown: Any = option.default
        self.onEdit = onEdit
        self.tip = _tipOf(option)
        self.updating = False
        self.build()

    def set(self, value: Any) -> None:
        self.shown = value
        self.updating = True
        self.write(value)
        self.updating = False

    def edited(self, value: Any) -> None:
        if not self.updating:
            self.onEdit(self, value)


class _ChoiceRow(_Row):
    def build(self) -> None:
        self.editor = self.widget = qt.QComboBox()
        for choice in self.option.choices:
            self.editor.addItem(wordsOf(self.option, choice), choice)
        narrow(self.editor)
        self.editor.connect("currentIndexChanged(int)", self.onIndex)

    def onIndex(self, index=-1):
        if index >= 0:
            self.edited(self.option.choices[index])

    def write(self, value) -> None:
        self.editor.setCurrentIndex(self.option.choices.index(value) if value in self.option.choices else 0)


class _FlagRow(_Row):
    def build(self) -> None:
        self.editor = self.widget = qt.QCheckBox()
        self.editor.connect("toggled(bool)", self.onToggle)

    def onToggle(self, checked=False):
        self.edited(bool(checked))

    def write(self, value) -> None:
        self.editor.setChecked(bool(value))


class _SpinRow(_Row):
    """A number that has a largest and a smallest value, or is far from where they would be."""

    def build(self) -> None:
        option = self.option
        whole = float(option.default).is_integer() and float(option.lower or 0).is_integer()
        self.editor = self.widget = qt.QDoubleSpinBox()
        self.editor.setDecimals(0 if whole else 3)
        self.editor.setMinimum(-_LARGEST if option.lower is None else option.lower)
        self.editor.setMaximum(_LARGEST if option.upper is None else option.upper)
        self.editor.setSingleStep((10 if option.default >= 100 else 1) if whole else 0.01)
        if option.unit not in ("", "1"):
            self.editor.setSuffix(f" {option.unit}")
        self.editor.setKeyboardTracking(False)
        self.editor.connect("valueChanged(double)", self.onValue)

    def onValue(self, value=0.0):
        self.edited(float(value))

    def write(self, value) -> None:
        self.editor.setValue(float(value))


class _WordRow(_Row):
    """A number that may also be a word ('automatic'): a box to type into, with the words to choose from."""

    def build(self) -> None:
        self.words = {_WORDS.get(choice, choice): choice for choice in self.option.choices}
        if isinstance(self.option.default, float) and math.isinf(self.option.default):
            self.words[_("no limit")] = self.option.default
        self.editor = self.widget = qt.QComboBox()
        self.editor.setEditable(True)
        self.editor.setInsertPolicy(qt.QComboBox.NoInsert)
        for word in self.words:
            self.editor.addItem(word)
        self.editor.lineEdit().connect("editingFinished()", self.onText)
        self.editor.connect("currentIndexChanged(int)", self.onIndex)

    def onText(self):
        self._take(self.editor.currentText)

    def onIndex(self, index=-1):
        if index >= 0:
            self._take(self.editor.itemText(index))

    def write(self, value) -> None:
        word = next((word for word, meaning in self.words.items() if meaning == value), None)
        unit = "" if self.option.unit in ("", "1") else f" {self.option.unit}"
        text = word if word is not None else f"{float(value):.10g}{unit}"
        # The index follows the text: choosing the word again after a number was typed must be a change.
        self.editor.setCurrentIndex(-1 if word is None else list(self.words).index(word))
        self.editor.setEditText(text)

    def _take(self, text: str) -> None:
        text = text.strip()
        if not self.updating:
            self.edited(self.words.get(text, text.removesuffix(self.option.unit).strip()))


class _FileRow(_Row):
    def build(self) -> None:
        self.widget = qt.QWidget()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self.editor = qt.QLineEdit()
        self.editor.setPlaceholderText(_("no file"))
        self.editor.connect("editingFinished()", self.onText)
        layout.addWidget(self.editor)
        self.button = qt.QToolButton()
        self.button.setText("…")
        self.button.setToolTip(_("Choose the file"))
        self.button.connect("clicked(bool)", self.onBrowse)
        layout.addWidget(self.button)

    def onText(self):
        self.edited(self.editor.text.strip())

    def onBrowse(self, checked=False):
        path = openFile(self.widget, titleOf(self.option))
        if path:
            self.edited(path)

    def write(self, value) -> None:
        self.editor.setText(str(value))


def _rowOf(option: Option, onEdit) -> _Row:
    if option.kind == "number":
        isWord = bool(option.choices) or not math.isfinite(option.default)
        return (_WordRow if isWord else _SpinRow)(option, onEdit)
    return {"choice": _ChoiceRow, "flag": _FlagRow, "file": _FileRow}[option.kind](option, onEdit)


def _tipOf(option: Option) -> str:
    """Return what an option does, the numbers it may have, and its name in scripts."""
    return _("{sentence} In scripts: {name}.").format(sentence=_limitsOf(option), name=option.name)


def _limitsOf(option: Option) -> str:
    if option.kind != "number":
        return option.sentence
    low, high = option.lower, option.upper
    unit = "" if option.unit in ("", "1") else f" {option.unit}"
    if low is not None and high is not None:
        return _("{sentence} From {low} to {high}{unit}.").format(
            sentence=option.sentence, low=f"{low:g}", high=f"{high:g}", unit=unit
        )
    return option.sentence
