"""Benchmark numbers of trained models, written back into their cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..networks.cards import write_card
from ..networks.zoo import find

NUMBERS = (
    "n", "nrmse", "mdape", "bias", "sd", "rho_dstar_f", "coverage90", "missing_share", "limit_nrmse", "cv_net",
)  # fmt: skip
"""What is taken from a row; not the time, which is that of a machine and its load."""


def write_checks(rows: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Write rows of `ivim evaluate` into the cards of the models among them; return the cards written.

    Rows of the same benchmark, SNR, parameter and options are replaced, others kept. The weights are left alone.
    """
    cards = find().cards
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name, _, options = str(row["estimator"]).partition(":")
        if name in cards and "nrmse" in row:
            found.setdefault(name, []).append({
                "benchmark": row["benchmark"], "snr": row["snr"], "parameter": row["parameter"], "options": options,
                **{key: _short(row.get(key)) for key in NUMBERS}, "version": __version__,
            })
    written = []
    for name, checks in found.items():
        card = cards[name]
        same = lambda check: (check["benchmark"], check["snr"], check["parameter"], check["options"])  # noqa: E731
        new = {same(check) for check in checks}
        kept = [check for check in card.content.get("checks", []) if same(check) not in new]
        checks = sorted(kept + checks, key=lambda check: (*map(str, same(check)),))
        card = write_card(card.folder, {**card.content, "checks": checks})
        written.append(card.folder / "card.json")
    return written


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
