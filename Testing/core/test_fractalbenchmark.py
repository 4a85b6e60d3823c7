"""The benchmark `fractal` on estimators whose result is known: the truth itself, and a blurred truth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from refusal import refused
from scipy.ndimage import uniform_filter

from ivimcore import Acquisition
from ivimcore.evaluation import fractal, suite
from ivimcore.evaluation.neighbourmean import LABEL, NeighbourMean
from ivimcore.physics.findings import finding_maps
from ivimcore.physics.fractal import SEVEN_TISSUES, fractal_maps
from ivimcore.physics.signal import biexponential

SHAPE = (96, 96, 1)


class Oracle:
    """Knows the truth of every map by its noise; `width` voxels are averaged."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.truths = {}
        for seed in range(2):
            maps = (fractal_maps(SHAPE, 200.0, fractal.SEED + seed, SEVEN_TISSUES, "brain16", lesions=0),
                    finding_maps(fractal.FINDING_SNR, fractal.SEED + seed, SHAPE))  # fmt: skip
            self.truths |= {item.signal.tobytes(): item.truth for item in maps}

    def fit(self, signal, acquisition, mask=None):
        truth = self.truths[signal.tobytes()]
        size = (self.width, self.width, 1)
        maps = {key: uniform_filter(value, size) for key, value in truth.items()}
        return SimpleNamespace(maps=maps, errors={key: 0.05 * maps[key] for key in fractal.KEYS}, extras={},
                               provenance={})  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    found = fractal.run([("truth", Oracle()), ("blurred", Oracle(3))], maps=2, shape=SHAPE)
    return {(row["estimator"], row["parameter"]): row for row in found}


@pytest.mark.parametrize("key", fractal.KEYS)
def test_the_truth_has_no_error_sharp_borders_and_all_findings(rows, key):
    row = rows["truth", key]
    for metric in ("mdape", "mdpe", "mape", "nrmse", "missing_share", "mdape_low", "mdape_high", "invented"):
        assert row[metric] == pytest.approx(0, abs=1e-9), metric
    for metric in ("border", "coverage90", "lesion_excess", "voxel_kept", "vessel_kept"):
        assert row[metric] == pytest.approx(1, abs=0.02), metric
    assert row["lesion_kept"] == pytest.approx(1, abs=0.03)
    for metric in ("lesion_spread", "voxel_spread", "vessel_spread"):
        assert abs(row[metric]) < 0.02, metric


@pytest.mark.parametrize("key", fractal.KEYS)
def test_a_blurred_truth_is_found_out(rows, key):
    row = rows["blurred", key]
    assert 0.25 < row["border"] < 0.45  # a third of a step remains between touching voxels
    assert row["voxel_kept"] == pytest.approx(1 / 9, abs=0.02)
    assert row["voxel_spread"] == pytest.approx(1 / 9, abs=0.02)
    assert row["vessel_kept"] == pytest.approx(1 / 3, abs=0.05)
    # Of 3 x 3 voxels the middle keeps all of it, a side 6 and a corner 4 ninths.
    assert row["lesion_excess"] == pytest.approx(49 / 81, abs=0.03) and row["lesion_spread"] > 0.15


def test_regions_of_low_and_high_snr_are_different_voxels():
    maps = fractal_maps(SHAPE, 200.0, 1, SEVEN_TISSUES, "brain16", lesions=0)
    levels = 200 * maps.truth["S0"]
    shares = [((levels >= low) & (levels < high)).mean() for _, low, high in fractal.REGIONS]
    assert sum(shares) == pytest.approx(1) and min(shares) > 0.1


def test_the_mean_of_neighbours_leaves_out_what_is_outside_the_region_or_nan():
    b = np.array([0, 10, 20, 40, 80, 150, 300, 600.0])
    signal = np.broadcast_to(biexponential(b, 1.0, 1e-3, 0.2, 30e-3), (7, 7, 1, 8)).copy()
    mask = np.ones((7, 7, 1), dtype=bool)
    signal[0, 0] = np.nan
    mask[6], signal[6] = False, 100.0
    fit = NeighbourMean().fit(signal, Acquisition(b), mask)
    inside = mask & np.isfinite(signal).all(-1)
    np.testing.assert_allclose(fit.maps["f"][inside], 0.2, rtol=1e-3)
    assert np.isnan(fit.maps["f"][~inside]).all()


def test_the_command_measures_the_naive_mean_beside_every_estimator_and_writes_figures(tmp_path):
    report = suite.evaluate("fractal", ["segmented"], voxels=100)
    assert {row["estimator"] for row in report.rows} == {"segmented", LABEL}
    assert "border kept" in report.text and "MDPE, SNR < 50" in report.text and "vessel kept" in report.text
    written = report.write(tmp_path)
    assert [path.name for path in written] == ["fractal.csv", "fractal_boxes.png", "fractal_maps.png"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_limit_is_refused():
    refused(lambda: suite.evaluate("fractal", ["nlls"], limit="gaussian"), "has no limit")
