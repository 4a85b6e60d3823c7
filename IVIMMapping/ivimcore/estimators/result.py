"""What an estimator gives back: maps, errors, residual, and a sentence for every voxel."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

Array = np.ndarray


class Status(IntEnum):
    """Why a voxel has, or has not, a value. The sentence of each code is in `SENTENCES`."""

    OK = 0
    OUTSIDE = 1
    NOT_FINITE = 2
    NO_SIGNAL = 3
    NEGATIVE = 4
    NO_PERFUSION = 5
    AT_BOUND = 6
    NOT_CONVERGED = 7
    POOR_FIT = 8
    NO_DECAY = 9
    UNSEEN = 10


SENTENCES: dict[Status, str] = {
    Status.OK: "Fitted.",
    Status.OUTSIDE: "Outside the chosen region: not fitted.",
    Status.NOT_FINITE: "The signal contains NaN or infinity: no value.",
    Status.NO_SIGNAL: "The signal is zero in every image: no value.",
    Status.NEGATIVE: "The signal is not positive where the method takes its logarithm: no value.",
    Status.NO_PERFUSION: "No perfusion was found (f at its lower bound): D* is not determined and has no value.",
    Status.AT_BOUND: "A parameter lies at its bound: its value is the bound and its standard deviation is unknown.",
    Status.NOT_CONVERGED: "The search did not converge: the values are the best found, not the optimum.",
    Status.POOR_FIT: (
        "The curve misses the signal by more than 20 % of S0 (noise, motion, artefact, wrong b): do not trust."
    ),
    Status.UNSEEN: "The signal is unlike everything that the network was trained on: its value is a guess.",
    Status.NO_DECAY: "No positive signal fits these images (mostly negative values): no value.",
}


POOR = 0.2
"""Smallest RMSE / S0 [1] that is called a poor fit: pure noise of SNR 5 stays below."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """The result of a fit over a volume.

    `maps`: parameter key -> (x, y, z) float32, in the stored units of `ivimcore.physics.parameters`, NaN where there
    is no value; `errors`: standard deviations of the same keys, where the estimator has them; `residual`: (x, y, z)
    root mean square of measured minus fitted signal over the images used [signal units]; `status`: (x, y, z) uint8
    of `Status`; `provenance`: estimator, options, b-values used, versions, time; `extras`: further maps (x, y, z)
    float32, described in `ivimcore.physics.parameters.EXTRAS`.
    """

    maps: dict[str, Array]
    errors: dict[str, Array]
    residual: Array
    status: Array
    provenance: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Array] = field(default_factory=dict)

    def all_maps(self) -> dict[str, Array]:
        """Every float map under the name of its output file: parameters, `rmse`, `<key>_sd`, and the extras."""
        deviations = {f"{key}_sd": error for key, error in self.errors.items()}
        return {**self.maps, "rmse": self.residual, **deviations, **self.extras}

    def status_counts(self) -> dict[str, int]:
        """Number of voxels for each sentence that occurs, outside the region left out."""
        codes, counts = np.unique(self.status, return_counts=True)
        return {
            SENTENCES[Status(code)]: int(count)
            for code, count in zip(codes, counts, strict=True)
            if code != Status.OUTSIDE
        }
