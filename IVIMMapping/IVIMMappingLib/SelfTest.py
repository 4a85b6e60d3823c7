"""The self test of the module: a small phantom through the whole way, from the series in the scene to its maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from ivimcore.physics.phantom import abdomen

from .MappingLogic import MappingLogic
from .PhantomSample import addPhantom
from .RegionSegments import regionMasks

SHAPE = (48, 48, 4)
REGION = "liver"
LARGEST_ERROR = {"D": 0.1, "f": 0.3}
"""Largest error of the median in the liver, as a part of the truth."""


def runSelfTest(logic, say: Callable[[str], object] = print) -> None:
    """Fit a phantom by two estimators in the real process and compare the medians of its liver with the truth.

    `logic` is a MappingLogic, or the module's logic that holds one; `say` shows a sentence. Raises AssertionError.
    """
    mapping = logic if isinstance(logic, MappingLogic) else logic.mapping
    say("Making a digital phantom")
    phantom = abdomen(shape=SHAPE, snr=40.0, seed=1)
    sequence, _, segmentation = addPhantom(mapping.scene, mapping.applicationLogic, phantom)
    say("Fitting it")
    maps = mapping.process(sequence, ("nlls", "posterior"), segmentation)
    for estimator, found in maps.items():
        inside = regionMasks(segmentation, found["D"])[REGION]
        for key, error in LARGEST_ERROR.items():
            median = float(np.nanmedian(slicer.util.arrayFromVolume(found[key]).transpose(2, 1, 0)[inside]))
            truth = float(np.median(phantom.truth[key][inside]))
            assert abs(median / truth - 1) < error, (
                f"{estimator}: the median of {key} in the {REGION} is {median:.4g}, the truth {truth:.4g}"
            )
    say("The maps agree with the truth")
