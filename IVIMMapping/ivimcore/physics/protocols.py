"""Lists of b-values that papers and scanners use, by name, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .acquisition import Acquisition


@dataclass(frozen=True)
class Protocol:
    """A named list of b-values [s/mm²], one per image, with its source in one sentence."""

    name: str
    bvalues: tuple[float, ...]
    source: str

    def acquisition(self, sigma: float | None = None) -> Acquisition:
        """Return the acquisition of this protocol; `sigma` of each complex channel [signal units] where it is known."""
        return Acquisition(np.array(self.bvalues, dtype=float), sigma=sigma)


_ABDOMEN = (0, 10, 20, 30, 40, 50, 75, 100, 150, 250, 400, 600)
_ABDOMEN_IMAGES = (15, 9, 9, 9, 9, 9, 4, 12, 4, 4, 4, 16)

_TABLE = (
    Protocol(
        "paper1", (0, 5, 10, 20, 30, 40, 60, 150, 300, 500, 700),
        "Simulations of Kaandorp et al., Magn Reson Med 2021;86:2250, doi 10.1002/mrm.28852.",
    ),
    Protocol(
        "brain16", (0, 10, 20, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900),
        "Brain protocol of the glioma patients of Kaandorp et al. on deep learning IVIM (Paper II, section 2.1).",
    ),
    Protocol(
        "labels", (0, 10, 20, 30, 50, 80, 100, 200, 400, 800),
        "Zhao et al. 2015, as used by Epstein et al. on the choice of training labels (section 3.3).",
    ),
    Protocol(
        "abdomen12", _ABDOMEN,
        "The distinct b-values of the pancreas patients of Kaandorp et al., Magn Reson Med 2021;86:2250.",
    ),
    Protocol(
        "abdomen104", tuple(b for b, images in zip(_ABDOMEN, _ABDOMEN_IMAGES, strict=True) for _ in range(images)),
        "All images of the pancreas patients of Kaandorp et al., Magn Reson Med 2021;86:2250: directions not averaged.",
    ),
    Protocol(
        "abdomen9", (0, 10, 25, 50, 100, 200, 300, 400, 500),
        "Liver and pancreas of Wetscherek et al., Magn Reson Med 2015: ordinary and flow-compensated gradients.",
    ),
    Protocol(
        "clinical6", (0, 50, 100, 200, 400, 800),
        "A short list as a clinical abdominal examination can afford; ours, for the question how little is enough.",
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _TABLE}
"""Every protocol by its name."""


def protocol(name: str) -> Protocol:
    """Look up a protocol by name.

    Raises InputError, with the names there are, for another name.
    """
    if name not in PROTOCOLS:
        raise InputError(f"Unknown protocol '{name}'; choose one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
