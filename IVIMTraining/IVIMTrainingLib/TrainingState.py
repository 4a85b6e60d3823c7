"""What the sections of the training panel share: the choices, the series, and the training that goes on."""

from __future__ import annotations

from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.data.bvaluetable import parse_bvalues
from ivimcore.networks.choices import LONGEST, SHORTEST, Plan
from ivimcore.physics.parameters import PARAMETERS
from IVIMMappingLib.Announcement import Announcement
from IVIMMappingLib.SeriesReader import SeriesInScene
from IVIMMappingLib.TorchOffer import canRunNetworks

from .TrainingFolder import StoredTraining
from .TrainingLogic import TrainingLogic
from .TrainingParameterNode import TrainingParameterNode
from .TrainingRun import TrainingRun

KEYS = ("D", "f", "Dstar")


class TrainingState:
    """Shared by the sections; each reads and writes `parameters`, and announces what it changed.

    Announcements without arguments: `seriesChanged` another series (or none); `choicesChanged` anything else that is
    chosen; `runChanged` a training began, went on or ended; `shownChanged` another training is looked at;
    `modelsChanged` the person's models.
    """

    def __init__(self, logic: TrainingLogic) -> None:
        self.logic = logic
        self.parameters: TrainingParameterNode | None = None
        self.series: SeriesInScene | None = None
        self.run: TrainingRun | None = None
        self.shown: StoredTraining | None = None
        """The training whose checks are shown, and which can be saved, resumed or discarded."""
        for name in ("seriesChanged", "choicesChanged", "runChanged", "shownChanged", "modelsChanged"):
            setattr(self, name, Announcement())
        self.message = Announcement()
        """Called with (sentence, level): level is 'error', 'warning', 'information' or '' to clear."""

    def say(self, sentence: str, level: str = "warning") -> None:
        """Show one sentence at the top of the panel; an empty one clears it."""
        self.message(sentence, level if sentence else "")

    @property
    def isBusy(self) -> bool:
        """Whether a training goes on."""
        return self.run is not None and not self.run.isOver

    def bvalues(self) -> tuple[float, ...]:
        """Return the b-values as typed [s/mm²]; raises InputError for a text that is no list of them."""
        if not self.parameters.bvalues.strip():
            raise InputError(_("No b-values are given; type them in step 1, or take those of a series."))
        return parse_bvalues(self.parameters.bvalues)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the ranges of D, f and Dstar in stored units."""
        found = {}
        for key in KEYS:
            factor = PARAMETERS[key].display_factor
            found[key] = tuple(getattr(self.parameters, f"range{key}{end}") / factor for end in ("Low", "High"))
        return found

    def plan(self) -> Plan:
        """Return all decisions; raises InputError for b-values that cannot be read."""
        p = self.parameters
        return Plan(
            self.bvalues(), (p.snrLow, p.snrHigh), self.ranges(), p.distribution, p.architecture, p.strategy,
            p.members, p.early, title=p.title,
        )

    def fault(self) -> str:
        """Return what is wrong with the choices, or an empty text."""
        p = self.parameters
        try:
            if not 0 < p.snrLow <= p.snrHigh:
                return _("The SNR goes from {low} to {high}; it must be positive, the lower one first.").format(
                    low=f"{p.snrLow:g}", high=f"{p.snrHigh:g}"
                )
            plan = self.plan()
            plan.recipe()
        except InputError as fault:
            return str(fault)
        if plan.needs_series and self.series is None:
            return _("This training learns from a series; choose one in step 1, or uniform tissue in step 2.")
        if not SHORTEST <= p.minutes <= LONGEST:
            return _("The budget is {minutes} minutes; choose another one in step 3.").format(minutes=f"{p.minutes:g}")
        return ""

    def obstacle(self) -> str:
        """Return the sentence that says why a training cannot begin, or an empty one."""
        if not canRunNetworks():
            return _("PyTorch is not installed; press 'Get PyTorch…' above.")
        return self.fault()
