"""Fractal maps: their spectrum, their tissues, their lesions, their noise."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.errors import InputError
from ivimcore.physics.fractal import BRAIN_LIKE, LESION_RATIO, fractal_maps, fractal_noise, lesion_and_ring
from ivimcore.physics.signal import biexponential


@pytest.fixture(scope="module")
def maps():
    return fractal_maps(seed=3, lesions=10)


@pytest.mark.parametrize("beta", [0.0, 2.0, 3.0])
def test_the_power_falls_with_the_frequency_as_asked(beta):
    power = 0.0
    for seed in range(8):
        noise = fractal_noise((128, 128), beta, np.random.default_rng(seed))
        assert noise.std() == pytest.approx(1.0)
        power = power + np.abs(np.fft.fft2(noise)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    used = (k > 0.03) & (k < 0.4)
    slope = np.polyfit(np.log(k[used]), np.log(power[used]), 1)[0]
    assert -slope == pytest.approx(beta, abs=0.15)


def test_the_same_seed_gives_the_same_maps_and_another_seed_others(maps):
    again, other = fractal_maps(seed=3, lesions=10), fractal_maps(seed=4, lesions=10)
    np.testing.assert_array_equal(maps.signal, again.signal)
    assert (maps.tissue != other.tissue).mean() > 0.3


def test_the_truth_is_the_same_at_every_snr(maps):
    np.testing.assert_array_equal(maps.truth["f"], fractal_maps(seed=3, lesions=10, snr=20).truth["f"])


def test_all_tissues_are_there_with_the_values_of_the_table():
    values = {key: [[] for _ in BRAIN_LIKE] for key in ("D", "f", "Dstar", "S0")}
    for seed in range(10):
        maps = fractal_maps((64, 64, 1), seed=seed, lesions=0)
        for key, parts in values.items():
            for number, part in enumerate(parts):
                part.append(maps.truth[key][maps.tissue == number])
    for key, parts in values.items():
        for tissue, part in zip(BRAIN_LIKE, parts, strict=True):
            mean, spread = getattr(tissue, key)
            pooled = np.concatenate(part)
            assert pooled.size > 0.03 * 10 * 64 * 64
            # The variation is slow: a tissue of one map sees only a part of it.
            assert pooled.mean() == pytest.approx(mean, abs=0.6 * spread), (tissue.name, key)
            assert 0.6 * spread < pooled.std() < 1.4 * spread, (tissue.name, key)


def test_neighbours_in_a_tissue_are_alike_and_borders_are_sharp(maps):
    same = maps.tissue[1:] == maps.tissue[:-1]
    steps = np.abs(np.diff(maps.truth["D"], axis=0))
    assert np.median(steps[same]) < 0.01 * maps.truth["D"].mean()
    assert np.median(steps[~same]) > 10 * np.median(steps[same])


def test_every_lesion_has_the_stated_contrast_and_nothing_else_changes(maps):
    without = fractal_maps(seed=3, lesions=10, ratio=1.0)
    assert len(maps.lesions) == 10
    assert maps.lesion_mask.sum() == 90
    for centre in maps.lesions:
        lesion, ring = lesion_and_ring(centre, maps.tissue.shape)
        assert (lesion.sum(), ring.sum()) == (9, 40)
        f = maps.truth["f"]
        assert f[lesion].mean() / f[ring].mean() == pytest.approx(LESION_RATIO)
        assert len(np.unique(maps.tissue[lesion | ring])) == 1
    for key in ("D", "Dstar", "S0"):
        np.testing.assert_array_equal(maps.truth[key], without.truth[key])


def test_lesions_and_empty_places_keep_apart(maps):
    seen = np.zeros(maps.tissue.shape, dtype=int)
    for centre in (*maps.lesions, *maps.shams):
        lesion, ring = lesion_and_ring(centre, seen.shape)
        seen += lesion | ring
    assert seen.max() == 1
    assert len(maps.shams) == 30


def test_the_noise_has_the_stated_level(maps):
    clean = biexponential(maps.acquisition.bvalues, *(maps.truth[key].ravel() for key in ("S0", "D", "f", "Dstar")))
    noise = (maps.signal.reshape(clean.shape) - clean)[:, :6]
    assert maps.sigma == maps.acquisition.sigma == 1 / 40
    assert noise.std() == pytest.approx(maps.sigma, rel=0.02)
    np.testing.assert_allclose(fractal_maps(seed=3, lesions=10, snr=None).signal.reshape(clean.shape), clean, rtol=1e-6)


def test_volumes_have_lesions_of_three_slices():
    maps = fractal_maps((64, 64, 9), seed=1, lesions=3)
    assert maps.signal.shape == (64, 64, 9, 16)
    lesion, ring = lesion_and_ring(maps.lesions[0], maps.tissue.shape)
    assert (lesion.sum(), ring.sum()) == (27, 120)
    assert maps.truth["f"][lesion].mean() / maps.truth["f"][ring].mean() == pytest.approx(LESION_RATIO)


def test_a_grid_that_is_too_small_is_refused():
    with pytest.raises(InputError, match="32 x 32"):
        fractal_maps((16, 64, 1))
