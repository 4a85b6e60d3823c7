"""Numbers of regions: statistics, CSV files, and the fit of the mean signal."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from ivimcore.data.series import DwiSeries, Geometry
from ivimcore.errors import InputError
from ivimcore.estimators import create
from ivimcore.physics.acquisition import Acquisition
from ivimcore.physics.parameters import INFORMATION_MEANS
from ivimcore.physics.signal import biexponential
from ivimcore.reports.companions import write_prior
from ivimcore.reports.figures import _numbers, plot_error_bars_by_tissue, plot_region_curves
from ivimcore.reports.roistatistics import (
    COLUMNS,
    MEAN_FIT_COLUMNS,
    WHOLE,
    fit_region_means,
    fitted_curves,
    region_mean_signals,
    region_statistics,
    regions_of,
    write_csv,
)

SHAPE = (10, 10, 2)
GEOMETRY = Geometry(SHAPE, np.diag([2.0, 2.0, 5.0, 1.0]))
LABELS = np.zeros(SHAPE, dtype=int)
LABELS[:5] = 1
LABELS[5:, :5] = 2
NAMES = {1: "liver", 2: "spleen"}
B = np.array([0.0, 10, 20, 40, 80, 150, 300, 600])


def row_of(rows, region, key):
    (row,) = [row for row in rows if row["region"] == region and row["map"] == key]
    return row


def some_maps():
    rng = np.random.default_rng(0)
    return {"D": rng.normal(1e-3, 1e-4, SHAPE), "f": np.full(SHAPE, 0.2), "Dstar": rng.uniform(0.02, 0.08, SHAPE)}


def test_numbers_agree_with_numpy_in_every_region():
    maps = some_maps()
    rows = region_statistics(maps, GEOMETRY, LABELS, NAMES, estimator="nlls")
    assert [tuple(row) for row in rows] == [COLUMNS] * 6
    row, values = row_of(rows, "liver", "D"), maps["D"][LABELS == 1]
    assert row["n"] == row["voxels"] == 100
    assert row["mean"] == pytest.approx(values.mean())
    assert row["sd"] == pytest.approx(values.std(ddof=1))
    assert row["pnr"] == pytest.approx(values.mean() / values.std(ddof=1))
    quantiles = [row[key] for key in ("p5", "q1", "median", "q3", "p95")]
    assert quantiles == pytest.approx(np.percentile(values, [5, 25, 50, 75, 95]))
    assert row["volume_ml"] == pytest.approx(100 * 0.02)
    assert (row["unit"], row["estimator"]) == ("mm²/s", "nlls")


def test_dstar_counts_only_where_there_is_blood_and_the_rest_is_counted():
    maps = some_maps()
    maps["f"][:2] = 0.04
    maps["f"][2, 0, 0] = 0.05  # the threshold itself is perfused
    maps["Dstar"][:2] = 99.0
    maps["Dstar_sd"] = maps["Dstar"] / 10
    rows = region_statistics(maps, GEOMETRY, LABELS, NAMES)
    for key in ("Dstar", "Dstar_sd"):
        row = row_of(rows, "liver", key)
        assert (row["n"], row["left_out"], row["missing_share"]) == (60, 40, 0.0)
        assert row["p95"] < 1
    assert row_of(rows, "liver", "f")["left_out"] == 0
    assert row_of(rows, "liver", "Dstar_sd")["unit"] == "mm²/s"


def test_information_says_what_part_of_a_mean_was_measured():
    maps = some_maps()
    maps["f"][:2] = 0.01
    maps["Dstar_info"] = np.full(SHAPE, INFORMATION_MEANS)  # the threshold itself is informed
    maps["Dstar_info"][4] = 0.1
    maps["Dstar_info"][:2] = 0.0  # no blood: neither D* nor its information counts
    maps["Dstar_sd"] = maps["Dstar_low"] = maps["Dstar_high"] = maps["Dstar"]
    maps["f_probability"] = maps["f"]
    rows = region_statistics(maps, GEOMETRY, LABELS, NAMES)
    assert [tuple(row)[-2:] for row in rows] == [("information", "informed_share")] * len(rows)
    for key in ("Dstar", "Dstar_sd", "Dstar_low", "Dstar_high", "Dstar_info"):
        row = row_of(rows, "liver", key)
        assert (row["n"], row["left_out"]) == (60, 40)
        assert row["information"] == pytest.approx((40 * INFORMATION_MEANS + 20 * 0.1) / 60)
        assert row["informed_share"] == pytest.approx(2 / 3)
    for key in ("D", "f", "f_probability"):
        row = row_of(rows, "liver", key)
        assert (row["n"], row["information"], row["informed_share"]) == (100, None, None)
    assert row_of(rows, "liver", "f_probability")["unit"] == "1"


def test_information_without_a_value_is_nan_where_the_estimator_has_a_map(tmp_path):
    maps = some_maps()
    maps["D_info"] = np.full(SHAPE, np.nan)  # a parameter fixed by its bounds
    rows = region_statistics(maps, GEOMETRY, LABELS, NAMES)
    assert np.isnan([row_of(rows, "liver", "D")[key] for key in ("information", "informed_share")]).all()
    write_csv(tmp_path / "s.csv", rows)
    with open(tmp_path / "s.csv", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert (read[0]["informed_share"], read[1]["informed_share"]) == ("nan", "")


def test_voxels_without_value_are_neither_zero_nor_forgotten():
    maps = some_maps()
    maps["D"][:1] = np.nan
    row = row_of(region_statistics(maps, GEOMETRY, LABELS, NAMES), "liver", "D")
    assert (row["n"], row["voxels"]) == (80, 100)
    assert row["missing_share"] == pytest.approx(0.2)
    assert row["mean"] == pytest.approx(1e-3, rel=0.1)


def test_a_region_without_voxels_gives_nan_and_no_warning():
    rows = region_statistics(some_maps(), GEOMETRY, np.zeros(SHAPE, int), {7: "empty"})
    row = row_of(rows, "empty", "D")
    assert row["n"] == row["voxels"] == 0
    assert np.isnan([row["mean"], row["sd"], row["missing_share"]]).all()


def test_a_region_of_one_voxel_has_a_mean_but_no_spread():
    labels = np.zeros(SHAPE, int)
    labels[0, 0, 0] = 1
    row = region_statistics(some_maps(), GEOMETRY, labels, {1: "point"})[0]
    assert np.isfinite(row["mean"])
    assert np.isnan([row["sd"], row["pnr"]]).all()


def test_without_labels_everything_in_the_mask_is_one_region():
    mask = np.zeros(SHAPE, bool)
    mask[:3] = True
    rows = region_statistics(some_maps(), GEOMETRY, mask=mask)
    assert {row["region"] for row in rows} == {WHOLE}
    assert rows[0]["voxels"] == 60


def test_regions_may_overlap_when_given_as_masks():
    everything = np.ones(SHAPE, bool)
    regions = regions_of({"all": everything, "liver": LABELS == 1}, None, SHAPE)
    assert (regions["all"] & regions["liver"]).sum() == 100


def test_a_label_without_a_name_is_called_by_its_number():
    assert list(regions_of(LABELS, {1: "liver"}, SHAPE)) == ["liver", "label 2"]


def test_two_labels_of_one_name_are_one_region():
    assert regions_of(LABELS, {1: "kidney", 2: "kidney"}, SHAPE)["kidney"].sum() == 150


def test_labels_of_another_grid_are_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"\(3, 3, 3\).*\(10, 10, 2\)"):
        region_statistics(some_maps(), GEOMETRY, np.ones((3, 3, 3), int), {1: "liver"})


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_region_name_never_becomes_a_formula(tmp_path, name):
    rows = region_statistics(some_maps(), GEOMETRY, LABELS, {1: name})
    write_csv(tmp_path / "s.csv", rows)
    with open(tmp_path / "s.csv", encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["region"] == "'" + name


def test_csv_keeps_every_digit_and_every_letter(tmp_path):
    rows = region_statistics(some_maps(), GEOMETRY, LABELS, {1: 'Leber, "rechts" µ'})
    rows[0]["mean"] = -0.1 + 1e-17
    path = tmp_path / "s.csv"
    write_csv(path, rows)
    with open(path, encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS
    assert read[0]["region"] == 'Leber, "rechts" µ'
    for row, text in zip(rows, read, strict=True):
        for key in ("mean", "sd", "p95", "volume_ml"):
            assert float(text[key]) == row[key]
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.csv"]


class ExactFit:
    """An estimator that knows the answer: what it is given is checked, what it returns is known."""

    name = "exact"

    def __init__(self, values, information=None):
        self.values, self.sigmas = values, []
        self.extras = {f"{key}_info": np.full((1, 1, 1), value) for key, value in (information or {}).items()}

    def fit(self, signal, acquisition, mask):
        assert signal.shape == (1, 1, 1, acquisition.count)
        assert mask.shape == (1, 1, 1)
        self.sigmas.append(acquisition.sigma)
        maps = {key: np.full((1, 1, 1), value) for key, value in self.values.items()}
        fitted = biexponential(acquisition.bvalues, *(self.values[key] for key in ("S0", "D", "f", "Dstar")))
        residual = np.sqrt(((signal - fitted) ** 2).mean(axis=-1))
        errors = {"D": np.full((1, 1, 1), 1e-5)}
        return SimpleNamespace(maps=maps, errors=errors, residual=residual, extras=self.extras)


VALUES = {"D": 1.1e-3, "f": 0.2, "Dstar": 0.05, "S0": 500.0}


def make_series(sigma=None):
    clean = biexponential(B, VALUES["S0"], VALUES["D"], VALUES["f"], VALUES["Dstar"])
    signal = clean + np.random.default_rng(1).normal(0, 10, (*SHAPE, B.size))
    return DwiSeries(signal, GEOMETRY, Acquisition(B, sigma=sigma), "a test", "none"), clean


def test_the_mean_signal_has_the_error_of_a_mean():
    series, clean = make_series()
    mean, sd = region_mean_signals(series, LABELS, NAMES)["liver"]
    assert mean == pytest.approx(clean, abs=5 * 10 / np.sqrt(100))
    assert sd == pytest.approx(np.full(B.size, 1.0), rel=0.4)


def test_voxels_with_nan_do_not_spoil_the_mean():
    series, clean = make_series()
    series.signal[0, 0, 0, 3] = np.nan
    mean, _ = region_mean_signals(series, LABELS, NAMES)["liver"]
    assert np.isfinite(mean).all()


def test_fit_of_region_means_gives_rows_and_curves_through_the_points():
    series, clean = make_series(sigma=10.0)
    estimator = ExactFit(VALUES)
    rows, curves = fit_region_means(estimator, series, LABELS, NAMES)
    assert all(tuple(row) == MEAN_FIT_COLUMNS for row in rows)
    assert row_of(rows, "liver", "D")["value"] == 1.1e-3
    assert row_of(rows, "liver", "D")["sd"] == 1e-5
    assert row_of(rows, "liver", "D")["rmse"] < 3
    assert estimator.sigmas == pytest.approx([10 / np.sqrt(100), 10 / np.sqrt(50)])
    curve = curves[0]
    assert np.interp(B, curve.fine_b, curve.fitted) == pytest.approx(clean, rel=2e-3)
    assert curve.tissue[0] == pytest.approx(500 * 0.8)
    assert (curve.tissue <= curve.fitted).all()


def test_a_number_that_only_repeats_the_prior_is_not_written_beside_a_curve():
    series, _ = make_series()
    sure = ExactFit(VALUES, {"D": 0.9, "Dstar": INFORMATION_MEANS})
    _, (curve, _) = fit_region_means(sure, series, LABELS, NAMES)
    assert curve.information == {"D": 0.9, "Dstar": INFORMATION_MEANS}
    assert "D* 50 10⁻³ mm²/s" in _numbers(curve)
    _, (curve, _) = fit_region_means(ExactFit(VALUES, {"D": 0.9, "Dstar": 0.19}), series, LABELS, NAMES)
    assert "D* not determined" in _numbers(curve)
    assert "f 20 %" in _numbers(curve)


@pytest.mark.parametrize("prior", ["learned", "learned_local", "uniform"])
def test_a_learned_prior_is_written_and_gives_the_same_maps_again(tmp_path, prior):
    series, _ = make_series(sigma=10.0)
    mask = LABELS > 0
    estimator = create("posterior", prior=prior)
    fit = estimator.fit(series.signal, series.acquisition, mask)
    outcome = SimpleNamespace(
        series=series, mask=mask, estimators={"posterior": estimator}, results={"posterior": fit},
        folders={"posterior": tmp_path}, job=SimpleNamespace(name="DWI"),
    )
    write_prior(outcome, "posterior", figure=False)
    if prior != "learned":
        assert not list(tmp_path.iterdir())
        return
    assert [path.name for path in tmp_path.iterdir()] == ["prior.npz"]
    again = create("posterior", prior="file", prior_file=tmp_path / "prior.npz")
    same = again.fit(series.signal, series.acquisition, mask).all_maps()
    for key, image in fit.all_maps().items():
        np.testing.assert_array_equal(same[key], image)
    write_prior(outcome, "posterior", figure=True)
    assert (tmp_path / "prior.png").read_bytes().startswith(b"\x89PNG")


def test_a_region_too_small_to_teach_writes_no_prior(tmp_path):
    series, _ = make_series(sigma=10.0)
    mask = np.zeros(SHAPE, bool)
    mask[0, 0] = True
    estimator = create("posterior", prior="learned")
    fit = estimator.fit(series.signal, series.acquisition, mask)
    outcome = SimpleNamespace(
        series=series, mask=mask, estimators={"posterior": estimator}, results={"posterior": fit},
        folders={"posterior": tmp_path},
    )
    write_prior(outcome, "posterior", figure=True)
    assert not list(tmp_path.iterdir())


def test_an_empty_region_gives_a_curve_of_nan_and_no_row():
    series, _ = make_series()
    rows, curves = fit_region_means(ExactFit(VALUES), series, LABELS, {**NAMES, 9: "nowhere"})
    assert "nowhere" not in {row["region"] for row in rows}
    assert np.isnan(curves[-1].fitted).all()


def test_curves_of_mono_exponential_results_and_of_missing_perfusion():
    fitted, tissue = fitted_curves(B, {"S0": 2.0, "ADC": 1e-3})
    assert fitted == pytest.approx(2 * np.exp(-B * 1e-3))
    assert tissue == pytest.approx(fitted)
    fitted, _ = fitted_curves(B, {"S0": 2.0, "D": 1e-3, "f": 0.0, "Dstar": np.nan})
    assert fitted == pytest.approx(2 * np.exp(-B * 1e-3))
    assert np.isnan(fitted_curves(B, {"D": 1e-3})[0]).all()


def test_figures_are_written_even_for_strange_names_and_empty_regions(tmp_path):
    series, _ = make_series()
    names = {1: "$x^2 _ liver\n" + 50 * "long ", 2: "_hidden", 9: "nowhere"}
    _, curves = fit_region_means(ExactFit(VALUES), series, LABELS, names)
    plot_region_curves(curves, tmp_path / "curves.png", "Two $ regions")
    rows = region_statistics(some_maps(), GEOMETRY, LABELS, names, estimator="exact")
    plot_error_bars_by_tissue(rows, {"_hidden": VALUES}, tmp_path / "bars.png")
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["bars.png", "curves.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in written)
