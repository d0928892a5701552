"""Results measured in the contrast and shading of the post scan: by formulas, and as tables."""

from __future__ import annotations

import csv
import importlib
import json

import numpy as np
import pytest
from scipy import ndimage

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

SHAPE = (44, 52, 48)
GRID = Grid(SHAPE[::-1], (1, 1, 1))
AXES = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
BRAIN = sum(axis**2 for axis in AXES) < 0.9
# A lesion whose rise fades out over some voxels.
LESION = ndimage.gaussian_filter(sum((axis - 0.2) ** 2 for axis in AXES) < 0.07, 2, output=float)
NOISE = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
TISSUE = np.where(BRAIN, np.clip(1 + 8 * NOISE, 0.5, 1.6), 0)
PRE = 130 * TISSUE
POST = 400 * np.where(BRAIN, TISSUE**0.7 * np.exp(0.05 * AXES[2]) + 0.9 * LESION, 0)


@pytest.fixture(scope="module")
def matched():
    return importlib.import_module("evaluation.matched_pairs")


def case_of(pre: np.ndarray, post: np.ndarray, **truth: np.ndarray):
    cases = importlib.import_module("evaluation.cases")
    return cases.Scans({"pre": Volume(pre, GRID), "post": Volume(post, GRID)}, None, truth)


@pytest.fixture(scope="module")
def case(matched):
    """A pair that differs by contrast, gain, shading and a lesion, with a speck outside."""
    pre, post = PRE.copy(), POST.copy()
    pre[:2, :2, :2] = post[:2, :2, :2] = 5000
    return matched.with_target(case_of(pre, post))


def measured(matched, case, array, **others):
    outputs = {"pre": Volume(array, GRID)}
    outputs |= {name: Volume(other, GRID) for name, other in others.items()}
    return matched.measure(case, outputs, case.brain)


def test_the_figures_by_their_formulas(matched, case):
    """Of a result that leaves 40 % of the lesion, darkens a side, and has values below 0."""
    match = importlib.import_module("data.matched").match_to_post
    made = (POST - 0.6 * 360 * LESION) * np.where(AXES[1] < -0.7, 0.8, 1)
    kept = case["target"].array * np.where(AXES[1] > 0.4, 0.5, 1)
    made[~BRAIN] = -3
    found = measured(matched, case, made, kept=kept)

    box = ndimage.find_objects(BRAIN.astype(int))[0]
    unit = POST[BRAIN].mean()
    target = match(PRE[box].astype("f4"), (POST / unit)[box].astype("f4"), BRAIN[box]).target
    inside = ndimage.binary_erosion(BRAIN)[box]
    q, s = POST[box] / unit, np.clip(made, 0, None)[box] / unit
    r = np.percentile(target[inside], 99.9)
    up = (q - target > 0.1 * r) & inside

    def psnr(image):
        return 10 * np.log10(r * r / np.mean((image - target)[inside] ** 2))

    reach = psnr(np.where(up, target, q))
    expected = {
        "share": (psnr(s) - psnr(q)) / (reach - psnr(q)),
        "left": np.abs(s - target)[up].mean() / np.abs(q - target)[up].mean(),
        "out": np.abs(s - q)[inside & ~up].mean() / r,
        "lost": np.mean((target * (AXES[1] > 0.4)[box] * 0.5)[inside] > 0.1 * r),
        "lost_elsewhere": np.mean((q - s)[inside & ~up] > 0.1 * r),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-3)
    assert 0.3 < expected["left"] < 0.7
    assert min(expected.values()) > 0.005


def test_doing_nothing_and_the_oracle_are_0_and_1(matched, case):
    nothing = measured(matched, case, case["post"].array, kept=case["target"].array)
    assert nothing["share"] == pytest.approx(0, abs=1e-9)
    assert nothing["left"] == pytest.approx(1)
    assert nothing["out"] == nothing["lost"] == nothing["lost_elsewhere"] == 0
    oracle = matched.measure(case, {}, case.brain)
    assert oracle["share"] == pytest.approx(1)
    assert oracle["left"] == oracle["out"] == 0
    assert oracle["lost"] is None
    assert set(nothing) == set(oracle) == set(matched.HEADINGS)


def test_the_truth_of_a_virtual_patient_is_the_target(matched):
    """Whatever its pre scan looks like."""
    truth = POST - 360 * LESION
    case = matched.with_target(case_of(np.where(BRAIN, 7.0, 0), POST, unenhanced=truth))
    np.testing.assert_allclose(case["target"].array, np.where(BRAIN, truth, 0), rtol=1e-6)
    found = measured(matched, case, truth + 90 * LESION)
    assert found["left"] == pytest.approx(0.25, abs=1e-4)
    rise, inside = 360 / POST[BRAIN].mean() * LESION, ndimage.binary_erosion(BRAIN)
    r = np.percentile(truth[inside], 99.9) / POST[BRAIN].mean()
    rest = np.where(rise > 0.1 * r, 0, rise)
    nothing, oracle = (np.log(np.mean(error[inside] ** 2)) for error in (rise, rest))
    assert found["share"] == pytest.approx(np.log(4**2) / (nothing - oracle), rel=1e-3)


def test_without_uptake_there_is_no_share(matched):
    case = matched.with_target(case_of(PRE, POST, unenhanced=POST))
    found = measured(matched, case, 0.9 * POST)
    assert found["share"] is None
    assert found["left"] is None
    assert found["out"] > 0.01


def test_a_scan_without_agent_takes_the_place_of_the_post_scan(matched, case):
    without = matched.without_agent(case)
    np.testing.assert_array_equal(without["post"].array, case["target"].array)
    assert np.abs(without["post"].array - case["post"].array)[BRAIN].max() > 200
    assert not without["post"].array[~BRAIN].any()


def test_a_case_that_cannot_be_matched_says_so(matched):
    few = np.zeros(SHAPE)
    few[20:24, 20:24, 20:24] = 1
    with pytest.raises(RequestError, match="too small"):
        matched.with_target(case_of(few, few))
    with pytest.raises(RequestError, match="no voxel above 0"):
        matched.with_target(case_of(0 * few, few))


def write_pair(folder, name, files):
    for role, array in (("t1", PRE), ("t1c", POST)):
        write_volume(Volume(array, GRID), folder / name / f"{role}.nrrd")
    listed = json.loads((folder / "cases.json").read_text()) if files else {}
    listed[name] = {"pre": "t1.nrrd", "post": "t1c.nrrd"}
    (folder / "cases.json").write_text(json.dumps(listed))


@pytest.fixture
def folders(tmp_path):
    """Two pairs in one folder, one in another."""
    for folder, names in (("some", ("a", "b")), ("more", ("c",))):
        for number, name in enumerate(names):
            write_pair(tmp_path / folder, name, number)
    return [str(tmp_path / "some"), str(tmp_path / "more")]


ROWS = ("--row=clamp=clamp", "--row=none=nothing", "--row=best=reachable")


def test_the_table_prints_each_case_and_runs_each_row_without_agent(folders, tmp_path, capsys):
    script, record = importlib.import_module("evaluate"), tmp_path / "record.csv"
    words = ["--cases", *folders, "--csv", str(record), "--table", "sphere_real", *ROWS]
    assert script.main([*words, "--case", "a", "c"]) == 0
    printed = capsys.readouterr().out
    assert "| 2 patients | share of reachable" in printed
    for line in ("| a | clamp | ", "| c | clamp | ", "| a | none | 0.0000 | 1.0000 | "):
        assert printed.count(f"\n{line}") == 1
    assert "| b |" not in printed
    with record.open(newline="") as stream:
        lines = {(line["case"], line["label"]): line for line in csv.DictReader(stream)}
    # The clamp darkens what is bright without agent: it was run on the target.
    assert float(lines["a", "clamp"]["lost"]) > 0.005
    assert float(lines["a", "none"]["lost"]) == 0
    assert lines["a", "best"]["lost"] == ""
    assert lines["a", "clamp"]["data"] == "some+more, in the contrast of the post scan"
    assert script.main([*words, "--same-patient", "a,b"]) == 0
    assert "| 2 patients |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--case", "aa"), "Unknown case 'aa'"),
        (("--same-patient", "a,bb"), "Unknown case 'bb'"),
    ],
)
def test_a_case_that_is_not_there_is_refused(folders, capsys, options, message):
    script = importlib.import_module("evaluate")
    words = ["--cases", *folders, "--table", "sphere_real", *ROWS, *options]
    assert script.main(words) == 2
    assert message in capsys.readouterr().err


def test_a_case_of_two_folders_is_refused(folders, capsys):
    script = importlib.import_module("evaluate")
    assert script.main(["--cases", folders[0], folders[0], "--table", "sphere_real", *ROWS]) == 2
    assert "Two folders have a case 'a'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "unenhanced"), [("uncertainty", True), ("sphere_2", True), ("sphere_3", False)]
)
def test_virtual_patients_come_with_their_truth(monkeypatch, matched, table, unenhanced):
    script, asked = importlib.import_module("evaluate"), {}

    def virtual_items(kind, seeds, **options):
        asked.update(options)
        return []

    monkeypatch.setattr(script, "virtual_items", virtual_items)
    assert script.main(["--virtual", "same", "--table", table, "--row=a=clamp"]) == 2
    assert asked["unenhanced"] is unenhanced


def test_the_table_of_the_uncertainty_prints_its_calibration(monkeypatch, folders, capsys):
    """Of a row that has a map: here one that is the brightness of the post scan."""
    script = importlib.import_module("evaluate")
    measuring = importlib.import_module("evaluation.measuring")

    def synthesise(row, task, given, clean):
        return {"pre": given["post"], "uncertainty": given["post"].with_array(POST / 400)}

    monkeypatch.setattr(measuring, "synthesise", synthesise)
    words = ["--cases", folders[1], "--table", "uncertainty", "--row=a=clamp"]
    assert script.main(words) == 0
    printed = capsys.readouterr().out
    assert "| a, tenth of voxels | mean uncertainty (means of the brain) |" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("| c | a |")]
    uncertain, worst, bright = (float(cell) for cell in line.split("|")[3:6])
    assert uncertain == bright
    assert 0.1 < bright <= worst
