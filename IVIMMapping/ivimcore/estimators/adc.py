"""Apparent diffusion coefficient: one exponential, log-linear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..physics.acquisition import Acquisition
from .base import Array, Problem, option
from .image import VoxelFit, VoxelwiseEstimator
from .nlls import merge_repeats, noise_variance
from .registry import register
from .result import Status


@dataclass(frozen=True)
class LogLine:
    """A weighted straight line through ln S over b: arrays (v,); variances for noise of variance 1 [signal units²]."""

    intercept: Array
    slope: Array
    intercept_variance: Array
    slope_variance: Array
    covariance: Array


def log_linear(b: Array, weights: Array, y: Array) -> LogLine:
    """Fit ln S = ln S0 - b D by weighted least squares.

    Noise of standard deviation sigma on S is noise sigma / S on ln S, so each point weighs its number of images times
    S² (Salvador et al., Hum Brain Mapp 2005;24:144). Signals must be positive.

    Arguments: `b` (k,) [s/mm²]; `weights` (k,) images averaged into each; `y` (k, v) [signal units].
    Returns: LogLine with intercept ln S0 and slope D [mm²/s].
    """
    log = np.log(y)
    w = weights[:, None] * y * y
    w0, w1, w2 = w.sum(axis=0), b @ w, (b * b) @ w
    l0, l1 = (w * log).sum(axis=0), b @ (w * log)
    determinant = w0 * w2 - w1 * w1
    return LogLine(
        intercept=(w2 * l0 - w1 * l1) / determinant,
        slope=(w1 * l0 - w0 * l1) / determinant,
        intercept_variance=w2 / determinant,
        slope_variance=w0 / determinant,
        covariance=w1 / determinant,
    )


@register
@dataclass(frozen=True)
class ApparentDiffusion(VoxelwiseEstimator):
    """Mono-exponential decay by weighted log-linear regression."""

    name = "adc"
    title = "Apparent diffusion coefficient"
    description = (
        "One exponential through the chosen b-values, weighted log-linear regression. Fast and robust; perfusion at "
        "low b-values raises it."
    )
    references = ("Salvador et al., Hum Brain Mapp 2005;24:144 (weights)",)
    parameters = ("ADC", "S0")
    error_keys = ("ADC", "S0")
    smallest_number_of_bvalues = 2

    lowest: float = option("number", 0.0, "Use images with b of at least this value.", "s/mm²", lower=0.0)
    highest: float = option("number", np.inf, "Use images with b of at most this value.", "s/mm²", lower=0.0)

    def _used(self, acquisition: Acquisition) -> Array:
        return (acquisition.bvalues >= self.lowest) & (acquisition.bvalues <= self.highest)

    def problems(self, acquisition: Acquisition) -> list[Problem]:
        """Say why this acquisition cannot be fitted, and what a person should know."""
        used = self._used(acquisition)
        if not used.any():
            return [
                Problem(
                    f"No image has a b-value between {self.lowest:g} and {self.highest:g} s/mm²; widen the range.",
                    blocks=True,
                )
            ]
        said = super().problems(acquisition.select(used))
        if not said and self.lowest < 100 and acquisition.distinct[0] < 100:
            said.append(
                Problem("Images below b = 100 s/mm² are used: perfusion raises the ADC (set 'lowest' to leave it out).")
            )
        return said

    def fit_voxels(self, signal: Array, acquisition: Acquisition) -> VoxelFit:
        """Estimate voxels with signal (v, n)."""
        used = self._used(acquisition)
        acquisition = acquisition.select(used)
        b, weights, y, within = merge_repeats(signal[:, used], acquisition)
        positive = (y > 0).all(axis=0)
        line = log_linear(b, weights, np.where(positive, y, 1.0))
        S0 = np.exp(line.intercept)
        squares = weights @ (y - S0 * np.exp(-b[:, None] * line.slope)) ** 2 + within
        free = dict.fromkeys(self.parameters, np.ones(S0.size, dtype=bool))
        variance = noise_variance(squares, free, acquisition)
        blank = lambda array: np.where(positive, array, np.nan)  # noqa: E731
        return VoxelFit(
            maps={"ADC": blank(line.slope), "S0": blank(S0)},
            errors={
                "ADC": blank(np.sqrt(variance * line.slope_variance)),
                "S0": blank(S0 * np.sqrt(variance * line.intercept_variance)),
            },
            rmse=blank(np.sqrt(squares / acquisition.count)),
            status=np.where(positive, Status.OK, Status.NEGATIVE).astype(np.uint8),
        )
