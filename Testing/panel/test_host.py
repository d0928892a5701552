"""The test host itself: as strict as PythonQt, on a real scene, driven as by a person."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from host import (
    can_render,
    close_scene,
    cut_off,
    entries,
    fit_height,
    key,
    pick,
    press,
    pump,
    render_slices,
    screenshot,
    settle,
    tick,
    type_cell,
    type_text,
)

REPOSITORY = Path(__file__).resolve().parents[2]
VOLUME = "vtkMRMLScalarVolumeNode"
pytestmark = pytest.mark.usefixtures("host")


def add_volume(name):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(VOLUME, name)


def test_signals_can_be_emitted_any_number_of_times():
    code = (
        "import sys; sys.path.insert(0, 'Testing/panel')\n"
        "from host import start\n"
        "button = start().ctk.ctkCollapsibleButton()\n"
        "for _ in range(20_000): button.contentsCollapsed.emit(True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert done.returncode == 0


# PythonQt's manners


def test_a_widget_is_an_instance_of_its_own_class_only(qt):
    class Panel(qt.QWidget):
        pass

    assert isinstance(qt.QPushButton("x"), qt.QPushButton)
    assert not isinstance(qt.QPushButton("x"), qt.QWidget)
    assert isinstance(Panel(), qt.QWidget)
    assert isinstance(Panel(), Panel)
    assert not isinstance(Panel(), qt.QObject)


@pytest.mark.parametrize(
    ("name", "value", "then"),
    [
        ("text", 5, "5"),
        ("toolTip", None, "None"),
        ("enabled", 0, False),
        ("wordWrap", True, True),
        ("indent", np.int64(3), 3),
        ("alignment", 2, 2),
        ("name", "label", "label"),
        ("objectName", "label", "label"),
    ],
)
def test_a_property_is_an_attribute(qt, name, value, then):
    label = qt.QLabel("text")
    setattr(label, name, value)
    assert getattr(label, name) == then
    assert type(getattr(label, name)) is type(then)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wordWrap", "yes"),
        ("indent", "3"),
        ("indent", 3.5),
        ("size", 3),
        ("font", "bold"),
        ("pixmap", None),
        ("sizeHint", 3),
        ("setText", "text"),
        ("linkActivated", print),
        ("note", "mine"),
        ("tooltip", "a wrong name"),
    ],
)
def test_what_cannot_be_set_raises(qt, name, value):
    with pytest.raises(AttributeError, match=name):
        setattr(qt.QLabel("text"), name, value)


def test_a_property_that_is_only_read_says_so(qt):
    with pytest.raises(AttributeError, match="not writable"):
        qt.QLabel("text").sizeHint = qt.QSize(3, 3)


def test_an_unknown_attribute_raises(qt):
    with pytest.raises(AttributeError, match="'QLabel' object has no attribute 'setTxt'"):
        qt.QLabel("text").setTxt("other")
    with pytest.raises(AttributeError):
        qt.QLabels  # noqa: B018


def test_a_property_cannot_be_called(qt):
    with pytest.raises(TypeError, match="not callable"):
        qt.QLabel("text").text()


def test_there_are_no_keywords(qt):
    with pytest.raises(TypeError, match="no keywords"):
        qt.QLabel(text="text")
    with pytest.raises(TypeError, match="no keywords"):
        qt.QLabel("text").setText(arg__1="other")


def test_enums_are_integers_in_and_out(qt):
    label, item = qt.QLabel("text"), qt.QTableWidgetItem("text")
    assert type(qt.Qt.AlignLeft) is int
    assert type(label.alignment) is int
    label.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignTop)
    assert label.alignment == qt.Qt.AlignRight | qt.Qt.AlignTop
    label.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
    assert type(label.sizePolicy.horizontalPolicy()) is int
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    assert not item.flags() & qt.Qt.ItemIsEditable
    assert type(item.checkState()) is int
    assert qt.QSplitter(qt.Qt.Vertical).orientation == qt.Qt.Vertical
    with pytest.raises(AttributeError):
        qt.Qt.AlignLeft.value  # noqa: B018
    with pytest.raises(AttributeError):
        qt.Qt.AlignmentFlag  # noqa: B018
    with pytest.raises(TypeError, match="wrong argument types"):
        label.setAlignment("left")


def test_a_byte_array_is_read_by_data(qt):
    with pytest.raises(TypeError, match="QByteArray"):
        bytes(qt.QByteArray(b"text"))
    assert qt.QByteArray(b"text").data() == b"text"


def test_a_python_widget_has_attributes_of_its_own_but_not_by_a_property_s_name(qt):
    class Panel(qt.QWidget):
        def __init__(self):
            qt.QWidget.__init__(self)
            self.mine = 4

        def sizeHint(self):
            return qt.QSize(99, 77)

    panel, outer = Panel(), qt.QWidget()
    with pytest.raises(AttributeError, match="size"):
        panel.size = 3
    row = qt.QVBoxLayout(outer)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(panel)
    assert panel.mine == 4
    assert (outer.sizeHint.width(), outer.sizeHint.height()) == (99, 77)


def test_a_timer_by_its_own_rules(qt):
    timer, calls = qt.QTimer(), []
    with pytest.raises(AttributeError, match="singleShot"):
        timer.singleShot = True
    timer.setSingleShot(True)
    timer.interval = 1
    timer.connect("timeout()", lambda: calls.append("timer"))
    timer.start()
    qt.QTimer.singleShot(1, lambda: calls.append("single shot"))
    pump(lambda: len(calls) == 2, timeout_s=5)
    assert not timer.active


def test_connect_hands_over_what_a_function_has_room_for(qt):
    class Receiver:
        def nothing(self):
            calls.append("nothing")

        def state(self, checked):
            calls.append(checked)

    button, calls, receiver = qt.QPushButton("x"), [], Receiver()
    button.checkable = True
    for function in (receiver.nothing, receiver.state, lambda *all_of_it: calls.append(all_of_it)):
        assert button.connect("clicked(bool)", function)
    button.click()
    assert calls == ["nothing", True, (True,)]
    calls.clear()
    assert button.disconnect("clicked(bool)", receiver.state)
    assert not button.disconnect("clicked(bool)", receiver.state)
    button.click()
    assert calls == ["nothing", (False,)]
    assert button.disconnect("clicked(bool)")
    button.click()
    assert len(calls) == 2


def test_connect_to_a_slot_of_qt(qt):
    button, dialog, line, label = qt.QPushButton("x"), qt.QDialog(), qt.QLineEdit(), qt.QLabel()
    dialog.show()
    button.connect("clicked(bool)", dialog.accept)
    line.connect("textChanged(QString)", label, "setText(QString)")
    line.text = "typed"
    button.click()
    assert not dialog.visible
    assert label.text == "typed"


@pytest.mark.parametrize("signal", ["clicked", "clicked(int)", "pushed()", "clicked( bool ,int)"])
def test_connecting_to_an_unknown_signal_raises(qt, signal):
    with pytest.raises(ValueError, match=r"clicked\(bool\), "):
        qt.QPushButton("x").connect(signal, print)


def test_blocked_signals(qt):
    box, calls = qt.QSpinBox(), []
    box.connect("valueChanged(int)", calls.append)
    was = box.blockSignals(True)
    box.value = 3
    box.blockSignals(was)
    box.value = 4
    assert calls == [4]


def test_what_a_slot_raises_is_noted_and_does_not_pass(host, qt):
    button = qt.QPushButton("x")
    button.connect("clicked(bool)", lambda: 1 / 0)
    button.click()
    (error,) = host.record.errors
    assert isinstance(error, ZeroDivisionError)
    host.record.errors.clear()
    qt.QTimer.singleShot(0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pump(lambda: False, timeout_s=5)


def test_what_an_observer_raises_is_noted(host, scene):
    def fail(_caller, _event):
        raise ValueError("of an observer")

    tag = scene.AddObserver(scene.NodeAddedEvent, fail)
    add_volume("one")
    scene.RemoveObserver(tag)
    assert [str(error) for error in host.record.errors] == ["of an observer"]
    host.record.errors.clear()


def test_a_dialog_that_waits_is_answered_by_the_test(host, qt):
    box = qt.QMessageBox()
    box.setText("Really?")
    with pytest.raises(AssertionError, match=r"no answer: 'Really\?'"):
        box.exec_()
    host.record.answer(qt.QMessageBox.Ok, "/a file")
    assert box.exec_() == qt.QMessageBox.Ok
    assert qt.QFileDialog.getOpenFileName(None, "Which?") == "/a file"
    assert [one.text for one in host.record.dialogs] == ["Really?", "Which?"]


# .ui files

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QFormLayout" name="form">
<item row="0" column="1"><widget class="qMRMLNodeComboBox" name="inputSelector">
<property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist>
</property><property name="noneEnabled"><bool>true</bool></property>
<property name="addEnabled"><bool>false</bool></property>
<property name="SlicerParameterName" stdset="0"><string>input</string></property></widget></item>
<item row="1" column="1"><widget class="ctkSliderWidget" name="doseSlider">
<property name="decimals"><number>3</number></property>
<property name="maximum"><double>2.000000000000000</double></property>
<property name="value"><double>0.330000000000000</double></property></widget></item>
<item row="2" column="1"><widget class="ctkCollapsibleButton" name="advanced">
<property name="text"><string>Advanced</string></property>
<property name="collapsed"><bool>true</bool></property>
<layout class="QVBoxLayout" name="column"><item><widget class="QCheckBox" name="check"/></item>
</layout></widget></item>
<item row="3" column="1"><widget class="QPushButton" name="applyButton">
<property name="sizePolicy"><sizepolicy hsizetype="Expanding" vsizetype="Fixed"/></property>
</widget></item></layout></widget>
<customwidgets>
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header>
<container>1</container></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends>
<header>qMRMLNodeComboBox.h</header></customwidget>
<customwidget><class>ctkSliderWidget</class><extends>QWidget</extends>
<header>ctkSliderWidget.h</header></customwidget>
<customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends>
<header>ctkCollapsibleButton.h</header><container>1</container></customwidget>
</customwidgets>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
</connections></ui>"""


@pytest.fixture
def load_ui(slicer, tmp_path):
    def load(text=UI):
        path = tmp_path / "é panel.ui"
        path.write_text(text, encoding="utf-8")
        return slicer.util.loadUI(str(path))

    return load


def test_a_ui_file_is_loaded_with_its_stand_ins(slicer, load_ui):
    panel = load_ui()
    ui = slicer.util.childWidgetVariables(panel)
    panel.setMRMLScene(slicer.mrmlScene)  # reaches the selector by the file's connection
    volume = add_volume("volume")
    panel.show()
    pick(ui.inputSelector, volume)
    assert ui.inputSelector.currentNode() is volume
    assert ui.inputSelector.SlicerParameterName == "input"
    assert (ui.doseSlider.value, ui.doseSlider.maximum, ui.doseSlider.decimals) == (0.33, 2.0, 3)
    assert not ui.check.visible
    ui.advanced.collapsed = False
    assert ui.check.visible
    assert ui.applyButton.sizePolicy.horizontalPolicy() == 7
    panel.delete()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("ctkSliderWidget", "ctkKnob", "no stand-in for ctkKnob"),
        ('name="decimals"', 'name="decimal"', "no property 'decimal'"),
        ('class="QCheckBox"', 'class="QChekBox"', "custom widget QChekBox"),
        ("mrmlSceneChanged(", "sceneChanged(", "no signal 'sceneChanged"),
    ],
)
def test_what_is_wrong_in_a_ui_file_is_reported(load_ui, old, new, text):
    with pytest.raises(ValueError, match=text):
        load_ui(UI.replace(old, new))


def test_a_missing_ui_file(slicer):
    with pytest.raises(RuntimeError, match="not found"):
        slicer.util.loadUI("/nowhere.ui")


# Stand-ins


def test_the_node_selector_follows_the_scene(selector, scene):
    first = add_volume("first")
    scene.AddNewNodeByClass("vtkMRMLTableNode", "table")
    second = add_volume("second")
    assert entries(selector) == ["None", "first", "second"]
    assert selector.currentNode() is None
    pick(selector, second)
    second.SetName("renamed")
    assert entries(selector) == ["None", "first", "renamed"]
    first.SetHideFromEditors(True)
    assert entries(selector) == ["None", "renamed"]
    selector.showHidden = True
    assert entries(selector) == ["None", "first", "renamed"]
    scene.RemoveNode(second)
    assert entries(selector) == ["None", "first"]
    close_scene()
    assert entries(selector) == ["None"]


def test_the_node_selector_lists_by_type_and_attribute(selector, scene):
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    add_volume("volume").SetAttribute("Synthetic", "1")
    assert entries(selector) == ["None", "labels", "volume"]
    selector.showChildNodeTypes = False
    assert entries(selector) == ["None", "volume"]
    selector.showChildNodeTypes = True
    selector.addAttribute(VOLUME, "Synthetic", "1")
    assert entries(selector) == ["None", "volume"]
    selector.nodeTypes = ["vtkMRMLTableNode"]
    assert entries(selector) == ["None"]


def test_the_node_selector_makes_a_node(selector, scene):
    selector.addEnabled = True
    selector.baseName = "Result"
    pick(selector, "Create new ScalarVolume")
    assert selector.currentNode().GetName() == "Result"


def test_the_node_selector_is_as_strict(selector, host, qt):
    with pytest.raises(AttributeError, match="nodeTypes"):
        selector.nodeTypes = VOLUME
    with pytest.raises(AttributeError, match="currentNodes"):
        selector.currentNodes = []
    with pytest.raises(ValueError, match="a node or None"):
        selector.setCurrentNode("volume")
    assert not isinstance(selector, qt.QWidget)
    assert selector.className() == "qMRMLNodeComboBox"


def test_what_a_person_cannot_reach_is_refused(selector, qt):
    button = qt.QPushButton("Apply")
    with pytest.raises(AssertionError, match="hidden"):
        press(button)
    button.show()
    button.enabled = False
    button.toolTip = "Choose a volume"
    with pytest.raises(AssertionError, match="greyed out: Choose a volume"):
        press(button)
    with pytest.raises(AssertionError, match=r"no 'absent' among \['None'\]"):
        pick(selector, "absent")


def test_slider_and_spin_box(ctk):
    for kind in (ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox):
        widget, text = kind(), []
        widget.connect("valueChanged(double)", text.append)
        widget.decimals, widget.minimum, widget.maximum = 3, 0.0, 2.0
        widget.singleStep, widget.suffix = 0.01, " s"
        widget.value = 1.25
        widget.value = 5
        assert widget.value == 2.0
        widget.show()
        type_text(widget, "0.5")
        assert (widget.value, text[:2], text[-1]) == (0.5, [1.25, 2.0], 0.5)
        with pytest.raises(AttributeError, match="value"):
            widget.value = "0.5"


def test_path_and_folder_are_answered(host, ctk):
    text = []
    path, folder = ctk.ctkPathLineEdit(), ctk.ctkDirectoryButton()
    path.connect("currentPathChanged(QString)", text.append)
    folder.connect("directoryChanged(QString)", text.append)
    host.record.answer("/a.csv", "/folder")
    path.browse()
    folder.show()
    press(folder)
    assert text == [path.currentPath, folder.directory] == ["/a.csv", "/folder"]


# slicer


def test_a_parameter_node_is_one_per_scene_and_is_saved(slicer, tmp_path):
    class ThingLogic(slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic):
        pass

    node, volume = ThingLogic().getParameterNode(), add_volume("volume")
    assert ThingLogic().getParameterNode() is node
    assert node.GetSingletonTag() == "Thing"
    node.SetParameter("dose", "0.33")
    node.SetNodeReferenceID("input", volume.GetID())
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    assert slicer.mrmlScene.Commit()
    close_scene()
    assert ThingLogic().getParameterNode().GetParameter("dose") == ""
    slicer.mrmlScene.Connect()
    again = ThingLogic().getParameterNode()
    assert again.GetParameter("dose") == "0.33"
    assert again.GetNodeReference("input").GetName() == "volume"


def test_settings_are_the_test_s_own(host, qt, slicer):
    slicer.app.settings().setValue("ContrastSynth/device", "cpu")
    assert qt.QSettings().value("ContrastSynth/device") == "cpu"
    assert slicer.util.settingsValue("ContrastSynth/absent", 3, int) == 3
    assert Path(qt.QSettings().fileName()).is_relative_to(slicer.app.temporaryPath)
    host.clean()
    assert not slicer.app.settings().contains("ContrastSynth/device")


def test_dialogs_are_recorded_and_answered(host, slicer):
    slicer.util.errorDisplay("wrong", detailedText="where")
    slicer.util.warningDisplay("hm")
    slicer.util.infoDisplay("so")
    host.record.answer(True, False, True)
    assert slicer.util.confirmOkCancelDisplay("ok?")
    assert not slicer.util.confirmYesNoDisplay("yes?")
    assert slicer.util.confirmRetryCloseDisplay("again?")
    kinds = [(one.kind, one.text) for one in host.record.dialogs]
    assert kinds == [
        *(("error", "wrong"), ("warning", "hm"), ("info", "so")),
        *(("question", "ok?"), ("question", "yes?"), ("question", "again?")),
    ]
    assert host.record.dialogs[0].details == "where"
    with (
        pytest.raises(OSError, match="no room"),
        slicer.util.tryWithErrorDisplay("Failed.", waitCursor=True),
    ):
        raise OSError("no room")
    assert host.record.texts("error")[-1] == "Failed.\n\nno room"


def test_nothing_is_installed(host, slicer, tmp_path):
    from slicer.packaging import pip_ensure

    kept = tmp_path / "constraints.txt"
    kept.write_text("numpy==2.4\nscipy==1.17\n", encoding="utf-8")
    host.record.answer(False, True)
    with pytest.raises(RuntimeError, match="declined"):
        pip_ensure("pandas>=2", constraints=kept)
    pip_ensure(["pandas>=2"], constraints=kept, requester="Thing")
    slicer.util.pip_install("matplotlib")
    assert host.record.installed == [["pandas>=2"], ["matplotlib"]]
    assert host.record.constraints == ["numpy==2.4", "scipy==1.17"]
    assert host.record.texts("question")[-1] == "Thing: install pandas>=2?"


def test_the_pytorch_extension_comes_only_when_asked_for(host):
    with pytest.raises(ModuleNotFoundError):
        import PyTorchUtils
    host.add_pytorch_extension()
    import PyTorchUtils

    host.record.answer(False, True)
    logic = PyTorchUtils.PyTorchUtilsLogic()
    assert logic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.4") is None
    assert logic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.4") is not None
    assert host.record.installed == [["torch>=2.4"]]


def test_sample_data_are_registered_with_lists_of_one_length(host):
    from SampleData import SampleDataLogic

    register = SampleDataLogic.registerCustomSampleDataSource
    with pytest.raises(ValueError, match="as many URIs"):
        register(sampleName="one", uris="https://a", fileNames=["a", "b"], nodeNames="a")
    with pytest.raises(TypeError):
        register(sampleName="one", nonsense=1)
    register(category="Own", sampleName="made here", uris=[], fileNames=[], nodeNames=[])
    assert [(one["category"], one["sampleName"]) for one in host.record.samples] == [
        ("Own", "made here")
    ]


def test_the_exit_code_is_noted(host, slicer):
    slicer.util.exit(3)
    assert host.record.exit_codes == [3]
    assert slicer.app.commandOptions().runPythonAndExit is False


def test_keys_and_shortcuts(qt):
    window, text = qt.QWidget(), []
    shortcut = qt.QShortcut(qt.QKeySequence("3"), window)
    shortcut.connect("activated()", lambda: text.append("three"))
    window.show()
    settle()
    key(window, qt.Qt.Key_3)
    assert text == ["three"]


def test_the_logics_of_other_modules(slicer):
    for name in ("volumes", "segmentations", "sequences", "plots", "markups", "cropvolume"):
        assert getattr(slicer.modules, name).logic().GetMRMLScene() is slicer.mrmlScene
    assert slicer.util.getModuleLogic("Volumes") is slicer.modules.volumes.logic()
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "curve")
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    view = slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
    assert view.GetPlotChartNodeID() == chart.GetID()


def test_the_application(host, slicer):
    assert slicer.app.mainApplicationName == "Slicer"
    assert not slicer.app.testingEnabled()
    assert slicer.util.showStatusMessage("working")
    assert host.record.status == ["working"]
    assert Path(slicer.util.tempDirectory()).is_dir()
    with pytest.raises(AttributeError):
        slicer.app.temporaryFolder  # noqa: B018
    assert slicer.i18n.tr("text") == slicer.i18n.translate("context", "text") == "text"


def test_the_layout_has_real_slice_nodes(slicer):
    layout, volume = slicer.app.layoutManager(), add_volume("volume")
    slicer.util.setSliceViewerLayers(background=volume, foregroundOpacity=0.5)
    names = layout.sliceViewNames()
    views = [layout.sliceWidget(name) for name in names]
    assert {one.mrmlSliceCompositeNode().GetBackgroundVolumeID() for one in views} == {
        volume.GetID()
    }
    assert names == ["Red", "Yellow", "Green"]
    orientations = [one.mrmlSliceNode().GetOrientation() for one in views]
    assert orientations == ["Axial", "Sagittal", "Coronal"]
    changed = []
    layout.connect("layoutChanged(int)", changed.append)
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView)
    assert layout.layout == changed[0]
    assert layout.plotWidget(0).mrmlPlotViewNode().IsA("vtkMRMLPlotViewNode")


def test_a_chart_changes_the_layout_also_after_the_scene_was_closed(host, slicer):
    layout, kinds = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
    for clean in (close_scene, host.clean):
        layout.setLayout(kinds.SlicerLayoutConventionalView)
        clean()
        host.activate()
        assert layout.layout == kinds.SlicerLayoutConventionalView
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
        slicer.modules.plots.logic().ShowChartInLayout(chart)
        assert layout.layout == kinds.SlicerLayoutConventionalPlotView
        assert layout.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()


def test_a_person_types_into_a_table_and_ticks_in_a_list(qt):
    table, box, heard = qt.QTableWidget(2, 1), qt.QListWidget(), []
    for row, flag in enumerate((qt.Qt.ItemIsEditable, 0)):
        item = qt.QTableWidgetItem("before")
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | flag)
        table.setItem(row, 0, item)
    item = qt.QListWidgetItem("one")
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(qt.Qt.Unchecked)
    box.addItem(item)
    table.connect("cellChanged(int,int)", lambda row, column: heard.append((row, column)))
    box.connect("itemChanged(QListWidgetItem*)", lambda one: heard.append(one.text()))
    table.show()
    box.show()
    type_cell(table, 0, 0, "after")
    assert table.item(0, 0).text() == "after"
    with pytest.raises(AssertionError, match="cannot be typed into"):
        type_cell(table, 1, 0, "after")
    tick(box, "one")
    assert box.item(0).checkState() == qt.Qt.Checked
    with pytest.raises(AssertionError, match="no 'two'"):
        tick(box, "two")
    assert heard == [(0, 0), "one"]


def test_the_next_test_finds_nothing_of_this_one(host, slicer):
    before = len(host.nodes())
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveVolumeID(add_volume("volume").GetID())
    slicer.util.setSliceViewerLayers(selection.GetActiveVolumeID(), foregroundOpacity=0.5)
    slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic().getParameterNode()
    host.record.show("info", "so")
    host.clean()
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert len(host.nodes()) == before
    assert selection.GetActiveVolumeID() is None
    layers = [(one.GetBackgroundVolumeID(), one.GetForegroundOpacity()) for one in views]
    assert layers == [(None, 0.0)] * 3
    assert host.record.dialogs == []


def test_observers_are_the_real_mixin(slicer, scene):
    class Panel(slicer.util.VTKObservationMixin):
        def close(self, _caller, _event):
            text.append("closed")

    text, panel = [], Panel()
    panel.addObserver(scene, scene.EndCloseEvent, panel.close)
    close_scene()
    panel.removeObservers()
    close_scene()
    assert text == ["closed"]


# Time and pictures


def test_pump_measures_how_long_the_loop_was_blocked(qt):
    text = []
    free = pump(timeout_s=0.1)
    qt.QTimer.singleShot(10, lambda: time.sleep(0.3))
    qt.QTimer.singleShot(20, lambda: text.append(1))
    blocked = pump(lambda: text, timeout_s=5)
    assert free.longest_block_s < blocked.longest_block_s
    assert 0.25 < blocked.longest_block_s < blocked.elapsed_s
    with pytest.raises(TimeoutError, match="not after"):
        pump(lambda: False, timeout_s=0.02)


def test_a_text_that_does_not_fit_is_found(qt):
    box = qt.QWidget()
    column = qt.QVBoxLayout(box)
    label, button, combo = qt.QLabel("two or more lines of text"), qt.QPushButton(), qt.QComboBox()
    label.wordWrap = True
    button.text = "Press"
    combo.addItem("a choice")
    for widget in (label, button, combo):
        column.addWidget(widget)
    box.show()
    fit_height(box, 120)
    assert cut_off(box) == []
    label.setFixedHeight(label.fontMetrics().height())  # of the two lines, one
    button.setFixedWidth(10)
    combo.setFixedWidth(40)
    settle()
    assert cut_off(box) == ["two or more lines of text", "Press", "a choice"]
    button.hide()
    assert "Press" not in cut_off(box)
    box.hide()


def test_a_screenshot_is_as_wide_as_the_panel(qt, tmp_path, load_ui):
    path = screenshot(load_ui(), tmp_path / "panel.png", width=400)
    picture = qt.QImage(str(path))
    colours = {picture.pixel(x, y) for x in range(400) for y in range(0, picture.height(), 3)}
    assert picture.width() == 400
    assert len(colours) > 20


def test_slices_are_rendered_as_a_radiologist_sees_them(slicer, scene, tmp_path):
    if not can_render():
        pytest.skip("no offscreen OpenGL")
    voxels = np.zeros((20, 40, 40), np.float32)
    voxels[2:18, 4:36, 4:36] = 100
    voxels[8:12, 6:12, 6:12] = 400  # i, j small: with this matrix right and anterior
    matrix = np.diag([-2.0, -2.0, 4.0, 1.0])
    matrix[:3, 3] = 40, 40, -40
    ijk_to_ras = slicer.util.vtkMatrixFromArray(matrix)
    volume = slicer.util.addVolumeFromArray(voxels, ijk_to_ras, "volume")
    mask = slicer.util.addVolumeFromArray(
        (voxels > 200).astype(np.uint8), ijk_to_ras, "mask", "vtkMRMLLabelMapVolumeNode"
    )
    plain = render_slices(scene, [volume], center_ras=(0, 0, 0), size=100)
    axial = plain[:, :100, 0].astype(float)
    rows, columns = np.nonzero(axial > 0.9 * axial.max())
    assert rows.mean() < 50 > columns.mean()  # anterior is up, right is on the left
    path = tmp_path / "slices.png"
    picture = render_slices(scene, [volume, volume], mask, path, size=100)
    assert picture.shape == (200, 300, 3)
    assert path.stat().st_size > 1000
    assert np.ptp(picture[50, 50].astype(int)) > 30  # the mask is in colour
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetLabelVolumeID() is None


# The module

MODULE = """
import slicer
from slicer.ScriptedLoadableModule import *

calls = []

class Thing(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "A thing"
        slicer.app.connect("startupCompleted()", lambda: calls.append("started"))

class ThingWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ThingLogic()
        calls.append("setup")
    def enter(self):
        calls.append("enter")
    def exit(self):
        calls.append("exit")
    def cleanup(self):
        calls.append("cleanup")

class ThingLogic(ScriptedLoadableModuleLogic):
    def double(self, number):
        return 2 * number
"""


def test_the_life_of_a_module(host, slicer, tmp_path):
    path = tmp_path / "Thing.py"
    path.write_text(MODULE, encoding="utf-8")
    module = host.load_module(path)
    calls = sys.modules["Thing"].calls
    assert (module.name, module.title, calls) == ("Thing", "A thing", ["started"])
    widget = host.open_module(path)
    host.leave_module()
    assert host.open_module(path) is widget
    assert calls == ["started", "setup", "enter", "exit", "enter"]
    assert slicer.util.getModuleLogic("Thing").double(2) == 4
    assert slicer.util.getModuleWidget(slicer.modules.thing) is widget
    assert slicer.modules.ThingWidget is widget
    assert widget.resourcePath("UI/Thing.ui") == str(tmp_path / "Resources" / "UI" / "Thing.ui")
    widget.onReload()
    assert calls[5:] == ["cleanup"]
    assert sys.modules["Thing"].calls == ["setup"], "a reloaded panel is not told enter()"
    assert slicer.modules.ThingWidget.parent.visible
    host.clean()
    assert sys.modules.pop("Thing").calls[1:] == ["exit", "cleanup"]
    assert not hasattr(slicer.modules, "thing")


def test_the_panel_opens_and_shows_the_methods(host):
    panel = host.open_module()
    settle()
    assert "physics_dose" in shown_text(panel.parent)
    assert host.record.dialogs == []


def shown_text(widget):
    """Return all that the widgets below this one say."""
    from host.pythonqt import find_children

    said = []
    for one in find_children(widget):
        said += [getattr(one, name, "") for name in ("text", "plainText", "title")]
        if one.inherits("QComboBox"):
            said += [f"{one.itemText(i)} {one.itemData(i)}" for i in range(one.count)]
    return "\n".join(str(one) for one in said)


def test_opening_the_panel_imports_nothing_that_slicer_lacks():
    code = (
        "import json, sys\n"
        f"sys.path.append({str(REPOSITORY / 'Testing' / 'panel')!r})\n"
        "from host import start\n"
        "made = start()\n"
        "made.open_module()\n"
        "found = {'modules': sorted(sys.modules), 'errors': len(made.record.errors)}\n"
        "made.clean(); made.end()\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout.splitlines()[-1])
    assert message["errors"] == 0
    absent_in_slicer = {"torch", "monai", "skimage", "pandas", "matplotlib"}
    assert absent_in_slicer & set(message["modules"]) == set()
    assert "ContrastSynth" in message["modules"]


# The house


def test_the_product_does_not_know_the_host():
    for path in (REPOSITORY / "ContrastSynth").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in getattr(node, "names", []) if isinstance(node, ast.Import)]
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            assert not {name.split(".")[0] for name in names} & {"host", "PySide6"}, path


@pytest.mark.parametrize(
    ("package", "message"), [("PySide6", "PySide6-Essentials"), ("slicer", "slicer-core")]
)
def test_without_its_packages_the_host_skips(tmp_path, package, message):
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('no {package}', name='{package}')"
    )
    name = f"{Path(__file__).name}::test_a_property_cannot_be_called"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{message} is not installed" in done.stdout
    assert "1 skipped" in done.stdout
