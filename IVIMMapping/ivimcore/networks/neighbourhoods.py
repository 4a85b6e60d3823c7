"""Attention of every voxel to the window around it: one function, two back ends of equal result.

Windows are centred. A neighbour outside the image, outside the region or without a number is left out by masking: it
gets no weight, instead of the weight of a voxel of zeros. With the weighted mean comes the logarithm of the sum of the
weights before they were normalised: how much of the window resembled the voxel, which the mean alone does not tell.

Back ends: `natten` (Hassani et al., Neighborhood attention transformer, CVPR 2023) where its kernels can run, on a GPU;
plain torch everywhere else, in blocks of queries that share the keys of the blocks around. Weights do not depend on the
back end.
"""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional

Tensor = torch.Tensor
Window = tuple[int, int, int]
"""Odd extents of a window along x, y and z, in voxels."""
NEVER = -1e9
"""Score of a neighbour that is left out; finite, so that a voxel without any neighbour gives no NaN."""
BACKENDS = ("auto", "reference", "natten")
_FEWEST_CHANNELS = 8
"""Channels that a head has at least for natten; more come in powers of two, which all of its kernels take."""


def neighbourhood_attention(
    query: Tensor, key: Tensor, value: Tensor, window: Window, valid: Tensor, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Average the values in the window of each voxel, weighted by the likeness of query and key.

    Arguments: `query`, `key`, `value` (m, x, y, z, heads, channels); `window`; `valid` (m, x, y, z) of bool, voxels
    that may be attended to; `backend` "auto", "reference" or "natten".
    Returns: averages (m, x, y, z, heads, channels), and the logarithm of the summed weights (m, x, y, z, heads), which
    is about `NEVER` for voxels without any valid neighbour. Raises ValueError for an even window or another back end.
    """
    if backend not in BACKENDS or any(n < 1 or n % 2 == 0 for n in window):
        raise ValueError(f"a window has odd extents and a known back end, not {window} and '{backend}'")
    alone = max(window) == 1  # no neighbourhood, which natten refuses
    if not alone and (backend == "natten" or (backend == "auto" and natten_is_faster(query.device))):
        return _with_natten(query, key, value, window, valid)
    return _reference(query, key, value, window, valid)


def natten_is_faster(device: torch.device) -> bool:
    """Tell whether natten is the better back end: its kernels exist for GPUs only.

    Its path for processors (0.21.7) has no backward pass and holds all scores of an image at once.
    """
    if device.type != "cuda":
        return False
    natten = load_natten()
    return natten is not None and bool(getattr(natten, "HAS_LIBNATTEN", False))


@lru_cache(maxsize=1)
def load_natten() -> Any:
    """Import natten, None where it is missing or broken; then one line says that the reference is used."""
    try:
        return importlib.import_module("natten")
    except Exception as fault:  # an optional accelerator must not stop a fit, whatever its fault
        logging.getLogger(__name__).warning(
            "natten cannot be used (%s); neighbourhood attention runs in plain torch, with equal results.", fault
        )
        return None


def _padded(tensor: Tensor, before: Window, after: Window) -> Tensor:
    """Append voxels of zeros at both ends of x, y and z of (m, x, y, z, ...)."""
    behind = [0, 0] * (tensor.dim() - 4)
    ends = [n for low, high in zip(reversed(before), reversed(after), strict=True) for n in (low, high)]
    return functional.pad(tensor, (*behind, *ends))


def _block_of(window: Window) -> Window:
    """Return the extent of a block of queries, such that its 3 x 3 surrounding blocks hold every window."""
    return max(2, window[0] // 2), max(2, window[1] // 2), 1


@lru_cache(maxsize=32)
def _near(window: Window) -> Tensor:
    """Return scores (queries of a block, keys of the blocks around): 0 in the window of the query, else `NEVER`."""
    a, b, _ = _block_of(window)
    place = torch.cartesian_prod(torch.arange(a), torch.arange(b))
    around = torch.cartesian_prod(torch.arange(-1, 2) * a, torch.arange(-1, 2) * b)
    keys = (around[:, None] + place[None]).reshape(-1, 2)
    step = (keys[None] - place[:, None]).abs()
    inside = (step <= torch.tensor([window[0] // 2, window[1] // 2])).all(-1)
    return torch.where(inside, 0.0, NEVER).repeat(1, window[2])


def _blocks(tensor: Tensor, block: Window) -> Tensor:
    """Cut (m, x, y, z, heads, channels) into blocks: (m, x blocks, y blocks, z, heads, voxels of a block, channels)."""
    m, x, y, z, heads, channels = tensor.shape
    a, b, _ = block
    cut = tensor.view(m, x // a, a, y // b, b, z, heads, channels)
    return cut.permute(0, 1, 3, 5, 6, 2, 4, 7).reshape(m, x // a, y // b, z, heads, a * b, channels)


def _around(blocks: Tensor, window: Window, axis: int) -> Tensor:
    """Append the blocks around each block, of a tensor with one more block at each border: more voxels along `axis`."""
    x, y, z = blocks.shape[1] - 2, blocks.shape[2] - 2, blocks.shape[3] - window[2] + 1
    moved = [blocks[:, i : i + x, j : j + y, k : k + z]
             for k in range(window[2]) for i in range(3) for j in range(3)]  # fmt: skip
    return torch.cat(moved, axis)


def _reference(query: Tensor, key: Tensor, value: Tensor, window: Window, valid: Tensor) -> tuple[Tensor, Tensor]:
    m, x, y, z, _, channels = query.shape
    block = _block_of(window)
    beyond = tuple(-n % size for n, size in zip((x, y, z), block, strict=True))
    border = (block[0], block[1], window[2] // 2)
    after = tuple(b + extra for b, extra in zip(border, beyond, strict=True))
    queries = _blocks(_padded(query * channels**-0.5, (0, 0, 0), beyond), block)
    keys, values = (_around(_blocks(_padded(part, border, after), block), window, 5) for part in (key, value))
    there = _blocks(_padded(valid, border, after)[..., None, None], block)[..., 0]
    scores = torch.matmul(queries, keys.transpose(-1, -2))
    scores += _near(window).to(scores)
    scores += torch.where(_around(there, window, 5), 0.0, NEVER).to(scores)[..., None, :]
    largest = scores.detach().amax(-1, keepdim=True)
    weights = (scores - largest).exp_()
    total = weights.sum(-1, keepdim=True)
    means = torch.matmul(weights, values) / total
    inside = (slice(None), slice(x), slice(y), slice(z))
    return _joined(means, block)[inside], _joined(largest + total.log(), block)[inside][..., 0]


def _joined(blocks: Tensor, block: Window) -> Tensor:
    """Put blocks (m, x blocks, y blocks, z, heads, voxels, channels) back to (m, x, y, z, heads, channels)."""
    m, x, y, z, heads, _, channels = blocks.shape
    a, b, _ = block
    cut = blocks.view(m, x, y, z, heads, a, b, channels).permute(0, 1, 5, 2, 6, 3, 4, 7)
    return cut.reshape(m, x * a, y * b, z, heads, channels)


def _with_natten(query: Tensor, key: Tensor, value: Tensor, window: Window, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the same by natten, which knows no masks and moves windows inside the image at its borders.

    A border of left-out voxels keeps windows centred; one more channel, 1 in each query and very negative in the keys
    of voxels that are left out, is a mask in the form of a product.
    """
    from natten.functional import na2d, na3d

    x, y, z, _, channels = query.shape[1:]
    half = tuple(n // 2 for n in window)
    # An image smaller than the window is made as large as it.
    after = tuple(h + max(0, k - 2 * h - n) for h, k, n in zip(half, window, (x, y, z), strict=True))
    more = max(_FEWEST_CHANNELS, 1 << channels.bit_length()) - channels
    query, key, value = (functional.pad(tensor, (0, more)) for tensor in (query, key, value))
    query[..., channels] = 1.0
    key = _padded(key, half, after)
    left_out = ~_padded(valid, half, after)
    # The product is divided by the root of the channels; -1e4 leaves nothing in half precision, too.
    key[..., channels] = torch.where(left_out, -1e4 * math.sqrt(channels), 0.0).to(key)[..., None]
    query, value = _padded(query, half, after), _padded(value, half, after)
    flat = z == 1 and window[2] == 1
    if flat:
        query, key, value = (tensor[:, :, :, 0] for tensor in (query, key, value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its path for processors: what that is not good for is said above
        means, logs = (na2d if flat else na3d)(
            query, key, value, kernel_size=window[:2] if flat else window, scale=channels**-0.5, return_lse=True
        )
    if flat:
        means, logs = means[:, :, :, None], logs[:, :, :, None]
    inside = (slice(None), *(slice(h, h + n) for h, n in zip(half, (x, y, z), strict=True)))
    return means[inside][..., :channels], logs[inside]
