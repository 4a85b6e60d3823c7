"""Train a network for one's own protocol, noise and tissue: the door of the module.

The panel is `IVIMTrainingLib.TrainingPanel`, the work `IVIMTrainingLib.TrainingLogic`, the numbers `ivimcore`.
"""

from __future__ import annotations

import os
import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


def findMapping():
    """Make IVIMMappingLib and ivimcore importable, which lie beside the module that this one depends on."""
    folder = os.path.dirname(slicer.modules.ivimmapping.path)
    if folder not in sys.path:
        sys.path.append(folder)


class IVIMTraining(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("IVIM Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Diffusion")]
        parent.dependencies = ["IVIMMapping"]
        parent.contributors = ["IVIMSlicer developers"]
        parent.helpText = _(
            "Train a network for your own b-values, noise and tissue, check it on voxels with known truth, and save it "
            "as an estimator of IVIM Mapping. Needs PyTorch, which is offered with one question. Research use only."
        )
        parent.acknowledgementText = _(
            "Training strategies follow Kaandorp et al. (Paper I and II) and Epstein et al.; cite them with IVIMSlicer."
        )


class IVIMTrainingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: loads the .ui and hands it to TrainingPanel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        findMapping()
        from IVIMTrainingLib.TrainingPanel import TrainingPanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/IVIMTraining.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = IVIMTrainingLogic()
        self.panel = TrainingPanel(uiWidget, self.ui, self.logic)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.panel.attach()

    def cleanup(self):
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()

    def enter(self):
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def onSceneStartClose(self, caller, event):
        self.panel.detach()

    def onSceneEndClose(self, caller, event):
        self.panel.attach()

    def onSceneEndImport(self, caller, event):
        self.panel.attach()


class IVIMTrainingLogic(ScriptedLoadableModuleLogic):
    """Everything the panel does, for Python scripts; the methods are described in `IVIMTrainingLib.TrainingLogic`.

    Example::

        from IVIMTraining import IVIMTrainingLogic
        card = IVIMTrainingLogic().train("my protocol", bvalues=[0, 20, 50, 100, 200, 400, 800], snr=25, minutes=10)
        slicer.modules.ivimmapping.widgetRepresentation().self().logic.process(node, estimator=card.id)
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        findMapping()
        from IVIMTrainingLib.TrainingLogic import TrainingLogic

        self.training = TrainingLogic(slicer.mrmlScene, slicer.app.applicationLogic())

    def getParameterNode(self):
        from IVIMTrainingLib.TrainingParameterNode import TrainingParameterNode

        return TrainingParameterNode(super().getParameterNode())

    def train(self, name, bvalues=None, snr=None, dwiNode=None, minutes=10.0, wait=True, **choices):
        """Train a network and save it: its card, or with `wait=False` a handle; see `TrainingLogic.train`."""
        return self.training.train(name, bvalues, snr, dwiNode, minutes, wait, **choices)

    def models(self):
        """Return the cards of the person's own models."""
        return self.training.models()


class IVIMTrainingTest(ScriptedLoadableModuleTest):
    """The self test behind Reload and Test."""

    def runTest(self):
        findMapping()
        from IVIMTrainingLib.SelfTest import runSelfTest

        slicer.mrmlScene.Clear(0)
        runSelfTest(IVIMTrainingLogic().training, self.delayDisplay)
