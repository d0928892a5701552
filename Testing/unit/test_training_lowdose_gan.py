"""Training the low-dose GAN from end to end, and what is measured on the patients held out."""

from __future__ import annotations

import csv
import importlib
import sys

import pytest
from training_pairs import write_pairs

torch = pytest.importorskip("torch")
for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.weights.bundles import read_bundle

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def measures():
    return importlib.import_module("evaluation.held_out_lowdose")


@pytest.fixture
def example():
    """A cube that rises by half at the full dose, a fifth of which at the dose; noise of 0.05."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(3, 1, 24, 24, 24, generator=generator)
    rise = torch.zeros(1, 24, 24, 24)
    rise[:, 8:16, 8:16, 8:16] = 0.5
    native, standard, low = 1 + noise + torch.stack([0 * rise, rise, 0.3 * rise])
    return {
        "native": native,
        "standard": standard,
        "residual": low - native,
        "dose": torch.tensor(0.2),
        "noise": torch.tensor(0.05),
        "field": torch.tensor(3.0),
    }


class Answers(torch.nn.Module):
    """Gives one residual image, whatever it sees."""

    def __init__(self, residual):
        super().__init__()
        self.residual = torch.nn.Parameter(residual)

    def forward(self, image, told):
        assert image.shape[1] == 3
        return {"residual": self.residual[None]}


def test_linear_interpolation_has_a_score_of_0_and_the_truth_of_1(measures, example):
    assert measures.can_be_measured(example)
    linear = measures.judge(Answers(measures.linear(example)), [example, example])
    assert linear == pytest.approx({"score": 0, "ce": 1, "rise": 1, "sigma": 1}, abs=1e-6)
    truth = measures.judge(Answers(example["residual"]), [example])
    assert truth == pytest.approx({"score": 1, "ce": 0, "rise": 0, "sigma": 0}, abs=1e-6)


def test_a_smooth_residual_is_told_from_one_with_noise(measures, example):
    rise = torch.where(example["standard"] - example["native"] > 0.25, 0.15, 0.0)
    smooth = measures.judge(Answers(rise), [example])
    other = 0.05 * 2**0.5 * torch.randn(rise.shape, generator=torch.Generator().manual_seed(1))
    noisy = measures.judge(Answers(rise + other), [example])
    assert noisy["sigma"] < 0.2 < smooth["sigma"]
    assert smooth["ce"] < noisy["ce"]
    assert noisy["score"] > smooth["score"] + 0.3


def test_patches_without_agent_are_not_measured(measures, example):
    assert not measures.can_be_measured({**example, "standard": example["native"]})


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "pairs")


def run(monkeypatch, data, out, steps, more=""):
    words = f"--data {data} --out {out} --real-share 1 --held-out 1 --crop 16 --batch 2 --threads 1"
    words += f" --steps {steps} --keep-every 2 --width 4 --critic-width 4 --critic-steps 2 {more}"
    monkeypatch.setattr(sys, "argv", ["train_lowdose_gan.py", *words.split()])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    script = importlib.import_module("train_lowdose_gan")
    monkeypatch.setattr(script, "MEASURED_SIDE", 24)
    script.main()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def test_both_networks_learn_and_a_run_goes_on(monkeypatch, data, tmp_path):
    out = tmp_path / "run"
    run(monkeypatch, data, out, 2)
    before = load_network(read_bundle(out / "bundle")).state_dict()
    run(monkeypatch, data, out, 4)
    with open(out / "validation.csv", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    card = read_bundle(out / "best").metadata
    assert card["method"] == "lowdose_gan"
    assert not card["trained_on_virtual_patients"]
    assert card["training"]["losses"]["np"] == 200
    assert card["training"]["data"].startswith("2 pairs of scans of 2 patients")
    assert len(card["training"]["held_out_patients"]) == 1
    after = load_network(read_bundle(out / "bundle"))
    assert any(not torch.equal(before[name], w) for name, w in after.state_dict().items())
    saved = torch.load(out / "checkpoint.pt", weights_only=False)
    assert {"network", "critic", "critic optimiser"} <= {*map(str, _names(saved))}


def test_a_warm_up_needs_no_critic_and_can_be_gone_on_with(monkeypatch, data, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run(monkeypatch, data, first, 25, "--warm-up 1 --keep-every 25")
    with open(first / "curves.csv", encoding="utf-8") as file:
        assert not next(csv.DictReader(file)).get("critic")
    run(monkeypatch, data, second, 2, f"--warm-up 0 --width 8 --fine-tune {first / 'bundle'}")
    card = read_bundle(second / "bundle").metadata
    assert card["network"]["arguments"]["width"] == 4, "that of the weights it goes on with"
    assert len(card["training"]["parents"]) == 1


def _names(saved, depth=2):
    for name, value in saved.items():
        yield name
        if isinstance(value, dict) and depth:
            yield from _names(value, depth - 1)


@pytest.mark.parametrize(
    "more", ["--content l1", "--solver sinkhorn", "--solver ipot", "--shared-embedding"]
)
def test_other_losses_and_a_shared_embedding_are_learnt_by_too(monkeypatch, data, tmp_path, more):
    run(monkeypatch, data, tmp_path / "run", 25, f"{more} --keep-every 25")
    with open(tmp_path / "run" / "curves.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert all(float(row[name]) for name in ("critic", "penalty", "fooling", "content"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--content perceptual", "needs --features"),
        ("--crop 24", "a multiple of 16"),
        ("--real-share 0.5", "give --maps"),
    ],
)
def test_what_cannot_be_trained_is_refused(monkeypatch, data, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, data, tmp_path / "run", 1, more)
    assert message in capsys.readouterr().err


def test_the_preset_of_the_paper_gives_way_to_what_is_asked_for(monkeypatch, tmp_path):
    script = importlib.import_module("train_lowdose_gan")
    words = ["train_lowdose_gan.py", "--out", str(tmp_path), "--real-share", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--preset", "paper", "--batch", "2"])
    found = script.read_arguments()
    assert (found.width, found.critic_width, found.crop, found.batch) == (12, 32, 64, 2)
    assert found.critic_steps == 5
    assert not found.interpolated
