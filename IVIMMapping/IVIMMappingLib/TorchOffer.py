"""torch for the estimators that need it: through Slicer's PyTorch extension, after one question, never at import.

torch is looked up, not imported: loading it into Slicer's own process can crash Slicer, and only the fitting process,
which is another one, computes with it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.estimators import create
from ivimcore.jobs.job import Request

OLDEST = ">=2.2"


def needsTorch(requests: Sequence[Request]) -> list[str]:
    """Return the names of those estimators that compute with torch, as their options stand."""
    names = []
    for request in requests:
        estimator = create(request.name, **request.options)
        if getattr(estimator, "needs_torch", False) or getattr(estimator, "backend", None) == "torch":
            names.append(request.name)
    return names


def isTorchInstalled() -> bool:
    """Tell whether the fitting process would find torch."""
    return importlib.util.find_spec("torch") is not None


def offerTorch() -> str:
    """Ask once whether torch may be installed, and install it; return an empty string, or what is still missing.

    The PyTorch extension asks the question, shows the progress and chooses the build for this computer.
    """
    if isTorchInstalled():
        return ""
    if importlib.util.find_spec("PyTorchUtils") is None:
        return _(
            "This estimator needs PyTorch; install the extension 'PyTorch' with the Extensions Manager, restart "
            "Slicer and tick it again. All other estimators work without it."
        )
    utils = importlib.import_module("PyTorchUtils")
    installed = utils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=OLDEST)
    if installed is None or not isTorchInstalled():
        return _("PyTorch was not installed; tick the estimator again to be asked again, or choose another one.")
    return ""


def requireTorch(requests: Sequence[Request]) -> None:
    """Raise InputError if one of the estimators needs torch and it is not there; for scripts, which are not asked."""
    names = needsTorch(requests)
    if names and not isTorchInstalled():
        raise InputError(
            _("{names} need PyTorch, which is not installed; install it with the extension 'PyTorch'.").format(
                names=", ".join(names)
            )
        )
