"""What the plot of the panel is asked to show: points that were measured, and lines that were fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_RGB = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Points:
    """Measured signal of one position: `b` (n,) [s/mm²], `signal` (n,), `used` (n,) of bool, `labels` one per image."""

    name: str
    color: _RGB
    b: np.ndarray
    signal: np.ndarray
    used: np.ndarray
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """A fitted curve over `b` (m,) [s/mm²]; `tissue` its part without perfusion or None; `stored` of a finished run."""

    name: str
    color: _RGB
    b: np.ndarray
    signal: np.ndarray
    tissue: np.ndarray | None = None
    stored: bool = False
