"""What a scan of a cohort leaves for the report: numbers of its regions, and a small picture with their contours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from ..jobs.events import Emit
from ..jobs.job import Outcome
from ..physics.parameters import PARAMETERS
from .companions import write_statistics
from .roistatistics import region_statistics

Array = np.ndarray
COLUMNS = (
    "estimator", "region", "map", "unit", "n", "median", "mean", "sd", "q1", "q3", "voxels", "volume_ml",
    "missing_share", "left_out", "information", "informed_share",
)
"""Keys of a row of the record of a scan, as in `roistatistics`."""
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
SIZE, MARGIN = 160, 0.35
"""Smallest width of a thumbnail [pixel], and what stands around the regions, as a share of their extent."""
KEYS = ("D", "f", "Dstar", "ADC")


def describe_outcome(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the statistics of every estimator, region and parameter of one scan; see `COLUMNS`."""
    rows = []
    for name, fit in outcome.results.items():
        information = {key: image for key, image in fit.extras.items() if key.endswith("_info")}
        maps = {key: image for key, image in fit.maps.items() if key in KEYS} | information
        found = region_statistics(maps, outcome.series.geometry, *outcome.regions, estimator=name)
        rows += [{key: row[key] for key in COLUMNS} for row in found if row["map"] in PARAMETERS]
    return rows


def write_companions(outcome: Outcome, folder: Path, _: Emit) -> None:
    """Write statistics, curves and thumbnail.png beside the maps of one scan."""
    write_statistics(outcome, folder)
    (folder / "thumbnail.png").write_bytes(thumbnail(outcome))


def thumbnail(outcome: Outcome) -> bytes:
    """Draw the slice with most of the regions at the lowest b, with their contours, as a PNG.

    Written without a plotting library: it is made for each of hundreds of series.
    """
    labels = outcome.mask.astype(int) if outcome.labels is None else outcome.labels
    counts = (labels > 0).sum(axis=(0, 1))
    z = int(np.argmax(counts))
    image = np.nan_to_num(outcome.series.signal[:, :, z, int(np.argmin(outcome.series.acquisition.bvalues))].T)
    regions = labels[:, :, z].T
    rows, columns = np.nonzero(regions)
    window = tuple(_window(found, size) for found, size in zip((rows, columns), image.shape, strict=True))
    image, regions = image[window].astype(float), regions[window]
    factor = max(1, round(SIZE / image.shape[1]))
    image, regions = (np.kron(part, np.ones((factor, factor), dtype=part.dtype)) for part in (image, regions))
    top = float(np.percentile(image, 99.5)) or 1.0
    grey = (255 * np.clip(image / top, 0, 1)).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=2)
    for number, value in enumerate(sorted(set(np.unique(regions)) - {0})):
        inside = regions == value
        edge = inside & ~scipy.ndimage.binary_erosion(inside, iterations=2 if factor > 2 else 1)
        pixels[edge] = COLORS[number % len(COLORS)]
    return png(pixels)


def _window(found: Array, size: int) -> slice:
    if not found.size:
        return slice(0, size)
    extent = max(int(np.ptp(found)) + 1, 12)
    margin = int(np.ceil(MARGIN * extent)) + 4
    return slice(max(0, int(found.min()) - margin), min(size, int(found.max()) + margin + 1))


def png(pixels: Array) -> bytes:
    """Encode (rows, columns, 3) uint8 as a PNG file."""
    rows, columns = pixels.shape[:2]
    raw = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1).tobytes()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 6)) + chunk(b"IEND", b""))
