"""Losses and the mixture head against finite differences, sampling and the likelihoods of the classical estimators."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rice

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from ivimcore.networks.losses import (  # noqa: E402
    gaussian_loss,
    hybrid_mse,
    parameters_mse,
    posterior_loss,
    rician_loss,
    signals_mse,
    signals_of,
)
from ivimcore.networks.mixture import OUTPUTS, Mixture, normal_cdf, to_scores  # noqa: E402
from ivimcore.physics.signal import biexponential  # noqa: E402

B = torch.tensor([0.0, 10, 40, 100, 300, 700], dtype=torch.float64)
TISSUE = torch.tensor([[1e-3, 0.2, 0.03, 1.0], [2e-3, 0.4, 0.08, 0.9]], dtype=torch.float64)


def test_signals_are_those_of_the_physics():
    expected = biexponential(B.numpy(), TISSUE[:, 3], TISSUE[:, 0], TISSUE[:, 1], TISSUE[:, 2])
    np.testing.assert_allclose(signals_of(TISSUE, B), expected, rtol=1e-12)


def test_the_rician_loss_is_the_likelihood_of_scipy_but_for_a_constant():
    x, sigma = signals_of(TISSUE, B) + 0.05, torch.full((2, 1), 0.1, dtype=torch.float64)
    others = TISSUE * torch.tensor([1.1, 0.9, 1.2, 1.05], dtype=torch.float64)
    ours = rician_loss(others, x, B, sigma) - rician_loss(TISSUE, x, B, sigma)
    log = [rice.logpdf(x.numpy(), signals_of(p, B).numpy() / 0.1, scale=0.1).mean() for p in (TISSUE, others)]
    assert float(ours) == pytest.approx(log[0] - log[1], rel=1e-9)


@pytest.mark.parametrize("loss", [rician_loss, gaussian_loss, lambda p, x, b, s: signals_mse(p, x, b)])
def test_gradients_of_signal_losses_agree_with_finite_differences(loss):
    x, sigma = signals_of(TISSUE, B) * 1.02 + 0.01, torch.full((2, 1), 0.07, dtype=torch.float64)
    scale = TISSUE.mean(0)
    relative = (TISSUE * 1.1 / scale).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda r: loss(r * scale, x, B, sigma), (relative,), eps=1e-6, atol=1e-7)


def test_at_the_noise_floor_the_rician_likelihood_has_less_bias_than_the_gaussian_one():
    rng = np.random.default_rng(1)
    b, sigma = torch.tensor([0.0, 400, 800, 1200]), torch.tensor([[0.1]])
    noise = rng.normal(scale=0.1, size=(2, 20000, 4))
    clean = np.exp(-b.numpy() * 2.5e-3)
    x = torch.tensor(np.hypot(clean + noise[0], noise[1]), dtype=torch.float32)
    best = {}
    for loss in (rician_loss, gaussian_loss):
        values = torch.linspace(1.5e-3, 3e-3, 61)
        costs = [float(loss(torch.tensor([[D, 0.0, 0.05, 1.0]]), x, b, sigma)) for D in values]
        best[loss] = float(values[int(np.argmin(costs))])
    assert abs(best[rician_loss] - 2.5e-3) < 0.1e-3 < abs(best[gaussian_loss] - 2.5e-3)


def test_the_hybrid_lies_between_both_labels():
    found, truth, label = TISSUE * 1.1, TISSUE, TISSUE * 1.3
    weight = torch.tensor([1e3, 1.0, 10.0, 1.0], dtype=torch.float64)
    ends = parameters_mse(found, truth, weight), parameters_mse(found, label, weight)
    for alpha in (0.0, 0.3, 1.0):
        expected = (1 - alpha) * ends[0] + alpha * ends[1]
        torch.testing.assert_close(hybrid_mse(found, truth, label, weight, alpha), expected)


# --- the mixture ------------------------------------------------------------------------------------------------------


PLACES = ((0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1))
"""Where the six entries of the factor stand."""


def a_mixture(components=3, seed=0):
    outputs = torch.randn(5, OUTPUTS * components, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return outputs.requires_grad_(True)


def sampled(mixture, count=200_000):
    """Draw scores (count, 3) from the first mixture."""
    rng = torch.Generator().manual_seed(1)
    which = torch.multinomial(mixture.log_weight[0].exp(), count, replacement=True, generator=rng)
    a = mixture.factor[0]
    factor = torch.zeros(len(a), 3, 3, dtype=a.dtype)
    for number, (i, j) in enumerate(PLACES):
        factor[:, i, j] = a[:, number]
    z = torch.randn(count, 3, generator=rng, dtype=a.dtype)
    return mixture.mean[0][which] + (factor[which] @ z[..., None])[..., 0]


def test_the_density_of_one_component_is_the_normal_distribution():
    outputs = a_mixture(1).detach()
    mixture, scores = Mixture.from_outputs(outputs), torch.randn(5, 3, dtype=torch.float64)
    a = mixture.factor[:, 0]
    factor = torch.zeros(5, 3, 3, dtype=torch.float64)
    for number, (i, j) in enumerate(PLACES):
        factor[:, i, j] = a[:, number]
    normal = torch.distributions.MultivariateNormal(mixture.mean[:, 0], scale_tril=factor)
    torch.testing.assert_close(mixture.log_density(scores), normal.log_prob(scores))


def test_moments_and_quantiles_are_those_of_samples():
    mixture = Mixture.from_outputs(a_mixture().detach())
    share = normal_cdf(sampled(mixture))
    mean, deviation = mixture.share_moments()
    np.testing.assert_allclose(mean[0], share.mean(0), atol=3e-3)
    np.testing.assert_allclose(deviation[0], share.std(0), rtol=5e-3)
    np.testing.assert_allclose(mixture.share_mean(), mean, atol=1e-12)
    for level in (0.05, 0.5, 0.95):
        np.testing.assert_allclose(mixture.quantile(level, 30)[0], share.quantile(level, 0), atol=6e-3)


def test_gradients_of_the_posterior_loss_agree_with_finite_differences():
    share = torch.rand(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 0.8 + 0.1
    importance = torch.ones(1, 5, dtype=torch.float64)
    loss = lambda outputs: posterior_loss(Mixture.from_outputs(outputs[None]), share[None], importance)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (a_mixture(),), eps=1e-6, atol=1e-6)


def test_scores_and_shares_are_inverse_to_each_other_and_finite_at_the_ends():
    share = torch.tensor([0.0, 1e-3, 0.5, 0.97, 1.0], dtype=torch.float64)
    assert torch.isfinite(to_scores(share)).all()
    np.testing.assert_allclose(normal_cdf(to_scores(share)), share, atol=2e-6)


def test_a_voxel_that_says_nothing_has_mean_and_spread_of_the_uniform_prior():
    log_weight, mean = torch.zeros(1, 1), torch.zeros(1, 1, 3)
    mixture = Mixture(log_weight, mean, torch.tensor([[[1.0, 1, 1, 0, 0, 0]]]))
    got = mixture.share_moments()
    np.testing.assert_allclose(got[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(got[1], 12**-0.5, rtol=1e-4)


def test_the_spread_of_a_narrow_component_survives_single_precision():
    factor = torch.tensor([[[1e-3, 1e-3, 1e-3, 0, 0, 0]]])
    mixture = Mixture(torch.zeros(1, 1), torch.full((1, 1, 3), 0.7), factor)
    slope = np.exp(-0.7**2 / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(mixture.share_moments()[1], 1e-3 * slope, rtol=1e-4)
