"""The plotted curves as a picture or as a table of numbers."""

from __future__ import annotations

import csv
from itertools import zip_longest
from pathlib import Path

from ivimcore.errors import InputError
from ivimcore.wholefile import whole_file

from .CurvePlot import CurvePlot
from .PlotPicture import writeChart

CURVE_FILES = "Picture (*.png);;Scalable picture (*.svg);;Numbers (*.csv)"
_PICTURE = (960, 600)


def saveCurves(plot: CurvePlot, path) -> Path:
    """Write what is plotted as .png or .svg with a legend, or its numbers as .csv with units, by the end of the name.

    Raises InputError for another end and where the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        return writeChart(plot.chartNode, path, _PICTURE, legend=True)
    columns = plot.columns()
    try:
        with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([name for name, _values in columns])
            for row in zip_longest(*(values for _name, values in columns)):
                writer.writerow(["" if value is None else f"{value:.9g}" for value in row])
    except OSError as fault:
        raise InputError(
            f"The numbers could not be written to '{path}' ({fault.strerror}); choose another place."
        ) from None
    return path
