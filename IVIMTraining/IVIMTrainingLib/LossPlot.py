"""The loss while a network learns: of the voxels it learns from, and of voxels held out."""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _

from .LineChart import Curve, LineChart
from .TrainingRun import LossPoint

_COLORS = ((0.0, 0.45, 0.7), (0.84, 0.37, 0.0), (0.0, 0.62, 0.45), (0.8, 0.47, 0.65))


class LossPlot:
    """Draws the history of a training into `frame`, which is hidden as long as there is none."""

    def __init__(self, frame) -> None:
        self._frame = frame
        self.chart = LineChart(frame, "IVIMLoss")
        self._drawn: tuple = ()

    def draw(self, history: list[LossPoint]) -> None:
        """Show a history; drawn again only when something was added."""
        self._frame.setVisible(bool(history))
        basis = (id(history), len(history))
        if basis == self._drawn and self.chart.chartNode is not None and self.chart.chartNode.GetScene() is not None:
            return
        self._drawn = basis
        if not history:
            self.chart.clear()
            return
        logScale = all(value > 0 for point in history for value in (point.loss, point.check) if np.isfinite(value))
        curves = []
        for member in sorted({point.member for point in history}):
            mine = [point for point in history if point.member == member]
            color = _COLORS[(member - 1) % len(_COLORS)]
            steps = np.array([point.step for point in mine])
            curves.append(Curve(_("{number}: learned from").format(number=member), steps,
                                np.array([point.loss for point in mine]), _lighter(color)))
            curves.append(Curve(_("{number}: held out").format(number=member), steps,
                                np.array([point.check for point in mine]), color))
        self.chart.draw(curves, _("Step"), _("Loss"), logScale)

    def close(self) -> None:
        """Take the nodes out of the scene."""
        self.chart.close()


def _lighter(color: tuple[float, float, float]) -> tuple[float, float, float]:
    return tuple(0.5 + part / 2 for part in color)
