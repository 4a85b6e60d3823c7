"""Coverage: intervals that are right, too narrow, missing, or given by the estimator itself."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from ivimcore.evaluation import coverage
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.evaluation.suite import evaluate


class Known:
    """Truth of paper1 plus Gaussian errors of a known size, with the stated size times `honesty`."""

    def __init__(self, honesty=1.0, extras=False):
        self.honesty, self.extras = honesty, extras

    def fit(self, signal, acquisition, mask):
        _, truth, _ = benchmark("paper1").simulate(20.0, int(mask.sum()))
        rng = np.random.default_rng(5)
        maps, errors, extras = {}, {}, {}
        for key in ("D", "f", "Dstar"):
            true = np.full(mask.shape, truth[key].mean())
            true[mask] = truth[key]
            size = 0.1 * true.mean()
            maps[key] = true + rng.normal(0, size, true.shape)
            errors[key] = np.full(true.shape, size * self.honesty)
            extras |= {f"{key}_low": true - 1, f"{key}_high": np.where(true > true.mean(), true + 1, true - 0.5)}
            extras[f"{key}_info"] = np.full(true.shape, 0.75)
        result = SimpleNamespace(maps=maps, errors=errors)
        if self.extras:
            result.extras = extras
        return result


def paper1(estimators, voxels=4000):
    return [row for row in coverage.run(estimators, [20], voxels) if row["benchmark"] == "paper1"]


def test_honest_errors_cover_as_often_as_they_say():
    for row in paper1([("honest", Known())]):
        deviation = np.sqrt(row["level"] * (1 - row["level"]) / row["n"])
        assert row["covered"] == pytest.approx(row["level"], abs=4 * deviation)
        assert row["stated_share"] == 1
        assert np.isnan(row["information"])


def test_errors_stated_too_small_cover_too_seldom():
    for row in paper1([("boaster", Known(0.5))]):
        assert row["covered"] < row["level"] - 0.15


def test_own_intervals_and_information_are_read_where_the_estimator_gives_them():
    rows = paper1([("own", Known(extras=True))])
    own = [row for row in rows if row["kind"] == "credible interval"]
    assert [row["parameter"] for row in own] == ["D", "f", "Dstar"]
    for row in own:
        assert row["level"] == 0.90
        assert row["covered"] == pytest.approx(0.5, abs=0.05)
        assert row["information"] == 0.75


def test_the_level_of_own_intervals_is_read_from_the_provenance():
    extras = {"D_low": np.zeros(3), "D_high": np.ones(3)}
    fit = SimpleNamespace(extras=extras, provenance={"options": {"interval": 0.5}})
    assert coverage.credible_interval(fit, "D")[2] == 0.5
    assert coverage.credible_interval(fit, "f") is None


def test_voxels_without_interval_are_not_counted_but_their_share_is_told():
    fit = SimpleNamespace(maps={"D": np.array([1.0, 1.0, 5.0])}, errors={"D": np.array([0.1, np.nan, 0.1])})
    np.testing.assert_array_equal(coverage.covered(fit, "D", np.ones(3), 0.9), [1, np.nan, 0])
    assert np.isnan(coverage.covered(fit, "f", np.ones(3), 0.9)).all()


def test_least_squares_covers_nearly_as_it_says_and_adc_is_seen_to_say_nothing(tmp_path):
    report = evaluate("coverage", ["nlls", "adc"], [50], 1000)
    nlls = [row for row in report.rows if row["estimator"] == "nlls" and row["benchmark"] == "paper1"]
    assert len(nlls) == 9
    assert all(abs(row["covered"] - row["level"]) < 0.08 for row in nlls if row["parameter"] != "Dstar")
    assert "none" in report.text
    written = report.write(tmp_path / "out")
    with open(written[0], encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == coverage.COLUMNS
    assert written[1].read_bytes().startswith(b"\x89PNG")
