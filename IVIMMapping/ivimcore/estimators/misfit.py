"""Noise of voxels that no curve of the model fits: motion, more than two compartments, uneven noise.

One noise level for a whole image makes a posterior far too sure in such voxels: their residual says that it is wrong
there. Where the best curve leaves more than chance allows, the residual itself is the better measure of the noise.
"""

from __future__ import annotations

import numpy as np
import scipy

from ..physics.parameters import Bounds
from .nlls import SMALLEST_DSTAR
from .variable_projection import UNIT, solve
from .variable_projection import Problem as LeastSquares

Array = np.ndarray
PARAMETERS_OF_MODEL = 4
CHANCE = 0.001
"""Share of voxels of right noise whose residual is taken for a misfit."""


def voxel_sigma(
    y: Array, within: Array, b: Array, counts: Array, bounds: dict[str, Bounds], sigma: float,
    curve: Array | None = None,
) -> Array:
    """Return the noise level of each voxel (v,): that of the image, or of its own residual where that is too large.

    The sum of squares of the least-squares fit over sigma² is chi-square distributed with n - 4 degrees of freedom
    where the model holds (n images); beyond its quantile of 1 - CHANCE the residual per degree of freedom is taken.

    Arguments: `y` (v, k) mean signal at each distinct b [signal units]; `within` (v,) sum of squares about these means;
    `b` (k,) [s/mm²]; `counts` (k,) images at each; `bounds` of D, f and Dstar; `sigma` of one image [signal units];
    `curve` (v, k) any curve of the model near the signal: where that one is plausible, the best need not be searched.
    """
    found = np.full(len(y), float(sigma))
    degrees = counts.sum() - PARAMETERS_OF_MODEL
    if degrees < 1:
        return found
    plausible = 2 * scipy.special.gammaincinv(degrees / 2, 1 - CHANCE) * sigma**2
    doubtful = np.arange(len(y))
    if curve is not None:
        doubtful = np.flatnonzero((y - curve) ** 2 @ counts + within > plausible)
    if doubtful.size == 0:
        return found
    D = tuple(limit / UNIT for limit in bounds["D"])
    Dstar = tuple(max(limit, SMALLEST_DSTAR) / UNIT for limit in bounds["Dstar"])
    problem = LeastSquares(b * UNIT, counts.astype(float), D, bounds["f"], Dstar)
    squares = np.maximum(2 * solve(problem, np.ascontiguousarray(y[doubtful].T)).cost + within[doubtful], 0.0)
    raised = squares > plausible
    found[doubtful[raised]] = np.sqrt(squares[raised] / degrees)
    return found
