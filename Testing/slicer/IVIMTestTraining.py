"""What tests of the training panel share: an empty folder of models, choices for seconds, clicks."""

import importlib.util
import os
import unittest
from unittest import mock

from IVIMTestPanel import PanelTest
from PanelSeries import smallPhantom

BVALUES = "0 10 20 50 100 200 400 800"
MINUTES = 0.02
HAS_TORCH = all(importlib.util.find_spec(name) is not None for name in ("torch", "safetensors"))
needsTorch = unittest.skipUnless(HAS_TORCH, "torch and safetensors are not installed: pip install .[networks]")


def withoutTorch(*missing):
    """Pretend that torch (or the packages named) is not installed."""
    missing = missing or ("torch", "PyTorchUtils")
    find = importlib.util.find_spec
    return mock.patch("importlib.util.find_spec", lambda name, *rest: None if name in missing else find(name, *rest))


class TrainingTest(PanelTest):
    """A test of the training panel; the person's models lie in `models`, empty at first."""

    def setUp(self):
        super().setUp()
        self.models = self.folder / "models"
        patch = mock.patch.dict(os.environ, IVIM_MODELS=str(self.models))
        patch.start()
        self.addCleanup(patch.stop)

    def openTraining(self):
        """Show the training panel with a protocol, one small training and a budget of seconds."""
        self.openModule("IVIMTraining")
        self.ui.bvaluesEdit.setText(BVALUES)
        self.ui.membersSpinBox.setValue(1)
        self.ui.minutesSpinBox.setValue(MINUTES)
        self.ui.titleEdit.setText("Test network")
        self.process()
        return self.panel.state

    def openWithSeries(self, **options):
        """The same with a small phantom chosen; returns state, sequence."""
        self.openModule("IVIMTraining")
        sequence, _volume, _regions = smallPhantom(**options)
        self.ui.seriesSelector.setCurrentNode(sequence)
        self.process()
        self.ui.membersSpinBox.setValue(1)
        self.ui.minutesSpinBox.setValue(MINUTES)
        return self.panel.state, sequence

    def choose(self, box, key):
        """Choose the entry of a combo box by its data."""
        index = box.findData(key)
        self.assertGreaterEqual(index, 0, key)
        box.setCurrentIndex(index)
        self.process()

    def startTraining(self):
        """Press Start; returns the run."""
        self.ui.startButton.click()
        self.assertIsNotNone(self.panel.state.run, self.ui.messageLabel.text)
        return self.panel.state.run

    def train(self, seconds=180):
        """Press Start and wait for the end; returns the run."""
        run = self.startTraining()
        self.finish(run, seconds)
        self.assertEqual(run.state, "done", "\n".join(run.log))
        return run

    def finish(self, run, seconds=180):
        self.waitUntil(lambda: run.isOver, seconds)
        self.process(0.2)

    def save(self, name="Test network"):
        """Type a name, press Save and return the card."""
        self.ui.saveNameEdit.setText(name)
        self.ui.saveButton.click()
        self.process()
        return next(card for card in self.logic.models() if card.title == name)
