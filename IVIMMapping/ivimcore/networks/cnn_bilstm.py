"""One-dimensional convolution over b, a bidirectional LSTM, and attention over its steps.

After Li and Huang, Med Phys 2026;53:e70396, of which the abstract is known here: sizes, and how the parts are joined,
are ours. Of its measures, random initial weights are met by averaging repeated trainings (members of the card), noisy
input by dropout, overfitting by early stopping on voxels held out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .mlp import Constraint

Tensor = torch.Tensor


class ConvolutionRecurrence(nn.Module):
    """The network: normalised signals (v, n) -> D, f, Dstar, S0 (v, 4); see `mlp.Perceptron` for the common options."""

    def __init__(
        self, images: int, ranges: Mapping[str, tuple[float, float]], channels: int = 16, units: int = 16,
        heads: int = 2, dropout: float = 0.1, output: str = "sigmoid", fit_S0: bool = True,
    ) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv1d(1, channels, 3, padding=1), nn.ELU(),
                                         nn.Conv1d(channels, channels, 3, padding=1), nn.ELU())  # fmt: skip
        self.place = nn.Parameter(0.1 * torch.randn(images, channels))
        self.recurrence = nn.LSTM(channels, units, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(2 * units, heads, batch_first=True)
        self.norm = nn.LayerNorm(2 * units)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(2 * units, 4 if fit_S0 else 3)
        self.constraint = Constraint(ranges, output, fit_S0)

    def forward(self, signal: Tensor) -> Tensor:
        x = self.convolution(signal[:, None, :]).transpose(1, 2) + self.place
        x, _ = self.recurrence(x)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.constraint(self.last(self.drop(x.mean(1))))
