"""The module as a person sees it: a test class that opens the panel in desktop Slicer or on stand-ins."""

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

import slicer
from IVIMTestScene import IN_DESKTOP, renderWindow

from IVIMMappingLib import OpenGLProbe
from IVIMMappingLib.VtkMessages import VtkMessages

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "IVIMMapping" / "IVIMMapping.py"
TRAINING_MODULE = ROOT / "IVIMTraining" / "IVIMTraining.py"
MODULES = (MODULE, TRAINING_MODULE)


def startDesktop():
    """Start the stand-ins; raises SkipTest where PySide6 or a library it needs is missing."""
    folder = str(ROOT / "Testing" / "standins")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    window = renderWindow()
    if window is not None:
        os.environ[OpenGLProbe.VARIABLE] = window
    try:
        import PySide6.QtWidgets  # noqa: F401  (libEGL and others are looked for here)
    except ImportError as fault:
        raise unittest.SkipTest(f"no Qt for the stand-ins (pip install 'PySide6-Essentials<6.12'): {fault}") from fault
    from ivimstandins.Desktop import Desktop

    return Desktop(list(MODULES))


class PanelTest(unittest.TestCase):
    """A test of the panel: call `openModule` and use `widget`, `panel`, `ui` and `logic`.

    `folder` is an empty folder, `scene` the scene. Fails on VTK errors, on exceptions in slots, timers and observers,
    and on child processes that are left.
    """

    desktop = None

    @classmethod
    def setUpClass(cls):
        if not IN_DESKTOP:
            with VtkMessages():  # files of the desktop program that are not there
                cls.desktop = startDesktop()

    @classmethod
    def tearDownClass(cls):
        if cls.desktop is not None:
            with VtkMessages():
                cls.desktop.close()
            cls.desktop = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.widget = self.panel = self.ui = self.logic = None
        self._hadTorch = "torch" in sys.modules
        self._children = _children()
        self._faults = self._collectFaults()
        self.messages = VtkMessages()
        self.messages.__enter__()
        self.scene = slicer.mrmlScene
        self._reset()

    def tearDown(self):
        self._reset()
        self.messages.__exit__(None, None, None)
        faults = list(self._faults)
        self._faults.clear()
        left = _children() - self._children
        self.assertEqual([repr(fault) for _, fault, _ in faults], [], "exceptions in slots, timers or observers")
        self.assertEqual(self.messages.errors, [], "VTK errors")
        self.assertEqual(left, set(), "child processes are left")

    def openModule(self, name="IVIMMapping"):
        """Show a module and return its widget; `widget`, `panel`, `ui` and `logic` are then those of this module."""
        slicer.util.selectModule(name)
        self.widget = slicer.util.getModuleWidget(name)
        self.panel, self.ui, self.logic = self.widget.panel, self.widget.ui, self.widget.logic
        return self.widget

    def process(self, seconds=0.0):
        """Let Qt work for that long, at least until nothing is pending."""
        end = time.monotonic() + seconds
        slicer.app.processEvents()
        while time.monotonic() < end:
            time.sleep(0.005)
            slicer.app.processEvents()

    def waitUntil(self, condition, seconds=30.0):
        """Let Qt work until `condition()` is true; fails after that many seconds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail(f"still waiting after {seconds} s")
            self.process(0.01)

    def assertTorchWasNotLoaded(self):
        """Fail if this test has loaded torch; tests of networks in the same process may have done so before."""
        self.assertFalse("torch" in sys.modules and not self._hadTorch, "torch was loaded into this process")

    def picture(self, name, widget=None, width=None):
        """Write a picture of the whole panel, or of `widget`, into `folder` and return its path.

        `width` [pixels] is given to the panel first, where the main window is ours.
        """
        path = self.folder / name
        if width is not None and self.desktop is not None:
            self.desktop.mainWindow.setPanelWidth(width)
        self.process()
        self.assertTrue((widget or self.widget.parent).grab().save(str(path)))
        return path

    def press(self, keys):
        """Do what the shortcut of these keys ("Shift+B") does; fails if the main window has no such shortcut."""
        wanted = qt().QKeySequence(keys).toString()
        found = [shortcut for shortcut in slicer.util.mainWindow().findChildren("QShortcut")
                 if shortcut.enabled and shortcut.key.toString() == wanted]
        self.assertEqual(len(found), 1, f"shortcuts of {keys}")
        self.emit(found[0], "activated")

    def emit(self, sender, signal, *values):
        """Emit a signal of a Qt object, in the way of this runtime."""
        signal = getattr(sender, signal)
        (signal.emit if hasattr(signal, "emit") else signal)(*values)
        self.process()

    def restartSettings(self):
        """Make the settings what another process would read: text, whatever was written."""
        settings = slicer.app.userSettings()
        for key in settings.allKeys():
            value = settings.value(key)
            if isinstance(value, (bool, int, float)):
                settings.setValue(key, str(value).lower())

    def takeFaults(self):
        """Return the exceptions of slots, timers and observers so far, and take them as expected."""
        faults = [fault for _, fault, _ in self._faults]
        self._faults.clear()
        return faults

    def _reset(self):
        if self.desktop is not None:
            self.desktop.reset()
            return
        slicer.util.selectModule("Welcome")
        self.scene.Clear(0)
        slicer.app.clipboard().clear()
        slicer.app.processEvents()

    def _collectFaults(self):
        if self.desktop is not None:
            from ivimstandins import Connections

            return Connections.faults
        faults = []
        before = sys.excepthook

        def keep(*fault):
            faults.append(fault)
            before(*fault)

        sys.excepthook = keep
        self.addCleanup(setattr, sys, "excepthook", before)
        return faults


def qt():
    """Return PythonQt's module `qt`, or its stand-in."""
    return sys.modules["qt"]


def _children():
    """Return the identifiers of the running child processes of this process, on Linux."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children") if Path("/proc/self/task").is_dir() else ():
        for identifier in path.read_text("utf-8").split():
            try:
                state = Path(f"/proc/{identifier}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state != "Z":
                found.add(int(identifier))
    return found
