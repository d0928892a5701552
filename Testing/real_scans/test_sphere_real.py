"""SPHERE's shipped weights on real scans: a slab of one, and a whole head with thick slices."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytest.importorskip("torch")
pytest.importorskip("monai")

pytestmark = pytest.mark.real_scans

LEAST_GAIN_DB = 1.5
MOST_ERROR_LEFT = 0.65
MOST_CHANGE_OUTSIDE = 0.05
"""Guards against weights that do nothing; the README tells what these reach."""


def test_enhancement_goes_on_a_real_slab(real_slab):
    """A guard; the measurement stands in the README, for all pairs and whole brains."""
    pre, post = real_slab["pre"], real_slab["post"]
    brain = (pre.array > 0) & (post.array > 0)
    mask = post.with_array(brain)
    made = run(Request("sphere", {"post": post, "mask": mask})).outputs["pre"]
    report = evaluate(pre, made, pre=pre, post=post, brain=brain)
    assert report["scale"]["gain_db"] > LEAST_GAIN_DB
    assert report["scale"]["uptake_mae_of_do_nothing"] < MOST_ERROR_LEFT


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
