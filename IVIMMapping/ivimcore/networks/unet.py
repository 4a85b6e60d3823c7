"""Fully convolutional networks over whole slices: U-Net, with residual layers, and with an attention gate.

Source: the thesis on quantitative MRI from weighted MRI (sections 3.4.1 to 3.4.3), after Ronneberger et al. (MICCAI
2015), He et al. (CVPR 2016) and Oktay et al. (MIDL 2018). Smaller than there, and with convolutions that leave out what
lies outside the region. They take and return what the networks in `spatial` do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from .spatial import PartialConvolution, Ranges, Readout, VoxelFeatures, from_slices, to_slices

Tensor = torch.Tensor


class TwoConvolutions(nn.Module):
    """Two convolutions with ELU; `residual` adds what came in."""

    def __init__(self, inside: int, outside: int, residual: bool) -> None:
        super().__init__()
        self.first, self.second = PartialConvolution(inside, outside), PartialConvolution(outside, outside)
        self.skip = nn.Conv2d(inside, outside, 1) if residual else None

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(m, inside, x, y) -> (m, outside, x, y); `valid` (m, 1, x, y)."""
        y = self.second(functional.elu(self.first(x, valid)), valid)
        return functional.elu(y if self.skip is None else y + self.skip(x))


class AttentionGate(nn.Module):
    """Weighs what is passed on from the way down by what the way up knows: additive attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.passed, self.known = nn.Conv2d(channels, channels // 2, 1), nn.Conv2d(channels, channels // 2, 1)
        self.weight = nn.Conv2d(channels // 2, 1, 1)

    def forward(self, passed: Tensor, known: Tensor) -> Tensor:
        """Both (m, channels, x, y)."""
        return passed * torch.sigmoid(self.weight(functional.elu(self.passed(passed) + self.known(known))))


def _halve(x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Average the valid ones of 2 x 2 voxels; the average is valid where one of them is."""
    share = functional.avg_pool2d(valid, 2)
    return functional.avg_pool2d(x * valid, 2) / share.clamp(min=0.25), (share > 0).to(valid)


class UNet(nn.Module):
    """The network; `channels` at full resolution, doubled at each of the `levels` below."""

    residual, gated = False, False

    def __init__(
        self, bvalues: Sequence[float], ranges: Ranges, channels: int = 24, levels: int = 2, output: str = "scaled",
        fit_S0: bool = True,
    ) -> None:
        super().__init__()
        self.features = VoxelFeatures(bvalues, ranges)
        levels = int(levels)
        widths = [int(channels) * 2**level for level in range(levels + 1)]
        self.grid = 2**levels
        # Two voxels for each pair of convolutions, counted in voxels of its level, down and up.
        self.reach = self.grid * -(-sum(2 * 2 * 2**level for level in range(levels + 1)) // self.grid)
        self.down = nn.ModuleList(
            TwoConvolutions(inside, outside, self.residual)
            for inside, outside in zip([self.features.count, *widths[:-1]], widths, strict=True)
        )
        self.rise = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(TwoConvolutions(2 * width, width, self.residual) for width in widths[:-1])
        # One gate, where the image has its full resolution.
        self.gate = AttentionGate(widths[0]) if self.gated else None
        self.readout = Readout(widths[0], ranges, output, fit_S0)

    def forward(self, signal: Tensor, valid: Tensor, depth: int = 1, backend: str = "auto") -> Tensor:
        """Estimate maps; `depth` and `backend` are for networks of attention."""
        x, there = to_slices(self.features(signal * valid[..., None]), valid)
        shape = x.shape[-2:]
        more = [-n % self.grid for n in shape]
        x, there = (functional.pad(part, (0, more[1], 0, more[0])) for part in (x, there))
        kept = []
        for level, block in enumerate(self.down):
            if level:
                x, there = _halve(x, there)
            x = block(x, there)
            kept.append((x, there))
        kept.pop()
        for level in reversed(range(len(self.up))):
            passed, there = kept[level]
            x = self.rise[level](functional.interpolate(x, scale_factor=2, mode="nearest"))
            if self.gate is not None and level == 0:
                passed = self.gate(passed, x)
            x = self.up[level](torch.cat([passed, x], 1), there)
        return self.readout(from_slices(x[..., : shape[0], : shape[1]], signal.shape))


class ResidualUNet(UNet):
    """U-Net with residual layers."""

    residual = True


class AttentionUNet(UNet):
    """U-Net with an attention gate."""

    gated = True
