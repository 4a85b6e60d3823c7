"""The Markov random field: smoother where tissue is alike, sharp where it is not, and honest about convergence."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore import Acquisition, Cancelled, Status, create
from ivimcore.estimators.mrf import QuadraticPenalty, neighbours_of
from ivimcore.evaluation.lesion import contrasts
from ivimcore.evaluation.metrics import mdape
from ivimcore.physics.fractal import LESION_RATIO, fractal_maps

KEYS = ("D", "f", "Dstar")


@pytest.fixture(scope="module")
def brain():
    """Two maps with lesions at SNR 40, and their fits by three estimators."""
    objects = [fractal_maps((96, 96, 1), 40.0, seed, lesions=10) for seed in (11, 12)]
    made = {
        "mrf": create("bayes_mrf"), "published": create("bayes_map"), "robust": create("bayes_map", recipe="robust"),
    }
    return objects, {name: [one.fit(x.signal, x.acquisition) for x in objects] for name, one in made.items()}


def test_neighbours_are_those_of_the_volume_and_nobody_outside():
    mask = np.zeros((4, 3, 2), bool)
    mask[1, 1, 0] = mask[2, 1, 0] = mask[1, 1, 1] = True
    at = np.nonzero(mask)
    near = neighbours_of(at, mask.shape, (0, 1, 2))
    places = {tuple(int(x) for x in where): number for number, where in enumerate(zip(*at, strict=True))}
    assert sorted(near[:, places[1, 1, 0]]) == sorted([places[2, 1, 0], places[1, 1, 1], 3, 3, 3, 3])
    assert (neighbours_of(at, mask.shape, (0, 1))[:, places[1, 1, 1]] == 3).all()


def test_the_penalty_has_the_derivatives_of_its_cost():
    rng = np.random.default_rng(0)
    theta = np.array([[1.0, 0.9], [0.8, 1.5], [0.1, 0.4], [3.0, 4.0]])
    penalty = QuadraticPenalty(rng.uniform(1, 5, (3, 2)), rng.normal(size=(3, 2)))
    every = np.arange(2)
    _, first, second = penalty(theta, every)
    for row in range(4):
        step = np.zeros((4, 1))
        step[row] = 1e-5
        above, below = penalty(theta + step, every), penalty(theta - step, every)
        np.testing.assert_allclose(first[row], (above[0] - below[0]) / 2e-5, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(second[row], (above[1][row] - below[1][row]) / 2e-5, rtol=1e-5, atol=1e-5)


def test_it_beats_the_same_priors_without_neighbours_on_correlated_maps(brain):
    objects, fits = brain
    for key in KEYS:
        truth = np.concatenate([x.truth[key].ravel() for x in objects])
        flat = {name: np.concatenate([r.maps[key].ravel() for r in found]) for name, found in fits.items()}
        error = {name: mdape(found, truth) for name, found in flat.items()}
        assert error["mrf"] < 0.8 * min(error["published"], error["robust"]), (key, error)


def test_a_lesion_of_three_by_three_voxels_keeps_four_fifths_of_its_contrast(brain):
    objects, fits = brain
    found = np.concatenate([contrasts(r.maps["f"], x.lesions) for x, r in zip(objects, fits["mrf"], strict=True)])
    assert found.size >= 15
    assert np.median(found) > 0.8 * LESION_RATIO, f"{np.median(found):.2f} of {LESION_RATIO}"
    nothing = np.concatenate([contrasts(r.maps["f"], x.shams) for x, r in zip(objects, fits["mrf"], strict=True)])
    assert (nothing > np.median(found)).mean() < 0.05


def test_its_errors_cover_the_truth(brain):
    objects, fits = brain
    for key, low in (("D", 0.8), ("f", 0.85), ("Dstar", 0.8)):
        pairs = zip(objects, fits["mrf"], strict=True)
        inside = [np.abs(r.maps[key] - x.truth[key]) < 1.645 * r.errors[key] for x, r in pairs]
        assert np.mean(inside) > low, f"{key}: {np.mean(inside):.2f}"


def test_convergence_is_reported(brain):
    about = brain[1]["mrf"][0].provenance["field"]
    assert about["converged"] and 1 < about["rounds"] < 40 and about["last_change"] < 0.01
    assert set(about["scale_of_differences"]) == {"ln_D", "logit_f", "ln_Dstar"}


def test_a_step_between_two_tissues_stays_a_step():
    b = Acquisition([0, 10, 20, 40, 80, 110, 140, 200, 300, 500, 700, 900], sigma=0.02)
    from ivimcore.physics.signal import biexponential

    D = np.where(np.arange(24)[:, None, None] < 12, 0.7e-3, 1.8e-3) * np.ones((24, 24, 1))
    signal = biexponential(b.bvalues, 1.0, D, 0.15, 30e-3)
    signal = np.abs(signal + np.random.default_rng(0).normal(scale=0.02, size=signal.shape))
    found = create("bayes_mrf").fit(signal, b).maps["D"][..., 0].mean(axis=1)
    np.testing.assert_allclose(found[11], 0.7e-3, rtol=0.06)
    np.testing.assert_allclose(found[12], 1.8e-3, rtol=0.06)


def test_a_mask_cuts_the_field_and_slices_are_apart_in_two_dimensions():
    one = fractal_maps((32, 32, 3), 30.0, 5, lesions=1)
    mask = np.zeros((32, 32, 3), bool)
    mask[4:28, 4:28] = True
    signal = one.signal.copy()
    signal[5, 5, 1] = np.nan
    flat = create("bayes_mrf").fit(signal, one.acquisition, mask)
    thick = create("bayes_mrf", neighbourhood="3d").fit(signal, one.acquisition, mask)
    for result in (flat, thick):
        assert (result.status[~mask] == Status.OUTSIDE).all() and result.status[5, 5, 1] == Status.NOT_FINITE
        assert np.isfinite(result.maps["D"][mask]).sum() == mask.sum() - 1
    assert not np.allclose(flat.maps["f"][10:20, 10:20], thick.maps["f"][10:20, 10:20])


def test_lonely_voxels_are_estimated_by_themselves():
    one = fractal_maps((32, 32, 1), 30.0, 5, lesions=1)
    mask = np.zeros((32, 32, 1), bool)
    mask[::2, ::2] = True
    result = create("bayes_mrf").fit(one.signal, one.acquisition, mask)
    assert np.isfinite(result.maps["D"][mask]).all() and result.provenance["field"]["rounds"] == 0


def test_it_can_be_stopped_between_rounds():
    one = fractal_maps((32, 32, 1), 30.0, 5, lesions=1)
    calls = []

    def progress(done, total):
        calls.append(done / total)
        return done < 0.3 * total

    with pytest.raises(Cancelled):
        create("bayes_mrf").fit(one.signal, one.acquisition, progress=progress)
    assert calls[-1] < 0.5
