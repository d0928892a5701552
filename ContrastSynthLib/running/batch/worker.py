"""The process in which cases are run, one after the other: ``python -m`` this module.

It reads a job a line from stdin and answers each with a line on stdout. A crash, or a kill for
memory, ends this process and not the batch, which starts another. It ends when stdin does, and so
with the process that started it, however that one ended; a case that runs is cancelled.
"""

from __future__ import annotations

import _thread
import faulthandler
import json
import os
import queue
import signal
import sys
import threading

from ContrastSynthLib.errors import Cancelled
from ContrastSynthLib.inference import networks
from ContrastSynthLib.running.batch.case import perform
from ContrastSynthLib.running.jobs import JsonLines, cancelled_by_signals, json_lines_on_stdout

OUTCOME = "outcome"
SECONDS_TO_CLEAN_UP = 1.0


def main() -> None:
    """Answer jobs until there are no more."""
    faulthandler.enable()
    networks.keep_networks()
    jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_read, args=(jobs, busy), daemon=True).start()
    try:
        with json_lines_on_stdout() as lines, cancelled_by_signals():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the batch's to answer
            _answer(jobs, lines, busy)
    except (Cancelled, BrokenPipeError):
        os._exit(1)  # threads of libraries are not waited for


def _answer(jobs: queue.SimpleQueue[str | None], lines: JsonLines, busy: threading.Event) -> None:
    while (line := jobs.get()) is not None:
        busy.set()
        lines.send(OUTCOME, **perform(json.loads(line)))
        busy.clear()


def _read(jobs: queue.SimpleQueue[str | None], busy: threading.Event) -> None:
    """Pass on what comes from stdin; at its end, cancel what runs and see to it that it ends."""
    for line in sys.stdin:
        jobs.put(line)
    jobs.put(None)
    if busy.is_set():
        _thread.interrupt_main(signal.SIGTERM)
    threading.Event().wait(SECONDS_TO_CLEAN_UP)
    os._exit(1)


if __name__ == "__main__":
    main()
