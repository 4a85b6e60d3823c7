"""Accuracy of every estimator on `paper1` and on the brain-like set, beside the limit.

    python Testing/benchmarks/accuracy.py [--voxels 10000]
"""

from __future__ import annotations

import argparse

from ivimcore import Acquisition, available, create
from ivimcore.evaluation.benchmarks import BENCHMARKS, format_table, run_benchmark
from ivimcore.physics.protocols import protocol


def can_run(name: str, acquisition: Acquisition) -> bool:
    """Tell whether an estimator gives D* and takes the b-values: trained models take only theirs."""
    estimator = create(name)
    return "Dstar" in estimator.parameters and not any(said.blocks for said in estimator.problems(acquisition))


def main() -> None:
    """Print one table per benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--voxels", type=int, default=10_000, help="simulated voxels per SNR (default 10000)")
    options = parser.parse_args()
    for benchmark, about in BENCHMARKS.items():
        names = [name for name in available() if can_run(name, protocol(about.protocol).acquisition())]
        print(format_table(run_benchmark(benchmark, names, voxels=options.voxels)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
