"""One patient now and before, in words: one line for each lesion and map, and what to keep in mind.

    before, after = read_session("visit1"), read_session("visit2")
    for line in follow_up(before, after, load_reference("reference_cohort.json")).lines: print(line)

    liver metastasis: D 1.02 → 1.31 ·10⁻³ mm²/s, +28 % (95 % interval +14 to +43 %); limit of the reference cohort
    ±14 % (n = 22): changed
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from ..errors import InputError
from ..jobs.bidsresults import result_folder, tables_of
from ..physics.parameters import INFORMATION_MEANS, PARAMETERS
from .referencecohort import NETWORK, ReferenceCohort, changed_options, differences_of_method, prior_signature
from .roistatistics import unguarded
from .verdicts import LEVEL, NONE, Verdict, chance_of_any, corrected, verdict

KEYS = ("D", "f", "Dstar", "ADC")
MINUS, ARROW = "−", "→"


@dataclass(frozen=True)
class Session:
    """What was measured of one patient at one date.

    `values` region → map → value in the stored unit; `information` region → map → mean information [1], where known;
    `estimator`, `options`, `prior`, `bvalues` [s/mm²] as in the provenance of the fit; `statistic` of a region;
    `label` for people, such as a date, or ''; `errors` region → map → standard error of the value from noise and number
    of voxels alone, where known, in the stored unit.
    """

    values: Mapping[str, Mapping[str, float]]
    estimator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    prior: Mapping[str, Any] = field(default_factory=dict)
    bvalues: tuple[float, ...] = ()
    information: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    statistic: str = "median"
    label: str = ""
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One lesion and map: the verdict with its sentence."""

    region: str
    map: str
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class FollowUp:
    """Everything that can be said of a patient now and before.

    `lines` in the order of regions and maps; `warnings` sentences about the comparison; `left_out` maps and regions
    without a line, each with its reason; `comparisons` made.
    """

    lines: tuple[Line, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]
    comparisons: int

    def text(self) -> str:
        """Write everything as plain text for a report or the clipboard."""
        parts = [line.text for line in self.lines]
        parts += [f"Not compared: {reason}" for reason in self.left_out]
        parts += [f"Note: {sentence}" for sentence in self.warnings]
        return "\n".join([*parts, "Research use only, not a medical device."])


def session_of(
    rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any], statistic: str = "median", label: str = ""
) -> Session:
    """Build a session from rows of `roistatistics.region_statistics` of one estimator and the provenance of its fit."""
    values: dict[str, dict[str, float]] = {}
    information: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["map"] in KEYS:
            values.setdefault(row["region"], {})[row["map"]] = _number(row[statistic])
            share = _number(row.get("information"))
            if np.isfinite(share):
                information.setdefault(row["region"], {})[row["map"]] = share
    return Session(
        values, str(provenance.get("estimator", "")), provenance.get("options", {}), prior_of(provenance),
        tuple(float(b) for b in provenance.get("bvalues_used", ())), information, statistic, label,
    )  # fmt: skip


def prior_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return kind and checksum of the prior of a fit, and whether it came from a file; empty without a prior.

    What a network was trained on is its prior: kind NETWORK and the checksum of its weights.
    """
    model = provenance.get("model")
    if isinstance(model, Mapping) and model.get("sha256"):
        return {"kind": NETWORK, "from_file": True, "checksum": str(model["sha256"])}
    prior = provenance.get("prior") or {}
    if not isinstance(prior, Mapping) or "kind" not in prior:
        return {}
    found = {"kind": str(prior["kind"]), "from_file": provenance.get("options", {}).get("prior") == "file"}
    if "checksum" in prior:
        found["checksum"] = str(prior["checksum"])
    return found


def read_session(folder: Path | str, label: str = "", statistic: str = "median") -> Session:
    """Read what `ivim map` wrote for one estimator: roi_statistics.csv and provenance.json.

    `folder` may be a session of BIDS derivatives, too, or the table of one estimator there (`*_stats.tsv`).
    Raises InputError where the folder holds no such result.
    """
    with result_folder(folder, images=False) as place:
        return _read_session(Path(folder), place, label, statistic)


def _read_session(named: Path, folder: Path, label: str, statistic: str) -> Session:
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        with open(folder / "roi_statistics.csv", encoding="utf-8", newline="") as stream:
            rows = [{key: unguarded(text or "") for key, text in row.items()} for row in csv.DictReader(stream)]
        return session_of(rows, provenance, statistic, label)
    except (OSError, ValueError, KeyError, AttributeError) as fault:
        inside = sorted(path.parent.name for path in folder.glob("*/provenance.json"))
        kind = "folders"
        if folder != named:
            inside, kind = tables_of(named), "tables"
        choice = f"give one of its {kind}: {', '.join(inside)}" if inside else (
            "give a folder with provenance.json and roi_statistics.csv, from 'ivim map' or 'ivim cohort' with regions"
        )
        raise InputError(f"{named} holds no result of one estimator ({type(fault).__name__}); {choice}.") from None


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


def follow_up(
    before: Session, after: Session, reference: ReferenceCohort | None, keys: Sequence[str] = (),
    region_of: Mapping[str, str] | None = None, holm: bool = False, few: bool = False, level: float = LEVEL,
) -> FollowUp:
    """Compare two sessions of one patient, region by region of the same name.

    Arguments: `reference` cohort whose limits decide, None for changes without a verdict; `keys` maps to compare, by
    default D and f, ADC where there is one, and D* where both sessions say that it was measured; `region_of` names the
    region of the cohort that a lesion is judged by, where their names differ; `holm` corrects for the number of
    comparisons; `few` allows verdicts from fewer than ten subjects.
    """
    warnings, left_out = _method_warnings(before, after, reference), []
    shared = [name for name in after.values if name in before.values]
    for name in [*after.values, *before.values]:
        if name not in shared:
            where = "this time" if name in after.values else "before"
            left_out.append(f"the region '{name}' exists only {where}.")
    found: list[tuple[str, str, Verdict, Any]] = []
    borrowed: set[str] = set()
    for region in shared:
        for key in keys or KEYS:
            old, new = before.values[region].get(key), after.values[region].get(key)
            if old is None or new is None:
                continue
            if not keys and key == "Dstar" and not (reason := _measured(before, after, region))[0]:
                left_out.append(f"D* of '{region}', {reason[1]}")
                continue
            entry = None
            if reference is not None:
                wanted = (region_of or {}).get(region, region)
                entry = reference.entry(key, wanted) or reference.entry(key)
                if entry is not None and entry.region.casefold() != region.casefold():
                    borrowed.add(f"'{region}': judged by the limits of '{entry.region}'.")
                if entry is not None and not all(entry.holds(value) for value in (old, new) if np.isfinite(value)):
                    shown = PARAMETERS[key]
                    warnings.append(
                        f"{shown.symbol} of '{region}' lies outside the values of the reference cohort "
                        f"({shown.format(entry.low)} to {shown.format(entry.high)}): its limit may not hold there."
                    )
            error = float(np.hypot(*(session.errors.get(region, {}).get(key, np.nan) for session in (before, after))))
            found.append((region, key, _judged(old, new, entry, reference, few, level, error), entry))
    verdicts = [item for _, _, item, _ in found]
    tested = sum(bool(np.isfinite(item.p)) for item in verdicts)
    if holm:
        verdicts = corrected(verdicts, level)
    elif tested > 1:
        warnings.append(
            f"{tested} comparisons at {100 * (1 - level):.0f} % each: at least one false 'changed' has a chance of up "
            f"to {100 * chance_of_any(tested, level):.0f} %; Holm's correction takes that back."
        )
    warnings += dict.fromkeys(item.reason for item in verdicts if item.reason and item.word != NONE)
    lines = [
        Line(region, key, item, f"{region}: {sentence(key, item, entry.subjects if entry else 0, level)}")
        for (region, key, _, entry), item in zip(found, verdicts, strict=True)
    ]
    return FollowUp(tuple(lines), tuple([*warnings, *sorted(borrowed)]), tuple(left_out), tested)


def _judged(
    old: float, new: float, entry: Any, reference: ReferenceCohort | None, few: bool, level: float, error: float
) -> Verdict:
    """Judge one change; without a limit only its interval from `error`, the standard error of the change, is known."""
    if entry is not None:
        return verdict(old, new, entry.spread, level, few)
    reason = "The reference cohort does not know this map and region."
    if reference is None:
        reason = "No limit is known, because no reference cohort was chosen."
    relative = new / old - 1 if old > 0 else np.nan
    half = scipy.stats.norm.ppf((1 + level) / 2) * error
    return Verdict(old, new, new - old, relative, new - old - half, new - old + half, *[np.nan] * 3, NONE, reason)


def _measured(before: Session, after: Session, region: str) -> tuple[bool, str]:
    shares = [session.information.get(region, {}).get("Dstar") for session in (before, after)]
    if None in shares:
        return False, f"because '{after.estimator}' does not say what the signal told about it; ask for it by name."
    lowest = min(shares)
    if lowest < INFORMATION_MEANS:
        return False, f"because the signal told too little about it (information {lowest:.2f}); ask for it by name."
    return True, ""


def _method_warnings(before: Session, after: Session, reference: ReferenceCohort | None) -> list[str]:
    said = []
    if before.estimator != after.estimator:
        said.append(
            f"The sessions were fitted by different estimators ('{before.estimator}', '{after.estimator}'): their "
            "difference is a difference of methods too."
        )
    elif changed := changed_options(before.options, after.options):
        said.append(f"The sessions were fitted with different options ({changed}).")
    if prior_signature(before.prior) != prior_signature(after.prior):
        if NETWORK in (before.prior.get("kind"), after.prior.get("kind")) and before.estimator == after.estimator:
            said.append("The sessions were fitted by different trainings of the network; fit both with the same one.")
        else:
            said.append("The sessions were fitted with different priors; fit both with the same one.")
    if sorted(before.bvalues) != sorted(after.bvalues):
        said.append("The sessions have different b-values: a change may be a change of protocol.")
    if reference is not None:
        for session, when in ((before, "Before"), (after, "Now")):
            for difference in differences_of_method(
                reference, session.estimator, session.options, session.prior, session.bvalues, session.statistic
            ):
                if not any(difference in earlier for earlier in said):
                    said.append(f"{when}: {difference}")
    return said


def sentence(key: str, found: Verdict, subjects: int, level: float = LEVEL) -> str:
    """Write one verdict in words, without the region."""
    shown = PARAMETERS[key]
    factor, unit = shown.display_factor, shown.display_unit
    old, new = (_value(x * factor) for x in (found.before, found.after))
    separator = "" if unit == "%" else "·" if unit.startswith("10") else ""
    text = f"{shown.symbol} {old} {ARROW} {new} {separator}{unit}"
    percent = np.isfinite(found.relative)
    if np.isfinite(found.change):
        text += f", {_signed(found.relative)}" if percent else f", change {found.change * factor:+.3g} {unit}"
    if not np.isfinite(found.limit_low):
        if np.isfinite(found.low):
            text += f" ({level:.0%} interval ".replace("%", " %")
            text += _range(*found.relative_interval) if percent else f"{found.low * factor:+.3g} to " + (
                f"{found.high * factor:+.3g} {unit}"
            )
            text += " from the noise of the fit alone, without repositioning and physiology)"
        return f"{text}: {NONE}. {found.reason}".rstrip()
    if percent:
        ends, limits = found.relative_interval, found.relative_limits
        text += f" ({level:.0%} interval ".replace("%", " %") + f"{_range(*ends)})"
        text += f"; limit of the reference cohort {_limit(*limits)} (n = {subjects})"
    else:
        text += f"; limit of the reference cohort {found.limit_low * factor:+.3g} to {found.limit_high * factor:+.3g}"
        text += f" {unit} (n = {subjects})"
    if found.word == NONE:
        return f"{text}: {NONE}. {found.reason}"
    if np.isfinite(found.p_holm) and found.comparisons > 1:
        # Without these words a line could say "within chance" beside an interval that leaves zero out.
        return f"{text}: {found.word} (p = {found.p_holm:.2g} corrected for {found.comparisons} comparisons)"
    return f"{text}: {found.word}"


def _value(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if np.isfinite(value) else "–"


def _percent(share: float) -> str:
    return f"{abs(100 * share):.0f}" if abs(share) >= 0.0095 else f"{abs(100 * share):.1f}"


def _sign(share: float) -> str:
    return MINUS if share < 0 else "+"


def _signed(share: float) -> str:
    return f"{_sign(share)}{_percent(share)} %"


def _range(low: float, high: float) -> str:
    return f"{_sign(low)}{_percent(low)} to {_sign(high)}{_percent(high)} %"


def _limit(low: float, high: float) -> str:
    if _percent(low) == _percent(high):
        return f"±{_percent(high)} %"
    return f"{MINUS}{_percent(low)}/+{_percent(high)} %"


