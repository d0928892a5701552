"""The table of the tab "Uptake": regions, or missed and invented lesions, read one by one."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import key, pick, press, pump, read_table, type_text
from scans import add_volume, settled
from uptakes import (
    array,
    centres,
    compared,
    composites,
    done,
    found_in,
    inside,
    select,
    set_threshold,
    show,
)

from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.phantom.sample import sample_patient


def texts(tab, column=0):
    return [row[column] for row in read_table(tab.table.table)]


def click(tab, row):
    """Click a cell of a row with the mouse."""
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    table = tab.table.table
    place = table.visualItemRect(table.item(row, 0)).center
    place = place() if callable(place) else place
    QTest.mouseClick(
        table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), QPoint(place)
    )


def sort_by(tab, heading):
    """Click the header of a column."""
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    header = tab.table.table.horizontalHeader()
    column = list(tab.table.keys.values()).index(heading)
    place = QPoint(header.sectionViewportPosition(column) + 8, header.height // 2)
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0)
    QTest.mouseClick(header.viewport(), button, none, place)


def looked_at(tab):
    """Return the number of the row at whose place all slice views look."""
    places = [[row[axis] for axis in ("r_mm", "a_mm", "s_mm")] for row in tab.table.rows]
    found = [n for n, one in enumerate(places) if all(one == pytest.approx(c) for c in centres())]
    return found[0] if found else None


# Without a reference


def test_regions_of_uptake_are_listed_and_are_its_volume(tab, nodes, patient):
    text = show(tab)
    _uptake, regions = found_in(patient.scans["pre"], patient.scans["post"])
    assert tab.lesions_section.text == "Regions of uptake"
    rows = read_table(tab.table.table)
    assert len(rows) == len(regions.regions) > 3
    first = regions.regions[0]
    assert rows[0][1:] == [f"{first.volume_ml:.2f}", f"{first.mean:.2f}", ""]
    right, anterior, superior = first.inside_ras_mm
    assert rows[0][0] == (
        f"{'R' if right >= 0 else 'L'} {abs(right):.0f}, "
        f"{'A' if anterior >= 0 else 'P'} {abs(anterior):.0f}, "
        f"{'S' if superior >= 0 else 'I'} {abs(superior):.0f}"
    )
    total = sum(row["volume_ml"] for row in tab.table.rows)
    assert text.startswith(f"{total:.2f} ml in {len(rows)} regions")
    shown = inside(tab.made["mask"], nodes["post"]).sum()
    voxel_ml = patient.scans["pre"].grid.voxel_volume_ml
    assert total == pytest.approx(shown * voxel_ml)


# With one


def test_uptake_and_lesions_have_one_threshold_and_their_totals_agree(tab, nodes, synthetic):
    truth = found_volume(nodes)
    text = show(tab)
    rows = tab.table.rows
    real = sum(row["volume_ml"] for row in rows if row["kind"] in ("found", "missed"))
    assert real == pytest.approx(truth)
    assert f"In the true scans: {real:.2f} ml, of which found" in text
    for value, smallest in (("0.2", "0.1"), ("0.3", "0")):
        type_text(tab.form.smallest, smallest)
        text = set_threshold(tab, value)
        real = sum(r["volume_ml"] for r in tab.table.rows if r["kind"] in ("found", "missed"))
        truth = found_volume(nodes, float(smallest), threshold=float(value))
        assert f"In the true scans: {truth:.2f} ml" in text
        assert real == pytest.approx(truth)


def found_volume(nodes, smallest_ml=0.03, **options):
    from ContrastSynthPanel.scene import bridge

    scans = {role: bridge.volume_from_node(node) for role, node in nodes.items()}
    return found_in(scans["pre"], scans["post"], smallest_ml, **options)[1].volume_ml


@pytest.mark.parametrize("level", ["mean", "p95", "p99.9"])
def test_map_and_table_are_what_the_library_finds(tab, nodes, synthetic, patient, result, level):
    from ContrastSynthPanel.scene.uptake_words import UNITS

    pick(tab.form.level, UNITS[level])
    text = show(tab)
    expected = compared(patient, result.outputs["pre"], level)
    node = tab.made["enhancement"]
    np.testing.assert_array_equal(array(node), expected.map)
    assert array(node).dtype == np.uint8
    rows = tab.table.rows
    assert tab.table.table.rowCount == len(expected.lesions) == len(rows)
    order = ("missed", "invented", "found")
    kinds = [row["kind"] for row in rows]
    assert kinds == sorted(kinds, key=order.index)
    missed = [row for row in rows if row["kind"] == "missed"]
    assert f"missed {len(missed)} ({expected.missed_ml:.2f} ml)" in text
    assert read_table(tab.table.table)[0][:2] == [kinds[0], f"{rows[0]['volume_ml']:.2f}"]
    tables = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert [table.GetNumberOfRows() for table in tables] == [len(rows)]
    assert tables[0].GetName().startswith("SYNTHETIC lesions: ")


def test_the_command_measures_as_before(patient, result):
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    made = result.outputs["pre"]
    by_default = enhancement_of(pre, made, pre=pre, post=post)
    by_peaks = enhancement_of(pre, made, pre=pre, post=post, convention="real_scans")
    assert by_default.threshold != by_peaks.threshold  # in medians; in peaks of pre


def test_the_threshold_changes_the_map_in_place(tab, nodes, synthetic, patient, result):
    show(tab)
    node = tab.made["enhancement"]
    set_threshold(tab, "0.3")
    expected = compared(patient, result.outputs["pre"], threshold=0.3)
    assert tab.made["enhancement"] is node
    np.testing.assert_array_equal(array(node), expected.map)
    assert tab.table.table.rowCount == len(expected.lesions)


def test_no_lesion_at_all_is_no_table(tab, nodes, synthetic):
    for node in (nodes["post"], synthetic):
        array(node)[:] = array(nodes["pre"])
        slicer.util.arrayFromVolumeModified(node)
    text = show(tab)
    assert not tab.lesions_section.isVisible()
    assert "In the true scans: 0.00 ml, of which found 0 (0.00 ml)" in text
    assert not array(tab.made["enhancement"]).any()


def test_a_synthetic_post_scan_is_judged_too(panel, tab, nodes, patient):
    from ContrastSynthPanel.scene import bridge, relations

    made = patient.scans["low"].with_array(patient.scans["low"].array, "a test")
    node = add_volume("made", made)
    node.SetAttribute(bridge.SYNTHETIC, "a test")
    node.SetAttribute(relations.ROLE, "post")
    settled(panel)
    for role, one in (("input", nodes["pre"]), ("result", node), ("reference", nodes["post"])):
        select(tab, role, one)
    show(tab)
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    how = {"convention": "sphere", "brain": pre.array > 0}
    expected = enhancement_of(post, made, pre=pre, post=post, **how)
    np.testing.assert_array_equal(array(tab.made["enhancement"]), expected.map)


def test_a_reference_that_nothing_imitates_is_said_to_be_of_no_use(panel, tab, nodes, patient):
    other = add_volume("other", sample_patient(seed=1, size=(48, 56, 40)).scans["pre"])
    result = add_volume("made", patient.scans["pre"])
    settled(panel)
    for role, one in (("input", nodes["post"]), ("result", result), ("reference", other)):
        select(tab, role, one)
    pick(tab.form.input_is, "The pre-contrast scan")
    text = show(tab)
    assert "Neither 'made' nor 'T1 post Gd' is marked as synthetic" in text
    assert "put SYNTHETIC into its name" in text
    assert set(tab.made) == {"overlay", "mask"}
    result.SetName("made SYNTHETIC")
    assert "marked as synthetic" not in show(tab)
    assert "enhancement" in tab.made


# Reading


def test_a_click_on_a_row_shows_the_lesion_in_all_views(tab, nodes, synthetic):
    show(tab)
    click(tab, 3)
    assert looked_at(tab) == 3
    assert tab.table.position.text == f"4 of {len(tab.table.rows)}"
    node = tab.made["enhancement"]
    assert {one.GetLabelVolumeID() for one in composites()} == {node.GetID()}
    assert {one.GetForegroundOpacity() for one in composites()} == {0.0}
    assert not tab.made["mask"].GetDisplayNode().GetVisibility()
    pick(tab.display.shown, "Uptake")
    assert {one.GetLabelVolumeID() for one in composites()} == {None}
    assert {one.GetForegroundOpacity() for one in composites()} == {0.5}


def test_a_second_click_on_a_lesion_goes_back_to_it(tab, nodes, synthetic):
    show(tab)
    click(tab, 2)
    slicer.util.getNodesByClass("vtkMRMLSliceNode")[0].JumpSliceByCentering(0, 0, 0)
    assert looked_at(tab) is None
    click(tab, 2)
    assert looked_at(tab) == 2


def test_arrow_keys_in_the_table_move_the_views(tab, nodes, synthetic):
    import qt

    show(tab)
    click(tab, 0)
    for code, row in ((qt.Qt.Key_Down, 1), (qt.Qt.Key_Down, 2), (qt.Qt.Key_Up, 1)):
        key(tab.table.table, code)
        assert looked_at(tab) == row


def test_next_and_previous_by_key_and_button(tab, nodes, synthetic):
    import qt

    show(tab)
    press(tab.table.next_button)
    assert looked_at(tab) == 0
    tab.widget.window().activateWindow()
    for code, row in ((qt.Qt.Key_N, 1), (qt.Qt.Key_N, 2), (qt.Qt.Key_P, 1)):
        key(tab.widget, code)
        pump(timeout_s=0.15)  # a key presses the button, as a finger does
        assert looked_at(tab) == row
    press(tab.table.previous_button)
    press(tab.table.previous_button)
    assert looked_at(tab) == 0
    for _ in tab.table.rows:
        press(tab.table.next_button)
    assert looked_at(tab) == len(tab.table.rows) - 1


def test_a_click_on_a_header_sorts_numbers_as_numbers(tab, nodes, synthetic):
    show(tab)
    click(tab, 3)
    lesion = tab.table.current
    sort_by(tab, "Volume,\nml")
    volumes = [row["volume_ml"] for row in tab.table.rows]
    assert volumes == sorted(volumes, reverse=True)
    assert [float(text) for text in texts(tab, 1)] == pytest.approx(volumes, abs=0.005)
    assert tab.table.current is lesion  # which stays marked
    sort_by(tab, "Volume,\nml")
    assert [row["volume_ml"] for row in tab.table.rows] == volumes[::-1]
    assert tab.table.current is lesion
    sort_by(tab, "Kind")
    assert texts(tab)[0] == "missed"
    assert texts(tab)[-1] == "found"


def test_a_lesion_stays_marked_at_another_threshold(tab, nodes, synthetic):
    show(tab)
    sort_by(tab, "Volume,\nml")
    click(tab, 0)
    before = tab.table.current
    set_threshold(tab, "0.105")
    assert tab.table.current is not before
    assert tab.table.table.currentRow() == 0
    assert tab.table.current["volume_ml"] == pytest.approx(before["volume_ml"], rel=0.2)
    volumes = [row["volume_ml"] for row in tab.table.rows]
    assert volumes == sorted(volumes, reverse=True)


def test_a_click_on_a_hollow_lesion_shows_a_place_inside_it(tab, nodes, synthetic):
    from ContrastSynthPanel.scene import bridge

    k, j, i = np.indices(array(nodes["pre"]).shape)
    radius = np.sqrt((k - 20) ** 2 + (j - 28) ** 2 + (i - 24) ** 2)
    shell = (radius >= 6) & (radius < 8)
    for name in ("pre", "post"):
        array(nodes[name])[radius < 11] = 300.0
    array(synthetic)[radius < 11] = 300.0
    array(nodes["post"])[shell] = array(synthetic)[shell] = 900.0  # hidden in the synthetic pre
    for node in (*nodes.values(), synthetic):
        slicer.util.arrayFromVolumeModified(node)
    type_text(tab.form.threshold, "0.5")
    show(tab)
    assert texts(tab)[0] == "missed"
    click(tab, 0)  # the largest of them
    grid = bridge.world_grid(tab.made["enhancement"], mask=True)
    for centre in centres():
        place = np.rint(grid.index_from_ras(centre)).astype(int)
        assert shell[tuple(place)]


def test_lesions_are_drawn_as_outlines_or_filled(tab, nodes, synthetic):
    show(tab)
    click(tab, 0)
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    assert all(view.GetUseLabelOutline() for view in views)
    pick(tab.display.regions, "Filled")
    assert not any(view.GetUseLabelOutline() for view in views)
    assert {one.GetLabelOpacity() for one in composites()} == {0.5}


def test_the_map_names_its_colours(tab, nodes, synthetic):
    show(tab)
    colours = tab.made["enhancement"].GetDisplayNode().GetColorNode()
    names = [colours.GetColorName(value) for value in range(colours.GetNumberOfColors())]
    assert names[1:4] == ["found", "missed", "invented"]


def test_thousands_of_regions_are_listed_in_part(tab, nodes, monkeypatch):
    from ContrastSynthPanel.widgets import lesion_table

    monkeypatch.setattr(lesion_table, "MOST_ROWS", 5)
    show(tab)
    count = len(tab.table.rows)
    assert count > 5
    assert tab.table.table.rowCount == 5
    assert tab.table.position.text == f"{count} in all, 5 listed"


# A file


def test_the_table_is_saved_with_units(host, tab, nodes, synthetic, tmp_path):
    show(tab)
    sort_by(tab, "Volume,\nml")
    path = tmp_path / "lesions of a day.csv"
    host.record.answers.append(str(path))
    press(tab.table.save_button)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(tab.table.rows)
    assert list(rows[0])[:8] == [
        "kind",
        "volume, ml",
        "overlap, share",
        "mean error, means in the brain",
        "uncertainty, means of the brain",
        "R, mm",
        "A, mm",
        "S, mm",
    ]
    first = tab.table.rows[0]
    assert float(rows[0]["volume, ml"]) == pytest.approx(first["volume_ml"], rel=1e-4)
    assert rows[0]["post"] == "T1 post Gd"
    assert rows[0]["pre"].startswith("SYNTHETIC pre")
    assert rows[0]["threshold, means in the brain"] == "0.1"
    assert rows[0]["smallest volume, ml"] == "0.03"


def test_a_file_that_cannot_be_written_says_why(host, tab, nodes, tmp_path):
    show(tab)
    folder = tmp_path / "there is a folder.csv"
    folder.mkdir()
    host.record.answers.append(str(folder))
    press(tab.table.save_button)
    done(tab)
    pump(timeout_s=0.3)  # some looks later it is still said
    assert "cannot be written (Is a directory). Choose another folder." in tab.saved.text
    assert tab.saved.widget.isVisible()
    assert " ml in " in tab.notice.text
