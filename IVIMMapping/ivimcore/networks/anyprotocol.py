"""One network for any list of b-values and any noise level: the exact posterior of (D, f, D*), amortised.

A small transformer reads the protocol once (one token per b-value, with the number of images averaged, and the noise
level) and writes the weights with which every measurement enters the first layer, and gain and offset of the layers
behind it. A voxel then costs a small multilayer perceptron. S0 never appears: the network sees the direction of the
signal vector, and the length in units of sigma decides which of the written networks a voxel is given to.

The first layer is written as learned combinations of the best linear estimates of physical quantities
(`protocolfeatures`), plus what the transformer adds.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from .mixture import OUTPUTS, Mixture
from .protocolfeatures import QUANTITIES, linear_estimators, reference_tissues

Tensor = torch.Tensor
MOST_IMAGES = 48
"""Different b-values that training sees at most; the network takes more."""


class ProtocolEncoder(nn.Module):
    """Reads protocols (g, n): a context (g, c) of the whole, and a token (g, n, t) of each measurement."""

    def __init__(self, token: int, context: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(8, token), nn.SiLU(), nn.Linear(token, token))
        layer = nn.TransformerEncoderLayer(
            token, heads, 2 * token, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.pool = nn.Sequential(
            nn.Linear(token + QUANTITIES + 2, context), nn.SiLU(), nn.Linear(context, context), nn.SiLU()
        )

    def forward(self, b: Tensor, weight: Tensor, log_strength: Tensor, explained: Tensor) -> tuple[Tensor, Tensor]:
        there = weight > 0
        log_s = log_strength[:, None].expand_as(b)
        share = (weight / weight.sum(1, keepdim=True)).sqrt()
        inputs = torch.stack(
            [b / 500, torch.log1p(b / 10) - 2, torch.exp(-b / 20), torch.exp(-b / 100), torch.exp(-b / 500),
             torch.log(weight.clamp(min=1e-3)), 3 * share, log_s / 2 - 2], -1
        )  # fmt: skip
        tokens = self.blocks(self.embed(inputs), src_key_padding_mask=~there)
        pooled = (tokens * there[..., None] * share[..., None] ** 2).sum(1)
        about = torch.stack([log_strength / 2 - 2, log_strength.square() / 16 - 1], -1)
        return self.pool(torch.cat([pooled, 2 * explained - 1, about], -1)), tokens * there[..., None]


class AnyProtocol(nn.Module):
    """The network; see the head of the file.

    Arguments: `low`, `high` limits of the uniform prior of D, f, Dstar [stored units]; `hidden` width and `layers`
    number of the hidden layers of the voxel network; `components` of the mixture; `token`, `context`, `depth`, `heads`
    of the encoder.
    """

    def __init__(
        self, low: tuple[float, ...], high: tuple[float, ...], hidden: int = 128, layers: int = 4, components: int = 4,
        token: int = 48, context: int = 128, depth: int = 2, heads: int = 4,
    ) -> None:
        super().__init__()
        self.hidden, self.components = hidden, components
        low, high = torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        tissue, quantity = reference_tissues(low, high)
        self.register_buffer("tissue", tissue, persistent=False)
        self.register_buffer("quantity", quantity, persistent=False)
        self.encoder = ProtocolEncoder(token, context, depth, heads)
        self.mix = nn.Parameter(torch.randn(QUANTITIES, hidden) * QUANTITIES**-0.5)
        self.write = nn.Linear(token, hidden, bias=False)
        nn.init.normal_(self.write.weight, std=0.02)
        self.first = nn.Linear(context, 2 * hidden)
        self.along = nn.Parameter(torch.zeros(hidden))
        squares = (torch.randn(hidden, hidden) * hidden**-0.5 for _ in range(layers - 1))
        self.weights = nn.ParameterList(nn.Parameter(square) for square in squares)
        self.film = nn.ModuleList(nn.Linear(context, 2 * hidden) for _ in range(layers - 1))
        for film in (self.first, *self.film):
            nn.init.normal_(film.weight, std=0.01)
            nn.init.uniform_(film.bias[hidden:], -0.5, 0.5)
            nn.init.zeros_(film.bias[:hidden])
        self.head = nn.Parameter(torch.randn(hidden, OUTPUTS * components) * 0.1 * hidden**-0.5)
        self.head_film = nn.Linear(context, OUTPUTS * components)
        nn.init.normal_(self.head_film.weight, std=0.01)
        with torch.no_grad():
            self.head_film.bias.zero_()
            self.head_film.bias[components : 4 * components].uniform_(-0.7, 0.7)
            self.head_film.bias[4 * components : 7 * components].fill_(-0.7)

    def write_networks(self, b: Tensor, weight: Tensor, strength: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Write the voxel networks of protocols: pairs of matrices (g, in, out) and offsets (g, 1, out).

        Arguments: `b` (g, n) [s/mm²]; `weight` (g, n) images averaged, 0 where there is none; `strength` (g,) length of
        the signal vector [sigma]. The inputs are the n components of the direction and the deviation of a voxel's log
        strength from the given one.
        """
        with torch.no_grad():
            matrix, offset, explained = linear_estimators(self.tissue, self.quantity, b, weight, strength)
        matrix, offset, explained = matrix.float(), offset.float(), explained.float()
        context, tokens = self.encoder(b, weight, strength.log(), explained)
        gain, shift = self.first(context).chunk(2, -1)
        gain = 1 + gain[:, None, :]
        first = (matrix @ self.mix + self.write(tokens)) * gain
        first = torch.cat([first, self.along.expand(b.shape[0], 1, -1)], 1)
        layers = [(first, (offset[:, None, :] @ self.mix) * gain + shift[:, None, :])]
        for square, film in zip(self.weights, self.film, strict=True):
            gain, shift = film(context).chunk(2, -1)
            layers.append((square * (1 + gain[:, None, :]), shift[:, None, :]))
        layers.append((self.head.expand(b.shape[0], -1, -1), self.head_film(context)[:, None, :]))
        return layers

    def forward(self, direction: Tensor, deviation: Tensor, b: Tensor, weight: Tensor, strength: Tensor) -> Mixture:
        """Return the posterior of voxels (g, v).

        Arguments: `direction` (g, v, n) signal times the root of the weights, of unit length; `deviation` (g, v) log of
        a voxel's strength over the given one; the rest as `write_networks`.
        """
        return run(self.write_networks(b, weight, strength), torch.cat([direction, deviation[..., None]], -1))


def run(layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> Mixture:
    """Run written networks (g, in, out) on inputs (g, v, in)."""
    (first, shift), *middle, (last, bias) = layers
    h = nn.functional.silu(torch.baddbmm(shift, inputs, first))
    for matrix, shift in middle:
        h = h + nn.functional.silu(torch.baddbmm(shift, h, matrix))
    return Mixture.from_outputs(torch.baddbmm(bias, h, last))


def strength_of(signal: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Estimate the length of the noise-free signal vectors (...) [sigma] from signals (..., n)."""
    square = (signal.square() * weight).sum(-1) / sigma**2 - (weight > 0).sum(-1)
    return square.clamp(min=1.0).sqrt()


def log_bins(low: float, high: float, width: float) -> Tensor:
    """Return the middles of bins of the log strength between two strengths."""
    count = max(1, math.ceil(math.log(high / low) / width))
    return torch.linspace(math.log(low), math.log(high), count)
