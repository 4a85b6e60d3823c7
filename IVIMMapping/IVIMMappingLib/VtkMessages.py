"""VTK's errors and warnings as sentences to count and to pass on, instead of coloured lines on stderr."""

from __future__ import annotations

import re

import vtk

HARMLESS = {
    "HomeDirectory is not set": "colour files of the desktop program; we bring our own tables",
    "FindDefaultColorFiles failed": "the same",
    "Failed to load terminology": "terminology files of the desktop program; our segments carry plain names",
    "Failed to load region context": "the same",
    "invalid orientation preset name: Reformat": "the preset 'Reformat' of a reloaded slice node",
}
"""Messages that appear without the desktop program and mean nothing: a part of the text -> why it is harmless."""


class VtkMessages:
    """Collect what VTK says while the `with` block runs.

    `errors` and `warnings` are lists of sentences without address and file name, harmless ones left out.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self._previous = None
        self._window = None
        self._verbosity = None

    def __enter__(self) -> VtkMessages:
        self._previous = vtk.vtkOutputWindow.GetInstance()
        self._window = vtk.vtkStringOutputWindow()
        self._window.AddObserver(vtk.vtkCommand.ErrorEvent, self._onError)
        self._window.AddObserver(vtk.vtkCommand.WarningEvent, self._onWarning)
        vtk.vtkOutputWindow.SetInstance(self._window)
        # The logger writes the same lines to stderr, around the output window.
        self._verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
        return self

    def __exit__(self, *_) -> None:
        self._window.RemoveAllObservers()
        vtk.vtkOutputWindow.SetInstance(self._previous)
        vtk.vtkLogger.SetStderrVerbosity(self._verbosity)

    @vtk.calldata_type(vtk.VTK_STRING)
    def _onError(self, _caller, _event, text: str) -> None:
        self._keep(self.errors, text)

    @vtk.calldata_type(vtk.VTK_STRING)
    def _onWarning(self, _caller, _event, text: str) -> None:
        self._keep(self.warnings, text)

    @staticmethod
    def _keep(messages: list[str], text: str) -> None:
        text = text or ""
        if not any(part in text for part in HARMLESS):
            # 'ERROR: In file.cxx, line 12\nvtkClass (0x55d0): what happened' -> 'vtkClass: what happened'
            text = re.sub(r"^(ERROR|Warning|WARNING): In [^\n]*\n", "", text.strip())
            messages.append(re.sub(r" ?\(0x[0-9a-fA-F]+\)", "", text).strip())
