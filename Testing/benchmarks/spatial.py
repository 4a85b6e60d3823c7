"""Networks that see neighbours: time and memory of a whole series, and real series beside least squares.

    python Testing/benchmarks/spatial.py [--data FOLDER] [--out FOLDER] [--quick]

Times are those of a volume of 144 x 144 x 18 voxels on one and on all cores, as ratios to `nlls` in the same run too;
memory is the largest of a process of its own. Real series (a folder named by --data or IVIM_TEST_DATA) are compared in
the regions that come with them: median D, and rmse relative to that of `nlls`; beside it stands what the rmse would be
if D, f and D* were known exactly, which a fit that follows the noise less than least squares cannot go below. With
--out, maps of both are drawn side by side. Without PyTorch it says so and prints nothing else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ivimcore import available, create
from ivimcore.data.reading import read_labels, read_series
from ivimcore.jobs.job import Job, load
from ivimcore.physics.fractal import SEVEN_TISSUES, fractal_maps

SHAPE = (144, 144, 18)
NETWORK = "anyprotocol_spatial"
TIMED = (("natten_17_brain16", "brain16"), ("natten_7_brain16", "brain16"), ("conv3_brain16", "brain16"),
         ("unet_brain16", "brain16"), (NETWORK, "abdomen12"), (NETWORK, "brain16"))  # fmt: skip
SERIES = {
    "prostate": ("prostate_ivim_3T/ivim13b.nii.gz", {"bmax": 1000.0}, {
        "tumour": "prostate_ivim_3T/tumor_roi.nii.gz", "peripheral zone": "prostate_ivim_3T/pz_roi.nii.gz",
        "hyperplasia": "prostate_ivim_3T/bph_roi.nii.gz"}),
    **{f"abdomen, volunteer {n}": (f"abdomen_ivim_3volunteers/volunteer{n}_T70_bipolar_trace.nii.gz", {},
                                   f"abdomen_ivim_3volunteers/volunteer{n}_rois.nii.gz") for n in (1, 3, 5)},
}  # fmt: skip
ORGANS = {1: "pancreas", 2: "liver", 3: "kidney", 4: "spleen"}
PEAK = """
import resource, sys
from ivimcore import create
from ivimcore.physics.fractal import SEVEN_TISSUES, fractal_maps
maps = fractal_maps({shape}, 60.0, 1, SEVEN_TISSUES, {protocol!r}, lesions=0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
create({name!r}).fit(maps.signal, maps.acquisition)
print(before // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def time_of(name: str, maps, threads: int | None) -> float:
    """Return the seconds of one fit."""
    began = time.perf_counter()
    create(name).fit(maps.signal, maps.acquisition, threads=threads)
    return time.perf_counter() - began


def speed(shape: tuple[int, int, int]) -> None:
    """Print time and memory of whole series."""
    cores = os.cpu_count() or 1
    voxels = int(np.prod(shape))
    print(f"{' x '.join(map(str, shape))} voxels; {cores} cores; GPU: none was used")
    print("estimator            images  one core [s]  [µs/voxel]  all cores [s]  x nlls  memory before, peak [MB]")
    for name, protocol in TIMED:
        if name not in available():
            continue
        maps = fractal_maps(shape, 60.0, 1, SEVEN_TISSUES, protocol, lesions=0)
        create(name).fit(maps.signal[:16, :16, :1], maps.acquisition)  # loads torch and the weights
        one, many, least = time_of(name, maps, 1), time_of(name, maps, None), time_of("nlls", maps, None)
        code = PEAK.format(shape=shape, protocol=protocol, name=name)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
        memory = " -> ".join(done.stdout.split())
        print(f"{name:20s} {maps.acquisition.count:6d} {one:13.1f} {1e6 * one / voxels:11.1f} {many:14.1f} "
              f"{many / least:7.1f}  {memory}")  # fmt: skip


def regions_of(data: Path, rois, geometry) -> dict[str, np.ndarray]:
    """Read the regions of a series: a file for each, or one label image."""
    if isinstance(rois, dict):
        return {name: read_labels(data / file, geometry)[0] > 0 for name, file in rois.items()}
    labels = read_labels(data / rois, geometry)[0]
    return {name: labels == label for label, name in ORGANS.items() if (labels == label).any()}


def real(data: Path, out: Path | None) -> None:
    """Print region medians and residuals of real series beside least squares, and draw the maps."""
    print("\nReal series: median D [10⁻³ mm²/s] and rmse of the network and nlls; exact: the curve known")
    print("series                region            voxels   D nlls    D  differs [%]   rmse / nlls   exact / nlls")
    for name, (file, options, rois) in SERIES.items():
        if not (data / file).is_file():
            print(f"{name:21s} not in the folder of data")
            continue
        series = load(Job(inputs=(str(data / file),), out="", **options))
        regions = regions_of(data, rois, read_series(data / file).geometry)
        body = (series.signal > 0).all(-1)
        least, network = (create(one).fit(series.signal, series.acquisition, body) for one in ("nlls", NETWORK))
        count = series.acquisition.count
        for region, inside in regions.items():
            inside = inside & body & np.isfinite(least.maps["D"]) & np.isfinite(network.maps["D"])
            if inside.sum() < 5:
                continue
            d, mine = (1e3 * np.median(fit.maps["D"][inside]) for fit in (least, network))
            ratio = np.median(network.residual[inside]) / np.median(least.residual[inside])
            # Four parameters fitted to pure noise leave (n - 4) / n of its variance, S0 alone (n - 1) / n.
            exact = np.sqrt((count - 1) / (count - 4))
            print(f"{name:21s} {region:16s} {inside.sum():7d} {d:8.2f} {mine:5.2f} {100 * (mine / d - 1):+11.1f} "
                  f"{ratio:13.2f} {exact:14.2f}")  # fmt: skip
        if out is not None:
            draw(out / f"{name.replace(', ', '_').replace(' ', '_')}.png", least, network, name)


def draw(path: Path, least, network, title: str) -> None:
    """Draw D, f and D* of both, side by side, of the slice with most voxels."""
    from matplotlib.figure import Figure

    from ivimcore.physics.parameters import PARAMETERS

    path.parent.mkdir(parents=True, exist_ok=True)
    middle = int(np.isfinite(least.maps["D"]).sum((0, 1)).argmax())
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    panels = figure.subplots(2, 3)
    for column, (key, top) in enumerate((("D", 3e-3), ("f", 0.4), ("Dstar", 0.1))):
        parameter = PARAMETERS[key]
        for row, (label, fit) in enumerate((("least squares", least), (NETWORK, network))):
            image = fit.maps[key][:, :, middle].T * parameter.display_factor
            shown = panels[row, column].imshow(image, vmin=0, vmax=top * parameter.display_factor, cmap="viridis")
            panels[row, column].set_title(f"{label}: {parameter.label}", fontsize=9)
            panels[row, column].set_axis_off()
            figure.colorbar(shown, ax=panels[row, column], shrink=0.8)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    print(f"drawn: {path.name}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("IVIM_TEST_DATA"))
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="a smaller volume")
    options = parser.parse_args()
    if find_spec("torch") is None or find_spec("safetensors") is None:
        print("PyTorch is not installed; networks are not measured (pip install torch safetensors).")
        return
    speed((72, 72, 6) if options.quick else SHAPE)
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    data = Path(options.data) if options.data else beside
    if data.is_dir():
        real(data, options.out)
    else:
        print("\nReal series: no folder of data (--data, IVIM_TEST_DATA); not measured.")


if __name__ == "__main__":
    main()
