"""The table of a benchmark for the shell: an estimator a line, D / f / D* in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..physics.parameters import PARAMETERS

NOTE = (
    "x limit: NRMSE over that of the exact posterior mean, whose prior is that of the truth but for S0, which is free. "
    "bias, SD: of estimate - truth, root mean square over the range of the truth, in {units}."
)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table for the shell: one block per SNR, one line per estimator, D / f / D* in each cell.

    The first lines of a block are the references: the limit, and always answering the mean of the prior.
    """
    if not rows:
        return "No estimator was measured."
    head = ("estimator", "NRMSE D / f / D*", "x limit", "MDAPE [%]", "bias", "SD", "|rho(D*, f)|", "90 % covers [%]",
            "missing [%]", "µs/voxel")
    repeated = any(np.isfinite(row.get("cv_net", np.nan)) for row in rows)
    head += ("CV_NET D / f / D*",) if repeated else ()
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        block = [row for row in rows if row["snr"] == snr]
        first = [row for row in block if row["estimator"] == block[0]["estimator"]]
        table = [head]
        if np.isfinite([row["limit_nrmse"] for row in first]).all():
            table.append(("(limit)", _triple(first, "limit_nrmse", 3), *[""] * (len(head) - 2)))
        table.append((
            "(prior mean)", _triple(first, "prior_mean_nrmse", 3), "", _triple(first, "prior_mean_mdape", 0),
            *[""] * (len(head) - 4),
        ))
        for label in dict.fromkeys(row["estimator"] for row in block):
            three = [row for row in block if row["estimator"] == label]
            table.append((
                label, _triple(three, "nrmse", 3), _triple(three, "over_limit", 2), _triple(three, "mdape", 0),
                _shown(three, "bias_range"), _shown(three, "sd_range"),
                number(abs(three[0]["rho_dstar_f"]), 2), _triple(three, "coverage90", 0, factor=100),
                _triple(three, "missing_share", 1, factor=100), number(three[0]["us_per_voxel"], 1),
                *((_triple(three, "cv_net", 3),) if repeated else ()),
            ))
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines.append(f"{block[0]['benchmark']}, SNR {snr:g}, {block[0]['n']} voxels")
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                  for line in table]
        lines.append("")
    units = " / ".join(PARAMETERS[row["parameter"]].display_unit for row in first)
    return "\n".join([*lines, NOTE.format(units=units)])


def number(value: float, digits: int, sign: str = "") -> str:
    """Write a number for a table, "-" where there is none."""
    # Adding zero turns the -0 of a rounded small negative number into 0.
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}" if np.isfinite(value) else "-"


def _triple(rows: Sequence[Mapping[str, Any]], key: str, digits: int, sign: str = "", factor: float = 1.0) -> str:
    return " / ".join(number(row[key] * factor, digits, sign) for row in rows)


def _shown(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """Write numbers with the unit of their parameter as they are shown to people."""
    digits = {"D": 2, "f": 1, "Dstar": 0}
    return " / ".join(
        number(row[key] * PARAMETERS[row["parameter"]].display_factor, digits[row["parameter"]]) for row in rows
    )
