"""A table of patients: one that fails stops no other, and what is done is not done again."""

import csv

import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.batch import read_cases
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run


@pytest.fixture
def table(tmp_path):
    """Three patients; the post scan of the second is missing."""
    lines = ["case,pre,post,dose"]
    for index, name in enumerate(("anna", "berta", "çelik")):
        scans = sample_patient(seed=index, size=(24, 28, 20)).scans
        for role in ("pre", "post"):
            if (name, role) != ("berta", "post"):
                write_volume(scans[role], tmp_path / name / f"{role}.nrrd")
        lines.append(f"{name},{name}/pre.nrrd,{name}/post.nrrd,{'0.7' if index == 2 else ''}")
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def batch(table, *extra):
    out = table.with_name("out")
    code = main(["batch", "physics_dose", "--cases", str(table), "--out", str(out), *extra])
    record = out / "batch.csv"
    with record.open(encoding="utf-8", newline="") as stream:
        return code, out, list(csv.DictReader(stream))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_that_fails_stops_no_other(table, capsys, workers):
    code, out, rows = batch(table, "--set", "dose=0.2", "--workers", workers)
    assert code == 2
    assert "1 of 3 cases failed" in capsys.readouterr().err
    status = {row["case"]: row["status"] for row in rows}
    assert status == {"anna": "done", "berta": "failed", "çelik": "done"}
    assert {row["schema_version"] for row in rows} == {"1"}
    message = next(row["message"] for row in rows if row["case"] == "berta")
    assert "no such file" in message
    assert not (out / "berta").exists()
    for case, dose in (("anna", 0.2), ("çelik", 0.7)):
        files = {role: table.parent / case / f"{role}.nrrd" for role in ("pre", "post")}
        alone = run(Request("physics_dose", files, {"dose": dose})).outputs["low"]
        assert read_volume(out / case / "low.nrrd").array.tobytes() == alone.array.tobytes()


def test_resume_does_only_what_is_missing(table):
    batch(table)
    scans = sample_patient(seed=1, size=(24, 28, 20)).scans
    write_volume(scans["post"], table.parent / "berta" / "post.nrrd")
    code, _, rows = batch(table, "--resume")
    assert code == 0
    assert [(row["case"], row["status"]) for row in rows[3:]] == [("berta", "done")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,pre,post,doze\na,x,y,1", "Did you mean 'dose'"),
        ("pre,post\nx,y", "a column 'case'"),
        ("case,pre,post", "at least one row"),
        ("case,pre,post\na,x,y\na,x,y", "stands there twice"),
        ("case,pre,post\n../a,x,y", "names no folder"),
        ("case,pre,post\n,x,y", "names no folder"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, text, message):
    path = tmp_path / "cases.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        read_cases(path, "physics_dose")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(RequestError, match="cannot be read as a table"):
        read_cases(tmp_path / "none.csv", "physics_dose")
