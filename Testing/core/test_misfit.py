"""Voxels that the noise of the image does not explain: their own residual must make the posterior unsure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ivimcore import create
from ivimcore.estimators.misfit import CHANCE, voxel_sigma
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.physics.noise import add_gaussian
from ivimcore.physics.presets import broad_bounds
from ivimcore.physics.signal import biexponential

SIGMA = 1 / 40


def voxels(scale: float, count: int = 3000, seed: int = 0):
    """Draw `paper1` tissue with noise of `scale` times SIGMA, whatever the acquisition says; return also the truth."""
    test = benchmark("paper1")
    rng = np.random.default_rng(seed)
    truth = {key: rng.uniform(*test.ranges[key], count) for key in ("D", "f", "Dstar")}
    _, _, acquisition = test.simulate(40, voxels=100)
    clean = biexponential(acquisition.bvalues, np.ones(count), truth["D"], truth["f"], truth["Dstar"])
    return add_gaussian(clean, scale * SIGMA, rng), truth, replace(acquisition, sigma=SIGMA)


def test_where_the_noise_is_right_hardly_a_voxel_is_raised():
    signal, _, acquisition = voxels(1.0)
    found = voxel_sigma(
        signal, np.zeros(len(signal)), acquisition.bvalues, np.ones(acquisition.count), broad_bounds(), SIGMA
    )
    # A bound that is reached adds a degree of freedom, hence the factor.
    assert np.mean(found > SIGMA) < 4 * CHANCE and (found >= SIGMA).all()


@pytest.mark.parametrize("scale", [4.0, 8.0])
def test_where_the_noise_is_larger_the_residual_tells_how_large(scale):
    signal, _, acquisition = voxels(scale)
    found = voxel_sigma(
        signal, np.zeros(len(signal)), acquisition.bvalues, np.ones(acquisition.count), broad_bounds(), SIGMA
    )
    assert np.median(found) == pytest.approx(scale * SIGMA, rel=0.15)


def test_intervals_still_hold_the_truth_where_the_noise_is_four_times_that_of_the_image():
    signal, truth, acquisition = voxels(4.0)
    result = create("posterior", prior="uniform", noise_model="gaussian").fit(signal[:, None, None], acquisition)
    for key in ("D", "f"):
        low, high = (result.extras[f"{key}_{end}"].ravel() for end in ("low", "high"))
        # With the noise of the image the same intervals hold the truth in a third of the voxels.
        assert np.mean((low <= truth[key]) & (truth[key] <= high)) > 0.75
    assert any("no curve fits within the noise" in sentence for sentence in result.provenance["warnings"])


def test_too_few_images_leave_the_noise_as_it_is():
    signal = np.array([[1.0, 0.2, 0.9, 0.1]])
    found = voxel_sigma(signal, np.zeros(1), np.array([0.0, 50, 200, 800]), np.ones(4), broad_bounds(), SIGMA)
    assert found == pytest.approx(SIGMA)
