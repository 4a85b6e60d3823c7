"""Random protocols and voxels for `anyprotocol`: no list of b-values of any benchmark is among them by design."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from .protocolfeatures import from_share, unit_signal

Tensor = torch.Tensor


class Batch(NamedTuple):
    """Voxels (g, v) of g protocols; `share` (g, v, 3) truth as share of the ranges, `importance` (g, v) mean 1."""

    direction: Tensor
    deviation: Tensor
    b: Tensor
    weight: Tensor
    strength: Tensor
    share: Tensor
    importance: Tensor


def random_protocol(rng: torch.Generator, most: int, largest_b: float = 1500.0) -> tuple[Tensor, Tensor]:
    """Draw a list of b-values (n,) [s/mm²] and the images averaged at each (n,), as hospitals might choose them."""
    draw = lambda low, high: low + (high - low) * float(torch.rand((), generator=rng))  # noqa: E731
    count = int(round(math.exp(draw(math.log(4), math.log(most)))))
    top = draw(400.0, largest_b) if draw(0, 1) < 0.85 else draw(150.0, 400.0)
    kind = draw(0, 1)
    if kind < 0.6:  # many low, some high
        low_count = max(1, round((count - 1) * draw(0.25, 0.75)))
        border = draw(60.0, 250.0)
        low = torch.exp(math.log(4.0) + (math.log(border) - math.log(4.0)) * torch.rand(low_count, generator=rng))
        high = border + (top - border) * torch.rand(max(1, count - 1 - low_count), generator=rng)
        b = torch.cat([low, high])
    elif kind < 0.85:  # steps
        b = top * torch.linspace(1 / max(count - 1, 1), 1, max(count - 1, 1)) ** draw(1.0, 3.0)
        b = b * torch.exp(0.1 * torch.randn(b.shape, generator=rng))
    else:
        b = top * torch.rand(max(count - 1, 1), generator=rng) ** draw(0.7, 2.5)
    b[torch.argmax(b)] = top
    b = torch.cat([b.new_zeros(1) if draw(0, 1) < 0.93 else b.new_full((1,), draw(1, 50)), b])
    if draw(0, 1) < 0.5:
        b = torch.round(b / 5) * 5
    b = torch.unique(b)
    weight = torch.ones_like(b)
    if draw(0, 1) < 0.3:
        weight = torch.round(torch.exp(torch.rand(b.shape, generator=rng) * math.log(draw(2.0, 16.0)))).clamp(min=1)
    elif draw(0, 1) < 0.2:
        weight *= round(draw(2, 6))
    return b, weight


def noisy(signal: Tensor, sigma: Tensor, weight: Tensor, rng: torch.Generator) -> Tensor:
    """Add Rician noise to signals (g, v, n), `weight` images averaged; of one image exactly, of more nearly.

    The mean of many magnitudes tends to the mean of the Rician distribution, whose square lies between pi/2 sigma² and
    sigma² above the squared amplitude.
    """
    real = torch.empty_like(signal).normal_(generator=rng)
    imaginary = torch.empty_like(signal).normal_(generator=rng)
    step = sigma * torch.rsqrt(weight.clamp(min=1))
    square = (signal + step * real).square() + (step * imaginary).square()
    if bool((weight > 1).any()):
        floor = sigma**2 * (1 + (math.pi / 2 - 1) * torch.exp(-((signal / sigma) ** 2) / 3.3))
        square = square + floor * (1 - 1 / weight.clamp(min=1))
    return square.sqrt()


def random_protocols(rng: torch.Generator, count: int, most: int, largest_b: float) -> tuple[Tensor, Tensor]:
    """Draw protocols: b-values (count, n) [s/mm²] and images averaged at each (count, n), 0 where there is none."""
    protocols = [random_protocol(rng, most, largest_b) for _ in range(count)]
    n = max(b.numel() for b, _ in protocols)
    b, weight = torch.zeros(count, n), torch.zeros(count, n)
    for number, (values, images) in enumerate(protocols):
        b[number, : values.numel()], weight[number, : values.numel()] = values, images
    return b, weight


def random_batch(
    rng: torch.Generator, low: Tensor, high: Tensor, groups: int, voxels: int, most: int = 32,
    snr: tuple[float, float] = (4.0, 250.0), largest_b: float = 1500.0, window: float = 0.25,
) -> Batch:
    """Draw protocols, noise levels and voxels.

    S0 is drawn such that the strength of the signal lies in a window around that of the group, which is wide beside
    noise and bins; with the importance 1 / |m| this is a flat prior of S0, as the exact posterior has it.
    """
    b, weight = random_protocols(rng, groups, most, largest_b)
    levels = torch.exp(math.log(snr[0]) + math.log(snr[1] / snr[0]) * torch.rand(groups, generator=rng))
    share = torch.rand(groups, voxels, 3, generator=rng)
    signal = unit_signal(from_share(share, low, high), b)
    length = (signal.square() * weight[:, None, :]).sum(-1).sqrt()
    strength = levels * length.mean(1)
    # Half-width of the window: some share, and three sigma.
    below = (strength * math.exp(-window) - 3).clamp(min=0.3)
    above = strength * math.exp(window) + 3
    wanted = below[:, None] + (above - below)[:, None] * torch.rand(groups, voxels, generator=rng)
    amplitude = wanted / length
    x = noisy(signal * amplitude[..., None], torch.ones(()), weight[:, None, :], rng) * weight.sqrt()[:, None, :]
    square = x.square().sum(-1)
    own = (square - (weight > 0).sum(-1, keepdim=True)).clamp(min=1.0).sqrt()
    deviation = (own / strength[:, None]).log()
    importance = length.reciprocal()
    importance = importance / importance.mean(1, keepdim=True)
    return Batch(x * torch.rsqrt(square)[..., None], deviation, b, weight, strength, share, importance)
