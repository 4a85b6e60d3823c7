"""'Show as command': the present choices as shell line, Python lines, lines for Slicer's console, and job JSON."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from ivimcore import InputError
from ivimcore.jobs.job import Job
from ivimcore.reports.commands import job_json, python_lines, shell_line, slicer_lines

from .PanelState import PanelState
from .TableText import copyText

_READABLE = (".nrrd", ".nhdr", ".nii", ".nii.gz")


class CommandSection:
    """Shows the text below Apply while the button is pressed; another button puts it on the clipboard."""

    def __init__(self, ui, state: PanelState) -> None:
        self.ui, self.state = ui, state
        for title, form in (
            (_("Shell"), "shell"), (_("Python"), "python"), (_("Console of Slicer"), "slicer"),
            (_("Job (JSON)"), "json"),
        ):
            ui.commandComboBox.addItem(title, form)
        ui.commandButton.connect("toggled(bool)", self._onToggle)
        ui.commandComboBox.connect("currentIndexChanged(int)", self._onForm)
        ui.copyCommandButton.connect("clicked(bool)", self._onCopy)
        for announcement in (state.seriesChanged, state.signalChanged, state.regionChanged, state.estimatorsChanged):
            announcement.connect(self.refresh)

    def refresh(self) -> None:
        """Write the text anew where it is shown."""
        if self.state.parameters is None or not self.ui.commandButton.checked:
            return
        self.ui.commandText.setPlainText(self._text(self.ui.commandComboBox.itemData(self.ui.commandComboBox.currentIndex)))

    def enter(self) -> None:
        """Write the text anew: the series may have been saved meanwhile."""
        self.refresh()

    def exit(self) -> None:
        """Nothing to disconnect."""

    def close(self) -> None:
        """Nothing to end."""

    def job(self) -> tuple[Job, list[str]]:
        """Return the present choices as a job, and what has to be saved or changed before it runs elsewhere.

        Raises InputError without a series, or while a b-value is unknown.
        """
        obstacle = self.state.obstacle()
        if obstacle:
            raise InputError(obstacle)
        parameters, series = self.state.parameters, self.state.series
        path = storedFile(series.node)
        todo = []
        if path is None:
            path = f"{_fileName(series.name)}.nrrd"
            todo.append(
                _("The series lies only in the scene; save it as {path}, in the folder where the command runs.").format(
                    path=path
                )
            )
        mask = {"body": "auto", "whole": "none"}.get(parameters.regionKind, "region.nrrd")
        if mask == "region.nrrd":
            todo.append(
                _("Save the region as label volume {path} on the grid of the series first.").format(path=mask)
            )
        job = Job(
            inputs=(path,), out=f"{_fileName(parameters.runName.strip() or series.name)}-ivim",
            estimators=self.state.requests(), bvalues=tuple(float(b) for b in self._finite()),
            exclude=tuple(int(number) for number in parameters.excludedImages), average=parameters.average, mask=mask,
            rois=mask if mask == "region.nrrd" else None, name=parameters.runName.strip() or "DWI",
        )
        return job, todo

    def _finite(self):
        """Return one b-value per image; images left out may be without one, and 0 stands for them."""
        b = self.state.bvalues()
        b[~self.state.used() & ~(b >= 0)] = 0.0
        return b

    def _regionInScene(self) -> tuple[str | None, list[str]]:
        """Return the name of the region's node, None for body or volume, and the names of segments if not all count."""
        parameters = self.state.parameters
        if parameters.regionKind in ("body", "whole"):
            return None, []
        node = parameters.regionNode
        chosen = list(parameters.segmentIds) if parameters.regionKind == "segments" else []
        segments = [node.GetSegmentation().GetSegment(identifier) for identifier in chosen]
        return node.GetName(), [segment.GetName() for segment in segments if segment is not None]

    def _text(self, form: str) -> str:
        try:
            job, todo = self.job()
            if form == "json":
                return job_json(job)  # no remark: a comment would make it invalid
            if form == "slicer":
                return slicer_lines(job, self.state.series.name, *self._regionInScene())
            text = shell_line(job) if form == "shell" else python_lines(job)
        except InputError as fault:
            return f"# {fault}"
        return "".join(f"# {sentence}\n" for sentence in todo) + text

    def _onToggle(self, checked):
        self.ui.commandFrame.setVisible(bool(checked))
        self.refresh()

    def _onForm(self, index):
        self.refresh()

    def _onCopy(self, checked=False):
        copyText(self.ui.commandText.toPlainText())


def storedFile(node) -> str | None:
    """Return the file of a series that the core can read and that still holds what the scene holds, or None."""
    storage = node.GetStorageNode() if hasattr(node, "GetStorageNode") else None
    name = storage.GetFileName() if storage is not None else None
    if not name or not name.lower().endswith(_READABLE) or not Path(name).is_file() or node.GetModifiedSinceRead():
        return None
    return name


def _fileName(text: str) -> str:
    """Return a name that is safe in every file system and shell."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text).strip(".") or "DWI"
