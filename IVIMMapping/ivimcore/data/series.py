"""A diffusion-weighted series in memory: signal, geometry, acquisition, and how each of them was found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition

Array = np.ndarray
AVERAGING = ("none", "geometric", "arithmetic")


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels lie: shape (x, y, z) and the matrix (4, 4) from voxel index (i, j, k, 1) to RAS [mm]."""

    shape: tuple[int, int, int]
    affine: Array

    @property
    def spacing(self) -> Array:
        """Distance of neighbouring voxels along i, j, k (3,) [mm]."""
        return np.linalg.norm(np.asarray(self.affine)[:3, :3], axis=0)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [mL]."""
        return float(abs(np.linalg.det(np.asarray(self.affine)[:3, :3]))) / 1000.0

    def matches(self, other: Geometry, tolerance: float = 1e-2) -> bool:
        """Tell whether both grids have the same shape and place corresponding corners within `tolerance` [mm]."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1], indexing="ij")).reshape(4, -1)
        return bool(np.abs((np.asarray(self.affine) - np.asarray(other.affine)) @ corners)[:3].max() <= tolerance)

    def describe(self) -> str:
        """Write the grid for a person: '144 x 144 x 18 voxels of 1.6 x 1.6 x 4 mm, first voxel at (…) mm'."""
        shape = " x ".join(str(n) for n in self.shape)
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{x:.1f}" for x in np.asarray(self.affine)[:3, 3])
        return f"{shape} voxels of {spacing} mm, first voxel at ({origin}) mm"


@dataclass(frozen=True, eq=False)
class DwiSeries:
    """One diffusion-weighted series.

    `signal` (x, y, z, n) in signal units, any real dtype, voxel or image contiguous; `acquisition` has n b-values;
    `bvalue_source` says in words where they came from; `format` names the file format; `decisions` are the sentences
    of everything that was decided on the way (images dropped, averaged, regrouped), in order.
    """

    signal: Array
    geometry: Geometry
    acquisition: Acquisition
    bvalue_source: str
    format: str
    decisions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.signal.ndim != 4 or self.signal.shape[:3] != tuple(self.geometry.shape):
            raise InputError(f"A series needs four axes (x, y, z, image), but this one has shape {self.signal.shape}.")
        if self.signal.shape[3] != self.acquisition.count:
            raise InputError(
                f"There are {self.acquisition.count} b-values for {self.signal.shape[3]} images; "
                "give exactly one b-value per image."
            )

    def select(self, images: Array, sentence: str) -> DwiSeries:
        """Keep some of the images; `images` are indices or a boolean list (n,), `sentence` says why."""
        images = np.asarray(images)
        if images.dtype == bool:
            images = np.flatnonzero(images)
        if images.size == 0:
            raise InputError("No image of the series is left; choose at least one b-value.")
        return replace(
            self, signal=self.signal[..., images], acquisition=self.acquisition.select(images),
            decisions=(*self.decisions, sentence),
        )

    def without_empty_images(self) -> DwiSeries:
        """Leave out images that hold no value at all (NaN or zero everywhere), and say which; else return the same.

        Such an image is a failed export or average, not a measurement: kept, it would leave no voxel a value, or pull
        every decay to zero at its b.
        """
        filled = np.array([np.any(np.nan_to_num(self.signal[..., image])) for image in range(self.signal.shape[3])])
        if filled.all() or not filled.any():
            return self
        empty = ", ".join(f"{b:g}" for b in self.acquisition.bvalues[~filled])
        return self.select(filled, f"Left out because they hold no value: images at b = {empty} s/mm².")

    def with_bvalues(self, bvalues: Array, source: str) -> DwiSeries:
        """Replace the b-values (n,) [s/mm²]; `source` says in words where the new ones come from."""
        acquisition = Acquisition(bvalues, self.acquisition.directions, self.acquisition.sigma)
        return replace(self, acquisition=acquisition, bvalue_source=source)

    def averaged(self, mode: str) -> DwiSeries:
        """Average images of equal b-value.

        `mode`: "none" keeps every image (Kaandorp et al. 2021 fit all images unaveraged), "geometric" is the trace
        image of several directions, "arithmetic" the plain mean. A geometric mean over a value that is not positive
        does not exist and becomes NaN.

        Raises InputError for another mode.
        """
        if mode not in AVERAGING:
            raise InputError(f"Unknown averaging '{mode}'; choose one of {', '.join(AVERAGING)}.")
        bvalues, group = self.acquisition.groups()
        if mode == "none" or bvalues.size == self.acquisition.count:
            return self
        signal = np.empty((*self.signal.shape[:3], bvalues.size), dtype=np.float32)
        for number in range(bvalues.size):
            images = self.signal[..., group == number].astype(np.float64)
            if mode == "geometric":
                with np.errstate(invalid="ignore", divide="ignore"):
                    signal[..., number] = np.exp(np.log(np.where(images > 0, images, np.nan)).mean(axis=-1))
            else:
                signal[..., number] = images.mean(axis=-1)
        counts = np.bincount(group)
        return replace(
            self, signal=signal, acquisition=Acquisition(bvalues, None, None),
            decisions=(
                *self.decisions,
                f"{self.acquisition.count} images averaged to {bvalues.size} b-values ({mode} mean of "
                f"{counts.min()} to {counts.max()} images each).",
            ),
        )
