"""Step 1, first part: the b-values that the network will answer for, typed or taken from a loaded series."""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _

from ivimcore.errors import InputError
from IVIMMappingLib.MapDisplay import PARAMETER_ATTRIBUTE
from IVIMMappingLib.PanelLabels import showText

from .SeriesForTraining import bvaluesOf
from .TrainingState import TrainingState


class ProtocolSection:
    """Turns the selected node into `state.series`, and keeps the list of b-values."""

    def __init__(self, ui, state: TrainingState) -> None:
        self.ui, self.state = ui, state
        self._updating = False
        connected = (
            ui.seriesSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode),
            ui.bvaluesEdit.connect("textChanged(QString)", self._onText),
            ui.seriesBvaluesButton.connect("clicked(bool)", self._onTake),
        )
        assert all(answer is not False for answer in connected)
        state.seriesChanged.connect(self._showState)
        state.choicesChanged.connect(self._showState)

    def refresh(self) -> None:
        """Show what the scene has chosen."""
        self._updating = True
        self.ui.bvaluesEdit.setText(self.state.parameters.bvalues)
        self._updating = False
        self._read(self.state.parameters.seriesNode)
        self._showState()

    def enter(self) -> None:
        """Look again: IVIM Mapping may have given the series b-values, or loaded an earlier result, meanwhile."""
        self.refresh()

    def exit(self) -> None:
        """Nothing is held while another module is shown."""

    def close(self) -> None:
        """Nothing to end."""

    def _onNode(self, node=None) -> None:
        if self._updating or self.state.parameters is None:
            return
        if self.state.parameters.seriesNode is not node:
            # Before anything else is written: each change of the parameter node writes all bound widgets anew.
            self._updating = True
            self.state.parameters.seriesNode = node
            self._updating = False
        self.state.say("")
        if self._read(node) and not self.state.parameters.bvalues.strip():
            self._onTake()
        self.state.seriesChanged()

    def _read(self, node) -> bool:
        state = self.state
        state.series = None
        if node is None:
            return False
        try:
            if node.GetAttribute(PARAMETER_ATTRIBUTE):
                raise InputError(
                    _("'{name}' is a map of IVIMSlicer; choose the series it was made from.").format(
                        name=node.GetName()
                    )
                )
            state.series = state.logic.series(node)
        except InputError as fault:
            state.say(str(fault), "error")
            return False
        return True

    def _onText(self, text) -> None:
        if self._updating or self.state.parameters is None:
            return
        self.state.parameters.bvalues = str(text)
        self.state.choicesChanged()

    def _onTake(self, checked=False) -> None:
        if self.state.series is None:
            return
        try:
            b = np.unique(bvaluesOf(self.state.series))
        except InputError as fault:
            self.state.say(str(fault), "error")
            return
        self.state.say("")
        self.ui.bvaluesEdit.setText(" ".join(f"{value:g}" for value in b))

    def _showState(self) -> None:
        if self.state.parameters is None:
            return
        self.ui.seriesBvaluesButton.setEnabled(self.state.series is not None)
        if not self.state.parameters.bvalues.strip():
            showText(self.ui.protocolLabel, _("Type at least four different b-values, or take those of a series."))
            return
        try:
            b = np.unique(self.state.bvalues())
        except InputError as fault:
            showText(self.ui.protocolLabel, str(fault))
            return
        showText(
            self.ui.protocolLabel,
            _("{count} different b-values from {low} to {high} s/mm².").format(
                count=b.size, low=f"{b[0]:g}", high=f"{b[-1]:g}"
            ),
        )
