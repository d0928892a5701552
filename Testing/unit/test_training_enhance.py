"""From scans without an agent to the full dose: measures, rows and cases."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def task():
    return importlib.import_module("evaluation.enhance")


@pytest.fixture
def case():
    """Tissue of 100, two blocks of which rise by 60; the post scan has half the gain."""
    rng = np.random.default_rng(0)
    pre = 100 + rng.normal(0, 1, (8, 48, 48))
    post = pre.copy()
    for block in (slice(8, 16), slice(30, 38)):
        post[2:6, block, block] += 60
    grid = Grid((48, 48, 8))
    scans = {"pre": Volume(pre.astype("f4"), grid), "post": Volume((post / 2).astype("f4"), grid)}
    scans["t2"] = scans["pre"]
    cases = importlib.import_module("evaluation.cases")
    return cases.Scans(scans, Volume(np.ones(pre.shape, np.float32), grid))


def test_t1_misses_every_lesion_and_the_truth_none(task, case):
    t1 = task.measure(case, {"post": case["pre"]}, case.brain)
    assert (t1["lesions_found"], t1["lesions_missed"], t1["lesions_invented"]) == (0, 2, 0)
    assert t1["auc"] == pytest.approx(0.5)
    truth = case["post"].with_array(2 * case["post"].array)
    found = task.measure(case, {"post": truth}, case.brain)
    assert (found["lesions_found"], found["lesions_missed"], found["lesions_invented"]) == (2, 0, 0)
    assert found["auc"] == pytest.approx(1)
    assert found["psnr_rising_db"] > t1["psnr_rising_db"] + 15


def test_a_region_that_rises_in_the_result_alone_is_invented(task, case):
    wrong = 2 * case["post"].array
    wrong[2:6, 8:16, 30:38] += 60
    found = task.measure(case, {"post": case["post"].with_array(wrong)}, case.brain)
    assert found["lesions_invented"] == 1


def test_without_enhancement_what_it_would_be_measured_in_is_undefined(task, case):
    quiet = case.with_scan("post", case["pre"])
    found = task.measure(quiet, {"post": quiet["pre"]}, quiet.brain)
    assert found["auc"] is None
    assert found["psnr_rising_db"] is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("cases")
    (here / "one").mkdir()
    scans = sample_patient(4, size=(64, 76, 52)).scans
    for role, source in (("pre", "pre"), ("post", "post"), ("t2", "pre")):
        write_volume(scans[source], here / "one" / f"{role}.nrrd")
    listed = {"one": {role: f"{role}.nrrd" for role in ("pre", "post", "t2")}}
    (here / "cases.json").write_text(json.dumps(listed), encoding="utf-8")
    return here


def test_other_scans_are_read_where_they_are_asked_for_and_all_are_cut(task, folder):
    cases = importlib.import_module("evaluation.cases")
    (plain,) = cases.items_in_folder(folder, "test")
    assert set(plain.read().scans) == {"pre", "post"}
    (item,) = task.about_most_uptake(cases.items_in_folder(folder, "test", ("t2", "adc")), 6)
    cut, whole = item.read(), plain.read()
    assert set(cut.scans) == {"pre", "post", "t2"}
    assert {scan.array.shape[0] for scan in cut.scans.values()} == {6}
    first = round(
        float(np.linalg.inv(whole["pre"].grid.index_to_lps)[2] @ cut["pre"].grid.index_to_lps[:, 3])
    )
    np.testing.assert_array_equal(cut["post"].array, whole["post"].array[first : first + 6])


def test_a_row_may_leave_scans_out(task, case, monkeypatch):
    pytest.importorskip("torch")
    rows = importlib.import_module("evaluation.rows")
    seen = {}

    def run(request):
        seen.update(request.inputs)
        return type("Result", (), {"outputs": {}})

    monkeypatch.setattr(rows, "run", run)
    row = rows.Row.parse("a=hrfcn,without=t2+adc", task.ENHANCE)
    assert row.left_out == ["t2", "adc"]
    rows.synthesise(row, task.ENHANCE, case, case)
    assert set(seen) == {"pre", "mask"}
    for wrong in ("a=hrfcn,without=post", "a=hrfcn,without=t3"):
        with pytest.raises(RequestError, match="scan to leave out"):
            rows.Row.parse(wrong, task.ENHANCE)


def test_the_table_is_printed_for_a_folder_and_for_virtual_patients(folder, capsys):
    script = importlib.import_module("evaluate")
    words = ["--table", "enhance", "--slab", "4", "--row", "T1=t1"]
    assert script.main(["--cases", str(folder), *words]) == 0
    assert "AUC" in capsys.readouterr().out
    assert script.main(["--virtual", "same", "--patients", "1", "--spacing", "3", *words]) == 0
    assert "virtual same" in capsys.readouterr().out
