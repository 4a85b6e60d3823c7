"""One run while it goes on: from the series in the scene through the fitting process to maps in the scene.

The work is cut into short pieces, so that a window which calls `RunHandle.step` from a timer stays alive. Nothing of a
run stays in the scene unless all of it came through.
"""

from __future__ import annotations

import shutil
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import slicer

from ivimcore.errors import InputError

from .RunFolder import RunNodes, shareWindows
from .RunLoading import loadRuns
from .RunPlan import RunPlan
from .Runs import Run, removeNodes, runsOf
from .RunTransfer import makeFolder, spaceSentence, writePlan
from .WorkerProcess import WorkerProcess

RUNNING, LOADING, DONE, FAILED, CANCELLED = "running", "loading", "done", "failed", "cancelled"
_PIECE = 0.012
"""Time [s] after which a step begins no further piece of work; a piece takes at most as long again."""
_SENT, _FITTED = 0.02, 0.93
"""Part of the bar that is full when the series is handed over, and when the fit is complete."""


class RunHandle:
    """A run that was started; whoever holds it calls `step` until it returns False, or `wait`.

    Example::

        handle = logic.start(series, series.bvalues, used, "none", region, (Request("nlls"),))
        while handle.step():
            print(handle.fraction, handle.statusText)

    `state` is "running", "loading", "done", "failed" or "cancelled"; `fraction` 0..1 and `secondsLeft` (None while
    nobody can tell) of the whole; `statusText` what is being done; `sentence` why there is no result; `isOurFault`
    whether that is a fault of IVIMSlicer and no mistake of the person; `notes` what the person should know; `log` all
    that was said; `runs` the runs in the scene, one for each estimator, once done; `seconds` so far, or in all.
    A scene that closes cancels the run.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.state = RUNNING
        self.fraction = 0.0
        self.secondsLeft: float | None = None
        self.statusText = "Starting"
        self.sentence = ""
        self.isOurFault = False
        self.notes: list[str] = list(plan.region.notes)
        self.log: list[str] = []
        self.runs: list[Run] = []
        self.timings: dict[str, float] = {}
        """Seconds of each part, for benchmarks: 'transfer', 'process', 'loading'."""
        self._began = time.monotonic()
        self._ended: float | None = None
        self._folder: Path | None = None
        self._process: WorkerProcess | None = None
        self._added: list[RunNodes] = []
        self._isStepping = False
        self._cancelWished = False
        self._work = self._pieces()
        self._observation = _observeClosing(plan.scene, self)

    @property
    def isOver(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in (DONE, FAILED, CANCELLED)

    @property
    def seconds(self) -> float:
        """Time [s] since the start, or that the whole run took."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def isWaiting(self) -> bool:
        """Whether the process is at work, so that a step does nothing but listen."""
        return self._process is not None and self._process.isRunning()

    @property
    def processId(self) -> int | None:
        """The number of the fitting process, None before it starts."""
        return None if self._process is None else self._process.processId

    def step(self) -> bool:
        """Work for some 10 to 40 ms, less while the process works, and tell whether there is more to do.

        Never raises: `state` and `sentence` tell what became of it.
        """
        if self.isOver:
            return False
        if self._isStepping:
            return True  # an event that this very step has caused
        self._isStepping = True
        began = time.monotonic()
        try:
            next(self._work)
            while time.monotonic() - began < _PIECE and not (self.isWaiting or self._cancelWished):
                next(self._work)
        except StopIteration:
            self._end(DONE)
        except InputError as fault:
            self._fail(str(fault))
        except OSError as fault:
            self._fail(spaceSentence(fault, self._folder))
        except MemoryError:
            self._fail("There is not enough memory for this series; choose a smaller region or close programs.")
        except Exception as fault:
            self.log += traceback.format_exc().rstrip().splitlines()
            self._fail(
                f"A fault in IVIMSlicer ({type(fault).__name__}: {fault}); please report it with the log.", True
            )
        finally:
            self._isStepping = False
        if self._cancelWished and not self.isOver:
            self.cancel()
        return not self.isOver

    def cancel(self) -> None:
        """Stop at once: the process ends, the scene is as it was before, the temporary folder is gone."""
        if self.isOver:
            return
        if self._isStepping:
            self._cancelWished = True  # the piece at work finishes first
            return
        self._work.close()
        # Not asked but ended: what it was writing goes away with the folder, and a window should not wait for it.
        self._end(CANCELLED)

    def wait(self, pause: float = 0.01, between: Callable[[], Any] | None = None) -> None:
        """Step until the run is over, for scripts; `pause` [s] while the process works, `between` called each time."""
        while self.step():
            if between is not None:
                between()
            if self.isWaiting:
                time.sleep(pause)

    # --- the work ------------------------------------------------------------------------------------------------

    def _pieces(self) -> Iterator[None]:
        began = time.monotonic()
        self._say("Handing over the series")
        self._folder = makeFolder()
        # Also if whoever started the run forgets it, and at the end of Python.
        self._removeFolder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        process = yield from writePlan(self.plan, self._folder)
        self.fraction = _SENT
        self._mark("transfer", began)
        yield from self._fit(process)
        began = time.monotonic()
        self.state = LOADING
        self.secondsLeft = None
        self._say("Loading the maps")
        for fraction, said in loadRuns(self.plan, self._folder, self._added):
            self._advance(_FITTED + (1 - _FITTED) * fraction)
            self.notes += said
            self.log += said
            yield
        if len(self._added) > 1:
            shareWindows(self._added)
        self._mark("loading", began)

    def _fit(self, process: WorkerProcess) -> Iterator[None]:
        began = time.monotonic()
        self._process = process
        process.start()
        failure = None
        isComplete = False
        while process.isRunning():
            for event in process.poll():
                isComplete = isComplete or event["event"] == "result"
                failure = event if event["event"] == "error" else failure
                self._take(event)
            yield
        if process.lastErrorText:
            self.log += process.lastErrorText.splitlines()
        if failure is not None:
            sentence = f"{failure.get('sentence', '')} {failure.get('advice', '')}".strip()
            if "no space left" in sentence:
                sentence = spaceSentence(None, self._folder)
            self.isOurFault = process.returnCode == 1
            raise InputError(sentence)
        if process.returnCode != 0 or not isComplete:
            raise InputError(
                f"The fitting process ended unexpectedly ({process.describeEnd()}); somebody may have ended it, or the "
                "memory was full: press Apply again."
            )
        self._mark("process", began)

    def _take(self, event: dict[str, Any]) -> None:
        """Take what the process says."""
        kind = event["event"]
        if kind == "progress":
            self._advance(_SENT + (_FITTED - _SENT) * float(event.get("fraction") or 0.0))
            self.secondsLeft = event.get("seconds_left")
        elif kind == "status":
            self._say(str(event.get("text", "")))
        elif kind == "warning":
            self.notes.append(str(event.get("text", "")))
            self.log.append(str(event.get("text", "")))
        elif kind == "log":
            self.log.append(str(event.get("text", "")))

    def _advance(self, fraction: float) -> None:
        # Never back: a piece that waits for its thread reports the beginning of its step, however far others are.
        self.fraction = max(self.fraction, fraction)

    def _say(self, text: str) -> None:
        self.statusText = text
        self.log.append(text)

    def _mark(self, part: str, began: float) -> None:
        self.timings[part] = time.monotonic() - began

    # --- the end -------------------------------------------------------------------------------------------------

    def _fail(self, sentence: str, isOurFault: bool = False) -> None:
        self.sentence = sentence
        self.isOurFault = self.isOurFault or isOurFault
        self.log.append(sentence)
        self._end(FAILED)

    def _end(self, state: str) -> None:
        """Leave nothing behind but what the state promises."""
        if self._process is not None:
            self._process.kill()
        if self._folder is not None:
            self._removeFolder()
        scene = self.plan.scene
        if state == DONE:
            found = {run.estimator: run for run in runsOf(scene) if run.runId == self.plan.runId}
            self.runs = [found[request.name] for request in self.plan.requests if request.name in found]
            self.fraction = 1.0
        else:
            for nodes in self._added:
                removeNodes(scene, nodes.nodes(), nodes.folderItem)
        self._added = []
        scene.RemoveObserver(self._observation)
        self.secondsLeft = None
        self.state = state
        self.statusText = {DONE: "Done", FAILED: "Failed", CANCELLED: "Cancelled"}[state]
        self.log.append(self.statusText)
        self._ended = time.monotonic()


def _observeClosing(scene: slicer.vtkMRMLScene, handle: RunHandle) -> int:
    """Cancel a run before its scene closes; the observer does not keep the run alive."""
    reference = weakref.ref(handle)

    def onStartClose(caller, event) -> None:
        run = reference()
        if run is not None:
            run.cancel()

    return scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, onStartClose)
