"""The parameters of an estimator as rows of a table that a person edits: start, limits, fixed, unit, typical.

Everything is made from the description of the estimator, so that a new one gets its table without a line of code here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import InputError
from ..physics.parameters import PARAMETERS, Bounds
from ..physics.presets import preset
from .base import Option, effective_bounds
from .registry import describe

AUTOMATIC = "automatic"
IVIM = ("D", "f", "Dstar", "S0")
"""Every table has a row for each of these, so that it keeps its shape when another estimator is chosen."""


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of an estimator.

    `start` where the search begins: always 'automatic', because every estimator here searches the whole range between
    the limits, or computes without a search, so that a start could change nothing but the time; `lower`, `upper`
    limits in stored units, None where there are none; `fixed` whether the value is held, the limits being equal;
    `unit` and `factor` of display: a stored number times `factor` is what a person reads; `typical` (lowest, highest)
    of tissue in stored units, equal where an organ gives one value, None where nothing is typical; `editable` whether
    the estimator uses the limits; `estimated` whether it determines the parameter at all; `default` the limits of the
    organ, or the broad ones, to which a row returns.
    """

    key: str
    symbol: str
    start: str
    lower: float | None
    upper: float | None
    fixed: bool
    unit: str
    factor: float
    typical: Bounds | None
    editable: bool
    estimated: bool = True
    default: Bounds | None = None

    def shown(self, value: float | None) -> str:
        """Write a stored value in the unit of display, without the unit; '' where there is none."""
        return "" if value is None else f"{value * self.factor:.6g}"

    @property
    def typical_text(self) -> str:
        """The typical value in the unit of display: '0.7 to 2', or '1.09' of an organ; '' where there is none."""
        if self.typical is None:
            return ""
        low, high = self.typical
        return self.shown(low) if low == high else f"{self.shown(low)} to {self.shown(high)}"

    @property
    def is_default(self) -> bool:
        """Whether the limits are those of the organ, or the broad ones."""
        return (self.lower, self.upper) == (self.default or (None, None))

    def edited(self, lower: float | None = None, upper: float | None = None, fixed: bool | None = None) -> ParameterRow:
        """Return the row with other limits; nothing is judged here, `bounds_from_rows` does.

        Arguments: `lower`, `upper` in the unit of display; `fixed`; None keeps what there is. A fixed row has one
        value: the one given, else (newly fixed) the middle of the typical ones. A released row returns to `default`.
        Raises InputError where the estimator has no use for limits of this parameter.
        """
        if not self.editable:
            raise InputError(f"This estimator takes no limits of {self.symbol}; leave the row as it is.")
        low = self.lower if lower is None else lower / self.factor
        high = self.upper if upper is None else upper / self.factor
        if fixed is None:
            fixed = self.fixed
        if fixed:
            value = low if lower is not None else high
            if lower is None and upper is None and not self.fixed:
                value = sum(self.typical) / 2 if self.typical else low
            low = high = value
        elif self.fixed and lower is None and upper is None:
            low, high = self.default
        return replace(self, lower=low, upper=high, fixed=bool(fixed or low == high))


def parameter_rows(name: str, organ: str = "none", bounds: Mapping[str, Bounds] | None = None) -> list[ParameterRow]:
    """Make the table of an estimator: what it determines, then what it has no use for.

    Arguments: `name` of an estimator; `organ` whose limits and typical values count, or 'none'; `bounds` chosen by a
    person instead, key -> (lower, upper) in stored units.
    Raises InputError for an unknown estimator or organ, and for bounds that its option refuses.
    """
    described = describe(name)
    option = next((option for option in described.options if option.kind == "bounds"), None)
    typical = {} if organ == "none" else preset(organ).typical
    default = effective_bounds(organ, {})
    limits = default | (option.check(bounds) if option else {})
    own = described.parameters
    rows = []
    for key in (*own, *(key for key in IVIM if key not in own and not (key == "D" and "ADC" in own))):
        parameter = PARAMETERS[key]
        editable = option is not None and key in own and key in default
        low, high = limits[key] if editable else (None, None)
        value = typical.get(key)
        rows.append(ParameterRow(
            key, parameter.symbol, AUTOMATIC, low, high, editable and low == high, parameter.display_unit,
            parameter.display_factor, parameter.typical if value is None else (value, value), editable, key in own,
            default[key] if editable else None,
        ))
    return rows


def bounds_from_rows(rows: Sequence[ParameterRow]) -> dict[str, Bounds]:
    """Return the option `bounds` of a table: only what differs from the limits of the organ, or from the broad ones.

    Raises InputError with the sentence of the option where limits make no sense.
    """
    chosen = {row.key: (row.lower, row.upper) for row in rows if row.editable and not row.is_default}
    return Option("bounds", "bounds", "", {}, "").check(chosen)


def other_options(name: str) -> tuple[Option, ...]:
    """Return the options of an estimator that neither its table nor the choice of the organ covers."""
    return tuple(option for option in describe(name).options if option.kind != "bounds" and option.name != "organ")
