"""Maps with small findings of known place: what an estimator that looks at neighbours may wipe out, smear or invent.

Tissues as in `fractal`, all with S0 = 1, so that one SNR holds everywhere. Findings lie inside one tissue, each in a
window of 9 x 9 voxels of its own:

* `lesion`: 3 x 3 voxels with twice the f of the tissue around them, everything else as there.
* `voxel`: a single voxel of much blood.
* `vessel`: a line, one voxel wide and seven long, of much and fast blood.
* `nothing`: the place of a lesion in which there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .acquisition import Acquisition
from .fractal import SEVEN_TISSUES, GaussianTissue, fractal_maps
from .noise import add_rician, sigma_of_snr
from .protocols import protocol as protocol_of
from .signal import biexponential

Array = np.ndarray
HALF = 4
"""A window reaches 4 voxels to each side of its middle."""
KINDS = ("lesion", "voxel", "vessel", "nothing")
LESION_RATIO = 2.0
"""f of a lesion / f of the tissue."""
BLOOD = {"voxel": {"f": 0.5}, "vessel": {"f": 0.45, "Dstar": 70e-3}}
"""Values of the other findings."""
_PALE = ("like muscle", "like white matter", "like grey matter", "like a tumour")
AROUND = tuple(
    GaussianTissue(tissue.name, tissue.D, tissue.f, tissue.Dstar, (1.0, 0.0))
    for tissue in SEVEN_TISSUES if tissue.name in _PALE
)  # fmt: skip
"""Tissues in which twice the f is still inside the ranges of the trained networks."""


@dataclass(frozen=True)
class Finding:
    """A finding: flat indices of the voxels `inside` it, `near` it (touching, within its window) and of the `rest` of
    its window."""

    kind: str
    inside: Array
    near: Array
    rest: Array


@dataclass(frozen=True, eq=False)
class FindingMaps:
    """A measured map with findings: `signal` (x, y, 1, n) float32; `acquisition` with sigma; `truth` key -> (x, y, 1)
    in stored units; `findings`."""

    signal: Array
    acquisition: Acquisition
    truth: dict[str, Array]
    findings: list[Finding]


def finding_maps(
    snr: float = 30.0, seed: int = 1, shape: tuple[int, int, int] = (128, 128, 1), protocol: str = "brain16"
) -> FindingMaps:
    """Draw a map, put as many findings into it as there is room for, in turn of every kind, and measure it.

    Arguments: `snr` S0 / sigma; `seed` of everything; `shape` of one slice; `protocol` name. Raises InputError for a
    shape that is no single slice of at least 32 x 32 voxels.
    """
    if len(shape) != 3 or shape[2] != 1 or min(shape[:2]) < 32:
        raise InputError(f"The maps with findings have shape {shape}; give one slice of at least 32 x 32 voxels.")
    base = fractal_maps(shape, None, seed, AROUND, protocol, lesions=0)
    truth = {key: value.copy() for key, value in base.truth.items()}
    rng = np.random.default_rng([seed, 1])
    findings = []
    for number, middle in enumerate(_middles(base.tissue[..., 0], rng)):
        kind = KINDS[number % len(KINDS)]
        finding = _finding(kind, middle, shape, rng)
        findings.append(finding)
        if kind == "lesion":
            truth["f"].reshape(-1)[finding.inside] *= LESION_RATIO
        for key, value in BLOOD.get(kind, {}).items():
            truth[key].reshape(-1)[finding.inside] = value
    sigma = sigma_of_snr(1.0, snr)
    acquisition = protocol_of(protocol).acquisition(sigma)
    signal = biexponential(acquisition.bvalues, *(truth[key].reshape(-1) for key in ("S0", "D", "f", "Dstar")))
    signal = add_rician(signal, sigma, np.random.default_rng([seed, round(1000 * snr)]))
    return FindingMaps(signal.reshape(*shape, -1).astype(np.float32), acquisition, truth, findings)


def _middles(tissue: Array, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Choose middles of windows that lie in one tissue and do not touch each other."""
    free = np.zeros(tissue.shape, dtype=bool)
    free[HALF:-HALF, HALF:-HALF] = True
    found = []
    for flat in rng.permutation(np.flatnonzero(free)):
        x, y = divmod(int(flat), tissue.shape[1])
        window = (slice(x - HALF, x + HALF + 1), slice(y - HALF, y + HALF + 1))
        if free[x, y] and (tissue[window] == tissue[x, y]).all():
            found.append((x, y))
            free[max(0, x - 2 * HALF - 1) : x + 2 * HALF + 2, max(0, y - 2 * HALF - 1) : y + 2 * HALF + 2] = False
    return found


def _finding(kind: str, middle: tuple[int, int], shape: tuple[int, int, int], rng: np.random.Generator) -> Finding:
    extent = {"lesion": (1, 1), "nothing": (1, 1), "voxel": (0, 0)}.get(kind)
    if extent is None:
        extent = (0, 3) if rng.random() < 0.5 else (3, 0)
    x, y = np.meshgrid(*(np.arange(m - HALF, m + HALF + 1) for m in middle), indexing="ij")
    beyond = np.maximum(np.abs(x - middle[0]) - extent[0], np.abs(y - middle[1]) - extent[1])
    flat = np.ravel_multi_index((x, y, np.zeros_like(x)), shape)
    return Finding(kind, flat[beyond <= 0], flat[beyond == 1], flat[beyond > 1])
