"""The noise level from the background, and the choice between this and what the images of the tissue say.

Where there is no signal, magnitude images hold Rayleigh noise, whose mean square is 2 sigma². This needs no repeats and
no model of the decay, but a background that is really there: scanners write zeros, filter it, or combine coils so that
it is no longer Rayleigh; and where coils are combined in parallel imaging, the noise in the tissue is another. So the
shape is tested, and the images of the tissue are preferred where they can tell.
"""

from __future__ import annotations

import numpy as np
import scipy

from ..errors import InputError
from .acquisition import Acquisition
from .noise import NoiseEstimate, estimate_sigma

Array = np.ndarray

CONFIDENCE = 0.99
"""Share of the noise-only voxels whose mean square over the images is accepted as noise."""
LEAST_VOXELS, LEAST_SHARE = 100, 0.005
"""Fewer noise-only voxels, alone or of all, may be an accident in tissue."""
LARGEST_DISTANCE = 0.04
"""Largest distance between the distribution of the background and Rayleigh's (Kolmogorov and Smirnov)."""
STARTS = 40
VOXELS_USED = 60_000
METHODS = ("auto", "images", "background")


def background_sigma(signal: Array) -> NoiseEstimate:
    """Measure the noise level in the voxels that hold nothing but noise in every image.

    A voxel is noise if its mean square over the images is what 2 sigma² allows; sigma in turn is that of these voxels
    (root mean square / sqrt(2)). The fixed points of this rule are found from many starts (Koay, Özarslan and
    Pierpaoli, J Magn Reson 2009;199:94); of those in which the values are distributed like Rayleigh's, the one with
    most voxels is taken.

    Arguments: `signal` (..., n) of the whole field of view, not only of the tissue [signal units]. Voxels with NaN, and
    those that are zero in any image, are left out.
    Returns: NoiseEstimate; `sigma` is None, with the reason, where there is no such background.
    """
    rows = np.asarray(signal).reshape(-1, np.shape(signal)[-1])
    total = rows.shape[0]
    rows = rows[:: max(1, total // VOXELS_USED)].astype(float)
    looked_at = rows.shape[0]
    rows = rows[np.isfinite(rows).all(axis=1) & (rows > 0).all(axis=1)]
    least = max(LEAST_VOXELS, LEAST_SHARE * looked_at)
    if rows.shape[0] < least:
        return NoiseEstimate(None, "The background was set to zero or is not in the images: it holds no noise.")
    half = np.sqrt((rows**2).mean(axis=1) / 2)
    count = rows.shape[1]
    low, high = np.sqrt(scipy.special.gammaincinv(count, (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)) / count)
    best, chosen = None, None
    for start in np.geomspace(half.min(), np.median(half), STARTS):
        sigma, noise = _fixed_point(half, start, low, high)
        if noise.sum() < least or (chosen is not None and noise.sum() <= chosen.sum()):
            continue
        # The lower half must say the same: where it does not, the noise differs from place to place.
        corrected = _from_lower_half(half, sigma, count)
        same = (half > low * corrected) & (half < high * corrected)
        if same.sum() >= least and max(
            rayleigh_distance(rows[noise], sigma), rayleigh_distance(rows[same], corrected)
        ) < LARGEST_DISTANCE:
            best, chosen = corrected, noise
    if best is None:
        return NoiseEstimate(
            None, "The background cannot be used: nowhere are the values distributed like pure noise (it was filtered, "
            "averaged or set to zero, or tissue fills the images)."
        )
    return NoiseEstimate(best, f"Estimated from the background ({chosen.sum()} voxels with nothing but noise, of "
                         f"{looked_at} looked at).")


def _fixed_point(half: Array, sigma: float, low: float, high: float, rounds: int = 50) -> tuple[float, Array]:
    """Repeat: which voxels are noise of this sigma, and what sigma have they; `half` (v,) is sqrt(mean square / 2)."""
    noise = np.zeros(half.size, dtype=bool)
    for _ in range(rounds):
        before, noise = sigma, (half > low * sigma) & (half < high * sigma)
        if not noise.any():
            break
        sigma = float(np.sqrt((half[noise] ** 2).mean()))
        if abs(sigma - before) < 1e-4 * sigma:
            break
    return sigma, noise


def _from_lower_half(half: Array, sigma: float, count: int, rounds: int = 50) -> float:
    """Correct sigma for voxels of very weak signal among the noise: they lie above, so only the lower half is used."""
    middle = scipy.special.gammaincinv(count, 0.5) / count
    # The mean of a gamma variable below a limit is that of the next higher order, per share below the limit.
    expected = scipy.special.gammainc(count + 1, middle * count) / 0.5
    for _ in range(rounds):
        before = sigma
        lower = half[half < np.sqrt(middle) * sigma]
        if lower.size < LEAST_VOXELS // 2:
            return before
        sigma = float(np.sqrt((lower**2).mean() / expected))
        if abs(sigma - before) < 1e-4 * sigma:
            break
    return sigma


def rayleigh_distance(values: Array, sigma: float) -> float:
    """Compute the largest difference between the distribution of values and Rayleigh's of this sigma.

    Arguments: `values` (...) and `sigma` [signal units]. Values rounded to integers are taken as the middle of what
    they stand for.
    Returns: distance 0 .. 1.
    """
    distinct, counts = np.unique(values, return_counts=True)
    share = (np.cumsum(counts) - counts / 2) / counts.sum()
    return float(np.abs(share - (1 - np.exp(-((distinct / sigma) ** 2) / 2))).max())


def measure_noise(
    signal: Array, acquisition: Acquisition, mask: Array | None = None, method: str = "auto"
) -> NoiseEstimate:
    """Measure the noise level of a series by the best method that works on it; the estimate names it.

    Repeats and residuals (`estimate_sigma`) measure the noise where the tissue is and come first; the background is
    for series with too few images for that.

    Arguments: `signal` (x, y, z, n) [signal units]; `acquisition` of its n images; `mask` (x, y, z) of bool, the
    tissue, None for all voxels; `method` "auto", "images" (repeats, else residuals) or "background".
    Returns: NoiseEstimate; `per_voxel` only from the images, (v,) for the voxels of the mask.
    Raises InputError for an unknown method, and where signal and acquisition do not fit.
    """
    if method not in METHODS:
        raise InputError(f"Unknown method '{method}' of measuring noise; choose one of {', '.join(METHODS)}.")
    signal = np.asarray(signal)
    if method == "background":
        return background_sigma(signal)
    tissue = signal.reshape(-1, signal.shape[-1]) if mask is None else signal[np.asarray(mask, dtype=bool)]
    found = estimate_sigma(tissue, acquisition)
    if found.sigma is not None or method == "images":
        return found
    background = background_sigma(signal)
    if background.sigma is None:
        return NoiseEstimate(None, f"{found.method} {background.method}")
    return background
