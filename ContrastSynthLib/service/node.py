"""The node at work: waits for whole studies, and does their jobs one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.locks import try_lock_folder
from ContrastSynthLib.service.command import sparingly
from ContrastSynthLib.service.jobs import Job, jobs_of
from ContrastSynthLib.service.receiver import receiving
from ContrastSynthLib.service.rules import Rules

LOOK_S, SHARE = 1.0, 5.0
WAITS_S = 60.0
"""Until an archive that did not answer is tried again."""
Say = Callable[[str], None]


def serve(rules: Rules, say: Say, until: Callable[[], bool] = lambda: False) -> None:
    """Receive, watch and work until told to stop; ``say`` gets a line for each step.

    What was not whole or not sent goes on after a restart, and nothing is done twice. Raises
    RequestError where another node works in the folder, or the port cannot be used.
    """
    incoming = rules.folder / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_alone(rules.folder))
        if any(peer.sends for peer in rules.peers):
            stack.enter_context(receiving(rules, incoming))
            say(f"listening as {rules.title} at {rules.host}:{rules.port}")
        seen: dict[Path, int] = {}
        queue: dict[Path, Job] = {}
        waits: dict[Path, float] = {}
        while not until():
            began = time.monotonic()
            studies = [*_whole_studies(rules, incoming, seen)]
            looking_s = time.monotonic() - began
            for study in studies:
                queue |= {job.folder: job for job in _jobs(study, rules, say)}
            for job in [*queue.values()]:
                if until():
                    return
                if time.monotonic() >= waits.get(job.folder, 0.0):
                    say(f"{job}: {job.go_on(rules, sparingly(say, str(job)))}")
                    waits[job.folder] = time.monotonic() + WAITS_S
                if job.is_over:
                    del queue[job.folder]
            # Thousands of studies take a while to look through: most of the time is for others.
            time.sleep(max(LOOK_S, SHARE * looking_s))


def _jobs(study: Path, rules: Rules, say: Say) -> list[Job]:
    """Return the jobs of a study that are not over; say why there is none for a rule."""
    try:
        jobs, reasons = jobs_of(study, rules)
    except RequestError as error:
        jobs, reasons = [], [str(error)]
    for reason in reasons:
        say(f"{study.name}: not done: {reason}")
    return [job for job in jobs if not job.is_over]


def _whole_studies(rules: Rules, incoming: Path, seen: dict[Path, int]) -> Iterator[Path]:
    """Yield studies to which nothing was added for a while, the one that waits longest first.

    ``seen`` has the last change with which a study was yielded: only a later one yields it again.
    """
    places = [incoming] + ([rules.watch] if rules.watch else [])
    studies = [path for place in places if place.is_dir() for path in place.iterdir()]
    changed = {path: _last_change_ns(path) for path in studies if path.is_dir()}
    for study, last in sorted(changed.items(), key=lambda item: item[1]):
        if seen.get(study) != last and time.time_ns() - last >= rules.quiet_s * 1e9:
            seen[study] = last
            yield study


def _last_change_ns(folder: Path) -> int:
    """Return when something below a folder was changed last."""
    return max((os.stat(path).st_mtime_ns for path in [folder, *folder.rglob("*")]), default=0)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other nodes out of the folder."""
    try:
        lock = try_lock_folder(folder)
    except BlockingIOError:
        raise RequestError(f"{folder}: another node works in this folder.") from None
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)
