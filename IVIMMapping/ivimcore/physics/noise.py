"""Noise of magnitude images: how it is added, and how it is measured.

SNR is S(b=0) / sigma, with sigma the standard deviation of each of the two complex Gaussian channels. The magnitude of
their sum is Rician: Gudbjartsson and Patz, Magn Reson Med 1995;34:910.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ..errors import InputError
from .acquisition import Acquisition

Array = np.ndarray

FASTEST_DECAY = 0.3
"""Upper end of the decay rates that tissue and blood can show [mm²/s]: the upper bound of D*."""
DECAY_SHARE = 0.4
"""Largest share of sigma that the worst decay may leave outside the basis; less than 3 % of sigma where f < 0.6."""
SMALLEST_NOISE = 1e-6
"""Smallest sigma that is called noise [share of the signal]: below lies the rounding of single precision."""
ENOUGH_REPEATS = 3
"""Degrees of freedom within groups of equal b from which repeats are preferred to residuals of decays."""
ENOUGH_VALUES = 20
"""Degrees of freedom over all voxels below which no standard deviation is stated (its error would exceed 15 %)."""
VOXELS_USED = 20_000
"""Voxels that enter the median: its error is then below 1 %, and more only cost time."""


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """What the images say about their noise.

    `sigma`: standard deviation of each complex channel [signal units], or None where it cannot be told; `method`: one
    sentence for a person, how it was found or why it was not; `per_voxel`: (v,) estimate of every voxel alone
    [signal units], NaN in voxels left out, or None.
    """

    sigma: float | None
    method: str
    per_voxel: Array | None = None


def sigma_of_snr(S0: float, snr: float) -> float:
    """Compute sigma from the definition SNR = S(b=0) / sigma.

    Arguments: `S0` signal at b = 0 [signal units]; `snr` [1], positive.
    Returns: standard deviation of each complex channel [signal units].
    Raises InputError for an SNR that is not positive.
    """
    if not snr > 0:
        raise InputError(f"The SNR is {snr}; give a positive number.")
    return S0 / snr


def add_gaussian(signal: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Add Gaussian noise, as real-valued (phase-corrected) images have it.

    Arguments: `signal` (...) and `sigma` [signal units]; `rng` source of the random numbers.
    Returns: noisy signal (...) [signal units], negative values included.
    """
    signal = np.asarray(signal, dtype=float)
    return signal + sigma * rng.standard_normal(signal.shape)


def add_rician(signal: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Add complex Gaussian noise and take the magnitude, as magnitude images have it.

    Arguments: `signal` (...) and `sigma`, of each complex channel [signal units]; `rng` source of the random numbers.
    Returns: noisy signal (...) [signal units], never negative.
    Source: Gudbjartsson and Patz, Magn Reson Med 1995;34:910, eq. 1.
    """
    signal = np.asarray(signal, dtype=float)
    real = signal + sigma * rng.standard_normal(signal.shape)
    imaginary = sigma * rng.standard_normal(signal.shape)
    return np.hypot(real, imaginary)


def decay_bases(bvalues: Array) -> list[tuple[Array, float]]:
    """Find nested bases of the space in which sums of decays exp(-b*r) lie, r from 0 to 0.3 mm²/s.

    They are the leading singular vectors of a table of decays.

    Arguments: `bvalues` (n,) [s/mm²].
    Returns: for each rank 1 .. n-1 the orthonormal columns (n, rank), and what a decay of the table leaves outside at
    worst, root mean square per remaining direction [share of S0].
    """
    rates = np.concatenate([[0.0], np.geomspace(1e-4, FASTEST_DECAY, 200)])
    decays = np.exp(-np.outer(bvalues, rates))
    vectors, _, _ = np.linalg.svd(decays, full_matrices=True)
    found = []
    for rank in range(1, bvalues.size):
        outside = vectors[:, rank:].T @ decays
        found.append((vectors[:, :rank], float(np.sqrt((outside**2).sum(axis=0).max() / (bvalues.size - rank)))))
    return found


def estimate_sigma(signal: Array, acquisition: Acquisition) -> NoiseEstimate:
    """Measure the noise level from the images themselves.

    Images of equal b differ by noise only, so repeats are used where there are enough of them: those at the smallest b
    first, because images of other b may differ by diffusion direction. Otherwise the residual outside the space of
    sums of decays is noise whatever the tissue is. Either way the signal is split by a projection; the residual of each
    voxel is divided by its expectation, which for magnitude data includes the smaller variance of weak signals (Koay
    and Basser, J Magn Reson 2006;179:317, eq. 10), and the median over voxels is taken.

    Arguments: `signal` (v, n) [signal units]; `acquisition` of its n images. Voxels with a value that is not finite or
    not positive are left out. Choose tissue voxels: vessels and moving borders are outvoted by the median, not by more.
    Returns: NoiseEstimate; `sigma` is None, with the reason, where the images cannot tell.
    Raises InputError where signal and acquisition do not fit.
    """
    signal = np.asarray(signal)
    if signal.ndim != 2 or signal.shape[1] != acquisition.count:
        raise InputError(
            f"The noise estimate needs voxels x images with {acquisition.count} images, "
            f"but this array has shape {signal.shape}."
        )
    usable = np.isfinite(signal).all(axis=1) & (signal > 0).all(axis=1)
    index = np.flatnonzero(usable)
    images, bases, what = _split(acquisition)
    freedom = images.size - bases[0][0].shape[1] if bases else 0
    if index.size * freedom < ENOUGH_VALUES:
        return NoiseEstimate(None, _too_few(acquisition, index.size, freedom))
    chosen = signal[index[:: max(1, index.size // VOXELS_USED)]].astype(float)
    level = float(np.median(chosen.max(axis=1)))
    for basis, outside in bases:
        sigma = _median_sigma(chosen[:, images], basis)
        if outside * level <= DECAY_SHARE * sigma:
            break
    else:
        return NoiseEstimate(None, _too_few(acquisition, index.size, 0))
    if not sigma > SMALLEST_NOISE * level:
        return NoiseEstimate(None, f"No noise is found: {what} agree to rounding.")
    per_voxel = np.full(signal.shape[0], np.nan)
    per_voxel[index] = np.sqrt(_variance(signal[index][:, images].astype(float), basis, sigma))
    return NoiseEstimate(sigma, f"Estimated from {what} in {chosen.shape[0]} voxels (median over voxels).", per_voxel)


def _split(acquisition: Acquisition) -> tuple[Array, list[tuple[Array, float]], str]:
    """Choose the images, the bases of their noise-free part with what each leaves out, and the words for it."""
    bvalues, group = acquisition.groups()
    lowest = np.flatnonzero(group == 0)
    if lowest.size > ENOUGH_REPEATS:
        basis = np.full((lowest.size, 1), lowest.size**-0.5)
        return lowest, [(basis, 0.0)], f"{lowest.size} repeated images at b = {bvalues[0]:g} s/mm²"
    images = np.arange(acquisition.count)
    if acquisition.directions is None and acquisition.count - bvalues.size >= ENOUGH_REPEATS:
        basis = np.eye(bvalues.size)[group]
        basis /= np.linalg.norm(basis, axis=0)
        return images, [(basis, 0.0)], f"the repeats among {acquisition.count} images of {bvalues.size} b-values"
    return images, decay_bases(acquisition.bvalues), f"the part of {acquisition.count} images that no decay explains"


def _too_few(acquisition: Acquisition, voxels: int, freedom: int) -> str:
    if freedom and voxels * freedom < ENOUGH_VALUES:
        return f"The noise level cannot be told: only {voxels} voxels have a positive signal in every image."
    return (
        f"The noise level cannot be told: {acquisition.count} images of {acquisition.distinct.size} b-values are too "
        "few to separate noise from decay. Give sigma, or measure b = 0 four times."
    )


def _variance(signal: Array, basis: Array, sigma: float | None) -> Array:
    """Divide the squared residual of each voxel (v, n) by its expectation at sigma = 1, Gaussian without sigma."""
    smooth = (signal @ basis) @ basis.T
    squares = ((signal - smooth) ** 2).sum(axis=1)
    share = 1.0 - (basis**2).sum(axis=1)
    if sigma is None:
        return squares / share.sum()
    means, variances = _rician_table()
    return squares / (np.interp(np.abs(smooth) / sigma, means, variances) @ share)


def _median_sigma(signal: Array, basis: Array, rounds: int = 30) -> float:
    """Find sigma by fixed-point iteration: the correction for weak signals needs the sigma that it corrects."""
    freedom = signal.shape[1] - basis.shape[1]
    # The squared residual is chi-square distributed; its median lies below its mean, much so at few degrees of freedom.
    # The median of a chi-square variable; scipy.stats says the same, but takes half a second to import.
    median_to_mean = 2 * scipy.special.gammaincinv(freedom / 2, 0.5) / freedom
    sigma = None
    for _ in range(rounds):
        before = sigma
        sigma = float(np.sqrt(np.median(_variance(signal, basis, sigma)) / median_to_mean))
        if sigma == 0 or (before is not None and abs(sigma - before) < 1e-4 * sigma):
            break
    return sigma


def _rician_table() -> tuple[Array, Array]:
    """Tabulate mean and variance of a Rician variable of sigma = 1 for amplitudes 0 to 12 (then Gaussian)."""
    amplitude = np.linspace(0.0, 12.0, 600)
    half = amplitude**2 / 4
    # ive carries exp(-half), so that exp(-amplitude²/2) * I² stays finite for every amplitude.
    bessel = (1 + 2 * half) * scipy.special.ive(0, half) + 2 * half * scipy.special.ive(1, half)
    mean = np.sqrt(np.pi / 2) * bessel
    return mean, 2 + amplitude**2 - mean**2
