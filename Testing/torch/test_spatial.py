"""Networks that look at neighbours: what they see, what they leave out, and the fit of volumes in tiles."""

from __future__ import annotations

import numpy as np
import pytest
from refusal import refused

torch = pytest.importorskip("torch")

from ivimcore import Acquisition, available, create  # noqa: E402
from ivimcore.estimators import spatial as tiling  # noqa: E402
from ivimcore.estimators.result import Status  # noqa: E402
from ivimcore.networks import spatialrunning  # noqa: E402
from ivimcore.networks.anyprotocol import AnyProtocol, run  # noqa: E402
from ivimcore.networks.anyprotocol_spatial import SpatialAnyProtocol  # noqa: E402
from ivimcore.networks.build import build  # noqa: E402
from ivimcore.networks.scenes import Findings  # noqa: E402
from ivimcore.networks.spatialtasks import measured_maps  # noqa: E402
from ivimcore.networks.tasks import generator  # noqa: E402
from ivimcore.physics.fractal import SEVEN_TISSUES, fractal_maps  # noqa: E402
from ivimcore.reports.preview import preview  # noqa: E402

RANGES = {"D": (0.0, 3e-3), "f": (0.0, 0.5), "Dstar": (3e-3, 0.1), "S0": (0.0, 1.0)}
B = [0, 10, 20, 40, 80, 150, 300, 600]
KINDS = {
    "conv3": {}, "attention": {"size": 3, "width": 16}, "natten": {"windows": [3, 5], "width": 16},
    "unet": {"channels": 8}, "uresnet": {"channels": 8}, "uattennet": {"channels": 8},
}  # fmt: skip
SMALL = {"hidden": 24, "layers": 3, "components": 2, "token": 16, "context": 24, "depth": 1, "heads": 2}


def network_of(kind):
    torch.manual_seed(3)
    content = {"architecture": {"kind": kind, "options": KINDS[kind]}, "acquisition": {"bvalues": B}, "bounds": RANGES}
    network = build(content).eval().requires_grad_(False)
    if hasattr(network, "correction"):  # nothing before training
        network.correction.last.weight.normal_(std=0.5)
    return network


def maps_of(shape, seed=1, holes=0.2):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, len(B), generator=rng), torch.rand(shape, generator=rng) >= holes


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_valid_has_no_influence_whatever_it_holds(kind):
    network = network_of(kind)
    signal, valid = maps_of((2, 19, 14, 2))
    before = network(signal, valid)
    assert before.shape == (2, 19, 14, 2, 4) and torch.isfinite(before[valid]).all()
    signal[~valid] = 1e4
    torch.testing.assert_close(network(signal, valid)[valid], before[valid])


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_sees_as_far_as_it_says_and_no_farther(kind):
    network = network_of(kind)
    size = 2 * network.reach + 9
    signal, valid = maps_of((1, size, size, 1), holes=0.0)
    changed = signal.clone()
    changed[0, 0, 0] *= torch.linspace(1, 3, len(B))
    moved = ((network(changed, valid) - network(signal, valid)).abs().amax(-1) > 0)[0, :, :, 0].nonzero()
    farthest = int(moved.amax())
    assert farthest <= network.reach
    assert farthest >= 0.6 * network.reach  # a bound, but no empty one
    if kind in ("conv3", "attention", "natten"):
        assert farthest == network.reach


def test_a_border_and_a_hole_are_the_same_thing():
    network = network_of("natten")
    signal, valid = maps_of((1, 12, 12, 1), holes=0.0)
    cut = network(signal[:, 3:, :9], valid[:, 3:, :9])
    valid[:, :3], valid[:, :, 9:] = False, False
    torch.testing.assert_close(network(signal, valid)[:, 3:, :9], cut, atol=1e-6, rtol=1e-4)


def test_before_training_the_network_with_eyes_is_that_of_single_voxels():
    torch.manual_seed(1)
    low, high = (3e-4, 0.0, 3e-3), (3.5e-3, 0.6, 0.12)
    network = SpatialAnyProtocol(low, high, width=16, looks=2, windows=(3, 3), **SMALL)
    direction, log, valid, b, weight, _ = measured_maps(
        generator(1, 0), Findings(8), 3, network.voxel.low, network.voxel.high, 16, (20.0, 60.0), 1500.0
    )
    found = network(direction, log, valid, b, weight)
    place = (log / 0.3).round()
    for m, x, y in ((0, 0, 0), (1, 4, 5), (2, 7, 7)):
        strength = (place[m, x, y] * 0.3).exp()[None]
        written = network.voxel.write_networks(b[m : m + 1], weight[m : m + 1], strength)
        inputs = torch.cat([direction[m, x, y], (log[m, x, y] - 0.3 * place[m, x, y])[None]])
        alone = run(written, inputs[None, None])
        torch.testing.assert_close(found.mean[m, x, y, 0], alone.mean[0, 0], atol=1e-4, rtol=1e-3)
    assert isinstance(network.voxel, AnyProtocol)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained and not any(name.startswith("voxel") for name in trained)


# --- as estimators ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maps():
    return fractal_maps((48, 40, 2), 60.0, 2, SEVEN_TISSUES, "brain16", lesions=0)


@pytest.fixture(params=["small_natten", "small_unet", "small_spatial"])
def estimator(request, models):
    return create(request.param)


def test_tiles_do_not_show(estimator, maps, monkeypatch):
    mask = np.random.default_rng(1).random(maps.tissue.shape) > 0.1
    whole = estimator.fit(maps.signal, maps.acquisition, mask)
    assert whole.provenance["tile"] >= 40
    monkeypatch.setattr(tiling, "TILE_BYTES", 1)
    parts = estimator.fit(maps.signal, maps.acquisition, mask)
    assert parts.provenance["tile"] == tiling.SMALLEST_TILE
    for key in ("D", "f", "Dstar", "S0"):
        np.testing.assert_allclose(parts.maps[key], whole.maps[key], rtol=1e-5, atol=1e-5 * np.nanmax(whole.maps[key]))
    np.testing.assert_array_equal(parts.status, whole.status)


@pytest.mark.parametrize("name", ["small_natten", "small_spatial"])
def test_where_memory_ends_smaller_tiles_give_the_same(models, name, maps, monkeypatch):
    estimator = create(name)
    whole = estimator.fit(maps.signal, maps.acquisition)
    for runner in (spatialrunning.SpatialFixedRunner, spatialrunning.SpatialAnyProtocolRunner):
        real = runner.estimate_piece

        def limited(self, piece, real=real):
            if piece.valid.size > 40 * 38:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate a lot")
            return real(self, piece)

        monkeypatch.setattr(runner, "estimate_piece", limited)
    parts = estimator.fit(maps.signal, maps.acquisition)
    assert parts.provenance["tile"] < whole.provenance["tile"]
    np.testing.assert_allclose(parts.maps["D"], whole.maps["D"], rtol=1e-5)


def test_where_no_tile_fits_it_is_a_memory_error(estimator, maps, monkeypatch):
    def never(self, piece):
        raise MemoryError

    for runner in (spatialrunning.SpatialFixedRunner, spatialrunning.SpatialAnyProtocolRunner):
        monkeypatch.setattr(runner, "estimate_piece", never)
    with pytest.raises(MemoryError):
        estimator.fit(maps.signal, maps.acquisition)


def test_nan_and_zeros_among_the_neighbours_stay_where_they_are(estimator, maps):
    signal = maps.signal.copy()
    signal[10, 10, 0] = np.nan
    signal[20, 20, 0, 3] = np.nan
    signal[30, 30, 1] = 0
    signal[5, 5, 1] = -1
    fit = estimator.fit(signal, maps.acquisition)
    wanted = {(10, 10, 0): Status.NOT_FINITE, (20, 20, 0): Status.NOT_FINITE, (30, 30, 1): Status.NO_SIGNAL,
              (5, 5, 1): Status.NO_DECAY}  # fmt: skip
    for place, status in wanted.items():
        assert fit.status[place] == status and np.isnan(fit.maps["D"][place])
    there = np.ones(fit.status.shape, dtype=bool)
    for place in wanted:
        there[place] = False
    assert np.isfinite(fit.maps["D"][there]).all() and np.isfinite(fit.residual[there]).all()
    # A slice away nothing has changed, but for the unit that networks of one protocol measure in the whole region.
    signal[..., 1, :] = maps.signal[..., 1, :]
    undisturbed = estimator.fit(maps.signal, maps.acquisition).maps["D"][..., 1]
    again = estimator.fit(signal, maps.acquisition).maps["D"][..., 1]
    np.testing.assert_allclose(again, undisturbed, rtol=1e-5 if estimator.name == "small_spatial" else 0.02)


def test_a_mask_with_holes_is_fitted_as_if_the_rest_did_not_exist(estimator, maps):
    mask = np.random.default_rng(2).random(maps.tissue.shape) > 0.3
    sigma = maps.acquisition.sigma
    fit = estimator.fit(maps.signal, maps.acquisition, mask)
    signal = np.where(mask[..., None], maps.signal, 1e6).astype(np.float32)
    assert sigma is not None
    again = estimator.fit(signal, maps.acquisition, mask)
    np.testing.assert_array_equal(fit.maps["D"], again.maps["D"])
    assert np.isfinite(fit.maps["D"][mask]).all() and np.isnan(fit.maps["D"][~mask]).all()
    assert (fit.status[~mask] == Status.OUTSIDE).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 1), (1, 40, 1), (5, 5, 3)])
def test_a_series_smaller_than_the_receptive_field_is_fitted(estimator, maps, shape):
    signal = np.ascontiguousarray(np.broadcast_to(maps.signal[:, :, :1], (48, 40, 3, 16))[tuple(map(slice, shape))])
    fit = estimator.fit(signal, maps.acquisition)
    assert np.isfinite(fit.maps["D"]).all() and fit.maps["D"].shape == shape


def test_the_order_of_memory_and_of_images_does_not_matter(estimator, maps):
    there = estimator.fit(maps.signal, maps.acquisition)
    order = np.random.default_rng(1).permutation(16)
    acquisition = Acquisition(maps.acquisition.bvalues[order], sigma=maps.acquisition.sigma)
    back = estimator.fit(np.asfortranarray(maps.signal[..., order]), acquisition)
    np.testing.assert_allclose(back.maps["D"], there.maps["D"], rtol=1e-4)


def test_progress_counts_every_voxel_and_can_stop(estimator, maps):
    from ivimcore.errors import Cancelled

    seen = []
    estimator.fit(maps.signal, maps.acquisition, progress=lambda done, total: seen.append((done, total)) or True)
    assert seen[0] == (0, 3840) and seen[-1] == (3840, 3840) and sorted(seen) == seen
    with pytest.raises(Cancelled):
        estimator.fit(maps.signal, maps.acquisition, progress=lambda done, total: False)


def test_a_preview_of_one_signal_says_that_neighbours_are_missing(estimator, maps):
    found = preview(estimator, maps.signal[5, 5, 0], maps.acquisition)
    assert np.isfinite(found.values["D"]) and "takes neighbours into account" in found.note


def test_neighbouring_slices_count_only_in_three_dimensions(models, maps, name="small_spatial"):
    signal = maps.signal.copy()
    flat, deep = (create(name, neighbourhood=kind).fit(signal, maps.acquisition) for kind in ("2d", "3d"))
    signal[..., 1, :] = np.nan
    alone, deep_alone = (create(name, neighbourhood=kind).fit(signal, maps.acquisition) for kind in ("2d", "3d"))
    np.testing.assert_allclose(flat.maps["D"][..., 0], alone.maps["D"][..., 0], rtol=1e-5)
    np.testing.assert_allclose(deep_alone.maps["D"][..., 0], alone.maps["D"][..., 0], rtol=1e-4)
    assert not np.allclose(deep.maps["D"][..., 0], alone.maps["D"][..., 0], rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["small_natten", "small_spatial"])
def test_both_back_ends_give_the_same_maps(models, maps, name):
    pytest.importorskip("natten")
    signal = maps.signal[:24, :20]
    mine, theirs = (create(name, attention=kind).fit(signal, maps.acquisition) for kind in ("reference", "natten"))
    np.testing.assert_allclose(theirs.maps["D"], mine.maps["D"], rtol=1e-4)


def test_a_missing_natten_is_said_and_replaced(models, maps, monkeypatch):
    monkeypatch.setattr(spatialrunning, "load_natten", lambda: None)
    fit = create("small_natten", attention="natten").fit(maps.signal, maps.acquisition)
    assert any("natten is missing or broken" in said for said in fit.provenance["warnings"])
    reference = create("small_natten", attention="reference").fit(maps.signal, maps.acquisition)
    np.testing.assert_array_equal(fit.maps["D"], reference.maps["D"])


def test_the_network_with_eyes_gives_the_maps_of_a_posterior_and_takes_other_protocols(models):
    maps = fractal_maps((32, 32, 1), 50.0, 4, SEVEN_TISSUES, "abdomen12", lesions=0)
    fit = create("small_spatial", interval=0.9).fit(maps.signal, maps.acquisition)
    for key in ("D", "f", "Dstar"):
        assert (fit.errors[key] > 0).all()
        assert (fit.extras[f"{key}_low"] <= fit.extras[f"{key}_high"]).all()
        assert ((fit.extras[f"{key}_info"] >= 0) & (fit.extras[f"{key}_info"] <= 1)).all()
    assert {"novelty", "f_probability"} <= set(fit.extras)
    refused(lambda: create("small_natten").fit(maps.signal, maps.acquisition), "was trained for the b-values")


def test_errors_of_a_network_without_a_posterior_are_those_of_repeated_noise(models):
    spread = []
    for snr in (200.0, 50.0):
        maps = fractal_maps((32, 32, 1), snr, 4, SEVEN_TISSUES, "brain16", lesions=0)
        spread.append(np.median(create("small_natten", ensemble=True).fit(maps.signal, maps.acquisition).errors["D"]))
    assert 1.5 < spread[1] / spread[0] < 8  # four times the noise


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("anyprotocol_spatial" not in available(), reason="anyprotocol_spatial is not bundled")
@pytest.mark.parametrize("name", ["brain16", "abdomen12"])
def test_the_bundled_network_halves_the_errors_of_single_voxels_where_tissue_is_even(name):
    even = fractal_maps((40, 40, 1), 60.0, 4, SEVEN_TISSUES[3:5], name, lesions=0)
    single, many = (create(network).fit(even.signal, even.acquisition) for network in
                    ("anyprotocol", "anyprotocol_spatial"))  # fmt: skip
    for key in ("D", "f", "Dstar"):
        error = lambda fit: np.median(np.abs(fit.maps[key] - even.truth[key]))  # noqa: B023, E731
        assert error(many) < 0.6 * error(single), key


def test_a_network_starts_from_the_voxel_network_that_its_recipe_names(models):
    from conftest_models import recipe_of

    from ivimcore.networks.build import load
    from ivimcore.networks.cards import ModelCard
    from ivimcore.networks.tasks import make_task

    options = {"windows": [5, 5], "width": 16}
    about = {"architecture": {"kind": "natten", "options": options}, "start": "small_natten"}
    network = make_task(recipe_of("natten_17_brain16", **about), 5).network
    known = load(ModelCard.read(models / "small_natten"))[0].state_dict()
    for key, value in network.state_dict().items():
        if key.startswith(("alone.", "readout.")):
            torch.testing.assert_close(value, known[key])
    about["architecture"] = {"kind": "natten", "options": {**options, "width": 24}}
    refused(lambda: make_task(recipe_of("natten_17_brain16", **about), 5), "another size")


def test_a_network_for_any_protocol_goes_on_from_an_earlier_one_of_its_kind(models):
    from conftest_models import recipe_of

    from ivimcore.networks.build import load
    from ivimcore.networks.cards import ModelCard
    from ivimcore.networks.tasks import make_task

    card = ModelCard.read(models / "small_spatial")
    about = {"architecture": card.architecture, "start": "small_spatial", "parameters": card.parameters}
    network = make_task(recipe_of("anyprotocol_spatial", **about), 5).network
    for key, value in load(card)[0].state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value)
    assert network.correction.weight.requires_grad and not network.voxel.first.weight.requires_grad


def test_a_recipe_that_starts_from_nothing_is_refused(tmp_path, monkeypatch):
    from conftest_models import recipe_of

    from ivimcore.networks import zoo
    from ivimcore.networks.modelling import train

    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path))
    monkeypatch.setattr(zoo, "bundled_folder", lambda: None)
    recipe = recipe_of("anyprotocol_spatial_first", {"steps": 1})
    refused(lambda: train(recipe, tmp_path), "starts from the model 'anyprotocol'", "train it first")


def test_a_longer_training_is_named_by_every_spatial_recipe():
    from ivimcore.networks.cards import SPATIAL
    from ivimcore.networks.recipes import Recipe, names

    spatial = [recipe for recipe in map(Recipe.read, names()) if recipe.kind in SPATIAL]
    assert len(spatial) >= 11
    for recipe in spatial:
        longer = recipe.lengthened()
        assert longer.training["steps"] > 10 * recipe.training["steps"] and longer.training["amp"]
    refused(lambda: Recipe.read("mlp_supervised_paper1").lengthened(), "leave out --long")
