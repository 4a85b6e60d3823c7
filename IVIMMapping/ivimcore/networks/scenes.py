"""Small maps to train spatial networks on: which neighbours share their tissue, and what the tissue is.

The training sets of Kaandorp et al. (thesis, section 3.3, Paper III; full text not available, the details are ours):

* `patch_uni`: each neighbour either is equal to the centre of the patch or was drawn anew, a random number of them.
  A network that is run over the whole patch learns from every voxel of it: from those drawn anew, to stand alone.
* `mask_uni`: regions cut from the tissue masks of fractal maps; each region of a patch has values drawn uniformly.
* `patch_dist`, `mask_dist`: the same with the Gaussian values of the tissues of the test maps.
* `test`: as the test maps themselves, with the slow variation inside each tissue.
* `findings`: ours, for `anyprotocol_spatial`: any number of regions with any values, slow variation of any strength,
  small findings of one to five voxels that often differ in f alone, unlike neighbours, holes. It must teach both what
  neighbours are good for and when to distrust them.

Everything is drawn on the fly and follows from a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..physics.fractal import SEVEN_TISSUES, SMALLEST, GaussianTissue, fractal_fields
from .recipes import FINDING_SETTINGS
from .recipes import SCENES as KINDS
from .sampling import KEYS, Uniform

Tensor = torch.Tensor
Array = np.ndarray
MAP_SIZE = 32
"""Voxels along the edge of the maps of training, where the recipe names no size."""
MAP = 128
"""Voxels along the edge of the fractal maps from which masks are cut."""
TISSUE_BETA, VALUE_BETA = 3.4, 3.0
"""Exponents of the spectra of borders and of slow variation, those of `physics.fractal.fractal_maps`."""


def numpy_of(rng: torch.Generator) -> np.random.Generator:
    """Return a generator of numpy that follows from one of torch."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))


@dataclass(frozen=True)
class Tissues:
    """A table of tissues with Gaussian values."""

    table: tuple[GaussianTissue, ...] = SEVEN_TISSUES

    def moments(self) -> tuple[Array, Array]:
        """Return means and standard deviations (tissues, 4) of D, f, Dstar and S0."""
        pairs = np.array([[getattr(tissue, key) for key in KEYS] for tissue in self.table])
        return pairs[..., 0], pairs[..., 1]

    def rows(self, which: Array, deviation: Array) -> Array:
        """Return rows (..., 4) of tissues `which` (...), `deviation` (..., 4) standard deviations from their means."""
        mean, spread = self.moments()
        return np.maximum(mean[which] + spread[which] * np.clip(deviation, -3, 3), [SMALLEST[key] for key in KEYS])

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Draw rows (*shape, 4): a tissue at random, and a value of it."""
        return self.rows(rng.integers(len(self.table), size=shape), rng.standard_normal((*shape, 4)))


@dataclass(frozen=True)
class Ranges:
    """Uniform values of D, f, Dstar and S0."""

    low: Array
    high: Array

    @classmethod
    def of(cls, ranges: Mapping[str, Sequence[float]]) -> Ranges:
        """Make one from the ranges of D, f, Dstar and S0."""
        uniform = Uniform.of(ranges)
        return cls(uniform.low.numpy().astype(float), uniform.high.numpy().astype(float))

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Draw rows (*shape, 4)."""
        return self.low + (self.high - self.low) * rng.random((*shape, 4))


def patches(rng: np.random.Generator, count: int, size: int, values: Ranges | Tissues) -> Array:
    """Draw patches (count, size, size, 4) in which a random number of neighbours is equal to the centre.

    The number is uniform from none to all; which neighbours they are is random, so that nothing but their signal tells.
    The others are all different.
    """
    voxels, middle = size * size, size * size // 2
    rows = values.draw(rng, (count, voxels))
    equal = rng.integers(voxels, size=count)
    order = rng.random((count, voxels))
    order[:, middle] = -1.0
    rank = order.argsort(1).argsort(1)  # the centre has rank 0
    same = rank <= equal[:, None]
    return np.where(same[..., None], rows[:, middle : middle + 1], rows).reshape(count, size, size, 4)


def masks(rng: np.random.Generator, count: int, size: int, tissues: int) -> Array:
    """Cut tissue masks (count, size, size) out of fractal maps, as many non-overlapping pieces of each as there are."""
    across = max(1, MAP // size)
    maps = -(-count // across**2)
    fields = fractal_fields((MAP, MAP), np.full(maps * tissues, TISSUE_BETA), rng).reshape(maps, tissues, MAP, MAP)
    return _pieces(fields.argmax(1), size)[:count]


def _pieces(maps: Array, size: int) -> Array:
    """Cut maps (m, MAP, MAP, ...) into non-overlapping pieces (pieces, size, size, ...)."""
    across = max(1, MAP // size)
    used = across * size
    cut = maps[:, :used, :used].reshape(len(maps), across, size, across, size, *maps.shape[3:])
    return np.moveaxis(cut, 3, 2).reshape(-1, size, size, *maps.shape[3:])


@dataclass(frozen=True)
class Scenes:
    """Draws maps of the sets `kinds` in equal numbers: `size` voxels along their edge, values from `ranges` or
    `tissues`."""

    kinds: tuple[str, ...]
    size: int
    ranges: Ranges
    tissues: Tissues = Tissues()

    def sample(self, rng: torch.Generator, count: int) -> Tensor:
        """Draw rows of D, f, Dstar, S0: (count, size, size, 4), stored units."""
        numbers, of = numpy_of(rng), len(self.kinds)
        parts = [self._draw(kind, numbers, (count + of - 1 - place) // of) for place, kind in enumerate(self.kinds)]
        return torch.tensor(np.concatenate(parts), dtype=torch.float32)

    def _draw(self, kind: str, rng: np.random.Generator, count: int) -> Array:
        if kind.startswith("patch"):
            return patches(rng, count, self.size, self.ranges if kind == "patch_uni" else self.tissues)
        if kind == "test":
            return self._like_the_test(rng, count)
        number = len(self.tissues.table)
        mask = masks(rng, count, self.size, number)
        if kind == "mask_uni":
            table = self.ranges.draw(rng, (count, number))
        else:
            table = self.tissues.rows(np.arange(number)[None], rng.standard_normal((count, number, 4)))
        return table[np.arange(count)[:, None, None], mask]

    def _like_the_test(self, rng: np.random.Generator, count: int) -> Array:
        across = max(1, MAP // self.size)
        maps, number = -(-count // across**2), len(self.tissues.table)
        fields = fractal_fields((MAP, MAP), np.full(maps * number, TISSUE_BETA), rng)
        which = fields.reshape(maps, number, MAP, MAP).argmax(1)
        slow = fractal_fields((MAP, MAP), np.full(maps * 4, VALUE_BETA), rng).reshape(maps, 4, MAP, MAP)
        return _pieces(self.tissues.rows(which, np.moveaxis(slow, 1, -1)), self.size)[:count]


def scenes_of(about: Mapping[str, Any], ranges: Mapping[str, Sequence[float]]) -> Scenes:
    """Make the source that a recipe describes: {"kind": one of `KINDS` or a list, "size": voxels along the edge}.

    Raises InputError for another kind, and a size that is not a whole number from 3 to 128.
    """
    kinds, size = about.get("kind"), about.get("size", MAP_SIZE)
    kinds = tuple(kinds) if isinstance(kinds, list) and kinds else (kinds,)
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"Unknown distribution '{kind}' for a spatial network; choose among {', '.join(KINDS)}.")
    patched = any(kind.startswith("patch") for kind in kinds)
    if not isinstance(size, int) or not 3 <= size <= MAP or (patched and size % 2 == 0):
        raise InputError(f"The size of the training maps is {size!r}; give 3 to {MAP} voxels, odd for patches.")
    return Scenes(kinds, size, Ranges.of(ranges))


@dataclass(frozen=True)
class Findings:
    """Draws maps in which neighbours are mostly, but not always, alike; see the head of the file.

    `size` voxels along the edge. Values are shares of the ranges, 0..1.
    """

    size: int = MAP_SIZE
    most_tissues: int = 8
    most_findings: int = 10
    scattered: float = 0.08
    """Share of the maps in which some voxels are unlike everything around them."""
    with_holes: float = 0.3
    """Share of the maps with a region that is not a full square, or with holes."""

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
        """Draw shares of D, f, Dstar (count, x, y, 3), relative S0 (count, x, y) and the valid voxels (count, x, y)."""
        shape, many = (self.size, self.size), self.most_tissues
        fields = fractal_fields(shape, np.repeat(rng.uniform(2.4, 4.2, count), many), rng)
        fields = fields.reshape(count, many, *shape)
        number = 1 + (many * rng.random(count) ** 2).astype(int)  # most organs show few tissues at once
        fields[np.arange(many)[None] >= number[:, None]] = -np.inf
        which = fields.argmax(1)
        maps = np.arange(count)[:, None, None]
        share = rng.random((count, many, 3))[maps, which]
        slow = fractal_fields(shape, np.repeat(rng.uniform(2.6, 3.8, count), 4), rng).reshape(count, 4, *shape)
        strength = np.exp(rng.uniform(np.log(0.002), np.log(0.05), (count, 1, 1, 3)))
        strength *= rng.random((count, 1, 1, 1)) < 0.8  # the others are even inside each region
        share = share + strength * np.moveaxis(slow[:, :3], 1, -1)
        S0 = np.exp(rng.uniform(np.log(0.2), 0.0, (count, many)))[maps, which]
        even = rng.random(count) < 0.2
        S0[even] = 1.0
        S0 = S0 * np.exp(rng.uniform(0, 0.12, (count, 1, 1)) * slow[:, 3])
        for one_share, one_S0 in zip(share, S0, strict=True):
            self._put_findings(rng, one_share, one_S0)
        self._scatter(rng, share, S0)
        # Reflected at the ends of the range, so that no value piles up there.
        share = 1 - np.abs(1 - np.abs(share))
        return np.clip(share, 1e-4, 1 - 1e-4), S0, self._valid(rng, count)

    def _put_findings(self, rng: np.random.Generator, share: Array, S0: Array) -> None:
        """Put small findings into one map: blocks of 1 to 5 voxels, or thin lines, mostly different in f alone."""
        for _ in range(rng.integers(0, self.most_findings + 1)):
            if rng.random() < 0.2:
                extent = (1, rng.integers(4, self.size))
                extent = extent if rng.random() < 0.5 else extent[::-1]
            else:
                extent = rng.integers(1, 6, 2)
            x, y = (rng.integers(0, self.size - n + 1) for n in extent)
            place = (slice(x, x + extent[0]), slice(y, y + extent[1]))
            kind = rng.random()
            if kind < 0.6:  # f alone, up or down
                share[place][..., 1] *= np.exp(rng.uniform(0.2, 1.3) * (1 if rng.random() < 0.75 else -1))
            elif kind < 0.75:  # more and faster blood
                share[place][..., 1:] = rng.random(2)
            else:
                share[place] = rng.random(3)
                S0[place] *= np.exp(rng.uniform(-0.7, 0.7))

    def _scatter(self, rng: np.random.Generator, share: Array, S0: Array) -> None:
        """Draw single voxels of some maps anew, a random part of them."""
        part = rng.random((len(share), 1, 1)) * (rng.random((len(share), 1, 1)) < self.scattered)
        anew = rng.random(share.shape[:3]) < part
        share[anew] = rng.random((anew.sum(), 3))
        S0[anew] = np.exp(rng.uniform(np.log(0.2), 0.0, anew.sum()))

    def _valid(self, rng: np.random.Generator, count: int) -> Array:
        """Draw regions: mostly full squares, sometimes blobs, sometimes with single holes."""
        blob = fractal_fields((self.size, self.size), np.full(count, 3.5), rng) > rng.uniform(-1.0, 0.0, (count, 1, 1))
        holes = rng.random((count, self.size, self.size)) > 0.1 * rng.random((count, 1, 1))
        chosen = rng.random((count, 1, 1))
        valid = np.where(chosen < self.with_holes / 2, blob, np.where(chosen < self.with_holes, holes, True))
        valid[~valid.any((1, 2))] = True
        return valid


def findings_of(about: Mapping[str, Any]) -> Findings:
    """Make the source that a recipe describes: {"kind": "findings", "size", "most_findings", "scattered"}."""
    return Findings(**{key: about[key] for key in FINDING_SETTINGS if key in about})
