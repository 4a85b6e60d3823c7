"""Maps to train on: whether neighbours share their tissue as often as is claimed, and whether values are as claimed."""

from __future__ import annotations

import numpy as np
import pytest
from refusal import refused

torch = pytest.importorskip("torch")

from ivimcore.networks.scenes import KINDS, Findings, Tissues, findings_of, scenes_of  # noqa: E402
from ivimcore.networks.tasks import generator  # noqa: E402
from ivimcore.physics.fractal import SEVEN_TISSUES  # noqa: E402

RANGES = {"D": (0.0, 3e-3), "f": (0.0, 0.5), "Dstar": (3e-3, 0.1), "S0": (0.0, 1.0)}
LOW, HIGH = (np.array([RANGES[key][end] for key in ("D", "f", "Dstar", "S0")]) for end in (0, 1))


def draw(kind, size, count, seed=1):
    rows = scenes_of({"kind": kind, "size": size}, RANGES).sample(generator(seed, 0), count)
    assert rows.shape == (count, size, size, 4) and rows.dtype == torch.float32
    return rows.double().numpy()


def equal_to_centre(rows):
    middle = rows.shape[1] // 2
    return (rows == rows[:, middle : middle + 1, middle : middle + 1]).all(-1)


@pytest.mark.parametrize("kind", ["patch_uni", "patch_dist"])
def test_any_number_of_neighbours_is_equal_to_the_centre_alike_often(kind):
    same = equal_to_centre(draw(kind, 3, 18000)).reshape(18000, 9)
    counts = np.bincount(same.sum(1) - 1, minlength=9)
    # 2000 expected in each of nine classes; chi-square of 8 degrees of freedom, 99.99 %.
    assert ((counts - 2000) ** 2 / 2000).sum() < 31.8
    # Which neighbours they are is random.
    share = same.mean(0)
    assert share[4] == 1 and np.abs(np.delete(share, 4) - 0.5).max() < 0.02


def test_neighbours_that_are_not_equal_were_drawn_anew():
    rows = draw("patch_uni", 5, 400)
    for patch in rows:
        different = np.unique(patch.reshape(25, 4), axis=0)
        assert len(different) == 26 - equal_to_centre(patch[None]).sum()


@pytest.mark.parametrize("kind", ["patch_uni", "mask_uni"])
def test_uniform_values_are_uniform_in_every_voxel(kind):
    rows = draw(kind, 9, 6000)
    for place in ((4, 4), (0, 8)):
        share = (rows[:, place[0], place[1]] - LOW) / (HIGH - LOW)
        assert (share >= 0).all() and (share <= 1).all()
        for column in share.T:
            assert np.abs(np.sort(column) - np.linspace(0, 1, 6000)).max() < 0.025  # Kolmogorov-Smirnov, 99.9 %


@pytest.mark.parametrize("kind", ["patch_dist", "mask_dist", "test"])
def test_values_of_tissues_are_those_of_the_table(kind):
    rows = draw(kind, 17, 1500).reshape(-1, 4)
    mean, spread = Tissues().moments()
    # The most likely tissue of each voxel.
    nearest = ((((rows[:, None] - mean) / spread) ** 2).sum(-1) + 2 * np.log(spread).sum(-1)).argmin(1)
    for number in range(len(SEVEN_TISSUES)):
        mine = rows[nearest == number]
        assert len(mine) > 2000
        # Whole regions share a value, so that these are means of some hundred values.
        assert np.abs((mine.mean(0) - mean[number]) / spread[number]).max() < 0.35
        assert (mine.std(0) / spread[number]).min() > 0.6 and (mine.std(0) / spread[number]).max() < 1.3


def test_near_neighbours_share_their_tissue_more_often_than_far_ones():
    rows = draw("mask_uni", 33, 400)
    same = equal_to_centre(rows).mean(0)
    near, far = same[16, 17], same[16, 32]
    assert near > 0.85 and 0.2 < far < near - 0.2
    assert np.abs(same - same.T).max() < 0.12 and np.abs(same - same[::-1]).max() < 0.12


def test_the_test_like_set_varies_slowly_inside_a_tissue_and_steps_between_them():
    rows = draw("test", 33, 60)
    steps = np.abs(np.diff(rows[..., 0], axis=1))
    inside = steps[steps < 0.1e-3]
    assert np.median(inside) < 0.02e-3 and (steps > 0.2e-3).mean() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_maps_and_another_seed_others(kind):
    np.testing.assert_array_equal(draw(kind, 9, 5), draw(kind, 9, 5))
    assert (draw(kind, 9, 5) != draw(kind, 9, 5, seed=2)).mean() > 0.5


def test_several_sets_are_mixed_in_equal_numbers():
    rows = draw(["patch_uni", "mask_uni"], 9, 11)
    alone = np.array([len(np.unique(patch.reshape(81, 4), axis=0)) for patch in rows])
    assert (alone[6:] <= len(SEVEN_TISSUES)).all() and np.median(alone[:6]) > len(SEVEN_TISSUES)


@pytest.mark.parametrize(
    ("about", "words"),
    [({"kind": "magic"}, "patch_uni"), ({"kind": "patch_uni", "size": 4}, "odd for patches"),
     ({"kind": "mask_uni", "size": 500}, "3 to 128"), ({"kind": "mask_uni", "size": "big"}, "3 to 128"), ({}, "None")],
)  # fmt: skip
def test_a_set_that_does_not_exist_is_refused(about, words):
    refused(lambda: scenes_of(about, RANGES), words)


def test_maps_with_findings_keep_to_the_ranges_and_hold_what_neighbours_do_not_share():
    share, S0, valid = Findings(32).draw(np.random.default_rng(1), 200)
    assert share.shape == (200, 32, 32, 3) and S0.shape == valid.shape == (200, 32, 32)
    assert share.min() > 0 and share.max() < 1 and S0.min() > 0
    assert 0.03 < (~valid).mean() < 0.3 and valid.any((1, 2)).all()
    # Most voxels are like their neighbour, some are not.
    step = np.abs(np.diff(share, axis=1)).max(-1)
    assert 0.75 < (step < 0.1).mean() < 0.97
    # Findings of f alone: f steps where D does not.
    alone = (np.abs(np.diff(share[..., 1], axis=1)) > 0.1) & (np.abs(np.diff(share[..., 0], axis=1)) < 0.02)
    assert (alone.any((1, 2))).mean() > 0.5


def test_a_recipe_says_how_many_findings_its_maps_hold():
    few, many = (findings_of({"size": 24, "most_findings": most, "scattered": 0.0}) for most in (0, 16))
    assert (few.size, few.most_tissues) == (24, Findings().most_tissues)
    steps = [np.abs(np.diff(one.draw(np.random.default_rng(1), 60)[0], axis=1)).max(-1) > 0.1 for one in (few, many)]
    assert steps[1].mean() > 1.3 * steps[0].mean()


@pytest.mark.parametrize(
    ("about", "words"),
    [({"most_findings": -1}, "most findings"), ({"most_findings": 2.5}, "most findings"),
     ({"scattered": 2}, "between 0 and 1"), ({"scattered": "all"}, "between 0 and 1"),
     ({"size": 0}, "8 and 128"), ({"size": -5}, "8 and 128"), ({"size": 4000}, "8 and 128")],
)  # fmt: skip
def test_what_no_map_with_findings_can_be_is_refused(about, words):
    from conftest_models import recipe_of

    refused(lambda: recipe_of("anyprotocol_spatial", distribution={"kind": "findings", **about}), words)
