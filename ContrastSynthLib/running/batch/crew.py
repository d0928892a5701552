"""The worker processes of a batch on one computer, and what becomes of a case whose worker dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ContrastSynthLib.running.batch.case import failed, remove_leftovers
from ContrastSynthLib.running.batch.jobs import Job, Outcome
from ContrastSynthLib.running.batch.process import SECONDS_TO_CLEAN_UP, STOPPED, WorkerProcess

MOST_ENDED = 1000
"""Batches that a computer of a cluster remembers as ended."""


class Crew:
    """Worker processes that wait for cases, as many as cases are run at the same time."""

    def __init__(
        self,
        threads: int | None = None,
        variables: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ):
        """Take what each :class:`WorkerProcess` is made with."""
        self._given = (threads, variables, keep_open)
        self._all: list[WorkerProcess] = []
        self._free: list[WorkerProcess] = []
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, count: int) -> None:
        """Start processes before there are cases for them."""
        for _ in range(count):
            process = WorkerProcess(*self._given)
            process.start()
            with self._lock:
                self._all.append(process)
                self._free.append(process)

    def run(self, job: Job) -> Outcome:
        """Run a case in a process that is free, else in a new one, and return its outcome.

        It is STOPPED where :meth:`stop` was called.
        """
        with self._lock:
            if self._stopped:
                return STOPPED
            if not self._free:
                self._all.append(WorkerProcess(*self._given))
                self._free.append(self._all[-1])
            process = self._free.pop()
        started = time.monotonic()
        outcome, reason, last_words = process.run(job)
        with self._lock:
            self._free.append(process)
        if outcome is None:
            remove_leftovers(Path(job["folder"]))
            return failed(job, reason, detail=last_words, started=started)
        if outcome is STOPPED:
            remove_leftovers(Path(job["folder"]))
        return outcome

    def stop(self) -> None:
        """End all processes, within a second or so; no case is begun any more."""
        with self._lock:
            self._stopped = True
            every = list(self._all)
        for process in every:
            process.ask_to_end()
        deadline = time.monotonic() + SECONDS_TO_CLEAN_UP
        for process in every:
            process.end(deadline)


_crews: dict[str, Crew | None] = {}
_crews_lock = threading.Lock()


def run_in_crew(batch: str, job: Job, threads: int | None, variables: Mapping[str, str]) -> Outcome:
    """Run a case in the crew that this computer has for a batch; a worker of Dask calls this."""
    with _crews_lock:
        crew = _crews.setdefault(batch, Crew(threads, variables))
    return STOPPED if crew is None else crew.run(job)


def join_crew(batch: str, crew: Crew) -> None:
    """Let :func:`run_in_crew` use this crew for a batch."""
    with _crews_lock:
        _crews[batch] = crew


def stop_crew(batch: str) -> None:
    """End the crew of a batch on this computer, and take no more of its cases."""
    with _crews_lock:
        crew = _crews.get(batch)
        _crews[batch] = None
        for old in list(_crews)[:-MOST_ENDED]:
            if _crews[old] is None:
                del _crews[old]
    if crew is not None:
        crew.stop()
