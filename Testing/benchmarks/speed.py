"""Time a voxel, against scipy called a voxel at a time in the same run; scaling and memory.

    python Testing/benchmarks/speed.py [--quick]

Every ratio is between two things measured in this run on this machine, several times in turn; the median is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

# One thread against one thread: the linear algebra library must not bring its own.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from scipy.optimize import least_squares

from ivimcore import Acquisition, create
from ivimcore.data.output import write_images
from ivimcore.data.series import Geometry
from ivimcore.evaluation.requests import every_request, make
from ivimcore.physics.noise import add_rician
from ivimcore.physics.phantom import abdomen
from ivimcore.physics.protocols import protocol
from ivimcore.physics.signal import biexponential, biexponential_jacobian

LOW, HIGH = np.array([0, 0, 0, 5e-3]), np.array([np.inf, 5e-3, 0.7, 0.3])
SCALE = np.array([1, 1e-3, 1, 1e-2])


def simulate(voxels: int, bvalues: np.ndarray, snr: float = 20.0, seed: int = 0) -> np.ndarray:
    """Draw tissue over the ranges of `paper1` and return its noisy signal (voxels, n), S0 = 1."""
    rng = np.random.default_rng(seed)
    D, f, Dstar = rng.uniform(0.5e-3, 3e-3, voxels), rng.uniform(0.05, 0.55, voxels), rng.uniform(0.01, 0.1, voxels)
    return add_rician(biexponential(bvalues, np.ones(voxels), D, f, Dstar), 1.0 / snr, rng)


def scipy_fit(signal: np.ndarray, b: np.ndarray) -> None:
    """Fit one voxel as most tools do: bounded trust region with the analytic Jacobian, one start."""
    least_squares(
        lambda p: biexponential(b, *(p * SCALE)) - signal,
        np.array([signal[0], 1.0, 0.2, 3.0]), jac=lambda p: biexponential_jacobian(b, *(p * SCALE)) * SCALE,
        bounds=(LOW / SCALE, HIGH / SCALE),
    )


def microseconds(estimator: str, signal: np.ndarray, acquisition: Acquisition, threads: int) -> float:
    """Return the wall time a voxel of one fit [µs]."""
    volume = signal[:, None, None]
    started = time.perf_counter()
    create(estimator).fit(volume, acquisition, threads=threads)
    return (time.perf_counter() - started) / len(signal) * 1e6


def against_scipy(voxels: int, repeats: int) -> None:
    """Print the time of each estimator and its ratio to scipy."""
    acquisition = protocol("brain16").acquisition()
    signal = simulate(voxels, acquisition.bvalues)
    rows = []
    for _ in range(repeats):
        started = time.perf_counter()
        for one in signal[:300]:
            scipy_fit(one, acquisition.bvalues)
        scipy_time = (time.perf_counter() - started) / 300 * 1e6
        ours = (microseconds(name, signal, acquisition, 1) for name in ("nlls", "segmented", "adc"))
        rows.append((scipy_time, *ours))
    scipy_time, nlls, segmented, adc = (median(column) for column in zip(*rows, strict=True))
    ratio = median(row[0] / row[1] for row in rows)
    print(f"16 b-values, SNR 20, {voxels} voxels, one thread (median of {repeats})")
    print(f"  scipy.optimize.least_squares, a voxel at a time   {scipy_time:8.1f} µs/voxel")
    print(f"  nlls                                              {nlls:8.2f} µs/voxel   {ratio:.0f} times faster")
    print(f"  segmented                                         {segmented:8.2f} µs/voxel   "
          f"{median(row[1] / row[2] for row in rows):.1f} times faster than nlls")
    print(f"  adc                                               {adc:8.2f} µs/voxel\n")


def every_estimator(repeats: int) -> None:
    """Print the time of every estimator as a ratio to nlls, on an image with neighbours, one thread."""
    phantom = abdomen(shape=(96, 96, 6), snr=40)
    signal, mask = phantom.signal, phantom.mask
    print(f"Digital abdomen, {phantom.acquisition.count} b-values, SNR 40, {mask.sum()} voxels, one thread")
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        for request in ["nlls", *(name for name in every_request() if name != "nlls")]:
            label, estimator = make(request)
            started = time.perf_counter()
            estimator.fit(signal, phantom.acquisition, mask, threads=1)
            times.setdefault(label, []).append((time.perf_counter() - started) / mask.sum() * 1e6)
    for label, seen in times.items():
        ratio = median(one / reference for one, reference in zip(seen, times["nlls"], strict=True))
        print(f"  {label:32s} {median(seen):8.2f} µs/voxel   {ratio:5.1f} times nlls")
    print()


def over_cores(voxels: int, repeats: int) -> None:
    """Print the gain by more threads, pair by pair."""
    acquisition = protocol("brain16").acquisition()
    signal = simulate(voxels, acquisition.bvalues)
    print(f"Cores, {voxels} voxels")
    for threads in range(2, (os.cpu_count() or 1) + 1):
        pairs = [
            (microseconds("nlls", signal, acquisition, 1), microseconds("nlls", signal, acquisition, threads))
            for _ in range(repeats)
        ]
        gains = sorted(one / more for one, more in pairs)
        print(f"  nlls on {threads} threads: {median(gains):.2f} times faster than on one "
              f"({gains[0]:.2f} .. {gains[-1]:.2f}), {median(more for _, more in pairs):.2f} µs/voxel")
    print()


def over_sizes(repeats: int) -> None:
    """Print the time a voxel for volumes of several sizes and for several numbers of b-values."""

    def show(label: int, voxels: int, acquisition: Acquisition) -> None:
        signal = simulate(voxels, acquisition.bvalues)
        times = [microseconds("nlls", signal, acquisition, 1) for _ in range(repeats)]
        print(f"  {label:7d}   {median(times):6.2f} µs/voxel")

    print("Voxels (16 b-values, one thread)")
    for voxels in (1_000, 10_000, 100_000, 400_000):
        show(voxels, voxels, protocol("brain16").acquisition())
    print("b-values (50000 voxels, one thread)")
    for count in (6, 11, 16, 32, 64):
        show(count, 50_000, Acquisition(np.unique(np.round(np.geomspace(1, 1001, count) - 1, 1))))
    print("Images of repeated b (9 b-values, 50000 voxels, one thread)")
    for repeated in (1, 4, 8):
        show(9 * repeated, 50_000, Acquisition(np.tile(protocol("abdomen9").bvalues, repeated)))
    print()


def memory(shape: tuple[int, int, int]) -> None:
    """Print peak memory and time of `ivim map` as a process of its own, beside three times the input plus 300 MB."""
    bvalues = protocol("brain16").acquisition().bvalues
    with tempfile.TemporaryDirectory() as folder:
        series = np.empty((*shape, bvalues.size), dtype=np.int16)
        for k in range(shape[2]):
            slice_ = simulate(shape[0] * shape[1], bvalues, snr=30, seed=k) * 1000
            series[:, :, k] = slice_.reshape(*shape[:2], -1)
        write_images(series, Geometry(shape, np.diag([1.5, 1.5, 4.0, 1.0])), Path(folder) / "dwi.nii.gz")
        (Path(folder) / "dwi.bval").write_text(" ".join(f"{b:g}" for b in bvalues))
        size = series.nbytes
        del series
        arguments = ["map", f"{folder}/dwi.nii.gz", "--out", f"{folder}/out", "--mask", "none", "--estimator", "nlls"]
        command = [sys.executable, "-c", _PEAK, *arguments]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        seconds = time.perf_counter() - started
    peak = float(done.stdout.split()[-1])
    allowed = 3 * size / 1e6 + 300
    grid = " x ".join(str(n) for n in (*shape, bvalues.size))
    print(f"ivim map, {grid} of int16 ({size / 1e6:.0f} MB): {seconds:.1f} s in all, peak memory {peak:.0f} MB; "
          f"three times the input plus 300 MB is {allowed:.0f} MB")


_PEAK = (
    "import resource, sys; from ivimcore.cli import main; code = main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3); sys.exit(code)"
)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small volumes, one repeat")
    quick = parser.parse_args().quick
    against_scipy(50_000 if quick else 200_000, 1 if quick else 5)
    over_cores(100_000 if quick else 600_000, 1 if quick else 7)
    every_estimator(1 if quick else 3)
    over_sizes(1 if quick else 3)
    memory((96, 96, 10) if quick else (256, 256, 40))


if __name__ == "__main__":
    main()
