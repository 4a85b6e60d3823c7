"""Door of the worker: `python -m ivimcore.worker job.json`; see `ivimcore.jobs.worker`."""

from __future__ import annotations

from typing import Any

from .jobs.worker import main


def _after_training(card: Any, emit: Any) -> Any:
    from .evaluation.trainingchecks import after_training  # loads torch, which a fit may not need

    return after_training(card, emit)


if __name__ == "__main__":
    main(after_training=_after_training)
