"""How long a job will take, before it begins.

    seconds = START + sum over estimators of ( fixed + voxels * (base + slope * images) / gain(threads) )

`fixed`, `base` and `slope` were measured for each estimator and each option that changes its time, on one core and on
the digital abdomen at SNR 40; `gain` is Amdahl's law with the share of the work that threads do not divide. Images of
equal b are averaged before a fit, so that a series with repeats takes less than this says. Another machine may be
twice as fast or slow: what an earlier run there took (`measured`) counts more.

    python -m ivimcore.jobs.expectedtime

measures everything again and prints the table below, to be pasted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..estimators import create, describe
from .job import Request

START = 0.6
"""Start of the process, reading the series and writing the maps, the fit of a few voxels included [s]."""
SERIAL = 0.4
"""Share of the work that threads do not divide: two of them are 1.4 times as fast as one, measured with `posterior`
(1.0 to 1.5 with the others)."""
ENOUGH_VOXELS = 2000
"""Voxels from which a run tells a rate: below, its fixed part would count as one."""


@dataclass(frozen=True)
class Rate:
    """What one estimator takes with some options: `fixed` [s], `base` and `slope` per image [µs a voxel, one core]."""

    name: str
    options: Mapping[str, Any]
    fixed: float
    base: float
    slope: float

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the options of an estimator are those of this rate, as far as this rate names them."""
        return all(values.get(key) == value for key, value in self.options.items())


RATES: tuple[Rate, ...] = (  # measured 2026-11-20 on one core of an AMD EPYC
    Rate("posterior", {"prior": "learned_local"}, 0.16, 46.93, 1.235),
    Rate("posterior", {"prior": "learned_local", "window": "5x5"}, 0.11, 51.62, 1.632),
    Rate("posterior", {"prior": "learned"}, 0.23, 15.28, 1.314),
    Rate("posterior", {"prior": "log_uniform"}, 0.05, 6.24, 1.414),
    Rate("posterior", {"prior": "uniform"}, 0.04, 11.18, 0.725),
    Rate("posterior", {"prior": "organ"}, 0.04, 8.13, 1.372),
    Rate("posterior", {"prior": "learned_local", "point": "mode"}, 0.02, 62.24, 1.051),
    Rate("posterior", {"prior": "log_uniform", "point": "mode"}, 0.04, 18.5, 1.034),
    Rate("nlls", {}, 0.0, 1.38, 0.12),
    Rate("nlls", {"errors": "profile"}, 0.1, 32.15, 1.975),
    Rate("mle_rician", {}, 0.09, 0.0, 1.025),
    Rate("mle_rician", {"errors": "profile"}, 0.16, 29.87, 4.93),
    Rate("bayes_map", {}, 0.04, 4.28, 0.191),
    Rate("bayes_map", {"recipe": "robust"}, 0.08, 5.74, 0.383),
    Rate("bayes_mrf", {}, 0.09, 27.4, 3.474),
    Rate("bayes_mrf", {"neighbourhood": "3d"}, 0.1, 29.34, 5.284),
    Rate("segmented", {}, 0.0, 0.36, 0.034),
    Rate("segmented", {"fit_f": True}, 0.01, 0.28, 0.147),
    Rate("adc", {}, 0.0, 0.04, 0.016),
)

NETWORK_START = 3.0
"""Time [s] in which the process loads torch and the weights."""
NETWORK_VOXEL = {
    "mlp": 1.0, "cnn_bilstm": 60.0, "anyprotocol": 2.5, "conv3": 3.0, "attention": 30.0, "natten": 20.0, "unet": 6.0,
    "uresnet": 6.0, "uattennet": 6.0, "anyprotocol_spatial": 25.0,
}  # fmt: skip
"""Time a voxel takes on one core [µs], by architecture of the network."""
VOXELWISE = ("mlp", "cnn_bilstm")
"""Architectures through which the noise of each image is carried on its own, for an ensemble."""


def rate_key(name: str, options: Mapping[str, Any] | None = None) -> str:
    """Name the rate that an estimator with its options has, to remember it: 'posterior prior=learned'."""
    rate = _rate(name, options)
    return " ".join([name, *(f"{key}={value}" for key, value in rate.options.items())])


def rate_of(name: str, options: Mapping[str, Any] | None = None, images: int = 12) -> float:
    """Return the time that an estimator with these options takes a voxel on one core [µs].

    Raises InputError for an unknown estimator or a wrong option.
    """
    rate = _rate(name, options)
    return rate.base + rate.slope * images


def rate_measured(provenance: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return what a finished run tells about the next: its `rate_key` and the time a voxel took [µs, all cores].

    Arguments: `provenance` of its result. None where the region was too small to tell.
    """
    voxels = provenance.get("voxels", 0)
    if voxels < ENOUGH_VOXELS:
        return None
    options = {key: value for key, value in provenance["options"].items() if key != "prior_file"}
    return rate_key(provenance["estimator"], options), provenance["fit_seconds"] / voxels * 1e6


def expected_seconds(
    requests: Sequence[Request], voxels: int, images: int, threads: int | None = None,
    measured: Mapping[str, float] | None = None,
) -> float:
    """Say how long a job will take from its start to the maps [s].

    Arguments: `requests` estimators with options; `voxels` of the region; `images` used; `threads` cores, None for all;
    `measured` what runs on this machine took [µs a voxel, all cores], by `rate_key` or by the name of the estimator.
    Raises InputError for an unknown estimator or a wrong option.
    """
    measured = measured or {}
    seconds = START
    for request in requests:
        key = rate_key(request.name, request.options)
        known = measured.get(key, measured.get(request.name))
        if known is not None:
            seconds += voxels * known / 1e6
            continue
        rate = _rate(request.name, request.options)
        seconds += rate.fixed + voxels * (rate.base + rate.slope * images) / 1e6 / gain(threads)
    return seconds


def gain(threads: int | None = None) -> float:
    """Say how many times faster some threads are than one; None takes all cores."""
    count = max(1, threads or os.cpu_count() or 1)
    return 1 / (SERIAL + (1 - SERIAL) / count)


def words(seconds: float) -> str:
    """Write a time for a person, no more exact than it is: 'about 4 s', 'about 3 min'."""
    if seconds < 10:
        return f"about {max(1, round(seconds))} s"
    if seconds < 55:
        return f"about {5 * round(seconds / 5)} s"
    if seconds < 3600:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3600:.1f} h"


def _rate(name: str, options: Mapping[str, Any] | None) -> Rate:
    """Find the rate that names most of the options; one of which nothing is known is as slow as the slowest."""
    values = create(name, **dict(options or {})).values()
    if values.get("prior") == "file":  # costs what the prior of an organ does
        values["prior"] = "organ"
    fitting = [rate for rate in RATES if rate.name == name and rate.matches(values)]
    if fitting:
        return max(fitting, key=lambda rate: len(rate.options))
    card = describe(name).card
    if card is not None:
        return _of_network(name, card, bool(values.get("ensemble")))
    slowest = max(RATES, key=lambda rate: rate.base + 12 * rate.slope)
    return Rate(name, {}, slowest.fixed, slowest.base, slowest.slope)


def _of_network(name: str, card: Mapping[str, Any], ensemble: bool) -> Rate:
    """Return the rate of a trained network from its architecture; an ensemble runs every member, twice per image more
    where the noise is carried through a network that does not give its own uncertainty."""
    kind = card["architecture"]["kind"]
    voxel = NETWORK_VOXEL[kind] * (int(card["members"]) if ensemble else 1)
    slope = 2 * voxel if ensemble and kind in VOXELWISE else 0.0
    return Rate(name, {"ensemble": True} if ensemble else {}, NETWORK_START, voxel, slope)


# --- measuring ------------------------------------------------------------------------------------------------------

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("posterior", {"prior": "learned_local"}),
    ("posterior", {"prior": "learned_local", "window": "5x5"}),
    ("posterior", {"prior": "learned"}),
    ("posterior", {"prior": "log_uniform"}),
    ("posterior", {"prior": "uniform"}),
    ("posterior", {"prior": "organ", "organ": "liver"}),
    ("posterior", {"prior": "learned_local", "point": "mode"}),
    ("posterior", {"prior": "log_uniform", "point": "mode"}),
    ("nlls", {}),
    ("nlls", {"errors": "profile"}),
    ("mle_rician", {}),
    ("mle_rician", {"errors": "profile"}),
    ("bayes_map", {}),
    ("bayes_map", {"recipe": "robust"}),
    ("bayes_mrf", {}),
    ("bayes_mrf", {"neighbourhood": "3d"}),
    ("segmented", {}),
    ("segmented", {"fit_f": True}),
    ("adc", {}),
)
SMALL, LARGE = 3, 9
"""Slices of the phantoms between which the fixed part shows."""
FEW, MANY = 8, 16
"""Images between which the part per image shows."""


def measure(say: Any = print, repeats: int = 2) -> tuple[Rate, ...]:
    """Measure every rate on this machine and on one core; `say` gets a line for each, as the table has it."""
    from ..physics.acquisition import Acquisition
    from ..physics.phantom import abdomen

    many = (*range(0, 80, 10), 100, 150, 200, 300, 400, 500, 600, 700)
    lists = {FEW: (0, 10, 30, 60, 100, 200, 400, 700), MANY: many}
    phantoms = {
        (slices, images): abdomen(shape=(96, 96, slices), snr=40, protocol=Acquisition(lists[images]))
        for slices, images in ((SMALL, FEW), (LARGE, FEW), (LARGE, MANY))
    }
    found = []
    for name, options in VARIANTS:
        estimator = create(name, **options)
        seconds = {}
        for key, phantom in phantoms.items():
            times = []
            for _ in range(repeats):
                began = time.perf_counter()
                estimator.fit(phantom.signal, phantom.acquisition, phantom.mask, threads=1)
                times.append(time.perf_counter() - began)
            seconds[key] = min(times)
        count = {key: int(phantom.mask.sum()) for key, phantom in phantoms.items()}
        few = (seconds[LARGE, FEW] - seconds[SMALL, FEW]) / (count[LARGE, FEW] - count[SMALL, FEW])
        fixed = max(0.0, seconds[SMALL, FEW] - few * count[SMALL, FEW])
        many = (seconds[LARGE, MANY] - fixed) / count[LARGE, MANY]
        slope = max(0.0, (many - few) / (MANY - FEW))
        if few < slope * FEW:  # steeper than in proportion, as near a noise floor
            slope = many / MANY
        shown = {key: value for key, value in options.items() if key != "organ"}
        rate = Rate(name, shown, round(fixed, 2), round(1e6 * max(0.0, few - slope * FEW), 2), round(1e6 * slope, 3))
        say(f'    Rate("{name}", {repr(shown).replace(chr(39), chr(34))}, {rate.fixed}, {rate.base}, {rate.slope}),')
        found.append(rate)
    return tuple(found)


def main() -> None:
    """Measure and print the table, and how much faster two threads are."""
    print(f"RATES: tuple[Rate, ...] = (  # measured {time.strftime('%Y-%m-%d')}")
    measure(lambda line: print(line, flush=True))
    print(")")


if __name__ == "__main__":
    sys.exit(main())
