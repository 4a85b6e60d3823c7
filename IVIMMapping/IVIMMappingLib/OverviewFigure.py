"""The overview of runs as one picture: b = 0 image, D, f, D* and RMSE side by side, one row for each run.

The slices are drawn by Slicer (SliceFigure); titles, legends and layout by matplotlib, which is imported only here
and only when a figure is written, because desktop Slicer does not bring it.

Where a run has information maps, the column 'D* information' is added, and voxels of D, f and D* in which the data
said little are pale and hatched: a smooth map that is only the prior must never look like a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ivimcore.physics.parameters import INFORMATION, INFORMATION_MEANS, PARAMETERS
from ivimcore.reports.colormaps import colormap

from .MapDescription import describeMap
from .RegionSegments import regionMasks
from .SliceChoice import chooseBox, chooseSlice
from .SliceFigure import SliceFigure, sizeOfSlice
from .VolumeNodes import arrayFromVolumeNode, createVolumeNode, geometryOfVolumeNode

INFORMATION_COLUMN = "Dstar" + INFORMATION
COLUMNS = ("base", "ADC", "D", "f", "Dstar", INFORMATION_COLUMN, "rmse")
_NAMES = {
    "D": "tissue diffusion", "f": "perfusion fraction", "Dstar": "pseudo-diffusion",
    "rmse": "misfit", "S0": "signal at b = 0", "ADC": "apparent diffusion", INFORMATION_COLUMN: "information",
}
_NOTE = "Research use only. Not for diagnosis."
_HATCH_NOTE = "hatched: the data said little, the prior filled in"
_BACKGROUND, _TEXT, _QUIET = "#0b0d10", "#f2f4f7", "#9aa4b2"

_FEW_REGIONS = 6
_SYMBOL = {"size": 16, "weight": "bold"}

_HATCH_PERIOD, _HATCH_WIDTH = 8, 2  # pixels along a line of the picture
_PALE, _DIM, _LINE = 0.8, 0.6, (150, 155, 163)
"""Of hatched voxels: the part of the colour lost to grey, the part of the lightness kept, and the colour of lines."""

# Layout in pixels.
_PANEL, _GAP, _LEFT, _RIGHT, _TOP, _TITLE, _LEGEND, _BOTTOM = 380, 14, 64, 24, 64, 40, 74, 52
_LEAST_WIDTH, _LEAST_HEIGHT = 0.72, 0.55  # of a panel, as a part of _PANEL


@dataclass
class OverviewRow:
    """One row of the picture: `title` at its left, `base` the b = 0 image node, `maps` nodes by parameter key."""

    title: str
    base: Any
    maps: Mapping[str, Any] = field(default_factory=dict)


def writeOverview(
    path: str | Path, scene: slicer.vtkMRMLScene, applicationLogic, rows: Sequence[OverviewRow],
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None, title: str = "", sliceIndex: int | None = None,
    baseName: str = "b = 0 image",
) -> dict[str, Any]:
    """Write the picture of `rows` as PNG and say what it shows: {"slice", "slices", "size"}.

    All rows lie on one grid. Maps of one column must have the same window (RunFolder.shareWindows); the legend under
    the column is that of its first map. Voxels with little information are hatched (`hatch`). Outlines of the regions
    are drawn on the maps too where they are few; many would hide them. `sliceIndex` along k is chosen by SliceChoice if
    None; `baseName` heads the first column.
    Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("An overview needs at least one row.")
    regions = regionMasks(segmentationNode, rows[0].base) if segmentationNode else {}
    fitted = next((row for row in rows if "rmse" in row.maps), rows[0])  # a truth has values where no fit has
    values = arrayFromVolumeNode(fitted.maps.get("D") or next(iter(fitted.maps.values()), fitted.base))[0]
    k = chooseSlice(values, regions) if sliceIndex is None else sliceIndex
    shown = np.isfinite(values[..., k])
    for mask in regions.values():
        shown = shown | mask[..., k]
    box = chooseBox(shown)
    geometry = geometryOfVolumeNode(rows[0].base)
    width, height = sizeOfSlice(geometry, box)
    panel = (
        round(_PANEL * min(1.0, max(width / height, _LEAST_WIDTH))),
        round(_PANEL * min(1.0, max(height / width, _LEAST_HEIGHT))),
    )
    pictures, letters, isHatched = _drawSlices(scene, applicationLogic, rows, k, box, panel, segmentationNode)
    names = _segmentColors(segmentationNode) if regions else []
    notes = (_HATCH_NOTE, _NOTE) if isHatched else (_NOTE,)
    where = f"slice {k + 1} of {geometry.shape[2]}"
    figure = _compose(rows, pictures, panel, letters, names, title, where, baseName, notes)
    figure.savefig(str(path), format="png", facecolor=_BACKGROUND)
    size = [round(float(inches) * figure.dpi) for inches in figure.get_size_inches()]
    return {"slice": k, "slices": geometry.shape[2], "size": size}


def hatch(picture: np.ndarray, unsure: np.ndarray) -> np.ndarray:
    """Return `picture` (h, w, 3) uint8 with the pixels of `unsure` (h, w) of bool pale and dim, under lines."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    changed = _DIM * ((1 - _PALE) * picture + _PALE * grey[..., None])
    y, x = np.indices(unsure.shape)
    changed[(x + y) % _HATCH_PERIOD < _HATCH_WIDTH] = _LINE
    return np.where(unsure[..., None], np.rint(changed), picture).astype(np.uint8)


def _drawSlices(scene, applicationLogic, rows, k, box, panel, segmentationNode):
    """Return the pictures {(row, column key): (h, w, 3)}, the letters of both edges, and whether any is hatched."""
    pictures, isHatched = {}, False
    outlines = segmentationNode.GetDisplayNode() if segmentationNode else None
    few = outlines is not None and segmentationNode.GetSegmentation().GetNumberOfSegments() <= _FEW_REGIONS
    visible = outlines is not None and outlines.GetVisibility()

    def draw(background, foreground=None, outlined=False):
        if outlines is not None:
            outlines.SetVisibility(outlined)
        return view.render(background, foreground, k, box=box)

    with SliceFigure(scene, applicationLogic, panel) as view:
        for number, row in enumerate(rows):
            pictures[number, "base"] = draw(row.base, outlined=True)
            for key in (key for key in COLUMNS if key in row.maps):
                # Over the grey image nobody could tell where a grey map ends.
                layers = (row.maps[key],) if describeMap(key).colors == "Grey" else (row.base, row.maps[key])
                pictures[number, key] = outlined = draw(*layers, outlined=few)
                information = row.maps.get(key + INFORMATION)
                if information is None:
                    continue
                unsure = _drawUnsure(scene, draw, row.maps[key], information)
                plain = draw(*layers) if few else outlined
                # Outlines are what differs from the picture without them, and stay above the hatching.
                isOutline = (outlined != plain).any(axis=2, keepdims=True)
                pictures[number, key] = np.where(isOutline, outlined, hatch(plain, unsure))
                isHatched = isHatched or bool(unsure.any())
        letters = view.edgeLetters()
    if outlines is not None:
        outlines.SetVisibility(visible)
    return pictures, letters, isHatched


def _drawUnsure(scene, draw, node, information) -> np.ndarray:
    """Return the pixels (h, w) of the voxels with a value of `node` in which the data said little."""
    values, geometry = arrayFromVolumeNode(node)
    known = arrayFromVolumeNode(information)[0]
    unsure = np.isfinite(values) & (known < INFORMATION_MEANS)
    mask = createVolumeNode(scene, unsure, geometry, "IVIMFigure unsure")
    display = mask.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetInterpolate(False)
    pixels = draw(mask)[..., 0] > 127
    scene.RemoveNode(display)
    scene.RemoveNode(mask)
    return pixels


def _compose(rows, pictures, panel, letters, names, title, where, baseName, notes):
    """Lay the pictures out and write everything around them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = [key for key in COLUMNS if any((number, key) in pictures for number in range(len(rows)))]
    width = _LEFT + len(columns) * panel[0] + (len(columns) - 1) * _GAP + _RIGHT
    height = _TOP + _TITLE + len(rows) * panel[1] + (len(rows) - 1) * _GAP + _LEGEND + _BOTTOM
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    FigureCanvasAgg(figure)

    def axes(left, top, w, h):
        return figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))

    def write(x, y, text, **style):
        figure.text(x / width, 1 - y / height, text, **{"color": _TEXT, "va": "center", **style})

    heading = {"size": 17, "weight": "bold"}
    room = (width - _LEFT - _RIGHT - 150) / max(1.0, _widthOf(figure, title, heading))
    write(_LEFT, _TOP / 2 + 4, title, **{**heading, "size": 17 * min(1.0, room)})
    write(width - _RIGHT, _TOP / 2 + 4, where, size=12, color=_QUIET, ha="right")
    for c, key in enumerate(columns):
        left = _LEFT + c * (panel[0] + _GAP)
        symbol = "" if key == "base" else _symbol(key)
        write(left, _TOP + _TITLE / 2, symbol, **_SYMBOL)
        indent = 0 if key == "base" else _widthOf(figure, symbol, _SYMBOL) + 12
        name = baseName if key == "base" else _NAMES[key]
        write(left + indent, _TOP + _TITLE / 2, name, size=13, color=_TEXT if key == "base" else _QUIET)
        for r in range(len(rows)):
            top = _TOP + _TITLE + r * (panel[1] + _GAP)
            _panel(axes(left, top, *panel), pictures.get((r, key)), letters if key == "base" else None)
        node = next(row.base if key == "base" else row.maps[key] for row in rows if key == "base" or key in row.maps)
        _legend(axes(left + 12, height - _BOTTOM - _LEGEND + 14, panel[0] - 24, 14), key, node)
    for r, row in enumerate(rows):
        middle = _TOP + _TITLE + r * (panel[1] + _GAP) + panel[1] / 2
        write(_LEFT / 2, middle, row.title, size=15, weight="bold", rotation=90, ha="center")
    _footer(figure, write, width, height, names, notes)
    return figure


def _symbol(key: str) -> str:
    """Return the symbol over a column; that of the information is the symbol of what it informs about."""
    return PARAMETERS[key.removesuffix(INFORMATION)].symbol


def _widthOf(figure, text: str, style) -> float:
    """Return the width of a text in pixels."""
    probe = figure.text(0, 0, text, **style)
    width = probe.get_window_extent(figure.canvas.get_renderer()).width
    probe.remove()
    return width


def _panel(axis, picture, letters) -> None:
    axis.set_axis_off()
    if picture is None:
        axis.text(0.5, 0.5, "not available", color=_QUIET, ha="center", va="center", size=12, transform=axis.transAxes)
        return
    axis.imshow(picture, interpolation="none", aspect="auto")
    for x, letter, side in zip((0.025, 0.975), letters or (), ("left", "right"), strict=False):
        axis.text(x, 0.97, letter, color=_TEXT, ha=side, va="top", size=12, weight="bold", transform=axis.transAxes)


def _legend(axis, key: str, node) -> None:
    """Draw the colours of a map with numbers in display units, taken from the window of its node."""
    display = node.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    if key == "base":
        table, factor, label = colormap("Grey"), 1.0, "signal [signal units]"
    else:
        description = describeMap(key)
        table, factor, label = colormap(description.colors), description.parameter.display_factor, description.label
    axis.imshow(table[None], aspect="auto", extent=(low * factor, high * factor, 0, 1), interpolation="bilinear")
    axis.set_yticks([])
    axis.xaxis.set_major_locator(_locator())
    axis.tick_params(colors=_TEXT, labelsize=11, length=4)
    for spine in axis.spines.values():
        spine.set_color(_QUIET)
        spine.set_linewidth(0.6)
    axis.set_xlabel(label, color=_TEXT, size=12, labelpad=3)


def _locator():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=4)


def _footer(figure, write, width: float, height: float, names, notes) -> None:
    """Write the regions with their colours at the left and the notes at the right, all on one line."""
    line = height - _BOTTOM / 2 + 4
    note = "     ".join(notes)
    write(width - _RIGHT, line, note, size=11, color=_QUIET, ha="right")
    renderer = figure.canvas.get_renderer()
    end = width - _RIGHT - _widthOf(figure, note, {"size": 11}) - 24
    more = _widthOf(figure, f"and {len(names)} more", {"size": 12}) + 24
    x = float(_LEFT)
    for number, (name, color) in enumerate(names):
        text = figure.text((x + 26) / width, 1 - line / height, name, color=_TEXT, va="center", size=12)
        right = text.get_window_extent(renderer).x1
        if right > end - (more if number < len(names) - 1 else 0):
            text.set_text(f"and {len(names) - number} more")
            text.set_x(x / width)
            return
        write(x, line, "━", color=color, size=14, weight="bold")
        x = right + 24


def _segmentColors(node) -> list[tuple[str, tuple[float, float, float]]]:
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    return [(segment.GetName(), tuple(segment.GetColor())) for segment in segments]
