"""Simulated voxels to train on: where the tissue parameters are drawn from, and the noise that is added.

A sample is a row (D, f, Dstar, S0) in stored units, D* being the whole decay rate. Distributions: uniform, that of
patients (rows of a segmented fit of loaded series), and mixtures of both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import InputError
from ..estimators import create
from ..physics.acquisition import Acquisition
from .protocolfeatures import unit_signal

Tensor = torch.Tensor
KEYS = ("D", "f", "Dstar", "S0")
FASTEST = 0.1
"""Largest D* [mm²/s] of a patient's voxel that is used; beyond, a segmented fit has followed the noise (Paper II)."""
FEWEST_VOXELS = 100


class Distribution(Protocol):
    """Draws samples."""

    def sample(self, rng: torch.Generator, count: int) -> Tensor: ...


@dataclass(frozen=True)
class Uniform:
    """Uniform within ranges; `added`: the range of Dstar is that of D* - D."""

    low: Tensor
    high: Tensor
    added: bool = False

    @classmethod
    def of(cls, ranges: Mapping[str, Sequence[float]], added: bool = False) -> Uniform:
        """Make one from the ranges of D, f, Dstar and S0."""
        pair = torch.tensor([list(ranges[key]) for key in KEYS], dtype=torch.float32)
        return cls(pair[:, 0], pair[:, 1], added)

    def sample(self, rng: torch.Generator, count: int) -> Tensor:
        """Draw rows (count, 4)."""
        rows = self.low + (self.high - self.low) * torch.rand(count, 4, generator=rng)
        if self.added:
            rows[:, 2] += rows[:, 0]
        return rows


@dataclass(frozen=True)
class Patients:
    """Rows of patients, drawn with replacement."""

    rows: Tensor

    def sample(self, rng: torch.Generator, count: int) -> Tensor:
        """Draw rows (count, 4)."""
        return self.rows[torch.randint(self.rows.shape[0], (count,), generator=rng)]


@dataclass(frozen=True)
class Mixed:
    """Each row comes from one of the parts, with the given shares."""

    parts: tuple[Distribution, ...]
    shares: tuple[float, ...]

    def sample(self, rng: torch.Generator, count: int) -> Tensor:
        """Draw rows (count, 4)."""
        which = torch.multinomial(torch.tensor(self.shares), count, replacement=True, generator=rng)
        drawn = torch.stack([part.sample(rng, count) for part in self.parts])
        return drawn[which, torch.arange(count)]


def distribution(about: Mapping[str, Any], ranges: Mapping[str, Sequence[float]], folder: Path) -> Distribution:
    """Make the distribution that a recipe describes.

    Arguments: `about` {"kind": "uniform" | "patients" | "mixture", ...}: "patients" names a "file" of
    `save_patients` beside the recipe, "mixture" lists "parts", each with its "share"; "ranges" replaces those given.
    Raises InputError for anything else.
    """
    kind = about.get("kind", "uniform")
    if kind == "uniform":
        return Uniform.of({**ranges, **about.get("ranges", {})}, bool(about.get("added", False)))
    if kind == "patients":
        return load_patients(folder / str(about.get("file", "")))
    if kind == "mixture":
        parts, shares = about.get("parts") or [], [float(part.get("share", 1)) for part in about.get("parts") or []]
        if not parts or min(shares) < 0 or sum(shares) <= 0:
            raise InputError("The mixture of the recipe needs parts with positive shares; see the documentation.")
        return Mixed(tuple(distribution(part, ranges, folder) for part in parts), tuple(shares))
    raise InputError(f"Unknown distribution '{kind}' in the recipe; choose uniform, patients or mixture.")


def patients_of(signal: np.ndarray, acquisition: Acquisition, mask: np.ndarray | None = None) -> np.ndarray:
    """Return rows (v, 4) of the tissue of a loaded series from its segmented fit, S0 relative to its 98th percentile.

    Arguments: `signal` (x, y, z, n), `mask` (x, y, z). Voxels without a value and with D* above 0.1 mm²/s are left out.
    Source: Kaandorp et al., Paper II, section 2.3. Raises InputError where fewer than 100 voxels remain.
    """
    maps = create("segmented", bounds={"f": (0.0, 1.0)}).fit(signal, acquisition, mask).maps
    rows = np.stack([maps[key].ravel() for key in KEYS], axis=1).astype(float)
    rows = rows[np.isfinite(rows).all(axis=1)]
    rows = rows[(rows[:, 2] <= FASTEST) & (rows[:, 3] > 0)]
    if rows.shape[0] < FEWEST_VOXELS:
        raise InputError(f"Only {rows.shape[0]} voxels of the series can teach a distribution; choose a larger region.")
    rows[:, 3] /= np.percentile(rows[:, 3], 98)
    return rows


def save_patients(path: Path | str, rows: np.ndarray) -> None:
    """Write rows of patients as one array without names (.npy)."""
    np.save(path, rows.astype(np.float32), allow_pickle=False)


def load_patients(path: Path) -> Patients:
    """Read rows of `save_patients`; raises InputError for a file that is not one."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"The file of patients '{path.name}' cannot be read ({error}); write it again.") from None
    if rows.ndim != 2 or rows.shape[1] != 4 or not np.isfinite(rows).all() or rows.shape[0] < FEWEST_VOXELS:
        raise InputError(f"The file of patients '{path.name}' is not a table of D, f, D*, S0; write it again.")
    return Patients(torch.tensor(rows, dtype=torch.float32))


@dataclass(frozen=True)
class Simulator:
    """Voxels of one list of b-values with Rician noise.

    `b` (n,) [s/mm²]; `snr` limits of the SNR at S0 = 1, drawn log-uniformly; equal limits fix it.
    """

    source: Distribution
    b: Tensor
    snr: tuple[float, float]

    def draw(self, rng: torch.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw noisy signals (count, n), truth (count, 4) and sigma (count, 1)."""
        truth = self.source.sample(rng, count)
        if self.snr[0] == self.snr[1]:
            snr = torch.full((count, 1), self.snr[0])
        else:
            low, high = self.snr
            snr = low * (high / low) ** torch.rand(count, 1, generator=rng)
        signal = truth[:, 3:] * unit_signal(truth[:, :3], self.b)
        noise = torch.empty(2, *signal.shape).normal_(generator=rng) / snr
        return torch.hypot(signal + noise[0], noise[1]), truth, 1 / snr

    def rate(self, count: int = 1 << 15) -> float:
        """Measure the samples a second that this simulator makes."""
        rng = torch.Generator().manual_seed(0)
        self.draw(rng, count)
        began = time.perf_counter()
        self.draw(rng, count)
        return count / (time.perf_counter() - began)
