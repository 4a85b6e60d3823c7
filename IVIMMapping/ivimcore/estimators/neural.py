"""Trained networks as estimators: one for every model card that is found. Torch is imported inside a fit only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import scipy

from ..physics.acquisition import Acquisition
from ..physics.noise import ENOUGH_VALUES, SMALLEST_NOISE, estimate_sigma
from .base import Array, Problem, Progress, describe_bvalues, ignore, option
from .image import VoxelFit, VoxelwiseEstimator, check
from .nlls import NonLinearLeastSquares, merge_repeats
from .result import POOR, FitResult, Status

KEYS = ("D", "f", "Dstar")
TORCH_IS_MISSING = (
    "'{name}' needs PyTorch; install it through Slicer's PyTorch extension or 'pip install torch safetensors'."
)
ONE_TRAINING = (
    "'{name}' holds one training: what a value owes to it (epistemic) is unknown; the errors are those of the noise."
)
ASSUMED_SNR = 20.0
"""SNR that is assumed, and said, where the images do not tell their noise."""
NOISE_VOXELS = 20_000
"""Voxels of the region from which noise and unit of the series are measured."""
RESIDUAL_VOXELS = 2_000
TOLD_FROM = 0.05
"""Share of voxels from which on the person is told that the training did not cover them."""


def torch_can_run() -> bool:
    """Tell whether what networks need is installed, without importing it."""
    return find_spec("torch") is not None and find_spec("safetensors") is not None


@dataclass(frozen=True)
class Network(VoxelwiseEstimator):
    """What all networks share; the classes that are listed are made by `_classes`, one for each card."""

    needs_torch: ClassVar[bool] = True
    card: ClassVar[Any]
    runner: ClassVar[Any] = None

    ensemble: bool = option(
        "flag", False,
        "Average all trainings of the model, and give the spread between them (epistemic) beside that of the noise "
        "(aleatoric); slower.",
    )
    sigma: float | str = option(
        "number", "auto",
        "Noise of each complex channel: a number; 'auto' takes that of the series, else estimates it.",
        "signal units", choices=("auto",), lower=1e-300,
    )

    @property
    def error_keys(self) -> tuple[str, ...]:
        """Keys that have a standard deviation with these options."""
        return KEYS if self.ensemble else ()

    def extra_keys(self) -> tuple[str, ...]:
        """Keys of the further maps."""
        parts = tuple(f"{key}_{part}" for key in KEYS for part in ("epistemic", "aleatoric")) if self.ensemble else ()
        return ("novelty", *parts)

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        said = super().problems(acquisition)
        if said:
            return said
        misfits = [Problem(sentence, blocks=True) for sentence in self.card.misfits(acquisition)]
        if misfits:
            return misfits
        if not torch_can_run():
            return [Problem(TORCH_IS_MISSING.format(name=self.name), blocks=True)]
        return [Problem(self.card.scope()), *describe_bvalues(acquisition, self.parameters)]

    def fit(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Estimate every voxel of a volume; see `Estimator.fit`. Provenance gains card, checksum and `warnings`."""
        signal = np.asarray(signal)
        voxels, shape = check(self, signal, acquisition, mask)
        ready, noise, about = self._ready(signal, acquisition, voxels, shape)
        from ..networks.running import one_thread

        with one_thread():
            result = super(Network, ready).fit(signal, noise, mask, progress, threads)
        return ready.told(result, about)

    def _ready(
        self, signal: Array, acquisition: Acquisition, voxels: Array, shape: tuple[int, ...]
    ) -> tuple[Network, Acquisition, dict[str, Any]]:
        """Measure noise and unit, and load the networks; return an estimator with them, the acquisition with its noise,
        and what the provenance gains."""
        inside = signal[np.unravel_index(voxels[:: max(1, voxels.size // NOISE_VOXELS)], shape)]
        noise, method, warnings = self._noise(inside, acquisition)
        ready = replace(self)
        object.__setattr__(ready, "runner", self._runner(inside, noise))
        object.__setattr__(ready, "shares", [])
        if self.ensemble and self.card.members < 2:
            warnings.append(ONE_TRAINING.format(name=self.name))
        return ready, noise, {"sigma_method": method, "warnings": warnings}

    def told(self, result: FitResult, about: dict[str, Any]) -> FitResult:
        """Write into the provenance what a fit learned, and which model it used."""
        from ..networks.running import about_torch

        voxels = max(1, sum(count for count, _, _ in self.shares))
        said = self._said(
            sum(count * outside for count, outside, _ in self.shares) / voxels,
            sum(unseen for _, _, unseen in self.shares) / voxels,
        )
        about = {**about, "warnings": [*about["warnings"], *said]}
        result.provenance.update(**about, model={"id": self.card.id, "sha256": self.card.weights["sha256"]})
        result.provenance["versions"].update(about_torch())
        return result

    def _noise(self, inside: Array, acquisition: Acquisition) -> tuple[Acquisition, str, list[str]]:
        """Decide on the noise level: given, of the series, or estimated from some voxels (v, n)."""
        if self.sigma != "auto":
            return replace(acquisition, sigma=float(self.sigma)), "Given as an option.", []
        if acquisition.sigma is not None:
            return acquisition, "Known with the series.", []
        found = estimate_sigma(inside, acquisition)
        if found.sigma is not None:
            return replace(acquisition, sigma=found.sigma), found.method, []
        sigma = _sigma_of_residuals(inside, acquisition)
        if sigma is not None:
            return replace(acquisition, sigma=sigma), "Estimated from what least squares leaves over (median).", []
        lowest = inside[:, acquisition.bvalues == acquisition.bvalues.min()]
        level = np.median(lowest[np.isfinite(lowest) & (lowest > 0)]) if (lowest > 0).any() else 1.0
        said = f"{found.method} SNR {ASSUMED_SNR:g} is assumed: give sigma."
        return replace(acquisition, sigma=float(level) / ASSUMED_SNR), f"Assumed: SNR {ASSUMED_SNR:g}.", [said]

    def _runner(self, inside: Array, acquisition: Acquisition) -> Any:
        """Prepare the networks for a region of which some voxels (v, n) are given; imports torch."""
        from ..networks.running import FixedProtocolRunner

        b, counts, y, _ = merge_repeats(np.asarray(inside, dtype=float), acquisition)
        lowest = y[0][np.isfinite(y[0]) & (y[0] > 0)]
        unit = float(np.percentile(lowest, 98)) if lowest.size else 1.0
        return FixedProtocolRunner(self.card, counts, acquisition.count, acquisition.sigma, unit, self.ensemble)

    def _said(self, outside: float, unseen: float) -> list[str]:
        """Say what the training did not cover."""
        said = []
        if outside > TOLD_FROM:
            low, high = self.card.snr
            trained = f"SNR {low:g}" if low == high else f"SNR {low:g} to {high:g}"
            said.append(f"In {100 * outside:.0f} % of the voxels the SNR is far from that of the training ({trained}).")
        if unseen > TOLD_FROM:
            said.append(
                f"{100 * unseen:.0f} % of the voxels are unlike everything in the training of '{self.card.id}': "
                "look at the map 'novelty', or use 'posterior'."
            )
        return said

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n) by the network."""
        runner = self.runner or self._runner(signal, self._noise(signal, acquisition)[0])
        y, within, empty = measured(signal, acquisition)
        return self.concluded(runner.estimate(y, within), empty)

    def concluded(self, found: Any, empty: Array) -> VoxelFit:
        """Give the voxels of an estimate their status; those that are `empty` (v,) get no value."""
        unseen = found.unseen & ~empty
        if hasattr(self, "shares"):
            self.shares.append((len(empty), found.outside, int(unseen.sum())))
        status = np.full(len(empty), Status.OK, dtype=np.uint8)
        status[unseen] = Status.UNSEEN
        status[found.rmse > POOR * found.maps["S0"]] = Status.POOR_FIT
        empty = empty | ~(found.maps["S0"] > 0)
        status[empty] = Status.NO_DECAY
        for table in (found.maps, found.errors, found.extras):
            for key, values in table.items():
                if empty.any():
                    table[key] = np.where(empty, np.nan, values)
        return VoxelFit(found.maps, found.errors, np.where(empty, np.nan, found.rmse), status, found.extras)


def measured(signal: Array, acquisition: Acquisition) -> tuple[Array, Array, Array]:
    """Prepare voxels (v, n) for a network.

    Returns: averages at each b (k, v), b ascending; sum of squares about them (v,); which voxels hold no signal that a
    network could take (v,): their averages are 1.
    """
    _, counts, y, within = merge_repeats(signal, acquisition)
    empty = ~((y[0] > 0) & (counts @ y > 0))
    return (np.where(empty, 1.0, y) if empty.any() else y), within, empty


@dataclass(frozen=True)
class AnyProtocolNetwork(Network):
    """A network that takes any list of b-values, with the posterior of every voxel."""

    interval: float = option(
        "number", 0.0, "Probability inside the credible intervals that are written as maps; 0 writes none.", "1",
        lower=0.0, upper=0.999,
    )

    @property
    def error_keys(self) -> tuple[str, ...]:
        """Every parameter but S0 has a standard deviation."""
        return KEYS

    def extra_keys(self) -> tuple[str, ...]:
        """Keys of information, probability and interval maps, and those of every network."""
        ends = tuple(f"{key}_{end}" for key in KEYS for end in ("low", "high")) if self.interval > 0 else ()
        return (*(f"{key}_info" for key in KEYS), "f_probability", *ends, *super().extra_keys())

    def _runner(self, inside: Array, acquisition: Acquisition) -> Any:
        from ..networks.running import AnyProtocolRunner

        b, counts, _, _ = merge_repeats(np.zeros((1, acquisition.count)), acquisition)
        return AnyProtocolRunner(
            self.card, b, counts, acquisition.count, acquisition.sigma, self.ensemble, self.interval
        )


def _sigma_of_residuals(inside: Array, acquisition: Acquisition) -> float | None:
    """Estimate sigma from the residuals of least squares in some voxels of (v, n); None where too few are left."""
    freedom = acquisition.count - 4
    good = inside[np.isfinite(inside).all(axis=1) & (inside > 0).all(axis=1)]
    good = np.asarray(good[:: max(1, len(good) // RESIDUAL_VOXELS)], dtype=float)
    if freedom < 1 or len(good) * freedom < ENOUGH_VALUES:
        return None
    squares = NonLinearLeastSquares().fit_voxels(good, acquisition).rmse ** 2 * acquisition.count
    # The median of a chi-square variable lies below its mean; without any noise, rounding is what is left.
    sigma = float(np.sqrt(np.nanmedian(squares) / (2 * scipy.special.gammaincinv(freedom / 2, 0.5))))
    return max(sigma, SMALLEST_NOISE * float(np.median(good[:, 0])))
