"""What the training panel saves in the scene: every choice a person made, with type, range and unit."""

from __future__ import annotations

from typing import Union

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSequenceNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class TrainingParameterNode:
    """Choices of the panel.

    `bvalues` as typed [s/mm²]; `snrLow`, `snrHigh` at b = 0 [1]; ranges in display units (D and D* in 10⁻³ mm²/s, f in
    percent); `minutes` of all trainings together.
    """

    # As in IVIMMapping: `Union`, and no abstract class, because the wrapper knows nothing else.
    seriesNode: Union[vtkMRMLSequenceNode, vtkMRMLScalarVolumeNode, None]  # noqa: UP007
    bvalues: str = ""
    snrLow: float = 15.0
    snrHigh: float = 60.0
    organ: str = "none"
    rangeDLow: float = 0.3
    rangeDHigh: float = 3.5
    rangefLow: float = 0.0
    rangefHigh: float = 60.0
    rangeDstarLow: float = 3.0
    rangeDstarHigh: float = 120.0
    distribution: str = "uniform"
    architecture: str = "mlp"
    strategy: str = "truth"
    members: int = 2
    minutes: float = 10.0
    early: bool = False
    title: str = "My network"
