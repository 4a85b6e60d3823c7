"""Rows become a table node with numbers as numbers."""

import math

import vtk
from IVIMTestScene import SceneTest

from IVIMMappingLib.StatisticsTable import createTable, readRows, rowsOfTable


class StatisticsTableTestCase(SceneTest):
    def test_rows_come_back_with_types(self):
        rows = [{"region": "liver", "mean": 1.25e-3, "n": 12}, {"region": "3", "mean": None, "n": 7, "note": "small"}]
        node = createTable(self.scene, rows, "statistics")
        back = rowsOfTable(node)
        self.assertEqual(list(back[0]), ["region", "mean", "n", "note"])
        self.assertEqual(back[0], {"region": "liver", "mean": 1.25e-3, "n": 12.0, "note": ""})
        self.assertTrue(math.isnan(back[1]["mean"]))
        self.assertIsInstance(node.GetTable().GetColumnByName("region"), vtk.vtkStringArray)
        self.assertIsInstance(node.GetTable().GetColumnByName("mean"), vtk.vtkDoubleArray)

    def test_csv_is_read_with_exact_numbers_and_empty_cells(self):
        path = self.folder / "rows.csv"
        path.write_text("region,mean,unit\nliver,0.0010123456789012345,mm²/s\nnode,,mm²/s\n", encoding="utf-8")
        rows = readRows(path)
        self.assertEqual(rows[0], {"region": "liver", "mean": 0.0010123456789012345, "unit": "mm²/s"})
        self.assertIsNone(rows[1]["mean"])
