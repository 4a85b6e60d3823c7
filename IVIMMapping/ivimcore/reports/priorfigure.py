"""The picture of a prior: what it expects of D, f and D*, one by one and in pairs."""

from __future__ import annotations

import numpy as np

from ..estimators.grid import COORDINATE, KEYS
from ..estimators.priors import Prior
from ..physics.parameters import PARAMETERS
from .figures import OKABE_ITO, PathLike, _figure, _save, _text

PAIRS = (("D", "f"), ("f", "Dstar"), ("D", "Dstar"))


def plot_prior(prior: Prior, path: PathLike, title: str = "") -> None:
    """Draw the marginal probabilities of a prior, and below them those of pairs.

    The axes run in the coordinates in which the cells have equal width (square root of D and f, logarithm of D*), with
    ticks in display units; the height is the probability of a cell.

    Arguments: `prior`; `path` of the picture; `title` above it.
    """
    figure = _figure(10.0, 6.6)
    panels = figure.subplots(2, 3)
    moments = prior.moments()
    for number, key in enumerate(KEYS):
        panel, parameter = panels[0, number], PARAMETERS[key]
        panel.stairs(100 * prior.marginal(key), _edges(prior, key), fill=True, color=OKABE_ITO[number], alpha=0.75)
        mean, sd = (value * parameter.display_factor for value in moments[key])
        panel.set_title(f"{parameter.symbol} {mean:.3g} ± {sd:.2g} {parameter.display_unit}", fontsize=10)
        panel.set_ylabel("probability of a cell [%]")
        panel.set_ylim(bottom=0)
        _ticks(panel.xaxis, prior, key)
        panel.grid(True, axis="y", color="0.9")
        panel.set_axisbelow(True)
    for number, (first, second) in enumerate(PAIRS):
        panel = panels[1, number]
        other = next(i for i, key in enumerate(KEYS) if key not in (first, second))
        both = prior.mass.sum(axis=other)
        if KEYS.index(first) > KEYS.index(second):
            both = both.T
        panel.pcolormesh(_edges(prior, first), _edges(prior, second), np.sqrt(both).T, cmap="Greys", rasterized=True)
        _ticks(panel.xaxis, prior, first)
        _ticks(panel.yaxis, prior, second)
    figure.suptitle(_text(title or f"prior '{prior.kind}'"))
    _save(figure, path)


def _edges(prior: Prior, key: str) -> np.ndarray:
    """Edges of the cells in the coordinate of equal steps; a fixed parameter gets a cell of some width."""
    edges = COORDINATE[key][0](prior.edges[KEYS.index(key)])
    return edges if edges[-1] > edges[0] else edges + np.array([-0.5, 0.5]) * 1e-3


def _ticks(axis, prior: Prior, key: str) -> None:
    """Label an axis in display units at round numbers inside the bounds."""
    parameter = PARAMETERS[key]
    low, high = prior.edges[KEYS.index(key)][[0, -1]] * parameter.display_factor
    wanted = {
        "D": (0.1, 0.5, 1, 2, 3, 4, 5), "f": (1, 5, 10, 20, 30, 50, 70, 90),
        "Dstar": (1, 2, 5, 10, 20, 50, 100, 300),
    }[key]
    shown = [value for value in wanted if low <= value <= high] or [low]
    axis.set_ticks(COORDINATE[key][0](np.array(shown) / parameter.display_factor), [f"{value:g}" for value in shown])
    axis.set_label_text(parameter.label)
