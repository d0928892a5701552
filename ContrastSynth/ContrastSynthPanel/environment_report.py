"""What a bug report needs: versions and devices as the worker sees them, on the clipboard."""

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

import ContrastSynthLib
from ContrastSynthPanel.job import find_python, worker_environment
from ContrastSynthPanel.widgets.slots import connect, every

POLL_MS = 100
PATIENCE_S = 120


class EnvironmentReport:
    """A button. The report comes from another process: it imports torch, which takes seconds."""

    def __init__(self, show_message):
        """Make the button; ``show_message`` gets a kind and a text when the report is there."""
        self._show_message, self._process, self._output = show_message, None, None
        self.button = qt.QPushButton(_("Copy versions and devices"))
        self.button.objectName = "environment"
        self.button.toolTip = _(
            "For a bug report: puts the versions of Slicer and of what computes, and the devices, "
            "on the clipboard. No names, no paths, nothing of the scans."
        )
        connect(self.button, "clicked(bool)", self._start)
        self._timer = every(POLL_MS, self._poll)

    def close(self) -> None:
        """End it, without a word."""
        self._timer.stop()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._output.close()
            self._process = None
            self.button.enabled = True

    def _start(self, *_signal) -> None:
        if self._process is not None:
            return
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe may get full
        try:
            python = find_python()
            self._process = subprocess.Popen(
                [python, "-m", "ContrastSynthLib", "env"],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.DEVNULL,
                cwd=Path(ContrastSynthLib.__file__).parents[1],
                env=worker_environment(os.environ, python, Path(slicer.app.temporaryPath)),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            self._output.close()
            self._show_message(
                "failed", _("The report could not be made: {error}").format(error=error)
            )
            return
        self._polls_left = PATIENCE_S * 1000 // POLL_MS
        self.button.enabled = False
        self._timer.start()

    def _poll(self) -> None:
        self._polls_left -= 1
        code = self._process.poll()
        if code is None and self._polls_left > 0:
            return
        self._output.seek(0)
        content = self._output.read()
        self.close()
        report = {}
        with suppress(ValueError):
            report = json.loads(content)
        if not report:
            message = _("The report could not be made: the worker ended with {code}.")
            self._show_message("failed", message.format(code=code))
            return
        text = json.dumps({"slicer": slicer.app.applicationVersion, **report}, indent=2)
        qt.QApplication.clipboard().setText(text)
        self._show_message("info", _("On the clipboard:") + "\n" + text)
