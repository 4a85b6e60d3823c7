"""Test-retest in the scene: sessions of subjects, their table against the core, files for others, and bad input."""

import json

import numpy as np
import slicer
from IVIMTestFollowUp import LESION, patient
from IVIMTestScene import SceneTest

from ivimcore import PARAMETERS, InputError
from ivimcore.reports.referencecohort import load_reference
from ivimcore.reports.repeatability import analyse
from IVIMMappingLib import TestRetest
from IVIMMappingLib.RunFolder import createFolder
from IVIMMappingLib.Runs import runsOf
from IVIMMappingLib.StatisticsTable import createTable
from IVIMMappingLib.TestRetest import RetestStudy

HOSTILE = "=1+1<script>alert(1)</script>"


def runWith(scene, values, name="run", estimator="nlls", bvalues=(0, 50, 200, 800), **about):
    """Add what a run leaves of its statistics: `values` region -> map -> value in stored units."""
    import IVIMMappingLib.MapDisplay as display
    from IVIMMappingLib.Runs import Run

    rows = [
        {"estimator": estimator, "region": region, "map": key, "unit": PARAMETERS[key].unit, "n": 20.0, "median": value,
         "mean": value, "sd": 0.0, "q1": value, "q3": value, "voxels": 20.0, "volume_ml": 1.0, "missing_share": 0.0,
         "left_out": 0.0}
        for region, maps in values.items() for key, value in maps.items()
    ]
    table = createTable(scene, rows, f"{name} statistics")
    table.SetAttribute(display.RUN_ATTRIBUTE, name)
    provenance = {"estimator": estimator, "options": {}, "bvalues_used": list(bvalues), **about}
    return Run(name, estimator, createFolder(scene, name), name, statistics=table, provenance=provenance)


class RetestStudyTest(SceneTest):
    def study(self, subjects=12, spread=0.03, **options):
        """Return a study of simulated subjects, and the values of D (subjects, 2)."""
        random = np.random.default_rng(2)
        level = 1.2e-3 * np.exp(0.2 * random.normal(size=(subjects, 1)))
        values = level * np.exp(spread * random.normal(size=(subjects, 2)))
        study = RetestStudy()
        for number, pair in enumerate(values):
            for session, value in enumerate(pair):
                region = "liver" if session == 0 else " Liver "
                run = runWith(self.scene, {region: {"D": value, "f": 0.1 + value}}, f"MUELLER {number} {session}",
                              **options)
                study.addRun(run, f"MUELLER {number}")
        return study, values

    def test_the_table_holds_the_numbers_of_the_core(self):
        study, values = self.study()
        analysis = study.analyse()
        cell = next(cell for cell in analysis.cells if cell.map == "D")
        self.assertEqual(cell.region, "liver", "names are paired without regard to case and spaces")
        self.assertAlmostEqual(cell.found.wsd.value, analyse(values).wsd.value, delta=1e-12)
        line = next(line for line in TestRetest.tableOf(analysis) if line[1].startswith("D "))
        self.assertEqual(line[3], "12")
        self.assertRegex(line[5], r"^0\.0\d+ \[0\.0\d+, 0\.0\d+\]$")
        self.assertEqual(len(line), len(TestRetest.COLUMNS))
        curves, xTitle, yTitle = TestRetest.blandAltmanOf(cell)
        points = curves[0]
        np.testing.assert_allclose(points.y, 1e3 * (values[:, 1] - values[:, 0]), atol=1e-12)
        self.assertIn("10⁻³ mm²/s", yTitle)
        self.assertEqual([curve.line for curve in curves], ["none", "solid", "dash", "dash", "dot", "dot"])

    def test_report_and_cohort_file_are_written_without_names(self):
        study, _ = self.study()
        analysis = study.analyse()
        path = TestRetest.saveReference(analysis, "nlls", self.folder / "ours")
        found = load_reference(path)
        self.assertEqual((path.name, found.estimator, found.regions()), ("ours.json", "nlls", ["liver"]))
        self.assertNotIn("MUELLER", path.read_text("utf-8"))
        try:
            import jinja2  # noqa: F401
        except ImportError:
            with self.assertRaisesRegex(InputError, "needs jinja2"):
                TestRetest.saveReport(analysis, self.folder / "report", pdf=False)
            return
        written = TestRetest.saveReport(analysis, self.folder / "report", pdf=False)
        page = written.html.read_text(encoding="utf-8")
        self.assertIn("liver", page)
        for file in (self.folder / "report").rglob("*"):
            if file.is_file():
                self.assertNotIn("MUELLER", file.read_text(encoding="utf-8"), file.name)

    def test_patients_are_recognised_by_the_scene_and_otherwise_numbered(self):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        study = RetestStudy()
        for identifier in ("11", "12", "11"):
            person = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "same name")
            hierarchy.SetItemLevel(person, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient())
            hierarchy.SetItemAttribute(person, "DICOM.PatientID", identifier)
            run = runWith(self.scene, {"liver": {"D": 1e-3}}, f"run {len(study.sessions)}")
            hierarchy.SetItemParent(run.folderItem, person)
            study.addRun(run)
        study.addRun(runWith(self.scene, {"liver": {"D": 1e-3}}, "unknown"))
        self.assertEqual([session.subject for session in study.sessions], ["P01", "P02", "P01", "P03"])

    def test_sessions_of_another_method_are_left_out_and_said_or_pooled_and_said(self):
        study, _ = self.study()
        for session in (1, 2):
            run = runWith(self.scene, {"liver": {"D": 2e-3, "f": 0.1}}, f"other {session}", bvalues=(0, 100, 800))
            study.addRun(run, "OTHER")
        analysis = study.analyse()
        self.assertEqual(analysis.cells[0].found.subjects, 12)
        self.assertIn("other b-values", " ".join(analysis.left_out))
        pooled = study.analyse(pool=True)
        self.assertEqual(pooled.cells[0].found.subjects, 13)
        self.assertIn("pooled all the same", " ".join(pooled.warnings))

    def test_bad_input_is_one_sentence_each(self):
        study = RetestStudy()
        with self.assertRaisesRegex(InputError, "two sessions"):
            study.analyse()
        run = runWith(self.scene, {"liver": {"D": 1e-3}})
        study.addRun(run)
        with self.assertRaisesRegex(InputError, "already"):
            study.addRun(run)
        with self.assertRaisesRegex(InputError, "two sessions"):
            study.analyse()
        with self.assertRaisesRegex(InputError, "type a name"):
            study.rename(0, "  ")
        run.statistics = None
        run.runId = "other"
        with self.assertRaisesRegex(InputError, "no statistics"):
            study.addRun(run)
        with self.assertRaisesRegex(InputError, "holds no result"):
            study.addFolder(self.folder)
        study.addRun(runWith(self.scene, {"spleen": {"D": np.nan}}, "nan"), "P01")
        analysis = study.analyse()
        self.assertIn("exists in 1 of 2 sessions", " ".join(analysis.left_out))

    def test_one_subject_is_described_and_doubted(self):
        study, _ = self.study(subjects=1)
        analysis = study.analyse()
        self.assertIn("single subject", " ".join(analysis.warnings))

    def test_hostile_names_stay_text(self):
        study = RetestStudy()
        for subject in ("A", "B", "C"):
            for session in (0, 1):
                value = 1e-3 * (1 + 0.01 * session + 0.1 * ord(subject) % 3)
                study.addRun(runWith(self.scene, {HOSTILE + "\n": {"D": value}}, f"{subject}{session}"), subject)
        analysis = study.analyse()
        try:
            written = TestRetest.saveReport(analysis, self.folder / "report", pdf=False)
        except InputError:
            self.skipTest("no Jinja")
        self.assertNotIn("<script>alert", written.html.read_text(encoding="utf-8"))
        for table in written.tables:
            for line in table.read_text(encoding="utf-8-sig").splitlines():
                self.assertFalse(line.startswith("=") or ",=" in line, line)

    def test_output_folders_are_sessions_too(self):
        rows = [{"estimator": "nlls", "region": "liver", "map": "D", "unit": "mm2/s", "n": 9, "median": 1.0e-3,
                 "mean": 1.0e-3, "voxels": 9, "volume_ml": 1.0}]
        for number in (1, 2):
            folder = self.folder / f"visit{number}"
            folder.mkdir()
            (folder / "provenance.json").write_text(json.dumps({"estimator": "nlls", "bvalues_used": [0, 800]}))
            header = ",".join(rows[0])
            body = ",".join(str(value) for value in rows[0].values()).replace("0.001", str(1e-3 * number))
            (folder / "roi_statistics.csv").write_text(f"{header}\n{body}\n")
        study = RetestStudy()
        for number in (1, 2):
            study.addFolder(self.folder / f"visit{number}", "A")
        self.assertAlmostEqual(study.analyse().cells[0].found.wsd.value, 1e-3 / np.sqrt(2), delta=1e-9)


class RealSessionsTest(SceneTest):
    def test_two_real_runs_of_two_phantoms_are_a_study(self):
        from IVIMMappingLib.MappingLogic import MappingLogic

        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        logic, study = MappingLogic(self.scene, self.applicationLogic), RetestStudy()
        for subject in (1, 2):
            for session in (1, 2):
                nodes = patient(self.scene, self.applicationLogic, f"scan {subject} {session}", 1 + 0.2 * subject,
                                seed=10 * subject + session)
                logic.process(nodes[0], "segmented", nodes[2])
                study.addRun(runsOf(self.scene)[0], str(subject))
        cell = next(c for c in study.analyse().cells if (c.region, c.map) == (LESION, "D"))
        self.assertEqual(cell.values.shape, (2, 2))
        self.assertLess(cell.found.wsd.value, 0.1 * cell.found.mean)
