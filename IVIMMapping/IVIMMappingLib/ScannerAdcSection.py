"""Which ADC of a scanner or another program stands beside that of the shown run, and its lines in the statistics."""

from __future__ import annotations

import math
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ivimcore.errors import InputError

from .MapDescription import describeMap
from .MapRecognition import SHOWN_ATTRIBUTE, RecognisedMap, recognisedMaps, showAs
from .PanelLabels import showText
from .PanelState import PanelState
from .Runs import Run
from .ScannerAdc import (
    DIFFERENCE,
    OFF_ATTRIBUTE,
    PERCENT,
    ROLE,
    SCANNER,
    chosenAdc,
    compareWithAdc,
    mapBesideAdc,
)
from .TableText import Cell, narrow

_STATISTICS = ("median", "mean", "sd", "p5", "p95")


class ScannerAdcSection:
    """A selector above the statistics; `onChange` is called when another ADC was chosen or appeared.

    What was chosen is kept on the maps of the run, so that a saved scene brings it back. The first ADC that is
    recognised is chosen by itself, until a person chooses none.
    """

    def __init__(self, ui, state: PanelState, onChange) -> None:
        self.ui, self.state = ui, state
        self._onChange = onChange
        self._run: Run | None = None
        self._known: list[RecognisedMap] = []
        self._updating = False
        self._waiting = False
        self._remembered: tuple[Any, list[dict[str, Any]], str] | None = None
        narrow(ui.scannerAdcComboBox)
        connected = ui.scannerAdcComboBox.connect("currentIndexChanged(int)", self._onChosen)
        assert connected is not False
        self._tags = [
            slicer.mrmlScene.AddObserver(event, self._onNodes)
            for event in (slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.NodeRemovedEvent)
        ]

    def close(self) -> None:
        """Let the scene go."""
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._tags = []

    def fill(self, run: Run | None) -> None:
        """List the ADC maps of the scene for a run; maps of others that are new are shown with our colours."""
        self._run = run
        recognised = recognisedMaps(slicer.mrmlScene)
        for one in recognised:
            if one.how != "name" and not one.node.GetAttribute(SHOWN_ATTRIBUTE):
                showAs(one.node, one.key, one.scale)
        self._known = [one for one in recognised if one.key == "ADC"]
        self._updating = True
        box = self.ui.scannerAdcComboBox
        box.clear()
        box.addItem(_("none"), "")
        for one in self._known:
            box.addItem(one.node.GetName(), one.node.GetID())
        chosen = self._chosen()
        box.setCurrentIndex(0 if chosen is None else box.findData(chosen.node.GetID()))
        self._updating = False
        self.ui.scannerAdcFrame.setVisible(bool(self._known) and mapBesideAdc(run) is not None)
        if not self._known or run is None:
            showText(self.ui.scannerAdcLabel, "")

    def lines(self) -> dict[str, list[list[Cell]]]:
        """Return the lines that follow the compared map in the table of statistics, by region."""
        chosen = self._chosen()
        if chosen is None or mapBesideAdc(self._run) is None:
            showText(self.ui.scannerAdcLabel, "")
            return {}
        rows, sentence = self._compared(chosen)
        showText(self.ui.scannerAdcLabel, sentence)
        lines: dict[str, list[list[Cell]]] = {}
        for row in rows:
            lines.setdefault(str(row["region"]), []).append(_cells(row))
        return lines

    def _compared(self, chosen: RecognisedMap) -> tuple[list[dict[str, Any]], str]:
        basis = (
            self._run.key, chosen.node.GetID(), chosen.node.GetImageData().GetMTime(),
            self._run.regionNode.GetMTime() if self._run.regionNode is not None else 0,
        )
        if self._remembered is None or self._remembered[0] != basis:
            try:
                rows, sentence = compareWithAdc(self._run, chosen), _sentence(self._run, chosen)
            except InputError as fault:
                rows, sentence = [], str(fault)
            self._remembered = basis, rows, sentence
        return self._remembered[1:]

    def _chosen(self) -> RecognisedMap | None:
        return chosenAdc(self._run, self._known)

    def _onChosen(self, index: int) -> None:
        key = mapBesideAdc(self._run)
        if self._updating or key is None or index < 0:
            return
        node, identifier = self._run.maps[key], self.ui.scannerAdcComboBox.itemData(index)
        if identifier:
            node.RemoveAttribute(OFF_ATTRIBUTE)
            node.SetNodeReferenceID(ROLE, identifier)
        else:
            node.SetAttribute(OFF_ATTRIBUTE, "1")
        self._onChange()

    def _onNodes(self, caller, event) -> None:
        # Later and once: many nodes come together, and a volume is added before it has its voxels.
        if not self._waiting:
            self._waiting = True
            qt.QTimer.singleShot(0, self._onSettled)

    def _onSettled(self) -> None:
        self._waiting = False
        if self.state.parameters is None or not self._tags:
            return
        before = [one.node.GetID() for one in self._known]
        if [one.node.GetID() for one in recognisedMaps(slicer.mrmlScene) if one.key == "ADC"] != before:
            self._onChange()


def _sentence(run: Run, chosen: RecognisedMap) -> str:
    symbol = describeMap(mapBesideAdc(run)).symbol
    text = _("Difference: {symbol} of this run minus the ADC, in the voxels where both have a value.").format(
        symbol=symbol
    )
    if symbol == "D":
        text += " " + _("D leaves out the blood, an ADC does not: it is expected to be lower.")
    if chosen.isGuess:
        text += " " + _(
            "The map names no unit; its numbers were taken for {scale:g} mm²/s each, by their size."
        ).format(scale=chosen.scale)
    return text


def _cells(row: dict[str, Any]) -> list[Cell]:
    description = describeMap("ADC")
    symbol, unit = describeMap(row["map"]).symbol, description.parameter.display_unit
    factor = 1.0 if row["what"] == PERCENT else description.parameter.display_factor
    label = {
        SCANNER: f"ADC of scanner [{unit}]", DIFFERENCE: f"{symbol} − scanner [{unit}]",
        PERCENT: f"{symbol} − scanner [%]",
    }[row["what"]]
    tip = {
        SCANNER: _("{region}: the ADC of the scanner, where both maps have a value"),
        DIFFERENCE: _("{region}: difference voxel by voxel"),
        PERCENT: _("{region}: difference of median and mean, in per cent of the scanner's median and mean"),
    }[row["what"]].format(region=row["region"])
    numbers = ["" if not math.isfinite(row[name]) else f"{row[name] * factor:#.3g}".rstrip(".") for name in _STATISTICS]
    count = "" if row["what"] == PERCENT else f"{row['n']:.0f}"
    share = "" if row["what"] == PERCENT or not row["voxels"] else f"{100 * (1 - row['n'] / row['voxels']):.1f}"
    return [Cell(text, tip) for text in (str(row["region"]), label, *numbers, count, share, "")]
