"""Slices drawn off screen show the colours of the table for known values, and the image where there is no value."""

import numpy as np
from IVIMTestScene import NAMES, SHAPE, SceneTest, obliqueGeometry, smallRun

from ivimcore.data.series import Geometry
from ivimcore.reports.colormaps import colormap
from IVIMMappingLib.MapDescription import describeMap, isMapKey, labelCount, roundWindow
from IVIMMappingLib.MapDisplay import createMapNode
from IVIMMappingLib.OverviewFigure import hatch
from IVIMMappingLib.RegionSegments import COLORS, createSegmentation
from IVIMMappingLib.RunFolder import createBaseNode
from IVIMMappingLib.SliceChoice import chooseBox, chooseSlice
from IVIMMappingLib.SliceFigure import LEGEND_MANAGER, SliceFigure, sizeOfSlice


class SliceFigureTestCase(SceneTest):
    needsDrawing = True

    def setUp(self):
        super().setUp()
        # One voxel is 10 x 10 pixels; i runs to the patient's left, as columns from left to right.
        self.shape = (16, 12, 3)
        self.size = (160, 120)
        self.geometry = Geometry(self.shape, np.diag([-2.0, -2.0, 3.0, 1.0]))
        self.base = createBaseNode(self.scene, np.full(self.shape, 50, np.float32), self.geometry, "base")
        self.base.GetDisplayNode().SetWindowLevelMinMax(0, 100)
        self.values = np.full(self.shape, np.nan, np.float32)

    @staticmethod
    def at(picture, i, j):
        return picture[10 * j + 5, 10 * i + 5].astype(int)

    def test_known_values_have_the_colours_of_the_table_and_nan_shows_the_image(self):
        self.values[2, 3, 1], self.values[4, 3, 1], self.values[13, 9, 1] = 0.0, 1.5e-3, 9.9e-3
        node = createMapNode(self.scene, "D", self.values, self.geometry, "map")
        with SliceFigure(self.scene, self.applicationLogic, self.size) as view:
            picture = view.render(self.base, node, 1)
            other = view.render(self.base, node, 0)
        self.assertEqual(picture.shape, (120, 160, 3))
        table = 255 * colormap("IVIM Diffusion")
        np.testing.assert_allclose(self.at(picture, 2, 3), table[0], atol=2)
        np.testing.assert_allclose(self.at(picture, 4, 3), table[[127, 128]].mean(axis=0), atol=3)
        np.testing.assert_allclose(self.at(picture, 13, 9), table[255], atol=2)
        np.testing.assert_allclose(self.at(picture, 3, 3), 127, atol=2)
        np.testing.assert_allclose(other.reshape(-1, 3).astype(int), 127, atol=2)

    def test_box_enlarges_a_part(self):
        self.values[8, 6, 1] = 3e-3
        node = createMapNode(self.scene, "D", self.values, self.geometry, "map")
        with SliceFigure(self.scene, self.applicationLogic, self.size) as view:
            whole = view.render(self.base, node, 1)
            part = view.render(self.base, node, 1, box=np.array([[4, 3], [11, 8]]))
        bright = [int((picture[..., 0].astype(int) != picture[..., 2]).sum()) for picture in (whole, part)]
        self.assertAlmostEqual(bright[0], 100, delta=25)
        self.assertAlmostEqual(bright[1], 400, delta=50)

    def test_patient_right_is_at_the_left_edge_of_an_axial_picture(self):
        with SliceFigure(self.scene, self.applicationLogic, self.size) as view:
            view.render(self.base)
            self.assertEqual(view.edgeLetters(), ("R", "L"))

    def test_view_takes_its_nodes_away(self):
        before = self.scene.GetNumberOfNodes()
        with SliceFigure(self.scene, self.applicationLogic, self.size) as view:
            view.render(self.base)
            self.assertGreater(self.scene.GetNumberOfNodes(), before)
        self.assertEqual(self.scene.GetNumberOfNodes(), before)

    def test_oblique_slice_is_drawn_in_its_own_plane_with_its_outlines(self):
        base, maps, _, labels = smallRun()
        geometry = obliqueGeometry()
        node = createBaseNode(self.scene, base, geometry, "oblique")
        np.testing.assert_allclose(sizeOfSlice(geometry), (_spans(geometry)), rtol=1e-6)
        with SliceFigure(self.scene, self.applicationLogic, (400, 400)) as view:
            plain = view.render(node, None, 2)
            createSegmentation(self.scene, labels, NAMES, geometry, "regions", node)
            outlined = view.render(node, None, 2)
        self.assertTrue((plain[..., 0] == plain[..., 1]).all())
        for red, green, blue in COLORS[1 : len(NAMES)]:
            color = np.round(255 * np.array([red, green, blue]))
            self.assertGreater((np.abs(outlined - color).max(axis=2) < 30).sum(), 50)

    def test_legend_is_drawn_for_a_map_that_comes_after_the_view(self):
        self.values[:] = 1e-3
        with SliceFigure(self.scene, self.applicationLogic, (400, 300), (LEGEND_MANAGER,)) as view:
            node = createMapNode(self.scene, "D", self.values, self.geometry, "map")
            picture = view.render(self.base, node, 1)
        flat = picture[150, 100].astype(int)
        self.assertGreater((np.abs(picture.astype(int) - flat).max(axis=2) > 60).sum(), 500)


class WindowTestCase(SceneTest):
    def test_legends_have_round_numbers(self):
        self.assertEqual(labelCount(0, 3e-3), 4)
        self.assertEqual(labelCount(0, 0.4), 5)
        self.assertIn(labelCount(0, 0.1), (5, 6))
        self.assertEqual(roundWindow(0.0, 23.4), (0.0, 25.0))

    def test_deviation_is_described_by_its_parameter(self):
        description = describeMap("D_sd")
        self.assertEqual(description.legendTitle, "SD of D [mm²/s]")
        self.assertIn("standard deviation", description.description)
        with self.assertRaisesRegex(KeyError, "known are"):
            describeMap("Dx")

    def test_maps_beside_the_parameters_are_described_by_their_table(self):
        for key, title in (
            ("Dstar_info", "information on D* [fraction]"), ("f_probability", "P(f > 5 %) [fraction]"),
            ("rho_Dstar_f", "correlation of D* and f"), ("Dstar_low", "D* low [mm²/s]"),
        ):
            self.assertTrue(isMapKey(key))
            self.assertTrue(describeMap(key).isUncertainty)
            self.assertEqual(describeMap(key).legendTitle, title)
        self.assertFalse(describeMap("D").isUncertainty)
        self.assertFalse(isMapKey("Dstar_info_sd"))


class HatchTestCase(SceneTest):
    def test_unsure_pixels_lose_their_colour_and_the_others_keep_theirs(self):
        picture = np.full((40, 60, 3), (40, 200, 80), np.uint8)
        unsure = np.zeros((40, 60), bool)
        unsure[10:30, 10:40] = True
        hatched = hatch(picture, unsure)
        np.testing.assert_array_equal(hatched[~unsure], picture[~unsure])
        spread = np.ptp(hatched[unsure].astype(int), axis=1)
        self.assertLess(spread.max(), 0.25 * np.ptp(picture[0, 0].astype(int)))
        # Every line and every column of an unsure area meets the hatching.
        lines = (hatched[10:30, 10:40] == hatched[unsure].max(axis=0)).all(axis=2)
        self.assertTrue(lines.any(axis=0).all() and lines.any(axis=1).all() and lines.mean() < 0.5)


class SliceChoiceTestCase(SceneTest):
    def test_small_region_weighs_as_much_as_a_large_one(self):
        values = np.ones(SHAPE)
        large, small = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        large[2:15, 2:13, 0:3] = True
        large[2:15, 2:12, 3] = True
        small[8:10, 8:10, 3] = True
        self.assertEqual(chooseSlice(values, {"large": large, "small": small}), 3)

    def test_without_regions_voxels_and_contrast_count(self):
        values = np.full(SHAPE, np.nan)
        values[..., 1] = np.linspace(0, 1, SHAPE[0])[:, None]
        values[..., 3] = 0.5
        self.assertEqual(chooseSlice(values), 1)
        self.assertEqual(chooseSlice(np.full(SHAPE, np.nan)), 2)

    def test_box_holds_the_mask_or_everything(self):
        mask = np.zeros((100, 80), bool)
        mask[40:60, 30:50] = True
        (i0, j0), (i1, j1) = chooseBox(mask)
        self.assertTrue(i0 < 40 and j0 < 30 and i1 > 59 and j1 > 49 and i1 - i0 < 50)
        np.testing.assert_array_equal(chooseBox(np.ones((10, 8), bool)), [[0, 0], [9, 7]])


def _spans(geometry):
    """Size [mm] of an axial-like slice of perpendicular axes: along the axis nearest left-right, then the other."""
    spans = geometry.spacing[:2] * geometry.shape[:2]
    return tuple(spans)
