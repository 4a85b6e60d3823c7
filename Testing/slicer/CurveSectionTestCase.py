"""The curve and the live preview as a person uses them."""

import unittest.mock

import numpy as np
import slicer
from IVIMTestPanel import PanelTest
from PanelSeries import chooseSeries, lookAt, openWithPhantom, smallPhantom
from PanelTiming import timeCrosshairMoves

LIVER = (14, 20, 1)


class CurveSectionTestCase(PanelTest):
    def openPhantom(self, **options):
        nodes = openWithPhantom(self, **options)
        self.panel.state.parameters.estimators = ["posterior", "nlls"]
        self.panel.state.estimatorsChanged()
        return nodes

    def rows(self):
        table = self.ui.previewTable
        return [
            [table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)
        ]

    def header(self):
        table = self.ui.previewTable
        return [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]

    def series(self):
        chart = self.panel.curve.plot.chartNode
        return [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]

    def plotted(self, name):
        node = next(
            node for node in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode") if node.GetName() == name
        )
        return slicer.util.arrayFromTableColumn(node.GetTableNode(), "signal").copy()

    def test_the_signal_is_there_from_the_first_second_and_follows_the_crosshair(self):
        self.openPhantom()
        self.assertIn("cursor, measured", self.series())
        lookAt(self, LIVER)
        np.testing.assert_allclose(
            self.plotted("cursor, measured"), self.panel.state.series.signalAt(LIVER), rtol=1e-6
        )
        self.assertIn("voxel (14, 20, 1)", self.ui.cursorLabel.text)

    def test_the_mouse_over_a_view_moves_the_curve_too(self):
        self.openPhantom()
        crosshair = self.scene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
        ras = (self.panel.state.series.ijkToRas() @ [*LIVER, 1.0])[:3]
        sliceNode = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        crosshair.SetCursorPositionXYZ([10, 10, 0], sliceNode)
        crosshair.SetCursorPositionRAS([float(x) for x in ras])
        self.process(0.06)
        np.testing.assert_allclose(self.panel.state.cursor, ras)

    def test_many_moves_are_drawn_seldom_and_the_last_one_wins(self):
        self.openPhantom()
        lookAt(self, LIVER)
        drawn = []
        with unittest.mock.patch.object(self.panel.curve, "redraw", lambda: drawn.append(self.panel.state.cursor)):
            for i in range(20):
                crosshair = self.scene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
                ras = (self.panel.state.series.ijkToRas() @ [10 + i, 20, 1, 1.0])[:3]
                crosshair.SetCrosshairRAS(*ras)
            self.process(0.08)
        self.assertLessEqual(len(drawn), 3)
        np.testing.assert_allclose(drawn[-1], ras)

    def test_every_ticked_estimator_has_a_row_with_units_and_standard_deviations(self):
        self.openPhantom()
        lookAt(self, LIVER)
        self.assertEqual([row[:2] for row in self.rows()], [["cursor", "posterior"], ["cursor", "nlls"]])
        self.assertEqual(
            self.header()[2:7],
            ["D\n[10⁻³ mm²/s]", "f\n[%]", "D*\n[10⁻³ mm²/s]", "S0\n[signal units]", "RMSE\n[signal units]"],
        )
        self.assertRegex(self.rows()[0][2], r"^\d\.\d+ ± \d\.\d+$")
        self.assertIn("cursor, posterior, fit", self.series())
        self.assertIn("cursor, nlls, tissue only", self.series())

    def test_a_change_of_estimators_options_and_ticks_is_fitted_at_once(self):
        import qt

        self.openPhantom()
        lookAt(self, LIVER)
        before = self.rows()
        self.ui.bvalueTable.item(11, 0).setCheckState(qt.Qt.Unchecked)
        self.assertNotEqual(self.rows(), before)
        self.assertIn("cursor, left out (ring)", self.series())
        self.panel.state.parameters.estimators = ["segmented"]
        self.panel.state.estimatorsChanged()
        self.assertEqual([row[1] for row in self.rows()], ["segmented"])
        before = self.rows()
        self.panel.state.setOptions("segmented", {"threshold": 120.0})
        self.assertNotEqual(self.rows(), before)

    def test_without_live_preview_only_the_signal_is_drawn(self):
        self.openPhantom()
        self.ui.livePreviewCheckBox.click()
        self.assertFalse(self.panel.state.parameters.livePreview)
        self.assertEqual(self.series(), ["cursor, measured"])
        self.assertEqual(len(self.rows()), 1)

    def test_the_logarithmic_axis_is_kept_with_the_scene(self):
        self.openPhantom()
        self.ui.logScaleCheckBox.click()
        self.assertTrue(self.panel.curve.plot.chartNode.GetYAxisLogScale())
        self.assertTrue(self.panel.state.parameters.logScale)

    def test_pins_stay_where_they_are_with_the_same_colour_in_plot_and_table(self):
        self.openPhantom()
        lookAt(self, LIVER)
        self.ui.pinButton.click()
        lookAt(self, (30, 20, 1))
        self.ui.pinButton.click()
        node = self.panel.state.parameters.pinsNode
        self.assertEqual(node.GetNumberOfControlPoints(), 2)
        self.assertEqual([row[0] for row in self.rows()], ["cursor"] * 2 + ["P1"] * 2 + ["P2"] * 2)
        np.testing.assert_allclose(self.plotted("P1, measured"), self.panel.state.series.signalAt(LIVER), rtol=1e-6)
        from IVIMMappingLib.Pins import COLORS

        color = self.ui.previewTable.item(2, 0).background().color()
        np.testing.assert_allclose((color.redF(), color.greenF(), color.blueF()), COLORS[0], atol=0.01)
        plotted = next(n for n in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode") if n.GetName() == "P1, measured")
        np.testing.assert_allclose(plotted.GetColor(), COLORS[0])

    def test_a_ring_in_the_colour_of_the_pin_stands_in_the_views_that_show_its_slice(self):
        from IVIMMappingLib.Pins import COLORS

        self.openPhantom()
        ras = lookAt(self, LIVER)
        self.ui.pinButton.click()
        self.process()
        node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        node.JumpSliceByOffsetting(*ras)
        marks = self.panel.curve.marks
        self.assertEqual(marks.visibleIn("Red"), [COLORS[0]])
        node.JumpSliceByOffsetting(ras[0], ras[1], ras[2] + 500.0)
        self.assertEqual(marks.visibleIn("Red"), [])
        node.JumpSliceByOffsetting(*ras)
        slicer.util.selectModule("Data")
        self.assertEqual(marks.visibleIn("Red"), [])
        slicer.util.selectModule("IVIMMapping")
        self.assertEqual(marks.visibleIn("Red"), [COLORS[0]])
        self.panel.state.parameters.pinsNode.RemoveAllControlPoints()
        self.process()
        self.assertEqual(marks.visibleIn("Red"), [])

    def test_a_pin_can_be_moved_and_deleted_with_slicers_own_tools(self):
        self.openPhantom()
        lookAt(self, LIVER)
        self.ui.pinButton.click()
        node = self.panel.state.parameters.pinsNode
        node.SetNthControlPointPositionWorld(0, *(self.panel.state.series.ijkToRas() @ [30, 20, 1, 1.0])[:3])
        self.process(0.1)
        np.testing.assert_allclose(
            self.plotted("P1, measured"), self.panel.state.series.signalAt((30, 20, 1)), rtol=1e-6
        )
        node.RemoveAllControlPoints()
        self.process(0.1)
        self.assertNotIn("P1, measured", self.series())

    def test_a_marked_pin_is_removed_and_the_others_keep_name_and_colour(self):
        self.openPhantom()
        for i in (14, 30):
            lookAt(self, (i, 20, 1))
            self.ui.pinButton.click()
        self.assertFalse(self.ui.unpinButton.enabled)
        self.ui.previewTable.setCurrentCell(2, 0)
        self.assertTrue(self.ui.unpinButton.enabled)
        self.ui.unpinButton.click()
        self.process(0.1)
        self.assertEqual(sorted({row[0] for row in self.rows()}), ["P2", "cursor"])
        self.ui.pinButton.click()
        self.process(0.1)
        self.assertEqual(sorted({row[0] for row in self.rows()}), ["P1", "P2", "cursor"])

    def test_pins_come_back_with_the_scene_and_their_node_may_be_removed(self):
        self.openPhantom()
        lookAt(self, LIVER)
        self.ui.pinButton.click()
        path = self.folder / "scene.mrb"
        self.assertTrue(self.scene.WriteToMRB(str(path)))
        self.scene.Clear(0)
        self.assertTrue(self.scene.ReadFromMRB(str(path), True))
        self.process(0.1)
        self.assertIn("P1, measured", self.series())
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")), 1)
        self.scene.RemoveNode(self.panel.state.parameters.pinsNode)
        self.process(0.1)
        self.assertNotIn("P1, measured", self.series())
        self.ui.pinButton.click()
        self.assertEqual(self.panel.state.parameters.pinsNode.GetNumberOfControlPoints(), 1)

    def test_the_mean_of_every_region_is_drawn_a_moment_after_it_is_asked_for(self):
        self.openPhantom()
        self.ui.regionKindComboBox.setCurrentIndex(2)
        self.ui.regionCurvesCheckBox.click()
        self.waitUntil(lambda: "liver, measured" in self.series(), 30)
        mask = self.panel.state.region().masks["liver"]
        np.testing.assert_allclose(
            self.plotted("liver, measured"), self.panel.state.series.meanSignal(mask)[0], rtol=1e-6
        )
        self.ui.regionCurvesCheckBox.click()
        self.assertNotIn("liver, measured", self.series())

    def test_outside_the_series_there_is_a_sentence_instead_of_a_curve(self):
        self.openPhantom()
        crosshair = self.scene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
        crosshair.SetCrosshairRAS(5000.0, 0.0, 0.0)
        self.process(0.06)
        self.assertIn("outside the series", self.ui.cursorLabel.text)
        self.assertEqual(self.series(), [])

    def test_a_click_on_a_point_shows_that_image(self):
        self.openPhantom()
        self.panel.curve.plot.clickPoint("cursor", 7)
        self.assertEqual(self.panel.state.series.shownImage(), 7)
        self.assertIn("b = 100 s/mm²", self.ui.shownBLabel.text)

    def test_the_table_is_copied_with_units_and_the_plot_saved_as_chosen(self):
        self.openPhantom()
        lookAt(self, LIVER)
        self.ui.copyPreviewButton.click()
        lines = slicer.app.clipboard().text().splitlines()
        self.assertEqual(lines[0].split("\t")[2], "D [10⁻³ mm²/s]")
        self.assertEqual(len(lines), 3)
        path = self.folder / "signal.csv"
        with unittest.mock.patch("IVIMMappingLib.CurveSection.saveFile", lambda *_: str(path)):
            self.ui.savePlotButton.click()
        self.assertIn("cursor, measured [signal units]", path.read_text("utf-8").splitlines()[0])
        with unittest.mock.patch("IVIMMappingLib.CurveSection.saveFile", lambda *_: str(self.folder / "a.gif")):
            self.ui.savePlotButton.click()
        self.assertIn("neither .png nor .svg", self.ui.messageLabel.text)

    def test_the_stored_fit_of_the_run_is_drawn_beside_the_preview_and_agrees_with_its_maps(self):
        openWithPhantom(self)
        self.panel.state.parameters.estimators = ["nlls"]
        self.panel.state.estimatorsChanged()
        lookAt(self, LIVER)
        self.ui.applyButton.click()
        self.waitUntil(lambda: any("stored fit" in name for name in self.series()), 60)
        name = next(name for name in self.series() if "stored fit" in name)
        np.testing.assert_allclose(self.plotted(name)[0], self.plotted("cursor, nlls, fit")[0], rtol=0.02)

    def test_averaged_images_are_fitted_as_the_run_fits_them(self):
        self.openPhantom()
        lookAt(self, LIVER)
        before = self.rows()
        self.ui.bvalueTable.item(1, 1).setText("0")
        self.ui.averageComboBox.setCurrentIndex(1)
        self.assertNotEqual(self.rows(), before)
        self.assertEqual(self.plotted("cursor, measured").size, 12)

    def test_a_series_without_b_values_is_plotted_nowhere_and_says_why(self):
        from IVIMMappingLib.DwiSequence import BVALUE_ATTRIBUTE

        nodes = self.openPhantom()
        for index in range(12):
            nodes[0].GetNthDataNode(index).RemoveAttribute(BVALUE_ATTRIBUTE)
        chooseSeries(self, None)
        chooseSeries(self, nodes[0])
        self.assertEqual(self.series(), [])
        last = self.ui.previewTable.columnCount - 1
        self.assertIn("no b-value", self.ui.previewTable.item(0, last).toolTip())

    def test_leaving_the_module_stops_following_the_crosshair(self):
        self.openPhantom()
        lookAt(self, LIVER)
        slicer.util.selectModule("Data")
        before = self.panel.state.cursor
        lookAt(self, (30, 20, 1))
        self.assertEqual(self.panel.state.cursor, before)
        slicer.util.selectModule("IVIMMapping")
        lookAt(self, (31, 20, 1))
        self.assertNotEqual(self.panel.state.cursor, before)

    def test_closing_the_scene_empties_plot_and_table_and_the_next_one_works(self):
        self.openPhantom()
        lookAt(self, LIVER)
        self.scene.Clear(0)
        self.process(0.1)
        self.assertEqual(self.ui.previewTable.rowCount, 0)
        chooseSeries(self, smallPhantom("second")[0])
        self.assertIn("cursor, measured", self.series())

    def test_every_move_of_the_crosshair_is_drawn_and_fitted(self):
        self.openPhantom(shape=(96, 96, 6))
        self.panel.uiWidget.show()
        self.assertEqual(timeCrosshairMoves(self.panel, 5).shape, (5,))  # the benchmark prints how long they take
        self.assertGreater(self.ui.previewTable.rowCount, 0)
        self.assertIn("cursor, measured", self.series())
