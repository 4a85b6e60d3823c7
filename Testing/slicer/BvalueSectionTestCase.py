"""The table of b-values and the steps through b, by clicks."""

import unittest.mock

import numpy as np
import slicer
from IVIMTestPanel import PanelTest
from PanelSeries import openWithPhantom

USE, B, COUNT, NUMBERS = range(4)
PHANTOM_B = [0, 10, 20, 30, 40, 50, 75, 100, 150, 250, 400, 600]


class BvalueSectionTestCase(PanelTest):
    def setUp(self):
        super().setUp()
        self.announced = 0

    def openPhantom(self):
        nodes = openWithPhantom(self)
        self.panel.state.signalChanged.connect(self.count)
        return nodes

    def count(self):
        self.announced += 1

    def texts(self, column):
        return [self.ui.bvalueTable.item(row, column).text() for row in range(self.ui.bvalueTable.rowCount)]

    def test_every_b_has_a_row_with_its_images_and_the_source_stands_above(self):
        self.openPhantom()
        self.assertEqual(self.texts(B), [str(b) for b in PHANTOM_B])
        self.assertEqual(self.texts(COUNT), ["1"] * 12)
        self.assertEqual(self.texts(NUMBERS), [str(n) for n in range(1, 13)])
        self.assertIn("phantom", self.ui.bvalueSourceLabel.text)
        self.assertIn("s/mm²", self.ui.bvalueTable.horizontalHeaderItem(B).text())
        self.assertFalse(self.ui.undoButton.enabled)
        self.assertFalse(self.ui.resetButton.enabled)

    def test_an_edited_b_value_is_kept_said_and_taken_back(self):
        self.openPhantom()
        self.ui.bvalueTable.item(1, B).setText("15")
        parameters = self.panel.state.parameters
        self.assertEqual(parameters.bvalues[1], 15.0)
        self.assertIn("b of 1 image edited by hand", self.ui.bvalueSourceLabel.text)
        self.assertEqual(self.announced, 1)
        self.ui.undoButton.click()
        self.assertEqual(list(parameters.bvalues), [])
        self.assertEqual(self.texts(B)[1], "10")
        self.assertFalse(self.ui.undoButton.enabled)

    def test_what_is_no_b_value_gives_a_sentence_and_the_old_value_stays(self):
        self.openPhantom()
        for text in ("ten", "-5", "1 2"):
            self.ui.bvalueTable.item(1, B).setText(text)
            self.assertTrue(self.ui.messageLabel.text.endswith("."), text)
            self.assertEqual(self.texts(B)[1], "10")
        self.assertEqual(self.announced, 0)

    def test_an_unticked_row_leaves_its_images_out_and_reset_brings_them_back(self):
        import qt

        self.openPhantom()
        self.ui.bvalueTable.item(11, USE).setCheckState(qt.Qt.Unchecked)
        self.assertEqual(list(self.panel.state.parameters.excludedImages), [12])
        self.assertFalse(self.panel.state.used()[11])
        self.ui.resetButton.click()
        self.assertEqual(list(self.panel.state.parameters.excludedImages), [])
        self.ui.undoButton.click()
        self.assertEqual(list(self.panel.state.parameters.excludedImages), [12])

    def test_images_of_equal_b_share_a_row_until_each_shall_have_its_own(self):
        import qt

        self.openPhantom()
        self.ui.bvalueTable.item(1, B).setText("0")
        self.assertEqual(self.ui.bvalueTable.rowCount, 11)
        self.assertEqual(self.texts(NUMBERS)[0], "1, 2")
        self.ui.perImageCheckBox.click()
        self.assertEqual(self.ui.bvalueTable.rowCount, 12)
        self.ui.bvalueTable.item(1, USE).setCheckState(qt.Qt.Unchecked)
        self.ui.perImageCheckBox.click()
        self.assertEqual(self.ui.bvalueTable.item(0, USE).checkState(), qt.Qt.PartiallyChecked)
        self.assertEqual(list(self.panel.state.parameters.excludedImages), [2])

    def test_pasted_values_replace_all_and_a_wrong_number_of_them_is_refused(self):
        self.openPhantom()
        slicer.app.clipboard().setText("0\t5\t15\t25\t35\t45\t70\t90\t140\t240\t390\t590")
        self.ui.pasteButton.click()
        self.assertEqual(self.panel.state.bvalues()[1], 5.0)
        self.assertIn("pasted", self.ui.bvalueSourceLabel.text)
        slicer.app.clipboard().setText("0 50 100")
        self.ui.pasteButton.click()
        self.assertIn("3 values for 12 images", self.ui.messageLabel.text)
        self.assertEqual(self.panel.state.bvalues()[1], 5.0)

    def test_a_bval_file_is_loaded(self):
        self.openPhantom()
        path = self.folder / "liver.bval"
        path.write_text("0 11 20 30 40 50 75 100 150 250 400 600\n")
        with unittest.mock.patch("IVIMMappingLib.BvalueSection.openFile", lambda *_: str(path)):
            self.ui.loadBvalButton.click()
        self.assertEqual(self.panel.state.bvalues()[1], 11.0)
        self.assertIn("liver.bval", self.ui.bvalueSourceLabel.text)

    def test_averaging_is_kept_and_announced(self):
        self.openPhantom()
        self.ui.averageComboBox.setCurrentIndex(1)
        self.assertEqual(self.panel.state.parameters.average, "geometric")
        self.assertEqual(self.announced, 1)

    def test_steps_go_through_the_images_in_the_order_of_b_and_around(self):
        self.openPhantom()
        series = self.panel.state.series
        self.ui.bvalueTable.item(11, B).setText("5")  # the last image comes second now
        series.showImage(0)
        shown = []
        for _step in range(3):
            self.ui.nextBButton.click()
            shown.append(series.shownImage())
        self.assertEqual(shown, [11, 1, 2])
        self.ui.previousBButton.click()
        self.assertEqual(series.shownImage(), 1)
        series.showImage(0)
        self.ui.previousBButton.click()
        self.assertEqual(series.shownImage(), 10)

    def test_b_stands_beside_the_buttons_and_in_the_corner_of_every_view_that_shows_the_series(self):
        self.openPhantom()
        self.panel.state.series.showImage(7)
        self.process()
        self.assertEqual(self.ui.shownBLabel.text, "b = 100 s/mm² (image 8 of 12)")
        annotation = self.panel.bvalues._annotation
        self.assertEqual(annotation.textIn("Red"), "b = 100 s/mm² (image 8 of 12)")
        other = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
        composite = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(other.GetID())
        self.assertEqual(annotation.textIn("Red"), "")
        self.assertNotEqual(annotation.textIn("Green"), "")

    def test_leaving_the_module_takes_b_out_of_the_views_and_the_keys_away(self):
        self.openPhantom()
        annotation = self.panel.bvalues._annotation
        self.assertNotEqual(annotation.textIn("Red"), "")
        renderer = slicer.app.layoutManager().sliceWidget("Red").sliceView().renderWindow().GetRenderers() \
            .GetFirstRenderer()
        count = renderer.GetViewProps().GetNumberOfItems()
        self.ui.playButton.click()
        slicer.util.selectModule("Data")
        self.assertEqual(annotation.textIn("Red"), "")
        self.assertEqual(renderer.GetViewProps().GetNumberOfItems(), count - 1)
        self.assertFalse(self.ui.playButton.checked)
        self.assertFalse(any(shortcut.enabled for shortcut in self.panel.bvalues._shortcuts))
        slicer.util.selectModule("IVIMMapping")
        self.assertNotEqual(annotation.textIn("Red"), "")
        self.assertEqual(len(self.panel.bvalues._shortcuts), 2 if slicer.util.mainWindow() else 0)

    def test_play_steps_by_itself_until_it_is_pressed_again(self):
        self.openPhantom()
        series = self.panel.state.series
        series.showImage(0)
        self.ui.playButton.click()
        self.waitUntil(lambda: series.shownImage() == 2, 30)
        self.ui.playButton.click()
        shown = series.shownImage()
        self.process(0.6)
        self.assertEqual(series.shownImage(), shown)

    def test_a_series_without_b_values_says_what_to_do_and_pasting_them_suffices(self):
        from PanelSeries import chooseSeries

        from IVIMMappingLib.DwiSequence import BVALUE_ATTRIBUTE

        nodes = self.openPhantom()
        for index in range(12):
            nodes[0].GetNthDataNode(index).RemoveAttribute(BVALUE_ATTRIBUTE)
        chooseSeries(self, None)
        chooseSeries(self, nodes[0])
        self.assertEqual(self.texts(B), [""] * 12)
        self.assertIn("12 images have no b-value", self.ui.bvalueSourceLabel.text)
        self.assertTrue(self.panel.state.obstacle())
        slicer.app.clipboard().setText(" ".join(map(str, PHANTOM_B)))
        self.ui.pasteButton.click()
        np.testing.assert_array_equal(self.panel.state.bvalues(), PHANTOM_B)
        self.assertEqual(self.panel.state.obstacle(), "")
