"""Runs are found again from what their maps say, answer for any position, and go without a trace."""

import json
import math

import numpy as np
import slicer
import vtk
from IVIMTestRuns import RunTest
from IVIMTestScene import obliqueGeometry, smallExtras, smallRun

from ivimcore.estimators.result import SENTENCES, Status
from ivimcore.physics.signal import biexponential
from IVIMMappingLib.MapDescription import describeMap
from IVIMMappingLib.MapDisplay import setAutomaticWindow
from IVIMMappingLib.MapHiding import followMap, hideWhere, mapOfShown, showAll, shownNode
from IVIMMappingLib.ProbeValues import NOWHERE, curveAt, regionCurves, statusSentence, valuesAt
from IVIMMappingLib.RegionNumbers import NUMBER_COLUMNS, differ, effectiveNumber
from IVIMMappingLib.RegionSegments import regionMasks
from IVIMMappingLib.RunFolder import addRun, createFolder, moveToFolder
from IVIMMappingLib.Runs import findRun, removeRun, renameRun, runOfMap, runsOf
from IVIMMappingLib.StatisticsTable import rowsOfTable
from IVIMMappingLib.VolumeNodes import createVolumeNode, geometryOfVolumeNode


def mapArray(node):
    return slicer.util.arrayFromVolume(node).transpose(2, 1, 0)


class RunsTestCase(RunTest):
    def rasOf(self, node, ijk):
        return (np.asarray(geometryOfVolumeNode(node).affine) @ [*ijk, 1.0])[:3]

    def voxelIn(self, run, region="liver"):
        mask = regionMasks(self.segmentation, run.maps["D"])[region] & np.isfinite(mapArray(run.maps["Dstar"]))
        return tuple(int(x) for x in np.argwhere(mask)[len(np.argwhere(mask)) // 2])

    # --- finding -------------------------------------------------------------------------------------------------

    def test_run_knows_everything_it_came_from(self):
        run = self.fit("nlls")
        self.assertEqual(run.estimator, "nlls")
        self.assertEqual(run.seriesNode, self.sequence)
        self.assertEqual(run.regionNode, self.segmentation)
        self.assertIn("S0", run.maps)
        self.assertIsNotNone(run.status)
        self.assertEqual(run.provenance["run_id"], run.runId)
        self.assertEqual(sum(run.unfitted.values()), run.provenance["voxels"])
        self.assertNotIn(self.sequence.GetName(), json.dumps(run.provenance))  # it may be that of a patient
        for node in run.nodes():
            self.assertIs(runOfMap(node).maps["D"], run.maps["D"])
        self.assertIsNone(runOfMap(self.proxy))
        self.assertIsNone(runOfMap(None))

    def test_second_run_gets_a_folder_and_names_of_its_own(self):
        for _ in range(3):
            self.fit("adc")
        runs = runsOf(self.scene)
        self.assertEqual(len(runs), 3)
        for values in (
            {run.runId for run in runs}, {run.folderItem for run in runs}, {run.name for run in runs},
            {run.key for run in runs}, {run.maps["ADC"].GetName() for run in runs},
        ):
            self.assertEqual(len(values), 3)
        newest = max(runs, key=lambda run: run.provenance["finished"])
        self.assertEqual(runs[0].provenance["finished"], newest.provenance["finished"])
        self.assertEqual(runs[0].maps["ADC"].GetName(), "IVIM phantom IVIM ADC (adc 2)")

    def test_saved_scene_brings_runs_back_with_their_references(self):
        first = self.fit("nlls", name="before treatment")
        self.fit("adc")
        d = mapArray(first.maps["D"]).copy()
        ras = self.rasOf(first.maps["D"], self.voxelIn(first))
        values, sentence, settings = valuesAt(first, ras), statusSentence(first, ras), first.settings
        key = first.key
        rows = rowsOfTable(first.regionNumbers)
        self.sequence = self.proxy = self.segmentation = first = None
        self.reload()
        runs = runsOf(self.scene)
        self.assertEqual([run.estimator for run in runs], ["adc", "nlls"])
        again = findRun(self.scene, key)
        self.assertEqual(again.name, "before treatment")
        self.assertEqual(again.settings, settings)
        self.assertEqual(again.seriesNode.GetName(), "IVIM phantom")
        self.assertTrue(again.seriesNode.IsA("vtkMRMLSequenceNode"))
        self.assertTrue(again.regionNode.IsA("vtkMRMLSegmentationNode"))
        np.testing.assert_array_equal(mapArray(again.maps["D"]), d)
        self.assertEqual(valuesAt(again, ras), values)
        self.assertEqual(statusSentence(again, ras), sentence)
        self.assertEqual([row["region"] for row in rowsOfTable(again.regionNumbers)], [row["region"] for row in rows])
        self.assertIsNone(findRun(self.scene, "nothing"))

    def test_runs_of_a_scene_made_by_the_shell_are_found_by_their_folders(self):
        _, maps, status, _ = smallRun()
        for estimator in ("nlls", "segmented"):
            addRun(self.scene, {**maps, "status": status}, obliqueGeometry(), "case", estimator)
        self.assertEqual({run.estimator for run in runsOf(self.scene)}, {"nlls", "segmented"})
        self.assertEqual(len({run.key for run in runsOf(self.scene)}), 2)

    def test_attributes_from_outside_do_no_harm(self):
        run = self.fit("adc")
        for node in run.nodes():
            node.SetAttribute("IVIM.Settings", "not json")
            node.SetAttribute("IVIM.Provenance", "[1, 2]")
        again = runsOf(self.scene)[0]
        self.assertEqual((again.settings, again.provenance), ({}, {}))

    # --- renaming, removing --------------------------------------------------------------------------------------

    def test_run_can_be_renamed(self):
        run = self.fit("adc")
        renameRun(run, " week 3 ")
        self.assertEqual(runsOf(self.scene)[0].name, "week 3")
        renameRun(run, "  ")
        self.assertEqual(runsOf(self.scene)[0].name, "week 3")

    def test_removed_run_leaves_no_trace(self):
        before = self.nodeIds()
        run = self.fit("nlls")
        hideWhere(run, "D", "f", 0.1)
        removeRun(self.scene, run)
        self.assertEqual(self.nodeIds(), before)
        self.assertEqual(runsOf(self.scene), [])
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.assertFalse(hierarchy.GetItemByName(run.name))

    def test_removing_one_run_keeps_the_other_and_what_a_person_put_into_the_folder(self):
        run = self.fit("nlls")
        other = self.fit("adc")
        mine = createVolumeNode(self.scene, np.zeros((2, 2, 2), np.float32), obliqueGeometry((2, 2, 2)), "mine")
        moveToFolder(mine, run.folderItem)
        moveToFolder(self.segmentation, createFolder(self.scene, "mine too", run.folderItem))
        removeRun(self.scene, run)
        self.assertEqual([each.estimator for each in runsOf(self.scene)], ["adc"])
        self.assertIsNotNone(other.maps["ADC"].GetDisplayNode().GetColorNode())
        self.assertTrue(self.scene.IsNodePresent(mine))
        self.assertTrue(self.scene.IsNodePresent(self.segmentation))

    def test_map_that_was_deleted_by_hand_is_simply_not_there(self):
        run = self.fit("nlls")
        self.scene.RemoveNode(run.maps["f"])
        self.scene.RemoveNode(run.status)
        again = runsOf(self.scene)[0]
        self.assertNotIn("f", again.maps)
        self.assertIsNone(again.status)
        self.assertEqual(statusSentence(again, (0, 0, 0)), "")
        removeRun(self.scene, again)
        self.assertEqual(runsOf(self.scene), [])

    # --- one position --------------------------------------------------------------------------------------------

    def test_position_tells_value_deviation_status_and_curve(self):
        run = self.fit("nlls")
        ijk = self.voxelIn(run)
        ras = self.rasOf(run.maps["D"], ijk)
        values = valuesAt(run, ras)
        self.assertEqual(values["D"], (mapArray(run.maps["D"])[ijk], mapArray(run.maps["D_sd"])[ijk]))
        self.assertTrue(math.isnan(values["rmse"][1]))
        self.assertNotIn("D_sd", values)
        self.assertEqual(statusSentence(run, ras), SENTENCES[Status(int(mapArray(run.status)[ijk]))])
        b, fitted, tissue = curveAt(run, ras)
        expected = biexponential(b, *(values[key][0] for key in ("S0", "D", "f", "Dstar")))
        np.testing.assert_allclose(fitted, expected, rtol=1e-6)
        self.assertTrue((tissue <= fitted + 1e-6).all())
        self.assertEqual(b[-1], max(run.provenance["bvalues_used"]))

    def test_position_outside_has_no_value_but_a_sentence(self):
        run = self.fit("nlls")
        self.assertEqual(valuesAt(run, (1e4, 0, 0)), {})
        self.assertEqual(statusSentence(run, (1e4, 0, 0)), NOWHERE)
        self.assertIsNone(curveAt(run, (1e4, 0, 0)))
        corner = self.rasOf(run.maps["D"], (0, 0, 0))
        self.assertTrue(math.isnan(valuesAt(run, corner)["D"][0]))
        self.assertEqual(statusSentence(run, corner), SENTENCES[Status.OUTSIDE])
        self.assertIsNone(curveAt(run, corner))

    def test_transform_above_the_maps_is_followed(self):
        run = self.fit("nlls")
        ijk = self.voxelIn(run)
        ras = self.rasOf(run.maps["D"], ijk)
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 40.0)
        matrix.SetElement(1, 1, -1.0)
        transform.SetMatrixTransformToParent(matrix)
        for node in (*run.maps.values(), run.status):
            node.SetAndObserveTransformNodeID(transform.GetID())
        moved = matrix.MultiplyPoint([*ras, 1.0])[:3]
        self.assertEqual(valuesAt(run, moved)["D"][0], mapArray(run.maps["D"])[ijk])
        self.assertNotEqual(statusSentence(run, moved), "")

    # --- regions -------------------------------------------------------------------------------------------------

    def test_two_numbers_of_each_region_agree_with_truth_and_tables(self):
        run = self.fit("nlls")
        rows = rowsOfTable(run.regionNumbers)
        self.assertEqual(tuple(rows[0]), NUMBER_COLUMNS)
        liver = {row["map"]: row for row in rows if row["region"] == "liver"}
        mask = regionMasks(self.segmentation, run.maps["D"])["liver"]
        truth = float(np.median(self.phantom.truth["D"][mask]))
        self.assertAlmostEqual(liver["D"]["fit of the mean signal"] / truth, 1, delta=0.1)
        self.assertAlmostEqual(
            liver["D"]["median of the voxel fits"], float(np.nanmedian(mapArray(run.maps["D"])[mask])), places=9
        )
        self.assertEqual(liver["D"]["voxels"], np.count_nonzero(mask))
        self.assertIn(liver["D"]["differs"], ("yes", "no"))
        statistics = {(row["region"], row["map"]): row for row in rowsOfTable(run.statistics)}
        self.assertEqual(statistics["liver", "D"]["median"], liver["D"]["median of the voxel fits"])
        curves = regionCurves(run)
        self.assertEqual(set(curves), {row["region"] for row in rows})
        self.assertTrue((np.diff(curves["liver"][1]) < 0).all())

    def test_numbers_differ_only_beyond_twice_their_uncertainty(self):
        self.assertEqual(differ(1.0, 0.1, 1.25, 0.1), "no")
        self.assertEqual(differ(1.0, 0.1, 1.30, 0.1), "yes")
        self.assertEqual(differ(1.0, math.nan, 1.30, 0.1), "not known")

    def test_neighbours_that_resemble_each_other_count_less(self):
        from scipy import ndimage

        noise = np.random.default_rng(0).normal(size=(40, 40, 10))
        mask = np.ones(noise.shape, dtype=bool)
        independent = effectiveNumber(noise, mask)
        self.assertGreater(independent, 0.8 * noise.size)
        self.assertLess(effectiveNumber(ndimage.gaussian_filter(noise, 1.5), mask), 0.1 * noise.size)
        self.assertEqual(effectiveNumber(noise, np.zeros_like(mask)), 0)
        holes = np.where(np.random.default_rng(1).random(noise.shape) < 0.3, np.nan, noise)
        self.assertLess(effectiveNumber(holes, mask), independent)

    # --- display -------------------------------------------------------------------------------------------------

    def test_hidden_voxels_are_a_matter_of_display_only(self):
        run = self.fit("nlls")
        before = mapArray(run.maps["D"]).copy()
        count = self.scene.GetNumberOfNodes()
        shown = hideWhere(run, "D", "f", 0.1)
        f = mapArray(run.maps["f"])
        with np.errstate(invalid="ignore"):
            expected = np.where(f >= 0.1, before, np.nan)
        np.testing.assert_array_equal(mapArray(shown), expected)
        np.testing.assert_array_equal(mapArray(run.maps["D"]), before)
        self.assertEqual(hideWhere(run, "D", "rmse", 5.0), shown)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(
                mapArray(shown), np.where(mapArray(run.maps["rmse"]) <= 5.0, before, np.nan)
            )
        self.assertTrue(shown.GetHideFromEditors())
        self.assertEqual(shownNode(run, "D"), shown)
        self.assertEqual(mapOfShown(shown), run.maps["D"])
        self.assertEqual(shown.GetDisplayNode().GetColorNode(), run.maps["D"].GetDisplayNode().GetColorNode())
        self.assertIsNotNone(slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(shown))
        self.assertEqual(len(runsOf(self.scene)), 1)
        self.assertEqual(runsOf(self.scene)[0].maps["D"], run.maps["D"])
        self.assertIs(runOfMap(shown).maps["D"], run.maps["D"])
        showAll(run)
        self.assertEqual(shownNode(run, "D"), run.maps["D"])
        self.assertEqual(self.scene.GetNumberOfNodes(), count)

    def test_hidden_voxels_come_back_with_the_scene(self):
        run = self.fit("nlls")
        values = mapArray(hideWhere(run, "D", "f", 0.1)).copy()
        self.sequence = self.proxy = self.segmentation = run = None
        self.reload()
        run = runsOf(self.scene)[0]
        shown = shownNode(run, "D")
        self.assertNotEqual(shown, run.maps["D"])
        np.testing.assert_array_equal(mapArray(shown), values)
        self.assertTrue(shown.GetHideFromEditors())

    def test_views_go_back_to_the_map_when_nothing_is_hidden_any_more(self):
        run = self.fit("adc")
        composite = self.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        composite.SetForegroundVolumeID(hideWhere(run, "ADC", "rmse", 1.0).GetID())
        showAll(run, "ADC")
        self.assertEqual(composite.GetForegroundVolumeID(), run.maps["ADC"].GetID())

    def test_window_follows_the_values_or_the_parameter_table(self):
        run = self.fit("nlls")
        node = run.maps["D"]
        shown = hideWhere(run, "D", "f", 0.05)
        setAutomaticWindow(node, True)
        followMap(node)
        values = mapArray(node)
        expected = np.percentile(values[np.isfinite(values)], (2, 98))
        for each in (node, shown):
            display = each.GetDisplayNode()
            np.testing.assert_allclose((display.GetWindowLevelMin(), display.GetWindowLevelMax()), expected, rtol=1e-5)
        setAutomaticWindow(node, False)
        display = node.GetDisplayNode()
        np.testing.assert_allclose(
            (display.GetWindowLevelMin(), display.GetWindowLevelMax()), describeMap("D").range, atol=1e-12
        )

    def test_maps_of_a_posterior_are_all_found(self):
        _, maps, status, _ = smallRun()
        addRun(self.scene, {**maps, **smallExtras(), "status": status}, obliqueGeometry(), "case", "posterior")
        run = runsOf(self.scene)[0]
        self.assertEqual(set(run.maps), {*maps, *smallExtras()})
