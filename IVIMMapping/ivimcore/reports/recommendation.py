"""Which estimator to begin with, in one sentence: for `ivim info` and as a hint where a person chooses.

The rules condense the page `Resources/Documentation/which-estimator.md`, whose tables are measured.
"""

from __future__ import annotations

import numpy as np

from ..estimators import DEFAULT
from ..physics.acquisition import Acquisition

LOW_SNR, HIGH_SNR = 15.0, 50.0
"""S(b=0) / sigma of a voxel [1]: below, D* of a voxel is mostly the prior; above, all global methods come near."""


def recommend(acquisition: Acquisition, snr: float | None = None) -> str:
    """Recommend an estimator for an acquisition, with the reason.

    Arguments: `acquisition`; `snr` S(b=0) / sigma of a typical voxel [1], None where it is not known.
    Returns: one sentence or two, to be shown as they are.
    """
    distinct = acquisition.distinct
    if distinct.size < 4:
        return f"Use 'adc': with {distinct.size} different b-values f and D* cannot be told from D."
    if distinct.size < 5 or np.count_nonzero(distinct < 100) < 3:
        return (
            f"Use '{DEFAULT}' and look at its information maps: so few low b-values say something of f and next to "
            "nothing of D*."
        )
    if snr is None:
        return f"Use '{DEFAULT}': it shows in every voxel how much the images told, whatever the noise."
    if snr < LOW_SNR:
        return (
            f"Use '{DEFAULT}'; at SNR {snr:.0f} judge D and f by regions, and D* only where its information is high."
        )
    if snr < HIGH_SNR:
        return (
            f"Use '{DEFAULT}'; add 'nlls' where numbers are to be compared with published ones. D* needs the "
            "information map."
        )
    return f"Use '{DEFAULT}' or 'nlls': at SNR {snr:.0f} they come near each other; look where they differ."
