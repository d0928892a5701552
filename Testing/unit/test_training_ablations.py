"""The ablations of the training on real pairs: each row trains, once, and stands in the table."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture
def script(monkeypatch):
    """The script, whose trainings write what they would have measured; and their commands."""
    module = importlib.import_module("ablate_sphere_real")
    module.commands = []

    def trained(command, check):
        assert check
        module.commands.append(command)
        out = module.Path(command[-1])
        out.mkdir(parents=True, exist_ok=True)
        steps = command[command.index("--steps") + 1]
        measured = f"step,score,share,left,out,lost\n{steps},-0.2,0.3,0.5,0.02,0.04\n"
        (out / "validation.csv").write_text(measured, encoding="utf-8")

    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=trained))
    return module


def run(monkeypatch, script, out, *more):
    monkeypatch.setattr(sys, "argv", ["ablate.py", "--out", str(out), "--data", "pairs", *more])
    script.main()


def test_each_row_is_trained_once_and_printed(monkeypatch, script, tmp_path, capsys):
    run(monkeypatch, script, tmp_path)
    assert len(script.commands) == len(script.RUNS)
    assert len({command[-1] for command in script.commands}) == len(script.RUNS)
    assert all("--data" in command for command in script.commands)
    printed = capsys.readouterr().out
    assert "| real pairs alone | 0.300 | 0.500 | 0.020 | 0.040 |" in printed
    run(monkeypatch, script, tmp_path)
    assert len(script.commands) == len(script.RUNS)
    run(monkeypatch, script, tmp_path, "--steps", "900", "--only", "both")
    assert len(script.commands) == len(script.RUNS) + 1


def test_rows_have_options_that_the_training_knows(monkeypatch, script, tmp_path):
    """A name that the recipe no longer has would end a run after hours of others."""
    training = importlib.import_module("train_sphere_real")
    for more in script.RUNS.values():
        words = ["x", "--data", "pairs", "--maps", "maps", "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [*words, *script.RECIPE.split(), *more.split()])
        training.read_arguments()
