"""Maximum a posteriori with a spatial prior: a Markov random field that lets edges stand.

Neighbours are expected to be alike in ln D, logit f and ln D*. Their differences have a Student t density of NU degrees
of freedom, whose long tails allow the few large steps at edges (a Gaussian one would smear them). It is a Gaussian
density of unknown width for each pair, so that two turns alternate: the expected precision of each pair given the
present maps, and the maps given these precisions, voxel by voxel in two half sweeps like the fields of a chessboard
(iterated conditional modes). The scale of each parameter's differences is learned on the way by expectation
maximisation, in which the uncertainty of the two voxels counts as much as their difference.

Sources: Freiman et al., Med Image Anal 2013;17:325; Spinner et al., Med Image Anal 2021;73:102144 (spatial priors of
IVIM); Lange et al., J Am Stat Assoc 1989;84:881 (Student t by expectation maximisation).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..errors import Cancelled
from ..physics.acquisition import Acquisition
from ..physics.parameters import Bounds
from .base import Array, Problem, Progress, bounds_option, describe_bvalues, ignore, option, organ_option
from .bayes import Prepared, conclude, half, learn, noise_for_priors, prepare, sigma_of_prior_option
from .descent import Point, descend, evaluate, matrices
from .fisher import KEYS
from .image import FlatMaps, VoxelwiseEstimator, flatten, one_thread_per_product, provenance, usable
from .parametricpriors import Priors
from .registry import register
from .result import FitResult, Status
from .variable_projection import UNIT

NU = 3.0
"""Degrees of freedom of the differences between neighbours: few, so that an edge costs little."""
ROUNDS = 40
ENOUGH = 0.01
"""Root mean square change of a round, in standard deviations of the maps, that ends the rounds."""
SMALLEST_SCALE = (1.5, 2.0, 1.5)
"""Lowest scale of the differences of ln D, logit f, ln D*, relative to the median uncertainty of a voxel by itself.
Inside a tissue they would be learned much smaller, and a lesion of 3 x 3 voxels would be averaged away with its
surroundings: at SNR 40 it keeps 65 % of its contrast of f with 0.7, and 86 % with these."""
SHARED_F_WIDTH = 2.0
"""Standard deviation of the prior of logit f that all voxels share, in units of that of the tissue: a prior as narrow
as the ordinary tissue costs the lesion more contrast than its neighbours do."""
DSTAR_SHIFT = 0.5
"""Shift of the shared prior of ln D* downwards, in variances of it: half way between the modes of ln D* and of D*.
Least squares, which teaches the prior, errs towards large D*. Without it D* is twice as wrong at SNR 20, with a whole
variance f is."""
_BLOCK = 1 << 14


def transform(theta: Array) -> Array:
    """Return ln D, logit f and ln D* (3, v) of parameters (4, v)."""
    f = np.clip(theta[2], 1e-6, 1 - 1e-6)
    return np.stack([np.log(theta[1]), np.log(f) - np.log1p(-f), theta[3]])


class QuadraticPenalty:
    """Half of `precision` (3, v) times the squared distance of ln D, logit f and ln D* from `mean` (3, v)."""

    def __init__(self, precision: Array, mean: Array) -> None:
        self._precision, self._mean = precision, mean

    def __call__(self, theta: Array, voxels: Array) -> tuple[Array, Array, Array]:
        """Return cost (v,), gradient (4, v) and second derivatives (4, v) of the voxels."""
        precision = self._precision[:, voxels]
        distance = transform(theta) - self._mean[:, voxels]
        force = precision * distance
        D, f = theta[1], np.clip(theta[2], 1e-6, 1 - 1e-6)
        spread = 1.0 / (f * (1 - f))
        first, second = np.zeros(theta.shape), np.zeros(theta.shape)
        first[1], second[1] = force[0] / D, (precision[0] - force[0]) / D**2
        first[2] = force[1] * spread
        second[2] = (precision[1] + force[1] * (2 * f - 1)) * spread**2
        first[3], second[3] = force[2], precision[2]
        return 0.5 * (force * distance).sum(axis=0), first, second


def neighbours_of(at: tuple[Array, ...], shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Return for each of v voxels the places in their list of its neighbours.

    Arguments: `at` indices (v,) along x, y and z; `shape` of the volume; `axes` along which voxels are neighbours.
    Returns: (2 * len(axes), v), with v where a neighbour is not in the list.
    """
    count = at[0].size
    place = np.full(tuple(n + 2 for n in shape), count)
    inner = np.array(at) + 1
    place[tuple(inner)] = np.arange(count)
    found = []
    for axis in axes:
        for step in (-1, 1):
            moved = inner.copy()
            moved[axis] += step
            found.append(place[tuple(moved)])
    return np.array(found)


@dataclass
class Field:
    """The maps between two half sweeps: `u` (3, v + 1) and their `variance` (3, v + 1), the last place being nobody.

    `neighbours` (m, v); `scale2` (3, 1, 1) squared scale of the differences; `mean`, `precision` (3, 1) of the prior
    that all voxels share.
    """

    u: Array
    variance: Array
    neighbours: Array
    scale2: Array
    mean: Array
    precision: Array

    def differences(self, voxels: Array) -> tuple[Array, Array]:
        """Return expected squared differences (3, m, u) to the neighbours of some voxels, and which exist (m, u)."""
        near = self.neighbours[:, voxels]
        there = near < self.u.shape[1] - 1
        square = (self.u[:, None, voxels] - self.u[:, near]) ** 2
        return square + self.variance[:, None, voxels] + self.variance[:, near], there

    def penalty(self, voxels: Array) -> QuadraticPenalty:
        """Return the prior of some voxels given their neighbours."""
        square, there = self.differences(voxels)
        weight = there * (NU + 1) / (NU * self.scale2 + square)
        precision = self.precision + weight.sum(axis=1)
        pull = self.precision * self.mean + (weight * self.u[:, self.neighbours[:, voxels]]).sum(axis=1)
        return QuadraticPenalty(precision, pull / precision)

    def learn_scale(self, smallest: Array) -> None:
        """Take one step of expectation maximisation for the scale of the differences, not below `smallest` (3,)."""
        square, there = self.differences(np.arange(self.neighbours.shape[1]))
        pairs = there.sum()
        if pairs:
            weighted = there * square * (NU + 1) / (NU + square / self.scale2)
            self.scale2 = np.maximum(weighted.sum(axis=(1, 2)) / pairs, smallest**2)[:, None, None]


def variances(point: Point) -> Array:
    """Return the variances (3, v) of ln D, logit f and ln D* from the curvature of the cost, at most 9."""
    D, f = point.theta[1], np.clip(point.theta[2], 1e-6, 1 - 1e-6)
    slope = np.stack([np.ones(D.size), D, f * (1 - f), np.ones(D.size)])
    full = matrices(point.hessian) * slope.T[:, :, None] * slope.T[:, None, :]
    diagonal = np.maximum(np.einsum("vii->vi", full), 1e-3)
    scaling = 1.0 / np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(full * scaling[:, :, None] * scaling[:, None, :])
    inverse = np.einsum("vij,vj,vij->vi", vectors, 1.0 / np.maximum(values, 1e-3), vectors)
    return np.minimum((inverse * scaling**2).T[1:], 9.0)


@register
@dataclass(frozen=True)
class SpatialMaximumAPosteriori(VoxelwiseEstimator):
    """Maximum a posteriori with a Markov random field."""

    name = "bayes_mrf"
    title = "Bayesian, spatial prior"
    description = (
        "Maximum a posteriori in which neighbours are expected to be alike, edges excepted; how alike is learned from "
        "the image. Smooth maps at low SNR; what is smaller than about three voxels loses contrast."
    )
    references = (
        "Freiman et al., Med Image Anal 2013;17:325",
        "Spinner et al., Med Image Anal 2021;73:102144",
    )
    error_keys = KEYS

    organ: str = organ_option()
    bounds: dict[str, Bounds] = bounds_option()
    sigma: float | str = sigma_of_prior_option()
    neighbourhood: str = option(
        "choice", "2d", "Neighbours within a slice, or also in the next slices (for slices at most twice as thick as "
        "the pixels are wide).", choices=("2d", "3d"),
    )

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        return super().problems(acquisition) or describe_bvalues(acquisition, self.parameters)

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> None:
        """Refuse: a voxel cannot be estimated without its neighbours; use `fit`."""
        raise NotImplementedError("'bayes_mrf' estimates whole volumes")

    def fit(
        self, signal: Array, acquisition: Acquisition, mask: Array | None = None, progress: Progress = ignore,
        threads: int | None = None,
    ) -> FitResult:
        """Estimate every voxel of a volume; see `Estimator.fit`.

        Provenance gains `priors`, `sigma_method`, `warnings` and `field` (rounds, last change, whether it converged,
        scale of the differences).
        """
        began = time.perf_counter()
        rows, voxels, shape, order = flatten(self, signal, acquisition, mask)
        priors, warnings = learn(self, np.asarray(signal), acquisition, mask, half(progress, 0.0, 0.1), threads, True)
        noise, method, more = noise_for_priors(self.sigma, np.asarray(signal), acquisition, mask)
        flat = FlatMaps.empty(self, rows.shape[0])
        values = rows[voxels].astype(float)
        flat.status[voxels] = usable(values)
        good = flat.status[voxels] == Status.OK
        chosen = voxels[good]
        report = {"rounds": 0, "last_change": 0.0, "converged": True}
        if chosen.size:
            at = np.unravel_index(chosen, shape, order)
            near = neighbours_of(at, shape, (0, 1) if self.neighbourhood == "2d" else (0, 1, 2))
            with one_thread_per_product(), ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
                data = prepare(values[good], noise, self.organ, self.bounds)
                later = half(progress, 0.1, 1.0)
                tell = lambda part: later(int(part * voxels.size), voxels.size)  # noqa: E731
                point, report = _relax(data, priors, near, sum(at) % 2, pool, tell)
            flat.put(chosen, conclude(data, point, np.ones(chosen.size, dtype=bool), noise))
        if progress(voxels.size, voxels.size) is False:
            raise Cancelled("The fit was stopped; nothing was written.")
        if not report["converged"]:
            more = [*more, f"The spatial prior had not settled after {report['rounds']} rounds."]
        about = provenance(self, noise, voxels.size, time.perf_counter() - began)
        about.update(priors=priors.as_dict(), sigma_method=method, warnings=warnings + more, field=report)
        return flat.result(shape, order, about)


def _relax(
    data: Prepared, priors: Priors, neighbours: Array, parity: Array, pool: ThreadPoolExecutor,
    tell: Callable[[float], bool],
) -> tuple[Point, dict]:
    """Find the mode of all voxels together; return it with the report on its convergence."""
    count = data.scale.size
    everybody = np.arange(count)
    logit_mean = np.log(priors.f[0] / priors.f[1])
    logit_sd = 1.0 / np.sqrt(priors.f[0]) + 1.0 / np.sqrt(priors.f[1])
    mean = np.array([priors.D[0] - np.log(UNIT), logit_mean, priors.Dstar[0] - np.log(UNIT)])[:, None]
    mean[2] -= DSTAR_SHIFT * priors.Dstar[1] ** 2
    precision = np.array([priors.D[1], SHARED_F_WIDTH * logit_sd, priors.Dstar[1]])[:, None] ** -2.0
    point = evaluate(data.box, data.noise, data.theta)
    state = Field(
        np.zeros((3, count + 1)), np.zeros((3, count + 1)), neighbours, np.ones((3, 1, 1)), mean, precision
    )

    def sweep(voxels: Array, coupled: bool, iterations: int) -> None:
        def block(part: Array) -> None:
            if coupled:
                penalty = state.penalty(part)
            else:
                penalty = QuadraticPenalty(*(np.broadcast_to(x, (3, part.size)) for x in (precision, mean)))
            found, _ = descend(data.box, data.noise.take(part), point.theta[:, part], penalty, iterations=iterations)
            point.put(part, found, np.arange(part.size))

        list(pool.map(block, [voxels[at : at + _BLOCK] for at in range(0, voxels.size, _BLOCK)]))
        state.u[:, voxels] = transform(point.theta[:, voxels])
        state.variance[:, voxels] = variances(point.take(voxels))

    def report(rounds: int) -> None:
        if tell(rounds / (ROUNDS + 1)) is False:
            raise Cancelled("The fit was stopped; nothing was written.")

    report(0)
    sweep(everybody, False, 40)
    alone = np.sqrt(np.median(state.variance[:, :count], axis=1))
    smallest = np.maximum(np.array(SMALLEST_SCALE) * alone, 1e-6)
    state.scale2 = (np.maximum(alone, 1e-6) ** 2)[:, None, None]
    change, rounds = 0.0, 0
    if (neighbours < count).any():
        for rounds in range(1, ROUNDS + 1):
            report(rounds)
            state.learn_scale(smallest)
            before = state.u.copy()
            for colour in (0, 1):
                sweep(np.flatnonzero(parity == colour), True, 3)
            spread = np.maximum(np.sqrt(state.variance[:, :count].mean(axis=1)), 1e-9)
            change = float((np.sqrt(((state.u - before)[:, :count] ** 2).mean(axis=1)) / spread).max())
            if change < ENOUGH:
                break
    scales = dict(zip(("ln_D", "logit_f", "ln_Dstar"), np.sqrt(state.scale2.ravel()).tolist(), strict=True))
    return point, {
        "rounds": rounds, "last_change": round(change, 5), "converged": change < ENOUGH, "scale_of_differences": scales,
    }
