"""The slice views that a saved scene opens with."""

from __future__ import annotations

import slicer

from .HeadlessSlicer import HeadlessSlicer
from .MapDisplay import showOverlay

_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


def showInSliceViews(
    application: HeadlessSlicer, background: slicer.vtkMRMLScalarVolumeNode,
    foreground: slicer.vtkMRMLScalarVolumeNode | None, opacity: float = 1.0,
) -> None:
    """Set the three standard slice views to a map over an image, in the planes of acquisition, linked."""
    for name, orientation in _VIEWS.items():
        logic = application.addSliceView(name)
        composite = logic.GetSliceCompositeNode()
        showOverlay(composite, background, foreground, opacity)
        composite.SetLinkedControl(True)
        node = logic.GetSliceNode()
        node.SetOrientation(orientation)
        node.RotateToVolumePlane(background)
        logic.FitSliceToBackground()
        logic.SnapSliceOffsetToIJK()
