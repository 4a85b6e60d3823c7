"""What the tests of steps 1 and 2 share: a small phantom in the scene, and clicks."""

import slicer

SHAPE = (48, 48, 3)


def smallPhantom(name="phantom", shape=SHAPE, **options):
    """Add a small phantom; returns sequence, volume that shows it, segmentation."""
    from IVIMMappingLib.PhantomSample import createPhantomSeries

    return createPhantomSeries(slicer.mrmlScene, slicer.app.applicationLogic(), shape=shape, name=name, **options)


def chooseSeries(test, node):
    """Select a node in the panel, as a person does."""
    test.ui.seriesSelector.setCurrentNode(node)
    test.process()


def openWithPhantom(test, **options):
    """Open the module with a small phantom chosen; returns sequence, volume, segmentation."""
    test.openModule()
    nodes = smallPhantom(**options)
    chooseSeries(test, nodes[0])
    test.assertIsNotNone(test.panel.state.series)
    return nodes


def lookAt(test, ijk):
    """Put the crosshair of the scene onto a voxel of the series and let the panel follow."""
    matrix = test.panel.state.series.ijkToRas()
    ras = (matrix @ [*ijk, 1.0])[:3]
    crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
    crosshair.SetCrosshairRAS(*ras)
    test.process(0.06)
    return tuple(ras)
