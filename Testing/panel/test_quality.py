"""The tab "Quality", driven as a person drives it, in the test host, with the real worker."""

from __future__ import annotations

import csv
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, erase_half, pick, press, pump, read_table
from scans import add_volume, settled, show_tab

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.analysis.evaluation_rows import COLUMNS, evaluation_rows
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

WIDTH = 400
RUN_S = 60.0
VOLUME = "vtkMRMLScalarVolumeNode"
SIZE = (48, 56, 40)
TITLE = "SYNTHETIC pre, physics_pre: T1 post Gd against T1 pre"


@pytest.fixture
def tab(panel):
    return show_tab(panel, "quality")


@pytest.fixture
def selectors(panel):
    return panel.box.selectors


@pytest.fixture
def nodes(panel, tab, patient, result):
    """The patient's scans, and what was made of them."""
    from ContrastSynthPanel.scene import run_results

    found = {"pre": add_volume("T1 pre", patient.scans["pre"])}
    found["post"] = add_volume("T1 post Gd", patient.scans["post"])
    made = run_results.add_result(slicer.mrmlScene, result, found["post"])
    settled(panel)
    return found | {"synthetic": made["pre"], "uptake": made["uptake"]}


def measure(tab):
    press(tab.run.apply_button)
    took = pump(lambda: not tab.run.running, RUN_S)
    assert tab.run.message.plainText == ""
    return took


def expected(nodes, **more):
    from ContrastSynthPanel.scene import bridge

    read = {role: bridge.volume_from_node(node) for role, node in nodes.items() if node}
    return evaluate(read["pre"], read["synthetic"], pre=read["pre"], post=read["post"], **more)


def test_the_uptake_map_is_never_taken_for_the_image(tab, nodes, selectors):
    assert selectors["result"].node is nodes["synthetic"]
    assert tab._compared.nodes["synthetic"] is nodes["synthetic"]
    pick(selectors["result"], nodes["uptake"])
    text = f"'{nodes['uptake'].GetName()}' is a map, not an image of the patient. "
    text += f"Choose '{nodes['synthetic'].GetName()}' of the same run as the result."
    assert tab.run.action.reason.text == text
    assert tab.run.action.reason.isVisible()
    assert not tab.run.apply_button.enabled


# What is measured


def test_the_numbers_are_the_library_s_and_slicer_stays_usable(tab, nodes):
    took = measure(tab)
    assert took.longest_block_s < 1.0
    rows = evaluation_rows(expected(nodes))
    check_rows(tab.measured["rows"], rows)
    assert tab.measured["noise"] == expected(nodes)["noise"]
    assert tab.title_label.text.startswith(f"{TITLE}\n")
    shown = read_table(tab.table)
    titles = [texts[0] for texts in shown if len(texts) == 1]
    assert titles[:3] == ["Brain", "Uptake", "Lesions"]
    assert len(shown) == len(rows) + len(titles)
    psnr = next(row for row in rows if row["measure"] == "PSNR")
    assert ["PSNR", f"{psnr['value']:.4g}", "dB", "\N{UPWARDS ARROW}"] in shown
    for said in ("median of the brain", "99.9th percentile of the pre scan", "above 0 in pre"):
        assert said in tab.notes_label.text


def check_rows(found, wanted):
    assert [row["measure"] for row in found] == [row["measure"] for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one == {**other, "value": pytest.approx(other["value"], rel=1e-6)}


def test_without_a_pair_only_the_brain_is_measured_as_the_values_are(tab, nodes, selectors):
    other = add_volume("another", sample_patient(size=SIZE).scans["pre"])
    pick(selectors["reference"], other)
    slicer.mrmlScene.RemoveNode(nodes["post"])
    slicer.mrmlScene.RemoveNode(nodes["pre"])
    pick(tab.normalise_combo, "As they are")
    assert tab.hint_label.text.startswith("The uptake is not measured: that takes a pre-")
    measure(tab)
    assert {row["region"] for row in tab.measured["rows"]} == {"Brain", "Noise"}
    mae = next(row for row in tab.measured["rows"] if row["measure"] == "MAE")
    assert mae["unit"] == "file units"
    assert mae["normalisation"] == "none"
    assert mae["value"] > 1


@pytest.mark.parametrize("kind", ["segmentation", "label map"])
def test_a_mask_is_a_region_of_its_own(tab, nodes, selectors, patient, kind):
    from ContrastSynthPanel.scene import bridge

    inside = np.zeros(SIZE[::-1], np.float32)
    inside[15:25, 20:36, 16:32] = 1
    if kind == "segmentation":
        volume = patient.scans["pre"].with_array(inside)
        mask = bridge.mask_to_segmentation(slicer.mrmlScene, volume, nodes["pre"], "lesion")
    else:
        mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "lesion")
        slicer.util.updateVolumeFromArray(mask, inside.astype(np.uint8))
        mask.CopyOrientation(nodes["pre"])
    pick(selectors["mask"], mask)
    measure(tab)
    wanted = evaluation_rows(expected(nodes, mask=inside > 0))
    check_rows(tab.measured["rows"], wanted)
    assert ["Mask"] in read_table(tab.table)


def test_other_grids_need_a_choice_of_alignment(tab, nodes, selectors):
    coarse = add_volume("T1 coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    pick(selectors["reference"], coarse)
    assert not tab.run.apply_button.enabled
    text = "'Result', 'Post-contrast scan': not on the grid of 'Reference'. Choose under 'Align' "
    assert tab.run.action.reason.text == text + "what to do."
    pick(tab.alignment.combo, "Resample by their positions")
    measure(tab)
    voxels = next(row["value"] for row in tab.measured["rows"] if row["measure"] == "Voxels")
    assert 0 < voxels < 40 * 48 * 32, "measured on the reference's grid"


def test_cancel_leaves_what_was_measured_before(tab, nodes):
    before = tab.measured = {"title": "before", "told": [], "rows": []}
    press(tab.run.apply_button)
    press(tab.run.cancel_button)
    pump(lambda: not tab.run.running, 20.0)
    assert tab.run.message.plainText == "Cancelled. Nothing was kept."
    assert tab.measured is before
    assert tab.run.apply_button.enabled


def test_what_the_library_refuses_is_reported(tab, nodes, selectors):
    mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "empty")
    slicer.util.updateVolumeFromArray(mask, np.zeros(SIZE[::-1], np.uint8))
    mask.CopyOrientation(nodes["pre"])
    pick(selectors["mask"], mask)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    assert "empty" in tab.run.message.plainText
    assert tab.run.message.isVisible()
    assert tab.run.apply_button.enabled


def test_one_thing_at_a_time(panel, tab, nodes):
    press(tab.run.apply_button)
    pump(lambda: "Reading" not in tab.run.progress_label.text)
    panel.tab_widget.setCurrentIndex(0)
    press(panel.synthesise.run.apply_button)
    message = panel.synthesise.run.message
    pump(lambda: message.plainText.startswith("A run is under way."))
    assert not panel.synthesise.run.running
    close_scene()
    assert tab.run.message.plainText == "The scene was closed, and the measurement with it."


# What is chosen


def test_the_case_says_what_is_measured(panel, tab, nodes, selectors, patient):
    measured = {role: nodes[role] for role in ("synthetic", "pre", "post")}
    assert tab._compared.nodes == measured | {"reference": nodes["pre"]}
    assert next(iter(tab._compared.volumes)) == "reference", "what the others are brought onto"
    from ContrastSynthPanel.scene import run_results

    given = {role: patient.scans[role] for role in ("pre", "post")}
    newer = run(Request("physics_dose", given, {"dose": 0.25}))
    inputs = {role: nodes[role] for role in given}
    made = run_results.add_result(slicer.mrmlScene, newer, nodes["pre"], inputs)["low"]
    settled(panel)
    pick(selectors["result"], made)
    text = f"Choose the reference above: the true scan that '{made.GetName()}' imitates."
    assert tab.run.action.reason.text == text
    low = add_volume("T1 low dose", patient.scans["low"])
    settled(panel)
    assert tab._compared.nodes == {"synthetic": made, "reference": low} | inputs
    pick(selectors["reference"], made)
    assert tab.run.action.reason.text == f"'{made.GetName()}' is both the result and the reference."


def test_without_a_result_it_says_what_to_do(tab, selectors):
    text = "Choose a result above, or make one under 'Synthesise'."
    assert tab.run.action.reason.text == text
    assert not tab.run.apply_button.enabled
    assert tab.hint_label.text == ""


def test_without_scikit_image_it_is_installed_here(host, tab, nodes, monkeypatch):
    from ContrastSynthPanel import dependencies

    there = dependencies.version

    def version(name):
        if name == "scikit-image" and not host.record.installed:
            raise PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(dependencies, "version", version)
    pump(lambda: tab.dependencies.widget.isVisible())
    assert not tab.run.apply_button.enabled
    text = "Not installed: scikit-image. Needed for these measures."
    assert tab.run.action.reason.text == tab.dependencies.label.text == text
    host.record.answer(True)
    press(tab.dependencies.button)
    assert host.record.installed == [["scikit-image>=0.24"]]
    assert tab.run.apply_button.enabled
    assert not tab.dependencies.widget.isVisible()


# Series


def add_series(name, patient, shares, synthetic=None):
    """A series that goes from the pre-contrast to a share of the post-contrast scan, seen."""
    from ContrastSynthPanel.scene import bridge

    pre, post = (patient.scans[role] for role in ("pre", "post"))
    volumes = [
        replace(
            pre.with_array((1 - share) * pre.array + share * post.array, synthetic),
            acquisition=Acquisition(time_s=60.0 * n),
        )
        for n, share in enumerate(shares)
    ]
    node = bridge.sequence_from_series(slicer.mrmlScene, volumes, name)
    bridge.shown_volume(node)
    return node


def show_phase(node, number):
    from ContrastSynthPanel.scene import bridge

    bridge.browser_of(node).SetSelectedItemNumber(number - 1)


def test_of_series_the_shown_phases_are_measured(panel, tab, patient, selectors):
    from ContrastSynthPanel.scene import bridge

    true = add_series("dynamic", patient, (0.0, 0.5, 1.0))
    made = add_series("made", patient, (0.0, 0.4, 0.9), "by a test")
    made.SetAttribute(bridge.METHOD, "physics_pre")
    settled(panel)
    pick(selectors["result"], made)
    pick(selectors["reference"], true)
    show_phase(true, 3)
    text = "phase 1 of 3 (0 s) of 'made', phase 3 of 3 (120 s) of 'dynamic'. These were not taken"
    pump(lambda: text in tab.hint_label.text)
    show_phase(made, 3)
    pump(lambda: "These were not" not in tab.hint_label.text)
    measure(tab)
    assert tab.title_label.text.startswith("made, phase 3 against dynamic, phase 3\n")
    assert "phase 3 of 3 (120 s) of 'made', phase 3 of 3 (120 s) of 'dynamic'." in (
        tab.notes_label.text
    )
    frames = [bridge.volume_from_node(node.GetNthDataNode(2)) for node in (true, made)]
    check_rows(tab.measured["rows"], evaluation_rows(evaluate(*frames)))
    show_phase(true, 2)
    text = "Out of date: another phase of 'dynamic' is shown. Press Measure."
    pump(lambda: tab.age.text == text)
    show_phase(true, 3)
    pump(lambda: tab.age.text == "")


# What changed since


@pytest.fixture
def lesion(panel, nodes, patient, selectors):
    """A mask of two segments that are seen, chosen."""
    from ContrastSynthPanel.scene import bridge

    inside = np.zeros(SIZE[::-1], np.float32)
    inside[15:25, 20:36, 16:32] = 1
    volume = patient.scans["pre"].with_array(inside)
    node = bridge.mask_to_segmentation(slicer.mrmlScene, volume, nodes["pre"], "lesion")
    settled(panel)
    pick(selectors["mask"], node)
    return node


def mark_out_of_date(text):
    return f"Out of date: {text}. Press Measure."


def test_numbers_of_a_changed_mask_are_out_of_date_until_measured_again(panel, tab, lesion):
    measure(tab)
    assert tab.age.text == ""
    assert tab.csv_button.enabled

    def voxels():
        rows = [row for row in tab.measured["rows"] if row["region"] == "Mask"]
        return next(row["value"] for row in rows if row["measure"] == "Voxels")

    before = voxels()
    (segment,) = lesion.GetSegmentation().GetSegmentIDs()
    left = erase_half(lesion, segment)
    pump(lambda: tab.age.text == mark_out_of_date("'lesion' was changed since"))
    assert tab.age.widget.isVisible()
    assert not tab.table.enabled
    assert not tab.csv_button.enabled
    measure(tab)
    assert tab.age.text == ""
    assert tab.table.enabled
    assert voxels() == left < before


def test_other_changes_make_numbers_out_of_date(panel, tab, nodes, selectors, patient):
    measure(tab)

    def becomes(text):
        pump(lambda: tab.age.text == (mark_out_of_date(text) if text else ""))

    slicer.util.arrayFromVolume(nodes["post"])[:] *= 2.0
    slicer.util.arrayFromVolumeModified(nodes["post"])
    becomes("'T1 post Gd' was changed since")
    measure(tab)
    shift = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    nodes["pre"].SetAndObserveTransformNodeID(shift.GetID())
    pump(timeout_s=0.2)
    becomes("")  # it does not move yet
    matrix = np.eye(4)
    matrix[0, 3] = 12.0
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    becomes("'T1 pre' was changed since")
    nodes["pre"].SetAndObserveTransformNodeID(None)
    becomes("")
    pick(tab.normalise_combo, "As they are")
    becomes("'Intensities' was changed since")
    pick(tab.normalise_combo, "In their medians")
    becomes("")
    pick(selectors["reference"], nodes["post"])
    becomes("another reference is chosen")
    pick(selectors["reference"], nodes["pre"])
    becomes("")
    pick(selectors["result"], nodes["uptake"])
    becomes("another result is chosen")
    pick(selectors["result"], nodes["synthetic"])
    becomes("")
    slicer.mrmlScene.RemoveNode(nodes["synthetic"])
    becomes("the result is gone")


def test_a_rename_leaves_numbers_as_they_are(panel, tab, nodes):
    measure(tab)
    nodes["synthetic"].SetName("pre of Monday")
    pump(timeout_s=0.2)
    assert tab.age.text == ""


def test_numbers_stay_out_of_date_when_another_module_was_shown(host, panel, tab, lesion):
    measure(tab)
    host.leave_module()
    (segment,) = lesion.GetSegmentation().GetSegmentIDs()
    erase_half(lesion, segment)
    host.open_module()
    pump(lambda: tab.age.text == mark_out_of_date("'lesion' was changed since"))
    host.app.moduleManager().reload("ContrastSynth")
    again = host.open_module().panel.tabs["quality"]
    pump(lambda: again.age.text == mark_out_of_date("'lesion' was changed since"))
    assert again.table.isVisible()


# What is kept


@pytest.fixture
def measured(tab, nodes):
    """A measurement, taken from the library itself: it is quicker."""
    return take(tab, expected(nodes))


def take(tab, report, title=TITLE):
    tab._of = dict(tab._compared.nodes)
    tab._stamps = tab._stamps_of(tab._of)
    tab._show(
        {
            "title": title,
            "part": "0 0",
            "when": "2026-08-01 101500",
            "told": ["Intensities: in medians."],
            "rows": evaluation_rows(report),
            "noise": report["noise"],
        }
    )
    tab._check()
    return tab.measured


def test_the_table_is_saved_as_csv(host, tab, measured, tmp_path):
    path = tmp_path / "é ü" / "measures.csv"
    path.parent.mkdir()
    host.record.answer(str(path))
    press(tab.csv_button)
    assert tab.run.message.plainText == f"Saved as {path}."
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["measure"] for row in rows] == [row["measure"] for row in measured["rows"]]
    psnr = next(row for row in rows if row["measure"] == "PSNR")
    assert float(psnr["value"]) == next(
        row["value"] for row in measured["rows"] if row["measure"] == "PSNR"
    )
    assert (psnr["unit"], psnr["better"]) == ("dB", "higher")
    assert [one.name for one in path.parent.iterdir()] == ["measures.csv"]


def test_a_file_that_cannot_be_written_is_reported(host, tab, measured, tmp_path):
    host.record.answer(str(tmp_path / "nowhere" / "measures"))
    press(tab.csv_button)
    assert "measures.csv: could not be written" in tab.run.message.plainText
    tab.run.show_message("info", "")
    host.record.answer("")  # the dialog was left
    press(tab.csv_button)
    assert tab.run.message.plainText == ""
    assert list(tmp_path.iterdir()) == []


def test_the_table_becomes_a_node(tab, measured):
    press(tab.table_button)
    (node,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert node.GetName() == f"Quality of {TITLE}"
    table = node.GetTable()
    assert table.GetNumberOfRows() == len(measured["rows"])
    values = [table.GetValueByName(n, "value").ToDouble() for n in range(table.GetNumberOfRows())]
    assert values == [row["value"] for row in measured["rows"]]
    press(tab.table_button)
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1


def test_patients_with_equal_names_keep_a_table_and_a_spectrum_each(
    host, panel, tab, nodes, measured, patient, result, tmp_path
):
    from ContrastSynthPanel.scene import run_results

    press(tab.table_button)
    press(tab.noise_button)
    scans = {"pre": add_volume("T1 pre", patient.scans["pre"])}
    scans["post"] = add_volume("T1 post Gd", patient.scans["post"])
    made = run_results.add_result(slicer.mrmlScene, result, scans["post"])["pre"]
    made.SetName(nodes["synthetic"].GetName())
    settled(panel)
    pick(panel.box.selectors["result"], made)
    pick(panel.box.selectors["reference"], scans["pre"])
    report = expected({**nodes, **scans, "synthetic": made})
    take(tab, {**report, "regions": {"brain": report["regions"]["brain"]}})
    press(tab.table_button)
    press(tab.noise_button)
    tables = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLTableNode")
        if node.GetName().startswith("Quality of")
    ]
    assert len({node.GetName() for node in tables}) == 2
    counts = [node.GetTable().GetNumberOfRows() for node in tables]
    assert counts[0] == len(measured["rows"]) != counts[1], "the first one's numbers are there"
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 2
    press(tab.table_button)
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 4, "its own is found again"


def test_a_file_is_named_by_what_was_measured_and_when(host, tab, measured, monkeypatch):
    import qt

    asked = []
    monkeypatch.setattr(
        qt.QFileDialog, "getSaveFileName", lambda *given: asked.append(given[2]) or ""
    )
    press(tab.csv_button)
    assert asked == ["SYNTHETIC pre, physics_pre_ T1 post Gd against T1 pre, 2026-08-01 101500.csv"]


def test_the_noise_spectrum_goes_into_a_plot_view(host, tab, measured):
    press(tab.noise_button)
    chart = host.app.layoutManager().plotWidget(0).mrmlPlotViewNode().GetPlotChartNode()
    assert chart.GetXAxisTitle() == "Frequency (1/mm)"
    (series,) = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    table = series.GetTableNode().GetTable()
    power = [table.GetValueByName(n, "Error").ToDouble() for n in range(table.GetNumberOfRows())]
    assert power == measured["noise"]["radial"]


def test_the_state_is_restored_with_the_scene(host, tab, nodes, selectors, measured):
    pick(tab.normalise_combo, "As they are")
    pick(selectors["reference"], nodes["post"])
    tab._changed()
    shown = read_table(tab.table)
    host.app.moduleManager().reload("ContrastSynth")
    panel = host.open_module().panel
    again = panel.tabs["quality"]
    assert again is not tab
    settled(panel)
    assert panel.box.selectors["reference"].node is nodes["post"]
    assert again.normalise == "none"
    assert read_table(again.table) == shown
    assert again.title_label.text.startswith(measured["title"])
    assert again.age.text == mark_out_of_date("another reference is chosen")
    close_scene()
    assert read_table(again.table) == []
    assert again._compared.nodes == {}


def test_a_saved_scene_opens_with_numbers_that_are_its_own(panel, tab, nodes, measured, tmp_path):
    tab._changed()
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    assert slicer.mrmlScene.ReadFromMRB(path)
    pump(lambda: read_table(tab.table))
    settled(panel)
    pump(timeout_s=0.2)
    assert tab.age.text == ""
    node = slicer.util.getNode("T1 pre")
    slicer.util.arrayFromVolume(node)[:] *= 2.0
    slicer.util.arrayFromVolumeModified(node)
    pump(lambda: tab.age.text == mark_out_of_date("'T1 pre' was changed since"))


def test_nothing_is_cut_off_in_a_narrow_panel(tab, nodes, measured):
    tab.run.show_message("failed", "x" * 500)
    assert tab.widget.window().minimumSizeHint.width() <= WIDTH
    tab.widget.window().resize(WIDTH, 1500)
    pump(timeout_s=0.1)
    table = tab.table
    room = table.viewport().width
    assert sum(table.columnWidth(n) for n in range(4)) <= room
    for row, texts in enumerate(read_table(tab.table)):
        for column, text in enumerate(texts):
            width = room if len(texts) == 1 else table.columnWidth(column)
            assert table.fontMetrics().horizontalAdvance(text) <= width - 6, (row, text)
