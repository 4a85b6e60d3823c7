"""What is known of D, f and D* before a voxel is looked at: probability of every cell of a grid.

A prior can be made (uniform, log-uniform in the rates, of an organ), learned (`learning`), saved, read again and used
with another grid: it is stored with the edges of its cells, and its density is what is carried over.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..physics.parameters import PARAMETERS
from ..physics.presets import PRESETS, preset
from ..wholefile import whole_file
from .grid import COORDINATE, KEYS, Grid

Array = np.ndarray
FORMAT = "ivim-prior-1"
LARGEST_FILE = 32 << 20
"""Bytes that a prior file may take, packed or unpacked; the largest grid needs a hundredth."""
SLOWEST = 1e-4
"""Rate [mm²/s] below which `log_uniform` is uniform: a density 1/D has no integral down to zero."""
SPREAD = {"D": 0.4, "f": 0.7, "Dstar": 0.8}
"""Standard deviations of the logarithms in the prior of an organ: wide enough for its diseases."""
BROAD_SHARE = 0.2
"""Share of the uniform prior in that of an organ, for tissue that is not the organ."""


@dataclass(frozen=True, eq=False)
class Prior:
    """A probability for every cell of a grid.

    `kind` how it was made; `edges` of the cells of D, f, Dstar in stored units (two equal numbers where fixed); `mass`
    (D, f, Dstar) summing to 1; `about` where it comes from (JSON).
    """

    kind: str
    edges: tuple[Array, Array, Array]
    mass: Array
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def checksum(self) -> str:
        """SHA-256 of the numbers: equal priors have equal checksums, whatever their file is called."""
        digest = hashlib.sha256(self.kind.encode())
        for array in (*self.edges, self.mass):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    def nodes(self, key: str) -> Array:
        """Middle of each cell (n,) in the coordinate of equal steps, as a stored value."""
        to, back = COORDINATE[key]
        edges = to(self.edges[KEYS.index(key)])
        return back((edges[1:] + edges[:-1]) / 2)

    def marginal(self, key: str) -> Array:
        """Probability of each cell (n,) of one parameter."""
        axis = KEYS.index(key)
        return self.mass.sum(axis=tuple(i for i in range(3) if i != axis))

    def moments(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of D, f and Dstar in stored units."""
        found = {}
        for key in KEYS:
            nodes, share = self.nodes(key), self.marginal(key)
            mean = float(nodes @ share)
            found[key] = (mean, float(np.sqrt(((nodes - mean) ** 2) @ share)))
        return found

    def on(self, grid: Grid) -> Array:
        """Return the probability of every node of a grid (g,) summing to 1, in the layout of the grid.

        The density of the cell that a node lies in is taken, zero outside the cells. Raises InputError where the prior
        leaves nothing inside the bounds of the grid.
        """
        volume = grid.unflatten(grid.volume)
        if self._fits(grid):
            mass = self.mass
        else:
            density, index, inside = self._density(), [], []
            for axis, edges in zip(grid.axes, self.edges, strict=True):
                margin = 1e-9 * edges[-1]
                cells = max(edges.size - 1, 1)
                index.append(np.clip(np.searchsorted(edges, axis.nodes, side="right") - 1, 0, cells - 1))
                inside.append((axis.nodes >= edges[0] - margin) & (axis.nodes <= edges[-1] + margin))
            within = inside[0][:, None, None] & inside[1][:, None] & inside[2]
            mass = density[np.ix_(*index)] * volume * within
        total = mass.sum()
        if not total > 0:
            raise InputError(
                "The prior gives no probability to anything inside the bounds; widen the bounds or use another prior."
            )
        return grid.flatten(mass / total)

    def _fits(self, grid: Grid) -> bool:
        return all(
            axis.edges.size == edges.size and np.allclose(axis.edges, edges, rtol=1e-12, atol=0)
            for axis, edges in zip(grid.axes, self.edges, strict=True)
        )

    def _density(self) -> Array:
        widths = [np.diff(edges) if edges[-1] > edges[0] else np.ones(1) for edges in self.edges]
        return self.mass / (widths[0][:, None, None] * widths[1][:, None] * widths[2])

    def save(self, path: str | os.PathLike) -> None:
        """Write the prior to a file (.npz: arrays and a JSON text, no pickles), whole or not at all."""
        path = Path(path)
        about = {"format": FORMAT, "kind": self.kind, "about": self.about, "checksum": self.checksum}
        text = np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8)
        with whole_file(path) as unfinished, open(unfinished, "wb") as stream:
            np.savez_compressed(stream, json=text, mass=self.mass, **dict(zip(KEYS, self.edges, strict=True)))


def load_prior(path: str | os.PathLike) -> Prior:
    """Read a prior from a file that `Prior.save` wrote.

    Raises InputError, in one sentence, for a file that is missing, too large, damaged, or no prior. No code of the
    file is ever run.
    """
    path = Path(path)
    wrong = f"The prior file {path.name} cannot be used: "
    if not path.is_file():
        raise InputError(f"There is no prior file {path}; give the path of a saved prior.")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if max(size, path.stat().st_size) > LARGEST_FILE:
            raise InputError(wrong + "it is larger than any prior; learn it again.")
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(bytes(content["json"]).decode())
            edges = tuple(np.array(content[key], dtype=float) for key in KEYS)
            mass = np.array(content["mass"], dtype=float)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        raise InputError(wrong + "it is damaged or no prior of this program; learn it again.") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT or not isinstance(about.get("about"), dict):
        raise InputError(wrong + "it is of another format; learn it again.")
    sound = (
        all(e.ndim == 1 and e.size >= 2 and np.isfinite(e).all() and (e >= 0).all() for e in edges)
        and all((np.diff(e) > 0).all() or (e.size == 2 and e[0] == e[1]) for e in edges)
        and mass.shape == tuple(e.size - 1 for e in edges) and np.isfinite(mass).all() and (mass >= 0).all()
        and abs(mass.sum() - 1) < 1e-6
    )
    prior = Prior(str(about.get("kind")), edges, mass, about["about"])
    if not sound or prior.checksum != about.get("checksum"):
        raise InputError(wrong + "its numbers do not agree with its checksum; learn it again.")
    return prior


def _made(kind: str, grid: Grid, density: Array, about: Mapping[str, Any] | None = None) -> Prior:
    mass = density * grid.unflatten(grid.volume)
    return Prior(kind, tuple(axis.edges for axis in grid.axes), mass / mass.sum(), dict(about or {}))


def uniform(grid: Grid) -> Prior:
    """Make the prior that is uniform in D, f and Dstar inside the bounds of a grid."""
    return _made("uniform", grid, np.ones(tuple(axis.nodes.size for axis in grid.axes)))


def log_uniform(grid: Grid) -> Prior:
    """Make the prior that is uniform in ln D, f and ln Dstar; below 1e-4 mm²/s it is uniform in the rate."""
    D, Dstar = (1 / np.maximum(grid.axes[i].nodes, SLOWEST) for i in (0, 2))
    return _made("log_uniform", grid, D[:, None, None] * np.ones(grid.axes[1].nodes.size)[:, None] * Dstar)


def of_organ(name: str, grid: Grid) -> Prior:
    """Make the prior of an organ: lognormal around its typical values, with a fifth of the uniform prior.

    Arguments: `name` of a preset; `grid`. Raises InputError for "none" and unknown names.
    """
    if name == "none":
        raise InputError(f"The prior 'organ' needs to know which: set option 'organ' to one of {', '.join(PRESETS)}.")
    typical = preset(name).typical
    shape = np.ones(1)
    for axis in grid.axes:
        nodes = np.maximum(axis.nodes, 1e-9)
        one = np.exp(-0.5 * (np.log(nodes / typical[axis.key]) / SPREAD[axis.key]) ** 2) / nodes
        shape = shape[..., None] * one
    shape = shape.reshape(tuple(axis.nodes.size for axis in grid.axes))
    flat = uniform(grid)
    peaked = _made("organ", grid, shape, {"organ": name})
    return Prior("organ", peaked.edges, (1 - BROAD_SHARE) * peaked.mass + BROAD_SHARE * flat.mass, peaked.about)


def describe(prior: Prior) -> dict[str, Any]:
    """Collect what the provenance says of a prior: kind, checksum, origin, mean and standard deviation."""
    return {
        "kind": prior.kind, "checksum": prior.checksum, **prior.about,
        "mean_and_sd": {PARAMETERS[key].key: list(pair) for key, pair in prior.moments().items()},
    }
