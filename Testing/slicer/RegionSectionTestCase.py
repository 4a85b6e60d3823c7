"""Step 2 by clicks: kinds of region, segments, what is drawn and what is removed."""

import unittest.mock

import numpy as np
import slicer
from IVIMTestPanel import PanelTest
from PanelSeries import openWithPhantom

from IVIMMappingLib.VolumeNodes import createVolumeNode

REGION_KINDS = ("body", "whole", "segments", "curve", "labels")


class RegionSectionTestCase(PanelTest):
    def openPhantom(self):
        nodes = openWithPhantom(self)
        self.settle()
        return nodes

    def settle(self):
        """Wait until the region was counted, which the panel does a moment after the last change."""
        self.process(0.05)
        self.waitUntil(lambda: not any(timer.isActive() for timer in self.ui.segmentList.findChildren("QTimer")))

    def choose(self, kind):
        self.ui.regionKindComboBox.setCurrentIndex(REGION_KINDS.index(kind))
        self.settle()

    def names(self):
        return [self.ui.segmentList.item(row).text() for row in range(self.ui.segmentList.count)]

    def test_the_body_is_the_first_choice_and_its_size_is_counted(self):
        self.openPhantom()
        self.assertEqual(self.panel.state.parameters.regionKind, "body")
        self.assertRegex(self.ui.regionNotesLabel.text, r"\d+ voxels, [\d.]+ m[lL]")
        for widget in (self.ui.regionNodeSelector, self.ui.segmentList):
            self.assertFalse(widget.isVisibleTo(self.widget.parent))

    def test_the_whole_volume_counts_every_voxel(self):
        self.openPhantom()
        self.choose("whole")
        self.assertIn("6 912 voxels", self.ui.regionNotesLabel.text)

    def test_the_only_segmentation_is_taken_and_its_segments_are_listed_with_their_names(self):
        nodes = self.openPhantom()
        self.choose("segments")
        self.assertIs(self.panel.state.parameters.regionNode, nodes[2])
        self.assertIs(self.ui.regionNodeSelector.currentNode(), nodes[2])
        self.assertIn("liver", self.names())
        self.assertEqual(list(self.panel.state.parameters.segmentIds), [])
        self.assertIn("segments of", self.ui.regionNotesLabel.text)

    def test_unticked_segments_are_left_out_and_the_last_one_cannot_be(self):
        import qt

        self.openPhantom()
        self.choose("segments")
        every = set(self.panel.state.region().masks)
        self.ui.segmentList.item(0).setCheckState(qt.Qt.Unchecked)
        self.settle()
        self.assertEqual(set(self.panel.state.region().masks), every - {self.names()[0]})
        for row in range(1, self.ui.segmentList.count):
            self.ui.segmentList.item(row).setCheckState(qt.Qt.Unchecked)
        self.assertEqual(len(self.panel.state.parameters.segmentIds), 1)
        self.assertIn("At least one segment", self.ui.messageLabel.text)

    def test_a_segment_that_is_drawn_meanwhile_takes_part(self):
        nodes = self.openPhantom()
        self.choose("segments")
        before = len(self.names())
        slicer.util.selectModule("Data")
        mask = np.zeros((3, 48, 48), np.uint8)
        mask[1, 20:24, 20:24] = 1
        identifier = nodes[2].GetSegmentation().AddEmptySegment("", "nodule")
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, nodes[2], identifier, nodes[1])
        slicer.util.selectModule("IVIMMapping")
        self.settle()
        self.assertEqual(len(self.names()), before + 1)
        self.assertEqual(self.panel.state.region().masks["nodule"].sum(), 16)

    def test_the_selector_offers_only_what_fits_the_kind(self):
        nodes = self.openPhantom()
        labels = np.zeros((48, 48, 3), np.int16)
        labels[10:20, 10:20, 1] = 3
        volume = createVolumeNode(
            self.scene, labels, self.panel.state.series.geometry, "my labels", "vtkMRMLLabelMapVolumeNode"
        )
        self.choose("labels")
        self.assertIs(self.panel.state.parameters.regionNode, volume)
        self.assertIn("100 voxels", self.ui.regionNotesLabel.text)
        self.choose("segments")
        self.assertIs(self.panel.state.parameters.regionNode, nodes[2])
        self.choose("curve")
        self.assertIsNone(self.panel.state.parameters.regionNode)
        self.assertIn("choose", self.ui.regionNotesLabel.text.lower())

    def test_a_closed_curve_is_followed_while_it_is_moved(self):
        self.openPhantom()
        matrix = self.panel.state.series.ijkToRas()
        curve = self.scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", "circle")
        for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
            curve.AddControlPointWorld(*(matrix @ [24 + 6 * np.cos(angle), 24 + 6 * np.sin(angle), 1, 1])[:3])
        self.choose("curve")
        first = self.panel.state.region().mask.sum()
        self.assertGreater(first, 80)
        curve.SetNthControlPointPositionWorld(0, *(matrix @ [38.0, 24, 1, 1])[:3])
        self.settle()
        self.assertGreater(self.panel.state.region().mask.sum(), first)
        self.assertIn(f"{self.panel.state.region().mask.sum()} voxels", self.ui.regionNotesLabel.text)

    def test_an_empty_segment_gives_a_sentence(self):
        self.openPhantom()
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty one")
        node.CreateDefaultDisplayNodes()
        node.GetSegmentation().AddEmptySegment("", "nothing")
        self.choose("segments")
        self.ui.regionNodeSelector.setCurrentNode(node)
        self.settle()
        self.assertTrue(self.ui.regionNotesLabel.text.endswith("."))
        self.assertNotIn("voxels,", self.ui.regionNotesLabel.text)

    def test_a_segmentation_that_is_removed_is_no_longer_chosen(self):
        nodes = self.openPhantom()
        self.choose("segments")
        self.scene.RemoveNode(nodes[2])
        self.settle()
        self.assertIsNone(self.panel.state.parameters.regionNode)
        self.assertFalse(self.ui.segmentList.isVisibleTo(self.widget.parent))
        self.assertTrue(self.panel.state.obstacle())

    def test_the_segment_editor_opens_on_this_series(self):
        nodes = self.openPhantom()
        self.choose("segments")
        with unittest.mock.patch("IVIMMappingLib.RegionSection.RegionSection._openSegmentEditor") as opened:
            self.ui.segmentEditorButton.click()
        opened.assert_called_once_with(nodes[2], nodes[1])

    def test_without_a_segmentation_one_is_begun_on_the_grid_of_the_series(self):
        nodes = self.openPhantom()
        self.scene.RemoveNode(nodes[2])
        with unittest.mock.patch("IVIMMappingLib.RegionSection.RegionSection._openSegmentEditor") as opened:
            self.ui.segmentEditorButton.click()
        node, volume = opened.call_args.args
        self.assertIs(volume, nodes[1])
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), 1)
        self.assertEqual(self.panel.state.parameters.regionKind, "segments")
        self.assertIs(self.panel.state.parameters.regionNode, node)

    def test_the_region_comes_back_with_the_scene(self):
        import qt

        self.openPhantom()
        self.choose("segments")
        self.ui.segmentList.item(0).setCheckState(qt.Qt.Unchecked)
        chosen = list(self.panel.state.parameters.segmentIds)
        path = self.folder / "scene.mrb"
        self.assertTrue(self.scene.WriteToMRB(str(path)))
        self.scene.Clear(0)
        self.assertTrue(self.scene.ReadFromMRB(str(path), True))
        self.settle()
        self.assertEqual(self.panel.state.parameters.regionKind, "segments")
        self.assertEqual(list(self.panel.state.parameters.segmentIds), chosen)
        self.assertEqual(self.ui.segmentList.item(0).checkState(), qt.Qt.Unchecked)
        self.assertIn("segments of", self.ui.regionNotesLabel.text)
