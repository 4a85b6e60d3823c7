"""What the tests of steps 3 and 4 share: a small phantom in the scene, ticks, Apply, and waiting for a run."""

import slicer
from IVIMTestPanel import PanelTest

from ivimcore import Acquisition
from ivimcore.physics.phantom import abdomen
from IVIMMappingLib import PhantomSample

BVALUES = (0, 10, 20, 40, 80, 200, 400, 800)
SHAPE = (32, 32, 4)


class SampleTest(PanelTest):
    """A test of the panel with a small phantom of eight b-values."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        import qt  # exists only once the desktop, or what stands for it, has started

        cls.qt = qt

    def openSample(self, shape=SHAPE, bvalues=BVALUES):
        """Open the module and choose the phantom; fit with what is quick."""
        self.openModule()
        phantom = abdomen(shape=shape, protocol=Acquisition(bvalues), snr=40.0, seed=1)
        self.phantom = phantom
        self.sequence, self.proxy, self.segmentation = PhantomSample.addPhantom(
            self.scene, slicer.app.applicationLogic(), phantom
        )
        self.state = self.panel.state
        self.panel.series.choose(self.sequence)
        self.process(0.02)
        self.assertIsNotNone(self.state.series, self.ui.messageLabel.text)

    def row(self, name):
        return self.panel.estimators.names.index(name)

    def tick(self, name, ticked=True):
        """Set the tick of an estimator, as a click on its box does."""
        item = self.ui.estimatorList.item(self.row(name))
        item.setCheckState(self.qt.Qt.Checked if ticked else self.qt.Qt.Unchecked)
        self.process()

    def tickOnly(self, *names):
        for name in self.panel.estimators.names:
            if (name in names) != (name in self.state.parameters.estimators):
                self.tick(name, name in names)

    def mark(self, name):
        """Mark the row of an estimator."""
        self.ui.estimatorList.setCurrentRow(self.row(name))
        self.process()

    def choose(self, combo, data):
        """Choose the entry of a combo box that carries `data`."""
        index = combo.findData(data)
        self.assertGreaterEqual(index, 0, f"no entry '{data}'")
        combo.setCurrentIndex(index)
        self.process()

    def apply(self, seconds=90):
        """Press Apply and wait until the run has ended."""
        self.start()
        self.waitUntil(lambda: self.state.run is None, seconds)
        self.process(0.02)

    def start(self):
        self.process(0.2)
        self.assertTrue(self.ui.applyButton.enabled, self.ui.applyButton.toolTip)
        self.ui.applyButton.click()
        self.process()
        self.assertIsNotNone(self.state.run, self.ui.messageLabel.text)

    def clipboard(self):
        return slicer.app.clipboard().text()
