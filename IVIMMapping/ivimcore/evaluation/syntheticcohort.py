"""A test-retest study that never happened, with its truth: subjects scanned twice, and treated patients.

Every subject is a small abdomen with a tumour of its own size, place, D, f and D*. Between two sessions

* the patient lies otherwise (shift and rotation of the grid), and the region is drawn anew (its radius varies),
* physiology changes the tissue a little (`DAY`), which no estimator can or should take away,
* each image gains or loses some signal as a whole (`instability`: motion, gain), which does not average out over the
  voxels of a region as noise does,
* the noise is new.

Treated patients have in addition a known effect; some of them respond and the others do not. So what a report calls
changed can be held against the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data.output import OutputFolder, write_images, write_labels, write_volume
from ..data.phantom_series import series_of_phantom
from ..errors import InputError
from ..physics.phantom import Phantom, Tissue, build
from ..reports.roistatistics import write_csv

Array = np.ndarray
REFERENCE, TREATED = "reference", "treated"
SESSIONS = {REFERENCE: ("test", "retest"), TREATED: ("pre", "post")}
TISSUES = {
    "tumour": {"D": 1.35e-3, "f": 0.13, "Dstar": 35e-3}, "liver": {"D": 1.10e-3, "f": 0.23, "Dstar": 70e-3},
}  # fmt: skip
"""Typical values [mm²/s, 1, mm²/s]."""
BETWEEN = {"D": 0.13, "f": 0.30, "Dstar": 0.30}
"""Spread of the subjects, SD of the logarithm; half of it in the liver."""
SHARE = {"tumour": 1.0, "liver": 0.5}
DAY = {"D": 0.02, "f": 0.05, "Dstar": 0.15}
"""Change from day to day in the tissue itself, SD of the logarithm."""
EFFECTS = {"D": 0.18, "f": 0.45}
"""Effect of the treatment in those who respond, relative [1]; D* is left as it is."""
LABELS = {1: "tumour", 2: "liver"}
TRUTH_COLUMNS = ("subject", "group", "responds", "region", "map", "first", "second")


@dataclass(frozen=True)
class SyntheticCohort:
    """Where a cohort was written, and the truth of its regions.

    `truth` rows with `TRUTH_COLUMNS`: the mean of the true map inside the drawn region at each session, stored units.
    """

    manifest: Path
    truth: tuple[dict[str, object], ...]


def generate(
    out: Path | str, reference: int = 14, treated: int = 9, responders: int = 6, snr: float = 12.0,
    instability: float = 0.005, effects: Mapping[str, float] = EFFECTS, shape: tuple[int, int, int] = (40, 40, 3),
    protocol: str = "abdomen12", seed: int = 1,
) -> SyntheticCohort:
    """Write a cohort: series with b-values, regions, mask, manifest.csv and truth.csv.

    Arguments: numbers of `reference` subjects, of `treated` patients and of `responders` among them; `snr` S0 / sigma
    of liver [1]; `instability` SD of the signal of a whole image [1]; `effects` relative, of those who respond;
    `shape`, `protocol` as in `physics.phantom.build`; `seed`.
    Raises InputError for numbers that make no cohort. The same arguments write the same files.
    """
    if reference < 1 or not 0 <= responders <= treated:
        raise InputError(f"{reference} reference, {treated} treated, {responders} responding patients are no cohort.")
    if not snr > 0:
        raise InputError(f"The SNR is {snr:g}; give a positive number.")
    rows, truth = [], []
    with OutputFolder(out) as folder:
        for number in range(reference + treated):
            group = REFERENCE if number < reference else TREATED
            name = f"{group}-{number + 1 - (reference if group == TREATED else 0):03d}"
            responds = group == TREATED and number - reference < responders
            rng = np.random.default_rng([seed, number])
            own = {(region, key): value * np.exp(SHARE[region] * BETWEEN[key] * rng.normal())
                   for region, values in TISSUES.items() for key, value in values.items()}  # fmt: skip
            body = _Body(*rng.uniform((-0.05, -0.05, 0.20, -0.05), (0.05, 0.05, 0.28, 0.05)))
            found = []
            for index, session in enumerate(SESSIONS[group]):
                helps = responds and index == 1
                effect = {("tumour", key): 1 + size * helps for key, size in effects.items()}
                today = {pair: own[pair] * np.exp(DAY[pair[1]] * rng.normal()) * effect.get(pair, 1.0) for pair in own}
                phantom, labels = _scan(body, today, shape, protocol, snr, instability, rng)
                place = Path(name, session)
                _write(phantom, labels, folder / place)
                rows.append({"subject": name, "session": session, "group": group, "series": place / "dwi.nii.gz",
                             "rois": place / "regions.seg.nrrd", "mask": place / "mask.nii.gz"})  # fmt: skip
                found.append({(region, key): float(phantom.truth[key][labels == value].mean(dtype=float))
                              for value, region in LABELS.items() for key in BETWEEN})  # fmt: skip
            truth += [
                {"subject": name, "group": group, "responds": bool(responds and region == "tumour" and key in effects),
                 "region": region, "map": key, "first": value, "second": found[1][region, key]}
                for (region, key), value in found[0].items()
            ]  # fmt: skip
        columns = ("subject", "session", "group", "series", "rois", "mask")
        write_csv(folder / "manifest.csv", [{k: str(v) for k, v in row.items()} for row in rows], columns)
        write_csv(folder / "truth.csv", truth, TRUTH_COLUMNS)
    return SyntheticCohort(Path(out) / "manifest.csv", tuple(truth))


@dataclass(frozen=True)
class _Body:
    """The anatomy of one subject: centre and radius of the tumour and tilt, in units of half the field of view."""

    x: float
    y: float
    radius: float
    tilt: float

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance from the tumour's centre in tumour radii, 1 at its edge."""
        a = self.tilt
        u, v = (x - self.x) * np.cos(a) - (y - self.y) * np.sin(a), (x - self.x) * np.sin(a) + (y - self.y) * np.cos(a)
        return np.sqrt((u / self.radius) ** 2 + (v / (0.8 * self.radius)) ** 2 + (z / 1.6) ** 2)


def _scan(
    body: _Body, today: Mapping[tuple[str, str], float], shape: tuple[int, int, int], protocol: str, snr: float,
    instability: float, rng: np.random.Generator,
) -> tuple[Phantom, Array]:
    """Measure one session; return the phantom and the regions as a reader draws them (x, y, z)."""
    shift, turn = rng.normal(0, 0.5 * 2 / shape[0], 2), rng.normal(0, np.deg2rad(2))
    tissues = (
        Tissue(1, "soft tissue", 1.30e-3, 0.06, 20e-3, 0.6),
        *(Tissue(label, name, *(today[name, key] for key in ("D", "f", "Dstar")), S0)
          for label, name, S0 in ((2, "liver", 1.0), (3, "tumour", 1.1))),
    )  # fmt: skip

    def moved(x: Array, y: Array) -> tuple[Array, Array]:
        return (x * np.cos(turn) - y * np.sin(turn) + shift[0], x * np.sin(turn) + y * np.cos(turn) + shift[1])

    def draw(x: Array, y: Array, z: Array) -> Array:
        x, y = moved(x, y)
        labels = np.where(np.hypot(x / 0.9, y / 0.75) < 1, 1, 0)
        labels[np.hypot((x + 0.52) / 0.26, (y + 0.05) / 0.42) < 1] = 2
        labels[body.distance(x, y, z) < 1] = 3
        return labels

    phantom = build(tissues, draw, shape=shape, protocol=protocol, snr=snr, variation=0.05, field_of_view=300.0,
                    seed=int(rng.integers(1 << 31)))  # fmt: skip
    gain = np.exp(instability * rng.normal(size=phantom.acquisition.count)).astype(np.float32)
    phantom = replace(phantom, signal=phantom.signal * gain)
    axes = [(np.arange(n) + 0.5) / n * 2 - 1 for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    x, y = moved(x, y)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[body.distance(x, y, z) < 0.9 * np.exp(0.06 * rng.normal())] = 1
    labels[np.hypot((x + 0.52) / 0.20, (y + 0.05) / 0.32) < np.exp(0.06 * rng.normal())] = 2
    return phantom, labels


def _write(phantom: Phantom, labels: Array, folder: Path) -> None:
    series = series_of_phantom(phantom)
    folder.mkdir(parents=True)
    write_images(series.signal, series.geometry, folder / "dwi.nii.gz")
    (folder / "dwi.bval").write_text(" ".join(f"{b:g}" for b in series.acquisition.bvalues) + "\n", encoding="utf-8")
    write_volume(phantom.mask.astype(np.uint8), series.geometry, folder / "mask.nii.gz")
    write_labels(labels, LABELS, series.geometry, folder / "regions.seg.nrrd")
