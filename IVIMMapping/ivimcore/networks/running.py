"""A trained network at work: from measured voxels to parameters, their uncertainty, and how new a voxel is to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..physics.parameters import PERFUSION_EXISTS
from .anyprotocol import AnyProtocol, log_bins, run, strength_of
from .build import load
from .cards import KEYS, ModelCard
from .losses import signals_of
from .mixture import Mixture, normal_cdf, to_scores
from .novelty import whitening
from .protocolfeatures import from_share, unit_signal

Array = np.ndarray
Tensor = torch.Tensor
BIN = 0.15
"""Width of a bin of the log strength, for which one network is written; training saw deviations of twice that."""
PRIOR_VARIANCE = 1 / 12
"""Variance of a uniform prior [range²]."""


@dataclass
class Estimate:
    """What a network says of voxels (v,): `maps`, `errors`, `extras` by key in stored units, S0 in units of the signal;
    `unseen` (v,) where the voxel is unlike the training; `outside` share of voxels beyond the trained noise levels."""

    maps: dict[str, Array]
    errors: dict[str, Array]
    extras: dict[str, Array]
    rmse: Array
    unseen: Array
    outside: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread a call: the chunks of voxels already use every core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _residual(parameters: Tensor, y: Tensor, b: Tensor, weight: Tensor, within: Tensor, count: int) -> Array:
    squares = ((signals_of(parameters, b) - y).square() * weight).sum(1) + within
    return (squares / count).clamp(min=0).sqrt().double().numpy()


class FixedProtocolRunner:
    """Runs a network that is tied to one list of b-values.

    Arguments: `card`; `counts` (n,) images averaged at each b; `count` images in all; `sigma` [signal units] or None;
    `unit` 98th percentile of the series at the lowest b [signal units], for cards normalised by "series"; `ensemble`
    takes all members and gives errors.
    """

    def __init__(
        self, card: ModelCard, counts: Array, count: int, sigma: float | None, unit: float, ensemble: bool
    ) -> None:
        self.card, self.count, self.sigma, self.unit, self.ensemble = card, count, sigma, unit, ensemble
        self.b = torch.tensor(card.bvalues, dtype=torch.float32)
        self.weight = torch.tensor(counts, dtype=torch.float32)
        self.networks = load(card, None if ensemble else 1)
        about = card.content.get("novelty")
        self.novelty = None
        if about:
            self.unit = unit / float(about.get("b0", 1.0))
            inverse = np.array(about["inverse"], dtype=float)
            root = np.linalg.cholesky(inverse) / math.sqrt(len(inverse)) / float(about["largest"])
            mean = np.array(about["mean"], dtype=float)
            self.novelty = (torch.tensor(-mean @ root, dtype=torch.float32), torch.tensor(root, dtype=torch.float32))

    @torch.inference_mode()
    def estimate(self, y: Array, within: Array) -> Estimate:
        """Estimate voxels y (n, v), b ascending, with the sum of squares `within` (v,) about the averages."""
        y = torch.tensor(y.T, dtype=torch.float32)
        unit = y[:, :1] if self.card.normalisation == "b0" else torch.full_like(y[:, :1], self.unit)
        x = y / unit
        means = torch.stack([network(x) for network in self.networks])
        return self.concluded(means, self._aleatoric(x, unit) if self.ensemble else None, x, y, unit, within)

    def concluded(
        self, means: Tensor, aleatoric: Tensor | None, x: Tensor, y: Tensor, unit: Tensor, within: Array
    ) -> Estimate:
        """Make an estimate of what the members say (members, v, 4) of voxels `y` (v, n), `x` in the unit of training.

        Arguments: `aleatoric` (v, 4) what the noise does to them, None where errors are not wanted; `unit` (v, 1).
        """
        values = means.mean(0)
        errors, extras = {}, {}
        if aleatoric is not None:
            # One training cannot tell what training owes to chance: unknown, not 0.
            epistemic = means.std(0) if len(means) > 1 else torch.full_like(values, torch.nan)
            total = (epistemic.nan_to_num() ** 2 + aleatoric**2).sqrt()
            for number, key in enumerate(KEYS):
                errors[key] = total[:, number].numpy()
                extras[f"{key}_epistemic"] = epistemic[:, number].numpy()
                extras[f"{key}_aleatoric"] = aleatoric[:, number].numpy()
        # A sigmoid that reaches beyond the bounds may leave what is physically possible.
        values = torch.cat([values[:, :3].clamp(min=0.0), values[:, 3:] * unit], 1)
        values[:, 1].clamp_(max=1.0)
        extras["novelty"] = self._novelty(x).numpy()
        maps = {key: values[:, number].double().numpy() for number, key in enumerate((*KEYS, "S0"))}
        rmse = _residual(values, y, self.b, self.weight, torch.tensor(within, dtype=torch.float32), self.count)
        return Estimate(maps, errors, extras, rmse, extras["novelty"] > 1, self._outside(y))

    def _novelty(self, x: Tensor) -> Tensor:
        if self.novelty is None:
            return torch.full_like(x[:, 0], torch.nan)
        offset, root = self.novelty
        return torch.addmm(offset, x, root).square().sum(1).sqrt()

    def _outside(self, y: Tensor) -> float:
        """Return the share of voxels whose SNR is not within a factor of 1.5 of that of training."""
        if self.sigma is None:
            return 0.0
        low, high = self.card.snr
        snr = (self.unit if self.card.normalisation == "series" else y[:, 0]) / self.sigma * torch.ones(len(y))
        return float(((snr < low / 1.5) | (snr > high * 1.5)).float().mean())

    def _aleatoric(self, x: Tensor, unit: Tensor) -> Tensor:
        """Propagate the noise through the network by central differences: spread (v, 4) of a repeated measurement."""
        snr = self.card.snr[0] if self.sigma is None else unit / self.sigma
        variance = torch.zeros(len(x), 4)
        for image in range(x.shape[1]):
            step = torch.zeros_like(x)
            step[:, image : image + 1] = 1 / (snr * self.weight[image].sqrt())
            above, below = x + step, x - step
            if self.card.normalisation == "b0":
                above, below = above / above[:, :1].clamp(min=0.05), below / below[:, :1].clamp(min=0.05)
            up = sum(network(above) for network in self.networks) / len(self.networks)
            down = sum(network(below) for network in self.networks) / len(self.networks)
            variance += (0.5 * (up - down)).square()
        return variance.sqrt()


class PosteriorRunner:
    """What runs of networks with a posterior share: from mixtures to maps.

    Arguments: `card`; `b`, `counts` (n,) b ascending and images averaged; `count` images; `sigma` [signal units];
    `ensemble` takes all members; `interval` probability of the credible intervals, 0 for none; `voxel` the network of
    single voxels.
    """

    def __init__(
        self, card: ModelCard, b: Array, counts: Array, count: int, sigma: float, ensemble: bool, interval: float,
        voxel: AnyProtocol,
    ) -> None:
        self.card, self.count, self.sigma, self.ensemble, self.interval = card, count, sigma, ensemble, interval
        self.b, self.weight = torch.tensor(b, dtype=torch.float32), torch.tensor(counts, dtype=torch.float32)
        self.low, self.high = voxel.low, voxel.high
        shape = unit_signal(voxel.tissue, self.b.double())
        length = (shape.square() * self.weight).sum(-1).sqrt().mean().item()
        self.weakest, self.strongest = card.snr[0] * length, card.snr[1] * length
        self.perfusion = to_scores((PERFUSION_EXISTS - self.low[1]) / (self.high[1] - self.low[1]))
        self.columns = 7 + (6 if interval > 0 else 0) + (6 if ensemble else 0) + 1

    def strengths(self, y: Tensor) -> Tensor:
        """Return the log of the length (v,) of the signal vectors y (v, n) [sigma]."""
        return strength_of(y, self.weight, self.sigma).log()

    def outside(self, log: Tensor) -> float:
        """Return the share of voxels whose log strength the training did not cover."""
        low, high = math.log(self.weakest) - 0.5, math.log(self.strongest) + 0.5
        return float(((log < low) | (log > high)).float().mean())

    def fill(self, into: Tensor, outputs: list[Mixture]) -> None:
        """Fill all columns (v, c) but the last: mean and deviation as shares of the range, and the further numbers.

        Arguments: `outputs` what each member says, mixtures (v,).
        """
        mixture = outputs[0]
        if len(outputs) > 1:
            mixture = Mixture(
                torch.cat([m.log_weight for m in outputs], -1) - math.log(len(outputs)),
                torch.cat([m.mean for m in outputs], -2), torch.cat([m.factor for m in outputs], -2),
            )  # fmt: skip
        into[:, 0:3], into[:, 3:6] = mixture.share_moments()
        above = normal_cdf((mixture.mean[..., 1] - self.perfusion) * torch.rsqrt(mixture.variance()[..., 1]))
        into[:, 6] = (mixture.log_weight.exp() * above).sum(-1)
        column = 7
        if self.interval > 0:
            into[:, 7:10] = mixture.quantile(0.5 - self.interval / 2)
            into[:, 10:13] = mixture.quantile(0.5 + self.interval / 2)
            column = 13
        if self.ensemble:
            moments = [member.share_moments() for member in outputs]
            means, deviations = (torch.stack([pair[i] for pair in moments]) for i in (0, 1))
            spread = (means - means.mean(0)).square().mean(0).sqrt()
            into[:, column : column + 3] = spread if len(outputs) > 1 else torch.nan
            into[:, column + 3 : column + 6] = deviations.square().mean(0).sqrt()

    def collect(self, found: Tensor, y: Tensor, within: Array, outside: float) -> Estimate:
        """Make an estimate of filled columns (v, c) of voxels y (v, n)."""
        width = self.high - self.low
        tissue = from_share(found[:, 0:3], self.low, self.high)
        shape = unit_signal(tissue, self.b)
        S0 = ((y * shape) @ self.weight) / (shape.square() @ self.weight)
        squares = ((S0[:, None] * shape - y).square() @ self.weight) + torch.tensor(within, dtype=torch.float32)
        maps = {key: tissue[:, number].numpy() for number, key in enumerate(KEYS)} | {"S0": S0.numpy()}
        errors = {key: (width[number] * found[:, 3 + number]).numpy() for number, key in enumerate(KEYS)}
        information = (1 - found[:, 3:6].square() / PRIOR_VARIANCE).clamp(0, 1)
        extras = {f"{key}_info": information[:, number].numpy() for number, key in enumerate(KEYS)}
        extras["f_probability"] = found[:, 6].clamp(0, 1).numpy()
        column = 7
        if self.interval > 0:
            low, high = (from_share(found[:, c : c + 3], self.low, self.high) for c in (7, 10))
            for number, key in enumerate(KEYS):
                extras[f"{key}_low"], extras[f"{key}_high"] = low[:, number].numpy(), high[:, number].numpy()
            column = 13
        if self.ensemble:
            for number, key in enumerate(KEYS):
                extras[f"{key}_epistemic"] = (width[number] * found[:, column + number]).numpy()
                extras[f"{key}_aleatoric"] = (width[number] * found[:, column + 3 + number]).numpy()
        extras["novelty"] = found[:, -1].numpy()
        rmse = (squares / self.count).clamp(min=0).sqrt().numpy()
        return Estimate(maps, errors, extras, rmse, extras["novelty"] > 1, outside)


class AnyProtocolRunner(PosteriorRunner):
    """Runs `anyprotocol` on one acquisition; arguments as `PosteriorRunner`, without the network."""

    def __init__(
        self, card: ModelCard, b: Array, counts: Array, count: int, sigma: float, ensemble: bool, interval: float
    ) -> None:
        networks: list[AnyProtocol] = load(card, None if ensemble else 1)  # type: ignore[assignment]
        super().__init__(card, b, counts, count, sigma, ensemble, interval, networks[0])
        with torch.inference_mode():
            self.bins = log_bins(self.weakest, self.strongest, BIN)
            strength, groups = self.bins.exp(), self.bins.numel()
            protocol = (self.b.expand(groups, -1), self.weight.expand(groups, -1), strength)
            self.written = [network.write_networks(*protocol) for network in networks]
            self.white = whitening(networks[0].tissue, *protocol)

    @torch.inference_mode()
    def estimate(self, y: Array, within: Array) -> Estimate:
        """Estimate voxels y (n, v), b ascending, with the sum of squares `within` (v,) about the averages."""
        y = torch.tensor(y.T, dtype=torch.float32)
        x = y * self.weight.sqrt()
        log = self.strengths(y)
        place = ((log - self.bins[0]) / (self.bins[1] - self.bins[0])).round().clamp(0, len(self.bins) - 1).long()
        deviation = (log - self.bins[place]).clamp(-BIN, BIN)
        inputs = torch.cat([x / x.norm(dim=1, keepdim=True), deviation[:, None]], 1)
        order = torch.argsort(place)
        sizes = torch.bincount(place, minlength=len(self.bins)).tolist()
        found = torch.empty(len(y), self.columns)
        sorted_inputs, sorted_found, start = inputs[order], torch.empty(len(y), self.columns), 0
        for group, size in enumerate(sizes):
            if size:
                part = slice(start, start + size)
                self._group(group, sorted_inputs[part], sorted_found[part])
                start += size
        found[order] = sorted_found
        return self.collect(found, y, within, self.outside(log))

    def _group(self, group: int, inputs: Tensor, into: Tensor) -> None:
        """Fill the columns of the voxels of one bin."""
        one = slice(group, group + 1)
        outputs = [run([(matrix[one], shift[one]) for matrix, shift in member], inputs[None])
                   for member in self.written]  # fmt: skip
        self.fill(into, [Mixture(m.log_weight[0], m.mean[0], m.factor[0]) for m in outputs])
        matrix, offset, largest = (part[group] for part in self.white)
        into[:, -1] = torch.addmm(offset, inputs[:, :-1], matrix).square().sum(1).sqrt() / largest


def about_torch() -> dict[str, str]:
    """Return the versions for the provenance."""
    return {"torch": str(torch.__version__)}
