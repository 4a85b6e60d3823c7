"""Two dates of one patient: who is offered, what comes along, what can be said, and what must be doubted."""

import json
import math

import numpy as np
import slicer
from IVIMTestFollowUp import LESION, SHAPE, cohort, patient
from IVIMTestScene import SceneTest

from ivimcore import InputError
from IVIMMappingLib import ChartNodes, EarlierResults, FollowUp, FollowUpMethod, FollowUpRegions, PatientIdentity
from IVIMMappingLib.MappingLogic import MappingLogic
from IVIMMappingLib.RegionSegments import regionMasks
from IVIMMappingLib.Runs import renameRun, runsOf
from IVIMMappingLib.SeriesReader import readSeries

HOSTILE = "=cmd|' /C calc'!A0\t<b>\nlesion"


def _dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


class FollowUpTestCase(SceneTest):
    def setUp(self):
        super().setUp()
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.logic = MappingLogic(self.scene, self.applicationLogic)

    def tearDown(self):
        self.logic = None
        super().tearDown()

    def examine(self, name="MUELLER^ANNA", **options):
        return patient(self.scene, self.applicationLogic, name, **options)

    def fit(self, nodes, estimator="segmented", **choices):
        self.logic.process(nodes[0], estimator, nodes[2], **choices)
        return runsOf(self.scene)[0]

    def both(self, estimator="segmented", **options):
        """Return nodes and run of the first date, nodes of the second."""
        first = self.examine(seed=1)
        return first, self.fit(first, estimator), self.examine(seed=2, **options)

    def lineOf(self, found, region=LESION, key="D"):
        return next(line for line in found.lines if (line.region, line.map) == (region, key))

    # --- the answer ------------------------------------------------------------------------------------------------

    def test_a_lesion_that_changed_is_called_changed_and_the_others_are_not(self):
        _, before, second = self.both(growth=1.4)
        found = self.logic.followUp(second[0], before, cohort(before))
        line = self.lineOf(found)
        self.assertEqual(line.verdict.word, "changed", line.text)
        self.assertAlmostEqual(line.verdict.relative, 0.4, delta=0.08)
        self.assertIn("(n = 20): changed", line.text)
        self.assertEqual(self.lineOf(found, key="f").verdict.word, "within chance")
        self.assertTrue(any("different" in said or "comparisons" in said for said in found.warnings))
        run = runsOf(self.scene)[0]
        self.assertEqual(run.estimator, "segmented")
        self.assertEqual(run.settings["earlierRun"], before.key)
        self.assertTrue(run.regionNode.GetName().endswith("(follow-up)"))

    def test_without_a_cohort_there_is_a_change_with_its_interval_and_no_verdict(self):
        _, before, second = self.both(growth=1.4)
        found = self.logic.followUp(second[0], before)
        line = self.lineOf(found)
        self.assertEqual(line.verdict.word, "no verdict")
        self.assertTrue(math.isfinite(line.verdict.low) and line.verdict.low < line.verdict.change < line.verdict.high)
        self.assertIn("No limit is known", line.text)
        self.assertIn("from the noise of the fit alone", line.text)
        self.assertNotIn("limit of the reference cohort", found.text())

    def test_few_subjects_give_no_verdict_unless_asked(self):
        _, before, second = self.both(growth=1.4)
        self.logic.followUp(second[0], before)
        after, few = runsOf(self.scene)[0], cohort(before, subjects=6)
        self.assertEqual(self.lineOf(FollowUp.compareRuns(before, after, few)).verdict.word, "no verdict")
        asked = FollowUp.compareRuns(before, after, few, few=True, holm=True)
        self.assertNotEqual(self.lineOf(asked).verdict.word, "no verdict")
        self.assertEqual(self.lineOf(asked).verdict.comparisons, len(asked.lines))

    def test_names_of_patients_stand_in_no_text(self):
        _, before, second = self.both(growth=1.4)
        found = self.logic.followUp(second[0], before, cohort(before))
        self.assertNotIn("MUELLER", found.text())

    def test_pseudo_diffusion_is_left_out_with_its_reason(self):
        _, before, second = self.both()
        found = self.logic.followUp(second[0], before, cohort(before))
        self.assertFalse([line for line in found.lines if line.map == "Dstar"])
        self.assertTrue(any("D*" in reason for reason in found.left_out))
        found = FollowUp.compareRuns(before, runsOf(self.scene)[0], None, keys=("D", "f", "Dstar"))
        self.assertTrue([line for line in found.lines if line.map == "Dstar"])

    # --- what comes along ------------------------------------------------------------------------------------------

    def test_regions_come_along_by_their_place_whatever_the_grid(self):
        first, before, second = self.both(shape=(48, 48, 3))
        series = readSeries(second[0])
        copy, said = FollowUpRegions.copyRegions(self.scene, before, series)
        self.assertIn("check every position", said)
        self.assertIsNot(copy, first[2])
        wanted, found = (regionMasks(node, second[1])["liver"] for node in (first[2], copy))
        overlap = 2 * (wanted & found).sum() / (wanted.sum() + found.sum())
        self.assertGreater(overlap, 0.95)
        names = [copy.GetSegmentation().GetNthSegment(i).GetName()
                 for i in range(copy.GetSegmentation().GetNumberOfSegments())]
        self.assertEqual(len(set(names)), len(names))
        self.assertIn(LESION, names)
        copy.GetSegmentation().RemoveSegment(copy.GetSegmentation().GetNthSegmentID(0))
        self.assertEqual(first[2].GetSegmentation().GetNumberOfSegments(), len(names), "the earlier ones are untouched")

    def test_regions_are_moved_as_the_images_must_be_where_that_is_asked_for(self):
        first, before, second = self.both(shape=(48, 48, 2))
        wanted = regionMasks(first[2], second[1])
        # The patient lies 16 mm further to the side and 9 mm further to the front.
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "another position")
        shift = np.eye(4)
        shift[:2, 3] = 16, 9
        slicer.util.updateTransformMatrixFromArray(transform, shift)
        second[1].SetAndObserveTransformNodeID(transform.GetID())
        series = readSeries(second[0])
        placed, _ = FollowUpRegions.copyRegions(self.scene, before, series)
        # From the earlier series; where that is gone from its map of S0, a seventh of the image and less certain.
        for turned, tolerance in ((r"0\.\d", 1.0), (r"[012]\.\d", 3.0)):
            copy, said = FollowUpRegions.copyRegions(self.scene, before, series, isAligned=True)
            self.assertRegex(
                said, rf"moved by (1[6-9]|20)\.\d( to (1[6-9]|20)\.\d)? mm and turned by {turned}°; correlation"
            )
            self.assertIn("check every position", said)
            matrix = np.reshape(json.loads(copy.GetAttribute(FollowUpRegions.ALIGNMENT_ATTRIBUTE)), (4, 4))
            found = [(matrix @ [*point, 1.0])[:3] - point for point in ((0.0, 0, 0), (60.0, 20, 0), (-60.0, -20, 0))]
            np.testing.assert_allclose(found, [[16, 9, 0]] * 3, atol=tolerance)
            for name, mask in regionMasks(copy, second[1]).items():
                # Half a voxel of 8 mm is much of a small region.
                self.assertGreater(_dice(mask, wanted[name]), 0.6, name)
            self.assertLess(_dice(regionMasks(placed, second[1])[LESION], wanted[LESION]), 0.3)
            self.scene.RemoveNode(first[0])
            before = runsOf(self.scene)[0]
            self.assertIsNone(before.seriesNode)

    def test_a_patient_who_did_not_move_keeps_the_regions_where_they_were(self):
        first, before, second = self.both(shape=(48, 48, 3))
        copy, said = FollowUpRegions.copyRegions(self.scene, before, readSeries(second[0]), isAligned=True)
        self.assertIn("No rigid movement makes the images agree better", said)
        self.assertIsNone(copy.GetAttribute(FollowUpRegions.ALIGNMENT_ATTRIBUTE))
        self.assertGreater(_dice(*(regionMasks(n, second[1])[LESION] for n in (first[2], copy))), 0.95)

    def test_regions_outside_the_new_series_are_a_sentence(self):
        _, before, second = self.both()
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "far")
        shift = np.eye(4)
        shift[0, 3] = 5000
        slicer.util.updateTransformMatrixFromArray(transform, shift)
        second[1].SetAndObserveTransformNodeID(transform.GetID())
        with self.assertRaisesRegex(InputError, "no voxel in the series"):
            FollowUpRegions.copyRegions(self.scene, before, readSeries(second[0]))

    def test_the_method_comes_along_and_what_cannot_match_is_said(self):
        first = self.examine(seed=1)
        before = self.fit(first, "posterior", options={"organ": "liver"}, exclude=[3])
        method = FollowUpMethod.methodOf(before, readSeries(first[0]).bvalues)
        self.assertEqual((method.estimator, method.options, list(method.used)),
                         ("posterior", {"organ": "liver"}, [n != 2 for n in range(8)]))
        self.assertTrue(any("learned from each image" in said for said in method.sentences))
        method = FollowUpMethod.methodOf(before, [0, 0, 10, 40, 80, 200, 400, 1000])
        self.assertEqual(list(method.used), [True, False, True, True, True, True, True, False])
        self.assertTrue(any("no image at b = 800" in said for said in method.sentences))
        self.assertTrue(any("1000 s/mm² are left out" in said for said in method.sentences))
        method = FollowUpMethod.methodOf(before, [5000, 6000, np.nan])
        self.assertTrue(method.used.all())
        self.assertIn("hardly any b-value", " ".join(method.sentences))

    def test_other_methods_are_doubted_and_never_compared_silently(self):
        first, before, second = self.both()
        after = self.fit(second, "nlls", exclude=[8])
        found = FollowUp.compareRuns(before, after, cohort(before))
        said = " ".join(found.warnings)
        self.assertIn("different estimators", said)
        self.assertIn("different b-values", said)
        self.assertIn("limits are of the estimator 'segmented'", said)

    # --- which earlier result --------------------------------------------------------------------------------------

    def addPatient(self, identifier, date, *nodes):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        constants = slicer.vtkMRMLSubjectHierarchyConstants
        person = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "whoever")
        hierarchy.SetItemLevel(person, constants.GetDICOMLevelPatient())
        hierarchy.SetItemUID(person, "DICOM", identifier)
        study = hierarchy.CreateStudyItem(person, "study")
        hierarchy.SetItemAttribute(study, "DICOM.StudyDate", date)
        for node in nodes:
            item = hierarchy.GetItemByDataNode(node)
            hierarchy.SetItemParent(item, study) if item else hierarchy.CreateItem(study, node)

    def test_the_same_patient_is_offered_by_identifier_and_never_by_name(self):
        first, second, other = (self.examine("same name", seed=seed) for seed in (1, 2, 3))
        self.addPatient("4711", "20240101", *first[:2])
        before = self.fit(first)
        self.assertIsNone(EarlierResults.offeredRun(self.scene, readSeries(second[0])), "equal names mean nothing")
        self.addPatient("4711", "20240301", *second[:2])
        self.addPatient("4712", "20240301", *other[:2])
        self.assertEqual(EarlierResults.offeredRun(self.scene, readSeries(second[0])).key, before.key)
        self.assertIsNone(EarlierResults.offeredRun(self.scene, readSeries(other[0])))
        self.assertEqual(str(PatientIdentity.dateOfRun(before)), "2024-01-01")
        found = FollowUp.compareRuns(self.fit(other), before)
        self.assertTrue(found.warnings[0].startswith("The scene says that the two results are of different patients"))
        self.assertTrue(any("scanned later" in said for said in found.warnings))
        self.assertNotIn("4711", found.text())

    def test_a_scene_file_adds_its_results_and_leaves_the_open_choices_alone(self):
        first = self.examine(seed=1)
        self.fit(first)
        view = self.scene.CreateNodeByClass("vtkMRMLViewNode")
        view.UnRegister(None)
        view.SetSingletonTag("1")
        view = self.scene.AddNode(view)
        view.SetBackgroundColor(1, 0, 0)
        path = self.folder / "first.mrb"
        self.logic.exportScene(path)
        self.scene.Clear(0)
        second = self.examine("second", seed=2, growth=1.4)
        choices = self.scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        choices.UnRegister(None)
        choices.SetSingletonTag("IVIMMapping")
        choices.SetParameter("organ", "brain")
        choices = self.scene.AddNode(choices)
        choices.SetNodeReferenceID("seriesNode", second[0].GetID())
        place = str(self.folder / "today" / "open.mrml"), str(self.folder / "today")
        self.scene.SetURL(place[0])
        self.scene.SetRootDirectory(place[1])
        view.SetBackgroundColor(0, 1, 0)
        found = self.logic.followUp(second[0], path)
        self.assertEqual((self.scene.GetURL(), self.scene.GetRootDirectory()), place, "Save would go elsewhere")
        self.assertEqual(view.GetBackgroundColor(), (0, 1, 0))
        self.assertEqual(self.lineOf(found).map, "D")
        self.assertEqual(len(runsOf(self.scene)), 2)
        self.assertEqual(choices.GetParameter("organ"), "brain")
        self.assertIs(choices.GetNodeReference("seriesNode"), second[0])

    def test_an_output_folder_is_an_earlier_result_too(self):
        from ivimcore.cli import main
        from ivimcore.data.output import write_images
        from ivimcore.data.phantom_series import series_of_phantom
        from ivimcore.physics.phantom import abdomen

        series = series_of_phantom(abdomen(shape=SHAPE, seed=1))
        write_images(series.signal, series.geometry, self.folder / "a.nii.gz")
        (self.folder / "a.bval").write_text(" ".join(f"{b:g}" for b in series.acquisition.bvalues))
        self.assertEqual(main(["map", str(self.folder / "a.nii.gz"), "--estimator", "segmented", "--out",
                               str(self.folder / "MUELLER")]), 0)
        runs, said = EarlierResults.loadEarlier(self.scene, self.folder / "MUELLER")
        self.assertEqual([run.estimator for run in runs], ["segmented"])
        self.assertIn("no drawn regions", said)
        self.assertNotIn("MUELLER", " ".join(node.GetName() for node in runs[0].nodes()))
        self.assertTrue(FollowUp.sessionOf(runs[0]).values)

    def test_the_regions_of_an_output_folder_come_along_overlapping_or_not(self):
        from ivimcore.cli import main
        from ivimcore.data.output import write_images, write_labels
        from ivimcore.data.phantom_series import series_of_phantom
        from ivimcore.physics.phantom import abdomen

        series = series_of_phantom(abdomen(shape=SHAPE, seed=1))
        write_images(series.signal, series.geometry, self.folder / "a.nii.gz")
        (self.folder / "a.bval").write_text(" ".join(f"{b:g}" for b in series.acquisition.bvalues))
        organ, lesion = np.zeros((2, *series.geometry.shape), bool)
        organ[8:20, 8:20], lesion[14:24, 14:22] = True, True
        for masks in ({"-organ": organ, "lesion": lesion & ~organ}, {"-organ": organ, "lesion": lesion}):
            write_labels(organ, {}, series.geometry, self.folder / "r.seg.nrrd", masks)
            arguments = ["map", str(self.folder / "a.nii.gz"), "--rois", str(self.folder / "r.seg.nrrd")]
            out = self.folder / "visit"
            self.assertEqual(main([*arguments, "--estimator", "segmented", "adc", "--out", str(out)]), 0)
            # The folder of all estimators, that of one of them, and a session of BIDS derivatives.
            for chosen, count in ((out, 2), (out / "adc", 1), (self._derivatives(("segmented", "adc")), 2)):
                runs, said = EarlierResults.loadEarlier(self.scene, chosen)
                self.assertEqual(len(runs), count)
                self.assertIn("its regions (-organ, lesion)", said)
                for run in runs:
                    kind, node = EarlierResults.regionNodeOf(run)
                    self.assertEqual(kind, "segments")
                    found = regionMasks(node, next(iter(run.maps.values())))
                    for name, mask in masks.items():
                        np.testing.assert_array_equal(found[name], mask)
                    self.assertEqual(set(FollowUp.sessionOf(run).values), set(masks))
        # A later run into the same folder without regions has measured none.
        self.assertEqual(main([*arguments[:2], "--estimator", "adc", "--out", str(out / "adc")]), 0)
        self.assertIn("no drawn regions", EarlierResults.loadEarlier(self.scene, out / "adc")[1])

    def _derivatives(self, estimators):
        """Make BIDS derivatives of a.nii.gz with the regions r.seg.nrrd; return the folder of the session."""
        from ivimcore.jobs.cohort import run_cohort
        from ivimcore.jobs.cohortscan import Settings
        from ivimcore.jobs.job import Request
        from ivimcore.jobs.manifest import Manifest, Scan
        from ivimcore.reports.cohortrows import describe_outcome, write_companions

        scan = Scan("1", "a", "", "1/a", (str(self.folder / "a.nii.gz"),), str(self.folder / "a.bval"),
                    str(self.folder / "r.seg.nrrd"), entities={"sub": "1", "ses": "a"})  # fmt: skip
        settings = Settings(str(self.folder / "bids"), tuple(Request(name) for name in estimators))
        run_cohort(Manifest("raw", (scan,), (), bids=True), settings, lambda event: None, (write_companions,),
                   describe_outcome, workers=0)  # fmt: skip
        return self.folder / "bids" / "sub-1" / "ses-a"

    def test_files_without_results_are_one_sentence_and_change_nothing(self):
        empty = self.folder / "empty.mrb"
        self.examine()
        self.scene.WriteToMRB(str(empty))
        (self.folder / "broken").mkdir()
        (self.folder / "broken" / "provenance.json").write_text("{")
        (self.folder / "broken" / "D.nrrd").write_text("")
        (self.folder / "text.mrb").write_text("nothing")
        count = self.scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode")
        for path, words in (
            (empty, "holds no run"), (self.folder / "nowhere.mrb", "does not exist"), (self.folder, "holds"),
            (self.folder / "broken", "cannot be read"),
        ):
            with self.subTest(path.name), self.assertRaisesRegex(InputError, words):
                EarlierResults.loadEarlier(self.scene, path)
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode"), count)

    # --- bad input -------------------------------------------------------------------------------------------------

    def test_a_region_of_one_date_only_is_said_and_names_may_be_anything(self):
        first, before, second = self.both()
        for nodes, name in ((first, "only before"), (second, "only now")):
            nodes[2].GetSegmentation().GetNthSegment(0).SetName(name)
            nodes[2].GetSegmentation().GetNthSegment(1).SetName(HOSTILE)
        before, after = self.fit(first), self.fit(second)
        found = FollowUp.compareRuns(before, after)
        said = " ".join(found.left_out)
        self.assertIn("'only now' exists only this time", said)
        self.assertIn("'only before' exists only before", said)
        for line in found.lines:
            self.assertNotIn("\n", line.text)
            self.assertNotIn("\t", line.text)

    def test_no_common_region_the_same_run_and_no_statistics_are_refused(self):
        first, before, second = self.both()
        with self.assertRaisesRegex(InputError, "the same run"):
            FollowUp.compareRuns(before, before)
        for index in range(second[2].GetSegmentation().GetNumberOfSegments()):
            second[2].GetSegmentation().GetNthSegment(index).SetName(f"other {index}")
        after = self.fit(second)
        with self.assertRaisesRegex(InputError, "no region of the same name"):
            FollowUp.compareRuns(before, after)
        after.statistics = None
        with self.assertRaisesRegex(InputError, "no statistics"):
            FollowUp.compareRuns(before, after)

    # --- several dates ---------------------------------------------------------------------------------------------

    def test_a_trend_follows_the_dates_with_the_limits_around_the_first(self):
        nodes = [self.examine(f"visit {n}", seed=n, growth=growth) for n, growth in ((1, 1.0), (2, 1.2), (3, 1.4))]
        runs = [self.fit(each) for each in nodes]
        for run, earlier in zip(runs[1:], runs, strict=False):
            for node in run.nodes():
                node.SetAttribute("IVIM.Settings", json.dumps({**run.settings, "earlierRun": earlier.key}))
        last = runsOf(self.scene)[0]
        found = FollowUp.runsOfPatient(self.scene, last)
        self.assertEqual([run.key for run in found], [run.key for run in runs])
        trend = FollowUp.trendOf(found, LESION, "D", cohort(runs[0]))
        self.assertFalse(trend.inDays)
        self.assertEqual([point.place for point in trend.points], [1, 2, 3])
        self.assertLess(trend.limits[0], trend.points[0].value)
        self.assertGreater(trend.points[2].value, trend.limits[1])
        for each, date in zip(nodes, ("20240110", "20240101", "20240301"), strict=True):
            self.addPatient("4711", date, *each[:2])
        found = FollowUp.runsOfPatient(self.scene, runsOf(self.scene)[0])
        trend = FollowUp.trendOf(found, LESION, "D")
        self.assertTrue(trend.inDays)
        self.assertEqual([point.place for point in trend.points], [0, 9, 60])
        self.assertIsNone(trend.limits)
        renameRun(found[0], "renamed")
        self.assertEqual(len(FollowUp.trendOf([found[0]], LESION, "D").points), 1, "a single date is one point")

    def test_a_chart_is_made_once_and_found_again_in_a_loaded_scene(self):
        chart = ChartNodes.ChartNodes(self.scene, "IVIM trend")
        curve = ChartNodes.Curve("D", [1, 2, np.nan], [1.0, 1.2, 1.3], isMarked=True)
        chart.draw([curve, ChartNodes.Curve("limit", [1, 2], [1.1, 1.1], "dash")], "lesion", "day", "D [10⁻³ mm²/s]")
        chart.draw([curve], "lesion", "day", "D [10⁻³ mm²/s]")
        self.reload()
        again = ChartNodes.ChartNodes(self.scene, "IVIM trend")
        self.assertEqual(again.chartNode.GetNumberOfPlotSeriesNodes(), 1)
        table = again.chartNode.GetNthPlotSeriesNode(0).GetTableNode()
        self.assertEqual(table.GetTable().GetNumberOfRows(), 2)
        again.remove()
        for name in ("PlotChart", "PlotSeries", "Table"):
            self.assertEqual(self.scene.GetNumberOfNodesByClass(f"vtkMRML{name}Node"), 0)


