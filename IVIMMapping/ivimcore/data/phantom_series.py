"""A phantom as the series that a reader would have returned."""

from __future__ import annotations

from ..physics.phantom import Phantom
from .series import DwiSeries, Geometry


def series_of_phantom(phantom: Phantom) -> DwiSeries:
    """Turn a phantom into a series with its geometry and b-values; the truth stays with the phantom."""
    return DwiSeries(
        phantom.signal,
        Geometry(tuple(phantom.labels.shape), phantom.affine),
        phantom.acquisition,
        bvalue_source="the protocol of the digital phantom",
        format="digital phantom",
        decisions=(f"Simulated; Rician noise of sigma {phantom.sigma:g} signal units.",),
    )
