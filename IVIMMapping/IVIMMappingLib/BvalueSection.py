"""Step 1, below the series: the table of b-values, and stepping through the images by b."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ivimcore.data.bvaluetable import BvalueRow, BvalueTable, parse_bvalues
from ivimcore.data.series import AVERAGING
from ivimcore.errors import InputError

from .BvalueCells import bText, cellsOf
from .FileChoice import openFile
from .PanelState import PanelState
from .SliceAnnotation import SliceAnnotation
from .TableText import fillTable

USE, B, COUNT, NUMBERS = range(4)
_STEP_MS = 400
_KEPT = re.compile(r" \(kept as [^()]*\)")
_BVAL_FILES = "b-values (*.bval *.bvals *.txt);;All files (*)"


class BvalueSection:
    """Edits go to the parameters `bvalues` and `excludedImages` at once, and are announced as `signalChanged`."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.table: BvalueTable | None = None
        self._rows: list[BvalueRow] = []
        self._updating = False
        self._entered = False
        self._annotation = SliceAnnotation(self._isOurs)
        self._observed: list[tuple] = []  # (node, tag): their changes tell that another image is shown
        self._timer = qt.QTimer(ui.bvalueTable)
        self._timer.setInterval(_STEP_MS)
        self._shortcuts = []
        words = {"none": _("one by one"), "geometric": _("geometric mean"), "arithmetic": _("mean")}
        for name in AVERAGING:
            ui.averageComboBox.addItem(words.get(name, name), name)
        connected = (
            self._timer.connect("timeout()", self._onTick),
            ui.bvalueTable.connect("itemChanged(QTableWidgetItem*)", self._onEdit),
            ui.perImageCheckBox.connect("toggled(bool)", self._onPerImage),
            ui.averageComboBox.connect("currentIndexChanged(int)", self._onAverage),
            ui.pasteButton.connect("clicked(bool)", self._onPaste),
            ui.loadBvalButton.connect("clicked(bool)", self._onLoad),
            ui.undoButton.connect("clicked(bool)", self._onUndo),
            ui.resetButton.connect("clicked(bool)", self._onReset),
            ui.previousBButton.connect("clicked(bool)", self._onPrevious),
            ui.nextBButton.connect("clicked(bool)", self._onNext),
            ui.playButton.connect("toggled(bool)", self._onPlay),
        )
        assert all(answer is not False for answer in connected)
        state.seriesChanged.connect(self._onSeries)

    def refresh(self) -> None:
        """Show the table of the series that the scene brought, with the edits that were saved."""
        self._onSeries()

    def enter(self) -> None:
        """Take the keys, and write b into the views."""
        self._entered = True
        if not self._shortcuts:
            self._createShortcuts()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(True)
        self._showB()

    def exit(self) -> None:
        """Give the keys back, stop playing, and leave the views as they were."""
        self._entered = False
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
        self.ui.playButton.setChecked(False)
        self._annotation.remove()

    def close(self) -> None:
        """Let everything go."""
        self._timer.stop()
        self._observe(None)
        self._annotation.remove()
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
        self._shortcuts = []

    # --- the table ---------------------------------------------------------------------------------------------

    def _onSeries(self) -> None:
        parameters, series = self.state.parameters, self.state.series
        self.ui.playButton.setChecked(False)
        self.table = None
        if series is not None:
            self.table = BvalueTable(series.bvalues, series.source)
            self.table.restore(list(parameters.bvalues), list(parameters.excludedImages))
        self._updating = True
        self.ui.averageComboBox.setCurrentIndex(max(0, self.ui.averageComboBox.findData(parameters.average)))
        self._updating = False
        self._observe(series.displayNode() if series is not None and series.canShowImages else None)
        self._show()
        self._showB()

    def _change(self, change) -> None:
        """Apply a change of the table, keep it with the scene and announce it, or say why it cannot be made."""
        if self.table is None:
            return
        try:
            change()
        except InputError as fault:
            self.state.say(str(fault))
            self._show()
            return
        self.state.say("")
        table, parameters = self.table, self.state.parameters
        parameters.bvalues = [float(b) for b in table.b] if table.edited.any() else []
        parameters.excludedImages = [int(number) for number in table.excluded]
        self._show()
        self._showB()
        self.state.signalChanged()

    def _show(self) -> None:
        ui, table = self.ui, self.table
        self._rows = [] if table is None else table.rows(bool(ui.perImageCheckBox.checked))
        self._updating = True
        fillTable(
            ui.bvalueTable, (_("Use"), _("b [s/mm²]"), _("Images"), _("Image numbers")),
            [cellsOf(row) for row in self._rows],
            (
                _("Only images that are used are fitted"), _("Double click to correct a b-value"),
                _("Number of images of this b-value"), _("Numbers of the images in the series, from 1"),
            ),
        )
        for index, row in enumerate(self._rows):
            if row.partly_used:
                ui.bvalueTable.item(index, USE).setCheckState(qt.Qt.PartiallyChecked)
        self._updating = False
        ui.bvalueTable.setVisible(table is not None)
        ui.bvalueSourceLabel.setVisible(table is not None)
        ui.bvalueSourceLabel.setText("" if table is None else self._source())
        ui.bvalueSourceLabel.setToolTip("" if table is None else self._origin())
        for widget in (ui.pasteButton, ui.loadBvalButton, ui.perImageCheckBox, ui.averageComboBox):
            widget.setEnabled(table is not None)
        ui.undoButton.setEnabled(table is not None and table.can_undo)
        ui.resetButton.setEnabled(table is not None and table.is_changed)

    def _source(self) -> str:
        unknown = len(self.table.unknown)
        # Where in the scene we keep them says nothing to a person; the tool tip has it.
        known = "" if unknown == len(self.table.b) else _KEPT.sub("", self._origin())
        wanted = _("{count} images have no b-value; type, paste or load them.").format(count=unknown) if unknown else ""
        return " ".join(part for part in (known, wanted) if part)

    def _origin(self) -> str:
        return _("b-values from: {source}.").format(source=self.table.source.rstrip("."))

    def _onEdit(self, item) -> None:
        if self._updating or self.table is None or not 0 <= item.row() < len(self._rows):
            return
        row = self._rows[item.row()]
        if item.column() == USE:
            used = item.checkState() == qt.Qt.Checked
            self._change(lambda: self.table.set_used(row.numbers, used))
        elif item.column() == B and item.text() != bText(row.b):
            text = item.text()
            self._change(lambda: self.table.set_b(row.numbers, _oneNumber(text)))

    def _onPerImage(self, checked: bool = False) -> None:
        self._show()

    def _onAverage(self, index: int = 0) -> None:
        if not self._updating and self.state.parameters is not None:
            self.state.parameters.average = AVERAGING[index]
            self.state.signalChanged()

    def _onPaste(self, checked: bool = False) -> None:
        text = qt.QApplication.clipboard().text()
        self._change(lambda: self.table.replace(parse_bvalues(text), _("pasted")))

    def _onLoad(self, checked: bool = False) -> None:
        self.loadBval(openFile(self.ui.loadBvalButton, _("b-values of the series"), _BVAL_FILES))

    def loadBval(self, path: str) -> None:
        """Read the b-values from a .bval file."""
        if not path:
            return
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError as fault:
            self.state.say(_("'{path}' could not be read ({reason}).").format(path=path, reason=fault.strerror))
            return
        self._change(lambda: self.table.replace(parse_bvalues(text), _("file {name}").format(name=Path(path).name)))

    def _onUndo(self, checked: bool = False) -> None:
        self._change(self.table.undo)

    def _onReset(self, checked: bool = False) -> None:
        self._change(self.table.reset)

    # --- the image on screen -----------------------------------------------------------------------------------

    def step(self, direction: int) -> None:
        """Show the image of the next larger (1) or smaller (-1) b-value; images of equal b follow each other."""
        series = self.state.series
        if series is None or not series.canShowImages:
            return
        b = self.state.bvalues()
        order = [int(index) for index in np.lexsort((np.arange(b.size), np.where(np.isfinite(b), b, np.inf)))]
        shown = series.shownImage()
        place = order.index(shown) + direction if shown in order else 0
        series.showImage(order[place % len(order)])
        self._showB()

    def _onPrevious(self, checked: bool = False) -> None:
        self.step(-1)

    def _onNext(self, checked: bool = False) -> None:
        self.step(1)

    def _onPlay(self, checked: bool = False) -> None:
        self._timer.start() if checked and self.state.series is not None else self._timer.stop()

    def _onTick(self) -> None:
        if self.state.series is None:
            self.ui.playButton.setChecked(False)
        else:
            self.step(1)

    def _onNextKey(self) -> None:
        self.step(1)

    def _onPreviousKey(self) -> None:
        self.step(-1)

    def _createShortcuts(self) -> None:
        window = slicer.util.mainWindow()
        if window is None:
            return
        for keys, handler in (("Shift+B", self._onNextKey), ("Ctrl+Shift+B", self._onPreviousKey)):
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            connected = shortcut.connect("activated()", handler)
            assert connected is not False
            self._shortcuts.append(shortcut)

    def _showB(self) -> None:
        series = self.state.series
        canShow = series is not None and series.canShowImages
        for button in (self.ui.previousBButton, self.ui.nextBButton, self.ui.playButton):
            button.setEnabled(canShow)
        shown = series.shownImage() if canShow else None
        text = ""
        isVector = series is not None and not canShow
        self.ui.shownBLabel.setToolTip(
            _("Slicer shows the images of such a volume only together; import its file to step through them")
            if isVector else _("b-value of the image on screen; it also stands in the corner of the slice views")
        )
        if shown is not None:
            b = self.state.bvalues()[shown]
            image = _("image {number} of {count}").format(number=shown + 1, count=series.count)
            known = _("b = {b:g} s/mm²").format(b=b) if math.isfinite(b) else _("b unknown")
            text = f"{known} ({image})"
        self.ui.shownBLabel.setText(_("no single images of this kind of volume") if isVector else text)
        if self._entered:
            self._annotation.show(text)

    def _isOurs(self, volume) -> bool:
        series = self.state.series
        return volume is not None and series is not None and series.displayNode() is volume

    def _observe(self, node) -> None:
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        if node is not None:
            # A sequence changes its volume; a DWI volume shows another image by its display node.
            events = (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent)
            self._observed = [(node, node.AddObserver(event, self._onDisplayed)) for event in events]

    def _onDisplayed(self, caller, event) -> None:
        if self.state.series is not None and self.state.parameters is not None:
            self._showB()


def _oneNumber(text: str) -> float:
    values = parse_bvalues(text)
    if len(values) != 1:
        raise InputError(_("'{text}' is not one b-value; give a number in s/mm².").format(text=text))
    return values[0]
