"""Noise: its distribution, and how well it is measured again."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.errors import InputError
from ivimcore.physics.acquisition import Acquisition
from ivimcore.physics.background import background_sigma, measure_noise, rayleigh_distance
from ivimcore.physics.noise import add_gaussian, add_rician, decay_bases, estimate_sigma, sigma_of_snr
from ivimcore.physics.phantom import abdomen, brain
from ivimcore.physics.protocols import PROTOCOLS, protocol
from ivimcore.physics.signal import biexponential


def tissue(bvalues, voxels=4000, seed=5):
    rng = np.random.default_rng(seed)
    draw = rng.uniform
    return biexponential(
        np.asarray(bvalues, dtype=float), draw(0.7, 1.3, voxels), draw(0.5e-3, 3e-3, voxels),
        draw(0.05, 0.55, voxels), draw(0.01, 0.1, voxels),
    )  # fmt: skip


def test_rician_noise_has_the_mean_and_variance_of_theory():
    rng = np.random.default_rng(1)
    background = add_rician(np.zeros(200_000), 2.0, rng)
    assert background.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    assert background.var() == pytest.approx(4.0 * (2 - np.pi / 2), rel=0.02)
    strong = add_rician(np.full(200_000, 100.0), 2.0, rng)
    assert strong.std() == pytest.approx(2.0, rel=0.01)
    assert strong.mean() == pytest.approx(100 + 2.0**2 / (2 * 100), abs=0.02)


def test_gaussian_noise_keeps_the_mean_and_may_be_negative():
    noisy = add_gaussian(np.zeros(100_000), 3.0, np.random.default_rng(1))
    assert noisy.mean() == pytest.approx(0, abs=0.05)
    assert noisy.std() == pytest.approx(3.0, rel=0.02)
    assert noisy.min() < 0


def test_the_same_seed_gives_the_same_noise():
    first, second = (add_rician(np.ones(50), 0.1, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_snr_is_signal_at_b_zero_over_sigma():
    assert sigma_of_snr(1000.0, 20.0) == 50.0
    with pytest.raises(InputError, match="positive"):
        sigma_of_snr(1000.0, 0.0)


def test_decays_lie_in_the_basis_made_for_them():
    bvalues = np.array(protocol("brain16").bvalues)
    basis, outside = decay_bases(bvalues)[8]
    np.testing.assert_allclose(basis.T @ basis, np.eye(9), atol=1e-12)
    signal = tissue(bvalues)
    rest = signal - (signal @ basis) @ basis.T
    freedom = bvalues.size - 9
    assert np.sqrt((rest**2).sum(axis=1) / freedom).max() <= 1.3 * outside


@pytest.mark.parametrize("snr", [10, 20, 50, 100])
@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "clinical6"])
def test_sigma_is_found_within_five_percent(name, snr):
    acquisition = protocol(name).acquisition()
    signal = add_rician(tissue(acquisition.bvalues), 1 / snr, np.random.default_rng(snr))
    assert estimate_sigma(signal, acquisition).sigma * snr == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("snr", [10, 30, 100])
def test_sigma_of_the_whole_phantom_is_found_within_five_percent(snr):
    """Tissues of a sixth to twice the reference signal: at SNR 10 much of the fat is near the noise floor."""
    phantom = abdomen(shape=(64, 64, 4), snr=snr, protocol="brain16")
    found = estimate_sigma(phantom.signal[phantom.mask], phantom.acquisition)
    assert found.sigma == pytest.approx(phantom.sigma, rel=0.05)


def test_sigma_of_pure_background_is_that_of_the_channels_not_of_the_magnitude():
    """The magnitude of pure noise spreads by 0.655 sigma only; the estimate must undo that."""
    noise = add_rician(np.zeros((5000, 12)), 4.0, np.random.default_rng(2))
    assert estimate_sigma(noise, Acquisition(np.zeros(12))).sigma == pytest.approx(4.0, rel=0.10)


def test_repeats_are_used_where_there_are_enough_and_the_method_says_so():
    acquisition = Acquisition([0] * 6 + [100, 500])
    signal = add_rician(tissue(acquisition.bvalues), 0.03, np.random.default_rng(1))
    found = estimate_sigma(signal, acquisition)
    assert "6 repeated images at b = 0" in found.method
    assert found.sigma == pytest.approx(0.03, rel=0.05)


def test_repeats_of_different_directions_are_not_taken_for_noise():
    """Anisotropic tissue: the four images of b = 500 differ by direction, which is no noise."""
    bvalues = np.array([0, 10, 20, 30, 50, 80, 120, 200, 300, 400, 500, 500, 500, 500, 600, 800.0])
    signal = tissue(bvalues)
    signal[:, 10:14] *= [0.8, 1.0, 1.1, 1.2]
    acquisition = Acquisition(bvalues, directions=np.tile([1.0, 0, 0], (16, 1)))
    assert "repeats" not in estimate_sigma(signal, acquisition).method


def test_the_scale_of_the_signal_scales_sigma():
    acquisition = protocol("paper1").acquisition()
    signal = add_rician(tissue(acquisition.bvalues), 0.05, np.random.default_rng(3))
    assert estimate_sigma(1000 * signal, acquisition).sigma == pytest.approx(
        1000 * estimate_sigma(signal, acquisition).sigma, rel=1e-6
    )


def test_voxels_with_nan_or_without_signal_are_left_out():
    acquisition = protocol("brain16").acquisition()
    signal = add_rician(tissue(acquisition.bvalues), 0.05, np.random.default_rng(3))
    expected = estimate_sigma(signal[3:], acquisition).sigma
    signal[0, 4], signal[1, 2], signal[2, 0] = np.nan, 0, -5
    found = estimate_sigma(signal, acquisition)
    assert found.sigma == pytest.approx(expected)
    assert np.isnan(found.per_voxel[:3]).all()
    assert np.median(found.per_voxel[3:]) == pytest.approx(0.05, rel=0.1)


def test_too_few_images_give_no_number_but_a_reason_and_a_remedy():
    acquisition = Acquisition([0, 50, 100, 800])
    found = estimate_sigma(add_rician(tissue(acquisition.bvalues), 0.005, np.random.default_rng(1)), acquisition)
    assert found.sigma is None
    assert "too few" in found.method
    assert "Give sigma" in found.method


def test_one_image_gives_no_number():
    assert estimate_sigma(np.ones((100, 1)), Acquisition([0])).sigma is None


def test_too_few_voxels_give_no_number_but_their_count():
    acquisition = protocol("paper1").acquisition()
    found = estimate_sigma(np.full((3, 11), np.nan), acquisition)
    assert found.sigma is None
    assert "only 0 voxels" in found.method


def test_images_without_noise_give_no_number():
    found = estimate_sigma(np.ones((100, 5)), Acquisition(np.zeros(5)))
    assert found.sigma is None
    assert "No noise" in found.method


def test_signal_of_another_number_of_images_is_refused():
    with pytest.raises(InputError, match="11 images"):
        estimate_sigma(np.ones((5, 10)), protocol("paper1").acquisition())


# --- background --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [5, 10, 20, 50, 200])
@pytest.mark.parametrize(("build", "protocol"), [(abdomen, "abdomen12"), (abdomen, "clinical6"), (brain, "brain16")])
def test_sigma_is_found_in_the_background_within_five_percent(build, protocol, snr):
    """At SNR 5 the fat of the abdomen (relative signal 0.16) is hardly more than noise itself."""
    phantom = build(shape=(64, 64, 6), snr=snr, protocol=protocol)
    found = background_sigma(phantom.signal)
    assert found.sigma == pytest.approx(phantom.sigma, rel=0.05)
    assert "background" in found.method


def test_rounding_to_integers_does_not_hide_the_background():
    phantom = abdomen(shape=(64, 64, 6), snr=500)
    assert background_sigma(np.round(phantom.signal)).sigma == pytest.approx(phantom.sigma, rel=0.05)


def test_a_background_set_to_zero_holds_no_noise():
    phantom = abdomen(shape=(64, 64, 4), snr=20)
    found = background_sigma(np.where(phantom.mask[..., None], phantom.signal, 0))
    assert found.sigma is None
    assert "background" in found.method


def test_a_background_that_was_averaged_or_is_another_noise_is_not_taken():
    rng = np.random.default_rng(1)
    averaged = np.mean([add_rician(np.zeros((20_000, 8)), 2.0, rng) for _ in range(4)], axis=0)
    assert background_sigma(averaged).sigma is None
    assert background_sigma(rng.uniform(0.5, 1.5, (20_000, 8))).sigma is None


def test_tissue_alone_is_not_taken_for_background():
    acquisition = protocol("brain16").acquisition()
    signal = add_rician(tissue(acquisition.bvalues, 20_000), 0.03, np.random.default_rng(1))
    assert background_sigma(signal).sigma is None


def test_the_distance_to_rayleigh_is_small_for_rayleigh_only():
    rng = np.random.default_rng(2)
    noise = add_rician(np.zeros(50_000), 3.0, rng)
    assert rayleigh_distance(noise, 3.0) < 0.01
    assert rayleigh_distance(np.round(noise), 3.0) < 0.02
    assert rayleigh_distance(noise, 4.0) > 0.1


def test_the_images_of_the_tissue_are_preferred_and_the_background_steps_in():
    rich, poor = (abdomen(shape=(64, 64, 4), snr=30, protocol=name) for name in ("brain16", "clinical6"))
    poor_acquisition = Acquisition(poor.acquisition.bvalues[[0, 2, 3, 5]])
    found = measure_noise(rich.signal, rich.acquisition, rich.mask)
    assert "no decay explains" in found.method
    assert "background" in measure_noise(rich.signal, rich.acquisition, rich.mask, "background").method
    found = measure_noise(poor.signal[..., [0, 2, 3, 5]], poor_acquisition, poor.mask)
    assert "background" in found.method
    assert found.sigma == pytest.approx(poor.sigma, rel=0.05)
    assert measure_noise(poor.signal[..., [0, 2, 3, 5]], poor_acquisition, poor.mask, "images").sigma is None


def test_where_no_method_works_both_reasons_are_given():
    found = measure_noise(np.ones((5, 5, 1, 4)), Acquisition([0, 100, 200, 800]))
    assert found.sigma is None
    assert "too few" in found.method and "background" in found.method


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="auto, images, background"):
        measure_noise(np.ones((5, 5, 1, 4)), Acquisition([0, 100, 200, 800]), method="magic")


@pytest.mark.parametrize(
    ("series", "low", "high"),
    [
        ("prostate_ivim_3T/ivim13b.nii.gz", 1.0, 8.0),
        ("spinal_cord_ivim_7T_rl/dwi_rl.nii.gz", 2.0, 10.0),
        ("abdomen_ivim_3volunteers/volunteer1_T70_bipolar_all.nii.gz", 2.0, 8.0),
        ("flow_phantom_static/phantom_static_T70_bipolar_all.nii.gz", 2.0, 10.0),
    ],
)
def test_the_noise_of_real_series_is_plausible_and_their_background_is_not_misread(shared_data, series, low, high):
    """Filtered, zeroed or averaged backgrounds: a number from there must not contradict the tissue by a factor."""
    from ivimcore.data.reading import read_series

    dwi = read_series(shared_data / series)
    first = dwi.signal[..., 0]
    tissue_mask = first > np.percentile(first, 70)
    found = measure_noise(dwi.signal, dwi.acquisition, tissue_mask)
    assert low < found.sigma < high
    background = background_sigma(dwi.signal)
    assert background.sigma is None or 0.3 < background.sigma / found.sigma < 1.5
