"""Bundled networks: all that they must reach, each number beside its limit.

    python Testing/benchmarks/networks.py [--quick] [published] [time] [exact]

`published`: what Paper I, Paper II and Epstein et al. found. `time`: of a voxel on one core (processor time, the least
of some fits, after a first one that loads torch and the weights), of a volume, and of the simulator. `exact`:
`anyprotocol` beside the exact posterior mean under its own prior, from which the truth is drawn, on protocols and at
noise levels that it was never told (the exact mean knows the Rician noise, and takes 10 to 200 ms a voxel). Without
PyTorch it says so and prints nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _published import Line, labels, paper_one, paper_two, show, within

from ivimcore import create
from ivimcore.evaluation.limit import Limit
from ivimcore.evaluation.metrics import nrmse
from ivimcore.physics.noise import add_rician
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential

PROTOCOLS, SNRS, WANTED = ("paper1", "brain16", "clinical6"), (8.0, 20.0, 50.0), 1.03
EXACT = {8.0: ("rician", None), 20.0: ("rician", (24, 18, 24)), 50.0: ("gaussian", (80, 60, 80))}
"""Likelihood and nodes of the exact mean: where D* may come near D the posterior is a bent ridge at high SNR, which the
usual nodes miss by some per cent of f; there the Rician likelihood no longer differs from the Gaussian one."""
TIMED = {"anyprotocol": ("paper1", 3.0), "ivimnet_optim_paper1": ("paper1", 1.5),
         "mlp_supervised_paper1": ("paper1", 1.5), "mlp_unsupervised_brain16": ("brain16", 1.5),
         "mlp_mle_rician_labels": ("labels", 1.5)}  # fmt: skip
"""Protocol of each network that is timed, and the most it may take [µs a voxel]."""
PARTS = ("published", "time", "exact")
VOLUME = 144 * 144 * 18


def simulate(ranges: dict, name: str, snr: float, voxels: int, seed: int = 29) -> tuple:
    """Draw tissue from `ranges`; return the truth by key, the signal (v, 1, 1, n) with S0 = 1, and the acquisition."""
    rng = np.random.default_rng(seed)
    truth = {key: rng.uniform(*ranges[key], voxels) for key in ("D", "f", "Dstar")}
    acquisition = protocol(name).acquisition(1 / snr)
    clean = biexponential(acquisition.bvalues, 1.0, *truth.values())
    return truth, add_rician(clean, 1 / snr, rng)[:, None, None, :], acquisition


def exact(ranges: dict, voxels: int) -> Iterator[Line]:
    """`anyprotocol` against the exact posterior mean, and its intervals."""
    for name in PROTOCOLS:
        for snr in SNRS:
            truth, signal, acquisition = simulate(ranges, name, snr, voxels)
            best = Limit(ranges, EXACT[snr][0], nodes=EXACT[snr][1]).fit(signal, acquisition)
            found = create("anyprotocol", interval=0.9).fit(signal, acquisition, threads=1)
            errors = [[nrmse(np.ravel(result.maps[key]), true) for key, true in truth.items()]
                      for result in (found, best)]  # fmt: skip
            ratios = [one / other for one, other in zip(*errors, strict=True)]
            inside = [100 * np.mean((np.ravel(found.extras[f"{key}_low"]) < true)
                                    & (true < np.ravel(found.extras[f"{key}_high"]))) for key, true in truth.items()]
            mine, limit, times = (" / ".join(f"{x:.3f}" for x in three) for three in (*errors, ratios))
            yield Line(f"{name}, SNR {snr:g}: NRMSE D / f / D*", f"{mine} = {times} x {limit}",
                       f"at most {WANTED:g} x", max(ratios) <= WANTED)  # fmt: skip
            yield Line(f"{name}, SNR {snr:g}: 90 % intervals hold the truth [%]",
                       " / ".join(f"{x:.1f}" for x in inside), "87 to 93 each",
                       min(inside) >= 87 and max(inside) <= 93)  # fmt: skip


def times(ranges: dict, repeats: int) -> Iterator[Line]:
    """The time a voxel of some networks on one core, of `anyprotocol` for a volume on two, and of the simulator."""
    import torch

    torch.set_num_threads(1)
    for estimator, (name, most) in TIMED.items():
        _, signal, acquisition = simulate(ranges, name, 20.0, 100_000)
        microseconds = seconds(estimator, signal, acquisition, 1, repeats, time.process_time) / len(signal) * 1e6
        yield within(f"{estimator} [µs a voxel]", microseconds, -np.inf, most, 2)
    _, signal, acquisition = simulate(ranges, "paper1", 20.0, VOLUME)
    whole = seconds("anyprotocol", signal, acquisition, 2, repeats, time.perf_counter)
    yield within("anyprotocol, 144 x 144 x 18 voxels, two cores [s]", whole, -np.inf, 1.0, 2)
    yield simulator()


def seconds(
    estimator: str, signal: np.ndarray, acquisition: object, threads: int, repeats: int, clock: Callable[[], float]
) -> float:
    """Return the least time of a fit [s], the first one left out."""
    ready = create(estimator)
    ready.fit(signal[:2000], acquisition, threads=threads)
    found = []
    for _ in range(repeats):
        began = clock()
        ready.fit(signal, acquisition, threads=threads)
        found.append(clock() - began)
    return min(found)


def simulator() -> Line:
    """The signals a second of the simulator beside those that the step of a small network takes."""
    import torch

    from ivimcore.networks import sampling
    from ivimcore.networks.recipes import Recipe
    from ivimcore.networks.tasks import make_task
    from ivimcore.networks.training import Trainer

    recipe = Recipe.read("mlp_supervised_paper1")
    settings = {**recipe.settings(0), "batch": 4096}
    source = sampling.Uniform.of({**recipe.content["parameters"], "S0": (1, 1)})
    rate = sampling.Simulator(source, torch.tensor(recipe.content["acquisition"]["bvalues"]), (20, 20)).rate()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(make_task(recipe, 1), settings, Path(folder))
        trainer._step()
        began = time.process_time()
        for _ in range(20):
            trainer._step()
        steps = 20 * settings["batch"] / (time.process_time() - began)
    return Line("simulator, step of the network [million signals a second]", f"{rate / 1e6:.2f}, {steps / 1e6:.2f}",
                "the first larger", rate > steps)  # fmt: skip


def main() -> None:
    """Print one table after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default all)")
    parser.add_argument("--quick", action="store_true", help="fewer voxels and repeats")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if not set(parts) <= set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    lacking = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if lacking:
        print(f"{' and '.join(lacking)} not installed; 'make test-networks' makes .venv-networks. Nothing measured.")
        return
    from ivimcore.networks import zoo

    ranges = {key: tuple(bounds) for key, bounds in zoo.find().cards["anyprotocol"].ranges.items()}
    voxels = 2000 if options.quick else 20_000
    failed = 0
    if "published" in parts:
        failed += show(f"Paper I: paper1, SNR 20, {voxels} voxels", paper_one(voxels))
        failed += show(f"Paper II: uniform, SNR 200 at S0 = 1, {voxels} voxels", paper_two(voxels))
        failed += show(f"Epstein et al.: labels, SNR 15, {voxels} voxels", labels(voxels))
    if "time" in parts:
        failed += show("Times", times(ranges, 3 if options.quick else 9))
    if "exact" in parts:
        few = 300 if options.quick else 2000
        title = f"anyprotocol against the exact posterior mean, {few} voxels a line, truth from its own prior"
        failed += show(title, exact(ranges, few))
    print("All lines hold." if not failed else f"{failed} lines do not hold.")


if __name__ == "__main__":
    main()
