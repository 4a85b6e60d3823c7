"""Two runs against each other: side by side, blinking, difference, scatter."""

from unittest import mock

import numpy as np
import slicer
from IVIMTestSample import SampleTest
from IVIMTestScene import IN_DESKTOP, renderWindow


class CompareSectionTest(SampleTest):
    def openPair(self):
        self.openSample()
        self.tickOnly("nlls", "segmented")
        self.apply()
        self.ui.returnLayoutButton.click()
        self.one = self.panel.results.run
        self.other = next(run for run in self.panel.results.runs if run.key != self.one.key)

    def composite(self, name="Red"):
        return slicer.app.layoutManager().sliceWidget(name).sliceLogic().GetSliceCompositeNode()

    def compare(self, mode):
        self.choose(self.ui.compareModeComboBox, mode)

    def test_one_run_alone_cannot_be_compared_and_says_so(self):
        self.openSample()
        self.tickOnly("segmented")
        self.apply()
        self.assertFalse(self.ui.compareModeComboBox.enabled)
        self.assertIn("Tick several estimators", self.ui.compareLabel.text)

    def test_side_by_side_shows_the_same_map_of_both_runs_linked(self):
        self.openPair()
        self.compare("side")
        self.assertEqual(self.composite("IVIMPair1").GetForegroundVolumeID(), self.one.maps["D"].GetID())
        self.assertEqual(self.composite("IVIMPair2").GetForegroundVolumeID(), self.other.maps["D"].GetID())
        self.assertTrue(self.composite("IVIMPair1").GetLinkedControl())
        self.choose(self.ui.mapComboBox, "f")
        self.assertEqual(self.composite("IVIMPair2").GetForegroundVolumeID(), self.other.maps["f"].GetID())
        self.compare("none")
        self.assertFalse(self.panel.compare.layout.isShown)

    def test_blinking_swaps_the_two_maps_and_the_key_stops_it(self):
        self.openPair()
        self.compare("blink")
        seen = set()
        for _ in range(5):
            self.process(0.3)
            seen.add(self.composite().GetForegroundVolumeID())
        self.assertEqual(seen, {self.one.maps["D"].GetID(), self.other.maps["D"].GetID()})
        self.assertIn("Now:", self.ui.compareLabel.text)
        self.panel.compare._shortcut.activated.emit()
        self.process(0.6)
        self.assertEqual(self.composite().GetForegroundVolumeID(), self.one.maps["D"].GetID())
        self.panel.compare._shortcut.activated.emit()
        self.process(0.6)
        self.assertEqual(self.state.parameters.compareMode, "blink")
        slicer.util.selectModule("Data")
        self.process(0.6)
        shown = self.composite().GetForegroundVolumeID()
        self.assertEqual(shown, self.one.maps["D"].GetID(), "nothing blinks elsewhere")

    def test_the_numbers_of_agreement_are_right_and_have_units(self):
        self.openPair()
        self.compare("scatter")
        a, b = (slicer.util.arrayFromVolume(run.maps["D"]).astype(float) for run in (self.one, self.other))
        both = np.isfinite(a) & np.isfinite(b)
        text = self.ui.compareLabel.text
        self.assertIn(f"n = {both.sum()} voxels", text)
        self.assertIn(f"bias {1e3 * (a - b)[both].mean():.3g} 10⁻³ mm²/s", text)
        self.assertIn(f"r = {np.corrcoef(a[both], b[both])[0, 1]:.3f}", text)
        self.assertFalse(self.ui.scatterFrame.isHidden())
        self.assertEqual(self.panel.compare.plot.points(), min(1000, both.sum()))
        chart = self.panel.compare.plot.chartNode
        self.assertIn("10^-3 mm²/s", chart.GetXAxisTitle(), "the font of VTK has no superscript minus")
        self.assertIn("segmented", chart.GetXAxisTitle() + chart.GetYAxisTitle())
        if renderWindow() is not None or IN_DESKTOP:
            self.saveScatter("plot.svg")
            svg = (self.folder / "plot.svg").read_text(encoding="utf-8")
            self.assertGreaterEqual(svg.count("<use"), self.panel.compare.plot.points(), "every point is a mark")
            self.saveScatter("plot.png")
            self.assertEqual((self.folder / "plot.png").read_bytes()[:4], b"\x89PNG")
        self.saveScatter("plot.gif")
        self.assertIn("choose one of them", self.ui.messageLabel.text)
        self.compare("none")
        self.assertTrue(self.ui.scatterFrame.isHidden())

    def saveScatter(self, name):
        with mock.patch("IVIMMappingLib.CompareSection.saveFile", lambda *_: str(self.folder / name)):
            self.ui.saveScatterButton.click()
        self.process()

    def test_the_difference_is_a_map_and_goes_away_again(self):
        self.openPair()
        before = self.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        self.compare("difference")
        node = self.scene.GetNodeByID(self.composite().GetForegroundVolumeID())
        a, b = (slicer.util.arrayFromVolume(run.maps["D"]) for run in (self.one, self.other))
        self.assertTrue(np.allclose(slicer.util.arrayFromVolume(node), a - b, equal_nan=True, atol=1e-9))
        self.compare("none")
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), before)
        self.assertEqual(self.composite().GetForegroundVolumeID(), self.one.maps["D"].GetID())

    def test_a_map_that_the_other_run_lacks_is_said(self):
        self.openSample()
        self.tickOnly("nlls", "adc")
        self.apply()
        self.compare("scatter")
        self.assertIn("has no map of", self.ui.compareLabel.text)

    def test_closing_the_scene_while_it_blinks_is_harmless(self):
        self.openPair()
        self.compare("blink")
        self.scene.Clear(0)
        self.process(0.7)
        self.assertFalse(self.panel.compare._blink.isActive())
        self.assertFalse(self.ui.compareModeComboBox.enabled)
