"""The hint which estimator to begin with."""

from __future__ import annotations

import pytest

from ivimcore import Acquisition, available, create
from ivimcore.reports.recommendation import recommend

MANY = Acquisition([0, 10, 20, 40, 80, 150, 300, 500, 800])


@pytest.mark.parametrize(
    ("acquisition", "snr", "estimator", "words"),
    [
        (Acquisition([0, 500, 1000]), 30.0, "adc", "3 different b-values"),
        (Acquisition([0, 100, 400, 800]), 30.0, "posterior", "next to nothing of D*"),
        (MANY, None, "posterior", "whatever the noise"),
        (MANY, 8.0, "posterior", "SNR 8"),
        (MANY, 30.0, "posterior", "information map"),
        (MANY, 100.0, "nlls", "SNR 100"),
    ],
)
def test_the_hint_names_an_estimator_that_exists_and_says_why(acquisition, snr, estimator, words):
    hint = recommend(acquisition, snr)
    assert f"'{estimator}'" in hint and words in hint and estimator in available()
    assert not any(problem.blocks for problem in create(estimator).problems(acquisition))
