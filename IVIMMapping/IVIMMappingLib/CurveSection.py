"""The signal under the cursor, at the pins and of the regions, with the fits of the chosen estimators, at once."""

from __future__ import annotations

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ivimcore.errors import InputError
from ivimcore.reports.preview import Preview

from .CrosshairFollower import CrosshairFollower
from .CurveFiles import CURVE_FILES, saveCurves
from .CurvePlot import CurvePlot
from .FileChoice import saveFile
from .LivePreview import LivePreview
from .PanelLabels import showText
from .PanelState import PanelState
from .PinMarks import PinMarks
from .Pins import Pins
from .PlottedCurves import Line, Points
from .PreviewTable import columnsOf, headerOf, rowOf
from .SignalCurves import Curve, SignalCurves, shadeOf
from .TableText import copyText, fillTable, tableText

_REGION_DELAY_MS = 150


class CurveSection:
    """Redraws plot and table: of the cursor at once, of the regions after a moment, because their mask takes longer."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.plot = CurvePlot(ui.plotFrame, self._onImage)
        self.preview = LivePreview()
        self.pins = Pins(lambda: state.parameters, self._onPins)
        self.marks = PinMarks()
        self.curves = SignalCurves(state, self.pins)
        self._entered = False
        self._shortcuts = []
        self._follower = CrosshairFollower(ui.plotFrame, self.moveTo)
        self._regionTimer = qt.QTimer(ui.plotFrame)
        self._regionTimer.setSingleShot(True)
        self._regionTimer.setInterval(_REGION_DELAY_MS)
        connected = (
            self._regionTimer.connect("timeout()", self._onRegionTimeout),
            ui.logScaleCheckBox.connect("toggled(bool)", self._onLogScale),
            ui.livePreviewCheckBox.connect("toggled(bool)", self._onLivePreview),
            ui.regionCurvesCheckBox.connect("toggled(bool)", self._onRegionCurves),
            ui.pinButton.connect("clicked(bool)", self._onPin),
            ui.unpinButton.connect("clicked(bool)", self._onUnpin),
            ui.copyPreviewButton.connect("clicked(bool)", self._onCopy),
            ui.savePlotButton.connect("clicked(bool)", self._onSave),
            ui.previewTable.connect("itemSelectionChanged()", self._onSelection),
        )
        assert all(answer is not False for answer in connected)
        ui.previewTable.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        state.seriesChanged.connect(self.curves.findRun)  # else the stored fit of the series before would stay
        for announcement in (state.seriesChanged, state.signalChanged, state.estimatorsChanged):
            announcement.connect(self._onSignal)
        state.regionChanged.connect(self._onRegion)
        state.runsChanged.connect(self._onRuns)
        state.mapChanged.connect(self._onRuns)
        self._nodeTag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)

    def refresh(self) -> None:
        """Draw what the scene brought."""
        self.pins.attach()
        if self._entered:
            self._follower.start()
        self._onRuns()
        self._onSignal()
        self._markPins()

    def enter(self) -> None:
        """Follow the crosshair, and take the keys."""
        self._entered = True
        self._follower.start()
        if not self._shortcuts:
            self._createShortcuts()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(True)
        self.redraw()
        self._markPins()

    def exit(self) -> None:
        """Give keys and crosshair back."""
        self._entered = False
        self._follower.stop()
        self.marks.remove()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)

    def close(self) -> None:
        """Let everything go."""
        self._follower.stop()
        self._regionTimer.stop()
        self.marks.remove()
        self.pins.detach()
        if self._nodeTag is not None:
            slicer.mrmlScene.RemoveObserver(self._nodeTag)
            self._nodeTag = None
        self.plot.close()
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
        self._shortcuts = []

    def redraw(self) -> None:
        """Draw plot and table of the present position, pins and regions."""
        state = self.state
        if state.parameters is None:
            return
        curves = self.curves.all()
        showText(self.ui.cursorLabel, self.curves.where())
        for button in (self.ui.pinButton, self.ui.copyPreviewButton, self.ui.savePlotButton):
            button.setEnabled(bool(curves))
        if state.series is None:
            self.plot.clear()
            self._fillTable([])
            return
        fitted = [(curve, self._fits(curve)) for curve in curves]
        b, used = state.bvalues(), state.used()
        labels = tuple(_("image {number}").format(number=number + 1) for number in range(b.size))
        points = [Points(c.name, c.color, b, c.signal, used, labels) for c in curves if c.signal is not None]
        lines = [
            Line(f"{curve.name}, {one.estimator}", shadeOf(curve.color, index), one.fine_b, one.fitted, _tissue(one))
            for curve, previews in fitted for index, one in enumerate(previews) if one.has_curve
        ]
        self.plot.draw(points, lines + self.curves.storedLines(), bool(state.parameters.logScale))
        self._fillTable(fitted)

    # --- what is drawn -----------------------------------------------------------------------------------------

    def _fits(self, curve: Curve) -> list[Preview]:
        live = self.state.parameters.livePreview and curve.signal is not None
        return self.preview.fit(curve.signal) if live else []

    def _fillTable(self, fitted) -> None:
        columns = columnsOf([one for _curve, previews in fitted for one in previews])
        rows = []
        for curve, previews in fitted:
            remark = curve.remark or (self.preview.problem if self.state.parameters.livePreview else "")
            if not previews:
                rows.append(rowOf(curve.name, curve.color, None, columns, remark))
            for index, one in enumerate(previews):
                rows.append(rowOf(curve.name, shadeOf(curve.color, index), one, columns, remark))
        fillTable(self.ui.previewTable, headerOf(columns), rows)
        self.ui.previewTable.setVisible(bool(rows))
        self._onSelection()

    # --- what changed ------------------------------------------------------------------------------------------

    def moveTo(self, ras) -> None:
        """Draw the signal at a position [mm] of the world, and tell the other sections."""
        if self.state.parameters is None:
            return
        self.state.cursor = ras
        self.redraw()
        self.state.cursorMoved()

    def _onSignal(self) -> None:
        state = self.state
        if state.parameters is None:
            return
        problem = ""
        try:
            acquisition = state.acquisition() if state.series is not None else None
            requests = state.requests()
        except InputError as fault:
            acquisition, requests, problem = None, (), str(fault)
        self.preview.configure(acquisition, state.used(), state.parameters.average, requests)
        if state.series is not None and acquisition is None:
            problem = problem or state.obstacle()
        self.preview.problem = self.preview.problem or problem
        self._onRegion()
        self.redraw()

    def _onRegion(self) -> None:
        self.curves.forgetRegions()
        if self.state.parameters is not None and self.state.parameters.regionCurves:
            self._regionTimer.start()

    def _onRegionTimeout(self) -> None:
        state = self.state
        if state.parameters is None or state.series is None:
            return
        self.curves.workOutRegions()
        self.redraw()

    def _onRuns(self) -> None:
        self.curves.findRun()
        self.redraw()

    def _onNodeRemoved(self, caller, event) -> None:
        # Later: while a scene removes one node, removing others (those of the plot) would break it.
        if self.pins.isGone():
            qt.QTimer.singleShot(0, self._onPins)

    def _onPins(self) -> None:
        if self.state.parameters is not None:
            self.redraw()
            self._markPins()
            self.state.pinsChanged()

    def _markPins(self) -> None:
        if self._entered:
            self.marks.show(self.pins.all())

    def _onImage(self, number0: int) -> None:
        series = self.state.series
        if series is not None and series.canShowImages:
            series.showImage(number0)

    # --- buttons -----------------------------------------------------------------------------------------------

    def _onLogScale(self, checked: bool = False) -> None:
        self._keep("logScale", checked)

    def _onLivePreview(self, checked: bool = False) -> None:
        self._keep("livePreview", checked)

    def _onRegionCurves(self, checked: bool = False) -> None:
        self._keep("regionCurves", checked)
        self._onRegion()

    def _keep(self, name: str, value: bool) -> None:
        # The binding of the panel writes the same value, but only after this.
        if self.state.parameters is not None:
            setattr(self.state.parameters, name, value)
            self.redraw()

    def _onPin(self, checked: bool = False) -> None:
        position = self.curves.position()
        if position is not None:
            self.pins.add(position)

    def _onPinKey(self) -> None:
        self._onPin()

    def _onUnpin(self, checked: bool = False) -> None:
        label = self._selectedPin()
        if label:
            self.pins.remove(label)

    def _selectedPin(self) -> str:
        row = self.ui.previewTable.currentRow()
        item = self.ui.previewTable.item(row, 0) if row >= 0 else None
        name = item.text() if item is not None else ""
        return name if any(pin.label == name for pin in self.pins.all()) else ""

    def _onSelection(self) -> None:
        if self.state.parameters is not None:
            self.ui.unpinButton.setEnabled(bool(self._selectedPin()))

    def _onCopy(self, checked: bool = False) -> None:
        copyText(tableText(self.ui.previewTable))

    def _onCopyKey(self) -> None:
        self._onCopy()

    def _onSave(self, checked: bool = False) -> None:
        self.saveTo(saveFile(self.ui.savePlotButton, _("Save the plot"), "signal.png", CURVE_FILES))

    def saveTo(self, path: str) -> None:
        """Write the plot as .png or .svg, or its numbers as .csv."""
        if not path or self.plot.chartNode is None:
            return
        try:
            saveCurves(self.plot, path)
        except InputError as fault:
            self.state.say(str(fault))

    def _createShortcuts(self) -> None:
        window = slicer.util.mainWindow()
        for keys, handler in (("Shift+P", self._onPinKey), ("Shift+C", self._onCopyKey)) if window is not None else ():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            connected = shortcut.connect("activated()", handler)
            assert connected is not False
            self._shortcuts.append(shortcut)


def _tissue(one: Preview):
    return one.tissue if np.isfinite(one.tissue).all() and not np.allclose(one.tissue, one.fitted) else None
