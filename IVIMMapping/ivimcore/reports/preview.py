"""The fit of one signal, quick enough to be redrawn at every change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..estimators import SENTENCES, Estimator, Status
from ..physics.acquisition import Acquisition
from ..physics.parameters import INFORMATION, INFORMATION_MEANS, PARAMETERS
from .roistatistics import fitted_curves

Array = np.ndarray
POINTS = 201
"""Points of a drawn curve: no corner is seen at the width of a plot, and every preview computes them."""
NOT_FITTED = -1
"""Status of a preview whose protocol, options or number of images do not allow a fit at all."""
_FROM_IMAGE = ("learned_local", "learned")


@dataclass(frozen=True, eq=False)
class Preview:
    """What an estimator says of one signal.

    `values`, `errors` (standard deviations) and `information` (0..1) by parameter key in stored units, NaN where there
    is none; `residual` root mean square [signal units]; `status` code of `Status`, or NOT_FITTED; `sentence` why there
    is no value or what is wrong with it, '' for a good fit; `fine_b` (m,) [s/mm²], `fitted` and `tissue` (m,) [signal
    units], NaN where there is no curve; `note` what the run will do otherwise or a person should know, '' for nothing.
    """

    estimator: str
    values: dict[str, float]
    errors: dict[str, float]
    residual: float
    status: int
    sentence: str
    fine_b: Array
    fitted: Array
    tissue: Array
    information: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def has_curve(self) -> bool:
        """Whether there is a curve to draw."""
        return bool(np.isfinite(self.fitted).all())

    def texts(self) -> dict[str, str]:
        """Write every parameter with its standard deviation in one unit: {'D': '1.23 ± 0.05 10⁻³ mm²/s'}."""
        return {key: with_deviation(key, value, self.errors.get(key)) for key, value in self.values.items()}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Write the table of numbers, one row per parameter and one for the residual: symbol, value, standard
        deviation, unit; an empty text where there is no number."""
        found = []
        for key, value in {**self.values, "rmse": self.residual}.items():
            parameter = PARAMETERS[key]
            value, error = (x * parameter.display_factor for x in (value, self.errors.get(key, np.nan)))
            found.append((parameter.symbol, *value_and_deviation(value, error), parameter.display_unit))
        return found


def with_deviation(key: str, value: float, deviation: float | None = None) -> str:
    """Write a stored value with its standard deviation in the unit of display: '21 ± 3 %', 'no value' for NaN."""
    parameter = PARAMETERS[key]
    if not np.isfinite(value):
        return "no value"
    error = np.nan if deviation is None else deviation * parameter.display_factor
    shown, spread = value_and_deviation(value * parameter.display_factor, error)
    return f"{shown} ± {spread} {parameter.display_unit}" if spread else f"{shown} {parameter.display_unit}"


def value_and_deviation(value: float, error: float) -> tuple[str, str]:
    """Write a value with as many decimals as its standard deviation has at two digits; '' for what is not finite."""
    if not np.isfinite(value):
        return "", ""
    size = abs(value)
    known = bool(np.isfinite(error) and error > 0)
    if not (size == 0 or 1e-3 <= size < 1e6) or (known and not 1e-3 <= error < 1e6):
        return f"{value:.3g}", f"{error:.2g}" if known else ""
    decimals = _decimals(error, 2) if known else _decimals(max(size, 1e-3), 3)
    return f"{value:.{decimals}f}", f"{error:.{decimals}f}" if known else ""


def _decimals(size: float, digits: int) -> int:
    """Count the decimals that show a number of this size with so many digits."""
    return int(np.clip(digits - 1 - np.floor(np.log10(size)), 0, 6))


def preview(estimator: Estimator, signal: Array, acquisition: Acquisition) -> Preview:
    """Fit one signal by itself, as the estimator would fit a voxel without neighbours.

    Arguments: `estimator`; `signal` (n,) [signal units]; `acquisition` of its n images, with sigma where it is known
    (one voxel cannot tell its noise: without sigma each estimator does what it does then, and `note` says so).
    Returns: Preview. A signal or a protocol that cannot be fitted is no exception, but a sentence and NaN.
    """
    signal = np.asarray(signal, dtype=float).ravel()
    fine_b = np.linspace(0.0, max(float(acquisition.bvalues.max()), 1.0), POINTS)
    try:
        blocking = [str(problem) for problem in estimator.problems(acquisition) if problem.blocks]
        if blocking:
            return _nothing(estimator, fine_b, blocking[0])
        # One voxel is done before torch has been loaded; the numbers are the same.
        fitter = replace(estimator, backend="numpy") if hasattr(estimator, "backend") else estimator
        result = fitter.fit(signal[None, None, None], acquisition, None, threads=1)
    except InputError as fault:
        return _nothing(estimator, fine_b, str(fault))
    number = lambda volumes: {key: float(volume[0, 0, 0]) for key, volume in volumes.items()}  # noqa: E731
    values, errors = number(result.maps), number(result.errors)
    known = {key: result.extras.get(key + INFORMATION) for key in values}
    information = number({key: volume for key, volume in known.items() if volume is not None})
    status = int(result.status[0, 0, 0])
    fitted, tissue = fitted_curves(fine_b, values)
    return Preview(
        estimator.name, values, errors, float(result.residual[0, 0, 0]), status,
        "" if status == Status.OK else SENTENCES[Status(status)], fine_b, fitted, tissue, information,
        " ".join(_notes(estimator, acquisition, information)),
    )


def _notes(estimator: Estimator, acquisition: Acquisition, information: Mapping[str, float]) -> list[str]:
    """Say what the run will do otherwise, and what one voxel alone did not tell."""
    said = []
    if getattr(estimator, "prior", None) in _FROM_IMAGE or estimator.name == "bayes_map":
        said.append("The run learns its prior from the image; this preview of one signal has only the broad prior.")
    elif estimator.name == "bayes_mrf" or getattr(estimator, "sees_neighbours", False):
        said.append("The run takes neighbours into account; this preview of one signal has none.")
    marginal = getattr(estimator, "recipe", None) == "published"  # integrates the noise out in the run too
    from_image = estimator.name == "posterior" or (getattr(estimator, "sigma", None) == "auto" and not marginal)
    if acquisition.sigma is None and from_image:
        said.append("The noise of the image is not known here: that of the fit's own residual is taken.")
    little = [PARAMETERS[key].symbol for key, share in information.items() if share < INFORMATION_MEANS]
    if little:
        said.append(f"The signal says little about {' and '.join(little)}: mostly what the prior says.")
    return said


def _nothing(estimator: Estimator, fine_b: Array, sentence: str) -> Preview:
    empty = dict.fromkeys(estimator.parameters, np.nan)
    nowhere = np.full(fine_b.size, np.nan)
    return Preview(estimator.name, empty, dict(empty), np.nan, NOT_FITTED, sentence, fine_b, nowhere, nowhere.copy())
