"""The scene without the desktop program starts, refuses a second one, closes and starts again."""

import unittest

import slicer
import vtk
from IVIMTestScene import IN_DESKTOP, SceneTest

from IVIMMappingLib.HeadlessSlicer import HeadlessSlicer
from IVIMMappingLib.VtkMessages import VtkMessages


@unittest.skipIf(IN_DESKTOP, "desktop Slicer has its own scene")
class HeadlessSlicerTestCase(SceneTest):
    def test_module_nodes_are_known(self):
        for name in ("SequenceBrowser", "Segmentation", "Table", "PlotChart"):
            self.assertIsNotNone(self.scene.AddNewNodeByClass(f"vtkMRML{name}Node"))

    def test_second_scene_is_refused_until_the_first_is_closed(self):
        with self.assertRaisesRegex(RuntimeError, "already open"):
            HeadlessSlicer()
        self.application.close()
        self.application.close()
        self.assertIsNone(slicer.mrmlScene)
        self.application = HeadlessSlicer()
        self.assertIs(slicer.mrmlScene, self.application.scene)

    def test_slice_view_is_made_once(self):
        logic = self.application.addSliceView("Red")
        self.assertIs(self.application.addSliceView("Red"), logic)
        self.assertEqual(logic.GetSliceNode().GetLayoutName(), "Red")


class VtkMessagesTestCase(SceneTest):
    def test_errors_are_collected_without_addresses_and_harmless_ones_left_out(self):
        with VtkMessages() as messages:
            window = vtk.vtkOutputWindow.GetInstance()
            window.DisplayErrorText("ERROR: In a.cxx, line 3\nvtkThing (0x55d0a1): it broke\n")
            window.DisplayErrorText("vtkSlicerColorLogic (0x1): HomeDirectory is not set")
            window.DisplayWarningText("careful")
        self.assertEqual(messages.errors, ["vtkThing: it broke"])
        self.assertEqual(messages.warnings, ["careful"])
