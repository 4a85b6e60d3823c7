"""What a person decides before a training, in plain words, and the recipe that follows from it. Needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..physics.presets import preset
from .cards import ID
from .recipes import checked

UNIFORM, PATIENTS, MIXTURE, SERIES = "uniform", "patients", "mixture", "series"
BROAD = {"D": (0.3e-3, 3.5e-3), "f": (0.0, 0.6), "Dstar": (3e-3, 0.12)}
"""Ranges of D, f and D* [stored units] for a training without an organ: those of the bundled network."""
_REACH = {"D": (0.25, 2.5), "f": (0.0, 3.0), "Dstar": (0.2, 3.0)}
"""Ends of a range in multiples of the organ's typical value: wide, because a lesion is no typical tissue."""
MOST_STEPS = 5_000_000
"""Steps that no budget of minutes reaches."""
SHORTEST, LONGEST = 0.02, 24 * 60.0
"""Budgets [minutes] that are taken."""
_POOL = 60_000
WIDER = 0.3
"""Share of the width of its bounds by which a sigmoid reaches further: as in `networks.mlp`, which needs torch."""


@dataclass(frozen=True)
class Choice:
    """One entry of a list: `key`, `title`, and `hint`, what it is good for."""

    key: str
    title: str
    hint: str


ARCHITECTURES = (
    Choice("mlp", "Small network", "Three layers of 64 units: trains in minutes, answers in 1 µs a voxel. Start here."),
    Choice("ivimnet", "A sub-network for each parameter",
           "The optimised IVIM-NET of Paper I: D* and f depend less on each other, but it trains more slowly."),
    Choice("cnn_bilstm", "Convolution, LSTM and attention",
           "Reads the signal as a curve along b: many times slower; worth a try with 16 or more b-values."),
    Choice("anyprotocol", "Posterior for any protocol",
           "Answers for any list of b-values with an uncertainty for every voxel: give it 30 minutes or more."),
)  # fmt: skip
STRATEGIES = (
    Choice("truth", "Supervised: true parameters",
           "Smallest error on average; at low SNR the answer is drawn towards the middle of the ranges."),
    Choice("signals", "Unsupervised: the signal itself",
           "The curve must fit the signal, as in least squares: little bias, more spread. Can learn from the series."),
    Choice("rician", "Unsupervised: likelihood",
           "As unsupervised, with the Rician noise taken into account: for low signal at high b."),
    Choice("mle_rician", "Maximum-likelihood labels",
           "Trained on fits instead of the truth: less bias than supervised, more spread. Takes one SNR."),
    Choice("hybrid", "Half truth, half labels", "Between supervised and maximum-likelihood labels. Takes one SNR."),
    Choice("posterior", "The exact posterior", "Learns mean, spread and shape of the posterior of every voxel."),
)  # fmt: skip
DISTRIBUTIONS = (
    Choice(UNIFORM, "Uniform within the ranges", "Every tissue in the ranges is equally likely: safe for lesions."),
    Choice(PATIENTS, "Tissue of the loaded series",
           "Drawn from a segmented fit of the series: precise for similar patients, weaker for what is rare in them."),
    Choice(MIXTURE, "Half uniform, half of the series", "A compromise: knows common tissue, and has seen the rest."),
    Choice(SERIES, "The voxels of the series themselves",
           "Unsupervised on measured signals, nothing simulated (Paper I): for this series, not for others."),
)  # fmt: skip
UNSUPERVISED = ("signals", "rician")
ONE_SNR = ("mle_rician", "hybrid")


def strategies_of(architecture: str) -> tuple[Choice, ...]:
    """Return the strategies with which an architecture can be trained."""
    return tuple(one for one in STRATEGIES if (one.key == "posterior") == (architecture == "anyprotocol"))


def training_ranges(organ: str = "none") -> dict[str, tuple[float, float]]:
    """Return ranges of D, f and Dstar [stored units] that hold the tissue of an organ and its lesions, "none" for any.

    Raises InputError for an unknown organ.
    """
    if organ == "none":
        return dict(BROAD)
    about = preset(organ)
    found = {}
    for key, (low, high) in _REACH.items():
        typical, (lowest, highest) = about.typical[key], about.bounds[key]
        found[key] = (round(max(lowest, low * typical), 5), round(min(highest, high * typical), 5))
    return found


def name_to_id(name: str) -> str:
    """Turn a name that a person typed into that of a model: small letters, digits and _. Raises InputError."""
    short = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")[:48].rstrip("_")
    short = short if len(short) > 1 and short[0].isalpha() else f"model_{short}"[:48]
    if not ID.fullmatch(short) or not re.search(r"[a-z0-9]", name.lower()):
        raise InputError(f"'{name}' cannot be the name of a model; type a few letters or digits.")
    return short


@dataclass(frozen=True)
class Plan:
    """All decisions: `bvalues` [s/mm²]; `snr` lowest and highest; `ranges` of D, f, Dstar [stored units];
    `distribution`, `architecture`, `strategy` keys of the lists above; `members` trainings; `early` stops without
    progress; `seed`."""

    bvalues: tuple[float, ...]
    snr: tuple[float, float]
    ranges: dict[str, tuple[float, float]]
    distribution: str = UNIFORM
    architecture: str = "mlp"
    strategy: str = "truth"
    members: int = 2
    early: bool = False
    seed: int = 1
    title: str = "My network"

    @property
    def needs_series(self) -> bool:
        """Whether the training reads the voxels of a series."""
        return self.distribution != UNIFORM

    def recipe(self) -> dict[str, Any]:
        """Return the recipe, checked; raises InputError with one sentence for decisions that contradict each other."""
        self._agree()
        content: dict[str, Any] = {
            "id": name_to_id(self.title), "title": self.title.strip(), "description": self._description(),
            "references": [], "strategy": {"labels": self.strategy}, "parameters": _lists(self.ranges),
            "noise": {"model": "rician", "snr": list(self.snr)}, "distribution": self._distribution(),
            "training": {"steps": MOST_STEPS, "schedule": "cosine", "members": self.members, "seed": self.seed},
        }  # fmt: skip
        if self.architecture == "anyprotocol":
            return checked({**content, **self._any_protocol(content)})
        content["architecture"] = self._architecture()
        content["acquisition"] = {"bvalues": sorted(set(self.bvalues))}
        content["normalisation"] = "b0"
        content["bounds"] = self._bounds()
        training = content["training"]
        training |= {"batch": 256, "rate": 1e-3, "warmup": 50, "every": 100, "keep": "last"}
        if self.architecture == "ivimnet":
            training |= {"rate": 3e-4, "keep": "best"}
        if self.architecture == "cnn_bilstm":
            training |= {"every": 25}
        if self.strategy in UNSUPERVISED:
            training |= {"clip": 1.0}
        if self.strategy in ONE_SNR:
            training |= {"pool": _POOL, "validation": 0.1}
        if self.early:
            training |= {"patience": 30, "keep": "best"}
        return checked(content)

    def _agree(self) -> None:
        for key, (low, high) in self.ranges.items():
            if not low < high:
                raise InputError(f"The range of {key} ends before it begins; make the upper end larger.")
        if self.strategy not in {one.key for one in strategies_of(self.architecture)}:
            raise InputError("This architecture cannot be trained with this strategy; choose another strategy.")
        if self.distribution == SERIES and self.strategy not in UNSUPERVISED:
            raise InputError("The voxels of a series have no known truth; choose an unsupervised strategy for them.")
        if self.distribution in (PATIENTS, MIXTURE) and self.strategy in UNSUPERVISED:
            raise InputError(
                "An unsupervised training learns from the voxels of the series themselves, or from uniform tissue; "
                "choose one of these."
            )
        if self.distribution != UNIFORM and self.architecture == "anyprotocol":
            raise InputError("The network for any protocol learns from uniform tissue; choose that.")
        if self.strategy in ONE_SNR and self.snr[0] != self.snr[1]:
            raise InputError("Maximum-likelihood labels take one SNR; type the same lowest and highest SNR.")

    def _description(self) -> str:
        how = {one.key: one.title for one in (*ARCHITECTURES, *STRATEGIES)}
        return f"{how[self.architecture]}; {how[self.strategy].lower()}. Trained by the person who uses it."

    def _distribution(self) -> dict[str, Any]:
        if self.distribution == PATIENTS:
            return {"kind": "patients"}
        if self.distribution == MIXTURE:
            return {"kind": "mixture", "parts": [{"kind": "uniform", "share": 1}, {"kind": "patients", "share": 1}]}
        return {"kind": "uniform"}

    def _architecture(self) -> dict[str, Any]:
        if self.architecture == "cnn_bilstm":
            return {"kind": "cnn_bilstm", "options": {
                "channels": 12, "units": 12, "heads": 2, "dropout": 0.0, "output": "sigmoid", "fit_S0": True}}
        if self.architecture == "ivimnet":
            return {"kind": "mlp", "options": {
                "hidden": 0, "layers": 2, "parallel": True, "dropout": 0.1, "batch_norm": True, "output": "sigmoid",
                "fit_S0": True}}
        # Published for the supervised case; fits to signals stay inside physical limits with a sigmoid.
        output = "sigmoid" if self.strategy in UNSUPERVISED else "scaled"
        return {"kind": "mlp", "options": {"hidden": 64, "layers": 3, "output": output, "fit_S0": True}}

    def _bounds(self) -> dict[str, list[float]]:
        """Return where outputs may lie [stored units]: wider than the ranges, as in Paper I."""
        high = {key: pair[1] for key, pair in self.ranges.items()}
        upper = 1.5 * high["Dstar"]
        # A sigmoid reaches 30 % of the width beyond its bounds. A negative D* there would let the signal of high b
        # overflow, so that the lower end is where the sigmoid just reaches 0.
        low = upper * WIDER / (1 + WIDER) if self.strategy in UNSUPERVISED else self.ranges["Dstar"][0] / 2
        return {"D": [0.0, 1.5 * high["D"]], "f": [0.0, min(1.0, high["f"] + 0.15)], "Dstar": [low, upper],
                "S0": [0.7, 1.3]}  # fmt: skip

    def _any_protocol(self, content: dict[str, Any]) -> dict[str, Any]:
        b = sorted(set(self.bvalues))
        return {
            "architecture": {"kind": "anyprotocol", "options": {
                "hidden": 96, "layers": 4, "components": 4, "token": 48, "context": 128, "depth": 2, "heads": 4}},
            "acquisition": {"images": [4, 32], "b": [0, max(1500.0, b[-1])], "checked_on": b},
            "normalisation": "direction",
            "training": {**content["training"], "groups": 16, "batch": 384, "rate": 2e-3, "warmup": 200, "clip": 3.0,
                         "every": 20, "keep": "last"},
        }  # fmt: skip


def _lists(ranges: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {key: [float(low), float(high)] for key, (low, high) in ranges.items()}
