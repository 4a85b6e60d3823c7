"""The state of a training on disk: numbers as safetensors, the rest as JSON inside; written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import InputError
from ..wholefile import whole_file

Tensor = torch.Tensor
FILE = "checkpoint.safetensors"


def write(folder: Path, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint; raises InputError with one sentence where the disk does not take it."""
    try:
        content = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        with whole_file(folder / FILE) as unfinished:
            save_file(content, unfinished, metadata={"state": json.dumps(state)})
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"The training cannot be saved in {folder} ({error}); make room on the disk and resume it."
        ) from None


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Read the checkpoint in a folder, None where there is none; raises InputError for a damaged one."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            return state, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"The checkpoint in {folder} cannot be read ({error}); train without --resume.") from None


def of_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the numbers of an Adam optimizer by name."""
    found = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            found[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    return found


def into_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the numbers of `of_optimizer` back."""
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            state["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(state)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name begins with a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
