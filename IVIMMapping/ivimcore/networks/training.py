"""The loop: repeatable by its seed, stoppable, resumable after a kill, and honest about how long it takes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import GpuMemoryError, InputError
from . import checkpoint
from .tasks import Batch, Task

Tensor = torch.Tensor
SAVE_EVERY = 30.0
"""Seconds between checkpoints, at validations."""
WARM_STEPS, TIMED_STEPS, TIMED_SHARE, TIMED_SECONDS = 5, 30, 0.05, 3.0
"""How many steps fit into a budget of minutes is told by the steps after the first few, which load what torch needs: at
least so many, and as many as take this share of the budget, or that many seconds if it is less."""
CHECK_PART = 4096
"""Voxels of a validation in one piece."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands: step of `steps` of member `member` of `members`, losses, seconds left of all members."""

    member: int
    members: int
    step: int
    steps: int
    loss: float
    check: float
    seconds_left: float
    note: str = ""


Tell = Callable[[Progress], bool | None]
"""Called at every validation; returning False stops the training, which keeps the best so far."""


@dataclass
class Trained:
    """What a training gave: the weights that count, why it ended, the history (step, loss, check loss), seconds."""

    weights: dict[str, Tensor]
    ended: str
    steps: int
    seconds: float
    history: list[tuple[int, float, float]] = field(default_factory=list)
    best: float = math.inf


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to train on: "auto" is "cuda" where there is one, else "cpu".

    Raises InputError where "cuda" is asked for and cannot be had.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no GPU that PyTorch can use; choose the device 'cpu' or 'auto'.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def repeatable(device: torch.device, wanted: bool) -> Iterator[None]:
    """Let a GPU use only kernels whose sums have one order, where `wanted`; a processor always does.

    What torch has no such kernel for still runs, with torch's own warning.
    """
    if not wanted or device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def use_threads(number: int | None) -> None:
    """Let torch use so many cores, or as many as it likes."""
    if number:
        torch.set_num_threads(number)


class Trainer:
    """Trains one task; `settings` are the entries of `training` in a recipe, `folder` holds its checkpoint.

    Arguments: `minutes` limits the time, by fewer steps, or None; `member`, `members` for the reports.
    """

    def __init__(
        self, task: Task, settings: dict[str, Any], folder: Path, minutes: float | None = None, device: str = "auto",
        member: int = 0, members: int = 1,
    ) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        self.minutes, self.member, self.members = minutes, member, members
        self.device = choose_device(device)
        self.step, self.steps, self.parts = 0, settings["steps"], 1
        try:
            task.network.to(self.device)
        except torch.cuda.OutOfMemoryError:
            raise self._no_memory() from None
        # "decay" shrinks weights apart from the gradient (AdamW), "l2" is a part of the loss (Adam as first published).
        kind, decay = (torch.optim.Adam, settings["l2"]) if settings["l2"] else (torch.optim.AdamW, settings["decay"])
        self.optimizer = kind(task.network.parameters(), lr=settings["rate"], betas=(0.9, 0.999), weight_decay=decay)
        self.seed = settings["seed"] + 1000 * member
        self.used, self.waited, self.best = 0.0, 0, math.inf
        self.history: list[tuple[int, float, float]] = []
        self.best_weights = self._weights()
        self.planned = minutes is None
        self._warm: tuple[int, float] | None = None
        self.ended = ""

    def _weights(self) -> dict[str, Tensor]:
        return {key: value.detach().cpu().clone() for key, value in self.task.network.state_dict().items()}

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "step": self.step, "steps": self.steps, "used": self.used, "waited": self.waited, "planned": self.planned,
            "best": None if math.isinf(self.best) else self.best, "history": self.history, "member": self.member,
            "seed": self.seed, "ended": self.ended,
        }  # fmt: skip
        tensors = {f"net.{key}": value for key, value in self.task.network.state_dict().items()}
        tensors |= {f"best.{key}": value for key, value in self.best_weights.items()}
        checkpoint.write(self.folder, state, {**tensors, **checkpoint.of_optimizer(self.optimizer)})

    def resume(self) -> bool:
        """Go back to the checkpoint, if there is one; say whether."""
        found = checkpoint.read(self.folder)
        if found is None:
            return False
        state, tensors = found
        if state["seed"] != self.seed or state["member"] != self.member:
            raise InputError(f"The checkpoint in {self.folder} is of another training; train without --resume.")
        try:
            self.task.network.load_state_dict(checkpoint.under(tensors, "net."))
            checkpoint.into_optimizer(self.optimizer, tensors)
        except (RuntimeError, ValueError, KeyError):
            raise InputError(f"The checkpoint in {self.folder} is of another recipe; train without --resume.") from None
        self.best_weights = checkpoint.under(tensors, "best.")
        self.step, self.steps, self.used, self.waited = (state[key] for key in ("step", "steps", "used", "waited"))
        self.planned, self.ended = state["planned"], state["ended"]
        self.best = math.inf if state["best"] is None else state["best"]
        self.history = [tuple(row) for row in state["history"]]
        return True

    def run(self, tell: Tell = lambda progress: True) -> Trained:
        """Train to the end of the steps or the patience, or until `tell` says stop.

        Raises InputError where the loss is no number before anything was learned or the disk is full, GpuMemoryError
        where the GPU holds not even the smallest part of a batch.
        """
        with repeatable(self.device, self.settings["deterministic"]):
            return self._run(tell)

    def _run(self, tell: Tell) -> Trained:
        began, sum_of, count = time.perf_counter() - self.used, 0.0, 0
        last_save = -math.inf  # the first validation is saved: a training of seconds can be killed, too
        while self.step < self.steps and not self.ended:
            loss = self._step()
            self.used = time.perf_counter() - began
            if not math.isfinite(loss):
                self.ended = f"the loss was no number at step {self.step}; the best weights before it are kept"
                if math.isinf(self.best):
                    raise InputError("The loss is no number from the start; lower the rate or check the recipe.")
                break
            self.step += 1
            sum_of, count = sum_of + loss, count + 1
            if not self.planned:
                self._plan()
            if self.step % self.settings["every"] == 0 or self.step == self.steps:
                go_on = self._validate(sum_of / count, tell)
                sum_of, count = 0.0, 0
                if not go_on:
                    self.ended = "stopped; the best so far is kept"
                elif time.perf_counter() - last_save > SAVE_EVERY or self.step == self.steps or self.ended:
                    self.save()
                    last_save = time.perf_counter()
        if self.ended:
            self.save()
        keep_best = self.settings["keep"] == "best" or (self.ended and not math.isinf(self.best))
        weights = self.best_weights if keep_best else self._weights()
        return Trained(weights, self.ended or "finished", self.step, self.used, self.history, self.best)

    def _plan(self) -> None:
        """Choose the number of steps, as soon as some were timed after the first ones."""
        if self._warm is None or self.step < WARM_STEPS:
            self._warm = (self.step, self.used)
        timed, seconds = self.step - self._warm[0], self.used - self._warm[1]
        budget = 60 * self.minutes
        enough = timed >= TIMED_STEPS - WARM_STEPS and seconds >= min(TIMED_SHARE * budget, TIMED_SECONDS)
        if not enough and self.used < budget:
            return
        self.planned = True
        left = max(0.0, budget - self.used)
        self.steps = min(self.settings["steps"], self.step + max(1, int(left * timed / max(seconds, 1e-9))))

    def _rate(self) -> float:
        done = self.step / max(1, self.steps if self.planned else self.settings["steps"])
        warm = min(1.0, (self.step + 1) / max(1, self.settings["warmup"]))
        if self.settings["schedule"] == "cosine":
            warm *= 0.5 * (1 + math.cos(math.pi * min(done, 1.0))) * 0.99 + 0.01
        return self.settings["rate"] * warm

    def _step(self) -> float:
        """Do one step, in smaller parts where the memory of the GPU demands it."""
        network = self.task.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        torch.manual_seed((self.seed * 7_368_787 + self.step) % 2**63)  # dropout
        batch = tuple(part.to(self.device) for part in self.task.batch(self.step))
        while True:
            try:
                self.optimizer.zero_grad(set_to_none=True)
                loss = self._backward(batch)
                break
            except torch.cuda.OutOfMemoryError:
                self._smaller(batch[0].shape[0])
        if math.isfinite(loss):
            if self.settings["clip"]:
                torch.nn.utils.clip_grad_norm_(network.parameters(), self.settings["clip"])
            self.optimizer.step()
        return loss

    def _smaller(self, most: int) -> None:
        """Cut batches into twice as many parts; raises GpuMemoryError where these would be more than `most`."""
        self.parts *= 2
        torch.cuda.empty_cache()
        if self.parts > most:
            raise self._no_memory()

    @staticmethod
    def _no_memory() -> GpuMemoryError:
        return GpuMemoryError(
            "The GPU has no memory left for this training; close what uses it, choose a smaller 'batch', or train on "
            "the processor."
        )

    def _backward(self, batch: Batch) -> float:
        total = 0.0
        size = -(-batch[0].shape[0] // self.parts)
        for start in range(0, batch[0].shape[0], size):
            piece = tuple(part[start : start + size] for part in batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bool(self.settings["amp"])):
                loss = self.task.loss(*piece) * (piece[0].shape[0] / batch[0].shape[0])
            loss.backward()
            total += float(loss.detach())
        return total

    @torch.no_grad()
    def check(self) -> float:
        """Return the loss of the voxels held out."""
        self.task.network.eval()
        whole = max(1, CHECK_PART // max(1, self.task.check[0][0].numel() // self.task.check[0].shape[-1]))
        while True:
            try:
                return self._check(max(1, whole // self.parts))
            except torch.cuda.OutOfMemoryError:
                self._smaller(whole)

    def _check(self, step: int) -> float:
        total, size = 0.0, self.task.check[0].shape[0]
        for start in range(0, size, step):
            piece = tuple(part[start : start + step].to(self.device) for part in self.task.check)
            total += float(self.task.loss(*piece)) * piece[0].shape[0]
        return total / size

    def _validate(self, loss: float, tell: Tell) -> bool:
        """Measure, remember the best, report; say whether to go on."""
        check = self.check()
        self.history.append((self.step, loss, check))
        if check < self.best:
            self.best, self.waited, self.best_weights = check, 0, self._weights()
        else:
            self.waited += 1
        if self.settings["patience"] and self.waited >= self.settings["patience"]:
            self.ended = f"no progress for {self.waited} validations"
        a_step = self.used / max(1, self.step)
        left = a_step * (self.steps - self.step + self.steps * (self.members - self.member - 1))
        note = f"the batch is cut into {self.parts} parts to fit the GPU" if self.parts > 1 else ""
        report = Progress(self.member, self.members, self.step, self.steps, loss, check, left, note)
        return tell(report) is not False
