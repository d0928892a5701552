"""A batch from its table to its record: what is asked, who runs it, what became of it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import check_writable, remove_stale_partials
from ContrastSynthLib.preprocessing.brain_mask import refuse_without_package
from ContrastSynthLib.registry import AUTO_MASK, MASK_ROLE
from ContrastSynthLib.running.batch.case import failed
from ContrastSynthLib.running.batch.engines import Engine, engine
from ContrastSynthLib.running.batch.forecast import Forecast
from ContrastSynthLib.running.batch.jobs import Job, Outcome, make_job
from ContrastSynthLib.running.batch.lock import only_batch
from ContrastSynthLib.running.batch.process import STOPPED
from ContrastSynthLib.running.batch.record import DONE, RECORD, Record
from ContrastSynthLib.running.batch.table import CASE, read_cases
from ContrastSynthLib.running.stopping import Stop, stop_on_signals

TICK_S = 0.1
TICKS_A_SECOND = 10


@dataclass
class Counts:
    """How many cases there are of each end."""

    done: int = 0
    kept: int = 0
    failed: int = 0
    not_run: int = 0

    def __str__(self) -> str:
        return (
            f"{self.done} done, {self.kept} left as they were, {self.failed} failed, "
            f"{self.not_run} not run."
        )


Report = Callable[[Outcome, int, int, float | None], None]
"""What gets each outcome as it comes, how many came so far, how many there will be, and the seconds
that are left, None while too few cases were computed to tell."""


def run_batch(
    method_key: str,
    table: Path,
    out: Path,
    *,
    parameters: Mapping[str, Any],
    common: Mapping[str, Any],
    mask: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    resume: bool = False,
    say: Callable[[str], None] = print,
    report: Report = lambda outcome, ended, total, left_s: None,
) -> Counts:
    """Run the method on each row of ``table``; write ``out/<case>/``, ``out/batch.csv`` and a log.

    ``common`` holds the fields of Request that all cases share; a parameter in the table
    comes before the same one in ``parameters``. ``mask`` is that of the rows without one: the word
    ``auto``. ``workers`` cases run at the same time, each in a
    process with its share of the processors, or those of a Dask ``scheduler`` by its address.
    ``resume`` keeps the results that are those of the request. One case that fails, crashes or
    is killed does not stop the others.

    Raises RequestError for a table that cannot be used and for a folder that another batch writes
    into, both before anything is run, and at the end when a case failed; MissingError where Dask
    is needed and not installed; Cancelled after Ctrl-C or SIGTERM, with everything written, and
    the exit code of the signal.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        rows = read_cases(table, method_key, say)
        if mask:
            rows = [row if row.get(MASK_ROLE) else row | {MASK_ROLE: mask} for row in rows]
        if scheduler is None and any(row.get(MASK_ROLE) == AUTO_MASK for row in rows):
            refuse_without_package()
        check_writable(out)
        _refuse_own_table(table, out)
        out.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(only_batch(out))
        remove_stale_partials(out)
        jobs = [
            make_job(
                *(method_key, row, table.parent, out),
                parameters=parameters,
                common=common,
                resume=resume,
            )
            for row in rows
        ]
        record = Record(out, [row[CASE] for row in rows])
        crew = stack.enter_context(engine(workers, scheduler, [lock], out))
        counts = _run_all(jobs, crew, stop, record, say, report)
    say(f"{counts} See {out / RECORD}.")
    if stop.number is not None:
        raise stop.cancelled()
    if counts.failed:
        raise RequestError(f"{counts.failed} of {len(rows)} cases failed; {out / RECORD} says why.")
    return counts


def _run_all(
    jobs: Sequence[Job],
    crew: Engine,
    stop: Stop,
    record: Record,
    say: Callable[[str], None],
    report: Report,
) -> Counts:
    """Run the jobs, note each outcome, and stop all when asked to."""
    counts = Counts(not_run=len(jobs))
    ended: queue.SimpleQueue[tuple[Job, Outcome]] = queue.SimpleQueue()
    stop.at_once = False
    record.log("begin", cases=len(jobs), threads_each=crew.threads)
    forecast = Forecast(crew.at_once)
    if stop.number is None:
        crew.start(jobs, lambda job, outcome: ended.put((job, outcome)))
        for outcome in _outcomes(jobs, crew, stop, ended):
            _count(counts, outcome)
            record.note(_row(outcome), **_for_the_log(outcome))
            say(_line(outcome))
            forecast.note(outcome.get("took_s"))
            left_s = forecast.left_s(counts.not_run)
            report(outcome, len(jobs) - counts.not_run, len(jobs), left_s)
            if told := forecast.line(counts.not_run, len(jobs), time.monotonic()):
                say(told)
    record.log("stopped" if stop.number else "end", **vars(counts))
    record.finish()
    return counts


def _outcomes(
    jobs: Sequence[Job],
    crew: Engine,
    stop: Stop,
    ended: queue.SimpleQueue[tuple[Job, Outcome]],
) -> Iterator[Outcome]:
    """Yield outcomes as they come, until there is one of each job or the batch is stopped."""
    waiting = {job["case"]: job for job in jobs}
    ticks = 0
    while waiting and stop.number is None:
        try:
            job, outcome = ended.get(timeout=TICK_S)
        except queue.Empty:
            ticks += 1
            if ticks % TICKS_A_SECOND == 0 and crew.lost():
                for job in waiting.values():
                    yield failed(job, "The scheduler of the cluster was lost.")
                return
            continue
        if waiting.pop(job["case"], None) and outcome != STOPPED:
            yield outcome
    if stop.number is not None:
        crew.stop()
        while not ended.empty():  # what was finished in the meantime
            job, outcome = ended.get()
            if waiting.pop(job["case"], None) and outcome.get("status") == DONE:
                yield outcome


def _count(counts: Counts, outcome: Outcome) -> None:
    counts.not_run -= 1
    if outcome["status"] != DONE:
        counts.failed += 1
    elif outcome.get("kept"):
        counts.kept += 1
    else:
        counts.done += 1


def _row(outcome: Outcome) -> dict[str, Any]:
    return outcome | {"message": outcome["cell"]}


def _for_the_log(outcome: Outcome) -> dict[str, Any]:
    found = {name: outcome.get(name) for name in ("kept", "why", "detail")}
    return {name: value for name, value in found.items() if value}


def _line(outcome: Outcome) -> str:
    """Return what a person at a terminal reads of a case; with paths, unlike the record."""
    again = f"(run again: {outcome['why']}) " if outcome.get("why", "").startswith("it ") else ""
    kept = "left as it was" if outcome.get("kept") else outcome["status"]
    return f"{outcome['case']}: {kept} {again}{outcome['message']}".rstrip()


def _refuse_own_table(table: Path, out: Path) -> None:
    record = out / RECORD
    if record.exists() and table.exists() and record.samefile(table):
        raise RequestError(
            f"{table}: is where the record of the batch goes. Give the table of cases another "
            "name, or choose another --out."
        )
