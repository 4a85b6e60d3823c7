"""The process that carries out a fit: started, listened to, cancelled and never left behind.

No QProcess: its bytes decode differently in Qt 5 and 6, and this must also work without Qt.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from ivimcore.jobs.job import Job
from ivimcore.jobs.training import TrainingJob

from .PythonExecutable import hiddenWindow, pythonExecutable, workerEnvironment

GRACE = 2.0
"""Time [s] that a cancelled process gets to end by itself."""
_LAST_LINES = 20
JOB_FILE = "job.json"


class WorkerProcess:
    """Carries out `job` in a child process with `folder` (private, existing) as its working folder.

    Example::

        process = WorkerProcess(job, folder)
        process.start()
        while process.isRunning():
            for event in process.poll():
                print(event)
            time.sleep(0.1)

    Two threads read what the child says into a queue, which `poll` empties; in an idle desktop window Python threads
    hardly run, so a poll lets them have a moment. The child ends by itself as soon as its stdin closes, which happens
    even if this process is killed; if the object goes away or Python ends, the child is killed.
    """

    def __init__(
        self, job: Job | TrainingJob, folder: str | Path, executable: str | None = None, grace: float = GRACE
    ) -> None:
        self.job = job
        self.grace = grace
        """Time [s] between `cancel` and the forced end."""
        self.folder = Path(folder)
        self.executable = executable
        self.returnCode: int | None = None
        """The exit code once the process has ended: 0 done, 2 wrong input, 130 cancelled, negative a signal."""
        self._process: subprocess.Popen | None = None
        self._lines: queue.SimpleQueue = queue.SimpleQueue()
        self._errors: list[str] = []
        self._open = 0
        self._deadline: float | None = None
        self._finalizer = None

    def start(self) -> None:
        """Write the job file and start the process. Raises InputError without a usable Python, OSError on a full disk.
        """
        if self._process is not None:
            raise RuntimeError("The process was started already.")
        path = self.folder / JOB_FILE
        path.write_text(self.job.to_json(), encoding="utf-8")
        self._process = subprocess.Popen(
            [self.executable or pythonExecutable(), "-m", "ivimcore.worker", str(path)], cwd=self.folder,
            env=workerEnvironment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            **hiddenWindow(),
        )
        self._finalizer = weakref.finalize(self, _end, self._process)  # also at the end of Python
        self._open = 2
        # The threads know only stream and queue: a reference to this object would keep it alive for ever.
        for stream, name in ((self._process.stdout, "event"), (self._process.stderr, "error")):
            threading.Thread(target=_read, args=(stream, name, self._lines), daemon=True).start()

    def poll(self) -> list[dict[str, Any]]:
        """Return the events since the last call, oldest first; never waits longer than some milliseconds."""
        if self._process is None:
            return []
        if self._open and self._lines.empty():
            time.sleep(0.001)
        events = []
        while not self._lines.empty():
            name, line = self._lines.get()
            if line is None:
                self._open -= 1
            elif name == "error":
                self._errors = [*self._errors[1 - _LAST_LINES:], line]
            else:
                events.append(_event(line))
        if self._deadline is not None and time.monotonic() > self._deadline and self._process.poll() is None:
            self._process.kill()
        if self._open == 0 and self.returnCode is None:
            self.returnCode = self._process.poll()
            if self.returnCode is not None:
                self._finalizer()
        return events

    def isRunning(self) -> bool:
        """Tell whether the process runs, or has said something that nobody has polled yet."""
        return self._process is not None and self.returnCode is None

    def cancel(self) -> None:
        """Ask the process to stop by closing its stdin; a `poll` after `grace` seconds kills it if it has not."""
        if self.isRunning() and self._deadline is None:
            self._deadline = time.monotonic() + self.grace
            _closeStdin(self._process)

    def kill(self) -> None:
        """End the process at once and wait until it is gone (milliseconds): what it has written may be removed then."""
        if self._process is not None:
            self._finalizer()
            self.returnCode = self._process.returncode

    @property
    def processId(self) -> int | None:
        """The number of the process, None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def lastErrorText(self) -> str:
        """The last lines that the process wrote to stderr."""
        return "\n".join(self._errors)

    def describeEnd(self) -> str:
        """Say how the process ended, for a sentence: 'signal 9, SIGKILL' or 'exit code 1'."""
        code = self.returnCode
        if code is None or code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {-code}, {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"


def _read(stream, name: str, lines: queue.SimpleQueue) -> None:
    """Put each line of a stream of the child into the queue, at its end None."""
    try:
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                lines.put((name, text))
    except (OSError, ValueError):
        pass  # closed on our side
    finally:
        stream.close()
        lines.put((name, None))


def _event(line: str) -> dict[str, Any]:
    """Return the event of a line; a line that a library printed becomes a line of the log."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "event" in event else {"event": "log", "text": line}


def _closeStdin(process: subprocess.Popen) -> None:
    with contextlib.suppress(OSError):  # it may have ended meanwhile
        process.stdin.close()


def _end(process: subprocess.Popen) -> None:
    """End a process whatever it does, and let go of its streams."""
    _closeStdin(process)
    if process.poll() is None:
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # the system may not be able to, as with a dead network drive
        process.wait(5)
