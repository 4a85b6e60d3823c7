"""Where the real measurements are that some tests need."""

import os
import unittest
from pathlib import Path


def sharedData():
    """Return the folder of real measurements: IVIM_TEST_DATA, else shared/data beside the project's folder.

    The test that asks is skipped where the folder does not exist.
    """
    named = os.environ.get("IVIM_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        raise unittest.SkipTest(f"the real measurements are not at {folder}; set IVIM_TEST_DATA to their folder")
    return folder
