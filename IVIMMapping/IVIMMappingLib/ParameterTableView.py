"""The parameters of one estimator as a table to edit: start, lower, upper, fixed, unit, typical."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.estimators.parametertable import ParameterRow, bounds_from_rows, parameter_rows
from ivimcore.physics.parameters import Bounds

from .TableText import Cell, fillTable

LOWER, UPPER, FIXED = 2, 3, 4
"""Columns that may be edited."""


class ParameterTableView:
    """Shows the limits of an estimator in a QTableWidget.

    `changed(bounds)` is called with the option `bounds` in stored units after a cell was edited, `refused(sentence)`
    with what is wrong with the entry; the old value then stays.
    """

    def __init__(
        self, table, changed: Callable[[dict[str, Bounds]], None], refused: Callable[[str], None]
    ) -> None:
        self._table = table
        self._changed = changed
        self._refused = refused
        self._rows: list[ParameterRow] = []
        table.connect("cellChanged(int,int)", self._onCell)

    def show(self, estimator: str, organ: str, bounds: dict[str, Bounds]) -> None:
        """Show the limits of an estimator with those of an organ and with `bounds` in stored units.

        Raises InputError where the bounds make no sense.
        """
        self._rows = parameter_rows(estimator, organ, bounds)
        self._fill()

    @property
    def rows(self) -> list[ParameterRow]:
        return list(self._rows)

    def _fill(self) -> None:
        header = [_("Parameter"), _("Start"), _("Lower"), _("Upper"), _("Fixed"), _("Unit"), _("Typical")]
        tips = [
            _("What is estimated"), _("Where the search begins"), _("Smallest value that the fit may give"),
            _("Largest value that the fit may give"), _("Hold this parameter at one value"),
            _("Unit of every number in this row"), _("Where soft tissue, or the chosen organ, lies"),
        ]
        fillTable(self._table, header, [self._cells(row) for row in self._rows], tips)

    def _cells(self, row: ParameterRow) -> list[Cell]:
        why = "" if row.estimated else _("The marked estimator does not determine {symbol}.").format(symbol=row.symbol)
        if row.estimated and not row.editable:
            why = _("The marked estimator has no limits of {symbol}.").format(symbol=row.symbol)
        start = _("Found by the estimator itself; it searches the whole range between the limits.")

        def limit(value, tip):
            return Cell(row.shown(value), why or tip, row.editable and value is not None, row.editable)

        return [
            Cell(row.symbol, why, enabled=row.estimated),
            Cell(_("automatic") if row.estimated else "", why or start, enabled=False),
            limit(row.lower, _("Smallest value, in {unit}").format(unit=row.unit)),
            limit(row.upper, _("Largest value, in {unit}").format(unit=row.unit)),
            Cell("", why or _("Hold this parameter at one value"), enabled=row.editable,
                 checked=row.fixed if row.editable else None),
            Cell(row.unit, why, enabled=row.estimated),
            Cell(row.typical_text, why, enabled=row.estimated),
        ]

    def _onCell(self, row, column):
        if not 0 <= row < len(self._rows):
            return
        item = self._table.item(row, column)
        try:
            edited = self._edited(self._rows[row], column, item)
            if edited is None:
                return
            rows = [*self._rows[:row], edited, *self._rows[row + 1:]]
            bounds = bounds_from_rows(rows)
        except InputError as fault:
            self._fill()
            self._refused(str(fault))
            return
        self._rows = rows
        self._changed(bounds)

    def _edited(self, row: ParameterRow, column: int, item) -> ParameterRow | None:
        if column == FIXED:
            fixed = item.checkState() == qt.Qt.Checked
            return None if fixed == row.fixed else row.edited(fixed=fixed)
        if column not in (LOWER, UPPER):
            return None
        value = self._number(row, item.text())
        return row.edited(lower=value) if column == LOWER else row.edited(upper=value)

    def _number(self, row: ParameterRow, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise InputError(
                _("'{text}' is no number for {symbol}; write it as 1.5, in {unit}.").format(
                    text=text, symbol=row.symbol, unit=row.unit
                )
            ) from None
