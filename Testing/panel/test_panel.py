"""The panel around the tabs, driven as a person drives it, in the test host."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, press, pump, settle

from ContrastSynthLib.preprocessing.foreground import GUESS_MESSAGE

WIDTH = 400
PADDING = 6  # of a button's text, with its border: as its style has it
TITLES = ["Synthesise", "Uptake", "Compare", "Kinetics"]
TITLES += ["Profile", "Quality", "Inversion", "Study"]


@pytest.fixture
def widget(host):
    yield host.open_module()
    host.leave_module()


@pytest.fixture
def panel(widget):
    return widget.panel


def button(panel, title):
    (found,) = [one for one in panel.tab_buttons.buttons if one.text == title]
    return found


def marked(panel):
    return [one.text for one in panel.tab_buttons.buttons if one.checked]


def test_each_tab_has_a_button_in_place_of_the_bar(panel):
    assert [one.text for one in panel.tab_buttons.buttons] == TITLES
    assert not panel.tab_widget.tabBar().isVisible()
    assert marked(panel) == ["Synthesise"]


def test_a_button_shows_its_tab_and_is_marked(panel):
    for number, title in reversed(list(enumerate(TITLES))):
        press(button(panel, title))
        assert panel.tab_widget.currentIndex == number
        assert list(panel.tabs.values())[number].widget.isVisible()
        assert marked(panel) == [title]
        press(button(panel, title))  # once more: it stays
        assert marked(panel) == [title]


def test_the_shown_tab_marks_its_button(panel):
    panel.tab_widget.setCurrentIndex(4)
    assert marked(panel) == ["Profile"]


@pytest.fixture
def dark(host):
    """A dark theme, as a person may choose it meanwhile."""
    qt = host.qt
    before, palette = qt.QApplication.palette(), qt.QApplication.palette()
    colours = {"Highlight": "#335577", "HighlightedText": "#ffeeaa", "Button": "#202020"}
    for role, colour in colours.items():
        palette.setColor(getattr(qt.QPalette, role), qt.QColor(colour))
    qt.QApplication.setPalette(palette)
    yield colours
    qt.QApplication.setPalette(before)


def test_the_shown_tab_is_marked_in_the_colours_of_the_theme(host, panel, dark):
    pump(timeout_s=0.3)  # it follows while it is in view
    pictures = [button(panel, title).grab().toImage() for title in ("Synthesise", "Uptake")]
    shown, other = (image.pixelColor(6, image.height() // 2).name() for image in pictures)
    assert (shown, other) == (dark["Highlight"], dark["Button"])


def test_nothing_is_cut_off_in_a_narrow_panel(widget, panel):
    widget.parent.resize(WIDTH, 800)
    settle()
    assert panel.tab_buttons.widget.width <= WIDTH
    for one in panel.tab_buttons.buttons:
        assert one.fontMetrics().horizontalAdvance(one.text) <= one.width - PADDING
    rows = {}
    for one in panel.tab_buttons.buttons:
        rows.setdefault(one.y, []).append(one.text)
    assert list(rows.values()) == [TITLES[:4], TITLES[4:]]


def test_a_scene_keeps_which_tab_is_shown(panel, tmp_path):
    press(button(panel, "Quality"))
    scene = slicer.mrmlScene
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    press(button(panel, "Uptake"))
    close_scene()
    pump(timeout_s=0.1)
    assert marked(panel) == ["Uptake"]  # a new scene keeps nothing
    scene.Import()
    pump(lambda: marked(panel) == ["Quality"])
    assert panel.tabs["quality"].widget.isVisible()


def test_a_scene_that_is_opened_while_another_module_is_shown(host, panel, tmp_path, monkeypatch):
    press(button(panel, "Quality"))
    scene = slicer.mrmlScene
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    press(button(panel, "Uptake"))
    close_scene()
    host.leave_module()
    entered = []
    monkeypatch.setattr(panel.tabs["quality"], "entered", lambda: entered.append(True))
    scene.Import()
    pump(lambda: marked(panel) == ["Quality"])
    assert entered == []
    host.open_module()
    assert entered == [True]


def test_a_message_says_nothing_of_the_command_line(host):
    from ContrastSynthPanel.widgets.message import Message

    message = Message()
    assert GUESS_MESSAGE.endswith("choose a mask of the brain or breast (--in mask=FILE).")
    message.show("warning", GUESS_MESSAGE)
    assert message.text.endswith("brain found, or choose a mask of the brain or breast.")
    message.show("failed", "Are they aligned (--align rigid), and masked (by whom)?")
    assert message.text == "Are they aligned, and masked (by whom)?"
