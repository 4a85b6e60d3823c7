"""The Slicer side of IVIMMapping: the only package that imports slicer and vtk. It uses ivimcore, never the reverse."""
