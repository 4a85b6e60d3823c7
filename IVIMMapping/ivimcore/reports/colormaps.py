"""Colour tables of the maps: perceptually uniform, monotone in lightness, one family of hue for each quantity.

Each table is a smooth curve through a few control points in OKLab, walked in equal perceptual steps. Lightness rises
all the way, so a map still reads correctly in print and with any form of colour blindness. The families were chosen so
that they stay apart for dichromats too, who see two hues and grey: blue for diffusion, orange for perfusion, green
(near neutral to them) for flow, magenta for the misfit. The dark end is dark but not black, so the lowest value of a
map does not look like the background outside it.

OKLab: B. Ottosson, "A perceptual color space for image processing" (2020). sRGB: IEC 61966-2-1.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

Array = np.ndarray

SIZE = 256
"""Number of colours in every table."""

_LMS_FROM_OKLAB = np.array([
    [1.0, 0.3963377774, 0.2158037573],
    [1.0, -0.1055613458, -0.0638541728],
    [1.0, -0.0894841775, -1.2914855480],
])
_LINEAR_FROM_LMS = np.array([
    [4.0767416621, -3.3077115913, 0.2309699292],
    [-1.2684380046, 2.6097574011, -0.3413193965],
    [-0.0041960863, -0.7034186147, 1.7076147010],
])

# Lightness 0..1, chroma, hue in degrees: from the lowest value of a map to the highest.
_CONTROL_POINTS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "IVIM Diffusion": (
        (0.24, 0.085, 275), (0.42, 0.145, 264), (0.60, 0.135, 245), (0.78, 0.105, 215), (0.95, 0.055, 190),
    ),
    "IVIM Perfusion": (
        (0.24, 0.075, 12), (0.42, 0.145, 27), (0.60, 0.165, 42), (0.78, 0.145, 72), (0.95, 0.075, 100),
    ),
    "IVIM Flow": (
        (0.24, 0.040, 185), (0.42, 0.082, 168), (0.60, 0.125, 152), (0.78, 0.150, 136), (0.95, 0.080, 118),
    ),
    "IVIM Misfit": (
        (0.24, 0.095, 305), (0.42, 0.165, 320), (0.60, 0.185, 340), (0.78, 0.120, 352), (0.94, 0.030, 0),
    ),
}


def srgb_from_oklab(oklab: Array) -> Array:
    """Convert OKLab colours to sRGB.

    `oklab` (..., 3): lightness 0..1 and the two colour axes. Returns (..., 3) in 0..1 where the colour can be shown;
    a colour outside the gamut is returned outside 0..1, not clipped.
    """
    linear = (np.asarray(oklab) @ _LMS_FROM_OKLAB.T) ** 3 @ _LINEAR_FROM_LMS.T
    magnitude = np.abs(linear)
    curved = 1.055 * np.maximum(magnitude, 1e-12) ** (1 / 2.4) - 0.055
    return np.sign(linear) * np.where(magnitude <= 0.0031308, 12.92 * magnitude, curved)


def colormap(name: str) -> Array:
    """Return the table of that name: (256, 3) sRGB in 0..1, lowest value first.

    Raises KeyError with the known names for another name.
    """
    try:
        return COLORMAPS[name]
    except KeyError:
        raise KeyError(f"Unknown colour table '{name}'; known are {', '.join(COLORMAPS)}.") from None


def _smooth(values: Array, positions: Array) -> Array:
    """Interpolate equally spaced `values` (n, 3) at `positions` 0..n-1 by the polynomial through all of them.

    With five points the polynomial is smooth in all derivatives and does not overshoot; the test of uniform steps
    would show it if it did.
    """
    nodes = np.arange(len(values), dtype=float)
    weights = np.ones((positions.size, nodes.size))
    for i in range(nodes.size):
        for j in range(nodes.size):
            if i != j:
                weights[:, i] *= (positions - nodes[j]) / (nodes[i] - nodes[j])
    return weights @ values


def _build(points: tuple[tuple[float, float, float], ...]) -> Array:
    """Walk the curve through the control points in SIZE equal steps and return sRGB (256, 3)."""
    lightness, chroma, hue = np.array(points, dtype=float).T
    angle = np.deg2rad(hue)
    oklab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1)
    curve = _smooth(oklab, np.linspace(0, len(points) - 1, 8 * SIZE))
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    steps = np.linspace(0.0, length[-1], SIZE)
    even = np.stack([np.interp(steps, length, axis) for axis in curve.T], axis=1)
    return _locked(srgb_from_oklab(even))


def _grey() -> Array:
    """Build the grey table, black to white in equal steps of the stored number, as every viewer of MR images does."""
    return _locked(np.repeat(np.linspace(0.0, 1.0, SIZE)[:, None], 3, axis=1))


def _locked(table: Array) -> Array:
    """Round off numerical dust and make the shared table read-only."""
    table = np.where((table > 1) & (table < 1 + 1e-6), 1.0, np.where((table < 0) & (table > -1e-6), 0.0, table))
    table.setflags(write=False)
    return table


COLORMAPS = MappingProxyType({**{name: _build(points) for name, points in _CONTROL_POINTS.items()}, "Grey": _grey()})
"""Every table by its name: (256, 3) sRGB in 0..1."""
