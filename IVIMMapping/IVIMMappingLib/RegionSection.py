"""Step 2: which voxels are fitted."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore.errors import InputError

from .MappingParameterNode import REGION_KINDS
from .PanelLabels import showText
from .PanelState import PanelState
from .RegionSegments import regionColor

_NODE_CLASSES = {
    "segments": "vtkMRMLSegmentationNode", "curve": "vtkMRMLMarkupsClosedCurveNode",
    "labels": "vtkMRMLLabelMapVolumeNode",
}
_DELAY_MS = 200
_ICON = 14
_LIST_ROWS = 6


class RegionSection:
    """Writes kind, node and segments; the voxels are counted a moment later, because a mask takes its time.

    `parameters.segmentIds` is empty as long as all segments are ticked, so that a segment drawn later takes part.
    """

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        self._known = None  # the parameters whose region is shown; another one is being attached
        self._updating = False
        self._entered = False
        self._shownNode = None
        self._changed = False  # the node changed while another module was shown
        self._observed: list[tuple] = []
        self._timer = qt.QTimer(ui.segmentList)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        words = {
            "body": _("body, found automatically"), "whole": _("whole volume"), "segments": _("segments"),
            "curve": _("closed curve"), "labels": _("label volume"),
        }
        for kind in REGION_KINDS:
            ui.regionKindComboBox.addItem(words[kind], kind)
        connected = (
            self._timer.connect("timeout()", self._onTimeout),
            ui.regionKindComboBox.connect("currentIndexChanged(int)", self._onKind),
            ui.regionNodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode),
            ui.segmentList.connect("itemChanged(QListWidgetItem*)", self._onTick),
            ui.segmentEditorButton.connect("clicked(bool)", self._onSegmentEditor),
        )
        assert all(answer is not False for answer in connected)
        state.seriesChanged.connect(self._onSeries)
        state.signalChanged.connect(self._count)
        state.regionChanged.connect(self._onRestored)

    def refresh(self) -> None:
        """Show the region that the scene brought."""
        self._known = self.state.parameters
        self._show()
        self._observe(self.state.parameters.regionNode)
        self._count()

    def enter(self) -> None:
        """Take over what was drawn in Segment Editor meanwhile."""
        self._entered = True
        if self._changed and self.state.parameters is not None:
            self._changed = False
            self._show()
            self._announce()

    def exit(self) -> None:
        """Changes of the node are noticed, and worked out when this module is shown again."""
        self._entered = False

    def close(self) -> None:
        """Let everything go."""
        self._timer.stop()
        self._observe(None)

    # --- what is shown -----------------------------------------------------------------------------------------

    def _show(self) -> None:
        ui, parameters = self.ui, self.state.parameters
        kind, node = parameters.regionKind, parameters.regionNode
        self._updating = True
        ui.regionKindComboBox.setCurrentIndex(REGION_KINDS.index(kind))
        needsNode = kind in _NODE_CLASSES
        if needsNode:
            if not (node is not None and node.IsA(_NODE_CLASSES[kind])):
                node = None
            ui.regionNodeSelector.nodeTypes = [_NODE_CLASSES[kind]]  # its setter is no slot, so Python lacks it
            if ui.regionNodeSelector.currentNode() is not node:
                ui.regionNodeSelector.setCurrentNode(node)
            parameters.regionNode = node
        self._shownNode = parameters.regionNode
        for widget in (ui.regionNodeLabel, ui.regionNodeSelector):
            widget.setVisible(needsNode)
        ui.segmentEditorButton.setVisible(kind in ("body", "whole", "segments"))
        ui.segmentEditorButton.setEnabled(self.state.series is not None)
        self._fillSegments(node if kind == "segments" else None)
        self._updating = False

    def _fillSegments(self, node) -> None:
        widget = self.ui.segmentList
        widget.clear()
        widget.setVisible(node is not None)
        if node is None:
            return
        ticked = list(self.state.parameters.segmentIds)
        segmentation = node.GetSegmentation()
        for index in range(segmentation.GetNumberOfSegments()):
            identifier = segmentation.GetNthSegmentID(index)
            segment = segmentation.GetNthSegment(index)
            item = qt.QListWidgetItem(_icon(segment.GetColor()), segment.GetName(), widget)
            item.setData(qt.Qt.UserRole, identifier)
            item.setToolTip(_("Ticked: '{name}' is fitted, with statistics of its own").format(name=segment.GetName()))
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setCheckState(qt.Qt.Checked if not ticked or identifier in ticked else qt.Qt.Unchecked)
        rows = min(max(widget.count, 1), _LIST_ROWS)
        widget.setFixedHeight(rows * max(widget.sizeHintForRow(0), _ICON + 4) + 2 * widget.frameWidth + 2)

    def _count(self) -> None:
        """Count the voxels in a moment."""
        if self.state.parameters is None:
            return
        if self.state.series is None:
            showText(self.ui.regionNotesLabel, "")
        else:
            self._timer.start()

    def _onTimeout(self) -> None:
        state = self.state
        if state.parameters is None or state.series is None:
            return
        try:
            region = state.region()
        except InputError as fault:
            showText(self.ui.regionNotesLabel, str(fault))
            return
        showText(self.ui.regionNotesLabel, " ".join((region.sentence, *region.notes)))

    # --- what a person changed ---------------------------------------------------------------------------------

    def _announce(self) -> None:
        self._count()
        self.state.regionChanged()

    def _onKind(self, index: int = 0) -> None:
        if self._updating or self.state.parameters is None:
            return
        kind = REGION_KINDS[index]
        self.state.parameters.regionKind = kind
        if kind in _NODE_CLASSES:
            # Before the node: the binding of the selector refuses what the selector does not list.
            self._updating = True
            self.ui.regionNodeSelector.nodeTypes = [_NODE_CLASSES[kind]]
            self._updating = False
        self._chooseOnlyNode()
        self._show()
        self._observe(self.state.parameters.regionNode)
        self._announce()

    def _chooseOnlyNode(self) -> None:
        """Where the scene has exactly one node of the kind, it is meant."""
        parameters = self.state.parameters
        className = _NODE_CLASSES.get(parameters.regionKind)
        if className is None or (parameters.regionNode is not None and parameters.regionNode.IsA(className)):
            return
        nodes = [node for node in slicer.util.getNodesByClass(className) if not node.GetHideFromEditors()]
        if len(nodes) == 1:
            parameters.regionNode = nodes[0]
            parameters.segmentIds = []

    def _onNode(self, node=None) -> None:
        parameters = self.state.parameters
        if self._updating or parameters is None or parameters is not self._known:
            return
        parameters.regionNode = node  # first of all: any other change writes every bound widget anew
        parameters.segmentIds = []
        self._show()
        self._observe(node)
        self._announce()

    def _onTick(self, item=None) -> None:
        if self._updating or self.state.parameters is None:
            return
        items = [self.ui.segmentList.item(row) for row in range(self.ui.segmentList.count)]
        ticked = [str(item.data(qt.Qt.UserRole)) for item in items if item.checkState() == qt.Qt.Checked]
        if not ticked:
            self.state.say(_("At least one segment is fitted; choose another region above to fit without segments."))
            self._updating = True
            item.setCheckState(qt.Qt.Checked)
            self._updating = False
            return
        self.state.parameters.segmentIds = [] if len(ticked) == len(items) else ticked
        self._announce()

    def _onSeries(self) -> None:
        if self.state.parameters is not None:
            self.ui.segmentEditorButton.setEnabled(self.state.series is not None)
            self._announce()

    def _onRestored(self) -> None:
        """Show a region that another section has chosen."""
        parameters = self.state.parameters
        if self._updating or parameters is None or parameters is not self._known:
            return
        isShown = REGION_KINDS.index(parameters.regionKind) == self.ui.regionKindComboBox.currentIndex
        if not isShown or parameters.regionNode is not self._shownNode:
            self._show()
            self._observe(parameters.regionNode)
            self._count()

    # --- the node itself ---------------------------------------------------------------------------------------

    def _observe(self, node) -> None:
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        if node is None:
            return
        if node.IsA("vtkMRMLSegmentationNode"):
            kind = slicer.vtkSegmentation
            events = (
                kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified, kind.SourceRepresentationModified,
                kind.SegmentsOrderModified,
            )
            target = node.GetSegmentation()
        elif node.IsA("vtkMRMLVolumeNode"):
            target, events = node, (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,)
        else:
            target, events = node, (
                slicer.vtkMRMLMarkupsNode.PointModifiedEvent, slicer.vtkMRMLMarkupsNode.PointAddedEvent,
                slicer.vtkMRMLMarkupsNode.PointRemovedEvent,
            )
        observed = [(target, event) for event in events]
        observed.append((node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent))
        self._observed = [(caller, caller.AddObserver(event, self._onContent)) for caller, event in observed]

    def _onContent(self, caller, event) -> None:
        if self.state.parameters is None:
            return
        if not self._entered:
            self._changed = True
            return
        self._show()
        self._announce()

    # --- Segment Editor ----------------------------------------------------------------------------------------

    def _onSegmentEditor(self, checked: bool = False) -> None:
        series = self.state.series
        volume = series.displayNode() if series is not None else None
        if volume is None:
            self.state.say(_("The series has no volume to draw on; show it in a slice view first."))
            return
        node = self._segmentationForDrawing(volume)
        self._openSegmentEditor(node, volume)

    def _segmentationForDrawing(self, volume):
        parameters = self.state.parameters
        node = parameters.regionNode
        if node is None or not node.IsA("vtkMRMLSegmentationNode"):
            node = slicer.mrmlScene.AddNewNodeByClass(
                "vtkMRMLSegmentationNode", _("{name} regions").format(name=self.state.series.name)
            )
            node.CreateDefaultDisplayNodes()
            color = regionColor(1)
            node.GetSegmentation().AddEmptySegment("", _("region 1"), color)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        parameters.regionKind = "segments"
        parameters.regionNode = node
        self._show()
        self._observe(node)
        self._announce()
        return node

    @staticmethod
    def _openSegmentEditor(node, volume) -> None:
        module = getattr(slicer.modules, "segmenteditor", None)
        if module is None:
            return
        slicer.util.selectModule("SegmentEditor")
        editor = getattr(module.widgetRepresentation().self(), "editor", None)
        if editor is not None:
            editor.setSegmentationNode(node)
            editor.setSourceVolumeNode(volume)


def _icon(color):
    picture = qt.QPixmap(_ICON, _ICON)
    picture.fill(qt.QColor(*(round(255 * part) for part in color)))
    return qt.QIcon(picture)
