"""One estimator for every model card that is found: reads JSON only, torch is imported inside a fit."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .base import Estimator
from .neural import AnyProtocolNetwork, Network
from .registry import add_source
from .spatial import AttentionNetwork, SpatialAnyProtocolNetwork, SpatialNetwork

_OF_KIND: dict[str, type[Network]] = {
    "anyprotocol": AnyProtocolNetwork, "anyprotocol_spatial": SpatialAnyProtocolNetwork, "natten": AttentionNetwork,
    **dict.fromkeys(("conv3", "attention", "unet", "uresnet", "uattennet"), SpatialNetwork),
}  # fmt: skip
"""Classes by architecture; all others are networks of single voxels for one list of b-values."""
_MADE: dict[str, tuple[Any, type[Estimator]]] = {}


def _classes() -> dict[str, type[Estimator]]:
    """Return an estimator class for every model card that is found; reads JSON only, and only what has changed."""
    from ..networks.zoo import find

    return {name: _class_of_listed(card) for name, card in find().cards.items()}


def _class_named(name: str) -> type[Estimator] | None:
    from ..networks.zoo import find_card

    card = find_card(name)
    return None if card is None else _class_of_listed(card)


def _class_of_listed(card: Any) -> type[Estimator]:
    known = _MADE.get(card.id)
    if known is None or known[0] is not card:
        known = _MADE[card.id] = (card, class_of(card))
    return known[1]


def class_of(card: Any) -> type[Estimator]:
    """Make the estimator class of a model card, listed or not: a model is checked before it is kept."""
    base = _OF_KIND.get(card.architecture["kind"], Network)
    about = {
        "name": card.id, "title": card.title, "description": card.description, "card": card,
        "references": tuple(card.references), "__doc__": card.description, "__module__": __name__,
    }
    return type(card.id, (base,), about)


def missing(name: str) -> InputError | None:
    """Return why a model of this name was found but cannot be used, or None."""
    from ..networks.zoo import find

    return next((InputError(said) for said in find().refused if f"'{name}'" in said), None)


add_source(_classes, _class_named)
