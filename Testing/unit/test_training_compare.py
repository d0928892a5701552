"""The comparison of SPHERE with its baselines: the search of the rate, budgets, tables, curves."""

from __future__ import annotations

import csv
import importlib
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest

from ContrastSynthLib.phantom.brain.parameters import CORRUPTION
from ContrastSynthLib.weights.model_card import check_form

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.usefixtures("training_path")

BEST = "0.002"
FEW = ("--steps", "8", "32", "--rates", "1e-3", "2e-3")


@pytest.fixture
def script(monkeypatch):
    """The script, whose trainings write what they would have measured; and their commands."""
    module = importlib.import_module("compare")
    module.commands = []

    def ran(command, check):
        assert check
        words = [str(word) for word in command]
        module.commands.append(words)
        if "--out" not in words:
            return
        out = module.Path(value_of(words, "--out"))
        out.mkdir(parents=True, exist_ok=True)
        steps = int(value_of(words, "--steps"))
        score = steps / 100 + (value_of(words, "--learning-rate") == BEST)
        rows = [f"{step},{score * step / steps}" for step in (steps // 2, steps)]
        (out / "validation.csv").write_text("\n".join(["step,score", *rows]) + "\n")
        torch.save({"seconds": 3.0 * steps, "step": steps}, out / "checkpoint.pt")

    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=ran))
    return module


def value_of(words, option):
    return words[words.index(option) + 1]


def run(monkeypatch, script, out, *more):
    words = ["compare.py", "pool", "--validation", "other", "--features", "vgg", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, *more])
    script.main()


def trainings(script):
    return [words for words in script.commands if "--out" in words]


def test_the_best_rate_of_the_first_budget_is_used_at_the_others(
    monkeypatch, script, tmp_path, capsys
):
    run(monkeypatch, script, tmp_path, *FEW, "--only", "sphere", "mambair")
    for name in ("sphere", "mambair"):
        mine = [words for words in trainings(script) if value_of(words, "--name") == name]
        asked = [(value_of(w, "--steps"), value_of(w, "--learning-rate")) for w in mine]
        assert asked == [("8", "0.001"), ("8", BEST), ("32", BEST)]
    assert "| mambair | 0.080 | 1.080 | 0.002 | 3.00 |" in capsys.readouterr().out
    done = len(trainings(script))
    run(monkeypatch, script, tmp_path, *FEW, "--only", "sphere", "mambair")
    assert len(trainings(script)) == done


def test_every_row_names_weights_that_can_be_kept(script):
    for name in script.RUNS:
        check_form("name", name, name)


def test_the_curves_have_every_budget(monkeypatch, script, tmp_path):
    run(monkeypatch, script, tmp_path, *FEW, "--only", "sphere", "sphere_art", "--patients", "0")
    with open(tmp_path / "curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    points = [(r["budget"], r["step"]) for r in rows if r["network"] == "sphere"]
    assert points == [("8", "4"), ("8", "8"), ("32", "16"), ("32", "32")]
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert not [words for words in script.commands if "--out" not in words]


def test_the_tables_have_the_rows_of_the_paper(monkeypatch, script, tmp_path):
    run(monkeypatch, script, tmp_path, *FEW)
    tables, artefacts = {}, set()
    for words in script.commands:
        if "--table" in words:
            rows = [word for before, word in pairwise(words) if before == "--row"]
            tables[value_of(words, "--virtual"), value_of(words, "--table")] = rows
            assert ("--corrupt" in words) == ("sphere_3" in words)
            artefacts |= {value_of(words, "--corrupt")} if "--corrupt" in words else set()
    assert len(tables) == 6
    assert artefacts == set(CORRUPTION)
    names = {key: [row.partition("=")[0] for row in rows] for key, rows in tables.items()}
    for kind in ("same", "different"):
        assert {"swinir", "ukan", "mambair", "biceps"} < set(names[kind, "sphere_2"])
        assert {"art_unet", "art_unet_plus_plus"} < set(names[kind, "sphere_3"])
        assert "masked_loss" in names[kind, "sphere_5"]
    art = next(row for row in tables["same", "sphere_3"] if row.startswith("sphere_art"))
    assert f"sphere={tmp_path}/sphere/32_{BEST}/bundle+sphere_art=" in art


def test_runs_have_options_that_the_trainings_know(monkeypatch, script, tmp_path):
    """A name that is gone would end the comparison after hours."""
    run(monkeypatch, script, tmp_path, *FEW, "--patients", "0")
    for words in trainings(script):
        training = importlib.import_module(script.Path(words[1]).stem)
        monkeypatch.setattr(sys, "argv", words[1:])
        training.read_arguments()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--steps", "30", "10"), "budgets in rising order"),
        (("--only", "art_unet"), "add sphere to --only"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    monkeypatch, script, tmp_path, capsys, options, message
):
    with pytest.raises(SystemExit):
        run(monkeypatch, script, tmp_path, *options)
    assert message in capsys.readouterr().err
