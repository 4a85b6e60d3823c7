"""The engine: repeatable, resumable after a kill, stoppable, and honest when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from refusal import refused

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from conftest_models import SHORT, recipe_of, trainer  # noqa: E402

from ivimcore.networks import modelling, sampling, training  # noqa: E402
from ivimcore.networks.build import build, load  # noqa: E402
from ivimcore.networks.cards import ModelCard  # noqa: E402
from ivimcore.networks.modelling import train  # noqa: E402
from ivimcore.networks.tasks import make_task  # noqa: E402
from ivimcore.networks.training import Trainer  # noqa: E402
from ivimcore.physics.phantom import abdomen  # noqa: E402

ROOT = Path(__file__).parents[2]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    runs = [trainer(tmp_path, seed=seed).run().weights for seed in (1, 1, 2)]
    assert_same(runs[0], runs[1])
    assert any(not torch.equal(runs[0][key], runs[2][key]) for key in runs[0])


def test_a_training_that_is_killed_and_resumed_comes_to_the_same_weights(tmp_path):
    """A real child process, killed by SIGKILL in the middle; the network has dropout and batch normalisation."""
    recipe = recipe_of("ivimnet_optim_paper1", {"steps": 160, "every": 10, "batch": 64, "pool": 2000})
    whole = train(recipe, tmp_path / "whole")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.content))
    code = (
        "import sys, time, torch; torch.set_num_threads(1)\n"
        "from ivimcore.networks import training; training.SAVE_EVERY = 0\n"
        "from ivimcore.networks.recipes import Recipe; from ivimcore.networks.modelling import train\n"
        "def tell(p):\n"
        "    print(p.step, flush=True); time.sleep(0.05)\n"
        f"train(Recipe.read({str(tmp_path / 'recipe.json')!r}), {str(tmp_path / 'killed')!r}, tell=tell)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8",
                             env={**os.environ, "PYTHONPATH": str(ROOT / "IVIMMapping")})  # fmt: skip
    for line in child.stdout:
        if int(line) >= 60:
            child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            break
    child.wait()
    child.stdout.close()
    assert child.returncode != 0 and not (tmp_path / "killed" / recipe.id / "card.json").exists()
    said = []
    resumed = train(recipe, tmp_path / "killed", resume=True, say=said.append)
    assert "resumed at step" in said[0] and "resumed at step 0" not in said[0]
    for one, other in zip(load(whole), load(resumed), strict=True):
        assert_same(one.state_dict(), other.state_dict())
    assert not (tmp_path / "killed" / recipe.id / modelling.WORK).exists()


def test_stopping_keeps_the_best_so_far_and_can_be_resumed(tmp_path):
    recipe = recipe_of("mlp_supervised_paper1", SHORT)
    card = train(recipe, tmp_path, tell=lambda progress: progress.step < 40)
    assert card.training["steps"] == [40] and "stopped" in card.training["ended"][0]
    assert load(card)
    again = train(recipe, tmp_path, resume=True)
    assert again.training["steps"] == [60] and again.training["ended"] == ["finished"]
    assert_same(load(again)[0].state_dict(), load(train(recipe, tmp_path / "other"))[0].state_dict())


def test_a_changed_recipe_is_not_resumed(tmp_path):
    train(recipe_of("mlp_supervised_paper1", SHORT), tmp_path, tell=lambda progress: False)
    other = recipe_of("mlp_supervised_paper1", {**SHORT, "rate": 1e-4})
    refused(lambda: train(other, tmp_path, resume=True), "changed")


def test_patience_ends_the_training_and_the_best_is_kept(tmp_path):
    work = trainer(tmp_path, steps=2000, every=5, patience=3, keep="best", rate=0.3)
    result = work.run()
    assert result.steps < 2000 and "no progress for 3" in result.ended
    losses = [check for _, _, check in result.history]
    assert result.best == min(losses) == losses[-4]


def test_a_budget_of_minutes_means_fewer_steps_that_are_written_down(tmp_path):
    recipe = recipe_of("mlp_supervised_paper1", {**SHORT, "steps": 10**6, "every": 100})
    card = train(recipe, tmp_path, minutes=0.02)
    assert 0 < card.training["steps"][0] < 10**6


def test_progress_tells_the_seconds_left_of_all_members(tmp_path):
    told = []
    train(recipe_of("mlp_supervised_paper1", {**SHORT, "members": 2}), tmp_path, tell=told.append)
    assert [report.member for report in told] == [0, 0, 0, 1, 1, 1]
    assert told[0].seconds_left > told[2].seconds_left > 0 and told[-1].seconds_left == 0


def test_the_budget_that_ended_a_training_stands_in_its_card(tmp_path):
    recipe = recipe_of("mlp_supervised_paper1", {**SHORT, "steps": 20})
    assert train(recipe, tmp_path).training["minutes"] is None
    assert train(recipe, tmp_path, minutes=5).training["minutes"] == 5


def test_the_simulator_tells_how_many_signals_it_makes_in_a_second():
    source = sampling.Uniform.of({"D": (5e-4, 3e-3), "f": (0, 0.5), "Dstar": (0.01, 0.1), "S0": (1, 1)})
    rate = sampling.Simulator(source, torch.linspace(0, 900, 11), (20, 20)).rate()
    assert 0 < rate < float("inf")


def test_on_a_gpu_only_kernels_of_one_order_are_used_while_it_trains():
    assert not torch.are_deterministic_algorithms_enabled()
    for device, wanted, expected in (("cuda", True, True), ("cuda", False, False), ("cpu", True, False)):
        with training.repeatable(torch.device(device), wanted):
            assert torch.are_deterministic_algorithms_enabled() is expected
        assert not torch.are_deterministic_algorithms_enabled()


# --- what is learned -----------------------------------------------------------------------------------------------


def test_a_short_supervised_training_beats_always_answering_the_mean(small_models):
    card = ModelCard.read(small_models / "small_mlp")
    task = make_task(recipe_of("mlp_supervised_brain16", normalisation="b0", S0=[1, 1], noise={"snr": [100, 100]}), 5)
    signal, truth, _ = task.batch(10**6)
    signal, truth = (torch.cat([task.batch(10**6 + step)[part] for step in range(20)]) for part in (0, 1))
    found = load(card)[0](signal)
    error, prior = (found - truth).square().mean(0).sqrt(), truth.std(0)
    assert (error[:3] < torch.tensor([0.35, 0.6, 0.95]) * prior[:3]).all()


def test_labels_of_maximum_likelihood_leave_out_voxels_at_a_bound_and_lie_around_the_truth():
    recipe = recipe_of("mlp_mle_rician_labels", {"pool": 3000})
    task = make_task(recipe, 1)
    signal, truth, _, label = task.batch(0)
    assert len(task.check[0]) < 0.2 * 3000  # those at a bound were left out
    low, high = (torch.tensor([recipe.content["bounds"][key][i] for key in ("D", "f", "Dstar", "S0")]) for i in (0, 1))
    assert ((label > low * 0.999) & (label < high * 1.001))[:, :3].all()
    assert float((label[:, 0] - truth[:, 0]).median().abs()) < 2e-4
    assert signal.shape[1] == 10


def test_the_hybrid_with_alpha_one_is_training_on_labels():
    losses = []
    for labels in ("hybrid", "mle_rician"):
        strategy = {"labels": labels, "alpha": 1.0, "weights": "mean"}
        task = make_task(recipe_of("mlp_hybrid_labels", {"pool": 500}, strategy=strategy), 1)
        losses.append(float(task.loss(*task.batch(3)).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    "name", ["ivimnet_orig_paper1", "ivimnet_optim_paper1", "cnn_bilstm_paper1", "mlp_truth_labels"]
)
def test_every_architecture_learns(name, tmp_path):
    recipe = recipe_of(name, {"steps": 60, "every": 30, "pool": 1000, "rate": 3e-3, "warmup": 0})
    result = Trainer(make_task(recipe, 1), recipe.settings(0), tmp_path).run()
    assert result.history[-1][1] < result.history[0][1]


def test_parallel_networks_are_independent_of_each_other():
    network = build(recipe_of("ivimnet_optim_paper1").content).eval()
    x = torch.rand(4, 11, requires_grad=True)
    network(x)[:, 0].sum().backward()
    used = [layer.weight.grad.abs().sum((1, 2)) > 0 for layer in network.body if hasattr(layer, "weight")
            and layer.weight.ndim == 3]  # fmt: skip
    assert all(row.tolist() == [True, False, False, False] for row in used)


def test_sigmoid_outputs_reach_thirty_per_cent_beyond_the_bounds():
    network = build(recipe_of("ivimnet_optim_paper1").content)
    ends = [network.constraint(torch.full((1, 4), value))[0] for value in (-50.0, 50.0)]
    np.testing.assert_allclose(ends[0][:3], [-1.5e-3, -0.21, 5e-3 - 0.3 * 0.095], rtol=1e-5)
    np.testing.assert_allclose(ends[1][:3], [6.5e-3, 0.91, 0.1 + 0.3 * 0.095], rtol=1e-5)


# --- distributions -------------------------------------------------------------------------------------------------


def test_tissue_of_patients_comes_from_the_segmented_fit_of_a_series(tmp_path):
    phantom = abdomen(shape=(32, 32, 2))
    rows = sampling.patients_of(phantom.signal, phantom.acquisition)
    assert rows.shape[1] == 4 and rows[:, 2].max() <= sampling.FASTEST
    sampling.save_patients(tmp_path / "p.npy", rows)
    about = {"kind": "mixture", "parts": [{"kind": "patients", "file": "p.npy", "share": 3}, {"kind": "uniform"}]}
    ranges = {"D": (1e-3, 1.1e-3), "f": (0.9, 1.0), "Dstar": (0.01, 0.1), "S0": (1, 1)}
    drawn = sampling.distribution(about, ranges, tmp_path).sample(torch.Generator().manual_seed(0), 4000)
    assert float((drawn[:, 1] > 0.9).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_a_range_that_is_added_to_D_is_the_whole_rate_in_the_samples():
    source = sampling.Uniform.of({"D": (1e-3, 1e-3), "f": (0, 1), "Dstar": (0.01, 0.01), "S0": (1, 1)}, added=True)
    assert torch.allclose(source.sample(torch.Generator(), 5)[:, 2], torch.tensor(0.011))


def test_simulated_noise_is_rician():
    source = sampling.Uniform.of({"D": (3e-3, 3e-3), "f": (0, 0), "Dstar": (0.05, 0.05), "S0": (1, 1)})
    simulator = sampling.Simulator(source, torch.tensor([0.0, 3000.0]), (10, 10))
    x, _, _ = simulator.draw(torch.Generator().manual_seed(1), 200000)
    assert float(x[:, 1].mean()) == pytest.approx(0.1 * (np.pi / 2) ** 0.5, rel=0.01)
    assert float(x[:, 0].square().mean()) == pytest.approx(1.02, rel=0.002)


def test_each_training_of_a_model_may_have_its_own_number_of_steps(tmp_path):
    recipe = recipe_of("mlp_supervised_paper1", {**SHORT, "steps": [20, 40], "members": 2})
    assert train(recipe, tmp_path).training["steps"] == [20, 40]
