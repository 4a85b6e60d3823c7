"""How far a voxel lies from everything that the training covered, in units of the spread there.

The squared Mahalanobis distance of a normalised signal from the signals of training, divided by the number of b-values,
is about 1 for a voxel like those of training; noise is part of the spread. It grows with residuals beyond the noise
(motion, artefacts, wrong b-values) and with tissue outside the prior.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .protocolfeatures import unit_signal
from .recipes import Recipe
from .tasks import generator, make_task

Tensor = torch.Tensor
SAMPLE = 20000
COVERED = 0.9995
"""Share of the voxels of training that count as covered."""


def describe_training(recipe: Recipe, measured: Tensor | None) -> dict[str, Any]:
    """Describe the normalised signals of training.

    Returns: mean (n,), inverse of their covariance (n, n), largest distance among them, and `b0`, the 98th percentile
    of the signal at the lowest b, by which a series is brought to the same unit.
    """
    if measured is None:
        task = make_task(recipe, recipe.training["seed"])
        drawn: list[Tensor] = []
        while sum(len(part) for part in drawn) < SAMPLE:
            signals = task.batch(len(drawn))[0]  # of voxels, or of maps of voxels
            drawn.append(signals.reshape(-1, signals.shape[-1]))
        signal = torch.cat(drawn)[:SAMPLE]
    else:
        signal = measured[torch.randint(len(measured), (SAMPLE,), generator=generator(0, 0))]
    x = signal.double().numpy()
    mean = x.mean(0)
    covariance = np.cov(x, rowvar=False)
    covariance += np.eye(len(mean)) * 1e-6 * np.trace(covariance) / len(mean)
    inverse = np.linalg.inv(covariance)
    square = distance(x, mean, inverse)
    return {"mean": mean.tolist(), "inverse": inverse.tolist(), "largest": float(np.quantile(square, COVERED)),
            "b0": float(np.quantile(x[:, 0], 0.98))}  # fmt: skip


def distance(x: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return the root of the squared distance (v,) over the number of values, of x (v, n)."""
    centred = x - mean
    return np.sqrt(np.einsum("vi,vi->v", centred @ inverse, centred) / len(mean))


def whitening(tissue: Tensor, b: Tensor, weight: Tensor, strength: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what measures distances of directions for `anyprotocol`, of groups (g,).

    Arguments: as `protocolfeatures.linear_estimators`. Returns: matrices (g, n, n) and offsets (g, 1, n), so that the
    mean square of direction @ matrix + offset is the squared distance; largest distance (g,) of the reference tissues
    with noise.
    """
    signal = unit_signal(tissue, b.double()) * weight.double().sqrt()[:, None, :]
    direction = signal / signal.norm(dim=-1, keepdim=True)
    mean = direction.mean(1, keepdim=True)
    centred = direction - mean
    covariance = centred.mT @ centred / tissue.shape[0]
    # Magnitudes at the noise floor, and the amplitude lost by the normalisation, make the noise a little uneven.
    covariance = covariance + torch.diag_embed(strength.double()[:, None].square().reciprocal().expand_as(b))
    values, vectors = torch.linalg.eigh(covariance)
    matrix = vectors * values.clamp(min=1e-12).rsqrt()[:, None, :] * b.shape[1] ** -0.5
    offset = -(mean @ matrix)
    tissue_distance = (centred @ matrix).square().sum(-1)
    n = b.shape[1]
    largest = (tissue_distance.amax(1) + 1 + 5 * (2 / n) ** 0.5).sqrt()
    return matrix.float(), offset.float(), largest.float()
