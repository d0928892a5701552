"""LIP-CAR's networks learn from real pairs too: shares, the judge, the model card."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
    pytest.importorskip(package)

from training_slabs import DOSE_ROLES, dose_slab, write_pool

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.losses import ssim_loss
from ContrastSynthLib.weights.bundles import read_bundle

pytestmark = pytest.mark.usefixtures("training_path")

TASKS = {
    "h2l": (["post"], "denoised"),
    "ph2l": (["pre", "post"], "denoised"),
    "l2h": (["low"], "post"),
    "pl2h": (["pre", "low"], "post"),
}
LEARNT = {"a": "a", "b": "b", "b_later": "b"}
OUT = {"c": "c", "d": "d"}


@pytest.fixture(scope="module")
def measures():
    return importlib.import_module("evaluation.held_out_doses")


@pytest.fixture(scope="module")
def doses():
    return importlib.import_module("data.dose_slices")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"), dose_slab)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """Slabs of five pairs as ``make_slabs.py --pairs`` would leave them, two held out."""
    module = importlib.import_module("data.dose_pairs")
    folder = tmp_path_factory.mktemp("real")
    record = module.PairSlabs(LEARNT, OUT, seed=0)
    record.enter(folder)
    for seed, name in enumerate([*LEARNT, *OUT], 7):
        for path in record.files(folder, name):
            np.save(path, dose_slab(seed))
    return folder


def l1(made, wanted):
    return (made - wanted).abs().mean()


class Makes(torch.nn.Module):
    """What is ``share`` of the way from the scan given last to ``wanted``, of one case."""

    def __init__(self, case, share: float) -> None:
        super().__init__()
        self.case, self.share = case, torch.nn.Parameter(torch.tensor(share))

    def forward(self, seen):
        assert torch.equal(seen, self.case.seen)
        given = seen[:, -1:]
        return {"image": given + self.share * (self.case.wanted - given)}


# ---- what is measured


@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_0_for_the_scan_and_1_for_the_truth(measures, task):
    case = measures.DoseSlices.of(dose_slab(0), *TASKS[task])
    for share in (0.0, 0.5, 1.0):
        found = measures.judge(Makes(case, share), [case], l1)
        assert found["loss"] == pytest.approx(1 - share, abs=1e-4)
        assert found["left"] == pytest.approx(1 - share, abs=1e-4)
        assert found["score"] == pytest.approx(share, abs=1e-4)


def test_slices_are_those_of_the_task_with_even_sides(measures):
    slab = np.concatenate([dose_slab(0)] * 4, axis=1)[:, :, :42, :45]
    case = measures.DoseSlices.of(slab, ["pre", "low"], "post")
    # Every eighth of twenty.
    assert case.seen.shape == (2, 2, 48, 48)
    named = dict(zip(DOSE_ROLES, slab.astype("f4")[:, 4::8], strict=True))
    for channel, role in enumerate(("pre", "low")):
        shown = case.seen[:, channel].numpy()
        np.testing.assert_array_equal(shown[:, 3:-3, 1:-2], named[role])
        assert shown.sum() == pytest.approx(named[role].sum(), rel=1e-6)
    np.testing.assert_array_equal(case.wanted[:, 0, 3:-3, 1:-2].numpy(), named["post"])
    # The agent is in a disc of radius 6, at most.
    assert 60 < case.uptake[0].sum() < 130


def test_uptake_and_loss_are_told_apart(measures):
    """A network that is wrong in the uptake alone, and one that is wrong elsewhere alone."""
    case = measures.DoseSlices.of(dose_slab(0), ["pre", "low"], "post")
    given = case.seen[:, -1:]
    inside = torch.where(case.uptake, given, case.wanted)
    outside = torch.where(case.uptake, case.wanted, given)
    wrong_inside, wrong_outside = (case.measure(made, l1) for made in (inside, outside))
    assert wrong_inside["left"] == pytest.approx(1)
    assert 0 < wrong_inside["loss"] < 1
    assert wrong_outside["left"] == pytest.approx(0, abs=1e-6)
    assert wrong_outside["loss"] == pytest.approx(1 - wrong_inside["loss"], abs=1e-3)


def test_what_is_made_outside_of_the_brain_does_not_count(measures):
    case = measures.DoseSlices.of(dose_slab(0), ["low"], "post")
    made = torch.where(case.brain, case.wanted, torch.ones_like(case.wanted))
    assert case.measure(made, l1)["loss"] == pytest.approx(0, abs=1e-6)


def test_a_slab_without_uptake_is_left_out(measures, tmp_path):
    quiet = dose_slab(0)
    quiet[2] = quiet[0]
    np.save(tmp_path / "quiet.npy", quiet)
    np.save(tmp_path / "one.npy", dose_slab(0))
    files = sorted(tmp_path.glob("*.npy"))
    assert len(files) == 2
    assert len(measures.read_cases(files, ["low"], "post")) == 1


def test_the_judge_takes_the_loss_of_the_training(measures, real):
    script = importlib.import_module("train_lip_car")
    record = importlib.import_module("data.dose_pairs").PairSlabs.read(real)
    arguments = SimpleNamespace(task="pl2h", real=real, weigh_l1=0.5, low="scanned")
    judged = script.judge_of(arguments, record)
    cases = judged.keywords["cases"]
    assert len(cases) == 2 * len(OUT)

    class Halves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, seen):
            return {"image": self.factor * seen.sum(dim=1, keepdim=True)}

    def loss(made, wanted):
        return float(ssim_loss(made, wanted, data_range=1.0) + 0.5 * l1(made, wanted))

    by_hand = [
        loss(0.5 * case.seen.sum(1, keepdim=True) * case.brain, case.wanted)
        / loss(case.seen[:, 1:] * case.brain, case.wanted)
        for case in cases
    ]
    found = judged(Halves())
    assert found["loss"] == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert found["score"] == pytest.approx(1 - (found["loss"] + found["left"]) / 2)


# ---- from both sources


@pytest.mark.parametrize("share", [0.25, 0.8, 1.0])
def test_examples_come_from_both_with_the_share_asked_for(doses, tmp_path, share):
    """The two sources are told apart by their level."""
    for name, level in (("virtual", 0.2), ("real", 0.4)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x_0.npy", np.full((4, 3, 48, 48), level, np.float16))
    batch = next(
        doses.batches(
            str(tmp_path / "virtual"),
            crop=32,
            batch=400,
            seed=0,
            workers=0,
            real=tmp_path / "real",
            share=share,
        )
    )
    from_real = (batch["low"].mean(dim=(1, 2, 3)) > 0.3).float().mean()
    assert from_real == pytest.approx(share, abs=0.07 if share < 1 else 0)


def test_of_a_share_of_1_nothing_else_is_read(doses, real, tmp_path):
    options = {"crop": 32, "batch": 1, "seed": 0, "workers": 0, "real": real}
    next(doses.batches(str(tmp_path / "none"), share=1.0, **options))
    with pytest.raises(SystemExit, match="holds no slabs"):
        doses.batches(str(tmp_path / "none"), share=0.9, **options)


# ---- training


def train(out: Path, *options: object) -> None:
    small = ("--width", 2, "--crop", 32, "--batch", 2, "--threads", 1)
    words = ["train_lip_car.py", "--out", out, *small, *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in words])
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        importlib.import_module("train_lip_car").main()
        patch.delenv("PL_GLOBAL_SEED", raising=False)


def card_in(folder: Path) -> dict:
    return read_bundle(folder).metadata


def test_the_best_is_kept_and_the_card_names_the_data(pool, real, tmp_path):
    out = tmp_path / "run"
    terms = ("--source", "from the sets X", "--terms", "CC BY 4.0 as far as known")
    options = ("--task", "pl2h", "--data", pool, "--real", real, "--keep-every", 2, *terms)
    train(out, *options, "--steps", 4)
    train(out, *options, "--steps", 6)
    with open(out / "validation.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The first training keeps step 4 at its end as well.
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    for name in ("bundle", "best"):
        card = card_in(out / name)
        assert card["training"]["data"] == (
            "3 pairs of scans of 2 patients (from the sets X), their low dose simulated, "
            "and virtual brains"
        )
        licence = "pairs: CC BY 4.0 as far as known; virtual brains: Apache-2.0"
        assert card["training"]["data_licence"] == licence
        assert card["training"]["held_out_patients"] == ["c", "d"]
        assert card["training"]["parents"] == []
        assert "(mean loss + mean left)" in card["training"]["chosen_by"]
        assert card["trained_on_virtual_patients"] is True
        assert "simulated" in card["limits"]
        assert str(tmp_path) not in json.dumps(card)
        assert str(real) not in json.dumps(card)
    chosen = max(rows, key=lambda row: float(row["score"]))
    best = card_in(out / "best")
    assert best["training"]["steps"] == int(chosen["step"])
    assert best["metrics"]["validation"]["left"] == pytest.approx(float(chosen["left"]), abs=1e-4)


def test_real_pairs_alone_are_not_called_virtual_but_their_parent_counts(pool, real, tmp_path):
    task = ("--task", "l2h", "--steps", 1)
    alone = (*task, "--real", real, "--real-share", 1)
    train(tmp_path / "virtual", *task, "--data", pool)
    train(tmp_path / "alone", *alone)
    given = tmp_path / "virtual" / "bundle"
    train(tmp_path / "tuned", *alone, "--fine-tune", given)
    virtual, own, tuned = (
        card_in(tmp_path / name / "bundle") for name in ("virtual", "alone", "tuned")
    )
    assert "virtual" not in own["training"]["data"]
    flags = [card["trained_on_virtual_patients"] for card in (virtual, own, tuned)]
    assert flags == [True, False, True]
    (parent,) = tuned["training"]["parents"]
    assert parent["sha256"] == read_bundle(given).sha256
    assert parent["data"] == "virtual brains"
    assert not (tmp_path / "virtual" / "best").exists()


def test_folders_that_would_make_the_card_untrue_are_refused(real, tmp_path, capsys):
    task = ("--task", "l2h", "--steps", 1)
    with pytest.raises(RequestError, match="give it as --real"):
        train(tmp_path / "no", *task, "--data", real)
    with pytest.raises(RequestError, match="is no record of slabs of pairs"):
        train(tmp_path / "no", *task, "--real", tmp_path)
    partly = tmp_path / "partly"
    module = importlib.import_module("data.dose_pairs")
    module.PairSlabs(LEARNT, OUT, seed=0).enter(partly_made(partly))
    with pytest.raises(RequestError, match="lacks slabs of a"):
        train(tmp_path / "no", *task, "--real", partly)
    for share in ("0", "1.5"):
        with pytest.raises(SystemExit):
            train(tmp_path / "no", *task, "--real", real, "--real-share", share)
        assert "--real-share" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def partly_made(folder: Path) -> Path:
    folder.mkdir()
    return folder
