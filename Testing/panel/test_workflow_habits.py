"""Workflows: how people's hands, screens and languages differ."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import (
    cut_off,
    entries,
    fit_height,
    key,
    pick,
    press,
    pump,
    screenshot,
    set_locale,
    set_theme,
    type_text,
    wheel,
)
from scans import add_volume, settled

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS

SMALL = (24, 28, 20)
RUN_S = 60.0
LONG = "1.2.840.113619.2.5 501: AX T1 MPRAGE ISO 1MM POST GADOVIST 0.1 MMOL/KG (Series 12) Ä&<b>"


@pytest.fixture
def tab(panel):
    return panel.synthesise


@pytest.fixture
def nodes(panel, tab):
    scans = sample_patient(size=SMALL).scans
    found = {r: add_volume(n, scans[r]) for r, n in {"pre": "T1 pre", "post": "T1 post"}.items()}
    settled(panel)
    return found


def show(tab, method):
    pick(tab.form.method_combo, METHODS[method].title)


def apply(tab):
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    return tab.run.message.plainText


# Wheel and arrow keys


def test_the_wheel_over_a_list_without_focus_changes_nothing(panel, tab, nodes):
    show(tab, "physics_dose")
    dose = tab.parameters.fields["dose"]
    panel.banner.window().setFocus()
    before = tab.state()
    wheel(tab.form.method_combo)
    wheel(tab.inputs.selectors["post"].widget)
    wheel(panel.box.selectors["mask"].widget)
    wheel(tab.inputs.align_combo)
    wheel(dose.widget)
    wheel(dose.widget, inner="QSlider")
    assert tab.state() == before
    assert panel.box.case.node("mask") is None


def test_the_wheel_turns_what_was_clicked(tab, nodes):
    show(tab, "physics_dose")
    tab.inputs.align_combo.setFocus()
    wheel(tab.inputs.align_combo, 1, focused=True)
    assert tab.inputs.align == "resample"


def test_arrow_keys_choose_in_a_list(tab, nodes):
    import qt

    show(tab, "physics_dose")
    tab.inputs.align_combo.setFocus()
    key(tab.inputs.align_combo, qt.Qt.Key_Down)
    assert tab.inputs.align == "resample"


# Numbers


@pytest.mark.parametrize("language", ["C", "de_DE"])
@pytest.mark.parametrize("typed", ["0.25", "0,25"])
def test_decimals_in_any_locale(host, language, typed):
    set_locale(language)
    panel = host.open_module().panel
    tab = panel.synthesise
    show(tab, "physics_dose")
    type_text(tab.parameters.fields["dose"].widget, typed)
    assert tab.parameters.given == {"dose": 0.25}
    show(tab, "lip_car")
    tab.form.advanced.collapsed = False
    type_text(tab.parameters.fields["alpha"].widget, typed.replace("25", "0125"))
    assert tab.parameters.given == {"alpha": 0.0125}
    host.leave_module()


@pytest.mark.parametrize("hundredths", [7, 29, 55, 57, 58, 70, 75, 83, 99, 115])
def test_a_typed_dose_is_the_dose_of_the_run(tab, nodes, hundredths):
    show(tab, "physics_dose")
    field = tab.parameters.fields["dose"]
    type_text(field.widget, f"{hundredths / 100:.2f}")
    assert field.value() == hundredths / 100
    assert tab.parameters.given == {"dose": hundredths / 100}


# Names as scanners give them


def test_names_of_a_hospital_in_a_narrow_panel(panel, tab):
    scans = sample_patient(size=SMALL).scans
    node = add_volume(LONG, scans["post"])
    settled(panel)
    show(tab, "physics_pre")
    pick(tab.inputs.selectors["post"], node)
    assert LONG in tab.inputs.selectors["post"].widget.toolTip
    assert apply(tab).startswith("Done: SYNTHETIC pre, physics_pre: 1.2.840")
    result = panel.box.case.node("result")
    assert result.GetName() == f"SYNTHETIC pre, physics_pre: {LONG}"
    whole = tab.widget.window()
    fit_height(whole, 400)
    assert whole.width == 400
    assert cut_off(tab.widget) == []
    for selector in panel.box.selectors.values():
        names = [name for name in entries(selector) if LONG in name and "SYNTHETIC" in name]
        assert all(name.startswith("SYNTHETIC") for name in names)


def test_apply_and_its_message_are_in_sight_at_400_by_700(panel, tab, nodes):
    show(tab, "physics_dose")
    apply(tab)
    whole = tab.widget.window()
    whole.resize(400, 700)
    pump(timeout_s=0.1)
    for widget in (tab.run.apply_button, tab.run.message):
        corner = widget.mapTo(whole, widget.rect.bottomRight())
        assert widget.isVisible()
        assert corner.y() < 700


def test_progress_and_times_are_in_sight_at_400_by_700(panel, tab, nodes):
    show(tab, "physics_dose")
    whole = tab.widget.window()
    whole.resize(400, 700)
    press(tab.run.apply_button)
    pump(timeout_s=0.05)
    for widget in (tab.run.progress_bar, tab.run.progress_label, tab.run.cancel_button):
        assert widget.isVisible()
        assert widget.mapTo(whole, widget.rect.bottomRight()).y() < 700
    assert "so far" in tab.run.progress_label.text
    pump(lambda: not tab.run.running, RUN_S)


def test_a_recommended_method_comes_first(tab):
    offered = [tab.form.method_combo.itemData(n) for n in range(tab.form.method_combo.count)]
    assert METHODS[tab.form.chosen_method].recommended
    firsts, before = [], None
    for found in offered:
        if before is None and found is not None:
            firsts.append(found)
        before = found
    assert all(METHODS[one].recommended for one in firsts)


def test_why_apply_is_grey_stands_beside_it(panel, tab):
    show(tab, "physics_dose")
    assert not tab.run.apply_button.enabled
    assert tab.run.action.reason.isVisible()
    assert tab.run.action.reason.text == "Choose a volume for 'Pre-contrast'."


# Themes


def test_a_dark_theme_that_is_switched_to_while_the_panel_is_open(panel, tab, nodes, tmp_path):
    import qt

    set_theme(dark=False)
    pump(timeout_s=0.15)
    light = qt.QImage(str(screenshot(tab.widget.window(), tmp_path / "light.png", width=400)))
    set_theme(dark=True)
    pump(timeout_s=0.15)
    dark = qt.QImage(str(screenshot(tab.widget.window(), tmp_path / "dark.png", width=400)))

    def brightness(picture):
        places = [(x, y) for x in range(5, 395, 10) for y in range(60, picture.height() - 5, 10)]
        return sum(picture.pixelColor(x, y).lightness() for x, y in places) / len(places)

    assert brightness(dark) < brightness(light) - 60
    button = panel.tab_buttons.buttons[0]
    corner = button.mapTo(tab.widget.window(), qt.QPoint(6, 6))
    shown = dark.pixelColor(corner.x(), corner.y())
    wanted = qt.QApplication.palette().color(qt.QPalette.Highlight)
    near = max(abs(shown.red() - wanted.red()), abs(shown.blue() - wanted.blue()))
    assert near < 40


# Other modules


def test_the_work_of_another_module_is_left_alone(host, panel, tab, nodes):
    """A second module adds, selects and removes nodes while a run is under way."""
    show(tab, "physics_dose")
    before = dict(tab.inputs.nodes())
    press(tab.run.apply_button)
    host.leave_module()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1 post contrast of B")
    slicer.mrmlScene.RemoveNode(other)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "brain")
    pump(lambda: not tab.run.running, RUN_S)
    host.open_module()
    assert tab.inputs.nodes() == before
    assert tab.run.message.plainText.startswith("Done: ")
    assert slicer.mrmlScene.IsNodePresent(model)
