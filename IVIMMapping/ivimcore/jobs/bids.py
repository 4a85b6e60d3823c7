"""BIDS in and out: the series of a data set as a cohort, and maps under the names that other tools expect.

A data set is indexed by bids2table (MIT), which knows the entities of the specification. b-values follow the
inheritance principle: the nearest `*_dwi.bval`, upwards from the image, whose entities are all those of the image.

The specification has no diffusion-model derivatives yet; names follow its proposal 016,
`_model-ivim_param-d_desc-nlls_dwimap`. Everything that would change with it stands in the tables of this file.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.nrrd import read_header, read_nrrd_file
from ..data.output import REGIONS, OutputFolder, write_json, write_volume
from ..data.reading import read_regions
from ..errors import InputError
from .manifest import Manifest, Scan, remarks, safe_name

PARAMS = {"D": "d", "f": "f", "Dstar": "dstar", "S0": "s0", "rmse": "rmse", "status": "status", "ADC": "adc"}
MODELS = {"ADC": "adc"}
UNITS = {"D": "mm^2/s", "Dstar": "mm^2/s", "ADC": "mm^2/s", "f": "1", "S0": "arbitrary", "rmse": "arbitrary"}
DESCRIPTIONS = {
    "D": "Diffusion coefficient of tissue.",
    "f": "Perfusion fraction, 0 to 1.",
    "Dstar": "Pseudo-diffusion coefficient: the whole decay rate of the perfusion compartment, not an addition to D.",
    "S0": "Signal at b = 0 according to the model.",
    "rmse": "Root mean square of measured minus fitted signal.",
    "status": "Why a voxel has, or has not, a value; the sentences of the codes stand in StatusCodes.",
    "ADC": "Apparent diffusion coefficient of a mono-exponential decay.",
}
METHODS = {"nlls": "nlls", "adc": "wls", "segmented": "nlls"}
"""Estimators whose method has one of the reserved words of the proposal."""
NAMED = ("sub", "ses", "acq", "dir", "run", "rec", "part", "space")
"""Entities of the image that its derivatives keep, in the order of a file name."""
DERIVATIVES = "ivimslicer"
IGNORED = ("*_dwimap*", "*_stats.tsv", "*_repeatability.tsv", "extra/", "report/", ".ivim/", "cohort.json",
           "reference_*", "prior.npz", "*.csv", "*.html", "*.pdf")  # fmt: skip
"""What a validator of the present specification should not complain of."""


def is_bids(path: Path | str) -> bool:
    """Tell whether a folder is a BIDS data set."""
    return (Path(path) / "dataset_description.json").is_file()


def read_bids(root: Path | str) -> Manifest:
    """List the diffusion series of a BIDS data set as a cohort.

    The group of a subject is the column `group` of participants.tsv. Regions are `_dseg` images of the same subject
    and session, in the data set or below `derivatives/`, with the names of the `.tsv` beside them.
    Raises InputError where bids2table is missing or the data set holds no diffusion series.
    """
    root = Path(root)
    try:
        import bids2table
    except ImportError:
        raise InputError(
            "Reading a BIDS data set needs bids2table; install it with pip install 'ivimslicer[cohort]', "
            "or write a manifest."
        ) from None
    parse = bids2table.parse_bids_entities
    images = [row for row in bids2table.index_dataset(str(root)).to_pylist()
              if row["datatype"] == "dwi" and row["suffix"] == "dwi" and row["ext"] in (".nii", ".nii.gz")]
    if not images:
        raise InputError(f"{root} holds no diffusion series (sub-*/[ses-*/]dwi/*_dwi.nii.gz); check the folder.")
    groups, regions = _participants(root), _regions(root, parse)
    scans = []
    for row in sorted(images, key=lambda row: row["path"]):
        path = root / row["path"]
        entities = {name: str(row[name]) for name in NAMED if row.get(name) not in (None, "")}
        session = "_".join(f"{n}-{entities[n]}" for n in NAMED[1:] if n in entities) or "1"
        if set(entities) <= {"sub", "ses"}:
            session = entities.get("ses", "1")
        labels = regions.get((entities["sub"], entities.get("ses", "")))
        scans.append(Scan(
            entities["sub"], session, groups.get(entities["sub"], ""),
            f"{safe_name(entities['sub'])}/{safe_name(session)}", (str(path),), _bval(root, path, parse),
            None if labels is None else str(labels), entities=entities, names=names_beside(labels),
        ))  # fmt: skip
    return Manifest(str(root), tuple(scans), tuple(remarks(scans)), bids=True)


def _bval(root: Path, image: Path, parse: Any) -> str | None:
    """Find the b-values of an image by the inheritance principle."""
    own = {name: value for name, value in parse(image.name).items() if name not in ("ext", "datatype")}
    folder = image.parent
    while True:
        fits = []
        for path in sorted(folder.glob("*dwi.bval")):
            theirs = {name: value for name, value in parse(path.name).items() if name not in ("ext", "datatype")}
            if theirs.items() <= own.items():
                fits.append((len(theirs), path))
        if fits:
            return str(max(fits)[1])
        if folder == root or root not in folder.parents:
            return None
        folder = folder.parent


def _participants(root: Path) -> dict[str, str]:
    path = root / "participants.tsv"
    if not path.is_file():
        return {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"participants.tsv cannot be read ({fault}); save it again as UTF-8.") from None
    return {
        str(row.get("participant_id") or "").removeprefix("sub-"): str(row.get("group") or "").strip() for row in rows
    }


def _regions(root: Path, parse: Any) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for pattern in ("sub-*/**/*_dseg.nii*", "derivatives/*/sub-*/**/*_dseg.nii*"):
        for path in sorted(root.glob(pattern)):
            entities = parse(path.name)
            found.setdefault((str(entities.get("sub", "")), str(entities.get("ses") or "")), path)
    return found


def names_beside(labels: Path | None) -> dict[int, str]:
    """Read the names of label numbers from the table beside a label image."""
    if labels is None:
        return {}
    table = labels.with_name(re.sub(r"\.nii(\.gz)?$", ".tsv", labels.name))
    if not table.is_file():
        return {}
    with open(table, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return {int(row["index"]): row["name"] for row in rows if (row.get("index") or "").isdecimal() and row.get("name")}


# --- out ---------------------------------------------------------------------------------------------------------


def description(estimator: str) -> str:
    """Return the label of an estimator in a file name: letters and digits only."""
    return re.sub(r"[^A-Za-z0-9]", "", estimator)


def derivative_name(entities: Mapping[str, str], key: str, estimator: str) -> str | None:
    """Return the name of a map without ending, or None for a map that has no BIDS name."""
    base, _, end = key.partition("_")
    if base not in PARAMS or end not in ("", "sd"):
        return None
    parts = [f"{name}-{entities[name]}" for name in NAMED if name in entities]
    param = PARAMS[base] + ("std" if end == "sd" else "")
    return "_".join(
        [*parts, f"model-{MODELS.get(base, 'ivim')}", f"param-{param}", f"desc-{description(estimator)}", "dwimap"]
    )


def arrange(work: Path, out: Path, scan: Scan, estimators: list[str]) -> list[str]:
    """Move the results of one job from `work` to their BIDS names below `out`; return the paths relative to `out`.

    Maps without a BIDS name (information, intervals) and the files for people stay in `extra/` beside them.
    """
    folder = Path(*(f"{name}-{scan.entities[name]}" for name in ("sub", "ses") if name in scan.entities), "dwi")
    placed = []
    with OutputFolder(out / folder) as target:
        for estimator in estimators:
            source = work if len(estimators) == 1 else work / estimator
            provenance = json.loads((source / "provenance.json").read_text(encoding="utf-8"))
            for path in sorted(source.iterdir()):
                if path.is_dir() or path.name == REGIONS:
                    continue
                key, ending = path.name.partition(".")[::2]
                name = derivative_name(scan.entities, key, estimator) if ending == "nii.gz" else None
                if name is not None:
                    write_json(sidecar(key, provenance, scan), target / f"{name}.json")
                    destination = target / f"{name}.nii.gz"
                elif path.name == "roi_statistics.csv":
                    destination = target / f"{derivative_name(scan.entities, 'D', estimator)}".replace(
                        "_param-d", "").replace("_dwimap", "_stats.tsv")  # fmt: skip
                    convert_table(path, destination, ",", "\t")
                    continue
                else:
                    prefix = "_".join(f"{n}-{scan.entities[n]}" for n in NAMED if n in scan.entities)
                    destination = target / "extra" / f"{prefix}_{description(estimator)}_{path.name}"
                    destination.parent.mkdir(exist_ok=True)
                os.replace(path, destination)
        prefix = "_".join(f"{name}-{scan.entities[name]}" for name in NAMED if name in scan.entities)
        if (work / REGIONS).is_file():
            _write_regions(work / REGIONS, target, prefix)
            (work / REGIONS).unlink()
        for path in sorted(work.iterdir()) if len(estimators) > 1 else ():
            if path.is_file() and not path.name.startswith("roi_statistics"):
                (target / "extra").mkdir(exist_ok=True)
                os.replace(path, target / "extra" / f"{prefix}_{path.name}")
        placed = sorted((folder / path.relative_to(target)).as_posix() for path in target.rglob("*") if path.is_file())
    _remove_old_regions(out, folder, prefix, placed)
    return placed


def _remove_old_regions(out: Path, folder: Path, prefix: str, placed: list[str]) -> None:
    """Remove the regions of an earlier run that this one has not replaced: its statistics are not about them."""
    ours = re.compile(re.escape(prefix) + r"_desc-(regions_dseg|[A-Za-z0-9]*\d{3}_mask)\.(nii\.gz|tsv|json)")
    for path in sorted((out / folder).iterdir()):
        if ours.fullmatch(path.name) and (folder / path.name).as_posix() not in placed:
            path.unlink()


def _write_regions(source: Path, target: Path, prefix: str) -> None:
    """Write the regions that were measured: labels with their table, or a mask each where they overlap."""
    _, geometry = read_nrrd_file(source, read_header(source))
    labels, names, masks = read_regions(source, geometry)
    if masks is None:
        write_volume(labels.astype(np.uint16), geometry, target / f"{prefix}_desc-regions_dseg.nii.gz")
        rows = [("index", "name"), *sorted(names.items())]
        with open(target / f"{prefix}_desc-regions_dseg.tsv", "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter="\t").writerows(rows)
        return
    for number, (name, mask) in enumerate(masks.items(), start=1):
        # The number keeps names apart that differ in other characters only; its width, 'a2' of 1 from 'a' of 21.
        stem = f"{prefix}_desc-{description(name)}{number:03d}_mask"
        write_volume(mask.astype(np.uint8), geometry, target / f"{stem}.nii.gz")
        write_json({"Type": "ROI", "Description": name}, target / f"{stem}.json")


def group_table(out: Path, estimator: str, rows: list[Mapping[str, Any]], columns: tuple[str, ...]) -> Path:
    """Write the repeatability of one estimator beside dataset_description.json; 'n/a' where there is no number."""
    path = out / f"group_model-ivim_desc-{description(estimator)}_repeatability.tsv"
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t")
        writer.writerow(columns)
        for row in rows:
            writer.writerow("n/a" if row[name] is None or row[name] != row[name] else row[name] for name in columns)
    return path


def convert_table(source: Path, target: Path, before: str, after: str) -> None:
    """Write a table with another delimiter between its columns."""
    with open(source, encoding="utf-8", newline="") as read, open(target, "w", encoding="utf-8", newline="") as write:
        csv.writer(write, delimiter=after).writerows(csv.reader(read, delimiter=before))


def sidecar(key: str, provenance: Mapping[str, Any], scan: Scan) -> dict[str, Any]:
    """Describe one map as the proposal does."""
    base = key.partition("_")[0]
    options = provenance.get("options", {})
    parameters = {
        "FitMethod": METHODS.get(provenance.get("estimator", "")), "Bounds": options.get("bounds"),
        "Threshold": options.get("threshold"), "Seed": options.get("seed"),
        "Checksum": provenance.get("prior", {}).get("checksum"),
    }  # fmt: skip
    where = Path(*(f"{name}-{scan.entities[name]}" for name in ("sub", "ses") if name in scan.entities), "dwi")
    content = {
        "Model": {
            "Description": "Intravoxel incoherent motion: S(b) = S0 ((1 - f) exp(-b D) + f exp(-b Dstar))"
            if base != "ADC" else "Mono-exponential decay: S(b) = S0 exp(-b ADC)",
            "URL": "https://github.com/IVIMSlicer/SlicerIVIM",
            "Parameters": {name: value for name, value in parameters.items() if value not in (None, {}, "")},
        },
        "Description": ("Standard deviation. " if key.endswith("_sd") else "") + DESCRIPTIONS[base],
        "Estimator": provenance.get("estimator"), "Options": options,
        "BValuesUsed": provenance.get("bvalues_used"),
        "Sources": [f"bids:raw:{(where / Path(path).name).as_posix()}" for path in scan.series],
        "NonNegativity": "constrained" if base in ("D", "f", "Dstar", "ADC") else "unconstrained",
        "SoftwareVersion": provenance.get("versions", {}).get("ivimslicer"),
    }  # fmt: skip
    if base in UNITS:
        content["Units"] = UNITS[base]
    if base == "status":
        content["StatusCodes"] = provenance.get("status_codes")
    sigma = provenance.get("noise", {}).get("sigma") if isinstance(provenance.get("noise"), dict) else None
    if sigma is not None:
        content["EstimatedNoise"] = sigma
    return content


def describe_dataset(out: Path, source: str, version: str) -> None:
    """Write dataset_description.json and .bidsignore of the derivatives, whole or not at all."""
    with OutputFolder(out) as folder:
        write_json({
            "Name": DERIVATIVES, "BIDSVersion": "1.10.0", "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "IVIMSlicer", "Version": version, "CodeURL": "https://github.com/IVIMSlicer/SlicerIVIM"}],
            "SourceDatasets": [{"URL": Path(source).resolve().as_uri()}],
            "DatasetLinks": {"raw": Path(source).resolve().as_uri()},
        }, folder / "dataset_description.json")  # fmt: skip
        (folder / ".bidsignore").write_text("".join(f"{pattern}\n" for pattern in IGNORED), "utf-8")
