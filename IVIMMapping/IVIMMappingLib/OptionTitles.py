"""Options of estimators in the words of the panel; their names, which scripts use, stand in the tool tip."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ivimcore.estimators import Option


def titleOf(option: Option) -> str:
    """Return the title of an option: a few words, or its name where nobody wrote any."""
    name = option.name.replace("_", " ")
    return _titles().get(option.name, f"{name[:1].upper()}{name[1:]}")


def wordsOf(option: Option, choice: str) -> str:
    """Return how a person reads one choice of an option, or the choice itself."""
    return _words().get((option.name, choice), choice.replace("_", " "))


def isUsed(option: Option, values: dict[str, Any]) -> bool:
    """Tell whether an option has an effect while the others have these values."""
    name, wanted = _NEEDS.get(option.name, ("", ()))
    return not name or values.get(name) in wanted


_NEEDS = {
    "broad": ("prior", ("learned", "learned_local")),
    "floor": ("prior", ("learned", "learned_local")),
    "rounds": ("prior", ("learned",)),
    "sample": ("prior", ("learned",)),
    "seed": ("prior", ("learned",)),
    "window": ("prior", ("learned_local",)),
    "local_rounds": ("prior", ("learned_local",)),
    "prior_file": ("prior", ("file",)),
}
"""Options without effect unless another one has one of these values."""


def _titles() -> dict[str, str]:
    return {
        "errors": _("Standard deviations from"),
        "prior": _("Known beforehand (prior)"),
        "point": _("Number in the map"),
        "noise_model": _("Kind of noise"),
        "interval": _("Probability in the interval"),
        "broad": _("Prior to begin with"),
        "floor": _("Share of it that is kept"),
        "rounds": _("Rounds of learning"),
        "window": _("Neighbours that teach"),
        "local_rounds": _("Rounds among neighbours"),
        "sample": _("Voxels that teach"),
        "seed": _("Seed of their choice"),
        "prior_file": _("File of the prior"),
        "backend": _("Computed with"),
        "sigma": _("Noise (sigma)"),
        "recipe": _("Recipe"),
        "ensemble": _("All trainings of the model"),
        "neighbourhood": _("Neighbours"),
        "attention": _("Neighbours compared with"),
        "lowest": _("Use b from"),
        "highest": _("Use b up to"),
        "threshold": _("D from b of at least"),
        "fit_f": _("Fit f again with D*"),
    }


def _words() -> dict[tuple[str, str], str]:
    return {
        ("errors", "fisher"): _("Fisher information (quick)"),
        ("errors", "profile"): _("profile likelihood (slow)"),
        ("prior", "learned_local"): _("learned from the neighbours"),
        ("prior", "learned"): _("learned from the region"),
        ("prior", "uniform"): _("uniform"),
        ("prior", "log_uniform"): _("uniform in the logarithm"),
        ("prior", "organ"): _("typical of the organ"),
        ("prior", "file"): _("from a file"),
        ("broad", "log_uniform"): _("uniform in the logarithm"),
        ("noise_model", "rician"): _("Rician (magnitude images)"),
        ("noise_model", "gaussian"): _("Gaussian (real-valued images)"),
        ("neighbourhood", "2d"): _("in the slice"),
        ("neighbourhood", "3d"): _("in the slice and the next ones"),
        ("attention", "auto"): _("whatever is quickest"),
        ("attention", "reference"): _("plain torch"),
        ("attention", "natten"): _("natten"),
        ("backend", "auto"): _("whatever is quickest"),
    }
