"""Everything the training panel does, for Python scripts: train, blocking or not, and save."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from typing import Any

import slicer

from ivimcore.errors import Cancelled, InputError
from ivimcore.networks.cards import ModelCard
from ivimcore.networks.choices import LONGEST, SHORTEST, UNIFORM, Plan, training_ranges
from ivimcore.networks.keeping import RECIPE, own_models, save_model
from IVIMMappingLib.SeriesReader import SeriesInScene, readSeries

from .SeriesForTraining import bvaluesOf, measureSnr
from .TrainingFolder import StoredTraining, createTraining
from .TrainingRun import FAILED, TrainingRun


class TrainingLogic:
    """Trains networks; `scene` and `applicationLogic` are those of Slicer.

    Example, in Slicer's Python console, with a diffusion-weighted sequence in the scene::

        logic = slicer.modules.ivimtraining.widgetRepresentation().self().logic
        card = logic.train("liver of our scanner", dwiNode=slicer.util.getNode("DWI"), organ="liver", minutes=15)
        print(card.id, card.folder)
    """

    def __init__(self, scene: slicer.vtkMRMLScene, applicationLogic) -> None:
        self.scene = scene
        self.applicationLogic = applicationLogic

    def train(
        self, name: str, bvalues: Sequence[float] | None = None, snr: float | Sequence[float] | None = None,
        dwiNode=None, minutes: float = 10.0, wait: bool = True, *, organ: str = "none",
        ranges: dict[str, Sequence[float]] | None = None, distribution: str = UNIFORM, architecture: str = "mlp",
        strategy: str = "truth", members: int = 2, early: bool = False, seed: int = 1,
    ) -> ModelCard | TrainingRun:
        """Train a network in a process of its own and save it among the person's models.

        Arguments: `name` as it is shown; `bvalues` of the protocol [s/mm²] and `snr` at b = 0, one number or (lowest,
        highest): None takes them from `dwiNode`, a sequence, DWI, vector or multivolume node; `minutes` for all
        `members` together; `organ` or `ranges` {"D": (low, high), ...} in stored units; `distribution`,
        `architecture`, `strategy` as in `ivimcore.networks.choices`; `early` stops without progress.

        Returns the card; with `wait` False a TrainingRun at once: call its `step` until it returns False, then `save`.
        Raises InputError for choices that contradict each other, without PyTorch, and when nothing was learned;
        Cancelled if it was stopped (the best so far can be resumed in the panel). The window stays alive meanwhile.
        """
        series = None if dwiNode is None else self.series(dwiNode)
        if bvalues is None:
            if series is None:
                raise InputError("There is neither a list of b-values nor a series; give one of them.")
            bvalues = bvaluesOf(series)
        if snr is None:
            if series is None:
                raise InputError("There is neither an SNR nor a series to measure it in; give one of them.")
            measured = measureSnr(series)
            snr = (measured.low, measured.high)
        pair = (float(snr), float(snr)) if isinstance(snr, (int, float)) else tuple(float(x) for x in snr)
        chosen = {**training_ranges(organ), **{key: tuple(pair) for key, pair in (ranges or {}).items()}}
        plan = Plan(
            tuple(float(b) for b in bvalues), pair, chosen, distribution, architecture, strategy, int(members),
            bool(early), int(seed), str(name),
        )
        run = self.start(plan, minutes, series)
        if not wait:
            return run
        run.wait(between=_processEvents)
        if run.state == FAILED:
            raise InputError(run.sentence)
        if run.card is None or run.state != "done":
            raise Cancelled("The training was stopped; it can be resumed in the panel of IVIM Training.")
        return self.save(run.stored, name)

    def start(self, plan: Plan, minutes: float, series: SeriesInScene | None = None) -> TrainingRun:
        """Begin the training of a plan; `series` is needed where the plan reads voxels. Raises InputError."""
        if not SHORTEST <= minutes <= LONGEST:
            raise InputError(f"The budget is {minutes:g} minutes; choose {SHORTEST:g} to {LONGEST:g}.")
        bvalues = None
        if plan.needs_series:
            if series is None:
                raise InputError("This training learns from a series; choose one, or uniform tissue.")
            bvalues = tuple(float(b) for b in bvaluesOf(series))
            if sorted(set(bvalues)) != sorted(set(plan.bvalues)):
                raise InputError(
                    "The b-values differ from those of the series that is learned from; take those of the series."
                )
        stored = createTraining(plan.recipe(), float(minutes), bvalues)
        return TrainingRun(stored, series if plan.needs_series else None)

    def resume(self, stored: StoredTraining) -> TrainingRun:
        """Go on with a training that was stopped or interrupted. Raises InputError where there is nothing to resume."""
        if not stored.canResume:
            raise InputError(f"The training '{stored.title}' cannot be resumed; start it again.")
        return TrainingRun(stored, None, resume=True)

    def goOnWithProcessor(self, stored: StoredTraining) -> TrainingRun:
        """Go on with a training for which the GPU has no memory left, from what it has saved or from its start.

        Raises InputError for a folder that cannot be written.
        """
        return TrainingRun(stored.onProcessor(), None, resume=stored.canResume)

    def save(self, stored: StoredTraining, title: str, description: str | None = None) -> ModelCard:
        """Save what a training has learned among the person's models, and delete the rest of it; returns the card.

        Raises InputError for a name that is taken, a full disk, and a training without a result.
        """
        if not stored.hasModel:
            raise InputError(f"The training '{stored.title}' has no result yet; resume it.")
        with contextlib.suppress(OSError):  # a model without its recipe is still a model
            shutil.copyfile(stored.folder / RECIPE, stored.modelFolder / RECIPE)
        card = save_model(stored.modelFolder, title, description)
        stored.discard()
        return card

    def models(self) -> list[ModelCard]:
        """Return the cards of the person's own models."""
        return own_models()

    def series(self, node: Any) -> SeriesInScene:
        """Read a series of the scene; raises InputError for a node that is none."""
        if isinstance(node, SeriesInScene):
            return node
        if node is None or not hasattr(node, "IsA"):
            raise InputError("No series was given; give the node of a diffusion-weighted series.")
        return readSeries(node)


def _processEvents() -> None:
    application = getattr(slicer, "app", None)
    if application is not None:
        application.processEvents()
