"""The training of LIP-CAR's networks: its examples, its four tasks, its presets, and going on."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import Volume

torch = pytest.importorskip("torch")
for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.losses import ssim_loss
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.weights.bundles import find_bundle, read_bundle
from ContrastSynthLib.weights.storage import load_state

pytestmark = pytest.mark.usefixtures("training_path")

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "training"
SIZE, DEPTH = 48, 5
ROLES = ("pre", "low", "post", "denoised")
TASKS = {
    "h2l": (["post"], "denoised", "lip_car"),
    "ph2l": (["pre", "post"], "denoised", "lip_car"),
    "l2h": (["low"], "post", "direct_low_to_full"),
    "pl2h": (["pre", "low"], "post", "direct_low_to_full"),
}
TINY = ("--width", 2, "--crop", 32, "--batch", 2, "--threads", 1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def doses():
    return importlib.import_module("dose_slices")


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("train_lip_car")


def scans(seed: int, noise: float = 12.0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Scans (slices, rows, cols) with their heads, in units and at gains of their own.

    Returns them, the brain, and where in the brain agent goes.
    """
    rng = np.random.default_rng(seed)
    shape = (DEPTH, SIZE, SIZE)
    rows, cols = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    brain = np.broadcast_to((rows / 22) ** 2 + (cols / 18) ** 2 < 1, shape)
    smooth = gaussian_filter(rng.normal(size=shape), (1, 4, 4))
    tissue = 800 * (1 + 0.1 * smooth / smooth.std()).clip(0.6)
    agent = (np.hypot(rows - 4, cols + 5) < 6) & brain
    found = {}
    for role, gain, rise in (("pre", 1.3, 0.0), ("low", 1.0, 0.2), ("post", 0.8, 0.8)):
        scan = tissue * (1 + rise * agent) + noise * rng.normal(size=shape)
        found[role] = (gain * scan).astype(np.float32)
    return found, brain, agent


def tiny_slab(seed: int) -> np.ndarray:
    """What ``as_examples`` makes of such scans, without it: the ROLES, in thirds of a median."""
    given, brain, _ = scans(seed)
    level = 3 * np.median(given["low"][brain])
    images = {role: given[role] / gain for role, gain in (("pre", 1.3), ("low", 1), ("post", 0.8))}
    images["denoised"] = gaussian_filter(images["low"], (0, 1, 1))
    return np.stack([images[role] * brain / level for role in ROLES]).astype(np.float16)


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for seed in range(2):
        np.save(folder / f"{seed:05d}_0.npy", tiny_slab(seed))
    return folder


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


# ---- examples


def test_scans_come_to_the_gain_and_the_unit_of_the_low_dose(doses):
    given, brain, agent = scans(0)
    images = doses.as_examples(given, brain)
    assert images.shape == (4, DEPTH, SIZE, SIZE)
    assert images.dtype == np.float16
    assert doses.ROLES == ROLES
    found = dict(zip(ROLES, images.astype(np.float32), strict=True))
    assert np.median(found["low"][brain]) == pytest.approx(1 / 3, abs=1e-3)
    # They were at 1.3 and 0.8 of it.
    plain = brain & ~agent
    for role in ("pre", "post"):
        assert radiometric_gain(found["low"], found[role], brain) == pytest.approx(1, abs=0.01)
        assert np.median(found[role][plain]) == pytest.approx(
            np.median(found["low"][plain]), rel=0.02
        )
    # What the agent adds is left: nothing, 0.2 and 0.8 of the tissue.
    before = found["pre"][agent].mean()
    for role, rise in (("low", 0.2), ("post", 0.8)):
        assert found[role][agent].mean() / before == pytest.approx(1 + rise, rel=0.03)
    assert all((image[~brain] == 0).all() for image in found.values())
    assert given["low"][~brain].min() > 100


def test_examples_do_not_depend_on_the_units_of_the_scans(doses):
    given, brain, _ = scans(0)
    other = {
        role: scan * unit for (role, scan), unit in zip(given.items(), (9, 0.1, 3), strict=True)
    }
    np.testing.assert_allclose(
        doses.as_examples(other, brain), doses.as_examples(given, brain), rtol=3e-3, atol=1e-4
    )


def test_forward_operators_aim_at_less_noise(doses):
    given, brain, _ = scans(0, noise=40)
    low, denoised = (doses.as_examples(given, brain)[n].astype(np.float32) for n in (1, 3))
    truth = doses.as_examples(scans(0, noise=0)[0], brain)[1].astype(np.float32)
    before, after = (np.std((image - truth)[brain]) for image in (low, denoised))
    assert before == pytest.approx(40 / 800 / 3, rel=0.1)
    assert after < 0.6 * before


@pytest.mark.parametrize("crop", [32, 48, 64])
def test_examples_have_the_roles_and_shapes_that_are_told(doses, pool, crop):
    batch = next(doses.batches(str(pool), crop=crop, batch=3, seed=1, workers=0))
    assert tuple(batch) == ROLES
    for image in batch.values():
        assert image.shape == (3, 1, crop, crop)
        assert image.dtype == torch.float32
        inside = image[batch["low"] > 0]
        assert 0.25 < inside.median() < 0.45
    # All roles are cut alike.
    for role in ("pre", "post"):
        assert torch.equal(batch[role] > 0, batch["low"] > 0)
    # A slice that is smaller than the crop stands amid zeros.
    if crop == 64:
        for image in batch.values():
            assert (image[..., :8, :] == 0).all()
            assert (image[..., -8:] == 0).all()
            assert image[..., 8:-8, 8:-8].abs().sum() == image.abs().sum()


def test_the_same_seed_gives_the_same_examples(doses, pool):
    first, again, other = (
        next(doses.batches(str(pool), crop=32, batch=6, seed=seed, workers=0)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[role], again[role]) for role in ROLES)
    assert not torch.equal(first["low"], other["low"])


def test_crops_lie_in_the_slice_and_half_of_them_have_left_as_right(doses, tmp_path):
    """A slab whose values tell where they come from, as far as half precision counts."""
    slab = np.empty((4, 1, SIZE, SIZE), np.float16)
    slab[:2] = np.arange(1, SIZE + 1)[:, None]
    slab[2:] = np.arange(1, SIZE + 1)
    np.save(tmp_path / "00000_0.npy", slab)
    found = next(doses.batches(str(tmp_path), crop=16, batch=200, seed=0, workers=0))
    rows, cols = found["low"][:, 0].numpy(), found["post"][:, 0].numpy()
    assert (np.diff(rows, axis=1) == 1).all()
    steps = np.diff(cols, axis=2)
    turned = steps[:, 0, 0] < 0
    assert (steps == np.where(turned, -1, 1)[:, None, None]).all()
    assert 0.4 < turned.mean() < 0.6
    # All of the slice is seen.
    for places in (rows, cols):
        assert (places.min(), places.max()) == (1, SIZE)


def test_slices_with_little_brain_are_passed_over(doses, tmp_path):
    slab = np.zeros((4, 3, SIZE, SIZE), np.float16)
    side = int(np.sqrt(doses.LEAST_BRAIN))
    slab[:, 0, :side, : side - 1] = 0.2
    slab[:, 1, :side, : side + 1] = 0.3
    np.save(tmp_path / "00000_0.npy", slab)
    found = next(doses.batches(str(tmp_path), crop=48, batch=20, seed=0, workers=0))
    assert found["low"].amax(dim=(1, 2, 3)).tolist() == pytest.approx([0.3] * 20, abs=1e-3)


def test_slabs_are_made_with_a_low_dose_and_kept_once(doses, monkeypatch, tmp_path):
    """The virtual patients have tests of their own: here it counts what is asked of them."""
    asked = []

    def brain_slabs(seed, **options):
        asked.append((seed, options))
        while True:
            given, brain, _ = scans(seed)
            yield {**given, "brain": brain.astype(np.float32)}

    monkeypatch.setattr(doses, "brain_slabs", brain_slabs)
    importlib.import_module("slices").write_slabs(tmp_path, 3, doses.make_slabs)
    ((seed, options),) = asked
    assert seed == 3
    assert options["doses"] == (doses.DOSE,) == (0.25,)
    assert set(options["roles"]) == {"pre", "low", "post", "brain"}
    kept = [np.load(path) for path in sorted(tmp_path.glob("*.npy"))]
    assert len(kept) == doses.SLABS_PER_SEED
    given, brain, _ = scans(3)
    assert np.array_equal(kept[0], doses.as_examples(given, brain))


def test_an_empty_folder_is_told(doses, tmp_path):
    with pytest.raises(SystemExit, match="holds no slabs"):
        doses.batches(str(tmp_path), crop=32, batch=1, seed=0, workers=0)


# ---- a hospital's own cases


@pytest.fixture
def prepared(tmp_path):
    """A function that prepares cases, each with or without a low-dose scan."""

    def prepare(*with_low: bool) -> Path:
        given = importlib.import_module("prepare_data")
        rows = []
        for seed, has_low in enumerate(with_low):
            row = {"case": f"case{seed}", "patient": f"Doe^{seed}"}
            found, brain, _ = scans(seed)
            for role in ("pre", "post", *(("low",) if has_low else ())):
                row[role] = f"{role}{seed}.nrrd"
                grid = Grid((SIZE, SIZE, DEPTH), (1.0, 1.0, 1.0))
                write_volume(Volume(found[role] * brain, grid), tmp_path / row[role])
            rows.append(row)
        with (tmp_path / "cases.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["case", "patient", "pre", "post", "low"], restval="")
            writer.writeheader()
            writer.writerows(rows)
        division = given.Division(validation=0, test=0)
        given.prepare(tmp_path / "cases.csv", tmp_path / "prepared", "none", division)
        return tmp_path / "prepared"

    return prepare


def test_prepared_cases_are_examples(doses, prepared):
    """On their way the scans were divided by means and gains, which must not be seen."""
    slab = doses.DoseCases(prepared(True)).draw(np.random.default_rng(0))
    assert slab.spacing_mm == 1
    given, brain, _ = scans(0)
    wanted = doses.as_examples(given, brain)
    assert slab.images.dtype == np.float16
    assert slab.images.shape[:2] == (4, DEPTH)
    # The plan of slices cuts and fills up about the brain.
    (_, shown), (_, there) = ((image, image[1, 2] > 0) for image in (slab.images, wanted))
    assert shown.sum() == there.sum()
    for n, role in enumerate(ROLES):
        found, expected = (
            np.asarray(images[n, 2][seen], np.float32)
            for images, seen in ((slab.images, shown), (wanted, there))
        )
        np.testing.assert_allclose(found, expected, rtol=0.02, err_msg=role)


def test_only_cases_with_a_low_dose_are_taken(doses, prepared):
    folder = prepared(False, True)
    cases = doses.DoseCases(folder)
    assert [case.name for case in cases.cases] == ["case1"]
    batch = next(doses.batches(str(folder), crop=32, batch=4, seed=0, workers=0))
    assert tuple(batch) == ROLES
    assert batch["low"].shape == (4, 1, 32, 32)


def test_cases_without_a_low_dose_are_refused(doses, prepared):
    folder = prepared(False, False)
    with pytest.raises(SystemExit, match="no case of the split 'train' has a low-dose scan"):
        doses.batches(str(folder), crop=32, batch=1, seed=0, workers=0)


def test_weights_of_ones_own_cases_are_not_called_virtual(prepared, tmp_path):
    train(tmp_path / "run", "--task", "ph2l", "--data", prepared(True), *TINY, "--steps", 2)
    card = read_bundle(tmp_path / "run" / "bundle").metadata
    assert card["training"]["data"] == "pairs of scans"
    assert card["trained_on_virtual_patients"] is False
    assert str(tmp_path) not in json.dumps(card)
    assert "/" not in json.dumps(card["training"]["options"])


# ---- the four tasks


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_learnt_and_kept_with_its_card(doses, pool, tmp_path, task):
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
        made = network_of(tmp_path / "run" / "bundle", method)(seen)
    before, after = (loss_of(image, batch[aim]) for image in (batch[roles[-1]], made))
    # Measured: 0.29, 0.13, 0.73 and 0.63 of it.
    assert after < 0.9 * before


def loss_of(made: torch.Tensor, aim: torch.Tensor) -> float:
    return float(ssim_loss(made, aim, data_range=1.0) + 0.5 * (made - aim).abs().mean())


def test_the_loss_is_the_one_that_is_written_out(script, doses, pool):
    """And its gradient is what the step follows: plain descent by it lowers it."""
    batch = next(doses.batches(str(pool), crop=32, batch=2, seed=0, workers=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words_of(Path("x"), ("--task", "ph2l", *TINY)))
        arguments = script.read_arguments()
    torch.manual_seed(0)
    _, network = script.make_network(arguments)
    fabric = importlib.import_module("lightning_fabric").Fabric(accelerator="cpu", devices=1)
    network, optimiser = fabric.setup(network, torch.optim.SGD(network.parameters(), lr=1e-2))
    losses = []
    for _ in range(3):
        terms = script.learn(fabric, network, optimiser, batch, arguments)
        losses.append(terms["ssim"] + 0.5 * terms["l1"])
    assert losses[0] == pytest.approx(loss_of(batch["post"], batch["denoised"]), rel=1e-5)
    assert losses[0] > losses[1] > losses[2]


# ---- presets and starts


def read(script, *options: object):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words_of(Path("run"), ("--task", "l2h", *options)))
        return script.read_arguments()


def chosen(script, *options: object) -> tuple[object, ...]:
    told = read(script, *options)
    return told.width, told.batch, told.learning_rate, told.weigh_l1, told.base


def test_the_preset_is_the_papers(script):
    assert chosen(script, "--preset", "paper") == (12, 16, 1e-3, 0.0, False)
    assert chosen(script) == (6, 8, 1e-3, 0.5, True)


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


def test_a_task_has_to_be_told(script, tmp_path, capsys):
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
    slab = tiny_slab(0)[:, 2:3, :, :].astype(np.float32)
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


def test_a_run_that_broke_off_goes_on_as_if_it_had_not(script, one_image, tmp_path, monkeypatch):
    options = options_of(one_image, steps=75, every=25)
    train(tmp_path / "whole", *options)
    learn, steps = script.learn, itertools.count(1)

    def until_the_power_goes(*given):
        if next(steps) > 40:
            raise KeyboardInterrupt
        return learn(*given)

    with monkeypatch.context() as patch:
        patch.setattr(script, "learn", until_the_power_goes)
        with pytest.raises(KeyboardInterrupt):
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
        told, error = running.communicate(timeout=300)
        assert running.returncode == 0, error[-3000:]
        assert ("going on from step" in told) is (out == killed)
    assert [row["step"] for row in curves(killed)] == list(range(25, 201, 25))
    assert_the_same_run(whole, killed)
