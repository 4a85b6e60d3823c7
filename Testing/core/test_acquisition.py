"""The acquisition: which b-values belong together, and which lists are refused."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.errors import InputError
from ivimcore.physics.acquisition import Acquisition, group_bvalues


def test_995_1000_and_1005_are_one_group():
    bvalues, group = group_bvalues(np.array([1000.0, 995.0, 1005.0]))
    assert bvalues == pytest.approx([1000.0])
    assert group.tolist() == [0, 0, 0]


def test_0_and_0_003_are_one_group():
    assert group_bvalues(np.array([0.0, 0.003]))[1].tolist() == [0, 0]


def test_5_and_10_are_two_groups():
    assert group_bvalues(np.array([5.0, 10.0]))[1].tolist() == [0, 1]


def test_close_values_do_not_chain_into_one_long_group():
    """900, 908, 916 ... are each near the next one, but the last is far from the first."""
    bvalues, _ = group_bvalues(np.arange(900.0, 1000.0, 8.0))
    assert bvalues.size > 5


def test_groups_are_ascending_and_the_order_of_the_images_is_kept():
    acquisition = Acquisition([500, 0, 100, 0])
    bvalues, group = acquisition.groups()
    assert acquisition.bvalues.tolist() == [500, 0, 100, 0]
    assert bvalues.tolist() == [0, 100, 500]
    assert group.tolist() == [2, 0, 1, 0]
    assert acquisition.count == 4
    assert acquisition.distinct.tolist() == [0, 100, 500]


def test_ms_per_square_micrometre_is_recognised_and_the_remedy_is_named():
    with pytest.raises(InputError, match="multiply the b-values by 1000"):
        Acquisition([0, 0.5, 1.0])


def test_a_series_of_b_zero_alone_is_no_mistake_of_units():
    assert Acquisition([0, 0, 0]).distinct.tolist() == [0]


@pytest.mark.parametrize(
    ("bvalues", "words"),
    [
        ([], "no b-values"),
        ([0, np.nan, 100], "image 2 is not a number"),
        ([0, np.inf], "image 2 is not a number"),
        ([0, 50, -100], r"image 3 is negative \(-100"),
    ],
)
def test_impossible_lists_are_refused_and_the_image_is_named(bvalues, words):
    with pytest.raises(InputError, match=words):
        Acquisition(bvalues)


def test_directions_of_another_number_of_images_are_refused():
    with pytest.raises(InputError, match="2 b-values but directions of shape"):
        Acquisition([0, 100], directions=np.zeros((3, 3)))


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_a_noise_level_that_is_not_positive_is_refused(sigma):
    with pytest.raises(InputError, match="sigma"):
        Acquisition([0, 100], sigma=sigma)


def test_select_takes_directions_along_and_keeps_sigma():
    acquisition = Acquisition([0, 100, 200], directions=np.eye(3), sigma=2.0)
    for images in ([2, 0], np.array([True, False, True])):
        chosen = acquisition.select(images)
        assert chosen.bvalues.tolist() == acquisition.bvalues[images].tolist()
        assert chosen.directions.tolist() == np.eye(3)[images].tolist()
        assert chosen.sigma == 2.0


def test_the_b_values_cannot_be_changed_from_outside():
    given = np.array([0.0, 100.0])
    acquisition = Acquisition(given)
    given[1] = 5000.0
    assert acquisition.bvalues[1] == 100.0
    with pytest.raises(ValueError, match="read-only"):
        acquisition.bvalues[0] = 1.0
