"""Labels become named segments and come back as masks, also when they overlap."""

import numpy as np
from IVIMTestScene import NAMES, SHAPE, SceneTest, obliqueGeometry, smallRun

from IVIMMappingLib.RegionSegments import COLORS, createSegmentation, regionMasks
from IVIMMappingLib.RunFolder import createBaseNode


class RegionSegmentsTestCase(SceneTest):
    def setUp(self):
        super().setUp()
        base, _, _, self.labels = smallRun()
        self.base = createBaseNode(self.scene, base, obliqueGeometry(), "base")

    def create(self, labels, names):
        return createSegmentation(self.scene, labels, names, obliqueGeometry(), "regions", self.base)

    def test_segments_have_the_names_and_different_colours(self):
        segmentation = self.create(self.labels, NAMES).GetSegmentation()
        segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
        self.assertEqual([segment.GetName() for segment in segments], list(NAMES.values()))
        for segment, color in zip(segments, COLORS, strict=False):
            np.testing.assert_allclose(segment.GetColor(), color, atol=1e-6)

    def test_labels_need_not_be_consecutive_and_an_unnamed_one_gets_its_number(self):
        labels = np.where(self.labels == 1, 7, np.where(self.labels == 2, 300, 0))
        masks = regionMasks(self.create(labels, {300: "lesion"}), self.base)
        np.testing.assert_array_equal(masks["label 7"], labels == 7)
        np.testing.assert_array_equal(masks["lesion"], labels == 300)

    def test_masks_of_equal_names_are_kept_apart(self):
        masks = regionMasks(self.create(self.labels, {1: "node", 2: "node"}), self.base)
        self.assertEqual(list(masks), ["node", "node (2)"])

    def test_empty_label_image_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no labelled voxel"):
            self.create(np.zeros(SHAPE, int), {})
