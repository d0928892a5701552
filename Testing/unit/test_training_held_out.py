"""What is measured on the patients held out, and training the residual U-Net from end to end."""

from __future__ import annotations

import csv
import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from training_pairs import write_pairs

torch = pytest.importorskip("torch")
for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.weights.bundles import read_bundle

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def measures():
    return importlib.import_module("evaluation.held_out")


@pytest.fixture(scope="module")
def judging():
    return importlib.import_module("loop.judging")


@pytest.fixture
def slices(measures):
    """Ten slices of tissue of 1, with a cube that takes up agent."""
    maps = np.zeros((5, 50, 40, 40), np.float16)
    maps[4, 5:45, 5:35, 5:35] = 1
    noise = np.random.default_rng(0).normal(0, 0.02, maps.shape[1:])
    maps[1] = maps[4] * (1 + noise)
    maps[2, 15:30, 15:25, 15:25] = 1
    maps[0] = maps[1] + 0.5 * maps[2] + 0.01 * maps[4]
    return measures.Slices.of(SimpleNamespace(maps=maps))


def post_and_target(slices):
    return slices.post[:, 2], slices.target[:, 2]


def test_slices_have_their_neighbours_and_even_sides(measures, slices):
    assert slices.post.shape == slices.target.shape == (8, measures.SEEN, 48, 48)
    assert slices.inside.shape == (8, 48, 48)
    # A round of an erosion is left out.
    assert slices.inside[0].sum() == 28**2


def test_the_post_scan_reaches_nothing_and_the_oracle_all(slices):
    post, target = post_and_target(slices)
    up = post - target > 0.3
    nothing = slices.measure(post, target[::3])
    assert nothing == {"share": 0, "left": 1, "out": 0, "lost": 0}
    oracle = slices.measure(np.where(up, target, post), target[::3])
    assert oracle["share"] == pytest.approx(1)
    assert oracle["left"] == oracle["out"] == 0


def test_half_of_the_rise_leaves_half_of_the_error(slices):
    post, target = post_and_target(slices)
    half = np.where(post - target > 0.3, (post + target) / 2, post)
    found = slices.measure(half, target[::3])
    assert found["left"] == pytest.approx(0.5, abs=1e-3)
    assert 0 < found["share"] < 1


def test_what_a_scan_without_agent_loses_is_seen(slices):
    post, target = post_and_target(slices)
    kept = target[::3].copy()
    kept[:, :, :24] -= 0.5
    lost = slices.measure(post, kept)["lost"]
    assert lost == pytest.approx(slices.inside[::3, :, :24].sum() / slices.inside[::3].sum())


def test_a_network_is_judged_by_share_less_left(measures, slices):
    class Same(torch.nn.Module):
        def forward(self, post):
            return {"pre": post[:, 2:3]}

    found = measures.judge(Same(), [slices])
    # bfloat16 is not used where nothing is multiplied.
    assert found["share"] == pytest.approx(0, abs=1e-6)
    assert found["score"] == pytest.approx(-1, abs=1e-6)


def test_the_best_is_remembered_over_an_interruption(judging, tmp_path):
    table = tmp_path / "validation.csv"
    seen = [
        judging.is_best(table, step, {"score": s}) for step, s in ((1, 0.1), (2, 0.3), (3, 0.2))
    ]
    assert seen == [True, True, False]
    # The training was broken off, and goes on after step 1.
    assert judging.is_best(table, 2, {"score": 0.15})
    with open(table, encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.fixture
def data(tmp_path):
    return write_pairs(tmp_path / "pairs", lesion=0.1)


def run(monkeypatch, data, out, steps, more=""):
    words = f"--data {data} --out {out} --real-share 1 --held-out 1 --crop 32 --batch 2 --threads 1"
    words += f" --steps {steps} --keep-every 2 --features 4 8 {more}"
    monkeypatch.setattr(sys, "argv", ["train_sphere_real.py", *words.split()])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    importlib.import_module("train_sphere_real").main()
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def test_training_holds_a_patient_out_goes_on_and_keeps_the_best(monkeypatch, data, tmp_path):
    out = tmp_path / "run"
    run(monkeypatch, data, out, 2)
    run(monkeypatch, data, out, 4)
    with open(out / "validation.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    for name in ("bundle", "best"):
        card = read_bundle(out / name).metadata
        assert card["network"]["name"] == "residual_unet"
        assert len(card["training"]["held_out_patients"]) == 1
        assert not card["trained_on_virtual_patients"]
        assert card["training"]["data"].startswith("2 pairs of scans of 2 patients")
    best = read_bundle(out / "best").metadata
    chosen = max(rows, key=lambda row: float(row["score"]))
    assert best["training"]["steps"] == int(chosen["step"])
    assert best["metrics"]["validation"]["score"] == pytest.approx(float(chosen["score"]), abs=1e-4)


def test_weights_that_are_gone_on_from_are_named_as_parents(monkeypatch, data, tmp_path):
    run(monkeypatch, data, tmp_path / "first", 2)
    given = tmp_path / "first" / "bundle"
    run(monkeypatch, data, tmp_path / "second", 1, f"--fine-tune {given}")
    (parent,) = read_bundle(tmp_path / "second" / "bundle").metadata["training"]["parents"]
    assert parent["sha256"] == read_bundle(given).sha256
    assert parent["seed"] == 0
    assert parent["steps"] == 2


def test_each_script_goes_on_with_its_own_network_alone(monkeypatch, data, tmp_path):
    with pytest.raises(RequestError, match=r"residual_unet, which train_sphere_real.py goes on"):
        importlib.import_module("train_sphere").make_network(SimpleNamespace(fine_tune="sphere"))
    with pytest.raises(RequestError, match=r"network sphere, which train_sphere.py goes on with"):
        run(monkeypatch, data, tmp_path / "run", 1, "--fine-tune sphere_virtual")


def test_fewer_patients_are_a_part_of_more():
    script = importlib.import_module("train_sphere_real")
    given = [SimpleNamespace(patient=f"p{number // 2}") for number in range(20)]
    names = [
        {pair.patient for pair in script.learnt_from(given, {"p0", "p1"}, count)}
        for count in (2, 5, None)
    ]
    assert [len(some) for some in names] == [2, 5, 8]
    assert names[0] < names[1] < names[2]
    assert len(script.learnt_from(given, {"p0", "p1"}, 5)) == 10
