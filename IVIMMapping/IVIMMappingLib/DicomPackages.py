"""highdicom, which writes our DICOM objects: offered with one question when somebody exports, never at import."""

from __future__ import annotations

import importlib.util

import slicer
from slicer.i18n import tr as _

from .PackageOffer import installPackage

HIGHDICOM = "highdicom>=0.28.2"


def canWriteDicom() -> bool:
    """Tell whether highdicom and pydicom are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("highdicom", "pydicom"))


def offerHighdicom() -> str:
    """Ask once whether highdicom may be installed, and install it; return what is still missing, or ''."""
    if canWriteDicom():
        return ""
    if not slicer.util.confirmOkCancelDisplay(
        _("DICOM objects are written by the package 'highdicom' (about 1 MB). Install it now?")
    ):
        return _("The package 'highdicom' was not installed; DICOM objects cannot be written without it.")
    return installPackage(HIGHDICOM, canWriteDicom)
