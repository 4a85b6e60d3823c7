"""What a person feels: opening the panel, moving the crosshair, how long the window stands still in a run, and how long
everything but the fit takes.

    python Testing/benchmarks/panel.py

On stand-ins for the desktop program, with the phantom of 144 x 144 x 18 voxels and 12 b-values, estimators posterior
and nlls. Wanted: 50 ms a move, no more than 100 ms without an answer, 2 s from Apply to maps beyond the fit.
"""

from __future__ import annotations

import subprocess
import sys
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "IVIMMapping"), str(ROOT / "Testing" / "slicer")]

MOVES = 100


def secondsToImport() -> float:
    """Return what a fresh Python needs to import all that the panel uses, beyond Slicer's libraries and numpy."""
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT / 'IVIMMapping')!r}); import slicer, vtk, numpy, scipy; "
        "t = time.perf_counter(); import IVIMMappingLib.MappingLogic, ivimcore.reports.preview, "
        "ivimcore.reports.expectation; print(time.perf_counter() - t)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True) for _ in range(3)]
    return min(float(run.stdout.split()[-1]) for run in runs)


def main() -> None:
    """Print one line for each measure."""
    try:
        from IVIMTestPanel import PanelTest
    except unittest.SkipTest as reason:
        print(f"{reason}: nothing was measured.")
        return
    import numpy as np
    import slicer
    from PanelTiming import timeCrosshairMoves

    class Panel(PanelTest):
        def runTest(self):
            print(f"import beyond Slicer's own, numpy and scipy: {secondsToImport():.2f} s")
            began = time.perf_counter()
            self.openModule()
            print(f"opening the panel: {time.perf_counter() - began:.2f} s")
            self.ui.sampleButton.click()
            self.waitUntil(lambda: self.panel.state.series is not None)
            self.panel.state.parameters.estimators = ["posterior", "nlls"]
            self.panel.state.estimatorsChanged()
            self.process(1.0)
            moves = 1e3 * timeCrosshairMoves(self.panel, MOVES)
            print(f"crosshair, {MOVES} moves: median {np.median(moves):.0f} ms, 95 % {np.percentile(moves, 95):.0f} ms")
            longest, overhead = self.timeRun()
            print(f"longest time without an answer in a run: {1e3 * longest:.0f} ms")
            print(f"from Apply to all maps on screen, beyond the fits themselves: {overhead:.2f} s")

        def timeRun(self) -> tuple[float, float]:
            """Press Apply; return the longest time [s] between two turns of the event loop until the maps are there,
            and the time [s] until all maps are on screen less that of the fits.
            """
            began = last = time.perf_counter()
            self.ui.applyButton.click()
            longest = 0.0
            while self.panel.state.run is not None:
                slicer.app.processEvents()
                now = time.perf_counter()
                longest, last = max(longest, now - last), now
                time.sleep(0.001)
            self.waitUntil(lambda: self.panel.results.layout.isShown)
            spent = time.perf_counter() - began
            return longest, spent - sum(run.provenance["fit_seconds"] for run in self.logic.runs())

    outcome = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(unittest.TestSuite([Panel()]))
    for _, reason in outcome.skipped:
        print(f"{reason}: nothing was measured.")
    sys.exit(0 if outcome.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
