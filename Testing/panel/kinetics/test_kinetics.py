"""The tab "Kinetics", driven as a person drives it, in the test host."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from dynamic import (
    PERSISTENT,
    TIMES,
    WASHOUT,
    add_label_map,
    add_mask,
    add_series,
    add_synthetic,
    backgrounds,
    cells,
    computed,
    heads,
    index_of,
    lesion_of,
    lines_of,
    measure,
    named,
    phases_of,
)
from host import close_scene, entries, pick, pump, type_cell
from scans import add_volume, settled, show_tab

from ContrastSynthLib.analysis.kinetics_report import kinetics_report
from ContrastSynthLib.phantom.sample import TUMOUR, sample_patient

WIDTH = 400
CHOOSE = "Choose a dynamic series as the input above: a sequence of volumes and times."
CONVENTIONAL = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView


# Measuring


def test_one_series_is_what_the_library_measures(tab, series, patient):
    assert measure(tab) == ""
    report = kinetics_report(phases_of(patient, WASHOUT), None, lesion_of(patient))
    curve = report["curve"]
    assert curve["type"] == "III"
    results = tab.results
    assert results.type_label.text == "Real: type III, washout"
    voxels, ml = report["mask"]["voxels"], report["mask"]["ml"]
    assert results.region_label.text == f"Region 'lesion': {voxels} voxels, {ml:.2f} ml"
    assert heads(results.measures) == ["Measure", "Real"]
    shown = dict(cells(results.measures))
    assert shown["Initial enhancement (%)"] == f"{100 * curve['initial_enhancement']:.1f}"
    assert shown["Delayed change (%)"] == f"\N{MINUS SIGN}{-100 * curve['delayed_change']:.1f}"
    assert shown["Enhancement ratio, SER"] == f"{curve['signal_enhancement_ratio']:.2f}"
    assert shown["Time to peak (s)"] == "120"
    assert shown["Area under the curve (s)"] == f"{curve['area_s']:.1f}"
    assert shown["Voxels of type III (%)"] == "100"
    functional = report["voxels"]["functional_tumour_ml"]
    assert shown["Functional volume (ml)"] == f"{functional:.2f}"
    assert not results.agreement.isVisible()
    assert heads(tab.phases.table) == ["Phase", "Time (s)", "Real (%)"]
    percent = [100 * (value / curve["baseline"] - 1) for value in curve["values"]]
    assert [row[2] for row in cells(tab.phases.table)] == [f"{p + 0.0:.1f}" for p in percent]


def test_a_synthetic_series_is_compared(panel, tab, series, patient):
    add_synthetic(panel, patient)
    assert measure(tab) == ""
    made = phases_of(patient, PERSISTENT)
    report = kinetics_report(phases_of(patient, WASHOUT), None, lesion_of(patient), made)
    results = tab.results
    lines = results.type_label.text.split("\n")
    assert lines == ["Real: type III, washout", "SYNTHETIC: type I, persistent"]
    assert heads(results.measures) == ["Measure", "Real", "SYNTHETIC", "Difference"]
    heights = {results.measures.rowHeight(n) for n in range(results.measures.rowCount)}
    assert len(heights) == 1  # of one line each, though the columns were narrower when filled
    change = 100 * report["agreement"]["differences"]["delayed_change"]
    assert cells(results.measures)[1][3] == f"+{change:.1f}"
    agreement = dict(cells(results.agreement))
    rho = report["agreement"]["spearman_rho"]
    assert agreement["Rank correlation, Spearman's rho"] == f"{rho:.3f}".replace("-", "−")
    by_voxel = report["agreement"]["delayed_change_by_voxel"]
    assert agreement["Delayed change by voxel, bias (%)"] == f"{100 * by_voxel['bias']:.1f}"
    assert heads(tab.phases.table)[2:] == ["Real (%)", "SYNTHETIC (%)"]


def test_curves_and_measures_are_nodes_of_the_scene(panel, tab, series, patient):
    add_synthetic(panel, patient, PERSISTENT[1:], TIMES[1:])
    measure(tab)
    assert "no phase at 0 s" in tab.results.notes.text
    chart = computed("kinetics")
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Time (s)", "Enhancement (%)")
    lines = lines_of(chart)
    assert list(lines) == ["dynamic", "made SYNTHETIC"]
    styles = [line.GetLineStyle() for line in lines.values()]
    kind = slicer.vtkMRMLPlotSeriesNode
    assert styles == [kind.LineStyleSolid, kind.LineStyleDash]
    table = lines["dynamic"].GetTableNode()
    times, real, made = (
        slicer.util.arrayFromTableColumn(table, name) for name in ("Time (s)", *lines)
    )
    np.testing.assert_array_equal(times, TIMES)
    assert np.isnan(made).tolist() == [True, False, False, False, False]  # it has no such phase
    assert real[2] == real.max() > 100
    measures = computed("kinetics measures").GetTable()
    columns = [measures.GetColumnName(n) for n in range(measures.GetNumberOfColumns())]
    assert columns == ["Measure", "Real", "SYNTHETIC", "Difference"]
    titles = [measures.GetValue(n, 0).ToString() for n in range(measures.GetNumberOfRows())]
    assert titles[0].startswith("Type (1 persistent")
    assert [measures.GetValue(0, n).ToDouble() for n in (1, 2)] == [3.0, 1.0]
    assert "Time to peak (s)" in titles
    assert "Type by voxel, Cohen's kappa" in titles


def test_the_plot_stands_beside_the_slices_and_the_layout_comes_back(panel, tab, series, host):
    layout = slicer.app.layoutManager()
    measure(tab)
    chart = computed("kinetics")
    with_plot = layout.layout
    assert with_plot == slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView
    assert layout.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()
    show_tab(panel, "synthesise")
    assert layout.layout == CONVENTIONAL
    show_tab(panel, "kinetics")
    assert layout.layout == with_plot
    host.leave_module()
    assert layout.layout == CONVENTIONAL
    host.open_module()
    assert layout.layout == with_plot
    chosen = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    layout.setLayout(chosen)  # by hand, meanwhile
    show_tab(panel, "compare")
    assert layout.layout == chosen


def test_one_of_several_segments_is_measured(tab, series, patient):
    segmentation = named("vtkMRMLSegmentationNode", "lesion").GetSegmentation()
    assert entries(tab.box.segments["region"]) == ["lesion"]
    brain = patient.scans["pre"].with_array(patient.brain.astype(np.float32))
    other = add_mask(patient, "brain", brain).GetSegmentation()
    segmentation.CopySegmentFromSegmentation(other, other.GetNthSegmentID(0))
    assert entries(tab.box.segments["region"])[0] == "lesion"
    pump(lambda: len(entries(tab.box.segments["region"])) == 3)
    assert entries(tab.box.segments["region"])[-1] == "All that are visible"
    segmentation.GetNthSegment(1).SetName("the whole brain")
    pump(lambda: "the whole brain" in entries(tab.box.segments["region"]))
    pick(tab.box.segments["region"], "the whole brain")
    measure(tab)
    count = int(patient.brain.sum())
    assert tab.results.region_label.text.startswith(f"Region 'the whole brain': {count} voxels")
    pick(tab.box.segments["region"], "lesion")
    assert tab.age.text.startswith("Out of date: another segment of 'lesion' is chosen")
    assert not tab.results.widget.isEnabled()
    measure(tab)
    assert f" {int((patient.tissue == TUMOUR).sum())} voxels" in tab.results.region_label.text


def test_a_label_map_marks_the_region_too(tab, series, patient):
    pick(tab.box.selectors["region"], add_label_map(lesion_of(patient), "painted"))
    assert not tab.box.segments["region"].isVisible()
    assert measure(tab) == ""
    assert tab.results.region_label.text.startswith("Region 'painted'")


def test_the_series_is_measured_where_it_is_shown(tab, series, patient):
    """A moved series and an unmoved segmentation: the region lies elsewhere in the series."""
    from ContrastSynthPanel.scene import bridge

    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 1000.0
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    bridge.shown_volume(series).SetAndObserveTransformNodeID(move.GetID())
    assert "holds no voxel of 'dynamic'" in measure(tab)
    named("vtkMRMLSegmentationNode", "lesion").SetAndObserveTransformNodeID(move.GetID())
    assert measure(tab) == ""


# Phases


def test_the_slider_moves_all_views(panel, tab, series, patient):
    from ContrastSynthPanel.scene import bridge

    made = add_synthetic(panel, patient, PERSISTENT[1:], TIMES[1:])
    assert tab.phases.label.text == "Phase 1 of 5: 0 s"
    tab.phases.slider.setValue(3)
    assert tab.phases.label.text == "Phase 4 of 5: 240 s"
    shown, other = bridge.shown_volume(series), bridge.shown_volume(made)
    assert backgrounds() == {shown.GetID()}
    expected, synthetic = phases_of(patient, WASHOUT)[3], phases_of(patient, PERSISTENT)[3]
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(shown), expected.array)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(other), synthetic.array)
    pick(tab.phases.shown_combo, "made SYNTHETIC")
    assert backgrounds() == {other.GetID()}


def test_the_slider_follows_the_browser_and_the_table_the_slider(tab, series):
    from ContrastSynthPanel.scene import bridge, phases

    bridge.browser_of(series).SetSelectedItemNumber(2)
    assert tab.phases.slider.value == 2
    assert tab.phases.label.text == "Phase 3 of 5: 120 s"
    assert tab.phases.table.currentRow() == 2
    tab.phases.table.cellClicked.emit(4, 0)
    assert phases.shown_phase(series) == 4


def test_the_views_show_again_what_they_showed_before(panel, tab, series, patient):
    from ContrastSynthPanel.scene import bridge

    volume, over = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode") for _ in range(2))
    for node in (volume, over):
        bridge.fill_node(node, patient.scans["pre"], np.eye(4), None)
    slicer.util.setSliceViewerLayers(background=volume, foreground=over)
    tab.phases.slider.setValue(1)
    tab.phases.slider.setValue(2)
    assert backgrounds() != {volume.GetID()}
    show_tab(panel, "compare")
    assert backgrounds() == {volume.GetID()}
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {node.GetForegroundVolumeID() for node in composites} == {over.GetID()}


def test_a_wrong_time_is_corrected(panel, tab, series, patient):
    from ContrastSynthPanel.scene import bridge, phases

    made = add_synthetic(panel, patient)
    measure(tab)
    type_cell(tab.phases.table, 1, 1, "92,5")
    assert bridge.times_of_sequence_node(series) == [0, 92.5, 120, 240, 360]
    assert bridge.times_of_sequence_node(made) == [0, 92.5, 120, 240, 360]
    assert tab.message.text == "Phase 2: 92.5 s instead of 60 s, in both series."
    assert tab.age.text == "Out of date: 'dynamic' was changed since. Press Measure."
    assert [volume.acquisition.time_s for volume in bridge.series_from_sequence_node(series)][
        1
    ] == 92.5
    phases.show_phase(series, 1)
    assert bridge.acquisition_of(bridge.shown_volume(series))[0].time_s == 92.5
    assert measure(tab) == ""
    assert tab.found["regions"]["lesion"]["curve"]["times_s"][1] == 92.5


def test_a_time_is_written_in_the_unit_of_the_series(tab, series):
    series.SetIndexUnit("min")
    assert cells(tab.phases.table)[1][1] == "3600"
    type_cell(tab.phases.table, 1, 1, "90")
    assert index_of(series)[1] == "1.5"


@pytest.mark.parametrize("typed", ["120", "500", "0", "-5", "soon", "", "nan"])
def test_a_time_that_cannot_be_is_refused(tab, series, typed):
    measure(tab)
    before = index_of(series)
    type_cell(tab.phases.table, 1, 1, typed)
    assert index_of(series) == before
    assert cells(tab.phases.table)[1][1] == "60"
    assert tab.message.kind == "failed"
    assert "Nothing was changed" in tab.message.text
    if typed == "500":
        assert "must increase: after 0 s and before 120 s" in tab.message.text
    assert tab.results.widget.isVisible()
    type_cell(tab.phases.table, 1, 1, "61")
    assert tab.message.text == "Phase 2: 61 s instead of 60 s."


def test_nothing_is_half_changed_when_the_second_series_cannot_follow(panel, tab, series, patient):
    made = add_synthetic(panel, patient, (0.0, 0.5, 0.7, 0.8, 1.0, 1.0), (0, 60, 80, 120, 240, 360))
    before = index_of(series), index_of(made)
    type_cell(tab.phases.table, 1, 1, "100")
    assert "'" not in tab.message.text
    assert tab.message.text.startswith("made SYNTHETIC: phase 2 cannot be at 100 s.")
    assert (index_of(series), index_of(made)) == before


def test_what_the_index_counts_can_be_reported(panel, tab, series):
    series.SetIndexUnit("")
    pump(lambda: not tab.measure_button.enabled)
    assert not tab.measure_button.enabled
    assert "indexed in ''" in tab.action.reason.text
    assert "'Index counts'" in tab.action.reason.text
    assert heads(tab.phases.table) == ["Phase", "Index"]
    with pytest.raises(AssertionError, match="cannot be typed into"):
        type_cell(tab.phases.table, 1, 1, "5")
    pick(tab.phases.unit_combo, "milliseconds")
    assert series.GetIndexUnit() == "ms"
    assert cells(tab.phases.table)[1] == ["2", "0.06"]
    assert not tab.phases.unit_combo.isVisible()
    assert measure(tab) == ""


# What is wrong is reported, and the panel stays usable


def test_measure_says_what_is_missing(panel, tab, patient):
    button = tab.measure_button
    assert not button.enabled
    assert button.toolTip == tab.action.reason.text == CHOOSE
    assert not tab.phase_section.isVisible()
    node = add_series(patient, "dynamic", WASHOUT)
    settled(panel)
    assert button.toolTip.startswith("Choose a segmentation or a label map")
    add_mask(patient, "lesion")
    settled(panel)
    assert button.enabled
    assert tab.message.text == ""
    pick(tab.box.selectors["result"], node)
    assert button.toolTip.startswith("'dynamic' is chosen twice")


def test_only_what_there_is_one_of_is_chosen_by_itself(panel, tab, series, patient):
    assert panel.box.case.node("input") is series
    pick(tab.box.selectors["input"], None)
    add_series(patient, "second", WASHOUT)
    settled(panel)
    assert panel.box.case.node("input") is None


def test_other_grids_are_reported(panel, tab, series, patient):
    other = sample_patient(size=(20, 24, 16))
    pick(tab.box.selectors["region"], add_label_map(lesion_of(other), "coarse"))
    text = measure(tab)
    assert text.startswith("'coarse' lies on another grid than 'dynamic'. Resample it")
    assert "24" in text
    assert "<- differs" in text
    assert "--align" not in text
    assert not tab.results.widget.isVisible()
    pick(tab.box.selectors["region"], named("vtkMRMLSegmentationNode", "lesion"))
    assert measure(tab) == ""
    add_synthetic(panel, other)
    assert measure(tab).startswith("'made SYNTHETIC' lies on another grid than 'dynamic'.")


def test_other_times_are_reported(panel, tab, series, patient):
    add_synthetic(panel, patient, times=(0, 60, 130, 240, 360))
    text = measure(tab)
    assert text.startswith("'made SYNTHETIC' has a phase at 130 s, 'dynamic' has none within 1 s")
    type_cell(tab.phases.table, 2, 1, "130")
    assert measure(tab) == ""


def test_an_empty_segmentation_or_segment_is_reported(tab, series):
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    pick(tab.box.selectors["region"], empty)
    assert measure(tab) == "'empty' has no segment. Draw one in the Segment Editor."
    empty.GetSegmentation().AddEmptySegment("one", "nothing")
    assert measure(tab).startswith("'nothing' holds no voxel of 'dynamic'.")
    empty.GetSegmentation().RemoveSegment("one")
    assert measure(tab) == "'empty' has no segment. Draw one in the Segment Editor."


def test_a_region_without_signal_is_reported(tab, series, patient):
    """The library's noise-free background is 0: no enhancement can be in percent of it."""
    outside = np.zeros(patient.tissue.shape, np.float32)
    outside[:2, :2, :2] = 1.0
    mask = patient.scans["pre"].with_array(outside)
    pick(tab.box.selectors["region"], add_label_map(mask, "air"))
    assert "Does the region lie in tissue?" in measure(tab)
    assert not tab.results.widget.isVisible()


def test_no_agent_and_a_short_series_are_reported(tab, series, patient):
    pick(tab.box.selectors["input"], add_series(patient, "flat", (0.0, 0.0, 0.01)[:3], TIMES[:3]))
    measure(tab)
    assert tab.results.type_label.text == "Real: no agent arrives"
    assert "No agent arrives in the mask" in tab.results.notes.text
    pick(tab.box.selectors["input"], add_series(patient, "short", WASHOUT[:3], TIMES[:3]))
    measure(tab)
    assert tab.results.type_label.text == "Real: no type"
    assert "there is no delayed phase" in tab.results.notes.text


def test_a_sequence_of_something_else_is_reported(tab, series):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "moves")
    other.SetIndexUnit("s")
    for time in ("0", "1"):
        other.SetDataNodeAtValue(slicer.vtkMRMLLinearTransformNode(), time)
    pick(tab.box.selectors["input"], other)
    assert "not a volume" in measure(tab)


def test_deleted_nodes_leave_a_usable_tab(panel, tab, series, patient):
    measure(tab)
    slicer.mrmlScene.RemoveNode(computed("kinetics"))
    assert measure(tab) == ""
    slicer.mrmlScene.RemoveNode(series)
    settled(panel)
    assert tab.measure_button.toolTip == CHOOSE
    assert not tab.results.widget.isEnabled()
    assert tab.age.text == "Out of date: the series is gone. Press Measure."
    add_series(patient, "again", WASHOUT)
    settled(panel)
    assert measure(tab) == ""


def test_the_scene_is_closed(tab, series):
    measure(tab)
    close_scene()
    assert not tab.results.widget.isVisible()
    assert slicer.app.layoutManager().layout == CONVENTIONAL
    assert tab.measure_button.toolTip == CHOOSE


def test_nothing_is_heard_after_the_panel_is_closed(host, tab, series):
    assert tab.phases.Observations
    host.app.moduleManager()._close_all()
    assert tab.phases.Observations == tab.cursor.Observations == []
    series.SetIndexUnit("min")


# What a scene keeps


def test_state_and_results_are_saved_with_the_scene(panel, tab, series, patient, tmp_path):
    add_synthetic(panel, patient)
    measure(tab)
    shown = cells(tab.results.measures), cells(tab.results.agreement), cells(tab.phases.table)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    assert not tab.results.widget.isVisible()
    assert slicer.mrmlScene.ReadFromMRB(path)
    pump(lambda: tab.results.widget.isVisible())
    again = cells(tab.results.measures), cells(tab.results.agreement), cells(tab.phases.table)
    assert again == shown
    assert panel.box.case.node("result").GetName() == "made SYNTHETIC"
    layout = slicer.app.layoutManager()
    chart = computed("kinetics")
    assert layout.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()
    assert measure(tab) == ""
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1


def test_nothing_is_cut_off_in_a_narrow_panel(panel, tab, series, patient):
    add_synthetic(panel, patient)
    measure(tab)
    tab.message.show("failed", "x" * 500)
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    whole.resize(WIDTH, 1000)
    pump(timeout_s=0.05)
    for table in (tab.phases.table, tab.results.measures, tab.results.agreement):
        for column in range(table.columnCount):
            if not table.isColumnHidden(column):
                header = table.horizontalHeader().sectionSizeHint(column)
                assert table.columnWidth(column) >= max(header, table.sizeHintForColumn(column))


def test_a_synthetic_series_alone_may_change(panel, tab, patient):
    node = add_synthetic(panel, patient)
    post = add_volume("T1 post", patient.scans["post"])
    settled(panel)
    pick(panel.box.selectors["input"], post)
    pick(panel.box.selectors["result"], node)
    pump(timeout_s=0.1)
    node.Modified()
    pump(timeout_s=0.1)
    assert panel.trouble.text == ""
