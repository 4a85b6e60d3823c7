"""The exact posterior with torch is that of numpy; without torch nothing is missed, unless it is asked for."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from ivimcore import Acquisition, InputError, create
from ivimcore.data.output import plain
from ivimcore.estimators import backends, posterior_fit
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.physics.phantom import abdomen

KEYS = ("D", "f", "Dstar")
TOLERANCE = 1e-3
"""Difference of the back ends in standard deviations of the posterior."""


def voxels(snr, count=400):
    signal, _, acquisition = benchmark("paper1").simulate(snr, count)
    return signal[:, None, None], acquisition


def assert_equal_results(signal, acquisition, mask=None, **options):
    pytest.importorskip("torch", reason="torch is not installed")
    here, there = (create("posterior", backend=name, **options).fit(signal, acquisition, mask)
                   for name in ("numpy", "torch"))  # fmt: skip
    assert (here.status == there.status).all()
    assert there.provenance["backend"]["name"] == "torch"
    for key in (*KEYS, "S0"):
        sd = here.errors[key]
        pairs = {"map": (here.maps[key], there.maps[key]), "error": (sd, there.errors[key])}
        pairs |= {name: (here.extras[name], there.extras[name]) for name in (f"{key}_low", f"{key}_high")
                  if name in here.extras}  # fmt: skip
        for name, (expected, found) in pairs.items():
            assert (np.isfinite(expected) == np.isfinite(found)).all(), (key, name)
            inside = np.isfinite(expected)
            # A fixed parameter has no width; maps are float32.
            allowed = TOLERANCE * sd[inside] + 1e-6 * np.abs(here.maps[key][inside])
            assert (np.abs(found - expected)[inside] <= allowed).all(), (key, name)
    free = [key for key in KEYS if len(set(options.get("bounds", {}).get(key, (0, 1)))) > 1]
    # What is fixed has a variance of rounding errors, and no correlation or information worth comparing.
    rho = ["rho_Dstar_f"] if {"f", "Dstar"} <= set(free) else []
    for key in ("f_probability", *rho, *(f"{key}_info" for key in free)):
        np.testing.assert_allclose(there.extras[key], here.extras[key], atol=TOLERANCE, err_msg=key)


@pytest.mark.parametrize("snr", [1, 8, 20, 50, 100, 1000])
@pytest.mark.parametrize("prior", ["uniform", "learned"])
def test_both_back_ends_give_the_same_means_errors_and_intervals(snr, prior):
    assert_equal_results(*voxels(snr), prior=prior, rounds=5)


def test_a_prior_of_each_voxel_is_the_same_in_both():
    phantom = abdomen(shape=(32, 32, 2), snr=30)
    assert_equal_results(phantom.signal, phantom.acquisition, phantom.mask, prior="learned_local")


@pytest.mark.parametrize("point", ["median", "mode"])
def test_median_and_mode_are_the_same_in_both(point):
    assert_equal_results(*voxels(20), prior="uniform", point=point)


def test_unknown_noise_is_integrated_out_in_both(monkeypatch):
    """The sums alone: of four images and five unknowns the refinement, which is numpy in both, makes of a start that
    differs by 1e-5 a result that differs by half a standard deviation in one voxel of a hundred. Without it, intervals
    of posteriors that lie inside one cell say nothing."""
    monkeypatch.setattr(posterior_fit, "refine", lambda *everything: None)
    signal, acquisition = voxels(20)
    at = [0, 6, 7, 10]
    few = Acquisition(acquisition.bvalues[at])
    alone = create("posterior", prior="uniform", backend="numpy").fit(signal[..., at], few)
    assert alone.provenance["noise"]["sigma"] is None, "this protocol tells its noise: the test tests nothing"
    assert_equal_results(signal[..., at], few, prior="uniform", interval=0)


@pytest.mark.parametrize("fixed", [{"Dstar": (20e-3, 20e-3)}, {"D": (1e-3, 1e-3)}])
def test_a_fixed_parameter_stays_fixed_in_both(fixed, monkeypatch):
    """The sums alone: which voxels are refined must not hang on the rounding of a width of zero."""
    monkeypatch.setattr(posterior_fit, "refine", lambda *everything: None)
    assert_equal_results(*voxels(20), prior="uniform", bounds=fixed, interval=0.5)


def test_settings_of_torch_that_shorten_products_do_no_harm():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert_equal_results(*voxels(50), prior="uniform")
    finally:
        torch.set_float32_matmul_precision(before)


def test_blocks_are_halved_until_they_fit_into_the_memory(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from ivimcore.networks import quadrature_torch

    block, tried = quadrature_torch._Block, []

    def small_memory(data, grid, nodes, some, *rest):
        tried.append(some.size)
        if some.size > 20:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return block(data, grid, nodes, some, *rest)

    monkeypatch.setattr(quadrature_torch, "_Block", small_memory)
    assert_equal_results(*voxels(20, 100), prior="uniform")
    assert max(tried) > 20

    def no_memory(*everything):
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(quadrature_torch, "_Block", no_memory)
    with pytest.raises(InputError, match="memory"):
        create("posterior", prior="uniform", backend="torch").fit(*voxels(20, 4))


def test_little_memory_makes_small_blocks(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from ivimcore.networks import quadrature_torch

    signal, acquisition = voxels(20, 4)
    grid = create("posterior", prior="uniform").plan(signal[:, 0, 0], acquisition, np.arange(4)).grid
    sizes = []
    for free in (0, 100 << 20, 80 << 30):
        for name, size in (("memory_reserved", 3 << 20), ("memory_allocated", 1 << 20)):
            monkeypatch.setattr(torch.cuda, name, lambda size=size: size)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 80 << 30))
        sizes.append(quadrature_torch._block_size(grid, "cuda"))
    assert 1 <= sizes[0] < sizes[1] < sizes[2] == quadrature_torch.LARGEST_BLOCK["cuda"]


def test_a_second_run_gives_the_same_bits():
    pytest.importorskip("torch", reason="torch is not installed")
    signal, acquisition = voxels(20)
    first, second = (create("posterior", prior="uniform", backend="torch").fit(signal, acquisition) for _ in range(2))
    for key in KEYS:
        assert first.maps[key].tobytes() == second.maps[key].tobytes(), key


def test_the_device_is_written_to_the_provenance():
    signal, acquisition = voxels(20, 4)
    result = create("posterior", prior="uniform", backend="numpy").fit(signal, acquisition)
    assert result.provenance["backend"] == {"name": "numpy", "version": np.__version__, "device": "cpu"}
    json.dumps(plain(result.provenance))


def test_torch_that_is_asked_for_and_missing_is_said_with_where_to_get_it(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    signal, acquisition = voxels(20, 4)
    estimator = create("posterior", prior="uniform", backend="torch")
    assert estimator.problems(acquisition)[0].blocks
    with pytest.raises(InputError, match="install the extension PyTorch"):
        estimator.fit(signal, acquisition)
    with pytest.raises(InputError, match="install the extension PyTorch"):
        estimator.fit_voxels(signal[:, 0, 0], acquisition)


def test_without_torch_the_sums_are_done_by_numpy(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert create("posterior", prior="uniform").fit(*voxels(20, 4)).provenance["backend"]["name"] == "numpy"


def test_torch_without_a_gpu_is_not_taken_unasked(monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    from ivimcore.networks import quadrature_torch

    monkeypatch.setattr(quadrature_torch, "default_device", lambda: "cpu")
    assert backends.choose_backend("auto").about["name"] == "numpy"
    assert backends.choose_backend("torch").about["device"] == "cpu"


def test_torch_that_does_not_start_is_an_error_only_where_it_is_asked_for(monkeypatch):
    """A module of the name None is for Python one whose import fails."""
    monkeypatch.setattr(backends, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "ivimcore.networks.quadrature_torch", None)
    monkeypatch.delattr("ivimcore.networks.quadrature_torch", raising=False)
    assert backends.choose_backend("auto").about["name"] == "numpy"
    with pytest.raises(InputError, match="does not start"):
        backends.choose_backend("torch")
