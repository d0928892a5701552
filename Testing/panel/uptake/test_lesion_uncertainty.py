"""The column "Uncertainty" of the table of lesions: of the map that the method gave out."""

from __future__ import annotations

import csv
import re

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, pick, press, pump, read_table
from scans import settled
from uptakes import add_result, done, select, set_threshold, show

from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.analysis.regions import list_regions
from ContrastSynthLib.preprocessing.foreground import foreground

COLUMN, LIMIT = "Uncertainty, means", {"minimum_volume_mm3": 30.0}


@pytest.fixture
def made(panel, tab, nodes, uncertain):
    """The scene with a synthetic pre scan that has a map of uncertainty, and is the result."""
    return add_result(panel, nodes["post"], uncertain)


def headings(tab):
    table = tab.table.table
    count = table.columnCount
    return [table.horizontalHeaderItem(n).text().replace("\n", " ") for n in range(count)]


def column(tab):
    number = headings(tab).index(COLUMN)
    return [row[number] for row in read_table(tab.table.table)]


def tips(tab):
    number = headings(tab).index(COLUMN)
    table = tab.table.table
    return [table.item(row, number).toolTip() for row in range(table.rowCount)]


def expected(patient, uncertain, threshold=0.1):
    """Return the uncertainty of each lesion in the order of the table."""
    pre, post = (patient.scans[role] for role in ("pre", "post"))
    found = enhancement_of(
        pre,
        uncertain.outputs["pre"],
        pre=pre,
        post=post,
        convention="sphere",
        threshold=threshold,
        brain=foreground([uncertain.outputs["pre"], post]).mask,
        uncertainty=uncertain.outputs["uncertainty"],
        **LIMIT,
    )
    order = ("missed", "invented", "found")
    return [one.uncertainty for one in sorted(found.lesions, key=lambda one: order.index(one.kind))]


def as_text(values):
    return ["" if one is None else f"{one:.3f}" for one in values]


def test_each_lesion_has_the_mean_of_the_map(tab, made, patient, uncertain):
    show(tab)
    wanted = expected(patient, uncertain)
    assert column(tab) == as_text(wanted)
    assert len({one for one in wanted if one is not None}) > 3
    assert max(one for one in wanted if one is not None) < 0.4
    number = headings(tab).index(COLUMN)
    tip = tab.table.table.horizontalHeaderItem(number).toolTip()
    assert "in means of the brain" in tip
    set_threshold(tab, "0.2")
    assert column(tab) == as_text(expected(patient, uncertain, 0.2))


def test_a_lesion_where_nothing_was_computed_is_blank_and_says_so(tab, made, nodes, patient):
    for role in ("pre", "post"):  # a lesion below where the map is 0
        array = slicer.util.arrayFromVolume(nodes[role])
        array[4:8, 26:30, 22:26] = 300.0 if role == "pre" else 900.0
        slicer.util.arrayFromVolumeModified(nodes[role])
    show(tab)
    blank = [n for n, text in enumerate(column(tab)) if not text]
    assert 0 < len(blank) < len(column(tab))
    for n, tip in enumerate(tips(tab)):
        assert ("where the method computed nothing" in tip) == (n in blank)


def test_without_a_map_it_is_blank_and_says_so(tab, nodes, synthetic):
    show(tab)
    assert set(column(tab)) == {""}
    assert all("the method that made the synthetic scan gives no map of it" in t for t in tips(tab))


def test_two_scans_have_no_uncertainty(panel, tab, made, nodes):
    """A result is there, but not in the pair whose difference is measured."""
    show(tab)
    assert any(column(tab))
    select(tab, "result", None)
    select(tab, "input", nodes["post"])
    select(tab, "result", None)
    select(tab, "reference", nodes["pre"])
    show(tab)
    assert headings(tab)[0] == "Place, mm"
    assert set(column(tab)) == {""}


def test_the_regions_of_the_methods_own_map_have_it_too(tab, made, uncertain):
    show(tab)
    pick(tab.form.source, "The method's own map")
    done(tab)
    image, error = (uncertain.outputs[role] for role in ("uptake", "uncertainty"))
    where = image.array > 0.5
    found = list_regions(image.array, where, image.grid, uncertainty=error.array, **LIMIT)
    assert column(tab) == as_text(one.uncertainty for one in found.regions)
    assert any(column(tab))


def test_a_click_on_its_header_sorts_by_it(tab, made):
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    show(tab)
    header = tab.table.table.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(headings(tab).index(COLUMN)) + 8, 8)
    QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), place)
    known = [float(text) for text in column(tab) if text]
    assert known == sorted(known, reverse=True)
    assert column(tab)[-1] == ("" if "" in column(tab) else f"{known[-1]:.3f}")


def test_a_changed_or_deleted_map_is_noticed(panel, tab, made):
    show(tab)
    slicer.util.arrayFromVolume(made["uncertainty"])[:] *= 2
    slicer.util.arrayFromVolumeModified(made["uncertainty"])
    said = "Out of date: the map of uncertainty was changed since. Press 'Show uptake'."
    pump(lambda: tab.notice.text == said)
    show(tab)
    assert any(column(tab))
    slicer.mrmlScene.RemoveNode(made["uncertainty"])
    settled(panel)
    pump(lambda: tab.notice.text == said)
    show(tab)
    assert set(column(tab)) == {""}


def test_it_is_saved_with_the_table(host, tab, made, tmp_path):
    show(tab)
    path = tmp_path / "lesions.csv"
    host.record.answers.append(str(path))
    press(tab.table.save_button)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    written = [row["uncertainty, means of the brain"] for row in rows]
    assert as_text(float(text) if text else None for text in written) == column(tab)
    assert any(written)
    assert rows[0]["uncertainty"] == made["uncertainty"].GetName()


def test_a_saved_scene_keeps_it(panel, tab, made, tmp_path):
    show(tab)
    before = column(tab)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    assert slicer.mrmlScene.ReadFromMRB(path)
    settled(panel)
    pump(timeout_s=0.2)
    assert not tab.notice.text.startswith("Out of date")
    assert column(tab) == before
    show(tab)
    assert column(tab) == before


def test_a_scene_of_an_older_version_has_blanks(tab, nodes, synthetic):
    show(tab)
    state = tab.state()
    for row in state["lesions"]:
        del row["uncertainty"]
    tab.restore(state)
    assert set(column(tab)) == {""}
    assert re.fullmatch(r"\d+ in all", tab.table.position.text)
