"""The layer that all neighbourhood networks are made of: attention to a window, then a small perceptron."""

from __future__ import annotations

import torch
from torch import nn

from .neighbourhoods import Window, neighbourhood_attention

Tensor = torch.Tensor
LEAST_LOG = -20.0
"""Smallest logarithm of summed weights that is passed on: less is no neighbour at all."""


class AttentionBlock(nn.Module):
    """Attention and perceptron, each added to what comes in (m, x, y, z, width), normalised before.

    Arguments: `width` channels; `heads`; `count` passes on how much of the window resembled the voxel, by head.
    """

    def __init__(self, width: int, heads: int, count: bool = False) -> None:
        super().__init__()
        self.heads, self.count = heads, count
        self.before = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width + heads * count, width)
        self.between = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, window: Window, valid: Tensor, backend: str = "auto") -> Tensor:
        """Return (m, x, y, z, width); `valid` (m, x, y, z) are the voxels that may be attended to."""
        parts = self.project(self.before(x)).unflatten(-1, (3, self.heads, -1))
        means, logs = neighbourhood_attention(*parts.unbind(-3), window, valid, backend)
        means = means.flatten(-2)
        if self.count:
            means = torch.cat([means, logs.clamp(min=LEAST_LOG)], -1)
        x = x + self.join(means)
        return x + self.perceptron(self.between(x))
