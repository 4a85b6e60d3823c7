"""How a series was measured: one b-value per image, with directions and noise where they are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError

ABSOLUTE_TOLERANCE = 1.0
RELATIVE_TOLERANCE = 0.01
LARGEST_WRONG_UNIT = 20.0


def group_bvalues(
    bvalues: np.ndarray, absolute: float = ABSOLUTE_TOLERANCE, relative: float = RELATIVE_TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Group images whose b-values differ only within a tolerance.

    Scanners write 995, 1000 and 1005 for one shell, and 0.003 for b = 0; 5 and 10 s/mm² are different measurements.
    Sorted b-values start a new group where the step to the first of the group exceeds `absolute` + `relative` * b.

    Arguments: `bvalues` (n,) [s/mm²]; `absolute` [s/mm²]; `relative` [1].
    Returns: mean b-value of each group, ascending (m,) [s/mm²]; index of the group of each image (n,).
    """
    bvalues = np.asarray(bvalues, dtype=float)
    order = np.argsort(bvalues, kind="stable")
    group = np.empty(bvalues.size, dtype=int)
    number, first = -1, -np.inf
    for index in order:
        b = bvalues[index]
        if b - first > absolute + relative * first or number < 0:
            number, first = number + 1, b
        group[index] = number
    sums = np.bincount(group, weights=bvalues)
    return sums / np.bincount(group), group


@dataclass(frozen=True, eq=False)
class Acquisition:
    """The b-values of a series, one per image, and what else is known of its measurement.

    Arguments: `bvalues` (n,) [s/mm²], in the order of the images, unsorted and repeated as they come;
    `directions` (n, 3) unit vectors, zero where there is none, or None; `sigma` standard deviation of each complex
    Gaussian channel [signal units], or None where it is not known.

    Raises InputError for an empty list, NaN, negative values, and values that look like ms/µm².
    """

    bvalues: np.ndarray
    directions: np.ndarray | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        bvalues = np.array(self.bvalues, dtype=float, ndmin=1)
        if bvalues.ndim != 1 or bvalues.size == 0:
            raise InputError("There are no b-values; give one b-value in s/mm² for each image.")
        if not np.isfinite(bvalues).all():
            bad = ", ".join(str(i + 1) for i in np.flatnonzero(~np.isfinite(bvalues))[:5])
            raise InputError(f"The b-value of image {bad} is not a number; correct the b-value list.")
        if (bvalues < 0).any():
            bad = int(np.argmax(bvalues < 0))
            raise InputError(
                f"The b-value of image {bad + 1} is negative ({bvalues[bad]:g} s/mm²); correct the b-value list."
            )
        if 0 < bvalues.max() <= LARGEST_WRONG_UNIT:
            raise InputError(
                f"The largest b-value is {bvalues.max():g} s/mm², which looks like ms/µm²; "
                "multiply the b-values by 1000 so that they are in s/mm²."
            )
        bvalues.flags.writeable = False
        object.__setattr__(self, "bvalues", bvalues)
        if self.directions is not None:
            directions = np.array(self.directions, dtype=float)
            if directions.shape != (bvalues.size, 3):
                raise InputError(
                    f"There are {bvalues.size} b-values but directions of shape {directions.shape}; "
                    f"give one direction (x, y, z) per image, or none at all."
                )
            directions.flags.writeable = False
            object.__setattr__(self, "directions", directions)
        if self.sigma is not None and not (np.isfinite(self.sigma) and self.sigma > 0):
            raise InputError(f"The noise level sigma is {self.sigma}; give a positive number in signal units, or none.")

    @property
    def count(self) -> int:
        """Number of images."""
        return self.bvalues.size

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct b-values, ascending (m,) [s/mm²], and the group of each image (n,); see `group_bvalues`."""
        return group_bvalues(self.bvalues)

    @property
    def distinct(self) -> np.ndarray:
        """Distinct b-values, ascending (m,) [s/mm²]."""
        return self.groups()[0]

    def select(self, images: np.ndarray) -> Acquisition:
        """Return the acquisition of some of the images; `images` are indices or a boolean list (n,)."""
        images = np.asarray(images)
        directions = None if self.directions is None else self.directions[images]
        return replace(self, bvalues=self.bvalues[images], directions=directions)
