"""Which of the images in a DICOM folder are the series: what is dropped, what is joined, when the user must choose.

In this order:

1. `series` restricts everything to one series number or description. Several numbers ("17,18,19") are joined because
   the user says so, whatever rules 4 to 6 say, if only they have the same grid.
2. Maps and images computed by the scanner (ADC, FA, calculated b-values, the trace image that Philips appends) and
   phase images are left out.
3. Images of two patients are refused.
4. Scanner-made trace images are left out where the images that they were made of are there as well, on the same
   grid and with the same b-values; otherwise they are the series.
5. What has the same study, grid, echo time and phase-encoding direction belongs together and is joined in the order
   of the series numbers, unless two of the series share two or more b-values: these are repetitions of a
   measurement, to be compared and not to be mixed, and the user chooses. The echo time counts because another one
   scales the signal by T2, differently in each tissue, which a fit would take for diffusion.
6. Where several groups remain, the only one with several b-values is taken; otherwise the user chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ChoiceNeeded, InputError
from ..physics.acquisition import group_bvalues
from .series import Geometry

Array = np.ndarray
MADE_BY_SCANNER = {
    "ADC", "EADC", "EXP", "FA", "COLFA", "TENSOR", "TENSOR_B0", "TTEST", "CALC_BVALUE", "COMPUTED_BVALUE", "SYNTHETIC",
}
NOT_MAGNITUDE = {"PHASE", "REAL", "IMAGINARY", "PHASE MAP"}
LARGEST_LIST = 12


@dataclass(eq=False)
class Converted:
    """One image that dcm2niix wrote: where, of which series, and what is known of it.

    `role`: "dwi", "trace" (made by the scanner), "map" (computed by the scanner), "other". `patient`, `study` and
    `uid` are compared with each other only and never shown.
    """

    path: Path
    number: int
    description: str
    geometry: Geometry
    count: int
    bvalues: Array | None
    source: str
    role: str
    patient: str
    study: str
    uid: str
    echo_time: float | None
    phase: str

    @property
    def distinct(self) -> Array:
        """Distinct b-values, ascending [s/mm²]."""
        return np.zeros(0) if self.bvalues is None else group_bvalues(self.bvalues)[0]

    def describe(self) -> str:
        """Write the series for a person: "series 8 'ep2d_diff' (4 images, b 0 100 400 800, TE 60 ms)"."""
        if self.bvalues is None:
            kind = "no b-values"
        else:
            shown = [f"{b:.4g}" for b in self.distinct]
            kind = "b " + " ".join(shown[:LARGEST_LIST] + (["..."] if len(shown) > LARGEST_LIST else []))
        images = "1 image" if self.count == 1 else f"{self.count} images"
        echo = "" if self.echo_time is None else f", TE {self.echo_time * 1000:.4g} ms"
        return f"series {self.number} '{self.description}' ({images}, {kind}{echo})"


def role_of(path: Path, sidecar: dict[str, Any]) -> str:
    """Tell the role of an image by its name and sidecar; "dwi" still has to be proved by b-values."""
    words = {
        str(word).upper() for key in ("ImageType", "ImageTypeText") if isinstance(sidecar.get(key), list)
        for word in sidecar[key]
    }
    endings = set(path.stem.lower().split("_")[1:])
    if "adc" in endings or words & MADE_BY_SCANNER:
        return "map"
    if endings & {"ph", "real", "imaginary"} or words & NOT_MAGNITUDE:
        return "other"
    return "trace" if "TRACEW" in words else "dwi"


def choose(images: list[Converted], series: int | str | None, user_gives_b: bool) -> tuple[list[Converted], list[str]]:
    """Choose the images that make up the series; the rules are those of this file.

    Arguments: `images` as converted; `series` number or description; `user_gives_b` whether b-values come from the
    user, so that an image without them may be chosen. Returns the chosen images and the sentences of what was decided.
    """
    decisions: list[str] = []
    user_joins = series is not None and len(_series_numbers(series)) > 1
    if series is not None:
        images = _selected(images, series)
        names = dict.fromkeys(f"{image.number} '{image.description}'" for image in images)
        decisions.append(f"Chosen by the user: series {', '.join(names)}.")
    usable = [image for image in images if image.role in ("dwi", "trace")]
    if not usable and user_gives_b:
        usable = [image for image in images if image.role == "other" and image.count > 1]
    patients = {image.patient for image in (usable or images)}
    if len(patients) > 1:
        raise InputError(
            f"The input holds images of {len(patients)} patients: {_listed(usable)}; "
            "give the folder of one patient, or choose a series with --series NUMBER."
        )
    if not usable:
        raise InputError(
            f"There is no diffusion-weighted series in the input; found {_listed(images)}; give another folder, "
            "or choose a series with --series NUMBER and give its b-values with --bval FILE."
        )
    # dcm2niix interpolates a series of uneven slices to equal distances and says so in the name.
    used = {image.uid for image in usable}
    uneven = [image for image in images if "_Eq" in image.path.stem and image.uid in used]
    if uneven:
        raise InputError(f"The slice distance of series {uneven[0].number} varies: slices are missing; export again.")
    decisions += _left_out(images, usable)
    chosen = _joined_by_user(usable) if user_joins else _belonging(usable, decisions)
    if sum(image.count for image in chosen) == 1:
        raise InputError(
            f"The input holds a single diffusion image: {_listed(chosen)}; "
            "give the folder that contains the images of all b-values."
        )
    if all(image.role == "trace" for image in chosen):
        decisions.append("The images are trace images made by the scanner: their directions are already averaged.")
    return chosen, decisions


def _joined_by_user(usable: list[Converted]) -> list[Converted]:
    for image in usable[1:]:
        if not usable[0].geometry.matches(image.geometry):
            raise InputError(
                f"Series {usable[0].number} ({usable[0].geometry.describe()}) and {image.number} "
                f"({image.geometry.describe()}) have different grids and cannot be joined; choose one of them."
            )
    return usable


def _belonging(usable: list[Converted], decisions: list[str]) -> list[Converted]:
    """Find the one measurement among the diffusion images by rules 4 to 6; sentences are added to `decisions`."""
    usable = _without_derived_traces(usable, decisions)
    groups: list[list[Converted]] = []
    for image in usable:
        group = next((group for group in groups if _belong_together(group[0], image)), None)
        groups.append([image]) if group is None else group.append(image)
    if len(groups) > 1:
        rich = [group for group in groups if len(_distinct(group)) > 1]
        if len(rich) != 1:
            ways = _ways(rich or groups)
            raise ChoiceNeeded(
                f"The input holds diffusion series that do not belong together (different {_differences(usable)}): "
                f"{_listed(usable)}; choose with {' or '.join(f'--series {numbers}' for numbers, _ in ways)}.", ways
            )
        others = [image for image in usable if image not in rich[0]]
        decisions.append(f"Left out, because of a different {_differences(usable)}: {_listed(others)}.")
        groups = rich
    for one, other in combinations(groups[0], 2):
        if len(_shared(one, other)) > 1:
            raise ChoiceNeeded(
                f"The input holds repeated diffusion series: {_listed(groups[0])}; choose one with --series NUMBER.",
                _ways([[image] for image in groups[0]]),
            )
    return groups[0]


def _ways(groups: list[list[Converted]]) -> tuple[tuple[str, str], ...]:
    """Return what to give as `series` for each group, and what that is."""
    return tuple(
        (",".join(dict.fromkeys(str(image.number) for image in group)), _listed(group)) for group in groups
    )


def _differences(images: list[Converted]) -> str:
    """Name what differs among series: 'grid, echo time'."""
    first, names = images[0], []
    if any(image.study != first.study for image in images):
        names.append("study")
    if any(not first.geometry.matches(image.geometry) for image in images):
        names.append("grid")
    if len({image.echo_time for image in images}) > 1:
        names.append("echo time")
    if len({image.phase for image in images}) > 1:
        names.append("phase-encoding direction")
    return ", ".join(names)


def join_sentences(chosen: list[Converted], volumes: list[Array]) -> list[str]:
    """Say that series were joined, and compare the signal where two of them hold the same b-value.

    Arguments: `volumes` arrays (x, y, z, n) of the chosen images. Series of separate scans may be scaled differently
    by the scanner, which a fit would take for diffusion.
    """
    if len(chosen) < 2:
        return []
    sentences = [f"{len(chosen)} series on the same grid are joined: {_listed(chosen)}."]
    if len({image.echo_time for image in chosen}) > 1:
        sentences.append("Their echo times differ, so that their signals also differ by T2, which biases a fit.")
    first, *rest = range(len(chosen))
    for other in rest:
        for b in _shared(chosen[first], chosen[other])[:1]:
            means = [
                float(np.mean([volumes[i][..., k].mean() for k in _images_at(chosen[i], b)])) for i in (first, other)
            ]
            if means[0] > 0:
                ratio = means[1] / means[0]
                remark = "" if 0.9 <= ratio <= 1.1 else "; their scaling differs, so that joining them is doubtful"
                sentences.append(
                    f"At b = {b:g} s/mm² the mean signal of series {chosen[other].number} is {ratio:.2f} times that of "
                    f"series {chosen[first].number}{remark}."
                )
    return sentences


def _images_at(image: Converted, b: float) -> Array:
    return np.flatnonzero(np.abs(image.bvalues - b) <= 1.0 + 0.01 * b)


def _series_numbers(series: int | str) -> list[int]:
    """Return the numbers of '8' or '17,18,19'; an empty list for a description."""
    words = [word for word in str(series).replace(",", " ").split() if word]
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else []


def _selected(images: list[Converted], series: int | str) -> list[Converted]:
    wanted, numbers = str(series).strip().lower(), _series_numbers(series)
    found = [image for image in images if image.number in numbers]
    missing = [number for number in numbers if number not in {image.number for image in images}]
    if not numbers and wanted:
        found = [image for image in images if image.description.lower() == wanted] or [
            image for image in images if wanted in image.description.lower()
        ]
    if not found or missing:
        name = missing[0] if missing else series
        raise InputError(f"There is no series '{name}' in the input; found {_listed(images)}.")
    return found


def _left_out(images: list[Converted], usable: list[Converted]) -> list[str]:
    """Say which images do not take part: one sentence for those made by the scanner, one for those without b."""
    sentences = []
    for image in images:
        if image.role != "map":
            continue
        sibling = next((one for one in usable if one.uid == image.uid), None)
        # dcm2niix repeats the whole series under the name _ADC when it takes computed images out of it.
        number = image.count - sibling.count if sibling is not None and image.count > sibling.count else image.count
        what = "1 trace or ADC image" if number == 1 else f"{number} trace, ADC or other computed images"
        sentences.append(f"{what} made by the scanner left out of series {image.number} '{image.description}'.")
    others = [image for image in images if image.role == "other" and image not in usable]
    if others:
        sentences.append(f"Left out, because not diffusion-weighted magnitude images: {_listed(others)}.")
    return sentences


def _without_derived_traces(usable: list[Converted], decisions: list[str]) -> list[Converted]:
    """Leave out trace images whose b-values are all there as original images of the same study and grid."""
    kept = []
    for image in usable:
        originals = [one for one in usable if one.role == "dwi" and _belong_together(one, image)]
        known = _distinct(originals) if originals else np.zeros(0)
        weighted = image.distinct[image.distinct > 0]
        if image.role == "trace" and known.size and all(np.abs(known - b).min() <= 1 + 0.01 * b for b in weighted):
            text = f"Trace images made by the scanner left out, their originals are used: {image.describe()}."
            decisions.append(text)
        else:
            kept.append(image)
    return kept


def _belong_together(one: Converted, other: Converted) -> bool:
    same_echo = one.echo_time is None or other.echo_time is None or abs(one.echo_time - other.echo_time) < 5e-4
    same_phase = not one.phase or not other.phase or one.phase == other.phase
    return one.study == other.study and same_echo and same_phase and one.geometry.matches(other.geometry)


def _distinct(images: list[Converted]) -> Array:
    known = [image.bvalues for image in images if image.bvalues is not None]
    return group_bvalues(np.concatenate(known))[0] if known else np.zeros(0)


def _shared(one: Converted, other: Converted) -> list[float]:
    return [float(b) for b in one.distinct if other.distinct.size and np.abs(other.distinct - b).min() <= 1 + 0.01 * b]


def _listed(images: list[Converted]) -> str:
    shown = [image.describe() for image in images[:LARGEST_LIST]]
    if len(images) > LARGEST_LIST:
        shown.append(f"and {len(images) - LARGEST_LIST} more")
    return "; ".join(shown) or "no image"
