"""One case: run, or kept where its results are those of the request; it ends in an outcome."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib.errors import Cancelled, ContrastSynthError
from ContrastSynthLib.files.writing import remove_stale_partials
from ContrastSynthLib.running.batch.cells import without_paths
from ContrastSynthLib.running.batch.jobs import Job, Outcome, paths_of, request_of
from ContrastSynthLib.running.batch.record import DONE, FAILED
from ContrastSynthLib.running.batch.resume import earlier_result
from ContrastSynthLib.running.run import run


def perform(job: Job) -> Outcome:
    """Run one case, or keep its results where the job may ``resume`` and they are the request's.

    Whatever goes wrong becomes an outcome, a fault of a method with its traceback; only Cancelled
    is raised. ``message`` has the paths, ``cell`` has none.
    """
    request, folder = request_of(job), Path(job["folder"])
    why, started = "", time.monotonic()
    try:
        remove_leftovers(folder)
        if job["resume"]:
            kept, why = earlier_result(request, folder)
            if kept is not None:
                return done(job, kept) | {"kept": True}
        result = run(request)
        result.write(folder)
    except Cancelled:
        raise
    except ContrastSynthError as error:
        return failed(job, str(error), why=why, started=started)
    except (Exception, SystemExit) as error:  # one bad case is one row
        said = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"{said}. This is a fault of the program; batch-log.jsonl has the traceback."
        detail = traceback.format_exc()
        return failed(job, message, why=why, detail=detail, started=started)
    took_s = time.monotonic() - started
    return done(job, result.provenance) | {"why": why, "took_s": took_s}


def done(job: Job, provenance: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a case by the provenance of its results."""
    return _outcome(
        job,
        DONE,
        " ".join(provenance["warnings"]),
        seconds=provenance["seconds"],
        date_utc=provenance["created_utc"],
        parameters={name: entry["value"] for name, entry in provenance["parameters"].items()},
        seed=provenance["seed"],
        weights=" ".join(entry["id"] for entry in provenance["weights"]),
    )


def failed(
    job: Job, message: str, *, why: str = "", detail: str = "", started: float | None = None
) -> Outcome:
    """Return the outcome of a case that failed; ``detail`` is for the log.

    It lasted from ``started`` (monotonic, s) until now; None where it never began.
    """
    request = job["request"]
    return _outcome(
        job,
        FAILED,
        message,
        seconds=None if started is None else round(time.monotonic() - started, 2),
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        parameters={name: str(value) for name, value in request["parameters"].items()},
        seed=request["seed"],
        weights="",
        why=why,
        detail=without_paths(detail, paths_of(job)),
    )


def _outcome(job: Job, status: str, message: str, **more: Any) -> Outcome:
    return {
        "case": job["case"],
        "method": job["request"]["method"],
        "status": status,
        "message": message,
        "cell": without_paths(message, paths_of(job)),
        **more,
    }


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed left in the folder of a case."""
    if remove_stale_partials(folder) and not any(folder.iterdir()):
        folder.rmdir()
