"""The tutorial of the manual, step by step, with the sample data alone.

``make tutorial`` does it at full size and keeps the pictures of docs/tutorial.md.
"""

from __future__ import annotations

import importlib.util

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

from host import pick, press, pump, read_table, type_text
from scans import settled, show_tab
from tutorial_pictures import KEPT, see

from ContrastSynthLib.registry import METHODS

RUN_S = 600.0
SMALL, SMALL_BREAST = (48, 56, 40), (48, 48, 12)


@pytest.fixture
def sample(host, panel, monkeypatch):
    """Press a button of the module Sample Data, as a person does."""
    from functools import partial

    from ContrastSynthLib.phantom import sample as brains
    from ContrastSynthLib.phantom.breast import patient as breasts

    if not KEPT:
        small = partial(brains.sample_patient, size=SMALL)
        monkeypatch.setattr(brains, "sample_patient", small)
        small_breast = partial(breasts.breast_patient, size=SMALL_BREAST)
        monkeypatch.setattr(breasts, "breast_patient", small_breast)

    def load(title):
        (source,) = [one for one in host.record.samples if one["sampleName"] == title]
        source["customDownloader"](source)
        settled(panel)

    return load


def apply(tab):
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    text = tab.run.message.plainText
    assert text.startswith("Done: SYNTHETIC"), text


def test_from_a_post_contrast_scan_to_a_pre_contrast_image(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BRAINS["pre"][0])
    tab = show_tab(panel, "synthesise")
    if not KEPT or not importlib.util.find_spec("torch"):  # networks are tried in other tests
        pick(tab.form.method_combo, METHODS["physics_pre"].title)
    assert METHODS[tab.form.chosen_method].task == "pre"
    see(panel, "pre_1_synthesise")
    apply(tab)
    see(panel, "pre_2_result")
    assert panel.box.case.node("reference").GetName() == "Virtual T1 pre"

    tab = show_tab(panel, "uptake")
    press(tab.action.button)
    pump(lambda: not tab.work.running, RUN_S)
    assert tab.table.rows
    press(tab.table.next_button)
    see(panel, "pre_3_uptake")

    tab = show_tab(panel, "compare")
    press(tab.buttons["difference"])
    pump(lambda: not tab.work.running, RUN_S)
    see(panel, "pre_4_compare")
    show_tab(panel, "synthesise")


def test_from_a_low_dose_to_the_full_dose(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BRAINS["full"][0])
    tab = show_tab(panel, "synthesise")
    pick(tab.form.method_combo, METHODS["lip_car"].title)
    tab.form.advanced.collapsed = False
    pick(tab.parameters.preset_combo, "Signal equation")
    type_text(tab.parameters.fields["dose"].widget, "0.33")
    if not KEPT:  # a few iterations do to try it
        type_text(tab.parameters.fields["iterations"].widget, "4")
    tab.form.advanced.collapsed = True
    apply(tab)
    see(panel, "full_1_result")
    assert panel.box.case.node("input").GetName() == "Virtual T1 low dose"
    assert panel.box.case.node("reference").GetName() == "Virtual T1 post"

    tab = show_tab(panel, "inversion")
    assert tab.history
    see(panel, "full_2_inversion")
    tab = show_tab(panel, "quality")
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    assert read_table(tab.table)
    see(panel, "full_3_quality")


def test_from_a_breast_series_to_curves(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BREAST_TITLE)
    tab = show_tab(panel, "kinetics")
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    see(panel, "breast_1_curves")

    tab = show_tab(panel, "synthesise")
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    type_text(tab.parameters.fields["dose"].widget, "0.5")
    apply(tab)
    see(panel, "breast_2_half_dose")
    tab = show_tab(panel, "kinetics")
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    see(panel, "breast_3_both_curves")
