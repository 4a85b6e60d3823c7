"""Which library does the sums over the grid of `posterior`: numpy everywhere, torch where it is installed and wanted.

The room of the networks is entered from here inside a fit only, so that everything else works without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import numpy as np

from ..errors import InputError

BACKENDS = ("auto", "numpy", "torch")
TORCH_IS_MISSING = (
    "The back end 'torch' needs PyTorch, which is not installed: in Slicer install the extension PyTorch, whose "
    "module then installs it; elsewhere run 'pip install torch'; or choose the back end 'numpy'."
)


@dataclass(frozen=True)
class Backend:
    """One way to do the sums: `grid_pass` as in `networks.quadrature_torch`, device filled in; None is numpy, here.

    `about` is written to the provenance: name, version and device.
    """

    about: dict[str, str] = field(default_factory=lambda: {"name": "numpy", "version": np.__version__, "device": "cpu"})
    grid_pass: Callable[..., None] | None = None


def torch_can_run() -> bool:
    """Tell whether torch is installed, without importing it: that takes a second and hundreds of megabytes."""
    return find_spec("torch") is not None


def choose_backend(asked: str) -> Backend:
    """Choose who does the sums.

    Arguments: `asked` "numpy"; "torch", on a GPU of NVIDIA where there is one and else on the processor; or "auto":
    torch if there is such a GPU, else numpy. Raises InputError where torch is asked for and cannot be had.
    """
    if asked == "numpy" or (asked == "auto" and not torch_can_run()):
        return Backend()
    if not torch_can_run():
        raise InputError(TORCH_IS_MISSING)
    try:
        from ..networks import quadrature_torch
    except (ImportError, OSError) as error:  # libraries of torch that are missing or made for another system
        if asked == "auto":
            return Backend()
        raise InputError(f"PyTorch is installed but does not start ({error}); choose the back end 'numpy'.") from error
    device = quadrature_torch.default_device()
    if asked == "auto" and device != "cuda":
        return Backend()
    return Backend(quadrature_torch.about_device(device), partial(quadrature_torch.grid_pass, device=device))
