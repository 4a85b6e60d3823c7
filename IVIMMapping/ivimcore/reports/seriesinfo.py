"""What can be said of a series before any fit: grid, b-values and their source, noise, what each estimator thinks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.mask import body_mask
from ..data.series import DwiSeries
from ..estimators import available, create
from ..physics.background import measure_noise
from .recommendation import recommend

SAMPLE = 20000
"""Voxels used for the noise estimate."""


def describe_series(series: DwiSeries) -> dict[str, Any]:
    """Collect everything that `ivim info` shows, ready for JSON.

    Returns: format, grid, b-values with the number of images each [s/mm²], their source, decisions, noise level and
    SNR with the method in words (null where they cannot be told), and per estimator the sentences of `problems`.
    """
    acquisition = series.acquisition
    b, group = acquisition.groups()
    mask = body_mask(series.signal, acquisition)
    voxels = np.flatnonzero(mask)
    voxels = voxels[:: max(1, voxels.size // SAMPLE)]
    signal = series.signal[np.unravel_index(voxels, mask.shape)].astype(float)
    sample = np.zeros(mask.shape, dtype=bool)
    sample.flat[voxels] = True
    noise = measure_noise(series.signal, acquisition, sample)
    lowest = np.median(signal[:, group == 0].mean(axis=1)) if voxels.size else np.nan
    snr = None if noise.sigma is None else float(lowest / noise.sigma)
    return {
        "format": series.format,
        "shape": [int(n) for n in series.signal.shape],
        "spacing_mm": [float(s) for s in series.geometry.spacing],
        "bvalue_source": series.bvalue_source,
        "bvalues": [
            {"b": float(value), "images": int(count)}
            for value, count in zip(b, np.bincount(group), strict=True)
        ],
        "bvalue_per_image": [float(value) for value in acquisition.bvalues],
        "directions": acquisition.directions is not None,
        "decisions": list(series.decisions),
        "mask_voxels": int(mask.sum()),
        "sigma": noise.sigma,
        "snr": snr,
        "noise_method": noise.method,
        "recommendation": recommend(acquisition, snr),
        "estimators": {
            name: [{"sentence": str(said), "blocks": said.blocks} for said in create(name).problems(acquisition)]
            for name in available()
        },
    }


def format_series(about: dict[str, Any]) -> str:
    """Write what `describe_series` found as text for a terminal."""
    x, y, z, n = about["shape"]
    spacing = " x ".join(f"{s:.4g}" for s in about["spacing_mm"])
    lines = [
        f"Format      {about['format']}",
        f"Grid        {x} x {y} x {z} voxels of {spacing} mm, {n} images",
        f"b-values    from {about['bvalue_source']}"
        + (" (with directions)" if about["directions"] else ""),
        "",
        "  b [s/mm²]   images",
        *(f"  {row['b']:9.4g}   {row['images']}" for row in about["bvalues"]),
        "",
    ]
    if about["sigma"] is None:
        lines.append(f"Noise       {about['noise_method']}")
    else:
        lines.append(
            f"SNR         {about['snr']:.0f} at the lowest b (median in the automatic mask of {about['mask_voxels']} "
            f"voxels), sigma {about['sigma']:.3g} signal units"
        )
        lines.append(f"            {about['noise_method']}")
    if about["decisions"]:
        lines += ["", "Decided while reading", *(f"  - {sentence}" for sentence in about["decisions"])]
    lines += ["", f"Suggestion  {about['recommendation']}", "", "What the estimators say"]
    models = {name for name, known in available().items() if known.card is not None}
    other: list[str] = []
    for name, problems in about["estimators"].items():
        if name in models and any(problem["blocks"] for problem in problems):
            other.append(name)
            continue
        if not problems:
            lines.append(f"  {name:10s} ready")
        for problem in problems:
            verdict = "cannot run: " if problem["blocks"] else "ready; note: "
            lines.append(f"  {name:10s} {verdict}{problem['sentence']}")
    if other:
        lines.append(f"  models for other b-values, or without PyTorch: {', '.join(other)}")
    return "\n".join(lines)
