"""The stand-ins for desktop Slicer: what they must refuse, and what they must really do."""

import os
import subprocess
import sys
import unittest
import unittest.mock

import numpy as np
import slicer
import vtk
from IVIMTestPanel import PanelTest
from IVIMTestScene import IN_DESKTOP, renderWindow

UI = """<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form"><layout class="QVBoxLayout">
{items}</layout></widget><customwidgets>
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>a.h</header></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>a.h</header></customwidget>
<customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>a.h</header></customwidget>
<customwidget><class>ctkUnheardOf</class><extends>QWidget</extends><header>a.h</header></customwidget>
</customwidgets><connections>{connections}</connections></ui>"""
ITEM = """<item><widget class="{0}" name="{1}">{2}
<property name="SlicerParameterName" stdset="0"><string>{1}</string></property></widget></item>"""
LAYOUT = """<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="IVIMOne">
<property name="orientation" action="default">Coronal</property></view></item>
<item><view class="vtkMRMLPlotViewNode" singletontag="IVIMPlot"/></item></layout>"""


@unittest.skipIf(IN_DESKTOP, "desktop Slicer needs no stand-ins")
class StrictnessTestCase(PanelTest):
    """What PythonQt refuses must raise here."""

    def setUp(self):
        super().setUp()
        import qt

        self.qt = qt

    def test_new_attributes_on_qt_objects_are_refused(self):
        import ctk

        for made in (self.qt.QPushButton(), self.qt.QTableWidgetItem("a"), self.qt.QTimer(), ctk.ctkSliderWidget(),
                     slicer.qMRMLNodeComboBox()):
            with self.subTest(type(made).__name__), self.assertRaisesRegex(AttributeError, "no attribute 'mine'"):
                made.mine = 1

        class OwnLabel(self.qt.QLabel):
            pass

        label = OwnLabel()
        label.mine = 1
        self.assertEqual(label.mine, 1)

    def test_keyword_arguments_are_refused(self):
        with self.assertRaisesRegex(TypeError, "keyword"):
            self.qt.QPushButton(text="Apply")
        button = self.qt.QPushButton("Apply")
        with self.assertRaisesRegex(TypeError, "keyword"):
            button.resize(w=3, h=4)

    def test_properties_are_attributes_and_methods_stay_methods(self):
        button = self.qt.QPushButton("Apply")
        button.text = "Cancel"
        self.assertEqual(button.text, "Cancel")
        button.setText("Apply")
        self.assertEqual(button.text, "Apply")
        self.assertGreater(button.sizeHint.height(), 5)
        combo = self.qt.QComboBox()
        combo.addItem("one", "first")
        self.assertEqual((combo.count, combo.currentText, combo.currentData, combo.itemData(0)),
                         (1, "one", "first", "first"))
        self.assertEqual(self.qt.QTableWidgetItem("a").text(), "a")
        self.assertTrue(button.inherits("QAbstractButton"))
        button.setObjectName("applyButton")
        self.assertEqual((button.name, button.className()), ("applyButton", "QPushButton"))

    def test_single_shot_is_set_by_its_method(self):
        timer = self.qt.QTimer()
        with self.assertRaises(AttributeError):
            timer.singleShot = True
        timer.setSingleShot(True)
        done = []
        self.qt.QTimer.singleShot(0, lambda: done.append(1))
        self.waitUntil(lambda: done, 30)

    def test_lists_come_back_as_tuples(self):
        table = self.qt.QTableWidget(1, 1)
        table.setItem(0, 0, self.qt.QTableWidgetItem("a"))
        table.selectAll()
        self.assertIsInstance(table.selectedItems(), tuple)
        self.assertIsInstance(table.findChildren("QScrollBar"), tuple)
        self.assertTrue(table.findChildren("QScrollBar"))

    def test_plain_tool_tip_reads_back_as_a_paragraph(self):
        button = self.qt.QPushButton()
        self.assertEqual(button.toolTip, "")
        button.setToolTip("b < 200")
        self.assertEqual(button.toolTip, "<p>b &lt; 200</p>")

    def test_enums_are_reached_without_their_scope(self):
        qt = self.qt
        item = qt.QTableWidgetItem()
        item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
        item.setCheckState(qt.Qt.Checked)
        self.assertEqual(item.checkState(), qt.Qt.Checked)
        for name in ("QFrame.StyledPanel", "QHeaderView.ResizeToContents", "QAbstractItemView.NoEditTriggers",
                     "QSizePolicy.Expanding", "Qt.UserRole", "QMessageBox.Ok", "QIODevice.ReadOnly"):
            owner, member = name.split(".")
            self.assertTrue(hasattr(getattr(qt, owner), member), name)

    def test_what_pythonqt_lacks_is_not_there(self):
        for name in ("Signal", "Slot", "Property", "QRegExp", "QDesktopWidget"):
            self.assertFalse(hasattr(self.qt, name), name)

    def test_dialogs_that_wait_for_a_person_fail_at_once(self):
        with self.assertRaisesRegex(AssertionError, "answer it in the test"):
            self.qt.QFileDialog.getOpenFileName(None, "Open")
        with self.assertRaisesRegex(AssertionError, "answer it in the test"):
            self.qt.QDialog().exec_()
        slicer.util.infoDisplay("said and not shown")


@unittest.skipIf(IN_DESKTOP, "desktop Slicer needs no stand-ins")
class ConnectionTestCase(PanelTest):
    """Signals by their signature as text."""

    def setUp(self):
        super().setUp()
        import qt

        self.button = qt.QPushButton("a")
        self.values = []

    def test_wrong_signals_fail(self):
        from ivimstandins.Connections import ConnectError

        for signal in ("clicked", "clicked(int)", "pushed(bool)"):
            with self.subTest(signal), self.assertRaises(ConnectError):
                self.button.connect(signal, self.values.append)

    def test_values_arrive_as_the_signature_says(self):
        self.assertTrue(self.button.connect("clicked(bool)", lambda *values: self.values.append(values)))
        self.assertTrue(self.button.connect("clicked()", lambda *values: self.values.append(values)))
        self.assertTrue(self.button.connect("clicked(bool)", lambda: self.values.append("surplus dropped")))
        self.button.click()
        self.assertCountEqual(self.values, [(False,), (), "surplus dropped"])

    def test_disconnect_takes_the_slot_away(self):
        slot = self.values.append
        self.button.connect("clicked(bool)", slot)
        self.assertTrue(self.button.disconnect("clicked(bool)", slot))
        self.assertFalse(self.button.disconnect("clicked(bool)", slot))
        self.button.click()
        self.assertEqual(self.values, [])

    def test_exceptions_in_slots_timers_and_observers_are_kept(self):
        import qt

        def fail(*_):
            raise ValueError("in a slot")

        node = self.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
        self.button.connect("clicked(bool)", fail)
        self.button.connect("clicked(bool)", lambda first, second: None)
        self.button.connect("clicked(bool)", self.values.append)
        qt.QTimer.singleShot(0, fail)
        node.AddObserver("ModifiedEvent", fail)
        with unittest.mock.patch("sys.__excepthook__"):
            self.button.click()
            node.Modified()
            self.process(0.05)
        self.assertEqual(sorted(type(fault).__name__ for fault in self.takeFaults()),
                         ["TypeError", "ValueError", "ValueError", "ValueError"])
        self.assertEqual(self.values, [False])


@unittest.skipIf(IN_DESKTOP, "desktop Slicer needs no stand-ins")
class UiFileTestCase(PanelTest):
    """Files of Qt Designer."""

    def load(self, items="", connections=""):
        path = self.folder / "form.ui"
        path.write_text(UI.format(items=items, connections=connections))
        return slicer.util.loadUI(str(path))

    def test_what_slicer_would_drop_in_silence_fails(self):
        from ivimstandins.UiLoader import UiError

        for item, word in (
            (ITEM.format("ctkUnheardOf", "a", ""), "no stand-in for the class ctkUnheardOf"),
            (ITEM.format("QUnheardOf", "a", ""), "no stand-in for the class QUnheardOf"),
            (ITEM.format("QLabel", "a", '<property name="colour"><string>red</string></property>'), "no property"),
        ):
            with self.subTest(word), self.assertRaisesRegex(UiError, word):
                self.load(item)

    def test_connections_are_made_by_name(self):
        widget = self.load(ITEM.format("qMRMLNodeComboBox", "selector", ""), """<connection><sender>Form</sender>
            <signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>selector</receiver>
            <slot>setMRMLScene(vtkMRMLScene*)</slot></connection>""")
        selector = slicer.util.childWidgetVariables(widget).selector
        self.assertIsNone(selector.mrmlScene())
        widget.setMRMLScene(self.scene)
        self.assertIs(selector.mrmlScene(), self.scene)

    def test_wrong_connections_fail(self):
        with self.assertRaisesRegex(AssertionError, "no signal"):
            self.load("", """<connection><sender>Form</sender><signal>sceneChanged()</signal><receiver>Form</receiver>
                <slot>update()</slot></connection>""")


@unittest.skipIf(IN_DESKTOP, "desktop Slicer needs no stand-ins")
class NodeComboBoxTestCase(PanelTest):
    """The list of the nodes of the scene."""

    def test_it_follows_the_scene(self):
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.noneEnabled = True
        selector.setMRMLScene(self.scene)
        changes = []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", changes.append)
        scalar = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scalar")
        dwi = self.scene.AddNewNodeByClass("vtkMRMLDiffusionWeightedVolumeNode", "dwi")
        hidden = slicer.vtkMRMLScalarVolumeNode()
        hidden.SetHideFromEditors(1)
        self.scene.AddNode(hidden)
        self.assertEqual([selector.nodeFromIndex(i) for i in range(selector.nodeCount())], [scalar, dwi])
        self.assertIsNone(selector.currentNode())
        selector.setCurrentNode(dwi)
        self.assertEqual(selector.currentNodeID, dwi.GetID())
        selector.showChildNodeTypes = False
        self.assertEqual((selector.nodeCount(), selector.currentNode()), (1, None))
        scalar.SetName("renamed")
        selector.setCurrentNode(scalar)
        self.scene.Clear(0)
        self.assertEqual((selector.nodeCount(), selector.currentNode()), (0, None))
        self.assertEqual([node and node.GetName() for node in changes], ["dwi", None, "renamed", None])


    def test_setters_that_are_no_slots_are_not_there(self):
        import ctk

        for made, name in (
            (slicer.qMRMLNodeComboBox(), "nodeTypes"), (slicer.qMRMLNodeComboBox(), "noneEnabled"),
            (ctk.ctkCollapsibleButton(), "collapsed"), (ctk.ctkSliderWidget(), "minimum"),
        ):
            with self.subTest(name):
                self.assertTrue(hasattr(made, name))
                self.assertFalse(hasattr(made, f"set{name[0].upper()}{name[1:]}"))


@unittest.skipIf(IN_DESKTOP, "desktop Slicer needs no stand-ins")
class LayoutTestCase(PanelTest):
    """Views as a layout description asks for them."""

    def test_layout_xml_makes_views(self):
        manager = slicer.app.layoutManager()
        self.assertEqual(set(manager.sliceViewNames()) >= {"Red", "Green", "Yellow"}, True)
        seen = []
        manager.connect("layoutChanged(int)", seen.append)
        manager.layoutLogic().GetLayoutNode().AddLayoutDescription(987, LAYOUT)
        manager.setLayout(987)
        self.assertEqual((manager.layout, seen), (987, [987]))
        widget = manager.sliceWidget("IVIMOne")
        self.assertEqual(widget.mrmlSliceNode().GetOrientation(), "Coronal")
        volume = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        widget.sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self.assertIs(widget.sliceLogic().GetBackgroundLayer().GetVolumeNode(), volume)
        self.assertEqual(widget.sliceView().renderWindow().GetRenderers().GetNumberOfItems(), 1)
        self.assertEqual(manager.plotWidget(0).mrmlPlotViewNode().GetLayoutName(), "IVIMPlot")

    def test_a_slice_view_draws_its_image_and_what_others_add(self):
        if renderWindow() is None:
            self.skipTest("no OpenGL library draws on this computer")
        volume = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        slicer.util.updateVolumeFromArray(volume, np.full((3, 10, 40), 100.0))
        volume.CreateDefaultDisplayNodes()
        volume.GetDisplayNode().AutoWindowLevelOff()
        volume.GetDisplayNode().SetWindowLevelMinMax(0, 100)
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
        view.forceRender()
        capture = vtk.vtkWindowToImageFilter()
        capture.SetInput(view.renderWindow())
        capture.ReadFrontBufferOff()
        capture.Update()
        image = capture.GetOutput()
        across, up, _ = image.GetDimensions()
        shades = [image.GetScalarComponentAsDouble(across // 2, y, 0, 0) for y in (up // 2, 2)]
        self.assertEqual(shades, [255, 0])

    def test_slicers_own_python_files_can_take_the_place_of_ours(self):
        (self.folder / "i18n.py").write_text("def tr(text):\n    return text.upper()\n")
        program = "from ivimstandins.Desktop import Desktop; Desktop([]); from slicer.i18n import tr; print(tr('abc'))"
        child = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=60, check=False,
            env={**os.environ, "IVIM_SLICER_PY": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual(child.stdout.split()[-1:], ["ABC"], child.stderr)

    def test_the_panel_opens_and_closes(self):
        self.openModule()
        self.process(0.05)
        self.assertTrue(self.ui.applyButton.visible)
        for width in (500, 700):
            import qt

            self.assertEqual(qt.QImage(str(self.picture("panel.png", width=width))).width(), width)
        slicer.util.selectModule("Data")
        self.assertFalse(self.ui.applyButton.visible)
