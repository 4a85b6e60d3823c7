"""A picture with text, drawn without OpenGL, Qt and matplotlib, none of which every Slicer has where it is needed.

The letters come from VTK's own font through FreeType, which works in the desktop program and in a plain Python alike.
That font lacks the raised minus of '10⁻³', so raised signs are drawn as small ones, moved up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ivimcore.errors import InputError

DPI = 100
_RAISED = {"⁻": "-", **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))}
_RAISED_SIZE, _RAISED_BY = 0.75, 0.26
"""Of a raised sign: its size, and how far it moves up, as parts of the size of the text."""
_FOR_MISSING = str.maketrans({"−": "-", "–": "-", "—": "-", "…": "..."})
"""Signs that VTK's font lacks and others that mean the same."""
Color = tuple[float, float, float]


class FigureCanvas:
    """A picture of `width` x `height` pixels, counted from its top left corner; colours are RGB in 0..1."""

    def __init__(self, width: int, height: int, background: Color) -> None:
        self.pixels = np.empty((height, width, 3), dtype=float)
        self.pixels[:] = background

    def picture(self, left: int, top: int, pixels: np.ndarray) -> None:
        """Put a picture (h, w, 3) of uint8 with its top left corner at that place."""
        height, width = pixels.shape[:2]
        self.pixels[top:top + height, left:left + width] = pixels / 255.0

    def rectangle(self, left: float, top: float, width: float, height: float, color: Color) -> None:
        """Fill a rectangle."""
        rows, columns = slice(round(top), round(top + height)), slice(round(left), round(left + width))
        self.pixels[rows, columns] = color

    def gradient(self, left: int, top: int, width: int, height: int, table: np.ndarray) -> None:
        """Draw a table of colours (n, 3) from left to right."""
        places = np.linspace(0, len(table) - 1, width)
        bar = np.stack([np.interp(places, np.arange(len(table)), channel) for channel in np.asarray(table).T], axis=1)
        self.pixels[top:top + height, left:left + width] = bar

    def text(
        self, x: float, y: float, text: str, size: float, color: Color, bold: bool = False, align: str = "left",
        upwards: bool = False,
    ) -> float:
        """Write one line, its middle at height `y`; returns its width in pixels.

        `size` in points; `align` tells which end, or 'center', stands at `x`; `upwards` turns it by 90° to the left.
        What reaches beyond the picture is cut off.
        """
        mask = _mask(text, size, bold)
        width = mask.shape[1]
        if upwards:
            mask = np.rot90(mask)
        height, across = mask.shape
        left = round(x - across * {"left": 0.0, "center": 0.5, "right": 1.0}[align])
        top = round(y - height / 2)
        rows = slice(max(top, 0), max(min(top + height, self.pixels.shape[0]), 0))
        columns = slice(max(left, 0), max(min(left + across, self.pixels.shape[1]), 0))
        part = mask[rows.start - top:rows.stop - top, columns.start - left:columns.stop - left, None]
        self.pixels[rows, columns] += part * (np.asarray(color) - self.pixels[rows, columns])
        return width

    def save(self, path: str | Path) -> None:
        """Write the picture as PNG. Raises InputError if that fails."""
        height, width = self.pixels.shape[:2]
        numbers = np.rint(np.clip(self.pixels[::-1], 0, 1) * 255).astype(np.uint8).reshape(-1, 3)
        image = vtk.vtkImageData()
        image.SetDimensions(width, height, 1)
        image.GetPointData().SetScalars(numpy_to_vtk(numbers, deep=True))
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputData(image)
        writer.Write()
        if writer.GetErrorCode() or not Path(path).is_file():
            raise InputError(f"{path} could not be written; make room on the disk or choose another folder.")


def widthOf(text: str, size: float, bold: bool = False) -> int:
    """Return the width of a line in pixels; `size` in points."""
    return _mask(text, size, bold).shape[1]


def niceTicks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within low .. high, 4 to about `most` + 1 of them."""
    if not high > low:
        return [low]
    power = 10.0 ** np.floor(np.log10((high - low) / most))
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10)):
        ticks = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
        if ticks.size <= most + 1:
            return [float(tick) + 0.0 for tick in ticks]  # no -0
    return [low, high]


def _mask(text: str, size: float, bold: bool) -> np.ndarray:
    """Return how much of each pixel (h, w) a line of text covers, 0..1."""
    parts: list[tuple[str, bool]] = []
    for sign in text.translate(_FOR_MISSING):
        isRaised = sign in _RAISED
        letter = _RAISED.get(sign, sign)
        if parts and parts[-1][1] == isRaised:
            parts[-1] = (parts[-1][0] + letter, isRaised)
        else:
            parts.append((letter, isRaised))
    masks = [_render(part, size * (_RAISED_SIZE if isRaised else 1.0), bold) for part, isRaised in parts]
    line = _render("Ag", size, bold).shape[0]
    up = round(_RAISED_BY * size * DPI / 72)
    height = line + 2 * up
    whole = np.zeros((height, sum(mask.shape[1] for mask in masks)))
    left = 0
    for mask, (_, isRaised) in zip(masks, parts, strict=True):
        # Both stand on the same line of writing; raised ones then move up.
        top = height - up - mask.shape[0] - (up if isRaised else 0)
        whole[top:top + mask.shape[0], left:left + mask.shape[1]] = mask
        left += mask.shape[1]
    return whole


def _render(text: str, size: float, bold: bool) -> np.ndarray:
    style = vtk.vtkTextProperty()
    style.SetFontFamilyToArial()
    style.SetFontSize(max(1, round(size)))
    style.SetBold(bold)
    style.SetColor(1, 1, 1)
    # FreeType drops blanks at the ends, which separate the parts of a line.
    inner = text.strip(" ")
    blank = round(0.28 * size * DPI / 72)
    before, after = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    if not inner:
        return np.zeros((1, blank * len(text)))
    image = vtk.vtkImageData()
    extent = [0, 0]
    if not vtk.vtkFreeTypeTools.GetInstance().RenderString(style, inner, DPI, image, extent):
        raise RuntimeError(f"The text '{inner}' cannot be drawn.")
    width, height, _ = image.GetDimensions()
    alpha = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., 3] / 255.0
    return np.pad(alpha[: extent[1], : extent[0]][::-1], ((0, 0), (blank * before, blank * after)))
