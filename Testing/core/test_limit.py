"""The limit: against sums over a fixed fine grid, against the stated constants, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import i0e

from ivimcore.errors import InputError
from ivimcore.evaluation.benchmarks import COMPUTED, benchmark, format_table, run_benchmark
from ivimcore.evaluation.limit import Limit
from ivimcore.evaluation.metrics import coverage_of_errors, nrmse
from ivimcore.physics.acquisition import Acquisition
from ivimcore.physics.noise import add_rician
from ivimcore.physics.signal import biexponential

RANGES = {"D": (0.5e-3, 3e-3), "f": (0.05, 0.55), "Dstar": (10e-3, 100e-3)}
KEYS = ("D", "f", "Dstar")


def on_a_fixed_grid(x, b, sigma, likelihood, points=(60, 40, 40), added=False):
    """Mean of the posterior of one voxel by a plain sum; for Rician noise S0 is summed over, too."""
    axes = [
        low + (high - low) * (np.arange(n) + 0.5) / n for (low, high), n in zip(RANGES.values(), points, strict=True)
    ]
    D, f, Dstar = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    if added:
        Dstar = Dstar + D
    u = biexponential(b, 1.0, D, f, Dstar)
    if likelihood == "gaussian":
        log = (u @ x) ** 2 / (u**2).sum(axis=1) / (2 * sigma**2) - np.log((u**2).sum(axis=1)) / 2
    else:
        terms = []
        for S0 in np.linspace(0.4, 1.8, 57):
            z = x * S0 * u / sigma**2
            terms.append((np.log(i0e(z)) + z - (S0 * u / sigma) ** 2 / 2).sum(axis=1))
        log = np.logaddexp.reduce(terms, axis=0)
    weights = np.exp(log - log.max())
    return [float(weights @ value / weights.sum()) for value in (D, f, Dstar)]


@pytest.mark.parametrize(
    ("likelihood", "snr", "points"),
    [("gaussian", 20, (60, 40, 40)), ("gaussian", 50, (90, 60, 50)), ("rician", 10, (24, 16, 14))],
)
@pytest.mark.parametrize("added", [False, True])
def test_the_mean_equals_a_plain_sum_over_a_fixed_grid(likelihood, snr, points, added):
    b = np.array([0, 5, 10, 20, 30, 40, 60, 150, 300, 500, 700.0])
    rng = np.random.default_rng(3)
    clean = biexponential(b, 1.0, np.array([1e-3, 2e-3, 2.7e-3]), np.array([0.2, 0.4, 0.1]), 0.04)
    signal = add_rician(clean, 1 / snr, rng)
    found = Limit(RANGES, likelihood, added).fit(signal[:, None, None], Acquisition(b, sigma=1 / snr))
    for number, voxel in enumerate(signal):
        expected = on_a_fixed_grid(voxel, b, 1 / snr, likelihood, points, added)
        for key, value in zip(KEYS, expected, strict=True):
            spread = found.errors[key].ravel()[number]
            assert found.maps[key].ravel()[number] == pytest.approx(value, abs=0.04 * spread), key


@pytest.mark.parametrize(("name", "snr"), [("paper1", 20.0), ("paper1", 50.0), ("paper1", 100.0), ("brain", 30.0)])
def test_the_stated_constants_are_the_computed_limit(name, snr):
    """The mean posterior variance is the mean square error, with less scatter than the errors of a sample have."""
    test = benchmark(name)
    signal, truth, acquisition = test.simulate(snr, 2500)
    found = Limit(test.ranges).fit(signal[:, None, None], acquisition)
    for key, stated in zip(KEYS, test.limits[snr], strict=True):
        expected = np.sqrt((found.errors[key] ** 2).mean()) / test.prior_mean[key]
        assert expected == pytest.approx(stated, rel=0.04), key
        assert nrmse(found.maps[key].ravel(), truth[key]) == pytest.approx(expected, rel=0.06), key


def test_the_limit_stands_in_the_table_beside_the_stated_one():
    rows = run_benchmark("paper1", [], [20], 300, limit="gaussian")
    assert {row["estimator"] for row in rows} == {COMPUTED}
    assert COMPUTED in format_table(rows) and "(limit)" in format_table(rows)


def test_its_standard_deviation_covers_as_often_as_it_says():
    test = benchmark("paper1")
    signal, truth, acquisition = test.simulate(50.0, 1500)
    found = Limit(test.ranges).fit(signal[:, None, None], acquisition)
    for key in KEYS:
        covered = coverage_of_errors(found.maps[key].ravel(), found.errors[key].ravel(), truth[key])
        assert 0.87 < covered < 0.94, key


def test_at_the_noise_floor_the_rician_likelihood_knows_more():
    test = benchmark("paper1")
    signal, truth, acquisition = test.simulate(8.0, 300)
    gaussian, rician = (
        Limit(test.ranges, kind).fit(signal[:, None, None], acquisition) for kind in ("gaussian", "rician")
    )
    assert nrmse(rician.maps["D"].ravel(), truth["D"]) < 0.98 * nrmse(gaussian.maps["D"].ravel(), truth["D"])


def test_without_information_it_answers_the_mean_of_the_prior():
    acquisition = Acquisition([0, 10, 50, 200, 800], sigma=1.0)
    found = Limit(RANGES).fit(np.full((1, 1, 1, 5), 1e-3), acquisition)
    for key, (low, high) in RANGES.items():
        assert found.maps[key].item() == pytest.approx((low + high) / 2, rel=0.1)
        assert found.errors[key].item() == pytest.approx((high - low) / np.sqrt(12), rel=0.1)


def test_voxels_outside_the_mask_have_no_value():
    acquisition = Acquisition([0, 10, 50, 200, 800], sigma=0.1)
    mask = np.array([True, False]).reshape(2, 1, 1)
    found = Limit(RANGES).fit(np.ones((2, 1, 1, 5)), acquisition, mask)
    assert np.isfinite(found.maps["D"]).ravel().tolist() == [True, False]


def test_what_it_cannot_do_is_refused():
    with pytest.raises(InputError, match="gaussian or rician"):
        Limit(RANGES, "poisson")
    with pytest.raises(InputError, match="lower end first"):
        Limit({**RANGES, "f": (0.5, 0.5)})
    with pytest.raises(InputError, match="sigma"):
        Limit(RANGES).fit(np.ones((1, 1, 1, 5)), Acquisition([0, 10, 50, 200, 800]))
    with pytest.raises(InputError, match="noise level"):
        run_benchmark("paper1", [], [20], 100, known_sigma=False, limit="gaussian")
