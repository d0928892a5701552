"""A button that runs a command, progress, Cancel, log and what became of it, for a tab."""

import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthPanel.background import Background
from ContrastSynthPanel.environment_report import EnvironmentReport
from ContrastSynthPanel.job import Event, Job
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.forms import long_text
from ContrastSynthPanel.widgets.message import Message, text_box
from ContrastSynthPanel.widgets.slots import connect, every, once_after

POLL_MS = 100
LOG_LINES = 2000
TOLD_FROM = 0.05  # of a run: before, nobody knows how long the rest will take


class RunSection:
    """Runs one command at a time in another process, and shows how it goes.

    ``apply`` is called when the button, named ``title``, is pressed; it calls ``start``.
    ``finished`` is called with the final event, the folder of the results and the node they
    belong to, and returns a task, whose answer is a kind and a text, as Message has them. Whatever
    fails is shown in ``message``. ``listeners`` are called with each event, the last one once it is
    dealt with; the first of a run is ``started``.
    """

    def __init__(self, apply, finished, title: str = "", ready: str = ""):
        """Make the section; ``ready`` is the button's tooltip where nothing is missing."""
        self._finished, self._job, self._reference = finished, None, None
        self._names = {}  # of nodes, by the temporary files that the worker reads
        self._began_s, self._fraction, self._text = 0.0, 0.0, ""
        self.listeners = []
        self.action = Action("apply", title or _("Apply"), ready or _("Run the method."), apply)
        self.apply_button, self.cancel_button = self.action.button, qt.QPushButton(_("Cancel"))
        self._build()
        self._timer = every(POLL_MS, self._poll)
        self._work = Background(once_after, self._tell)
        self._show_state()

    def _build(self) -> None:
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.cancel_button.objectName = "cancel"
        self.cancel_button.toolTip = _("Stop the run. Nothing of it is kept.")
        self.action.row.addWidget(self.cancel_button, 1)
        column.addWidget(self.action.widget)
        self.progress_bar, self.progress_label = qt.QProgressBar(), long_text()
        self.progress_bar.maximum = 100
        self.progress_label.wordWrap = True
        self._message = Message()
        self.message = self._message.widget
        for widget in (self.progress_bar, self.progress_label, self.message):
            column.addWidget(widget)
        # Apart from the rest: a tab puts it where it is not in the way.
        self.log_section, self.log = ctk.ctkCollapsibleButton(), text_box()
        self.log_section.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        self.log_section.text = _("Log")
        self.log.setMaximumBlockCount(LOG_LINES)
        log_column = qt.QVBoxLayout(self.log_section)
        log_column.addWidget(self.log)
        self.environment = EnvironmentReport(self.show_message)
        log_column.addWidget(self.environment.button)
        self.log_section.collapsed = True
        connect(self.cancel_button, "clicked(bool)", self.cancel)

    @property
    def running(self) -> bool:
        """Whether a run is under way, from reading the inputs to showing the result."""
        return self._job is not None

    def block(self, reason: str) -> None:
        """Grey Apply out for a reason, which stands below it; no reason sets it free."""
        self.action.block(reason)
        self._show_state()

    def start(self, nodes: dict, reference_node, arguments) -> None:
        """Run the command line that ``arguments`` makes of the files of the nodes, by role.

        It is called with them and the folder that results go into.
        """
        if self.running:
            return
        self.log.setPlainText("")
        self.show_message("info", "")
        self._reference, self._began_s, self._fraction = reference_node, time.monotonic(), 0.0
        try:
            self._job = Job(parent=Path(slicer.app.temporaryPath))
        except (OSError, RuntimeError) as error:
            self._drop("failed", str(error))
            return
        self.progress_bar.value = 0
        self._tell(_("Reading the scans"))
        self._show_state()
        self._notify(Event("started"))
        self._work.start(
            self._begin(nodes, arguments), lambda _done: self._timer.start(), self._could_not
        )

    def _begin(self, nodes: dict, arguments):
        """Write the inputs and start the worker, as a task."""
        job = self._job
        files = yield from bridge.writing_inputs(nodes, job.folder)
        self._names = names_of_files(files, nodes) | {f"{job.folder}{os.sep}": ""}
        job.start(arguments(files, job.results))
        self._tell(_("Starting"))

    def _could_not(self, error: Exception) -> None:
        if not isinstance(error, (ContrastSynthError, OSError, RuntimeError)):
            logging.error("A run could not be started", exc_info=error)
        self._drop("failed", str(error))

    def cancel(self, *_signal) -> None:
        """Ask the run to stop; its last event says that it did."""
        if not self.running:
            return
        if self._work.cancel():  # it is not started yet, or the result is being taken in
            self._drop("info", _("Cancelled. Nothing was kept."), "cancelled")
            return
        self._job.cancel()
        self.cancel_button.enabled = False
        self._tell(_("Cancelling"))

    def close(self, why: str = "") -> None:
        """Stop at once what runs, and say why, if there is someone to read it."""
        self.environment.close()
        self._work.cancel()
        if self.running:
            self._drop("warning", why)

    def node_removed(self) -> None:
        """Stop when the volume that the result belongs to is gone."""
        if self.running and not slicer.mrmlScene.IsNodePresent(self._reference):
            self.close(_("The run was stopped: its input was deleted."))

    def show_message(self, kind: str, text: str) -> None:
        """Say something in the one place for it, until the next run."""
        self._message.show(kind, text)

    def _drop(self, kind: str, text: str, event: str = "failed") -> None:
        self._timer.stop()
        job, self._job, self._reference = self._job, None, None
        if job is not None:
            job.close()
        self.show_message(kind, text)
        self._show_state()
        self._notify(Event(event, text))

    # How it goes

    def _poll(self) -> None:
        if self._job is None or not self._job.poll(self._handle):
            self._timer.stop()
        else:
            self._show_times()

    def _handle(self, event) -> None:
        if self._job is None:  # dropped by what handled the event before
            return
        event = replace(event, text=with_names(event.text, self._names))
        if event.kind == "finished":
            self._take(event)
            return
        if event.kind == "progress":
            self._fraction = event.fraction
            self.progress_bar.value = round(100 * event.fraction)
            self._tell(event.text)
        elif event.kind == "log":
            self.log.appendPlainText(event.text)
        elif event.kind == "failed":
            self._end("failed", event.text)
        else:
            self._end("info", _("Cancelled. Nothing was kept."))
        self._notify(event)

    def _take(self, event) -> None:
        """Take the result into the scene, in steps; the job keeps its files as long as that."""
        job = self._job
        job.held = True

        def ended(kind: str, text: str) -> None:
            job.close()
            self._end(kind, text)
            self._notify(event)

        self._fraction = 1.0
        self._tell(_("Taking the result into the scene"))
        self._work.start(
            self._finished(event, job.results, self._reference),
            lambda told: ended(*told),
            lambda error: ended("failed", not_taken(error)),
        )

    def _end(self, kind: str, text: str) -> None:
        self._timer.stop()
        self._job, self._reference = None, None
        self.show_message(kind, text)
        self._show_state()

    def _notify(self, event) -> None:
        for listener in self.listeners:
            listener(event)

    def _tell(self, text: str) -> None:
        if text:
            self._text = text
            self._show_times()

    def _show_times(self) -> None:
        """Show what is done, since when, and how long it will still take."""
        spent = time.monotonic() - self._began_s
        times = _("{time} so far").format(time=clock(spent))
        if TOLD_FROM < self._fraction < 1.0:
            left = clock(spent * (1.0 - self._fraction) / self._fraction)
            times = _("{times}, about {left} left").format(times=times, left=left)
        self.progress_label.text = f"{self._text} ({times})"

    def _show_state(self) -> None:
        running = self.running
        self.action.busy(_("A run is under way.") if running else "")
        self.cancel_button.enabled = self.cancel_button.visible = running
        self.progress_bar.visible = self.progress_label.visible = running


def clock(seconds: float) -> str:
    """Return a duration in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def not_taken(error: Exception) -> str:
    """Return why a result is not in the scene."""
    if isinstance(error, ContrastSynthError):
        return str(error)
    logging.error("The result of a run could not be taken into the scene", exc_info=error)
    return _("The result could not be taken into the scene: {error}").format(error=error)


def names_of_files(files: dict, nodes: dict) -> dict:
    """Return the name of the node behind each temporary file, in quotes, by the file's path."""
    names = {}
    for role, paths in files.items():
        given = nodes[role]
        several = list(given) if isinstance(given, (list, tuple)) else [given]
        for path, node in zip(paths, several, strict=False):
            name = node.GetName() if hasattr(node, "GetName") else role
            names[str(path)] = f"'{name}'"
    return names


def with_names(text: str, names: dict) -> str:
    """Return a message of the worker with the names of nodes in place of temporary files."""
    for path, name in names.items():
        text = text.replace(path, name)
    return text
