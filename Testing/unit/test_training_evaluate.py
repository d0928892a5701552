"""The table of a paper: numbers by hand, intervals, and a record that is taken up again."""

from __future__ import annotations

import csv
import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from ContrastSynthLib.files.images import write_volume
from scipy.stats import bootstrap

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.run import Request, run
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

SIZE = (30, 36, 24)
PATIENT = sample_patient(3, SIZE)
PRE, POST = PATIENT.scans["pre"], PATIENT.scans["post"]
BRAIN = (PRE.array > 0) & (POST.array > 0)


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("evaluate")


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("evaluation_cases")


@pytest.fixture(scope="module")
def tables():
    return importlib.import_module("evaluation_table")


@pytest.fixture
def scans(cases):
    return cases.Scans({"pre": PRE, "post": POST}, None)


@pytest.fixture
def folder(tmp_path):
    """Two pairs under a list as a user writes it, and something that is no pair."""
    pairs = tmp_path / "pairs"
    listed = {"series": {"series": "dce.nii.gz"}}
    for seed in (3, 4):
        for role, volume in sample_patient(seed, SIZE).scans.items():
            write_volume(volume, pairs / f"case{seed}" / f"{role}.nrrd")
        listed[f"case{seed}"] = {"pre": "pre.nrrd", "post": "post.nrrd"}
    (pairs / "cases.json").write_text(json.dumps(listed))
    return pairs


def in_medians(array: np.ndarray) -> np.ndarray:
    return np.clip(array.astype(float) / np.median(array[BRAIN]), 0, None)


REAL, GIVEN = in_medians(PRE.array), in_medians(POST.array)
SPAN = np.percentile(REAL[BRAIN], 99.9)
AGENT = BRAIN & (GIVEN - REAL > 0.1 * SPAN)


def psnr(made: np.ndarray) -> float:
    return 10 * np.log10(SPAN**2 / np.mean((made - REAL)[BRAIN] ** 2))


NOTHING, BEST = psnr(GIVEN), psnr(np.where(AGENT, REAL, GIVEN))


def measured(script, scans, method):
    return script.measure(scans, script.synthesise(script.Row("x", method), scans), scans.brain)


def test_doing_nothing_and_what_can_be_reached_by_the_formula(script, scans):
    nothing, reachable = (measured(script, scans, name) for name in ("nothing", "reachable"))
    assert nothing["psnr_db"] == pytest.approx(NOTHING, abs=1e-4)
    assert nothing["share_of_reachable"] == pytest.approx(0, abs=1e-6)
    assert nothing["uptake_mae"] == pytest.approx(np.abs(GIVEN - REAL)[AGENT].mean(), rel=1e-5)
    assert nothing["uptake_mae_of_nothing"] == pytest.approx(1)
    assert nothing["outside_change"] == 0
    assert reachable["psnr_db"] == pytest.approx(BEST, abs=1e-4)
    assert reachable["share_of_reachable"] == pytest.approx(1, abs=1e-6)
    assert reachable["uptake_mae"] == 0
    assert reachable["outside_change"] == 0
    assert reachable["cfs"] == 1


def test_the_clamp_by_the_formula(script, scans):
    made = np.where(GIVEN > 1.2, 1.0, GIVEN)
    found = measured(script, scans, "clamp")
    share = (psnr(made) - NOTHING) / (BEST - NOTHING)
    assert found["share_of_reachable"] == pytest.approx(share, abs=1e-4)
    error = np.abs(made - REAL)[AGENT].mean()
    assert found["uptake_mae"] == pytest.approx(error, rel=1e-4)
    before = np.abs(GIVEN - REAL)[AGENT].mean()
    assert found["uptake_mae_of_nothing"] == pytest.approx(error / before, rel=1e-4)


def test_what_changes_outside_the_uptake_by_the_formula(script, scans):
    changed = np.where(POST.array > np.median(POST.array[BRAIN]), 1.3, 0.9) * POST.array
    found = script.measure(scans, {"pre": POST.with_array(changed)}, BRAIN)
    difference = np.abs(in_medians(changed) - GIVEN)[BRAIN & ~AGENT]
    assert found["outside_change"] == pytest.approx(difference.mean() / SPAN, rel=1e-4)
    # The same image in other units has not changed.
    same = script.measure(scans, {"pre": POST.with_array(3 * POST.array)}, BRAIN)
    assert same["outside_change"] == pytest.approx(0, abs=1e-6)


def test_a_method_is_measured_as_the_command_evaluate_does(script, scans):
    result = run(Request("physics_pre", {"post": POST})).outputs["pre"]
    report = evaluate(PRE, result, pre=PRE, post=POST)
    brain, agent = report["regions"]["brain"], report["regions"]["uptake"]
    expected = {
        "psnr_db": brain["psnr_db"],
        "ssim": brain["ssim"],
        "rmse": brain["rmse"],
        "cnr_error": report["contrast"]["cnr_error"],
        "gradient_rmse": agent["gradient_magnitude_rmse"],
        "cfs": agent["cfs"],
        "irc": agent["irc"],
        "eis": agent["eis"],
        "uptake_mae": agent["mae"],
        "share_of_reachable": report["scale"]["share_of_reachable"],
        "uptake_mae_of_nothing": report["scale"]["uptake_mae_of_do_nothing"],
    }
    found = measured(script, scans, "physics_pre")
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert set(found) == set(script.MEASURES)


def test_the_mask_of_a_case_is_the_brain_of_the_measures_and_of_the_method(script, cases, scans):
    half = np.zeros(BRAIN.shape)
    half[: len(half) // 2] = BRAIN[: len(half) // 2]
    masked = cases.Scans(scans.scans, PRE.with_array(half))
    assert masked.brain.sum() == half.sum() < BRAIN.sum()
    made = script.synthesise(script.Row("x", "physics_pre"), masked)
    np.testing.assert_array_equal(made["pre"].array[half == 0], POST.array[half == 0])


def test_a_scan_that_a_row_needs_is_asked_for(script, scans, cases):
    row = script.Row("x", "corrupted")
    with pytest.raises(RequestError, match="no scan 'corrupted'"):
        script.synthesise(row, scans)
    whole = cases.Scans({**scans.scans, "corrupted": PATIENT.scans["low"]}, None)
    assert script.synthesise(row, whole)["pre"] is PATIENT.scans["low"]


def test_the_slices_around_the_most_uptake(script, cases):
    pre = np.ones((12, 14, 14), np.float32)
    pre[0, 0] = 0.5
    post = pre.copy()
    post[7, 2:6, 2:6] = 3
    post[2, 2:4, 2:4] = 3
    grid = Grid((14, 14, 12), (1, 1, 1))
    scans = cases.Scans({"pre": Volume(pre, grid), "post": Volume(post, grid)}, None)
    assert script.uptake_of(scans).sum() == 20
    found = script.around_uptake(scans, 1)
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [7]
    found = script.around_uptake(scans, 6)
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == {2, 3, 4, 5, 6, 7}
    assert script.around_uptake(scans, 99).sum() == scans.brain.sum()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("physics_pre", "not of the form"),
        ("=clamp", "not of the form"),
        ("a=clamp:weights", "'clamp' has no weights"),
        ("a=physics_pre:weights", "'physics_pre' has no weights"),
        ("a=physic_pre", "Did you mean 'physics_pre'"),
        ("a=physics_dose", "makes no pre scan"),
    ],
)
def test_a_wrong_row_is_told(script, text, said):
    with pytest.raises(RequestError, match=said):
        script.Row.parse(text)


def test_weights_are_told_by_their_id_the_methods_own_too(script, monkeypatch):
    assert script.Row("a", "clamp").weights_id == ""
    assert script.Row("a", "reachable").weights_id == ""
    assert script.Row("a", "physics_pre").weights_id == ""
    network = SimpleNamespace(weights="own", outputs={"pre"}, inputs={})
    monkeypatch.setattr(script, "find_method", lambda key: network)
    monkeypatch.setattr(
        script, "find_bundle", lambda wanted, key: SimpleNamespace(id=f"{wanted} of {key}")
    )
    assert script.Row("a", "sphere").weights_id == "own of sphere"
    assert script.Row("a", "sphere", "runs/v1").weights_id == "runs/v1 of sphere"


def test_other_weights_are_measured_anew(script, folder, tmp_path, monkeypatch):
    record = tmp_path / "record.csv"
    weights = ["v1"]
    monkeypatch.setattr(script.Row, "weights_id", property(lambda row: weights[0]))
    for version, lines_so_far in (("v1", 4), ("v1", 4), ("v2", 8)):
        weights[0] = version
        assert script.main(command(folder, record)) == 0
        with record.open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == lines_so_far


def test_intervals_of_known_samples(tables):
    assert tables.interval(np.full(7, 3.25)) == (3.25, 3.25)
    # Of two patients, a quarter of the resamples has one of them only.
    assert tables.interval(np.array([1.0, 5.0])) == (1.0, 5.0)
    assert np.isnan(tables.interval(np.array([2.0]))).all()
    values = np.random.default_rng(1).gamma(2.0, size=40)
    other = bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile"
    ).confidence_interval
    assert tables.interval(values) == pytest.approx(tuple(other), abs=0.03)
    assert tables.interval(values) == tables.interval(values)


def lines(**columns):
    """Lines of one measure: label=[(patient, value), ...]."""
    return [
        {"label": label, "patient": patient} | dict.fromkeys(("psnr_db", "ssim"), value)
        for label, pairs in columns.items()
        for patient, value in pairs
    ]


def cells(text: str, start: str) -> list[str]:
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_patients_count_once_and_differences_are_paired(tables, monkeypatch):
    monkeypatch.setitem(tables.TABLES, "2", ("psnr_db", "ssim"))
    told = lines(
        sphere=[("a", "10"), ("a", "20"), ("b", "25")],
        # 2 less in each patient: the interval of the difference has no width.
        other=[("a", "13"), ("b", "23"), ("a", "13")],
        mixed=[("a", "16"), ("b", "24")],
        lacking=[("a", "5"), ("b", "")],
    )
    text = tables.markdown(told, ["sphere", "other", "mixed", "lacking"], "2")
    assert text.startswith("| 2 patients | PSNR dB ↑ | SSIM ↑ |")
    assert cells(text, "sphere")[1] == "20.000 [15.000, 25.000]"
    first, second = text.split("difference from sphere")
    assert cells(first, "lacking")[1] == "5.000 (n=1)"
    assert cells(second, "other")[1] == "-2.000 [-2.000, -2.000] *"
    # +1 and -1: nothing can be said.
    assert cells(second, "mixed")[1] == "+0.000 [-1.000, +1.000]"


def command(folder, record, *options):
    rows = [f"--row={name}" for name in ("physics=physics_pre", "none=nothing")]
    return ["--cases", str(folder), "--csv", str(record), *rows, *options]


def test_a_record_is_taken_up_and_never_doubled(script, folder, tmp_path, monkeypatch, capsys):
    record = tmp_path / "record.csv"
    made = []
    original = script.synthesise
    monkeypatch.setattr(script, "synthesise", lambda *a: made.append(a[0].label) or original(*a))
    assert script.main(command(folder, record)) == 0
    first, table = record.read_text(), capsys.readouterr()
    assert made == ["physics", "none"] * 2
    assert "series: left out" in table.err
    assert "| 2 patients | PSNR dB" in table.out
    assert script.main(command(folder, record)) == 0
    assert len(made) == 4
    assert record.read_text() == first
    assert capsys.readouterr().out == table.out
    # A power cut in the middle of the last line.
    record.write_text(first[:-30])
    assert script.main(command(folder, record)) == 0
    assert len(made) == 5
    assert record.read_text() == first
    # Another region is measured beside what is there.
    assert script.main(command(folder, record, "--around-uptake", "8")) == 0
    with record.open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert len(written) == 8
    assert {line["region"] for line in written} == {"whole", "8 slices around the uptake"}
    assert str(folder) not in record.read_text()
    record.write_text("a,b\n1,2\n")
    assert script.main(command(folder, record)) == 2


def test_a_case_that_fails_does_not_stop_the_others(script, folder, tmp_path, capsys):
    matrix = POST.grid.index_to_lps
    matrix[:3, 3] += 20
    moved = Volume(POST.array, Grid.from_index_to_lps(SIZE, matrix))
    write_volume(moved, folder / "case3" / "post.nrrd")
    assert script.main(command(folder, tmp_path / "record.csv")) == 2
    told = capsys.readouterr()
    assert "case3: The volumes lie on different grids" in told.err
    assert "1 of 2 cases failed" in told.err
    assert "| 1 patients |" in told.out
    assert script.main(command(folder, tmp_path / "record.csv", "--case", "case5")) == 2
    assert "Did you mean 'case" in capsys.readouterr().err


def test_prepared_cases_are_read_by_split(cases, folder, tmp_path):
    prepare_data = importlib.import_module("prepare_data")
    table = folder / "cases.csv"
    table.write_text(
        "case,patient,pre,post,corrupted\n"
        "first,a,case3/pre.nrrd,case3/post.nrrd,case3/low.nrrd\n"
        "second,b,case4/pre.nrrd,case4/post.nrrd,\n"
    )
    out = tmp_path / "out"
    division = prepare_data.Division(validation=0, test=0)
    prepare_data.prepare(table, out, "none", division)
    first, second = cases.items_in_folder(out, "train")
    assert (first.name, first.patient, second.patient) == ("first", "1", "2")
    assert set(first.read().scans) == {"pre", "post", "corrupted"}
    assert set(second.read().scans) == {"pre", "post"}
    assert first.read().brain.sum() == BRAIN.sum()
    assert cases.items_in_folder(out, "test") == []


def imagined(parameters):
    """A patient in the place of a virtual one, which takes seconds; its lesion is the nodule."""
    extra = {"low": PRE, "corrupted": POST} if parameters["corruption"] else {"low": PRE}
    lesion = np.zeros(BRAIN.shape, np.uint8)
    lesion[15:18, 20:23, 10:13] = 2
    lesion[3, 3, 3] = 1
    truth = {"brain": BRAIN, "lesion": lesion, "uptake": GIVEN - REAL}
    return SimpleNamespace(scans={"pre": PRE, "post": POST, **extra}, truth=truth)


def test_virtual_patients_are_kept_and_cut_around_the_largest_lesion(cases, tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(cases, "build_patient", lambda p: built.append(p) or imagined(p))

    def slab(**others):
        options = {"slices": 5, "corruption": "zipper", "cache": tmp_path} | others
        (item,) = cases.virtual_items("different", (5,), **options)
        return item.name, item.read()

    name, scans = slab()
    assert name == "different_5_slab5_zipper"
    for role, volume in (("pre", PRE), ("post", POST), ("corrupted", POST)):
        np.testing.assert_array_equal(scans.scans[role].array, volume.array[14:19])
    assert set(scans.scans) == {"pre", "post", "corrupted"}
    np.testing.assert_array_equal(scans.brain, BRAIN[14:19])
    np.testing.assert_array_equal(scans.truth["rise"], (GIVEN - REAL)[14:19])
    assert scans.truth["lesion"].max() == 2
    # The first voxel lies where it lay.
    grid = scans.scans["pre"].grid
    np.testing.assert_allclose(
        grid.ras_from_index((0, 2, 3)), PRE.grid.ras_from_index((14, 2, 3)), atol=1e-6
    )
    # Read from the disk, unless it was made with other parameters.
    again = slab()[1]
    assert len(built) == 1
    np.testing.assert_array_equal(again.scans["post"].array, scans.scans["post"].array)
    slab(spacing_mm=7.0)
    assert len(built) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["different_5_slab5_zipper.npz"]
    name, whole = slab(slices=None, corruption=None, cache=None)
    assert name == "different_5_whole"
    assert set(whole.scans) == {"pre", "post"}
    assert whole.brain.shape == BRAIN.shape


def test_a_virtual_patient_is_measured(script, cases):
    pytest.importorskip("nilearn")
    options = {"slices": 12, "corruption": "motion", "cache": None, "spacing_mm": 5.0}
    scans = cases.virtual_items("same", (1,), **options)[0].read()
    assert scans.scans["pre"].array.shape == (12, 42, 35)
    found = measured(script, scans, "corrupted")
    assert found["psnr_db"] > 5
    assert found["outside_change"] > 0


def test_uptake_is_measured_lesion_by_lesion(script, cases):
    """Two lesions that enhance, one that does not; one is found, and a region is made up."""
    shape, grid = (6, 40, 40), Grid((40, 40, 6), (1, 2, 3))
    rise, lesion, found = np.zeros(shape), np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    lesion[2, 5:15, 5:15], lesion[2, 25:30, 5:15], lesion[4, 5:15, 25:35] = 1, 2, 3
    rise[2, 5:15, 5:15], rise[2, 25:30, 5:15] = 0.5, 0.2
    found[2, 5:15, 5:10], found[4, 30:35, 30:34] = 0.8, 0.7
    volume = Volume(np.ones(shape, np.float32), grid)
    scans = cases.Scans({"pre": volume, "post": volume}, volume, {"rise": rise, "lesion": lesion})
    told = script.measure_uptake(found, scans.truth, scans.brain, grid)
    assert told["uptake_dice"] == pytest.approx(2 * 50 / (150 + 70))
    assert told["lesion_recall"] == 0.5
    assert told["invented_regions"] == 1
    assert told["invented_ml"] == pytest.approx(20 * 6 / 1000)
    nothing = script.measure_uptake(
        0 * found, {**scans.truth, "lesion": 0 * lesion}, scans.brain, grid
    )
    assert (nothing["uptake_dice"], nothing["lesion_recall"], nothing["invented_ml"]) == (
        0,
        None,
        0,
    )
    assert set(script.measure_uptake(found, {}, scans.brain, grid).values()) == {None}


@pytest.mark.parametrize(
    ("lesion_at", "slices", "expected"),
    [
        ((), 4, (3, 7)),
        ((0, 1), 4, (0, 4)),
        ((9,), 3, (7, 10)),
        ((5,), 3, (4, 7)),
        ((5,), 99, (0, 10)),
    ],
)
def test_a_slab_stays_inside_the_volume(cases, lesion_at, slices, expected):
    brain = np.zeros((10, 4, 4), bool)
    brain[1:9] = True
    lesion = np.zeros(brain.shape, np.uint8)
    lesion[list(lesion_at), 1:3] = 2
    lesion[4, 0, 0] = 1 if lesion_at else 0
    assert cases._slab(lesion, brain, slices) == expected
    assert cases._slab(lesion, brain, None) == (0, 10)


def test_virtual_patients_of_both_kinds_are_held_out_alike(cases):
    made = [
        cases.virtual_items(k, (7,), slices=1, corruption=None, cache=None)
        for k in ("same", "different")
    ]
    same, different = (items[0].read.args[0] for items in made)
    assert (same["kind"], different["kind"]) == ("training", "different")
    assert same["seed"] == different["seed"] == 7
    assert same["corruption"] is None


def test_two_rows_of_one_label_are_refused(script, folder, capsys):
    assert script.main(["--cases", str(folder), "--row", "a=clamp", "--row", "a=nothing"]) == 2
    assert "one label" in capsys.readouterr().err
