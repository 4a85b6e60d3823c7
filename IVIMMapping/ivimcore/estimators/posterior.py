"""The exact posterior of D, f and D* by quadrature, with priors that may be learned from the image."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.noise import estimate_sigma
from ..physics.parameters import INFORMATION_MEANS, PARAMETERS, Bounds
from .backends import BACKENDS, TORCH_IS_MISSING, choose_backend, torch_can_run
from .base import (
    Array,
    Problem,
    Progress,
    bounds_option,
    describe_bvalues,
    effective_bounds,
    ignore,
    option,
    organ_option,
)
from .grid import KEYS
from .image import CHUNK_VALUES, FlatMaps, VoxelFit, VoxelwiseEstimator, flatten, over_threads, provenance, usable
from .learning import teaches
from .nlls import merge_repeats
from .posterior_fit import Plan, fit_chunk, fit_tile, learn_prior, neighbours, tiles
from .priors import Prior, describe, load_prior, log_uniform, of_organ, uniform
from .registry import register
from .result import FitResult, Status

PRIORS = ("learned_local", "learned", "uniform", "log_uniform", "organ", "file")
WINDOWS = {"3x3": (1, 1, 0), "5x5": (2, 2, 0), "3x3x3": (1, 1, 1)}
FEWEST_VOXELS = 50
"""Voxels below which a region teaches no prior."""
NOISE_VOXELS = 20_000
MANY_MISFITS = 0.02
"""Share of voxels with a residual beyond the noise from which on the person is told."""
FEWEST_NEIGHBOURS = 3
"""Mean number of neighbours inside the region below which it is no image, but a list."""
LEARNING_SHARE = 0.25
"""Share of the progress given to learning."""


@register
@dataclass(frozen=True)
class Posterior(VoxelwiseEstimator):
    """Mean, median or mode of the posterior, with its standard deviations, intervals and information.

    Information is that of the voxel's own signal: 1 - posterior variance / variance of the prior the voxel was given.
    """

    name = "posterior"
    title = "Exact posterior"
    description = (
        "Posterior of D, f and D* by exact quadrature, S0 integrated out, for any protocol and noise level; the prior "
        "may be learned from the image. Says in every voxel how much the signal told and how much the prior filled in."
    )
    references = (
        "Kaandorp et al., Magn Reson Med 2021;86:2250 (benchmark and data-driven Bayesian estimation)",
        "Laird, J Am Stat Assoc 1978;73:805 (nonparametric maximum-likelihood prior)",
        "Gudbjartsson and Patz, Magn Reson Med 1995;34:910 (Rician noise)",
    )
    error_keys = ("D", "f", "Dstar", "S0")

    prior: str = option(
        "choice", "learned_local",
        "What is known before a voxel is looked at: learned from its neighbours or the whole region, uniform (in the "
        "logarithm of the rates), typical of the organ, or from a file.",
        choices=PRIORS,
    )
    point: str = option(
        "choice", "mean", "Which number of the posterior is written to the map.", choices=("mean", "median", "mode")
    )
    noise_model: str = option(
        "choice", "rician", "Noise of magnitude images (rician) or of real-valued, phase-corrected ones (gaussian).",
        choices=("rician", "gaussian"),
    )
    interval: float = option(
        "number", 0.9, "Probability inside the credible intervals that are written as maps; 0 writes none.", "1",
        lower=0.0, upper=0.999,
    )
    broad: str = option(
        "choice", "log_uniform", "The broad prior from which 'learned' and 'learned_local' begin and keep a share.",
        choices=("log_uniform", "uniform"),
    )
    floor: float = option(
        "number", 0.02, "Share of the broad prior that a learned prior keeps, so that rare tissue survives.", "1",
        lower=1e-4, upper=1.0,
    )
    rounds: float = option(
        "number", 25, "Rounds of expectation maximisation of 'learned': more learn finer detail and lose rare tissue.",
        lower=1, upper=1000,
    )
    window: str = option(
        "choice", "3x3", "Neighbours that teach the prior of a voxel in 'learned_local'.", choices=tuple(WINDOWS)
    )
    local_rounds: float = option(
        "number", 3, "How often neighbours learn from their neighbours in 'learned_local'.", lower=1, upper=5
    )
    sample: float = option(
        "number", 2000, "Voxels of the region that teach the prior of 'learned'.", lower=FEWEST_VOXELS, upper=20000
    )
    seed: float = option("number", 1, "Seed of the choice of these voxels.", lower=0, upper=2**31)
    prior_file: str = option("file", "", "File of the prior 'file'; any grid, protocol and organ.")
    backend: str = option(
        "choice", "numpy",
        "What does the sums: numpy, or torch (PyTorch); auto takes torch where there is a GPU of NVIDIA for it.",
        choices=BACKENDS,
    )
    organ: str = organ_option()
    bounds: dict[str, Bounds] = bounds_option()

    def extra_keys(self) -> tuple[str, ...]:
        """Keys of information, probability, correlation and interval maps."""
        ends = tuple(f"{key}_{end}" for key in KEYS for end in ("low", "high")) if self.interval > 0 else ()
        return (*(f"{key}_info" for key in KEYS), "f_probability", "rho_Dstar_f", *ends)

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        said = super().problems(acquisition) or describe_bvalues(acquisition, self.parameters)
        if self.prior == "organ" and self.organ == "none":
            said.insert(0, Problem("The prior 'organ' needs to know which organ: set the option 'organ'.", blocks=True))
        if self.backend == "torch" and not torch_can_run():
            said.insert(0, Problem(TORCH_IS_MISSING, blocks=True))
        if self.prior == "file" and not self.prior_file:
            said.insert(0, Problem("The prior 'file' needs a file: set the option 'prior_file'.", blocks=True))
        if self.prior_file and self.prior != "file":
            said.append(Problem(f"The file of a prior is not used: 'prior' is '{self.prior}', only 'file' takes one."))
        return said

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n) that have no place in an image: a local prior is then the broad one."""
        index = np.arange(len(signal))
        plan = self.plan(signal, acquisition, index)
        plan.local = None
        return fit_chunk(plan, signal)

    def fit(
        self,
        signal: Array,
        acquisition: Acquisition,
        mask: Array | None = None,
        progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Estimate every voxel of a volume; see `Estimator.fit`. `threads` limits the cores used, None takes all."""
        rows, voxels, shape, order = flatten(self, signal, acquisition, mask)
        began, cores = time.perf_counter(), threads or os.cpu_count() or 1
        flat = FlatMaps.empty(self, rows.shape[0])
        learning = LEARNING_SHARE if self.prior == "learned" else 0.0
        report = lambda share: progress(int(share * voxels.size), voxels.size)  # noqa: E731
        over_threads((), lambda task: 0, 1, lambda done: report(0.0))
        plan = self.plan(rows, acquisition, voxels, lambda share: report(learning * share))
        inside = np.zeros(rows.shape[0], dtype=bool)
        inside[voxels] = True
        region = inside.reshape(shape, order=order)
        if plan.local is not None and neighbours(region, plan.local) < FEWEST_NEIGHBOURS:
            plan.without_neighbours()

        def put(chunk: Array, signal_of_chunk: Array, fit: Any) -> int:
            code = usable(signal_of_chunk)
            good = code == Status.OK
            flat.status[chunk] = code
            if good.any():
                flat.put(chunk[good], fit(signal_of_chunk[good]))
            return chunk.size

        if plan.local is None:
            size = max(256, CHUNK_VALUES // rows.shape[1] // 4)
            tasks: Any = (voxels[start : start + size] for start in range(0, voxels.size, size))
            work = lambda chunk: put(chunk, rows[chunk].astype(float), lambda good: fit_chunk(plan, good))  # noqa: E731
        else:
            index = np.arange(rows.shape[0]).reshape(shape, order=order)
            tasks = tiles(plan, region)
            work = lambda tile: fit_tile(plan, rows, index, inside, tile, flat)  # noqa: E731
        count = voxels.size
        over_threads(
            tasks, work, cores, lambda done: report(learning + (1 - learning) * done / count) if done else True
        )
        about = provenance(self, acquisition, count, time.perf_counter() - began)
        about.update(plan.about)
        about["noise"]["misfit_share"] = round(plan.misfit_share(), 4)
        about["warnings"] = plan.warnings + _said_of_misfit(plan.misfit_share()) + self._said_of_information(flat)
        return flat.result(shape, order, about)

    def learn(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore
    ) -> Prior:
        """Learn the prior of a region, to be saved and used for other series with the prior 'file'.

        Arguments, and Cancelled, as `fit`. Returns: Prior. Raises InputError as `fit`, and where the region is too
        small to teach one.
        """
        rows, voxels, _, _ = flatten(self, signal, acquisition, mask)
        learner = self if self.prior == "learned" else type(self)(**{**self.values(), "prior": "learned"})
        plan = learner.plan(
            rows, acquisition, voxels, lambda share: progress(int(share * voxels.size), voxels.size)
        )
        if plan.prior.kind != "learned":
            raise InputError(plan.warnings[0])
        return plan.prior

    def plan(self, rows: Array, acquisition: Acquisition, voxels: Array, tell: Any = lambda share: True) -> Plan:
        """Settle what all voxels share: noise level, grid, prior.

        Arguments: `rows` (v, n) signal; `voxels` indices of the region; `tell(share done)` while the prior is learned.
        """
        bounds = effective_bounds(self.organ, self.bounds)
        some = voxels[:: max(1, voxels.size // NOISE_VOXELS)]
        backend = choose_backend(self.backend)
        about: dict[str, Any] = {"interval": self.interval, "backend": dict(backend.about)}
        warnings: list[str] = []
        sigma = acquisition.sigma
        if sigma is None:
            estimate = estimate_sigma(rows[some].astype(float), acquisition)
            sigma, method = estimate.sigma, estimate.method
            if sigma is None:
                method += " Each voxel is fitted with the noise that its own residual shows"
                method += ", without a correction of the noise floor." if self.noise_model == "rician" else "."
                warnings.append(method)
        else:
            method = "Given with the series."
        about["noise"] = {"sigma": sigma, "method": method, "model": self.noise_model if sigma else "gaussian"}
        b, counts, _, _ = merge_repeats(np.zeros((1, acquisition.count)), acquisition)
        plan = Plan(acquisition, b, counts, bounds, sigma, self, about, warnings, backend=backend)
        kind = self.broad if self.prior.startswith("learned") else self.prior
        plan.set_prior((log_uniform if kind == "log_uniform" else uniform)(plan.grid))
        if self.prior == "organ":
            plan.set_prior(of_organ(self.organ, plan.grid))
        elif self.prior == "file":
            self._use_file(plan, load_prior(self.prior_file))
        elif self.prior in ("learned", "learned_local"):
            good = voxels[usable(rows[voxels]) == Status.OK]
            good = good[teaches(rows[good], sigma)]
            if good.size < FEWEST_VOXELS:
                warnings.append(
                    f"No prior can be learned from {good.size} voxels of tissue (at least {FEWEST_VOXELS}): the broad "
                    f"prior ({self.broad}) was used. Maps of few voxels are noisier; choose a larger region."
                )
            elif self.prior == "learned":
                plan.set_prior(learn_prior(plan, rows, good, tell))
            else:
                plan.local = WINDOWS[self.window]
        about["prior"] = describe(plan.prior)
        if plan.local is not None:
            about["prior"] = {"kind": "learned_local", "window": self.window, "rounds": int(self.local_rounds),
                              "floor": self.floor, "broad": about["prior"]}  # fmt: skip
        return plan

    def _use_file(self, plan: Plan, prior: Prior) -> None:
        """Take a saved prior, and say what differs from where it was learned."""
        mass = prior.on(plan.grid)
        of = prior.about
        here = [float(x) for x in np.unique(plan.acquisition.bvalues)]
        if of.get("bvalues") not in (None, here):
            plan.warnings.append(
                "The prior was learned with other b-values: allowed, as it describes tissue and not images."
            )
        if of.get("organ", self.organ) != self.organ:
            plan.warnings.append(
                f"The prior was learned for organ '{of.get('organ')}', this fit is set to '{self.organ}': check it."
            )
        grid_edges = tuple(axis.edges for axis in plan.grid.axes)
        same = all(a.size == c.size and np.allclose(a, c) for a, c in zip(grid_edges, prior.edges, strict=True))
        if not same:
            plan.warnings.append("The prior was learned within other bounds: outside its own it gives no probability.")
        used = Prior(prior.kind, grid_edges, plan.grid.unflatten(mass), {**of, "file_checksum": prior.checksum})
        plan.set_prior(used)

    def _said_of_information(self, flat: FlatMaps) -> list[str]:
        """Say for which parameters most voxels only repeat the prior."""
        said = []
        for key in KEYS:
            known = flat.extras[f"{key}_info"]
            known = known[np.isfinite(known)]
            low = float((known < INFORMATION_MEANS).mean()) if known.size else 0.0
            if low > 0.5:
                said.append(
                    f"The signal says little about {PARAMETERS[key].symbol}: in {100 * low:.0f} % of the voxels its "
                    "map mostly repeats the prior; look at the information map."
                )
        return said


def _said_of_misfit(share: float) -> list[str]:
    """Say when the noise of the image does not explain the residuals."""
    if share < MANY_MISFITS:
        return []
    return [
        f"In {100 * share:.0f} % of the voxels no curve fits within the noise of the image (motion, other tissue, "
        "uneven noise): there the uncertainty follows from the voxel's own residual."
    ]
