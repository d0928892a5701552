"""Slots whose unexpected errors a person sees: PythonQt by itself only prints them to the log."""

import logging
import weakref
from types import MethodType

import qt
from slicer.i18n import tr as _

_listeners = []


def listen(show) -> None:
    """Have ``show(text)`` called when a slot fails, until it is forgotten."""
    _listeners.append(show)


def forget(show) -> None:
    """Tell ``show`` of failures no more."""
    if show in _listeners:
        _listeners.remove(show)


def connect(sender, signal: str, slot) -> None:
    """Connect a signal; what the slot raises is shown to the person, and raised all the same."""
    sender.connect(signal, guarded(slot))


def guarded(slot):
    """Return a function that calls ``slot`` and shows what it raises."""

    def run(*arguments):
        try:
            return slot(*arguments)
        except Exception as error:
            tell(error)
            raise

    return run


def tell(error: Exception) -> None:
    """Show an error that nobody expected, and log where it came from."""
    logging.error("Unexpected error in the panel", exc_info=error)
    text = _(
        "Something went wrong in the panel: {error}. Slicer's Python console shows where; "
        "'Environment report' under Log makes a text for a bug report."
    )
    for show in list(_listeners):
        show(text.format(error=f"{type(error).__name__}: {error}"))


def once_after(delay_ms: int, run):
    """Return a timer that, each time it is started, runs something once, that much later.

    The timer does not keep the object alive whose method it runs: a panel that was closed is gone.
    """
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(delay_ms)
    timer.connect("timeout()", weakly(run))
    return timer


def every(delay_ms: int, run):
    """Return a timer that, once it is started, runs something again and again."""
    timer = qt.QTimer()
    timer.setInterval(delay_ms)
    timer.connect("timeout()", weakly(run))
    return timer


def weakly(run):
    """Return a function that calls ``run`` as long as the object of that method is there."""
    if not isinstance(run, MethodType):
        return guarded(run)
    method = weakref.WeakMethod(run)

    def call():
        alive = method()
        if alive is not None:
            guarded(alive)()

    return call
