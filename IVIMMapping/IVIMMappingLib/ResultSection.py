"""Step 4: the runs of the scene and their maps: shown, read at the cursor, hidden where unsure, renamed, removed."""

from __future__ import annotations

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ivimcore import InputError

from .ActiveRun import activeMap, activeRun
from .ExportMenu import ExportMenu
from .HidingControls import HidingControls
from .MapDescription import describeMap
from .MapDisplay import PARAMETER_ATTRIBUTE, setAutomaticWindow
from .MapFollower import MapFollower
from .MapHiding import shownNode
from .PanelLabels import showText
from .PanelState import PanelState
from .ResultLayout import (
    MAPS,
    ResultLayout,
    keysOfLayout,
    ownComposites,
    panelsOfRun,
    showInUsualViews,
    usualComposites,
)
from .RunChoices import restoreChoices, sentenceOfRun
from .RunEditing import RunEditing
from .Runs import Run, runOfMap, runsOf
from .ScannerAdcSection import ScannerAdcSection
from .SeriesReader import readSeries
from .StatisticsView import showRegionNumbers, showStatistics
from .TableText import copyText, narrow, tableText
from .VoxelText import voxelText

WINDOW_ATTRIBUTE = "IVIM.Window"


class ResultSection:
    """Shows one run and one of its maps; what is shown is written to `parameters.activeRun` and `activeMap`."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self.runs: list[Run] = []
        self.layout = ResultLayout(*MAPS)
        self.export = ExportMenu(ui.exportButton, state)
        self._updating = False
        self._restored = ""
        self._hiding = HidingControls(ui, state, self._showMap)
        self.scanner = ScannerAdcSection(ui, state, self._onScanner)
        self._editing = RunEditing(ui, state, lambda: self.run, self.layout.back)
        self._follower = MapFollower(ui.mapComboBox, self._onMapInView)
        for box in (ui.runComboBox, ui.mapComboBox, ui.windowComboBox, ui.thresholdComboBox):
            narrow(box)
        ui.windowComboBox.addItem(_("parameter table (equal in all patients)"), False)
        ui.windowComboBox.addItem(_("automatic (this map)"), True)
        ui.runComboBox.connect("currentIndexChanged(int)", self._onRun)
        ui.mapComboBox.connect("currentIndexChanged(int)", self._onMap)
        ui.windowComboBox.connect("currentIndexChanged(int)", self._onWindow)
        ui.opacitySlider.connect("valueChanged(double)", self._onOpacity)
        ui.layoutButton.connect("clicked(bool)", self._onLayout)
        ui.returnLayoutButton.connect("clicked(bool)", self._onReturn)
        ui.uncertaintyCheckBox.connect("toggled(bool)", self._onUncertainty)
        ui.copyStatisticsButton.connect("clicked(bool)", self._onCopy)
        state.runsChanged.connect(self._onRunsChanged)
        state.cursorMoved.connect(self._showVoxel)
        state.mapChanged.connect(self._onMapChanged)
        state.mapPicked.connect(self.pick)

    def refresh(self) -> None:
        """Take the runs of the scene, without touching the views: a loaded scene brings its own."""
        self.layout.forget()
        self._follower.forget()
        self._restored = ""
        self._updating = True
        parameters = self.state.parameters
        self.ui.windowComboBox.setCurrentIndex(1 if parameters.automaticWindow else 0)
        self._updating = False
        self.runs = runsOf(slicer.mrmlScene)
        self._fill()

    def enter(self) -> None:
        """Look again: maps may have been removed while another module was shown."""
        if self.state.parameters is not None:
            self.runs = runsOf(slicer.mrmlScene)
            self._fill()
        self._follower.start()

    def exit(self) -> None:
        """What other modules put into the views is looked at when this one is shown again."""
        self._follower.stop()

    def close(self) -> None:
        """Let views and scene go, and a button forget that it was pressed once."""
        self._follower.stop()
        self._editing.reset()
        self.scanner.close()

    @property
    def run(self) -> Run | None:
        """The run that is shown."""
        return activeRun(self.state, self.runs) if self.state.parameters is not None else None

    # --- filling -----------------------------------------------------------------------------------------------

    def _onRunsChanged(self) -> None:
        if self.state.parameters is None:
            return
        isFirst = not self.runs
        gone = len(self.runs)
        self.runs = runsOf(slicer.mrmlScene)
        self._restored = ""
        self._fill()
        if len(self.runs) < gone:
            self._showMap()
        ended = self.state.run
        if ended is not None and ended.state == "done" and self.run is not None:
            self._showMap()
            if isFirst:
                # A moment later: making six views takes a while, and the window should first say that the run is done.
                qt.QTimer.singleShot(0, self._onLayout)

    def _fill(self) -> None:
        self._updating = True
        box = self.ui.runComboBox
        box.clear()
        for run in self.runs:
            box.addItem(run.name, run.key)
        run = self.run
        if run is not None:
            box.setCurrentIndex([other.key for other in self.runs].index(run.key))
        self._updating = False
        for widget in (
            box, self.ui.mapComboBox, self.ui.windowComboBox, self.ui.opacitySlider, self.ui.thresholdComboBox,
            self.ui.layoutButton, self.ui.renameRunButton, self.ui.removeRunButton, self.ui.copyStatisticsButton,
            self.ui.exportButton,
        ):
            widget.setEnabled(run is not None)
        self.ui.returnLayoutButton.setEnabled(self.layout.isShown)
        self._fillRun(run)

    def _fillRun(self, run: Run | None) -> None:
        """Fill everything that belongs to one run."""
        self._updating = True
        maps = self.ui.mapComboBox
        maps.clear()
        for key in run.maps if run is not None else ():
            description = describeMap(key)
            maps.addItem(description.label, key)
            maps.setItemData(maps.count - 1, description.description, qt.Qt.ToolTipRole)
        key = activeMap(self.state, run)
        if key is not None:
            maps.setCurrentIndex(maps.findData(key))
        self._hiding.fill(run)
        self.scanner.fill(run)
        self._updating = False
        self._showStatistics()
        showRegionNumbers(self.ui.regionNumbersTable, run.regionNumbers if run is not None else None)
        self._showNotes()
        self._showVoxel()

    def _showStatistics(self) -> None:
        node = self.run.statistics if self.run is not None else None
        box = self.ui.uncertaintyCheckBox
        box.setVisible(showStatistics(
            self.ui.statisticsTable, node, bool(box.checked), self.scanner.lines()
        ))

    def _showNotes(self) -> None:
        run = self.run
        text = "" if run is None else sentenceOfRun(run)
        showText(self.ui.runNotesLabel, "\n".join(part for part in (self._restored, text) if part))

    def _showVoxel(self) -> None:
        if self.state.parameters is not None:
            showText(self.ui.voxelLabel, voxelText(self.run, self.state.cursor, self.state.parameters.activeMap))

    # --- showing -----------------------------------------------------------------------------------------------

    def background(self):
        """Return the image behind the maps of the shown run: its series at the lowest b-value, or None."""
        run, series = self.run, self.state.series
        if run is not None and run.seriesNode is not None and (series is None or series.node != run.seriesNode):
            try:
                series = readSeries(run.seriesNode)
            except InputError:
                series = None
        if series is None:
            return None
        b = self.state.bvalues() if series is self.state.series else series.bvalues
        if series.canShowImages and np.isfinite(b).any():
            series.showImage(int(np.nanargmin(b)))
        return series.displayNode()

    def _showMap(self) -> None:
        """Show the chosen map over the image in the usual views, and in the layout of all maps if that is open."""
        run, key = self.run, activeMap(self.state, self.run)
        if key is None:
            return
        self._prepare(run)
        background = self.background()
        showInUsualViews(background, shownNode(run, key), self.state.parameters.overlayOpacity)
        if self.layout.isShown:
            self.layout.update(panelsOfRun(run, background), self.state.parameters.overlayOpacity)
        self.state.mapChanged()

    def _prepare(self, run: Run) -> None:
        """Give the maps of a run the window and the hidden voxels that were chosen."""
        parameters = self.state.parameters
        wanted = "automatic" if parameters.automaticWindow else "table"
        for node in run.maps.values():
            if (node.GetAttribute(WINDOW_ATTRIBUTE) or "table") != wanted:
                setAutomaticWindow(node, parameters.automaticWindow)
                node.SetAttribute(WINDOW_ATTRIBUTE, wanted)
        # Hiding makes a copy of each map, so only of those on screen.
        shown = {activeMap(self.state, run)}
        if self.layout.isShown:
            shown |= set(keysOfLayout(run))
        self._hiding.hide(run, shown)

    # --- what a person does ------------------------------------------------------------------------------------

    def _onRun(self, index):
        if self._updating or not 0 <= index < len(self.runs):
            return
        run = self.runs[index]
        self.state.parameters.activeRun = run.key
        self._restored = restoreChoices(self.state, run)
        self._editing.reset()
        self._fillRun(run)
        self._showMap()

    def pick(self, node, isInView: bool = False) -> None:
        """Bring back everything of a map that a person chose elsewhere: its run, options, curve and table.

        `isInView`: a view shows it already, so that the views are left as they are.
        """
        run = runOfMap(node)
        if run is None or self.state.parameters is None:
            return
        key, parameters, series = node.GetAttribute(PARAMETER_ATTRIBUTE), self.state.parameters, self.state.series
        isOther = self.run is None or run.key != self.run.key
        self.runs = runsOf(slicer.mrmlScene)
        parameters.activeRun = run.key
        if key in run.maps:
            parameters.activeMap = key
        self._restored = restoreChoices(self.state, run) if isOther else self._restored
        self._editing.reset()
        self._fill()
        if isInView and self.state.series is series:
            self.state.mapChanged()
        else:
            self._showMap()

    def _onMapInView(self, node) -> None:
        run, comparing = self.run, self.state.parameters is None or self.state.parameters.compareMode != "none"
        isShown = run is not None and run.maps.get(activeMap(self.state, run)) == node
        if not (comparing or isShown):
            self.pick(node, isInView=True)

    def _onMap(self, index):
        if self._updating or index < 0:
            return
        self.state.parameters.activeMap = self.ui.mapComboBox.itemData(index)
        self._showMap()
        self._showVoxel()

    def _onMapChanged(self) -> None:
        self.ui.returnLayoutButton.setEnabled(self.layout.isShown)

    def _onWindow(self, index):
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.automaticWindow = index == 1
        self._showMap()

    def _onOpacity(self, value):
        if self.state.parameters is None or self.run is None:
            return
        self.state.parameters.overlayOpacity = float(value)
        ours = {node.GetID() for node in self._shownNodes()}
        for composite in (*usualComposites(), *ownComposites()):
            if composite.GetForegroundVolumeID() in ours:
                composite.SetForegroundOpacity(float(value))

    def _shownNodes(self) -> list:
        return [shownNode(run, key) for run in self.runs for key in run.maps]

    def _onLayout(self, checked=False):
        if self.state.parameters is None or self.run is None:
            return
        run, parameters = self.run, self.state.parameters
        self.layout.show(panelsOfRun(run, self.background()), parameters.overlayOpacity, self.state.cursor)
        if parameters.thresholdMap:
            self._showMap()
        self.ui.returnLayoutButton.setEnabled(True)
        self.state.mapChanged()

    def _onReturn(self, checked=False):
        self.layout.back()
        self.ui.returnLayoutButton.setEnabled(False)

    def _onScanner(self) -> None:
        if self.state.parameters is not None:
            self.scanner.fill(self.run)
            self._showStatistics()

    def _onUncertainty(self, checked=False):
        if self.state.parameters is not None:
            self._showStatistics()

    def _onCopy(self, checked=False):
        copyText(tableText(self.ui.statisticsTable) + "\n" + tableText(self.ui.regionNumbersTable))
