"""The process that carries out one job: events as JSON lines on stdout, cancel by closing stdin.

    python -m ivimcore.worker job.json

Exit codes: 0 done, 2 the input is wrong, 1 a fault of ours, 130 cancelled.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

# The chunks of a fit already use every core; this must be set before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from ..errors import Cancelled, GpuMemoryError, InputError
from .events import Event, error, status, to_line

DONE, FAULT, WRONG_INPUT, CANCELLED = 0, 1, 2, 130
GRACE = 0.7
"""Seconds between a wish to stop and the forced end of a step that cannot be interrupted."""
TRAINING_GRACE = 30.0
"""The same for a training, which first writes the best so far."""


class Worker:
    """Carries out one job and reports on a stream; stops when asked, or when its stdin closes."""

    def __init__(self, output: object = sys.stdout, after_training: Any = None) -> None:
        self._output = output
        self._after_training = after_training
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._grace = GRACE

    def emit(self, event: Event) -> None:
        """Write one event; a reader that has gone away means stop."""
        try:
            with self._lock:
                print(to_line(event), file=self._output, flush=True)
        except (BrokenPipeError, ValueError):
            self._stop.set()

    def watch(self, stream: object) -> None:
        """Stop when `stream` ends or says "cancel"; end the process if work does not stop by itself."""
        try:
            for line in stream:
                if line.strip() == "cancel":
                    break
        except (OSError, ValueError):
            pass
        self.stop()

    def stop(self) -> None:
        """Ask the work to stop, and make sure of it."""
        self._stop.set()
        if not self._finished.wait(self._grace):
            from ..data.output import remove_unfinished

            remove_unfinished()
            self.emit(status("cancelled"))
            os._exit(CANCELLED)

    def run(self, path: Path) -> int:
        """Carry out the job in a file; return the exit code."""
        from .job import Job, run

        try:
            text = _read(path)
            training = _training(text)
            if training is not None:
                from .training import TrainingJob, run_training

                self._grace = TRAINING_GRACE
                run_training(
                    TrainingJob.from_content(training), self.emit, self._stop.is_set, self._after_training
                )
                return DONE
            run(Job.from_json(text), self.emit, self._stop.is_set)
            return DONE
        except Cancelled:
            self.emit(status("cancelled"))
            return CANCELLED
        except GpuMemoryError as fault:
            self.emit(error(str(fault), "gpu_memory"))
            return WRONG_INPUT
        except InputError as fault:
            self.emit(error(str(fault)))
            return WRONG_INPUT
        except MemoryError:
            self.emit(error("There is not enough memory for this series; choose a smaller region or close programs."))
            return WRONG_INPUT
        except Exception as fault:
            traceback.print_exc()
            self.emit(error(f"A fault in IVIMSlicer ({type(fault).__name__}: {fault}); please report it with the log."))
            return FAULT
        finally:
            self._finished.set()


def _training(text: str) -> Any:
    """Return the entry `train` of a job file, None for one that maps."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content.get("train") if isinstance(content, dict) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"The job file cannot be read ({fault}); write it again.") from None


def main(arguments: list[str] | None = None, after_training: Any = None) -> int:
    """Run the worker on one job file named on the command line; `after_training` looks at a trained model."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m ivimcore.worker job.json", file=sys.stderr)
        return WRONG_INPUT
    worker = Worker(after_training=after_training)
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: threading.Thread(target=worker.stop, daemon=True).start())
    threading.Thread(target=worker.watch, args=(sys.stdin,), daemon=True).start()
    code = worker.run(Path(arguments[0]))
    sys.stdout.flush()
    # The thread that watches stdin may hold its lock: leave without waiting for it.
    os._exit(code)
