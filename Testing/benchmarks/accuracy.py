"""Accuracy of every estimator on `paper1` and on the brain-like set, beside the limit.

    python Testing/benchmarks/accuracy.py [--voxels 10000]
"""

from __future__ import annotations

import argparse

from ivimcore import available
from ivimcore.evaluation.benchmarks import BENCHMARKS, format_table, run_benchmark


def main() -> None:
    """Print one table per benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--voxels", type=int, default=10_000, help="simulated voxels per SNR (default 10000)")
    options = parser.parse_args()
    names = [name for name, about in available().items() if "Dstar" in about.parameters]
    for benchmark in BENCHMARKS:
        print(format_table(run_benchmark(benchmark, names, voxels=options.voxels)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
