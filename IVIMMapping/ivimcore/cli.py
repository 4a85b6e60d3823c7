"""The shell: `ivim info | map | demo | evaluate | train | models | cohort ...`. It parses, calls and prints.

Exit codes: 0 done; 2 the input is wrong (one line on stderr, nothing was written); 1 a fault of ours; 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The chunks of a fit already use every core; this must be set before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from . import __version__, cli_cohort, cli_dicom
from .cli_values import seed
from .errors import Cancelled, InputError

DONE, FAULT, WRONG_INPUT, STOPPED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line and exit code 2, like every other wrong input."""

    def error(self, message: str) -> None:
        raise InputError(f"{message}; see '{self.prog} --help'.")


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = _Parser(prog="ivim", description="Intravoxel incoherent motion: D, f and D* from diffusion-weighted MRI.")
    top.add_argument("--version", action="version", version=f"ivim {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    info = commands.add_parser("info", help="what a series holds, and what each estimator says about it")
    _add_input(info)
    info.add_argument("--json", action="store_true", help="print JSON instead of text")

    fit = commands.add_parser("map", help="fit a series and write maps")
    _add_input(fit)
    fit.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    _add_estimators(fit)
    fit.add_argument("--mask", default="auto", metavar="auto|none|FILE", help="region that is fitted (default auto)")
    fit.add_argument("--rois", metavar="FILE", help="label image or .seg.nrrd for statistics and contours")
    fit.add_argument("--format", default="nii.gz", choices=("nii.gz", "nrrd"), help="file format of the maps")
    fit.add_argument("--name", default="DWI", help="heading of pictures and nodes (default DWI, never the file's name)")
    fit.add_argument("--scene", action="store_true", help="write scene.mrb for 3D Slicer")
    fit.add_argument("--figure", action="store_true", help="write overview.png and region_curves.png")
    _add_running(fit)

    demo = commands.add_parser("demo", help="the main job on a generated phantom with known truth")
    demo.add_argument("--out", default="ivim-demo", metavar="DIR", help="folder for the results (default ivim-demo)")
    demo.add_argument("--snr", type=float, default=40.0, help="signal-to-noise ratio at b = 0 (default 40)")
    demo.add_argument("--seed", type=seed, default=1, help="seed of the noise (default 1)")
    demo.add_argument("--no-scene", action="store_true", help="leave out scene.mrb and overview.png")
    _add_running(demo)

    evaluate = commands.add_parser("evaluate", help="every estimator on one benchmark: table, CSV, figure")
    evaluate.add_argument("benchmark", help="name of the benchmark, or 'list'")
    evaluate.add_argument("--estimator", action="append", nargs="+", default=None, metavar="NAME[:OPTION=VALUE...]",
                          help="estimators, with options: posterior:prior=uniform:bounds=benchmark")
    evaluate.add_argument("--snr", type=float, nargs="+", default=None, help="signal-to-noise ratios")
    evaluate.add_argument("--voxels", type=int, default=None, help="number of simulated voxels")
    evaluate.add_argument("--bvalues", type=float, nargs="+", default=None, metavar="B",
                          help="your b-values instead of those of 'linearity', one per image [s/mm²]")
    evaluate.add_argument("--limit", nargs="?", const="gaussian", choices=("gaussian", "rician", "none"),
                          help="likelihood of the smallest possible error on the same voxels (gaussian; 1 or 10 ms a "
                          "voxel), or none")
    evaluate.add_argument("--out", metavar="DIR", default=None, help="folder for the table (CSV) and the figures")
    evaluate.add_argument("--card", action="store_true", help="write the numbers of trained models into their cards")
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of text")

    train = commands.add_parser("train", help="train a network by a recipe; it is then an estimator like the others")
    train.add_argument("recipe", metavar="RECIPE", help="file, or name of a recipe that comes along; 'list' names them")
    train.add_argument("--out", metavar="DIR", default=None, help="folder of models (default: your own)")
    train.add_argument("--minutes", type=float, default=None, metavar="M", help="budget (default: the whole recipe)")
    train.add_argument("--long", action="store_true", help="the longer training that the recipe names for a GPU")
    train.add_argument("--resume", action="store_true", help="go on with a training that was stopped or killed")
    train.add_argument("--on", nargs="+", metavar="INPUT", default=None, help="series to train on")
    train.add_argument("--bval", metavar="FILE", help="b-values of that series")
    train.add_argument("--mask", default="auto", metavar="auto|none|FILE", help="its region (default auto)")
    train.add_argument("--id", default=None, help="name of the model instead of that of the recipe")
    train.add_argument("--seed", type=seed, default=None, help="seed instead of that of the recipe")
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where to compute")
    _add_running(train)

    models = commands.add_parser("models", help="the estimators and trained models that can be used")
    models.add_argument("--json", action="store_true", help="print JSON instead of text")
    cli_cohort.add_commands(commands, _add_estimators)
    cli_dicom.add_commands(commands)
    return top


def _add_input(command: argparse.ArgumentParser) -> None:
    command.add_argument("input", nargs="+", metavar="INPUT",
                         help="4D NIfTI or NRRD, a folder of DICOM, or several 3D files")
    command.add_argument("--bval", metavar="FILE", help="file with one b-value per image [s/mm²]")
    command.add_argument("--bvalues", type=float, nargs="+", metavar="B", help="one b-value per image [s/mm²]")
    command.add_argument("--series", metavar="NUMBER|TEXT", help="which DICOM series, or several: 8,17")
    command.add_argument("--bmin", type=float, default=0.0, metavar="B", help="use b-values from here [s/mm²]")
    command.add_argument("--bmax", type=float, default=None, metavar="B", help="use b-values up to here [s/mm²]")
    command.add_argument("--exclude", type=int, nargs="+", default=[], metavar="N", help="leave out images, from 1")
    command.add_argument("--average", default="none", choices=("none", "geometric", "arithmetic"),
                         help="average images of equal b: geometric is the trace of several directions")


def _add_estimators(command: argparse.ArgumentParser) -> None:
    command.add_argument("--estimator", action="append", nargs="+", default=None, metavar="NAME",
                         help="one or more estimators (default posterior); 'ivim models' lists them")
    command.add_argument("--option", action="append", nargs="+", default=None, metavar="NAME=VALUE",
                         help="option of the estimators: threshold=150, organ=liver, bounds.D=0,0.004; "
                         "with several estimators segmented.threshold=150")


def _add_running(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, default=None, metavar="N", help="cores to use (default all)")
    command.add_argument("--json", action="store_true", help="print events and result as JSON lines")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell in the background ignores Ctrl-C
        signal.signal(signal.SIGINT, _interrupt)
    try:
        options = parser().parse_args(arguments)
        return _COMMANDS[options.command](options) or DONE
    except InputError as fault:
        print(f"ivim: {fault}", file=sys.stderr)
        return WRONG_INPUT
    except MemoryError:
        print("ivim: There is not enough memory for this series; choose a smaller region.", file=sys.stderr)
        return WRONG_INPUT
    except (Cancelled, KeyboardInterrupt):
        print("ivim: stopped; nothing was written.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the reader has gone; nothing more can be said
        return DONE
    except Exception as fault:
        traceback.print_exc()
        print(f"ivim: a fault in IVIMSlicer ({type(fault).__name__}: {fault}); please report it.", file=sys.stderr)
        return FAULT


class _Stop(KeyboardInterrupt):
    """`python -m` ends by the signal after a KeyboardInterrupt that has passed through `exec` (as every new dataclass
    does), although it was caught; not so after a subclass."""


def _interrupt(*_: object) -> None:
    raise _Stop


def _info(options: argparse.Namespace) -> None:
    from .jobs.job import load
    from .reports.seriesinfo import describe_series, format_series

    about = describe_series(load(_job(options, out="")))
    print(json.dumps(about, indent=2) if options.json else format_series(about))


def _map(options: argparse.Namespace) -> None:
    from .jobs.job import run
    from .reports.companions import companions
    from .reports.scene import check_scene_program

    job = _job(
        options, out=options.out, estimators=_requests(options), mask=options.mask, rois=options.rois,
        file_format=options.format, threads=_threads(options), name=options.name,
    )
    if options.figure or options.scene:
        check_scene_program()
    screen = _Screen(options.json)
    run(job, screen.show, companions=companions(figure=options.figure, scene=options.scene))


def _demo(options: argparse.Namespace) -> None:
    from .evaluation.demo import run_demo

    screen = _Screen(options.json)
    table = run_demo(
        Path(options.out), screen.show, snr=options.snr, seed=options.seed, scene=not options.no_scene,
        threads=_threads(options),
    )
    if not options.json:
        print(table)


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation import suite

    if options.benchmark == "list":
        print("\n".join(f"{name:10s} {sentence}" for name, sentence in suite.descriptions().items()))
        return
    report = suite.evaluate(
        options.benchmark, _flat(options.estimator), options.snr, options.voxels,
        None if options.limit == "none" else options.limit or "auto", options.bvalues,
    )
    print(json.dumps(report.rows, indent=2) if options.json else report.text)
    if options.out:
        for path in report.write(Path(options.out)):
            print(f"written: {path}", file=sys.stderr)
    if options.card:
        from .evaluation.cardchecks import write_checks

        for path in write_checks(report.rows):
            print(f"written: {path}", file=sys.stderr)


def _train(options: argparse.Namespace) -> None:
    from .jobs.job import Job
    from .jobs.training import TrainingJob, run_training
    from .networks import recipes, zoo

    if options.recipe == "list":
        print("\n".join(recipes.names()))
        return
    series = Job(tuple(options.on), out="", bval=options.bval, mask=options.mask) if options.on else None
    job = TrainingJob(
        options.recipe, options.out or str(zoo.user_folder()), options.minutes, options.resume, series, options.id,
        seed=options.seed, device=options.device, threads=_threads(options), longer=options.long,
    )
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(1) if not asked else _interrupt())

    def finish(card: Any, emit: Any) -> Any:
        from .evaluation.trainingchecks import after_training

        return after_training(card, emit)

    run_training(job, _Screen(options.json).show, lambda: bool(asked), finish)


def _models(options: argparse.Namespace) -> None:
    from .reports.estimatorlist import describe_estimators, format_estimators

    print(json.dumps(describe_estimators(), indent=2) if options.json else format_estimators())


def _cohort(options: argparse.Namespace) -> None:
    cli_cohort.cohort(options, _requests(options), _Screen(options.json))


_COMMANDS = {
    "info": _info, "map": _map, "demo": _demo, "evaluate": _evaluate, "train": _train, "models": _models,
    "cohort": _cohort, "report": cli_cohort.report, "follow-up": cli_cohort.follow_up,
    "protocol-sheet": cli_cohort.protocol_sheet, "synthetic-cohort": cli_cohort.synthetic_cohort,
    "export-dicom": cli_dicom.export_dicom, "import-dicom": cli_dicom.import_dicom,
}  # fmt: skip


def _job(options: argparse.Namespace, **more: Any) -> Any:
    from .jobs.job import Job

    return Job(
        inputs=tuple(options.input), bval=options.bval,
        bvalues=None if options.bvalues is None else tuple(options.bvalues), series=options.series, bmin=options.bmin,
        bmax=options.bmax, exclude=tuple(options.exclude), average=options.average, **more,
    )


def _flat(groups: Sequence[Sequence[str]] | None) -> list[str]:
    return [item for group in groups or [] for item in group]


def _threads(options: argparse.Namespace) -> int | None:
    if options.threads is not None and options.threads < 1:
        raise InputError(f"--threads is {options.threads}; give 1 or more, or leave it out for all cores.")
    return options.threads


def _requests(options: argparse.Namespace) -> tuple[Any, ...]:
    """Pair each estimator with its options: those with its prefix, and the common ones that it knows."""
    from .estimators import DEFAULT, describe
    from .jobs.job import Request

    names = _flat(options.estimator) or [DEFAULT]
    known = {name: {option.name for option in describe(name).options} for name in names}
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in _flat(options.option):
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise InputError(f"The option '{text}' is not of the form NAME=VALUE; write for example threshold=150.")
        owner, _, rest = key.partition(".")
        if owner in known and rest:
            owners, key = [owner], rest
        else:
            owners = [name for name in names if key.partition(".")[0] in known[name]]
        name, _, part = key.partition(".")
        unknown = [owner for owner in owners if name not in known[owner]]
        if not owners or unknown:
            listed = "; ".join(f"{owner}: {', '.join(sorted(known[owner]))}" for owner in unknown or names)
            raise InputError(f"Unknown option '{name}'; known are {listed}.")
        for owner in owners:
            if part:
                chosen[owner].setdefault(name, {})[part] = value.split(",")
            else:
                chosen[owner][name] = value
    return tuple(Request(name, chosen[name]) for name in names)


def _short(number: float | None) -> str:
    return "no number" if number is None else f"{number:.5g}"


class _Screen:
    """Shows the events of a job: a bar with the remaining time on a terminal, plain lines elsewhere, or JSON."""

    WIDTH = 30

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._live = sys.stderr.isatty()
        self._text = ""

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        if self._json:
            print(json.dumps(event), flush=True)
            return
        kind = event["event"]
        if kind == "status":
            self._text = event["text"]
            if not self._live:
                self._line(self._text + " ...")
        elif kind == "progress" and self._live:
            self._bar(event["fraction"], event["seconds_left"])
        elif kind == "training":
            self._text = (f"member {event['member']} of {event['members']}, step {event['step']} of {event['steps']}, "
                          f"loss {_short(event['loss'])}, on voxels held out {_short(event['check'])}")  # fmt: skip
            if not self._live:
                self._line(self._text)
        elif kind == "warning":
            self._line(f"note: {event['text']}")
        elif kind == "result":
            self._line(f"Written to {event['folder']}: {', '.join(event['files'])}")
            if not isinstance(event.get("status"), dict):
                return
            for name, counts in event["status"].items():
                for sentence, count in counts.items():
                    self._line(f"  {name}: {count} voxels. {sentence}")

    def _bar(self, fraction: float, left: float | None) -> None:
        done = round(fraction * self.WIDTH)
        remaining = "" if left is None else f"  {int(left) // 60}:{int(left) % 60:02d} left"
        bar = "█" * done + "░" * (self.WIDTH - done)
        print(f"\r\x1b[K{bar} {fraction:4.0%}{remaining}  {self._text}", end="", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._live else text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
