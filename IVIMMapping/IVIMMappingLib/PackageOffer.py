"""Packages that Slicer does not bring along, installed after somebody has agreed to it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _


def installPackage(requirement: str, isThere: Callable[[], bool]) -> str:
    """Install a package into Slicer's Python; return what is still missing, or ''.

    Arguments: `requirement` as pip takes it; `isThere()` tells afterwards whether it is found.
    """
    try:
        slicer.util.pip_install(requirement)
    except Exception as fault:  # pip ends with one of many
        name = re.match(r"[\w-]+", requirement).group()
        return _("The package '{name}' cannot be installed ({reason}); install it by hand.").format(
            name=name, reason=fault
        )
    importlib.invalidate_caches()
    return "" if isThere() else _("Restart Slicer to complete the installation.")
