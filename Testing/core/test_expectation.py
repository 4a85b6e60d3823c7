"""The expected error of a protocol, before anything is fitted: against the scatter of real fits."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ivimcore import PARAMETERS, Acquisition, InputError, available, create
from ivimcore.physics.noise import add_rician
from ivimcore.physics.presets import PRESETS
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential
from ivimcore.reports.expectation import expect, typical_sentence, typical_tissue

ABDOMEN = protocol("abdomen12").acquisition()


def by_key(*arguments, **options):
    return {each.key: each for each in expect(*arguments, **options)}


def scatter(name, acquisition, snr, tissue, voxels=4000):
    """Return the root mean square error of real fits of one tissue with Rician noise."""
    signal = biexponential(acquisition.bvalues, 1.0, tissue["D"], tissue["f"], tissue["Dstar"])
    noisy = add_rician(np.broadcast_to(signal, (voxels, 1, 1, signal.size)), 1 / snr, np.random.default_rng(3))
    maps = create(name).fit(noisy, Acquisition(acquisition.bvalues, sigma=1 / snr)).maps
    return {key: float(np.sqrt(np.nanmean((maps[key] - tissue[key]) ** 2))) for key in ("D", "f", "Dstar")}


@pytest.mark.parametrize(
    ("name", "list_of_b", "organ", "snr"),
    [
        ("nlls", "abdomen12", "none", 40),
        ("nlls", "abdomen104", "liver", 20),
        ("mle_rician", "abdomen12", "kidney", 40),
        ("segmented", "clinical6", "none", 60),
    ],
)
def test_the_expected_error_is_that_of_real_fits_where_it_is_small(name, list_of_b, organ, snr):
    acquisition = protocol(list_of_b).acquisition()
    expected, seen = by_key(acquisition, snr, organ, name), scatter(name, acquisition, snr, typical_tissue(organ))
    compared = [key for key, each in expected.items() if each.relative < 0.3]
    assert "D" in compared and "f" in compared
    for key in compared:
        assert expected[key].deviation == pytest.approx(seen[key], rel=0.25), key


def test_where_the_error_is_large_real_fits_are_no_better_than_said():
    acquisition = protocol("clinical6").acquisition()
    expected, seen = by_key(acquisition, 40, "none", "nlls"), scatter("nlls", acquisition, 40, typical_tissue())
    assert expected["Dstar"].level == "poor" and seen["Dstar"] > 0.75 * expected["Dstar"].deviation


def test_repeated_images_count():
    once = by_key(ABDOMEN, 40, estimator="nlls")
    four = by_key(Acquisition(np.repeat(ABDOMEN.bvalues, 4)), 40, estimator="nlls")
    for key in once:
        assert four[key].deviation == pytest.approx(once[key].deviation / 2, rel=1e-9)


def test_more_signal_turns_red_to_green():
    levels = [by_key(ABDOMEN, snr, estimator="nlls")["Dstar"].level for snr in (5, 40, 200)]
    assert levels == ["poor", "fair", "good"]


@pytest.mark.parametrize("name", ["anyprotocol", *(name for name, about in available().items() if about.card is None)])
def test_every_estimator_gets_a_complete_sentence_for_each_of_its_parameters(name):
    found = expect(ABDOMEN, 40, "liver", name)
    assert [each.key for each in found] == [key for key in available()[name].parameters if key != "S0"]
    for each in found:
        shown = PARAMETERS[each.key]
        assert each.sentence.startswith(f"{shown.symbol}: ") and shown.display_unit in each.sentence
        assert "% of the value" in each.sentence
        assert each.relative == pytest.approx(each.deviation / each.typical)
        assert each.level == ("good" if each.relative <= 0.2 else "fair" if each.relative <= 0.5 else "poor")


def test_a_sentence_reads_as_a_person_would_say_it():
    sentences = [each.sentence for each in expect(ABDOMEN, 40, estimator="nlls")]
    assert sentences[0] == "D: 1.46 ± 0.14 10⁻³ mm²/s (9 % of the value)"
    assert sentences[1] == "f: 21.0 ± 3.0 % (14 % of the value)"


def test_a_prior_limits_the_error_and_is_named_where_it_does_most():
    poor = Acquisition([0, 500, 600, 800])
    free, held = by_key(poor, 20, estimator="nlls"), by_key(poor, 20)
    assert free["Dstar"].relative == np.inf and free["Dstar"].sentence.startswith("D*: cannot be determined")
    assert np.isfinite(held["Dstar"].relative) and held["Dstar"].sentence.endswith("mostly what the prior says")
    assert held["Dstar"].level == "poor" and held["Dstar"].prior_share > 0.99
    assert held["D"].deviation < free["D"].deviation


def test_a_good_measurement_is_the_same_with_and_without_a_prior():
    for key, each in by_key(protocol("abdomen104").acquisition(), 60).items():
        free = by_key(protocol("abdomen104").acquisition(), 60, estimator="nlls")[key]
        assert each.deviation == pytest.approx(free.deviation, rel=0.02) and each.prior_share < 0.05


@pytest.mark.parametrize("name", ["posterior", "bayes_map", "bayes_mrf"])
def test_the_prior_named_by_the_options_counts(name):
    broad = by_key(ABDOMEN, 10, "liver", name)
    tight = by_key(ABDOMEN, 10, "liver", name, options={"bounds": {"Dstar": (60e-3, 80e-3)}})
    assert broad["Dstar"].level == "poor"
    if name == "posterior":
        assert tight["Dstar"].deviation < 10e-3 and tight["Dstar"].level == "poor"  # green would claim a measurement
        organ = by_key(ABDOMEN, 10, "liver", name, options={"prior": "organ", "organ": "liver"})
        assert organ["D"].deviation < broad["D"].deviation


def test_the_error_of_the_method_itself_is_told_apart_from_noise():
    found = by_key(Acquisition([0, 20, 50, 80, 100, 120]), 400, "kidney", "segmented", {"threshold": 50})
    assert any("error of the method, not noise" in each.sentence for each in found.values())


def test_a_fixed_parameter_is_no_question_and_helps_the_others():
    free = by_key(ABDOMEN, 40, estimator="nlls")
    fixed = by_key(ABDOMEN, 40, estimator="nlls", options={"bounds": {"D": (1.5e-3, 1.5e-3)}})
    assert fixed["D"].deviation == 0 and "fixed at 1.5 10⁻³ mm²/s" in fixed["D"].sentence
    assert fixed["f"].deviation < free["f"].deviation


def test_a_protocol_that_cannot_be_fitted_says_why_for_every_parameter():
    found = expect(Acquisition([0, 500]), 40)
    assert [each.level for each in found] == ["poor"] * 3
    assert all("cannot be determined. 'posterior' needs at least 4" in each.sentence for each in found)
    (adc,) = expect(Acquisition([0, 500]), 40, estimator="adc")
    assert adc.level == "good"


def test_the_typical_tissue_is_that_of_the_organ_or_of_the_abdomen():
    for organ in PRESETS:
        assert typical_tissue(organ) == PRESETS[organ].typical
    assert typical_tissue() == PRESETS["abdomen"].typical
    assert "no organ is chosen" in typical_sentence() and "D 1.09 10⁻³ mm²/s" in typical_sentence("liver")
    for key, value in typical_tissue().items():
        low, high = PARAMETERS[key].typical
        assert low < value < high


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((ABDOMEN, 0), "SNR is 0"), ((ABDOMEN, -3.0), "SNR is -3"), ((ABDOMEN, np.nan), "SNR is nan"),
        ((ABDOMEN, np.inf), "SNR is inf"), ((ABDOMEN, 40, "toe"), "Unknown organ"),
        ((ABDOMEN, 40, "none", "magic"), "Unknown estimator"),
        ((ABDOMEN, 40, "none", "nlls", {"colour": 1}), "no option 'colour'"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(arguments, words):
    with pytest.raises(InputError, match=re.escape(words)):
        expect(*arguments)


def test_a_network_is_judged_by_what_the_exact_posterior_can_reach():
    network = expect(ABDOMEN, 40, estimator="anyprotocol")
    exact = expect(ABDOMEN, 40, estimator="posterior", options={"prior": "uniform"})
    assert [each.deviation for each in network] == [each.deviation for each in exact]


def test_a_network_for_other_b_values_says_why_it_cannot_be_used():
    found = expect(ABDOMEN, 40, estimator="mlp_supervised_paper1")
    assert all(each.level == "poor" and "b-values" in each.sentence for each in found)
