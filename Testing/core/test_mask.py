"""The automatic mask finds the body, in phantoms with difficult backgrounds and in the real measurements."""

import numpy as np
import pytest

from ivimcore.data.mask import body_mask
from ivimcore.data.reading import read_mask, read_series
from ivimcore.errors import InputError
from ivimcore.physics.acquisition import Acquisition


@pytest.fixture
def body():
    """An ellipse with an organ, dark bone and a hole, in two slices of 64 x 48; returns (mean signal, truth)."""
    x, y = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 48), indexing="ij")
    truth = (x / 0.8) ** 2 + (y / 0.7) ** 2 < 1
    signal = np.where(truth, 100.0, 0.0)
    signal[(x - 0.3) ** 2 + y**2 < 0.03] = 400.0
    signal[(x + 0.3) ** 2 + y**2 < 0.02] = 10.0
    signal[x**2 + (y + 0.2) ** 2 < 0.01] = 0.0
    return np.repeat(signal[..., None], 2, axis=2), np.repeat(truth[..., None], 2, axis=2)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def series_of(signal, rng, sigma=4.0):
    decay = np.exp(-np.array([0, 20, 100, 800]) * 1.2e-3)
    clean = signal[..., None] * decay
    return np.hypot(clean + rng.normal(0, sigma, clean.shape), rng.normal(0, sigma, clean.shape))


@pytest.mark.parametrize("background", ["noise", "zero", "negative", "nan"])
def test_body_is_found_on_every_background(body, background):
    signal, truth = body
    series = series_of(signal, np.random.default_rng(0))
    if background == "zero":
        series[~truth] = 0
    elif background == "negative":
        series[~truth] -= 8
    elif background == "nan":
        series[~truth] = np.nan
        series[30, 20, 0, 1] = np.nan
    mask = body_mask(series, Acquisition([0, 20, 100, 800]))
    assert mask.dtype == bool and mask.shape == truth.shape
    assert dice(mask, truth) > 0.93
    assert mask[32, 24].all() and mask[32, 19].all(), "the hole within the body is filled"


def test_small_bright_parts_outside_are_dropped(body):
    signal, _ = body
    signal[1:4, 1:4] = 300
    assert not body_mask(series_of(signal, np.random.default_rng(0)))[:6, :6].any()


def test_image_within_the_body_is_taken_whole():
    rng = np.random.default_rng(0)
    tissue = np.where(np.arange(40) < 20, 100.0, 220.0)[:, None, None] * np.ones((40, 30, 2))
    assert body_mask(series_of(tissue, rng)).all()


def test_constant_image_is_taken_whole_and_an_empty_one_is_refused():
    assert body_mask(np.full((5, 5, 1, 2), 3)).all()
    with pytest.raises(InputError, match="no positive signal"):
        body_mask(np.zeros((5, 5, 1, 2)))
    with pytest.raises(InputError, match="no positive signal"):
        body_mask(np.full((5, 5, 1, 2), np.nan))


@pytest.mark.parametrize(("series", "regions", "fraction"), [
    ("prostate_ivim_3T/ivim13b.nii.gz", ["tumor_roi", "pz_roi", "bph_roi"], (0.6, 0.8)),
    ("spinal_cord_ivim_7T_rl/dwi_rl.nii.gz", ["cord_seg_dilated"], (0.35, 0.6)),
    *[(f"abdomen_ivim_3volunteers/volunteer{i}_T70_bipolar_trace.nii.gz", [f"volunteer{i}_rois"], (0.2, 0.5))
      for i in (1, 3, 5)],
    ("flow_phantom_static/phantom_static_T70_bipolar_all.nii.gz", ["phantom_static_rois"], (0.15, 0.3)),
])
def test_real_regions_lie_within_the_mask(shared_data, series, regions, fraction):
    read = read_series(shared_data / series)
    mask = body_mask(read.signal, read.acquisition)
    assert fraction[0] < mask.mean() < fraction[1]
    for name in regions:
        region = read_mask((shared_data / series).with_name(f"{name}.nii.gz"), read.geometry)
        assert mask[region].mean() > 0.95, name


def test_brain_of_the_canon_series_is_found(shared_data):
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    read = read_series(shared_data / "dicom_canon_enhanced_brain")
    mask = body_mask(read.signal, read.acquisition)
    assert 0.35 < mask.mean() < 0.5
    assert mask[40, 40, 20] and not mask[0, 0].any()
