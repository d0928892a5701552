"""SPHERE's shipped weights on real scans: a slab of one, and a whole head with thick slices."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.run import Request, run
from ContrastSynthLib.volumes import read_volume

pytest.importorskip("torch")
pytest.importorskip("monai")

pytestmark = pytest.mark.real_scans

SLICES = 16
LEAST_GAIN_DB = 1.5
MOST_ERROR_LEFT = 0.65
MOST_CHANGE_OUTSIDE = 0.05
"""Guards against weights that do nothing; the README tells what these reach."""


def middle_of_uptake(pre, post):
    """Return the first of the SLICES slices that together enhance the most."""
    brain = (pre.array > 0) & (post.array > 0)
    rise = post.array / np.median(post.array[brain]) - pre.array / np.median(pre.array[brain])
    counts = ((rise > 0.2) & brain).sum(axis=(1, 2))
    return int(np.convolve(counts, np.ones(SLICES), mode="valid").argmax())


def slab(volume, first):
    """Return some slices of a volume, where they lie."""
    matrix = volume.grid.index_to_lps.copy()
    matrix[:3, 3] += matrix[:3, 2] * first
    array = np.ascontiguousarray(volume.array[first : first + SLICES])
    grid = type(volume.grid).from_index_to_lps(array.shape[::-1], matrix)
    return replace(volume, array=array, grid=grid)


def test_enhancement_goes_on_a_real_slab(real_scans):
    """A guard; the measurement stands in the README, for all pairs and whole brains."""
    files = json.loads((real_scans / "cases.json").read_text("utf-8"))["brats20_186"]
    whole = {r: read_volume(real_scans / "brats20_186" / files[r]) for r in ("pre", "post")}
    first = middle_of_uptake(whole["pre"], whole["post"])
    pre, post = (slab(whole[role], first) for role in ("pre", "post"))
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
