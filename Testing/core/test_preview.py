"""The fit of one signal: what it says, what it says of signals that cannot be fitted, and how long it takes."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore import PARAMETERS, Acquisition, Status, available, create
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential
from ivimcore.reports.preview import NOT_FITTED, preview, with_deviation

B = protocol("abdomen12").acquisition().bvalues
CLEAN = biexponential(B, 500.0, 1.4e-3, 0.2, 45e-3)
NOISY = CLEAN + np.random.default_rng(4).normal(scale=8.0, size=B.size)
SIGMAS = (8.0, None)
WRONG = {
    "zero": 0 * CLEAN, "negative": -CLEAN, "NaN": np.where(B == 20, np.nan, CLEAN),
    "infinite": np.where(B == 20, np.inf, CLEAN), "all NaN": np.full(B.size, np.nan), "rising": CLEAN[::-1],
    "one zero": np.where(B == 600, 0.0, CLEAN), "mixed": NOISY - 300, "tiny": 1e-9 * CLEAN, "constant": 0 * CLEAN + 7,
}

CLASSICAL = [name for name, about in available().items() if about.card is None]
"""A network has no limits to set, and is not fitted in the process of a window."""


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_every_estimator_previews_a_signal_with_numbers_curve_and_table(name, sigma):
    found = preview(create(name), NOISY, Acquisition(B, sigma=sigma))
    assert found.estimator == name and found.status == Status.OK and found.sentence == ""
    assert set(found.values) == set(create(name).parameters) and set(found.errors) <= set(found.values)
    assert all(np.isfinite(list(found.values.values()))) and all(np.isfinite(list(found.errors.values())))
    assert found.fine_b.shape == found.fitted.shape == found.tissue.shape and found.has_curve
    assert found.fine_b[0] == 0 and found.fine_b[-1] == B.max()
    key = "ADC" if name == "adc" else "D"
    assert found.values[key] == pytest.approx(1.5e-3, rel=0.4)
    assert np.sqrt(np.mean((np.interp(B, found.fine_b, found.fitted) - NOISY) ** 2)) < 60
    assert (found.tissue <= found.fitted + 1e-9).all()
    assert np.isfinite(found.residual) and found.residual > 0
    for key, text in found.texts().items():
        assert "±" in text and text.endswith(PARAMETERS[key].display_unit)
    assert [row[0] for row in found.rows()] == [PARAMETERS[key].symbol for key in (*found.values, "rmse")]


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", WRONG)
def test_a_signal_that_cannot_be_fitted_is_a_sentence_and_no_exception(name, sigma, kind):
    found = preview(create(name), WRONG[kind], Acquisition(B, sigma=sigma))
    if kind in ("zero", "negative", "NaN", "infinite", "all NaN"):
        assert found.sentence and found.status != Status.OK
        assert np.isnan(list(found.values.values())).all() and not found.has_curve
        assert set(found.texts().values()) == {"no value"}
    assert found.rows() and all(isinstance(text, str) for row in found.rows() for text in row)


def test_the_preview_is_what_the_fit_of_that_voxel_gives():
    for name in ("nlls", "segmented", "mle_rician", "adc"):
        acquisition = Acquisition(B, sigma=8.0)
        found = preview(create(name), NOISY, acquisition)
        fit = create(name).fit(np.tile(NOISY, (2, 2, 1, 1)), acquisition)
        for key, value in found.values.items():
            assert value == fit.maps[key][1, 1, 0]


def test_what_the_run_will_do_otherwise_is_said():
    known = Acquisition(B, sigma=8.0)
    assert "learns its prior" in preview(create("posterior"), NOISY, known).note
    assert preview(create("posterior", prior="uniform"), NOISY, known).note == ""
    assert "neighbours" in preview(create("bayes_mrf"), NOISY, known).note
    assert preview(create("nlls"), NOISY, Acquisition(B)).note == ""
    assert "noise" in preview(create("posterior", prior="uniform"), NOISY, Acquisition(B)).note


def test_a_signal_that_says_little_is_marked():
    weak = np.abs(np.random.default_rng(0).normal(scale=8.0, size=B.size)) + 4
    found = preview(create("posterior", prior="uniform"), weak, Acquisition(B, sigma=8.0))
    assert set(found.information) == {"D", "f", "Dstar"}
    assert "D*" in found.note and "mostly what the prior says" in found.note


def test_no_perfusion_leaves_d_star_without_a_value_and_says_so():
    found = preview(create("nlls"), 500 * np.exp(-B * 1e-3), Acquisition(B))
    assert found.status == Status.NO_PERFUSION and "D* is not determined" in found.sentence
    assert np.isnan(found.values["Dstar"]) and found.texts()["Dstar"] == "no value" and found.has_curve


@pytest.mark.parametrize(
    ("estimator", "signal", "b", "words"),
    [
        (create("nlls"), [1.0, 0.5], [0, 500], "needs at least 4 different b-values"),
        (create("nlls"), [1.0, 0.5, 0.2], B, "b-values"),
        (create("segmented", threshold=5000.0), CLEAN, B, "threshold 5000"),
        (create("posterior", prior="file", prior_file="/nowhere.npz"), CLEAN, B, "no prior file"),
        (create("posterior", prior="organ"), CLEAN, B, "set the option 'organ'"),
    ],
)
def test_a_protocol_or_option_that_does_not_fit_is_a_sentence(estimator, signal, b, words):
    found = preview(estimator, np.array(signal), Acquisition(b))
    assert found.status == NOT_FITTED and words in found.sentence and not found.has_curve
    assert np.isnan(list(found.values.values())).all()


def test_a_value_and_its_standard_deviation_have_one_unit_and_the_same_decimals():
    assert with_deviation("D", 1.2345e-3, 0.0512e-3) == "1.234 ± 0.051 10⁻³ mm²/s"
    assert with_deviation("f", 0.21, 0.034) == "21.0 ± 3.4 %"
    assert with_deviation("Dstar", 45e-3, 133e-3) == "45 ± 133 10⁻³ mm²/s"
    assert with_deviation("D", 1.2345e-3) == with_deviation("D", 1.2345e-3, float("nan")) == "1.23 10⁻³ mm²/s"
    assert with_deviation("f", 0.0).startswith("0.0")
    assert with_deviation("S0", 5e32, 12.0) == "5e+32 ± 12 signal units"
    assert with_deviation("S0", float("nan"), 1.0) == "no value"
