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
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.work_box import WorkBox


class DicomBox:
    """Seen while a result is chosen that tells how it was made."""

    def __init__(self):
        """Make it; there is no result yet."""
        self._result = None
        self.widget = qt.QWidget()
        ready = _("Writes all outputs of this run, marked as synthetic, for the archive.")
        self.action = Action("dicom", _("Save as DICOM..."), ready, self._save)
        self.deidentify = qt.QCheckBox(_("Without the patient (de-identified)"))
        self.deidentify.toolTip = _(
            "Basic profile of DICOM PS3.15: a pseudonym, other UIDs, dates moved. It is another "
            "one each time; 'contrastsynth dicom --key' keeps it for several results of a patient."
        )
        self.keep_faces = qt.QCheckBox(_("Even where a face can be seen (--keep-faces)"))
        self.message = Message()
        self.work = WorkBox(lambda: self.message.show("warning", _("Cancelled: nothing written.")))
        self.dependencies = DependencyBox(self._check, self.message.show, _("Needed for DICOM."))
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        for box in (self.deidentify, self.keep_faces):
            column.addWidget(box)
            connect(box, "toggled(bool)", lambda _checked: self._check())
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
        private = bool(self.deidentify.checked)
        self.keep_faces.visible = private
        if self._result is not None:
            group = "deidentify" if private else "dicom"
            self.action.block(self.dependencies.show([group], useful=()))

    def _save(self) -> None:
        """Ask for the series that the method has read, and for a place; write in the background."""
        template = _folder(_("DICOM series that the method has read"))
        place = _folder(_("Where to put a new folder with the series")) if template else None
        if place is None:
            return
        self.message.show("info", "")
        self.action.busy(_("Writing DICOM"))
        target = _new_folder(place, str(self._result.GetAttribute(METHOD)))
        keep_faces = bool(self.keep_faces.checked) if self.deidentify.checked else None
        task = _writing(self._result, template, target, keep_faces)
        self.work.start(task, self._done, self._failed, _("Writing DICOM"))

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


def _writing(node, template: Path, target: Path, keep_faces: bool | None):
    """Write the result that a node is an output of, as a task; return the folder and its files.

    ``keep_faces`` is None for a result that keeps its patient.
    """
    result = yield from stored_results.reading_result(node)
    return target, (yield Elsewhere(_export, result, template, target, keep_faces))


def _export(result, template: Path, target: Path, keep_faces: bool | None):
    from ContrastSynthLib.dicom_export.deidentified import Privacy
    from ContrastSynthLib.dicom_export.export import export
    from ContrastSynthLib.dicom_export.pseudonyms import fresh_secret
    from ContrastSynthLib.dicom_export.template import Template

    privacy = None if keep_faces is None else Privacy(fresh_secret(), keep_faces)
    return export(result, Template.read(template), target, privacy=privacy)


def _folder(title: str) -> Path | None:
    """Return the folder that a person chose."""
    chosen = qt.QFileDialog.getExistingDirectory(None, title)
    return Path(str(chosen)) if chosen else None


def _new_folder(place: Path, method: str) -> Path:
    """Return a folder that is not there yet, named after the method."""
    stem = f"contrastsynth_{method if method in METHODS else 'result'}"
    numbers = (f"{stem}_{number}" for number in range(1, 10_000))
    return next(place / name for name in numbers if not (place / name).exists())
