"""What a protocol can tell at a noise level: the best linear estimates of physical quantities, not learned.

For a list of b-values, weights (images averaged) and a noise level, the mean and the covariance of the normalised
signals over the prior follow from a few hundred reference tissues. From these the best linear estimator (Wiener) of any
quantity of the tissue is one small matrix. These matrices are the skeleton of the first layer of `anyprotocol`: they
mean the same for every protocol, whatever the number and order of its b-values, so that a network that has learned one
protocol has learned most of the next. The shares of variance that they explain describe the protocol to the network.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor
KEYS = ("D", "f", "Dstar")
REFERENCES = 384
"""Reference tissues, from a Sobol sequence: the mean of a smooth function over the prior to about a percent."""


def from_share(share: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Turn shares (..., 3) of the ranges into D, f, Dstar in stored units."""
    return low + (high - low) * share


def unit_signal(tissue: Tensor, b: Tensor) -> Tensor:
    """Compute the bi-exponential signal (..., v, n) for S0 = 1 of tissues (..., v, 3) at b (..., n) [s/mm²]."""
    D, f, Dstar = (tissue[..., i, None] for i in range(3))
    b = b[..., None, :]
    return (1 - f) * torch.exp(-b * D) + f * torch.exp(-b * Dstar)


def quantities(tissue: Tensor, share: Tensor) -> Tensor:
    """Compute the quantities (r, m) whose linear estimates are the features, standardised over the tissues (r, 3)."""
    D, f, Dstar = tissue.unbind(-1)
    u, v, w = (2 * share - 1).unbind(-1)
    columns = [
        u, v, w, u * v, u * w, v * w, u**2, v**2, w**2, u * v * w, v**2 * w, v * w**2, torch.log(D), torch.log(Dstar),
        v * torch.log(D), v * torch.log(Dstar), torch.sqrt(f), torch.sqrt(f) * w,
        *((1 - f) * torch.exp(-b * D) for b in (300.0, 1000.0)),
        *(f * torch.exp(-b * Dstar) for b in (10.0, 30.0, 100.0)),
    ]  # fmt: skip
    table = torch.stack(columns, -1)
    return (table - table.mean(0)) / table.std(0)


QUANTITIES = 23


def reference_tissues(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return reference tissues (r, 3) [stored units] and the quantities (r, m) of each, float64."""
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=7)
    share = engine.draw(REFERENCES, dtype=torch.float64).clamp(1e-4, 1 - 1e-4)
    tissue = from_share(share, low.double(), high.double())
    return tissue, quantities(tissue, share)


def linear_estimators(
    tissue: Tensor, quantity: Tensor, b: Tensor, weight: Tensor, strength: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the best linear estimates of the quantities from normalised signals.

    Arguments: `tissue` (r, 3), `quantity` (r, m) of `reference_tissues`; `b` (g, n) [s/mm²] and `weight` (g, n) images
    averaged, 0 where there is none; `strength` (g,) length of the signal vector in units of sigma.
    Returns: matrices (g, n, m) and offsets (g, m), so that direction @ matrix + offset estimates each quantity, scaled
    to about unit spread; share of the variance (g, m) of each quantity that the direction explains. float64.
    """
    signal = unit_signal(tissue, b.double()) * weight.double().sqrt()[:, None, :]
    direction = signal / signal.norm(dim=-1, keepdim=True)
    mean = direction.mean(1)
    centred = direction - mean[:, None, :]
    covariance = centred.mT @ centred / tissue.shape[0]
    noise = torch.diag_embed(strength.double()[:, None].square().reciprocal().expand_as(mean))
    cross = centred.mT @ quantity / tissue.shape[0]
    matrix = torch.linalg.solve(covariance + noise, cross)
    explained = (matrix * cross).sum(1).clamp(0, 1)
    matrix = matrix * torch.rsqrt(explained + 0.01)[:, None, :]
    return matrix, -(mean[:, None, :] @ matrix)[:, 0], explained
