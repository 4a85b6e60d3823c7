"""The regions of an earlier result on the grid of a new series, as a segmentation that a person can correct."""

from __future__ import annotations

import json

import numpy as np
import slicer

from ivimcore.data.alignment import Alignment, align
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError

from .EarlierResults import regionNodeOf
from .RegionChoice import chooseRegion
from .RegionSegments import createOverlapping, regionMasks
from .Runs import Run
from .SeriesReader import SeriesInScene, lowImages, readSeries, worldMatrix
from .VolumeNodes import arrayFromVolumeNode

CHECK = "They lie where they lay before, but the patient may lie otherwise now: check every position and correct it."
CHECK_ALIGNED = "Organs deform and a rigid movement does not: check every position and correct it."
FOLLOW_UP_ATTRIBUTE = "IVIM.FollowUp"
"""Attribute of such a segmentation: key of the earlier run."""
ALIGNMENT_ATTRIBUTE = "IVIM.FollowUpAlignment"
"""Attribute of one that was aligned: the 16 numbers of the matrix from the earlier to the new examination, RAS [mm]."""


def copyRegions(
    scene: slicer.vtkMRMLScene, run: Run, series: SeriesInScene, isAligned: bool = False
) -> tuple[object, str]:
    """Copy the regions of a run onto the grid of a series.

    They are placed by the patient's coordinates; `isAligned` moves them as the earlier image without diffusion
    weighting (or the map of S0) must be moved, rigidly, to lie over that of the series, if they agree better then.
    Returns the new segmentation "… (follow-up)", None for a run without drawn regions, and what was done and must be
    checked, in words. A region without a voxel in the new series is left out and said; the earlier ones stay untouched.
    Raises InputError where no region lies in the new series, and where the images cannot be aligned.
    """
    kind, node = regionNodeOf(run)
    if node is None:
        return None, "The earlier result has no drawn regions to take over; draw or choose them in step 2."
    ids = [str(identifier) for identifier in run.settings.get("segmentIds") or []] if kind == "segments" else []
    found = _alignment(run, series) if isAligned else None
    if found is not None and found.helps:
        masks, notes = _moved(run, series, kind, node, ids, found)
    else:
        region = chooseRegion(series, kind, node, ids)
        masks, notes = region.masks, [note for note in region.notes if "left out" in note]
    copy = createOverlapping(scene, masks, series.geometry, f"{node.GetName()} (follow-up)", series.displayNode())
    transform = series.transformNode()
    if transform is not None:
        copy.SetAndObserveTransformNodeID(transform.GetID())
    copy.SetAttribute(FOLLOW_UP_ATTRIBUTE, run.key)
    _copyColors(node, copy)
    what = "1 region was" if len(masks) == 1 else f"{len(masks)} regions were"
    said = [f"{what} taken over from the earlier result."]
    if found is None:
        said.append(CHECK)
    elif not found.helps:
        said.append(f"No rigid movement makes the images agree better (correlation {found.before:.2f}). {CHECK}")
    else:
        copy.SetAttribute(ALIGNMENT_ATTRIBUTE, json.dumps([round(float(x), 6) for x in found.matrix.ravel()]))
        said += [_movement(found, masks, Geometry(series.geometry.shape, series.ijkToRas())), CHECK_ALIGNED]
    return copy, " ".join([*said, *notes])


# --- aligned -----------------------------------------------------------------------------------------------------


def _alignment(run: Run, series: SeriesInScene) -> Alignment:
    """Lay the earlier image over that of the series, both in world coordinates."""
    return align(*_earlierImage(run), *_lowImage(series))


def _earlierImage(run: Run) -> tuple[np.ndarray, Geometry]:
    """Return the image of an earlier run without diffusion weighting: of its series, or its map of S0."""
    if run.seriesNode is not None:
        return _lowImage(readSeries(run.seriesNode))
    node = run.maps.get("S0")
    if node is None:
        raise InputError("The earlier result has neither its series nor a map of S0, so it cannot be aligned.")
    values, grid = arrayFromVolumeNode(node)
    return values, _inWorld(grid, worldMatrix(node))


def _lowImage(series: SeriesInScene) -> tuple[np.ndarray, Geometry]:
    b = np.asarray(series.bvalues, dtype=float)
    known = np.flatnonzero(np.isfinite(b))
    numbers = known[lowImages(b[known])] if known.size else np.arange(series.count)
    return series.signal(numbers).mean(axis=-1), _inWorld(series.geometry, worldMatrix(series.displayNode()))


def _inWorld(geometry: Geometry, above: np.ndarray | None) -> Geometry:
    if above is None:
        raise InputError("One of the examinations lies under a non-linear transform; harden it first.")
    return Geometry(geometry.shape, above @ np.asarray(geometry.affine))


def _moved(
    run: Run, series: SeriesInScene, kind: str, node, ids: list[str], found: Alignment
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the masks of the earlier regions on the grid of the series, moved, and what was left out."""
    if run.seriesNode is not None:
        earlier = readSeries(run.seriesNode)
        masks = chooseRegion(earlier, kind, node, ids).masks
        source = _inWorld(earlier.geometry, worldMatrix(earlier.displayNode()))
    elif kind == "segments":
        reference = run.maps["S0"]
        masks = regionMasks(node, reference)
        source = _inWorld(arrayFromVolumeNode(reference)[1], worldMatrix(reference))
    else:
        raise InputError("Without the earlier series only segments can be aligned; take the regions over unaligned.")
    target = _inWorld(series.geometry, worldMatrix(series.displayNode()))
    moved = {name: found.carried(mask, source, target) for name, mask in masks.items()}
    empty = [name for name, mask in moved.items() if not mask.any()]
    if len(empty) == len(moved):
        raise InputError("No region lies in the new series after the alignment; take them over unaligned.")
    names = ", ".join(f"'{name}'" for name in empty)
    notes = [f"Without a voxel in the new series and left out: {names}."] if empty else []
    return {name: mask for name, mask in moved.items() if name not in empty}, notes


def _movement(found: Alignment, masks: dict[str, np.ndarray], target: Geometry) -> str:
    """Say how far the regions moved, at their centres, and what that bought."""
    back = np.linalg.inv(found.matrix)
    far = []
    for mask in masks.values():
        now = (target.affine @ [*np.argwhere(mask).mean(axis=0), 1.0])[:3]
        far.append(float(np.linalg.norm(now - (back @ [*now, 1.0])[:3])))
    lengths = f"{min(far):.1f} mm" if max(far) - min(far) < 0.05 else f"{min(far):.1f} to {max(far):.1f} mm"
    return (
        f"The images were aligned: the regions moved by {lengths} and turned by {found.angle:.1f}°; correlation of "
        f"both images {found.before:.2f} before, {found.after:.2f} after."
    )


def _copyColors(source, copy) -> None:
    """Give each copied segment the colour of the one it comes from."""
    if not source.IsA("vtkMRMLSegmentationNode"):
        return
    segmentation = source.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    colors = {segment.GetName(): segment.GetColor() for segment in segments}
    copied = copy.GetSegmentation()
    for index in range(copied.GetNumberOfSegments()):
        segment = copied.GetNthSegment(index)
        if segment.GetName() in colors:
            segment.SetColor(*colors[segment.GetName()])
