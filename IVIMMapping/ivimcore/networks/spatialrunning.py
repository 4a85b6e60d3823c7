"""Trained spatial networks at work, a piece of a volume at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .anyprotocol_spatial import BIN, SpatialAnyProtocol, Written
from .build import load
from .cards import ModelCard
from .mixture import Mixture
from .neighbourhoods import load_natten
from .novelty import whitening
from .running import Estimate, FixedProtocolRunner, PosteriorRunner
from .spatialtasks import WEAKEST

Array = np.ndarray
Tensor = torch.Tensor
REPEATS = 8
"""Repeated measurements that are simulated to see what the noise does to a network without a posterior."""
BYTES = {"conv3": 2_000, "attention": 4_000, "natten": 20_000, "unet": 3_000, "uresnet": 3_000, "uattennet": 3_000,
         "anyprotocol_spatial": 24_000}  # fmt: skip
"""Memory [bytes] that a voxel needs while it is estimated, by architecture; `attention` for each voxel of its patch."""


@dataclass
class Piece:
    """A piece of a volume: what a network sees of it, and what it is asked about.

    `y` (x, y, z, n) averages at each b, ascending; `within` (x, y, z) sum of squares about them; `valid` (x, y, z)
    voxels that may be looked at; `asked` (x, y, z) voxels to estimate, all of them valid.
    """

    y: Array
    within: Array
    valid: Array
    asked: Array


@dataclass(frozen=True)
class Needs:
    """What a spatial network needs of a tiling: `reach` voxels to each side in the slice and `reach_z` slices; tiles
    that begin at multiples of `grid`; `bytes` of memory a voxel."""

    reach: int
    reach_z: int
    grid: int
    bytes: int


def needs_of(card: ModelCard, network: torch.nn.Module, depth: int) -> Needs:
    """Return what the network of a card needs; `depth` extent of its windows in z."""
    kind = card.architecture["kind"]
    size = BYTES[kind] * (network.size**2 if kind == "attention" else 1) * depth
    reach_z = (depth // 2) * len(getattr(network, "windows", ()))
    return Needs(network.reach, reach_z, getattr(network, "grid", 1), size)


def backend_of(wanted: str) -> tuple[str, str]:
    """Return the back end of the attention that will be used, and one sentence where it is not the wanted one."""
    if wanted == "natten" and load_natten() is None:
        return "reference", "The package natten is missing or broken; plain torch computed the same instead."
    return wanted, ""


class SpatialFixedRunner(FixedProtocolRunner):
    """Runs a spatial network that is tied to one list of b-values; arguments as `FixedProtocolRunner`, and `backend`
    and `depth` of its attention."""

    def __init__(self, *arguments: Any, backend: str = "auto", depth: int = 1) -> None:
        super().__init__(*arguments)
        self.backend, self.note = backend_of(backend)
        self.depth = depth
        self.needs = needs_of(self.card, self.networks[0], depth)

    @torch.inference_mode()
    def estimate_piece(self, piece: Piece) -> Estimate:
        """Estimate the voxels that a piece asks for."""
        valid = torch.tensor(piece.valid)
        y = torch.tensor(np.where(piece.valid[..., None], piece.y, 0.0), dtype=torch.float32)
        asked = torch.tensor(piece.asked)
        x = y / self.unit
        means = self._run(x, valid, asked)
        aleatoric = self._repeats(x, valid, asked) if self.ensemble else None
        unit = torch.full((int(asked.sum()), 1), self.unit)
        return self.concluded(means, aleatoric, x[asked], y[asked], unit, piece.within[piece.asked])

    def _run(self, x: Tensor, valid: Tensor, asked: Tensor) -> Tensor:
        found = [network(x[None], valid[None], self.depth, self.backend)[0][asked] for network in self.networks]
        return torch.stack(found)

    def _repeats(self, x: Tensor, valid: Tensor, asked: Tensor) -> Tensor:
        """Add noise again and again: spread (v, 4) of a repeated measurement, the neighbours' noise included."""
        sigma = 1 / self.card.snr[0] if self.sigma is None else self.sigma / self.unit
        rng = torch.Generator().manual_seed(1)
        repeats = []
        for _ in range(REPEATS):
            noise = torch.empty_like(x).normal_(generator=rng) * sigma * self.weight.rsqrt()
            repeats.append(self._run((x + noise).abs(), valid, asked).mean(0))
        return torch.stack(repeats).std(0)


class SpatialAnyProtocolRunner(PosteriorRunner):
    """Runs `anyprotocol_spatial` on one acquisition; arguments as `PosteriorRunner`, and those of its attention."""

    def __init__(
        self, card: ModelCard, b: Array, counts: Array, count: int, sigma: float, ensemble: bool, interval: float,
        backend: str = "auto", depth: int = 1,
    ) -> None:
        self.networks: list[SpatialAnyProtocol] = load(card, None if ensemble else 1)  # type: ignore[assignment]
        super().__init__(card, b, counts, count, sigma, ensemble, interval, self.networks[0].voxel)
        self.backend, self.note = backend_of(backend)
        self.depth = depth
        self.needs = needs_of(card, self.networks[0], depth)
        with torch.inference_mode():
            first, last = round(math.log(WEAKEST) / BIN), math.ceil(math.log(self.strongest) / BIN)
            self.places = torch.arange(first, last + 1)
            protocol = (self.b.expand(len(self.places), -1), self.weight.expand(len(self.places), -1))
            self.written: list[Written] = [n.write(*protocol, self.places * BIN) for n in self.networks]
            self.white = whitening(self.networks[0].voxel.tissue, *protocol, (self.places * BIN).exp())

    @torch.inference_mode()
    def estimate_piece(self, piece: Piece) -> Estimate:
        """Estimate the voxels that a piece asks for."""
        valid, asked = torch.tensor(piece.valid), torch.tensor(piece.asked)
        y = torch.tensor(piece.y[piece.valid], dtype=torch.float32)
        x = y * self.weight.sqrt()
        direction = x / x.norm(dim=1, keepdim=True)
        log = self.strengths(y).clamp(min=math.log(WEAKEST))
        place = (log / BIN).round().clamp(int(self.places[0]), int(self.places[-1])).long()
        deviation = (log - place * BIN).clamp(-BIN, BIN)
        group = place - int(self.places[0])
        outputs = [self._member(number, group, direction, deviation, valid)[asked]
                   for number in range(len(self.networks))]  # fmt: skip
        among = asked[valid]
        found = torch.empty(int(asked.sum()), self.columns)
        self.fill(found, [Mixture.from_outputs(part) for part in outputs])
        found[:, -1] = self._novelty(group[among], direction[among])
        return self.collect(found, y[among], piece.within[piece.asked], self.outside(log[among]))

    def _member(self, number: int, group: Tensor, direction: Tensor, deviation: Tensor, valid: Tensor) -> Tensor:
        """Return the outputs of one member for all voxels of a piece (x, y, z, 10 k)."""
        network, written = self.networks[number], self.written[number]
        volume = lambda table: table.new_zeros(*valid.shape, table.shape[-1]).masked_scatter_(  # noqa: E731
            valid[..., None], table
        )[None]
        features, outputs = network.look(written, group, direction, deviation)
        about = network.about(written.context)[group]
        return network.combined(
            volume(features), volume(outputs), volume(about), valid[None], self.depth, self.backend
        )[0]

    def _novelty(self, group: Tensor, direction: Tensor) -> Tensor:
        """Return how far each voxel (v,) is from all reference tissues, above 1 beyond them."""
        found = torch.empty(len(group))
        for number in group.unique().tolist():
            mine = group == number
            matrix, offset, largest = (part[number] for part in self.white)
            found[mine] = torch.addmm(offset, direction[mine], matrix).square().sum(1).sqrt() / largest
        return found
