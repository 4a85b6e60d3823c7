"""Multilayer perceptrons for one list of b-values: joint or parallel sub-networks, outputs constrained in three ways.

The published networks are settings of these: IVIM-NET original and optimised (Kaandorp et al., Magn Reson Med
2021;86:2250, table 1), and the perceptrons of Paper II (three layers of 64 ELU) and of Epstein et al. (three layers of
as many units as b-values).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

Tensor = torch.Tensor
KEYS = ("D", "f", "Dstar", "S0")
WIDER = 0.3
"""How much wider than the bounds a sigmoid reaches at each side [share of their width]: Paper I."""


class Constraint(nn.Module):
    """Turns the last layer (v, p) into D, f, Dstar, S0 (v, 4) [stored units, S0 relative to the normalised signal].

    "absolute": the absolute value, in the unit of the largest value of each range; "sigmoid": between bounds 30 % wider
    at each side than the ranges; "scaled": the absolute value times the upper end of the range, S0 that of its own.
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]], output: str, fit_S0: bool) -> None:
        super().__init__()
        self.output, self.fit_S0 = output, fit_S0
        low = torch.tensor([ranges[key][0] for key in KEYS], dtype=torch.float32)
        high = torch.tensor([ranges[key][1] for key in KEYS], dtype=torch.float32)
        wide = high - low
        self.register_buffer("low", low - WIDER * wide, persistent=False)
        self.register_buffer("width", (1 + 2 * WIDER) * wide, persistent=False)
        # "absolute" is |output| itself, as published; "scaled" counts in the upper ends of the ranges.
        unit = torch.ones_like(high) if output == "absolute" else high
        self.register_buffer("unit", unit, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        if not self.fit_S0:
            raw = torch.cat([raw, torch.zeros_like(raw[:, :1])], 1)
        values = self.low + self.width * torch.sigmoid(raw) if self.output == "sigmoid" else raw.abs() * self.unit
        return values if self.fit_S0 else torch.cat([values[:, :3], torch.ones_like(values[:, :1])], 1)


class ParallelLinear(nn.Module):
    """`count` independent linear layers side by side: (v, count * inside) -> (v, count * outside)."""

    def __init__(self, count: int, inside: int, outside: int) -> None:
        super().__init__()
        layers = [nn.Linear(inside, outside) for _ in range(count)]
        self.weight = nn.Parameter(torch.stack([layer.weight.T for layer in layers]).detach().clone())
        self.bias = nn.Parameter(torch.stack([layer.bias for layer in layers])[:, None].detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        count, inside, _ = self.weight.shape
        parts = x.view(x.shape[0], count, inside).transpose(0, 1)
        return torch.baddbmm(self.bias, parts, self.weight).transpose(0, 1).reshape(x.shape[0], -1)


class Perceptron(nn.Module):
    """The network: normalised signals (v, n) -> D, f, Dstar, S0 (v, 4).

    Arguments: `images` n; `ranges` of D, f, Dstar and S0; `hidden` units a layer, 0 for n; `layers`; `parallel` gives
    every parameter a network of its own; `dropout` after every hidden layer but the last; `batch_norm`; `output` as in
    `Constraint`; `fit_S0`, else S0 is 1.
    """

    def __init__(
        self, images: int, ranges: Mapping[str, tuple[float, float]], hidden: int = 0, layers: int = 3,
        parallel: bool = False, dropout: float = 0.0, batch_norm: bool = False, output: str = "scaled",
        fit_S0: bool = True,
    ) -> None:
        super().__init__()
        width, outputs = int(hidden) or images, 4 if fit_S0 else 3
        self.count = outputs if parallel else 1
        parts: list[nn.Module] = []
        inside = images
        for number in range(int(layers)):
            parts.append(ParallelLinear(self.count, inside, width))
            if batch_norm:
                parts.append(nn.BatchNorm1d(self.count * width))
            parts.append(nn.ELU())
            if dropout and number < layers - 1:
                parts.append(nn.Dropout(dropout))
            inside = width
        parts.append(ParallelLinear(self.count, inside, 1 if parallel else outputs))
        self.body = nn.Sequential(*parts)
        self.constraint = Constraint(ranges, output, fit_S0)

    def forward(self, signal: Tensor) -> Tensor:
        return self.constraint(self.body(signal.repeat(1, self.count) if self.count > 1 else signal))
