"""From a card to networks in memory, and back to a file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from ..errors import InputError
from .anyprotocol import AnyProtocol
from .anyprotocol_spatial import SpatialAnyProtocol
from .cards import ANY_PROTOCOL, KEYS, SPATIAL, ModelCard
from .cnn_bilstm import ConvolutionRecurrence
from .mlp import Perceptron
from .spatial import ConvolutionNeighbourhood, NeighbourhoodAttention, PatchAttention
from .unet import AttentionUNet, ResidualUNet, UNet

Tensor = torch.Tensor
_ONE_PROTOCOL = {
    "mlp": Perceptron, "cnn_bilstm": ConvolutionRecurrence, "conv3": ConvolutionNeighbourhood,
    "attention": PatchAttention, "natten": NeighbourhoodAttention, "unet": UNet, "uresnet": ResidualUNet,
    "uattennet": AttentionUNet,
}  # fmt: skip


def build(content: Mapping[str, Any]) -> nn.Module:
    """Make the network, with random weights, that a card or recipe describes."""
    kind, options = content["architecture"]["kind"], dict(content["architecture"].get("options", {}))
    if kind in ANY_PROTOCOL:
        low, high = zip(*(content["parameters"][key] for key in KEYS), strict=True)
        network = AnyProtocol if kind == "anyprotocol" else SpatialAnyProtocol
        return network(low, high, **{key: value if key == "windows" else int(value) for key, value in options.items()})
    bvalues = content["acquisition"]["bvalues"]
    return _ONE_PROTOCOL[kind](bvalues if kind in SPATIAL else len(bvalues), content["bounds"], **options)


def load(card: ModelCard, members: int | None = None) -> list[nn.Module]:
    """Make the networks of a card, ready for use, with their weights.

    Arguments: `members` how many of them, None for all. Raises InputError with one sentence for weights that are not
    those of the card, have other shapes than its architecture, or hold NaN.
    """
    data = card.check_weights()
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise InputError(f"The weights of '{card.id}' cannot be read ({error}); get the model again.") from None
    networks = []
    for number in range(min(members or card.members, card.members)):
        try:
            network = build(card.content)
        except (ValueError, TypeError, ArithmeticError, AssertionError, RuntimeError) as error:
            raise InputError(f"The network of '{card.id}' cannot be built ({error}); get the model again.") from None
        own = {key.partition(".")[2]: value for key, value in tensors.items() if key.partition(".")[0] == str(number)}
        wanted = network.state_dict()
        for key, tensor in wanted.items():
            found = own.get(key)
            if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
                shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
                raise InputError(
                    f"The weights of '{card.id}' do not fit its architecture: '{key}' is {shape}, where the card wants "
                    f"{tuple(tensor.shape)}; get the model again."
                )
            if not torch.isfinite(found).all():
                raise InputError(f"The weights of '{card.id}' hold values that are no numbers; train it again.")
        if len(own) != len(wanted):
            raise InputError(f"The weights of '{card.id}' hold more than its architecture has; get the model again.")
        network.load_state_dict(own)
        networks.append(network.eval().requires_grad_(False))
    return networks


def weights_of(members: list[Mapping[str, Tensor]]) -> bytes:
    """Return the file of weights of trained members, given the state of each."""
    tensors = {f"{number}.{key}": tensor.detach().cpu().contiguous().clone()
               for number, state in enumerate(members) for key, tensor in state.items()}  # fmt: skip
    return save_tensors(tensors)
