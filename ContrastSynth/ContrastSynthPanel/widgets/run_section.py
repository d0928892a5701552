"""A button that runs a command, progress, Cancel, log and what became of it, for a tab."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthPanel.environment_report import EnvironmentReport
from ContrastSynthPanel.job import Event, Job
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.widgets.message import Message, text_box

POLL_MS = 100
LOG_LINES = 2000


class RunSection:
    """Runs one command at a time in another process, and shows how it goes.

    ``apply`` is called when the button, named ``title``, is pressed; it calls ``start``.
    ``finished`` is called with the final event, the folder of the results and the node they
    belong to, and returns a kind and a text, as Message has them. Whatever fails
    is shown in ``message``. ``listeners`` are called with each event, the last one once it is
    dealt with; the first of a run is ``started``.
    """

    def __init__(self, apply, finished, title: str = "", ready: str = ""):
        """Make the section; ``ready`` is the button's tooltip where nothing is missing."""
        self._finished, self._job, self._reference = finished, None, None
        self._names = {}  # of nodes, by the temporary files that the worker reads
        self._blocked, self._ready = "", ready or _("Run the method.")
        self.listeners = []
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        buttons = qt.QHBoxLayout()
        self.apply_button, self.cancel_button = qt.QPushButton(), qt.QPushButton()
        self.apply_button.objectName, self.cancel_button.objectName = "apply", "cancel"
        self.apply_button.text, self.cancel_button.text = title or _("Apply"), _("Cancel")
        self.cancel_button.toolTip = _("Stop the run. Nothing of it is kept.")
        buttons.addWidget(self.apply_button, 3)
        buttons.addWidget(self.cancel_button, 1)
        column.addLayout(buttons)
        self.progress_bar, self.progress_label = qt.QProgressBar(), qt.QLabel()
        self.progress_bar.maximum = 100
        self.progress_label.wordWrap = True
        self._message = Message()
        self.message = self._message.widget
        for widget in (self.progress_bar, self.progress_label, self.message):
            column.addWidget(widget)
        self.log_section, self.log = ctk.ctkCollapsibleButton(), text_box()
        self.log_section.text = _("Log")
        self.log.setMaximumBlockCount(LOG_LINES)
        log_column = qt.QVBoxLayout(self.log_section)
        log_column.addWidget(self.log)
        self.environment = EnvironmentReport(self.show_message)
        log_column.addWidget(self.environment.button)
        self.log_section.collapsed = True
        column.addWidget(self.log_section)
        self.apply_button.connect("clicked(bool)", apply)
        self.cancel_button.connect("clicked(bool)", self.cancel)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._show_state()

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._job is not None

    def block(self, reason: str) -> None:
        """Grey Apply out for a reason, which is its tooltip; no reason sets it free."""
        self._blocked = reason
        self._show_state()

    def start(self, nodes: dict, reference_node, arguments) -> None:
        """Run the command line that ``arguments`` makes of the files of the nodes, by role.

        It is called with them and the folder that results go into.
        """
        if self.running:
            return
        self.log.setPlainText("")
        self.show_message("info", "")
        # First: writing a segmentation adds a node to the scene and removes it again.
        self._reference = reference_node
        try:
            job = self._job = Job(parent=Path(slicer.app.temporaryPath))
            files = bridge.write_inputs(nodes, job.folder)
            self._names = names_of_files(files, nodes) | {f"{job.folder}{os.sep}": ""}
            job.start(arguments(files, job.results))
        except (ContrastSynthError, OSError, RuntimeError) as error:
            self._drop("failed", str(error))
            return
        self.progress_bar.value = 0
        self.progress_label.text = _("Starting")
        self._timer.start()
        self._show_state()
        self._notify(Event("started"))

    def cancel(self) -> None:
        """Ask the run to stop; its last event says that it did."""
        if self.running:
            self._job.cancel()
            self.cancel_button.enabled = False
            self.progress_label.text = _("Cancelling")

    def close(self, why: str = "") -> None:
        """Stop at once what runs, and say why, if there is someone to read it."""
        self.environment.close()
        if self.running:
            self._drop("warning", why)

    def node_removed(self) -> None:
        """Stop when the volume that the result belongs to is gone."""
        if self.running and not slicer.mrmlScene.IsNodePresent(self._reference):
            self.close(_("The run was stopped: its input was deleted."))

    def show_message(self, kind: str, text: str) -> None:
        """Say something in the one place for it, until the next run."""
        self._message.show(kind, text)

    def _drop(self, kind: str, text: str) -> None:
        self._timer.stop()
        job, self._job, self._reference = self._job, None, None
        if job is not None:
            job.close()
        self.show_message(kind, text)
        self._show_state()
        self._notify(Event("failed", text))

    def _poll(self) -> None:
        if self._job is None or not self._job.poll(self._handle):
            self._timer.stop()

    def _handle(self, event) -> None:
        if self._job is None:  # dropped by what handled the event before
            return
        event = replace(event, text=with_names(event.text, self._names))
        if event.kind == "progress":
            self.progress_bar.value = round(100 * event.fraction)
            self.progress_label.text = event.text
        elif event.kind == "log":
            self.log.appendPlainText(event.text)
        elif event.kind == "finished":
            self._end(*self._result_of(event))
        elif event.kind == "failed":
            self._end("failed", event.text)
        else:
            self._end("info", _("Cancelled. Nothing was kept."))
        self._notify(event)

    def _result_of(self, event) -> tuple:
        """Return the kind and text to show, once the result is in the scene. Never raises."""
        try:
            return self._finished(event, self._job.results, self._reference)
        except ContrastSynthError as error:
            return "failed", str(error)
        except Exception as error:
            logging.exception("The result of a run could not be taken into the scene")
            text = _("The result could not be taken into the scene: {error}")
            return "failed", text.format(error=error)

    def _end(self, kind: str, text: str) -> None:
        self._timer.stop()
        self._job, self._reference = None, None  # poll() closes the job
        self.show_message(kind, text)
        self._show_state()

    def _notify(self, event) -> None:
        for listener in self.listeners:
            listener(event)

    def _show_state(self) -> None:
        running = self.running
        self.apply_button.enabled = not running and not self._blocked
        self.apply_button.toolTip = (
            _("A run is under way.") if running else self._blocked or self._ready
        )
        self.cancel_button.enabled = running
        self.progress_bar.visible = self.progress_label.visible = running


def names_of_files(files: dict, nodes: dict) -> dict:
    """Return the name of the node behind each temporary file, in quotes, by the file's path."""
    names = {}
    for role, paths in files.items():
        given = nodes[role]
        several = list(given) if isinstance(given, (list, tuple)) else [given]
        for path, node in zip(paths, several, strict=False):
            names[str(path)] = f"'{node.GetName()}'"
    return names


def with_names(text: str, names: dict) -> str:
    """Return a message of the worker with the names of nodes in place of temporary files."""
    for path, name in names.items():
        text = text.replace(path, name)
    return text
