"""A map as a volume node that knows what it is: name, quantity, unit, provenance, colours, window and legend.

Voxels without a value stay NaN in the scene, exactly as on disk. The display hides them by its threshold: NaN is
neither above nor below any number, so Slicer gives it opacity 0 and the image behind shows through.

The legend of the scene is in stored units ('D [mm²/s]', 0.001). Slicer writes the numbers of a legend from the
window of the volume and cannot scale them; names of colours could carry scaled numbers, but would keep them when
somebody changes the window, and a legend that lies is worse than one with zeros. Stored units also agree with the
data probe and the Volumes module. The exponent of '10⁻³' is missing from the font of VTK, which would draw '10³'.
Pictures, whose windows do not change, are labelled in display units (OverviewFigure).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from ivimcore.data.series import Geometry
from ivimcore.estimators.result import SENTENCES
from ivimcore.reports.colormaps import colormap

from .MapDescription import STATUS, MapDescription, describeMap, labelCount, robustWindow, roundWindow
from .VolumeNodes import createVolumeNode

ATTRIBUTE_PREFIX = "IVIM."
PARAMETER_ATTRIBUTE = ATTRIBUTE_PREFIX + "Parameter"
ESTIMATOR_ATTRIBUTE = ATTRIBUTE_PREFIX + "Estimator"
RUN_ATTRIBUTE = ATTRIBUTE_PREFIX + "RunId"
PROVENANCE_ATTRIBUTE = ATTRIBUTE_PREFIX + "Provenance"
COLORS_ATTRIBUTE = ATTRIBUTE_PREFIX + "ColorTable"
SETTINGS_ATTRIBUTE = ATTRIBUTE_PREFIX + "Settings"
DISPLAY_ATTRIBUTE = ATTRIBUTE_PREFIX + "Display"
"""Of a node that only shows another: why it does; a node reference of the same name leads to that other one."""
_LABEL_FORMAT = "%.3g"
_LETTER, _LESS, _LEAST_WIDTH, _MOST_WIDTH = 0.045, 0.03, 0.065, 0.22
"""Width of a legend, as a part of the view: so much for each letter of its longest label, less this; limits."""


def createMapNode(
    scene: slicer.vtkMRMLScene, key: str, values: np.ndarray, geometry: Geometry, name: str,
    provenance: Mapping[str, Any] | None = None, window: tuple[float, float] | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add the map `key` with `values` (x, y, z) in stored units, NaN where there is no value, ready to look at.

    `provenance` is kept on the node as JSON, its "run_id" and "estimator" also as attributes of their own. `window` in
    stored units replaces that of the parameter table, or of the image where the table has none.
    """
    description = describeMap(key)
    node = createVolumeNode(scene, np.asarray(values, dtype=np.float32), geometry, name, automaticWindow=False)
    node.SetDescription(f"IVIM {description.symbol}: {description.description}, in {description.parameter.unit}")
    node.SetVoxelValueQuantity(codedEntry(description.parameter.quantity_code))
    node.SetVoxelValueUnits(codedEntry(description.parameter.unit_code))
    setProvenance(node, key, provenance or {})
    displayMap(node, description, window)
    addLegend(node, description)
    return node


def createStatusNode(
    scene: slicer.vtkMRMLScene, status: np.ndarray, geometry: Geometry, name: str,
    provenance: Mapping[str, Any] | None = None,
) -> slicer.vtkMRMLLabelMapVolumeNode:
    """Add the status of every voxel, `status` (x, y, z), as a label map: the data probe then reads out the sentence."""
    node = createVolumeNode(scene, np.asarray(status, dtype=np.uint8), geometry, name, "vtkMRMLLabelMapVolumeNode")
    node.SetDescription("IVIM status: why a voxel has, or has not, a value")
    setProvenance(node, STATUS, provenance or {})
    node.GetDisplayNode().SetAndObserveColorNodeID(_statusColors(scene).GetID())
    return node


def setProvenance(node: slicer.vtkMRMLNode, key: str, provenance: Mapping[str, Any]) -> None:
    """Write on a node which map it is and where it comes from."""
    node.SetAttribute(PARAMETER_ATTRIBUTE, key)
    node.SetAttribute(ESTIMATOR_ATTRIBUTE, str(provenance.get("estimator", "")))
    node.SetAttribute(RUN_ATTRIBUTE, str(provenance.get("run_id", "")))
    text = json.dumps(dict(provenance), ensure_ascii=False, sort_keys=True, default=str)
    node.SetAttribute(PROVENANCE_ATTRIBUTE, text)


def displayMap(
    node: slicer.vtkMRMLScalarVolumeNode, description: MapDescription, window: tuple[float, float] | None = None
) -> None:
    """Give a map its colours, its window (stored units) and the threshold that hides voxels without a value."""
    values = slicer.util.arrayFromVolume(node)
    low, high = window or description.range or roundWindow(*robustWindow(values))
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorTableNode(node.GetScene(), description.colors).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    display.SetInterpolate(False)
    # The threshold must let every number pass, also after it was written to the scene file with few digits.
    finite = values[np.isfinite(values)]
    smallest, largest = (float(finite.min()), float(finite.max())) if finite.size else (low, high)
    smallest, largest = min(smallest, low), max(largest, high)
    margin = 0.01 * (largest - smallest) or 1.0
    display.AutoThresholdOff()
    display.SetThreshold(smallest - margin, largest + margin)
    display.ApplyThresholdOn()


def addLegend(
    node: slicer.vtkMRMLScalarVolumeNode, description: MapDescription
) -> slicer.vtkMRMLColorLegendDisplayNode | None:
    """Give a map its colour legend, shown wherever the map is shown; None where no colour logic watches the scene."""
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is None:
        return None
    display = node.GetDisplayNode()
    legend.SetTitleText(description.legendTitle)
    legend.SetLabelFormat(_LABEL_FORMAT)
    legend.SetMaxNumberOfColors(256)
    legend.SetPosition(0.97, 0.5)
    fitLegend(legend, display.GetWindowLevelMin(), display.GetWindowLevelMax())
    legend.SetVisibility(True)
    return legend


def fitLegend(legend: slicer.vtkMRMLColorLegendDisplayNode, low: float, high: float) -> None:
    """Give a legend the number of labels and the width that suit a window (stored units).

    VTK makes text as large as the width of a legend lets it: with one width for all, 0.003 would be small print beside
    the 35 of another map, whose title would then cover the image.
    """
    count = labelCount(low, high)
    letters = max(len(_LABEL_FORMAT % value) for value in np.linspace(low, high, count))
    legend.SetNumberOfLabels(count)
    legend.SetSize(min(max(_LETTER * letters - _LESS, _LEAST_WIDTH), _MOST_WIDTH), 0.5)


def colorTableNode(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLColorTableNode:
    """Return our colour table of that name, made once per scene; 'Grey' is Slicer's own.

    Raises KeyError for an unknown name.
    """
    if name == "Grey":
        return scene.GetNodeByID("vtkMRMLColorTableNodeGrey")
    return findColorTable(scene, name) or createColorTable(
        scene, name, f"IVIMSlicer: {name[5:].lower()} maps, perceptually uniform",
        [(f"{index}", *color) for index, color in enumerate(colormap(name))],
    )


def showOverlay(
    compositeNode: slicer.vtkMRMLSliceCompositeNode, background: slicer.vtkMRMLVolumeNode | None,
    foreground: slicer.vtkMRMLVolumeNode | None, opacity: float = 1.0,
) -> None:
    """Show a map over an image in the slice view of `compositeNode`; None empties the layer."""
    compositeNode.SetBackgroundVolumeID(background.GetID() if background else None)
    compositeNode.SetForegroundVolumeID(foreground.GetID() if foreground else None)
    compositeNode.SetForegroundOpacity(opacity)


def _statusColors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    name = "IVIM Status"
    if findColorTable(scene, name):
        return findColorTable(scene, name)
    shades = colormap("IVIM Misfit")[np.linspace(60, 230, len(SENTENCES)).astype(int)]
    colors = [(sentence, *shade) for sentence, shade in zip(SENTENCES.values(), shades, strict=True)]
    return createColorTable(scene, name, "IVIMSlicer: what each status means", colors, transparent=2)


def findColorTable(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLColorTableNode | None:
    """Return the colour table of ours with that name, None before the first use."""
    nodes = scene.GetNodesByClass("vtkMRMLColorTableNode")
    for index in range(nodes.GetNumberOfItems()):
        node = nodes.GetItemAsObject(index)
        if node.GetAttribute(COLORS_ATTRIBUTE) == name:
            return node
    return None


def createColorTable(
    scene: slicer.vtkMRMLScene, name: str, text: str, colors: list[tuple], transparent: int = 0
) -> slicer.vtkMRMLColorTableNode:
    """Add a colour table of ours of (name, r, g, b); the first `transparent` entries are not drawn."""
    node = slicer.vtkMRMLColorTableNode()
    node.SetTypeToUser()
    node.SetName(name)
    node.SetDescription(text)
    node.SetNumberOfColors(len(colors))
    for index, (colorName, red, green, blue) in enumerate(colors):
        node.SetColor(index, colorName, float(red), float(green), float(blue), 0.0 if index < transparent else 1.0)
    node.SetAttribute(COLORS_ATTRIBUTE, name)
    node.SetAttribute("Category", "IVIM")
    return scene.AddNode(node)


def codedEntry(code: tuple[str, str, str]):
    """Return Slicer's form of a code (value, scheme, meaning)."""
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(*code)
    return entry


def setAutomaticWindow(node: slicer.vtkMRMLScalarVolumeNode, automatic: bool) -> None:
    """Take the window of a map from its values (2nd to 98th percentile), or from the parameter table; legend follows.

    Call MapHiding.followMap afterwards if voxels of the map are hidden.
    """
    key = node.GetAttribute(PARAMETER_ATTRIBUTE)
    description = describeMap(key)
    values = slicer.util.arrayFromVolume(node)
    if automatic:
        finite = values[np.isfinite(values)]
        low, high = (float(x) for x in np.percentile(finite, (2, 98))) if finite.size else (0.0, 1.0)
        window = (low, high if high > low else low + (abs(low) or 1.0))
    else:
        window = description.range or roundWindow(*robustWindow(values))
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*window)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        fitLegend(legend, *window)
