"""A command of the library in another process: Slicer stays responsive and can cancel it.

The panel writes the inputs into ``job.folder``, starts the job and lets a timer call ``poll()``
a few times a second, on the main thread, as long as it returns True. Two threads read what the
worker says and keep what ``poll()`` hands on: the newest progress and the log's last lines.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

import ContrastSynthLib

if TYPE_CHECKING:
    from ContrastSynthLib.running.request import Request

PROTOCOL = 1  # schema_version of the JSON lines, see ContrastSynthLib.running.jobs
GRACE_S = 1.0  # for a cancelled worker to end by itself
LINGER_S = 3.0  # for a worker to end after its last word, and its children after it
LOG_LINES, TAIL_LINES, MEASURES = 500, 6, 2000
LONGEST_LINE, FULL_DISK_BYTES = 1 << 24, 1 << 20
LESS_MEMORY = "choose the CPU, a smaller batch or a tighter mask"
PREFIX = "contrastsynth-job-"
OWN_METHODS = "CONTRASTSYNTH_METHODS"  # as ContrastSynthLib.registry.own_methods names it
LEFT_OVER_S = 24 * 3600.0


@dataclass(frozen=True)
class Event:
    """What happened: ``progress`` or ``log`` and, once and last, how the run ended.

    ``progress`` has fraction, text and what was measured since the one before, ``log`` lines of
    stderr as text. ``finished`` has what the command reports with ``--json``, and the files by
    output role and ``provenance``. ``failed`` has a message as text and the exit code (2: the
    request, 3: something to install). ``cancelled``.
    """

    kind: str
    text: str = ""
    fraction: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    measures: Sequence[Mapping[str, float]] = ()
    exit_code: int | None = None


class Job:
    """A command in a process of its own; ``close()`` removes ``folder`` with all that is in it."""

    _latest: ClassVar[Job | None] = None

    def __init__(
        self,
        python: str | None = None,
        worker: Sequence[str] = ("-m", "ContrastSynthLib"),
        parent: Path | None = None,
    ):
        """Make the folder for the exchange of files, in ``parent`` or the system's temporary one.

        ``python`` is another interpreter than Slicer's, ``worker`` what it is to run. While a job
        runs, RuntimeError: two would take each other's memory.
        """
        if Job._latest and Job._latest.running:
            raise RuntimeError("A run is under way. Wait until it is done, or cancel it.")
        remove_left_overs(parent or Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self.results = self.folder / "results"
        self.over = False
        self.held = False  # set while the last event is handled: whoever did closes the job
        self._python, self._worker = python, worker
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        # Threads append at one end, poll() takes from the other; what is too old falls out.
        self._progress: deque[Event] = deque(maxlen=1)
        self._measures: deque[dict[str, float]] = deque(maxlen=MEASURES)
        self._log, self._tail = deque[str](maxlen=LOG_LINES), deque[str](maxlen=TAIL_LINES)
        self._answer: dict[str, Any] = {}
        self._refusal, self._cancelled = "", False
        self._kill_at: float | None = None
        Job._latest = self

    @property
    def running(self) -> bool:
        """Whether it was started and its final event is still to come."""
        return not self.over and bool(self._process or self._refusal)

    def start(self, arguments: Sequence[str]) -> None:
        """Start the worker with a command that takes ``--progress=json``, and those arguments.

        That it cannot start is reported by ``poll()``, as every failure.
        """
        if self.running or self.over:
            raise RuntimeError("A job runs once. Make a new one.")
        new_group = "CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW"  # on Windows
        try:
            python = find_python(self._python)
            self._process = subprocess.Popen(
                [python, *self._worker, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=1 << 16,
                # Where -m looks first: PythonSlicer may set a PYTHONPATH of its own.
                cwd=Path(ContrastSynthLib.__file__).parents[1],
                env=worker_environment(os.environ, python, self.folder),
                start_new_session=True,
                creationflags=sum(getattr(subprocess, flag, 0) for flag in new_group),
            )
            pipes = {self._process.stdout: self._hear, self._process.stderr: self._note}
            for given in pipes.items():
                self._threads.append(threading.Thread(target=_each_line, args=given, daemon=True))
                self._threads[-1].start()
        except OSError as error:
            self._refusal = f"The worker could not be started: {error}."

    def poll(self, handle: Callable[[Event], None]) -> bool:
        """Hand on what happened since the last call, at once; True while there is more to come.

        The final event comes once and last. When it was handled, well or not, the job is closed,
        unless its handler holds it.
        """
        if not self.running:
            return False
        ended = self._has_ended()  # first, so that nothing that was said is left behind
        log = [self._log.popleft() for _ in range(len(self._log))]
        events = [Event("log", "\n".join(log))] if log else []
        if self._progress:
            # After the progress is taken: measures come before the progress that they belong to.
            progress = self._progress.popleft()
            measures = [self._measures.popleft() for _ in range(len(self._measures))]
            events.append(replace(progress, measures=measures))
        for event in events:
            handle(event)
        if ended and not self.over:  # handle may have polled: a message box lets the timer tick
            _end(self._process, force=True)  # children that the worker left running
            event, self.over, self._process = self._final_event(), True, None
            try:
                handle(event)
            finally:
                if not self.held:
                    self.close()
        return self.running

    def cancel(self) -> None:
        """Ask the worker and its children to end; ``poll()`` kills them after a grace time."""
        if self.running and not self._cancelled:
            self._cancelled = True
            self._kill_at = time.monotonic() + GRACE_S
            _end(self._process, force=False)

    def close(self) -> None:
        """End what still runs and remove the folder, at any time; there is no event of it."""
        process, self._process, self.over = self._process, None, True
        if process:
            _end(process, force=True)  # no grace time: all that a worker writes is in the folder
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has_ended(self) -> bool:
        """Tell whether the worker is gone and all it said is read; kill what stays too long."""
        if self._process is None:
            return True
        left = self._process.poll() is not None
        if left and not any(thread.is_alive() for thread in self._threads):
            return True
        now = time.monotonic()
        if self._kill_at is None and (left or self._answer or self._refusal):
            self._kill_at = now if self._refusal else now + LINGER_S
        if self._kill_at is None or now < self._kill_at:
            return False
        _end(self._process, force=True)
        # What has left the group may hold the pipes for ever: that is not waited for.
        return left and now >= self._kill_at + GRACE_S

    def _note(self, text: str) -> None:
        self._log.append(text)
        self._tail.append(text)

    def _hear(self, text: str) -> None:
        """Take one JSON line of the worker; what is none goes to the log."""
        try:
            line = json.loads(text)
            version, kind = int(line["schema_version"]), line["type"]
            if version > PROTOCOL:
                self._refusal = f"The worker speaks a newer protocol ({version}). Restart Slicer."
            elif kind == "progress" and 0 <= line["fraction"] <= 1:
                if measures := line.get("measures"):
                    self._measures.append({name: float(x) for name, x in measures.items()})
                self._progress.append(Event(kind, str(line["message"]), line["fraction"]))
            elif kind in ("result", "error"):
                self._answer = line
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._note(f"not understood: {text[:200]}")

    def _final_event(self) -> Event:
        """Return how it ended. A result counts whatever came after it: its files are whole."""
        if self._cancelled:
            return Event("cancelled")
        code = self._process.returncode if self._process else None
        message = self._refusal or str(self._answer.get("message", ""))
        if not message and self._answer:
            files: dict[str, Path] | None = None
            with suppress(KeyError, TypeError, ValueError):
                named = dict(self._answer["outputs"])
                if "provenance" in self._answer:  # which a measurement has not
                    named["provenance"] = self._answer["provenance"]
                files = {role: self.results / name for role, name in named.items()}
            lost = ", ".join(path.name for path in (files or {}).values() if not path.is_file())
            if files is not None and not lost:
                return Event("finished", report=self._answer, files=files, exit_code=code)
            message = f"The worker said it was done, but did not leave {lost or 'any files'}."
        message = message or _cause_of_death(code, self._tail)
        return Event("failed", message + self._full_disk(message), exit_code=code)

    def _full_disk(self, text: str) -> str:
        """Return what to do about a full disk; nothing when it is not full."""
        with suppress(OSError):
            said = os.strerror(errno.ENOSPC) in "\n".join([text, *self._tail])
            if said or shutil.disk_usage(self.folder).free < FULL_DISK_BYTES:
                return f"\nThe disk that holds '{self.folder.parent}' is full: free some space."
        return ""


def _end(process: subprocess.Popen[bytes] | None, *, force: bool) -> None:
    """End the whole group of a process, whether or not there is anything left in it."""
    with suppress(OSError):
        if process is None:
            return
        if sys.platform == "win32":  # no signal to catch there: the tree ends at once
            tree = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.Popen(tree, creationflags=subprocess.CREATE_NO_WINDOW)
        else:
            os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)


def _each_line(pipe: IO[bytes], take: Callable[[str], None]) -> None:
    """Read to the end; of a line that a progress bar wrote over, the last state counts."""
    with pipe:
        for line in iter(lambda: pipe.readline(LONGEST_LINE), b""):
            if text := line.decode("utf-8", "replace").rstrip().rsplit("\r", 1)[-1]:
                take(text)


def _cause_of_death(code: int | None, tail: Sequence[str]) -> str:
    """Say why a worker ended that did not say so itself."""
    message = f"ended without a result (exit code {code})."
    if code is not None and code < 0:
        message = f"crashed ({signal.strsignal(-code)})."
    # PythonSlicer is a launcher: it keeps a signal to itself and ends with 1.
    if code in (-9, 137) or any("exit abnormally" in text for text in tail):
        message = f"was killed, most often because memory ran out: {LESS_MEMORY}."
    return "\n".join(
        [f"The worker {message}", *(["Last lines of its log:", *tail] if tail else [])]
    )


def find_python(given: str | None = None) -> str:
    """Return the interpreter: the one given, Slicer's or this one; else FileNotFoundError."""
    found = given or shutil.which("PythonSlicer") or sys.executable or ""
    if given or "python" in Path(found).name.lower():  # not Slicer itself, a second time
        return found
    raise FileNotFoundError("PythonSlicer, the Python of Slicer, was not found")


def run_arguments(request: Request, results: Path) -> list[str]:
    """Return a request, whose inputs are files, as the command line's ``run`` takes it."""
    given = ["run", request.method, f"--out={results}", "--progress=json"]
    for role, source in request.inputs.items():
        several = [source] if isinstance(source, str | os.PathLike) else source
        paths = cast(Iterable[str | Path], several)
        given += [f"--in={role}={os.path.abspath(path)}" for path in paths]
    given += [f"--set={name}={_as_text(value)}" for name, value in request.parameters.items()]
    given += [f"--time={seconds}" for seconds in request.times_s]
    weights = request.weights or ()
    by_network = weights.items() if isinstance(weights, Mapping) else ()
    given += [f"--weights={network}={wanted}" for network, wanted in by_network]
    given += [f"--weights={weights}"] if isinstance(weights, str) else []
    phases = ",".join(map(str, request.phases))
    given += [f"--phases={phases}"] if phases else []
    given += [f"--seed={request.seed}"] if request.seed is not None else []
    chosen = {name: getattr(request, name) for name in ("preset", "align", "device")}
    return given + [f"--{name}={value}" for name, value in chosen.items() if value]


def _as_text(value: Any) -> str:
    """Return a parameter as it is typed; a list of numbers has commas."""
    return ",".join(str(one) for one in value) if isinstance(value, list | tuple) else str(value)


def worker_environment(environment: Mapping[str, str], python: str, folder: Path) -> dict[str, str]:
    """Return what a worker needs of ``environment``, with its temporary files in ``folder``.

    What OMP, MKL, ITK, CUDA, a proxy or the user's weights need is kept. Left out are:
    PYTHON* but three: STARTUP, INSPECT, WARNINGS, OPTIMIZE ... change what a program does;
    QT*: plugins of Slicer's Qt, for a worker without windows;
    LD_PRELOAD, LD_AUDIT, DYLD_INSERT_LIBRARIES: meant for Slicer, such as a remote desktop's;
    for another interpreter than Slicer's, the paths that Slicer's launcher set for its own.
    """
    kept = {"PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE"}
    left_out: tuple[str, ...] = ("QT", "LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES")
    home = environment.get("PYTHONHOME")
    slicers = Path(python).name.startswith("PythonSlicer")
    if home and not slicers and Path(home).resolve() not in Path(python).resolve().parents:
        kept, left_out = {"PYTHONNOUSERSITE"}, (*left_out, "LD_LIBRARY_PATH", "DYLD_")
    clean = {
        name: value
        for name, value in environment.items()
        if (name in kept or not name.startswith("PYTHON")) and not name.startswith(left_out)
    }
    if methods := clean.get(OWN_METHODS):  # a worker has a working directory of its own
        files = (os.path.abspath(file) for file in methods.split(os.pathsep) if file)
        clean[OWN_METHODS] = os.pathsep.join(files)
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    return {**clean, **temporary, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def remove_left_overs(parent: Path) -> None:
    """Remove the folders of sessions that crashed more than a day ago."""
    for folder in parent.glob(PREFIX + "*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(folder)
