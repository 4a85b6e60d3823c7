"""The benchmarks: their data, their rows, and the limit that no estimator may beat."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from ivimcore.errors import InputError
from ivimcore.evaluation.benchmarks import (
    BENCHMARKS,
    COLUMNS,
    benchmark,
    format_table,
    isolated,
    run_benchmark,
    together,
    write_csv,
    write_figure,
)
from ivimcore.evaluation.requests import make
from ivimcore.physics.signal import biexponential


class PriorMean:
    """Always answers the middle of the ranges, and leaves a tenth of the voxels without D*."""

    def __init__(self, ranges):
        self.ranges = ranges

    def fit(self, signal, acquisition, mask):
        maps = {key: np.full(signal.shape[:3], np.mean(bounds)) for key, bounds in self.ranges.items()}
        maps["Dstar"].flat[np.flatnonzero(mask)[::10]] = np.nan
        errors = {"D": np.full(signal.shape[:3], 1.0)}
        return SimpleNamespace(maps=maps, errors=errors, residual=np.zeros(signal.shape[:3]))


class PosteriorMean:
    """The mean of the posterior by brute force over a grid: what the limit is defined by."""

    def __init__(self, ranges, points):
        cells = [low + (high - low) * (np.arange(n) + 0.5) / n for (low, high), n in zip(ranges, points, strict=True)]
        self.nodes = np.stack(np.meshgrid(*cells, indexing="ij"), axis=-1).reshape(-1, 3)

    def fit(self, signal, acquisition, mask):
        unit = biexponential(acquisition.bvalues, 1.0, *self.nodes.T)
        length = np.linalg.norm(unit, axis=1)
        means = []
        for part in np.array_split(signal[mask], 10):
            # S0 integrated out under a flat prior: a Gaussian integral, which leaves 1 / |u|.
            log = ((part @ (unit / length[:, None]).T) / acquisition.sigma) ** 2 / 2 - np.log(length)
            weights = np.exp(log - log.max(axis=1, keepdims=True))
            means.append(weights @ self.nodes / weights.sum(axis=1, keepdims=True))
        maps = {key: np.full(mask.shape, np.nan) for key in ("D", "f", "Dstar")}
        for volume, values in zip(maps.values(), np.concatenate(means).T, strict=True):
            volume[mask] = values
        return SimpleNamespace(maps=maps, errors={}, residual=np.zeros(signal.shape[:3]))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_data_are_reproducible_and_lie_in_their_ranges(name):
    test = benchmark(name)
    signal, truth, acquisition = test.simulate(20.0, voxels=500)
    again, _, _ = test.simulate(20.0, voxels=500)
    np.testing.assert_array_equal(signal, again)
    assert signal.shape == (500, acquisition.count)
    assert acquisition.sigma == pytest.approx(0.05)
    for key, (low, high) in test.fit_bounds.items():
        assert low <= truth[key].min() < truth[key].max() <= high


def test_the_truth_is_the_same_at_every_snr_and_the_noise_is_not():
    test = benchmark("paper1")
    one, truth, _ = test.simulate(20.0, voxels=100)
    two, same, _ = test.simulate(50.0, voxels=100)
    np.testing.assert_array_equal(truth["D"], same["D"])
    clean = biexponential(test.simulate(20.0, 1)[2].bvalues, 1.0, truth["D"], truth["f"], truth["Dstar"])
    assert abs(np.corrcoef((one - clean).ravel(), (two - clean).ravel())[0, 1]) < 0.2


def test_the_noise_level_can_be_kept_from_the_estimators():
    assert benchmark("paper1").simulate(20.0, voxels=10, known_sigma=False)[2].sigma is None


def test_always_answering_the_prior_mean_scores_as_its_reference():
    test = benchmark("paper1")
    rows = run_benchmark("paper1", [("middle", PriorMean(test.ranges))], snrs=[20, 50], voxels=2000)
    assert len(rows) == 6
    for row in rows:
        assert set(COLUMNS) < set(row)
        assert row["nrmse"] == pytest.approx(row["prior_mean_nrmse"], rel=0.03)
        assert row["missing_share"] == pytest.approx(0.1 if row["parameter"] == "Dstar" else 0.0)
        assert row["us_per_voxel"] > 0
        assert row["binned"].truth.size == 10
    assert rows[0]["coverage90"] == 1.0
    assert np.isnan(rows[1]["coverage90"])
    assert (rows[0]["limit_nrmse"], rows[3]["limit_nrmse"]) == (0.163, 0.080)


@pytest.mark.parametrize(
    ("name", "snr", "points"),
    [("paper1", 20.0, (20, 16, 14)), ("paper1", 50.0, (30, 20, 14)), ("brain", 30.0, (24, 14, 12))],
)
def test_the_mean_of_the_posterior_reaches_the_limit(name, snr, points):
    """1500 voxels leave an NRMSE uncertain by about 3 %; Rician data against a Gaussian likelihood cost a little."""
    test = benchmark(name)
    estimator = PosteriorMean([test.ranges[key] for key in ("D", "f", "Dstar")], points)
    for row in run_benchmark(name, [("posterior", estimator)], snrs=[snr], voxels=1500):
        assert row["nrmse"] == pytest.approx(row["limit_nrmse"], rel=0.08), row["parameter"]


def test_a_parameter_that_an_estimator_does_not_give_is_missing_everywhere():
    rows = run_benchmark("paper1", [("D only", PriorMean({"D": (1e-3, 2e-3), "Dstar": (0.0, 0.1)}))], [20], 50)
    assert [row["missing_share"] for row in rows if row["parameter"] == "f"] == [1.0]
    assert "-" in format_table(rows)


def test_dstar_of_the_labels_benchmark_is_the_whole_decay_rate_on_a_grid():
    """There the signal decays with D + D*: what the source calls D* takes ten values, ours takes them plus D."""
    test = benchmark("labels")
    _, truth, _ = test.simulate(15.0, 20_000)
    for key in ("D", "f", "S0"):
        assert np.unique(truth[key]).size == 10
    added = np.unique((truth["Dstar"] - truth["D"]).round(9))
    np.testing.assert_allclose(added, 0.01 + 0.14 * (np.arange(10) + 0.5) / 10)
    combinations = np.stack([truth[key].round(9) for key in ("D", "f", "Dstar", "S0")], axis=1)
    _, counts = np.unique(combinations, axis=0, return_counts=True)
    assert counts.size == 10_000
    assert (counts == 2).all()


def test_s0_of_the_uniform_benchmark_reaches_from_nothing_to_one():
    signal, truth, acquisition = benchmark("uniform").simulate(200.0, 5000)
    assert truth["S0"].min() < 0.01 and truth["S0"].max() > 0.99
    assert acquisition.sigma == pytest.approx(0.005)
    assert signal[:, 0].mean() == pytest.approx(truth["S0"].mean(), rel=0.01)


def test_estimators_can_be_asked_for_with_options_in_one_word():
    request = "nlls:bounds=benchmark:bounds.D=0,0.002"
    rows = run_benchmark("labels", [request], [30], 200)
    assert rows[0]["estimator"] == request
    _, estimator = make(request, benchmark("labels").fit_bounds)
    assert estimator.bounds["D"] == (0.0, 0.002)
    assert estimator.bounds["Dstar"] == pytest.approx((0.0104, 0.153))
    assert make("segmented:threshold=150")[1].threshold == 150


@pytest.mark.parametrize(
    ("request_text", "words"),
    [("nlls:bounds", "OPTION=VALUE"), ("nlls:bounds=benchmark", "no bounds"), ("nlls:colour=blue", "known are"),
     ("magic:a=b", "Unknown estimator")],
)
def test_a_request_that_cannot_be_met_is_refused(request_text, words):
    with pytest.raises(InputError, match=words):
        make(request_text)


def test_simulated_voxels_are_no_neighbours():
    """An estimator that looks at neighbours must not be taught by voxels that were drawn independently."""
    signal, _, _ = benchmark("paper1").simulate(20.0, 30)
    volume, mask = isolated(signal)
    np.testing.assert_array_equal(volume[mask], signal)
    assert np.diff(np.flatnonzero(mask)).min() > 2
    assert np.isnan(volume[~mask]).all()
    fit = SimpleNamespace(maps={"D": mask * 2.0}, errors={}, extras={"D_info": mask * 1.0}, provenance={"options": {}})
    flat = together(fit, mask)
    assert flat.maps["D"].tolist() == [2.0] * 30 and flat.extras["D_info"].shape == (30,)


def test_progress_stops_the_run():
    calls = []
    middle = PriorMean(benchmark("paper1").ranges)
    rows = run_benchmark(
        "paper1", [("a", middle), ("b", middle)], [8, 20], 50, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(rows) == 12
    assert len(run_benchmark("paper1", [("a", middle)], [8, 20], 50, progress=lambda done, total: False)) == 3


def test_the_table_shows_every_estimator_beside_limit_and_prior_mean(tmp_path):
    test = benchmark("brain")
    pairs = [(label, PriorMean(test.ranges)) for label in ("middle", "other")]
    rows = run_benchmark("brain", pairs, [30, 77], 200)
    table = format_table(rows)
    assert "brain, SNR 30, 200 voxels" in table
    assert "0.069 / 0.316 / 0.441" in table
    assert table.count("(limit)") == 1  # none is known at SNR 77
    assert table.count("(prior mean)") == 2
    for label in ("middle", "other"):
        assert table.count(label) == 2
    write_csv(tmp_path / "b.csv", rows)
    with open(tmp_path / "b.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS
    assert float(read[0]["nrmse"]) == rows[0]["nrmse"]
    write_figure(tmp_path / "b.png", rows)
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_benchmark_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="paper1, brain"):
        run_benchmark("another", [])


def test_no_estimator_gives_no_table_but_a_sentence():
    assert format_table([]) == "No estimator was measured."
