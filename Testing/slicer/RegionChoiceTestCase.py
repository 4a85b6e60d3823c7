"""Regions of every kind come out as masks on the grid of the series, and what was done to them is said."""

import numpy as np
import slicer
from IVIMTestScene import NAMES, SHAPE, SceneTest, obliqueGeometry, smallRun

from ivimcore.data.mask import body_mask
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from IVIMMappingLib.CurveRegion import insidePolygon
from IVIMMappingLib.DwiSequence import browseSequence, createDwiSequence
from IVIMMappingLib.RegionChoice import chooseRegion
from IVIMMappingLib.RegionSegments import createSegmentation
from IVIMMappingLib.SeriesReader import readSeries
from IVIMMappingLib.VolumeNodes import createVolumeNode, setVolumeArray

B = np.array([0.0, 20.0, 100.0, 800.0])


def coarseGeometry():
    """A grid of double spacing that covers the same place."""
    fine = obliqueGeometry()
    affine = fine.affine.copy()
    affine[:3, :3] *= 2
    affine[:3, 3] = (fine.affine @ [0.5, 0.5, 0.5, 1])[:3]
    return Geometry((10, 8, 3), affine)


class RegionChoiceTestCase(SceneTest):
    def setUp(self):
        super().setUp()
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)  # else an export adds it
        base, _, _, self.labels = smallRun()
        self.signal = (base[..., None] * np.exp(-B * 1e-3)).astype(np.float32)
        node = createDwiSequence(self.scene, self.signal, obliqueGeometry(), B, "DWI")
        self.proxy = browseSequence(self.applicationLogic, node)
        self.series = readSeries(node)

    def refused(self, sentence, *arguments, **keywords):
        before = self.scene.GetNumberOfNodes()
        with self.assertRaisesRegex(InputError, sentence):
            chooseRegion(self.series, *arguments, **keywords)
        self.assertEqual(self.scene.GetNumberOfNodes(), before)

    # --- body and whole volume -----------------------------------------------------------------------------------

    def test_body_is_found_in_the_images_of_low_b_that_are_used(self):
        region = chooseRegion(self.series, "body")
        np.testing.assert_array_equal(region.mask, body_mask(self.signal[..., :3]))
        self.assertEqual(list(region.masks), ["body mask"])
        self.assertRegex(region.sentence, r"Automatic body mask: \d+ voxels, [\d.]+ mL")
        unused = chooseRegion(self.series, "body", used=np.array([False, True, True, True]))
        np.testing.assert_array_equal(unused.mask, body_mask(self.signal[..., 1:3]))

    def test_body_without_bvalues_says_where_it_was_found(self):
        region = chooseRegion(self.series, "body", bvalues=np.full(4, np.nan))
        np.testing.assert_array_equal(region.mask, body_mask(self.signal))
        self.assertIn("No b-value is known", region.notes[0])

    def test_whole_volume_is_every_voxel(self):
        region = chooseRegion(self.series, "whole")
        self.assertTrue(region.mask.all())
        self.assertIn("1 600 voxels", region.sentence)

    # --- segments ------------------------------------------------------------------------------------------------

    def segmentation(self, labels=None, geometry=None, names=NAMES):
        labels = self.labels if labels is None else labels
        reference = self.proxy if geometry is None else None
        return createSegmentation(self.scene, labels, names, geometry or obliqueGeometry(), "seg", reference)

    def test_all_segments_are_regions_and_their_union_is_the_mask(self):
        region = chooseRegion(self.series, "segments", self.segmentation())
        self.assertEqual(list(region.masks), ["liver", "lesion"])
        np.testing.assert_array_equal(region.masks["liver"], self.labels == 1)
        np.testing.assert_array_equal(region.masks["lesion"], self.labels == 2)
        np.testing.assert_array_equal(region.mask, self.labels > 0)
        self.assertIn("2 segments of 'seg' (liver, lesion)", region.sentence)
        self.assertEqual(region.notes, ())

    def test_chosen_segment_counts_also_when_it_is_hidden(self):
        node = self.segmentation()
        identifier = node.GetSegmentation().GetNthSegmentID(1)
        node.GetDisplayNode().SetSegmentVisibility(identifier, False)
        region = chooseRegion(self.series, "segments", node, (identifier,))
        self.assertEqual(list(region.masks), ["lesion"])
        np.testing.assert_array_equal(region.mask, self.labels == 2)

    def test_segments_may_overlap(self):
        node = self.segmentation()
        identifier = node.GetSegmentation().GetNthSegmentID(1)
        both = np.ascontiguousarray((self.labels > 0).astype(np.uint8).transpose(2, 1, 0))
        labelNode = createVolumeNode(
            self.scene, both.transpose(2, 1, 0), obliqueGeometry(), "both", "vtkMRMLLabelMapVolumeNode"
        )
        image = slicer.vtkSlicerSegmentationsModuleLogic.CreateOrientedImageDataFromVolumeNode(labelNode)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
            image, node, identifier, slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE, image.GetExtent()
        )
        region = chooseRegion(self.series, "segments", node)
        np.testing.assert_array_equal(region.masks["liver"], self.labels == 1)
        np.testing.assert_array_equal(region.masks["lesion"], self.labels > 0)

    def test_segments_of_another_grid_are_resampled_and_it_is_said(self):
        coarse = np.zeros((10, 8, 3), int)
        coarse[3:6, 2:5, 1] = 1
        region = chooseRegion(self.series, "segments", self.segmentation(coarse, coarseGeometry()))
        expected = np.zeros(SHAPE, bool)
        expected[6:12, 4:10, 2:4] = True
        np.testing.assert_array_equal(region.mask, expected)
        self.assertEqual(len(region.notes), 1)
        self.assertIn("resampled from 10 x 8 x 3 voxels of 3 x 4 x 8 mm", region.notes[0])
        self.assertIn("series (20 x 16 x 5 voxels of 1.5 x 2 x 4 mm)", region.notes[0])

    def test_segments_and_series_under_one_transform_stay_together(self):
        node = self.segmentation()
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
        matrix = np.eye(4)
        matrix[:3, 3] = (3.3, 40, -7)
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        for moved in (node, self.proxy):
            moved.SetAndObserveTransformNodeID(transform.GetID())
        region = chooseRegion(self.series, "segments", node)
        np.testing.assert_array_equal(region.mask, self.labels > 0)
        self.assertEqual(region.notes, ())
        self.proxy.SetAndObserveTransformNodeID(None)
        self.refused("no voxel in the series", "segments", node)

    def test_empty_segment_is_refused_alone_and_left_out_beside_others(self):
        node = self.segmentation()
        identifier = node.GetSegmentation().AddEmptySegment("", "tumour")
        self.refused("Segment 'tumour' has no voxel in the series 'DWI'", "segments", node, (identifier,))
        region = chooseRegion(self.series, "segments", node)
        self.assertEqual(list(region.masks), ["liver", "lesion"])
        self.assertIn("Segment 'tumour' has no voxel in the series and is left out", region.notes[0])

    def test_segments_without_choice_or_content_are_refused(self):
        self.refused("No segmentation is chosen", "segments", None)
        self.refused("No segmentation is chosen", "segments", self.proxy)
        self.refused("no longer in 'seg'", "segments", self.segmentation(), ("gone",))
        self.refused("has no segments", "segments", self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "blank"))
        node = self.segmentation()
        kept = node.GetSegmentation().GetNthSegmentID(0)
        self.assertIn("no longer exists", chooseRegion(self.series, "segments", node, (kept, "gone")).notes[0])

    def test_series_without_browser_leaves_nothing_in_the_scene(self):
        series = readSeries(createDwiSequence(self.scene, self.signal, obliqueGeometry(), B, "hidden"))
        node = self.segmentation()
        before = self.scene.GetNumberOfNodes()
        np.testing.assert_array_equal(chooseRegion(series, "segments", node).mask, self.labels > 0)
        self.assertEqual(self.scene.GetNumberOfNodes(), before)

    def test_segments_fit_dwi_and_vector_volumes(self):
        segmentation = self.segmentation()
        for className in ("vtkMRMLDiffusionWeightedVolumeNode", "vtkMRMLVectorVolumeNode"):
            node = self.scene.AddNewNodeByClass(className, "volume")
            slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(self.signal.transpose(2, 1, 0, 3)))
            node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(obliqueGeometry().affine))
            region = chooseRegion(readSeries(node), "segments", segmentation)
            np.testing.assert_array_equal(region.mask, self.labels > 0)

    # --- curve ---------------------------------------------------------------------------------------------------

    def curve(self, points, name="rim"):
        """Draw a closed curve through voxel positions (i, j, k)."""
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", name)
        for point in points:
            node.AddControlPointWorld(*(float(x) for x in (obliqueGeometry().affine @ [*point, 1])[:3]))
        return node

    def circle(self, centre=(9.3, 7.6), radii=(5.2, 4.1), k=2.0):
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        return [(centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a), k) for a in angles]

    def test_closed_curve_encloses_its_voxels_in_one_slice(self):
        region = chooseRegion(self.series, "curve", self.curve(self.circle(k=2.2)))
        i, j = np.meshgrid(np.arange(20), np.arange(16), indexing="ij")
        ellipse = ((i - 9.3) / 5.2) ** 2 + ((j - 7.6) / 4.1) ** 2 < 1
        self.assertEqual(np.flatnonzero(region.mask.any(axis=(0, 1))).tolist(), [2])
        self.assertLessEqual(np.count_nonzero(region.mask[..., 2] ^ ellipse), 2)
        self.assertIn("Curve 'rim' in slice 3 of 5", region.sentence)
        self.assertEqual(list(region.masks), ["rim"])

    def test_curve_in_another_plane_is_taken_there(self):
        points = [(5, 7, 0.6), (14, 7, 0.6), (14, 7, 3.4), (5, 7, 3.4)]
        node = self.curve(points)
        node.SetCurveTypeToLinear()
        region = chooseRegion(self.series, "curve", node)
        expected = np.zeros(SHAPE, bool)
        expected[5:15, 7, 1:4] = True
        self.assertLessEqual(np.count_nonzero(region.mask ^ expected), 6)  # centres on the line itself may fall out
        self.assertIn("row 8 of 16", region.sentence)

    def test_curve_that_moves_with_the_series_stays_in_place(self):
        node = self.curve(self.circle())
        before = chooseRegion(self.series, "curve", node).mask
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
        matrix = np.eye(4)
        matrix[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        for moved in (node, self.proxy):
            moved.SetAndObserveTransformNodeID(transform.GetID())
        np.testing.assert_array_equal(chooseRegion(self.series, "curve", node).mask, before)

    def test_unusable_curves_are_refused(self):
        self.refused("No closed curve is chosen", "curve", None)
        self.refused("'rim' has 2 points; place at least three", "curve", self.curve([(1, 1, 1), (5, 5, 1)]))
        tilted = [(i, j, 2 + (i - 9.3) / 2.6 + (j - 7.6) / 2) for i, j, _ in self.circle()]
        self.refused("does not lie in one slice", "curve", self.curve(tilted))
        self.refused("outside 'DWI'", "curve", self.curve(self.circle(k=9)))
        self.refused("encloses no voxel", "curve", self.curve(self.circle(radii=(0.1, 0.1), centre=(9.5, 7.5))))
        self.refused("encloses no voxel", "curve", self.curve(self.circle(centre=(60, 60))))

    def test_polygon_follows_the_even_odd_rule(self):
        square = np.array([(0.5, 0.5), (4.5, 0.5), (4.5, 4.5), (0.5, 4.5)])
        expected = np.zeros((6, 7), bool)
        expected[1:5, 1:5] = True
        np.testing.assert_array_equal(insidePolygon(square, (6, 7)), expected)
        np.testing.assert_array_equal(insidePolygon(square[::-1], (6, 7)), expected)
        np.testing.assert_array_equal(insidePolygon(square[:, ::-1], (7, 6)), expected.T)
        self.assertFalse(insidePolygon(np.concatenate([square, square]), (6, 7)).any())
        expected[:, 3:] = False
        np.testing.assert_array_equal(insidePolygon(square, (6, 3)), expected[:, :3])

    # --- label volume --------------------------------------------------------------------------------------------

    def labelVolume(self, labels, geometry=None, className="vtkMRMLLabelMapVolumeNode"):
        geometry = geometry or obliqueGeometry()
        return createVolumeNode(self.scene, labels, geometry, "atlas", className)

    def test_each_label_is_a_region(self):
        for className in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLScalarVolumeNode"):
            node = self.labelVolume(np.where(self.labels == 2, 7, self.labels).astype(np.float32), None, className)
            region = chooseRegion(self.series, "labels", node)
            self.assertEqual(list(region.masks), ["label 1", "label 7"])
            np.testing.assert_array_equal(region.masks["label 7"], self.labels == 2)
            self.assertEqual(region.notes, ())

    def test_labels_have_the_names_of_their_own_colour_table(self):
        node = self.labelVolume(self.labels.astype(np.uint8))
        colors = self.scene.AddNewNodeByClass("vtkMRMLColorTableNode", "organs")
        colors.SetTypeToUser()
        colors.SetNumberOfColors(3)
        for value, name in enumerate(("background", "liver", "lesion")):
            colors.SetColor(value, name, 1.0, 0.5, 0.0, 1.0)
        node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
        self.assertEqual(list(chooseRegion(self.series, "labels", node).masks), ["liver", "lesion"])

    def test_labels_of_another_grid_are_resampled_to_the_nearest_voxel_and_it_is_said(self):
        coarse = np.zeros((10, 8, 3), np.uint8)
        coarse[3:6, 2:5, 1] = 1
        region = chooseRegion(self.series, "labels", self.labelVolume(coarse, coarseGeometry()))
        expected = np.zeros(SHAPE, bool)
        expected[6:12, 4:10, 2:4] = True
        np.testing.assert_array_equal(region.mask, expected)
        self.assertIn("resampled from 10 x 8 x 3 voxels to the grid of the series (20 x 16 x 5", region.notes[0])

    def test_moved_label_volume_is_taken_where_it_is_shown(self):
        node = self.labelVolume(self.labels.astype(np.uint8))
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
        matrix = np.eye(4)
        matrix[:3, 3] = obliqueGeometry().affine[:3, 0] * 2
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
        region = chooseRegion(self.series, "labels", node)
        np.testing.assert_array_equal(region.mask[2:], self.labels[:-2] > 0)

    def test_what_is_no_label_volume_is_refused(self):
        self.refused("No label volume is chosen", "labels", None)
        self.refused("no labelled voxel", "labels", self.labelVolume(np.zeros(SHAPE, np.uint8)))
        self.refused("no labels .fractions or NaN", "labels", self.labelVolume(self.signal[..., 0] / 3))
        many = np.arange(1600, dtype=np.int16).reshape(SHAPE)
        self.refused("1599 different values", "labels", self.labelVolume(many))
        self.refused("outside 0 to 65535", "labels", self.labelVolume(many - 5))
        far = Geometry(SHAPE, obliqueGeometry().affine + np.array([[0, 0, 0, 900.0]] + [[0] * 4] * 3))
        self.refused("no labelled voxel in 'DWI'", "labels", self.labelVolume(self.labels.astype(np.uint8), far))

    def test_unknown_kind_is_a_fault_of_ours(self):
        with self.assertRaisesRegex(ValueError, "Unknown kind"):
            chooseRegion(self.series, "sphere")

    def test_body_is_looked_for_again_after_the_voxels_change(self):
        before = chooseRegion(self.series, "body").mask
        self.assertIs(chooseRegion(self.series, "body").mask, before)
        for number in range(4):
            setVolumeArray(self.series.node.GetNthDataNode(number), self.signal[::-1, ..., number], obliqueGeometry())
        np.testing.assert_array_equal(chooseRegion(self.series, "body").mask, body_mask(self.signal[::-1, ..., :3]))
