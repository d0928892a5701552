"""The training scripts, from end to end on two tiny slabs, and the examples they learn from."""

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
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch")
for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.networks import build_network
from ContrastSynthLib.weights.bundles import find_bundle, load_state, read_bundle

pytestmark = pytest.mark.usefixtures("training_path")

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "training"
SIZE = 48
SLAB_DEPTH = 5


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def common():
    return importlib.import_module("common")


@pytest.fixture(scope="module")
def slices():
    return importlib.import_module("slices")


def tiny_slab(seed: int) -> np.ndarray:
    """A smooth brain with a blob of agent: the ROLES of ``slices``, (6, slices, rows, cols)."""
    rng = np.random.default_rng(seed)
    shape = (SLAB_DEPTH, SIZE, SIZE)
    rows, cols = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    brain = np.broadcast_to((rows / 22) ** 2 + (cols / 18) ** 2 < 1, shape)
    smooth = gaussian_filter(rng.normal(size=shape), (1, 3, 3))
    clean = (800 + 150 * smooth / smooth.std()).clip(200) * brain
    blob = np.exp(-((rows - 3) ** 2 + (cols + 4) ** 2) / 60) * brain
    post = clean * (1 + 0.8 * blob) + rng.normal(0, 5, shape) * brain
    pre = 0.7 * (clean + rng.normal(0, 10, shape)) * brain
    corrupted = 0.8 * pre + 0.2 * np.roll(pre, SIZE // 3, axis=1)
    tissue = np.where(brain, 1 + 4 * (smooth > 0), 0)
    roles = (post, clean, pre, corrupted, brain, tissue)
    return np.stack(roles).astype(np.float16)


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for seed in range(2):
        np.save(folder / f"{seed:05d}_0.npy", tiny_slab(seed))
    return folder


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


def train_apart(script: str, out: Path, *options: object, steps: int) -> str:
    """Run a script as a user would; return what it printed."""
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, *words_of(script, out, steps, options)],
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
    """Its network can be built and answers, and its card tells nothing of this machine."""
    bundle = find_bundle(str(folder), method) if method != "training" else read_bundle(folder)
    network = build_network(**bundle.metadata["network"])
    network.load_state_dict(load_state(bundle))
    told = bundle.metadata["training"]
    assert told["steps"] == steps
    assert told["command"].startswith("python training/train_")
    assert "--steps" in told["command"]
    card = json.dumps(bundle.metadata)
    for part in (*folder.parts[1:-1], *ROOT.parts[1:]):
        assert f"/{part}/" not in card
    for word in told["command"].split():
        assert not word.startswith("/")
    assert "/" not in json.dumps(told["options"])
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


TINY = ("--width", 2, "--judge-width", 2, "--keep-every", 20)
TERMS = {"l1", "ssim", "perceptual", "adversarial", "autoencoder", "bce", "hyper", "psyn"}


# ---- the scripts


def test_features_are_kept_as_a_bundle(features):
    network = check_bundle(features, "training", 25)
    scales = network(torch.rand(1, 1, 32, 32))
    assert [tuple(f.shape[1:]) for f in scales] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    rows = curves(features.parent)
    assert [row["step"] for row in rows] == [25]
    assert 0 < rows[0]["cross_entropy"] < 2 * math.log(50)


def test_every_term_of_equation_34_is_learnt_from(sphere):
    first, last = curves(sphere)
    assert (first["step"], last["step"]) == (25, 50)
    others = {"step", "judge", "l1_contrast", "l1_structure"}
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
    told = read_bundle(sphere / "bundle").metadata["training"]
    assert told["data"] == "virtual brains"
    assert told["losses"]["ssim"] == 10
    assert told["options"]["data"] == pool.name


def test_a_run_goes_on_where_it_was_stopped(sphere, pool, features, tmp_path):
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
    told = train_apart("train_sphere", out, *options, steps=75)
    assert "going on from step 50" in told
    before, after = curves(sphere), curves(out)
    assert after[:2] == before
    assert [row["step"] for row in after] == [25, 50, 75]
    assert after[2]["l1"] != 9
    check_bundle(out / "bundle", "sphere", 75)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["step"] == 75
    assert state["seconds"] > torch.load(sphere / "checkpoint.pt", weights_only=True)["seconds"]


def test_a_baseline_learns_without_the_terms_of_the_uptake(pool, features, tmp_path):
    options = ("--data", pool, "--features", features, *TINY, "--network", "unet")
    train("train_sphere", tmp_path / "run", *options, steps=25)
    network = check_bundle(tmp_path / "run" / "bundle", "sphere", 25)
    assert set(network(torch.rand(1, 3, 32, 32))) == {"pre"}
    (row,) = curves(tmp_path / "run")
    assert set(row) == {
        *{"step", "judge", "l1_contrast", "l1_structure"},
        *{"l1", "ssim", "perceptual", "adversarial"},
    }


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


def test_sphere_art_is_taught_by_its_seven_routes(sphere, pool, tmp_path):
    out = tmp_path / "run"
    options = ("--data", pool, "--sphere", sphere / "bundle", "--width", 2, "--keep-every", 20)
    train("train_sphere_art", out, *options, steps=25)
    routes = importlib.import_module("train_sphere_art").ROUTES
    (row,) = curves(out)
    assert set(row) == {"step", *(f"{loss} {r}" for loss in ("l1", "ssim") for r in routes)}
    assert all(math.isfinite(value) and value != 0 for value in row.values())
    network = check_bundle(out / "bundle", "sphere_art", 25)
    assert network(torch.rand(1, 4, 32, 32))["pre"].shape == (1, 1, 32, 32)
    # SPHERE in it is the one that came, its batch statistics too.
    inside = network.sphere.state_dict()
    for name, tensor in load_state(read_bundle(sphere / "bundle")).items():
        torch.testing.assert_close(inside[name], tensor, rtol=0, atol=0)
    assert network.image_decoder.last.weight.abs().max() > 0


@pytest.mark.parametrize("script", ["train_features", "train_sphere", "train_sphere_art"])
def test_two_processes_train_one_network(script, request, pool, tmp_path):
    options = ["--data", pool, "--devices", 2]
    if script == "train_sphere":
        options += ["--features", request.getfixturevalue("features"), *TINY]
    elif script == "train_sphere_art":
        options += ["--sphere", request.getfixturevalue("sphere") / "bundle", "--width", 2]
    train_apart(script, tmp_path / "run", *options, steps=25)
    (row,) = curves(tmp_path / "run")
    assert all(math.isfinite(value) for value in row.values())
    # One of them writes.
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    method = {"train_features": "training"}.get(script, script.removeprefix("train_"))
    check_bundle(tmp_path / "run" / "bundle", method, 25)


@pytest.mark.parametrize("options", [(), ("--without", "hyperintensity", "--features", "given")])
def test_sphere_asks_for_what_is_missing(options, tmp_path, capsys):
    if options:
        options = (*options, "--without", "segmentation")
    with pytest.raises(SystemExit) as refusal:
        train("train_sphere", tmp_path / "run", *options, steps=1)
    assert refusal.value.code == 2
    assert ("uptake" if options else "--features") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# ---- what the scripts share


def test_the_rate_rises_and_falls(common):
    assert common.rate_at(0.0) == pytest.approx(0.05)
    assert common.rate_at(common.WARM_UP / 2) == pytest.approx(0.5)
    assert common.rate_at(common.WARM_UP) == pytest.approx(1)
    assert common.rate_at((1 + common.WARM_UP) / 2) == pytest.approx((1 + common.LAST_RATE) / 2)
    assert common.rate_at(1.0) == pytest.approx(common.LAST_RATE)
    rates = [common.rate_at(step / 1000) for step in range(1001)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_average_of_a_constant_network_is_that_network(common):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    average = common.Average(network)
    for _ in range(5):
        average.update(network)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(average.network.state_dict()[name], tensor)
    assert not any(weight.requires_grad for weight in average.network.parameters())


def test_the_average_moves_by_its_share_and_copies_counters(common):
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    torch.nn.init.constant_(network[0].weight, 1.0)
    average = common.Average(network, decay=0.1)
    torch.nn.init.constant_(network[0].weight, 3.0)
    network[1].num_batches_tracked += 7
    average.update(network)
    # Early on the share kept is 1 / 11, below the decay: what was at first is soon forgotten.
    assert average.network[0].weight.item() == pytest.approx(3 - 2 / 11)
    assert average.network[1].num_batches_tracked == 7
    average.update(network)
    assert average.network[0].weight.item() == pytest.approx(3 - 2 / 11 * 0.1)


def test_the_clock_takes_steps_or_minutes_whichever_comes_first(common):
    clock = common.Clock(SimpleNamespace(steps=10, minutes=2.0), torch.device("cpu"))
    assert clock.progress == pytest.approx(0, abs=0.05)
    clock.step = 5
    assert clock.progress == pytest.approx(0.5)
    clock.spent_s = 90.0
    assert clock.progress == pytest.approx(0.75, abs=0.05)
    clock.spent_s = 1000.0
    assert clock.progress == 1


def test_a_card_names_files_and_not_their_folders(common):
    assert common._without_folders(Path("/home/me/runs/bundle")) == "bundle"
    assert common._without_folders("/home/me/pool") == "pool"
    assert common._without_folders("virtual") == "virtual"
    assert common._without_folders("--out=/home/me/run") == "--out=run"
    assert common._without_folders(0.5) == 0.5


def test_curves_take_up_a_new_loss(common, tmp_path):
    written = common.Curves(tmp_path, every=2)
    for step, losses in enumerate([{"a": 1.0}, {"a": 3.0}, {"a": 1.0}, {"b": 5.0}], 1):
        written.add(step, losses)
    assert curves(tmp_path) == [{"step": 2, "a": 2}, {"step": 4, "a": 1, "b": 5}]
    again = common.Curves(tmp_path, every=2)
    again.add(6, {"b": 4.0})
    assert curves(tmp_path)[-1] == {"step": 6, "b": 4}


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


# ---- examples


def examples(slices, pool: Path, count: int = 6, **options) -> list[dict[str, torch.Tensor]]:
    given = {"crop": 32, "seed": 3, **options}
    stream = slices.Slices(slices.KeptSlabs(pool), **given)
    return list(itertools.islice(stream, count))


def test_the_same_seed_gives_the_same_examples(slices, pool):
    first, again, other = (examples(slices, pool, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(a["post"], b["post"]) for a, b in zip(first, other, strict=True))


def test_examples_have_the_roles_and_shapes_that_are_told(slices, pool):
    for crop in (32, 64):
        for example in examples(slices, pool, crop=crop):
            assert set(example) == {
                *{"post", "pre", "uptake", "second", "corrupted", "brain", "tissue"}
            }
            assert example["post"].shape == (slices.NEIGHBOURS, crop, crop)
            for name, image in example.items():
                assert image.dtype == torch.float32
                assert name == "post" or image.shape == (1, crop, crop)
            assert set(example["brain"].unique().tolist()) <= {0.0, 1.0}
            inside = example["brain"] > 0
            # Means of the brain, at gains of exp(+-0.2).
            assert 0.6 < example["second"][inside].mean() < 1.6


def test_uptake_is_equation_22(slices, pool):
    for tau in (0.06, 0.14):
        found = examples(slices, pool, tau=tau)
        assert sum(example["uptake"].sum() for example in found) > 50
        for example in found:
            rise = example["post"][1] - example["pre"][0]
            assert torch.equal(example["uptake"][0], (rise > tau).float())


def test_a_target_is_the_same_scan_or_the_second_one(slices, pool, monkeypatch):
    """Same draws and dose, so only ``pre`` and the uptake from it differ."""
    monkeypatch.setattr(slices, "AGENT_RANGE", (1.0, 1.0))
    same, second = (examples(slices, pool, target=t) for t in ("same_scan", "second_scan"))
    for one, two in zip(same, second, strict=True):
        for name in ("post", "second", "corrupted", "brain"):
            assert torch.equal(one[name], two[name])
        plain = (one["brain"][0] > 0) & (one["post"][1] - one["pre"][0] < 0.01)
        # Without agent the scan less its own noise; the second scan has other noise.
        assert (one["post"][1] - one["pre"][0])[plain].abs().mean() < 0.02
        assert not torch.equal(one["pre"], two["pre"])
        ratio = (two["pre"][0] / two["second"][0])[plain]
        assert float(ratio.std() / ratio.mean()) < 1e-3
        # Both targets are on the scale of the post scan.
        assert float((two["pre"][0] / one["pre"][0])[plain].median()) == pytest.approx(1, abs=0.03)


def test_other_doses_and_contrasts_keep_the_order_of_tissues(slices):
    """Twice the agent is twice the rise; an exponent keeps order, the brain's mean and zero."""
    rng = np.random.default_rng(0)
    draw = rng.uniform(0.2, 2.0, (4, 3, 8, 8)).astype(np.float32)
    images = dict(zip(("unenhanced", "post", "pre", "corrupted"), draw, strict=True))
    images["post"] += images["unenhanced"]
    levels = {"post": 1.5, "pre": 1.0, "corrupted": 1.0, "rise": 1.2, "agent": 1.1}

    class Fixed:
        def __init__(self, *drawn):
            self.drawn = iter(np.log(drawn))

        def uniform(self, low, high):
            return next(self.drawn)

    double = slices._other_contrast(images, levels, Fixed(1.0, 2.0), with_agent=True)
    rise = images["post"] - images["unenhanced"]
    np.testing.assert_allclose(double["post"] - images["unenhanced"], 2 * rise, rtol=1e-4)
    # What all tissue takes up counts as a gain, twice as much of it too.
    np.testing.assert_allclose(double["unenhanced"], 1.2 * images["unenhanced"], rtol=1e-4)
    np.testing.assert_allclose(double["pre"], images["pre"], rtol=1e-5)
    steep = slices._other_contrast(images, levels, Fixed(1.3, 2.0), with_agent=False)
    for role, unit in (("post", 1.5), ("unenhanced", 1.5), ("pre", 1.2), ("corrupted", 1.2)):
        np.testing.assert_allclose(steep[role] / unit, (images[role] / unit) ** 1.3, rtol=1e-4)
    assert images["pre"] is not steep["pre"]


def test_tissues_stay_tissues_when_a_slice_is_turned(slices, pool):
    """Between tissues 1 and 5 there is no 3."""
    found = set()
    for example in examples(slices, pool, count=12):
        found |= set(example["tissue"].unique().tolist())
    assert found == {0.0, 1.0, 5.0}


def test_half_of_the_crops_lie_about_a_lesion(slices):
    slab = slices.Slab(tiny_slab(0))
    slab.images[slices.ROLES.index("tissue"), 2:4, 40:44, 40:44] = slices.TISSUES["tumour"].label
    assert set(slab.lesions[:, 0]) == {2, 3}
    assert (slab.lesions[:, 1:] >= 40).all()
    assert (slab.lesions[:, 1:] < 44).all()
    taken = [slices.take(slab, np.random.default_rng(n), 8, "same_scan") for n in range(200)]
    tumour = slices.TISSUES["tumour"].label
    share = np.mean([float((example["tissue"] == tumour).any()) for example in taken if example])
    assert 0.4 < share < 0.75


def test_slices_with_little_brain_are_passed_over(slices):
    slab = tiny_slab(0)
    slab[slices.ROLES.index("brain")] = 0
    slab[slices.ROLES.index("brain"), :, :10, :19] = 1
    assert slices.take(slices.Slab(slab), np.random.default_rng(0), 32, "same_scan") is None


def test_processes_and_workers_see_other_patients(slices, monkeypatch):
    """The seeds of patients, of a few streams beside each other."""
    seen = []
    for rank, worker in itertools.product(range(2), range(2)):
        made: list[int] = []

        def make_slabs(seed, made=made):
            made.append(seed)
            yield tiny_slab(0)

        monkeypatch.setattr(slices.VirtualSlabs, "make", staticmethod(make_slabs))
        information = SimpleNamespace(id=worker, num_workers=2, seed=worker)
        monkeypatch.setattr(torch.utils.data, "get_worker_info", lambda i=information: i)
        options = {"crop": 32, "batch": 1, "workers": 0, "seed": 1000 * rank}
        stream = slices.batches("virtual", **options)
        for _ in range(60):
            next(stream)
        assert len(made) > 1
        seen.append(set(made))
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_slabs_are_kept_once(slices, tmp_path):
    made: list[int] = []

    def make_slabs(seed):
        made.append(seed)
        for n in range(slices.SLABS_PER_SEED):
            yield np.full((6, 3, 4, 4), n, np.float16)

    slices.write_slabs(tmp_path, 12, make_slabs)
    names = [f"00012_{n}.npy" for n in range(slices.SLABS_PER_SEED)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [np.load(tmp_path / name)[0, 0, 0, 0] for name in names] == list(range(8))
    slices.write_slabs(tmp_path, 12, make_slabs)
    assert made == [12]
    # Stopped before the end: what is missing is made, what is there is left alone.
    np.save(tmp_path / names[0], np.zeros(1))
    (tmp_path / names[5]).unlink()
    slices.write_slabs(tmp_path, 12, make_slabs)
    assert made == [12, 12]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert np.load(tmp_path / names[0]).shape == (1,)


def test_a_folder_without_slabs_is_told(slices, tmp_path):
    with pytest.raises(SystemExit, match=r"slices\.py"):
        slices.KeptSlabs(tmp_path)


def test_a_card_does_not_call_pairs_of_scans_virtual(common, monkeypatch, tmp_path):
    """What a hospital trains on its own scans is not said to be made by us, nor licensed so."""
    kept = {}
    monkeypatch.setattr(common, "save_bundle", lambda *given, **_: kept.update(given[2]))
    (tmp_path / "cases.json").write_text("{}", encoding="utf-8")
    for data, pairs in (("virtual", False), (str(tmp_path), True)):
        for start in (None, "sphere"):
            told = SimpleNamespace(
                data=data, fine_tune=start, steps=1, minutes=None, seed=0, out=tmp_path
            )
            clock = common.Clock(told, torch.device("cpu"))
            common.write_bundle(told, torch.nn.Identity(), {}, clock, torch.device("cpu"))
            assert (kept["training"]["data"] == "virtual brains") is not pairs
            assert (kept["training"]["data_licence"] == "Apache-2.0") is not pairs
            assert kept["trained_on_virtual_patients"] is (not pairs or start is not None)
