"""Priors learned from least squares, and the maximum a posteriori under them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from ivimcore import Acquisition, InputError, Status, create
from ivimcore.estimators.bayes import DataDrivenMaximumAPosteriori
from ivimcore.estimators.parametricpriors import BROAD, ENOUGH_VOXELS, PriorPenalty, Priors, fit_priors
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.evaluation.metrics import nrmse
from ivimcore.physics.signal import biexponential

PUBLISHED = {"D": 0.233, "f": 0.281, "Dstar": 0.575}


def volume(signal):
    return np.asarray(signal).reshape(-1, 1, 1, np.shape(signal)[-1])


def errors_of(result, truth):
    return {key: nrmse(result.maps[key].ravel(), truth[key]) for key in PUBLISHED}


def test_the_published_accuracy_is_reproduced_within_eight_per_cent():
    signal, truth, acquisition = benchmark("paper1").simulate(20)
    found = errors_of(create("bayes_map").fit(volume(signal), acquisition), truth)
    for key, value in PUBLISHED.items():
        assert abs(found[key] / value - 1) < 0.08, f"{key}: {found[key]:.3f}, published {value}"


@pytest.mark.parametrize("snr", [8, 20, 50])
def test_robust_priors_are_more_accurate_than_the_published_recipe_and_than_least_squares(snr):
    signal, truth, acquisition = benchmark("paper1").simulate(snr, voxels=5000)
    robust = errors_of(create("bayes_map", recipe="robust").fit(volume(signal), acquisition), truth)
    for other in (create("bayes_map"), create("nlls")):
        worse = errors_of(other.fit(volume(signal), acquisition), truth)
        assert all(robust[key] < worse[key] for key in PUBLISHED), (other.name, robust, worse)


def test_the_priors_are_those_of_the_values_that_they_are_fitted_to():
    rng = np.random.default_rng(0)
    values = {
        "D": np.exp(rng.normal(np.log(1.1e-3), 0.3, 50_000)), "f": rng.beta(3, 12, 50_000),
        "Dstar": np.exp(rng.normal(np.log(40e-3), 0.6, 50_000)), "S0": 100 * 2 * rng.beta(200, 200, 50_000),
    }
    priors = fit_priors(values, np.full(50_000, 100.0), np.full(50_000, Status.OK), robust=False)
    np.testing.assert_allclose(priors.D, (np.log(1.1e-3), 0.3), rtol=0.02)
    np.testing.assert_allclose(priors.Dstar, (np.log(40e-3), 0.6), rtol=0.02)
    np.testing.assert_allclose(priors.f, (3, 12), rtol=0.03)
    np.testing.assert_allclose(priors.S0, (200, 200), rtol=0.03)


def test_voxels_at_a_bound_do_not_teach_robust_priors():
    rng = np.random.default_rng(0)
    values = {
        "D": np.full(1000, 1e-3) * rng.uniform(0.8, 1.2, 1000), "f": rng.uniform(0.1, 0.3, 1000),
        "Dstar": np.r_[rng.uniform(0.02, 0.05, 700), np.full(300, 0.3)], "S0": rng.uniform(90, 110, 1000),
    }
    status = np.r_[np.full(700, Status.OK), np.full(300, Status.AT_BOUND)]
    priors = fit_priors(values, np.full(1000, 100.0), status, robust=True)
    assert 0.02 < np.exp(priors.Dstar[0]) < 0.05 and priors.Dstar[1] < 0.4
    assert priors.voxels == 700


def test_the_penalty_is_the_negative_logarithm_of_the_densities_of_scipy_and_its_derivatives_are_right():
    priors = Priors((np.log(1e-3), 0.4), (2.5, 9.0), (np.log(30e-3), 0.7), (60.0, 50.0), 2.0)
    theta = np.array([[0.9, 1.05], [0.8, 1.7], [0.1, 0.3], [3.0, 4.1]])
    penalty = PriorPenalty(priors, np.array([1.0, 1.1]))
    every = np.arange(2)
    cost, first, second = penalty(theta, every)
    expected = -(
        stats.lognorm.logpdf(theta[1], 0.4, scale=1.0) + stats.lognorm.logpdf(np.exp(theta[3]), 0.7, scale=30.0)
        + stats.beta.logpdf(theta[2], 2.5, 9.0) + stats.beta.logpdf(theta[0] / np.array([2.0, 2.2]), 60.0, 50.0)
    )
    np.testing.assert_allclose(np.diff(cost), np.diff(expected), rtol=1e-9)
    for row in range(4):
        step = np.zeros((4, 1))
        step[row] = 1e-5
        above, below = penalty(theta + step, every), penalty(theta - step, every)
        np.testing.assert_allclose(first[row], (above[0] - below[0]) / 2e-5, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(second[row], (above[1][row] - below[1][row]) / 2e-5, rtol=1e-5, atol=1e-5)


def test_the_mode_is_where_a_scipy_minimisation_of_the_same_posterior_ends():
    signal, truth, acquisition = benchmark("paper1").simulate(20, voxels=60)
    priors = BROAD
    result = DataDrivenMaximumAPosteriori(sigma=acquisition.sigma, priors=priors).fit(volume(signal), acquisition)

    def cost(p, y):
        s = biexponential(acquisition.bvalues, p[0], p[1] * 1e-3, p[2], np.exp(p[3]) * 1e-3)
        prior = PriorPenalty(priors, np.array([max(y[0], 0.05)]))(p[:, None], np.array([0]))[0][0]
        return ((s - y) ** 2).sum() / (2 * acquisition.sigma**2) + prior

    worse = 0
    for v, y in enumerate(signal):
        mine = np.array([result.maps["S0"].ravel()[v], result.maps["D"].ravel()[v] * 1e3, result.maps["f"].ravel()[v],
                         np.log(result.maps["Dstar"].ravel()[v] * 1e3)], dtype=float)
        start = [1, truth["D"][v] * 1e3, truth["f"][v], np.log(truth["Dstar"][v] * 1e3)]
        limits = [(1e-3, 1.9), (1e-2, 5), (1e-4, 0.7), (np.log(5), np.log(300))]
        worse += cost(mine, y) > minimize(cost, start, (y,), "L-BFGS-B", bounds=limits).fun + 1e-3
    assert worse <= 1


def test_ten_voxels_are_too_few_to_learn_from_and_the_broad_priors_say_so():
    signal, _, acquisition = benchmark("paper1").simulate(20, voxels=10)
    for name in ("bayes_map", "bayes_mrf"):
        result = create(name).fit(volume(signal), acquisition)
        assert "too few to learn priors" in result.provenance["warnings"][0]
        assert result.provenance["priors"]["voxels"] == 0 < ENOUGH_VOXELS
        assert np.isfinite(result.maps["D"]).all()


def test_a_region_of_voxels_at_their_bounds_teaches_nothing():
    acquisition = Acquisition([0, 10, 20, 50, 100, 200, 400, 800], sigma=1.0)
    signal = np.full((300, 8), 100.0) + np.random.default_rng(0).normal(scale=1e-3, size=(300, 8))
    result = create("bayes_map").fit(volume(signal), acquisition)
    assert "too few to learn priors" in result.provenance["warnings"][0]
    for key in ("S0", "D", "f"):
        assert np.isfinite(result.maps[key]).all()


@pytest.mark.parametrize("name", ["bayes_map", "bayes_mrf"])
@pytest.mark.parametrize("snr", [1, 1000])
def test_extreme_noise_gives_finite_values_or_a_status(name, snr):
    signal, _, acquisition = benchmark("paper1").simulate(snr, voxels=400)
    result = create(name).fit(signal.reshape(20, 20, 1, -1), acquisition)
    for key in ("S0", "D", "f", "Dstar"):
        assert (np.isfinite(result.maps[key]) | (result.status != Status.OK)).all()


def test_priors_and_noise_travel_in_the_provenance_as_json():
    signal, _, known = benchmark("paper1").simulate(20, voxels=500)
    result = create("bayes_map", recipe="robust").fit(volume(signal), Acquisition(known.bvalues))
    about = json.loads(json.dumps(result.provenance))
    assert about["priors"]["voxels"] > 300 and "Estimated from" in about["sigma_method"]
    assert abs(about["sigma"] / known.sigma - 1) < 0.1
    published = create("bayes_map").fit(volume(signal), known)
    assert published.provenance["sigma_method"] == "Integrated out in each voxel."


def test_a_prior_pulls_hardest_where_the_data_say_least():
    signal, truth, acquisition = benchmark("brain").simulate(30, voxels=5000)
    names = ("nlls", "bayes_map")
    least, prior = (create(name).fit(volume(signal), acquisition).maps["Dstar"].ravel() for name in names)
    poor, rich = truth["f"] < 0.04, truth["f"] > 0.12
    moved = np.abs(np.log(prior / least))
    assert np.nanmedian(moved[poor]) > 2 * np.nanmedian(moved[rich])


def test_claimed_errors_cover_the_truth_when_the_priors_are_right():
    signal, truth, acquisition = benchmark("paper1").simulate(50, voxels=5000)
    result = create("bayes_map", recipe="robust").fit(volume(signal), acquisition)
    for key in ("D", "f"):
        inside = np.abs(result.maps[key].ravel() - truth[key]) < 1.645 * result.errors[key].ravel()
        assert 0.82 < inside.mean() < 0.95, f"{key}: {inside.mean():.2f}"


@pytest.mark.parametrize(("options", "words"), [({"recipe": "secret"}, "published"), ({"sigma": 0}, "'sigma' is 0")])
def test_wrong_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        create("bayes_map", **options)
