"""Settings of pytest for the tests that need Slicer's libraries; the tests themselves also run in desktop Slicer."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # as desktop Slicer does for a test script, so that IVIMTestScene is found


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents:
            # vtk 9.6 sets the shape of arrays in place, which NumPy 2.5 announces to forbid.
            item.add_marker(pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning"))
