"""Maps of scanners and of other programs among the volumes of the scene: recognised, and shown as ours are.

A map is recognised by the quantity that its volume carries (Slicer's DICOM readers set it), by the image type and
description in Slicer's DICOM database, or by its name. Voxels stay as they were loaded; `scale` says what one is worth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ivimcore.reports.dicomcodes import key_of
from ivimcore.reports.dicomimport import SCALES, guess_scale, is_adc

from .MapDescription import describeMap, isMapKey
from .MapDisplay import ATTRIBUTE_PREFIX, DISPLAY_ATTRIBUTE, PARAMETER_ATTRIBUTE, addLegend, codedEntry, displayMap

ORIGIN_ATTRIBUTE = ATTRIBUTE_PREFIX + "Origin"
SHOWN_ATTRIBUTE = ATTRIBUTE_PREFIX + "ShownAs"
IMAGE_TYPE, DESCRIPTION = "0008,0008", "0008,103E"


@dataclass(frozen=True, eq=False)
class RecognisedMap:
    """A volume of the scene that is a map of somebody else: its `key` in our table, the stored units that one step of
    its voxels is worth, whether that was guessed from the size of the numbers, and how it was recognised.
    """

    node: Any
    key: str
    scale: float
    isGuess: bool
    how: str


def recogniseMap(node) -> RecognisedMap | None:
    """Return what a volume is, None for one that is no map of somebody else, or of which that is not known."""
    if (
        node is None or node.GetClassName() != "vtkMRMLScalarVolumeNode" or node.GetHideFromEditors()
        or node.GetAttribute(PARAMETER_ATTRIBUTE) or node.GetAttribute(DISPLAY_ATTRIBUTE)
        or node.GetImageData() is None or node.GetImageData().GetPointData().GetScalars() is None
    ):
        return None
    quantity, units = node.GetVoxelValueQuantity(), node.GetVoxelValueUnits()
    if quantity is not None and quantity.GetCodeValue():
        key = key_of((quantity.GetCodeValue(), quantity.GetCodingSchemeDesignator()))
        if key and re.search(r"(?i)_sd\b|\bsd of\b|standard deviation", node.GetName()) and isMapKey(f"{key}_sd"):
            key = f"{key}_sd"
        if isMapKey(key):
            scale = SCALES.get(units.GetCodeValue()) if units is not None else None
            return RecognisedMap(node, key, scale or 1.0, scale is None, "quantity code")
    imageType, description = _fromDatabase(node)
    if is_adc(imageType, description):
        return RecognisedMap(node, "ADC", _scaleOf(node), True, "DICOM header")
    if is_adc(["DERIVED"], node.GetName()):
        return RecognisedMap(node, "ADC", _scaleOf(node), True, "name")
    return None


def recognisedMaps(scene: slicer.vtkMRMLScene) -> list[RecognisedMap]:
    """Return the maps of others in a scene, in its order."""
    nodes = scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    found = (recogniseMap(nodes.GetItemAsObject(index)) for index in range(nodes.GetNumberOfItems()))
    return [one for one in found if one is not None]


def showAs(node, key: str, scale: float) -> None:
    """Show a volume with the colours, window and legend of the map `key`; one step of it is worth `scale` in its unit.

    Done once for each volume: what a person changes later stays.
    """
    if node.GetAttribute(SHOWN_ATTRIBUTE):
        return
    description = describeMap(key)
    parameter = description.parameter
    window = description.range
    displayMap(node, description, None if window is None else tuple(end / scale for end in window))
    legend = addLegend(node, description)
    if legend is not None and scale != 1.0:
        legend.SetTitleText(f"{description.symbol} [{scale:g} {parameter.unit}]")
    if scale == 1.0:
        node.SetVoxelValueQuantity(codedEntry(parameter.quantity_code))
        node.SetVoxelValueUnits(codedEntry(parameter.unit_code))
    values = slicer.util.arrayFromVolume(node)
    if key == "ADC" and (values == 0).any():
        display = node.GetDisplayNode()  # scanners write 0 where they have no value
        positive = values[values > 0]
        if positive.size:
            display.SetThreshold(0.5 * float(positive.min()), display.GetUpperThreshold())
    node.SetAttribute(SHOWN_ATTRIBUTE, key)


def _fromDatabase(node) -> tuple[list[str], str]:
    """Ask Slicer's DICOM database for image type and description of the files of a volume."""
    database = getattr(slicer, "dicomDatabase", None)
    identifiers = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not database.isOpen or not identifiers:
        return [], ""
    path = database.fileForInstance(identifiers[0])
    if not path:
        return [], ""
    return (database.fileValue(path, IMAGE_TYPE) or "").split("\\"), database.fileValue(path, DESCRIPTION) or ""


def _scaleOf(node) -> float:
    values = slicer.util.arrayFromVolume(node)
    return guess_scale(np.asarray(values[values > 0], dtype=float), node.GetName(), [])
