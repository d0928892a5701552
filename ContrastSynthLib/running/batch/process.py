"""A worker process from the outside: it is given cases, it may die, and it can be stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import ContrastSynthLib
from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.running.batch.jobs import Job, Outcome

MODULE = "ContrastSynthLib.running.batch.worker"
OUTCOME = "outcome"
STOPPED: Outcome = {"status": "stopped"}
"""What is left of a case whose batch was stopped; it gets no row."""
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
MEMORY_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}
"""For glibc: memory that a volume needed is kept for the next one. Without, a fifth of the time of
physics_dose goes into getting zeroed pages, which processes have to wait for together."""
SECONDS_TO_CLEAN_UP = 0.6
"""From being asked to end until being killed."""
LAST_WORDS = 8000
"""Bytes of what a worker said last that go into the log."""
MEMORY = "most often because memory ran out; fewer workers (--workers) need less"
SEE_THE_LOG = "batch-log.jsonl has its last words"


class WorkerProcess:
    """A process that runs one case at a time; another one is started where it has died."""

    def __init__(
        self,
        threads: int | None = None,
        variables: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ):
        """Give its share of threads, None for all; variables of its environment; descriptors.

        The descriptors in ``keep_open`` stay open in the worker, so that a lock lasts as long.
        """
        self._environment = environment(threads, variables or {})
        self._keep_open = keep_open if os.name == "posix" else ()
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[bytes] | None = None
        self._starting = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Start the process before there is a case for it."""
        with self._starting:
            if not self._stopped:
                self._running()

    def run(self, job: Job) -> tuple[Outcome | None, str, str]:
        """Return the outcome of a job or, where the process died, None, the reason, its last words.

        The outcome is STOPPED where :meth:`stop` was called.
        """
        with self._starting:
            if self._stopped:
                return STOPPED, "", ""
            process, said = self._running()
            before = said.seek(0, os.SEEK_END)
        outcome = _ask(process, job)
        if outcome is not None:
            return outcome, "", ""
        if self._was_stopped():
            return STOPPED, "", ""
        code = process.wait()
        said.seek(max(before, said.seek(0, os.SEEK_END) - LAST_WORDS))
        return None, cause_of_death(code), said.read().decode("utf-8", "replace")

    def stop(self) -> None:
        """End the process: asked first, killed when it does not end within a second."""
        self.ask_to_end()
        self.end(time.monotonic() + SECONDS_TO_CLEAN_UP)

    def ask_to_end(self) -> None:
        """Ask the process to end and to clean up behind itself; no case is begun any more."""
        with self._starting:
            self._stopped = True
            if self._process is not None:
                # Windows cannot ask; there the end of its stdin does, as everywhere.
                if os.name == "posix" and self._process.poll() is None:
                    self._process.terminate()
                _close(self._process.stdin)

    def end(self, deadline: float) -> None:
        """Wait for the process to end until ``deadline`` (monotonic, s), then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _was_stopped(self) -> bool:
        return self._stopped

    def _running(self) -> tuple[subprocess.Popen[str], IO[bytes]]:
        """Return the process, a new one where there is none that lives."""
        if self._process is None or self._said is None or self._process.poll() is not None:
            if self._process is not None:
                _close(self._process.stdin)
                _close(self._process.stdout)
            self._said = self._said or tempfile.TemporaryFile()  # noqa: SIM115 - as long as this
            self._process = subprocess.Popen(
                [interpreter(), "-P", "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=self._environment,
                pass_fds=self._keep_open,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                encoding="utf-8",
            )
        return self._process, self._said


def _ask(process: subprocess.Popen[str], job: Job) -> Outcome | None:
    """Return the answer to a job; None where the process ended without one."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("A worker is spoken to through pipes.")
    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer.get("type") == OUTCOME:
                return answer
    except (OSError, ValueError):  # a pipe that ended, a line that was cut
        pass
    return None


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        with suppress(OSError):  # what was not written yet meets a closed pipe
            stream.close()


def interpreter() -> str:
    """Return the Python of the workers; MissingError where there is none, as inside Slicer."""
    found = shutil.which("PythonSlicer") or sys.executable or ""
    if "python" not in Path(found).name.lower():
        raise MissingError("PythonSlicer, the Python of Slicer, was not found beside it.")
    return found


def environment(threads: int | None, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker: it finds this library, and has its share of threads.

    A number of threads that is set already, as OMP_NUM_THREADS, is an upper bound.
    """
    places = [str(Path(ContrastSynthLib.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    found = {**MEMORY_KEPT, **os.environ, **variables}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    for name in THREAD_VARIABLES if threads else ():
        given = found.get(name, "")
        found[name] = str(min(threads or 1, int(given) if given.isdecimal() else threads or 1))
    return found


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cause_of_death(code: int) -> str:
    """Return why a process ended without an answer, from its exit code."""
    if code in (-9, 137):
        return f"The worker was killed (SIGKILL), {MEMORY}."
    if code < 0 or 128 < code < 160:
        number = -code if code < 0 else code - 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f"The worker crashed in native code ({name}); {SEE_THE_LOG}."
    shown = hex(code) if code > 255 else str(code)
    return (
        f"The worker ended by itself, with exit code {shown}; batch-log.jsonl has its last words."
    )
