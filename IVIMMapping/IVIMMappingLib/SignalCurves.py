"""The signals that the panel plots: under the cursor, at the pins, of the regions, and the stored fit of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from ivimcore.errors import InputError

from .ActiveRun import activeRun
from .CrosshairFollower import crosshairPosition
from .PanelState import PanelState
from .Pins import Pins
from .PlottedCurves import Line
from .ProbeValues import curveAt
from .RegionSegments import regionColor

CURSOR_COLOR = (0.2, 0.2, 0.2)
_STORED_COLOR = (0.75, 0.1, 0.1)
_DARKER = 0.6
"""Regions have light colours, made for dark images; on the light ground of a plot they are this much darker."""
_SHADES = ((0.0, 0.0), (0.45, 0.5), (0.35, 0.7), (0.7, 0.35), (0.6, 0.6))
"""Of the curves of several estimators: how much a colour is mixed with black, and a dark one with white."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One signal (n,) of all images with what it is called and how it is drawn; `remark` why there is none."""

    name: str
    color: tuple[float, float, float]
    signal: np.ndarray | None
    remark: str = ""


class SignalCurves:
    """Collects the curves of the present choices."""

    def __init__(self, state: PanelState, pins: Pins) -> None:
        self._state = state
        self._pins = pins
        self._regions: list[Curve] = []
        self._run = None

    def position(self) -> tuple[float, float, float] | None:
        """Return where the cursor is [mm]: under the mouse, else the crosshair, else the middle of the series."""
        series = self._state.series
        if series is None:
            return None
        if self._state.cursor is not None:
            return self._state.cursor
        crosshair = crosshairPosition()
        if crosshair is not None and any(crosshair) and series.ijkAt(crosshair) is not None:
            return crosshair
        matrix = series.ijkToRas()
        middle = (np.array(series.geometry.shape) - 1) // 2
        return None if matrix is None else tuple(float(x) for x in (matrix @ [*middle, 1.0])[:3])

    def where(self) -> str:
        """Return the position in words, '' without one."""
        position = self.position()
        if position is None:
            return ""
        ijk = self._state.series.ijkAt(position)
        text = "({:.1f}, {:.1f}, {:.1f}) mm".format(*position)
        if ijk is None:
            return _("Cursor at {where}, outside the series.").format(where=text)
        return _("Cursor at {where}, voxel {ijk}.").format(where=text, ijk=ijk)

    def all(self) -> list[Curve]:
        """Return the curve of the cursor, then those of the pins, then those of the regions where they are wanted."""
        position = self.position()
        if position is None:
            return []
        curves = [self._at(_("cursor"), CURSOR_COLOR, position)]
        curves += [self._at(pin.label, pin.color, pin.ras) for pin in self._pins.all()]
        if self._state.parameters.regionCurves:
            taken = {curve.name for curve in curves}
            curves += [
                Curve(_("{name} (region)").format(name=one.name), one.color, one.signal, one.remark)
                if one.name in taken else one for one in self._regions
            ]
        return curves

    def forgetRegions(self) -> None:
        """Draw no region until they have been worked out again."""
        self._regions = []

    def workOutRegions(self) -> None:
        """Take the mean signal of every region; a region that cannot be worked out becomes a curve with a remark."""
        series = self._state.series
        try:
            self._regions = [
                Curve(name, regionCurveColor(index), series.meanSignal(mask)[0])
                for index, (name, mask) in enumerate(self._state.region().masks.items())
            ]
        except InputError as fault:
            self._regions = [Curve(_("region"), CURSOR_COLOR, None, str(fault))]

    def findRun(self) -> None:
        """Draw from now on the stored fit of the run that is shown, if it belongs to this series."""
        state = self._state
        run = activeRun(state) if state.parameters is not None and state.series is not None else None
        self._run = run if run is not None and run.seriesNode is state.series.node else None

    def storedLines(self) -> list[Line]:
        """Return the stored fit at the cursor, so that maps and curve can be seen to agree."""
        position = self.position()
        if self._run is None or position is None:
            return []
        if not all(slicer.mrmlScene.IsNodePresent(node) for node in self._run.maps.values()):
            return []
        found = curveAt(self._run, position)
        if found is None or not np.isfinite(found[1]).any():
            return []
        return [Line(_("cursor, run {name}").format(name=self._run.name), _STORED_COLOR, *found[:2], None, True)]

    def _at(self, name: str, color, ras) -> Curve:
        ijk = self._state.series.ijkAt(ras)
        if ijk is None:
            return Curve(name, color, None, _("Outside the series."))
        return Curve(name, color, np.asarray(self._state.series.signalAt(ijk), dtype=float))


def regionCurveColor(index: int) -> tuple[float, float, float]:
    """Return the colour of the curve of the region with that number from 0."""
    return tuple(_DARKER * part for part in regionColor(index + 1))


def shadeOf(color, index: int) -> tuple[float, float, float]:
    """Return the colour of the curve of the estimator with that number from 0: a shade of the position's own."""
    black, white = _SHADES[index % len(_SHADES)]
    if sum(color) / 3 < 0.3:
        return tuple(part + white * (1 - part) for part in color)
    return tuple((1 - black) * part for part in color)
