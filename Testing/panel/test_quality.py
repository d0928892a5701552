"""The tab "Quality", driven as a person drives it, in the test host, with the real worker."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, pick, press, pump, read_table
from scans import add_volume, show_tab

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.analysis.evaluation_rows import COLUMNS, evaluation_rows
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

WIDTH = 400
RUN_S = 60.0
VOLUME = "vtkMRMLScalarVolumeNode"
SIZE = (48, 56, 40)


@pytest.fixture
def tab(panel):
    return show_tab(panel, "quality")


@pytest.fixture
def nodes(tab, patient, result):
    """The patient's scans, and what was made of them."""
    from ContrastSynthPanel.scene import run_results

    found = {"pre": add_volume("T1 pre", patient.scans["pre"])}
    found["post"] = add_volume("T1 post Gd", patient.scans["post"])
    made = run_results.add_result(slicer.mrmlScene, result, found["post"])
    settle(tab)
    return found | {"synthetic": made["pre"], "uptake": made["uptake"]}


def settle(tab):
    pump(lambda: not tab._pick_timer.active)


def measure(tab):
    press(tab.run.apply_button)
    took = pump(lambda: not tab.run.running, RUN_S)
    assert tab.run.message.plainText == ""
    return took


def expected(nodes, **more):
    from ContrastSynthPanel.scene import bridge

    read = {role: bridge.volume_from_node(node) for role, node in nodes.items() if node}
    return evaluate(read["pre"], read["synthetic"], pre=read["pre"], post=read["post"], **more)


# What is measured


def test_the_numbers_are_the_library_s_and_slicer_stays_usable(tab, nodes):
    took = measure(tab)
    assert took.longest_block_s < 1.0
    rows = evaluation_rows(expected(nodes))
    check_rows(tab.measured["rows"], rows)
    assert tab.measured["noise"] == expected(nodes)["noise"]
    assert tab.title_label.text.startswith("T1 post Gd pre SYNTHETIC against T1 pre\n")
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


def test_without_pre_and_post_only_the_brain_is_measured_as_the_values_are(tab, nodes):
    for role in ("pre", "post"):
        pick(tab.inputs.selectors[role], None)
    pick(tab.normalise_combo, "As they are")
    measure(tab)
    assert {row["region"] for row in tab.measured["rows"]} == {"Brain", "Noise"}
    mae = next(row for row in tab.measured["rows"] if row["measure"] == "MAE")
    assert mae["unit"] == "file units"
    assert mae["normalisation"] == "none"
    assert mae["value"] > 1


@pytest.mark.parametrize("kind", ["segmentation", "label map"])
def test_a_mask_is_a_region_of_its_own(tab, nodes, patient, kind):
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
    pick(tab.inputs.selectors["mask"], mask)
    measure(tab)
    wanted = evaluation_rows(expected(nodes, mask=inside > 0))
    check_rows(tab.measured["rows"], wanted)
    assert ["Mask"] in read_table(tab.table)


def test_other_grids_need_a_choice_of_alignment(tab, nodes):
    coarse = add_volume("T1 pre coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    pick(tab.inputs.selectors["reference"], coarse)
    for role in ("pre", "post"):
        pick(tab.inputs.selectors[role], None)
    assert not tab.run.apply_button.enabled
    text = "'Synthetic': not on the grid of 'Reference (true)'. Choose under 'Align' "
    assert tab.run.apply_button.toolTip == text + "what to do."
    pick(tab.inputs.align_combo, "Resample by their positions")
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


def test_what_the_library_refuses_is_reported(tab, nodes):
    mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "empty")
    slicer.util.updateVolumeFromArray(mask, np.zeros(SIZE[::-1], np.uint8))
    mask.CopyOrientation(nodes["pre"])
    pick(tab.inputs.selectors["mask"], mask)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    assert "empty" in tab.run.message.plainText
    assert tab.run.message.isVisible()
    assert tab.run.apply_button.enabled


def test_one_thing_at_a_time(panel, tab, nodes):
    press(tab.run.apply_button)
    panel.tab_widget.setCurrentIndex(0)
    press(panel.synthesise.run.apply_button)
    assert panel.synthesise.run.message.plainText.startswith("A run is under way.")
    assert not panel.synthesise.run.running
    close_scene()
    assert tab.run.message.plainText == "The scene was closed, and the measurement with it."


# What is chosen


def test_the_newest_synthetic_scan_and_what_it_should_be_are_picked(tab, nodes, patient):
    chosen = {role: nodes[role] for role in ("synthetic", "pre", "post")}
    assert tab.inputs.nodes() == chosen | {"reference": nodes["pre"]}
    assert next(iter(tab.inputs.nodes())) == "reference", "what the others are brought onto"
    from ContrastSynthPanel.scene import run_results

    given = {role: patient.scans[role] for role in ("pre", "post")}
    newer = run(Request("physics_dose", given, {"dose": 0.25}))
    made = run_results.add_result(slicer.mrmlScene, newer, nodes["pre"])["low"]
    settle(tab)
    assert tab.inputs.nodes()["synthetic"] is made
    assert "reference" not in tab.inputs.nodes(), "no scan is named as a low dose"
    assert tab.run.apply_button.toolTip == "Choose a volume for 'Reference (true)'."
    low = add_volume("T1 low dose", patient.scans["low"])
    settle(tab)
    assert tab.inputs.nodes()["reference"] is low
    pick(tab.inputs.selectors["synthetic"], nodes["synthetic"])
    add_volume("FLAIR", patient.scans["low"])
    settle(tab)
    assert tab.inputs.nodes()["synthetic"] is nodes["synthetic"], "a person's choice stays"


def test_what_cannot_be_compared_is_reported(tab, nodes):
    button = tab.run.apply_button
    pick(tab.inputs.selectors["post"], None)
    assert button.toolTip == "'Pre-contrast' alone is of no use: choose both, or neither."
    pick(tab.inputs.selectors["post"], nodes["pre"])
    assert button.toolTip == "'T1 pre' is chosen twice."
    pick(tab.inputs.selectors["post"], nodes["post"])
    pick(tab.inputs.selectors["reference"], nodes["synthetic"])
    assert button.toolTip == f"'{nodes['synthetic'].GetName()}' is chosen twice."
    assert not button.enabled


def test_without_scikit_image_its_message_is_shown(tab, nodes, monkeypatch):
    from ContrastSynthPanel.tabs import quality as quality_tab

    monkeypatch.setattr(quality_tab.importlib.util, "find_spec", lambda name: None)
    tab._pick()
    assert not tab.run.apply_button.enabled
    assert "pip install scikit-image" in tab.run.apply_button.toolTip


# What is kept


@pytest.fixture
def measured(tab, nodes):
    """A measurement, taken from the library itself: it is quicker."""
    report = expected(nodes)
    tab._show(
        {
            "title": "T1 post Gd pre SYNTHETIC against T1 pre",
            "told": ["Intensities: in medians."],
            "rows": evaluation_rows(report),
            "noise": report["noise"],
        }
    )
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
    assert node.GetName() == "Quality of T1 post Gd pre SYNTHETIC against T1 pre"
    table = node.GetTable()
    assert table.GetNumberOfRows() == len(measured["rows"])
    values = [table.GetValueByName(n, "value").ToDouble() for n in range(table.GetNumberOfRows())]
    assert values == [row["value"] for row in measured["rows"]]
    press(tab.table_button)
    assert len(slicer.util.getNodesByClass("vtkMRMLTableNode")) == 1


def test_the_noise_spectrum_goes_into_a_plot_view(host, tab, measured):
    press(tab.noise_button)
    chart = host.app.layoutManager().plotWidget(0).mrmlPlotViewNode().GetPlotChartNode()
    assert chart.GetXAxisTitle() == "Frequency (1/mm)"
    (series,) = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    table = series.GetTableNode().GetTable()
    power = [table.GetValueByName(n, "Error").ToDouble() for n in range(table.GetNumberOfRows())]
    assert power == measured["noise"]["radial"]


def test_the_state_is_restored_with_the_scene(host, tab, nodes, measured):
    pick(tab.normalise_combo, "As they are")
    pick(tab.inputs.selectors["reference"], nodes["post"])
    tab._changed()
    shown = read_table(tab.table)
    host.app.moduleManager().reload("ContrastSynth")
    again = host.open_module().panel.tabs["quality"]
    assert again is not tab
    settle(again)
    assert again.inputs.nodes()["reference"] is nodes["post"]
    assert again.normalise == "none"
    assert read_table(again.table) == shown
    assert again.title_label.text.startswith(measured["title"])
    close_scene()
    assert read_table(again.table) == []
    assert again.inputs.nodes() == {}


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
