"""The metrics, against numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.errors import InputError
from ivimcore.evaluation import metrics

TRUTH = np.array([1.0, 2.0, 4.0, 5.0])
ESTIMATE = np.array([1.1, 1.8, 4.0, 6.0])  # +10 %, -10 %, 0 %, +20 %


def test_nrmse_is_the_root_mean_square_error_over_the_mean_of_the_truth():
    assert metrics.nrmse(ESTIMATE, TRUTH) == pytest.approx(np.sqrt((0.01 + 0.04 + 0 + 1) / 4) / 3)


def test_percentage_errors():
    assert metrics.mdape(ESTIMATE, TRUTH) == pytest.approx(10)
    assert metrics.mdpe(ESTIMATE, TRUTH) == pytest.approx(5)
    assert metrics.mape(ESTIMATE, TRUTH) == pytest.approx(10)


def test_a_truth_of_zero_has_no_percentage():
    assert metrics.mdape(np.array([1.0, 2.2]), np.array([0.0, 2.0])) == pytest.approx(10)


def test_always_answering_the_mean_of_a_uniform_truth_has_the_known_nrmse():
    truth = np.random.default_rng(0).uniform(0.5, 3.0, 100_000)
    expected = 2.5 / np.sqrt(12) / 1.75
    assert metrics.nrmse(np.full(truth.size, 1.75), truth) == pytest.approx(expected, rel=0.01)


def test_missing_estimates_are_counted_and_not_silently_dropped():
    estimate = np.array([np.nan, 1.8, 4.0, 6.0])
    score = metrics.score(estimate, TRUTH)
    assert score["n"] == 4
    assert score["missing_share"] == 0.25
    assert score["nrmse"] == pytest.approx(metrics.nrmse(estimate[1:], TRUTH[1:]))
    assert score["nrmse_all"] == pytest.approx(metrics.nrmse(np.array([3.0, 1.8, 4.0, 6.0]), TRUTH))


def test_refusing_every_voxel_is_no_perfect_score():
    score = metrics.score(np.full(4, np.nan), TRUTH)
    assert np.isnan(score["nrmse"])
    assert score["nrmse_all"] == pytest.approx(TRUTH.std() / TRUTH.mean())
    assert score["missing_share"] == 1.0


def test_an_unknown_truth_is_refused():
    with pytest.raises(InputError, match="truth"):
        metrics.nrmse(ESTIMATE, np.array([1, 2, np.nan, 4]))


def test_estimates_of_another_shape_are_refused():
    with pytest.raises(InputError, match="one for each"):
        metrics.nrmse(ESTIMATE[:3], TRUTH)


def test_bias_and_spread_are_told_apart():
    """An estimator that halves the distance to the mean, and one that is right on average but noisy."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1, 50_000)
    shrunk = metrics.bias_and_spread(0.5 + (truth - 0.5) / 2, truth)
    assert shrunk.bias == pytest.approx((0.5 - shrunk.truth) / 2, abs=1e-9)
    assert shrunk.sd.max() < 0.02
    noisy = metrics.bias_and_spread(truth + rng.normal(0, 0.1, truth.size), truth)
    assert np.abs(noisy.bias).max() < 5 * 0.1 / np.sqrt(5000)
    assert noisy.sd == pytest.approx(np.full(10, 0.1), rel=0.05)
    assert noisy.rmse**2 == pytest.approx(noisy.bias**2 + noisy.sd**2, rel=1e-3)
    assert noisy.count.sum() == truth.size


def test_bins_with_given_edges_count_what_is_missing():
    binned = metrics.bias_and_spread(np.array([np.nan, 1.8, 4.0, 6.0]), TRUTH, bins=np.array([0.0, 3.0, 6.0]))
    assert binned.count.tolist() == [1, 2]
    assert binned.missing.tolist() == [1, 0]
    assert np.isnan(binned.bias[0])
    assert binned.bias[1] == pytest.approx(0.5)


def test_spearman_sees_ranks_only_and_ignores_missing_pairs():
    x = np.array([1.0, 2, 3, 4, np.nan])
    assert metrics.spearman(x, np.array([1.0, 8, 27, 64, 0])) == pytest.approx(1)
    assert metrics.spearman(x, -x) == pytest.approx(-1)
    assert np.isnan(metrics.spearman(x, np.ones(5)))
    assert np.isnan(metrics.spearman(x[:2], x[:2]))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_correct_errors_cover_as_often_as_they_say(level):
    rng = np.random.default_rng(2)
    truth = rng.uniform(0, 1, 20_000)
    estimate = truth + rng.normal(0, 0.1, truth.size)
    covered = metrics.coverage_of_errors(estimate, np.full(truth.size, 0.1), truth, level)
    assert covered == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / truth.size))
    assert metrics.coverage_of_errors(estimate, np.full(truth.size, 0.05), truth, level) < level - 0.1


def test_coverage_counts_only_voxels_with_an_interval():
    low, high = np.array([0.0, np.nan, 0.0]), np.array([1.0, 1.0, 0.4])
    assert metrics.coverage(low, high, np.array([0.5, 0.5, 0.5])) == 0.5
    assert np.isnan(metrics.coverage(low[1:2], high[1:2], np.array([0.5])))
