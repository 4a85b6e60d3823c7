"""A run in the scene says what it is, and a saved scene brings all of it back."""

import json

import numpy as np
import slicer
from IVIMTestScene import NAMES, SceneTest, obliqueGeometry, smallExtras, smallRun

from ivimcore.physics.parameters import EXTRAS, PARAMETERS
from ivimcore.reports.colormaps import colormap
from IVIMMappingLib.DwiSequence import browseSequence, bvaluesOfSequence, createDwiSequence
from IVIMMappingLib.RegionSegments import createSegmentation, regionMasks
from IVIMMappingLib.RunFolder import addRun, createBaseNode, createFolder, moveToFolder, shareWindows
from IVIMMappingLib.StatisticsTable import rowsOfTable
from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode

ROWS = [
    {"region": "liver", "map": "D", "mean": 0.00101234567890123, "n": 321},
    {"region": "lesion", "map": "D", "mean": None, "n": 17},
]
BVALUES = [0, 10, 10, 800]


class RunFolderTestCase(SceneTest):
    def setUp(self):
        super().setUp()
        self.geometry = obliqueGeometry()
        self.base, self.maps, self.status, self.labels = smallRun()
        self.extras = smallExtras()
        self.provenance = {"run_id": "r-1", "estimator": "nlls", "bvalues": [0, 10, 800], "note": "σ, mm²/s"}
        folder = createFolder(self.scene, "case")
        base = createBaseNode(self.scene, self.base, self.geometry, "case b0")
        regions = createSegmentation(self.scene, self.labels, NAMES, self.geometry, "case regions", base)
        signal = np.stack([self.base * factor for factor in (1.0, 0.9, 0.8, 0.3)], axis=-1)
        sequence = createDwiSequence(self.scene, signal, self.geometry, BVALUES, "case DWI")
        for node in (base, regions, sequence):
            moveToFolder(node, folder)
        maps = {**self.maps, "D_sd": self.maps["D"] / 10, **self.extras, "status": self.status}
        self.run_ = addRun(self.scene, maps, self.geometry, "case", "nlls", self.provenance, ROWS, folder)

    def check(self):
        self.checkMaps()
        self.checkCompanions()
        self.checkHierarchy()

    def checkMaps(self):
        for key, values in {**self.maps, **self.extras}.items():
            parameter = (PARAMETERS | EXTRAS)[key]
            node = self.node(f"case IVIM {parameter.symbol}")
            array, grid = arrayFromVolumeNode(node)
            self.assertEqual(array.dtype, np.float32)
            np.testing.assert_array_equal(array.view(np.uint32), values.view(np.uint32))  # NaN included
            np.testing.assert_allclose(grid.affine, self.geometry.affine, atol=1e-6)
            self.assertIn(parameter.description, node.GetDescription())
            self.assertEqual(node.GetVoxelValueQuantity().GetCodeValue(), parameter.quantity_code[0])
            self.assertEqual(node.GetVoxelValueUnits().GetCodeValue(), parameter.unit_code[0])
            self.assertEqual(node.GetAttribute("IVIM.Parameter"), key)
            self.assertEqual(node.GetAttribute("IVIM.Estimator"), "nlls")
            self.assertEqual(node.GetAttribute("IVIM.RunId"), "r-1")
            self.assertEqual(json.loads(node.GetAttribute("IVIM.Provenance")), self.provenance)
            self.checkDisplay(node, parameter, values)

    def checkDisplay(self, node, parameter, values):
        display = node.GetDisplayNode()
        table = display.GetColorNode()
        colors = np.array([self.colorOf(table, index) for index in range(256)])
        np.testing.assert_allclose(colors, colormap(parameter.colors), atol=0.51 / 255)  # kept in 8 bits
        if parameter.stored_range is not None:
            window = (display.GetWindowLevelMin(), display.GetWindowLevelMax())
            np.testing.assert_allclose(window, parameter.stored_range, rtol=1e-6, atol=1e-12)
        self.assertFalse(display.GetAutoWindowLevel())
        self.assertFalse(display.GetInterpolate())
        self.assertTrue(display.GetApplyThreshold())
        self.assertLess(display.GetLowerThreshold(), np.nanmin(values))
        self.assertGreater(display.GetUpperThreshold(), np.nanmax(values))
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
        unit = {"1": "fraction"}.get(parameter.unit, parameter.unit)
        expected = parameter.symbol if parameter.key == "rho_Dstar_f" else f"{parameter.symbol} [{unit}]"
        self.assertEqual(legend.GetTitleText(), expected)
        self.assertEqual(legend.GetLabelFormat(), "%.3g")

    def checkCompanions(self):
        masks = regionMasks(self.node("case regions"), self.node("case b0"))
        self.assertEqual(list(masks), list(NAMES.values()))
        for value, name in NAMES.items():
            np.testing.assert_array_equal(masks[name], self.labels == value)
        rows = rowsOfTable(self.node("case IVIM statistics"))
        self.assertEqual([row["region"] for row in rows], ["liver", "lesion"])
        np.testing.assert_allclose([row["mean"] for row in rows], [ROWS[0]["mean"], np.nan], rtol=1e-5)
        self.assertEqual([row["n"] for row in rows], [321.0, 17.0])
        status = self.node("case IVIM status")
        np.testing.assert_array_equal(arrayFromVolumeNode(status)[0], self.status)
        self.assertIn("not fitted", status.GetDisplayNode().GetColorNode().GetColorName(1))
        sequence = self.scene.GetFirstNode("case DWI", "vtkMRMLSequenceNode")
        np.testing.assert_array_equal(bvaluesOfSequence(sequence), BVALUES)
        np.testing.assert_allclose(arrayFromVolumeNode(sequence.GetNthDataNode(3))[0], 0.3 * self.base, rtol=1e-6)

    def checkHierarchy(self):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.assertEqual(self.pathOf(hierarchy, self.node("case b0")), ["case"])
        self.assertEqual(self.pathOf(hierarchy, self.node("case regions")), ["case"])
        run = ["case", "case IVIM nlls"]
        for name in ("case IVIM D", "case IVIM RMSE", "case IVIM status", "case IVIM statistics"):
            self.assertEqual(self.pathOf(hierarchy, self.node(name)), run)
        for name in ("SD of D", *(EXTRAS[key].symbol for key in self.extras)):
            self.assertEqual(self.pathOf(hierarchy, self.node(f"case IVIM {name}")), [*run, "uncertainty"])

    @staticmethod
    def pathOf(hierarchy, node):
        names = []
        item = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
        while item not in (hierarchy.GetSceneItemID(), hierarchy.GetInvalidItemID()):
            names.insert(0, hierarchy.GetItemName(item))
            item = hierarchy.GetItemParent(item)
        return names

    @staticmethod
    def colorOf(table, index):
        color = [0.0] * 4
        table.GetColor(index, color)
        return color[:3]

    def test_scene_says_what_every_node_is(self):
        self.check()

    def test_run_without_uncertainty_has_no_folder_for_it(self):
        run = addRun(self.scene, self.maps, self.geometry, "case", "other")
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.assertEqual(hierarchy.GetNumberOfItemChildren(run.folderItem), len(self.maps))

    def test_saved_scene_brings_everything_back(self):
        self.reload()
        self.check()

    def test_colour_table_is_made_once_and_found_again_after_reloading(self):
        self.reload()
        again = addRun(self.scene, {"D": self.maps["D"]}, self.geometry, "case", "segmented")
        self.assertIs(
            again.maps["D"].GetDisplayNode().GetColorNode(), self.node("case IVIM D").GetDisplayNode().GetColorNode()
        )
        self.assertEqual(again.maps["D"].GetName(), "case IVIM D (segmented)")

    def test_maps_of_two_runs_share_the_window_that_follows_the_image(self):
        other = addRun(self.scene, {"rmse": 3 * self.maps["rmse"]}, self.geometry, "case", "segmented")
        shareWindows([self.run_, other])
        windows = {run.maps["rmse"].GetDisplayNode().GetWindowLevelMax() for run in (self.run_, other)}
        self.assertEqual(len(windows), 1)
        self.assertGreater(windows.pop(), 10.0)
        legends = self.scene.GetNodesByClass("vtkMRMLColorLegendDisplayNode")
        self.assertEqual(legends.GetNumberOfItems(), len(self.maps) + len(self.extras) + 2)

    def test_frames_can_be_browsed_after_reloading(self):
        sequence = self.scene.GetFirstNode("case DWI", "vtkMRMLSequenceNode")
        browseSequence(self.applicationLogic, sequence)
        self.reload()
        browser = self.scene.GetFirstNode(None, "vtkMRMLSequenceBrowserNode")
        browser.SetSelectedItemNumber(3)
        self.applicationLogic.GetModuleLogic("Sequences").UpdateProxyNodesFromSequences(browser)
        volume = browser.GetProxyNode(browser.GetMasterSequenceNode())
        self.assertEqual(volume.GetAttribute("DWMRI_b-value"), "800")
        np.testing.assert_allclose(arrayFromVolumeNode(volume)[0], 0.3 * self.base, rtol=1e-6)

    def test_temporary_nodes_are_gone(self):
        regionMasks(self.node("case regions"), self.node("case b0"))
        names = [self.scene.GetNthNode(index).GetName() for index in range(self.scene.GetNumberOfNodes())]
        self.assertNotIn("regions", names)
        self.assertFalse([name for name in names if name.endswith("_ColorTable")])
