"""How long everything but the fit takes when a series is fitted from Slicer's scene, and the longest single step.

    python Testing/benchmarks/run_in_slicer.py [--shape 144 144 18] [--estimators nlls posterior] [--repeats 3]

Runs on Slicer's libraries without the desktop program (slicer-core). A step is what the window has to wait for.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "IVIMMapping"))


def measure(logic, sequence, segmentation, estimator: str) -> dict[str, float]:
    """Fit once; return the seconds of each part and of the longest step."""
    began = time.perf_counter()
    handle = logic.process(sequence, estimator, segmentation, wait=False)
    started = time.perf_counter() - began
    longest, goes_on = 0.0, True
    while goes_on:
        began = time.perf_counter()
        goes_on = handle.step()
        longest = max(longest, time.perf_counter() - began)
        if handle.isWaiting:
            time.sleep(0.01)
    if handle.state != "done":
        raise SystemExit(handle.sentence)
    fit = handle.runs[0].provenance["fit_seconds"]
    return {
        "region": started, "Python and transfer": handle.timings["transfer"],
        "process without fit": handle.timings["process"] - fit, "maps, tables, nodes": handle.timings["loading"],
        "overhead": started + handle.seconds - fit, "fit": fit, "longest step": longest,
    }


def main() -> None:
    """Print one line for each estimator and repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(144, 144, 18))
    parser.add_argument("--estimators", nargs="+", default=["nlls", "posterior"])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        import slicer  # noqa: F401
    except ImportError:
        print("Slicer's libraries are not installed (pip install 'ivimslicer[scene]'): nothing was measured.")
        return
    from IVIMMappingLib.HeadlessSlicer import HeadlessSlicer
    from IVIMMappingLib.MappingLogic import MappingLogic
    from IVIMMappingLib.PhantomSample import createPhantomSeries
    from IVIMMappingLib.VtkMessages import VtkMessages

    with VtkMessages(), HeadlessSlicer() as application:
        scene, logic = application.scene, application.applicationLogic
        sequence, _, segmentation = createPhantomSeries(scene, logic, shape=tuple(arguments.shape))
        mapping = MappingLogic(scene, logic)
        for region in (None, segmentation):
            print(f"\n{' x '.join(map(str, arguments.shape))} x 12, {'6 regions' if region else 'body'} [s]")
            for estimator in arguments.estimators:
                for _ in range(arguments.repeats):
                    parts = measure(mapping, sequence, region, estimator)
                    print(f"{estimator:12}", "  ".join(f"{name} {value:.3f}" for name, value in parts.items()))


if __name__ == "__main__":
    main()
