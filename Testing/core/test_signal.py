"""The signal model: values, shapes, derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.physics.signal import biexponential, biexponential_jacobian, monoexponential

B = np.array([0.0, 10.0, 50.0, 200.0, 800.0])
SHAPES = [(), (7,), (3, 2, 4)]


def draw(shape):
    rng = np.random.default_rng(3)
    return (
        rng.uniform(100, 1000, shape), rng.uniform(0.5e-3, 3e-3, shape), rng.uniform(0.05, 0.5, shape),
        rng.uniform(10e-3, 100e-3, shape),
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_signal_has_the_shape_of_the_parameters_and_one_more_axis(shape):
    S0, D, f, Dstar = draw(shape)
    assert biexponential(B, S0, D, f, Dstar).shape == (*shape, B.size)
    assert biexponential_jacobian(B, S0, D, f, Dstar).shape == (*shape, B.size, 4)
    assert monoexponential(B, S0, D).shape == (*shape, B.size)


@pytest.mark.parametrize("shape", SHAPES)
def test_jacobian_agrees_with_finite_differences(shape):
    values = draw(shape)
    jacobian = biexponential_jacobian(B, *values)
    for number, value in enumerate(values):
        # Central differences of a step h err by h² times the third derivative: 1e-4 of the value leaves below 1e-6.
        step = 1e-4 * np.asarray(value)
        above, below = list(values), list(values)
        above[number], below[number] = value + step, value - step
        difference = (biexponential(B, *above) - biexponential(B, *below)) / (2 * step[..., None])
        np.testing.assert_allclose(jacobian[..., number], difference, rtol=1e-5, atol=1e-6 * np.abs(difference).max())


def test_signal_at_b_zero_is_S0_whatever_the_other_parameters():
    S0, D, f, Dstar = draw((20,))
    np.testing.assert_allclose(biexponential(B, S0, D, f, Dstar)[:, 0], S0)


def test_without_perfusion_the_signal_is_mono_exponential():
    S0, D, _, Dstar = draw((20,))
    np.testing.assert_allclose(biexponential(B, S0, D, np.zeros(20), Dstar), monoexponential(B, S0, D))


def test_Dstar_is_the_whole_decay_rate_of_the_blood():
    np.testing.assert_allclose(biexponential(B, 1.0, 1e-3, 1.0, 50e-3), np.exp(-B * 50e-3))


def test_one_value_worked_out_by_hand():
    expected = 100 * (0.8 * np.exp(-0.2) + 0.2 * np.exp(-10.0))
    np.testing.assert_allclose(biexponential(np.array([200.0]), 100, 1e-3, 0.2, 50e-3), [expected])
