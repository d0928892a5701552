"""A folder of pairs made ready for training: factors, splits, leaks, and runs that go on."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.preprocessing import alignment
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import Volume

SIZE = (40, 48, 32)
PATIENTS = {seed: sample_patient(seed, SIZE) for seed in range(3)}


@pytest.fixture(scope="module")
def script(training_path):
    return importlib.import_module("data.preparation")


@pytest.fixture(scope="module")
def command(training_path):
    return importlib.import_module("prepare_data")


@pytest.fixture(scope="module")
def stored(training_path):
    return importlib.import_module("data.prepared_cases")


def store(folder: Path, name: str, volume: Volume) -> str:
    write_volume(volume, folder / f"{name}.nrrd")
    return f"{name}.nrrd"


def table(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "cases.csv"
    columns = ["case", "patient", "pre", "post", "mask", "corrupted"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def rows(tmp_path):
    """Two cases of different patients, on the disk."""
    return [
        {
            "case": f"case{seed}",
            "patient": f"Doe^{seed}",
            "pre": store(tmp_path, f"pre{seed}", PATIENTS[seed].scans["pre"]),
            "post": store(tmp_path, f"post{seed}", PATIENTS[seed].scans["post"]),
        }
        for seed in (0, 1)
    ]


def prepare(script, tmp_path, rows, mode="none", **division):
    chosen = script.Division(**division)
    return script.prepare(table(tmp_path, rows), tmp_path / "out", mode, chosen)


def test_what_is_stored_is_the_scan_by_its_mean_and_the_gain(script, tmp_path, rows):
    rows[0]["corrupted"] = store(tmp_path, "bad", PATIENTS[0].scans["low"])
    listed = prepare(script, tmp_path, rows)
    record = listed["case0"]["normalisation"]
    pre, post, low = (PATIENTS[0].scans[role].array for role in ("pre", "post", "low"))
    out = tmp_path / "out" / "case0"
    stored = {
        role: read_volume(out / f"{role}.nrrd").array for role in ("pre", "post", "corrupted")
    }
    brain = read_volume(out / "mask.nrrd").array > 0
    np.testing.assert_array_equal(brain, (pre > 0) & (post > 0))
    np.testing.assert_allclose(stored["pre"], pre / pre[brain].mean(), rtol=1e-5)
    np.testing.assert_allclose(stored["corrupted"], low / low[brain].mean(), rtol=1e-5)
    assert record["pre"] == {"mean": pytest.approx(pre[brain].mean(), rel=1e-6), "gain": 1.0}
    assert record["post"]["mean"] == pytest.approx(post[brain].mean(), rel=1e-6)
    both = record["post"]["mean"] * record["post"]["gain"]
    np.testing.assert_allclose(stored["post"], post / both, rtol=1e-5)
    # What is left of the gain between the two scans, which the phantom made 1.1.
    assert radiometric_gain(stored["pre"], stored["post"], brain) == pytest.approx(1, abs=1e-3)
    assert both / record["pre"]["mean"] == pytest.approx(1.1, abs=0.05)
    # Tissue without agent would be darker after the agent than before, were it not for the gain.
    assert record["post"]["gain"] < 0.99


def test_a_given_mask_is_the_brain(script, tmp_path, rows):
    scan = PATIENTS[0].scans["pre"]
    half = np.zeros(scan.array.shape)
    half[:, :, :20] = PATIENTS[0].brain[:, :, :20]
    rows[0]["mask"] = store(tmp_path, "mask", scan.with_array(half))
    record = prepare(script, tmp_path, rows)["case0"]
    assert record["mask"] == {"source": "given", "voxels": int(half.sum())}
    assert record["normalisation"]["pre"]["mean"] == pytest.approx(scan.array[half > 0].mean())


def test_a_moved_post_scan_returns_to_the_grid_of_pre(script, stored, tmp_path, rows, monkeypatch):
    # Registration has tests of its own: here it is to be quick.
    monkeypatch.setattr(alignment, "STEPS", 40)
    monkeypatch.setattr(alignment, "SAMPLES", 6000)
    pre, post = (PATIENTS[0].scans[role] for role in ("pre", "post"))
    matrix = post.grid.index_to_lps
    matrix[:3, 3] += (6.0, -5.0, 0.0)
    moved = Volume(post.array, Grid.from_index_to_lps(SIZE, matrix))
    rows[0]["post"] = store(tmp_path, "moved", moved)
    with pytest.raises(RequestError, match=r"row 1 \(case 'case0'\).*different grids"):
        prepare(script, tmp_path, rows[:1], mode="none")
    record = prepare(script, tmp_path, rows[:1], mode="rigid")["case0"]
    assert record["alignment"]["pre"] == {"mode": "reference"}
    assert record["alignment"]["post"]["translation_mm"] == pytest.approx([6, -5, 0], abs=1.5)
    (case,) = [case for s in stored.SPLITS for case in stored.read_cases(tmp_path / "out", s)]
    assert case.post.grid.is_same(pre.grid)
    brain = case.mask.array > 0
    expected = post.array / post.array[brain].mean()
    error = np.abs(case.post.array - expected)[brain].mean()
    assert error < 0.5 * np.abs(expected - np.roll(expected, 1, axis=2))[brain].mean()


def test_the_list_names_no_patient_and_no_path(script, tmp_path, rows):
    prepare(script, tmp_path, rows)
    text = (tmp_path / "out" / "cases.json").read_text()
    assert "Doe" not in text
    assert str(tmp_path) not in text
    listed = json.loads(text)
    assert listed["schema_version"] == 2
    assert [record["patient"] for record in listed["cases"].values()] == [1, 2]
    assert set(listed["cases"]["case0"]["sha256"]["inputs"]) == {"pre", "post"}
    files = {path.name for path in (tmp_path / "out" / "case0").iterdir()}
    assert files == {"pre.nrrd", "post.nrrd", "mask.nrrd", "target.nrrd"}
    assert set(listed["cases"]["case0"]["sha256"]["outputs"]) == {"pre", "post", "mask", "target"}


def test_the_split_is_the_patients_and_others_do_not_move_it(script):
    names = [f"patient {n}" for n in range(4000)]
    division = script.Division(seed=3, validation=0.2, test=0.1)
    splits = [division.split_of(name) for name in names]
    assert splits.count("test") / 4000 == pytest.approx(0.1, abs=0.02)
    assert splits.count("validation") / 4000 == pytest.approx(0.2, abs=0.02)
    other = script.Division(seed=4, validation=0.2, test=0.1)
    assert [other.split_of(name) for name in names] != splits
    # A larger share for the test takes from the others and gives nobody back.
    larger = script.Division(seed=3, validation=0.2, test=0.3)
    assert all(
        larger.split_of(n) == "test" for n, s in zip(names, splits, strict=True) if s == "test"
    )
    for shares in ({"test": -0.1}, {"test": 0.6, "validation": 0.4}):
        with pytest.raises(RequestError, match="below 1 together"):
            script.Division(**shares)


def test_all_cases_of_a_patient_are_in_one_split(script, stored, tmp_path, rows):
    rows[1]["patient"] = rows[0]["patient"]
    listed = prepare(script, tmp_path, rows, test=0.5, validation=0.3)
    assert listed["case0"]["patient"] == listed["case1"]["patient"]
    split = listed["case0"]["split"]
    cases = stored.read_cases(tmp_path / "out", split)
    assert [(case.name, case.patient, case.split) for case in cases] == [
        ("case0", 1, split),
        ("case1", 1, split),
    ]
    assert cases[0].corrupted is None
    for other in set(stored.SPLITS) - {split}:
        assert stored.read_cases(tmp_path / "out", other) == []


def test_a_list_with_a_patient_in_two_splits_is_refused(script, stored, tmp_path, rows):
    prepare(script, tmp_path, rows)
    path = tmp_path / "out" / "cases.json"
    listed = json.loads(path.read_text())
    listed["cases"]["case0"] |= {"patient": 7, "split": "train"}
    listed["cases"]["case1"] |= {"patient": 7, "split": "test"}
    path.write_text(json.dumps(listed))
    with pytest.raises(RequestError, match=r"'case0' \(train\) and 'case1' \(test\)"):
        stored.read_cases(tmp_path / "out", "train")


def test_the_same_voxels_under_two_patients_are_a_leak(script, tmp_path, rows):
    # Another header, and another pre scan: the post scan alone gives it away.
    post = PATIENTS[0].scans["post"]
    shifted = Grid(post.grid.size, post.grid.spacing_mm)
    rows[1]["post"] = store(tmp_path, "copy", Volume(post.array, shifted))
    rows[1]["pre"] = store(tmp_path, "other", Volume(PATIENTS[1].scans["pre"].array, shifted))
    with pytest.raises(RequestError, match=r"'case0' and 'case1' hold the same voxels.*Doe\^1"):
        prepare(script, tmp_path, rows)
    assert not (tmp_path / "out" / "case1").exists()
    # One patient may have a scan twice: it is in one split.
    rows[1]["patient"] = rows[0]["patient"]
    assert len(prepare(script, tmp_path, rows)) == 2


def test_a_scan_stored_anew_under_another_patient_is_a_leak(script, tmp_path, rows):
    rng = np.random.default_rng(0)
    for role in ("pre", "post"):
        scan = PATIENTS[0].scans[role]
        noisy = np.where(scan.array > 0, 0.37 * scan.array + rng.normal(0, 10, scan.array.shape), 0)
        rows[1][role] = store(tmp_path, f"again_{role}", scan.with_array(np.maximum(noisy, 0)))
    with pytest.raises(RequestError, match=r"'case0' and 'case1' look alike"):
        prepare(script, tmp_path, rows)


def test_a_name_written_in_two_ways_is_refused(script, tmp_path, rows):
    rows[1]["patient"] = "doe ^0"
    with pytest.raises(RequestError, match=r"'Doe\^0' and 'doe \^0'"):
        prepare(script, tmp_path, rows)


def test_a_second_run_makes_only_what_is_missing(script, tmp_path, rows, monkeypatch):
    made = []
    original = script.prepared
    monkeypatch.setattr(script, "prepared", lambda *a: made.append(a) or original(*a))
    first = prepare(script, tmp_path, rows)
    assert len(made) == 2
    out = tmp_path / "out"
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.nrrd")}
    assert prepare(script, tmp_path, rows) == first
    assert len(made) == 2
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.nrrd")} == times
    # A patient in front of the others moves and renumbers nobody.
    pre, post = (store(tmp_path, f"{r}2", PATIENTS[2].scans[r]) for r in ("pre", "post"))
    rows.insert(0, {"case": "new", "patient": "Roe", "pre": pre, "post": post})
    more = prepare(script, tmp_path, rows)
    assert len(made) == 3
    assert {name: more[name] for name in first} == first
    assert more["new"]["patient"] == 3
    # A damaged file and a changed input are made again.
    for damage in (b"", (out / "case1" / "post.nrrd").read_bytes()):
        whole = (out / "case0" / "post.nrrd").read_bytes()
        (out / "case0" / "post.nrrd").write_bytes(damage)
        made.clear()
        assert prepare(script, tmp_path, rows)["case0"] == first["case0"]
        assert len(made) == 1
        assert (out / "case0" / "post.nrrd").read_bytes() == whole
    store(tmp_path, "post1", PATIENTS[1].scans["low"])
    assert prepare(script, tmp_path, rows)["case1"] != first["case1"]
    assert len(made) == 2


def test_another_division_of_the_same_folder_is_refused(script, tmp_path, rows):
    prepare(script, tmp_path, rows, seed=0)
    with pytest.raises(RequestError, match="would move between the splits"):
        prepare(script, tmp_path, rows, seed=1)


def test_after_a_wrong_row_the_others_stay_and_nothing_is_half_written(script, tmp_path, rows):
    (tmp_path / "post1.nrrd").write_bytes(b"no image")
    with pytest.raises(RequestError, match=r"cases\.csv, row 2 \(case 'case1'\).*post1\.nrrd"):
        prepare(script, tmp_path, rows)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"case0", "cases.json"}
    assert list(json.loads((out / "cases.json").read_text())["cases"]) == ["case0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient": ""}, r"row 2 \(case 'case1'\): the column 'patient' is empty"),
        ({"case": "a/b"}, "row 2 .*plain name"),
        ({"case": "case0"}, "row 2 .*is in row 1 already"),
        ({"pre": "none.nrrd"}, "row 2 .*pre: there is no 'none.nrrd'"),
        ({"pre": "post1.nrrd"}, "row 2 .*the same image"),
    ],
)
def test_a_wrong_row_is_refused_by_its_number(script, tmp_path, rows, change, message):
    rows[1] |= change
    with pytest.raises(RequestError, match=message):
        prepare(script, tmp_path, rows)


def test_the_command_counts_the_splits_and_fails_with_exit_code_2(command, tmp_path, rows, capsys):
    path, out = table(tmp_path, rows), tmp_path / "out"
    options = ["--align", "none", "--validation", "0", "--test", "0"]
    assert command.main([str(path), str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert "train: 2 cases of 2 patients" in printed
    assert "test: 0 cases" in printed
    path.write_text("case,patient,pre,psot\n")
    assert command.main([str(path), str(out), *options]) == 2
    assert "Did you mean 'post'" in capsys.readouterr().err
