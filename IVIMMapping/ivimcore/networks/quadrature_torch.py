"""The sums of `estimators.quadrature` and the numbers of `estimators.summary` with torch, on a GPU.

Same nodes, same formulas, same order of work: the sums over nodes in float32, the largest exponent subtracted, all that
follows from the marginal distributions in float64. Voxels are sorted by the layers of D that matter and treated in
blocks as there, only larger ones; layers that a voxel does not need weigh nothing. What the grid does not resolve is
refined afterwards by `estimators.refinement`, in numpy.

Sums are over axes, never scattered additions, and the size of a block does not follow the memory as long as there is
enough of it: a second run on the same device is meant to give the same bits. That is tested on processors only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..errors import InputError
from ..estimators.grid import COORDINATE, KEYS, NARROW, Grid
from ..estimators.quadrature import Data, Reference, least_residual, reference
from ..estimators.summary import Summary, share_above
from ..physics.parameters import PERFUSION_EXISTS

Array = np.ndarray
Tensor = torch.Tensor
LARGEST_BLOCK = {"cuda": 4096, "cpu": 192}
"""Voxels in one block, by kind of device: enough to keep a GPU busy, few enough for the cache of a core."""
COPIES = 6
"""Arrays of voxels times nodes that are alive at once, at most."""
SHARE_OF_MEMORY = 0.5
"""Share of the free memory of a GPU that a block may take; a desktop draws its windows with the same memory."""
_ONE_AT_A_TIME = threading.Lock()
"""Chunks come from several threads; two on one device would each take the memory that the other has counted on."""


def default_device() -> str:
    """Name the device that torch computes on: "cuda" where there is a GPU of NVIDIA, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def about_device(device: str) -> dict[str, str]:
    """Describe torch and a device for the provenance: name of the back end, its version, device."""
    shown = f"cuda, {torch.cuda.get_device_name()}" if device == "cuda" else device
    return {"name": "torch", "version": str(torch.__version__), "device": shown}


def grid_pass(
    data: Data, grid: Grid, log_mass: Array, ratio: Array | None, first: Array, last: Array, into: Summary, mode: bool,
    device: str,
) -> None:
    """Sum the posterior of voxels over the grid and write what is asked for into a summary.

    Arguments: `log_mass` (g,) float32 logarithm of the prior of each node minus ln |m|; `ratio` (v, coarse D, cell)
    float32 prior of each voxel over that one, or None; `first`, `last` (v,) layers from `quadrature.profile`; `into`
    receives the numbers in stored units; `mode` also finds the node of largest density; `device` "cuda" or "cpu".
    Raises InputError where not even one voxel fits into the memory of the GPU.
    """
    order = np.lexsort((first, last))
    with _ONE_AT_A_TIME, torch.inference_mode():
        nodes = _nodes(grid, device)
        prior = torch.as_tensor(log_mass, dtype=torch.float32, device=device)
        size = _block_size(grid, device)
        waiting = [order[start : start + size] for start in range(0, order.size, size)][::-1]
        while waiting:
            voxels = waiting.pop()
            layers = slice(int(first[voxels].min()), int(last[voxels].max()))
            try:
                block = _Block(data, grid, nodes, voxels, layers, prior, ratio, first[voxels], last[voxels])
                found = block.summary(into.levels, mode)
            except torch.cuda.OutOfMemoryError:
                found = None
            if found is not None:
                _write(found, voxels, grid, into)
            elif voxels.size > 1:
                # Somebody else has taken memory since it was counted.
                waiting += [voxels[voxels.size // 2 :], voxels[: voxels.size // 2]]
            else:
                raise InputError("The GPU has no memory left for this fit; close what uses it, or set backend=numpy.")


def _block_size(grid: Grid, device: str) -> int:
    """Count the voxels whose sums fit into the free memory of a device, at most LARGEST_BLOCK."""
    most = LARGEST_BLOCK[device]
    if device != "cuda":
        return most
    # What torch has reserved and does not use at the moment is free for it, too.
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return int(max(1, min(most, SHARE_OF_MEMORY * free / (COPIES * 4 * grid.length.size))))


@dataclass(frozen=True, eq=False)
class _Nodes:
    """What the sums need of a grid, on a device.

    float32: `inverse` (g,) 1 / |m|, `volume` (g,) of the cells in stored units. float64: `value` and `coordinate` key
    -> (n,) nodes, `edges` key -> (n + 1,) edges in the coordinate, `above` (n,) share of the cells of f in which there
    is perfusion. `order` (p,) place in a layer of each pair of f and Dstar.
    """

    inverse: Tensor
    volume: Tensor
    value: dict[str, Tensor]
    coordinate: dict[str, Tensor]
    edges: dict[str, Tensor]
    above: Tensor
    order: Tensor


@lru_cache(maxsize=2)
def _nodes(grid: Grid, device: str) -> _Nodes:
    single = lambda array: torch.tensor(array, dtype=torch.float32, device=device)  # noqa: E731
    double = lambda array: torch.tensor(array, dtype=torch.float64, device=device)  # noqa: E731
    pair = grid.plane[0] * grid.axes[2].nodes.size + grid.plane[1]
    return _Nodes(
        single(1.0 / grid.length), single(grid.volume),
        {axis.key: double(axis.nodes) for axis in grid.axes},
        {axis.key: double(axis.coordinates) for axis in grid.axes},
        {axis.key: double(COORDINATE[axis.key][0](axis.edges)) for axis in grid.axes},
        double(share_above(grid.axes[1], PERFUSION_EXISTS)), torch.tensor(np.argsort(pair), device=device),
    )  # fmt: skip


@lru_cache(maxsize=16)
def _unit(about: Reference, device: str) -> Tensor:
    return torch.tensor(about.unit, dtype=torch.float32, device=device)


class _Block:
    """Weights of some voxels (m,) over a piece of the grid (g,), and the numbers drawn from them.

    `z` (m, g) projections x.u, `weight` (m, g) likelihood times prior, both float32; `share` key -> (m, n) marginal
    probabilities, `pairs` (m, f, Dstar) joint ones, float64.
    """

    def __init__(
        self, data: Data, grid: Grid, nodes: _Nodes, voxels: Array, layers: slice, log_mass: Tensor,
        ratio: Array | None, first: Array, last: Array,
    ) -> None:
        self.data, self.grid, self.nodes, self.voxels, self.layers = data, grid, nodes, voxels, layers
        self.device = log_mass.device
        per_layer = grid.plane.shape[1]
        self.piece = slice(layers.start * per_layer, layers.stop * per_layer)
        about = reference(grid, layers)
        x = self._send(data.x[voxels] @ about.rotation)
        # Seen from a direction amid the nodes, as in `quadrature`.
        self.beside = (x[:, 1:] ** 2).sum(dim=1) + self._send(data.rest[voxels])
        self.whole = self.beside + x[:, 0] ** 2
        x = x.float()
        self.z = self._project(x, _unit(about, self.device.type)[:, self.piece])
        self.weight = self._weight(x[:, :1], log_mass[self.piece])
        if ratio is not None:
            own = self._between_layers(self._send(ratio[voxels], torch.float32))
            self.weight.view(voxels.size, -1, *grid.shape[1:]).mul_(own[:, :, None, :])
        self.layered = self.weight.view(voxels.size, -1, per_layer)
        if (first > layers.start).any() or (last < layers.stop).any():
            number = np.arange(layers.start, layers.stop)
            unneeded = (number < first[:, None]) | (number >= last[:, None])
            self.layered.masked_fill_(self._send(unneeded, torch.bool)[:, :, None], 0.0)
        D, plane = self.layered.sum(dim=2).double(), self.layered.sum(dim=1).double()
        self.total = D.sum(dim=1)
        plane /= plane.sum(dim=1, keepdim=True)
        self.pairs = plane[:, nodes.order].view(voxels.size, grid.axes[1].nodes.size, grid.axes[2].nodes.size)
        self.share = {"D": D / self.total[:, None], "f": self.pairs.sum(dim=2), "Dstar": self.pairs.sum(dim=1)}

    def _send(self, array: Array, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=self.device)

    def _of_layers(self, values: Tensor, key: str) -> Tensor:
        """Keep of the nodes of D those of this piece; the other parameters are always whole."""
        return values[self.layers] if key == "D" else values

    def _project(self, x: Tensor, unit: Tensor) -> Tensor:
        """Multiply data (m, r) with the unit signals, without a matrix product: torch may be set to shorten those.

        With the three digits of TF32 or bfloat16, exp((x.u)² / 2) would have none from SNR 20 on; r is about ten.
        """
        z = x[:, :1] * unit[0]
        for number in range(1, unit.shape[0]):
            z.addcmul_(x[:, number : number + 1], unit[number])
        return z

    def _weight(self, along: Tensor, log_mass: Tensor) -> Tensor:
        """Return the weights of the nodes, and make `z` whole: it lacks `along` (m, 1), the same at all nodes."""
        weight = (self.z * 0.5).add_(along).mul_(self.z)
        self.z += along
        if self.data.freedom is not None:
            weight.mul_(-2).add_(self.beside.float()[:, None]).clamp_(min=0).add_(least_residual(self.data))
            weight.log_().mul_(-0.5 * self.data.freedom)
        weight += log_mass
        weight -= weight.amax(dim=1, keepdim=True)
        return weight.exp_()

    def _between_layers(self, ratio: Tensor) -> Tensor:
        """Interpolate a ratio (m, coarse D, cell) to the layers of D of this piece; see `learning.between_layers`."""
        group, coarse = self.grid.axes[0].group, ratio.shape[1]
        place = (np.arange(self.layers.start, self.layers.stop) + 0.5) / group - 0.5
        low = np.clip(np.floor(place).astype(int), 0, max(coarse - 2, 0))
        share = self._send(np.clip(place - low, 0, 1), torch.float32)[:, None]
        high = self._send(np.minimum(low + 1, coarse - 1), torch.int64)
        return torch.lerp(ratio[:, self._send(low, torch.int64)], ratio[:, high], share)

    def summary(self, levels: tuple[float, ...], mode: bool) -> dict[str, Array]:
        """Return the numbers by name, arrays (m, ...) float64; quantiles, centre and spread in the coordinates.

        `centre` and `spread` are NaN for voxels that the grid resolves. The weights are used up.
        """
        share, value = self.share, {key: self._of_layers(self.nodes.value[key], key) for key in KEYS}
        mean = {key: share[key] @ value[key] for key in KEYS}
        sd = {key: (share[key] * (value[key] - mean[key][:, None]) ** 2).sum(dim=1).sqrt() for key in KEYS}
        both = (self.pairs @ value["Dstar"]) @ value["f"] - mean["f"] * mean["Dstar"]
        found = {f"mean {key}": mean[key] for key in KEYS} | {f"sd {key}": sd[key] for key in KEYS}
        found["rho"] = (both / (sd["f"] * sd["Dstar"])).clamp(-1, 1)
        found["f_probability"] = (share["f"] @ self.nodes.above).clamp(max=1.0)
        if levels:
            found |= {f"quantiles {key}": self._quantiles(key, levels) for key in KEYS}
        if mode:
            best = (self.weight / self.nodes.volume[self.piece]).argmax(dim=1)
            place = self._send(self.grid.plane, torch.int64)[:, best % self.layered.shape[2]]
            found["mode D"] = value["D"][best // self.layered.shape[2]]
            found["mode f"], found["mode Dstar"] = value["f"][place[0]], value["Dstar"][place[1]]
        found["centre"], found["spread"] = self._spread()
        found["mean S0"], found["sd S0"] = self._S0()
        return {name: numbers.cpu().numpy() for name, numbers in found.items()}

    def _quantiles(self, key: str, levels: tuple[float, ...]) -> Tensor:
        """Quantiles of a marginal (m, q) in the coordinate, spread evenly inside each cell; see `summary.quantiles`."""
        share = self.share[key]
        edges = self.nodes.edges[key]
        if key == "D":
            edges = edges[self.layers.start : self.layers.stop + 1]
        # A running sum as a product: on a GPU its own order of additions may change from run to run.
        reached = share @ torch.ones(share.shape[1], share.shape[1], dtype=share.dtype, device=self.device).triu()
        level = self._send(np.array(levels))
        cell = (reached[:, :, None] < level).sum(dim=1).clamp(max=share.shape[1] - 1)
        inside = share.gather(1, cell)
        part = ((level - reached.gather(1, cell) + inside) / inside.clamp(min=1e-30)).clamp(0, 1)
        return edges[cell] + part * (edges[cell + 1] - edges[cell])

    def _spread(self) -> tuple[Tensor, Tensor]:
        """Mean (m, 3) and covariance (m, 3, 3) in the coordinates of voxels to be refined; see `summary._spread`."""
        steps = [np.ptp(u) / (u.size - 1) if u.size > 1 else 0.0 for u in (axis.coordinates for axis in self.grid.axes)]
        u = [self._of_layers(self.nodes.coordinate[key], key) for key in KEYS]
        mean = torch.stack([self.share[key] @ u[i] for i, key in enumerate(KEYS)], dim=1)
        square = torch.stack([self.share[key] @ u[i] ** 2 for i, key in enumerate(KEYS)], dim=1)
        least = (NARROW * self._send(np.array(steps))) ** 2
        coarse = ((square - mean**2 < least) & (least > 0)).any(dim=1)
        at = torch.nonzero(coarse | (self._send(self.data.blur[self.voxels]) < 1))[:, 0]
        spread = torch.full((self.voxels.size, 3, 3), torch.nan, dtype=mean.dtype, device=self.device)
        centre = torch.full_like(mean, torch.nan)
        if at.numel() == 0:
            return centre, spread
        centre[at] = mean[at]
        parts = [u[i] - mean[at, i : i + 1] for i in range(3)]
        own = torch.empty((at.numel(), 3, 3), dtype=mean.dtype, device=self.device)
        for i, key in enumerate(KEYS):
            own[:, i, i] = (self.share[key][at] * parts[i] ** 2).sum(dim=1).clamp(min=float(least[i]))
        along_D = (self.layered[at] * parts[0].float()[:, :, None]).sum(dim=1).double() / self.total[at, None]
        along_D = along_D[:, self.nodes.order].view(-1, *self.pairs.shape[1:])
        own[:, 0, 1] = (along_D.sum(dim=2) * parts[1]).sum(dim=1)
        own[:, 0, 2] = (along_D.sum(dim=1) * parts[2]).sum(dim=1)
        own[:, 1, 2] = ((self.pairs[at] @ parts[2][:, :, None])[:, :, 0] * parts[1]).sum(dim=1)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            own[:, j, i] = own[:, i, j]
        spread[at] = own
        return centre, spread

    def _S0(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of S0 (m,) [signal units]; `z` is overwritten. See `summary._S0`."""
        inverse, unit = self.nodes.inverse[self.piece], self._send(self.data.unit[self.voxels])
        average = lambda values: (values * self.weight).sum(dim=1) / self.total  # noqa: E731
        given = average(inverse * inverse)
        if self.data.freedom is not None:
            left = (self.whole - average(self.z * self.z)).clamp(min=0)
            given = given * (left + least_residual(self.data)) / max(self.data.freedom - 2, 1.0)
        self.z *= inverse
        mean = average(self.z)
        self.z -= mean.float()[:, None]
        variance = average(self.z.square_())
        return mean * unit, (variance + given).sqrt() * unit


def _write(found: dict[str, Array], at: Array, grid: Grid, into: Summary) -> None:
    """Put the numbers of a block to their voxels, quantiles back into stored units."""
    for name, numbers in found.items():
        kind, _, key = name.partition(" ")
        if kind == "quantiles":
            axis = next(axis for axis in grid.axes if axis.key == key)
            fixed = axis.nodes.size == 1
            into.quantiles[key][at] = axis.nodes[0] if fixed else COORDINATE[key][1](numbers)
        elif key:
            getattr(into, kind)[key][at] = numbers
        else:
            getattr(into, kind)[at] = numbers
