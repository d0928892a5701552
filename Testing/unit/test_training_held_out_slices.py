"""Validation on virtual slices: the same ones each time, and what a perfect answer scores."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training_slabs import pair_slab, write_pool

from ContrastSynthLib.errors import RequestError

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("evaluation.held_out_slices")


@pytest.fixture
def examples(module, tmp_path):
    return module.read_examples(write_pool(tmp_path, pair_slab), 32, 12)


class Answers(torch.nn.Module):
    """A network that knows the answers by heart, in the order in which it is asked."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.nothing = list(answers), torch.nn.Parameter(torch.zeros(1))

    def forward(self, given):
        taken, self.answers = self.answers[: len(given)], self.answers[len(given) :]
        return {"pre": torch.from_numpy(np.stack(taken))}


def test_the_examples_are_the_same_each_time(module, tmp_path, examples):
    again = module.read_examples(tmp_path, 32, 12)
    assert len(again) == len(examples) == 12
    for one, other in zip(examples, again, strict=True):
        np.testing.assert_array_equal(one["post"], other["post"])


def test_doing_nothing_scores_0_and_1_and_the_target_no_error(module, examples):
    nothing = module.judge(Answers(example["post"][1:2] for example in examples), examples)
    assert nothing == pytest.approx({"score": -1, "share": 0, "left": 1, "out": 0}, abs=1e-5)
    target = module.judge(Answers(example["pre"] for example in examples), examples)
    assert target["left"] == pytest.approx(0, abs=1e-6)
    assert target["share"] > 0.9


def test_what_is_left_of_artefacts_is_relative_to_them(module, examples):
    given = np.stack([example["corrupted"] for example in examples])
    halves = ((example["corrupted"] + example["second"]) / 2 for example in examples)
    found = module.judge_cleaned(Answers(halves), given, examples)
    assert found == pytest.approx({"score": 0.5, "left": 0.5}, abs=1e-5)


def test_a_slice_with_hardly_any_artefact_hardly_counts(module, examples):
    faint = {**examples[0], "corrupted": examples[0]["second"] + 1e-6}
    several = [faint, *examples[1:]]
    given = np.stack([example["corrupted"] for example in several])
    answers = ((example["corrupted"] + example["second"]) / 2 for example in several[1:])
    poor = [faint["second"] + 0.001, *answers]
    assert module.judge_cleaned(Answers(poor), given, several)["left"] < 0.6


def test_slices_without_uptake_or_artefacts_decide_nothing(module, examples):
    same = [{**e, "pre": e["post"][1:2], "corrupted": e["second"]} for e in examples]
    answers = [example["pre"] for example in same]
    with pytest.raises(RequestError, match="any uptake"):
        module.judge(Answers(answers), same)
    with pytest.raises(RequestError, match="any artefact"):
        module.judge_cleaned(Answers(answers), np.stack(answers), same)
