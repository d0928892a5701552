"""SPHERE's shipped weights on real scans: a slab of one, and a whole head with thick slices.

A result is measured in the contrast and shading of the post scan, as training/evaluate.py measures
it with --table sphere_real.
"""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest

from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytest.importorskip("torch")
pytest.importorskip("monai")

pytestmark = [pytest.mark.real_scans, pytest.mark.usefixtures("training_path")]

LEAST_SHARE = 0.65
MOST_LEFT = 0.3
MOST_OUT = 0.02
MOST_LOST = 0.02
"""Guards on the slices of one patient; docs/results.md tells what is reached on whole brains."""
MOST_CHANGE_OUTSIDE = 0.05


@pytest.fixture
def pair(real_slab):
    """The scans of the slab with the pre scan in the contrast of the post scan."""
    matched = importlib.import_module("evaluation.matched_pairs")
    cases = importlib.import_module("evaluation.cases")
    scans = matched.with_target(cases.Scans(dict(real_slab), None, {}))
    return SimpleNamespace(matched=matched, scans=scans)


def check(pair, weights=None):
    """Check what a run makes of the scan after the agent, and of the one before it."""

    def made(scans):
        mask = scans["post"].with_array(scans.brain)
        inputs = {"post": scans["post"], "mask": mask}
        return run(Request("sphere", inputs, preset="fast", weights=weights)).outputs

    outputs = made(pair.scans)
    outputs["kept"] = made(pair.matched.without_agent(pair.scans))["pre"]
    found = pair.matched.measure(pair.scans, outputs, pair.scans.brain)
    assert found["share"] > LEAST_SHARE, found
    assert found["left"] < MOST_LEFT, found
    assert found["out"] < MOST_OUT, found
    assert found["lost"] < MOST_LOST, found


def test_enhancement_goes_on_a_real_slab_and_nothing_where_there_is_none(pair):
    check(pair)


def test_weights_that_saw_virtual_patients_alone_do_not_reach_it(pair):
    with pytest.raises(AssertionError):
        check(pair, "sphere_virtual")


def test_random_weights_do_not_reach_it(pair, random_weights):
    with pytest.raises(AssertionError):
        check(pair, str(random_weights("sphere").folder))


def test_a_whole_head_with_thick_slices(real_scans):
    """Scalp, fat and 5.5 mm slices: the result lies where the scan did and stays a head."""
    files = json.loads((real_scans / "cases.json").read_text("utf-8"))["tcga_fg_6692_native"]
    post = read_volume(real_scans / "tcga_fg_6692_native" / files["post"])
    result = run(Request("sphere", {"post": post}, {"mirrored": False}))
    pre, uptake = result.outputs["pre"], result.outputs["uptake"]
    assert pre.grid == post.grid
    assert result.provenance["mask"]["source"] == "guess"
    head = post.array > np.percentile(post.array, 60)
    quiet = head & (uptake.array < 0.2)
    change = np.abs(pre.array - post.array)[quiet].mean() / post.array[head].mean()
    assert change < MOST_CHANGE_OUTSIDE
    taken = (post.array - pre.array)[uptake.array > 0.5]
    assert taken.mean() > 0
