"""What a person looks at before trusting a network that was just trained: simulated voxels with known truth.

Truth is drawn as for the training, other voxels than any it has seen. Beside the network stand least squares and the
exact posterior under a uniform prior of the same ranges, on the same voxels.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm

from ..data.output import plain
from ..errors import InputError
from ..estimators import create
from ..estimators.trained import class_of
from ..networks.cards import KEYS, SPATIAL, ModelCard, write_card
from ..networks.keeping import CHECKS
from ..physics.acquisition import Acquisition
from ..physics.noise import add_rician
from ..physics.protocols import protocol
from ..physics.signal import biexponential
from ..wholefile import whole_file
from .metrics import bias_and_spread, coverage_of_errors, cv_net, score, spearman

VOXELS = 2000
SEED = 20_011
SHOWN = 600
"""Voxels of the scatter plot."""
BINS = 8
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
KEYS_OF_ROWS = (*KEYS, "S0")
"""Columns of the truth."""
OWN = "own"
"""Name of this benchmark in a card."""


def check_model(card: ModelCard, voxels: int = VOXELS) -> dict[str, Any]:
    """Measure a trained model on simulated voxels of its own kind, at the lowest, middle and highest SNR of its card.

    Returns, ready for JSON: `rows` (SNR, estimator, parameter -> NRMSE, bias, sd, rho of D* and f, coverage ...),
    and at the middle SNR `scatter`, `bias` and `calibration` of each parameter, in stored units.
    """
    b = card.bvalues
    if b is None:
        b = np.array(card.acquisition.get("checked_on") or protocol("paper1").acquisition().distinct, dtype=float)
    low, high = card.snr
    middle = math.sqrt(low * high)
    snrs = sorted({low, round(middle, 1) if low < high else low, high})
    shown = snrs[len(snrs) // 2]
    references = {"nlls": create("nlls"), "posterior": create("posterior", prior="uniform", bounds=card.ranges)}
    draw = _draw_maps if card.architecture["kind"] in SPATIAL else _draw
    rows, found = [], {}
    for number, snr in enumerate(snrs):
        signal, truth = draw(card, b, snr, voxels, SEED + number)
        acquisition = Acquisition(b, sigma=1 / snr)
        estimators = {card.id: class_of(card)(ensemble=snr == shown), **references}
        for name, estimator in estimators.items():
            began = time.perf_counter()
            fit = estimator.fit(signal, acquisition)
            seconds = time.perf_counter() - began
            rows += _rows(name, snr, fit, truth, 1e6 * seconds / len(truth))
            if name == card.id and snr == shown:
                found = _shown(fit, truth)
    return plain({"version": 1, "model": card.id, "voxels": voxels, "bvalues": b, "snr": shown, "rows": rows, **found})


def after_training(card: ModelCard, emit: Callable[[dict[str, Any]], None]) -> ModelCard:
    """Check a model that was just trained, write the numbers beside it and into its card; return the card."""
    emit({"event": "status", "text": "Checking the network on simulated voxels"})
    found = check_model(card)
    path = card.folder / CHECKS
    try:
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
        kept = [row for row in card.content.get("checks", []) if row.get("benchmark") != OWN]
        mine = [_of_card(row) for row in found["rows"] if row["estimator"] == card.id]
        card = write_card(card.folder, {**card.content, "checks": kept + mine})
    except OSError as fault:
        raise InputError(f"The checks cannot be written to {card.folder} ({fault.strerror}); make room.") from None
    emit({"event": "checks", "file": str(path)})
    return card


def _of_card(row: dict[str, Any]) -> dict[str, Any]:
    return {"benchmark": OWN, "options": "", **{key: value for key, value in row.items() if key != "estimator"}}


def _draw(card: ModelCard, b: np.ndarray, snr: float, voxels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw voxels: signal (v, 1, 1, n) and truth (v, 4)."""
    from ..networks import sampling, tasks  # loads torch

    ranges = {**card.ranges, "S0": (1.0, 1.0)}
    source = sampling.distribution(card.content.get("distribution", {"kind": "uniform"}), ranges, card.folder)
    rng = tasks.generator(seed, 0)
    truth = source.sample(rng, voxels).double()
    truth[:, 3] = 1.0
    signal = sampling.unit_signal(truth[:, :3], truth.new_tensor(b))
    noise = truth.new_empty(2, *signal.shape).normal_(generator=rng) / snr
    return ((signal + noise[0]).hypot(noise[1])).numpy()[:, None, None, :], truth.numpy()


def _draw_maps(card: ModelCard, b: np.ndarray, snr: float, voxels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw maps as the training of a spatial network did, a slice each: signal (x, y, z, n) and truth (v, 4)."""
    from ..networks import scenes, spatialtasks, tasks  # loads torch

    rng = tasks.generator(seed, 0)
    about = card.content["distribution"]
    count = -(-voxels // int(about.get("size", scenes.MAP_SIZE)) ** 2)
    if card.bvalues is None:
        rows = spatialtasks.finding_rows(about, rng, count, card.ranges)
    else:
        rows = scenes.scenes_of(about, {**card.ranges, "S0": card.S0}).sample(rng, count)
    truth = np.moveaxis(rows.double().numpy(), 0, 2)
    signal = biexponential(b, *(truth[..., KEYS_OF_ROWS.index(key)].ravel() for key in ("S0", "D", "f", "Dstar")))
    signal = add_rician(signal, 1 / snr, np.random.default_rng(seed))
    return signal.reshape(*truth.shape[:3], -1), truth.reshape(-1, 4)


def _rows(name: str, snr: float, fit: Any, truth: np.ndarray, microseconds: float) -> list[dict[str, Any]]:
    estimate = {key: fit.maps[key].ravel() for key in KEYS}
    rho, of_truth = spearman(estimate["Dstar"], estimate["f"]), spearman(truth[:, 2], truth[:, 1])
    rows = []
    for number, key in enumerate(KEYS):
        known = truth[:, number]
        error = fit.errors.get(key)
        spread = fit.extras.get(f"{key}_epistemic")
        rows.append({
            "estimator": name, "snr": snr, "parameter": key, **score(estimate[key], known),
            "rho_dstar_f": rho, "rho_truth": of_truth,
            "coverage90": math.nan if error is None else coverage_of_errors(estimate[key], error.ravel(), known),
            "cv_net": cv_net(None if spread is None else spread.ravel(), known), "us_per_voxel": microseconds,
        })  # fmt: skip
    return rows


def _shown(fit: Any, truth: np.ndarray) -> dict[str, Any]:
    scatter, bias, calibration = {}, {}, {"levels": list(LEVELS)}
    for number, key in enumerate(KEYS):
        estimate, known = fit.maps[key].ravel(), truth[:, number]
        scatter[key] = {"truth": known[:SHOWN], "estimate": estimate[:SHOWN]}
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))  # alike many voxels in each
        binned = bias_and_spread(estimate, known, edges if edges.size > 2 else 2)
        bias[key] = {"truth": binned.truth, "bias": binned.bias, "sd": binned.sd}
        error = fit.errors.get(key)
        if error is not None:
            z = np.abs(estimate - known) / error.ravel()
            calibration[key] = [float(np.mean(z[np.isfinite(z)] <= norm.ppf(0.5 + level / 2))) for level in LEVELS]
    return {"scatter": scatter, "bias": bias, "calibration": calibration}
