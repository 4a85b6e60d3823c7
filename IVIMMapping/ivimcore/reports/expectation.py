"""What a protocol can tell, before anything is fitted: the expected error of each parameter in a single voxel.

For estimators without a prior it is the Cramér-Rao bound of typical tissue (Kay, Fundamentals of Statistical Signal
Processing I, 3.9), the noise being that of magnitude images; S0 is unknown too. Least squares reaches it where the
error is small (within 25 %, tested); where it is large, D* scatters more than the bound says, and the level is poor
either way. `segmented` and `adc` do not reach the bound, or fit another curve: there it is their own propagated noise,
for `segmented` with the error that remains without noise.

With a prior, precisions add: 1 / error² = 1 / bound² + 1 / prior². The prior is the broad one that the estimator begins
with. What it learns from an image can only sharpen it, and how much is not known before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..estimators import DEFAULT, Estimator, create
from ..estimators.base import effective_bounds
from ..estimators.fisher import KEYS, standard_deviations
from ..estimators.grid import make_grid
from ..estimators.parametricpriors import BROAD
from ..estimators.priors import load_prior, log_uniform, of_organ, uniform
from ..estimators.rician import information
from ..physics.acquisition import Acquisition
from ..physics.noise import sigma_of_snr
from ..physics.parameters import PARAMETERS, Bounds
from ..physics.presets import preset
from ..physics.signal import biexponential
from .preview import with_deviation

IVIM = ("D", "f", "Dstar")
GOOD, FAIR = 0.2, 0.5
"""Largest relative error that is called good, and fair."""
HOPELESS = 10.0
"""Relative error from which a number would only pretend to know it."""
STAND_IN = "abdomen"
"""The organ whose tissue is typical where none is chosen: measured values of real organs that belong together, near the
middle of the typical ranges; the middles themselves (D* runs over a decade) belong to no tissue."""


@dataclass(frozen=True)
class Expectation:
    """The expected error of one parameter.

    `typical` value and `deviation`, the expected error (standard deviation), in stored units; `relative` their ratio,
    infinite where the parameter cannot be determined; `level` 'good' (at most 20 %), 'fair' (50 %) or 'poor';
    `sentence` for a person, complete with unit; `prior_share` (0..1) of the precision that comes from the prior.
    """

    key: str
    typical: float
    deviation: float
    relative: float
    level: str
    sentence: str
    prior_share: float = 0.0


def typical_tissue(organ: str = "none") -> dict[str, float]:
    """Return D, f and Dstar of the tissue that an expectation is about, in stored units; see STAND_IN for 'none'.

    Raises InputError for an unknown organ.
    """
    return dict(preset(STAND_IN if organ == "none" else organ).typical)


def typical_sentence(organ: str = "none") -> str:
    """Say which tissue an expectation is about: 'Typical tissue (liver): D 1.09 10⁻³ mm²/s, f 23 %, ...'."""
    tissue = typical_tissue(organ)
    values = ", ".join(f"{PARAMETERS[key].symbol} {PARAMETERS[key].format(value)}" for key, value in tissue.items())
    where = f"no organ is chosen: that of the {STAND_IN}" if organ == "none" else organ.replace("_", " ")
    return f"Typical tissue ({where}): {values}."


def expect(
    acquisition: Acquisition, snr: float, organ: str = "none", estimator: str = DEFAULT,
    options: Mapping[str, Any] | None = None,
) -> list[Expectation]:
    """Say which error a single voxel of typical tissue will have, one Expectation per parameter (D, f, Dstar; or ADC).

    Arguments: `acquisition` b-values of the images used, its own sigma is not used; `snr` S(b=0) / sigma of one image
    [1]; `organ`; `estimator` name and its `options`. For a trained network it is what the exact posterior can reach.
    Raises InputError for an unknown organ or estimator, a wrong option, and an SNR that is not positive.
    """
    tissue = typical_tissue(organ)
    fitter = create(estimator, **dict(options or {}))
    if not np.isfinite(snr):
        raise InputError(f"The SNR is {snr}; give a positive number.")
    sigma = sigma_of_snr(1.0, snr)
    keys = tuple(key for key in fitter.parameters if key != "S0")
    if getattr(fitter, "card", None) is not None:
        # No network can do better than the exact posterior; whether torch is there does not matter for that.
        blocking = list(fitter.card.misfits(acquisition))
        fitter = create("posterior", prior="uniform")
    else:
        blocking = [str(problem) for problem in fitter.problems(acquisition) if problem.blocks]
    if blocking:
        return [_undetermined(key, tissue.get(key, tissue["D"]), blocking[0]) for key in keys]
    if keys != IVIM or estimator == "segmented":
        return _of_own_errors(fitter, keys, acquisition, tissue, sigma)
    bounds = effective_bounds(getattr(fitter, "organ", "none"), getattr(fitter, "bounds", {}))
    held = {key: bounds[key][0] for key in IVIM if bounds[key][0] == bounds[key][1]}
    tissue |= held
    bound = _cramer_rao(acquisition, tissue, sigma, held)
    prior = _prior_deviations(fitter, acquisition, bounds) if _has_prior(fitter) else {}
    return [_held(key, tissue[key]) if key in held else _of_bound(key, tissue[key], bound[key], prior.get(key))
            for key in keys]  # fmt: skip


def _cramer_rao(
    acquisition: Acquisition, tissue: dict[str, float], sigma: float, held: Mapping[str, float]
) -> dict[str, float]:
    """Return the Cramér-Rao bound of D, f and Dstar with S0 = 1 unknown; infinite where they cannot be told apart."""
    b, counts = np.unique(acquisition.bvalues, return_counts=True)
    signal = biexponential(b, 1.0, tissue["D"], tissue["f"], tissue["Dstar"])
    weights = (counts * information(signal, sigma))[:, None]
    values = {"S0": np.ones(1), **{key: np.array([tissue[key]]) for key in IVIM}}
    free = {key: key not in held for key in KEYS}
    found = standard_deviations(b, weights, values, np.array([sigma**2]), free)
    return {key: float(found[key][0]) if np.isfinite(found[key][0]) else np.inf for key in IVIM}


def _has_prior(fitter: Estimator) -> bool:
    return fitter.name == "posterior" or fitter.name.startswith("bayes")


def _prior_deviations(fitter: Any, acquisition: Acquisition, bounds: dict[str, Bounds]) -> dict[str, float]:
    """Return the standard deviations of the prior that an estimator begins with, in stored units."""
    if fitter.name != "posterior":
        priors = getattr(fitter, "priors", None) or BROAD
        first, second = priors.f
        f = np.sqrt(first * second / ((first + second) ** 2 * (first + second + 1)))
        logarithmic = {"D": priors.D, "Dstar": priors.Dstar}
        spread = {key: np.exp(mean + sd**2 / 2) * np.sqrt(np.expm1(sd**2)) for key, (mean, sd) in logarithmic.items()}
        return {"D": float(spread["D"]), "f": float(f), "Dstar": float(spread["Dstar"])}
    b, counts = np.unique(acquisition.bvalues, return_counts=True)
    grid = make_grid(b, counts, bounds)  # the one that the fit will use, and finds ready then
    if fitter.prior == "organ":
        prior = of_organ(fitter.organ, grid)
    elif fitter.prior == "file":
        prior = load_prior(fitter.prior_file)
    else:
        kind = fitter.broad if fitter.prior.startswith("learned") else fitter.prior
        prior = log_uniform(grid) if kind == "log_uniform" else uniform(grid)
    return {key: sd for key, (_, sd) in prior.moments().items()}


def _of_own_errors(
    fitter: Estimator, keys: tuple[str, ...], acquisition: Acquisition, tissue: dict[str, float], sigma: float
) -> list[Expectation]:
    """Fit typical tissue without noise, and take the errors that the estimator itself propagates."""
    signal = biexponential(acquisition.bvalues, 1.0, tissue["D"], tissue["f"], tissue["Dstar"])
    known = Acquisition(acquisition.bvalues, sigma=sigma)
    result = fitter.fit(signal[None, None, None], known, None, threads=1)
    found = []
    for key in keys:
        value, error = float(result.maps[key][0, 0, 0]), float(result.errors[key][0, 0, 0])
        typical = tissue.get(key, value)
        if np.isfinite([value, error]).all():
            found.append(_determined(key, typical, float(np.hypot(error, value - typical)), abs(value - typical)))
        else:
            found.append(_undetermined(key, typical))
    return found


def _of_bound(key: str, typical: float, bound: float, prior: float | None) -> Expectation:
    """Combine the bound with the standard deviation of a prior, if there is one; fixed by it (0) where it has none."""
    if prior is None or prior == 0:
        return _determined(key, typical, bound) if np.isfinite(bound) else _undetermined(key, typical)
    precision = 1 / bound**2 + 1 / prior**2
    return _determined(key, typical, precision**-0.5, prior_share=float(1 / prior**2 / precision))


def _determined(
    key: str, typical: float, deviation: float, systematic: float = 0.0, prior_share: float = 0.0
) -> Expectation:
    """Put an expected error into words; `systematic` is the part that remains without noise."""
    relative = deviation / typical
    if not relative < HOPELESS:
        return _undetermined(key, typical)
    level = "good" if relative <= GOOD else "fair" if relative <= FAIR else "poor"
    said = f"{PARAMETERS[key].symbol}: {with_deviation(key, typical, deviation)} ({100 * relative:.0f} % of the value)"
    if prior_share > 0.5:
        # Green would claim that it was measured.
        level, said = "poor", said + ", mostly what the prior says"
    elif systematic > 0.5 * deviation:
        said += f", of which {100 * systematic / typical:.0f} % is an error of the method, not noise"
    return Expectation(key, typical, deviation, relative, level, said, prior_share)


def _undetermined(key: str, typical: float, why: str = "") -> Expectation:
    said = f"{PARAMETERS[key].symbol}: cannot be determined"
    sentence = f"{said}. {why}" if why else f"{said} with these b-values and this SNR"
    return Expectation(key, typical, np.inf, np.inf, "poor", sentence)


def _held(key: str, value: float) -> Expectation:
    shown = PARAMETERS[key]
    return Expectation(key, value, 0.0, 0.0, "good", f"{shown.symbol}: fixed at {shown.format(value)}, not determined")
