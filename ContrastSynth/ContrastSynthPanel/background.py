"""Work that takes longer than a person should notice: in short steps, and beside Slicer's thread.

A task is a generator. What touches the scene runs between its ``yield``s on the main thread;
``yield Elsewhere(function, ...)`` has the rest computed in a thread and returns its answer;
``yield "what is done"`` shows a text; a plain ``yield`` lets Slicer breathe.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

PAUSE_MS = 15  # between two looks at a thread
# For so long each look leaves the interpreter to the thread: Slicer's main thread keeps it while
# it waits for events, so a thread by itself would hardly get on.
GIVE_WAY_S = 0.01


class _Garbage:
    """Keeps Python from collecting garbage while threads run.

    It would be collected in whichever thread comes by, and with it widgets and timers, which may
    only be deleted in Slicer's own: the application crashes, then or later.
    """

    def __init__(self) -> None:
        self._lock, self._threads = threading.Lock(), 0

    def hold(self) -> None:
        with self._lock:
            self._threads += 1
            gc.disable()

    def release(self) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                # What is due by now would be collected at once, in this thread: both together set
                # the counters of new objects back.
                gc.freeze()
                gc.unfreeze()
                gc.enable()


_garbage = _Garbage()


class Elsewhere:
    """A function of plain values, nothing of the scene or Qt, that is to run in a thread."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Take what is to be called."""
        self._call = function, arguments, options
        self._answer: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin. Raises RuntimeError where no thread can be had."""
        _garbage.hold()
        try:
            self._thread.start()
        except RuntimeError:
            _garbage.release()
            raise

    def call(self) -> Any:
        """Return what the function returns, called here."""
        function, arguments, options = self._call
        return function(*arguments, **options)

    @property
    def done(self) -> bool:
        """Whether there is an answer; asked for, it gives way to the thread."""
        if self._thread.is_alive():
            time.sleep(GIVE_WAY_S)
        return not self._thread.is_alive()

    def answer(self) -> Any:
        """Return what the function returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self.call()
        except Exception as error:  # raised where the answer is asked for
            self._error = error
        finally:
            _garbage.release()


Task = Generator[Any, Any, Any]


def run_through(task: Task) -> Any:
    """Do a whole task at once, as a script does; return what it returns."""
    answer = None
    try:
        while True:
            value = task.send(answer)
            answer = value.call() if isinstance(value, Elsewhere) else None
    except StopIteration as end:
        return end.value


class Background:
    """Runs one task at a time; the next one takes the place of one that is under way.

    ``timer`` makes a timer that calls something once, later. ``told`` is called with each text of
    the task, and with nothing at its end, however it ends.
    """

    def __init__(
        self, timer: Callable[[int, Callable[[], None]], Any], told: Callable[[str], None]
    ):
        """Make it idle."""
        self._told, self._timer = told, timer(PAUSE_MS, self._step)
        self._task: Task | None = None
        self._waits: Elsewhere | None = None
        self._done: Callable[[Any], None] = lambda answer: None
        self._failed: Callable[[Exception], None] = lambda error: None
        self.began_s = 0.0

    @property
    def running(self) -> bool:
        """Whether a task is under way."""
        return self._task is not None

    def start(
        self,
        task: Task,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        text: str = "",
    ) -> None:
        """Begin a task: ``done`` gets what it returns, ``failed`` what it or a step raises."""
        self.cancel()
        self._task, self._waits, self._done, self._failed = task, None, done, failed
        self.began_s = time.monotonic()
        self._told(text)
        self._timer.start()

    def cancel(self) -> bool:
        """End the task; return whether there was one. What a thread still computes is dropped."""
        self._timer.stop()
        task, self._task, self._waits = self._task, None, None
        if task is None:
            return False
        with suppress(ValueError):  # by its own step, which then is the last
            task.close()
        self._told("")
        return True

    def _step(self) -> None:
        task = self._task
        if task is None:
            return
        if self._waits is not None and not self._waits.done:
            self._timer.start()
            return
        try:
            value = self._next(task)
        except StopIteration as end:
            self._end(self._done, end.value)
        except Exception as error:
            self._end(self._failed, error)
        else:
            self._take(value)
            self._timer.start()

    def _next(self, task: Task) -> Any:
        waits, self._waits = self._waits, None
        if waits is None:
            return next(task)
        try:
            answer = waits.answer()
        except Exception as error:
            return task.throw(error)
        return task.send(answer)

    def _take(self, value: Any) -> None:
        if self._task is None:  # cancelled by its own step
            return
        if isinstance(value, Elsewhere):
            self._waits = value
            value.start()
        elif value:
            self._told(str(value))

    def _end(self, tell: Callable[[Any], None], what: Any) -> None:
        self._task = None
        self._told("")
        tell(what)
