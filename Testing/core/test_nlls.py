"""The global minimum of the bounded least-squares problem."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from ivimcore import Acquisition, Status, create
from ivimcore.data.reading import read_mask, read_series
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.physics.signal import biexponential, biexponential_jacobian

PROTOCOLS = {
    "paper1": (0, 5, 10, 20, 30, 40, 60, 150, 300, 500, 700),
    "brain16": (0, 10, 20, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900),
    "clinical6": (0, 50, 100, 200, 400, 800),
}
LOW, HIGH = np.array([0, 0, 0, 5e-3]), np.array([np.inf, 5e-3, 0.7, 0.3])
"""Bounds of S0, D, f, Dstar."""


def best_of_scipy(signal, b, starts, rng):
    """Return the smallest sum of squares of a bounded scipy fit from random starts; the scale of S0 is one."""
    scale = signal.max()
    unit = np.array([1, 1e-3, 1, 1e-2])
    residual = lambda p: biexponential(b, *(p * unit)) - signal / scale  # noqa: E731
    jacobian = lambda p: biexponential_jacobian(b, *(p * unit)) * unit  # noqa: E731
    low, high = LOW / unit, HIGH / unit
    best = np.inf
    for _ in range(starts):
        start = np.array([rng.uniform(0.5, 1.5), rng.uniform(0, 5), rng.uniform(0, 0.7), rng.uniform(0.5, 30)])
        fit = least_squares(residual, start, jacobian, (low, high), xtol=1e-12, ftol=1e-12, gtol=1e-12)
        best = min(best, 2 * fit.cost)
    return best * scale**2


def sum_of_squares(result, count):
    return (result.residual.astype(float) ** 2).ravel() * count


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_noise_free_signals_are_recovered_to_one_in_ten_thousand(protocol):
    rng = np.random.default_rng(5)
    n = 20_000
    D, f = rng.uniform(0.2e-3, 4e-3, n), rng.uniform(0.02, 0.65, n)
    Dstar = np.maximum(rng.uniform(6e-3, 0.15, n), 3 * D)
    S0 = rng.uniform(10, 3000, n)
    acquisition = Acquisition(PROTOCOLS[protocol])
    signal = biexponential(acquisition.bvalues, S0, D, f, Dstar).reshape(n, 1, 1, -1)
    result = create("nlls").fit(signal, acquisition)
    for key, truth in (("D", D), ("f", f), ("Dstar", Dstar), ("S0", S0)):
        np.testing.assert_allclose(result.maps[key].ravel(), truth, rtol=1e-4, err_msg=key)


def test_no_random_start_of_scipy_finds_a_smaller_sum_of_squares_on_paper1():
    signal, _, acquisition = benchmark("paper1").simulate(20, voxels=60)
    result = create("nlls").fit(signal[:, None, None], acquisition)
    rng = np.random.default_rng(0)
    best = np.array([best_of_scipy(s, acquisition.bvalues, 20, rng) for s in signal])
    # The residual map is float32: its square carries a relative error of up to 1.2e-7.
    assert (sum_of_squares(result, acquisition.count) <= best * (1 + 1e-6)).all()


def test_no_random_start_of_scipy_finds_a_smaller_sum_of_squares_in_the_prostate(shared_data):
    folder = shared_data / "prostate_ivim_3T"
    series = read_series(folder / "ivim13b.nii.gz")
    series = series.select(series.acquisition.bvalues <= 1000, "b <= 1000 only")
    mask = read_mask(next(folder.glob("pz_roi*")), series.geometry)
    result = create("nlls").fit(series.signal, series.acquisition, mask)
    rng = np.random.default_rng(0)
    voxels = np.argwhere(mask)[::8]
    found = (result.residual.astype(float) ** 2 * series.acquisition.count)[tuple(voxels.T)]
    best = np.array([
        best_of_scipy(series.signal[tuple(v)].astype(float), series.acquisition.bvalues, 20, rng) for v in voxels
    ])
    assert np.mean(found <= best * (1 + 1e-6)) >= 0.999


def test_many_starts_of_its_own_descent_find_nothing_better():
    """A wider search than scipy could do in a test: 8,000 voxels, 30 starts, three kinds of tissue and noise."""
    from ivimcore.estimators import variable_projection as vp

    for name, snr, allowed in (("paper1", 20, 1e-3), ("paper1", 8, 1e-3), ("brain", 30, 2e-3)):
        signal, _, acquisition = benchmark(name).simulate(snr, voxels=8_000)
        problem = vp.Problem(
            acquisition.bvalues * vp.UNIT, np.ones(acquisition.count), (0.0, 5.0), (0.0, 0.7), (5.0, 300.0)
        )
        y = np.ascontiguousarray(signal.T)
        yy = (y * y).sum(axis=0)
        rng = np.random.default_rng(3)
        best = np.full(yy.size, np.inf)
        for _ in range(30):
            D, Dstar = rng.uniform(0, 5, yy.size), np.exp(rng.uniform(np.log(5), np.log(300), yy.size))
            best = np.minimum(best, vp._descend(problem, y, yy, D, Dstar)[0][vp._Row.COST])
        missed = vp.solve(problem, y).cost > best * (1 + 1e-6)
        assert missed.mean() <= allowed, f"{name} at SNR {snr}: {missed.mean():.2%} missed"


def test_repeated_b_values_weigh_as_often_as_they_were_measured():
    rng = np.random.default_rng(1)
    b = np.array([0, 0, 0, 10, 20, 50, 50, 100, 200, 400, 800, 800.0])
    signal = (biexponential(b, 100.0, 1e-3, 0.25, 30e-3) + rng.normal(scale=2, size=b.size)).reshape(1, 1, 1, -1)
    result = create("nlls").fit(signal, Acquisition(b))
    best = best_of_scipy(signal.ravel(), b, 20, rng)
    np.testing.assert_allclose(sum_of_squares(result, b.size), best, rtol=1e-6)


def test_pure_tissue_gives_no_perfusion_and_no_Dstar():
    acquisition = Acquisition(PROTOCOLS["paper1"])
    signal = (100 * np.exp(-acquisition.bvalues * 1.5e-3)).reshape(1, 1, 1, -1)
    result = create("nlls").fit(signal, acquisition)
    assert result.maps["f"].item() < 1e-4
    np.testing.assert_allclose(result.maps["D"], 1.5e-3, rtol=1e-4)
    if result.status.item() == Status.NO_PERFUSION:
        assert np.isnan(result.maps["Dstar"].item())


def test_standard_deviations_are_those_of_the_inverse_fisher_matrix():
    from ivimcore.estimators.fisher import KEYS, standard_deviations

    b = np.array(PROTOCOLS["paper1"], dtype=float)
    values = {"S0": 80.0, "D": 1.2e-3, "f": 0.15, "Dstar": 25e-3}
    jacobian = biexponential_jacobian(b, *(values[key] for key in KEYS))
    expected = 2.0 * np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    arrays = {key: np.array([value]) for key, value in values.items()}
    found = standard_deviations(b, np.ones(b.size), arrays, np.array([4.0]), dict.fromkeys(KEYS, True))
    np.testing.assert_allclose([found[key][0] for key in KEYS], expected, rtol=1e-6)


def test_a_known_noise_level_is_used_for_the_standard_deviations():
    acquisition = Acquisition(PROTOCOLS["paper1"])
    signal = biexponential(acquisition.bvalues, 100.0, 1e-3, 0.25, 30e-3).reshape(1, 1, 1, -1)
    known = create("nlls").fit(signal, Acquisition(PROTOCOLS["paper1"], sigma=5.0))
    unknown = create("nlls").fit(signal, acquisition)
    assert known.errors["D"].item() > 1e-5
    assert unknown.errors["D"].item() < 1e-6, "noise-free data leave no residual to learn the noise from"


def test_a_voxel_that_moved_is_called_a_poor_fit():
    acquisition = Acquisition(PROTOCOLS["paper1"])
    signal = biexponential(acquisition.bvalues, 100.0, 1e-3, 0.2, 30e-3)
    signal[[1, 4, 7]] = 5.0
    result = create("nlls").fit(signal.reshape(1, 1, 1, -1), acquisition)
    assert result.status.item() == Status.POOR_FIT and np.isfinite(result.maps["D"].item())
