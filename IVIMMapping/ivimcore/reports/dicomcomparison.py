"""The ADC of a scanner or of another program beside ours, region by region, with the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.series import Geometry
from ..errors import InputError
from .dicomimport import Imported, on_grid
from .dicomsource import MANUFACTURER
from .roistatistics import regions_of

Array = np.ndarray


def compare_adc(
    found: Imported, maps: Mapping[str, Array], geometry: Geometry, labels: Any = None, names: Any = None,
    estimator: str = "",
) -> list[dict[str, Any]]:
    """Put each ADC map of a scanner beside ours: rows of region, ours, scanner, difference [mm²/s] and [%].

    Ours is ADC where there is one, else D; both medians over the voxels of the region where both have a value.
    """
    ours = next((key for key in ("ADC", "D") if key in maps), None)
    others = [one for one in found.maps if one.key == "ADC" and one.origin != MANUFACTURER]
    if ours is None or not others:
        raise InputError("There is no ADC map of a scanner beside one of ours to compare; give both.")
    rows = []
    for one in others:
        theirs = on_grid(one, geometry).volume
        for region, inside in regions_of(labels, names, geometry.shape, None).items():
            both = inside & np.isfinite(theirs) & np.isfinite(maps[ours])
            mine, other = (float(np.median(v[both])) if both.any() else np.nan for v in (maps[ours], theirs))
            rows.append({
                "estimator": estimator, "map": ours, "scanner": one.label, "region": region, "n": int(both.sum()),
                "ours": mine, "theirs": other, "difference": mine - other,
                "difference_percent": 100 * (mine - other) / other if other else np.nan,
            })  # fmt: skip
    return rows
