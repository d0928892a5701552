"""A panel that was closed or reloaded is gone: no timer, no signal keeps it."""

from __future__ import annotations

import gc
import threading
import time
from weakref import WeakSet

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

from host import press, pump
from scans import add_volume, settled

from ContrastSynthLib.phantom.sample import sample_patient

KINDS = ("Panel", "Tab", "RunSection", "NodeSelector")


def test_a_closed_panel_is_gone(host):
    others = WeakSet(alive(host))  # of a test that failed before, whose traceback keeps its panel
    panel = host.open_module().panel
    add_volume("T1 post", sample_patient(size=(24, 28, 20)).scans["post"])
    settled(panel)
    for button in panel.tab_buttons.buttons:
        press(button)
        pump(timeout_s=0.1)
    own = WeakSet(one for one in alive(host) if one not in others)
    assert set(KINDS) <= classes(own)
    del panel, button
    host.clean()
    gc.collect()
    assert classes(own) == set()


def alive(host):
    """The objects that a panel is made of."""
    return [one for kind in KINDS for one in host.alive(kind)]


def classes(objects):
    return {parent.__name__ for one in objects for parent in type(one).__mro__}


def test_a_reload_shows_the_panel_as_it_was_though_nobody_enters(host):
    panel = host.open_module().panel
    add_volume("T1 post", sample_patient(size=(24, 28, 20)).scans["post"])
    settled(panel)
    shown = len(panel.tabs) - 1
    press(panel.tab_buttons.buttons[shown])
    del panel
    host.app.moduleManager().reload("ContrastSynth")
    again = host.open_module().panel
    assert again.tab_widget.currentIndex == shown
    pump(lambda: not again._away)
    host.leave_module()


def test_no_garbage_is_collected_in_a_thread(panel):
    """With it would go widgets, which only Slicer's own thread may delete."""
    from ContrastSynthPanel.background import Elsewhere

    first, second = Elsewhere(gc.isenabled), Elsewhere(time.sleep, 0.2)
    second.start()
    first.start()
    pump(lambda: first.done)
    assert first.answer() is False
    assert not gc.isenabled(), "the other thread still runs"
    pump(lambda: second.done)
    assert gc.isenabled()


def test_nor_what_is_due_when_a_thread_ends(panel):
    from ContrastSynthPanel.background import Elsewhere

    kept, threads = [], set()

    def look(phase, told):
        threads.add(threading.current_thread())

    gc.callbacks.append(look)
    try:
        for _ in range(20):
            work = Elsewhere(lambda: kept.append([[] for _ in range(5000)]))
            work.start()
            pump(lambda work=work: work.done)
    finally:
        gc.callbacks.remove(look)
    assert threads <= {threading.main_thread()}
    assert gc.isenabled()


def test_a_thread_that_cannot_be_had_holds_nothing(panel, monkeypatch):
    from ContrastSynthPanel.background import Elsewhere

    def none_left(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(RuntimeError):
        Elsewhere(time.sleep, 0.2).start()
    assert gc.isenabled()
