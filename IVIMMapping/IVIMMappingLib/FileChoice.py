"""Slicer's file dialogs, each behind one function, so that tests can answer them."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _


def openFile(parent, title: str, filters: str = "") -> str:
    """Ask for an existing file; an empty text if the person did not choose one. `filters` as Qt writes them."""
    return _path(qt.QFileDialog.getOpenFileName(parent, title, "", filters))


def saveFile(parent, title: str, suggestion: str, filters: str) -> str:
    """Ask where to save a file; an empty text if the person did not choose. `suggestion` is a file name."""
    return _path(qt.QFileDialog.getSaveFileName(parent, title, suggestion, filters))


def chooseFolder(parent, title: str) -> str:
    """Ask for a folder; an empty text if the person did not choose one."""
    return _path(qt.QFileDialog.getExistingDirectory(parent, title))


def askText(parent, title: str, question: str) -> str:
    """Ask for one line of text; an empty text if the person did not answer."""
    return _path(qt.QInputDialog.getText(parent, title, question)).strip()


def askChoice(parent, title: str, question: str, choices) -> int | None:
    """Let a person choose one of `choices`; returns its number from 0, None if the person did not choose."""
    nothing = _("choose…")  # stands first: a dialog that was cancelled answers with its first entry
    answer = qt.QInputDialog.getItem(parent, title, question, [nothing, *choices], 0, False)
    answer = answer[0] if isinstance(answer, (tuple, list)) else answer
    return list(choices).index(answer) if answer in choices else None


def _path(answer) -> str:
    # PythonQt returns the path, other bindings the path and the filter.
    return str(answer[0] if isinstance(answer, (tuple, list)) else answer or "")
