"""How long the panel takes for what a person feels; called by tests and benchmarks."""

from __future__ import annotations

import time

import numpy as np
import slicer


def timeCrosshairMoves(panel, count: int = 50, seed: int = 0) -> np.ndarray:
    """Move the cursor to voxels of the region and return how long each redraw took (count,) [s].

    Signal, fits, plot nodes, table and the painting of the panel are in it; the wait of the follower is not.
    """
    state = panel.state
    voxels = np.argwhere(state.region().mask)
    chosen = voxels[np.random.default_rng(seed).choice(len(voxels), count)]
    matrix = state.series.ijkToRas()
    slicer.app.processEvents()
    times = []
    for ijk in chosen:
        ras = tuple(float(x) for x in (matrix @ [*ijk, 1.0])[:3])
        start = time.perf_counter()
        panel.curve.moveTo(ras)
        slicer.app.processEvents()
        times.append(time.perf_counter() - start)
    return np.array(times)
