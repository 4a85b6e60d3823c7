"""`anyprotocol` with eyes: the posterior of a voxel from its own signal and from its neighbours', for any protocol.

The trained voxel network (`anyprotocol`, left as it is) gives every voxel a token that means the same for every list of
b-values and every noise level: its last hidden layer, mean and spread of its posterior, and best linear estimates of
physical quantities made for several times the voxel's strength, which single voxels are too noisy for and means of
neighbours are not. Blocks of neighbourhood attention compare the tokens. What comes out is a correction of the voxel's
own mixture, zero before training: without neighbours, and wherever they tell nothing, the voxel keeps its own answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .anyprotocol import AnyProtocol
from .attentionblock import AttentionBlock
from .mixture import OUTPUTS, Mixture
from .protocolfeatures import QUANTITIES, linear_estimators

Tensor = torch.Tensor
FINER = (4.0, 16.0)
"""Multiples of a voxel's strength for which linear estimates are made: means of 16 and of 256 alike voxels."""
BIN = 0.3
"""Width of a bin of the log strength, for which one voxel network is written."""


@dataclass
class Written:
    """What a voxel network is for groups (g,) of one protocol and strength each; see `write`."""

    layers: list[tuple[Tensor, Tensor]]
    context: Tensor
    matrix: Tensor
    offset: Tensor
    log_strength: Tensor

    def one(self, group: int) -> Written:
        """Return a single group."""
        part = slice(group, group + 1)
        return Written(
            [(matrix[part], shift[part]) for matrix, shift in self.layers],
            *(tensor[part] for tensor in (self.context, self.matrix, self.offset, self.log_strength)),
        )


class SpatialAnyProtocol(nn.Module):
    """The network; see the head of the file.

    Arguments: `low`, `high` limits of the uniform prior of D, f, Dstar [stored units]; `width` channels and `looks`
    heads of the blocks; `windows` extent of each block's window in voxels; the others are those of `anyprotocol`.
    """

    def __init__(
        self, low: tuple[float, ...], high: tuple[float, ...], width: int = 64, looks: int = 4,
        windows: tuple[int, ...] = (9, 9), **voxel: int,
    ) -> None:
        super().__init__()
        self.windows = tuple(int(n) for n in windows)
        self.voxel = AnyProtocol(low, high, **voxel).requires_grad_(False)
        hidden, context = self.voxel.hidden, self.voxel.first.in_features
        self.embed = nn.Linear(hidden + len(FINER) * QUANTITIES + 6 + 2, width)
        self.about = nn.Linear(context, 2 * width)
        nn.init.normal_(self.about.weight, std=0.01)
        nn.init.zeros_(self.about.bias)
        self.blocks = nn.ModuleList(AttentionBlock(width, looks, count=True) for _ in self.windows)
        self.after = nn.LayerNorm(width)
        self.correction = nn.Linear(width, OUTPUTS * self.voxel.components)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    @property
    def reach(self) -> int:
        """Voxels to each side that an estimate depends on."""
        return sum(n // 2 for n in self.windows)

    @torch.no_grad()
    def write(self, b: Tensor, weight: Tensor, log_strength: Tensor) -> Written:
        """Write voxel networks for groups of one protocol and strength.

        Arguments: `b` (g, n) [s/mm²]; `weight` (g, n) images averaged, 0 where there is none; `log_strength` (g,) of
        the length of the signal vector [sigma].
        """
        voxel, strength = self.voxel, log_strength.exp()
        own = linear_estimators(voxel.tissue, voxel.quantity, b, weight, strength)
        context, _ = voxel.encoder(b, weight, log_strength, own[2].float())
        finer = [linear_estimators(voxel.tissue, voxel.quantity, b, weight, strength * times) for times in FINER]
        return Written(
            voxel.write_networks(b, weight, strength), context,
            torch.cat([matrix for matrix, _, _ in finer], -1).float(),
            torch.cat([offset for _, offset, _ in finer], -1).float(), log_strength,
        )

    @torch.no_grad()
    def look(self, written: Written, group: Tensor, direction: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Look at voxels one by one: features (v, F) for the token, and the outputs (v, 10 k) of the voxel network.

        Arguments: `group` (v,) that each voxel belongs to; `direction` (v, n) of unit length; `deviation` (v,) log of
        its strength over that of the group.
        """
        order = torch.argsort(group)
        sizes = torch.bincount(group, minlength=len(written.context)).tolist()
        inputs = torch.cat([direction, deviation[:, None]], 1)[order]
        features, outputs, start = [], [], 0
        for number, size in enumerate(sizes):
            if size:
                one = written.one(number)
                hidden, output = _run(one.layers, inputs[start : start + size])
                finer = torch.addmm(one.offset[0], inputs[start : start + size, :-1], one.matrix[0])
                features.append(torch.cat([hidden, finer], 1))
                outputs.append(output)
                start += size
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        features, outputs = torch.cat(features)[back], torch.cat(outputs)[back]
        mean, spread = Mixture.from_outputs(outputs).share_moments()
        log = written.log_strength[group] + deviation
        more = [4 * mean - 2, spread.log() + 2, (log / 2 - 2)[:, None], deviation[:, None]]
        return torch.cat([features, *more], 1), outputs

    def combined(
        self, features: Tensor, outputs: Tensor, about: Tensor, valid: Tensor, depth: int = 1, backend: str = "auto"
    ) -> Tensor:
        """Compare neighbours: the outputs (m, x, y, z, 10 k) that describe the posterior of every voxel of maps.

        Arguments: `features` (m, x, y, z, F), `outputs` (m, x, y, z, 10 k) of `look`; `about` (m, x, y, z, 2 width)
        what `self.about` makes of the context; `valid` (m, x, y, z); `depth` extent of the windows in z.
        """
        gain, shift = about.chunk(2, -1)
        x = self.embed(features) * (1 + gain) + shift
        for block, extent in zip(self.blocks, self.windows, strict=True):
            x = block(x, (extent, extent, depth), valid, backend)
        return outputs + self.correction(self.after(x))

    def forward(self, direction: Tensor, log_strength: Tensor, valid: Tensor, b: Tensor, weight: Tensor) -> Mixture:
        """Return the posterior of maps (m, x, y) of m protocols.

        Arguments: `direction` (m, x, y, n) signal times the root of the weights, of unit length; `log_strength` (m, x,
        y) of each voxel; `valid` (m, x, y); `b`, `weight` (m, n).
        """
        m, x, y, n = direction.shape
        place = (log_strength / BIN).round().long()
        lowest = place.amin()
        bins = int(place.amax() - lowest) + 1
        of = torch.arange(m, device=place.device)[:, None, None] * bins + place - lowest
        groups, group = torch.unique(of.flatten(), return_inverse=True)
        protocol = groups // bins
        written = self.write(b[protocol], weight[protocol], (groups % bins + lowest) * BIN)
        deviation = (log_strength - place * BIN).reshape(-1)
        features, outputs = self.look(written, group, direction.reshape(-1, n), deviation)
        volume = lambda table: table.view(m, x, y, 1, -1)  # noqa: E731
        about = volume(self.about(written.context)[group])
        return Mixture.from_outputs(self.combined(volume(features), volume(outputs), about, valid[..., None]))


def _run(layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Run one written network on inputs (v, in): its last hidden layer, and its outputs."""
    (first, shift), *middle, (last, bias) = layers
    h = nn.functional.silu(torch.addmm(shift[0], inputs, first[0]))
    for matrix, shift in middle:
        h = h + nn.functional.silu(torch.addmm(shift[0], h, matrix[0]))
    return h, torch.addmm(bias[0], h, last[0])
