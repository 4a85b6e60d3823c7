"""The stand-in for slicer.parameterNodeWrapper: types, limits, life in the scene, and binding to widgets."""

import enum
import unittest
from typing import Annotated, Union

import slicer
from IVIMTestPanel import PanelTest
from IVIMTestScene import IN_DESKTOP


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@unittest.skipIf(IN_DESKTOP, "desktop Slicer needs no stand-ins")
class ParameterNodeTestCase(PanelTest):
    """Typed parameters in the scene, bound to widgets."""

    def makeClass(self):
        from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

        @parameterNodeWrapper
        class Parameters:
            volume: Union[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode, None]  # noqa: UP007
            model: slicer.vtkMRMLModelNode
            part: Annotated[float, WithinRange(0, 2)] = 0.5
            count: int = 3
            name: str = "x"
            on: bool = True
            values: list[float]
            models: list[slicer.vtkMRMLModelNode]
            colour: Colour = Colour.BLUE
            kind: Annotated[str, Choice(["a", "b"])] = "b"

        return Parameters

    def make(self):
        return self.makeClass()(self.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters"))

    def test_defaults_and_refusals(self):
        parameters = self.make()
        self.assertEqual((parameters.part, parameters.count, parameters.colour), (0.5, 3, Colour.BLUE))
        self.assertEqual((parameters.volume, list(parameters.values)), (None, []))
        for name, value, fault in (("part", 3.0, ValueError), ("kind", "c", ValueError), ("count", 2.5, TypeError),
                                   ("name", None, ValueError), ("values", ["a"], TypeError)):
            with self.subTest(name), self.assertRaises(fault):
                setattr(parameters, name, value)

    def test_values_survive_a_save_and_a_reload(self):
        parameters = self.make()
        parameters.volume = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "kept")
        parameters.part, parameters.on, parameters.colour = 1.25, False, Colour.RED
        parameters.values = [1.0, 0.1]
        parameters.values.append(7.5)
        parameters.models = [self.scene.AddNewNodeByClass("vtkMRMLModelNode", name) for name in ("first", "second")]
        self.assertEqual(parameters.values, [1.0, 0.1, 7.5])
        path = self.folder / "scene.mrb"
        self.assertTrue(self.scene.WriteToMRB(str(path)))
        self.scene.Clear(0)
        self.assertTrue(self.scene.ReadFromMRB(str(path), True))
        again = self.makeClass()(self.scene.GetFirstNodeByName("parameters"))
        self.assertEqual([model.GetName() for model in again.models], ["first", "second"])
        self.assertEqual((again.part, again.on, again.colour, again.volume.GetName(), list(again.values)),
                         (1.25, False, Colour.RED, "kept", [1.0, 0.1, 7.5]))

    def test_binding_works_both_ways_until_it_is_undone(self):
        import ctk
        import qt

        volume = self.scene.AddNewNodeByClass("vtkMRMLDiffusionWeightedVolumeNode", "dwi")
        selector = slicer.qMRMLNodeComboBox()
        selector.noneEnabled = True
        selector.setMRMLScene(self.scene)
        widgets = {
            "part": ctk.ctkSliderWidget(), "count": qt.QSpinBox(), "name": qt.QLineEdit(), "on": qt.QCheckBox(),
            "colour": qt.QComboBox(), "kind": qt.QComboBox(), "volume": selector,
        }
        parameters = self.make()
        tag = parameters.connectParametersToGui(widgets)
        self.assertEqual((widgets["part"].minimum, widgets["part"].maximum), (0, 2))
        self.assertEqual(widgets["kind"].currentText, "b")
        changed = []
        observer = parameters.AddObserver("ModifiedEvent", lambda *_: changed.append(1))
        widgets["part"].setValue(1.5)
        widgets["count"].setValue(9)
        widgets["on"].click()
        widgets["colour"].setCurrentIndex(0)
        selector.setCurrentNode(volume)
        self.assertEqual((parameters.part, parameters.count, parameters.on, parameters.colour, parameters.volume),
                         (1.5, 9, False, Colour.RED, volume))
        self.assertEqual(len(changed), 5)
        parameters.name, parameters.volume = "other", None
        self.assertEqual((widgets["name"].text, selector.currentNode()), ("other", None))
        parameters.RemoveObserver(observer)
        parameters.disconnectGui(tag)
        widgets["count"].setValue(2)
        self.assertEqual(parameters.count, 9)

    def test_connect_gui_binds_by_the_property_and_gives_no_tag(self):
        import qt

        panel = qt.QWidget()
        box = qt.QCheckBox(panel)
        box.setProperty("SlicerParameterName", "on")
        parameters = self.make()
        self.assertIsNone(parameters.connectGui(panel))
        box.click()
        self.assertFalse(parameters.on)
        box.setProperty("SlicerParameterName", "unheard")
        with self.assertRaisesRegex(ValueError, "unheard"):
            parameters.connectGui(panel)

    def test_lists_are_no_lists(self):
        parameters = self.make()
        parameters.values = [1.0]
        self.assertNotIsInstance(parameters.values, list)
        with self.assertRaises(NotImplementedError):
            parameters.values + [2.0]

    def test_a_selector_refuses_an_abstract_class(self):
        from slicer.parameterNodeWrapper import parameterNodeWrapper

        @parameterNodeWrapper
        class Parameters:
            node: slicer.vtkMRMLNode

        parameters = Parameters(self.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
        with self.assertRaisesRegex(TypeError, "abstract"):
            parameters.connectParametersToGui({"node": slicer.qMRMLNodeComboBox()})
