"""What a network is trained to make small. Every loss is a mean over voxels of a sum or mean over what it compares.

Signals-MSE and parameters-MSE: Kaandorp et al., Paper II, eq. 1 and 3; inter-parameter weights and the hybrid: Epstein
et al., eq. 7, 9 and 10; the Rician likelihood: Gudbjartsson and Patz, Magn Reson Med 1995;34:910.
"""

from __future__ import annotations

import torch

from .mixture import Mixture, to_scores
from .protocolfeatures import unit_signal

Tensor = torch.Tensor
MEAN_COUNTS = 1.5
"""Weight of the accuracy of the posterior mean beside the likelihood of the posterior, which implies it slowly."""


def signals_of(parameters: Tensor, b: Tensor) -> Tensor:
    """Compute the signals (v, n) of D, f, Dstar, S0 (v, 4)."""
    return parameters[:, 3:] * unit_signal(parameters[:, :3], b)


def signals_mse(parameters: Tensor, signal: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of measured and estimated signals: unsupervised."""
    return (signals_of(parameters, b) - signal).square().mean()


def parameters_mse(parameters: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return the mean squared difference of parameters (v, 4) and labels, each times its weight (4,): supervised."""
    return ((parameters - label) * weight).square().sum(1).mean()


def hybrid_mse(parameters: Tensor, truth: Tensor, label: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """Return alpha times the loss against maximum-likelihood labels plus the rest of that against the truth."""
    return alpha * parameters_mse(parameters, label, weight) + (1 - alpha) * parameters_mse(parameters, truth, weight)


def rician_loss(parameters: Tensor, signal: Tensor, b: Tensor, sigma: Tensor) -> Tensor:
    """Return the mean negative log of the Rician likelihood of signals (v, n), without what parameters leave alone.

    Arguments: `sigma` (v, 1) in units of the signal.
    """
    x, m = signal / sigma, signals_of(parameters, b) / sigma
    # i0e carries exp(-x m).
    return (0.5 * (x - m).square() - torch.log(torch.special.i0e(x * m).clamp(min=1e-30))).mean()


def gaussian_loss(parameters: Tensor, signal: Tensor, b: Tensor, sigma: Tensor) -> Tensor:
    """Return the mean negative logarithm of the Gaussian likelihood of signals (v, n), without its constant."""
    return (0.5 * ((signal - signals_of(parameters, b)) / sigma).square()).mean()


def posterior_loss(mixture: Mixture, share: Tensor, importance: Tensor) -> Tensor:
    """Return the negative log likelihood of the truth plus the log of the error of the posterior mean, a group each.

    Arguments: `mixture` and `share` (g, v, 3) of g protocols; `importance` (g, v). The logarithm gives every protocol
    and noise level the same say, whether its errors are large or small.
    """
    likelihood = (mixture.log_density(to_scores(share)) * importance).mean()
    error = ((mixture.share_mean() - share).square() * importance[..., None]).mean(1)
    return MEAN_COUNTS * error.clamp(min=1e-12).log().mean() - likelihood
