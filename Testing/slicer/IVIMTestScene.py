"""What the tests of IVIMMappingLib share: a scene in either runtime, a small oblique run, and a way to reload it."""

import functools
import os
import tempfile
import unittest
from pathlib import Path

import numpy as np

try:
    import slicer
except ImportError as fault:
    raise unittest.SkipTest("Slicer's libraries are not installed (pip install 'ivimslicer[scene]')") from fault

from ivimcore.data.series import Geometry
from IVIMMappingLib import OpenGLProbe
from IVIMMappingLib.HeadlessSlicer import HeadlessSlicer
from IVIMMappingLib.VtkMessages import VtkMessages

IN_DESKTOP = getattr(slicer, "app", None) is not None
SHAPE = (20, 16, 5)
NAMES = {1: "liver", 2: "lesion"}


@functools.cache
def renderWindow():
    """The kind of window that draws on this computer, or None."""
    return "desktop" if IN_DESKTOP else OpenGLProbe.findRenderWindow()


class SceneTest(unittest.TestCase):
    """A test with a scene of its own; fails if VTK reports an error that is not known to be harmless."""

    needsDrawing = False

    def setUp(self):
        if self.needsDrawing:
            if renderWindow() is None:
                self.skipTest(f"no OpenGL library draws on this computer (apt-get install {OpenGLProbe.PACKAGES})")
            if not IN_DESKTOP:
                os.environ[OpenGLProbe.VARIABLE] = renderWindow()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.messages = VtkMessages()
        self.messages.__enter__()
        self.application = None if IN_DESKTOP else HeadlessSlicer()
        self.scene = slicer.mrmlScene
        self.scene.Clear(0)
        self.applicationLogic = slicer.app.applicationLogic() if IN_DESKTOP else self.application.applicationLogic

    def tearDown(self):
        self.scene = self.applicationLogic = None
        if self.application is not None:
            self.application.close()
        self.messages.__exit__(None, None, None)
        self.assertEqual(self.messages.errors, [])

    def reload(self):
        """Save the scene as .mrb, empty it and load the file."""
        path = self.folder / "scene.mrb"
        self.assertTrue(self.scene.WriteToMRB(str(path)))
        self.assertTrue(path.is_file())
        self.scene.Clear(0)
        self.assertTrue(self.scene.ReadFromMRB(str(path), True))

    def node(self, name):
        node = self.scene.GetFirstNodeByName(name)
        self.assertIsNotNone(node, f"no node called '{name}'")
        return node


def obliqueGeometry(shape=SHAPE):
    """An oblique grid of unequal spacing (1.5, 2, 4) mm, slices near axial, i towards the patient's left."""
    a, b = np.deg2rad(20), np.deg2rad(-12)
    tilt = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ tilt @ turn * np.array([1.5, 2.0, 4.0])
    affine[:3, 3] = (12.5, -30.0, 41.0)
    return Geometry(shape, affine)


def smallExtras():
    """Return maps beside those of `smallRun`, as a posterior estimator writes them: D* known only for i < 10."""
    maps = smallRun()[1]
    known = np.where(np.arange(SHAPE[0]) < 10, 0.7, 0.05)[:, None, None]
    extras = {
        "Dstar_info": known, "f_info": 0.2, "f_probability": 0.95, "rho_Dstar_f": -0.4,
        "Dstar_low": 0.5 * maps["Dstar"], "Dstar_high": 2 * maps["Dstar"],
    }
    return {key: np.where(np.isfinite(maps["D"]), values, np.nan).astype(np.float32) for key, values in extras.items()}


def smallRun(seed=0):
    """Return base image, maps by key (NaN outside an ellipse), status and labels, all (x, y, z)."""
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    inside = (i / 0.8) ** 2 + (j / 0.7) ** 2 < 1
    random = np.random.default_rng(seed)
    base = np.where(inside, 400 + 100 * i, 20 * random.random(SHAPE)).astype(np.float32)
    lesion = inside & (i > 0.2) & (j > 0.1) & (k > -0.6)
    maps = {
        "D": np.where(lesion, 1.8e-3, 1.0e-3) + 1e-5 * random.normal(size=SHAPE),
        "f": np.where(lesion, 0.3, 0.1),
        "Dstar": np.where(lesion, 0.06, 0.02),
        "rmse": 5 + random.random(SHAPE),
    }
    maps = {key: np.where(inside, values, np.nan).astype(np.float32) for key, values in maps.items()}
    maps["Dstar"][10, 8, 2] = np.nan
    status = np.where(inside, 0, 1).astype(np.uint8)
    labels = np.where(lesion, 2, np.where(inside & (i < 0), 1, 0)).astype(np.int32)
    return base, maps, status, labels
