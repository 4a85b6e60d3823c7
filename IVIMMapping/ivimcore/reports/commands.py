"""A job as a person would type it: the shell line, the Python lines, the lines for Slicer's console, the JSON.

All of them do exactly what the job does; only the entries that differ from the defaults are written.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ..data.output import plain
from ..errors import InputError
from ..estimators import DEFAULT
from ..jobs.job import Job, Request

_DEFAULTS = {item.name: item.default for item in fields(Job)}


def shell_line(job: Job, program: str = "ivim", windows: bool = os.name == "nt") -> str:
    """Write the line for the shell that does what the job does, statistics of regions included.

    Arguments: `program` that is called, such as 'ivim' or 'python -m ivimcore.cli', written as it is; `windows` quotes
    for cmd.exe instead of a POSIX shell. Names with spaces, quotes and signs of the shell arrive as they are.
    Raises InputError for a name with a line break, which no line can hold.
    """
    words = ["map", *(_path(path) for path in job.inputs)]
    for flag, value in (
        ("--bval", job.bval and _path(job.bval)), ("--bvalues", job.bvalues and [_number(b) for b in job.bvalues]),
        ("--series", job.series), ("--bmin", _number(job.bmin) if job.bmin else None),
        ("--bmax", None if job.bmax is None else _number(job.bmax)),
        ("--exclude", [str(number) for number in job.exclude]),
        ("--average", _if_other(job, "average")),
        ("--mask", job.mask if job.mask == "none" else _if_other(job, "mask") and _path(job.mask)),
        ("--rois", job.rois and _path(job.rois)),
    ):
        if value:
            words += [flag, *value] if isinstance(value, list) else _pair(flag, value)
    if [request.name for request in job.estimators] != [DEFAULT]:
        words += ["--estimator", *(request.name for request in job.estimators)]
    options = [word for request in job.estimators for word in _options(request, len(job.estimators) > 1)]
    words += ["--option", *options] if options else []
    for flag, key in (("--format", "file_format"), ("--threads", "threads"), ("--name", "name")):
        value = _if_other(job, key)
        words += [] if value is None else _pair(flag, str(value))
    words += _pair("--out", _path(job.out))
    if any("\n" in word or "\r" in word or "\0" in word for word in words):
        raise InputError("A name holds a line break, which no command line can hold; use the JSON file instead.")
    return f"{program} {subprocess.list2cmdline(words) if windows else shlex.join(words)}"


def python_lines(job: Job) -> str:
    """Write the Python lines that do what the job does, without Slicer; `maps` then holds the arrays too."""

    maps = "maps = {name: result.all_maps() for name, result in outcome.results.items()}"
    if len(job.estimators) == 1:
        maps = f"maps = outcome.results[{job.estimators[0].name!r}].all_maps()"
    arguments = [
        f"    {key}={_python(getattr(job, key))},"
        for key in _DEFAULTS if key in ("inputs", "out", "estimators") or _if_other(job, key) is not None
    ]
    return "\n".join([
        "from ivimcore.jobs.job import Job, Request, run",
        "from ivimcore.reports.companions import companions",
        "",
        "job = Job(",
        *arguments,
        ")",
        "outcome = run(job, emit=print, companions=companions())",
        maps,
        "",
    ])


def slicer_lines(
    job: Job, node_name: str, region_name: str | None = None, segments: Sequence[str] = ()
) -> str:
    """Write the lines for the Python console of 3D Slicer that do what the job does with nodes of the scene.

    Arguments: `node_name` of the series; `region_name` of the segmentation, closed curve or label volume that is the
    region, or None; `segments` names of those that are fitted, none for all. The files of the job are not named:
    console and panel work on the scene. Other b-values than those of the node are written where the job has them.
    Raises InputError where the job limits b (`bmin`, `bmax`) without naming the b-values.
    """
    several = len(job.estimators) != 1
    names = tuple(request.name for request in job.estimators)
    options = {request.name: request.options for request in job.estimators if request.options}
    exclude = _excluded(job)
    arguments = [
        "dwiNode",
        f"estimator={_python(names if several else names[0])}",
        *([f"segmentationNode={_node(region_name)}"] if region_name is not None else []),
        *([f"segments={_python(list(segments))}"] if region_name is not None and len(segments) else []),
        *([f"bvalues={_python(list(job.bvalues))}"] if job.bvalues else []),
        *([f"options={_python(options if several else options[names[0]])}"] if options else []),
        *([f"mask={job.mask!r}"] if job.mask == "none" and region_name is None else []),
        *([f"exclude={_python(exclude)}"] if exclude else []),
        *([f"average={job.average!r}"] if _if_other(job, "average") is not None else []),
        *([f"name={job.name!r}"] if _if_other(job, "name") is not None else []),
    ]
    return "\n".join([
        "from IVIMMapping import IVIMMappingLogic",
        "",
        f"dwiNode = {_node(node_name)}",
        "maps = IVIMMappingLogic().process(",
        *(f"    {argument}," for argument in arguments),
        ")",
        "",
    ])


def job_json(job: Job) -> str:
    """Write the job file of `python -m ivimcore.worker`: every entry, in plain JSON.

    Raises InputError where a number is not finite, which JSON cannot hold.
    """
    try:
        return json.dumps(json.loads(job.to_json()), indent=2, allow_nan=False) + "\n"
    except ValueError:
        raise InputError("A number of the job is not finite; leave the option at its default.") from None


# --- words ----------------------------------------------------------------------------------------------------------


def _if_other(job: Job, key: str) -> Any:
    """Return an entry of the job, or None where it is the default."""
    value = getattr(job, key)
    return None if value == _DEFAULTS[key] or value == () else value


def _pair(flag: str, value: str) -> list[str]:
    """Write a flag with a value; one that begins with a dash would be taken for a flag."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _path(path: str) -> str:
    """Write a path so that no parser takes it for a flag."""
    return f"./{path}" if path.startswith("-") else path


def _number(value: float) -> str:
    return f"{float(value):.17g}" if float(f"{value:g}") != value else f"{value:g}"


def _options(request: Request, with_owner: bool) -> list[str]:
    """Write the options of one estimator as NAME=VALUE; bounds one by one."""
    words = []
    for name, value in request.options.items():
        prefix = f"{request.name}.{name}" if with_owner else name
        if isinstance(value, Mapping):
            words += [f"{prefix}.{key}={','.join(_number(x) for x in pair)}" for key, pair in value.items()]
        else:
            words += [f"{prefix}={_word(value)}"] if value != "" else []
    return words


def _word(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float | np.number) else os.fspath(value)


def _python(value: Any) -> str:
    """Write a value as Python reads it, without types of numpy."""
    if isinstance(value, Request):
        return f"Request({value.name!r}" + (f", {_python(value.options)})" if value.options else ")")
    if isinstance(value, tuple):
        return f"({', '.join(_python(item) for item in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(_python(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_python(item)}" for key, item in value.items()) + "}"
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return f'float("{float(value)!r}")'
        return repr(int(value)) if float(value).is_integer() and abs(value) < 1e9 else repr(float(value))
    return repr(plain(value))


def _node(name: str) -> str:
    """Write the look-up of a node by its name; getNode would take some signs in it for a pattern."""
    if any(sign in name for sign in "*?["):
        return f"slicer.mrmlScene.GetFirstNodeByName({name!r})"
    return f"slicer.util.getNode({name!r})"


def _excluded(job: Job) -> tuple[int, ...]:
    """Return the images left out by number and by range of b, from 1."""
    highest = np.inf if job.bmax is None else job.bmax
    if job.bmin <= 0 and not np.isfinite(highest):
        return tuple(job.exclude)
    if not job.bvalues:
        raise InputError("The range of b can be written for Slicer only with the b-values; leave out images instead.")
    outside = [number for number, b in enumerate(job.bvalues, start=1) if not job.bmin <= b <= highest]
    return tuple(sorted({*job.exclude, *outside}))
