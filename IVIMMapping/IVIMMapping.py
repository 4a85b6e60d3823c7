"""IVIM maps of diffusion and perfusion from a diffusion-weighted series: the door of the module.

The panel is `IVIMMappingLib.MappingPanel`, the work `IVIMMappingLib.MappingLogic`, the numbers `ivimcore`.
"""

from __future__ import annotations

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


class IVIMMapping(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("IVIM Mapping")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Diffusion")]
        parent.dependencies = []
        parent.contributors = ["IVIMSlicer developers"]
        parent.helpText = _(
            "Maps of diffusion (D), perfusion fraction (f) and pseudo-diffusion (D*) with their uncertainty, from a "
            "diffusion-weighted series with several b-values. Choose a series, a region and estimators, press Apply. "
            "Research use only."
        )
        parent.acknowledgementText = _(
            "Each estimator names its reference in its tool tip; cite it together with IVIMSlicer."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", registerViewLayouts)


class IVIMMappingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: loads the .ui and hands it to MappingPanel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from IVIMMappingLib.MappingPanel import MappingPanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/IVIMMapping.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = IVIMMappingLogic()
        self.panel = MappingPanel(uiWidget, self.ui, self.logic)
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


class IVIMMappingLogic(ScriptedLoadableModuleLogic):
    """Everything the panel does, for Python scripts; the methods are described in `IVIMMappingLib.MappingLogic`.

    Example::

        from IVIMMapping import IVIMMappingLogic
        maps = IVIMMappingLogic().process(slicer.util.getNode("DWI"), estimator="nlls")
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from IVIMMappingLib.MappingLogic import MappingLogic

        self.mapping = MappingLogic(slicer.mrmlScene, slicer.app.applicationLogic())

    def getParameterNode(self):
        from IVIMMappingLib.MappingParameterNode import MappingParameterNode

        return MappingParameterNode(super().getParameterNode())

    def process(self, dwiNode, estimator="posterior", segmentationNode=None, bvalues=None, wait=True, **choices):
        """Fit a series: map nodes by key, or with `wait=False` a handle; see `MappingLogic.process`."""
        return self.mapping.process(dwiNode, estimator, segmentationNode, bvalues, wait, **choices)

    def __getattr__(self, name):
        """Offer every method of MappingLogic: importSeries, runs, statistics, followUp, exportMaps, exportScene ..."""
        if name == "mapping":  # not there yet
            raise AttributeError(name)
        return getattr(self.mapping, name)


class IVIMMappingTest(ScriptedLoadableModuleTest):
    """The self test behind Reload and Test."""

    def runTest(self):
        from IVIMMappingLib.SelfTest import runSelfTest

        slicer.mrmlScene.Clear(0)
        runSelfTest(IVIMMappingLogic(), self.delayDisplay)


def registerSampleData():
    """Offer the digital phantom in Slicer's Sample Data module."""
    from IVIMMappingLib.PhantomSample import registerPhantom

    registerPhantom()


def registerViewLayouts():
    """Make our layouts known, so that a scene saved with one of them opens with views before the panel was opened."""
    from IVIMMappingLib.ResultLayout import registerLayouts

    registerLayouts()
