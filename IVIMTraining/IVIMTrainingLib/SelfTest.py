"""The self test of the module: a training of a few seconds through the real process, without keeping it."""

from __future__ import annotations

from collections.abc import Callable

from ivimcore.networks.choices import Plan, training_ranges
from IVIMMappingLib.TorchOffer import canRunNetworks

from .TrainingLogic import TrainingLogic

BVALUES = (0.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0)
MINUTES = 0.1


def runSelfTest(logic: TrainingLogic, say: Callable[[str], object] = print) -> None:
    """Train a small network and look at its checks; says so and returns where PyTorch is missing.

    `say` shows a sentence. Raises AssertionError.
    """
    if not canRunNetworks():
        say("PyTorch is not installed: nothing can be trained here")
        return
    say("Training a small network")
    plan = Plan(BVALUES, (30.0, 30.0), training_ranges(), members=1, title="Self test")
    run = logic.start(plan, MINUTES)
    run.wait()
    try:
        assert run.state == "done", run.sentence
        assert run.history, "no loss was reported"
        assert run.checks, "there are no checks"
        errors = {row["parameter"]: row["nrmse"] for row in run.checks["rows"] if row["estimator"] == run.card.id}
        assert errors["D"] < 0.6, errors
    finally:
        run.stored.discard()
    say("The network was trained and checked")
