"""Series of every kind are read where they lie in the scene, and what is no series is refused in one sentence."""


import numpy as np
import slicer
import vtk
from IVIMTestData import sharedData
from IVIMTestScene import SHAPE, obliqueGeometry
from IVIMTestSeries import B, SeriesTest

from ivimcore.data.series import Geometry
from ivimcore.errors import InputError
from ivimcore.physics.phantom import abdomen
from IVIMMappingLib.DwiSequence import createDwiSequence
from IVIMMappingLib.MapDisplay import createMapNode
from IVIMMappingLib.SeriesReader import findSeriesNode, readSeries
from IVIMMappingLib.VolumeNodes import createVolumeNode, setVolumeArray


class SeriesReaderTestCase(SeriesTest):
    # --- kinds of input ------------------------------------------------------------------------------------------

    def test_sequence_of_ours_is_read_with_repeated_bvalues(self):
        series = readSeries(self.sequence())
        self.check(series)
        self.assertIn("each frame's attribute DWMRI_b-value", series.source)
        self.assertEqual(series.notes, ())
        self.assertEqual(series.name, "DWI")

    def test_proxy_leads_to_its_sequence_although_both_have_one_name(self):
        first, second = self.sequence(name="one"), self.sequence(B[:3], name="two")
        browsers = [
            self.scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode") for number in range(2)
        ]
        proxy = browsers[1].GetProxyNode(second)
        self.assertIs(findSeriesNode(proxy), second)
        self.assertIs(readSeries(proxy).node, second)
        self.assertIs(readSeries(proxy).displayNode(), proxy)
        self.assertIs(findSeriesNode(first), first)

    def test_dwi_volume_is_read(self):
        series = readSeries(self.dwi())
        self.check(series)
        self.assertEqual(series.source, "b-values of the DWI volume")

    def test_vector_volume_has_no_bvalues_until_someone_gives_them(self):
        series = readSeries(self.components())
        self.check(series, np.full(B.size, np.nan))
        self.assertIn("type, paste or load them", series.notes[0])

    def test_series_survives_the_scene_file(self):
        self.sequence()
        self.reload()
        self.check(readSeries(self.scene.GetFirstNode("DWI", "vtkMRMLSequenceNode")))

    # --- what is refused -----------------------------------------------------------------------------------------

    def refused(self, node, sentence):
        with self.assertRaisesRegex(InputError, sentence):
            readSeries(node)

    def test_frames_of_other_size_or_place_are_refused_with_their_numbers(self):
        node = self.sequence()
        smaller = Geometry((20, 16, 4), obliqueGeometry().affine)
        setVolumeArray(node.GetNthDataNode(2), self.signal[..., :4, 0], smaller)
        self.refused(node, "Frame 3 of 'DWI' has another size or place than frame 1 .20 x 16 x 4")
        moved = obliqueGeometry()
        moved.affine[0, 3] += 5
        setVolumeArray(node.GetNthDataNode(2), self.signal[..., 0], moved)
        setVolumeArray(node.GetNthDataNode(4), self.signal[..., 0], moved)
        self.refused(node, "Frames 3, 5 of 'DWI' have another size or place")

    def test_map_of_ours_is_refused(self):
        node = createMapNode(self.scene, "D", self.signal[..., 0], obliqueGeometry(), "D")
        self.refused(node, "'D' is a map of IVIMSlicer; choose the series it was made from")

    def test_what_is_no_series_is_refused_in_one_sentence(self):
        self.refused(None, "No series is chosen")
        self.refused(createVolumeNode(self.scene, self.signal[..., 0], obliqueGeometry(), "T2"), "'T2' is a single im")
        self.refused(self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "none"), "'none' is empty")
        self.refused(self.bareSequence(1), "single image")
        self.refused(self.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "hollow"), "holds no voxels")
        self.refused(self.scene.AddNewNodeByClass("vtkMRMLModelNode", "skull"), "is no image series")
        transforms = self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "moves")
        transforms.SetDataNodeAtValue(slicer.vtkMRMLLinearTransformNode(), "0")
        self.refused(transforms, "Frame 1 of the sequence 'moves' holds no image")

    def test_non_linear_transform_is_refused(self):
        sequence = self.sequence()
        transform = self.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "warp")
        transform.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
        readSeries(sequence).displayNode().SetAndObserveTransformNodeID(transform.GetID())
        self.refused(sequence, "bent by the non-linear transform 'warp'")

    # --- place, mean, noise --------------------------------------------------------------------------------------

    def test_position_leads_to_its_voxel_also_under_a_linear_transform(self):
        series = readSeries(self.sequence())
        ras = (series.geometry.affine @ [3, 11, 2, 1])[:3]
        self.assertEqual(series.ijkAt(ras + 0.2), (3, 11, 2))
        self.assertIsNone(series.ijkAt(ras + 500))
        self.assertTrue(np.isnan(series.signalAt((-1, 0, 0))).all())
        transform = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
        matrix = np.eye(4)
        matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
        matrix[:3, 3] = (5, 6, 7)
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        series.displayNode().SetAndObserveTransformNodeID(transform.GetID())
        self.assertEqual(series.ijkAt((matrix @ [*ras, 1])[:3]), (3, 11, 2))
        self.assertIs(series.transformNode(), transform)

    def test_mean_signal_has_the_deviation_of_the_mean(self):
        series = readSeries(self.sequence())
        mask = np.zeros(SHAPE, dtype=bool)
        mask[4:9, 3:7, 1:3] = True
        mean, deviation = series.meanSignal(mask)
        np.testing.assert_allclose(mean, self.signal[mask].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(deviation, self.signal[mask].std(axis=0, ddof=1) / np.sqrt(40), rtol=1e-5)
        single = np.zeros(SHAPE, dtype=bool)
        single[3, 11, 2] = True
        self.assertTrue(np.isnan(series.meanSignal(single)[1]).all())
        self.assertTrue(np.isnan(series.meanSignal(np.zeros(SHAPE, dtype=bool))[0]).all())

    def test_noise_of_the_phantom_is_found_and_kept(self):
        phantom = abdomen(shape=(144, 144, 18), snr=40)
        geometry = Geometry(phantom.labels.shape, phantom.affine)
        node = createDwiSequence(self.scene, phantom.signal, geometry, phantom.acquisition.bvalues, "phantom")
        series = readSeries(node)
        sigma = series.sigma(series.bvalues)
        self.assertAlmostEqual(sigma / phantom.sigma, 1, delta=0.08)
        self.assertIn("Estimated from", series.sigmaMethod)
        self.assertEqual(series.sigma(series.bvalues), sigma)

    def test_noise_follows_the_voxels_and_the_images_used(self):
        series = readSeries(self.sequence(np.zeros(5)))
        sigma = series.sigma(series.bvalues)
        self.assertAlmostEqual(sigma / 50, 1, delta=0.1)
        for number in range(5):
            frame = series.node.GetNthDataNode(number)
            slicer.util.arrayFromVolume(frame)[:] = slicer.util.arrayFromVolume(frame) * 2
            slicer.util.arrayFromVolumeModified(frame)
        self.assertAlmostEqual(series.sigma(series.bvalues) / sigma, 2, delta=1e-3)
        self.assertIsNone(series.sigma(series.bvalues, np.arange(5) == 0))
        self.assertIn("cannot be told", series.sigmaMethod)
        self.assertIsNone(series.sigma(np.full(5, np.nan)))
        self.assertIn("without b-values", series.sigmaMethod)

    def test_series_can_still_be_read_after_its_node_was_removed(self):
        for node in (self.sequence(), self.dwi()):
            series = readSeries(node)
            self.scene.RemoveNode(node)
            self.check(series)
            self.assertIsNone(series.displayNode())
            self.assertIsNone(series.transformNode())

    # --- what is shown -------------------------------------------------------------------------------------------

    def test_browser_shows_the_image_that_was_asked_for(self):
        series = readSeries(self.sequence())
        self.assertTrue(series.canShowImages)
        for number in (3, 0, 2):
            series.showImage(number)
            self.assertEqual(series.shownImage(), number)
            shown = slicer.util.arrayFromVolume(series.displayNode()).transpose(2, 1, 0)
            np.testing.assert_array_equal(shown, self.signal[..., number])
        with self.assertRaisesRegex(ValueError, "does not exist"):
            series.showImage(5)

    def test_image_is_found_where_another_sequence_leads_the_browser(self):
        follower, leader = self.sequence(browse=False), self.sequence(name="leader")
        browser = self.scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
        self.assertIs(browser.GetMasterSequenceNode(), leader)
        browser.AddSynchronizedSequenceNodeID(follower.GetID())
        self.applicationLogic.GetModuleLogic("Sequences").UpdateProxyNodesFromSequences(browser)
        series = readSeries(follower)
        series.showImage(4)
        self.assertEqual((series.shownImage(), browser.GetSelectedItemNumber()), (4, 4))

    def test_dwi_volume_shows_its_components_and_a_vector_volume_does_not(self):
        series = readSeries(self.dwi())
        series.showImage(3)
        self.assertEqual(series.shownImage(), 3)
        vector = readSeries(self.components())
        self.assertFalse(vector.canShowImages)
        self.assertIsNone(vector.shownImage())
        vector.showImage(1)

    def test_sequence_without_browser_has_nothing_to_show(self):
        series = readSeries(self.sequence(browse=False))
        self.assertFalse(series.canShowImages)
        self.assertIsNone(series.displayNode())
        self.assertIsNone(series.shownImage())
        series.showImage(1)

    # --- real measurements ---------------------------------------------------------------------------------------

    def test_dwi_nrrd_of_slicer_has_the_bvalue_of_every_shell(self):
        path = sharedData() / "slicer_dwi_nrrd_multishell" / "multishell-DWI-451dir.nhdr"
        expected = [0, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000]
        volume = self.applicationLogic.GetModuleLogic("Volumes").AddArchetypeVolume(str(path), "DWI")
        sequence = self.applicationLogic.GetModuleLogic("Sequences").AddSequence(str(path))
        for node in (volume, sequence):  # a sequence keeps the diffusion header as attributes
            series = readSeries(node)
            self.assertEqual(series.count, 451)
            np.testing.assert_array_equal(np.unique(series.bvalues), expected)
        np.testing.assert_array_equal(readSeries(volume).signal(), readSeries(sequence).signal())

    def test_multivolume_nrrd_of_slicer_has_its_15_bvalues(self):
        path = sharedData() / "slicer_multivolume_nrrd_prostate_15b" / "00943_SER18.nrrd"
        volume = self.applicationLogic.GetModuleLogic("Volumes").AddArchetypeVolume(str(path), "DWI")
        sequence = self.applicationLogic.GetModuleLogic("Sequences").AddSequence(str(path))
        for node in (volume, sequence):
            np.testing.assert_array_equal(readSeries(node).bvalues, np.arange(15) * 250)
        np.testing.assert_array_equal(readSeries(volume).signal(), readSeries(sequence).signal())
