"""Two runs are compared where both have values, on one scale that is symmetric about zero."""

import numpy as np
import slicer
from IVIMTestRuns import RunTest
from IVIMTestScene import obliqueGeometry, smallRun

from ivimcore.errors import InputError
from IVIMMappingLib.MapComparison import createDifference, scatterSample
from IVIMMappingLib.RunFolder import addRun
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode


class MapComparisonTestCase(RunTest):
    needsPhantom = False

    def setUp(self):
        super().setUp()
        self.maps = [smallRun(seed)[1] for seed in (0, 1)]
        self.maps[1]["D"][10, 8, 3] = np.nan
        for maps, name in zip(self.maps, ("nlls", "segmented"), strict=True):
            addRun(self.scene, maps, obliqueGeometry(), "case", name)
        runs = {run.estimator: run for run in runsOf(self.scene)}
        self.first, self.second = runs["nlls"], runs["segmented"]

    def test_difference_is_first_minus_second_with_unit_and_place(self):
        node = createDifference(self.scene, self.first, self.second, "D")
        values, geometry = arrayFromVolumeNode(node)
        np.testing.assert_array_equal(values, self.maps[0]["D"] - self.maps[1]["D"])
        self.assertTrue(np.isnan(values[10, 8, 3]))
        np.testing.assert_allclose(geometry.affine, obliqueGeometry().affine, atol=1e-6)
        self.assertEqual(node.GetVoxelValueUnits().GetCodeValue(), "mm2/s")
        self.assertIn("mm²/s", slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node).GetTitleText())
        self.assertEqual(len(runsOf(self.scene)), 2)  # it is no map of a run

    def test_window_is_symmetric_and_equal_is_grey(self):
        display = createDifference(self.scene, self.first, self.second, "D").GetDisplayNode()
        self.assertAlmostEqual(display.GetWindowLevelMin(), -display.GetWindowLevelMax())
        color = [0.0] * 4
        for index in (127, 128):
            display.GetColorNode().GetColor(index, color)
            self.assertLess(max(color[:3]) - min(color[:3]), 0.03)
        ends = []
        for index in (0, 255):
            display.GetColorNode().GetColor(index, color)
            ends.append(tuple(color[:3]))
        self.assertGreater(ends[0][2], ends[0][0])  # blue is less
        self.assertGreater(ends[1][0], ends[1][2])  # orange is more

    def test_second_call_fills_the_same_node(self):
        node = createDifference(self.scene, self.first, self.second, "D")
        count = self.scene.GetNumberOfNodes()
        self.assertEqual(createDifference(self.scene, self.first, self.second, "D"), node)
        self.assertEqual(self.scene.GetNumberOfNodes(), count)

    def test_equal_maps_differ_by_zero_everywhere(self):
        values = arrayFromVolumeNode(createDifference(self.scene, self.first, self.first, "f"))[0]
        self.assertEqual(float(np.nanmax(np.abs(values))), 0.0)

    def test_sample_is_of_voxels_with_both_values_and_always_the_same(self):
        a, b = self.first.maps["D"], self.second.maps["D"]
        x, y = scatterSample(a, b, most=200)
        self.assertEqual(x.shape, (200,))
        self.assertTrue(np.isfinite(x).all() and np.isfinite(y).all())
        again = scatterSample(a, b, most=200)
        np.testing.assert_array_equal((x, y), again)
        both = np.isfinite(self.maps[0]["D"]) & np.isfinite(self.maps[1]["D"])
        x, y = scatterSample(a, b, most=10**9)
        self.assertEqual(x.size, np.count_nonzero(both))
        np.testing.assert_array_equal(np.sort(x), np.sort(self.maps[0]["D"][both]))
        mask = np.zeros(both.shape, dtype=bool)
        mask[10, 8, :] = True
        self.assertEqual(scatterSample(a, b, mask)[0].size, np.count_nonzero(both & mask))

    def test_what_cannot_be_compared_is_refused(self):
        with self.assertRaisesRegex(InputError, "no map 'D_sd'"):
            createDifference(self.scene, self.first, self.second, "D_sd")
        cropped = {"D": self.maps[0]["D"][:10]}
        addRun(self.scene, cropped, obliqueGeometry((10, 16, 5)), "other", "adc")
        other = next(run for run in runsOf(self.scene) if run.estimator == "adc")
        with self.assertRaisesRegex(InputError, "different grids"):
            createDifference(self.scene, self.first, other, "D")
        with self.assertRaisesRegex(InputError, "different grids"):
            scatterSample(self.first.maps["D"], other.maps["D"])
        with self.assertRaisesRegex(InputError, "region"):
            scatterSample(self.first.maps["D"], self.second.maps["D"], np.ones((2, 2, 2), bool))
