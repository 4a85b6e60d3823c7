"""The parameters of the IVIM signal: names, units, bounds, display and codes, in one table.

Stored arrays carry the unit in `unit` and are never scaled; `display_factor` turns a stored number into the one that a
person reads, which is written with `display_unit`.

Codes are those of the DICOM diffusion model parameters (CID 7272) and of UCUM.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Parameter:
    """One map that an estimator can produce.

    `bounds` are those of a broad fit, in stored units; `typical` is where soft tissue lies; `display_range` is the
    window of a picture in display units, or None where the window follows the image. `quantity_code` is
    (value, scheme, meaning); `unit_code` is a UCUM unit.
    """

    key: str
    symbol: str
    description: str
    unit: str
    display_unit: str
    display_factor: float
    display_range: tuple[float, float] | None
    bounds: Bounds | None
    typical: Bounds | None
    quantity_code: tuple[str, str, str]
    unit_code: tuple[str, str, str]
    colors: str

    @property
    def label(self) -> str:
        """Symbol and display unit, as on a legend: 'D* [10⁻³ mm²/s]'."""
        return f"{self.symbol} [{self.display_unit}]"

    @property
    def stored_range(self) -> tuple[float, float] | None:
        """The display window in stored units."""
        if self.display_range is None:
            return None
        low, high = self.display_range
        return low / self.display_factor, high / self.display_factor

    def format(self, value: float, digits: int = 3) -> str:
        """Write a stored value for a person, with its unit: '1.23 10⁻³ mm²/s'."""
        return f"{value * self.display_factor:.{digits}g} {self.display_unit}"


_SQUARE_MM_PER_SECOND = ("mm2/s", "UCUM", "square millimeter per second")
_NO_UNITS = ("1", "UCUM", "no units")
_ARBITRARY = ("[arb'U]", "UCUM", "arbitrary unit")

_TABLE = (
    Parameter(
        "D", "D", "tissue diffusion coefficient", "mm²/s", "10⁻³ mm²/s", 1e3, (0.0, 3.0), (0.0, 5e-3), (0.7e-3, 2e-3),
        ("113291", "DCM", "Slow Diffusion Coefficient"), _SQUARE_MM_PER_SECOND, "IVIM Diffusion",
    ),
    Parameter(
        "f", "f", "perfusion fraction", "1", "%", 1e2, (0.0, 40.0), (0.0, 0.7), (0.02, 0.35),
        ("113293", "DCM", "Fast Diffusion Coefficient Fraction"), _NO_UNITS, "IVIM Perfusion",
    ),
    Parameter(
        "Dstar", "D*", "pseudo-diffusion coefficient (the whole decay rate of the perfusion compartment)", "mm²/s",
        "10⁻³ mm²/s", 1e3, (0.0, 100.0), (5e-3, 0.3), (10e-3, 100e-3),
        ("113292", "DCM", "Fast Diffusion Coefficient"), _SQUARE_MM_PER_SECOND, "IVIM Flow",
    ),
    Parameter(
        "S0", "S0", "signal at b = 0 according to the model", "signal units", "signal units", 1.0, None, None, None,
        ("110852", "DCM", "MR signal intensity"), _ARBITRARY, "Grey",
    ),
    Parameter(
        "rmse", "RMSE", "root mean square difference between the measured and the fitted signal", "signal units",
        "signal units", 1.0, None, None, None,
        ("110852", "DCM", "MR signal intensity"), _ARBITRARY, "IVIM Misfit",
    ),
    Parameter(
        "ADC", "ADC", "apparent diffusion coefficient of a mono-exponential decay", "mm²/s", "10⁻³ mm²/s", 1e3,
        (0.0, 3.0), (0.0, 5e-3), (0.7e-3, 2e-3),
        ("113041", "DCM", "Apparent Diffusion Coefficient"), _SQUARE_MM_PER_SECOND, "IVIM Diffusion",
    ),
)

PARAMETERS: dict[str, Parameter] = {parameter.key: parameter for parameter in _TABLE}
"""Every parameter by its key. The keys are also those of result dictionaries, files, cards and nodes."""

PERFUSION_EXISTS = 0.05
"""Smallest f [1] at which D* is meaningful; statistics of D* leave out voxels below it (Kaandorp et al. 2021)."""


def _share(key: str, symbol: str, description: str, colors: str, display_range: Bounds = (0.0, 100.0)) -> Parameter:
    return Parameter(
        key, symbol, description, "1", "%", 1e2, display_range, (0.0, 1.0), None,
        (key, "99IVIM", description.split(":")[0]), _NO_UNITS, colors,
    )


def _limit(key: str, end: str) -> Parameter:
    shown = PARAMETERS[key]
    return replace(
        shown, key=f"{key}_{end}", symbol=f"{shown.symbol} {end}", typical=None,
        description=f"{'lower' if end == 'low' else 'upper'} end of the credible interval of {shown.symbol}",
    )


def _part(key: str, part: str, cause: str) -> Parameter:
    shown = PARAMETERS[key]
    low, high = shown.display_range
    return replace(
        shown, key=f"{key}_{part}", symbol=f"{part} SD of {shown.symbol}", typical=None,
        description=f"standard deviation of {shown.symbol} {cause}", display_range=(0.0, 0.3 * (high - low)),
        bounds=None, quantity_code=(f"{key}_{part}", "99IVIM", f"Standard deviation, {part} part"),
    )


_EXTRA_TABLE = (
    *(
        _share(
            f"{key}_info", f"information on {PARAMETERS[key].symbol}",
            "1 - posterior variance / prior variance: what the signal of the voxel said beyond the prior", "Grey",
        )
        for key in ("D", "f", "Dstar")
    ),
    _share("f_probability", "P(f > 5 %)", "probability that f exceeds 0.05, where D* has a meaning", "IVIM Perfusion"),
    Parameter(
        "rho_Dstar_f", "correlation of D* and f", "correlation of D* and f in the posterior of the voxel", "1", "1",
        1.0, (-1.0, 1.0), (-1.0, 1.0), None, ("correlation", "99IVIM", "Correlation coefficient"), _NO_UNITS, "Grey",
    ),
    *(_limit(key, end) for key in ("D", "f", "Dstar") for end in ("low", "high")),
    *(_part(key, "aleatoric", "that the noise of the voxel causes") for key in ("D", "f", "Dstar")),
    *(_part(key, "epistemic", "between repeated trainings of the network") for key in ("D", "f", "Dstar")),
    Parameter(
        "novelty", "novelty", "distance from the training; above 1 the network never saw such a signal", "1", "1",
        1.0, (0.0, 2.0), (0.0, 10.0), None, ("novelty", "99IVIM", "Distance from the training data"), _NO_UNITS,
        "IVIM Misfit",
    ),
)

EXTRAS: dict[str, Parameter] = {parameter.key: parameter for parameter in _EXTRA_TABLE}
"""Maps beside the parameters that an estimator with a posterior gives, by key."""

INFORMATION = "_info"
"""End of the key of an information map: 'Dstar_info' tells what the signal said about 'Dstar'."""
INFORMATION_MEANS = 0.2
"""Smallest information [1] at which a value is called measured.

At 0.2 the posterior SD is still 0.89 of that of the prior: below, less than a ninth of the doubt was resolved by the
voxel, and its value stays near the mean of the prior whatever the tissue.
"""
