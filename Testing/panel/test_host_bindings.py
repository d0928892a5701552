"""The test host is as unhelpful as Slicer's real bindings, where these were measured."""

from __future__ import annotations

import sys

import pytest
from host import close_scene, entries, pick, press, type_text

VOLUME = "vtkMRMLScalarVolumeNode"
pytestmark = pytest.mark.usefixtures("host")


def add_volume(name):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(VOLUME, name)


# What Python cannot reach


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("ctkSliderWidget", "setRange setMinimum setMaximum setSingleStep setSuffix setDecimals"),
        ("ctkDoubleSpinBox", "setRange setMinimum setMaximum setSingleStep setSuffix setDecimals"),
        ("ctkDoubleSpinBox", "specialValueText setSpecialValueText"),
        ("ctkCollapsibleButton", "setCollapsed"),
        ("ctkCollapsibleGroupBox", "setCollapsed"),
        ("qMRMLNodeComboBox", "nodes mrmlSceneChanged"),
        ("qMRMLWidget", "mrmlSceneChanged"),
    ],
)
def test_what_is_no_property_and_no_slot_is_not_there(ctk, slicer, kind, names):
    widget = getattr(ctk if kind.startswith("ctk") else slicer, kind)()
    for name in names.split():
        with pytest.raises(AttributeError, match=name):
            getattr(widget, name)


def test_the_properties_do_instead(ctk, slicer):
    for kind in (ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox, slicer.qMRMLSliderWidget):
        widget = kind()
        widget.minimum, widget.maximum, widget.singleStep, widget.decimals = 1.0, 3.0, 0.5, 1
        widget.suffix = " s"
        widget.setValue(2.5)
        assert (widget.minimum, widget.maximum, widget.singleStep) == (1.0, 3.0, 0.5)
        assert (widget.decimals, widget.suffix, widget.value) == (1, " s", 2.5)
    for kind in (ctk.ctkCollapsibleButton, ctk.ctkCollapsibleGroupBox):
        section = kind()
        section.collapsed = True
        assert section.collapsed


@pytest.mark.parametrize("kind", ["qMRMLNodeComboBox", "qMRMLWidget", "qMRMLSliderWidget"])
def test_nobody_says_to_python_that_the_scene_is_another(slicer, kind):
    with pytest.raises(ValueError, match="no signal 'mrmlSceneChanged"):
        getattr(slicer, kind)().connect("mrmlSceneChanged(vtkMRMLScene*)", print)


# The slider


@pytest.fixture
def slider(ctk):
    """A slider from 0 to 1 in steps of 0.01."""
    made = ctk.ctkSliderWidget()
    made.decimals, made.minimum, made.maximum, made.singleStep = 2, 0.0, 1.0, 0.01
    return made


def test_a_slider_writes_what_is_typed_back_at_each_key(slider):
    said = []
    slider.connect("valueChanged(double)", said.append)
    slider.show()
    type_text(slider, "0.75")
    assert slider.value == pytest.approx(0.7)
    assert slider.findChildren("QDoubleSpinBox")[0].text == "0.70"
    slider.findChildren("QDoubleSpinBox")[0].keyboardTracking = False
    said.clear()
    type_text(slider, "0.75")
    assert said == [0.75] == [slider.value]


def test_a_slider_s_value_is_step_times_steps_and_is_not_rounded(slider, ctk):
    said = []
    slider.connect("valueChanged(double)", said.append)
    slider.value = 0.7
    assert slider.value == said[-1] == 70 * 0.01 != 0.7
    slider.value = 0.123456
    assert slider.value == pytest.approx(0.123456, abs=1e-12)
    assert slider.findChildren("QDoubleSpinBox")[0].value == 0.12
    box = ctk.ctkDoubleSpinBox()
    box.value = 0.123456
    assert box.value == 0.123456


def test_a_slider_says_once_what_was_set(slider):
    said, changing = [], []
    slider.connect("valueChanged(double)", said.append)
    slider.connect("valueIsChanging(double)", changing.append)
    for value in (0.5, 0.5, 2.0, 2.0, -1.0):
        slider.value = value
    assert said == [0.5, 1.0, 0.0]
    assert changing == [], "only a slider without tracking says this"
    slider.minimum = 0.25
    assert (slider.value, said[-1]) == (0.25, 0.25)


# The selector of nodes


@pytest.fixture
def three(selector):
    """Three volumes to choose from, and what the selector says: each node's name, or None."""
    nodes, said = [add_volume(name) for name in "abc"], []
    selector.connect(
        "currentNodeChanged(vtkMRMLNode*)",
        lambda node: said.append(None if node is None else node.GetName()),
    )
    return nodes, said


def test_the_neighbour_of_a_deleted_node_is_chosen(selector, three, scene):
    (a, b, c), said = three
    pick(selector, b)
    scene.RemoveNode(b)
    scene.RemoveNode(c)
    assert selector.currentNode() is a
    scene.RemoveNode(a)
    assert selector.currentNode() is None
    assert said == ["b", "c", "a", None]


def test_a_node_that_is_deleted_is_still_in_the_scene_when_another_is_chosen(
    selector, three, scene
):
    (_a, b, _c), _said = three
    there = []
    pick(selector, b)
    selector.connect(
        "currentNodeChanged(vtkMRMLNode*)", lambda _node: there.append(bool(scene.IsNodePresent(b)))
    )
    scene.RemoveNode(b)
    assert there == [True]


def test_the_same_node_is_said_again(selector, three, scene):
    (a, b, c), said = three
    pick(selector, b)
    b.SetName("B")
    scene.RemoveNode(a)
    scene.RemoveNode(c)
    assert said == ["b", "B", "B"]
    b.SetAttribute("any", "thing")
    assert said == ["b", "B", "B"]


def test_nodes_come_and_go_within_a_batch(selector, three, scene):
    (_a, b, _c), said = three
    pick(selector, b)
    scene.StartState(scene.BatchProcessState)
    add_volume("d")
    scene.RemoveNode(b)
    assert entries(selector) == ["None", "a", "c", "d"]
    assert said == ["b", "c"]
    scene.EndState(scene.BatchProcessState)
    assert said == ["b", "c"]


def test_closing_the_scene_says_none_once(selector, three):
    (_a, b, _c), said = three
    pick(selector, b)
    close_scene()
    assert said == ["b", None]


def test_an_import_ends_with_none(selector, three, scene, tmp_path):
    (_a, b, _c), said = three
    pick(selector, b)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    scene.Import()
    assert selector.currentNode() is None
    assert said[-1] is None
    assert len(entries(selector)) > 1


def test_to_set_a_node_looks_like_a_person_s_choice(selector, three):
    (a, b, _c), _said = three
    activated, indices = [], []
    box = selector.findChildren("QComboBox")[0]
    selector.connect("nodeActivated(vtkMRMLNode*)", activated.append)
    box.connect("activated(int)", indices.append)
    selector.setCurrentNode(b)
    selector.setCurrentNode(b)
    assert (activated, indices) == ([b], [2])
    selector.setCurrentNode(None)
    assert (activated, indices) == ([b], [2])
    selector.setCurrentNodeID(a.GetID())
    assert (activated, indices) == ([b, a], [2, 1])


def test_a_person_s_choice_is_the_box_s_activated_after_the_node_has_changed(selector, three):
    (_a, b, _c), _said = three
    order, box = [], selector.findChildren("ctkComboBox")[0]
    assert selector.findChildren("QComboBox") == [box]
    box.connect("currentIndexChanged(int)", lambda row: order.append(("index", row)))
    box.connect("activated(int)", lambda row: order.append(("activated", row)))
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda _: order.append("node"))
    selector.connect("nodeActivated(vtkMRMLNode*)", lambda _: order.append("node activated"))
    pick(selector, b)
    assert [one for one in order if one != ("index", 2)] == [
        *("node", "node activated", ("activated", 2))
    ]
    assert order.index(("index", 2)) < order.index("node activated")
    order.clear()
    pick(selector, b)
    assert order == ["node activated", ("activated", 2)], "the same again is a choice, too"
    order.clear()
    _a.GetScene().RemoveNode(b)
    assert "node activated" not in order
    assert not [one for one in order if one[0] == "activated"]


def test_without_none_a_selector_begins_with_the_first_node_and_can_be_emptied(slicer):
    add_volume("first")
    made = slicer.qMRMLNodeComboBox()
    made.nodeTypes, made.addEnabled = [VOLUME], False
    made.setMRMLScene(slicer.mrmlScene)
    assert made.currentNode().GetName() == "first"
    made.setCurrentNode(None)
    assert made.currentNode() is None
    made.setMRMLScene(None)
    made.delete()


def test_a_selector_without_a_scene_says_nothing(selector, three):
    (_a, b, _c), said = three
    pick(selector, b)
    selector.setMRMLScene(None)
    assert said == ["b"]
    assert (selector.currentNode(), selector.enabled) == (None, False)
    selector.setCurrentNode(b)
    selector.setMRMLScene(b.GetScene())
    assert selector.currentNode() is b, "what was asked for before there was a scene"


def test_lists_of_texts_are_tuples(selector):
    assert selector.nodeTypes == (VOLUME,)
    assert selector.hideChildNodeTypes == ()
    assert selector.nodeCount() == 0
    node = add_volume("one")
    assert (selector.nodeCount(), selector.nodeFromIndex(0)) == (1, node)


# Sections


def test_a_section_is_at_least_as_wide_as_it_would_like(qt, ctk):
    window, section = qt.QWidget(), ctk.ctkCollapsibleButton()
    qt.QVBoxLayout(window).addWidget(section)
    label = qt.QLabel("a long text " * 20)
    label.wordWrap = False
    label.setMinimumWidth(10)
    qt.QVBoxLayout(section).addWidget(label)
    wide = section.sizeHint().width()
    assert section.sizePolicy.horizontalPolicy() == qt.QSizePolicy.Minimum
    assert window.minimumSizeHint.width() >= wide > 400
    section.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
    assert window.minimumSizeHint.width() < wide / 2


# What keeps a panel alive

TIMED = """
import qt
from slicer.ScriptedLoadableModule import *

class Timed(ScriptedLoadableModule):
    pass

class TimedWidget(ScriptedLoadableModuleWidget):
    forgets = False
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.button = qt.QPushButton("Go")
        self.layout.addWidget(self.button)
        self.button.connect("clicked(bool)", self.go)
        self.timer = qt.QTimer()
        self.timer.connect("timeout()", self.go)
    def go(self):
        pass
    def cleanup(self):
        self.timer.stop()
        if not self.forgets:
            self.timer.disconnect("timeout()", self.go)
"""


@pytest.mark.parametrize("forgets", [False, True])
def test_a_forgotten_timer_keeps_its_panel_alive(host, tmp_path, forgets):
    path = tmp_path / "Timed.py"
    path.write_text(TIMED, encoding="utf-8")
    widget = host.open_module(path)
    type(widget).forgets = forgets
    press(widget.button)
    kind, timer = type(widget), widget.timer
    assert len(host.alive(kind)) == 1 == len(host.alive("TimedWidget"))
    del widget
    host.clean()
    assert len(host.alive(kind)) == int(forgets)
    timer.disconnect("timeout()")
    assert host.alive(kind) == []
    sys.modules.pop("Timed", None)


# Event filters


def test_an_event_filter_of_python_sees_and_stops_events(host, qt):
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    class Filter(qt.QObject):
        def eventFilter(self, obj, event):
            if event.type() == qt.QEvent.KeyPress:
                seen.append((obj.objectName, obj.text, event.key(), event.text(), type(obj.text)))
                return event.key() == qt.Qt.Key_B
            return False

    seen, line, keys = [], qt.QLineEdit(), Filter()
    line.name = "line"
    line.installEventFilter(keys)
    line.show()
    QTest.keyClicks(line, "abc")
    assert line.text == "ac"
    assert [one[:4] for one in seen] == [
        ("line", "", qt.Qt.Key_A, "a"),
        ("line", "a", qt.Qt.Key_B, "b"),
        ("line", "a", qt.Qt.Key_C, "c"),
    ]
    assert all(type(one[2]) is int and one[4] is str for one in seen)
    line.removeEventFilter(keys)
    QTest.keyClick(line, Qt.Key(qt.Qt.Key_B))
    assert line.text == "acb"
    assert len(seen) == 3
    assert host.record.errors == []


def test_what_an_event_filter_raises_is_noted(host, qt):
    from PySide6.QtTest import QTest

    class Broken(qt.QObject):
        def eventFilter(self, obj, event):
            if event.type() == qt.QEvent.KeyPress:
                raise ValueError("of a filter")
            return False

    line, broken = qt.QLineEdit(), Broken()
    line.installEventFilter(broken)
    line.show()
    QTest.keyClicks(line, "a")
    assert [str(one) for one in host.record.errors] == ["of a filter"]
    host.record.errors.clear()
