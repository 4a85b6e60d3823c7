"""What the maps of real measurements must show; skipped with a reason where the data are not there."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore import create
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.reading import read_labels, read_mask, read_series
from ivimcore.estimators import Status
from ivimcore.jobs.job import Job, load

LIVER, BOTTLE = 2, 1


def fitted(folder, name, rois, label, estimator="nlls"):
    """Fit one region of a series; return the values inside it by key, with rmse relative to S0 and status."""
    series = read_series(folder / f"{name}.nii.gz")
    labels, _ = read_labels(folder / rois, series.geometry)
    inside = labels == label
    result = create(estimator).fit(series.signal, series.acquisition, inside)
    values = {key: volume[inside] for key, volume in result.maps.items()}
    return values | {"relative": (result.residual / result.maps["S0"])[inside], "status": result.status[inside]}


@pytest.mark.parametrize("gradients", ["bipolar", "flowcomp"])
@pytest.mark.parametrize("estimator", ["nlls", "segmented"])
def test_water_at_rest_has_the_diffusion_of_water_and_no_perfusion(shared_data, gradients, estimator):
    folder = shared_data / "flow_phantom_static"
    series = next(folder.glob(f"*T70_{gradients}_trace.nii.gz")).name.removesuffix(".nii.gz")
    bottle = fitted(folder, series, next(folder.glob("*_rois.nii.gz")).name, BOTTLE, estimator)
    assert abs(np.nanmedian(bottle["D"]) / 2.19e-3 - 1) < 0.03
    assert np.nanmedian(bottle["f"]) < 0.02


@pytest.mark.parametrize("volunteer", [1, 3])
def test_flow_compensation_takes_the_perfusion_out_of_the_liver(shared_data, volunteer):
    folder, rois = shared_data / "abdomen_ivim_3volunteers", f"volunteer{volunteer}_rois.nii.gz"
    f = {
        gradients: np.nanmedian(fitted(folder, f"volunteer{volunteer}_T70_{gradients}_trace", rois, LIVER)["f"])
        for gradients in ("bipolar", "flowcomp")
    }
    assert f["flowcomp"] <= 0.6 * f["bipolar"]


def test_the_empty_image_of_volunteer_5_is_seen_said_and_left_out(shared_data):
    """Its flow-compensated trace at b = 50 is NaN everywhere; read as zero it would pull every decay down there."""
    folder = shared_data / "abdomen_ivim_3volunteers"
    as_read = fitted(folder, "volunteer5_T70_flowcomp_trace", "volunteer5_rois.nii.gz", LIVER)
    assert (as_read["status"] == Status.NOT_FINITE).all() and np.isnan(as_read["D"]).all()
    series = load(Job(inputs=(str(folder / "volunteer5_T70_flowcomp_trace.nii.gz"),), out=""))
    assert 50 not in series.acquisition.bvalues and "b = 50" in series.decisions[-1]
    labels, _ = read_labels(folder / "volunteer5_rois.nii.gz", series.geometry)
    compensated = create("nlls").fit(series.signal, series.acquisition, labels == LIVER).maps["f"][labels == LIVER]
    ordinary = fitted(folder, "volunteer5_T70_bipolar_trace", "volunteer5_rois.nii.gz", LIVER)["f"]
    assert np.nanmedian(compensated) <= 0.6 * np.nanmedian(ordinary), "then volunteer 5 follows like the others"


def test_residual_and_status_show_when_an_image_is_wrong(shared_data):
    folder = shared_data / "abdomen_ivim_3volunteers"
    series = read_series(folder / "volunteer5_T70_flowcomp_trace.nii.gz")
    labels, _ = read_labels(folder / "volunteer5_rois.nii.gz", series.geometry)
    zeroed = create("nlls").fit(np.nan_to_num(series.signal), series.acquisition, labels == LIVER)
    assert np.mean(zeroed.status[labels == LIVER] == Status.POOR_FIT) > 0.5
    assert np.nanmedian((zeroed.residual / zeroed.maps["S0"])[labels == LIVER]) > 0.15


def test_all_directions_unaveraged_agree_with_their_trace(shared_data):
    folder = shared_data / "abdomen_ivim_3volunteers"
    trace = fitted(folder, "volunteer1_T70_bipolar_trace", "volunteer1_rois.nii.gz", LIVER)
    every = fitted(folder, "volunteer1_T70_bipolar_all", "volunteer1_rois.nii.gz", LIVER)
    assert abs(np.nanmedian(every["f"]) - np.nanmedian(trace["f"])) < 0.06


def test_the_spinal_cord_without_b_zero_gives_maps_like_those_of_another_tool(shared_data):
    folder = shared_data / "spinal_cord_ivim_7T_rl"
    series = read_series(folder / "dwi_rl.nii.gz")
    cord = read_mask(folder / "cord_seg_dilated.nii.gz", series.geometry)
    result = create("nlls", bounds={"f": (0, 0.4), "Dstar": (3e-3, 0.04)}).fit(series.signal, series.acquisition, cord)
    valid = cord & (result.status == Status.OK)
    reference, _ = read_volumes(folder / "reference_maps" / "D_map.nii.gz")
    both = valid & (reference[..., 0] > 0)
    ours, theirs = result.maps["D"][both], reference[..., 0][both]
    assert both.sum() > 200
    assert 0.3e-3 < np.median(ours) < 2e-3
    assert abs(np.median(ours) / np.median(theirs) - 1) < 0.25
    assert np.corrcoef(ours, theirs)[0, 1] > 0.7


def test_the_prostate_up_to_b_1000_gives_plausible_maps(shared_data):
    folder = shared_data / "prostate_ivim_3T"
    series = read_series(folder / "ivim13b.nii.gz")
    series = series.select(series.acquisition.bvalues <= 1000, "b <= 1000 only")
    D = {}
    for region in ("tumor_roi", "pz_roi", "bph_roi"):
        mask = read_mask(next(folder.glob(f"{region}*")), series.geometry)
        result = create("nlls").fit(series.signal, series.acquisition, mask)
        D[region] = np.nanmedian(result.maps["D"][mask])
        assert 0.02 < np.nanmedian(result.maps["f"][mask]) < 0.5
        assert np.nanmedian((result.residual / result.maps["S0"])[mask]) < 0.08
    # Restricted diffusion in the tumour is what the images are made for.
    assert 0.4e-3 < D["tumor_roi"] < 0.75 * D["pz_roi"] < 2e-3


def posterior_of(folder, name, rois, label):
    """Fit one region with the default estimator; return values, extras and provenance."""
    series = read_series(folder / f"{name}.nii.gz")
    labels, _ = read_labels(folder / rois, series.geometry)
    inside = labels == label
    result = create("posterior").fit(series.signal, series.acquisition, labels > 0)
    return {key: volume[inside] for key, volume in result.all_maps().items()}, result.provenance


@pytest.mark.parametrize("gradients", ["bipolar", "flowcomp"])
def test_the_posterior_sees_no_perfusion_in_water_at_rest(shared_data, gradients):
    folder = shared_data / "flow_phantom_static"
    series = next(folder.glob(f"*T70_{gradients}_trace.nii.gz")).name.removesuffix(".nii.gz")
    bottle, _ = posterior_of(folder, series, next(folder.glob("*_rois.nii.gz")).name, BOTTLE)
    assert np.median(bottle["f_probability"]) < 0.1
    assert abs(np.median(bottle["D"]) / 2.19e-3 - 1) < 0.03


@pytest.mark.parametrize("volunteer", [1, 3])
def test_flow_compensation_lowers_f_and_its_probability_for_the_posterior(shared_data, volunteer):
    folder, rois = shared_data / "abdomen_ivim_3volunteers", f"volunteer{volunteer}_rois.nii.gz"
    found = {
        gradients: posterior_of(folder, f"volunteer{volunteer}_T70_{gradients}_trace", rois, LIVER)[0]
        for gradients in ("bipolar", "flowcomp")
    }
    assert np.median(found["flowcomp"]["f"]) < 0.7 * np.median(found["bipolar"]["f"])
    assert np.mean(found["flowcomp"]["f_probability"]) < np.mean(found["bipolar"]["f_probability"])


def test_the_posterior_of_real_series_is_sure_where_it_can_be_and_says_where_not(shared_data):
    cases = (
        ("prostate_ivim_3T/ivim13b.nii.gz", "prostate_ivim_3T/pz_roi*", 1000),
        ("spinal_cord_ivim_7T_rl/dwi_rl.nii.gz", "spinal_cord_ivim_7T_rl/cord_seg_dilated.nii.gz", 1000),
    )
    for name, region, highest in cases:
        series = read_series(shared_data / name)
        series = series.select(series.acquisition.bvalues <= highest, "b <= 1000 only")
        mask = read_mask(next(shared_data.glob(region)), series.geometry)
        result = create("posterior").fit(series.signal, series.acquisition, mask)
        inside = mask & np.isfinite(result.maps["D"])
        assert inside.sum() > 0.95 * mask.sum()
        assert 0.2e-3 < np.median(result.maps["D"][inside]) < 3.5e-3
        for key in ("D", "f", "Dstar"):
            information = result.extras[f"{key}_info"][inside]
            assert ((information >= 0) & (information <= 1)).all() and (result.errors[key][inside] > 0).all()
            assert (result.extras[f"{key}_low"][inside] <= result.extras[f"{key}_high"][inside]).all()
        assert result.provenance["noise"]["sigma"] > 0, name


def test_a_second_run_of_a_real_series_is_bit_identical(shared_data):
    folder = shared_data / "abdomen_ivim_3volunteers"
    runs = [posterior_of(folder, "volunteer1_T70_bipolar_trace", "volunteer1_rois.nii.gz", LIVER)[0] for _ in range(2)]
    for key in runs[0]:
        np.testing.assert_array_equal(runs[0][key], runs[1][key])
