"""The one keeper of views: what the panel changed goes back, what a person changed stays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host.slices import middle
from scans import add_volume

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

FOUR_UP = 3  # a layout of Slicer's own
CENTRE = [5.0, -10.0, 8.0]


@pytest.fixture
def keeper(scene):
    from ContrastSynthPanel.scene.view_keeper import ViewKeeper

    yield ViewKeeper()
    for view, composite in pairs():
        view.SetOrientationToDefault()
        view.SetDimensions(256, 256, 1)
        view.SetFieldOfView(250.0, 250.0, 1.0)
        composite.SetLinkedControl(False)


@pytest.fixture
def volumes(scene):
    """Two volumes about the origin, and one that lies a metre further."""
    grid = Grid((40, 40, 30), origin_mm=(-20.0, -20.0, -15.0))
    made = Volume(np.ones((30, 40, 40), np.float32), grid)
    first, second, far = (add_volume(name, made) for name in ("first", "second", "far"))
    far.SetOrigin(1000.0, 1000.0, 1000.0)
    for node in (first, second, far):
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(200.0, 100.0)
    for view, composite in pairs():
        view.JumpSliceByCentering(*CENTRE)
        composite.SetBackgroundVolumeID(first.GetID())
    return first, second, far


def pairs():
    from ContrastSynthPanel.scene import views

    return views.slice_views()


def layout():
    return slicer.app.layoutManager().layoutLogic().GetLayoutNode()


def centres():
    from ContrastSynthPanel.scene.view_keeper import PROPERTIES

    return [PROPERTIES["centre"][0](view) for view, _composite in pairs()]


def look_at(node):
    """Return which views look at the middle of a volume, but for rounding to a voxel."""
    return [np.abs(np.subtract(middle(node), centre)).max() <= 1.0 for centre in centres()]


def shown():
    return [
        (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
        for _view, composite in pairs()
    ]


# What goes back, and what stays


def test_all_goes_back_that_nobody_changed(keeper, volumes):
    from ContrastSynthPanel.scene.view_keeper import PROPERTIES

    first, second, _far = volumes
    view, composite = pairs()[1]
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    drawn.CreateDefaultDisplayNodes()
    given = {
        (composite, "background"): second,
        (composite, "foreground"): first,
        (composite, "label"): None,
        (composite, "foreground_opacity"): 0.3,
        (composite, "label_opacity"): 0.2,
        (composite, "linked"): 1,
        (view, "outline"): 1,
        (view, "orientation"): [1, 0, 0, 0, 1, 0, 0, 0, 1],
        (view, "centre"): [1.0, 2.0, 3.0],
        (view, "size"): [[100, 100, 1], [50.0, 50.0, 1.0]],
        (first.GetDisplayNode(), "window"): [30.0, 20.0, 0.0],
        (layout(), "layout"): FOUR_UP,
        (drawn.GetDisplayNode(), "fill"): 0,
    }
    assert {name for _node, name in given} == set(PROPERTIES)
    before = {key: PROPERTIES[key[1]][0](key[0]) for key in given}
    for (node, name), value in given.items():
        keeper.set(node, name, value)
    assert keeper.active
    for (node, name), value in given.items():
        np.testing.assert_equal(PROPERTIES[name][0](node), value)
    keeper.put_back()
    for (node, name), value in before.items():
        np.testing.assert_equal(PROPERTIES[name][0](node), value)
    assert not keeper.active


def test_what_a_person_changed_since_stays(keeper, volumes):
    first, second, far = volumes
    display, (_view, composite) = first.GetDisplayNode(), pairs()[0]
    keeper.set(display, "window", [30.0, 20.0, 0.0])
    composite.SetForegroundOpacity(0.8)
    keeper.set(composite, "background", second)
    keeper.set(composite, "foreground_opacity", 0.3)
    keeper.set(layout(), "layout", FOUR_UP)
    display.SetWindowLevel(31.0, 20.0)
    composite.SetBackgroundVolumeID(far.GetID())
    layout().SetViewArrangement(2)
    keeper.put_back()
    assert display.GetWindow() == 31.0
    assert composite.GetBackgroundVolumeID() == far.GetID()
    assert composite.GetForegroundOpacity() == 0.8
    assert layout().GetViewArrangement() == 2


def test_what_a_person_chose_in_between_is_what_goes_back(keeper, volumes):
    first, second, far = volumes
    (_view, composite) = pairs()[0]
    keeper.set(composite, "background", second)
    composite.SetBackgroundVolumeID(far.GetID())
    keeper.set(composite, "background", second)
    keeper.set(composite, "background", first)
    keeper.put_back()
    assert composite.GetBackgroundVolumeID() == far.GetID()


def test_a_view_that_was_turned_and_scrolled_is_turned_back_where_it_was_scrolled_to(
    keeper, volumes
):
    view = pairs()[1][0]
    assert view.GetOrientation() == "Sagittal"
    with keeper.changing(view, "orientation", "centre"):
        view.SetOrientation("Axial")
        view.JumpSliceByCentering(0.0, 0.0, 0.0)
    view.JumpSliceByCentering(1.0, 2.0, 3.0)
    keeper.put_back()
    assert view.GetOrientation() == "Sagittal"
    assert centres()[1] == [1.0, 2.0, 3.0]


def test_the_zoom_goes_back_with_the_layout_though_qt_resized_the_views(keeper, volumes):
    view = pairs()[0][0]
    keeper.set(layout(), "layout", FOUR_UP)
    keeper.set(view, "size", [[256, 256, 1], [100.0, 100.0, 1.0]])
    view.SetDimensions(128, 256, 1)
    view.SetFieldOfView(50.0, 100.0, 1.0)
    keeper.put_back()
    assert (view.GetDimensions(), view.GetFieldOfView()) == ((256, 256, 1), (250.0, 250.0, 1.0))
    keeper.set(view, "size", [[256, 256, 1], [100.0, 100.0, 1.0]])
    view.SetFieldOfView(60.0, 60.0, 1.0)  # by the person: the layout is not the panel's
    keeper.put_back()
    assert view.GetFieldOfView() == (60.0, 60.0, 1.0)


def test_deleted_volumes_are_nobody_s_choice(keeper, volumes):
    first, second, far = volumes
    (_view, one), (_view, other), *_rest = pairs()
    keeper.set(one, "background", second)
    keeper.set(other, "foreground", second)
    keeper.set(other, "background", far)
    slicer.mrmlScene.RemoveNode(second)
    slicer.mrmlScene.RemoveNode(far)
    assert one.GetBackgroundVolumeID() is None
    keeper.put_back()
    assert shown()[:2] == [(first.GetID(), None)] * 2
    keeper.set(one, "background", None)
    slicer.mrmlScene.RemoveNode(first)
    keeper.put_back()  # what was there before is gone
    assert one.GetBackgroundVolumeID() is None


def test_some_nodes_go_back_before_the_others(keeper, volumes):
    first, second, _far = volumes
    displays = [node.GetDisplayNode() for node in (first, second)]
    for display in displays:
        keeper.set(display, "window", [30.0, 20.0, 0.0])
    keeper.put_back(displays[:1])
    assert [display.GetWindow() for display in displays] == [200.0, 30.0]
    assert keeper.active
    keeper.put_back()
    assert displays[1].GetWindow() == 200.0


def test_another_keeper_takes_up_what_a_scene_kept(keeper, volumes):
    from ContrastSynthPanel.scene import saved_state
    from ContrastSynthPanel.scene.view_keeper import ViewKeeper

    first, second, _far = volumes
    (view, composite) = pairs()[0]
    keeper.set(composite, "background", second)
    keeper.set(view, "centre", [1.0, 2.0, 3.0])
    keeper.set(first.GetDisplayNode(), "window", [30.0, 20.0, 0.0])
    parameters = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    saved_state.save_state(parameters, {"before": keeper.kept})
    first.GetDisplayNode().SetWindowLevel(30.0001, 20.0)  # six digits are written
    later = ViewKeeper()
    later.restore(saved_state.load_state(parameters)["before"])
    later.restore([{"name": "something of a later version", "node": view}])
    later.put_back()
    assert shown()[0] == (first.GetID(), None)
    assert centres()[0] == CENTRE
    assert first.GetDisplayNode().GetWindow() == 200.0


# Views go to what is shown in them


def test_views_stay_where_they_look_at_what_is_shown(volumes):
    from ContrastSynthPanel.scene import views

    first, second, _far = volumes
    fields = [view.GetFieldOfView() for view, _composite in pairs()]
    views.show_layers(second, first, 0.5)
    assert centres() == [CENTRE] * 3
    assert [view.GetFieldOfView() for view, _composite in pairs()] == fields


def test_views_go_to_a_volume_that_lies_elsewhere_and_come_back(keeper, volumes):
    from ContrastSynthPanel.scene import views

    _first, second, far = volumes
    before = [view.GetFieldOfView() for view, _composite in pairs()]
    views.show_layers(far, None, keeper=keeper)
    assert all(look_at(far))
    assert all(30 <= view.GetFieldOfView()[1] <= 60 for view, _composite in pairs())
    keeper.put_back()
    assert centres() == [CENTRE] * 3
    assert [view.GetFieldOfView() for view, _composite in pairs()] == before
    views.show_layers(views.KEEP, far)  # only the foreground is told
    assert all(look_at(far))
    views.show_layers(second)
    assert all(look_at(second))


def test_where_a_volume_lies_counts_in_the_world(volumes):
    from ContrastSynthPanel.scene import views

    _first, second, far = volumes
    for node, shift in ((far, [-980.0, -980.0, -1014.0]), (second, [500.0] * 3)):
        moved = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = np.eye(4)
        matrix[:3, 3] = shift
        moved.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(moved.GetID())
    views.show_layers(far)
    assert centres() == [CENTRE] * 3
    views.show_layers(second)
    assert all(look_at(second))


def test_side_by_side_all_go_to_a_volume_that_lies_elsewhere(keeper, volumes):
    from ContrastSynthPanel.scene import views

    _first, second, far = volumes
    views.show_side_by_side([far, second], "Coronal", keeper)
    assert len({tuple(one) for one in centres()[:2]}) == 1
    assert all(look_at(far)[:2])
    keeper.put_back()
    assert centres() == [CENTRE] * 3


def test_empty_views_are_fitted_and_an_empty_volume_moves_nothing(scene, volumes):
    from ContrastSynthPanel.scene import views

    first, _second, _far = volumes
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    views.show_layers(empty)
    assert centres() == [CENTRE] * 3
    views.show_layers(None)
    views.show_layers(first)
    assert all(look_at(first))
    assert pairs()[0][0].GetFieldOfView()[0] < 60


# Its users


def test_a_chart_s_layout_goes_back_unless_a_person_chose_another(scene):
    from ContrastSynthPanel.scene.chart_view import ChartView

    view, before = ChartView(), layout().GetViewArrangement()
    charts = [scene.AddNewNodeByClass("vtkMRMLPlotChartNode") for _ in range(2)]
    view.show(charts[0])
    with_plot = layout().GetViewArrangement()
    assert with_plot != before
    view.show(charts[1])
    view.put_back()
    assert (layout().GetViewArrangement(), view.chart) == (before, None)
    view.show(charts[0])
    layout().SetViewArrangement(FOUR_UP)
    view.put_back()
    assert layout().GetViewArrangement() == FOUR_UP


def test_phases_are_shown_for_a_while_and_in_empty_views_for_good(scene, volumes):
    from ContrastSynthPanel.scene import bridge
    from ContrastSynthPanel.widgets.phase_box import PhaseBox

    first = volumes[0]
    volume = bridge.volume_from_node(first)
    frames = [
        Volume(volume.array + n, volume.grid, acquisition=of_time(60.0 * n)) for n in range(3)
    ]
    series = bridge.sequence_from_series(scene, frames, "DCE")
    box = PhaseBox(lambda _text: None, lambda _kind, _text: None, lambda: None)
    box.set_series(series, None)
    box.slider.value = 1
    phase = bridge.shown_volume(series)
    assert shown() == [(phase.GetID(), None)] * 3
    box.layers.put_back()
    assert shown() == [(first.GetID(), None)] * 3
    for _view, composite in pairs():
        composite.SetBackgroundVolumeID(None)
    box.slider.value = 2
    box.layers.put_back()
    assert shown() == [(phase.GetID(), None)] * 3
    box.close()


def of_time(time_s):
    from ContrastSynthLib.acquisition import Acquisition

    return Acquisition(time_s=time_s)
