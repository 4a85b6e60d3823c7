"""What is trained: a network, the batches it sees, and the loss they have.

A batch is a tuple of tensors with the same first axis. It depends on the seed and the number of the step alone, so that
a training that was killed and resumed sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..estimators import Status, create
from ..physics.acquisition import Acquisition
from .build import build
from .cards import SPATIAL
from .losses import gaussian_loss, hybrid_mse, parameters_mse, posterior_loss, rician_loss, signals_mse
from .randomprotocols import random_batch
from .recipes import Recipe
from .sampling import FEWEST_VOXELS, KEYS, Simulator, distribution

Tensor = torch.Tensor
Batch = tuple[Tensor, ...]
CHECK_STEP = 2**31
"""Number of the step whose batch is used for validation."""
CHECK_VOXELS = 8192
SMALLEST_B0 = 0.05
"""Smallest signal at b = 0 [S0 = 1] that a curve is divided by; smaller ones are noise, and left out of training."""


def generator(seed: int, step: int) -> torch.Generator:
    """Return the random numbers of a step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


@dataclass
class Task:
    """One training: `batch(step)` gives voxels, `loss(*batch)` what to make small, `check` the voxels of validation."""

    network: nn.Module
    batch: Callable[[int], Batch]
    loss: Callable[..., Tensor]
    check: Batch


def make_task(recipe: Recipe, seed: int, measured: Tensor | None = None) -> Task:
    """Make the task of a recipe with a seed; `measured` (v, n) normalised signals of a loaded series to train on."""
    torch.manual_seed(seed)
    network = build(recipe.content)
    if recipe.kind == "anyprotocol":
        return _any_protocol(recipe, seed, network)
    if recipe.kind in SPATIAL:
        from .spatialtasks import spatial_task

        return spatial_task(recipe, seed, network, measured)
    return _one_protocol(recipe, seed, network, measured)


def _any_protocol(recipe: Recipe, seed: int, network: nn.Module) -> Task:
    training, acquisition = recipe.training, recipe.content["acquisition"]
    low, high, snr = network.low.clone(), network.high.clone(), tuple(recipe.content["noise"]["snr"])

    def draw(of: int, step: int) -> Batch:
        return random_batch(generator(of, step), low, high, training["groups"], training["batch"],
                            int(acquisition["images"][1]), snr, float(acquisition["b"][1]))  # fmt: skip

    def loss(*parts: Tensor) -> Tensor:
        return posterior_loss(network(*parts[:5]), *parts[5:])

    # Validation must not depend on luck: four times the protocols of a step, the same for every seed.
    checks = [draw(0, CHECK_STEP + number) for number in range(4)]
    most = max(parts.direction.shape[-1] for parts in checks)
    check = tuple(torch.cat([_widen(parts[i], most, i) for parts in checks]) for i in range(7))
    return Task(network, lambda step: draw(seed, step), loss, check)


def _widen(tensor: Tensor, images: int, place: int) -> Tensor:
    """Append images that are not there: direction, b and weight 0."""
    if place not in (0, 2, 3):
        return tensor
    return nn.functional.pad(tensor, (0, images - tensor.shape[-1]))


def normalised(signal: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Divide signals (v, n), b ascending, by that at the lowest b ("b0"), or leave them ("series"); also the unit."""
    unit = signal[:, :1] if kind == "b0" else torch.ones_like(signal[:, :1])
    return signal / unit.clamp(min=SMALLEST_B0), unit


def _one_protocol(recipe: Recipe, seed: int, network: nn.Module, measured: Tensor | None) -> Task:
    content, training = recipe.content, recipe.training
    b = torch.tensor(content["acquisition"]["bvalues"], dtype=torch.float32)
    ranges = {**content["parameters"], "S0": content["S0"]}
    kind, labels = content["normalisation"], content["strategy"]["labels"]
    if measured is not None:
        if labels not in ("signals", "rician", "gaussian"):
            raise InputError("A loaded series has no known truth; train on it with the labels 'signals'.")
        sigma = torch.full((len(measured), 1), 1 / content["noise"]["snr"][0])
        drawn = (measured, torch.zeros(len(measured), 4), sigma)
        draw = None
    else:
        source = distribution(content["distribution"], ranges, recipe.folder)
        simulator = Simulator(source, b, tuple(content["noise"]["snr"]))
        draw = lambda step, count: _prepared(simulator.draw(generator(seed, step), count), kind)  # noqa: E731
        # The pool is that of the recipe, not of the member: repeated trainings differ by their start, not their data.
        count = training["pool"] or CHECK_VOXELS
        drawn = _prepared(simulator.draw(generator(training["seed"], CHECK_STEP), count), kind)
    needs_labels = labels in ("mle_rician", "mle_gaussian", "hybrid")
    if needs_labels and not training["pool"]:
        raise InputError("Maximum-likelihood labels are computed once for a 'pool' of voxels; give its size.")
    if needs_labels:
        drawn = _with_labels(drawn, b, content, "nlls" if labels == "mle_gaussian" else "mle_rician")
    again = bool(training["pool"]) or draw is None
    held_out = max(1, int(training["validation"] * len(drawn[0]))) if again else len(drawn[0])
    pool = tuple(part[held_out:] for part in drawn)
    check = tuple(part[:held_out] for part in drawn)

    def batch(step: int) -> Batch:
        if not again:
            return draw(step, training["batch"])
        chosen = torch.randint(len(pool[0]), (training["batch"],), generator=generator(seed, step))
        return tuple(part[chosen] for part in pool)

    return Task(network, batch, loss_of(network, content, b, ranges), check)


def _prepared(drawn: tuple[Tensor, Tensor, Tensor], kind: str) -> Batch:
    """Normalise simulated voxels; truth and sigma are then relative to the same unit."""
    signal, truth, sigma = drawn
    scaled, unit = normalised(signal, kind)
    unit = unit.clamp(min=SMALLEST_B0)
    return scaled, torch.cat([truth[:, :3], truth[:, 3:] / unit], 1), sigma / unit


def _with_labels(drawn: Batch, b: Tensor, content: dict[str, Any], estimator: str) -> Batch:
    """Append maximum-likelihood labels (v, 4) and leave out voxels whose label lies at a bound (Epstein, 3.3)."""
    signal, truth, sigma = drawn
    # Each voxel was divided by its own unit, which the likelihood takes as a voxel of other noise: groups of one sigma
    # do not exist then, so the signals are fitted as they were measured.
    unit = (1 / content["noise"]["snr"][0]) / sigma
    measured = (signal * unit).double().numpy()
    bounds = {key: tuple(content["bounds"][key]) for key in ("D", "f", "Dstar")}
    acquisition = Acquisition(b.double().numpy(), sigma=1 / content["noise"]["snr"][0])
    fit = create(estimator, bounds=bounds).fit(measured[:, None, None, :], acquisition)
    label = torch.tensor(np.stack([fit.maps[key].ravel() for key in KEYS], 1), dtype=torch.float32)
    good = torch.tensor(fit.status.ravel() == Status.OK) & torch.isfinite(label).all(1)
    label[:, 3:] /= unit
    return tuple(part[good] for part in (signal, truth, sigma, label))


def loss_of(
    network: Callable[[Tensor], Tensor], content: dict[str, Any], b: Tensor, ranges: dict[str, Any]
) -> Callable[..., Tensor]:
    """Return the loss of voxels (signal (v, n), truth (v, 4), sigma (v, 1), label) that a recipe asks for."""
    labels, alpha = content["strategy"]["labels"], float(content["strategy"].get("alpha", 0.5))
    weights = content["strategy"].get("weights", "range")
    if weights == "mean":  # the inverse of each mean: Epstein, 3.4
        unit = torch.tensor([(sum(ranges[key])) / 2 for key in KEYS])
    else:  # the inverse of each upper end: Paper II
        unit = torch.tensor([ranges[key][1] for key in KEYS])
    weight = 1 / unit if isinstance(weights, str) else torch.tensor([float(x) for x in weights])

    def loss(signal: Tensor, truth: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        found, at = network(signal), b.to(signal.device)
        if labels == "signals":
            return signals_mse(found, signal, at)
        if labels == "truth":
            return parameters_mse(found, truth, weight.to(signal.device))
        if labels == "rician":
            return rician_loss(found, signal, at, sigma)
        if labels == "gaussian":
            return gaussian_loss(found, signal, at, sigma)
        if labels == "hybrid":
            return hybrid_mse(found, truth, label, weight.to(signal.device), alpha)
        return parameters_mse(found, label, weight.to(signal.device))

    return loss


def measured_signals(rows: np.ndarray, recipe: Recipe) -> Tensor:
    """Normalise the voxels (v, n) of a loaded series, b ascending and repeats averaged, for training on themselves.

    Raises InputError where fewer than 100 of them can be used.
    """
    rows = rows[np.isfinite(rows).all(1) & (rows[:, 0] > 0)]
    if len(rows) < FEWEST_VOXELS:
        raise InputError(f"Only {len(rows)} voxels of the series can be trained on; choose a larger region.")
    unit = rows[:, :1] if recipe.content["normalisation"] == "b0" else np.percentile(rows[:, 0], 98)
    return torch.tensor(rows / unit, dtype=torch.float32)
