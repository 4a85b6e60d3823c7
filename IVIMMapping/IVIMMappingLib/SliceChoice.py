"""Which slice, and which part of it, a picture of a run shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_MARGIN = 0.06
_WORTH_CROPPING = 0.8


def chooseSlice(values: np.ndarray, regions: Mapping[str, np.ndarray] | None = None) -> int:
    """Return the index along z of the most informative slice of a map `values` (x, y, z), NaN where not fitted.

    With `regions` (name -> mask (x, y, z)): the slice that shows most of them; each region counts for the part of its
    largest cross-section that has values, so a small lesion weighs as much as a whole liver. Without: the slice with
    the largest number of fitted voxels times their contrast (90th minus 10th percentile). Of equals the one nearest
    the middle; the middle if there is no value at all.
    """
    fitted = np.isfinite(values)
    scores = np.zeros(values.shape[2])
    for mask in (regions or {}).values():
        counts = (fitted & mask).sum(axis=(0, 1)).astype(float)
        if counts.max() > 0:
            scores += counts / counts.max()
    if not scores.any():
        for k in np.flatnonzero(fitted.any(axis=(0, 1))):
            inside = values[..., k][fitted[..., k]]
            scores[k] = inside.size * (1e-12 + np.subtract(*np.percentile(inside, (90, 10))))
    middle = (values.shape[2] - 1) / 2
    best = np.flatnonzero(scores >= scores.max() * (1 - 1e-9))
    return int(best[np.argmin(np.abs(best - middle))])


def chooseBox(mask: np.ndarray) -> np.ndarray:
    """Return first and last voxel [[i0, j0], [i1, j1]] of the part of a slice to show; `mask` (x, y): what matters.

    The bounding box of the mask with a margin, or the whole slice where that would save little.
    """
    whole = np.array([[0, 0], [mask.shape[0] - 1, mask.shape[1] - 1]])
    if not mask.any():
        return whole
    margin = max(2, round(_MARGIN * max(mask.shape)))
    corners = [
        (max(0, used[0] - margin), min(size - 1, used[-1] + margin))
        for used, size in (
            (np.flatnonzero(mask.any(axis=1)), mask.shape[0]), (np.flatnonzero(mask.any(axis=0)), mask.shape[1]),
        )
    ]
    box = np.array(corners).T
    extent = (box[1] - box[0] + 1) / np.array(mask.shape)
    return box if extent.min() < _WORTH_CROPPING else whole
