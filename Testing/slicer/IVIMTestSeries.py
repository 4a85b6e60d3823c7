"""Series of every kind that the scene can hold, made of the same known voxels."""

import numpy as np
import slicer
from IVIMTestScene import SHAPE, SceneTest, obliqueGeometry

from IVIMMappingLib.DwiSequence import browseSequence, createDwiSequence
from IVIMMappingLib.VolumeNodes import setVolumeArray

B = np.array([0.0, 10.0, 10.0, 200.0, 800.0])


class SeriesTest(SceneTest):
    """A test that makes series in the scene and compares what is read with what was put in."""

    def setUp(self):
        super().setUp()
        self.signal = np.random.default_rng(3).normal(500, 50, (*SHAPE, B.size)).astype(np.float32)

    def sequence(self, bvalues=B, name="DWI", browse=True):
        node = createDwiSequence(self.scene, self.signal[..., : len(bvalues)], obliqueGeometry(), bvalues, name)
        if browse:
            browseSequence(self.applicationLogic, node)
        return node

    def bareSequence(self, count=3, indexName="frame", indexUnit="", indices=None):
        node = self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "bare")
        node.SetIndexName(indexName)
        node.SetIndexUnit(indexUnit)
        for number in range(count):
            frame = slicer.vtkMRMLScalarVolumeNode()
            setVolumeArray(frame, self.signal[..., number], obliqueGeometry())
            node.SetDataNodeAtValue(frame, str((indices or range(count))[number]))
        return node

    def components(self, className="vtkMRMLVectorVolumeNode", count=B.size):
        node = self.scene.AddNewNodeByClass(className, "components")
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(self.signal[..., :count].transpose(2, 1, 0, 3)))
        matrix = slicer.util.vtkMatrixFromArray(obliqueGeometry().affine)
        node.SetIJKToRASMatrix(matrix)
        node.CreateDefaultDisplayNodes()
        return node

    def dwi(self, bvalues=B):
        node = self.components("vtkMRMLDiffusionWeightedVolumeNode", len(bvalues))
        node.SetNumberOfGradients(len(bvalues))
        for number, b in enumerate(bvalues):
            node.SetDiffusionGradient(number, [1.0, 0.0, 0.0])
            node.SetBValue(number, b)
        return node

    def check(self, series, bvalues=B):
        """Every way to the voxels gives what was put in."""
        np.testing.assert_array_equal(series.bvalues, bvalues)
        signal = self.signal[..., : len(bvalues)]
        self.assertEqual((series.count, series.geometry.shape), (len(bvalues), SHAPE))
        np.testing.assert_allclose(series.geometry.affine, obliqueGeometry().affine, atol=1e-9)
        np.testing.assert_array_equal(series.signal(), signal)
        self.assertEqual(series.signal().dtype, np.float32)
        np.testing.assert_array_equal(series.signal(np.arange(len(bvalues)) != 1), np.delete(signal, 1, axis=3))
        np.testing.assert_array_equal(series.image(2), signal[..., 2])
        np.testing.assert_array_equal(series.signalAt((3, 11, 2)), signal[3, 11, 2])
