"""What tests of runs share: a small phantom in the scene, and a run of it through the real process."""

import time
from unittest import mock

import slicer
from IVIMTestScene import SceneTest

from ivimcore.physics.phantom import abdomen
from IVIMMappingLib import RunTransfer
from IVIMMappingLib.MappingLogic import MappingLogic
from IVIMMappingLib.PhantomSample import addPhantom
from IVIMMappingLib.Runs import runsOf

SMALL = (32, 32, 2)


class RunTest(SceneTest):
    """A test with a small phantom in the scene: `sequence`, `proxy`, `segmentation`, its truth `phantom`, `logic`."""

    needsPhantom = True

    def setUp(self):
        super().setUp()
        # The desktop program has one from the start; so have scenes whose nodes a test counts.
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.logic = MappingLogic(self.scene, self.applicationLogic)
        if self.needsPhantom:
            self.phantom = abdomen(shape=SMALL, snr=40.0, seed=1)
            self.sequence, self.proxy, self.segmentation = addPhantom(self.scene, self.applicationLogic, self.phantom)

    def tearDown(self):
        self.logic = self.sequence = self.proxy = self.segmentation = None
        super().tearDown()

    def fit(self, estimator="nlls", **choices):
        """Fit the phantom and return the newest run, or for several estimators the runs, newest first."""
        self.logic.process(self.sequence, estimator, self.segmentation, **choices)
        runs = runsOf(self.scene)
        return runs[0] if isinstance(estimator, str) else runs[: len(estimator)]

    def nodeIds(self):
        return {self.scene.GetNthNode(index).GetID() for index in range(self.scene.GetNumberOfNodes())}


class ProcessTest(RunTest):
    """A test that looks at a run while it goes on; it fails if anything temporary is left at the end."""

    def setUp(self):
        super().setUp()
        # Everything temporary of a run lies here, so that a test can see that nothing is left.
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        patch = mock.patch.object(RunTransfer, "temporaryPath", lambda: str(self.temporary))
        patch.start()
        self.addCleanup(patch.stop)

    def tearDown(self):
        self.assertEqual(list(self.temporary.iterdir()) if self.temporary.is_dir() else [], [])
        super().tearDown()

    def addLarge(self):
        """Add a phantom that takes some seconds."""
        return addPhantom(self.scene, self.applicationLogic, abdomen(shape=(96, 96, 8), seed=2), "large")[0]

    def begin(self, **choices):
        return self.logic.process(self.addLarge(), "posterior", wait=False, mask="none", **choices)

    def stepUntil(self, handle, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end)
            self.assertTrue(handle.step(), handle.sentence)
            time.sleep(0.005)
