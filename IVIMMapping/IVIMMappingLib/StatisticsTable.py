"""Statistics of regions as a table node: what the CSV holds, with numbers as numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import slicer
import vtk

from ivimcore.reports.roistatistics import unguarded

Cell = float | int | str | None


def createTable(scene: slicer.vtkMRMLScene, rows: Sequence[Mapping[str, Cell]], name: str) -> slicer.vtkMRMLTableNode:
    """Add a table node with one line for each row and one column for each key, in the order of first appearance.

    A column that holds only numbers (or nothing) becomes a column of doubles with NaN where there is nothing; any
    other becomes text.
    """
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    wasModifying = node.StartModify()
    for column in columns:
        cells = [row.get(column) for row in rows]
        numeric = all(cell is None or isinstance(cell, (int, float)) for cell in cells) and any(
            cell is not None for cell in cells
        )
        array = vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
        array.SetName(column)
        for cell in cells:
            if numeric:
                array.InsertNextValue(math.nan if cell is None else float(cell))
            else:
                array.InsertNextValue("" if cell is None else str(cell))
        node.AddColumn(array)
    node.EndModify(wasModifying)
    return node


def rowsOfTable(node: slicer.vtkMRMLTableNode) -> list[dict[str, Cell]]:
    """Return the lines of a table node: numbers as float, everything else as text."""
    table = node.GetTable()
    columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())]
    return [
        {
            column.GetName(): column.GetValue(row) if isinstance(column, vtk.vtkStringArray)
            else float(column.GetTuple1(row))
            for column in columns
        }
        for row in range(table.GetNumberOfRows())
    ]


def readRows(path: str | Path) -> list[dict[str, Cell]]:
    """Read a CSV file with a header line; a cell that is a number becomes one, an empty cell becomes None."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [{key: _cell(text) for key, text in row.items()} for row in csv.DictReader(stream)]


def _cell(text: str | None) -> Cell:
    if text is None or text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return unguarded(text)
