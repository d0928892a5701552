"""A reader study from the command line: from a table of cases to the page."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

for package in ("sqlalchemy", "statsmodels", "pingouin", "matplotlib"):
    pytest.importorskip(package)

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

SHAPE, CASES, READERS = (4, 6, 5), 6, ("one", "two")
CRITERIA = ("quality", "alignment", "tissue", "diagnostic", "artefacts")


@pytest.fixture
def table(tmp_path):
    rng, lines = np.random.default_rng(0), ["case,new,standard,beside"]
    for n in range(CASES):
        for what in ("made", "real", "post"):
            volume = Volume(rng.uniform(1, 2, SHAPE), Grid(SHAPE[::-1]))
            write_volume(volume, tmp_path / f"{what}{n}.nrrd")
        lines.append(f"p{n},made{n}.nrrd,real{n}.nrrd,post{n}.nrrd")
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "cases.csv"


@pytest.fixture
def study(table, tmp_path, capsys):
    words = ["study", "create", "--cases", str(table), "--out", str(tmp_path / "study")]
    assert main([*words, "--reader", "one", "--reader", "two", "--seed", "3"]) == 0
    capsys.readouterr()
    return tmp_path / "study"


def next_of(study, reader, capsys):
    assert main(["study", "next", str(study), "--reader", reader, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def scores(value):
    return [word for key in CRITERIA for word in ("--set", f"{key}={value}")]


def read_all(study, capsys):
    for reader in READERS:
        while "number" in (told := next_of(study, reader, capsys)):
            words = ["study", "score", str(study), "--reader", reader, "--seconds", "7"]
            number = told["number"]
            assert main([*words, "--number", str(number), *scores(3 + number % 2)]) == 0
            capsys.readouterr()


def test_from_a_table_to_the_page(study, tmp_path, capsys):
    first = next_of(study, "one", capsys)
    assert first["left"] == 2 * CASES
    assert set(first["criteria"]) == set(CRITERIA)
    assert first["criteria"]["quality"]["4"] == "Excellent"
    (image,) = first["images"]
    assert image.startswith(str(study / "readers" / "images"))
    read_all(study, capsys)
    assert next_of(study, "two", capsys) == {"schema_version": 1, "left": 0}
    assert main(["study", "status", str(study), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["readers"]
    assert told == {reader: {"scored": 12, "of": 12} for reader in READERS}
    out = tmp_path / "report"
    assert main(["study", "report", str(study), "--out", str(out)]) == 0
    assert "as independent" in capsys.readouterr().err
    page = (out / "report.html").read_text()
    for words in ("Perceived image quality", "not a medical device", "Holm", "SHA-256", "p0"):
        assert words in page
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * CASES * len(CRITERIA)
    assert {row["arm"] for row in rows} == {"new", "standard"}
    assert {row["seconds"] for row in rows} == {"7.0"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["missing"] == 0


def test_readers_need_their_folder_alone(study, tmp_path, capsys):
    (study / "readers").rename(tmp_path / "on_a_stick")
    told = next_of(tmp_path / "on_a_stick", "two", capsys)
    assert told["images"][0].startswith(str(tmp_path / "on_a_stick" / "images"))
    report = ["study", "report", str(tmp_path / "on_a_stick"), "--out", str(tmp_path / "out")]
    assert main(report) == 2
    assert "no key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (scores(5), "5 is not on the scale, 1 to 4"),
        (scores("good"), "'good' is not a score"),
        (scores(3)[:2], "no score yet for"),
    ],
)
def test_a_wrong_score_is_refused(study, capsys, more, words):
    line = ["study", "score", str(study), "--reader", "one", "--number", "1"]
    assert main([*line, *more]) == 2
    assert words in capsys.readouterr().err


def test_what_is_missing_is_told_and_nothing_is_lost(study, capsys):
    line = ["study", "score", str(study), "--reader", "one", "--number", "1"]
    assert main([*line, *scores(3), "--comment", "noisy"]) == 0
    capsys.readouterr()
    for image in (study / "readers" / "images").iterdir():
        image.unlink()
    assert main(["study", "next", str(study), "--reader", "one"]) == 2
    assert "this image of the study is missing" in capsys.readouterr().err
    assert main(["study", "status", str(study), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["readers"]["one"]["scored"] == 1
    assert main(["study", "next", str(study), "--reader", "three"]) == 2
    assert "reader of this study" in capsys.readouterr().err


def test_a_scale_of_ones_own(table, tmp_path, capsys):
    words = ["study", "create", "--cases", str(table), "--out", str(tmp_path / "own")]
    words += ["--reader", "one", "--criterion", "noise", "Noise", "much|some|none"]
    assert main([*words, "--test", "t", "--margin", "0.3", "--json"]) == 0
    capsys.readouterr()
    told = next_of(tmp_path / "own", "one", capsys)
    assert told["criteria"] == {"noise": {"1": "much", "2": "some", "3": "none"}}
    key = json.loads((tmp_path / "own" / "key.json").read_text())
    assert key["protocol"]["analysis"] == {"alpha": 0.05, "margin": 0.3, "tests": ["t"]}


def test_power(capsys):
    assert main(["study", "power", "--cases", "80", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["power"] == pytest.approx(told["power_by_normal_distribution"], abs=0.06)
    assert told["error_at_the_margin"] < 0.08
    line = ["study", "power", "--test", "wilcoxon", "--better", "0", "--readers", "1"]
    assert main([*line, "--cases", "15", "--difference", "-0.05"]) == 0
    assert "more than 5%" in capsys.readouterr().err
