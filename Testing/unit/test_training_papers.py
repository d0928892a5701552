"""The page of the papers' claims: what follows from figures, and that each entry is whole."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import runpy
import sys
from itertools import dropwhile
from pathlib import Path

import pytest

from ContrastSynthLib.errors import RequestError

pytestmark = pytest.mark.usefixtures("training_path")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def claims():
    return importlib.import_module("evaluation.claims")


@pytest.fixture
def measurements():
    return importlib.import_module("evaluation.measurements")


@pytest.fixture
def pages():
    return importlib.import_module("evaluation.claims_page")


@pytest.fixture
def small(measurements, tmp_path, monkeypatch):
    """A measurement of three patients: ``good`` is ahead in SSIM, in PSNR of two of them."""
    monkeypatch.setattr(measurements, "ROOT", tmp_path)
    monkeypatch.setattr(measurements, "FOLDER", tmp_path / "papers")
    (tmp_path / "papers" / "results").mkdir(parents=True)
    one = measurements.Measurement("small", "three patients", "python a.py", {})
    lines = ["label,patient,noise,ssim,psnr_db,rise"]
    for patient, ssim, psnr in (("a", 0.8, 31), ("b", 0.9, 34), ("c", 0.7, 29)):
        lines += [f"good,{patient},0,{ssim},{psnr},1", f"bad,{patient},0,{ssim - 0.2:g},30,2"]
        lines.append(f"good,{patient},0.1,0.5,20,1")
    one.csv.write_text("\n".join(lines) + "\n")
    return one


# ---- readings


def test_a_difference_is_as_claimed_not_shown_or_the_other_way(claims, small):
    def verdict(**kinds):
        return claims.read(claims.Reading("small", **kinds), small).verdict

    assert verdict(measure="ssim", row="good", over="bad") == claims.REPRODUCED
    assert verdict(measure="ssim", row="bad", over="good") == claims.CONTRADICTED
    assert verdict(measure="psnr_db", row="good", over="bad") == claims.NOT_SHOWN
    assert verdict(measure="ssim", row="good") == claims.MEASURED
    assert verdict(measure="rise", row="good", over="bad", should="lower") == claims.REPRODUCED
    ahead = {"measure": "ssim", "row": "good", "over": "bad"}
    assert verdict(**ahead, by=0.1) == claims.REPRODUCED
    assert verdict(**ahead, by=0.3) == claims.CONTRADICTED


def test_a_figure_has_mean_interval_and_patients(claims, small):
    figure = claims.read(claims.Reading("small", "ssim", "good"), small)
    # Of three values the lowest mean that a resampling can have is that of the lowest thrice.
    assert figure.text == "good 0.800 [0.700, 0.900]"
    assert figure.patients == 3
    noisy = claims.Reading("small", "ssim", "good", at={"noise": "0.1"})
    assert claims.read(noisy, small).text == "good 0.500 [0.500, 0.500]"
    both = claims.read(claims.Reading("small", "ssim", "good", over="bad"), small)
    assert both.text.endswith("difference +0.200 [+0.200, +0.200] ✓")


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({"measure": "dice", "row": "good"}, "column of small"),
        ({"measure": "ssim", "row": "better"}, "row of small"),
        ({"measure": "rise", "row": "good", "over": "bad"}, "higher or lower"),
    ],
)
def test_a_reading_of_what_is_not_there_is_refused(claims, small, reading, said):
    with pytest.raises(RequestError, match=said):
        claims.read(claims.Reading("small", **reading), small)


def test_a_claim_is_worth_its_worst_comparison(claims):
    claim = claims.Claim("id", "Table 1", "It is so.", "1")
    figures = [claims.Figure("", 3, kind) for kind in (claims.REPRODUCED, claims.NOT_SHOWN)]
    assert claim.verdict(figures) == claims.NOT_SHOWN
    assert claim.verdict(figures[:1]) == claims.REPRODUCED
    assert claim.verdict([]) == claims.OPEN
    assert "say why" in claims.incomplete(claim, claims.OPEN)
    assert not claims.incomplete(claim, claims.REPRODUCED)


def test_an_entry_that_is_not_whole_is_refused(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "FOLDER", tmp_path)
    head, entry = 'title = "T"\ndata = "d"\n', '[[claim]]\nid = "a"\nwhere = "w"\nsays = "s"\n'
    for text, said in (
        (entry, "paper is missing"),
        (entry + 'paper = "p"\nfigure = 1\n', "figure"),
        (2 * (entry + 'paper = "p"\n'), "two claims have the id"),
    ):
        (tmp_path / "one.toml").write_text(head + text)
        with pytest.raises(RequestError, match=said):
            claims.read_paper("one")


# ---- measurements


def test_words_of_a_command_are_replaced(measurements):
    words = {"HELD_OUT": "one two", "TRAIN": "'/a b'"}
    spelled = measurements.spelled_out(
        "python x.py --cases TRAIN --case HELD_OUT -r a=TRAIN/c", words
    )
    assert spelled == [
        "python",
        "x.py",
        "--cases",
        "/a b",
        "--case",
        "one",
        "two",
        "-r",
        "a=/a b/c",
    ]
    assert measurements.spelled_out("TRAINED RE-TRAIN", words) == ["TRAINED", "RE-TRAIN"]


def test_a_command_is_run_and_recorded(measurements, small, tmp_path):
    (tmp_path / "a.py").write_text("import sys; open('ran', 'w').write(' '.join(sys.argv))")
    measurements.measure(small, {})
    assert (tmp_path / "ran").read_text() == "a.py --csv papers/results/small.csv"
    assert small.recorded()["command"] == small.whole_command
    other = measurements.Measurement("small", "three patients", "python b.py", {})
    with pytest.raises(RequestError, match="another command by now"):
        other.recorded()
    with pytest.raises(RequestError, match="the command failed"):
        measurements.measure(other, {})


def test_the_time_of_earlier_runs_counts_while_their_file_is_there(measurements, small, tmp_path):
    (tmp_path / "a.py").write_text("")
    small.record.write_text(json.dumps({"command": "an older one", "cpu_seconds": 1000}))
    measurements.measure(small, {})
    assert small.recorded()["cpu_seconds"] > 1000
    small.csv.unlink()
    measurements.measure(small, {})
    assert small.recorded()["cpu_seconds"] < 1000


def test_a_folder_that_a_command_needs_is_asked_for(measurements):
    one = measurements.Measurement("one", "pairs", "python a.py --cases TRAIN", {})
    with pytest.raises(RequestError, match="give --folder TRAIN="):
        measurements.measure(one, {})


# ---- the page


def test_the_page_is_up_to_date(capsys):
    assert importlib.import_module("papers").main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_told(pages, tmp_path, monkeypatch, capsys):
    papers = importlib.import_module("papers")
    monkeypatch.setattr(papers, "PAGE", tmp_path / "papers.md")
    assert papers.main(["--check"]) == 2
    assert "not up to date" in capsys.readouterr().err
    assert papers.main([]) == 0
    assert papers.main(["--check"]) == 0
    (tmp_path / "papers.md").write_text((tmp_path / "papers.md").read_text() + "0.99")
    assert papers.main(["--check"]) == 2


@pytest.mark.parametrize("words", [["--measure", "nothing"], ["--folder", "TRAIN=/is/not"]])
def test_a_wrong_request_is_refused(words):
    assert importlib.import_module("papers").main(words) == 2


def test_a_measurement_without_a_claim_is_no_part_of_the_page(pages, measurements):
    text = pages.page()
    for name in measurements.measurements():
        assert f"### {name}\n" in text, f"{name}: read it in a claim or drop it"


def test_what_is_not_measured_yet_is_open_and_leads_to_its_command(claims, pages, small):
    reading = claims.Reading("small", "ssim", "good", over="bad")
    claim = claims.Claim("id", "Table 1", "It is so.", "1", (reading,))
    figures = claim.figures({"small": small})
    assert claim.verdict(figures.values()) == claims.OPEN
    assert not claims.incomplete(claim, claims.OPEN)
    assert pages.ours(claim, figures) == "to be measured: [small](#small)"
    assert "Not measured yet" in pages.told_measurement(small)
    small.record.write_text("{}")
    (figure,) = claim.figures({"small": small}).values()
    assert figure.verdict == claims.REPRODUCED


# ---- the commands


class Parsed(Exception):
    """The options were accepted."""


@pytest.fixture
def parsing(monkeypatch):
    """Makes a script end as soon as it has accepted its options."""
    parse_args = argparse.ArgumentParser.parse_args

    def parse(self, *given):
        parse_args(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


def commands(claims, measurements):
    known = measurements.measurements()
    texts = {each.command: each.words for each in known.values()}
    words = next(iter(known.values())).words
    for key in claims.PAPERS:
        for claim in claims.read_paper(key).claims:
            texts |= dict.fromkeys(filter(None, (claim.command, claim.picture)), words)
            assert not claim.test or (ROOT / claim.test).exists(), claim.id
    return [measurements.spelled_out(text, words) for text, words in texts.items()]


def test_every_command_is_accepted_by_its_script(
    claims, measurements, parsing, monkeypatch, capsys
):
    pytest.importorskip("lightning_fabric", reason="the training's packages are not installed")
    for words in commands(claims, measurements):
        program, *rest = dropwhile(re.compile("[A-Z]+=").match, words)
        if program == "python":
            program, *rest = rest
        script = ROOT / program
        if program == "contrastsynth":
            script = ROOT / "ContrastSynthLib" / "__main__.py"
        assert script.exists(), program
        if script.suffix != ".py" or "argparse" not in script.read_text() + program:
            continue
        monkeypatch.setattr(sys, "argv", [str(script), *rest])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except Parsed:
            continue
        except SystemExit:
            pytest.fail(f"{' '.join(words)}: {capsys.readouterr().err}")
        pytest.fail(f"{program} did not read its options")


def test_every_row_is_one_that_evaluate_knows(claims, measurements):
    evaluate = importlib.import_module("evaluate")
    for words in commands(claims, measurements):
        if words[1] == "training/evaluate.py":
            chosen = evaluate.parse(words[2:])
            table = evaluate.TABLES[chosen.table]
            evaluate.chosen_rows(chosen, table, evaluate.chosen_task(chosen, table))
            evaluate.fill_in(chosen, table)


def test_every_record_is_of_its_command(measurements):
    for measurement in measurements.measurements().values():
        assert measurement.csv.exists() >= measurement.is_there
        if measurement.is_there:
            assert set(measurement.recorded()) == {"command", "cpu_seconds", "date"}
            assert json.loads(measurement.record.read_text())["cpu_seconds"] > 0
