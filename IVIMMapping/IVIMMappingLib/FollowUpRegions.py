"""The regions of an earlier result on the grid of a new series, as a segmentation that a person can correct."""

from __future__ import annotations

import numpy as np
import slicer

from .EarlierResults import regionNodeOf
from .RegionChoice import chooseRegion
from .RegionSegments import createSegmentation, regionColor
from .Runs import Run, removeNodes
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
    copy = _createSegmentation(scene, region.masks, series, f"{node.GetName()} (follow-up)")
    copy.SetAttribute(FOLLOW_UP_ATTRIBUTE, run.key)
    _copyColors(node, copy)
    count = len(region.masks)
    what = "1 region was" if count == 1 else f"{count} regions were"
    said = [f"{what} taken over from the earlier result.", CHECK]
    said += [note for note in region.notes if "left out" in note]
    return copy, " ".join(said)


def _createSegmentation(scene, masks: dict[str, np.ndarray], series: SeriesInScene, name: str):
    """Add a segmentation with one segment for each mask; they may overlap, so each has a layer of its own."""
    reference = series.displayNode()
    whole = None
    for number, (title, mask) in enumerate(masks.items()):
        part = createSegmentation(scene, mask.astype(np.int16), {1: title}, series.geometry, name, reference)
        part.GetSegmentation().GetNthSegment(0).SetColor(*regionColor(number))
        if whole is None:
            whole = part
            continue
        identifier = part.GetSegmentation().GetNthSegmentID(0)
        # A name of its own: the identifiers come from the label and are all alike.
        segment = part.GetSegmentation().GetSegment(identifier)
        free = whole.GetSegmentation().GenerateUniqueSegmentID(identifier)
        whole.GetSegmentation().AddSegment(segment, free)
        removeNodes(scene, [part])
    transform = series.transformNode()
    if transform is not None:
        whole.SetAndObserveTransformNodeID(transform.GetID())
    return whole


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
