"""Files and single volumes become a sequence with its b-values; what cannot be read leaves the scene as it was."""

import importlib.util
import shutil
import unittest
from unittest import mock

import numpy as np
import slicer
from IVIMTestData import sharedData
from IVIMTestScene import SHAPE, SceneTest, obliqueGeometry

from ivimcore.data.output import write_images
from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from IVIMMappingLib.MapDisplay import createMapNode
from IVIMMappingLib.SeriesImport import combineVolumes, importSeries
from IVIMMappingLib.SeriesReader import readSeries
from IVIMMappingLib.VolumeNodes import createVolumeNode

B = np.array([0.0, 10.0, 10.0, 800.0])


class Database:
    """The two calls of Slicer's DICOM database that are used; a closed one must not be asked."""

    def __init__(self, values, isOpen=True):
        self.values = values
        self.isOpen = isOpen

    def fileForInstance(self, uid):
        assert self.isOpen, "Qt would complain of a database that is not open"
        return uid if uid in self.values else ""

    def fileValue(self, path, tag):
        return self.values[path].get(tag, "")


class SeriesImportTestCase(SceneTest):
    def setUp(self):
        super().setUp()
        self.signal = np.random.default_rng(5).integers(1, 4000, (*SHAPE, B.size)).astype(np.int16)
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    def file(self, name="scan.nii.gz", bvalues="0 10 10 800"):
        write_images(self.signal, obliqueGeometry(), self.folder / name)
        if bvalues:
            (self.folder / f"{name.split('.')[0]}.bval").write_text(bvalues + "\n")
        return self.folder / name

    def refused(self, sentence, call, *arguments, **keywords):
        before = self.scene.GetNumberOfNodes()
        with self.assertRaisesRegex(InputError, sentence):
            call(self.scene, self.applicationLogic, *arguments, **keywords)
        self.assertEqual(self.scene.GetNumberOfNodes(), before)

    # --- files ---------------------------------------------------------------------------------------------------

    def test_nifti_with_bval_becomes_a_sequence_that_is_shown(self):
        sequence, proxy, notes = importSeries(self.scene, self.applicationLogic, self.file())
        self.assertEqual(sequence.GetName(), "scan")
        self.assertIs(readSeries(proxy).node, sequence)
        series = readSeries(sequence)
        np.testing.assert_array_equal(series.bvalues, B)
        np.testing.assert_array_equal(series.signal(), self.signal)
        np.testing.assert_allclose(series.geometry.affine, obliqueGeometry().affine, atol=1e-4)
        self.assertIn("scan.bval", series.source)
        self.assertEqual(notes, ())
        self.assertTrue(series.canShowImages)

    def test_given_bval_file_replaces_the_one_beside_the_image(self):
        path = self.file()
        (self.folder / "other.bval").write_text("0 20 30 900")
        sequence, _, _ = importSeries(self.scene, self.applicationLogic, path, bval=self.folder / "other.bval")
        np.testing.assert_array_equal(readSeries(sequence).bvalues, [0, 20, 30, 900])
        (self.folder / "short.bval").write_text("0 20")
        self.refused("2 b-values|2 numbers", importSeries, path, bval=self.folder / "short.bval")

    def test_image_without_bvalues_is_loaded_and_the_note_says_what_to_do(self):
        for name, beside in (("alone.nii.gz", ""), ("wrong.nii.gz", "0 10 800"), ("broken.nii.gz", "zero ten")):
            sequence, _, notes = importSeries(self.scene, self.applicationLogic, self.file(name, beside))
            series = readSeries(sequence)
            self.assertTrue(np.isnan(series.bvalues).all())
            self.assertEqual(len(notes), 1)
            self.assertIn(name.split(".")[0], notes[0])
            self.assertIn("type, paste or load them in the b-value table", series.notes[0])
            self.assertNotIn("--bval", notes[0])
            np.testing.assert_array_equal(series.signal(), self.signal)

    def test_second_import_gets_a_name_of_its_own(self):
        path = self.file()
        names = [importSeries(self.scene, self.applicationLogic, path)[0].GetName() for _ in range(2)]
        self.assertEqual(len(set(names)), 2)

    def test_sequence_file_of_slicer_comes_back_with_repeated_bvalues(self):
        sequence, _, _ = importSeries(self.scene, self.applicationLogic, self.file())
        storage = slicer.vtkMRMLVolumeSequenceStorageNode()
        storage.SetFileName(str(self.folder / "saved.seq.nrrd"))
        self.assertTrue(storage.WriteData(sequence))
        back, _, _ = importSeries(self.scene, self.applicationLogic, self.folder / "saved.seq.nrrd")
        self.assertEqual(back.GetName(), "saved")
        np.testing.assert_array_equal(readSeries(back).bvalues, B)
        np.testing.assert_array_equal(readSeries(back).signal(), self.signal)

    def test_source_of_the_bvalues_survives_the_scene_file(self):
        importSeries(self.scene, self.applicationLogic, self.file())
        self.reload()
        self.assertIn("scan.bval", readSeries(self.scene.GetFirstNode("scan", "vtkMRMLSequenceNode")).source)

    def test_what_is_no_series_is_refused_and_the_scene_stays_as_it_was(self):
        self.refused("does not exist", importSeries, self.folder / "none.nii.gz")
        write_images(self.signal[..., :1], obliqueGeometry(), self.folder / "one.nii.gz")
        self.refused("single 3D image", importSeries, self.folder / "one.nii.gz")
        (self.folder / "one.bval").write_text("0")
        self.refused("single 3D image", importSeries, self.folder / "one.nii.gz")
        damaged = self.file("damaged.nii.gz")
        damaged.write_bytes(damaged.read_bytes()[:2000])
        self.refused("damaged.nii.gz", importSeries, damaged)
        (self.folder / "text.txt").write_text("hello")
        self.refused("no known format", importSeries, self.folder / "text.txt")

    def test_slicer_nrrd_files_are_imported(self):
        folder = sharedData()
        for name, count, largest in (
            ("slicer_dwi_nrrd_multishell/multishell-DWI-451dir.nhdr", 451, 10000),
            ("slicer_multivolume_nrrd_prostate_15b/00943_SER18.nrrd", 15, 3500),
        ):
            sequence, _, _ = importSeries(self.scene, self.applicationLogic, folder / name)
            series = readSeries(sequence)
            self.assertEqual((series.count, series.bvalues.max()), (count, largest))

    def test_dicom_folder_is_imported_without_the_name_of_its_folder(self):
        if not (shutil.which("dcm2niix") or importlib.util.find_spec("dcm2niix")):
            raise unittest.SkipTest("dcm2niix is not installed (pip install dcm2niix)")
        folder = self.folder / "Doe^Jane"
        shutil.copytree(sharedData() / "dicom_siemens_prostate_4b" / "s08_4bval_0_100_400_800", folder)
        sequence, _, _ = importSeries(self.scene, self.applicationLogic, folder)
        self.assertEqual(sequence.GetName(), "DWI")
        series = readSeries(sequence)
        np.testing.assert_array_equal(series.bvalues, [0, 100, 400, 800])
        self.assertEqual(series.geometry.shape[2], 20)
        self.assertIn("DICOM", series.source)

    # --- several volumes -----------------------------------------------------------------------------------------

    def volumes(self, names, geometry=None):
        return [
            createVolumeNode(self.scene, self.signal[..., number], geometry or obliqueGeometry(), name)
            for number, name in enumerate(names)
        ]

    def test_volumes_are_ordered_by_the_b_in_their_names(self):
        volumes = self.volumes(("liver b800", "liver b0", "liver b50"))
        sequence, proxy = combineVolumes(self.scene, self.applicationLogic, volumes)
        series = readSeries(sequence)
        np.testing.assert_array_equal(series.bvalues, [0, 50, 800])
        np.testing.assert_array_equal(series.signal(), self.signal[..., [1, 2, 0]])
        self.assertEqual(sequence.GetName(), "liver")
        self.assertIn("names of the volumes", series.source)
        self.assertIs(series.displayNode(), proxy)
        self.assertIsNotNone(volumes[0].GetScene())

    def test_attribute_comes_before_the_dicom_file_and_that_before_the_name(self):
        volumes = self.volumes(("x b1", "x b2", "x b3"))
        volumes[0].SetAttribute("DWMRI_b-value", "20")
        volumes[0].SetAttribute("DICOM.instanceUIDs", "1.1 1.2")
        volumes[1].SetAttribute("DICOM.instanceUIDs", "1.1 1.2")
        volumes[2].SetAttribute("DICOM.instanceUIDs", "2.1 2.2")
        standard, ge = {"0018,9087": "50"}, {"0043,1039": "1000000400\\8\\0"}
        database = Database({"1.1": standard, "1.2": standard, "2.1": ge, "2.2": ge})
        with mock.patch.object(slicer, "dicomDatabase", database, create=True):
            sequence, _ = combineVolumes(self.scene, self.applicationLogic, volumes, "joined")
        np.testing.assert_array_equal(readSeries(sequence).bvalues, [20, 50, 400])
        self.assertEqual(sequence.GetName(), "joined")
        with mock.patch.object(slicer, "dicomDatabase", Database({"1.1": standard}, isOpen=False), create=True):
            sequence, _ = combineVolumes(self.scene, self.applicationLogic, volumes, "joined")
        np.testing.assert_array_equal(readSeries(sequence).bvalues, [2, 3, 20])

    def test_names_that_do_not_tell_b_leave_it_open_and_the_order_alone(self):
        volumes = self.volumes(("T2", "b50_400_800 trace", "b800"))
        sequence, _ = combineVolumes(self.scene, self.applicationLogic, volumes)
        series = readSeries(sequence)
        np.testing.assert_array_equal(series.bvalues, [np.nan, np.nan, 800])
        np.testing.assert_array_equal(series.signal(), self.signal[..., :3])
        self.assertEqual(sequence.GetName(), "DWI")

    def test_combined_series_keeps_the_transform_of_its_volumes(self):
        volumes = self.volumes(("b0", "b800"))
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
        for volume in volumes:
            volume.SetAndObserveTransformNodeID(transform.GetID())
        sequence, proxy = combineVolumes(self.scene, self.applicationLogic, volumes)
        self.assertIs(proxy.GetParentTransformNode(), transform)
        volumes[0].SetAndObserveTransformNodeID(None)
        self.refused("different transforms", combineVolumes, volumes)

    def test_volumes_that_do_not_fit_together_are_refused(self):
        volumes = self.volumes(("b0", "b50", "b800"))
        self.refused("at least two", combineVolumes, volumes[:1])
        self.refused("at least two", combineVolumes, [volumes[0], volumes[0]])
        moved = Geometry(SHAPE, obliqueGeometry().affine + np.array([[0, 0, 0, 3.0]] + [[0] * 4] * 3))
        far = self.volumes(["far"], moved)
        self.refused("'far' has another size or place than 'b0'", combineVolumes, volumes + far)
        ours = createMapNode(self.scene, "D", self.signal[..., 0].astype(float), obliqueGeometry(), "D")
        self.refused("'D' is a map of IVIMSlicer", combineVolumes, [volumes[0], ours])
        labels = createVolumeNode(
            self.scene, self.signal[..., 0], obliqueGeometry(), "atlas", "vtkMRMLLabelMapVolumeNode"
        )
        self.refused("'atlas' is no single measured image", combineVolumes, [volumes[0], labels])
        hollow = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
        self.refused("'hollow' holds no image", combineVolumes, [volumes[0], hollow])
