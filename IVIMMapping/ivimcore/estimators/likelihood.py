"""The data of voxels with their likelihood, as functions of the signal: Gaussian, Rician, or Gaussian of unknown sigma.

Arrays are laid out (b-value, voxel). Costs are negative log likelihoods without what does not depend on the signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .rician import log_bessel

Array = np.ndarray

_ROUNDING = 4e-15
"""Relative rounding of a sum of squares: a smaller change of the cost says nothing."""


class Noise(Protocol):
    """The data with their likelihood, as a function of the signal s (k, v) at each distinct b."""

    rounding: Array

    def terms(self, s: Array) -> tuple[Array, Array, Array]:
        """Return the cost (v,) and its first and second derivative with respect to the signal (k, v)."""

    def take(self, voxels: Array) -> Noise:
        """Return the data of some of the voxels."""


@dataclass
class Gaussian:
    """Gaussian noise of known `sigma` (v,): `y` (k, v) means over `weights` (k, 1) images each."""

    y: Array
    weights: Array
    sigma: Array

    def __post_init__(self) -> None:
        self.rounding = _ROUNDING * (self.weights * self.y**2).sum(axis=0) / self.sigma**2

    def terms(self, s: Array) -> tuple[Array, Array, Array]:
        """Return the cost (v,) and its derivatives (k, v)."""
        precision = self.weights / self.sigma**2
        difference = s - self.y
        slope = precision * difference
        return 0.5 * (slope * difference).sum(axis=0), slope, precision

    def take(self, voxels: Array) -> Gaussian:
        """Return the data of some of the voxels."""
        return Gaussian(self.y[:, voxels], self.weights, self.sigma[voxels])


@dataclass
class Rician:
    """Rician noise of known `sigma` (v,): `m` (n, v) magnitudes, images of equal b side by side.

    `first` (k,) is the index of the first image of each distinct b, `group` (n,) the distinct b of each image.
    """

    m: Array
    first: Array
    group: Array
    sigma: Array

    def __post_init__(self) -> None:
        self.rounding = _ROUNDING * (self.m**2).sum(axis=0) / self.sigma**2

    def terms(self, s: Array) -> tuple[Array, Array, Array]:
        """Return the cost (v,) and its derivatives (k, v)."""
        repeated = self.first.size < self.group.size
        if repeated:
            s = s[self.group]
        precision = 1.0 / self.sigma**2
        scaled = self.m * precision
        log_i0e, ratio, ratio_slope = log_bessel(scaled * s)
        cost = (0.5 * precision * (s - self.m) ** 2 - log_i0e).sum(axis=0)
        slope = precision * s - scaled * ratio
        curvature = precision - scaled * scaled * ratio_slope
        if repeated:
            slope, curvature = (np.add.reduceat(array, self.first, axis=0) for array in (slope, curvature))
        return cost, slope, curvature

    def take(self, voxels: Array) -> Rician:
        """Return the data of some of the voxels."""
        return Rician(self.m[:, voxels], self.first, self.group, self.sigma[voxels])


@dataclass
class UnknownSigma:
    """Gaussian noise whose sigma is integrated out under Jeffreys' prior: (n + 1) / 2 times log of the sum of squares.

    `y` (k, v) means over `weights` (k, 1) images each; `within` (v,) sum of squares about the means; `n` images.
    Source: Orton et al., Magn Reson Med 2014;71:411 (with n instead of n + 1, which is of no consequence).
    """

    y: Array
    weights: Array
    within: Array
    n: int

    def __post_init__(self) -> None:
        self._total = (self.weights * self.y**2).sum(axis=0) + self.within
        self.rounding = np.full(self._total.size, _ROUNDING * self.n)

    def terms(self, s: Array) -> tuple[Array, Array, Array]:
        """Return the cost (v,) and its derivatives (k, v); the term of rank one of the second is left to `rank_one`."""
        difference = s - self.y
        # Without any noise the logarithm has no lower end: the floor is the rounding of single precision.
        squares = (self.weights * difference * difference).sum(axis=0) + self.within + 1e-12 * self._total
        precision = self.weights * ((self.n + 1) / squares)
        return 0.5 * (self.n + 1) * np.log(squares), precision * difference, precision

    @property
    def rank_one(self) -> float:
        """Factor of the outer product of the gradient that the second derivative of the logarithm subtracts."""
        return 2.0 / (self.n + 1)

    def take(self, voxels: Array) -> UnknownSigma:
        """Return the data of some of the voxels."""
        return UnknownSigma(self.y[:, voxels], self.weights, self.within[voxels], self.n)
