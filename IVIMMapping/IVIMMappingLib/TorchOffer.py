"""torch for the estimators that need it: through Slicer's PyTorch extension, after one question, never at import.

torch is looked up, not imported: loading it into Slicer's own process can crash Slicer, and only the fitting process,
which is another one, computes with it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

import slicer
from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.estimators import create
from ivimcore.jobs.job import Request

from .PackageOffer import installPackage

OLDEST = ">=2.2"
SAFETENSORS = "safetensors>=0.4"


def needsTorch(requests: Sequence[Request]) -> list[str]:
    """Return the names of those estimators that compute with torch, as their options stand."""
    names = []
    for request in requests:
        estimator = create(request.name, **request.options)
        if isNetwork(estimator) or getattr(estimator, "backend", None) == "torch":
            names.append(request.name)
    return names


def isNetwork(estimator) -> bool:
    """Tell whether an estimator is a trained network, which is read from a file of safetensors."""
    return bool(getattr(estimator, "needs_torch", False))


def isTorchInstalled() -> bool:
    """Tell whether the fitting process would find torch."""
    return importlib.util.find_spec("torch") is not None


def canRunNetworks() -> bool:
    """Tell whether the other process would find all that trained networks need: torch and safetensors."""
    return isTorchInstalled() and importlib.util.find_spec("safetensors") is not None


def offerNetworks() -> str:
    """Ask once whether what networks need may be installed, and install it; return what is still missing, or ''.

    safetensors, half a megabyte that reads files of weights without running code, comes along with torch; where torch
    is there already, the question is about safetensors alone.
    """
    hadTorch = isTorchInstalled()
    missing = offerTorch()
    if missing or canRunNetworks():
        return missing
    if hadTorch and not slicer.util.confirmOkCancelDisplay(
        _("Trained networks are read by the package 'safetensors' (0.5 MB). Install it now?")
    ):
        return _("The package 'safetensors' was not installed; trained networks need it.")
    return installPackage(SAFETENSORS, canRunNetworks)


def offerTorch() -> str:
    """Ask once whether torch may be installed, and install it; return an empty string, or what is still missing.

    The PyTorch extension asks the question, shows the progress and chooses the build for this computer.
    """
    if isTorchInstalled():
        return ""
    if importlib.util.find_spec("PyTorchUtils") is None:
        return _(
            "Networks need PyTorch; install the extension 'PyTorch' with the Extensions Manager, restart Slicer and "
            "try again. Everything else works without it."
        )
    utils = importlib.import_module("PyTorchUtils")
    installed = utils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=OLDEST)
    if installed is None or not isTorchInstalled():
        return _("PyTorch was not installed; try again to be asked again, or choose an estimator without it.")
    return ""


def requireTorch(requests: Sequence[Request]) -> None:
    """Raise InputError if one of the estimators needs torch and it is not there; for scripts, which are not asked."""
    names = needsTorch(requests)
    if not names or canRunNetworks():
        return
    if not isTorchInstalled():
        raise InputError(
            _("{names} need PyTorch, which is not installed; install it with the extension 'PyTorch'.").format(
                names=", ".join(names)
            )
        )
    networks = [request.name for request in requests if isNetwork(create(request.name, **request.options))]
    if networks:
        raise InputError(
            _("{names} need the package safetensors; install it by slicer.util.pip_install('{package}').").format(
                names=", ".join(networks), package=SAFETENSORS
            )
        )
