"""The naive way to use neighbours, as a measure for the others: least squares of the mean of 3 x 3 voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from ..estimators import create
from ..physics.acquisition import Acquisition

Array = np.ndarray
LABEL = "nlls of the 3 x 3 mean"
WIDTH = 3


@dataclass(frozen=True)
class NeighbourMean:
    """Least squares of the mean signal of the voxels around, those of the region alone."""

    def fit(self, signal: Array, acquisition: Acquisition, mask: Array | None = None) -> Any:
        """Fit a volume (x, y, z, n) as `Estimator.fit` does."""
        region = np.ones(signal.shape[:3], dtype=bool) if mask is None else np.asarray(mask) != 0
        region = region & np.isfinite(signal).all(-1)
        size = (WIDTH, WIDTH, 1)
        share = uniform_filter(region.astype(float), size, mode="constant")
        total = uniform_filter(np.where(region[..., None], signal, 0.0), (*size, 1), mode="constant")
        mean = np.where(region[..., None], total / np.maximum(share, 1e-9)[..., None], np.nan)
        sigma = None if acquisition.sigma is None else acquisition.sigma / WIDTH
        return create("nlls").fit(mean, replace(acquisition, sigma=sigma), mask)
