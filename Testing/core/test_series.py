"""A series in memory: averaging, selection, geometry."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.data.series import DwiSeries, Geometry
from ivimcore.errors import InputError
from ivimcore.physics.acquisition import Acquisition

SHAPE = (2, 3, 1)


def make(bvalues, signal=None):
    if signal is None:
        signal = np.random.default_rng(0).uniform(1, 100, (*SHAPE, len(bvalues))).astype(np.float32)
    return DwiSeries(signal, Geometry(SHAPE, np.diag([2.0, 3.0, 5.0, 1.0])), Acquisition(bvalues), "a test", "none")


def test_no_averaging_returns_the_series_itself():
    series = make([0, 0, 100])
    assert series.averaged("none") is series


def test_arithmetic_mean_of_images_of_equal_b():
    series = make([100, 0, 100, 102])
    averaged = series.averaged("arithmetic")
    assert averaged.acquisition.bvalues == pytest.approx([0, (100 + 100 + 102) / 3])
    np.testing.assert_allclose(averaged.signal[..., 0], series.signal[..., 1], rtol=1e-6)
    np.testing.assert_allclose(averaged.signal[..., 1], series.signal[..., [0, 2, 3]].mean(axis=-1), rtol=1e-6)
    assert "4 images averaged to 2 b-values" in averaged.decisions[-1]


def test_geometric_mean_is_the_trace_image_of_three_directions():
    """exp(-b Dx), exp(-b Dy), exp(-b Dz) must give exp(-b (Dx + Dy + Dz) / 3)."""
    decay = np.exp(-500 * np.array([1e-3, 2e-3, 0.3e-3]))
    series = make([500, 500, 500], np.broadcast_to(decay, (*SHAPE, 3)).astype(np.float32))
    averaged = series.averaged("geometric")
    np.testing.assert_allclose(averaged.signal, np.exp(-500 * 1.1e-3), rtol=1e-6)


def test_a_geometric_mean_over_zero_is_nan_and_not_zero():
    signal = np.ones((*SHAPE, 2), dtype=np.float32)
    signal[0, 0, 0, 1] = 0
    averaged = make([100, 100], signal).averaged("geometric").signal
    assert np.isnan(averaged[0, 0, 0, 0])
    assert np.isfinite(averaged).sum() == averaged.size - 1


def test_an_unknown_averaging_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="geometric, arithmetic"):
        make([0, 100]).averaged("median")


@pytest.mark.parametrize("images", [[2, 0], np.array([True, False, True])])
def test_select_keeps_images_and_b_values_together(images):
    series = make([0, 50, 100])
    chosen = series.select(images, "Because.")
    index = np.flatnonzero(images) if isinstance(images, np.ndarray) else images
    assert chosen.acquisition.bvalues.tolist() == series.acquisition.bvalues[index].tolist()
    np.testing.assert_array_equal(chosen.signal, series.signal[..., index])
    assert chosen.decisions == ("Because.",)


def test_selecting_nothing_is_refused():
    with pytest.raises(InputError, match="No image"):
        make([0, 50]).select(np.array([False, False]), "")


def test_another_number_of_b_values_than_images_is_refused_with_both_numbers():
    with pytest.raises(InputError, match="3 b-values for 2 images"):
        make([0, 50, 100], np.ones((*SHAPE, 2)))


def test_replaced_b_values_carry_their_source():
    series = make([0, 50]).with_bvalues([0, 500], "typed by hand")
    assert series.acquisition.bvalues.tolist() == [0, 500]
    assert series.bvalue_source == "typed by hand"


def oblique(shape=SHAPE):
    turn = np.deg2rad(20)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) @ np.diag(
        [1.5, 2.0, 5.0]
    )
    affine[:3, 3] = -100, 20, 7
    return Geometry(shape, affine)


def test_spacing_and_volume_of_an_oblique_grid():
    assert oblique().spacing == pytest.approx([1.5, 2.0, 5.0])
    assert oblique().voxel_volume == pytest.approx(0.015)


def test_geometries_match_within_a_hundredth_of_a_millimetre_at_every_corner():
    one = oblique((100, 100, 10))
    shifted = one.affine.copy()
    shifted[0, 3] += 5e-3
    assert one.matches(Geometry(one.shape, shifted))
    turned = one.affine.copy()
    turned[0, 0] += 1e-3  # a tenth of a millimetre at the far corner
    assert not one.matches(Geometry(one.shape, turned))
    assert not one.matches(oblique((100, 100, 11)))


def test_a_geometry_describes_itself_in_words():
    assert oblique().describe() == "2 x 3 x 1 voxels of 1.5 x 2 x 5 mm, first voxel at (-100.0, 20.0, 7.0) mm"
