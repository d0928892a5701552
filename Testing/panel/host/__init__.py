"""A test host: a scripted module of Slicer runs here without Slicer.

PySide6's widgets, changed to have PythonQt's manners, and slicer-core's scene. It proves the
panel's logic and wiring, not how ctk, qMRML and Slicer itself behave. Tests get it by the
fixture ``host`` of Testing/panel/conftest.py and drive the panel as a person would::

    from host import pick, press, pump

    def test_apply(host):
        panel = host.open_module()
        pick(panel.ui.inputSelector, node)
        press(panel.ui.applyButton)
        found = pump(lambda: panel.ui.progressBar.value == 100, timeout_s=20)
        assert found.longest_block_s < 0.1
        assert host.record.texts("error") == []

``host.record`` holds the dialogs that were shown, and the answers to give: a question for which
the test has no answer raises. What slots and observers raise fails the test at its end; a test
that wants it empties ``host.record.errors``.
"""

from .looks import colour_blind, set_locale, set_theme
from .loop import Pumped, pump
from .person import (
    close_scene,
    cut_off,
    drag,
    entries,
    erase_half,
    fit_height,
    hover,
    key,
    pick,
    press,
    read_table,
    screenshot,
    settle,
    tick,
    type_cell,
    type_text,
    wheel,
)
from .session import Host, start
from .slices import can_render, render_slices

__all__ = [
    "Host",
    "Pumped",
    "can_render",
    "close_scene",
    "colour_blind",
    "cut_off",
    "drag",
    "entries",
    "erase_half",
    "fit_height",
    "hover",
    "key",
    "pick",
    "press",
    "pump",
    "read_table",
    "render_slices",
    "screenshot",
    "set_locale",
    "set_theme",
    "settle",
    "start",
    "tick",
    "type_cell",
    "type_text",
    "wheel",
]
