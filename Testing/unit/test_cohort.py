"""All patients of a batch at a glance: the batch, what is kept, what is damaged."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.cohort import PAGE, TABLE, gather, gathering, write_cohort
from ContrastSynthLib.cohort.budget import PAGE_BYTES
from ContrastSynthLib.cohort.cache import CACHE
from ContrastSynthLib.cohort.outliers import FROM_Z
from ContrastSynthLib.cohort.page import page
from ContrastSynthLib.cohort.row import DAMAGED, DONE, FAILED
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.batch.record import Record

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

SIZE = (32, 38, 26)
CASES = 10
ODD = "p3"
"""The case whose lesions are much larger than those of the others."""
LOST = "p7"
"""The case whose scan is not there."""
WHOLE = Path(__file__).resolve().parents[1] / "cohort_of_many.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A batch of ten patients: one is unlike the others, and the scan of one is missing."""
    folder = tmp_path_factory.mktemp("batch")
    lines = ["case,post"]
    for number in range(CASES):
        name = f"p{number}"
        post = sample_patient(seed=number, size=SIZE).scans["post"]
        if name == ODD:
            array = post.array.copy()
            array[10:16, 12:22, 12:22] *= 2.5
            post = post.with_array(array)
        if name != LOST:
            write_volume(post, folder / "secret" / f"{name}.nrrd")
        lines.append(f"{name},secret/{name}.nrrd")
    table = folder / "cases.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    results = folder / "results"
    words = ["batch", "physics_pre", "--cases", str(table), "--out", str(results), "--seed", "1"]
    assert main(words) == 2  # one failed
    return results, table


@pytest.fixture
def batch(made, tmp_path):
    """The same in a folder of its own, which a test may change."""
    results = tmp_path / "results"
    shutil.copytree(made[0], results)
    return results, made[1]


def rows_of(folder):
    with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def pictures_of(text):
    """The pictures of a page, opened, in their order, by the case below each."""
    from PIL import Image

    found = re.findall(r"src='data:image/jpeg;base64,([^']+)'><figcaption><b>([^<]*)</b>", text)
    return {name: Image.open(io.BytesIO(base64.b64decode(data))) for data, name in found}


def test_the_table_has_a_row_for_each_case(made, tmp_path):
    results, table = made
    write_cohort(results, tmp_path, table)
    rows = rows_of(tmp_path)
    assert list(rows) == [f"p{number}" for number in range(CASES)]
    assert {case for case, row in rows.items() if row["status"] == FAILED} == {LOST}
    assert "the file of 'post'" in rows[LOST]["reason"]
    provenance = json.loads((results / "p0" / "provenance.json").read_text())
    uptake = read_volume(results / "p0" / "uptake.nrrd")
    voxel_ml = np.prod(uptake.grid.spacing_mm) / 1000
    assert float(rows["p0"]["uptake_ml"]) == pytest.approx((uptake.array >= 0.5).sum() * voxel_ml)
    assert float(rows["p0"]["brain_ml"]) == pytest.approx(
        provenance["mask"]["voxels"] * voxel_ml, abs=0.01
    )
    assert float(rows["p0"]["seconds"]) == provenance["seconds"]
    scan = read_volume(table.parent / "secret" / "p0.nrrd").array
    pre = read_volume(results / "p0" / "pre.nrrd").array
    change = 100 * np.abs(pre - scan)[scan > 0].mean() / scan[scan > 0].mean()
    assert float(rows["p0"]["change_percent"]) == pytest.approx(change, abs=0.001)


def test_the_odd_case_comes_first_and_says_why(made, tmp_path):
    results, table = made
    cohort = write_cohort(results, tmp_path, table)
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert next(iter(pictures_of(text))) == ODD
    odd = rows_of(tmp_path)[ODD]
    assert float(odd["outlier"]) >= FROM_Z
    assert odd["outlier_because"].startswith(("uptake", "change"))
    assert odd["outlier_because"] in text
    assert len(cohort.pictures) == CASES - 1


def test_scans_stand_beside_results_where_the_table_tells_them(made, tmp_path):
    results, table = made
    alone = write_cohort(results, tmp_path)
    assert {row.change_percent for row in alone.rows} == {None}
    widths = {name: seen.width for name, seen in pictures_of(page(alone)).items()}
    beside = write_cohort(results, tmp_path, table)
    assert beside.reused == 0
    for name, seen in pictures_of(page(beside)).items():
        assert seen.width > 2 * widths[name]


def test_a_scan_that_is_another_one_by_now_is_not_shown(made, tmp_path):
    results, table = made
    other = tmp_path / "cases.csv"
    names = {f"p{number}": f"p{(number + 1) % CASES}" for number in range(CASES)}
    lines = [f"{case},{table.parent}/secret/{scan}.nrrd" for case, scan in names.items()]
    other.write_text("\n".join(["case,post", *lines]), encoding="utf-8")
    cohort = gather(results, tmp_path, other)
    assert {row.change_percent for row in cohort.rows} == {None}


def test_the_page_is_one_file_without_paths_and_says_what_it_is(made, tmp_path):
    results, table = made
    write_cohort(results, tmp_path, table)
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "Research use only" in text
    assert "SYNTHETIC" in text
    assert not re.search(r"(?:src|href)=(?!'data:image/)|url\(|@import|https?:", text)
    for hidden in (str(results), str(table.parent), "secret", str(tmp_path)):
        assert hidden not in text
        assert hidden not in (tmp_path / TABLE).read_text(encoding="utf-8")


def test_a_second_call_reads_only_what_is_new(batch, tmp_path, monkeypatch):
    results, table = batch
    out = tmp_path / "cohort"
    first = write_cohort(results, out, table)
    assert first.reused == 0
    provenance = results / "p2" / "provenance.json"
    told = json.loads(provenance.read_text())
    provenance.write_text(json.dumps(told | {"warnings": ["Look."]}))
    read = []
    real = gathering.read_case
    monkeypatch.setattr(
        gathering, "read_case", lambda row, *more: read.append(row.case) or real(row, *more)
    )
    again = write_cohort(results, out, table)
    assert read == ["p2"]
    assert again.reused == CASES - 2
    assert again.pictures == first.pictures
    assert [row.warnings for row in again.rows if row.case == "p2"] == [1]


def test_what_was_read_outlives_a_kill_in_the_middle(batch, tmp_path):
    """The last line of what was kept is cut off, as it is where the process was killed."""
    results, table = batch
    out = tmp_path / "cohort"
    first = write_cohort(results, out, table)
    kept = (out / CACHE).read_text(encoding="utf-8").splitlines(keepends=True)
    (out / CACHE).write_text("".join(kept[:4]) + kept[4][:100], encoding="utf-8")
    again = write_cohort(results, out, table)
    assert again.reused == 4
    assert again.rows == first.rows
    assert len((out / CACHE).read_text(encoding="utf-8").splitlines()) == CASES - 1


def test_what_is_kept_is_not_believed_blindly(batch, tmp_path):
    results, table = batch
    out = tmp_path / "cohort"
    write_cohort(results, out, table)
    lines = [json.loads(line) for line in (out / CACHE).read_text(encoding="utf-8").splitlines()]
    lines[0]["picture"] = "'><script>alert(1)</script>"
    lines[1]["row"]["uptake_ml"] = "<b>"
    lines[2]["picture"] = base64.b64encode(b"GIF89a").decode()
    (out / CACHE).write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    assert write_cohort(results, out, table).reused == CASES - 1 - 3
    assert "alert" not in (out / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize("harm", ["changed", "unmarked", "gone", "no provenance", "nonsense"])
def test_a_damaged_result_is_told_and_stops_nothing(batch, tmp_path, harm):
    results, table = batch
    folder = results / "p1"
    volume = read_volume(folder / "pre.nrrd")
    if harm == "changed":
        changed = volume.with_array(volume.array + 1, synthetic=volume.synthetic)
        write_volume(changed, folder / "pre.nrrd")
    elif harm == "unmarked":
        write_volume(replace(volume, synthetic=None), folder / "pre.nrrd")
    elif harm == "gone":
        (folder / "pre.nrrd").unlink()
    elif harm == "no provenance":
        (folder / "provenance.json").unlink()
    else:
        (folder / "provenance.json").write_text("[1, 2", encoding="utf-8")
    cohort = write_cohort(results, tmp_path / "cohort", table)
    damaged = [row for row in cohort.rows if row.status == DAMAGED]
    assert [row.case for row in damaged] == ["p1"]
    assert "p1" not in cohort.pictures
    assert damaged[0].reason
    assert str(tmp_path) not in damaged[0].reason
    assert sum(row.status == DONE for row in cohort.rows) == CASES - 2


def test_no_uptake_at_all_is_no_damage(batch, tmp_path):
    results, _ = batch
    folder = results / "p1"
    uptake = read_volume(folder / "uptake.nrrd")
    nothing = uptake.with_array(np.zeros_like(uptake.array), synthetic=uptake.synthetic)
    write_volume(nothing, folder / "uptake.nrrd")
    told = json.loads((folder / "provenance.json").read_text())
    told["outputs"]["uptake"]["sha256"] = nothing.sha256()
    (folder / "provenance.json").write_text(json.dumps(told))
    (tmp_path / "cohort").mkdir()
    rows = {row.case: row for row in gather(results, tmp_path / "cohort").rows}
    assert (rows["p1"].status, rows["p1"].uptake_ml) == (DONE, 0.0)


def test_a_batch_that_still_runs_tells_what_is_to_come(batch, tmp_path):
    results, table = batch
    lines = (results / "batch.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (results / "batch.csv").write_text("".join(lines[:5]), encoding="utf-8", newline="")
    cohort = write_cohort(results, tmp_path / "cohort", table)
    assert (len(cohort.rows), cohort.not_run) == (4, CASES - 4)
    assert "not run yet" in (tmp_path / "cohort" / PAGE).read_text(encoding="utf-8")


def test_the_command_prints_json(made, tmp_path, capsys):
    results, table = made
    words = ["cohort", str(results), "--out", str(tmp_path), "--cases", str(table), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cases"], told["done"], told["failed"]) == (CASES, CASES - 1, 1)
    assert told["outliers"][0]["case"] == ODD
    assert [group["cases"] for group in told["reasons"]] == [[LOST]]
    assert all((tmp_path / name).is_file() for name in told["files"])


def test_it_asks_for_the_folder_of_a_batch(tmp_path, capsys):
    assert main(["cohort", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "batch.csv" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("cohort.*"))


@pytest.mark.parametrize("name", [TABLE, PAGE])
def test_files_of_others_are_not_replaced(made, tmp_path, name):
    (tmp_path / name).write_text("my own notes", encoding="utf-8")
    with pytest.raises(RequestError, match="no such output"):
        write_cohort(made[0], tmp_path)
    assert (tmp_path / name).read_text(encoding="utf-8") == "my own notes"


def test_the_table_of_cases_is_not_replaced(made, tmp_path):
    words = f"schema_version,case,status,post\n1,p0,x,{made[1].parent}/secret/p0.nrrd\n"
    (tmp_path / TABLE).write_text(words, encoding="utf-8")
    with pytest.raises(RequestError, match="Choose another --out"):
        write_cohort(made[0], tmp_path, tmp_path / TABLE)


def test_names_that_lead_elsewhere_are_not_followed(batch, tmp_path):
    results, _ = batch
    record = Record(results, [])
    record.note({"case": "../results/p0", "method": "physics_pre", "status": DONE})
    (tmp_path / "cohort").mkdir()
    (bad,) = (row for row in gather(results, tmp_path / "cohort").rows if "/" in row.case)
    assert bad.status == DAMAGED


@pytest.mark.slow
def test_a_batch_of_many_is_killed_resumed_and_shown(tmp_path):
    """Fewer than the 500 that the script takes by default."""
    pytest.importorskip("distributed", reason="dask is not installed")
    if not sys.platform.startswith("linux"):
        pytest.skip("the script reads /proc")
    cases, workers = 120, 2
    words = [sys.executable, str(WHOLE), str(tmp_path), f"--cases={cases}", f"--workers={workers}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    for process in ("batch", "workers"):
        assert told["whole"]["late_mb"][process] < 1.1 * told["whole"]["early_mb"][process]
    killed = told["killed"]
    assert killed["there_at_the_end"] == cases
    assert killed["computed_afterwards"] <= cases - killed["there_when_killed"] + workers
    assert killed["computed_twice"] <= workers
    assert told["page"]["bytes"] < PAGE_BYTES
    assert told["page"]["reused"] == told["page"]["done"] == cases
