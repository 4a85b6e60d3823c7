"""Numbers and rows of a report as a person reads them: display units, intervals, percent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..physics.parameters import PARAMETERS

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of the page: `head` and `rows` of texts; the first `left` columns, and `words`, are left-aligned."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    words: Sequence[int] = field(default_factory=tuple)


def number(value: Any, digits: int = 3) -> str:
    """Write a number with so many significant digits, '–' where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    value = float(value)
    if value == 0:
        return "0"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{min(places, 8)}f}".replace("-", "−") if abs(value) >= 1e-6 else f"{value:.2g}"


def p_value(value: Any) -> str:
    """Write a p-value."""
    if value is None or not np.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(row: Row, key: str, factor: float = 1.0, digits: int = 2) -> str:
    """Write 'value [low, high]' of the columns key, key_low, key_high."""
    value, low, high = (row.get(name) for name in (key, f"{key}_low", f"{key}_high"))
    if value is None or not np.isfinite(value):
        return "–"
    if low is None or not np.isfinite([low, high]).all():
        return number(value * factor, digits)
    return f"{number(value * factor, digits)} [{number(low * factor, digits)}, {number(high * factor, digits)}]"


def percent(value: Any, digits: int = 0) -> str:
    """Write a share in percent with its sign."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{100 * value:+.{digits}f} %".replace("-", "−")


def factor_of(row: Row) -> float:
    """Return what turns the stored unit of a row into the unit that is shown."""
    return PARAMETERS[row["map"]].display_factor


def repeatability_table(rows: Sequence[Row]) -> Table:
    """Arrange wSD and what stands beside it, as Paper I table 3 with its context."""
    columns: dict[str, Callable[[Row], str]] = {
        "region": lambda r: r["region"], "map": lambda r: PARAMETERS[r["map"]].label,
        "estimator": lambda r: r["estimator"], "n": lambda r: str(r["subjects"]),
        "mean": lambda r: number(r["mean"] * factor_of(r)), "wSD": lambda r: interval(r, "wsd", factor_of(r)),
        "RC": lambda r: interval(r, "rc", factor_of(r)), "wCV (log) [%]": lambda r: interval(r, "wcv_log", 100),
        "wCV (rms) [%]": lambda r: number(100 * r["wcv_rms"], 2),
        "2.77 limits": lambda r: f"{percent(r['limit_low'])} / {percent(r['limit_high'])}",
    }  # fmt: skip
    return Table(list(columns), [[write(row) for write in columns.values()] for row in rows], left=3)


def context_table(rows: Sequence[Row]) -> Table:
    """Arrange what wSD must be read beside: spread between subjects, ICC, information, bias between sessions."""
    columns: dict[str, Callable[[Row], str]] = {
        "region": lambda r: r["region"], "map": lambda r: PARAMETERS[r["map"]].label,
        "estimator": lambda r: r["estimator"], "between / wSD": lambda r: interval(r, "between_over_wsd"),
        "ICC(2,1)": lambda r: interval(r, "icc"), "information": lambda r: number(r["information"], 2),
        "bias between sessions": lambda r: interval(r, "bias", factor_of(r)), "p": lambda r: p_value(r["bias_p_t"]),
        "wSD without it": lambda r: interval(r, "wsd_without_shift", factor_of(r)),
        "spread": lambda r: r["form"],
    }  # fmt: skip
    return Table(list(columns), [[write(row) for write in columns.values()] for row in rows], left=3)


def verdict_table(rows: Sequence[Row]) -> Table:
    """Arrange the verdicts of patients: value then and now, change with interval, limit, p, word."""
    head = ("patient", "region", "map", "estimator", "before", "after", "change", "95 % interval", "limit", "p",
            "p (Holm)", "verdict", "remark")  # fmt: skip
    body = []
    for r in rows:
        factor, before = factor_of(r), r["before"]
        relative = before is not None and np.isfinite(before) and before > 0
        ends = [r[key] / before if relative else r[key] * factor for key in
                ("change_low", "change_high", "limit_low", "limit_high")]  # fmt: skip
        written = [percent(end) if relative else number(end, 2) for end in ends]
        change = percent(r["relative"]) if relative else number(r["change"] * factor, 2)
        body.append([
            r["subject"], r["region"], PARAMETERS[r["map"]].label, r["estimator"], number(before * factor),
            number(r["after"] * factor), change, f"{written[0]} to {written[1]}", f"{written[2]} / {written[3]}",
            p_value(r["p"]), p_value(r["p_holm"]), r["verdict"], r["reason"] if r["verdict"] == "no verdict" else "",
        ])  # fmt: skip
    return Table(head, body, left=4, words=(11, 12))


def treated_table(rows: Sequence[Row]) -> Table:
    """Arrange the paired tests of the treated group."""
    head = ("region", "map", "estimator", "pairs", "mean before", "mean after", "difference [95 % interval]",
            "p (paired t)", "p (Wilcoxon)", "patients changed")  # fmt: skip
    body = [
        [r["region"], PARAMETERS[r["map"]].label, r["estimator"], str(r["pairs"]), number(r["before"] * factor_of(r)),
         number(r["after"] * factor_of(r)),
         interval({"d": r["difference"], "d_low": r["low"], "d_high": r["high"]}, "d", factor_of(r)), p_value(r["p_t"]),
         p_value(r["p_wilcoxon"]), f"{r['changed']} of {r['pairs']}"]
        for r in rows
    ]  # fmt: skip
    return Table(head, body, left=3)


def comparison_table(rows: Sequence[Row]) -> Table:
    """Arrange the comparison of estimators."""
    head = ("region", "map", "first", "second", "n", "wSD ratio", "p", "ratio of discrimination", "remark")
    body = [
        [r["region"], PARAMETERS[r["map"]].symbol, r["first"], r["second"], str(r["subjects"]),
         interval(r, "wsd_ratio"), p_value(r["p_pitman_morgan"]), interval(r, "discrimination_ratio"),
         "lower wSD by shrinkage" if r["shrinks"] else ""]
        for r in rows
    ]  # fmt: skip
    return Table(head, body, left=4, words=(8,))


def assumption_table(rows: Sequence[Row]) -> Table:
    """Arrange what was checked of the spread and of normality."""
    head = ("region", "map", "estimator", "form", "log likelihood ratio", "rank correlation (p)", "of logarithms (p)",
            "form holds", "Shapiro-Wilk p")  # fmt: skip
    body = [
        [r["region"], PARAMETERS[r["map"]].symbol, r["estimator"], f"{r['form']} ({r['chosen']})",
         number(r["gain"], 2), f"{number(r['rank'], 2)} ({p_value(r['p_rank'])})",
         f"{number(r['rank_log'], 2)} ({p_value(r['p_rank_log'])})", "yes" if r["form_holds"] else "no",
         p_value(r["shapiro_p"])]
        for r in rows
    ]  # fmt: skip
    return Table(head, body, left=3, words=(3,))


def conformance_table(rows: Sequence[Row]) -> Table:
    """Arrange claims and whether they were met."""
    body = [[r["region"], PARAMETERS[r["map"]].symbol, r["estimator"], r["result"], r["sentence"]] for r in rows]
    return Table(("region", "map", "estimator", "result", "in words"), body, left=3, words=(3, 4))
