"""The digital phantom as sample data of Slicer: made on this computer, nothing is downloaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import slicer

from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.physics.phantom import ABDOMEN, Phantom, abdomen

from .DwiSequence import browseSequence, createDwiSequence
from .RegionSegments import createSegmentation
from .Runs import removeNodes
from .SeriesSources import SOURCE_ATTRIBUTE

SAMPLE_CATEGORY = "IVIM"
SAMPLE_NAME = "IVIM digital phantom"
NODE_NAME = "IVIM phantom"
SHAPE = (144, 144, 18)
RESPONDING, RESPONSE = "liver metastasis", 0.28
"""What changes between the two dates of the phantom: its D rises by this share."""
REGIONS = ("liver", "spleen", "kidney cortex", "pancreas", "liver metastasis", "lesion")


def createPhantomSeries(
    scene: slicer.vtkMRMLScene, applicationLogic, shape: tuple[int, int, int] = SHAPE, snr: float = 40.0,
    seed: int = 1, name: str = NODE_NAME, **options,
) -> tuple[slicer.vtkMRMLSequenceNode, slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add the abdomen of the digital phantom: 12 b-values, and a segmentation of six of its tissues.

    Arguments: `shape` at least (32, 32, 1); `snr` S(b=0) of the liver / sigma [1]; `seed` of variation and noise;
    `options` of `phantom.build`. Returns sequence, the volume that shows it, and segmentation.
    Raises InputError for a shape that cannot hold the phantom.
    """
    return addPhantom(scene, applicationLogic, abdomen(shape=shape, snr=snr, seed=seed, **options), name)


def createSecondDate(
    scene: slicer.vtkMRMLScene, applicationLogic, shape: tuple[int, int, int] = SHAPE, snr: float = 40.0,
    seed: int = 2, name: str = f"{NODE_NAME} second date", **options,
) -> tuple[slicer.vtkMRMLSequenceNode, slicer.vtkMRMLScalarVolumeNode]:
    """Add the same body at a later date, without regions: D of the metastasis has risen by `RESPONSE`, nothing else.

    Arguments as in `createPhantomSeries`. Returns sequence and the volume that shows it.
    """
    tissues = tuple(
        replace(tissue, D=tissue.D * (1 + RESPONSE)) if tissue.name == RESPONDING else tissue for tissue in ABDOMEN
    )
    sequenceNode, proxyNode, regions = addPhantom(
        scene, applicationLogic, abdomen(tissues, shape=shape, snr=snr, seed=seed, **options), name
    )
    removeNodes(scene, [regions])
    return sequenceNode, proxyNode


def addPhantom(
    scene: slicer.vtkMRMLScene, applicationLogic, phantom: Phantom, name: str = NODE_NAME
) -> tuple[slicer.vtkMRMLSequenceNode, slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add a phantom whose truth the caller keeps; see `createPhantomSeries`."""
    series = series_of_phantom(phantom)
    title = scene.GenerateUniqueName(name)
    sequenceNode = createDwiSequence(scene, series.signal, series.geometry, series.acquisition.bvalues, title)
    sequenceNode.SetAttribute(SOURCE_ATTRIBUTE, series.bvalue_source)
    proxyNode = browseSequence(applicationLogic, sequenceNode)
    names = {label: tissue for label, tissue in phantom.names.items() if tissue in REGIONS}
    labels = np.where(np.isin(phantom.labels, list(names)), phantom.labels, 0)
    regions = createSegmentation(scene, labels, names, series.geometry, f"{title} regions", proxyNode)
    return sequenceNode, proxyNode, regions


def registerPhantom() -> bool:
    """Offer the phantom in Slicer's Sample Data module; returns False where that module is absent."""
    try:
        import SampleData
    except ImportError:
        return False
    logic = SampleData.SampleDataLogic
    for source in logic.sampleDataSourcesByCategory(SAMPLE_CATEGORY):
        if source.sampleName == SAMPLE_NAME:  # after a reload of the module the old function must go
            source.customDownloader = loadSample
            return True
    # No address and no file name: nothing can be downloaded, the function below does all.
    logic.registerCustomSampleDataSource(
        category=SAMPLE_CATEGORY, sampleName=SAMPLE_NAME, uris=[], fileNames=[], nodeNames=[],
        customDownloader=loadSample,
    )
    return True


def loadSample(source=None) -> list:
    """Make the phantom in the open scene and show it; called by the Sample Data module with its source.

    Returns the nodes that were added: sequence, volume, segmentation.
    """
    nodes = createPhantomSeries(slicer.mrmlScene, slicer.app.applicationLogic())
    slicer.util.setSliceViewerLayers(background=nodes[1], fit=True)
    return list(nodes)
