"""Arrays become volume nodes and come back, on an oblique grid of unequal spacing."""

import numpy as np
import slicer
import vtk
from IVIMTestScene import SHAPE, SceneTest, obliqueGeometry

from IVIMMappingLib.VolumeNodes import arrayFromVolumeNode, createVolumeNode


class VolumeNodesTestCase(SceneTest):
    def test_array_and_geometry_come_back_exactly(self):
        geometry = obliqueGeometry()
        for dtype in (np.float32, np.float64, np.int16, np.uint8):
            array = (1000 * np.random.default_rng(1).random(SHAPE)).astype(dtype)
            back, grid = arrayFromVolumeNode(createVolumeNode(self.scene, array, geometry, "volume"))
            self.assertEqual(back.dtype, dtype)
            np.testing.assert_array_equal(back, array)
            np.testing.assert_allclose(grid.affine, geometry.affine, atol=1e-12)
            self.assertEqual(grid.shape, SHAPE)

    def test_voxel_lies_where_the_affine_says(self):
        geometry = obliqueGeometry()
        array = np.zeros(SHAPE, np.float32)
        array[3, 11, 2] = 7.0
        node = createVolumeNode(self.scene, array, geometry, "volume")
        rasToIjk = vtk.vtkMatrix4x4()
        node.GetRASToIJKMatrix(rasToIjk)
        ijk = rasToIjk.MultiplyPoint((geometry.affine @ [3, 11, 2, 1]).tolist())
        np.testing.assert_allclose(ijk[:3], (3, 11, 2), atol=1e-9)
        self.assertEqual(node.GetImageData().GetScalarComponentAsDouble(3, 11, 2, 0), 7.0)

    def test_node_owns_its_voxels(self):
        array = np.zeros(SHAPE, np.float32)
        node = createVolumeNode(self.scene, array, obliqueGeometry(), "volume")
        array[:] = 9.0
        self.assertEqual(float(slicer.util.arrayFromVolume(node).max()), 0.0)

    def test_array_of_another_shape_is_refused(self):
        with self.assertRaisesRegex(ValueError, "shape"):
            createVolumeNode(self.scene, np.zeros((2, 2, 2)), obliqueGeometry(), "volume")
