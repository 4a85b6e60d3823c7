"""The numbers of the checks as rows of a table and as a verdict in plain words; no Qt."""

from __future__ import annotations

import math
from typing import Any

from slicer.i18n import tr as _

from ivimcore.physics.parameters import PARAMETERS

LIMIT, USUAL = "posterior", "nlls"
_FAR, _CORRELATED, _CALIBRATED = 1.25, 0.35, 0.07
"""Error relative to the exact posterior, correlation of D* and f, and distance from 90 % that are worth a word."""

def header() -> tuple[list[str], list[str]]:
    """Return the texts above the columns of the table, and what each means."""
    columns = (
        (_("SNR"), _("Signal-to-noise ratio at b = 0 of the simulated voxels")),
        (_("Parameter [unit]"), _("Parameter, with the unit of bias and SD")),
        (_("Error [%]"), _("Root mean square error of the network, relative to the mean of the truth")),
        (_("Least squares [%]"), _("The same of a least-squares fit")),
        (_("Exact posterior [%]"),
         _("The same of the exact posterior mean, which no estimator passes where the truth is uniform in the ranges")),
        (_("Bias"), _("Mean of estimate minus truth")),
        (_("SD"), _("Standard deviation of estimate minus truth")),
        (_("ρ(D*, f)"), _("Rank correlation of the estimates of D* and f, in brackets that of the truth")),
        (_("In 90 % interval [%]"),
         _("How often the truth lies in the interval that should hold it in 90 % of the voxels")),
    )  # fmt: skip
    return [text for text, _tip in columns], [tip for _text, tip in columns]


def tableRows(checks: dict[str, Any]) -> list[list[str]]:
    """Return the texts of the table, one row per SNR and parameter."""
    found = []
    for row in _mine(checks):
        parameter = PARAMETERS[row["parameter"]]
        others = [_same(checks, row, name) for name in (USUAL, LIMIT)]
        found.append([
            f"{row['snr']:.3g}", parameter.label, _percent(row["nrmse"]),
            *(_percent(None if other is None else other["nrmse"]) for other in others),
            *(_number(row[key], parameter.display_factor) for key in ("bias", "sd")),
            f"{_number(row['rho_dstar_f'], 1.0, 2)} ({_number(row.get('rho_truth'), 1.0, 2)})",
            _percent(row["coverage90"]),
        ])
    return found


def verdict(checks: dict[str, Any]) -> str:
    """Say in plain words what the checks mean, at the middle SNR."""
    rows = [row for row in _mine(checks) if row["snr"] == checks["snr"]]
    said = [
        _("Checked on {voxels} simulated voxels at each SNR; in words for SNR {snr}.").format(
            voxels=checks["voxels"], snr=f"{checks['snr']:.3g}"
        )
    ]
    far = []
    for row in rows:
        limit = _same(checks, row, LIMIT)
        if limit and row["nrmse"] and limit["nrmse"] and row["nrmse"] > _FAR * limit["nrmse"]:
            share = 100 * (row["nrmse"] / limit["nrmse"] - 1)
            far.append(f"{PARAMETERS[row['parameter']].symbol} ({share:.0f} %)")
    if far:
        said.append(
            _("Errors are larger than those of the exact posterior for {names}: train longer.").format(
                names=", ".join(far)
            )
        )
    else:
        said.append(_("Errors are close to those of the exact posterior."))
    rho, truth = (rows[0].get(key) if rows else None for key in ("rho_dstar_f", "rho_truth"))
    if rho is not None and abs(rho - (truth or 0.0)) > _CORRELATED:
        said.append(
            _("D* and f depend on each other (ρ = {rho}) more than in the truth ({truth}).").format(
                rho=f"{rho:.2f}", truth=f"{truth or 0.0:.2f}"
            )
        )
    narrow = [
        PARAMETERS[row["parameter"]].symbol for row in rows
        if row["coverage90"] is not None and row["coverage90"] < 0.9 - _CALIBRATED
    ]
    if narrow:
        said.append(_("Its uncertainty is too small for {names}.").format(names=", ".join(narrow)))
    return " ".join(said)


def _mine(checks: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in checks["rows"] if row["estimator"] == checks["model"]]


def _same(checks: dict[str, Any], row: dict[str, Any], estimator: str) -> dict[str, Any] | None:
    return next((other for other in checks["rows"] if other["estimator"] == estimator and other["snr"] == row["snr"]
                 and other["parameter"] == row["parameter"]), None)


def _percent(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def _number(value: float | None, factor: float, decimals: int | None = None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value * factor:.3g}" if decimals is None else f"{value * factor:.{decimals}f}"
