"""The tables of a test-retest report: one list of rows for the page and for the CSV behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from ..physics.parameters import PARAMETERS
from .cohortanalysis import Analysis, Cell
from .reportfigures import first_and_last, standardised_differences
from .verdicts import FEWEST_SUBJECTS
from .withinsubject import Interval

Row = dict[str, Any]
REPEATABILITY_COLUMNS = (
    "estimator", "region", "map", "unit", "subjects", "sessions", "nu", "mean", "wsd", "wsd_low", "wsd_high",
    "wsd_without_shift", "wsd_without_shift_low", "wsd_without_shift_high", "rc", "rc_low", "rc_high", "wcv_rms",
    "wcv_rms_low", "wcv_rms_high", "wcv_log", "wcv_log_low", "wcv_log_high", "limit_low", "limit_low_low",
    "limit_low_high", "limit_high", "limit_high_low", "limit_high_high", "form", "verdict_half_width", "between_sd",
    "between_over_wsd", "between_over_wsd_low", "between_over_wsd_high", "icc", "icc_low", "icc_high",
    "information", "bias", "bias_low", "bias_high", "bias_p_t", "bias_p_wilcoxon", "mean_difference", "loa_low",
    "loa_low_low", "loa_low_high", "loa_high", "loa_high_low", "loa_high_high",
)  # fmt: skip
POINT_COLUMNS = (
    "estimator", "region", "map", "unit", "subject", "group", "earlier", "later", "mean", "difference", "within_sd",
    "standardised_difference",
)
VERDICT_COLUMNS = (
    "estimator", "region", "map", "unit", "subject", "before", "after", "change", "relative", "change_low",
    "change_high", "limit_low", "limit_high", "p", "p_holm", "comparisons", "verdict", "reason",
)
TREATED_COLUMNS = ("estimator", "region", "map", "unit", "pairs", "before", "after", "difference", "low", "high", "p_t",
                   "p_wilcoxon", "changed")  # fmt: skip
COMPARISON_COLUMNS = (
    "region", "map", "first", "second", "subjects", "wsd_ratio", "wsd_ratio_low", "wsd_ratio_high", "p_pitman_morgan",
    "discrimination_ratio", "discrimination_ratio_low", "discrimination_ratio_high", "shrinks",
)
ASSUMPTION_COLUMNS = (
    "estimator", "region", "map", "form", "chosen", "gain", "rank", "p_rank", "rank_log", "p_rank_log", "form_holds",
    "shapiro_w", "shapiro_p",
)
CONFORMANCE_COLUMNS = ("estimator", "region", "map", "observed", "upper_bound", "claimed", "result", "sentence")


def _head(cell: Cell) -> Row:
    return {"estimator": cell.estimator, "region": cell.region, "map": cell.map, "unit": PARAMETERS[cell.map].unit}


def _ends_of(name: str, found: Interval) -> Row:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def repeatability_rows(cells: Sequence[Cell]) -> list[Row]:
    """One row for each estimator, region and map; stored units, relative numbers [1]."""
    rows = []
    for cell in cells:
        found = cell.found
        first = found.bias[-1] if found.bias else None
        nothing = Interval(np.nan, np.nan, np.nan)
        rows.append({
            **_head(cell), "subjects": found.subjects, "sessions": found.sessions, "nu": found.nu, "mean": found.mean,
            **_ends_of("wsd", found.wsd), **_ends_of("wsd_without_shift", found.wsd_unbiased),
            **_ends_of("rc", found.rc), **_ends_of("wcv_rms", found.wcv_rms), **_ends_of("wcv_log", found.wcv_log),
            **_ends_of("limit_low", found.limits[0]), **_ends_of("limit_high", found.limits[1]),
            "form": found.profile.form, "verdict_half_width": found.prediction,
            "between_sd": found.between, **_ends_of("between_over_wsd", found.ratio), **_ends_of("icc", found.icc),
            "information": found.information, **_ends_of("bias", first.difference if first else nothing),
            "bias_p_t": first.p_t if first else np.nan, "bias_p_wilcoxon": first.p_wilcoxon if first else np.nan,
            "mean_difference": found.bland_altman.mean.value, **_ends_of("loa_low", found.bland_altman.lower),
            **_ends_of("loa_high", found.bland_altman.upper),
        })  # fmt: skip
    return rows


def point_rows(cells: Sequence[Cell], names: Mapping[str, str]) -> list[Row]:
    """One row for each symbol of the figures: reference subjects and treated patients."""
    rows = []
    for cell in cells:
        first, last = first_and_last(cell.values)
        standard = iter(standardised_differences(cell))
        for number, who in enumerate(cell.subjects):
            pair = bool(np.isfinite(first[number]) and np.isfinite(last[number]))
            values = cell.values[number][np.isfinite(cell.values[number])]
            rows.append({
                **_head(cell), "subject": names.get(who, who), "group": "reference", "earlier": first[number],
                "later": last[number], "mean": (first[number] + last[number]) / 2,
                "difference": last[number] - first[number],
                "within_sd": float(values.std(ddof=1)) if values.size > 1 else np.nan,
                "standardised_difference": next(standard, np.nan) if pair else np.nan,
            })  # fmt: skip
        for who, (before, after) in zip(cell.patients, cell.pairs, strict=True):
            rows.append({
                **_head(cell), "subject": names.get(who, who), "group": "treated", "earlier": before, "later": after,
                "mean": (before + after) / 2, "difference": after - before, "within_sd": np.nan,
                "standardised_difference": np.nan,
            })  # fmt: skip
    return rows


def verdict_rows(cells: Sequence[Cell], names: Mapping[str, str]) -> list[Row]:
    """One row for each patient, estimator, region and map."""
    return [
        {
            **_head(cell), "subject": names.get(who, who), "before": item.before, "after": item.after,
            "change": item.change, "relative": item.relative, "change_low": item.low, "change_high": item.high,
            "limit_low": item.limit_low, "limit_high": item.limit_high, "p": item.p, "p_holm": item.p_holm,
            "comparisons": item.comparisons, "verdict": item.word, "reason": item.reason,
        }
        for cell in cells for who, item in zip(cell.patients, cell.verdicts, strict=True)
    ]  # fmt: skip


def treated_rows(cells: Sequence[Cell]) -> list[Row]:
    """One row for each paired test of the treated group."""
    rows = []
    for cell in cells:
        if not cell.patients:
            continue
        both = cell.pairs[np.isfinite(cell.pairs).all(axis=1)]
        before, after = both.mean(axis=0) if len(both) else (np.nan, np.nan)
        test = cell.treated
        rows.append({
            **_head(cell), "pairs": test.pairs, "before": before, "after": after, "difference": test.difference.value,
            "low": test.difference.low, "high": test.difference.high, "p_t": test.p_t, "p_wilcoxon": test.p_wilcoxon,
            "changed": len(cell.changed),
        })  # fmt: skip
    return rows


def comparison_rows(analysis: Analysis) -> list[Row]:
    """One row for each pair of estimators on a region and map."""
    return [
        {
            "region": region, "map": key, "first": first, "second": second, "subjects": found.subjects,
            **_ends_of("wsd_ratio", found.wsd_ratio), "p_pitman_morgan": found.p,
            **_ends_of("discrimination_ratio", found.discrimination_ratio), "shrinks": found.shrinks,
        }
        for region, key, first, second, found in analysis.comparisons
    ]  # fmt: skip


def assumption_rows(cells: Sequence[Cell]) -> list[Row]:
    """One row for each estimator, region and map: form of the spread, its trend, normality of the differences."""
    rows = []
    for cell in cells:
        profile, standard = cell.found.profile, standardised_differences(cell)
        enough = standard.size >= 3 and np.ptp(standard) > 0
        w, p = scipy.stats.shapiro(standard) if enough else (np.nan, np.nan)
        rows.append({
            "estimator": cell.estimator, "region": cell.region, "map": cell.map, "form": profile.form,
            "chosen": profile.chosen, "gain": profile.gain, "rank": profile.rank, "p_rank": profile.p,
            "rank_log": profile.rank_log, "p_rank_log": profile.p_log, "form_holds": profile.holds,
            "shapiro_w": float(w), "shapiro_p": float(p),
        })  # fmt: skip
    return rows


def conformance_rows(cells: Sequence[Cell]) -> list[Row]:
    """One row for each claim that speaks of a map and region."""
    return [
        {
            "estimator": cell.estimator, "region": cell.region, "map": cell.map, "observed": item.observed,
            "upper_bound": item.upper, "claimed": item.claim.wcv if item.claim.wcv is not None else item.claim.rc,
            "result": item.word, "sentence": item.sentence,
        }
        for cell in cells for item in cell.conformance
    ]  # fmt: skip


def claim_sentences(analysis: Analysis) -> list[str]:
    """Write one claim for every region and map: beyond what, by which estimator, a change is a true change."""
    said = []
    for region, key in dict.fromkeys((cell.region, cell.map) for cell in analysis.cells):
        mine = [c for c in analysis.cells if (c.region, c.map) == (region, key) and c.found.spread.known]
        if mine:
            limits = "; ".join(_limit_words(cell) for cell in mine)
            counts = sorted({cell.found.subjects for cell in mine})
            said.append(
                f"A change of {PARAMETERS[key].symbol} in {region} beyond the limit is a true change with "
                f"{100 * analysis.options.level:.0f} % confidence: {limits} (n = {' or '.join(map(str, counts))}"
                + (", too few to judge a single patient)." if counts[-1] < FEWEST_SUBJECTS else ").")
            )
    return said


def _limit_words(cell: Cell) -> str:
    """Write 'posterior −16/+19 %', or with a constant spread the change in its unit."""
    found, shown = cell.found, PARAMETERS[cell.map]
    if found.profile.form == "proportional":
        low, high = 100 * np.expm1(-found.prediction), 100 * np.expm1(found.prediction)
        limit = f"±{high:.0f} %" if round(-low) == round(high) else f"−{-low:.0f}/+{high:.0f} %"
    else:
        unit = "percentage points" if shown.display_unit == "%" else f"·{shown.display_unit}"
        limit = f"±{found.prediction * shown.display_factor:.2g} {unit}".replace(" ·", "·")
    return f"{cell.estimator} {limit}" + ("" if found.profile.holds else " (a trend of the spread remains)")

