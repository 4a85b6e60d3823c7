"""What the panel saves in the scene: every choice a person made, with type, range and unit."""

from __future__ import annotations

import json
from typing import Annotated, Any, Union

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsClosedCurveNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceNode,
)
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

REGION_KINDS = ("body", "whole", "segments", "curve", "labels")


@parameterNodeWrapper
class MappingParameterNode:
    """Choices of the panel.

    `bvalues` one per image [s/mm²], empty as long as nobody edited them; `excludedImages` numbers of images that are
    left out, from 1; `estimators` in the order of the list; `optionsJson` name of an estimator -> option -> value, only
    what differs from the default; `thresholdValue` in the display unit of the map that hides voxels; `earlierRun` key
    of the run that a follow-up is compared with; `judgedBy` region of the reference cohort whose limits judge lesions
    of other names; `retestSessions` JSON list of [key of a run, subject].
    """

    # A selector takes its types from here and asks an object of each for its name: no abstract class, and `Union`
    # because the wrapper does not know `A | B`. Vector, diffusion and multivolumes derive from the scalar volume.
    seriesNode: Union[vtkMRMLSequenceNode, vtkMRMLScalarVolumeNode, None]  # noqa: UP007
    bvalues: list[float]
    excludedImages: list[int]
    average: str = "none"
    regionKind: Annotated[str, Choice(["body", "whole", "segments", "curve", "labels"])] = "body"
    regionNode: Union[  # noqa: UP007
        vtkMRMLSegmentationNode, vtkMRMLMarkupsClosedCurveNode, vtkMRMLLabelMapVolumeNode, None,
    ]
    segmentIds: list[str]
    estimators: list[str] = ["posterior"]
    organ: str = "none"
    optionsJson: str = "{}"
    snr: float = 0.0
    runName: str = ""
    logScale: bool = False
    livePreview: bool = True
    regionCurves: bool = False
    pinsNode: vtkMRMLMarkupsFiducialNode
    activeRun: str = ""
    activeMap: str = "D"
    automaticWindow: bool = False
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.7
    thresholdMap: str = ""
    thresholdValue: float = 0.0
    compareRun: str = ""
    compareMode: str = "none"
    startMode: Annotated[str, Choice(["new", "follow-up"])] = "new"
    earlierRun: str = ""
    followUpAlign: bool = False
    followUpHolm: bool = False
    followUpFew: bool = False
    followUpDstar: bool = False
    judgedBy: str = ""
    retestSessions: str = "[]"


def optionsOf(parameters: MappingParameterNode) -> dict[str, dict[str, Any]]:
    """Return the options that differ from their default, by estimator; a scene from outside may hold anything."""
    try:
        content = json.loads(parameters.optionsJson)
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(name): dict(options) for name, options in content.items() if isinstance(options, dict)}
