"""What a loaded series says about a training: its b-values, the range of its SNR, and its voxels as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from ivimcore.errors import InputError
from ivimcore.jobs.job import Job
from IVIMMappingLib.RawNrrd import writeImage, writeImages
from IVIMMappingLib.RegionChoice import chooseRegion
from IVIMMappingLib.SeriesReader import SeriesInScene

SERIES_FILE, MASK_FILE = "series.nrrd", "mask.nrrd"
_SAMPLE = 50_000
_HIGHEST_SNR = 1000.0
"""A higher SNR is that of a picture without noise, as a simulation may be."""


@dataclass(frozen=True)
class MeasuredSnr:
    """SNR at the lowest b inside the body: 5th to 95th percentile, and a sentence that says how it was found."""

    low: float
    high: float
    sentence: str


def bvaluesOf(series: SeriesInScene) -> np.ndarray:
    """Return the b-values (n,) of all images [s/mm²]; raises InputError where one is unknown or impossible."""
    b = np.asarray(series.bvalues, dtype=float)
    unknown = int(np.count_nonzero(~np.isfinite(b)))
    if unknown:
        raise InputError(
            _("{count} images of '{name}' have no b-value; type the b-values of the protocol instead.").format(
                count=unknown, name=series.name
            )
        )
    if (b < 0).any():
        raise InputError(_("A b-value of '{name}' is negative; choose another series.").format(name=series.name))
    return b


def measureSnr(series: SeriesInScene) -> MeasuredSnr:
    """Measure the SNR of a series inside the body; raises InputError with the reason where that cannot be."""
    b = bvaluesOf(series)
    region = chooseRegion(series, "body", None, (), b, np.ones(b.size, dtype=bool))
    values = series.image(int(np.argmin(b)))[region.mask].astype(float)
    values = values[:: max(1, values.size // _SAMPLE)]
    values = values[np.isfinite(values) & (values > 0)]
    if values.size == 0:
        raise InputError(
            _("The image of the lowest b-value of '{name}' holds no signal; choose another series.").format(
                name=series.name
            )
        )
    sigma = series.sigma(b)
    if not sigma or not np.isfinite(sigma):
        raise InputError(
            _("The noise of '{name}' cannot be told from its images ({reason}); type the SNR.").format(
                name=series.name, reason=series.sigmaMethod.rstrip(".")
            )
        )
    low, high = (float(x) for x in np.percentile(values / sigma, (5, 95)))
    low, high = min(max(low, 1.0), _HIGHEST_SNR), min(max(high, 1.0), _HIGHEST_SNR)
    return MeasuredSnr(
        round(low, 1), round(high, 1),
        _("SNR {low} to {high} in 5 to 95 % of the body at b = {b} s/mm². {method}").format(
            low=f"{low:.3g}", high=f"{high:.3g}", b=f"{b.min():g}", method=series.sigmaMethod
        ),
    )


def writeSeries(series: SeriesInScene, folder: Path) -> Iterator[None]:
    """Write images and body of a series for the training process, one image at a time.

    Raises OSError on a full disk, InputError for a series without a body.
    """
    b = bvaluesOf(series)
    region = chooseRegion(series, "body", None, (), b, np.ones(b.size, dtype=bool))
    images = (series.image(number) for number in range(series.count))
    for _number in writeImages(folder / SERIES_FILE, images, series.count, series.geometry):
        yield
    writeImage(folder / MASK_FILE, region.mask, series.geometry, "u1")


def seriesJob(folder: Path, bvalues: tuple[float, ...]) -> Job:
    """Return the job that reads what `writeSeries` has written; `bvalues` one per image [s/mm²]."""
    return Job(inputs=(str(folder / SERIES_FILE),), out="", bvalues=bvalues, mask=str(folder / MASK_FILE))
