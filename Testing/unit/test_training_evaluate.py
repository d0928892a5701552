"""The command of the evaluation: its rows, its table, and numbers that are not measured twice."""

from __future__ import annotations

import csv
import importlib
import json

import numpy as np
import pytest
from scipy.stats import bootstrap

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import find_bundle

pytestmark = pytest.mark.usefixtures("training_path")

SIZE = (30, 36, 24)
POST = sample_patient(3, SIZE).scans["post"]


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("evaluate")


@pytest.fixture(scope="module")
def parse():
    """A function that reads a row of the table from post to pre."""
    rows = importlib.import_module("evaluation.rows")
    task = importlib.import_module("evaluation.post_to_pre").POST_TO_PRE
    return lambda text: rows.Row.parse(text, task)


@pytest.fixture(scope="module")
def intervals():
    return importlib.import_module("evaluation.intervals")


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("physics_pre", "not of the form NAME=METHOD"),
        ("=clamp", "not of the form"),
        ("a=clamp:weights", "'clamp' has no weights"),
        ("a=clamp@fast", "no presets"),
        ("a=clamp,x=1", "Unknown parameter of clamp 'x'"),
        ("a=physics_pre:weights", "'physics_pre' has no weights"),
        ("a=physic_pre", "Did you mean 'physics_pre'"),
        ("a=physics_dose", "physics_dose makes low, not 'pre'"),
        ("a=sphere@papper", "a=sphere@papper.*Did you mean 'paper'"),
        ("a=sphere,tau=0.1", "Unknown parameter of sphere 'tau'"),
        ("a=sphere,least_change=x", "'x' is not a number"),
        ("a=sphere,least_change=0,least_change=1", "given twice"),
    ],
)
def test_a_wrong_row_is_refused(parse, text, message):
    with pytest.raises(RequestError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "weights", "preset", "parameters"),
    [
        ("our run=sphere", "", "", ()),
        ("a=sphere:runs/a", "runs/a", "", ()),
        ("a=sphere@paper", "", "paper", ()),
        ("a=sphere,least_change=0", "", "", (("least_change", "0"),)),
        ("a=sphere:C:\\us@er\\v1@paper", "C:\\us@er\\v1", "paper", ()),
        ("a=sphere:a,b@paper,least_change=0", "a,b", "paper", (("least_change", "0"),)),
    ],
)
def test_a_row_names_weights_preset_and_parameters(parse, text, weights, preset, parameters):
    row = parse(text)
    assert row.method == "sphere"
    assert (row.weights, row.preset, row.parameters) == (weights, preset, parameters)
    assert text.endswith(row.settings)


def test_a_row_may_name_the_weights_of_each_network(parse):
    task = importlib.import_module("evaluation.post_to_pre").POST_TO_PRE
    own = find_bundle("sphere_art", "sphere_art")
    row = parse(f"a=sphere_art:sphere_art={own.folder}@paper")
    assert row.wanted == {"sphere_art": str(own.folder)}
    assert own.id in row.weights_id(task).split()
    row = parse("a=sphere_art:sphere=runs/a=b+sphere_art=runs/art,mirrored=false")
    assert row.wanted == {"sphere": "runs/a=b", "sphere_art": "runs/art"}
    assert row.settings == ",mirrored=false"
    for single in ("runs/a=b", "runs/a+b", "sphere"):
        assert parse(f"a=sphere:{single}").wanted == single
    assert parse("a=sphere").wanted is None


def test_a_line_tells_the_weights_of_a_row(parse):
    """Their id, those of the method itself where none were given."""
    task = importlib.import_module("evaluation.post_to_pre").POST_TO_PRE
    bundles = importlib.import_module("ContrastSynthLib.weights.bundles")
    for method in ("clamp", "reachable", "physics_pre"):
        assert parse(f"a={method}").weights_id(task) == ""
    own = bundles.look_up("sphere")
    assert parse("a=sphere").weights_id(task) == own.id
    assert parse(f"a=sphere:{own.folder}").weights_id(task) == own.id
    with pytest.raises(MissingError):
        parse("a=sphere:of_nobody").weights_id(task)


def test_other_weights_are_measured_anew(script, folder, tmp_path, monkeypatch):
    record = tmp_path / "record.csv"
    weights = ["v1"]
    monkeypatch.setattr(script.Row, "weights_id", lambda row, task: weights[0])
    for version, lines_so_far in (("v1", 4), ("v1", 4), ("v2", 8)):
        weights[0] = version
        assert script.main(command(folder, record)) == 0
        with record.open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == lines_so_far


def test_intervals_of_known_samples(intervals):
    assert intervals.interval(np.full(7, 3.25)) == (3.25, 3.25)
    # Of two patients, a quarter of the resamples has one of them only.
    assert intervals.interval(np.array([1.0, 5.0])) == (1.0, 5.0)
    assert np.isnan(intervals.interval(np.array([2.0]))).all()
    values = np.random.default_rng(1).gamma(2.0, size=40)
    other = bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile"
    ).confidence_interval
    assert intervals.interval(values) == pytest.approx(tuple(other), abs=0.03)
    assert intervals.interval(values) == intervals.interval(values)


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


def test_patients_count_once_and_differences_are_paired():
    given = lines(
        sphere=[("a", "10"), ("a", "20"), ("b", "25")],
        # 2 less in each patient: the interval of the difference has no width.
        other=[("a", "13"), ("b", "23"), ("a", "13")],
        mixed=[("a", "16"), ("b", "24")],
        lacking=[("a", "5"), ("b", "")],
    )
    markdown = importlib.import_module("evaluation.table").markdown
    headings = {"psnr_db": "PSNR dB ↑", "ssim": "SSIM ↑"}
    text = markdown(given, ["sphere", "other", "mixed", "lacking"], headings)
    assert text.startswith("| 2 patients | PSNR dB ↑ | SSIM ↑ |")
    assert cells(text, "sphere")[1] == "20.000 [15.000, 25.000]"
    first, second = text.split("difference from sphere")
    assert cells(first, "lacking")[1] == "5.000 (n=1)"
    assert cells(second, "other")[1] == "-2.000 [-2.000, -2.000] *"
    # +1 and -1: nothing can be said.
    assert cells(second, "mixed")[1] == "+0.000 [-1.000, +1.000]"
    assert (
        cells(markdown(given, ["sphere"], headings, digits=1), "sphere")[1] == "20.0 [15.0, 25.0]"
    )


def command(folder, record, *options):
    rows = [f"--row={name}" for name in ("physics=physics_pre", "none=nothing")]
    return ["--cases", str(folder), "--csv", str(record), *rows, *options]


def test_a_record_is_taken_up_and_never_doubled(script, folder, tmp_path, monkeypatch, capsys):
    record = tmp_path / "record.csv"
    made = []
    measuring = importlib.import_module("evaluation.measuring")
    original = measuring.synthesise
    monkeypatch.setattr(measuring, "synthesise", lambda *a: made.append(a[0].name) or original(*a))
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
    printed = capsys.readouterr()
    assert "case3: The volumes lie on different grids" in printed.err
    assert "1 of 2 cases failed" in printed.err
    assert "| 1 patients |" in printed.out
    assert script.main(command(folder, tmp_path / "record.csv", "--case", "case5")) == 2
    assert "Did you mean 'case" in capsys.readouterr().err


def test_a_preset_and_a_parameter_are_measured(script, folder, tmp_path, capsys):
    """Each beside the method as it is: as lines of their own, with numbers of their own."""
    record = tmp_path / "record.csv"
    rows = ("plain=physics_pre", "paper=physics_pre@paper", "set=physics_pre,sensitivity=50")
    options = [f"--row={row}" for row in rows]
    assert script.main(["--cases", str(folder), "--csv", str(record), *options]) == 0
    with record.open(newline="") as stream:
        written = [line for line in csv.DictReader(stream) if line["case"] == "case3"]
    assert [line["settings"] for line in written] == ["", "@paper", ",sensitivity=50"]
    assert len({line["psnr_db"] for line in written}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--row", "a=clamp", "--row", "a=nothing"), "one name"),
        ((), "give --row"),
        (("--row", "a=clamp", "--only", "b"), "Unknown row 'b'"),
        (("--row", "a=clamp", "--noise", "0.1"), "--noise is of no use for the table sphere_2"),
        (("--row", "a=clamp", "--plot", "a.png"), "not drawn"),
        (("--table", "lip_car_3", "--corrupt", "motion"), "--corrupt is of no use"),
    ],
)
def test_a_command_that_contradicts_itself_is_refused(script, folder, capsys, options, message):
    assert script.main(["--cases", str(folder), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def virtual_patients(tmp_path_factory):
    """A folder that keeps virtual patients, which take seconds to make."""
    return str(tmp_path_factory.mktemp("virtual"))


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ([], "virtual same, 4 mm, against the target"),
        (["--against", "second_scan"], "virtual same, 4 mm"),
    ],
)
def test_virtual_patients_are_compared_with_the_target(
    script, capsys, tmp_path, virtual_patients, options, data
):
    """With the ceiling and the second scan beside the rows that were asked for."""
    csv_file = tmp_path / "measured.csv"
    words = ["--virtual", "same", "--patients", "1", "--spacing", "4", "--slab", "6"]
    words += ["--cache", virtual_patients, "--csv", str(csv_file), "--row", "a=nothing"]
    assert script.main([*words, *options]) == 0
    with open(csv_file, newline="") as file:
        lines = {line["label"]: line for line in csv.DictReader(file)}
    assert list(lines) == ["a", "ceiling", "second scan"]
    assert {line["data"] for line in lines.values()} == {data}
    perfect, other = ("second scan", "ceiling") if options else ("ceiling", "second scan")
    assert float(lines[perfect]["rmse"]) == 0 < float(lines[other]["rmse"])
    assert f"{data}, whole:" in capsys.readouterr().out


def test_what_real_pairs_are_compared_with_cannot_be_chosen(script, folder, capsys):
    words = ["--cases", str(folder), "--row=a=clamp", "--against", "target"]
    assert script.main(words) == 2
    assert "--against is of no use for the table sphere_2" in capsys.readouterr().err
