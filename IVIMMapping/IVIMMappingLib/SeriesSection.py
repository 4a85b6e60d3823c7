"""Step 1: which series is fitted: chosen in the scene, read from files, put together from volumes, or sample data."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore.errors import ChoiceNeeded, InputError

from .DicomImportAction import DicomImportAction
from .DwiSequence import browseSequence
from .FileChoice import askChoice, askText, chooseFolder, openFile
from .MapDisplay import PARAMETER_ATTRIBUTE
from .PanelLabels import showText
from .PanelState import PanelState
from .PhantomSample import createPhantomSeries, createSecondDate
from .Runs import runOfMap, runsOf
from .SeriesImport import combineVolumes, importSeries
from .SeriesReader import findSeriesNode, readSeries
from .SeriesSources import WHAT_TO_DO

_FILES = "Series (*.nii *.nii.gz *.nrrd *.nhdr);;All files (*)"


class SeriesSection:
    """Turns the selected node into `state.series`, and says in one sentence where that is not possible.

    The images are put behind the views only when a person chose the series, never when a scene brought it.
    """

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self._known = None  # the parameters whose series was read; another one is being attached
        self._updating = False
        self.archive = DicomImportAction(ui.importButton, state)
        # Held here: a menu without a parent that Python knows would be collected.
        self._menu = qt.QMenu(ui.importButton)
        for text, tip, handler in (
            (_("4D file (NIfTI, NRRD)…"), _("A 4D NIfTI with its .bval beside it, or a NRRD"), self._onImportFile),
            (_("DICOM folder…"), _("Every image below the folder is looked at"), self._onImportFolder),
            (self.archive.title, self.archive.tip, self.archive.onTriggered),
        ):
            action = self._menu.addAction(text)
            action.setToolTip(tip)
            connected = action.connect("triggered(bool)", handler)
            assert connected is not False
        self._menu.setToolTipsVisible(True)
        ui.importButton.setMenu(self._menu)
        ui.importButton.setPopupMode(qt.QToolButton.InstantPopup)
        connected = (
            ui.seriesSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode),
            ui.combineButton.connect("toggled(bool)", self._onCombine),
            ui.combineApplyButton.connect("clicked(bool)", self._onCombineApply),
            ui.combineList.connect("itemChanged(QListWidgetItem*)", self._onTick),
            ui.sampleButton.connect("clicked(bool)", self._onSample),
        )
        assert all(answer is not False for answer in connected)
        self._nodeTag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved)

    def refresh(self) -> None:
        """Read the series that the scene brought."""
        self._known = self.state.parameters
        self.ui.combineButton.setChecked(False)
        self._take(self.state.parameters.seriesNode, byPerson=False)

    def enter(self) -> None:
        """Fill the list of volumes anew."""
        if self.ui.combineButton.checked:
            self._fillVolumes()

    def exit(self) -> None:
        """Nothing is held while another module is shown."""

    def close(self) -> None:
        """Let the scene go."""
        if self._nodeTag is not None:
            slicer.mrmlScene.RemoveObserver(self._nodeTag)
            self._nodeTag = None

    def choose(self, node) -> None:
        """Take this node as if a person had selected it."""
        self._take(node, byPerson=True)

    def importPath(self, path: str, series: str | None = None) -> bool:
        """Read a file or folder into the scene and choose it; tells whether that worked.

        `series` is the number of a DICOM series, asked for where a folder holds several.
        """
        if not path:
            return False
        created = self._work(
            _("Reading '{path}'…").format(path=path),
            lambda: importSeries(slicer.mrmlScene, slicer.app.applicationLogic(), path, series=series),
            canAsk=series is None,
        )
        if isinstance(created, InputError):
            number = self._askSeries(created)
            return bool(number) and self.importPath(path, number)
        if created is None:
            return False
        self._take(created[0], byPerson=True, notes=tuple(created[2]))
        return True

    def _askSeries(self, fault: InputError) -> str:
        """Ask which series is meant; an empty text if the person does not say."""
        parent, title = self.ui.importButton, _("Which series?")
        if not isinstance(fault, ChoiceNeeded):
            return askText(parent, title, _plain(fault))
        words = [words for _numbers, words in fault.ways]
        chosen = askChoice(parent, title, _plain(fault).partition(":")[0].rstrip(".") + ":", words)
        return "" if chosen is None else fault.ways[chosen][0]

    # --- the chosen node ---------------------------------------------------------------------------------------

    def _onNode(self, node=None) -> None:
        if self._updating or self.state.parameters is None or self.state.parameters is not self._known:
            return
        series = self.state.series
        if series is not None and not slicer.mrmlScene.IsNodePresent(series.node):
            return  # the selector went to a neighbour of a removed node; _onRemoved follows once the scene is done
        self._take(node, byPerson=True)

    def _take(self, node, byPerson: bool, notes: tuple[str, ...] = ()) -> None:
        state = self.state
        before = state.series
        if before is not None and node is not None and findSeriesNode(node) is before.node and byPerson:
            self._select(before.node)
            return
        if byPerson and runOfMap(node) is not None:
            self._openMap(node)
            return
        if node is not None and node.GetAttribute(PARAMETER_ATTRIBUTE) and before is not None:
            self._refuse(node)
            self._select(before.node)
            return
        state.series = None
        fault = ""
        if node is not None:
            try:
                state.series = readSeries(node)
                node = state.series.node
            except InputError as error:
                fault = str(error)
        self._select(node)  # first of all: any other change writes every bound widget anew from the parameters
        if byPerson:
            state.parameters.bvalues = []
            state.parameters.excludedImages = []
        state.say(fault, "error" if fault else "")
        self._describe(fault, notes)
        if state.series is not None and byPerson:
            if state.series.displayNode() is None and state.series.node.IsA("vtkMRMLSequenceNode"):
                browseSequence(slicer.app.applicationLogic(), state.series.node)  # else nobody could see its images
            self._showInViews()
        state.seriesChanged()

    def _openMap(self, node) -> None:
        """A map is no series, but whoever chooses it wants to see it with everything that belongs to it."""
        series = self.state.series
        self._select(series.node if series is not None else None)
        self.state.mapPicked(node)
        self.state.say(
            _("'{name}' is a map, no series: it is shown with its run in step 4.").format(name=node.GetName()),
            "information",
        )

    def _refuse(self, node) -> None:
        try:
            readSeries(node)
        except InputError as error:
            self.state.say(str(error))

    def _select(self, node) -> None:
        self._updating = True
        try:
            self.state.parameters.seriesNode = node
            if self.ui.seriesSelector.currentNode() is not node:
                self.ui.seriesSelector.setCurrentNode(node)
        finally:
            self._updating = False

    def _describe(self, fault: str, notes: tuple[str, ...]) -> None:
        series = self.state.series
        notes = tuple(dict.fromkeys((*series.notes, *notes))) if series is not None else ()
        # The table says that nobody knows them, and what to do.
        notes = tuple(note for note in notes if not note.endswith(f"are not known; {WHAT_TO_DO}."))
        showText(self.ui.seriesNotesLabel, "\n".join(notes))
        if series is not None:
            fault = _("{count} images of {grid}.").format(
                count=series.count, grid=series.geometry.describe().partition(", first")[0]
            )
        elif not fault:
            fault = _("Choose a series with several b-values, import one, or try the sample data.")
        self.ui.sourceLabel.setText(fault)

    def _showInViews(self) -> None:
        display = self.state.series.displayNode()
        if display is None:
            return
        # Maps of another series must not lie over this one.
        slicer.util.setSliceViewerLayers(
            background=display, foreground=None, fit=True, rotateToVolumePlane=slicer.app.layoutManager() is not None
        )

    def _onNodeRemoved(self, caller, event) -> None:
        # Later: while a scene removes one node, removing others (those of the plot) would break it.
        if self.state.series is not None and not slicer.mrmlScene.IsNodePresent(self.state.series.node):
            qt.QTimer.singleShot(0, self._onRemoved)

    def _onRemoved(self) -> None:
        series = self.state.series
        if series is None or self.state.parameters is None or slicer.mrmlScene.IsNodePresent(series.node):
            return
        name = series.node.GetName()
        self._take(None, byPerson=True)
        self.state.say(_("'{name}' was taken out of the scene; choose another series.").format(name=name))

    # --- import ------------------------------------------------------------------------------------------------

    def _onImportFile(self, checked: bool = False) -> None:
        self.importPath(openFile(self.ui.importButton, _("Series to be fitted"), _FILES))

    def _onImportFolder(self, checked: bool = False) -> None:
        self.importPath(chooseFolder(self.ui.importButton, _("Folder with the DICOM files of a series")))

    def _onSample(self, checked: bool = False) -> None:
        created = self._work(
            _("Making the digital phantom…"),
            lambda: self._createSample(slicer.mrmlScene, slicer.app.applicationLogic()),
        )
        if created is not None:
            self.choose(created[0])

    def _createSample(self, scene, applicationLogic):
        """Make the phantom, or where a follow-up looks for a new series its second date."""
        isFollowUp = self.state.parameters.startMode == "follow-up" and runsOf(scene)
        return (createSecondDate if isFollowUp else createPhantomSeries)(scene, applicationLogic)

    def _work(self, sentence: str, task, canAsk: bool = False):
        """Do something that may take seconds, with one sentence about it; None if it could not be done.

        With `canAsk`, a refusal that only needs the number of a series comes back itself.
        """
        before = self.ui.sourceLabel.text
        self.ui.sourceLabel.setText(sentence)
        self.ui.sourceLabel.repaint()
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            return task()
        except InputError as fault:
            self.ui.sourceLabel.setText(before)
            if canAsk and "--series" in str(fault):
                return fault
            self.state.say(_plain(fault), "error")
            return None
        finally:
            qt.QApplication.restoreOverrideCursor()

    # --- several volumes ---------------------------------------------------------------------------------------

    def _onCombine(self, checked: bool = False) -> None:
        self.ui.combineFrame.setVisible(checked)
        if checked:
            self._fillVolumes()

    def _fillVolumes(self) -> None:
        ticked = {volume.GetID() for volume in self._tickedVolumes()}
        self._updating = True
        self.ui.combineList.clear()
        for volume in self._volumes():
            item = qt.QListWidgetItem(volume.GetName(), self.ui.combineList)
            item.setData(qt.Qt.UserRole, volume.GetID())
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setCheckState(qt.Qt.Checked if volume.GetID() in ticked else qt.Qt.Unchecked)
        self._updating = False
        self._onTick()

    def _volumes(self):
        """Return the single images of the scene: neither maps, nor labels, nor what a sequence shows."""
        scene = slicer.mrmlScene
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
        return [
            node for node in nodes
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
            and not node.GetAttribute(PARAMETER_ATTRIBUTE) and node.GetImageData() is not None
            and findSeriesNode(node) is node
        ]

    def _tickedVolumes(self):
        items = [self.ui.combineList.item(row) for row in range(self.ui.combineList.count)]
        ticked = [item.data(qt.Qt.UserRole) for item in items if item.checkState() == qt.Qt.Checked]
        nodes = [slicer.mrmlScene.GetNodeByID(identifier) for identifier in ticked]
        return [node for node in nodes if node is not None]

    def _onTick(self, item=None) -> None:
        if self._updating:
            return
        count = len(self._tickedVolumes())
        self.ui.combineApplyButton.setEnabled(count >= 2)
        self.ui.combineApplyButton.setToolTip(
            _("{count} volumes become a sequence; b-values that are not known are typed in the table below").format(
                count=count
            ) if count >= 2 else _("Tick at least two volumes")
        )

    def _onCombineApply(self, checked: bool = False) -> None:
        volumes = self._tickedVolumes()
        created = self._work(
            _("Putting {count} volumes together…").format(count=len(volumes)),
            lambda: combineVolumes(slicer.mrmlScene, slicer.app.applicationLogic(), volumes),
        )
        if created is not None:
            self.ui.combineButton.setChecked(False)
            self.choose(created[0])


def _plain(fault: InputError) -> str:
    """Return the sentence of a fault without the words of the command line."""
    return str(fault).replace("--series NUMBER", _("its number")).replace("--bval FILE", _("a .bval file"))
