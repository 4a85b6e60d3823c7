"""One training while it goes on: started or resumed, listened to, stopped with the best so far; without Qt."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from ivimcore.errors import InputError
from ivimcore.jobs.training import TrainingJob
from ivimcore.networks.cards import ModelCard
from ivimcore.networks.keeping import RECIPE
from IVIMMappingLib.PythonExecutable import PythonSearch
from IVIMMappingLib.SeriesReader import SeriesInScene
from IVIMMappingLib.TorchOffer import canRunNetworks
from IVIMMappingLib.WorkerProcess import WorkerProcess

from .SeriesForTraining import seriesJob, writeSeries
from .TrainingFolder import MODELS, StoredTraining, diskSentence

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
GRACE = 40.0
"""Time [s] in which a stopped training writes and checks the best so far."""


@dataclass(frozen=True)
class LossPoint:
    """One look at a training: `step` over all members, loss of the training and of voxels held out, NaN unknown."""

    member: int
    step: int
    loss: float
    check: float


class TrainingRun:
    """A training that goes on; whoever holds it calls `step` until it returns False, or `wait`.

    Example::

        run = TrainingRun(createTraining(plan.recipe(), 10.0, None))
        while run.step():
            print(run.fraction, run.secondsLeft, run.history[-1:])

    `state` is "running", "done", "stopped" (by a person: the best so far is kept) or "failed"; `fraction` 0..1;
    `secondsLeft` None while nobody can tell; `sentence` why it failed; `history` of the losses; `notes`, `log`;
    `card` and `checks` of what was trained, None without any. It belongs to no scene: a scene that closes, or another
    module that is shown, leaves it alone, because what it needs was written at its start.
    """

    def __init__(self, stored: StoredTraining, series: SeriesInScene | None = None, resume: bool = False) -> None:
        self.stored = stored
        self.resume = resume
        self.state = RUNNING
        self.fraction = 0.0
        self.secondsLeft: float | None = None
        self.statusText = _("Starting")
        self.sentence = ""
        self.history: list[LossPoint] = []
        self.notes: list[str] = []
        self.log: list[str] = []
        self.card: ModelCard | None = None
        self.checks: dict[str, Any] | None = None
        self.lacksGpuMemory = False
        """Whether it failed because the GPU has no memory left: a processor could go on."""
        self._series = series
        self._stopWished = False
        self._began, self._ended = time.monotonic(), None
        self._process: WorkerProcess | None = None
        self._work = self._pieces()

    @property
    def title(self) -> str:
        """Name of what is trained."""
        return self.stored.title

    @property
    def isOver(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state != RUNNING

    @property
    def isStopping(self) -> bool:
        """Whether it was asked to stop and is writing the best so far."""
        return self._stopWished and not self.isOver

    @property
    def seconds(self) -> float:
        """Time [s] since this start."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def processId(self) -> int | None:
        """The number of the training process, None before it starts."""
        return None if self._process is None else self._process.processId

    def step(self) -> bool:
        """Listen, or do a short piece of work, and tell whether there is more to do; never raises."""
        if self.isOver:
            return False
        try:
            next(self._work)
        except StopIteration:
            self._end(STOPPED if self._stopWished else DONE)
        except InputError as fault:
            self._fail(str(fault))
        except OSError as fault:
            self._fail(diskSentence(fault, self.stored.folder))
        except Exception as fault:
            self.log += traceback.format_exc().rstrip().splitlines()
            self._fail(f"A fault in IVIMSlicer ({type(fault).__name__}: {fault}); please report it with the log.")
        return not self.isOver

    def cancel(self) -> None:
        """Ask the training to stop: it keeps the best so far and can be resumed; `step` until it is over."""
        if self.isOver or self._stopWished:
            return
        self._stopWished = True
        self._say(_("Keeping the best so far"))
        if self._process is None:
            self._work.close()
            self._end(STOPPED)
        else:
            self._process.cancel()

    def abandon(self) -> None:
        """End the process at once; what was saved last (every half minute) can be resumed."""
        if not self.isOver:
            self._work.close()
            self._fail(_("Interrupted; it can be resumed."))

    def wait(self, pause: float = 0.05, between: Callable[[], Any] | None = None) -> None:
        """Step until the training is over, for scripts; `between` is called each time."""
        while self.step():
            if between is not None:
                between()
            time.sleep(pause)

    # --- the work ------------------------------------------------------------------------------------------------

    def _pieces(self) -> Iterator[None]:
        if not canRunNetworks():
            raise InputError(
                _(
                    "Training needs PyTorch and safetensors; press 'Get PyTorch…' in the panel of IVIM Training, or "
                    "install them into Slicer's Python."
                )
            )
        search = PythonSearch()
        try:
            if self._series is not None:
                self._say(_("Handing over the series"))
                for _piece in writeSeries(self._series, self.stored.folder):
                    search.poll()
                    yield
                self._series = None
            while not search.poll():
                yield
        finally:
            search.close()
        process = WorkerProcess(self._job(), self.stored.folder, search.executable, GRACE)
        process.start()
        self._process = process
        yield from self._listen(process)

    def _job(self) -> TrainingJob:
        about, recipe = self.stored.about, self.stored.recipe
        # Small networks lose more by waiting for each other's threads than they gain.
        threads = os.cpu_count() if recipe["architecture"]["kind"] == "anyprotocol" else 1
        bvalues = about.get("bvalues")
        return TrainingJob(
            recipe=str(self.stored.folder / RECIPE), out=str(self.stored.folder / MODELS),
            minutes=float(about["minutes"]), resume=self.resume, threads=threads, device=self.stored.device,
            series=None if bvalues is None else seriesJob(self.stored.folder, tuple(bvalues)),
        )

    def _listen(self, process: WorkerProcess) -> Iterator[None]:
        failure, isComplete = None, False
        while process.isRunning():
            for event in process.poll():
                isComplete = isComplete or event["event"] == "result"
                failure = event if event["event"] == "error" else failure
                self._take(event)
            yield
        if process.lastErrorText:
            self.log += process.lastErrorText.splitlines()
        if failure is not None:
            self.lacksGpuMemory = failure.get("kind") == "gpu_memory"
            raise InputError(f"{failure.get('sentence', '')} {failure.get('advice', '')}".strip())
        if not isComplete:
            if self._stopWished:
                raise InputError(_("Stopped before anything was learned; start it again."))
            raise InputError(
                _("The training process ended unexpectedly ({how}); press Resume.").format(how=process.describeEnd())
            )

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "training":
            self._takeLoss(event)
        elif kind == "progress":
            self.fraction = float(event.get("fraction") or 0.0)
            self.secondsLeft = event.get("seconds_left")
        elif kind == "status":
            self._say(str(event.get("text", "")))
        elif kind == "warning":
            self.notes.append(str(event.get("text", "")))
            self.log.append(str(event.get("text", "")))
        elif kind == "log":
            self.log.append(str(event.get("text", "")))

    def _takeLoss(self, event: dict[str, Any]) -> None:
        member, step = int(event["member"]), int(event["step"])
        loss, check = (float("nan") if event[key] is None else float(event[key]) for key in ("loss", "check"))
        self.history.append(LossPoint(member, step, loss, check))
        if not self._stopWished:
            self.statusText = _("Training {member} of {members}, step {step} of {steps}").format(
                member=member, members=event["members"], step=step, steps=event["steps"]
            )

    def _say(self, text: str) -> None:
        self.statusText = text
        self.log.append(text)

    # --- the end -------------------------------------------------------------------------------------------------

    def _fail(self, sentence: str) -> None:
        self.sentence = sentence
        self.log.append(sentence)
        self._end(FAILED)

    def _end(self, state: str) -> None:
        if self._process is not None:
            self._process.kill()
        try:
            self.card = self.stored.card()
        except InputError as fault:
            state, self.sentence = FAILED, str(fault)
        self.checks = self.stored.checks() if self.card is not None else None
        if state == DONE:
            self.fraction = 1.0
            self.stored.forgetSeries()
        if not (self.stored.hasModel or self.stored.canResume or self.lacksGpuMemory):
            self.stored.discard()
        self.secondsLeft = None
        self._series = None
        self.state = state
        self.statusText = {DONE: _("Done"), STOPPED: _("Stopped"), FAILED: _("Failed")}[state]
        self._ended = time.monotonic()
