"""The IVIM signal and its derivatives.

    S(b) = S0 * ((1 - f) * exp(-b*D) + f * exp(-b*Dstar))

Le Bihan et al., Radiology 1988;168:497. Dstar is the whole decay rate of the perfusion compartment; papers that write
exp(-b*(D + D*)) are converted where their numbers enter.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def biexponential(b: Array, S0: Array, D: Array, f: Array, Dstar: Array) -> Array:
    """Compute the bi-exponential IVIM signal.

    Arguments: `b` (n,) [s/mm²]; `S0` [signal units], `D` [mm²/s], `f` [1], `Dstar` [mm²/s], scalars or arrays of one
    common shape (...).
    Returns: signal (..., n) [signal units].
    """
    S0, D, f, Dstar = (np.asarray(value, dtype=float)[..., None] for value in (S0, D, f, Dstar))
    return S0 * ((1 - f) * np.exp(-b * D) + f * np.exp(-b * Dstar))


def biexponential_jacobian(b: Array, S0: Array, D: Array, f: Array, Dstar: Array) -> Array:
    """Differentiate the bi-exponential IVIM signal.

    Arguments: as `biexponential`.
    Returns: derivatives (..., n, 4) with respect to S0, D, f, Dstar in this order.
    """
    S0, D, f, Dstar = (np.asarray(value, dtype=float)[..., None] for value in (S0, D, f, Dstar))
    slow, fast = np.exp(-b * D), np.exp(-b * Dstar)
    return np.stack(
        [(1 - f) * slow + f * fast, -b * S0 * (1 - f) * slow, S0 * (fast - slow), -b * S0 * f * fast], axis=-1
    )


def monoexponential(b: Array, S0: Array, D: Array) -> Array:
    """Compute S0 * exp(-b*D).

    Arguments: `b` (n,) [s/mm²]; `S0` [signal units] and `D` [mm²/s] of one common shape (...).
    Returns: signal (..., n) [signal units].
    """
    S0, D = (np.asarray(value, dtype=float)[..., None] for value in (S0, D))
    return S0 * np.exp(-b * D)
