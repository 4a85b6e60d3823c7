"""Rician maximum likelihood: the likelihood itself, its global maximum, its bias, its errors, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import i0e, i1e

from ivimcore import Acquisition, InputError, Status, create
from ivimcore.estimators.rician import information, log_bessel, mean_magnitude
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.physics.noise import add_rician
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential

LOW, HIGH = np.array([1e-6, 0, 0, np.log(5)]), np.array([10, 5, 0.7, np.log(300)])
"""Bounds of S0, D [µm²/ms], f and ln D*."""


def cost(theta, b, m, sigma):
    """Return the negative log likelihood of one voxel up to a constant, written with scipy alone."""
    s = biexponential(b, theta[0], theta[1] * 1e-3, theta[2], np.exp(theta[3]) * 1e-3)
    return ((m - s) ** 2 / (2 * sigma**2) - np.log(i0e(m * s / sigma**2))).sum()


def volume(signal):
    return np.asarray(signal).reshape(-1, 1, 1, np.shape(signal)[-1])


def epstein(snr, per_D=400, seed=3):
    """Return magnitudes (v, n), D (v,) and acquisition of Epstein's ranges, D on a grid of ten."""
    rng = np.random.default_rng(seed)
    D = np.repeat(np.linspace(0.4e-3, 3e-3, 10), per_D)
    f, fast = rng.uniform(0.1, 0.5, D.size), rng.uniform(0.01, 0.15, D.size)
    S0 = rng.uniform(0.8, 1.2, D.size)
    acquisition = protocol("labels").acquisition(1 / snr)
    clean = biexponential(acquisition.bvalues, S0, D, f, D + fast)
    return add_rician(clean, 1 / snr, rng), D, acquisition


def test_the_bessel_functions_are_those_of_scipy_and_finite_at_any_argument():
    z = np.concatenate([[0, 1e-9], np.geomspace(1e-4, 1e5, 4000), np.linspace(39, 41, 500)])
    log_i0e, ratio, slope = log_bessel(z)
    exact = i1e(z) / i0e(z)
    np.testing.assert_allclose(log_i0e, np.log(i0e(z)), atol=1e-9)
    np.testing.assert_allclose(ratio, exact, atol=1e-7)
    middle = (z > 0.01) & (z < 100)
    np.testing.assert_allclose(slope[middle], 1 - exact[middle] / z[middle] - exact[middle] ** 2, atol=1e-5)
    assert all(np.isfinite(array).all() for array in log_bessel(np.array([1e8, 1e12, 1e15])))


@pytest.mark.parametrize("amplitude", [0.0, 0.7, 2.0, 6.0, 40.0])
def test_mean_and_information_of_a_magnitude_are_the_integrals_of_the_rician_density(amplitude):
    density = lambda m: m * np.exp(-0.5 * (m - amplitude) ** 2) * i0e(m * amplitude)  # noqa: E731
    score = lambda m: m * i1e(m * amplitude) / i0e(m * amplitude) - amplitude  # noqa: E731
    ends = (max(0.0, amplitude - 9), amplitude + 9)
    mean = quad(lambda m: m * density(m), *ends)[0]
    known = quad(lambda m: score(m) ** 2 * density(m), *ends)[0]
    np.testing.assert_allclose(3 * mean, mean_magnitude(np.array([3 * amplitude]), 3.0), rtol=1e-5)
    np.testing.assert_allclose(known, information(np.array([3 * amplitude]), 3.0), atol=3e-3)


@pytest.mark.parametrize("snr", [15, 20])
def test_a_bounded_scipy_minimisation_finds_no_better_likelihood(snr):
    name, voxels = ("paper1", 150)
    signal, truth, acquisition = benchmark(name).simulate(snr, voxels=voxels)
    result = create("mle_rician").fit(volume(signal), acquisition)
    b, sigma = acquisition.bvalues, acquisition.sigma
    worse = 0
    for v in range(voxels):
        found = [float(result.maps[key].ravel()[v]) for key in ("S0", "D", "f", "Dstar")]
        Dstar = found[3] if np.isfinite(found[3]) else 0.02
        mine = cost([found[0], found[1] * 1e3, found[2], np.log(Dstar * 1e3)], b, signal[v], sigma)
        start = [1.0, truth["D"][v] * 1e3, truth["f"][v], np.log(truth["Dstar"][v] * 1e3)]
        theirs = minimize(
            cost, start, (b, signal[v], sigma), "L-BFGS-B", bounds=list(zip(LOW, HIGH, strict=True)),
            options={"ftol": 1e-12, "gtol": 1e-8},
        ).fun
        worse += mine > theirs + 1e-3
    assert worse <= 1e-3 * voxels, f"{worse} of {voxels} voxels have a better likelihood elsewhere"


def test_its_bias_of_fast_diffusion_is_clearly_smaller_than_that_of_least_squares():
    signal, D, acquisition = epstein(15)
    large = D > 2e-3
    bias = {
        name: abs(np.nanmedian(create(name).fit(volume(signal), acquisition).maps["D"].ravel()[large] - D[large]))
        for name in ("nlls", "mle_rician")
    }
    assert bias["mle_rician"] < 0.5 * bias["nlls"], bias


@pytest.mark.parametrize("snr", [1, 2, 5, 1000])
def test_every_signal_to_noise_ratio_gives_finite_values_or_a_status(snr):
    signal, _, acquisition = benchmark("paper1").simulate(snr, voxels=400)
    result = create("mle_rician").fit(volume(signal), acquisition)
    for key in ("S0", "D", "f"):
        assert np.isfinite(result.maps[key]).all()
    missing = np.isnan(result.maps["Dstar"])
    assert np.isin(result.status[missing], (Status.NO_PERFUSION, Status.POOR_FIT)).all()
    assert not (result.status == Status.NOT_CONVERGED).mean() > 0.01


def test_sigma_is_estimated_from_the_region_and_the_method_is_named():
    signal, _, known = benchmark("paper1").simulate(20, voxels=3000)
    result = create("mle_rician").fit(volume(signal), Acquisition(known.bvalues))
    assert abs(result.provenance["sigma"] / known.sigma - 1) < 0.05
    assert "Estimated from" in result.provenance["sigma_method"] and result.provenance["warnings"] == []


def test_an_unknown_sigma_of_too_few_images_is_fitted_and_said():
    b = np.array([0, 50, 200, 800.0])
    signal = add_rician(biexponential(b, np.full(40, 100.0), 1e-3, 0.2, 30e-3), 3.0, np.random.default_rng(1))
    result = create("mle_rician").fit(volume(signal), Acquisition(b))
    assert "fitted in each voxel" in result.provenance["warnings"][0]
    assert np.isfinite(result.maps["D"]).all()


def test_a_fitted_sigma_gives_nearly_the_parameters_of_the_known_one():
    signal, truth, acquisition = benchmark("paper1").simulate(20, voxels=2000)
    fitted = create("mle_rician", sigma="fitted").fit(volume(signal), acquisition)
    known = create("mle_rician").fit(volume(signal), acquisition)
    difference = fitted.maps["D"].ravel() - known.maps["D"].ravel()
    assert np.median(np.abs(difference)) < 0.1 * np.median(np.abs(known.maps["D"].ravel() - truth["D"]))


@pytest.mark.parametrize(
    ("value", "words"), [(0, "'sigma' is 0"), (-2, "'sigma' is -2"), ("loud", "'auto' or 'fitted'")]
)
def test_a_sigma_that_is_no_noise_is_refused(value, words):
    with pytest.raises(InputError, match=words):
        create("mle_rician", sigma=value)


def test_negative_magnitudes_have_no_value_and_say_so():
    signal, _, acquisition = benchmark("paper1").simulate(20, voxels=5)
    signal[2, 3] = -0.01
    result = create("mle_rician").fit(volume(signal), acquisition)
    assert result.status.ravel()[2] == Status.NEGATIVE and np.isnan(result.maps["D"].ravel()[2])
    assert np.isfinite(np.delete(result.maps["D"].ravel(), 2)).all()


def test_repeated_images_count_each():
    """The likelihood of repeats is not that of their mean: at the floor the mean would still be lifted."""
    b = np.repeat([0, 20, 50, 100, 300, 700, 1000.0], 6)
    rng = np.random.default_rng(4)
    signal = add_rician(biexponential(b, np.full(500, 8.0), 2.5e-3, 0.2, 40e-3), 1.0, rng)
    acquisition = Acquisition(b, sigma=1.0)
    bias = {
        name: abs(np.median(create(name).fit(volume(signal), acquisition).maps["D"]) - 2.5e-3)
        for name in ("nlls", "mle_rician")
    }
    assert bias["mle_rician"] < 0.15 * bias["nlls"], bias


@pytest.mark.parametrize("name", ["nlls", "mle_rician"])
def test_profile_errors_agree_with_fisher_where_the_signal_is_strong(name):
    b = protocol("brain16").acquisition(5.0)
    signal = biexponential(b.bvalues, np.full(60, 1000.0), 1e-3, 0.3, 40e-3)
    signal = add_rician(signal, 5.0, np.random.default_rng(2))
    fisher, profile = (create(name, errors=how).fit(volume(signal), b).errors for how in ("fisher", "profile"))
    for key in fisher:
        np.testing.assert_allclose(np.median(profile[key]), np.median(fisher[key]), rtol=0.03, err_msg=key)


def test_profile_errors_are_half_the_interval_where_the_best_cost_rises_by_a_half():
    signal, _, acquisition = benchmark("paper1").simulate(15, voxels=8)
    result = create("nlls", errors="profile").fit(volume(signal), acquisition)
    b, sigma = acquisition.bvalues, acquisition.sigma
    checked = 0
    for v in np.flatnonzero(result.status.ravel() == Status.OK):
        D, found = (float(x.ravel()[v]) for x in (result.maps["D"], result.residual))
        best = found**2 * b.size / (2 * sigma**2)

        def rise(at, y=signal[v], best=best):
            fit = create("nlls", bounds={"D": (at, at)}).fit(volume(y), acquisition)
            return float(fit.residual.item()) ** 2 * b.size / (2 * sigma**2) - best - 0.5

        grid = np.linspace(1e-6, 5e-3, 400)
        inside = grid[[rise(at) < 0 for at in grid]]
        if inside[0] > 2e-5 and inside[-1] < 4.97e-3 and np.ptp(np.diff(inside)) < 1e-9:
            np.testing.assert_allclose(result.errors["D"].ravel()[v], 0.5 * np.ptp(inside), rtol=0.06, atol=1.3e-5)
            checked += 1
        if checked == 2:
            break
    assert checked == 2


def test_profile_errors_exist_at_a_bound_where_fisher_has_none():
    signal, _, acquisition = benchmark("paper1").simulate(20, voxels=300)
    fisher, profile = (create("nlls", errors=how).fit(volume(signal), acquisition) for how in ("fisher", "profile"))
    bound = fisher.maps["Dstar"] >= 0.2999
    assert bound.any() and np.isnan(fisher.errors["Dstar"][bound]).all()
    # Where the likelihood hardly changes over the whole range there is no other end either.
    assert np.isfinite(profile.errors["Dstar"][bound]).mean() > 0.6
