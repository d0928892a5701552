"""Who runs the cases: one process, Dask on this computer, or the workers of a Dask cluster.

Dask decides which worker takes which case. A worker of Dask never computes itself: beside it runs
a process of ours (:mod:`worker`), which may crash or be killed without harm to Dask, says by its
exit code why, keeps its networks, and can be stopped at once.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.files.writing import partial_folder
from ContrastSynthLib.running.batch.case import failed
from ContrastSynthLib.running.batch.crew import Crew, join_crew, run_in_crew, stop_crew
from ContrastSynthLib.running.batch.jobs import Job, Outcome
from ContrastSynthLib.running.batch.process import processors

VARIABLES = ("CONTRASTSYNTH_METHODS", "CONTRASTSYNTH_WEIGHTS")
"""Environment variables that the workers of a cluster need as well."""
CONNECT_TIMEOUT_S = 10
SCHEDULER_LOST_AFTER_S = 20
STOP_TIMEOUT_S = 0.5

Take = Callable[[Job, Outcome], None]
"""What gets each outcome, from any thread."""


class Engine(Protocol):
    """What runs cases in the background."""

    threads: int | None
    at_once: int
    """Cases that run at the same time; of a cluster, when the batch began."""

    def start(self, jobs: Sequence[Job], take: Take) -> None:
        """Begin with all jobs, and return at once."""

    def lost(self) -> bool:
        """Return whether no more outcomes will come."""

    def stop(self) -> None:
        """End all processes; no case is begun any more."""


class OneProcess:
    """One case after the other, in one process with all threads."""

    def __init__(self, keep_open: Sequence[int]):
        self.threads: int | None = None
        self.at_once = 1
        self._crew = Crew(keep_open=keep_open)

    def start(self, jobs: Sequence[Job], take: Take) -> None:
        """Begin with all jobs, and return at once."""

        def work() -> None:
            for job in jobs:
                take(job, _whatever_happens(self._crew.run, job))

        threading.Thread(target=work, daemon=True).start()

    def lost(self) -> bool:
        """Return False: the process is restarted when it dies."""
        return False

    def stop(self) -> None:
        """End the process."""
        self._crew.stop()


class Dask:
    """Cases on the workers of a Dask scheduler."""

    def __init__(self, client: Any, threads: int | None):
        self.threads = threads
        self.at_once = max(1, sum(client.nthreads().values()))
        self._client = client
        self._batch = f"batch-{uuid.uuid4().hex}"
        self._futures: list[Any] = []
        self._here = False
        self._unwell = 0
        self._was_stopped = False

    def use(self, crew: Crew) -> None:
        """Run the cases in this crew, where the workers are threads of this process."""
        join_crew(self._batch, crew)
        self._here = True

    def start(self, jobs: Sequence[Job], take: Take) -> None:
        """Begin with all jobs, and return at once. Their keys in Dask name no case."""
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}

        def finished(job: Job) -> Callable[[Any], None]:
            return lambda future: take(job, _of_future(job, future))

        for number, job in enumerate(jobs):
            future = self._client.submit(
                *(run_in_crew, self._batch, job, self.threads, variables),
                key=f"{self._batch}-{number}",
                pure=False,
                retries=0,
            )
            future.add_done_callback(finished(job))
            self._futures.append(future)

    def lost(self) -> bool:
        """Return whether the scheduler has been away for a while; asked about once a second."""
        self._unwell = 0 if self._client.status == "running" else self._unwell + 1
        return self._unwell > SCHEDULER_LOST_AFTER_S

    def stop(self) -> None:
        """End the processes of this batch on all computers."""
        stop_crew(self._batch)
        if self._here or self._was_stopped:
            return
        self._was_stopped = True
        _in_time(lambda: self._client.run(stop_crew, self._batch, on_error="ignore"))
        _in_time(lambda: self._client.cancel(self._futures, force=True))


@contextmanager
def engine(
    workers: int, scheduler: str | None, keep_open: Sequence[int], out: Path
) -> Iterator[Engine]:
    """Give what runs the cases: ``workers`` on this computer, or those of a Dask scheduler.

    It is stopped at the end; until then Dask's own files are in ``out``. Raises MissingError where
    Dask is not installed, here or there, and RequestError for a scheduler that does not answer.
    """
    if scheduler is None and workers == 1:
        alone = OneProcess(keep_open)
        with _stopped_after(alone):
            yield alone
    elif scheduler is None:
        threads = max(1, processors() // workers)
        crew = Crew(threads, keep_open=keep_open)
        try:
            crew.start(workers)  # they import what they need while Dask is imported
            with _dask_here(workers, out) as client:
                here = Dask(client, threads)
                here.use(crew)
                with _stopped_after(here):
                    yield here
        finally:
            crew.stop()
    else:
        with _dask_there(scheduler) as client:
            there = Dask(client, None)
            with _stopped_after(there):
                yield there


@contextmanager
def _stopped_after(used: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        used.stop()


@contextmanager
def _dask_here(workers: int, out: Path) -> Iterator[Any]:
    """Give the client of a scheduler whose workers are threads of this process.

    The cases have processes of ours. Nothing listens to the network but Dask's page of its state,
    at an address of this computer only.
    """
    import distributed

    page = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with _quiet(), partial_folder(out) as folder:
        given = {"nthreads": 1, "memory_limit": 0, "local_directory": str(folder)} | page
        cluster = distributed.SpecCluster(
            scheduler={"cls": distributed.Scheduler, "options": {"protocol": "inproc://"} | page},
            workers={n: {"cls": distributed.Worker, "options": given} for n in range(workers)},
            silence_logs=False,
        )
        client = distributed.Client(cluster, set_as_default=False)
        try:
            yield client
        finally:
            _in_time(lambda: (client.close(timeout=1), cluster.close(timeout=1)))


@contextmanager
def _dask_there(scheduler: str) -> Iterator[Any]:
    import distributed

    with _quiet():
        client = _connected(distributed, scheduler)
        try:
            yield client
        finally:
            _in_time(client.close)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log, which reports each worker that ends, from the terminal."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _connected(distributed: Any, scheduler: str) -> Any:
    """Return a client of a scheduler whose workers have this library."""
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise RequestError(
            f"The Dask scheduler at {scheduler} does not answer ({type(error).__name__}). Expected "
            "an address such as tcp://192.168.0.10:8786, where 'dask scheduler' runs (--scheduler)."
        ) from None
    try:
        versions = client.run(_version)
    except Exception as error:
        client.close()
        raise MissingError(
            f"The workers of the Dask scheduler at {scheduler} have no ContrastSynth ({error}). "
            "Install the same version there: pip install 'contrastsynth[cluster]'."
        ) from None
    others = sorted(set(versions.values()) - {__version__})
    if others:
        client.close()
        raise RequestError(
            f"The workers of the Dask scheduler at {scheduler} have ContrastSynth "
            f"{' and '.join(others)}, here is {__version__}. Install one version everywhere."
        )
    return client


def _version() -> str:
    return __version__


def _whatever_happens(run: Callable[[Job], Outcome], job: Job) -> Outcome:
    try:
        return run(job)
    except Exception as error:  # such as no process that can be started
        return failed(job, f"The worker could not be started: {type(error).__name__}: {error}")


def _of_future(job: Job, future: Any) -> Outcome:
    """Return the outcome in a finished future, or that of a worker of Dask that died."""
    if future.status == "finished":
        outcome: Outcome = future.result()
        return outcome
    if future.status == "error":
        error = future.exception()
        return failed(job, f"The worker of the cluster was lost ({type(error).__name__}: {error}).")
    return failed(job, "The scheduler of the cluster gave the case up.")


def _quietly(act: Callable[[], Any]) -> None:
    try:
        act()
    except Exception as error:
        logging.getLogger(__name__).debug("while stopping: %s", error)


def _in_time(act: Callable[[], Any]) -> None:
    """Call in a thread, and go on soon: a scheduler that is gone must not hold up the end."""
    thread = threading.Thread(target=_quietly, args=(act,), daemon=True)
    thread.start()
    thread.join(STOP_TIMEOUT_S)
