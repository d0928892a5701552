"""What the test host can do as a person would: wheel, mouse, theme, language, eyes."""

from __future__ import annotations

import numpy as np
import pytest
from host import (
    colour_blind,
    drag,
    erase_half,
    hover,
    screenshot,
    set_locale,
    set_theme,
    settle,
    type_text,
    wheel,
)

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def form(qt, ctk):
    """A list, a slider and a line, which has the focus."""
    box = qt.QWidget()
    column = qt.QVBoxLayout(box)
    parts = qt.QComboBox(), ctk.ctkSliderWidget(), qt.QLineEdit()
    parts[0].addItems(["a", "b", "c"])
    parts[1].value = 5
    for one in parts:
        column.addWidget(one)
    box.show()
    box.activateWindow()
    parts[2].setFocus()
    settle()
    yield parts
    box.hide()
    box.delete()


def test_the_wheel_turns_a_list_a_slider_and_a_spin_box(form):
    combo, slider, _line = form
    wheel(combo)
    assert combo.currentText == "b"
    wheel(combo, -1)
    assert combo.currentText == "a"
    wheel(slider, 2)
    assert slider.value == 3.0
    before = slider.value
    wheel(slider, inner="QSlider")
    assert slider.value != before


def test_an_event_filter_can_keep_the_wheel_off_what_has_no_focus(form, qt):
    class OnlyWithFocus(qt.QObject):
        def eventFilter(self, obj, event):
            return event.type() == qt.QEvent.Wheel and not obj.focus

    combo, _slider, line = form
    only = OnlyWithFocus()
    combo.installEventFilter(only)
    wheel(combo)
    assert combo.currentText == "b", "the wheel itself gave it the focus"
    combo.setFocusPolicy(qt.Qt.StrongFocus)
    line.setFocus()
    wheel(combo)
    assert combo.currentText == "b"
    wheel(combo, focused=True)
    assert combo.currentText == "c"


def test_the_wheel_cannot_reach_what_is_scrolled_away(qt):
    area, inside = qt.QScrollArea(), qt.QWidget()
    column, spin = qt.QVBoxLayout(inside), qt.QSpinBox()
    label = qt.QLabel("above")
    label.setFixedHeight(2000)
    column.addWidget(label)
    column.addWidget(spin)
    area.setWidget(inside)
    area.resize(200, 200)
    area.show()
    settle()
    with pytest.raises(AssertionError, match="not in sight"):
        wheel(spin)
    area.ensureWidgetVisible(spin)
    wheel(spin, -1)
    assert spin.value == 1


def test_the_mouse_drags_a_slider(ctk):
    slider, said, changing = ctk.ctkSliderWidget(), [], []
    slider.maximum, slider.singleStep = 8.0, 1.0
    slider.connect("valueChanged(double)", said.append)
    slider.connect("valueIsChanging(double)", changing.append)
    slider.show()
    drag(slider, 8.0)
    assert (said, slider.value) == ([2.0, 4.0, 6.0, 8.0], 8.0)
    slider.tracking = False
    said.clear()
    drag(slider, 0.0)
    assert (said, changing) == ([0.0], [6.0, 4.0, 2.0, 0.0])


def test_the_mouse_over_a_slice_view(host, slicer):
    seen = []
    crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")

    def moved(_caller, _event):
        ras = [0.0] * 3
        seen.append(ras if crosshair.GetCursorPositionRAS(ras) else None)

    tag = crosshair.AddObserver(crosshair.CursorPositionModifiedEvent, moved)
    hover("Yellow", (1.0, -2.0, 3.0))
    hover("Yellow")
    crosshair.RemoveObserver(tag)
    assert np.allclose(seen[0], (1.0, -2.0, 3.0))
    assert seen[-1] is None
    host.clean()
    host.activate()
    assert slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode") is crosshair


def test_the_theme_changes_while_a_widget_is_open(host, qt):
    class Panel(qt.QWidget):
        def changeEvent(self, event):
            if event.type() == qt.QEvent.PaletteChange:
                told.append(self.palette.color(qt.QPalette.Window).lightness() < 128)

    told, panel = [], Panel()
    panel.show()
    before = qt.QApplication.palette().color(qt.QPalette.Window).name()
    set_theme(dark=True)
    set_theme(dark=False)
    set_theme(dark=True)
    assert told[-1] is True
    assert False in told
    host.clean()
    assert qt.QApplication.palette().color(qt.QPalette.Window).name() == before


def test_another_language_writes_numbers_in_widgets_made_later(host, ctk):
    def made():
        widget = ctk.ctkDoubleSpinBox()
        widget.value = 1.5
        return widget

    set_locale("C")
    early = made()
    set_locale("de_DE")
    late = made()
    texts = [one.findChildren("QDoubleSpinBox")[0].text for one in (early, late)]
    assert texts == ["1.50", "1,50"]
    late.show()
    type_text(late, "2,5")
    assert late.value == 2.5
    name = host.qt.QLocale().name()
    host.clean()
    assert name == "de_DE" != host.qt.QLocale().name()


def test_red_and_green_look_alike_to_the_colour_blind(qt, tmp_path):
    label = qt.QLabel(" ")
    shades = {}
    for name, colour in {"red": "#c04040", "green": "#408040", "blue": "#4040ff"}.items():
        label.styleSheet = f"background: {colour}"
        path = screenshot(label, tmp_path / f"{name}.png", width=40)
        seen = colour_blind(path, tmp_path / f"{name}-seen.png")
        shades[name] = seen[20, 20].astype(int)
        assert (tmp_path / f"{name}-seen.png").stat().st_size > 0
        assert seen.dtype == np.uint8
    assert np.abs(shades["red"] - shades["green"]).max() < 60
    assert np.abs(shades["blue"] - shades["green"]).max() > 100
    (tmp_path / "no.png").write_text("text")
    with pytest.raises(OSError, match="no PNG"):
        colour_blind(tmp_path / "no.png")


def test_half_of_a_segment_is_erased_in_place(slicer):
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mask")
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(1)
    segment = node.AddSegmentFromBinaryLabelmapRepresentation(image, "all", [1, 0, 0])
    kept = node.GetSegmentation().GetSegment(segment).GetRepresentation("Binary labelmap")
    node_time, image_time = node.GetMTime(), kept.GetMTime()
    assert erase_half(node, segment) == 32
    assert np.count_nonzero(vtk_to_numpy(kept.GetPointData().GetScalars())) == 32
    assert (node.GetMTime(), kept.GetMTime() > image_time) == (node_time, True)
    with pytest.raises(ValueError, match="no segment 'absent'"):
        erase_half(node, "absent")
