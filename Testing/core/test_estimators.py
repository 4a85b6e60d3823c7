"""Every estimator against the common contract, and the list itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from check_estimator import CHECKS

from ivimcore import Acquisition, InputError, available, create
from ivimcore.estimators import SENTENCES, Status

WRITTEN = [name for name, about in available().items() if about.card is None]
"""Trained models are measured against the same contract in Testing/torch, where there is torch."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", WRITTEN)
def test_estimator(name, check):
    check(name)


def test_the_list_holds_the_least_squares_family():
    assert {"adc", "segmented", "nlls"} <= set(available())


def test_an_unknown_estimator_is_refused_with_the_list_of_known_ones():
    with pytest.raises(InputError, match="Unknown estimator 'nils'; known are .*nlls"):
        create("nils")


def test_every_status_has_a_sentence():
    assert set(SENTENCES) == set(Status)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bounds": {"D": (2e-3, 1e-3)}}, "lower first"),
        ({"bounds": {"D": (0, 2.0)}}, "check the unit"),
        ({"bounds": {"f": (0, 40)}}, "at most 1"),
        ({"bounds": {"Q": (0, 1)}}, "not 'Q'"),
        ({"bounds": {"D": 3}}, "two numbers"),
        ({"bounds": "wide"}, "table"),
        ({"organ": "toe"}, "choose one of .*liver"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(options, words):
    with pytest.raises(InputError, match=words):
        create("nlls", **options)


@pytest.mark.parametrize(("value", "words"), [("high", "needs a number"), (-3, "must lie in 0")])
def test_a_wrong_threshold_is_refused(value, words):
    with pytest.raises(InputError, match=words):
        create("segmented", threshold=value)


def test_a_threshold_without_b_values_on_both_sides_blocks_before_work():
    problems = create("segmented", threshold=900).problems(Acquisition([0, 50, 100, 400, 800]))
    assert problems[0].blocks and "threshold 900" in problems[0]


def test_three_b_values_point_to_the_apparent_diffusion_coefficient():
    problems = create("nlls").problems(Acquisition([0, 400, 800]))
    assert problems[0].blocks and "use 'adc'" in problems[0]
    assert not any(problem.blocks for problem in create("adc").problems(Acquisition([0, 400, 800])))


def test_what_a_protocol_cannot_tell_is_said_before_the_fit():
    said = " ".join(create("nlls").problems(Acquisition([50, 400, 800, 1400])))
    for words in ("no image at b = 0", "below 100 s/mm²", "no longer bi-exponential"):
        assert words in said


def test_options_of_a_result_can_be_written_as_json_and_made_again():
    estimator = create("segmented", threshold="150", fit_f="yes", bounds={"D": ["0", "4e-3"]}, organ="liver")
    again = create("segmented", **json.loads(json.dumps(estimator.values())))
    assert again == estimator and estimator.threshold == 150.0 and estimator.fit_f is True


def test_equal_bounds_fix_a_parameter():
    b = Acquisition([0, 10, 20, 50, 100, 200, 400, 800])
    from ivimcore.physics.signal import biexponential

    signal = biexponential(b.bvalues, 100.0, 1e-3, 0.2, 20e-3).reshape(1, 1, 1, -1)
    result = create("nlls", bounds={"Dstar": (20e-3, 20e-3)}).fit(signal, b)
    np.testing.assert_allclose(result.maps["Dstar"], 20e-3, rtol=1e-6)
    np.testing.assert_allclose(result.maps["D"], 1e-3, rtol=1e-4)
    assert result.status[0, 0, 0] == Status.OK and np.isnan(result.errors["Dstar"][0, 0, 0])
