"""The regions of an earlier result on the grid of a new series, as a segmentation that a person can correct."""

from __future__ import annotations

import slicer

from .EarlierResults import regionNodeOf
from .RegionChoice import chooseRegion
from .RegionSegments import createOverlapping
from .Runs import Run
from .SeriesReader import SeriesInScene

CHECK = "They lie where they lay before, but the patient may lie otherwise now: check every position and correct it."
FOLLOW_UP_ATTRIBUTE = "IVIM.FollowUp"
"""Attribute of such a segmentation: key of the earlier run."""


def copyRegions(scene: slicer.vtkMRMLScene, run: Run, series: SeriesInScene) -> tuple[object, str]:
    """Copy the regions of a run onto the grid of a series, by their place in the patient's coordinates.

    Returns the new segmentation "… (follow-up)", None for a run without drawn regions, and what was done and must be
    checked, in words. A region without a voxel in the new series is left out and said; the earlier ones stay untouched.
    Raises InputError where no region lies in the new series.
    """
    kind, node = regionNodeOf(run)
    if node is None:
        return None, "The earlier result has no drawn regions to take over; draw or choose them in step 2."
    ids = [str(identifier) for identifier in run.settings.get("segmentIds") or []] if kind == "segments" else []
    region = chooseRegion(series, kind, node, ids)
    copy = createOverlapping(
        scene, region.masks, series.geometry, f"{node.GetName()} (follow-up)", series.displayNode()
    )
    transform = series.transformNode()
    if transform is not None:
        copy.SetAndObserveTransformNodeID(transform.GetID())
    copy.SetAttribute(FOLLOW_UP_ATTRIBUTE, run.key)
    _copyColors(node, copy)
    count = len(region.masks)
    what = "1 region was" if count == 1 else f"{count} regions were"
    said = [f"{what} taken over from the earlier result.", CHECK]
    said += [note for note in region.notes if "left out" in note]
    return copy, " ".join(said)


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
