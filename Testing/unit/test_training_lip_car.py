"""The training of LIP-CAR's networks: its four tasks, its presets, and going on."""

from __future__ import annotations

import csv
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_slabs import SIZE, dose_slab, power_failure, write_pool

for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.losses import ssim_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.weights.bundles import find_bundle, read_bundle
from ContrastSynthLib.weights.storage import load_state

pytestmark = pytest.mark.usefixtures("training_path")

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "training"
TASKS = {
    "h2l": (["post"], "denoised", "lip_car"),
    "ph2l": (["pre", "post"], "denoised", "lip_car"),
    "l2h": (["low"], "post", "direct_low_to_full"),
    "pl2h": (["pre", "low"], "post", "direct_low_to_full"),
}
TINY = ("--width", 2, "--crop", 32, "--batch", 2, "--threads", 1)


@pytest.fixture(scope="module")
def doses():
    return importlib.import_module("data.dose_slices")


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("train_lip_car")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"), dose_slab)


def train(out: Path, *options: object) -> None:
    """Run the script in this process: importing torch again takes longer than training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words_of(out, options))
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        importlib.import_module("train_lip_car").main()
        # Fabric leaves its seed behind.
        patch.delenv("PL_GLOBAL_SEED", raising=False)


def words_of(out: Path, options: tuple[object, ...]) -> list[str]:
    return [str(word) for word in (TRAINING / "train_lip_car.py", "--out", out, *options)]


def curves(out: Path) -> list[dict[str, float]]:
    with open(out / "curves.csv", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def network_of(folder: Path, method: str) -> torch.nn.Module:
    bundle = find_bundle(str(folder), method)
    network = build_network(**bundle.metadata["network"])
    network.load_state_dict(load_state(bundle))
    return network.eval()


# ---- the four tasks


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_trained_and_kept_with_its_card(doses, pool, tmp_path, task):
    roles, aim, method = TASKS[task]
    options = ("--task", task, "--data", pool, *TINY, "--learning-rate", 1e-2, "--steps", 100)
    train(tmp_path / "run", *options)
    bundle = read_bundle(tmp_path / "run" / "bundle")
    card = bundle.metadata
    assert (bundle.name, bundle.method) == (task, method)
    wanted = {"in_channels": len(roles), "width": 2, "base": len(roles) - 1}
    assert card["network"] == {"name": "vnet", "arguments": wanted}
    assert list(card["inputs"]) == roles
    assert card["task"].startswith(f"{aim} from {' and '.join(roles)},")
    assert card["normalisation"] == "low_dose"
    assert card["dose"] == 0.25
    assert card["training"]["steps"] == 100
    assert card["training"]["losses"] == {"ssim": 1.0, "l1": 0.5}
    assert card["trained_on_virtual_patients"] is True
    assert [row["step"] for row in curves(tmp_path / "run")] == [25, 50, 75, 100]
    # At the start the answer is the scan that is to change; other crops than it learnt from.
    batch = next(doses.batches(str(pool), crop=48, batch=8, seed=77, workers=0))
    seen = torch.cat([batch[role] for role in roles], dim=1)
    with torch.no_grad():
        made = network_of(tmp_path / "run" / "bundle", method)(seen)["image"]
    before, after = (loss_of(image, batch[aim]) for image in (batch[roles[-1]], made))
    # Measured: 0.29, 0.13, 0.73 and 0.63 of it.
    assert after < 0.9 * before


def loss_of(made: torch.Tensor, aim: torch.Tensor) -> float:
    return float(ssim_loss(made, aim, data_range=1.0) + 0.5 * (made - aim).abs().mean())


def test_the_loss_is_the_one_that_is_written_out(script, doses, pool):
    """And its gradient is what the step follows: plain descent by it lowers it."""
    batch = next(doses.batches(str(pool), crop=32, batch=2, seed=0, workers=0))
    arguments = read(script, "--task", "ph2l", *TINY)
    torch.manual_seed(0)
    _, network = script.make_network(arguments)
    fabric = importlib.import_module("lightning_fabric").Fabric(accelerator="cpu", devices=1)
    descent = torch.optim.SGD(network.parameters(), lr=1e-2)
    learner = importlib.import_module("loop").Learner(fabric, network, descent, max_norm=5.0)
    losses = []
    for _ in range(3):
        loss, terms = script.loss_of(learner.network, batch, arguments)
        assert loss.item() == pytest.approx(terms["ssim"].item() + 0.5 * terms["l1"].item())
        losses.append(loss.item())
        learner.descend(loss, 1e-2)
    assert losses[0] == pytest.approx(loss_of(batch["post"], batch["denoised"]), rel=1e-5)
    assert losses[0] > losses[1] > losses[2]


# ---- presets and starts


def read(script, *options: object):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words_of(Path("run"), ("--task", "l2h", *options)))
        return script.read_arguments()


def chosen(script, *options: object) -> tuple[object, ...]:
    found = read(script, *options)
    return found.width, found.batch, found.learning_rate, found.weigh_l1, found.base


def test_the_preset_is_the_papers(script):
    assert chosen(script, "--preset", "paper") == (12, 16, 1e-3, 0.0, False)
    assert chosen(script) == (6, 8, 1e-3, 0.5, True)


def test_the_presets_differ_in_the_rate_which_does_not_fall(script):
    paper, code = (read(script, "--preset", name) for name in ("paper", "authors_code"))
    assert (paper.learning_rate, code.learning_rate) == (1e-3, 1e-4)
    assert paper.fixed_rate
    assert code.fixed_rate
    assert not read(script).fixed_rate
    assert not read(script, "--preset", "paper", "--no-fixed-rate").fixed_rate


@pytest.mark.parametrize(
    ("options", "roles"),
    [
        (("--task", "ph2l"), (("pre", "post"), "denoised")),
        (("--task", "ph2l", "--low", "scanned"), (("pre", "post"), "low")),
        (("--task", "pl2h"), (("pre", "low"), "post")),
        (("--task", "pl2h", "--low", "denoised"), (("pre", "denoised"), "post")),
    ],
)
def test_each_low_dose_of_table_1_has_a_network(script, options, roles):
    assert script.roles_of(read(script, *options)) == roles


def test_the_card_says_which_low_dose_a_network_knows(pool, tmp_path):
    options = ("--task", "l2h", "--low", "denoised", "--data", pool, *TINY, "--steps", 1)
    train(tmp_path / "run", *options)
    card = read_bundle(tmp_path / "run" / "bundle").metadata
    assert (card["low_dose"], list(card["inputs"])) == ("denoised", ["low"])


@pytest.mark.parametrize(
    ("options", "place", "value"),
    [
        (("--width", 4), 0, 4),
        (("--batch", 2), 1, 2),
        (("--learning-rate", 0.5), 2, 0.5),
        (("--weigh-l1", 0.25), 3, 0.25),
        (("--base",), 4, True),
        # What is given counts also where it is the default without the preset.
        (("--width", 6), 0, 6),
        (("--batch", 8), 1, 8),
    ],
)
def test_what_is_given_beats_the_preset(script, options, place, value):
    wanted = [12, 16, 1e-3, 0.0, False]
    wanted[place] = value
    for words in (("--preset", "paper", *options), (*options, "--preset", "paper")):
        assert chosen(script, *words) == tuple(wanted)


def test_the_preset_makes_the_papers_network(script):
    options, network = script.make_network(read(script, "--preset", "paper"))
    assert options == {"in_channels": 1, "width": 12, "base": None}
    assert network.base is None
    assert network.last.in_channels == 12


def test_a_task_has_to_be_given(script, tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        train(tmp_path / "run", *TINY)
    assert refusal.value.code == 2
    assert "--task" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_fine_tuning_starts_from_given_weights_of_the_same_task(script, pool, tmp_path):
    given = tmp_path / "run" / "bundle"
    train(given.parent, "--task", "l2h", "--data", pool, *TINY, "--steps", 3)
    options, network = script.make_network(read(script, "--fine-tune", given))
    # The width is that of the weights, whatever the default is.
    assert options == {"in_channels": 1, "width": 2, "base": 0}
    state = load_state(read_bundle(given))
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[name], t) for name, t in network.state_dict().items())
    with pytest.raises(SystemExit, match="are not weights of pl2h"):
        train(tmp_path / "no", "--task", "pl2h", "--data", pool, *TINY, "--fine-tune", given)


# ---- going on


@pytest.fixture
def one_image(tmp_path) -> Path:
    """A pool of one slice that is its own mirror image: each batch is the same as all others.

    A run that goes on sees other crops than one that was not stopped. Here there are none, so
    that both must come to the same.
    """
    slab = dose_slab(0)[:, 2:3, :, :].astype(np.float32)
    slab = ((slab + slab[..., ::-1]) / 2).astype(np.float16)
    (tmp_path / "pool").mkdir()
    np.save(tmp_path / "pool" / "00000_0.npy", slab)
    return tmp_path / "pool"


def options_of(pool: Path, steps: int, every: int) -> tuple[object, ...]:
    small = ("--width", 2, "--crop", SIZE, "--batch", 2, "--threads", 1)
    return ("--task", "ph2l", "--data", pool, *small, "--steps", steps, "--keep-every", every)


def assert_the_same_run(one: Path, other: Path) -> None:
    assert curves(one) == curves(other)
    first, second = (torch.load(out / "checkpoint.pt", weights_only=True) for out in (one, other))
    assert first["step"] == second["step"]
    for part in ("network", "average"):
        assert first[part].keys() == second[part].keys()
        for name, tensor in first[part].items():
            torch.testing.assert_close(second[part][name], tensor, rtol=0, atol=0)
    states = [load_state(read_bundle(out / "bundle")) for out in (one, other)]
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())


def test_a_run_that_broke_off_goes_on_as_if_it_had_not(one_image, tmp_path, monkeypatch):
    options = options_of(one_image, steps=75, every=25)
    train(tmp_path / "whole", *options)
    with power_failure(monkeypatch, after=40):
        train(tmp_path / "broken", *options)
    assert torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["step"] == 25
    assert len(curves(tmp_path / "broken")) == 1
    train(tmp_path / "broken", *options)
    assert_the_same_run(tmp_path / "whole", tmp_path / "broken")
    losses = [row["ssim"] for row in curves(tmp_path / "whole")]
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_as_if_it_had_not(one_image, tmp_path):
    """As a user would run it, and at any moment: three times, each at another step."""
    options = options_of(one_image, steps=200, every=25)
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def start(out: Path) -> subprocess.Popen[str]:
        command = [sys.executable, *words_of(out, options)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)

    def step_of(out: Path) -> int:
        path = out / "checkpoint.pt"
        return torch.load(path, weights_only=True)["step"] if path.exists() else 0

    for at_least in (25, 50, 100):
        running = start(killed)
        until = time.monotonic() + 300
        while step_of(killed) < at_least:
            assert running.poll() is None, running.communicate()[1][-3000:]
            assert time.monotonic() < until
            time.sleep(0.02)
        running.kill()
        running.communicate()
        assert at_least <= step_of(killed) < 200
    for out in (whole, killed):
        running = start(out)
        printed, error = running.communicate(timeout=300)
        assert running.returncode == 0, error[-3000:]
        assert ("going on from step" in printed) is (out == killed)
    assert [row["step"] for row in curves(killed)] == list(range(25, 201, 25))
    assert_the_same_run(whole, killed)
