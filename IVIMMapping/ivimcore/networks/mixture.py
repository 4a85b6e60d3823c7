"""A mixture of normal distributions over (D, f, D*): its density, and the numbers that a map needs.

Parameters are counted in normal scores: a value at the quantile q of its uniform prior range has the score u with
Phi(u) = q. A voxel that says nothing is then one standard normal component exactly, and the mean of a component in
stored units has a closed form, E[Phi(u)] = Phi(mean / sqrt(1 + variance)), which the logit scale lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

Tensor = torch.Tensor
OUTPUTS = 10
"""Numbers that describe one component: weight, three means, six entries of the Cholesky factor of the covariance."""
SMALLEST_SPREAD, LARGEST_SPREAD = -6.0, 1.0
"""Limits of the logarithm of the diagonal of the Cholesky factor."""
LEGENDRE = ((0.1127016653792583, 5 / 18), (0.5, 8 / 18), (0.8872983346207417, 5 / 18))
"""Nodes and masses of Gauss and Legendre between 0 and 1."""
EDGE = 1e-6
"""Distance that scores keep from the ends of the range [share of the range]."""


def normal_cdf(u: Tensor) -> Tensor:
    """Return the distribution function of the standard normal distribution."""
    return 0.5 * torch.erfc(u * -math.sqrt(0.5))


def to_scores(share: Tensor) -> Tensor:
    """Turn shares of the range, 0..1, into normal scores."""
    return math.sqrt(2.0) * torch.erfinv(2.0 * share.clamp(EDGE, 1 - EDGE) - 1.0)


@dataclass
class Mixture:
    """Mixtures of k components over three scores, for voxels (...).

    `log_weight` (..., k) normalised; `mean` (..., k, 3); `factor` (..., k, 6) Cholesky factor of the covariance in the
    order 11, 22, 33, 21, 31, 32, its diagonal positive.
    """

    log_weight: Tensor
    mean: Tensor
    factor: Tensor

    @classmethod
    def from_outputs(cls, outputs: Tensor) -> Mixture:
        """Read the outputs (..., 10 k) of a network: k weights, then 3 k means, 3 k log spreads, 3 k products."""
        k = outputs.shape[-1] // OUTPUTS
        weight, mean, spread, lower = outputs.split((k, 3 * k, 3 * k, 3 * k), dim=-1)
        shape = (*outputs.shape[:-1], k, 3)
        # Smooth limits: a hard clamp would leave no gradient beyond it.
        middle, half = 0.5 * (SMALLEST_SPREAD + LARGEST_SPREAD), 0.5 * (LARGEST_SPREAD - SMALLEST_SPREAD)
        diagonal = torch.exp(middle + half * torch.tanh((spread.reshape(shape) - middle) / half))
        # The entries below the diagonal count in units of their row, so that a narrow component needs no tiny numbers.
        lower = lower.reshape(shape)
        below = torch.stack(
            [lower[..., 0] * diagonal[..., 1], lower[..., 1] * diagonal[..., 2], lower[..., 2] * diagonal[..., 2]], -1
        )
        return cls(torch.log_softmax(weight, -1), mean.reshape(shape), torch.cat([diagonal, below], -1))

    def log_density(self, scores: Tensor) -> Tensor:
        """Return the log density (...) of scores (..., 3)."""
        a = self.factor
        d = scores[..., None, :] - self.mean
        first = d[..., 0] / a[..., 0]
        second = (d[..., 1] - a[..., 3] * first) / a[..., 1]
        third = (d[..., 2] - a[..., 4] * first - a[..., 5] * second) / a[..., 2]
        log = -0.5 * (first**2 + second**2 + third**2) - a[..., :3].log().sum(-1)
        return torch.logsumexp(self.log_weight + log, -1) - 1.5 * math.log(2 * math.pi)

    def variance(self) -> Tensor:
        """Return the marginal variances (..., k, 3) of the scores."""
        square = self.factor**2
        return torch.stack(
            [square[..., 0], square[..., 1] + square[..., 3], square[..., 2] + square[..., 4] + square[..., 5]], -1
        )

    def share_mean(self) -> Tensor:
        """Return the mean (..., 3) of the parameters as shares of their ranges."""
        weight = self.log_weight.exp()[..., None]
        return (weight * normal_cdf(self.mean * torch.rsqrt(1 + self.variance()))).sum(-2)

    def share_moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (..., 3) of the parameters as shares of their ranges.

        The variance of Phi(u) for a component of mean m and variance v is the integral of exp(-h² (1 + x²) / 2) /
        (1 + x²) / pi from 1 / sqrt(1 + 2 v) to 1, with h = m / sqrt(1 + v) (Owen, Ann Math Stat 1956;27:1075): three
        nodes of Gauss and Legendre are exact to 1e-4, and nothing is lost where the component is narrow.
        """
        weight, variance = self.log_weight.exp()[..., None], self.variance()
        h = self.mean * torch.rsqrt(1 + variance)
        of_component = normal_cdf(h)
        mean = (weight * of_component).sum(-2)
        root = torch.sqrt(1 + 2 * variance)
        length = 2 * variance / (root * (root + 1))
        half = -0.5 * h.square()
        inside = torch.zeros_like(h)
        for node, mass in LEGENDRE:
            square = 1 + (1 - node * length).square()
            inside = inside + mass * torch.exp(half * square) / square
        total = inside * length / math.pi + (of_component - mean[..., None, :]).square()
        return mean, (weight * total).sum(-2).clamp(min=1e-14).sqrt()

    def quantile(self, level: float, rounds: int = 14) -> Tensor:
        """Return the quantiles (..., 3) of the parameters at a level, as shares of their ranges, by bisection."""
        weight, inverse = self.log_weight.exp()[..., None], torch.rsqrt(self.variance())
        deviation = self.variance().sqrt()
        low = (self.mean - 5 * deviation).amin(-2)
        high = (self.mean + 5 * deviation).amax(-2)
        for _ in range(rounds):
            middle = 0.5 * (low + high)
            below = (weight * normal_cdf((middle[..., None, :] - self.mean) * inverse)).sum(-2) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return normal_cdf(0.5 * (low + high))
