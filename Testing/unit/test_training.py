"""The training scripts, from end to end on two tiny slabs, and going on after an interruption."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training_slabs import pair_slab, power_failure, write_pool

for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import parameters_of
from ContrastSynthLib.weights.bundles import find_bundle, read_bundle
from ContrastSynthLib.weights.storage import load_state, save_bundle

pytestmark = pytest.mark.usefixtures("training_path")

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "training"


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"), pair_slab)


def words_of(script: str, out: Path, steps: int, options: tuple[object, ...]) -> list[str]:
    small = {"--crop": 32, "--batch": 2, "--threads": 1, "--steps": steps, "--out": out}
    words = (TRAINING / f"{script}.py", *itertools.chain(*small.items()), *options)
    return list(map(str, words))


def train(script: str, out: Path, *options: object, steps: int) -> None:
    """Run a script in this process: importing torch again takes longer than training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words_of(script, out, steps, options))
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        importlib.import_module(script).main()
        # Fabric leaves its seed behind.
        patch.delenv("PL_GLOBAL_SEED", raising=False)


def run_apart(words: list[str]) -> str:
    """Run a script in a process of its own; return what it printed."""
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def curves(out: Path) -> list[dict[str, float]]:
    """The rows of the curves; what was not met in a row is left out."""
    with open(out / "curves.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def check_bundle(folder: Path, method: str, steps: int) -> torch.nn.Module:
    """Its network can be built and answers, and its card says nothing of this machine."""
    bundle = find_bundle(str(folder), method) if method != "training" else read_bundle(folder)
    network = build_network(**bundle.metadata["network"])
    network.load_state_dict(load_state(bundle))
    record = bundle.metadata["training"]
    assert record["steps"] == steps
    assert record["command"].startswith("python training/train_")
    assert "--steps" in record["command"]
    card = json.dumps(bundle.metadata)
    for part in (*folder.parts[1:-1], *ROOT.parts[1:]):
        assert f"/{part}/" not in card
    for word in record["command"].split():
        assert not word.startswith("/")
    assert "/" not in json.dumps(record["options"])
    return network.eval()


@pytest.fixture(scope="module")
def features(pool, tmp_path_factory) -> Path:
    """The bundle of the perceptual loss."""
    out = tmp_path_factory.mktemp("features")
    train("train_features", out, "--data", pool, steps=25)
    return out / "bundle"


@pytest.fixture(scope="module")
def sphere(pool, features, tmp_path_factory) -> Path:
    """The folder of a run of SPHERE, through all its stages."""
    out = tmp_path_factory.mktemp("sphere") / "run"
    train("train_sphere", out, "--data", pool, "--features", features, *TINY, steps=50)
    return out


TINY = ("--width", 2, "--discriminator-width", 2, "--keep-every", 20)
TERMS = {"l1", "ssim", "perceptual", "adversarial", "autoencoder", "bce", "hyper", "psyn"}


# ---- the scripts


def test_features_are_kept_as_a_bundle(features):
    network = check_bundle(features, "training", 25)
    scales = network(torch.rand(1, 1, 32, 32))
    assert [tuple(f.shape[1:]) for f in scales] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    rows = curves(features.parent)
    assert [row["step"] for row in rows] == [25]
    assert 0 < rows[0]["cross_entropy"] < 2 * math.log(50)


def test_every_term_of_equation_34_is_trained_by(sphere):
    first, last = curves(sphere)
    assert (first["step"], last["step"]) == (25, 50)
    others = {"step", "discriminator", "l1_contrast", "l1_structure"}
    assert set(first) == set(last) == TERMS | others
    for row in (first, last):
        assert all(math.isfinite(value) and value != 0 for value in row.values()), row
    weights = importlib.import_module("train_sphere").WEIGHTS
    assert weights == {
        **{"l1": 1, "ssim": 10, "perceptual": 0.5, "adversarial": 1},
        **{"autoencoder": 1, "bce": 10, "hyper": 0.1, "psyn": 0.01},
    }


def test_sphere_is_kept_as_a_bundle_for_its_method(sphere, pool):
    network = check_bundle(sphere / "bundle", "sphere", 50)
    found = network(torch.rand(1, 3, 32, 32))
    assert found["pre"].shape == (1, 1, 32, 32)
    # It learnt something in both stages: at the start pre was the scan, and gamma 0.2.
    assert network.inpainting.net.final_conv_0_4.weight.abs().max() > 0
    learnt = torch.load(sphere / "checkpoint.pt", weights_only=True)["average"]
    assert abs(learnt["prior.log_scale"].item() - math.log(0.2)) > 1e-4
    record = read_bundle(sphere / "bundle").metadata["training"]
    assert record["data"] == "virtual brains"
    assert record["losses"]["ssim"] == 10
    assert record["options"]["data"] == pool.name


def test_a_baseline_learns_without_the_terms_of_the_uptake(pool, features, tmp_path):
    options = ("--data", pool, "--features", features, *TINY, "--network", "unet")
    train("train_sphere", tmp_path / "run", *options, steps=25)
    network = check_bundle(tmp_path / "run" / "bundle", "sphere", 25)
    assert set(network(torch.rand(1, 3, 32, 32))) == {"pre"}
    (row,) = curves(tmp_path / "run")
    assert set(row) == {
        *{"step", "discriminator", "l1_contrast", "l1_structure"},
        *{"l1", "ssim", "perceptual", "adversarial"},
    }


def test_biceps_learns_both_ways_and_is_measured_on_other_patients(pool, features, tmp_path):
    options = ("--data", pool, "--features", features, *TINY, "--network", "biceps")
    train("train_sphere", tmp_path / "run", *options, "--validation", pool, steps=25)
    network = check_bundle(tmp_path / "run" / "bundle", "sphere", 25)
    assert set(network(torch.rand(1, 3, 32, 32))) == {"pre"}
    (row,) = curves(tmp_path / "run")
    assert {"reverse", "anatomy", "l1", "ssim"} < set(row)
    measured = importlib.import_module("loop.judging").figures_of(tmp_path / "run")
    assert [figures["step"] for figures in measured] == [20, 25]
    last = measured[-1]
    assert last["score"] == pytest.approx(last["share"] - last["left"], abs=2e-4)
    best = read_bundle(tmp_path / "run" / "best").metadata
    assert best["metrics"]["validation"]["score"] == pytest.approx(
        max(figures["score"] for figures in measured), abs=1e-4
    )


def test_a_masked_loss_compares_where_agent_went(training_path):
    """Appendix C.2: where M is 0 the reconstruction gets no gradient; M itself gets none of it."""
    script = importlib.import_module("train_sphere")
    torch.manual_seed(0)
    pre = torch.rand(1, 1, 32, 32, requires_grad=True)
    uptake = torch.zeros(1, 1, 32, 32)
    uptake[..., :16] = 0.5
    uptake.requires_grad_(True)
    batch = {"pre": torch.rand(1, 1, 32, 32), "post": torch.rand(1, 3, 32, 32)}
    made = {"pre": pre, "uptake": uptake}

    def terms(*, masked):
        found = script.compare(made, batch, lambda x: [x], lambda x: [x], masked=masked)
        return {name: found[name] for name in ("l1", "ssim", "perceptual")}

    error = (pre - batch["pre"]).abs()
    torch.testing.assert_close(terms(masked=True)["l1"], (uptake * error).mean())
    torch.testing.assert_close(terms(masked=False)["l1"], error.mean())
    gradient = torch.autograd.grad(sum(terms(masked=True).values()), pre)[0]
    # The window of SSIM reaches 5 pixels over the edge of M, but what lies there is the truth.
    assert not gradient[..., 16:].any()
    assert gradient[..., :16].all()
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(sum(terms(masked=True).values()), uptake)


def test_a_masked_loss_wants_an_uptake(features, pool, tmp_path):
    options = ("--data", pool, "--features", features, *TINY, "--network", "unet")
    with pytest.raises(RequestError, match="--masked-loss needs an uptake M"):
        train("train_sphere", tmp_path / "run", *options, "--masked-loss", steps=1)


def test_fine_tuning_starts_from_given_weights(sphere, pool, features, tmp_path):
    """At a learning rate of nothing, what comes out is what went in."""
    options = ("--data", pool, "--features", features, *TINY, "--learning-rate", 1e-12)
    given = sphere / "bundle"
    train("train_sphere", tmp_path / "run", *options, "--fine-tune", given, steps=2)
    start, found = (load_state(read_bundle(f)) for f in (given, tmp_path / "run" / "bundle"))
    assert start.keys() == found.keys()
    network = check_bundle(given, "sphere", 50)
    for name, _ in network.named_parameters():
        torch.testing.assert_close(found[name], start[name], rtol=2e-3, atol=1e-6)


@pytest.fixture(scope="module")
def five_slices(sphere, tmp_path_factory) -> Path:
    """A bundle of the method sphere whose network sees five slices, as train_sphere_real.py's."""
    options = {"in_channels": 5, "features": [2, 4]}
    torch.manual_seed(0)
    network = build_network("residual_unet", options)
    torch.nn.init.normal_(network.last.weight, std=0.1)
    card = {k: v for k, v in read_bundle(sphere / "bundle").metadata.items() if k != "sha256"}
    card |= {"name": "sphere_real", "network": {"name": "residual_unet", "arguments": options}}
    folder = tmp_path_factory.mktemp("real") / "bundle"
    save_bundle(folder, network.state_dict(), card, "none")
    return folder


def parent_of(sphere, five_slices, name):
    return {"sphere": sphere / "bundle", "five": five_slices}[name]


@pytest.mark.parametrize(("name", "seen"), [("sphere", 3), ("five", 5)])
def test_sphere_art_is_trained_by_its_seven_routes(
    sphere, five_slices, pool, tmp_path, monkeypatch, name, seen
):
    out, parent = tmp_path / "run", parent_of(sphere, five_slices, name)
    options = ("--data", pool, "--sphere", parent, "--width", 2, "--keep-every", 20)
    script = importlib.import_module("train_sphere_art")
    spheres = []
    synthetic_of = script.synthetic_of
    monkeypatch.setattr(
        script,
        "synthetic_of",
        lambda network, batch: spheres.append((network, batch)) or synthetic_of(network, batch),
    )
    train("train_sphere_art", out, *options, steps=25)
    (row,) = curves(out)
    losses = {f"{loss} {route}" for loss in ("l1", "ssim") for route in script.ROUTES}
    assert set(row) == {"step", *losses}
    assert all(math.isfinite(value) and value != 0 for value in row.values())
    network = check_bundle(out / "bundle", "sphere_art", 25)
    assert network(torch.rand(1, 2, 32, 32))["pre"].shape == (1, 1, 32, 32)
    assert network.image_decoder.last.weight.abs().max() > 0
    # The bundle has nothing of SPHERE, but says which one it was.
    assert not any("sphere" in key for key in load_state(read_bundle(out / "bundle")))
    card, given = read_bundle(out / "bundle").metadata, read_bundle(parent)
    assert card["training"]["sphere"] == {"id": given.id, "sha256": given.sha256}
    assert card["network"] == {"name": "sphere_art", "arguments": {"width": 2}}
    assert set(card["inputs"]) == {"synthetic", "corrupted"}
    # SPHERE stays what it was, its batch statistics too, and sees as many slices as it can.
    assert len(spheres) == 25
    used = spheres[-1][0].state_dict()
    for key, tensor in load_state(given).items():
        torch.testing.assert_close(used[key], tensor, rtol=0, atol=0)
    assert spheres[0][1]["post"].shape == (2, seen, 32, 32)


def test_the_synthetic_scan_has_a_mean_of_1_in_the_brain_and_no_gradient(training_path):
    script = importlib.import_module("train_sphere_art")
    weight = torch.tensor(0.4, requires_grad=True)
    brain = torch.zeros(3, 1, 8, 8)
    brain[:, :, 2:6, 1:7] = 1
    post = torch.rand(3, 5, 8, 8) + 1
    post[2] = 0
    made = script.synthetic_of(
        lambda given: {"pre": weight * given[:, 2:3]}, {"post": post, "brain": brain}
    )
    assert not made.requires_grad
    means = (made * brain).sum(dim=(1, 2, 3)) / brain.sum(dim=(1, 2, 3))
    torch.testing.assert_close(means, torch.tensor([1.0, 1.0, 0.0]))
    ratio = made[:2] / post[:2, 2:3]
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


@pytest.mark.parametrize(("name", "seen"), [("sphere", 3), ("five", 5)])
def test_a_baseline_of_sphere_art_sees_what_both_see_and_has_their_parameters(
    sphere, five_slices, pool, tmp_path, name, seen
):
    out, parent = tmp_path / "run", parent_of(sphere, five_slices, name)
    options = ("--data", pool, "--sphere", parent, "--width", 2, "--network", "unet")
    train("train_sphere_art", out, *options, "--name", "unet", steps=2)
    network = check_bundle(out / "bundle", "sphere_art", 2)
    card = read_bundle(out / "bundle").metadata["network"]
    assert card["name"] == "direct"
    assert (card["arguments"]["in_channels"], card["arguments"]["base"]) == (seen + 1, seen)
    assert set(network(torch.rand(1, seen + 1, 32, 32))) == {"pre"}
    both = parameters_of(build_network("sphere_art", {"width": 2}))
    both += parameters_of(build_network(**read_bundle(parent).metadata["network"]))
    assert parameters_of(network) == pytest.approx(both, rel=0.35)


@pytest.mark.parametrize("inside", [False, True])
def test_sphere_art_is_fine_tuned_from_weights_with_a_sphere_or_without(
    sphere, pool, tmp_path, inside
):
    options = {"width": 2}
    if inside:
        options["sphere"] = {"width": 2, "autoencoder_width": 2}
    torch.manual_seed(5)
    given = build_network("sphere_art", options)
    card = {k: v for k, v in read_bundle(sphere / "bundle").metadata.items() if k != "sha256"}
    card |= {"name": "given", "method": "sphere_art"}
    card["network"] = {"name": "sphere_art", "arguments": options}
    save_bundle(tmp_path / "given", given.state_dict(), card, "none")
    words = ("--data", pool, "--sphere", sphere / "bundle", "--width", 2, "--learning-rate", 1e-12)
    train("train_sphere_art", tmp_path / "run", *words, "--fine-tune", tmp_path / "given", steps=2)
    network = check_bundle(tmp_path / "run" / "bundle", "sphere_art", 2)
    start = given.state_dict()
    for key, weight in network.named_parameters():
        torch.testing.assert_close(weight, start[key], rtol=2e-3, atol=1e-3)


def test_sphere_art_wants_weights_of_sphere(features, pool, tmp_path):
    options = ("--data", pool, "--sphere", features)
    with pytest.raises(RequestError, match="belong to the method 'training', not to 'sphere'"):
        train("train_sphere_art", tmp_path / "run", *options, steps=1)
    assert not (tmp_path / "run").exists()


IN_TWO_PROCESSES = """
import json, runpy, sys
from lightning_fabric import Fabric

Fabric(accelerator="cpu", devices=2).launch()
folder, commands = sys.argv[1:]
sys.path.insert(0, folder)
for words in json.loads(commands):
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
"""
"""Starts two processes once for all scripts: importing torch takes longer than training."""


def test_two_processes_train_one_network(features, sphere, pool, tmp_path):
    given = {
        "train_features": (),
        "train_sphere": ("--features", features, *TINY),
        "train_sphere_art": ("--sphere", sphere / "bundle", "--width", 2),
    }
    options = ("--data", pool, "--devices", 2)
    # Four steps lead through all stages of SPHERE.
    commands = [words_of(s, tmp_path / s, 4, (*options, *more)) for s, more in given.items()]
    driver = tmp_path / "in_two_processes.py"
    driver.write_text(IN_TWO_PROCESSES, encoding="utf-8")
    run_apart([str(driver), str(TRAINING), json.dumps(commands)])
    for script in given:
        # One of them writes.
        assert len(list((tmp_path / script / "tensorboard").iterdir())) == 1
        method = {"train_features": "training"}.get(script, script.removeprefix("train_"))
        network = check_bundle(tmp_path / script / "bundle", method, 4)
        assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


@pytest.mark.parametrize("options", [(), ("--without", "hyperintensity", "--features", "given")])
def test_sphere_asks_for_what_is_missing(options, tmp_path, capsys):
    if options:
        options = (*options, "--without", "segmentation")
    with pytest.raises(SystemExit) as refusal:
        train("train_sphere", tmp_path / "run", *options, steps=1)
    assert refusal.value.code == 2
    assert ("uptake" if options else "--features") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_stages_have_their_shares():
    script = importlib.import_module("train_sphere")
    stages = [script.stage_at(step / 1000, "sphere", "staged") for step in range(1001)]
    names = [stage for stage, _, _ in stages]
    assert [names.count(n) for n in ("uptake", "inpainting", "joint")] == [250, 400, 351]
    assert names == sorted(names, key=("uptake", "inpainting", "joint").index)
    for begin, end in ((0, 249), (250, 649), (650, 1000)):
        assert stages[begin][1] == pytest.approx(0, abs=1e-9)
        assert stages[end][1] == pytest.approx(1, abs=0.01)
    assert {share for stage, _, share in stages if stage != "joint"} == {1.0}
    assert {share for stage, _, share in stages if stage == "joint"} == {0.4}
    assert script.stage_at(0.4, "sphere", "joint") == ("joint", 0.4, 1.0)
    assert script.stage_at(0.4, "direct", "staged") == ("joint", 0.4, 1.0)


# ---- going on


@pytest.fixture
def one_batch(monkeypatch):
    """Every batch is the same: a training that goes on sees other slices, here there are none."""
    slices = importlib.import_module("data.slices")
    example = next(iter(slices.Slices(ConstantSlabs(), crop=32, seed=0)))
    monkeypatch.setattr(slices.Slices, "__iter__", lambda self: itertools.repeat(example))


class ConstantSlabs:
    def draw(self, rng):
        return importlib.import_module("data.slabs").Slab(pair_slab(0))


def test_features_that_broke_off_go_on_as_if_they_had_not(one_batch, pool, tmp_path, monkeypatch):
    """To the bit, although each step draws which scan of a pair it sees."""
    options = ("--data", pool, "--keep-every", 25)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train("train_features", whole, *options, steps=75)
    with power_failure(monkeypatch, after=40):
        train("train_features", broken, *options, steps=75)
    assert [row["step"] for row in curves(broken)] == [25]
    train("train_features", broken, *options, steps=75)
    assert curves(broken) == curves(whole)
    states = [load_state(read_bundle(out / "bundle")) for out in (whole, broken)]
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())
    one, other = (torch.load(out / "checkpoint.pt", weights_only=True) for out in (whole, broken))
    for part in ("network", "average"):
        assert all(torch.equal(other[part][name], tensor) for name, tensor in one[part].items())


def test_the_checkpoint_of_another_script_is_refused(features, pool, tmp_path):
    """Nothing of it is changed."""
    out = tmp_path / "run"
    out.mkdir()
    kept = (features.parent / "checkpoint.pt").read_bytes()
    (out / "checkpoint.pt").write_bytes(kept)
    with pytest.raises(SystemExit, match="another script"):
        train("train_sphere", out, "--data", pool, "--features", features, *TINY, steps=50)
    assert (out / "checkpoint.pt").read_bytes() == kept


def test_a_run_goes_on_where_it_was_stopped(sphere, pool, features, tmp_path, capsys):
    """Copied first: other tests take the run as it was."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("checkpoint.pt", "curves.csv"):
        (out / name).write_bytes((sphere / name).read_bytes())
    # It was stopped after its last checkpoint: what came in between is done again.
    columns = len(curves(sphere)[0])
    with open(out / "curves.csv", "a", encoding="utf-8") as file:
        file.write(",".join(["75", *["9.0"] * (columns - 1)]) + "\n")
    options = ("--data", pool, "--features", features, *TINY)
    train("train_sphere", out, *options, steps=75)
    assert "going on from step 50" in capsys.readouterr().out
    before, after = curves(sphere), curves(out)
    assert after[:2] == before
    assert [row["step"] for row in after] == [25, 50, 75]
    assert after[2]["l1"] != 9
    check_bundle(out / "bundle", "sphere", 75)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["step"] == 75
    assert state["seconds"] > torch.load(sphere / "checkpoint.pt", weights_only=True)["seconds"]
