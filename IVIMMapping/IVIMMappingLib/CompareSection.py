"""Two runs against each other: side by side, blinking in one view, as difference, and as scatter plot."""

from __future__ import annotations

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import InputError

from .ActiveRun import activeMap, activeRun
from .FileChoice import saveFile
from .MapComparison import createDifference, scatterSample
from .MapDescription import describeMap
from .MapHiding import shownNode
from .PanelLabels import showText
from .PanelState import PanelState
from .PlotPicture import writeChart
from .ResultLayout import PAIR, ResultLayout, panelOfMap, usualComposites
from .Runs import Run, removeNodes, runsOf
from .ScatterPlot import ScatterPlot
from .TableText import narrow

_BLINK = 500
"""Milliseconds that each map is shown."""
_PICTURES, _PICTURE = "Picture (*.png);;Scalable picture (*.svg)", (640, 600)
"""Files that a plot becomes, and its size there [pixels]."""


class CompareSection:
    """Compares the shown map of the shown run with that of another run; begins when a way is chosen."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.layout = ResultLayout(*PAIR)
        self.plot: ScatterPlot | None = None
        self._updating = False
        self._runs: list[Run] = []
        self._difference = None
        self._pair: list = []
        self._names: list[str] = []
        self._text = ""
        self._shortcut = None
        self._blink = qt.QTimer(ui.compareModeComboBox)
        self._blink.connect("timeout()", self._onBlink)
        for title, mode in (
            (_("choose how"), "none"), (_("side by side"), "side"), (_("blink (Shift+Space)"), "blink"),
            (_("difference"), "difference"), (_("scatter"), "scatter"),
        ):
            ui.compareModeComboBox.addItem(title, mode)
        narrow(ui.compareRunComboBox)
        ui.scatterFrame.setVisible(False)
        ui.compareRunComboBox.connect("currentIndexChanged(int)", self._onRun)
        ui.compareModeComboBox.connect("currentIndexChanged(int)", self._onMode)
        ui.saveScatterButton.connect("clicked(bool)", self._onSaveScatter)
        state.runsChanged.connect(self._onRunsChanged)
        state.mapChanged.connect(self._onMapChanged)

    def refresh(self) -> None:
        """Take the runs of the scene; nothing is compared until a way is chosen again."""
        self._stop()
        self.layout.forget()
        self.state.parameters.compareMode = "none"
        self._fill()
        self._setMode("none")

    def enter(self) -> None:
        """Take the key Shift+Space."""
        if self._shortcut is None:
            window = slicer.util.mainWindow() or self.ui.compareButton
            self._shortcut = qt.QShortcut(qt.QKeySequence("Shift+Space"), window)
            self._shortcut.connect("activated()", self._onKey)
        self._shortcut.setEnabled(True)

    def exit(self) -> None:
        """Give the key back, and let a map stand still."""
        if self._shortcut is not None:
            self._shortcut.setEnabled(False)
        self._stopBlinking()

    def close(self) -> None:
        """End the timer; take the plot's nodes away."""
        self._blink.stop()
        if self._shortcut is not None:
            self._shortcut.setParent(None)
            self._shortcut = None
        if self.plot is not None:
            self.plot.close()

    # --- filling -----------------------------------------------------------------------------------------------

    def _onRunsChanged(self) -> None:
        if self.state.parameters is not None:
            self._stop()
            self._fill()
            self._setMode("none")

    def _fill(self) -> None:
        shown = activeRun(self.state)
        self._runs = [run for run in runsOf(slicer.mrmlScene) if shown is None or run.key != shown.key]
        self._updating = True
        box = self.ui.compareRunComboBox
        box.clear()
        for run in self._runs:
            box.addItem(run.name, run.key)
        known = box.findData(self.state.parameters.compareRun)
        if self._runs:
            box.setCurrentIndex(max(0, known))
        self._updating = False
        box.setEnabled(bool(self._runs))
        self.ui.compareModeComboBox.setEnabled(bool(self._runs))
        missing = _("Tick several estimators, or run another one; then two runs can be compared.")
        showText(self.ui.compareLabel, "" if self._runs else missing)

    def _setMode(self, mode: str) -> None:
        self._updating = True
        self.ui.compareModeComboBox.setCurrentIndex(self.ui.compareModeComboBox.findData(mode))
        self._updating = False

    def _other(self) -> Run | None:
        index = self.ui.compareRunComboBox.currentIndex
        return self._runs[index] if 0 <= index < len(self._runs) else None

    # --- what a person does ------------------------------------------------------------------------------------

    def _onRun(self, index):
        if self._updating or not 0 <= index < len(self._runs):
            return
        self.state.parameters.compareRun = self._runs[index].key
        self._compare()

    def _onMode(self, index):
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.compareMode = self.ui.compareModeComboBox.itemData(index)
        self._compare()

    def _onSaveScatter(self, checked=False):
        path = saveFile(self.ui.saveScatterButton, _("Save the scatter plot"), "comparison.png", _PICTURES)
        if not path or self.plot is None or self.plot.chartNode is None:
            return
        try:
            writeChart(self.plot.chartNode, path, _PICTURE)
        except InputError as fault:
            self.state.say(str(fault), "error")
        else:
            self.state.say(_("Written: {path}").format(path=path), "information")

    def _onMapChanged(self) -> None:
        """Another map is shown: compare that one; another run: the list of others changes."""
        if self.state.parameters is None or self._updating:
            return
        shown = activeRun(self.state)
        if shown is None or any(run.key == shown.key for run in self._runs):
            self._stop()
            self._fill()
            self._setMode("none")
            self.state.parameters.compareMode = "none"
        elif self.state.parameters.compareMode != "none":
            self._compare()

    def _onKey(self):
        """Blink, or stop blinking, whatever was chosen before."""
        if self.state.parameters is None or not self._runs:
            return
        index = self.ui.compareModeComboBox.findData("none" if self._blink.isActive() else "blink")
        self.ui.compareModeComboBox.setCurrentIndex(index)

    # --- comparing ---------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Do what the two boxes say."""
        mode = self.state.parameters.compareMode
        self._stop()
        self.state.parameters.compareMode = mode
        run, other = activeRun(self.state), self._other()
        key = activeMap(self.state, run)
        showText(self.ui.compareLabel, "")
        if mode == "none" or run is None or other is None or key is None:
            return
        if key not in other.maps:
            showText(
                self.ui.compareLabel,
                _("{run} has no map of {symbol}; choose another map or another run.").format(
                    run=other.name, symbol=describeMap(key).symbol
                )
            )
            return
        try:
            showText(self.ui.compareLabel, self._agreement(run, other, key, mode == "scatter"))
            {"side": self._sideBySide, "blink": self._beginBlinking, "difference": self._showDifference}.get(
                mode, lambda *_: None
            )(run, other, key)
        except InputError as fault:
            showText(self.ui.compareLabel, str(fault))

    def _agreement(self, run: Run, other: Run, key: str, isPlotted: bool) -> str:
        """Return n, bias, SD and correlation over all voxels with both values; draw a sample of them if asked."""
        a, b = (slicer.util.arrayFromVolume(each.maps[key]) for each in (run, other))
        description = describeMap(key)
        factor, unit = description.parameter.display_factor, description.parameter.display_unit
        if a.shape != b.shape:
            raise InputError(_("The two maps lie on different grids; compare runs of the same series."))
        both = np.isfinite(a) & np.isfinite(b)
        n = int(both.sum())
        if n < 2:
            raise InputError(_("The two maps have no voxels in common; choose another run."))
        if isPlotted:
            x, y = scatterSample(run.maps[key], other.maps[key])
            if self.plot is None:
                self.plot = ScatterPlot(self.ui.scatterFrame)
            # The font of VTK has no superscript minus and would draw '10³'.
            label = description.label.replace("10⁻³", "10^-3")
            self.plot.draw(
                factor * np.asarray(x), factor * np.asarray(y), f"{label}, {run.estimator}",
                f"{label}, {other.estimator}",
            )
            self.ui.scatterFrame.setVisible(True)
        first, second = a[both].astype(float), b[both].astype(float)
        difference = factor * (first - second)
        spread = first.std() * second.std()
        covariance = float(((first - first.mean()) * (second - second.mean())).mean())
        correlation = covariance / spread if spread > 0 else np.nan
        shownUnit = "" if unit == "1" else f" {unit}"
        text = _("{symbol}, {first} minus {second}: n = {n} voxels, bias {bias}{unit}, SD {sd}{unit}, r = {r}.").format(
            symbol=description.symbol, first=run.name, second=other.name, n=n, bias=f"{difference.mean():.3g}",
            sd=f"{difference.std(ddof=1):.3g}", unit=shownUnit,
            r=f"{correlation:.3f}" if np.isfinite(correlation) else _("undefined"),
        )
        if isPlotted and n > len(x):
            text += " " + _("{shown} of them are drawn.").format(shown=len(x))
        return text

    def _sideBySide(self, run: Run, other: Run, key: str) -> None:
        background = self._background(run, key)
        panels = [panelOfMap(each.name, shownNode(each, key), key, background) for each in (run, other)]
        self.layout.show(panels, self.state.parameters.overlayOpacity, self.state.cursor)

    def _beginBlinking(self, run: Run, other: Run, key: str) -> None:
        self._pair = [shownNode(run, key), shownNode(other, key)]
        self._names = [run.name, other.name]
        self._text = self.ui.compareLabel.text
        self._blink.start(_BLINK)

    def _onBlink(self):
        """Swap the two maps in every view that shows one of them."""
        ids = [node.GetID() for node in self._pair if slicer.mrmlScene.IsNodePresent(node)]
        if len(ids) < 2:
            self._blink.stop()
            return
        shown = ids[0]
        for composite in usualComposites():
            if composite.GetForegroundVolumeID() in ids:
                shown = ids[1 - ids.index(composite.GetForegroundVolumeID())]
                composite.SetForegroundVolumeID(shown)
        name = self._names[ids.index(shown)]
        showText(self.ui.compareLabel, f"{self._text}\n" + _("Now: {name}").format(name=name))

    def _showDifference(self, run: Run, other: Run, key: str) -> None:
        self._difference = createDifference(slicer.mrmlScene, run, other, key)
        for composite in usualComposites():
            composite.SetForegroundVolumeID(self._difference.GetID())
            composite.SetForegroundOpacity(1.0)

    def _background(self, run: Run, key: str):
        """Return the image behind the maps in the usual views, if it is not one of the maps."""
        for composite in usualComposites():
            node = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
            if node is not None and node not in run.maps.values():
                return node
        return None

    def _stop(self) -> None:
        """End whatever comparison goes on, and show the map of the shown run again."""
        self._stopBlinking()
        self.ui.scatterFrame.setVisible(False)
        self.layout.back()
        difference, self._difference = self._difference, None
        if difference is not None and slicer.mrmlScene.IsNodePresent(difference):
            self._showOwn(difference)
            removeNodes(slicer.mrmlScene, [difference])

    def _stopBlinking(self) -> None:
        if self._blink.isActive():
            self._blink.stop()
            self._showOwn(*self._pair)

    def _showOwn(self, *instead) -> None:
        run = activeRun(self.state) if self.state.parameters is not None else None
        key = activeMap(self.state, run)
        if key is None:
            return
        ids = [node.GetID() for node in instead]
        for composite in usualComposites():
            if composite.GetForegroundVolumeID() in ids:
                composite.SetForegroundVolumeID(shownNode(run, key).GetID())
                composite.SetForegroundOpacity(self.state.parameters.overlayOpacity)
