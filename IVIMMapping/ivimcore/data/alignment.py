"""Two examinations of one patient laid over each other: a rigid registration of their images at b = 0.

    found = align(earlier_image, earlier_geometry, image, geometry)
    mask = found.carried(earlier_mask, earlier_geometry, geometry)     # where the region lies now

Rigid is right for bones and the head and a help elsewhere: organs deform, so every carried region wants a look. Both
images have the same contrast up to a factor, hence the correlation as measure, over voxels that both images have. The
search starts from the coordinates of the scanner and, unless that is good enough, from the shift by whole coarse voxels
with the best correlation of all; the better end is taken. A stack of few slices does not say how it is tilted or
shifted across them: then only the plane of the slices is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .geometry_io import LPS_TO_RAS, image_of, simpleitk
from .series import Geometry

Array = np.ndarray
FEW_SLICES = 5
"""Slices below which nothing is moved across them."""
LEAST_OVERLAP = 0.25
"""Share of the smaller image that must lie on the other one."""
TRIED_OVERLAP = 0.5
"""The same for the shifts that are tried first: smaller pieces often correlate by chance."""
ENOUGH = 0.95
"""Correlation from which the other start is not tried."""
COARSE = 4.0
"""Voxels [mm] on which every shift is tried, or those of the images where they are larger."""
LEAST_GAIN = 0.005
"""Gain in correlation below which an alignment is none."""
MOST_SAMPLES = 200_000
"""Voxels that are compared in each step, drawn anew with a fixed seed where there are more."""
SMOOTHING = (6.0, 3.0, 0.0)
"""Widths of the smoothing of both images [mm], from coarse to fine."""
SEED = 1


@dataclass(frozen=True, eq=False)
class Alignment:
    """How one examination lies to another: `matrix` (4, 4) from RAS [mm] of the earlier one to RAS of the later one.

    `before` and `after` are the correlations of both images without and with it [1], `angle` its rotation [degree].
    """

    matrix: Array
    before: float
    after: float
    angle: float

    @property
    def helps(self) -> bool:
        """Tell whether the images agree better with it."""
        return self.after > self.before + LEAST_GAIN

    def shift(self, point: Array) -> Array:
        """Return how far a point (3,) of the earlier examination, in RAS, moves [mm] (3,)."""
        return (self.matrix @ [*point, 1.0])[:3] - np.asarray(point, dtype=float)

    def carried(self, mask: Array, geometry: Geometry, target: Geometry) -> Array:
        """Return a mask (x, y, z) of bool on `geometry` where it lies on `target`; a voxel belongs to it by half."""
        back = np.linalg.inv(np.asarray(geometry.affine)) @ np.linalg.inv(self.matrix) @ np.asarray(target.affine)
        sitk = simpleitk()
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(back[:3, :3].ravel().tolist())
        transform.SetTranslation(back[:3, 3].tolist())
        # Both as images of unit voxels: the whole way from index to index is in the transform.
        image = image_of(mask.astype(np.float32), Geometry(mask.shape, LPS_TO_RAS))
        grid = sitk.Image([int(n) for n in target.shape], sitk.sitkFloat32)
        found = sitk.Resample(image, grid, transform, sitk.sitkLinear, 0.0)
        return sitk.GetArrayViewFromImage(found).transpose(2, 1, 0) >= 0.5


def align(earlier: Array, earlier_geometry: Geometry, now: Array, geometry: Geometry) -> Alignment:
    """Lay an earlier image over a new one.

    Arguments: `earlier` and `now` (x, y, z), images of the same contrast such as b = 0 or S0, NaN where there is none;
    their geometries.
    Returns the alignment, which is the identity where none makes the images agree better.
    Raises InputError without SimpleITK, for an image without contrast and for examinations that do not overlap.
    """
    sitk = simpleitk()
    # In the axes of the new stack, so that 'across the slices' is one axis.
    axes = np.eye(4)
    spacing = np.asarray(geometry.spacing, dtype=float)
    axes[:3, :3] = np.asarray(geometry.affine)[:3, :3] / spacing
    axes[:3, 3] = np.asarray(geometry.affine)[:3, 3]
    fixed = _image(now, Geometry(geometry.shape, np.diag([*spacing, 1.0])))
    moved = np.linalg.inv(axes) @ np.asarray(earlier_geometry.affine)
    moving = _image(earlier, Geometry(earlier_geometry.shape, moved))
    in_plane = min(now.shape[2], earlier.shape[2]) < FEW_SLICES
    identity = sitk.Euler3DTransform()
    middle = fixed.values.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.values.GetSize()])
    identity.SetCenter([float(x) for x in middle])
    found: list[tuple[float, float, Any]] = []
    for best_shift in (False, True):
        start = sitk.Euler3DTransform(identity)
        if best_shift:
            start.SetTranslation(_best_shift(sitk, fixed, moving, in_plane))
        end = _search(sitk, fixed, moving, start, [0, 0, 1.0, 1.0, 1.0, 0] if in_plane else [1.0] * 6)
        correlation, share = _correlation(sitk, fixed, moving, end)
        found.append((correlation if np.isfinite(correlation) else -np.inf, share, end))
        if correlation > ENOUGH and share > 0.5:
            break
    before, _ = _correlation(sitk, fixed, moving, identity)
    after, overlap, end = max(found, key=lambda one: one[0])
    if not np.isfinite(after) or overlap < LEAST_OVERLAP:
        raise InputError("The two examinations do not show the same part of the body; place the regions by hand.")
    if not after > (before if np.isfinite(before) else 0.0) + LEAST_GAIN:
        return Alignment(np.eye(4), before, before, 0.0)
    to_earlier = _matrix(end)
    turned = np.clip((np.trace(to_earlier[:3, :3]) - 1) / 2, -1, 1)
    matrix = axes @ np.linalg.inv(to_earlier) @ np.linalg.inv(axes)
    return Alignment(matrix, float(before) if np.isfinite(before) else 0.0, after, float(np.degrees(np.arccos(turned))))


@dataclass(frozen=True)
class _Image:
    """A float image and where it has values, as one and zero."""

    values: Any
    there: Any
    volume: float
    """Volume of its values [mm³]."""


def _image(values: Array, geometry: Geometry) -> _Image:
    """Return an image without NaN, whose brightest fluid does not outweigh the rest."""
    values = np.asarray(values, dtype=np.float32)
    # The smoothing of the registration needs four voxels along each axis: thin stacks repeat their last slice.
    lacking = [max(0, 4 - n) for n in values.shape]
    if any(lacking):
        values = np.pad(values, [(0, n) for n in lacking], mode="edge")
        geometry = Geometry(values.shape, geometry.affine)
    there = np.isfinite(values)
    values = np.where(there, values, np.float32(0))
    top = float(np.percentile(values[there], 99.5)) if there.any() else 0.0
    if not top > values.min():
        raise InputError("An image without any contrast cannot be aligned; place the regions by hand.")
    # In RAS throughout: what is one system of coordinates for both images needs no other.
    in_ras = Geometry(geometry.shape, LPS_TO_RAS @ geometry.affine)
    volume = float(np.count_nonzero(there) * np.prod(geometry.spacing))
    return _Image(image_of(np.clip(values, 0.0, top) / top, in_ras), image_of(there.astype(np.uint8), in_ras), volume)


def _best_shift(sitk: Any, fixed: _Image, moving: _Image, in_plane: bool) -> list[float]:
    """Return the shift [mm] (3,) from the new image to the earlier one that correlates best, tried on coarse voxels."""
    spacing = [max(COARSE, *pair) for pair in zip(fixed.values.GetSpacing(), moving.values.GetSpacing(), strict=True)]
    (a, a_there), (b, b_there) = (_on_coarse_voxels(sitk, image, spacing) for image in (fixed, moving))
    from_origins = np.subtract(b.GetOrigin(), a.GetOrigin())
    for image in (b, b_there):
        image.SetOrigin(a.GetOrigin())  # the filter wants it so
    every = sitk.GetArrayFromImage(
        sitk.MaskedFFTNormalizedCorrelation(a, b, a_there, b_there, requiredFractionOfOverlappingPixels=TRIED_OVERLAP)
    )
    # Entry n of an axis lays voxel 0 of the earlier image on voxel n + 1 - its number of voxels of the new one.
    zero = np.array(b.GetSize()) - 1
    if in_plane:
        level = int(np.clip(zero[2] + round(from_origins[2] / spacing[2]), 0, every.shape[0] - 1))
        every = every[level : level + 1]
    best = np.array(np.unravel_index(np.argmax(every), every.shape))[::-1]
    shift = from_origins - (best - zero) * spacing
    return [float(shift[0]), float(shift[1]), 0.0 if in_plane else float(shift[2])]


def _on_coarse_voxels(sitk: Any, image: _Image, spacing: list[float]) -> tuple[Any, Any]:
    """Return an image along the axes of the scanner with voxels of `spacing`, and where it has values."""
    size = np.array(image.values.GetSize()) - 1
    corners = [image.values.TransformIndexToPhysicalPoint([int(n) for n in size * np.array(corner)])
               for corner in np.ndindex(2, 2, 2)]  # fmt: skip
    low, high = np.min(corners, 0), np.max(corners, 0)
    grid = sitk.Image([int(n) + 1 for n in np.ceil((high - low) / spacing)], sitk.sitkFloat32)
    grid.SetSpacing(spacing)
    grid.SetOrigin(low.tolist())
    smooth, weight = (
        sitk.SmoothingRecursiveGaussian(sitk.Cast(part, sitk.sitkFloat32), [n / 2 for n in spacing])
        for part in (image.values, image.there)
    )
    smooth /= sitk.Clamp(weight, sitk.sitkFloat32, 1e-3)  # the mean of what has values
    return (
        sitk.Resample(smooth, grid, sitk.Transform(), sitk.sitkLinear, 0.0),
        sitk.Resample(image.there, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkFloat32),
    )


def _search(sitk: Any, fixed: _Image, moving: _Image, start: Any, weights: list[float]) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(fixed.there)
    method.SetMetricMovingMask(moving.there)
    count = int(np.prod(fixed.values.GetSize()))
    if count > MOST_SAMPLES:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(MOST_SAMPLES / count, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=120, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerWeights(weights)
    method.SetShrinkFactorsPerLevel([1] * len(SMOOTHING))
    method.SetSmoothingSigmasPerLevel(list(SMOOTHING))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    try:
        found = method.Execute(fixed.values, moving.values)
    except RuntimeError:  # no overlap at the start
        return start
    return found.GetNthTransform(0) if found.GetName() == "CompositeTransform" else found


def _correlation(sitk: Any, fixed: _Image, moving: _Image, transform: Any) -> tuple[float, float]:
    """Return the correlation of both images where both have values, and the share of the smaller one that this is."""
    found = sitk.GetArrayFromImage(sitk.Resample(moving.values, fixed.values, transform, sitk.sitkLinear, -1.0))
    known = sitk.Resample(moving.there, fixed.values, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    of_new = sitk.GetArrayViewFromImage(fixed.there) > 0
    there = of_new & (found > -0.5) & (sitk.GetArrayViewFromImage(known) > 0)
    if np.count_nonzero(there) < 100:
        return np.nan, 0.0
    pair = np.corrcoef(sitk.GetArrayViewFromImage(fixed.values)[there], found[there])
    smaller = min(image.volume for image in (fixed, moving))
    return float(pair[0, 1]), float(np.count_nonzero(there) * np.prod(fixed.values.GetSpacing()) / smaller)


def _matrix(transform: Any) -> Array:
    """Return the matrix (4, 4) of a rigid transform."""
    rigid = transform.Downcast() if hasattr(transform, "Downcast") else transform
    rotation = np.array(rigid.GetMatrix()).reshape(3, 3)
    center, offset = np.array(rigid.GetCenter()), np.array(rigid.GetTranslation())
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = center + offset - rotation @ center
    return result
