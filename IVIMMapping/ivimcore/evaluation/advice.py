"""The numbers of the page 'Which estimator should I use?': measured by the benchmarks, written between the words.

    python -m ivimcore.evaluation.advice Resources/Documentation/which-estimator.md

rewrites everything between the marks `<!-- table NAME -->` and `<!-- end -->`; the words around them stay.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..physics.acquisition import Acquisition
from ..physics.phantom import abdomen, brain
from ..wholefile import whole_file
from . import coverage, lesion
from .benchmarks import run_benchmark
from .metrics import mdape
from .requests import every_request, make

Rows = Sequence[Mapping[str, Any]]
KEYS = ("D", "f", "Dstar")
ORGANS = ("liver", "spleen", "kidney cortex", "pancreas", "liver metastasis", "white matter", "grey matter", "tumour")
SIMULATED = (("paper1", 8.0), ("paper1", 20.0), ("paper1", 50.0), ("brain", 30.0), ("brain", 100.0))
KEEPS, FALSE = 0.80, 0.05
"""A lesion counts as kept from this share of its contrast, with at most this share of false positives."""


def measure(requests: Iterable[str | tuple[str, Any]], voxels: int = 4000, maps: int = lesion.MAPS) -> dict[str, Rows]:
    """Run everything that the page shows.

    Arguments: `requests` as in `requests.make`; `voxels` of each simulation; `maps` of the lesion benchmark.
    Returns: rows by the name of the table: errors, organs, lesion, coverage.
    """
    requests = list(requests)
    errors: list[Mapping[str, Any]] = []
    for name, snr in SIMULATED:
        errors += run_benchmark(name, requests, [snr], voxels)
    return {
        "errors": errors,
        "organs": organ_rows(requests),
        "lesion": lesion.run(requests, maps=maps),
        "coverage": coverage.run(requests, voxels=voxels),
    }


def organ_rows(
    requests: Iterable[str | tuple[str, Any]], snrs: Sequence[float] = (20.0, 40.0),
    shape: tuple[int, int, int] = (80, 80, 6),
) -> list[dict[str, Any]]:
    """Measure the median error in the organs of the digital abdomen and brain.

    Arguments: `requests`; `snrs` S0 / sigma of the reference tissue [1]; `shape` of the phantoms.
    Returns: rows with estimator, snr, organ, voxels, and mdape of D, f, Dstar [%].
    """
    rows = []
    fits = [make(request) for request in requests]
    for snr in snrs:
        for phantom in (abdomen(shape=shape, snr=snr), brain(shape=shape, snr=snr)):
            acquisition = Acquisition(phantom.acquisition.bvalues, sigma=phantom.sigma)
            for label, estimator in fits:
                fit = estimator.fit(phantom.signal, acquisition, phantom.mask)
                for number, organ in phantom.names.items():
                    inside = phantom.labels == number
                    if organ in ORGANS:
                        rows.append({
                            "estimator": label, "snr": snr, "organ": organ, "voxels": int(inside.sum()),
                            **{key: mdape(fit.maps[key][inside], phantom.truth[key][inside]) for key in KEYS},
                        })
    return rows


def tables(found: Mapping[str, Rows]) -> dict[str, str]:
    """Write the rows of `measure` as tables in Markdown, by their name on the page."""
    return {
        "answers": _table(("question", "measured answer", "how it was chosen"), _answers(found)),
        "errors": _pivot(
            found["errors"], lambda row: f"{row['benchmark']}, SNR {row['snr']:g}",
            lambda three: f"{_triple(three, 'nrmse', 2)}; {_triple(three, 'mdape', 0)} %",
        ),
        "organs": _organs(found["organs"]),
        "lesion": _lesion(found["lesion"]),
        "coverage": _pivot(
            [row for row in found["coverage"] if row["kind"] in ("standard deviation", "none")
             and not abs(row["level"] - 0.9) > 1e-6],
            lambda row: f"{row['benchmark']}, SNR {row['snr']:g}",
            lambda three: f"{_triple(three, 'covered', 0, 100)} %",
        ),
        "time": _table(("estimator", "µs per voxel"), [
            (label, _number(_time(found["lesion"], label), 0)) for label in _labels(found["lesion"])
        ]),
    }


def fill(page: str | os.PathLike, contents: Mapping[str, str]) -> list[str]:
    """Write tables into a page, each between its marks.

    Arguments: `page` path of a Markdown file; `contents` table by name.
    Returns: names of the tables written. Raises InputError for a page that does not exist or has no marks.
    """
    page = Path(page)
    if not page.is_file():
        raise InputError(f"The page {page} does not exist; give the path of which-estimator.md.")
    written = []

    def replace(match: re.Match[str]) -> str:
        if match["name"] not in contents:
            return match[0]
        written.append(match["name"])
        return f"{match['begin']}\n\n{contents[match['name']]}\n\n{match['end']}"

    text = re.sub(
        r"(?P<begin><!-- table (?P<name>\w+) -->).*?(?P<end><!-- end -->)", replace, page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if not written:
        raise InputError(f"The page {page.name} has no marks such as '<!-- table errors -->'.")
    with whole_file(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
    return written


def _answers(found: Mapping[str, Rows]) -> list[tuple[str, str, str]]:
    """Choose the best estimator for every question, by a rule that is told."""
    low = _best(found["errors"], lambda row: row["snr"] <= 30 and row["parameter"] in ("D", "f"), "nrmse")
    high = _best(found["errors"], lambda row: row["snr"] >= 50 and row["parameter"] in ("D", "f"), "nrmse")
    star = _best(found["lesion"], lambda row: row["parameter"] == "Dstar", "mdape")
    kept = {row["estimator"] for row in found["lesion"] if row["snr"] == 40 and row["kept"] >= KEEPS
            and row["false_positives"] <= FALSE}
    small = _best([row for row in found["lesion"] if row["estimator"] in kept],
                  lambda row: row["snr"] == 40 and row["parameter"] == "f", "mdape")
    fast = min(_labels(found["lesion"]), default="-", key=lambda label: _time(found["lesion"], label))
    return [
        ("D and f at low SNR (up to 30)", low, "smallest mean NRMSE of D and f on voxels without neighbours"),
        ("D and f at high SNR (50 and more)", high, "the same at SNR 50 and 100"),
        ("D* in tissue with little perfusion", star,
         "smallest median error of D* [%] on the fractal maps, SNR 20 and 40"),
        ("a small lesion", small,
         f"smallest median error of f [%] among those that keep {100 * KEEPS:g} % of its contrast at SNR 40 with at "
         f"most {100 * FALSE:g} % false positives"),
        ("a quick look", f"`{fast}`", "shortest time"),
    ]


def _best(rows: Rows, chosen: Callable[[Mapping[str, Any]], bool], column: str) -> str:
    """Name the two labels with the smallest mean of a column over the chosen rows, all of which they must have."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if chosen(row):
            values.setdefault(row["estimator"], []).append(row[column])
    means = {label: float(np.mean(numbers)) for label, numbers in values.items() if np.isfinite(numbers).all()}
    first = sorted(means, key=means.__getitem__)[:2]
    return "; then ".join(f"`{label}` ({means[label]:.3g})" for label in first) or "none of them"


def _time(rows: Rows, label: str) -> float:
    """Return the usual time of an estimator [µs per voxel]."""
    return float(np.median([row["us_per_voxel"] for row in rows if row["estimator"] == label]))


def _labels(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["estimator"] for row in rows))


def _pivot(rows: Rows, case: Callable[[Mapping[str, Any]], str], cell: Callable[[dict], str]) -> str:
    """Write one line per estimator and one column per case."""
    cases = list(dict.fromkeys(map(case, rows)))
    lines = []
    for label in _labels(rows):
        mine = {name: {row["parameter"]: row for row in rows if row["estimator"] == label and case(row) == name}
                for name in cases}
        lines.append((label, *(cell(mine[name]) if mine[name] else "-" for name in cases)))
    return _table(("estimator", *cases), lines)


def _organs(rows: Rows) -> str:
    organs = list(dict.fromkeys(row["organ"] for row in rows))
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        for label in _labels(rows):
            mine = {row["organ"]: row for row in rows if (row["snr"], row["estimator"]) == (snr, label)}
            lines.append((f"{snr:g}", label, *(" / ".join(_number(mine[organ][key], 0) for key in KEYS)
                                               for organ in organs)))
    return _table(("SNR", "estimator", *organs), lines)


def _lesion(rows: Rows) -> str:
    lines = []
    for snr in dict.fromkeys(row["snr"] for row in rows):
        for label in _labels(rows):
            three = {row["parameter"]: row for row in rows if (row["snr"], row["estimator"]) == (snr, label)}
            f = three["f"]
            lines.append((
                f"{snr:g}", label, _triple(three, "mdape", 0), f"{_number(f['contrast'], 2)} ± "
                f"{_number(f['contrast_se'], 2)}",
                f"{_number(100 * f['kept'], 0)} % ({_number(100 * f['kept_excess'], 0)} %)",
                f"{_number(100 * f['false_positives'], 1)} %", f"{_number(100 * f['false_fixed'], 1)} %",
                f"{_triple(three, 'coverage90_lesion', 0, 100)} %",
            ))
    return _table(("SNR", "estimator", "median error D / f / D* [%]", "contrast (truth 1.79)", "kept (of the excess)",
                   "false positives", "nothing above 1.395", "90 % interval in lesions covers"), lines)


def _triple(three: Mapping[str, Mapping[str, Any]], column: str, digits: int, factor: float = 1.0) -> str:
    return " / ".join(_number(three[key][column] * factor, digits) if key in three else "-" for key in KEYS)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def main(arguments: Sequence[str]) -> None:
    """Measure, and fill the page named in the arguments; further arguments name the estimators."""
    page, *requests = arguments
    print("written:", ", ".join(fill(page, tables(measure(requests or every_request())))))


if __name__ == "__main__":
    main(sys.argv[1:])
