"""The rooms of the panel: what may import what. tabs on widgets on scene; scene knows no Qt."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PANEL = Path(__file__).resolve().parents[2] / "ContrastSynth" / "ContrastSynthPanel"
ROOMS = {
    "scene": {"qt", "ctk", "ContrastSynthPanel.widgets", "ContrastSynthPanel.tabs"},
    "widgets": {"ContrastSynthPanel.tabs", "ContrastSynthPanel.panel"},
    "tabs": {"ContrastSynthPanel.panel"},
}
"""What the files of a room do not import."""
ONE_OF_A_KIND = {
    "an echo is kept out by widgets/echo.py": ("_restoring = True", "_setting = True"),
    "signals are connected by widgets/slots.py": ('.connect("', ".connect('"),
}
"""What is written nowhere else, by the reason."""


def imported(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room):
    wrong = [
        (path.name, name)
        for path in sorted((PANEL / room).glob("*.py"))
        for name in imported(path)
        if any(name == one or name.startswith(f"{one}.") for one in ROOMS[room])
    ]
    assert wrong == []


@pytest.mark.parametrize("reason", ONE_OF_A_KIND)
def test_there_is_one_way_for_each_of_these(reason):
    found = [
        str(path.relative_to(PANEL))
        for path in sorted(PANEL.rglob("*.py"))
        for text in ONE_OF_A_KIND[reason]
        if path.name != "slots.py" and text in path.read_text(encoding="utf-8")
    ]
    assert found == [], reason
