"""An automatic mask of the body or head, for when no region is drawn."""

from __future__ import annotations

import numpy as np
import scipy

from ..errors import InputError
from ..physics.acquisition import Acquisition

Array = np.ndarray
BINS = 256
SMALLEST_PART = 0.1
LOW_B = 100.0
DISK = np.ones((3, 3, 1), dtype=bool)
"""Flat, so that slices are treated one by one."""
CLOSING = 0.05
SEPARATION = 4.0


def body_mask(signal: Array, acquisition: Acquisition | None = None) -> Array:
    """Find the body or head in a series.

    The images of low b (the group of the lowest b, and all up to 100 s/mm²; without `acquisition`, all images) are
    averaged, NaN and negative values counting as zero; the mean is smoothed over 3 x 3 pixels in each slice, and the
    logarithm of its positive values is split by Otsu's threshold; zeros are background. Where the two classes differ
    by less than a factor of four they are not tissue and air: then every positive voxel is taken. Of the connected
    parts, those above a tenth of the largest are kept; slice by slice, gaps up to a tenth of the image are closed and
    holes filled, so that dark muscle and bone between bright organs belong to the body.
    The mask is meant to save time and to keep noise out of the pictures; it is no segmentation of an organ.

    Arguments: `signal` (x, y, z, n) [signal units]; `acquisition` of its n images.
    Returns (x, y, z) bool, never empty. Refuses a series without any positive signal.
    Reference: N. Otsu, IEEE Trans Syst Man Cybern 9(1), 1979.
    """
    mean = _low_b_mean(signal, acquisition)
    smooth = scipy.ndimage.uniform_filter(mean, size=(3, 3, 1))
    positive = mean > 0
    if not positive.any():
        raise InputError("The series has no positive signal, so that no body can be found; give a mask.")
    level = np.log(smooth[positive])
    # The lowest values are a few voxels of nearly zero, whose logarithms would stretch the scale without end.
    low, high = np.percentile(level, [1.0, 99.5])
    threshold = _otsu(np.clip(level, low, high)) if high > low else -np.inf
    dark, bright = level[level < threshold], level[level >= threshold]
    if not dark.size or bright.mean() - dark.mean() < np.log(SEPARATION):
        # Two tissues, not tissue and air: the image lies within the body, or its background was cut out before.
        return _fill(positive)
    mask = positive & (smooth >= np.exp(threshold))
    opened = scipy.ndimage.binary_opening(mask, DISK)
    return _fill(_largest_parts(opened if opened.any() else mask))


def _low_b_mean(signal: Array, acquisition: Acquisition | None) -> Array:
    """Average the images of low b, one at a time so that no second copy of the series is needed."""
    images = range(signal.shape[3])
    if acquisition is not None:
        bvalues, group = acquisition.groups()
        images = np.flatnonzero((group == 0) | (acquisition.bvalues <= max(LOW_B, bvalues[0])))
    total = np.zeros(signal.shape[:3], dtype=np.float64)
    for image in images:
        volume = np.asarray(signal[..., image], dtype=np.float64)
        total += np.where(np.isfinite(volume) & (volume > 0), volume, 0.0)
    return total / max(len(images), 1)


def _otsu(values: Array) -> float:
    """Return the threshold that separates values (n,) into two classes with the largest variance between them."""
    counts, edges = np.histogram(values, bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    best = np.nan_to_num(between[:-1], nan=-1.0)
    return float(edges[1 + int(np.argmax(best))])


def _largest_parts(mask: Array) -> Array:
    """Keep the connected parts that are at least a tenth of the largest one."""
    labels, count = scipy.ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= SMALLEST_PART * sizes.max())[labels]


def _fill(mask: Array) -> Array:
    """Close gaps by a disk of `CLOSING` times the image size, and fill the holes of each slice."""
    radius = max(2, round(CLOSING * min(mask.shape[:2])))
    filled = mask.copy()
    for k in range(mask.shape[2]):
        if mask[..., k].any():
            piece = np.pad(mask[..., k], radius + 1)
            grown = scipy.ndimage.distance_transform_edt(~piece) <= radius
            closed = scipy.ndimage.distance_transform_edt(grown) > radius
            solid = scipy.ndimage.binary_fill_holes(closed)
            filled[..., k] |= solid[radius + 1 : -radius - 1, radius + 1 : -radius - 1]
    return filled
