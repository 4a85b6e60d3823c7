"""Standard deviations of the bi-exponential parameters from the Fisher information at a solution."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
KEYS = ("S0", "D", "f", "Dstar")


def standard_deviations(
    b: Array, weights: Array, values: dict[str, Array], variance: Array, free: dict[str, Array]
) -> dict[str, Array]:
    """Compute the Cramér-Rao standard deviations of S0, D, f and Dstar.

    For Gaussian noise of variance sigma² the information is JᵀJ / sigma², with J the derivatives of the signal
    (Kay, Fundamentals of Statistical Signal Processing I, 3.9). A parameter that is held (at a bound, or by choice) is
    taken as known: it has no standard deviation, and those of the others are conditional on it.

    Arguments: `b` (k,) [s/mm²]; `weights` (k,) images averaged into each; `values` of KEYS (v,) in stored units;
    `variance` (v,) of the noise of one image [signal units²]; `free` of KEYS, bool (v,) or scalar.
    Returns: KEYS -> standard deviation (v,), NaN where held or where the information matrix is singular.
    """
    S0, D, f, Dstar = (values[key] for key in KEYS)
    # Rates times 1e3 and b divided by it keep the matrix near one.
    powers = weights * np.vander(b / 1e3, 3, increasing=True).T
    slow, fast = np.exp(-b[:, None] * D), np.exp(-b[:, None] * Dstar)
    A, B, C = powers @ (slow * slow), powers @ (slow * fast), powers @ (fast * fast)
    a, c = S0 * (1 - f), S0 * f
    information = np.empty((D.size, 4, 4))
    upper = {
        (0, 0): (1 - f) ** 2 * A[0] + 2 * f * (1 - f) * B[0] + f * f * C[0],
        (0, 1): -a * ((1 - f) * A[1] + f * B[1]),
        (0, 2): S0 * ((1 - f) * (B[0] - A[0]) + f * (C[0] - B[0])),
        (0, 3): -c * ((1 - f) * B[1] + f * C[1]),
        (1, 1): a * a * A[2],
        (1, 2): -a * S0 * (B[1] - A[1]),
        (1, 3): a * c * B[2],
        (2, 2): S0 * S0 * (C[0] - 2 * B[0] + A[0]),
        (2, 3): -c * S0 * (C[1] - B[1]),
        (3, 3): c * c * C[2],
    }
    for (i, j), entry in upper.items():
        information[:, i, j] = information[:, j, i] = entry
    diagonal = np.einsum("vii->vi", information)
    held = np.stack([np.broadcast_to(~np.asarray(free[key]), D.shape) for key in KEYS], axis=1)
    held = held | ~(diagonal > 0)
    scale = 1.0 / np.sqrt(np.where(held, 1.0, diagonal))
    information *= scale[:, :, None] * scale[:, None, :]
    information[held] = 0.0
    information.swapaxes(1, 2)[held] = 0.0
    # A trace of the unit matrix keeps a singular information invertible; its huge variance is recognised below.
    information += 1e-14 * np.eye(4)
    information[:, range(4), range(4)] += held
    covariance = np.einsum("vii->vi", np.linalg.inv(information))
    undefined = held | ~(covariance > 0) | (covariance > 1e12)
    deviations = np.sqrt(np.where(undefined, np.nan, covariance) * variance[:, None]) * scale
    return {key: deviations[:, i] * (1e-3 if key in ("D", "Dstar") else 1.0) for i, key in enumerate(KEYS)}
