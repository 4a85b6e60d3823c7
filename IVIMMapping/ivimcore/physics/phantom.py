"""Digital reference objects: an abdomen and a brain whose D, f, D* and S0 are known in every voxel.

The tissues carry rounded, plausible values (abdomen: near Barbieri et al., Magn Reson Med 2016;75:2175; brain: D 0.4e-3
to 1.2e-3 mm²/s, f 0.02 to 0.15, D* 5e-3 to 50e-3 mm²/s, fluid aside). They define the object; they are no reference
for patients. The lesion is 3 x 3 x 3 voxels whatever the shape: the rare finding that smoothing
and learned priors wipe out first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from ..errors import InputError
from .acquisition import Acquisition
from .noise import add_rician, sigma_of_snr
from .parameters import PARAMETERS
from .protocols import protocol as protocol_of
from .signal import biexponential

Array = np.ndarray
REFERENCE_SIGNAL = 1000.0
"""S0 of the tissue to which SNR refers (relative S0 = 1 in the tables below) [signal units]."""
KEYS = ("D", "f", "Dstar", "S0")


@dataclass(frozen=True)
class Tissue:
    """One labelled region: D and Dstar [mm²/s], f [1], S0 relative to the reference tissue [1]."""

    label: int
    name: str
    D: float
    f: float
    Dstar: float
    S0: float


ABDOMEN = (
    Tissue(1, "soft tissue", 1.30e-3, 0.06, 20e-3, 0.45),
    Tissue(2, "fat", 0.50e-3, 0.02, 12e-3, 0.16),
    Tissue(3, "muscle", 1.50e-3, 0.08, 25e-3, 0.60),
    Tissue(4, "vertebra", 0.60e-3, 0.10, 20e-3, 0.50),
    Tissue(5, "liver", 1.10e-3, 0.23, 70e-3, 1.00),
    Tissue(6, "spleen", 0.85e-3, 0.12, 45e-3, 1.45),
    Tissue(7, "kidney cortex", 2.00e-3, 0.22, 40e-3, 1.60),
    Tissue(8, "kidney medulla", 1.70e-3, 0.14, 25e-3, 1.40),
    Tissue(9, "pancreas", 1.40e-3, 0.20, 35e-3, 1.15),
    Tissue(10, "vessel", 2.20e-3, 0.40, 95e-3, 0.85),
    Tissue(11, "gallbladder", 2.70e-3, 0.02, 10e-3, 1.80),
    Tissue(12, "liver metastasis", 1.40e-3, 0.09, 30e-3, 1.30),
    Tissue(13, "lesion", 1.00e-3, 0.41, 90e-3, 1.10),
    Tissue(14, "bowel", 1.80e-3, 0.15, 30e-3, 0.85),
)
BRAIN = (
    Tissue(1, "white matter", 0.70e-3, 0.05, 12e-3, 1.00),
    Tissue(2, "grey matter", 0.80e-3, 0.08, 15e-3, 1.25),
    Tissue(3, "cerebrospinal fluid", 2.80e-3, 0.02, 8e-3, 2.20),
    Tissue(4, "deep grey matter", 0.75e-3, 0.10, 20e-3, 1.15),
    Tissue(5, "tumour", 1.15e-3, 0.13, 30e-3, 1.45),
    Tissue(6, "lesion", 0.70e-3, 0.09, 12e-3, 1.05),
)


@dataclass(frozen=True, eq=False)
class Phantom:
    """A measured object with its truth.

    `signal` (x, y, z, n) float32 [signal units]; `affine` (4, 4) voxel index to RAS [mm]; `acquisition` of the n images
    (without sigma, as measured data come); `truth` key -> (x, y, z) in stored units, NaN in the background; `labels`
    (x, y, z) uint8, 0 is background; `names` of the labels; `sigma` of each complex channel [signal units], 0 without
    noise.
    """

    signal: Array
    affine: Array
    acquisition: Acquisition
    truth: dict[str, Array]
    labels: Array
    names: dict[int, str]
    sigma: float

    @property
    def mask(self) -> Array:
        """Every voxel of the object (x, y, z) of bool."""
        return self.labels > 0


def abdomen(tissues: tuple[Tissue, ...] = ABDOMEN, **options) -> Phantom:
    """Build a body with liver, spleen, kidneys, pancreas, vessels, a metastasis and a 3 x 3 x 3 voxel lesion.

    Arguments: `tissues` with other values, such as those of a later date; those of `build`, by keyword.
    """
    return build(tissues, _draw_abdomen, **{"protocol": "abdomen12", "field_of_view": 380.0, **options})


def brain(**options) -> Phantom:
    """Build a brain with white, grey and deep grey matter, fluid, a tumour and a 3 x 3 x 3 voxel lesion.

    The f of the lesion is 1.8 times that of the white matter around it.

    Arguments: those of `build`, by keyword.
    """
    return build(BRAIN, _draw_brain, **{"protocol": "brain16", "field_of_view": 230.0, **options})


def build(
    tissues: tuple[Tissue, ...],
    draw: Callable[[Array, Array, Array], Array],
    shape: tuple[int, int, int] = (96, 96, 8),
    protocol: str | Acquisition = "abdomen12",
    snr: float | None = 40.0,
    variation: float = 0.06,
    oblique: bool = False,
    field_of_view: float = 380.0,
    thickness: float = 5.0,
    seed: int = 1,
) -> Phantom:
    """Draw labels, give every tissue its values, and measure it.

    Arguments: `tissues` table of values; `draw` from coordinates x (left of the picture to right), y (front to back)
    and z (feet to head), each (x, y, z) in -1..1, to labels; `shape` of the grid; `protocol` name or acquisition; `snr`
    S(b=0) of the reference tissue / sigma, None without noise; `variation` relative standard deviation of slow changes
    inside the tissue [1], 0 for constant tissue; `oblique` tilts the grid and makes its three spacings different;
    `field_of_view` and `thickness` [mm]; `seed` of variation and noise.
    Returns: Phantom. The background has no signal, only noise.
    Raises InputError for a shape that cannot hold the lesion, and for an unknown protocol.
    """
    if len(shape) != 3 or min(shape[:2]) < 32 or shape[2] < 1:
        raise InputError(f"The phantom has shape {shape}; give three numbers, at least 32 x 32 x 1 voxels.")
    rng = np.random.default_rng(seed)
    acquisition = protocol if isinstance(protocol, Acquisition) else protocol_of(protocol).acquisition()
    axes = [(np.arange(n) + 0.5) / n * 2 - 1 for n in shape]
    labels = draw(*np.meshgrid(*axes, indexing="ij")).astype(np.uint8)
    truth = _truth(tissues, labels, variation, rng)
    inside = labels > 0
    signal = np.zeros((*shape, acquisition.count))
    signal[inside] = biexponential(acquisition.bvalues, *(truth[key][inside] for key in ("S0", "D", "f", "Dstar")))
    sigma = 0.0 if snr is None else sigma_of_snr(REFERENCE_SIGNAL, snr)
    if sigma:
        signal = add_rician(signal, sigma, rng)
    present = set(np.unique(labels))
    names = {tissue.label: tissue.name for tissue in tissues if tissue.label in present}
    affine = _affine(shape, field_of_view, thickness, oblique)
    return Phantom(signal.astype(np.float32), affine, acquisition, truth, labels, names, sigma)


def _truth(tissues: tuple[Tissue, ...], labels: Array, variation: float, rng: np.random.Generator) -> dict[str, Array]:
    """Spread the values of the tissues over the grid, with a slow relative change of its own for each parameter."""
    truth = {}
    for key in KEYS:
        table = np.full(256, np.nan)
        for tissue in tissues:
            table[tissue.label] = getattr(tissue, key) * (REFERENCE_SIGNAL if key == "S0" else 1.0)
        # A width of a twelfth of the grid: a tissue holds a few hills and valleys, and no two neighbours differ much.
        widths = [max(n / 12, 0.1) for n in labels.shape]
        hills = scipy.ndimage.gaussian_filter(rng.standard_normal(labels.shape), widths, mode="wrap")
        hills *= variation / hills.std()
        low, high = PARAMETERS[key].bounds or (0.0, np.inf)
        truth[key] = np.clip(table[labels] * (1 + np.clip(hills, -0.5, 0.5)), low, high).astype(np.float32)
    return truth


def _affine(shape: tuple[int, int, int], field_of_view: float, thickness: float, oblique: bool) -> Array:
    """Place the grid around the scanner's centre: i to the patient's left, j to the back, k to the head."""
    spacing = np.array([field_of_view / shape[0], field_of_view / shape[1], thickness])
    turn = np.eye(3)
    if oblique:
        spacing *= (1.0, 1.1, 1.3)
        a, b = np.deg2rad(17.0), np.deg2rad(-9.0)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        turn = about_z @ about_x
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing * (-1, -1, 1))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _blob(x: Array, y: Array, centre: tuple, radii: tuple, angle: float = 0.0, waves: tuple = ()) -> Array:
    """Fill an ellipse turned by `angle` [degrees] whose border waves by (order, amplitude, phase [rad])."""
    turn = np.deg2rad(angle)
    dx, dy = x - centre[0], y - centre[1]
    u, v = dx * np.cos(turn) + dy * np.sin(turn), -dx * np.sin(turn) + dy * np.cos(turn)
    around = np.arctan2(v / radii[1], u / radii[0])
    border = 1.0 + sum(size * np.cos(order * around + phase) for order, size, phase in waves)
    return np.hypot(u / radii[0], v / radii[1]) < border


def _tube(x: Array, y: Array, points: list[tuple[float, float]], thickness: tuple[float, float]) -> Array:
    """Fill a bent tube along `points` whose half thickness changes linearly from its first to its second value."""
    t = np.linspace(0, 1, len(points))
    fine = np.linspace(0, 1, 24)
    smooth = [np.polyval(np.polyfit(t, [p[axis] for p in points], min(3, len(points) - 1)), fine) for axis in (0, 1)]
    inside = np.zeros(x.shape, dtype=bool)
    for px, py, radius in zip(*smooth, np.linspace(*thickness, fine.size), strict=True):
        inside |= (x - px) ** 2 + (y - py) ** 2 < radius**2
    return inside


def _put_lesion(labels: Array, centre: tuple[float, float, float], label: int) -> None:
    """Write 3 x 3 x 3 voxels (fewer slices where the grid has fewer) around a place in -1..1."""
    index = [int((c + 1) / 2 * n) for c, n in zip(centre, labels.shape, strict=True)]
    labels[tuple(slice(max(i - 1, 0), i + 2) for i in index)] = label


def _draw_abdomen(x: Array, y: Array, z: Array) -> Array:
    """Draw an axial stack at the height of pancreas and kidneys; the patient's right is at small x."""
    labels = np.zeros(x.shape, dtype=int)
    wave = ((2, -0.03, 0.0), (4, 0.02, 0.4))
    labels[_blob(x, y, (0, 0.02), (0.92, 0.68), 0, wave)] = 2
    labels[_blob(x, y, (0, 0.03), (0.84, 0.60), 0, wave)] = 3
    labels[_blob(x, y, (0, 0.00), (0.78, 0.535), 0, wave)] = 1
    for side in (-1, 1):
        labels[_blob(x, y, (0.20 * side, 0.44), (0.15, 0.12), 12 * side)] = 3
        labels[_blob(x, y, (0.145 * side, 0.26), (0.055, 0.085), 8 * side)] = 3
    labels[_blob(x, y, (0, 0.30), (0.115, 0.095), 0, ((2, 0.05, 0.0),))] = 4
    labels[_blob(x, y, (0, 0.50), (0.035, 0.09))] = 4

    size = 1 + 0.08 * z
    liver = _blob(x, y, (-0.43, -0.08), (0.315 * size, 0.40 * size), -8, ((2, 0.05, 0.5), (3, 0.06, 2.4)))
    liver |= _blob(x, y, (-0.10, -0.31), (0.30 * size, 0.135 * size), -6, ((2, 0.08, 2.0),))
    liver &= _blob(x, y, (0, 0.00), (0.765, 0.52), 0, wave)
    # The gallbladder fossa and the hilum bite into the under side of the liver.
    liver &= ~_blob(x, y, (-0.08, -0.02), (0.14, 0.14))
    labels[liver] = 5
    spleen = _blob(x, y, (0.58, 0.14), (0.17 * size, 0.29 * size), -22, ((3, 0.05, 1.0),))
    spleen &= ~_blob(x, y, (0.44, 0.06), (0.13, 0.24), -18) & _blob(x, y, (0, 0.0), (0.755, 0.515), 0, wave)
    labels[spleen] = 6
    for side, down in ((-1, 0.03), (1, 0.0)):
        centre = (0.335 * side + 0.02 * side * z, 0.285 + down)
        kidney = _blob(x, y, centre, (0.125, 0.165), 18 * side, ((2, 0.03, 0.0),))
        sinus = _blob(x, y, (centre[0] - 0.085 * side, centre[1] - 0.03), (0.075, 0.05), 18 * side)
        around = np.arctan2(y - centre[1], (x - centre[0]) * side)
        pyramids = _blob(x, y, (centre[0], centre[1]), (0.083, 0.118), 18 * side) & (np.cos(7 * around + 2 * z) > -0.25)
        labels[kidney] = 7
        labels[kidney & pyramids] = 8
        labels[sinus & kidney] = 2
    # Stomach in front of the spleen, loops of bowel: walls around contents that look like the tissue around them.
    stomach = ((0.30, -0.20), (0.235, 0.165), 28, ((2, 0.10, 0.4), (3, 0.05, 0.0)))
    labels[_blob(x, y, *stomach) & (labels == 1)] = 14
    labels[_blob(x, y, stomach[0], (0.165, 0.10), *stomach[2:]) & (labels == 14)] = 1
    for loop in ((0.10, 0.20, 0.07), (0.215, 0.13, 0.055), (0.45, 0.36, 0.07), (-0.17, 0.21, 0.05)):
        ring = np.hypot(x - loop[0], y - loop[1] - 0.02 * z)
        labels[(ring < loop[2]) & (ring > 0.4 * loop[2]) & (labels == 1)] = 14
    pancreas = [(-0.13, 0.07), (-0.02, 0.00), (0.14, 0.01), (0.28, -0.03), (0.40, -0.01)]
    labels[_tube(x, y - 0.02 * z, pancreas, (0.085, 0.048))] = 9
    labels[_blob(x, y, (0.035, 0.165), (0.052, 0.052))] = 10
    labels[_blob(x, y, (-0.095, 0.150), (0.060, 0.046), 10)] = 10
    portal = [(-0.16, -0.02), (-0.28, -0.04), (-0.38, -0.12), (-0.46, -0.13)]
    labels[_tube(x, y, portal, (0.040, 0.026)) & (z < 0.75)] = 10
    labels[_tube(x, y, [(-0.33, -0.09), (-0.37, 0.0), (-0.44, 0.10)], (0.026, 0.020)) & (z > -0.9)] = 10
    labels[_blob(x, y, (-0.20, -0.16), (0.060, 0.085), 25) & (z < 0.6)] = 11
    labels[np.hypot(x + 0.55, y - 0.12) < 0.095 * np.sqrt(np.clip(1 - (z / 1.3) ** 2, 0, 1))] = 12
    _put_lesion(labels, (-0.56, -0.22, 0.0), 13)
    return labels


def _draw_brain(x: Array, y: Array, z: Array) -> Array:
    """Draw an axial stack at the height of the lateral ventricles."""
    labels = np.zeros(x.shape, dtype=int)
    size = 1 - 0.05 * np.abs(z) ** 2
    folds = ((2, 0.02, 0.0), (13, 0.012, 0.6), (19, 0.012, 0.2))
    deep_folds = ((2, 0.02, 0.0), (9, 0.035, 0.3), (13, 0.045, 1.2), (21, 0.045, 2.0))
    labels[_blob(x, y, (0, 0), (0.74 * size, 0.90 * size), 0, ((2, 0.02, 0.0),))] = 3
    labels[_blob(x, y, (0, 0), (0.70 * size, 0.855 * size), 0, folds)] = 2
    labels[_blob(x, y, (0, 0), (0.60 * size, 0.755 * size), 0, deep_folds)] = 1
    middle = np.abs(x) < 0.05 + 0.01 * np.cos(9 * y)
    labels[(np.abs(y) > 0.36) & middle & (labels == 1)] = 2
    labels[(np.abs(y) > 0.34) & (np.abs(x) < 0.013) & (labels > 0)] = 3
    for side in (-1, 1):
        labels[_blob(x, y, (0.17 * side, -0.16), (0.075, 0.15), 18 * side)] = 4
        labels[_blob(x, y, (0.12 * side, 0.10), (0.10, 0.13), -12 * side)] = 4
        labels[_blob(x, y, (0.30 * side, -0.02), (0.055, 0.20), -6 * side)] = 4
        labels[_tube(x * side, y, [(0.05, -0.04), (0.07, -0.20), (0.15, -0.32)], (0.030, 0.048))] = 3
        labels[_tube(x * side, y, [(0.10, 0.27), (0.19, 0.36), (0.22, 0.46)], (0.040, 0.030))] = 3
    labels[np.hypot(x, y / 5) < 0.018] = 3
    tumour = np.hypot(x - 0.34, y - 0.38) < 0.13 * np.sqrt(np.clip(1 - (z / 1.3) ** 2, 0, 1))
    labels[tumour] = 5
    _put_lesion(labels, (-0.34, 0.36, 0.0), 6)
    return labels
