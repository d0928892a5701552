"""The table of what the trainings of the weights took."""

import csv
import importlib
import json

import pytest

from ContrastSynthLib.weights.bundles import find_bundle, known_weights


@pytest.fixture
def script(training_path):
    return importlib.import_module("training_costs")


def test_without_names_it_is_all_shipped_weights(script, tmp_path, capsys):
    path = tmp_path / "costs.csv"
    assert script.main(["--csv", str(path)]) == 0
    with path.open(newline="", encoding="utf-8") as stream:
        lines = {line["label"]: line for line in csv.DictReader(stream)}
    assert set(lines) == set(known_weights())
    training = find_bundle("vcm", "vcm").metadata["training"]
    assert float(lines["vcm"]["steps"]) == training["steps"]
    assert float(lines["vcm"]["minutes"]) == pytest.approx(60 * training["hours"])
    assert f"| {training['steps']:,} |" in capsys.readouterr().out


def test_a_folder_may_be_named(script, tmp_path, capsys):
    shipped = find_bundle("h2l", None)
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in shipped.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    card["training"] |= {"steps": 4321, "hours": 1.5, "hours_of": "GPU"}
    (folder / "metadata.json").write_text(json.dumps(card), encoding="utf-8")
    assert script.main([str(folder)]) == 0
    (line,) = capsys.readouterr().out.splitlines()[2:]
    assert line.startswith(f"| h2l {shipped.version} | 4,321 | 90 | GPU |")


def test_unknown_weights_are_named(script, capsys):
    assert script.main(["nothing_like_it"]) == 3
    assert "The weights 'nothing_like_it' were not found" in capsys.readouterr().err
