"""Trainings of spatial networks: maps instead of voxels; see `tasks` for what a task is.

Every valid voxel of a map counts, not the centre alone: a map of 32 x 32 voxels holds a thousand neighbourhoods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from .cards import ModelCard
from .losses import posterior_loss
from .mixture import Mixture
from .protocolfeatures import from_share, unit_signal
from .randomprotocols import noisy, random_protocols
from .recipes import Recipe
from .sampling import KEYS
from .scenes import Findings, findings_of, numpy_of, scenes_of
from .tasks import CHECK_STEP, Batch, Task, generator, loss_of

Tensor = torch.Tensor
CHECK_VOXELS = 24 * 32 * 32
WEAKEST = 1.5
"""Smallest length of a signal vector [sigma]; a voxel below is noise, and its strength is taken as this."""


def spatial_task(recipe: Recipe, seed: int, network: nn.Module, measured: Tensor | None) -> Task:
    """Make the task of a recipe for a spatial network."""
    if measured is not None:
        raise InputError(
            "A spatial network is trained on simulated maps, not on the voxels of a series; leave out the series, or "
            "train 'mlp_unsupervised' on it."
        )
    if recipe.kind == "anyprotocol_spatial":
        begun = _model_to_start_from(recipe, "anyprotocol")
        _start(network if begun.architecture["kind"] == recipe.kind else network.voxel, begun, ("",))
        return _any_protocol(recipe, seed, network)
    if "start" in recipe.content:
        _start(network, _model_to_start_from(recipe), ("alone.", "readout."))
    return _one_protocol(recipe, seed, network)


def _model_to_start_from(recipe: Recipe, usual: str = "") -> ModelCard:
    from .zoo import find_card

    name = recipe.content.get("start", usual)
    card = find_card(name)
    if card is None:
        raise InputError(f"The recipe starts from the model '{name}', which is not there; train it first.")
    return card


def _start(network: nn.Module, card: ModelCard, parts: tuple[str, ...]) -> None:
    """Give a network the weights of a trained model, those whose names begin with one of `parts`."""
    from .build import load

    found = {key: value for key, value in load(card, 1)[0].state_dict().items() if key.startswith(parts)}
    wanted = {key for key in network.state_dict() if key.startswith(parts)}
    try:
        if not found or set(found) != wanted:
            raise RuntimeError
        network.load_state_dict(found, strict=False)
    except RuntimeError:
        sentence = f"The model '{card.id}' has another size than the recipe; give the recipe its options."
        raise InputError(sentence) from None


def _one_protocol(recipe: Recipe, seed: int, network: nn.Module) -> Task:
    content, training = recipe.content, recipe.training
    b = torch.tensor(content["acquisition"]["bvalues"], dtype=torch.float32)
    ranges = {**content["parameters"], "S0": content["S0"]}
    scenes = scenes_of(content["distribution"], ranges)
    low, high = content["noise"]["snr"]

    def draw(of: int, step: int, maps: int) -> Batch:
        rng = generator(of, step)
        truth = scenes.sample(rng, maps)
        snr = low * (high / low) ** torch.rand(maps, 1, 1, 1, generator=rng)
        signal = truth[..., 3:] * unit_signal(truth[..., :3].flatten(1, 2), b).view(*truth.shape[:3], -1)
        noise = torch.empty(2, *signal.shape).normal_(generator=rng) / snr
        return torch.hypot(signal + noise[0], noise[1]), truth, (1 / snr).expand_as(truth[..., :1])

    found: list[Tensor] = []
    compare = loss_of(lambda signal: found[0], content, b, ranges)

    def loss(signal: Tensor, truth: Tensor, sigma: Tensor) -> Tensor:
        valid = torch.ones(signal.shape[:3], dtype=torch.bool, device=signal.device)
        estimate = network(signal[:, :, :, None], valid[..., None])[:, :, :, 0]
        found[:] = [estimate.reshape(-1, len(KEYS))]
        return compare(*(part.reshape(-1, part.shape[-1]) for part in (signal, truth, sigma)))

    check = draw(0, CHECK_STEP, max(1, CHECK_VOXELS // scenes.size**2))
    return Task(network, lambda step: draw(seed, step, training["batch"]), loss, check)


def _any_protocol(recipe: Recipe, seed: int, network: nn.Module) -> Task:
    """Make the task of `anyprotocol_spatial`: maps with findings, each with a protocol and a noise level of its own."""
    training, acquisition = recipe.training, recipe.content["acquisition"]
    findings = findings_of(recipe.content["distribution"])
    low, high = network.voxel.low.clone(), network.voxel.high.clone()
    snr, most = tuple(recipe.content["noise"]["snr"]), int(acquisition["images"][1])

    def draw(of: int, step: int, maps: int) -> Batch:
        rng = generator(of, step)
        return measured_maps(rng, findings, maps, low, high, most, snr, float(acquisition["b"][1]))

    def loss(direction: Tensor, log: Tensor, valid: Tensor, b: Tensor, weight: Tensor, share: Tensor) -> Tensor:
        found = network(direction, log, valid, b, weight)
        return _posterior_loss(found, share, valid)

    check = draw(0, CHECK_STEP, max(1, CHECK_VOXELS // findings.size**2))
    return Task(network, lambda step: draw(seed, step, training["batch"]), loss, check)


def _posterior_loss(found: Mixture, share: Tensor, valid: Tensor) -> Tensor:
    m = share.shape[0]
    flat = Mixture(*(part.reshape(m, -1, *part.shape[4:]) for part in (found.log_weight, found.mean, found.factor)))
    counted = valid.reshape(m, -1).to(share)
    return posterior_loss(flat, share.reshape(m, -1, 3), counted / counted.mean(1, keepdim=True))


def finding_rows(
    about: Mapping[str, Any], rng: torch.Generator, maps: int, ranges: Mapping[str, tuple[float, float]]
) -> Tensor:
    """Draw the truth of maps with findings as rows of D, f, Dstar, S0 (m, x, y, 4) in stored units."""
    share, S0, _ = findings_of(about).draw(numpy_of(rng), maps)
    low, high = (torch.tensor([ranges[key][end] for key in KEYS[:3]]) for end in (0, 1))
    return torch.cat([from_share(torch.tensor(share).float(), low, high), torch.tensor(S0).float()[..., None]], -1)


def measured_maps(
    rng: torch.Generator, findings: Findings, maps: int, low: Tensor, high: Tensor, most: int,
    snr: tuple[float, float], largest_b: float,
) -> Batch:
    """Draw maps and measure each with a protocol and an SNR (at S0 = 1) of its own.

    Returns: direction (m, x, y, n), log strength (m, x, y), valid voxels (m, x, y), b (m, n), weights (m, n), truth as
    share of the ranges (m, x, y, 3).
    """
    b, weight = random_protocols(rng, maps, most, largest_b)
    levels = torch.exp(math.log(snr[0]) + math.log(snr[1] / snr[0]) * torch.rand(maps, generator=rng))
    share, S0, valid = (torch.tensor(part) for part in findings.draw(numpy_of(rng), maps))
    share, S0 = share.float(), S0.float().flatten(1)
    voxels = from_share(share.flatten(1, 2), low, high)
    signal = unit_signal(voxels, b) * (S0 * levels[:, None])[..., None]
    x = noisy(signal, torch.ones(()), weight[:, None, :], rng) * weight.sqrt()[:, None, :]
    square = x.square().sum(-1)
    log = (square - (weight > 0).sum(-1, keepdim=True)).clamp(min=WEAKEST**2).sqrt().log()
    shape = share.shape[:3]
    direction = (x * torch.rsqrt(square)[..., None]).view(*shape, -1)
    return direction, log.view(shape), valid, b, weight, share
