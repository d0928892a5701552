"""Training iterU-Net from end to end, its data, and what is measured on series held out."""

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
from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S
from ContrastSynthLib.weights.bundles import read_bundle

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def data():
    return importlib.import_module("data.breast_series")


@pytest.fixture(scope="module")
def measures():
    return importlib.import_module("evaluation.held_out_iter_unet")


@pytest.fixture
def folder(tmp_path):
    """Two series of tissue of 1 with a lesion that washes out from 3 to 2; half of it is air."""
    rng = np.random.default_rng(0)
    images = np.zeros((8, 20, 40, 40))
    images[:6, :, :, :30] = 1 + rng.normal(0, 0.02, (6, 20, 40, 30))
    for phase, level in enumerate((3.0, 2.75, 2.5, 2.25, 2.0), start=1):
        images[phase, 5:13, 12:24, 12:24] = level
    images[6, 5:13, 12:24, 12:24] = 1
    images[7, :, :, :30] = 1
    for seed in (70000, 70001):
        np.save(tmp_path / f"{seed:05d}_0.npy", images.astype(np.float16))
    return tmp_path


def test_times_follow_from_the_seed_and_increase(data):
    assert data.times_of(70000) == PAPER_TIMES_S[1:]
    for seed in (70001, 70003):
        times = data.times_of(seed)
        assert times == data.times_of(seed) != PAPER_TIMES_S[1:]
        assert 60 <= times[0] <= 120
        assert (np.diff(times) >= 40).all()


def test_a_series_of_a_patient_has_its_phases_lesions_and_body(data, monkeypatch):
    monkeypatch.setattr(data, "SIDES", (48, 49))
    monkeypatch.setattr(data, "DEPTHS", (16, 17))
    (images,) = data.make_series(3)
    assert images.shape == (8, 16, 48, 48)
    lesions, body = images[-2] > 0, images[-1] > 0
    assert lesions.any()
    assert (body[lesions]).all()
    assert images[0][body].astype(float).mean() == pytest.approx(1, abs=0.01)
    assert images[1][lesions].mean() > 1.3 * images[0][lesions].mean()


def test_examples_are_in_units_of_the_first_phase(data, folder):
    paths = sorted(folder.glob("*.npy"))
    series = data.BreastSeries(paths[0])
    first = np.asarray(series.images[1], np.float32)[np.asarray(series.images[-1]) > 0]
    assert series.unit.offset == pytest.approx(first.mean(), rel=0.03)
    assert series.unit.scale == pytest.approx(first.std(), rel=0.1)
    crops = iter(data.BreastCrops(paths, (16, 32, 32), seed=0))
    about = 0
    for _, example in zip(range(12), crops, strict=False):
        assert example["pre"].shape == (1, 16, 32, 32)
        assert example["phases"].shape == (5, 16, 32, 32)
        assert example["times"].shape == (5,)
        about += bool(example["lesions"].any())
    assert about >= 6
    with pytest.raises(SystemExit, match="no series"):
        data.BreastCrops([], (16, 32, 32), seed=0)


class Washes(torch.nn.Module):
    """A recursion whose phases fall by a share of the rise of the first."""

    def __init__(self, share):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(float(share)))

    def recursion(self, pre, phase, times_s):
        steps = times_s.shape[1] - 1
        return [phase - self.share * (n + 1) * (phase - pre) for n in range(steps)]


def test_the_first_phase_held_has_a_score_of_0_and_the_truth_of_nearly_1(measures, folder):
    cases = measures.read_cases(sorted(folder.glob("*.npy")), (16, 32, 32))
    assert len(cases) == 2
    held = measures.judge(Washes(0), cases, range(1, 5))
    assert held == pytest.approx({"score": 0, "enhancement": 1, "image": 1}, abs=1e-6)
    truth = measures.judge(Washes(0.125), cases, range(1, 5))
    assert truth["enhancement"] < 0.02
    assert truth["score"] > 0.6


def run(monkeypatch, folder, steps, more=""):
    words = f"--data {folder} --out {folder / 'run'} --crop 16 --depth 16 --batch 1 --threads 1"
    words += f" --steps {steps} --keep-every 2 --features 4 4 4 4 4 4 {more}"
    monkeypatch.setattr(sys, "argv", ["train_iter_unet.py", *words.split()])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    script = importlib.import_module("train_iter_unet")
    # A crop of 32 keeps more than one voxel at the coarsest scale.
    monkeypatch.setattr(script, "size_of", lambda depth, crop: (16, 32, 32))
    script.main()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def test_it_learns_and_a_run_goes_on(monkeypatch, folder):
    out = folder / "run"
    run(monkeypatch, folder, 2)
    before = load_network(read_bundle(out / "bundle")).state_dict()
    run(monkeypatch, folder, 4)
    with open(out / "validation.csv", encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    card = read_bundle(out / "best").metadata
    assert card["method"] == "iter_unet"
    assert card["training"]["data"] == "1 series of virtual breasts, with 5 phases"
    assert "perceptual" not in card["training"]["losses"]
    after = load_network(read_bundle(out / "bundle"))
    assert any(not torch.equal(before[name], w) for name, w in after.state_dict().items())


@pytest.mark.parametrize(
    "more", ["--clock none --without-memory", "--clock index --without-warm-up", "--only 4"]
)
def test_the_ablations_and_the_baseline_are_trained_too(monkeypatch, folder, more):
    run(monkeypatch, folder, 25, f"{more} --keep-every 25")
    with open(folder / "run" / "curves.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert all(float(row[name]) > 0 for name in ("l1", "ssim", "gradient"))


def test_forced_steps_see_the_real_phases_and_the_others_what_was_made(monkeypatch):
    script = importlib.import_module("train_iter_unet")
    from ContrastSynthLib.networks.iter_unet import IterUNet

    torch.manual_seed(0)
    network = IterUNet((4, 4, 4, 4, 4, 4)).eval()
    torch.nn.init.normal_(network.last.weight)
    batch = {
        "pre": torch.randn(1, 1, 16, 32, 16),
        "phases": torch.randn(1, 5, 16, 32, 16),
        "times": torch.tensor([PAPER_TIMES_S[1:]]),
    }
    wanted = [2, 3, 4]
    free = script.steps(network, batch, wanted, forced=False)
    made = network.recursion(batch["pre"], batch["phases"][:, 1:2], batch["times"][:, 1:], 1)
    torch.testing.assert_close(free, torch.cat(made, dim=1))
    forced = script.steps(network, batch, wanted, forced=True)
    torch.testing.assert_close(forced[:, :1], free[:, :1])
    assert not torch.allclose(forced[:, 1:], free[:, 1:])
    # One phase alone is made from the first of the series.
    (alone,) = network.recursion(batch["pre"], batch["phases"][:, :1], batch["times"][:, [0, 4]])
    torch.testing.assert_close(script.steps(network, batch, [4], forced=False), alone)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--fine-tune x", "from the start"),
        ("--data virtual", "--for iter_unet"),
        ("--crop 24", "multiples of 16"),
    ],
)
def test_what_cannot_be_trained_is_refused(monkeypatch, folder, capsys, more, message):
    with pytest.raises(SystemExit):
        run(monkeypatch, folder, 1, more)
    assert message in capsys.readouterr().err


def test_the_preset_of_the_paper_gives_way_to_what_is_asked_for(monkeypatch, tmp_path):
    script = importlib.import_module("train_iter_unet")
    words = ["train_iter_unet.py", "--out", str(tmp_path), "--data", "x", "--preset", "paper"]
    monkeypatch.setattr(sys, "argv", [*words, "--depth", "32"])
    found = script.read_arguments()
    assert (found.features, found.crop, found.depth) == ((28, 32, 64, 128, 256, 28), 96, 32)


def test_features_of_med3d_are_compared_stage_by_stage(tmp_path):
    med3d = importlib.import_module("ContrastSynthLib.networks.med3d")
    from ContrastSynthLib.errors import RequestError
    from ContrastSynthLib.losses.volumes import med3d_loss

    torch.manual_seed(0)
    network = med3d.Med3DFeatures()
    saved = {f"module.{name}": value for name, value in network.network.state_dict().items()}
    torch.save({"state_dict": saved}, tmp_path / "weights.pth")
    features = med3d.features_of(tmp_path / "weights.pth")
    volume = torch.randn(1, 1, 16, 32, 32, requires_grad=True)
    assert len(features(volume)) == 4
    assert med3d_loss(volume, volume.detach(), features) == 0
    loss = med3d_loss(volume, torch.zeros_like(volume), features)
    loss.backward()
    assert loss > 0
    assert volume.grad.abs().sum() > 0
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(RequestError, match="does not hold the weights of Med3D"):
        med3d.features_of(tmp_path / "other.pth")
