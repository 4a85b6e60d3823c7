"""The noise that a chosen region really has: it differs from that of the body where coils are near or organs move."""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _

from ivimcore import Acquisition, InputError
from ivimcore.physics.noise import estimate_sigma

from .RegionChoice import Region
from .SeriesReader import SeriesInScene

LEAST_VOXELS = 20
"""Voxels below which the median over them says little, so that the noise of the series is used."""
_SAMPLE = 2000


class RegionNoise:
    """Measures the noise of a region, and keeps the answer while region, b-values and images stay the same."""

    def __init__(self) -> None:
        self._basis: tuple = ()
        self._found: tuple[float | None, str] = (None, "")

    def measure(
        self, series: SeriesInScene, region: Region, bvalues: np.ndarray, used: np.ndarray
    ) -> tuple[float | None, str]:
        """Return the noise of one image [signal units] in the region and how it was found; None where nobody can tell.

        Arguments: `bvalues` (n,) [s/mm²] and `used` (n,) bool of all images.
        """
        basis = (region, bvalues.tobytes(), used.tobytes())
        if not self._basis or self._basis[0] is not region or self._basis[1:] != basis[1:]:
            self._basis, self._found = basis, self._measure(series, region, bvalues, used)
        return self._found

    @staticmethod
    def _measure(series, region, bvalues, used) -> tuple[float | None, str]:
        places = np.flatnonzero(region.mask)
        if places.size < LEAST_VOXELS:
            return None, ""
        places = places[:: max(1, places.size // _SAMPLE)]
        numbers = np.flatnonzero(used)
        rows = np.stack([series.image(int(number)).ravel()[places] for number in numbers], axis=-1)
        try:
            found = estimate_sigma(rows, Acquisition(bvalues[numbers]))
        except InputError:
            return None, ""
        return found.sigma, _("In this region: {method}").format(method=found.method)
