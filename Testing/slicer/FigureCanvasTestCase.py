"""Pictures with text, drawn without OpenGL, Qt and matplotlib."""

import numpy as np
import vtk
from IVIMTestScene import SceneTest
from vtk.util.numpy_support import vtk_to_numpy

from ivimcore.errors import InputError
from IVIMMappingLib.FigureCanvas import FigureCanvas, niceTicks, widthOf

BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class FigureCanvasTestCase(SceneTest):
    def test_picture_comes_back_from_its_file(self):
        canvas = FigureCanvas(60, 40, BLACK)
        picture = np.random.default_rng(0).integers(0, 256, (10, 20, 3)).astype(np.uint8)
        canvas.picture(5, 7, picture)
        canvas.rectangle(50, 30, 10, 10, WHITE)
        path = self.folder / "a.png"
        canvas.save(path)
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(path))
        reader.Update()
        pixels = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).reshape(40, 60, 3)[::-1]
        np.testing.assert_array_equal(pixels[7:17, 5:25], picture)
        self.assertTrue((pixels[30:, 50:] == 255).all())
        self.assertEqual(int(pixels[:7].max()), 0)

    def test_text_stands_where_it_should_and_is_cut_at_the_edge(self):
        for align, columns in (("left", slice(100, 200)), ("right", slice(0, 100)), ("center", slice(50, 150))):
            canvas = FigureCanvas(200, 40, BLACK)
            width = canvas.text(100, 20, "D* mm", 12, WHITE, align=align)
            drawn = canvas.pixels.max(axis=2) > 0.5
            self.assertTrue(drawn.any())
            self.assertEqual(np.count_nonzero(drawn), np.count_nonzero(drawn[:, columns]))
            self.assertEqual(width, widthOf("D* mm", 12))
        canvas.text(-10, 0, "beyond the edge", 12, WHITE)
        canvas.text(1000, 1000, "outside", 12, WHITE)

    def test_upright_text_is_as_high_as_it_is_wide_otherwise(self):
        canvas = FigureCanvas(60, 200, BLACK)
        width = canvas.text(30, 100, "posterior", 15, WHITE, align="center", upwards=True)
        rows = np.flatnonzero(canvas.pixels.max(axis=(1, 2)) > 0.5)
        self.assertAlmostEqual(rows[-1] - rows[0], width, delta=6)

    def test_raised_signs_that_the_font_lacks_are_drawn(self):
        with_minus, without = widthOf("10⁻³", 20), widthOf("10³", 20)
        self.assertGreater(with_minus, without)
        self.assertLess(with_minus, widthOf("10-3", 20))

    def test_ticks_are_round_numbers_inside(self):
        self.assertEqual(niceTicks(0, 3), [0, 1, 2, 3])
        self.assertEqual(niceTicks(0, 100), [0, 20, 40, 60, 80, 100])
        self.assertEqual(niceTicks(-1, 1), [-1, -0.5, 0, 0.5, 1])
        self.assertEqual(niceTicks(2, 2), [2])

    def test_picture_that_cannot_be_written_is_told(self):
        with self.assertRaisesRegex(InputError, "could not be written"):
            FigureCanvas(4, 4, BLACK).save(self.folder / "missing" / "a.png")
        self.messages.errors.clear()  # VTK says so too
