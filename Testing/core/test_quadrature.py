"""Sums over the grid equal integrals over D, f, D* and S0, at every noise level."""

from __future__ import annotations

import numpy as np
import pytest

from ivimcore.estimators import grid as grids
from ivimcore.estimators.grid import KEYS, make_grid, unit_signals
from ivimcore.estimators.noisefloor import excess
from ivimcore.estimators.quadrature import BLOCK, blocks, on_thinned, prepare, profile, split
from ivimcore.physics.noise import add_rician
from ivimcore.physics.presets import broad_bounds
from ivimcore.physics.signal import biexponential

B = np.array([0, 5, 10, 20, 30, 40, 60, 150, 300, 500, 700], dtype=float)
ONE = np.ones(B.size)
PAPER1 = {"D": (0.5e-3, 3e-3), "f": (0.05, 0.55), "Dstar": (10e-3, 100e-3)}


def draw(snr, voxels=40, seed=0, bounds=PAPER1, S0=1.0):
    rng = np.random.default_rng(seed)
    truth = {key: rng.uniform(*bounds[key], voxels) for key in KEYS}
    signal = biexponential(B, S0, *(truth[key] for key in KEYS))
    return signal + S0 / snr * rng.standard_normal(signal.shape), truth


def weights(y, sigma, grid, counts=None):
    """Normalised weights (v, g) over the whole grid."""
    data = prepare(y, np.zeros(len(y)), grid, sigma, int(grid.counts.sum()))
    first, last, _ = profile(data, grid)
    found = np.zeros((len(y), grid.volume.size))
    for block in blocks(data, grid, np.log(grid.volume / grid.length).astype(np.float32), first, last):
        found[block.voxels[:, None], np.arange(block.nodes.start, block.nodes.stop)] = block.weight
    return found / found.sum(axis=1, keepdims=True)


def nodes(grid):
    D, f, Dstar = np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij")
    return np.stack([grid.flatten(values) for values in (D, f, Dstar)])


def test_s0_is_integrated_out_exactly():
    """Against a sum over 4000 values of S0 at every node."""
    y, _ = draw(10, voxels=3)
    grid = make_grid(B, ONE, PAPER1, 0.4)
    S0 = np.linspace(-1, 3, 4000)
    model = biexponential(B, 1.0, *nodes(grid))
    for row, found in zip(y, weights(y, 0.1, grid), strict=True):
        squares = (row @ row) - 2 * S0[:, None] * (model @ row) + S0[:, None] ** 2 * (model**2).sum(axis=1)
        expected = np.exp(-(squares - squares.min()) / 0.02).sum(axis=0) * grid.volume
        expected /= expected.sum()
        np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())


@pytest.mark.parametrize(("snr", "bounds"), [(8, PAPER1), (20, PAPER1), (20, broad_bounds()), (40, broad_bounds())])
def test_the_grid_error_is_one_per_cent_of_the_mean(snr, bounds):
    """Against a grid of half the step, that is eight times the nodes; root mean square over voxels."""
    y, _ = draw(snr)
    coarse, fine = (make_grid(B, ONE, bounds, refine) for refine in (1.0, 2.0))
    one, two = (weights(y, 1 / snr, grid) @ nodes(grid).T for grid in (coarse, fine))
    error = np.sqrt(((one - two) ** 2).mean(axis=0)) / two.mean(axis=0)
    # At SNR 40 some posteriors of high f are narrower than the steps: these are refined by the estimator.
    assert (error < (0.01 if snr < 40 else 0.035)).all(), error


def test_the_layout_is_undone_by_its_inverse():
    grid = make_grid(B, ONE, broad_bounds())
    values = np.random.default_rng(0).random(tuple(axis.nodes.size for axis in grid.axes))
    np.testing.assert_array_equal(grid.unflatten(grid.flatten(values)), values)
    assert grid.cells(grid.flatten(values)).sum() == pytest.approx(values.sum())


def test_the_weights_integrate_constants_and_lines():
    grid = make_grid(B, ONE, PAPER1)
    for axis in grid.axes:
        low, high = PAPER1[axis.key]
        assert axis.widths.sum() == pytest.approx(high - low, rel=2e-3)
        assert axis.widths @ axis.nodes == pytest.approx((high**2 - low**2) / 2, rel=4e-3)


def test_layers_left_out_do_not_matter():
    y, _ = draw(20, bounds={"D": (0.5e-3, 1e-3), "f": (0.05, 0.2), "Dstar": (10e-3, 60e-3)})
    grid = make_grid(B, ONE, broad_bounds())
    data = prepare(y, np.zeros(len(y)), grid, 0.05, B.size)
    first, last, _ = profile(data, grid)
    assert (last - first).mean() < 0.8 * grid.axes[0].nodes.size
    log = np.log(grid.volume / grid.length).astype(np.float32)
    block = next(blocks(data, grid, log, np.zeros_like(first), np.full_like(last, grid.axes[0].nodes.size)))
    whole = block.weight[np.argsort(block.voxels)] / block.weight[np.argsort(block.voxels)].sum(axis=1, keepdims=True)
    assert len(y) <= BLOCK
    np.testing.assert_allclose(weights(y, 0.05, grid), whole, atol=2e-5)


def test_voxels_of_other_tissue_in_the_block_leave_no_trace():
    """Not even where a prior of neighbours would make a thousand times as much of it."""
    y, _ = draw(40)
    grid = make_grid(B, ONE, broad_bounds())
    together = weights(y, 1 / 40, grid)
    for voxel in range(0, len(y), 8):
        alone = weights(y[voxel : voxel + 1], 1 / 40, grid)[0]
        assert (alone == 0).any(), "this voxel needs every layer: nothing is tested"
        np.testing.assert_allclose(together[voxel], alone, rtol=2e-4, atol=1e-12)


@pytest.mark.parametrize("snr", [20, 60])
def test_single_precision_leaves_weights_right_to_three_digits(snr):
    """Of exponents of thousands to ten thousands, which single precision rounds to several thousandths."""
    y, _ = draw(snr)
    grid = make_grid(B, ONE, broad_bounds())
    data = prepare(y, np.zeros(len(y)), grid, 1 / snr, B.size)
    log = np.log(grid.volume / grid.length)
    exponent = (data.x.astype(float) @ unit_signals(grid)) ** 2 / 2 + log
    expected = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    first, last, _ = profile(data, grid)
    for block in blocks(data, grid, log.astype(np.float32), first, last):
        matters = block.weight > 1e-3
        ratio = block.weight[matters] / expected[block.voxels, block.nodes][matters]
        np.testing.assert_allclose(ratio, 1, atol=5e-4)


def test_wide_voxels_need_half_of_the_layers():
    y, _ = draw(8)
    grid = make_grid(B, ONE, broad_bounds())
    thin = grids.thinned(grid)
    data = prepare(y, np.zeros(len(y)), grid, 1 / 8, B.size)
    first, last, _ = profile(data, grid)
    wide = next(at for one, at, _, _ in split(grid, first, last) if one is thin)
    assert wide.size > len(y) / 2
    means = []
    for one, step in ((grid, 1), (thin, 2)):
        log = np.log(one.volume / one.length).astype(np.float32)
        for block in blocks(data, one, log, 0 * first, 0 * last + grid.axes[0].nodes.size // step, wide):
            means.append((block.weight / block.weight.sum(axis=1, keepdims=True)) @ nodes(one).T)
    assert (np.abs(means[1] - means[0]) < 5e-3 * means[0].mean(axis=0)).all()
    np.testing.assert_allclose(on_thinned(grid, grid.volume), thin.volume)


@pytest.mark.parametrize("snr", [1, 10, 1000, 1e6])
@pytest.mark.filterwarnings("error")
def test_nothing_overflows_from_snr_1_to_a_million(snr):
    y, _ = draw(snr)
    found = weights(y, 1 / snr, make_grid(B, ONE, broad_bounds()))
    assert np.isfinite(found).all()


def test_repeats_count_as_often_as_they_were_measured():
    rng = np.random.default_rng(3)
    images = np.repeat(B, 3)
    signal = biexponential(images, 1.0, 1e-3, 0.2, 30e-3) + 0.05 * rng.standard_normal((4, images.size))
    mean = signal.reshape(4, -1, 3).mean(axis=2)
    merged, single = make_grid(B, 3 * ONE, PAPER1, 0.5), make_grid(images, np.ones(images.size), PAPER1, 0.5)
    np.testing.assert_allclose(weights(mean, 0.05, merged), weights(signal, 0.05, single), atol=1e-3)


def test_unknown_noise_is_integrated_out():
    """Against a sum over sigma under the prior 1/sigma."""
    y, _ = draw(6, voxels=2)
    grid = make_grid(B, ONE, PAPER1, 0.4)
    length = np.linalg.norm(biexponential(B, 1.0, *nodes(grid)), axis=1)
    unit = biexponential(B, 1.0, *nodes(grid)) / length[:, None]
    sigma = np.geomspace(5e-3, 2, 600)[:, None]
    for row, found in zip(y, weights(y, None, grid), strict=True):
        misfit = np.maximum(row @ row - (unit @ row) ** 2, 0)
        # S0 leaves a factor sigma, each image 1/sigma; the geometric steps carry the prior.
        log = -(B.size - 1) * np.log(sigma) - misfit / (2 * sigma**2)
        expected = np.exp(log - log.max()).sum(axis=0) / length * grid.volume
        expected /= expected.sum()
        np.testing.assert_allclose(found, expected, atol=0.06 * expected.max())


def test_a_magnitude_exceeds_its_signal_by_what_random_numbers_show():
    rng = np.random.default_rng(1)
    for signal in (0.0, 0.7, 2.0, 6.0, 20.0):
        mean = add_rician(np.full(400_000, signal), 1.0, rng).mean()
        assert excess(signal) == pytest.approx(mean - signal, abs=6e-3)


def test_equal_bounds_leave_one_node():
    grid = make_grid(B, ONE, PAPER1 | {"Dstar": (20e-3, 20e-3)})
    assert grid.axes[2].nodes.tolist() == [20e-3]
    assert np.isfinite(grid.volume).all()


def test_the_grid_of_a_protocol_is_built_once():
    assert make_grid(B, ONE, PAPER1) is make_grid(B.copy(), ONE.copy(), dict(PAPER1))
    assert grids.RESOLVED > 100
