"""Standard deviations of the bi-exponential parameters from the Fisher information at a solution."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
KEYS = ("S0", "D", "f", "Dstar")
LARGEST = 1e12
"""Variance of a parameter scaled to its own information above which the matrix counts as singular."""


def standard_deviations(
    b: Array, weights: Array, values: dict[str, Array], variance: Array, free: dict[str, Array]
) -> dict[str, Array]:
    """Compute the Cramér-Rao standard deviations of S0, D, f and Dstar.

    For Gaussian noise of variance sigma² the information is JᵀJ / sigma², with J the derivatives of the signal
    (Kay, Fundamentals of Statistical Signal Processing I, 3.9). A parameter that is held (at a bound, or by choice) is
    taken as known: it has no standard deviation, and those of the others are conditional on it.

    Arguments: `b` (k,) [s/mm²]; `weights` (k,) images averaged into each, or (k, v) times the information of each on
    its signal relative to Gaussian noise; `values` of KEYS (v,) in stored units; `variance` (v,) of the noise of one
    image [signal units²]; `free` of KEYS, bool (v,) or scalar.
    Returns: KEYS -> standard deviation (v,), NaN where held or where the information matrix is singular.
    """
    S0, D, f, Dstar = (values[key] for key in KEYS)
    # Rates times 1e3 and b divided by it keep the matrix near one.
    powers = np.vander(b / 1e3, 3, increasing=True).T
    root = np.sqrt(weights if np.ndim(weights) == 2 else weights[:, None])
    slow, fast = root * np.exp(-b[:, None] * D), root * np.exp(-b[:, None] * Dstar)
    A, B, C = powers @ (slow * slow), powers @ (slow * fast), powers @ (fast * fast)
    a, c, g = S0 * (1 - f), S0 * f, 1 - f
    # In the order S0, f, D, Dstar: what is linear in the signal, then the rates.
    information = {
        (0, 0): g * g * A[0] + 2 * f * g * B[0] + f * f * C[0],
        (0, 1): S0 * (g * (B[0] - A[0]) + f * (C[0] - B[0])),
        (1, 1): S0 * S0 * (C[0] - 2 * B[0] + A[0]),
        (0, 2): -a * (g * A[1] + f * B[1]),
        (0, 3): -c * (g * B[1] + f * C[1]),
        (1, 2): -a * S0 * (B[1] - A[1]),
        (1, 3): -c * S0 * (C[1] - B[1]),
        (2, 2): a * a * A[2],
        (2, 3): a * c * B[2],
        (3, 3): c * c * C[2],
    }
    order = ("S0", "f", "D", "Dstar")
    held = [np.broadcast_to(~np.asarray(free[key]), D.shape) | ~(information[i, i] > 0) for i, key in enumerate(order)]
    scale = [1.0 / np.sqrt(np.where(held[i], 1.0, information[i, i])) for i in range(4)]
    correlation = {
        (i, j): np.where(held[i] | held[j], 0.0, entry * scale[i] * scale[j])
        for (i, j), entry in information.items() if i != j
    }
    deviations = {}
    for i, (key, covariance) in enumerate(zip(order, _inverse_diagonal(correlation), strict=True)):
        undefined = held[i] | ~(covariance > 0) | (covariance > LARGEST)
        deviations[key] = np.sqrt(np.where(undefined, np.nan, covariance) * variance) * scale[i]
    return {key: deviations[key] * (1e-3 if key in ("D", "Dstar") else 1.0) for key in KEYS}


def _inverse_diagonal(c: dict[tuple[int, int], Array]) -> tuple[Array, Array, Array, Array]:
    """Invert symmetric 4 x 4 matrices of unit diagonal, given above it as arrays (v,); return the diagonal of each.

    Blocks of two: for M = [[P, Q], [Qᵀ, R]] the lower block of the inverse is (R - Qᵀ P⁻¹ Q)⁻¹, the upper P⁻¹ plus what
    the lower one adds through Q. Written out, because a library call for each small matrix costs ten times as much.
    """
    p, r = c[0, 1], c[2, 3]
    q00, q01, q10, q11 = c[0, 2], c[0, 3], c[1, 2], c[1, 3]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        determinant = 1.0 / (1.0 - p * p)
        # X = P⁻¹ Q
        x00, x01 = (q00 - p * q10) * determinant, (q01 - p * q11) * determinant
        x10, x11 = (q10 - p * q00) * determinant, (q11 - p * q01) * determinant
        s00 = 1.0 - (q00 * x00 + q10 * x10)
        s01 = r - (q00 * x01 + q10 * x11)
        s11 = 1.0 - (q01 * x01 + q11 * x11)
        schur = 1.0 / (s00 * s11 - s01 * s01)
        i00, i01, i11 = s11 * schur, -s01 * schur, s00 * schur
        first = determinant + x00 * (i00 * x00 + i01 * x01) + x01 * (i01 * x00 + i11 * x01)
        second = determinant + x10 * (i00 * x10 + i01 * x11) + x11 * (i01 * x10 + i11 * x11)
    return first, second, i00, i11
