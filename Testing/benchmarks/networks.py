"""Bundled networks: `anyprotocol` beside the exact posterior mean under its own prior, time a voxel, and the simulator.

    python Testing/benchmarks/networks.py [--quick]

Truth is drawn from the prior of `anyprotocol`, on protocols and at noise levels that it was never told; the exact mean
knows that prior and the Rician noise (10 to 30 ms a voxel). Times are those of one core, after a first call that loads
torch and the weights. Without PyTorch it says so and prints nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

from ivimcore import create
from ivimcore.evaluation.limit import Limit
from ivimcore.physics.noise import add_rician
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential

PROTOCOLS, SNRS, WANTED = ("paper1", "brain16", "clinical6"), (8.0, 20.0, 50.0), 1.03
EXACT = {8.0: ("rician", None), 20.0: ("rician", (24, 18, 24)), 50.0: ("gaussian", (80, 60, 80))}
"""Likelihood and nodes of the exact mean: where D* may come near D the posterior is a bent ridge at high SNR, which the
usual nodes miss by some per cent of f; there the Rician likelihood no longer differs from the Gaussian one."""
TIMED = {"anyprotocol": "paper1", "ivimnet_optim_paper1": "paper1", "mlp_supervised_paper1": "paper1",
         "mlp_unsupervised_brain16": "brain16", "mlp_mle_rician_labels": "labels"}  # fmt: skip
VOLUME = 144 * 144 * 18


def simulate(ranges: dict, name: str, snr: float, voxels: int, seed: int = 29) -> tuple:
    """Draw tissue from `ranges`; return the truth by key, the signal (v, 1, 1, n) with S0 = 1, and the acquisition."""
    rng = np.random.default_rng(seed)
    truth = {key: rng.uniform(*ranges[key], voxels) for key in ("D", "f", "Dstar")}
    acquisition = protocol(name).acquisition(1 / snr)
    clean = biexponential(acquisition.bvalues, 1.0, *truth.values())
    return truth, add_rician(clean, 1 / snr, rng)[:, None, None, :], acquisition


def nrmse(found: np.ndarray, true: np.ndarray) -> float:
    """Return the root mean square error over the mean of the truth, as in `ivim evaluate`."""
    return float(np.sqrt(np.mean((np.ravel(found) - true) ** 2)) / true.mean())


def against_the_limit(ranges: dict, voxels: int) -> None:
    """Print NRMSE of the network and of the exact posterior mean, their ratio, and coverage."""
    print(f"anyprotocol, {voxels} voxels a line, truth from its own prior; wanted: at most {WANTED:g} of the exact "
          "mean, 87 to 93 % covered")
    print("protocol    SNR  NRMSE D / f / D*       exact mean             ratio                  90 % covers [%]")
    for name in PROTOCOLS:
        for snr in SNRS:
            truth, signal, acquisition = simulate(ranges, name, snr, voxels)
            exact = Limit(ranges, EXACT[snr][0], nodes=EXACT[snr][1]).fit(signal, acquisition)
            found = create("anyprotocol", interval=0.9).fit(signal, acquisition, threads=1)
            errors = [[nrmse(result.maps[key], true) for key, true in truth.items()] for result in (found, exact)]
            ratios = [one / other for one, other in zip(*errors, strict=True)]
            inside = [100 * np.mean((np.ravel(found.extras[f"{key}_low"]) < true)
                                    & (true < np.ravel(found.extras[f"{key}_high"]))) for key, true in truth.items()]
            shown = [" / ".join(f"{x:.3f}" for x in three).ljust(22) for three in (*errors, ratios)]
            print(f"{name:10s} {snr:4g}  {' '.join(shown)} {' / '.join(f'{x:.0f}' for x in inside)}", flush=True)


def times(ranges: dict, repeats: int) -> None:
    """Print the time a voxel of some networks on one core, and of `anyprotocol` for a whole volume on two."""
    import torch

    torch.set_num_threads(1)
    for estimator, name in TIMED.items():
        _, signal, acquisition = simulate(ranges, name, 20.0, 100_000)
        microseconds = seconds(estimator, signal, acquisition, 1, repeats) / len(signal) * 1e6
        print(f"{estimator:26s} {microseconds:5.2f} µs a voxel")
    _, signal, acquisition = simulate(ranges, "paper1", 20.0, VOLUME)
    whole = seconds("anyprotocol", signal, acquisition, 2, repeats)
    print(f"144 x 144 x 18 voxels, anyprotocol, two cores: {whole:.2f} s")


def seconds(estimator: str, signal: np.ndarray, acquisition: object, threads: int, repeats: int) -> float:
    """Return the median time of a fit [s], the first one left out."""
    ready = create(estimator)
    ready.fit(signal[:2000], acquisition, threads=threads)
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        ready.fit(signal, acquisition, threads=threads)
        found.append(time.perf_counter() - began)
    return median(found)


def simulator() -> None:
    """Print the signals a second of the simulator beside those that the step of the network takes."""
    import torch

    from ivimcore.networks import sampling
    from ivimcore.networks.recipes import Recipe
    from ivimcore.networks.tasks import make_task
    from ivimcore.networks.training import Trainer

    recipe = Recipe.read("mlp_supervised_paper1")
    settings = {**recipe.training, "batch": 4096}
    source = sampling.Uniform.of({**recipe.content["parameters"], "S0": (1, 1)})
    rate = sampling.Simulator(source, torch.tensor(recipe.content["acquisition"]["bvalues"]), (20, 20)).rate()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(make_task(recipe, 1), settings, Path(folder))
        trainer._step()
        began = time.perf_counter()
        for _ in range(20):
            trainer._step()
        steps = 20 * settings["batch"] / (time.perf_counter() - began)
    print(f"simulator: {rate / 1e6:.2f} million signals a second; the step of the network: {steps / 1e6:.2f} million")


def main() -> None:
    """Print one block after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer voxels and repeats")
    options = parser.parse_args()
    lacking = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if lacking:
        print(f"{' and '.join(lacking)} not installed; 'make test-networks' makes .venv-networks. Nothing measured.")
        return
    from ivimcore.networks import zoo

    ranges = {key: tuple(bounds) for key, bounds in zoo.find().cards["anyprotocol"].ranges.items()}
    against_the_limit(ranges, 300 if options.quick else 2000)
    print()
    times(ranges, 3 if options.quick else 9)
    print()
    simulator()


if __name__ == "__main__":
    main()
