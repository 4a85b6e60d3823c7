"""Tables of the panel: filled from plain cells, as high as their rows, copied as tab-separated text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import qt

_MOST_ROWS = 16
"""Rows from which on a table scrolls by itself instead of growing."""
_FOLLOWED = "ivimHeightFollowsScrollBar"
"""Property of a table whose scroll bar is followed already."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and how it looks and behaves.

    `checked` is None for a cell without check box; a cell that is not `enabled` is greyed; `colors` are background and
    text as '#rrggbb'.
    """

    text: str
    tip: str = ""
    editable: bool = False
    enabled: bool = True
    checked: bool | None = None
    colors: tuple[str, str] | None = None
    bold: bool = False


def fillTable(table, header: Sequence[str], rows: Sequence[Sequence[Cell | str]], tips: Sequence[str] = ()) -> None:
    """Show `rows` in a QTableWidget under `header`, without telling anybody that cells changed.

    `tips` are the tool tips of the header's cells. Row, column and scroll position that were marked stay marked.
    """
    wasBlocked = table.blockSignals(True)
    row, column = table.currentRow(), table.currentColumn()
    table.setColumnCount(len(header))
    table.setRowCount(len(rows))
    for index, text in enumerate(header):
        item = qt.QTableWidgetItem(text)
        item.setToolTip(tips[index] if index < len(tips) else text)
        table.setHorizontalHeaderItem(index, item)
    for rowIndex, cells in enumerate(rows):
        for columnIndex, cell in enumerate(cells):
            table.setItem(rowIndex, columnIndex, _item(table, Cell(cell) if isinstance(cell, str) else cell))
    if 0 <= row < len(rows) and 0 <= column < len(header):
        table.setCurrentCell(row, column)
    table.blockSignals(wasBlocked)
    fitTable(table)


def fitTable(table) -> None:
    """Make columns as wide as their text, and the table as high as its rows, so that the panel scrolls as a whole.

    The last column takes the width that is left; room for a scroll bar is made only while there is one.
    """
    table.verticalHeader().setVisible(False)
    table.horizontalHeader().setStretchLastSection(True)
    table.resizeColumnsToContents()
    table.resizeRowsToContents()
    if not table.property(_FOLLOWED):
        table.setProperty(_FOLLOWED, True)

        def onRange(lowest, highest):
            _fitHeight(table)

        # The bar appears whenever the panel becomes narrower than the columns, long after the table was filled.
        connected = table.horizontalScrollBar().connect("rangeChanged(int,int)", onRange)
        assert connected is not False
    _fitHeight(table)


def _fitHeight(table) -> None:
    rows = min(table.rowCount, _MOST_ROWS)
    height = sum(table.rowHeight(row) for row in range(rows)) + 2 * table.frameWidth
    if not table.horizontalHeader().isHidden():
        height += table.horizontalHeader().sizeHint.height()
    bar = table.horizontalScrollBar()
    table.setFixedHeight(height + (bar.sizeHint.height() if bar.maximum > bar.minimum else 0))


def tableText(table) -> str:
    """Return what a table shows as lines of tab-separated text, the header first; a check box is 'yes' or 'no'."""
    columns = [column for column in range(table.columnCount) if not table.isColumnHidden(column)]
    lines = ["\t".join(_clean(table.horizontalHeaderItem(column)) for column in columns)]
    for row in range(table.rowCount):
        lines.append("\t".join(_clean(table.item(row, column)) for column in columns))
    return "\n".join(lines) + "\n"


def narrow(box) -> None:
    """Let a QComboBox be narrower than its longest entry, which may be any name, so that the panel can be narrow."""
    box.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)


def copyText(text: str) -> None:
    """Put a text on the clipboard."""
    qt.QApplication.clipboard().setText(text)


def _clean(item) -> str:
    if item is None:
        return ""
    text = item.text().replace("\t", " ").replace("\n", " ")
    return text


def _item(table, cell: Cell):
    item = qt.QTableWidgetItem(cell.text)
    item.setToolTip(cell.tip or cell.text)
    flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
    if cell.editable and cell.enabled:
        flags = flags | qt.Qt.ItemIsEditable
    if cell.checked is not None:
        if cell.enabled:
            flags = flags | qt.Qt.ItemIsUserCheckable
        item.setCheckState(qt.Qt.Checked if cell.checked else qt.Qt.Unchecked)
    item.setFlags(flags)
    if not cell.enabled:
        # Greyed by colour and not by the flag: a disabled item shows no tool tip that says why.
        item.setForeground(qt.QBrush(table.palette.color(qt.QPalette.Disabled, qt.QPalette.Text)))
    if cell.colors is not None:
        item.setBackground(qt.QBrush(qt.QColor(cell.colors[0])))
        item.setForeground(qt.QBrush(qt.QColor(cell.colors[1])))
    if cell.bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item
