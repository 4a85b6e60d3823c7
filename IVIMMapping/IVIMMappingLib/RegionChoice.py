"""Which voxels are fitted: the body, everything, segments, a closed curve or a label volume, on the series' grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import slicer

from ivimcore.data.mask import body_mask
from ivimcore.errors import InputError

from .CurveRegion import curveMask
from .SegmentRegion import segmentMasks
from .SeriesReader import SeriesInScene, lowImages, worldMatrix
from .VolumeNodes import arrayFromVolumeNode

MOST_LABELS = 256
LARGEST_LABEL = 65535
BODY, WHOLE = "body mask", "whole volume"


@dataclass(frozen=True, eq=False)
class Region:
    """The voxels to fit: `mask` (x, y, z) of bool, never empty; `masks` of the single regions by name, which may
    overlap; `sentence` what was chosen and how large it is; `notes` what was done on the way (resampled, left out).
    """

    mask: np.ndarray
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    sentence: str = ""
    notes: tuple[str, ...] = ()


def chooseRegion(
    series: SeriesInScene, kind: str, node: slicer.vtkMRMLNode | None = None, segmentIds: Sequence[str] = (),
    bvalues: np.ndarray | None = None, used: np.ndarray | None = None,
) -> Region:
    """Work out the voxels to fit.

    Arguments: `kind` "body" (found in the images of low b), "whole", "segments", "curve" or "labels"; `node` the
    segmentation, closed curve or label volume; `segmentIds` which segments, none for all; `bvalues` (n,) [s/mm²], NaN
    where unknown, None for those of the series; `used` boolean list (n,) of the images that count for the body.
    Returns the region on the grid of the series; what lies on another grid is resampled, and the notes say so.
    Raises InputError in one sentence where nothing is chosen or the region is empty.
    """
    if kind == "body":
        return _body(series, bvalues, used)
    if kind == "whole":
        mask = np.ones(series.geometry.shape, dtype=bool)
        return Region(mask, {WHOLE: mask}, f"Whole volume: {_size(series, mask)}.")
    if kind == "segments":
        masks, notes = segmentMasks(series, node, segmentIds)
        what = "1 segment" if len(masks) == 1 else f"{len(masks)} segments"
        return _joined(series, masks, f"{what} of '{node.GetName()}'", notes)
    if kind == "curve":
        mask, where = curveMask(series, node)
        return Region(mask, {node.GetName(): mask}, f"Curve '{node.GetName()}' in {where}: {_size(series, mask)}.")
    if kind == "labels":
        masks, notes = labelMasks(series, node)
        what = "1 label" if len(masks) == 1 else f"{len(masks)} labels"
        return _joined(series, masks, f"{what} of '{node.GetName()}'", notes)
    raise ValueError(f"Unknown kind of region '{kind}'; known are body, whole, segments, curve, labels.")


def labelMasks(series: SeriesInScene, node) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the mask (x, y, z) of bool of every label of a volume by its name, on the grid of the series, and notes.

    Names are those of the volume's own colour table, else 'label 3'; Slicer's general tables would invent organs.
    Another grid is resampled to the nearest voxel. Raises InputError for what is no label volume and for an empty one.
    """
    if node is None or not node.IsA("vtkMRMLScalarVolumeNode") or node.GetImageData() is None:
        raise InputError("No label volume is chosen; choose one in step 2.")
    name = node.GetName()
    if node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError(f"'{name}' has several images; choose a label volume.")
    labels, grid = arrayFromVolumeNode(node)
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise InputError(f"'{name}' holds numbers that are no labels (fractions or NaN); choose a label volume.")
    if labels.min() < 0 or labels.max() > LARGEST_LABEL:
        raise InputError(f"'{name}' holds numbers outside 0 to {LARGEST_LABEL}; choose a label volume.")
    above, target = worldMatrix(node), series.ijkToRas()
    if above is None or target is None:
        raise InputError(f"'{name}' or the series lies under a non-linear transform; harden it first.")
    notes: tuple[str, ...] = ()
    source = above @ np.asarray(grid.affine)
    if labels.shape != series.geometry.shape or np.abs(np.linalg.inv(source) @ target - np.eye(4)).max() > 1e-3:
        shape = labels.shape
        labels = _nearest(labels, np.linalg.inv(source) @ target, series.geometry.shape)
        other = "lies at another place or angle than" if shape == labels.shape else "has another grid than"
        notes = (
            f"The label volume '{name}' {other} the series: it was resampled from {_shape(shape)} to the grid of the "
            f"series ({_shape(labels.shape)}), to the nearest voxel.",
        )
    present = [int(value) for value in np.unique(labels) if value != 0]
    if not present:
        raise InputError(f"The label volume '{name}' has no labelled voxel in '{series.name}'; choose another.")
    if len(present) > MOST_LABELS:
        raise InputError(f"'{name}' has {len(present)} different values; choose a label volume, not an image.")
    masks: dict[str, np.ndarray] = {}
    for value in present:
        title = _labelName(node, value)
        masks[title if title not in masks else f"{title} ({value})"] = labels == value
    return masks, notes


def _body(series: SeriesInScene, bvalues: np.ndarray | None, used: np.ndarray | None) -> Region:
    b = series.bvalues if bvalues is None else np.asarray(bvalues, dtype=float)
    chosen = np.isfinite(b) if used is None else np.isfinite(b) & np.asarray(used, dtype=bool)
    notes: tuple[str, ...] = ()
    if chosen.any():
        numbers = np.flatnonzero(chosen)
        numbers = numbers[lowImages(b[numbers])]
    else:
        numbers = np.arange(series.count)
        notes = ("No b-value is known: the body was found in the mean of all images.",)
    mask = series.cached(("body", tuple(numbers.tolist())), lambda: body_mask(series.signal(numbers)))
    mask.flags.writeable = False  # the next to ask gets the same one
    return Region(mask, {BODY: mask}, f"Automatic body mask: {_size(series, mask)}.", notes)


def _joined(series: SeriesInScene, masks: dict[str, np.ndarray], what: str, notes: tuple[str, ...]) -> Region:
    mask = np.logical_or.reduce(list(masks.values()))
    return Region(mask, masks, f"{what} ({', '.join(masks)}): {_size(series, mask)}.", notes)


def _nearest(labels: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Resample labels (x, y, z) to the nearest voxel; `matrix` (4, 4) leads from voxels of the result to theirs."""
    i, j = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    result = np.zeros(shape, dtype=labels.dtype)
    for k in range(shape[2]):  # slice by slice, so that no second grid of coordinates fills the memory
        place = [np.rint(row[0] * i + row[1] * j + row[2] * k + row[3]).astype(int) for row in matrix[:3]]
        inside = np.logical_and.reduce([(p >= 0) & (p < size) for p, size in zip(place, labels.shape, strict=True)])
        result[..., k][inside] = labels[tuple(p[inside] for p in place)]
    return result


def _labelName(node, value: int) -> str:
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    own = colors is not None and colors.IsA("vtkMRMLColorTableNode") and colors.GetType() == colors.User
    name = colors.GetColorName(value) if own and value < colors.GetNumberOfColors() else ""
    return f"label {value}" if name in ("", "(none)", "invalid", str(value)) or name is None else name


def _size(series: SeriesInScene, mask: np.ndarray) -> str:
    count = int(np.count_nonzero(mask))
    voxels = "1 voxel" if count == 1 else f"{count:,} voxels".replace(",", " ")
    volume = count * series.geometry.voxel_volume
    return f"{voxels}, {volume:.0f} mL" if volume >= 100 else f"{voxels}, {volume:.3g} mL"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape) + " voxels"
