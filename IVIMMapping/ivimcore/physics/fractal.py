"""Maps whose truth is spatially correlated: tissues with ragged borders, and slow fractal variation inside them.

Fractal noise has a power spectrum 1 / k^beta, as parameters inside a real tissue have it approximately: neighbours are
alike, and there is structure on every scale (Kaandorp, thesis, Paper III: 128 x 128 maps of fractal noise as a test set
for networks that look at neighbourhoods). Each tissue has Gaussian values of its own; the borders stay sharp.

Lesions of 3 x 3 voxels with a raised f are the rare finding; beside them stand marked places of the same kind in which
there is nothing, where a contrast is a false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .acquisition import Acquisition
from .noise import add_rician, sigma_of_snr
from .protocols import protocol as protocol_of
from .signal import biexponential

Array = np.ndarray
KEYS = ("D", "f", "Dstar", "S0")
LESION_RATIO = 1.79
"""Mean f of a lesion / mean f of the ring around it."""
LESION_HALF, RING_HALF = 1, 3
"""A lesion reaches 1 voxel to each side of its centre (3 x 3), its ring 3 voxels (7 x 7 without the 3 x 3)."""
SMALLEST = {"D": 0.1e-3, "f": 0.005, "Dstar": 3e-3, "S0": 0.1}
"""Values below these [stored units; S0 relative] are no tissue: the tails of the Gaussian values end here."""


@dataclass(frozen=True)
class GaussianTissue:
    """One tissue: mean and standard deviation of D, Dstar [mm²/s], f [1] and S0 (relative) inside it."""

    name: str
    D: tuple[float, float]
    f: tuple[float, float]
    Dstar: tuple[float, float]
    S0: tuple[float, float]


BRAIN_LIKE = (
    GaussianTissue("white matter", (0.60e-3, 0.03e-3), (0.050, 0.006), (12e-3, 1.5e-3), (1.00, 0.04)),
    GaussianTissue("grey matter", (0.80e-3, 0.04e-3), (0.085, 0.010), (18e-3, 2.5e-3), (1.15, 0.05)),
    GaussianTissue("deep grey matter", (0.70e-3, 0.03e-3), (0.065, 0.008), (25e-3, 3.0e-3), (1.05, 0.04)),
    GaussianTissue("oedema", (1.05e-3, 0.05e-3), (0.040, 0.006), (9e-3, 1.2e-3), (1.30, 0.06)),
)
"""Rounded values inside the ranges of the benchmark `brain`; they define the maps and are no reference for patients."""

SEVEN_TISSUES = (
    GaussianTissue("like muscle", (1.50e-3, 0.09e-3), (0.10, 0.014), (25e-3, 3.5e-3), (0.12, 0.012)),
    GaussianTissue("like white matter", (0.70e-3, 0.05e-3), (0.08, 0.012), (15e-3, 2.2e-3), (0.20, 0.018)),
    GaussianTissue("like grey matter", (0.85e-3, 0.06e-3), (0.13, 0.018), (20e-3, 3.0e-3), (0.32, 0.025)),
    GaussianTissue("like liver", (1.05e-3, 0.08e-3), (0.28, 0.030), (65e-3, 8.0e-3), (0.42, 0.035)),
    GaussianTissue("like a tumour", (1.25e-3, 0.09e-3), (0.20, 0.025), (35e-3, 5.0e-3), (0.52, 0.040)),
    GaussianTissue("like kidney", (1.95e-3, 0.12e-3), (0.25, 0.030), (40e-3, 5.0e-3), (0.70, 0.050)),
    GaussianTissue("like fluid", (2.60e-3, 0.10e-3), (0.06, 0.010), (10e-3, 1.5e-3), (0.88, 0.035)),
)
"""Tissues of very different signal, as those of a body are: at SNR 200 for S0 = 1 they have SNR 24 to 176. Rounded
values inside the ranges of Paper II; they define the maps of the benchmark `fractal`."""


@dataclass(frozen=True, eq=False)
class FractalMaps:
    """Measured maps with their truth.

    `signal` (x, y, z, n) float32 [S0 of the reference tissue = 1]; `acquisition` of the n images, with sigma; `truth`
    key -> (x, y, z) in stored units; `tissue` (x, y, z) uint8, index into the table of tissues; `lesions` and `shams`
    (m, 3) voxel indices of the centres of lesions and of places in which there is none; `sigma` [signal units].
    """

    signal: Array
    acquisition: Acquisition
    truth: dict[str, Array]
    tissue: Array
    lesions: Array
    shams: Array
    sigma: float

    @property
    def lesion_mask(self) -> Array:
        """The voxels of all lesions (x, y, z) of bool."""
        mask = np.zeros(self.tissue.shape, dtype=bool)
        for centre in self.lesions:
            mask[block(centre, LESION_HALF, mask.shape)] = True
        return mask


def fractal_noise(shape: tuple[int, ...], beta: float, rng: np.random.Generator) -> Array:
    """Draw Gaussian noise with the power spectrum 1 / k^beta.

    Arguments: `shape` of the grid, two or three axes, those of one voxel are left out; `beta` 0 white, 2 rough, 4
    smooth; `rng` source of the random numbers.
    Returns: noise (shape) of mean 0 and standard deviation 1, periodic at the borders.
    """
    return fractal_fields(shape, np.array([beta]), rng)[0]


def fractal_fields(shape: tuple[int, ...], beta: Array, rng: np.random.Generator) -> Array:
    """Draw several independent fields of `fractal_noise` at once, each with its own exponent.

    Arguments: as there, but `beta` (m,). Returns: noise (m, *shape).
    """
    used = [n for n in shape if n > 1]
    frequencies = [np.fft.fftfreq(n) for n in used[:-1]] + [np.fft.rfftfreq(used[-1])]
    squared = sum(k**2 for k in np.meshgrid(*frequencies, indexing="ij", sparse=True))
    squared.flat[0] = np.inf  # the mean is no structure
    axes = tuple(range(1, len(used) + 1))
    power = squared ** (-beta.reshape(-1, *[1] * len(used)) / 4)
    spectrum = np.fft.rfftn(rng.standard_normal((beta.size, *used)), axes=axes) * power
    noise = np.fft.irfftn(spectrum, s=used, axes=axes)
    return (noise / noise.std(axis=axes, keepdims=True)).reshape(beta.size, *shape)


def block(centre: Array, half: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the slices of 2 half + 1 voxels in x and y around a centre, and of at most 3 slices in z."""
    reach = (half, half, LESION_HALF)
    return tuple(slice(max(c - r, 0), min(c + r + 1, n)) for c, r, n in zip(centre, reach, shape, strict=True))


def lesion_and_ring(centre: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the masks (x, y, z) of a lesion and of the ring around it in the same slices."""
    lesion, ring = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    lesion[block(centre, LESION_HALF, shape)] = True
    ring[block(centre, RING_HALF, shape)] = True
    return lesion, ring & ~lesion


def fractal_maps(
    shape: tuple[int, int, int] = (128, 128, 1),
    snr: float | None = 40.0,
    seed: int = 1,
    tissues: tuple[GaussianTissue, ...] = BRAIN_LIKE,
    protocol: str | Acquisition = "brain16",
    lesions: int = 8,
    ratio: float = LESION_RATIO,
    tissue_beta: float = 3.4,
    value_beta: float = 3.0,
) -> FractalMaps:
    """Draw tissues, values and lesions, and measure them with Rician noise.

    A voxel belongs to the tissue whose own field of fractal noise is largest there, so that any two tissues can touch
    and their borders are ragged on every scale. Lesions lie inside one tissue, at least a ring apart; their f is
    `ratio` times the mean of their ring, everything else in them is that of the tissue.

    Arguments: `shape` of the grid, at least 32 x 32 x 1; `snr` S0 / sigma of a voxel with S0 = 1 [1], None without
    noise; `seed` of everything (the truth is the same at every SNR); `tissues` table of values; `protocol` name or
    acquisition; `lesions` wanted, and three times as many places without one (fewer where tissues leave no room);
    `ratio` of f; `tissue_beta` and `value_beta` exponents of the spectra of borders and values.
    Returns: FractalMaps. Raises InputError for a shape that is too small.
    """
    if len(shape) != 3 or min(shape[:2]) < 32 or shape[2] < 1:
        raise InputError(f"The fractal maps have shape {shape}; give three numbers, at least 32 x 32 x 1 voxels.")
    acquisition = protocol if isinstance(protocol, Acquisition) else protocol_of(protocol).acquisition()
    rng = np.random.default_rng(seed)
    fields = [fractal_noise(shape, tissue_beta, rng) for _ in tissues]
    tissue = np.argmax(fields, axis=0).astype(np.uint8)
    truth = {}
    for key in KEYS:
        mean, spread = np.array([getattr(one, key) for one in tissues]).T
        # Each parameter varies on its own, and more than three standard deviations away it would be another tissue.
        variation = np.clip(fractal_noise(shape, value_beta, rng), -3, 3)
        truth[key] = np.maximum(mean[tissue] + spread[tissue] * variation, SMALLEST[key])
    centres = _places(tissue, 4 * lesions, rng)
    # A quarter of the places found, whatever their number, so that lesions and empty places have the same chance.
    count = min(lesions, -(-len(centres) // 4))
    for centre in centres[:count]:
        lesion, ring = lesion_and_ring(centre, shape)
        truth["f"][lesion] = ratio * truth["f"][ring].mean()
    signal = biexponential(acquisition.bvalues, *(truth[key].reshape(-1) for key in ("S0", "D", "f", "Dstar")))
    sigma = 0.0 if snr is None else sigma_of_snr(1.0, snr)
    if sigma:
        signal = add_rician(signal, sigma, np.random.default_rng([seed, round(1000 * snr)]))
        acquisition = Acquisition(acquisition.bvalues, directions=acquisition.directions, sigma=sigma)
    return FractalMaps(
        signal.reshape(*shape, -1).astype(np.float32), acquisition, truth, tissue, centres[:count], centres[count:],
        sigma,
    )


def _places(tissue: Array, wanted: int, rng: np.random.Generator) -> Array:
    """Choose centres (m, 3) whose ring lies in one tissue and inside the grid, and whose rings do not touch."""
    shape = tissue.shape
    free = np.zeros(shape, dtype=bool)
    deep = min(LESION_HALF, (shape[2] - 1) // 2)
    free[RING_HALF : shape[0] - RING_HALF, RING_HALF : shape[1] - RING_HALF, deep : shape[2] - deep] = True
    found = []
    for flat in rng.permutation(np.flatnonzero(free)):
        if len(found) == wanted:
            break
        centre = np.array(np.unravel_index(flat, shape))
        around = block(centre, RING_HALF, shape)
        if free[tuple(centre)] and (tissue[around] == tissue[tuple(centre)]).all():
            found.append(centre)
            # Two rings must not share a voxel: the next centre is at least two half widths away.
            free[tuple(slice(max(c - r, 0), c + r + 1) for c, r in
                       zip(centre, (2 * RING_HALF, 2 * RING_HALF, 2 * deep), strict=True))] = False
    return np.array(found, dtype=int).reshape(-1, 3)
