"""Repeatability statistics against print, against independent programs, and against their own promises (coverage)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ivimcore.reports.agreement import bias, bland_altman, differences, icc_agreement, mean_interval
from ivimcore.reports.estimatorcomparison import compare, contrasts, pitman_morgan, variance_ratio
from ivimcore.reports.precisionprofile import CONSTANT, PROPORTIONAL, precision_profile, proportional_gain
from ivimcore.reports.repeatability import analyse, discrimination
from ivimcore.reports.verdicts import Spread, change_limits, change_p, corrected, holm, true_change, verdict
from ivimcore.reports.withinsubject import (
    Interval,
    asymmetric_limits,
    chi_factors,
    logarithm,
    repeatability_coefficient,
    upper_factor,
    wcv_log,
    wcv_rms,
    within_variance,
    wsd,
)

# Bland and Altman, Lancet 1986;i:307: peak flow [l/min] of 17 people, two readings with each of two meters.
WRIGHT = np.array([
    [494, 490], [395, 397], [516, 512], [434, 401], [476, 470], [557, 611], [413, 415], [442, 431], [650, 638],
    [433, 429], [417, 420], [656, 633], [267, 275], [478, 492], [178, 165], [423, 372], [427, 421],
], dtype=float)  # fmt: skip
MINI = np.array([
    [512, 525], [430, 415], [520, 508], [428, 444], [500, 500], [600, 625], [364, 460], [380, 390], [658, 642],
    [445, 432], [432, 420], [626, 605], [260, 227], [477, 467], [259, 268], [350, 370], [451, 443],
], dtype=float)  # fmt: skip
# Bland and Altman, BMJ 1996;313:744: peak flow [l/min] of 20 schoolchildren, four readings each.
CHILDREN = np.array([
    [190, 220, 200, 200], [220, 200, 240, 230], [260, 260, 240, 280], [210, 300, 280, 265], [270, 265, 280, 270],
    [280, 280, 270, 275], [260, 280, 280, 300], [275, 275, 275, 305], [280, 290, 300, 290], [320, 290, 300, 290],
    [300, 300, 310, 300], [270, 250, 330, 370], [320, 330, 330, 330], [335, 320, 335, 375], [350, 320, 340, 365],
    [360, 320, 350, 345], [330, 340, 380, 390], [335, 385, 360, 370], [400, 420, 425, 420], [430, 460, 480, 470],
], dtype=float)  # fmt: skip
# Bland and Altman, Stat Methods Med Res 1999;8:135, table 4 (data of L. S. Bowling): cardiac output by two methods, 3
# to 6 readings of each of 12 people.
CARDIAC = {
    "RV": ("7.83 7.42 7.89 7.12 7.88|6.16 7.26 6.71 6.54|4.75 5.24 4.86 4.78 6.05 5.42|4.21 3.61 3.72 3.87 3.92|"
           "3.13 2.98 2.85 3.17 3.09 3.12|5.92 6.42 5.92 6.27|7.13 6.62 6.58 6.93|4.54 4.81 5.11 5.29 5.39 5.57|"
           "4.48 4.92 3.97|4.22 4.65 4.74 4.44 4.50|6.78 6.07 6.52 6.42 6.41 5.76|5.06 4.72 4.90 4.80 4.90 5.10"),
    "IC": ("6.57 5.62 6.90 6.57 6.35|4.06 4.29 4.26 4.09|4.71 5.50 5.08 5.02 6.01 5.67|4.14 4.20 4.61 4.68 5.04|"
           "3.03 2.86 2.77 2.46 2.32 2.43|5.90 5.81 5.70 5.76|5.09 4.63 4.61 5.09|4.72 4.61 4.36 4.20 4.36 4.20|"
           "3.17 3.12 2.96|4.35 4.62 3.16 3.53 3.53|7.20 6.09 7.00 7.10 7.40 6.80|4.50 4.20 3.80 3.80 4.20 4.50"),
}  # fmt: skip
# Shrout and Fleiss, Psychol Bull 1979;86:420, table 2: six subjects, four judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)

COHORTS, SIZES = 3000, (5, 10, 14, 35, 100)


def ragged(text: str) -> np.ndarray:
    rows = [[float(x) for x in row.split()] for row in text.split("|")]
    return np.array([row + [np.nan] * (6 - len(row)) for row in rows])


# --- print -------------------------------------------------------------------------------------------------------


def test_the_limits_of_agreement_are_those_that_bland_and_altman_printed_in_1986():
    found = bland_altman(WRIGHT[:, 0] - MINI[:, 0], factor=2.0, exact=False)
    assert round(found.mean.value, 1) == -2.1 and round(found.sd, 1) == 38.8
    # They went on from the rounded -2.1 and 38.8.
    assert (found.lower.value, found.upper.value) == pytest.approx((-79.7, 75.5), abs=0.1)
    assert (found.mean.low, found.mean.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert (found.lower.low, found.lower.high) == pytest.approx((-114.3, -45.1), abs=0.3)
    assert (found.upper.low, found.upper.high) == pytest.approx((40.9, 110.1), abs=0.3)


def test_the_repeatability_of_both_meters_is_that_of_1986():
    for readings, sd_of_differences, within in ((WRIGHT, 21.6, 15.3), (MINI, 28.2, 19.9)):
        assert round(float(wsd(readings).value) * np.sqrt(2), 1) == sd_of_differences
        assert round(float(wsd(readings).value), 1) == within


def test_the_measurement_error_of_schoolchildren_is_that_of_1996():
    assert round(float(within_variance(CHILDREN).value), 2) == 460.52
    assert round(float(wsd(CHILDREN).value), 1) == 21.5
    assert round(float(repeatability_coefficient(CHILDREN).value), -1) == 60


def test_unequal_numbers_of_readings_give_the_variances_printed_in_1999():
    for method, printed in (("RV", 0.1072), ("IC", 0.1379)):
        variance = within_variance(ragged(CARDIAC[method]))
        assert round(float(variance.value), 4) == printed
        assert (int(variance.nu), int(variance.subjects)) == (48, 12)


def test_the_icc_is_that_of_shrout_and_fleiss():
    found = icc_agreement(JUDGES)
    assert round(found.value, 2) == 0.29
    # The interval as the R package psych prints it for these data.
    assert (found.low, found.high) == pytest.approx((0.0188, 0.7611), abs=1e-4)


def test_the_factors_are_those_of_the_qiba_tables():
    low, high = chi_factors(14)
    assert (round(float(low), 2), round(float(high), 2)) == (0.73, 1.58)
    assert round(float(upper_factor(14)), 2) == 1.46 and round(float(upper_factor(35)), 2) == 1.25
    half = np.sqrt(np.log(1 + 0.2**2))
    assert [round(100 * float(end)) for end in asymmetric_limits(half)] == [-42, 73]


# --- independent programs ----------------------------------------------------------------------------------------


def test_analysis_of_variance_by_statsmodels_gives_the_same_numbers():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: the second opinion on the ANOVA is skipped")
    formula = pytest.importorskip("statsmodels.formula.api", reason="statsmodels is not installed")
    anova = pytest.importorskip("statsmodels.stats.anova").anova_lm
    values = ragged(CARDIAC["RV"])
    values[2, 3] = values[7, 0] = np.nan
    i, k = np.nonzero(np.isfinite(values))
    table = pandas.DataFrame({"y": values[i, k], "subject": i, "session": k})
    one_way = anova(formula.ols("y ~ C(subject)", table).fit())
    assert float(within_variance(values).value) == pytest.approx(one_way["mean_sq"]["Residual"], rel=1e-9)
    two_way = anova(formula.ols("y ~ C(subject) + C(session)", table).fit())
    shifted = within_variance(values, remove_shift=True)
    assert float(shifted.value) == pytest.approx(two_way["mean_sq"]["Residual"], rel=1e-6)
    assert float(shifted.nu) == two_way["df"]["Residual"]
    i, k = np.indices(CHILDREN.shape)
    table = pandas.DataFrame({"y": CHILDREN.ravel(), "subject": i.ravel(), "session": k.ravel()})
    squares = anova(formula.ols("y ~ C(subject) + C(session)", table).fit())["mean_sq"]
    rows, columns, rest = squares["C(subject)"], squares["C(session)"], squares["Residual"]
    expected = (rows - rest) / (rows + 3 * rest + 4 * (columns - rest) / 20)
    assert icc_agreement(CHILDREN).value == pytest.approx(expected, rel=1e-6)


def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p = np.random.default_rng(3).uniform(0, 0.2, 9)
    expected = multitest.multipletests(p, method="holm")[1]
    assert holm(p) == pytest.approx(expected, rel=1e-12)
    with_gap = np.insert(p, 4, np.nan)
    assert np.isnan(holm(with_gap)[4]) and np.delete(holm(with_gap), 4) == pytest.approx(expected)


def test_bias_is_that_of_scipy_on_the_pairs_that_exist():
    first, second = WRIGHT[:, 0].copy(), WRIGHT[:, 1]
    first[5] = np.nan
    found = bias(first, second)
    kept = np.isfinite(first)
    paired = stats.ttest_rel(second[kept], first[kept])
    assert found.pairs == 16 and found.p_t == pytest.approx(paired.pvalue)
    interval = paired.confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(second[kept] - first[kept]).pvalue)


def test_pitman_morgan_is_the_correlation_of_sum_and_difference():
    rng = np.random.default_rng(0)
    a, b = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 2]], 40).T
    r = np.corrcoef(a - a.mean() + b - b.mean(), a - a.mean() - b + b.mean())[0, 1]
    expected = 2 * stats.t.sf(abs(r) * np.sqrt(38 / (1 - r * r)), 38)
    # One degree of freedom more, because the mean of a contrast is known to be zero.
    assert pitman_morgan(a - a.mean(), b - b.mean()) == pytest.approx(expected, rel=0.05)


# --- promises ----------------------------------------------------------------------------------------------------


def simulated(n: int, form: str, sessions: int = 2, cv: float = 0.1, seed: int = 0):
    """Draw cohorts (COHORTS, n, sessions) and one unchanged new patient each, (COHORTS, 2)."""
    rng = np.random.default_rng([seed, n, sessions])
    means = rng.normal(1.3, 0.3, (COHORTS, n + 1, 1)).clip(0.5)
    noise = cv * rng.normal(size=(COHORTS, n + 1, sessions))
    values = means + noise if form == CONSTANT else means * np.exp(noise)
    return values[:, :-1], values[:, -1, :2]


def assert_share(hits: np.ndarray, expected: float) -> None:
    """Assert that a share of hits is as expected, within 99.9 % of the binomial distribution."""
    low, high = stats.binom.ppf([0.0005, 0.9995], hits.size, expected) / hits.size
    assert low <= hits.mean() <= high, (hits.mean(), low, high)


def holds(interval, truth) -> np.ndarray:
    return (np.asarray(interval.low) <= truth) & (truth <= np.asarray(interval.high))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("sessions", [2, 3])
def test_intervals_of_constant_spread_hold_the_truth_as_often_as_they_say(n, sessions):
    values, _ = simulated(n, CONSTANT, sessions)
    assert_share(holds(wsd(values), 0.1), 0.95)
    assert_share(holds(wsd(values + 0.2 * np.arange(sessions), remove_shift=True), 0.1), 0.95)
    assert_share(holds(repeatability_coefficient(values), 1.96 * np.sqrt(2) * 0.1), 0.95)
    difference = values[..., 1] - values[..., 0]
    assert_share(holds(mean_interval(difference), 0.0), 0.95)
    limits = bland_altman(difference)
    assert_share(holds(limits.upper, 1.96 * np.sqrt(2) * 0.1), 0.95)
    assert_share(holds(limits.lower, -1.96 * np.sqrt(2) * 0.1), 0.95)


@pytest.mark.parametrize("n", SIZES)
def test_unequal_numbers_of_sessions_cost_width_and_no_truth(n):
    values, (before, after) = (lambda pair: (pair[0], pair[1].T))(simulated(n, CONSTANT, 4, seed=9))
    values[np.random.default_rng(n).random(values.shape) < 0.25] = np.nan
    variance = within_variance(values)
    assert_share(holds(wsd(values), 0.1), 0.95)
    assert_share(change_p(before, after, CONSTANT, np.sqrt(variance.value), variance.nu) < 0.05, 0.05)


@pytest.mark.parametrize("n", SIZES)
def test_intervals_of_proportional_spread_hold_the_truth_as_often_as_they_say(n):
    values, _ = simulated(n, PROPORTIONAL)
    assert_share(holds(wsd(logarithm(values)), 0.1), 0.95)
    assert_share(holds(wcv_log(values), np.sqrt(np.expm1(0.01))), 0.95)
    # s/m of two lognormal readings is √2 tanh(δ/2) with δ the difference of their logarithms.
    delta = 0.1 * np.sqrt(2) * np.random.default_rng(1).normal(size=400_000)
    assert_share(holds(wcv_rms(values), np.sqrt(2 * np.mean(np.tanh(delta / 2) ** 2))), 0.95)


@pytest.mark.parametrize("n", [10, 14, 35, 100])
def test_the_interval_of_the_icc_holds_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    values = rng.normal(0, 0.2, (COHORTS, n, 1)) + rng.normal(0, 0.1, (COHORTS, n, 2))
    assert_share(holds(icc_agreement(values), 0.8), 0.95)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("form", [CONSTANT, PROPORTIONAL])
def test_one_unchanged_patient_in_twenty_is_called_changed_and_no_more(n, form):
    values, (before, after) = (lambda pair: (pair[0], pair[1].T))(simulated(n, form, seed=7))
    raw, log = within_variance(values), within_variance(logarithm(values))
    constant = change_p(before, after, CONSTANT, np.sqrt(raw.value), raw.nu)
    proportional = change_p(before, after, PROPORTIONAL, np.sqrt(log.value), log.nu)
    assert_share((constant if form == CONSTANT else proportional) < 0.05, 0.05)
    # The form chosen from the same few subjects: averaged with the likelihood weights, as `Spread.p` does.
    weight = 1 / (1 + np.exp(-np.nan_to_num(proportional_gain(values))))
    assert_share((1 - weight) * constant + weight * proportional < 0.05, 0.05)


def test_the_classical_rule_calls_seven_percent_of_unchanged_patients_changed_with_fourteen_subjects():
    values, (before, after) = (lambda pair: (pair[0], pair[1].T))(simulated(14, CONSTANT, seed=8))
    assert_share(np.abs(after - before) > repeatability_coefficient(values).value, 0.070)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_interval_of_discrimination_holds_the_truth_as_often_as_it_says(n, ratio):
    rng = np.random.default_rng([n, int(10 * ratio)])
    cohorts = rng.normal(1.3, 0.1 * ratio, (COHORTS, n, 1)) + 0.1 * rng.normal(size=(COHORTS, n, 4))
    assert_share(holds(discrimination(cohorts[..., :2]), ratio), 0.95)
    # With gaps it is an approximation, and a good one.
    cohorts[rng.random(cohorts.shape) < 0.25] = np.nan
    assert_share(holds(discrimination(cohorts), ratio), 0.95)


@pytest.mark.parametrize("n", SIZES)
def test_the_interval_of_two_wsd_on_the_same_subjects_holds_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    one = rng.normal(size=(COHORTS, n))
    other = 1.5 * (0.7 * one + np.sqrt(1 - 0.49) * rng.normal(size=(COHORTS, n)))
    found = Interval(*np.array([variance_ratio(a, b) for a, b in zip(one, other, strict=True)]).T)
    assert_share(holds(found, 1 / 1.5**2), 0.95)
    # Interval and test are two views of one thing.
    tested = np.array([pitman_morgan(a, b) > 0.05 for a, b in zip(one[:300], other[:300], strict=True)])
    assert np.array_equal(tested, holds(Interval(*(end[:300] for end in found)), 1.0))


def test_the_asymmetric_limits_have_the_interval_of_the_logarithmic_sd():
    found = analyse(simulated(14, PROPORTIONAL)[0][0])
    for side, (limit, sign) in enumerate(zip(found.limits, (-1, 1), strict=True)):
        assert limit.low < limit.value < limit.high
        near, far = sorted((limit.low, limit.high), key=abs)
        assert near == pytest.approx(np.expm1(sign * 1.96 * np.sqrt(2) * found.log_sd.low)), side
        assert far == pytest.approx(np.expm1(sign * 1.96 * np.sqrt(2) * found.log_sd.high)), side


# --- forms and verdicts ------------------------------------------------------------------------------------------


def test_the_form_of_the_spread_is_found_with_enough_subjects():
    for form in (CONSTANT, PROPORTIONAL):
        values, _ = simulated(100, form)
        assert np.mean((proportional_gain(values) > 0) == (form == PROPORTIONAL)) > 0.9


def test_a_spread_that_follows_neither_form_is_said():
    rng = np.random.default_rng(2)
    means = rng.uniform(0.5, 2.0, 200)
    values = means[:, None] * np.exp(0.1 * means[:, None] ** 2 * rng.normal(size=(200, 2)))
    profile = precision_profile(values)
    assert not profile.holds and "neither form holds" in profile.sentence


def test_limits_and_intervals_of_a_chosen_form_are_the_printed_formulas():
    t = stats.t.ppf(0.975, 14)
    constant = Spread(CONSTANT, 0.1, np.nan, 14, 14, 0.0)
    assert change_limits(1.0, constant) == pytest.approx((-t * np.sqrt(2) * 0.1, t * np.sqrt(2) * 0.1), rel=1e-9)
    proportional = Spread(PROPORTIONAL, np.nan, 0.1, 14, 14, 1.0)
    half = t * np.sqrt(2) * 0.1
    assert change_limits(1.0, proportional) == pytest.approx((np.expm1(-half), np.expm1(half)), rel=1e-9)
    expected = (1.4 * np.exp(-half) - 1, 1.4 * np.exp(half) - 1)
    assert true_change(1.0, 1.4, proportional) == pytest.approx(expected, rel=1e-9)


def test_a_verdict_its_limit_its_interval_and_its_p_value_say_the_same():
    for weight in (0.0, 0.3, 1.0):
        spread = Spread(PROPORTIONAL, 0.12, 0.1, 13, 40, weight)
        for after in (0.6, 0.7, 0.75, 0.9, 1.0, 1.2, 1.3, 1.35, 1.5, 3.0):
            found = verdict(1.0, after, spread)
            changed = found.word == "changed"
            assert changed == (found.p < 0.05) == (not found.low <= 0 <= found.high)
            assert changed == (not found.limit_low <= found.change <= found.limit_high)


def test_few_reference_subjects_give_no_verdict_unless_asked_and_say_the_width_below_35():
    few = Spread(CONSTANT, 0.1, np.nan, 8, 8, 0.0)
    assert verdict(1.0, 2.0, few).word == "no verdict" and "too few" in verdict(1.0, 2.0, few).reason
    assert verdict(1.0, 2.0, few, few=True).word == "changed"
    assert "factor of 0.73 to 1.58" in verdict(1.0, 2.0, Spread(CONSTANT, 0.1, np.nan, 14, 14, 0.0)).reason
    assert verdict(1.0, 2.0, Spread(CONSTANT, 0.1, np.nan, 35, 35, 0.0)).reason == ""


def test_holm_takes_a_chance_finding_back():
    spread = Spread(CONSTANT, 0.1, np.nan, 40, 40, 0.0)
    found = [verdict(1.0, 1.0 + change, spread) for change in (0.3, 0.05, 0.02, 0.01)]
    assert found[0].word == "changed" and corrected(found)[0].word == "within chance"
    assert corrected(found)[0].comparisons == 4


# --- data as they come -------------------------------------------------------------------------------------------


def test_missing_sessions_and_lost_subjects_are_counted_and_not_guessed():
    values = np.array([[1.0, 1.2, np.nan], [2.0, np.nan, np.nan], [np.nan] * 3, [1.5, 1.4, 1.6]])
    found = analyse(values)
    assert (found.subjects, found.left_out, found.nu) == (2, 1, 3)
    expected = (np.var([1.0, 1.2], ddof=1) + 2 * np.var([1.5, 1.4, 1.6], ddof=1)) / 3
    assert found.wsd.value == pytest.approx(np.sqrt(expected))


@pytest.mark.parametrize("values", [np.full((5, 2), np.nan), np.empty((0, 2)), np.ones((3, 1)), np.ones((4, 2))])
def test_nothing_to_say_is_said_without_warnings(values):
    found = analyse(values)
    assert found.icc.value != found.icc.value or found.subjects
    assert verdict(1.0, 2.0, found.spread, few=True).word in ("no verdict", "changed")


def test_zeros_and_negative_values_keep_the_constant_form():
    values = np.array([[0.0, 0.1], [0.2, 0.1], [-0.05, 0.02], [0.3, 0.25]])
    found = analyse(values, form=PROPORTIONAL)
    assert found.profile.form == CONSTANT and "no logarithm" in found.profile.sentence
    assert np.isnan(found.wcv_log.value) and np.isfinite(found.wsd.value)


def test_shrinkage_lowers_wsd_but_not_the_discrimination():
    rng = np.random.default_rng(11)
    plain = rng.normal(1.0, 0.2, (40, 1)) + rng.normal(0, 0.1, (40, 2))
    shrunk = 1.0 + 0.3 * (plain - 1.0)
    found = compare(shrunk, plain)
    assert found.wsd_ratio.value == pytest.approx(0.3) and found.p < 1e-6
    assert found.discrimination_ratio.value == pytest.approx(1.0)
    assert analyse(shrunk).icc.value == pytest.approx(analyse(plain).icc.value)


def test_two_equally_good_estimators_are_told_apart_one_time_in_twenty():
    rng = np.random.default_rng(12)
    noise = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], (2000, 14))
    p = np.array([pitman_morgan(*(cohort[:, side] for side in (0, 1))) for cohort in noise])
    assert_share(p < 0.05, 0.05)


def test_contrasts_are_orthonormal_and_blind_to_the_subject():
    values = np.random.default_rng(1).normal(size=(7, 4))
    assert (contrasts(values) ** 2).sum() / 21 == pytest.approx(float(within_variance(values).value))
    assert contrasts(values + 5.0) == pytest.approx(contrasts(values))


def test_differences_are_of_pairs_that_exist():
    assert differences([1.0, np.nan, 3.0], [2.0, 5.0, np.nan]).tolist() == [1.0]
