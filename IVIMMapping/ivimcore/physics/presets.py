"""Organ presets: bounds and typical values with their source.

The bounds stay broad on purpose: a bound drawn tightly around healthy tissue would turn a lesion into a number at the
bound. What an organ changes is what "typical tissue" means, and the bound only where the organ itself needs it.

The typical values are those that the OSIPI TF2.4 code collection compiled per organ from the papers named with each
preset (healthy tissue where the paper has it); they were not read again in the papers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import InputError
from .parameters import PARAMETERS, Bounds


def broad_bounds() -> dict[str, Bounds]:
    """Return the bounds of a fit for which no organ is chosen: D, f, Dstar in stored units."""
    return {key: PARAMETERS[key].bounds for key in ("D", "f", "Dstar")}


@dataclass(frozen=True)
class Preset:
    """Typical values and bounds of one organ; D and Dstar in mm²/s, f as a fraction."""

    name: str
    typical: dict[str, float]
    source: str
    bounds: dict[str, Bounds] = field(default_factory=broad_bounds)


def _tight(D: float, f: float, Dstar: float) -> dict[str, Bounds]:
    """Return broad bounds with lower maxima, for organs in which nothing larger is plausible."""
    return broad_bounds() | {"D": (0.0, D), "f": (0.0, f), "Dstar": (5e-3, Dstar)}


_TABLE = (
    Preset(
        "abdomen", {"D": 1.46e-3, "f": 0.21, "Dstar": 45e-3},
        "mean of the presets of liver, kidney and pancreas",
    ),
    Preset(
        "liver", {"D": 1.09e-3, "f": 0.23, "Dstar": 70e-3},
        "Li et al., Quant Imaging Med Surg 2017, doi 10.21037/qims.2017.02.03",
    ),
    Preset(
        "pancreas", {"D": 1.41e-3, "f": 0.20, "Dstar": 25e-3},
        "Zhu et al., Eur Radiol 2021, doi 10.1007/s00330-021-07891-9",
    ),
    Preset(
        "kidney", {"D": 1.89e-3, "f": 0.19, "Dstar": 41e-3},
        "Ljimani et al., MAGMA 2020, doi 10.1007/s10334-019-00790-y",
    ),
    Preset(
        "prostate", {"D": 1.5e-3, "f": 0.08, "Dstar": 25e-3},
        "Kuru et al., Eur Radiol 2014, doi 10.1007/s00330-014-3165-y",
    ),
    Preset(
        "brain", {"D": 0.83e-3, "f": 0.076, "Dstar": 11e-3},
        "Vieni et al., NeuroImage 2020, doi 10.1016/j.neuroimage.2019.116228; D up to 4e-3 keeps cerebrospinal fluid, "
        "f and D* bounded as no brain tissue comes near the broad bounds",
        _tight(4e-3, 0.5, 0.2),
    ),
    Preset(
        "breast", {"D": 1.43e-3, "f": 0.07, "Dstar": 52e-3},
        "Liang et al., Front Oncol 2020, doi 10.3389/fonc.2020.585486 (benign)",
    ),
    Preset(
        "head_and_neck", {"D": 1.0e-3, "f": 0.15, "Dstar": 25e-3},
        "Sumi et al., Dentomaxillofac Radiol 2012, doi 10.1259/dmfr/15696758",
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _TABLE}


def preset(name: str) -> Preset:
    """Return the preset of an organ; raises InputError with the list of organs for an unknown name."""
    if name not in PRESETS:
        raise InputError(f"Unknown organ '{name}'; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
