"""Networks that see a voxel's neighbourhood, for one list of b-values (Kaandorp, thesis, section 3.3, Paper III).

All take maps of normalised signals (m, x, y, z, n) with the valid voxels (m, x, y, z) and return D, f, Dstar, S0
(m, x, y, z, 4). Neighbours that are not valid are left out, never taken as zeros. In place of the full text of the
paper, sizes follow Paper II (three layers of 64 ELU, outputs scaled by the upper ends of the ranges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from .attentionblock import AttentionBlock
from .mlp import KEYS, Constraint
from .protocolfeatures import linear_estimators, reference_tissues

Tensor = torch.Tensor
Ranges = Mapping[str, tuple[float, float]]


SMALLEST_SIZE = 1e-3
"""Smallest length of a voxel's signal vector [unit of training] that it is divided by."""
STRENGTHS = (30.0, 120.0, 480.0)
"""Lengths of the signal vector [sigma] for which linear estimates are made: a noisy voxel, a good one, many of them."""


class VoxelFeatures(nn.Module):
    """What enters a network of a voxel's signals (..., n): best linear estimates of physical quantities, and the size.

    Signals at neighbouring b-values are nearly the same number, from which a network learns slowly; the linear
    estimates (`protocolfeatures`) hold the same in independent numbers. They follow from the direction of the signal
    vector alone: a network need not learn what a common factor means. The logarithm of its length tells the noise.
    """

    def __init__(self, bvalues: Sequence[float], ranges: Ranges) -> None:
        super().__init__()
        low, high = (torch.tensor([ranges[key][end] for key in KEYS[:3]], dtype=torch.float32) for end in (0, 1))
        b = torch.tensor([list(bvalues)] * len(STRENGTHS), dtype=torch.float32)
        found = linear_estimators(*reference_tissues(low, high), b, torch.ones_like(b), torch.tensor(STRENGTHS))
        self.register_buffer("matrix", torch.cat(list(found[0]), -1).float(), persistent=False)
        self.register_buffer("offset", torch.cat(list(found[1]), -1).float(), persistent=False)
        self.count = self.matrix.shape[1] + 1

    def forward(self, signal: Tensor) -> Tensor:
        """(..., n) -> (..., count)."""
        size = signal.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_SIZE)
        return torch.cat([(signal / size) @ self.matrix + self.offset, 0.5 * size.log()], -1)


class PartialConvolution(nn.Module):
    """A convolution over the valid neighbours alone: (m, channels, x, y) -> (m, channels, x, y).

    What is missing in a window is made up for by the share of its valid voxels (Liu et al., Image inpainting for
    irregular holes, ECCV 2018). Border and holes are the same thing.
    """

    def __init__(self, inside: int, outside: int, size: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inside, outside, size, padding=size // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(outside))
        self.register_buffer("ones", torch.ones(1, 1, size, size), persistent=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """`valid` (m, 1, x, y), 1 where a voxel counts, else 0."""
        there = functional.conv2d(valid, self.ones, padding=self.ones.shape[-1] // 2)
        missing = self.ones.numel() / there.clamp(min=1.0)
        return self.convolution(x * valid) * missing + self.bias[:, None, None]


def to_slices(features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Turn maps (m, x, y, z, c) and valid voxels (m, x, y, z) into slices (m z, c, x, y) and (m z, 1, x, y)."""
    m, x, y, z, c = features.shape
    slices = features.permute(0, 3, 4, 1, 2).reshape(m * z, c, x, y)
    return slices, valid.permute(0, 3, 1, 2).reshape(m * z, 1, x, y).to(slices)


def from_slices(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Turn slices (m z, p, x, y) back into maps (m, x, y, z, p) of `shape` (m, x, y, z, ...)."""
    m, _, _, z = shape[:4]
    return values.unflatten(0, (m, z)).permute(0, 3, 4, 1, 2)


class Readout(nn.Module):
    """From features (..., width) to D, f, Dstar, S0 (..., 4)."""

    def __init__(self, width: int, ranges: Ranges, output: str, fit_S0: bool) -> None:
        super().__init__()
        self.last = nn.Linear(width, 4 if fit_S0 else 3)
        self.constraint = Constraint(ranges, output, fit_S0)

    def forward(self, x: Tensor) -> Tensor:
        raw = self.last(x)
        return self.constraint(raw.reshape(-1, raw.shape[-1])).view(*x.shape[:-1], 4)


class ConvolutionNeighbourhood(nn.Module):
    """A perceptron whose first layer is a convolution over 3 x 3 voxels."""

    grid = 1

    def __init__(
        self, bvalues: Sequence[float], ranges: Ranges, hidden: int = 64, layers: int = 3, output: str = "scaled",
        fit_S0: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(hidden)
        self.reach = 1
        self.features = VoxelFeatures(bvalues, ranges)
        self.first = PartialConvolution(self.features.count, hidden)
        more = [part for _ in range(int(layers) - 1) for part in (nn.Linear(hidden, hidden), nn.ELU())]
        self.body = nn.Sequential(nn.ELU(), *more)
        self.readout = Readout(hidden, ranges, output, fit_S0)

    def forward(self, signal: Tensor, valid: Tensor, depth: int = 1, backend: str = "auto") -> Tensor:
        """Estimate maps; `depth` and `backend` are for networks of attention."""
        slices = to_slices(self.features(signal), valid)
        return self.readout(self.body(from_slices(self.first(*slices), signal.shape)))


class Perceptron(nn.Module):
    """The perceptron of Paper II (three layers of ELU) on the features of single voxels (..., n) -> (..., width).

    It gives every voxel its token, and its first guess: what attention finds among the neighbours is added to it.
    """

    def __init__(self, bvalues: Sequence[float], ranges: Ranges, width: int) -> None:
        super().__init__()
        self.features = VoxelFeatures(bvalues, ranges)
        sizes = [self.features.count, width, width, width]
        layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.ELU())]
        self.body = nn.Sequential(*layers)

    def forward(self, signal: Tensor) -> Tensor:
        return self.body(self.features(signal))


class Correction(nn.Module):
    """What neighbours add to a voxel's own hidden layer (..., width); nothing before training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normal, self.last = nn.LayerNorm(width), nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.normal(x))


class NeighbourhoodAttention(nn.Module):
    """Blocks of neighbourhood attention; `windows` add up to the receptive field: sum of (window - 1), plus 1."""

    grid = 1

    def __init__(
        self, bvalues: Sequence[float], ranges: Ranges, windows: Sequence[int] = (3, 5), width: int = 64,
        heads: int = 4, output: str = "scaled", fit_S0: bool = True,
    ) -> None:
        super().__init__()
        self.windows = tuple(int(n) for n in windows)
        self.reach = sum(n // 2 for n in self.windows)
        self.alone = Perceptron(bvalues, ranges, int(width))
        self.blocks = nn.ModuleList(AttentionBlock(int(width), int(heads)) for _ in self.windows)
        self.correction = Correction(int(width))
        self.readout = Readout(int(width), ranges, output, fit_S0)

    def forward(self, signal: Tensor, valid: Tensor, depth: int = 1, backend: str = "auto") -> Tensor:
        """Estimate maps; `depth` extent of the windows in z, `backend` of the attention."""
        # What is not valid may be anything, and nothing times anything must be nothing.
        x = alone = self.alone(signal * valid[..., None])
        for block, extent in zip(self.blocks, self.windows, strict=True):
            x = block(x, (extent, extent, depth), valid, backend)
        return self.readout(alone + self.correction(x))


class PatchAttention(nn.Module):
    """A transformer over the `size` x `size` voxels around each voxel: all attend to all, the centre is read out.

    Every voxel has a patch of its own, so that time grows with the fourth power of the size and memory as well: 7 is
    the largest that can reasonably be trained, and neighbourhood attention takes over from there.
    """

    grid = 1

    def __init__(
        self, bvalues: Sequence[float], ranges: Ranges, size: int = 3, width: int = 64, heads: int = 4, layers: int = 2,
        output: str = "scaled", fit_S0: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.reach = int(size), int(size) // 2
        self.alone = Perceptron(bvalues, ranges, int(width))
        self.blocks = nn.ModuleList(PatchBlock(int(width), int(heads)) for _ in range(int(layers)))
        self.correction = Correction(int(width))
        self.readout = Readout(int(width), ranges, output, fit_S0)

    def forward(self, signal: Tensor, valid: Tensor, depth: int = 1, backend: str = "auto") -> Tensor:
        """Estimate maps; `depth` and `backend` are for neighbourhood attention."""
        x = self.alone(signal * valid[..., None])
        tokens, there = self._patches(x), self._patches(valid[..., None].to(x))[..., 0] > 0
        centre = self.size**2 // 2
        there[:, centre] = True  # the centre always sees itself, so that nothing is divided by zero
        for number, block in enumerate(self.blocks, 1):
            # Nobody reads what the last block makes of the neighbours.
            tokens = block(tokens, there, centre if number == len(self.blocks) else None)
        return self.readout(x + self.correction(tokens[:, 0]).view_as(x))

    def _patches(self, maps: Tensor) -> Tensor:
        """Gather the patches (voxels, size², width) of maps (m, x, y, z, width)."""
        r = self.reach
        padded = functional.pad(maps, (0, 0, 0, 0, r, r, r, r))
        cut = padded.unfold(1, self.size, 1).unfold(2, self.size, 1)
        return cut.permute(0, 1, 2, 3, 5, 6, 4).reshape(-1, self.size**2, maps.shape[-1])


class PatchBlock(nn.Module):
    """Self-attention among the tokens (v, t, width) of patches, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.query, self.keys, self.join = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, there: Tensor, only: int | None = None) -> Tensor:
        """Return (v, t, width), or (v, 1, width) of the token `only`; `there` (v, t) may be attended to."""
        normal = self.before(x)
        if only is not None:
            x, asking = x[:, only : only + 1], normal[:, only : only + 1]
        else:
            asking = normal
        split = lambda part: part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        key, value = self.keys(normal).chunk(2, -1)
        mask = there[:, None, None, :]
        means = functional.scaled_dot_product_attention(split(self.query(asking)), split(key), split(value), mask)
        x = x + self.join(means.transpose(1, 2).flatten(-2))
        return x + self.perceptron(self.between(x))
