"""The overview of runs as one picture: b = 0 image, D, f, D* and RMSE side by side, one row for each run.

The slices are drawn by Slicer (SliceFigure), titles and legends around them by OverviewLayout.

Where a run has information maps, the column 'D* information' is added, and voxels of D, f and D* in which the data
said little are pale and hatched: a smooth map that is only the prior must never look like a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ivimcore.physics.parameters import INFORMATION, INFORMATION_MEANS

from .MapDescription import describeMap
from .OverviewLayout import COLUMNS, OverviewRow, compose, sizeOfPanel
from .RegionSegments import regionMasks
from .SliceChoice import chooseBox, chooseSlice
from .SliceFigure import SliceFigure, sizeOfSlice
from .VolumeNodes import arrayFromVolumeNode, createVolumeNode, geometryOfVolumeNode

_HATCH_NOTE = "hatched: the data said little, the prior filled in"
_FEW_REGIONS = 6

_HATCH_PERIOD, _HATCH_WIDTH = 8, 2  # pixels along a line of the picture
_PALE, _DIM, _LINE = 0.8, 0.6, (150, 155, 163)
"""Of hatched voxels: the part of the colour lost to grey, the part of the lightness kept, and the colour of lines."""


def writeOverview(
    path: str | Path, scene: slicer.vtkMRMLScene, applicationLogic, rows: Sequence[OverviewRow],
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None, title: str = "", sliceIndex: int | None = None,
    baseName: str = "b = 0 image",
) -> dict[str, Any]:
    """Write the picture of `rows` as PNG and say what it shows: {"slice", "slices", "size"}.

    All rows lie on one grid. Maps of one column must have the same window (RunFolder.shareWindows); the legend under
    the column is that of its first map. Voxels with little information are hatched (`hatch`). Outlines of the regions
    are drawn on the maps too where they are few; many would hide them. `sliceIndex` along k is chosen by SliceChoice if
    None; `baseName` heads the first column.
    Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("An overview needs at least one row.")
    regions = regionMasks(segmentationNode, rows[0].base) if segmentationNode else {}
    fitted = next((row for row in rows if "rmse" in row.maps), rows[0])  # a truth has values where no fit has
    values = arrayFromVolumeNode(fitted.maps.get("D") or next(iter(fitted.maps.values()), fitted.base))[0]
    k = chooseSlice(values, regions) if sliceIndex is None else sliceIndex
    shown = np.isfinite(values[..., k])
    for mask in regions.values():
        shown = shown | mask[..., k]
    box = chooseBox(shown)
    geometry = geometryOfVolumeNode(rows[0].base)
    width, height = sizeOfSlice(geometry, box)
    panel = sizeOfPanel(width, height)
    pictures, letters, isHatched = _drawSlices(scene, applicationLogic, rows, k, box, panel, segmentationNode)
    names = _segmentColors(segmentationNode) if regions else []
    where = f"slice {k + 1} of {geometry.shape[2]}"
    notes = (_HATCH_NOTE,) if isHatched else ()
    canvas = compose(rows, pictures, panel, letters, names, title, where, baseName, notes)
    canvas.save(path)
    return {"slice": k, "slices": geometry.shape[2], "size": list(canvas.pixels.shape[1::-1])}


def hatch(picture: np.ndarray, unsure: np.ndarray) -> np.ndarray:
    """Return `picture` (h, w, 3) uint8 with the pixels of `unsure` (h, w) of bool pale and dim, under lines."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    changed = _DIM * ((1 - _PALE) * picture + _PALE * grey[..., None])
    y, x = np.indices(unsure.shape)
    changed[(x + y) % _HATCH_PERIOD < _HATCH_WIDTH] = _LINE
    return np.where(unsure[..., None], np.rint(changed), picture).astype(np.uint8)


def _drawSlices(scene, applicationLogic, rows, k, box, panel, segmentationNode):
    """Return the pictures {(row, column key): (h, w, 3)}, the letters of both edges, and whether any is hatched."""
    pictures, isHatched = {}, False
    outlines = segmentationNode.GetDisplayNode() if segmentationNode else None
    few = outlines is not None and segmentationNode.GetSegmentation().GetNumberOfSegments() <= _FEW_REGIONS
    visible = outlines is not None and outlines.GetVisibility()

    def draw(background, foreground=None, outlined=False):
        if outlines is not None:
            outlines.SetVisibility(outlined)
        return view.render(background, foreground, k, box=box)

    with SliceFigure(scene, applicationLogic, panel) as view:
        for number, row in enumerate(rows):
            pictures[number, "base"] = draw(row.base, outlined=True)
            for key in (key for key in COLUMNS if key in row.maps):
                # Over the grey image nobody could tell where a grey map ends.
                layers = (row.maps[key],) if describeMap(key).colors == "Grey" else (row.base, row.maps[key])
                pictures[number, key] = outlined = draw(*layers, outlined=few)
                information = row.maps.get(key + INFORMATION)
                if information is None:
                    continue
                unsure = _drawUnsure(scene, draw, row.maps[key], information)
                plain = draw(*layers) if few else outlined
                # Outlines are what differs from the picture without them, and stay above the hatching.
                isOutline = (outlined != plain).any(axis=2, keepdims=True)
                pictures[number, key] = np.where(isOutline, outlined, hatch(plain, unsure))
                isHatched = isHatched or bool(unsure.any())
        letters = view.edgeLetters()
    if outlines is not None:
        outlines.SetVisibility(visible)
    return pictures, letters, isHatched


def _drawUnsure(scene, draw, node, information) -> np.ndarray:
    """Return the pixels (h, w) of the voxels with a value of `node` in which the data said little."""
    values, geometry = arrayFromVolumeNode(node)
    known = arrayFromVolumeNode(information)[0]
    unsure = np.isfinite(values) & (known < INFORMATION_MEANS)
    mask = createVolumeNode(scene, unsure, geometry, "IVIMFigure unsure")
    display = mask.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetInterpolate(False)
    pixels = draw(mask)[..., 0] > 127
    scene.RemoveNode(display)
    scene.RemoveNode(mask)
    return pixels


def _segmentColors(node) -> list[tuple[str, tuple[float, float, float]]]:
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    return [(segment.GetName(), tuple(segment.GetColor())) for segment in segments]
