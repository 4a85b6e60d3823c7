"""Step 1 by clicks: every kind of input, refusals, sample data, removal."""

import sys
import unittest.mock
from pathlib import Path

import numpy as np
import slicer
from IVIMTestPanel import PanelTest
from PanelSeries import chooseSeries, openWithPhantom, smallPhantom

from ivimcore.data.series import Geometry
from IVIMMappingLib.VolumeNodes import createVolumeNode, setVolumeArray

SHAPE = (12, 10, 3)
GEOMETRY = Geometry(SHAPE, np.diag([2.0, 2.0, 5.0, 1.0]))
B = (0.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0)


def signal():
    random = np.random.default_rng(1)
    decay = 0.9 * np.exp(-np.array(B) * 1.2e-3) + 0.1 * np.exp(-np.array(B) * 0.03)
    return (500 * decay + random.normal(0, 5, (*SHAPE, len(B)))).astype(np.float32)


class SeriesSectionTestCase(PanelTest):
    def test_a_sequence_that_a_person_chooses_is_read_shown_and_described(self):
        sequence, volume, _regions = openWithPhantom(self)
        state = self.panel.state
        self.assertIs(state.series.node, sequence)
        self.assertIs(state.parameters.seriesNode, sequence)
        self.assertIn("12 images of 48 x 48 x 3", self.ui.sourceLabel.text)
        composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        self.assertEqual(composite.GetBackgroundVolumeID(), volume.GetID())
        self.assertFalse(self.ui.messageFrame.isVisibleTo(self.widget.parent))

    def test_the_volume_that_shows_a_sequence_stands_for_it(self):
        self.openModule()
        sequence, volume, _regions = smallPhantom()
        chooseSeries(self, volume)
        self.assertIs(self.panel.state.series.node, sequence)
        self.assertIs(self.ui.seriesSelector.currentNode(), sequence)

    def test_dwi_and_vector_volumes_are_series_too(self):
        self.openModule()
        for className, bvalues in (("vtkMRMLDiffusionWeightedVolumeNode", B), ("vtkMRMLVectorVolumeNode", None)):
            node = self.scene.AddNewNodeByClass(className, className)
            values = np.ascontiguousarray(signal().transpose(2, 1, 0, 3))
            if bvalues is not None:
                node.SetNumberOfGradients(len(B))
            slicer.util.updateVolumeFromArray(node, values)
            if bvalues is not None:
                for index, b in enumerate(bvalues):
                    node.SetBValue(index, b)
                    node.SetDiffusionGradient(index, [0.0, 0.0, 1.0 if b else 0.0])
            node.CreateDefaultDisplayNodes()
            chooseSeries(self, node)
            self.assertIs(self.panel.state.series.node, node)
            self.assertEqual(self.panel.state.series.count, len(B))

    def test_a_single_image_is_refused_in_one_sentence_and_stays_selected(self):
        self.openModule()
        node = createVolumeNode(self.scene, signal()[..., 0], GEOMETRY, "alone")
        chooseSeries(self, node)
        self.assertIsNone(self.panel.state.series)
        self.assertIn("'alone' is a single image", self.ui.sourceLabel.text)
        self.assertIn("'alone' is a single image", self.ui.messageLabel.text)

    def test_a_map_of_ours_is_refused_and_the_series_stays(self):
        sequence, _volume, _regions = openWithPhantom(self)
        node = createVolumeNode(self.scene, signal()[..., 0], GEOMETRY, "D of something")
        node.SetAttribute("IVIM.Parameter", "D")
        chooseSeries(self, node)
        self.assertIn("is a map of IVIMSlicer", self.ui.messageLabel.text)
        self.assertIs(self.panel.state.series.node, sequence)
        self.assertIs(self.ui.seriesSelector.currentNode(), sequence)
        self.assertIs(self.panel.state.parameters.seriesNode, sequence)

    def test_the_sample_data_button_makes_and_chooses_the_phantom(self):
        self.openModule()
        maker = "IVIMMappingLib.SeriesSection.createPhantomSeries"
        with unittest.mock.patch(maker, lambda scene, logic: smallPhantom()):
            self.ui.sampleButton.click()
        self.assertEqual(self.panel.state.series.count, 12)

    def test_a_nifti_with_its_bval_is_imported_from_the_menu(self):
        import SimpleITK

        frames = np.ascontiguousarray(signal().transpose(3, 2, 1, 0))
        image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(frame) for frame in frames])
        path = self.folder / "liver.nii.gz"
        SimpleITK.WriteImage(image, str(path))
        (self.folder / "liver.bval").write_text(" ".join(f"{b:g}" for b in B) + "\n")
        self.openModule()
        with unittest.mock.patch("IVIMMappingLib.SeriesSection.openFile", lambda *_: str(path)):
            self.importAction(0).trigger()
        np.testing.assert_array_equal(self.panel.state.bvalues(), B)
        self.assertEqual(self.panel.state.obstacle(), "")

    def test_a_folder_of_dicom_is_imported_with_what_slicer_ships(self):
        try:
            import pydicom  # noqa: F401
        except ImportError:
            self.skipTest("pydicom, which comes with Slicer, is not installed")
        sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
        self.addCleanup(sys.path.remove, sys.path[0])
        from dicomseries import B as BVALUES
        from dicomseries import write_dicom

        write_dicom(self.folder / "dicom", "oblique")
        self.openModule()
        with (
            unittest.mock.patch("ivimcore.data.dicom._without_program", lambda: True),
            unittest.mock.patch("IVIMMappingLib.SeriesSection.chooseFolder", lambda *_: str(self.folder / "dicom")),
        ):
            self.importAction(1).trigger()
        self.process()
        self.assertEqual(list(self.panel.state.bvalues()), list(BVALUES), self.ui.messageLabel.text)
        self.assertIn("DICOM headers", self.ui.bvalueSourceLabel.text)
        self.assertEqual(self.panel.state.series.name, "DWI", "not the patient's name")

    def test_a_file_that_is_no_series_gives_a_sentence_and_changes_nothing(self):
        sequence, _volume, _regions = openWithPhantom(self)
        path = self.folder / "text.nii.gz"
        path.write_text("no image")
        before = self.scene.GetNumberOfNodes()
        self.assertFalse(self.panel.series.importPath(str(path)))
        self.assertTrue(self.ui.messageLabel.text.endswith("."))
        self.assertEqual(self.scene.GetNumberOfNodes(), before)
        self.assertIs(self.panel.state.series.node, sequence)

    def test_a_cancelled_file_dialog_changes_nothing(self):
        self.openModule()
        with unittest.mock.patch("IVIMMappingLib.SeriesSection.chooseFolder", lambda *_: ""):
            self.importAction(1).trigger()
        self.assertIsNone(self.panel.state.series)

    def test_a_folder_with_several_series_asks_for_a_number_once(self):
        self.openModule()
        asked = []

        def importSeries(scene, logic, path, bval=None, series=None):
            if series is None:
                from ivimcore.errors import InputError

                raise InputError("The input holds repeated diffusion series: 3, 4; choose one with --series NUMBER.")
            self.assertEqual(series, "4")
            return (*smallPhantom()[:2], ("Series 4 was read.",))

        def askText(parent, title, question):
            asked.append(question)
            return "4"

        with unittest.mock.patch("IVIMMappingLib.SeriesSection.importSeries", importSeries), \
                unittest.mock.patch("IVIMMappingLib.SeriesSection.askText", askText):
            self.assertTrue(self.panel.series.importPath(str(self.folder)))
        self.assertEqual(len(asked), 1)
        self.assertNotIn("--", asked[0])
        self.assertIn("Series 4 was read.", self.ui.seriesNotesLabel.text)

    def test_several_volumes_are_ticked_and_become_a_series(self):
        self.openModule()
        smallPhantom("other")  # what shows a sequence is not offered
        for index, b in enumerate(B):
            createVolumeNode(self.scene, signal()[..., index], GEOMETRY, f"b{b:g}")
        aMap = createVolumeNode(self.scene, signal()[..., 0], GEOMETRY, "a map")
        aMap.SetAttribute("IVIM.Parameter", "D")
        self.ui.combineButton.click()
        names = [self.ui.combineList.item(row).text() for row in range(self.ui.combineList.count)]
        self.assertEqual(sorted(names), sorted(f"b{b:g}" for b in B))
        self.assertFalse(self.ui.combineApplyButton.enabled)
        for row in range(self.ui.combineList.count):
            self.ui.combineList.item(row).setCheckState(self.checked())
        self.assertTrue(self.ui.combineApplyButton.enabled)
        self.ui.combineApplyButton.click()
        np.testing.assert_array_equal(np.sort(self.panel.state.bvalues()), B)
        self.assertFalse(self.ui.combineButton.checked)

    def test_volumes_of_different_size_are_refused_in_one_sentence(self):
        self.openModule()
        createVolumeNode(self.scene, signal()[..., 0], GEOMETRY, "b0")
        other = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "b50")
        setVolumeArray(other, signal()[:6, ..., 1], Geometry((6, 10, 3), GEOMETRY.affine))
        self.ui.combineButton.click()
        for row in range(self.ui.combineList.count):
            self.ui.combineList.item(row).setCheckState(self.checked())
        self.ui.combineApplyButton.click()
        self.assertIsNone(self.panel.state.series)
        self.assertTrue(self.ui.messageLabel.text)

    def test_a_series_taken_out_of_the_scene_is_no_longer_chosen(self):
        sequence, _volume, _regions = openWithPhantom(self)
        self.scene.RemoveNode(sequence)
        self.process()
        self.assertIsNone(self.panel.state.series)
        self.assertIn("taken out of the scene", self.ui.messageLabel.text)
        self.assertEqual(self.ui.bvalueTable.rowCount, 0)

    def test_closing_the_scene_forgets_the_series_without_a_word(self):
        openWithPhantom(self)
        self.scene.Clear(0)
        self.process()
        self.assertIsNone(self.panel.state.series)
        self.assertEqual(self.ui.messageLabel.text, "")
        nodes = smallPhantom("next")
        chooseSeries(self, nodes[0])
        self.assertIs(self.panel.state.series.node, nodes[0])

    def test_another_series_forgets_the_edits_of_the_first(self):
        openWithPhantom(self)
        self.panel.bvalues._change(lambda: self.panel.bvalues.table.set_used([3], False))
        self.assertEqual(list(self.panel.state.parameters.excludedImages), [3])
        chooseSeries(self, smallPhantom("second")[0])
        self.assertEqual(list(self.panel.state.parameters.excludedImages), [])

    def test_a_saved_scene_comes_back_with_its_series_and_leaves_the_views_alone(self):
        openWithPhantom(self)
        self.panel.bvalues._change(lambda: self.panel.bvalues.table.set_b([2], 15.0))
        path = self.folder / "scene.mrb"
        self.assertTrue(self.scene.WriteToMRB(str(path)))
        self.scene.Clear(0)
        self.assertIsNone(self.panel.state.series)
        with unittest.mock.patch("slicer.util.setSliceViewerLayers") as views:
            self.assertTrue(self.scene.ReadFromMRB(str(path), True))
            self.process()
        views.assert_not_called()
        self.assertEqual(self.panel.state.series.node.GetName(), "phantom")
        self.assertEqual(self.panel.state.bvalues()[1], 15.0)
        self.assertIn("edited by hand", self.ui.bvalueSourceLabel.text)

    def importAction(self, index):
        return self.ui.importButton.menu().actions()[index]

    @staticmethod
    def checked():
        import qt

        return qt.Qt.Checked
