"""A diffusion-weighted series as a volume sequence: one frame per image, with its b-value as attribute."""

from __future__ import annotations

import numpy as np
import slicer

from ivimcore.data.series import Geometry

from .VolumeNodes import setVolumeArray

BVALUE_ATTRIBUTE = "DWMRI_b-value"


def createDwiSequence(
    scene: slicer.vtkMRMLScene, signal: np.ndarray, geometry: Geometry, bvalues: np.ndarray, name: str
) -> slicer.vtkMRMLSequenceNode:
    """Add a sequence with the images of `signal` (x, y, z, n) and their b-values (n,) [s/mm²].

    The index is the frame number, because two frames of equal index would overwrite each other and b-values repeat.
    A diffusion-weighted volume node is not used: it loses b-values of short and of trace series when it is saved.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    node.SetIndexName("frame")
    node.SetIndexUnit("")
    node.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)
    for number, bvalue in enumerate(np.asarray(bvalues, dtype=float)):
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName(f"{name} b{bvalue:g}")
        setVolumeArray(frame, signal[..., number], geometry)
        frame.SetAttribute(BVALUE_ATTRIBUTE, f"{bvalue:.10g}")
        node.SetDataNodeAtValue(frame, str(number))
    return node


def browseSequence(
    applicationLogic, sequenceNode: slicer.vtkMRMLSequenceNode
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a browser that steps through the frames, and return the volume that shows the chosen one.

    `applicationLogic` is that of the scene. The volume has the name of the sequence, as everywhere in Slicer, and the
    b-value of its present frame as attribute.
    """
    scene = sequenceNode.GetScene()
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sequenceNode.GetName()} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequenceNode.GetID())
    applicationLogic.GetModuleLogic("Sequences").UpdateProxyNodesFromSequences(browser)
    return browser.GetProxyNode(sequenceNode)


def bvaluesOfSequence(node: slicer.vtkMRMLSequenceNode) -> np.ndarray:
    """Return the b-values (n,) [s/mm²] of the frames, NaN where a frame has none."""
    texts = [
        node.GetNthDataNode(number).GetAttribute(BVALUE_ATTRIBUTE) for number in range(node.GetNumberOfDataNodes())
    ]
    return np.array([float(text) if text else np.nan for text in texts])
