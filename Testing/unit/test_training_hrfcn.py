"""Training the high-resolution FCN from end to end, and what is measured on cases held out."""

from __future__ import annotations

import csv
import importlib
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.weights.bundles import read_bundle

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def measures():
    return importlib.import_module("evaluation.held_out_hrfcn")


@pytest.fixture
def slab():
    """Tissue of 0.4 with noise, a block of which rises by 0.4; t2 shows it, adc is missing."""
    rng = np.random.default_rng(0)
    t1 = 0.4 + rng.normal(0, 0.02, (6, 40, 40))
    rise = np.zeros_like(t1)
    rise[1:5, 10:20, 10:20] = 0.4
    nothing = np.zeros_like(t1)
    post = t1 + rise + rng.normal(0, 0.01, t1.shape)
    return np.stack([t1, 0.3 + rise, nothing, nothing, post]).astype(np.float16)


class Answers(torch.nn.Module):
    """Gives T1, and some of what T2 shows beyond 0.3."""

    def __init__(self, share):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(float(share)))

    def forward(self, scans):
        return {"post": scans[:, :1] + self.share * (scans[:, 1:2] - 0.3).clamp(min=0)}


def test_t1_as_it_is_has_a_score_of_0_and_the_truth_of_1(measures, slab, tmp_path):
    np.save(tmp_path / "one.npy", slab)
    cases = measures.read_cases([tmp_path / "one.npy"], ("t1", "t2"))
    assert {tuple(case.scans.shape) for case in cases} == {(1, 2, 3, 48, 48)}
    held = measures.judge(Answers(0), cases)
    assert held == pytest.approx({"score": 0, "left": 1, "elsewhere": 1, "auc": 0.5}, abs=0.01)
    truth = measures.judge(Answers(1), cases)
    assert truth["left"] < 0.05
    assert truth["auc"] == pytest.approx(1)


def test_the_area_under_the_curve_is_that_of_pairs(measures):
    values, positive = np.array([1.0, 2, 2, 3]), np.array([False, True, False, True])
    # Of the four pairs three are in order, one is a tie.
    assert measures.area_under_curve(values, positive) == pytest.approx(3.5 / 4)


@pytest.fixture
def folders(slab, tmp_path):
    for folder in ("virtual", "real", "real/held_out"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "one.npy", slab)
    return tmp_path


def run(monkeypatch, folders, steps, more=""):
    words = f"--data {folders / 'virtual'} --real {folders / 'real'} --out {folders / 'run'}"
    words += f" --crop 32 --batch 2 --threads 1 --steps {steps} --keep-every 2 {more}"
    words += "" if "bayesian_unet" in more else " --blocks 1"
    monkeypatch.setattr(sys, "argv", ["train_hrfcn.py", *words.split(), "--widths", "4", "8"])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    importlib.import_module("train_hrfcn").main()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def test_it_learns_and_a_run_goes_on(monkeypatch, folders):
    out = folders / "run"
    run(monkeypatch, folders, 2)
    before = load_network(read_bundle(out / "bundle")).state_dict()
    run(monkeypatch, folders, 4)
    with open(out / "validation.csv", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    card = read_bundle(out / "best").metadata
    assert card["method"] == "hrfcn"
    assert list(card["inputs"]) == ["t1", "t2", "flair", "adc"]
    assert card["training"]["data"] == "1 pairs of scans (of your own) and virtual brains"
    assert card["training"]["held_out_cases"] == ["one"]
    assert read_bundle(out / "best").real_patients == 1
    after = load_network(read_bundle(out / "bundle"))
    assert any(not torch.equal(before[name], w) for name, w in after.state_dict().items())


@pytest.mark.parametrize(
    "more",
    [
        "--flat",
        "--network bayesian_unet --dropout 0",
        "--network bayesian_unet --flat",
        "--inputs t2 --no-fusion",
        "--weigh-local 0 --two-stages",
        "--no-base --real-share 1",
    ],
)
def test_variants_are_trained_too(monkeypatch, folders, more):
    run(monkeypatch, folders, 25, f"{more} --keep-every 25")
    with open(folders / "run" / "curves.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert all(float(row[name]) > 0 for name in ("l1", "ssim", "local"))


def test_squared_errors_take_the_place_of_l1(monkeypatch, folders):
    run(monkeypatch, folders, 25, "--keep-every 25 --squared")
    with open(folders / "run" / "curves.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert set(row) >= {"squared", "ssim", "local"}
    assert "l1" not in row
    card = read_bundle(folders / "run" / "bundle").metadata
    assert card["training"]["losses"]["first stage"] == {"squared": 10.0, "ssim": 1.0, "local": 0.1}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--fine-tune x", "from the start"),
        ("--data virtual", "--for hrfcn"),
        ("--network bayesian_unet --blocks 1 --norm batch", "bayesian_unet has no blocks, norm"),
        ("--network bayesian_unet --no-fusion", "bayesian_unet has no fused"),
        ("--dropout 0.2", "hrfcn has no dropout"),
    ],
)
def test_what_cannot_be_trained_is_refused(monkeypatch, folders, capsys, more, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, folders, 1, more)
    assert message in capsys.readouterr().err


def test_the_preset_of_the_paper_gives_way_to_what_is_asked_for(monkeypatch, tmp_path):
    script = importlib.import_module("train_hrfcn")
    words = ["train_hrfcn.py", "--out", str(tmp_path), "--data", "slabs", "--preset", "paper"]
    monkeypatch.setattr(sys, "argv", [*words, "--blocks", "2"])
    found = script.read_arguments()
    assert script.options_of(found) == {
        **{"inputs": ["t1", "t2", "flair", "adc"], "widths": [64, 128, 256], "blocks": 2},
        **{"dimensions": 3, "base": None, "norm": "batch", "joined": None, "fused": True},
    }
    words[-1] = "authors_code"
    monkeypatch.setattr(sys, "argv", words)
    code = script.read_arguments()
    assert (code.widths, code.joined, code.blocks) == ((32, 64, 128, 256), 2, 4)
    assert (code.multi_scale, code.most, code.two_stages) == (True, 0.6, True)
    monkeypatch.setattr(sys, "argv", [*words, "--network", "bayesian_unet"])
    unet = script.options_of(script.read_arguments())
    assert "blocks" not in unet
    assert unet["widths"] == [32, 64, 128, 256]
