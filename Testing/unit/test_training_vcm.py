"""Training the virtual contrast model: its slices, what is measured, and the script."""

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
DOSE = 0.2


@pytest.fixture(scope="module")
def slices():
    return importlib.import_module("data.vcm_slices")


@pytest.fixture(scope="module")
def measures():
    return importlib.import_module("evaluation.held_out_vcm")


@pytest.fixture
def batch():
    """Two patches whose slices are told apart by their level, with a rise of a half."""
    native = torch.arange(1.0, 10).reshape(1, 1, 9, 1, 1).expand(2, 1, 9, 16, 16).clone()
    rise = torch.zeros_like(native)
    rise[..., 4:8, 4:8] = 0.5
    return {
        "native": native,
        "standard": native + rise,
        "residual": DOSE * rise,
        "dose": torch.full((2,), DOSE),
        "field": torch.full((2,), 3.0),
    }


def test_the_middle_slices_are_shown_and_the_low_dose_is_extrapolated(slices, batch):
    shown = slices.as_slices(batch, 7)
    assert shown["seen"].shape == (2, 14, 16, 16)
    assert shown["seen"][0, :7, 0, 0].tolist() == [2, 3, 4, 5, 6, 7, 8]
    # A rise in proportion to the dose is extrapolated to the rise of the full one.
    torch.testing.assert_close(shown["seen"][:, 10:11], shown["post"])
    torch.testing.assert_close(shown["post"][:, 0], batch["standard"][:, 0, 4])
    assert shown["rises"].sum() == 2 * 16


def test_a_gain_that_is_left_moves_the_low_dose_alone(slices, batch):
    torch.manual_seed(0)
    given = slices.with_gain(batch)
    low, before = (each["native"] + each["residual"] for each in (given, batch))
    gains = (low / before).flatten(1)
    torch.testing.assert_close(gains, gains[:, :1].expand_as(gains))
    assert (gains != 1).all()
    assert (gains - 1).abs().max() < 0.05
    assert torch.equal(given["standard"], batch["standard"])


class Answers(torch.nn.Module):
    """Gives one image, whatever it sees."""

    def __init__(self, image):
        super().__init__()
        self.image = torch.nn.Parameter(image)

    def forward(self, seen):
        return {"post": self.image}


@pytest.fixture
def case(slices, batch):
    one = {name: value[:1] for name, value in batch.items()}
    one["native"] = one["native"] + 0.01
    shown = slices.as_slices(one, 7)
    middle = one["native"][:, 0, 4:5]
    return {**shown, "low": middle + one["residual"][:, 0, 4:5], "tissue": middle > 0}


def test_the_truth_has_a_score_of_1_and_the_low_dose_leaves_all(measures, case):
    assert not measures.can_be_measured(case)  # 16 pixels are too few
    truth = measures.judge(Answers(case["post"]), [case])
    assert truth == pytest.approx({"score": 1, "left": 0, "elsewhere": 0}, abs=1e-5)
    assert measures.judge(Answers(case["low"]), [case])["left"] == pytest.approx(1)
    native = measures.judge(Answers(case["seen"][:, 3:4]), [case])
    assert native["left"] == pytest.approx(1 / (1 - DOSE), rel=0.01)


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "pairs", lesion=0.3)


def run(monkeypatch, data, out, steps, more="", script="train_vcm"):
    words = f"--data {data} --out {out} --real-share 1 --held-out 1 --crop 32 --batch 2 --threads 1"
    words += f" --steps {steps} --keep-every 2 --width 4 {more}"
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *words.split()])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.setattr(importlib.import_module("evaluation.held_out_vcm"), "MEASURED_SIDE", 32)
    importlib.import_module(script).main()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def test_it_learns_and_a_run_goes_on(monkeypatch, data, tmp_path):
    out = tmp_path / "run"
    run(monkeypatch, data, out, 2)
    before = load_network(read_bundle(out / "bundle")).state_dict()
    run(monkeypatch, data, out, 4)
    with open(out / "validation.csv", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    card = read_bundle(out / "best").metadata
    assert (card["method"], card["doses"]) == ("vcm", [0.1, 0.33])
    assert "their low dose simulated" in card["training"]["data"]
    assert not card["trained_on_virtual_patients"]
    assert len(card["training"]["held_out_patients"]) == 1
    after = load_network(read_bundle(out / "bundle"))
    assert any(not torch.equal(before[name], w) for name, w in after.state_dict().items())


@pytest.fixture
def generator(monkeypatch, data, tmp_path):
    """A bundle of a generator that took one step."""
    monkeypatch.setattr(importlib.import_module("train_lowdose_gan"), "MEASURED_SIDE", 24)
    more = "--critic-width 4 --crop 16"
    run(monkeypatch, data, tmp_path / "gan", 1, more, script="train_lowdose_gan")
    return tmp_path / "gan" / "bundle"


def test_low_doses_can_be_those_of_a_generator(monkeypatch, data, tmp_path, generator):
    out = tmp_path / "run"
    run(monkeypatch, data, out, 2, f"--generator {generator}")
    card = read_bundle(out / "bundle").metadata
    assert "their low dose synthesised by lowdose_gan-1.0" in card["training"]["data"]


def test_the_generator_replaces_the_low_dose_and_nothing_else(generator, tmp_path):
    script = importlib.import_module("train_vcm")
    arguments = type("Arguments", (), {"generator": generator})
    torch.manual_seed(0)
    native = torch.rand(1, 1, 16, 16, 16)
    native[..., :4] = 0
    names = ("native", "standard", "residual")
    batch = dict.fromkeys(names, native) | {"dose": torch.tensor([0.2]), "field": torch.ones(1)}
    batch["noise"] = torch.tensor([0.05])
    made = script.synthesiser(arguments, torch.device("cpu"))(batch)
    assert torch.equal(made["standard"], batch["standard"])
    assert not torch.equal(made["residual"], batch["residual"])
    assert not made["residual"][..., :4].any()


@pytest.mark.parametrize(
    ("more", "message"),
    [("--real-share 0.5", "give --maps"), ("--fine-tune x", "is trained from the start")],
)
def test_what_cannot_be_trained_is_refused(monkeypatch, data, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, data, tmp_path / "run", 1, more)
    assert message in capsys.readouterr().err


def test_the_preset_of_the_paper_gives_way_to_what_is_asked_for(monkeypatch, tmp_path):
    script = importlib.import_module("train_vcm")
    words = ["train_vcm.py", "--out", str(tmp_path), "--real-share", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--preset", "paper", "--crop", "64"])
    found = script.read_arguments()
    assert (tuple(found.doses), found.crop) == ((0.33, 0.33), 64)
