"""What a map is called, means and looks like: one description for every file that a fit writes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ivimcore.physics.parameters import EXTRAS, PARAMETERS, Parameter

DEVIATION_SUFFIX = "_sd"
STATUS = "status"
_DEVIATION_OF_WINDOW = 0.25
"""Window of a standard deviation, as a part of the window of its parameter."""


MAP_KEYS = (*PARAMETERS, *(key + DEVIATION_SUFFIX for key in PARAMETERS), *EXTRAS)
"""Every map that a run may have, in the order in which a scene shows them."""


@dataclass(frozen=True)
class MapDescription:
    """One kind of map: a parameter of the tables, or the standard deviation of one.

    `range` is the display window in stored units, or None where it follows the image.
    """

    key: str
    parameter: Parameter
    isDeviation: bool = False

    @property
    def isUncertainty(self) -> bool:
        """Whether the map says how sure others are: a standard deviation, or a map beside the parameters."""
        return self.isDeviation or self.key in EXTRAS

    @property
    def symbol(self) -> str:
        return f"SD of {self.parameter.symbol}" if self.isDeviation else self.parameter.symbol

    @property
    def description(self) -> str:
        text = self.parameter.description
        return f"standard deviation of the {text}" if self.isDeviation else text

    @property
    def colors(self) -> str:
        return "IVIM Misfit" if self.isDeviation else self.parameter.colors

    @property
    def range(self) -> tuple[float, float] | None:
        stored = self.parameter.stored_range
        if stored is None or not self.isDeviation:
            return stored
        return 0.0, _DEVIATION_OF_WINDOW * (stored[1] - stored[0])

    @property
    def label(self) -> str:
        """Symbol and display unit, for pictures with fixed windows: 'D [10⁻³ mm²/s]'."""
        return f"{self.symbol} [{self.parameter.display_unit}]"

    @property
    def legendTitle(self) -> str:
        """Symbol and stored unit, for the legend of the scene: 'D [mm²/s]'; a pure number has none."""
        if self.parameter.display_unit == "1":
            return self.symbol
        unit = {"1": "fraction"}.get(self.parameter.unit, self.parameter.unit)
        return f"{self.symbol} [{unit}]"


def describeMap(key: str) -> MapDescription:
    """Return the description of the map of that key: 'D', 'f', 'rmse', 'D_sd', 'Dstar_info'.

    Raises KeyError with the known keys for another one.
    """
    if not isMapKey(key):
        raise KeyError(
            f"Unknown map '{key}'; known are {', '.join(PARAMETERS)}, each with '{DEVIATION_SUFFIX}', and "
            f"{', '.join(EXTRAS)}."
        )
    parameter = EXTRAS.get(key) or PARAMETERS[key.removesuffix(DEVIATION_SUFFIX)]
    return MapDescription(key, parameter, key.endswith(DEVIATION_SUFFIX))


def isMapKey(key: str) -> bool:
    """Tell whether a file of that name is a map of ours."""
    return key in MAP_KEYS


def robustWindow(*arrays: np.ndarray, highest: float = 99.0) -> tuple[float, float]:
    """Return a display window for values without a natural one: from 0 to the percentile `highest` of all arrays.

    0 because a signal or a misfit of zero means something; lower only where values are negative. (0, 1) if nothing is
    finite.
    """
    values = np.concatenate([np.zeros(0), *(np.asarray(array)[np.isfinite(array)] for array in arrays)])
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(values, (1, highest)))
    low = min(0.0, low)
    return low, high if high > low else low + 1.0


def roundWindow(low: float, high: float) -> tuple[float, float]:
    """Widen the upper end of a window to a number with one or two digits, so that a legend reads well."""
    if not high > low:
        return low, high
    step = 10.0 ** math.floor(math.log10(high - low)) / 2
    return low, low + math.ceil((high - low) / step - 1e-9) * step


def labelCount(low: float, high: float) -> int:
    """Return how many equally spaced numbers on a legend are round ones: 4 to 7, ends included."""

    def digits(count: int) -> int:
        ticks = np.linspace(low, high, count)
        scale = 10.0 ** math.floor(math.log10(high - low)) if high > low else 1.0
        return max(len(f"{round(tick / scale, 4):g}") for tick in ticks)

    return min((5, 4, 6, 7), key=digits)
