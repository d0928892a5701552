"""A button that writes a result as DICOM, beside the series that it came from."""

from pathlib import Path

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.registry import METHODS
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import stored_results
from ContrastSynthPanel.scene.bridge import METHOD
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.work_box import WorkBox


class DicomBox:
    """Seen while a result is chosen that tells how it was made."""

    def __init__(self):
        """Make it; there is no result yet."""
        self._result = None
        self.widget = qt.QWidget()
        ready = _("Writes all outputs of this run, marked as synthetic, for the archive.")
        self.action = Action("dicom", _("Save as DICOM..."), ready, self._save)
        self.message = Message()
        self.work = WorkBox(lambda: self.message.show("warning", _("Cancelled: nothing written.")))
        self.dependencies = DependencyBox(self._check, self.message.show, _("Needed for DICOM."))
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.action, self.dependencies, self.work, self.message):
            column.addWidget(part.widget)
        self.follow(None)

    def follow(self, result) -> None:
        """The chosen result is this node, or none."""
        if result is not self._result:
            self.message.show("info", "")
        self._result = result if stored_results.is_result(result) else None
        self.widget.visible = self._result is not None
        self._check()

    def _check(self) -> None:
        if self._result is not None:
            self.action.block(self.dependencies.show(["dicom"], useful=()))

    def _save(self) -> None:
        """Ask for the series that the method has read, and for a place; write in the background."""
        template = _folder(_("DICOM series that the method has read"))
        place = _folder(_("Where to put a new folder with the series")) if template else None
        if place is None:
            return
        self.message.show("info", "")
        self.action.busy(_("Writing DICOM"))
        target = _new_folder(place, str(self._result.GetAttribute(METHOD)))
        self.work.start(
            _writing(self._result, template, target), self._done, self._failed, _("Writing DICOM")
        )

    def _done(self, made) -> None:
        self.action.busy("")
        folder, exported = made
        text = _("Written, {count} files: {folder}").format(
            count=len(exported.files), folder=folder
        )
        kind = "warning" if exported.warnings else "done"
        self.message.show(kind, "\n".join([text, *exported.warnings]))

    def _failed(self, error) -> None:
        self.action.busy("")
        self.message.show("failed", str(error))

    def close(self) -> None:
        """End what is under way."""
        self.work.stop()
        self.action.busy("")


def _writing(node, template: Path, target: Path):
    """Write the result that a node is an output of, as a task; return the folder and its files."""
    result = yield from stored_results.reading_result(node)
    return target, (yield Elsewhere(_export, result, template, target))


def _export(result, template: Path, target: Path):
    from ContrastSynthLib.dicom_export.export import export
    from ContrastSynthLib.dicom_export.template import Template

    return export(result, Template.read(template), target)


def _folder(title: str) -> Path | None:
    """Return the folder that a person chose."""
    chosen = qt.QFileDialog.getExistingDirectory(None, title)
    return Path(str(chosen)) if chosen else None


def _new_folder(place: Path, method: str) -> Path:
    """Return a folder that is not there yet, named after the method."""
    stem = f"contrastsynth_{method if method in METHODS else 'result'}"
    numbers = (f"{stem}_{number}" for number in range(1, 10_000))
    return next(place / name for name in numbers if not (place / name).exists())
