"""Networks as estimators: the common contract, what they say before and after a fit, and the bundled ones' accuracy."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import check_estimator
import numpy as np
import pytest
from check_estimator import CHECKS, PROTOCOL, phantom
from refusal import refused

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from ivimcore import Acquisition, Status, create, describe  # noqa: E402
from ivimcore.evaluation.limit import Limit  # noqa: E402
from ivimcore.networks import zoo  # noqa: E402
from ivimcore.networks.anyprotocol import AnyProtocol  # noqa: E402
from ivimcore.networks.build import load  # noqa: E402
from ivimcore.networks.cards import ModelCard  # noqa: E402
from ivimcore.networks.protocolfeatures import linear_estimators, reference_tissues, unit_signal  # noqa: E402
from ivimcore.networks.randomprotocols import random_batch, random_protocol  # noqa: E402
from ivimcore.physics.noise import add_rician  # noqa: E402
from ivimcore.physics.protocols import protocol  # noqa: E402
from ivimcore.physics.signal import biexponential  # noqa: E402

ROOT = Path(__file__).parents[2]
LOW, HIGH = torch.tensor([3e-4, 0.0, 3e-3]), torch.tensor([3.5e-3, 0.6, 0.12])
OF_QUALITY = {"recovers_the_noise_free_phantom", "has_errors_of_the_size_of_the_scatter"}
"""Checks that a network of a few seconds' training cannot pass; the bundled ones must."""


@pytest.mark.parametrize("check", [c for c in CHECKS if c.__name__ not in OF_QUALITY], ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["small_any", "small_mlp"])
def test_a_network_keeps_the_contract_of_every_estimator(name, check, models):
    check(name)


def volume(snr=50.0, shape=(20, 20, 1), seed=0):
    """A noisy signal (x, y, z, 16), its truth and acquisition."""
    rng = np.random.default_rng(seed)
    ranges = {"D": (7e-4, 2e-3), "f": (0.05, 0.4), "Dstar": (0.02, 0.09)}
    truth = {key: rng.uniform(*pair, shape) for key, pair in ranges.items()}
    signal = add_rician(100 * biexponential(PROTOCOL.bvalues, 1.0, *truth.values()), 100 / snr, rng)
    return signal, truth, Acquisition(PROTOCOL.bvalues, sigma=100 / snr)


def test_provenance_names_model_checksum_and_torch(models):
    signal, _, acquisition = volume()
    about = create("small_any").fit(signal, acquisition).provenance
    card = ModelCard.read(models / "small_any")
    assert about["model"] == {"id": "small_any", "sha256": card.weights["sha256"]} and "torch" in about["versions"]


@pytest.mark.parametrize("name", ["small_any", "small_mlp"])
def test_an_ensemble_keeps_noise_and_training_apart(name, models):
    signal, _, acquisition = volume()
    result = create(name, ensemble=True).fit(signal, acquisition)
    for key in ("D", "f", "Dstar"):
        epistemic, aleatoric = result.extras[f"{key}_epistemic"], result.extras[f"{key}_aleatoric"]
        assert (epistemic >= 0).all() and epistemic.max() > 0
        np.testing.assert_allclose(result.errors[key] ** 2, epistemic**2 + aleatoric**2, rtol=2e-3)


def test_one_training_cannot_tell_its_own_spread_and_says_so(models, tmp_path, monkeypatch):
    from conftest_models import recipe_of

    from ivimcore.evaluation.metrics import cv_net
    from ivimcore.networks.modelling import train

    train(recipe_of("mlp_supervised_brain16", {"steps": 20, "every": 20}, id="alone"), tmp_path)
    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path))
    signal, truth, acquisition = volume()
    result = create("alone", ensemble=True).fit(signal, acquisition)
    assert np.isnan(result.extras["D_epistemic"]).all() and np.isnan(cv_net(result.extras["D_epistemic"], truth["D"]))
    np.testing.assert_array_equal(result.errors["D"], result.extras["D_aleatoric"])
    assert any("holds one training" in sentence for sentence in result.provenance["warnings"])


def test_options_of_a_card_that_do_not_go_together_are_refused(models, tmp_path):
    import json
    import shutil

    shutil.copytree(models / "small_any", tmp_path / "small_any")
    card = tmp_path / "small_any" / "card.json"
    content = json.loads(card.read_text("utf-8"))
    content["architecture"]["options"]["heads"] = 3  # 16 numbers a token cannot be shared among 3
    card.write_text(json.dumps(content))
    refused(lambda: load(ModelCard.read(tmp_path / "small_any")), "cannot be built")


def test_more_noise_is_more_aleatoric_uncertainty(models):
    errors = [create("small_any").fit(*volume(snr)[::2]).errors["D"].mean() for snr in (100, 10)]
    assert errors[1] > 2 * errors[0]


def test_intervals_of_any_protocol_enclose_the_mean_and_the_requested_share(models):
    signal, _, acquisition = volume()
    result = create("small_any", interval=0.9).fit(signal, acquisition)
    for key in ("D", "f", "Dstar"):
        low, high, value = result.extras[f"{key}_low"], result.extras[f"{key}_high"], result.maps[key]
        assert ((low < value) & (value < high)).all()


@pytest.mark.parametrize("name", ["small_any", "small_mlp"])
def test_a_voxel_unlike_the_training_is_marked(name, models):
    signal, _, acquisition = volume(snr=100)
    signal[3, 3, 0, 8] *= 3  # one image of one voxel moved
    signal[4, 4, 0] = signal[4, 4, 0, ::-1]  # signal that rises with b
    result = create(name).fit(signal, acquisition)
    for place in ((3, 3, 0), (4, 4, 0)):
        assert result.extras["novelty"][place] > 1 and result.status[place] in (Status.UNSEEN, Status.POOR_FIT)
    others = np.ones(signal.shape[:3], bool)
    others[3, 3], others[4, 4] = False, False
    assert (result.extras["novelty"][others] > 1).mean() < 0.02


def test_many_strange_voxels_and_another_noise_are_told(models):
    signal, _, acquisition = volume(snr=8)
    strange = np.sort(signal, axis=-1)
    said = create("small_mlp").fit(strange, acquisition).provenance["warnings"]
    assert any("SNR is far from" in sentence for sentence in said)
    assert any("unlike everything" in sentence for sentence in said)


def test_a_noise_that_cannot_be_told_is_assumed_and_said(models):
    b = [0, 50, 200, 600]
    signal = biexponential(np.array(b, float), 100.0, np.full((2, 2, 1), 1e-3), 0.2, 0.03)
    result = create("small_any").fit(signal, Acquisition(b))
    assert any("SNR 20 is assumed" in sentence for sentence in result.provenance["warnings"])


def test_repeated_images_count_as_one_of_less_noise(models):
    one = protocol("clinical6").acquisition(5.0)
    truth = [np.full((5, 5, 1), value) for value in (1e-3, 0.2, 0.03)]
    signal = biexponential(one.bvalues, 100.0, *truth)
    many = Acquisition(np.repeat(one.bvalues, 9), sigma=5.0)
    results = [create("small_any").fit(x, a) for x, a in ((signal, one), (np.repeat(signal, 9, axis=-1), many))]
    assert results[1].errors["D"].mean() < 0.7 * results[0].errors["D"].mean()


def test_no_scene_key_is_without_a_description(models):
    from ivimcore.physics.parameters import EXTRAS

    for name in ("small_any", "small_mlp"):
        assert set(create(name, ensemble=True).extra_keys()) <= set(EXTRAS)
    assert set(create("small_any", interval=0.5).extra_keys()) <= set(EXTRAS)


def test_a_tampered_model_is_refused_at_the_fit_and_no_voxel_is_written(models, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(models / "small_any", tmp_path / "small_any")
    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path))
    weights = tmp_path / "small_any" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    signal, _, acquisition = volume()
    refused(lambda: create("small_any").fit(signal, acquisition), "SHA-256 differs")


def test_the_shell_trains_a_model_and_maps_with_it(tmp_path, monkeypatch, capsys):
    from conftest_models import RECIPES

    from ivimcore.cli import main

    monkeypatch.setenv(zoo.VARIABLE, str(tmp_path))
    recipe = str(RECIPES / "mlp_supervised_brain16.json")
    assert main(["train", recipe, "--out", str(tmp_path), "--minutes", "0.02", "--id", "mine", "--json"]) == 0
    assert '"event": "training"' in capsys.readouterr().out
    assert describe("mine").card["members"] == 1
    assert main(["models"]) == 0 and "mine" in capsys.readouterr().out
    assert main(["train", recipe, "--out", str(tmp_path), "--minutes", "-1"]) == 2
    assert main(["train", "nonsense"]) == 2


def test_the_worker_trains_and_stops_with_the_best_so_far_when_its_stdin_closes(tmp_path):
    from ivimcore.jobs.training import TrainingJob

    job = tmp_path / "job.json"
    job.write_text(TrainingJob("mlp_supervised_paper1", str(tmp_path / "out"), id="mine").to_json())
    worker = subprocess.Popen(
        [sys.executable, "-m", "ivimcore.worker", str(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        encoding="utf-8", env={**os.environ, "PYTHONPATH": str(ROOT / "IVIMMapping")},
    )
    for line in worker.stdout:
        if '"training"' in line:
            worker.stdin.close()
            break
    rest = worker.stdout.read()
    worker.wait()
    worker.stdout.close()
    assert '"result"' in rest and ModelCard.read(tmp_path / "out" / "mine").training["ended"][0].startswith("stopped")


def test_training_on_a_series_takes_its_bvalues_noise_and_tissue(tmp_path):
    import SimpleITK

    from ivimcore.jobs.job import Job
    from ivimcore.jobs.training import TrainingJob, run_training

    signal, _, acquisition = volume(snr=40, shape=(24, 24, 2))
    SimpleITK.WriteImage(SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(np.ascontiguousarray(image.T)) for image in
                         np.moveaxis(signal, -1, 0)]), str(tmp_path / "dwi.nii.gz"))  # fmt: skip
    (tmp_path / "dwi.bval").write_text(" ".join(f"{b:g}" for b in acquisition.bvalues))
    series = Job((str(tmp_path / "dwi.nii.gz"),), out="", mask="none")
    recipe = ROOT / "Resources/Models/recipes/mlp_unsupervised_paper1.json"
    events = []
    card = run_training(TrainingJob(str(recipe), str(tmp_path), 0.02, series=series, id="own"), events.append)
    assert card.bvalues.tolist() == list(acquisition.bvalues) and card.training["data"] == "a loaded series"
    assert np.isfinite(create_from(card, signal, acquisition)).all()


def create_from(card, signal, acquisition):
    from ivimcore.estimators.neural import Network

    made = type("own", (Network,), {"name": card.id, "title": "", "description": "", "references": ("",), "card": card})
    return made().fit(signal, acquisition).maps["D"]


# --- the network for any protocol ----------------------------------------------------------------------------------


def test_the_linear_estimators_are_those_of_a_regression_on_many_noisy_voxels():
    tissue, quantity = reference_tissues(LOW, HIGH)
    b = torch.tensor([[0.0, 20, 80, 200, 500, 800]])
    matrix, offset, explained = linear_estimators(tissue, quantity, b, torch.ones(1, 6), torch.tensor([30.0]))
    clean = unit_signal(tissue, b[0].double())
    clean = clean / clean.norm(dim=1, keepdim=True)
    rng = np.random.default_rng(0)
    x = np.tile(clean.numpy(), (100, 1)) + rng.normal(scale=1 / 30, size=(len(clean) * 100, 6))
    y = np.tile(quantity.numpy(), (100, 1))
    slope = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=None)[0]
    ours = (x @ matrix[0].numpy() + offset[0].numpy()) * np.sqrt(explained[0].numpy() + 0.01)
    np.testing.assert_allclose(ours, (x - x.mean(0)) @ slope, atol=0.12)
    residual = ((y - y.mean(0) - (x - x.mean(0)) @ slope) ** 2).mean(0)
    np.testing.assert_allclose(1 - residual, explained[0], atol=0.03)


def test_images_that_are_not_there_and_the_order_of_b_make_no_difference():
    network = AnyProtocol(tuple(LOW.tolist()), tuple(HIGH.tolist()), 32, 3, 2, 16, 32, 1, 2).eval()
    b, weight = torch.tensor([[0.0, 30, 100, 400, 800]]), torch.tensor([[1.0, 1, 2, 1, 3]])
    strength = torch.tensor([40.0])
    x = torch.rand(1, 7, 5)
    x = x / x.norm(dim=-1, keepdim=True)
    deviation = torch.zeros(1, 7)
    order = torch.tensor([3, 0, 4, 2, 1])
    pad = lambda t: torch.nn.functional.pad(t, (0, 3))  # noqa: E731
    with torch.no_grad():
        one = network(x, deviation, b, weight, strength).share_mean()
        turned = network(x[..., order], deviation, b[:, order], weight[:, order], strength).share_mean()
        padded = network(pad(x), deviation, pad(b), pad(weight), strength).share_mean()
    torch.testing.assert_close(turned, one, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded, one, atol=1e-5, rtol=1e-4)


def test_random_protocols_are_lists_that_hospitals_could_use_and_no_benchmark_is_among_them():
    rng = torch.Generator().manual_seed(0)
    drawn = [random_protocol(rng, 32)[0].tolist() for _ in range(300)]
    known = [list(protocol(name).acquisition().distinct) for name in ("paper1", "brain16", "labels", "clinical6")]
    assert all(len(b) <= 32 and min(b) >= 0 and max(b) < 2000 and len(set(b)) == len(b) for b in drawn)
    assert min(map(len, drawn)) <= 5 and max(map(len, drawn)) >= 25 and not any(b in known for b in drawn)


def test_the_voxels_of_training_have_a_flat_prior_of_S0():
    batch = random_batch(torch.Generator().manual_seed(1), LOW, HIGH, 4, 20000)
    assert torch.isfinite(batch.direction).all()
    torch.testing.assert_close(batch.importance.mean(1), torch.ones(4))
    # Tissue that shines more is drawn as often, but counts for less: the same S0 takes it out of the window sooner.
    shining = (batch.share[..., 0] < 0.2) & (batch.share[..., 1] < 0.2)
    assert (batch.importance[shining] < batch.importance.mean()).float().mean() > 0.95


ANY = ROOT / "Resources" / "Models" / "anyprotocol"
needs_bundled = pytest.mark.skipif(not (ANY / "card.json").is_file(), reason="anyprotocol is not in Resources/Models")


@needs_bundled
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_bundled_network_for_any_protocol_keeps_the_whole_contract(check, monkeypatch):
    # A uniform prior pulls a noise-free voxel as much as one of the smallest noise that was trained.
    monkeypatch.setitem(check_estimator.SCATTER, "anyprotocol", (0.7, 1.5))
    if check.__name__ == "recovers_the_noise_free_phantom":
        case = phantom("anyprotocol")
        result = create("anyprotocol").fit(case.signal, PROTOCOL)
        for key, truth in case.truth.items():
            np.testing.assert_allclose(result.maps[key], truth, rtol=0.1, err_msg=key)
        return
    check("anyprotocol")


@needs_bundled
@pytest.mark.parametrize("name", ["paper1", "brain16", "clinical6"])
@pytest.mark.parametrize("snr", [8.0, 20.0, 50.0])
def test_the_bundled_network_is_within_three_per_cent_of_the_exact_posterior_mean_under_its_prior(name, snr):
    ranges = ModelCard.read(ANY).ranges
    rng = np.random.default_rng(17)
    truth = {key: rng.uniform(*bounds, 1200) for key, bounds in ranges.items()}
    acquisition = protocol(name).acquisition(1 / snr)
    signal = add_rician(biexponential(acquisition.bvalues, 1.0, *truth.values()), 1 / snr, rng)[:, None, None, :]
    exact = Limit(ranges, "gaussian").fit(signal, acquisition)
    found = create("anyprotocol", interval=0.9).fit(signal, acquisition)
    for key, true in truth.items():
        error = [math.sqrt(np.mean((np.ravel(result.maps[key]) - true) ** 2)) for result in (found, exact)]
        assert error[0] < 1.03 * error[1], f"{key}: {error[0] / error[1]:.3f} of the exact posterior mean"
        inside = (found.extras[f"{key}_low"].ravel() < true) & (true < found.extras[f"{key}_high"].ravel())
        assert 0.85 < inside.mean() < 0.95, f"{key}: {inside.mean():.3f}"  # 0.87 .. 0.93 and the scatter of 1200 voxels


def test_every_bundled_network_loads_with_the_shapes_of_its_card():
    for card in zoo.find().cards.values():
        if zoo.bundled_folder() in card.folder.parents:
            assert len(load(card)) == card.members
