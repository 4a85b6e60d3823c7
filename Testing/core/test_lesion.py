"""The lesion benchmark: estimators made to fail in one known way each must be seen to fail so."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from ivimcore.evaluation import lesion
from ivimcore.evaluation.suite import evaluate
from ivimcore.physics import fractal

SMALL = {"maps": 2, "snrs": [40], "shape": (96, 96, 1)}


class FromTruth:
    """An estimator that knows the maps of the benchmark and changes them."""

    def __init__(self, change, error=None):
        self.change, self.error, self.number = change, error, 0

    def fit(self, signal, acquisition, mask):
        item = fractal.fractal_maps(SMALL["shape"], 40, lesion.SEED + self.number, lesions=lesion.LESIONS)
        self.number += 1
        maps = {key: self.change(item.truth[key], key) for key in ("D", "f", "Dstar")}
        errors = {} if self.error is None else {key: self.error * item.truth[key] for key in maps}
        return SimpleNamespace(maps=maps, errors=errors)


def of_f(rows):
    return next(row for row in rows if row["parameter"] == "f")


def test_the_truth_keeps_every_contrast_and_raises_no_alarm():
    rows = lesion.run([("truth", FromTruth(lambda values, key: values, 0.1))], **SMALL)
    f = of_f(rows)
    assert f["contrast"] == pytest.approx(1.79)
    assert (f["kept"], f["kept_excess"]) == (pytest.approx(1), pytest.approx(1))
    assert (f["false_positives"], f["false_fixed"], f["mdape"]) == (0, 0, 0)
    assert f["coverage90_lesion"] == f["coverage90_elsewhere"] == 1
    assert set(lesion.COLUMNS) < set(f)
    assert f["lesions"] == 2 * lesion.LESIONS and f["shams"] == 6 * lesion.LESIONS


def test_smoothing_loses_the_contrast_though_errors_stay_small():
    rows = lesion.run([("smooth", FromTruth(lambda values, key: uniform_filter(values, (5, 5, 1))))], **SMALL)
    f = of_f(rows)
    # 9 of 25 voxels keep the lesion at the centre, fewer at its edge, and the ring takes up the rest.
    assert 1.0 < f["contrast"] < 1.35
    assert f["kept"] == pytest.approx(f["contrast"] / 1.79)
    assert f["kept_excess"] < 0.45
    assert f["mdape"] < 5


def test_always_the_same_answer_finds_no_lesion_and_cannot_tell_it_from_nothing():
    f = of_f(lesion.run([("constant", FromTruth(lambda values, key: np.full(values.shape, values.mean())))], **SMALL))
    assert f["contrast"] == pytest.approx(1.0)
    assert f["kept_excess"] == pytest.approx(0.0, abs=1e-9)
    assert f["false_positives"] == 1.0
    assert f["false_fixed"] == 0.0
    assert np.isnan(f["coverage90_lesion"])


def test_noise_in_f_raises_alarms():
    rng = np.random.default_rng(1)
    noisy = FromTruth(lambda values, key: values * rng.exponential(1, values.shape))
    f = of_f(lesion.run([("noisy", noisy)], **SMALL))
    assert f["false_fixed"] > 0.02
    assert f["contrast_se"] > 0.02


def test_contrasts_ignore_voxels_without_estimate():
    maps = fractal.fractal_maps(seed=1)
    f = maps.truth["f"].copy()
    f[tuple(maps.lesions[0])] = np.nan
    assert lesion.contrasts(f, maps.lesions)[0] == pytest.approx(1.79)
    assert np.isnan(lesion.contrasts(np.full(f.shape, np.nan), maps.lesions)).all()


def test_false_positives_are_counted_at_the_threshold_that_finds_half_of_the_lesions():
    lesions = np.array([1.2, 1.4, 1.6, 1.8, 2.0])
    shams = np.array([0.9, 1.0, 1.39, 1.4, 1.7, np.nan, 1.0, 1.1, 1.0, 1.2])
    assert lesion.false_positive_shares(lesions, shams) == (0.1, 0.2)
    assert np.isnan(lesion.false_positive_shares(lesions, np.array([]))).all()


def test_an_estimator_without_f_and_dstar_is_shown_with_gaps():
    text = lesion.format_table(lesion.run(["adc"], **SMALL))
    assert "adc" in text and "- / -" in text


def test_the_noise_level_can_be_kept_from_the_estimators():
    seen = []

    class Curious(FromTruth):
        def fit(self, signal, acquisition, mask):
            seen.append(acquisition.sigma)
            return super().fit(signal, acquisition, mask)

    curious = Curious(lambda values, key: values)
    lesion.run([("curious", curious)], **SMALL, known_sigma=False)
    assert seen == [None, None]


def test_the_report_has_a_table_rows_for_json_and_pictures(tmp_path):
    report = evaluate("lesion", ["segmented", "nlls:bounds=benchmark"], [40], 16384)
    assert "nlls:bounds=benchmark" in report.text and "kept (excess) [%]" in report.text
    assert json.loads(json.dumps(report.rows))[0]["estimator"] == "segmented"
    written = report.write(tmp_path / "out")
    assert [path.name for path in written] == ["lesion.csv", "lesion.png", "lesion_maps.png"]
    assert all(path.stat().st_size > 500 for path in written)


def test_no_estimator_gives_no_table_but_a_sentence():
    assert lesion.format_table([]) == "No estimator was measured."
