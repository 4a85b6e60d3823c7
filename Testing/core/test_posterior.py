"""The posterior reaches the limits, covers the truth as often as it says, and says where it knows nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ivimcore import Acquisition, Cancelled, InputError, Status, create
from ivimcore.data.output import plain
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.physics.noise import add_rician
from ivimcore.physics.parameters import EXTRAS
from ivimcore.physics.signal import biexponential

KEYS = ("D", "f", "Dstar")
BRAIN16 = np.array([0, 10, 20, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900], dtype=float)


def fit(snr, voxels=3000, name="paper1", **options):
    """Fit a list of independent voxels; returns result and truth, flat."""
    test = benchmark(name)
    signal, truth, acquisition = test.simulate(snr, voxels)
    options = {"prior": "uniform", "bounds": dict(test.ranges)} | options
    return create("posterior", **options).fit(signal[:, None, None], acquisition), truth


def nrmse(result, truth, key):
    error = result.maps[key].ravel() - truth[key]
    return np.sqrt((error**2).mean()) / truth[key].mean()


def covered(result, truth, key):
    low, high = (result.extras[f"{key}_{end}"].ravel() for end in ("low", "high"))
    return ((low <= truth[key]) & (truth[key] <= high)).mean()


@pytest.mark.parametrize("snr", [8, 15, 20, 33, 50, 100])
def test_the_limits_are_reached_and_the_intervals_cover(snr):
    """3000 voxels: the NRMSE scatters by 2 % (that of D, made by a few voxels, by 4 %), a coverage by 0.6 %."""
    result, truth = fit(snr)
    limits = dict(zip(KEYS, benchmark("paper1").limits[snr], strict=True))
    for key in KEYS:
        assert nrmse(result, truth, key) == pytest.approx(limits[key], rel=0.07), key
        assert 0.875 < covered(result, truth, key) < 0.93, key


def test_errors_are_as_large_as_the_estimates_scatter_around_the_truth():
    result, truth = fit(20)
    for key in (*KEYS, "S0"):
        z = (result.maps[key].ravel() - truth[key]) / result.errors[key].ravel()
        assert np.sqrt((z**2).mean()) == pytest.approx(1.0, abs=0.06), key


@pytest.mark.parametrize("options", [{"noise_model": "rician"}, {"noise_model": "gaussian"}])
def test_the_noise_floor_is_taken_out_of_magnitudes(options):
    result, truth = fit(8, **options)
    bias = (result.maps["D"].ravel() - truth["D"]).mean() / truth["D"].mean()
    assert abs(bias) < 0.02 if options["noise_model"] == "rician" else bias < -0.05


def test_a_voxel_equals_brute_force_integration():
    """Four dimensions, S0 included, on a dense product of random numbers that know nothing of the grid."""
    rng = np.random.default_rng(5)
    bounds = {"D": (0.5e-3, 2e-3), "f": (0.05, 0.5), "Dstar": (10e-3, 0.1)}
    acquisition = Acquisition(BRAIN16, sigma=40.0)
    signal = biexponential(BRAIN16, 1000.0, 1.1e-3, 0.25, 40e-3) + 40 * rng.standard_normal(BRAIN16.size)
    result = create("posterior", prior="uniform", bounds=bounds, noise_model="gaussian").fit(
        signal.reshape(1, 1, 1, -1), acquisition
    )
    D, f, Dstar = (rng.uniform(*bounds[key], 400_000) for key in KEYS)
    model = biexponential(BRAIN16, 1.0, D, f, Dstar)
    length2 = (model**2).sum(axis=1)
    S0 = model @ signal / length2
    log = S0**2 * length2 / (2 * 40**2) - 0.5 * np.log(length2)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    for key, values in (("D", D), ("f", f), ("Dstar", Dstar), ("S0", S0)):
        mean = weight @ values
        extra = (40.0**2 * (weight / length2).sum()) if key == "S0" else 0.0
        sd = np.sqrt(weight @ (values - mean) ** 2 + extra)
        assert result.maps[key].item() == pytest.approx(mean, abs=0.03 * sd), key
        assert result.errors[key].item() == pytest.approx(sd, rel=0.04), key
    assert result.extras["f_probability"].item() == pytest.approx(1.0, abs=1e-3)
    rho = weight @ ((f - weight @ f) * (Dstar - weight @ Dstar))
    rho /= np.sqrt(weight @ (f - weight @ f) ** 2 * (weight @ (Dstar - weight @ Dstar) ** 2))
    assert result.extras["rho_Dstar_f"].item() == pytest.approx(rho, abs=0.04)


def test_where_nothing_is_measured_the_information_is_zero_and_the_map_is_the_prior():
    """Noise as large as the signal: D* is the middle of its bounds, and the information says that it is no value."""
    rng = np.random.default_rng(0)
    signal = add_rician(biexponential(BRAIN16, 1.0, np.full(200, 1e-3), 0.05, 20e-3), 1.0, rng)
    bounds = {"D": (0.5e-3, 2e-3), "f": (0.0, 0.3), "Dstar": (10e-3, 0.1)}
    result = create("posterior", prior="uniform", bounds=bounds).fit(
        signal[:, None, None], Acquisition(BRAIN16, sigma=1.0)
    )
    assert np.median(result.extras["Dstar_info"]) < 0.05
    assert np.median(result.maps["Dstar"]) == pytest.approx(55e-3, rel=0.05)
    assert any("says little about D*" in sentence for sentence in result.provenance["warnings"])


@pytest.mark.parametrize("snr", [1, 1000])
@pytest.mark.parametrize("prior", ["uniform", "log_uniform", "learned", "learned_local"])
@pytest.mark.filterwarnings("error")
def test_extreme_noise_levels_give_finite_numbers(snr, prior):
    rng = np.random.default_rng(1)
    shape = (12, 12, 1)
    signal = biexponential(BRAIN16, np.full(shape, 500.0), 1e-3, 0.2, 40e-3)
    signal = add_rician(signal, 500 / snr, rng)
    result = create("posterior", prior=prior, rounds=5).fit(signal, Acquisition(BRAIN16, sigma=500 / snr))
    # Where noise alone is seen, no positive S0 fits some voxels; these say so.
    there = result.status != Status.NO_DECAY
    assert there.mean() > (0.8 if snr == 1 else 0.999)
    for table in (result.maps, result.errors, result.extras):
        for key, volume in table.items():
            assert np.isfinite(volume[there]).all(), key
    if snr == 1000:
        assert np.median(result.maps["D"]) == pytest.approx(1e-3, rel=3e-3)
        assert np.median(result.maps["Dstar"]) == pytest.approx(40e-3, rel=0.02)


def test_high_snr_is_refined_below_the_grid():
    result, truth = fit(1000, voxels=1500)
    for key in KEYS:
        z = (result.maps[key].ravel() - truth[key]) / result.errors[key].ravel()
        assert np.median(np.abs(z)) == pytest.approx(0.674, abs=0.06), key
        assert 0.87 < covered(result, truth, key) < 0.93, key


@pytest.mark.parametrize("seed", range(3))
def test_signals_that_are_no_decay_at_all_end_in_numbers_or_a_status(seed):
    """Rising, oscillating, constant, one bright image, rounded to integers: at a noise level far below the misfit."""
    rng = np.random.default_rng(seed)
    signal = rng.uniform(0, 1000, (6, 10, 1, BRAIN16.size))
    signal[1] = np.linspace(100, 900, BRAIN16.size)
    signal[2] = 500.0
    signal[3] = 3.0
    signal[3, ..., seed] = 4000.0
    signal[4] = np.round(biexponential(BRAIN16, 4.0, 1e-3, 0.1, 50e-3))
    for sigma in (0.01, 3.0, None):
        result = create("posterior", prior="learned_local").fit(signal, Acquisition(BRAIN16, sigma=sigma))
        fitted = ~np.isin(result.status, (Status.NO_DECAY, Status.NO_SIGNAL, Status.NEGATIVE))
        for key in KEYS:
            assert np.isfinite(result.maps[key][fitted]).all(), key


@pytest.mark.parametrize("edge", [{"f": 0.0}, {"D": 5e-3, "f": 0.0}, {"f": 0.7, "Dstar": 0.3}])
@pytest.mark.parametrize("snr", [20, 1000])
def test_voxels_whose_truth_is_a_bound_give_values_inside_it(edge, snr):
    truth = {"D": 1e-3, "f": 0.2, "Dstar": 30e-3} | edge
    signal = biexponential(BRAIN16, np.full((9, 9, 1), 100.0), *(truth[key] for key in KEYS))
    signal = add_rician(signal, 100 / snr, np.random.default_rng(2))
    result = create("posterior").fit(signal, Acquisition(BRAIN16, sigma=100 / snr))
    assert (result.status == Status.OK).all()
    for key, (low, high) in {"D": (0, 5e-3), "f": (0, 0.7), "Dstar": (5e-3, 0.3)}.items():
        assert np.isfinite(result.maps[key]).all()
        assert (result.maps[key] >= low * 0.999).all() and (result.maps[key] <= high * 1.001).all()
    # Where D is as fast as the slowest D*, no measurement tells one from the other.
    if truth["f"] == 0.0 and truth["D"] < 5e-3:
        assert np.median(result.extras["f_probability"]) < 0.3


def test_noise_that_cannot_be_told_is_said_and_integrated_out():
    """One voxel, one image per b: there is nothing from which to learn sigma."""
    b = np.array([0, 20, 80, 200, 500, 800], dtype=float)
    signal = biexponential(b, np.full((2, 1, 1), 300.0), 1e-3, 0.2, 30e-3)
    result = create("posterior").fit(signal + 3 * np.sin(np.arange(b.size)), Acquisition(b))
    said = " ".join(result.provenance["warnings"])
    assert "noise level cannot be told" in said and "No prior can be learned from 2 voxels" in said
    assert np.isfinite(result.maps["D"]).all() and np.isfinite(result.errors["Dstar"]).all()


def test_a_sigma_of_zero_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="positive number"):
        Acquisition(BRAIN16, sigma=0.0)


def test_the_three_points_agree_where_the_posterior_is_narrow_and_differ_where_it_is_skew():
    narrow = {point: fit(1000, 200, point=point)[0] for point in ("mean", "median", "mode")}
    skew = {point: fit(20, 1500, point=point) for point in ("mean", "median", "mode")}
    for key in KEYS:
        for point in ("median", "mode"):
            np.testing.assert_allclose(narrow[point].maps[key], narrow["mean"].maps[key], rtol=0.1)
        errors = {point: nrmse(*skew[point], key) for point in skew}
        assert errors["mean"] == min(errors.values()), key


@pytest.mark.parametrize("prior", ["learned_local", "learned"])
def test_a_second_run_is_identical_to_the_last_bit(prior):
    rng = np.random.default_rng(3)
    signal = add_rician(biexponential(BRAIN16, np.full((20, 16, 2), 100.0), 0.8e-3, 0.1, 20e-3), 4.0, rng)
    runs = [create("posterior", prior=prior, rounds=5).fit(signal, Acquisition(BRAIN16), threads=n) for n in (1, 2)]
    for name, volume in runs[0].all_maps().items():
        np.testing.assert_array_equal(volume, runs[1].all_maps()[name], err_msg=name)


def test_every_extra_map_has_words_and_units_and_the_provenance_is_json():
    result, _ = fit(20, 60)
    assert set(result.extras) <= set(EXTRAS)
    assert {f"{key}_{end}" for key in KEYS for end in ("low", "high", "info")} <= set(result.all_maps())
    json.dumps(plain(result.provenance))
    assert result.provenance["interval"] == 0.9 and len(result.provenance["prior"]["checksum"]) == 64
    assert not any(key.endswith("_low") for key in fit(20, 60, interval=0.0)[0].extras)


def test_cancelling_works_in_every_pass():
    signal = np.random.default_rng(0).uniform(50, 100, (40, 40, 6, 16))
    for prior in ("learned", "learned_local"):
        seen = []

        def progress(done, total, seen=seen):
            seen.append(done)
            return len(seen) < 3

        with pytest.raises(Cancelled):
            create("posterior", prior=prior).fit(signal, Acquisition(BRAIN16), progress=progress)
        assert seen == sorted(seen)


def test_what_must_be_set_is_said_before_any_work():
    acquisition = Acquisition(BRAIN16)
    for options, words in (({"prior": "organ"}, "organ"), ({"prior": "file"}, "prior_file")):
        problem = create("posterior", **options).problems(acquisition)[0]
        assert problem.blocks and words in problem


def test_a_file_that_another_prior_leaves_unused_is_said():
    said = create("posterior", prior_file="first.npz").problems(Acquisition(BRAIN16))
    assert [str(problem) for problem in said if not problem.blocks and "not used" in problem]
    assert not any(problem.blocks for problem in said)
    assert not any("not used" in problem for problem in create("posterior").problems(Acquisition(BRAIN16)))
