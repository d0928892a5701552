"""The published figures of the three real pairs, from files to report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.analysis.profiles import line_profile, profile_error
from ContrastSynthLib.analysis.uptake import CONVENTIONS, uptake
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.plots.figures import (
    Panel,
    choose_slice,
    display_slice,
    figure_png,
    slice_figure,
)
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.real_scans

# Doing nothing and what can be reached in dB; of that the share of the best clamp of bright
# voxels, and what the clamp leaves of the error inside the uptake.
KNOWN = {
    "brats20_186": (17.9, 25.9, 0.48, 0.50),
    "tcga_fg_6692": (17.6, 21.4, 0.32, 0.81),
    "open_ms_p07": (15.3, 23.7, 0.32, 0.75),
}


@pytest.fixture(scope="module", params=KNOWN)
def case(request) -> str:
    return request.param


@pytest.fixture
def pair(real_scans: Path, case: str) -> tuple[Volume, Volume]:
    return (
        read_volume(real_scans / case / "t1.nii.gz"),
        read_volume(real_scans / case / "t1c.nii.gz"),
    )


def brain_of(pre: Volume, post: Volume) -> np.ndarray:
    return np.asarray((pre.array > 0) & (post.array > 0))


def test_the_scale_of_a_clamp_is_the_known_one(case, pair):
    pre, post = pair
    median = np.median(post.array[brain_of(pre, post)])
    clamped = post.with_array(np.where(post.array > 1.2 * median, median, post.array))
    report = evaluate(pre, clamped, pre=pre, post=post)
    scale = report["scale"]
    nothing, reachable, share, left = KNOWN[case]
    assert scale["do_nothing_psnr_db"] == pytest.approx(nothing, abs=0.05)
    assert scale["reachable_psnr_db"] == pytest.approx(reachable, abs=0.05)
    assert scale["share_of_reachable"] == pytest.approx(share, abs=0.005)
    assert scale["uptake_mae_of_do_nothing"] == pytest.approx(left, abs=0.005)
    assert 0.3 < report["regions"]["brain"]["ssim"] < 0.99
    assert report["notes"] == []


def test_an_eighth_of_the_brain_takes_agent_up(pair):
    pre, post = pair
    brain = brain_of(pre, post)
    shares = {
        name: uptake(pre, post, brain, convention=name).share_of_brain for name in CONVENTIONS
    }
    assert 0.12 <= shares["real_scans"] <= 0.15
    # Volumes by the conventions differ by more than a factor of two for the same pair.
    assert max(shares.values()) > 2 * min(shares.values())


def test_a_line_through_the_uptake_is_brighter_after_the_agent(pair):
    pre, post = pair
    brain = brain_of(pre, post)
    found = uptake(pre, post, brain, convention="real_scans")
    right, anterior, superior = choose_slice(pre.with_array(found.soft))
    ends = (right - 60, anterior, superior), (right + 60, anterior, superior)
    before = line_profile(pre.with_array(pre.array / np.median(pre.array[brain])), *ends)
    after = line_profile(post.with_array(post.array / np.median(post.array[brain])), *ends)
    agent = line_profile(pre.with_array(found.soft), *ends).values > 0.5
    assert agent.sum() > 5
    assert (after.values - before.values)[agent].mean() > 0.1
    assert profile_error(before, after) > 0.02


def test_a_native_oblique_scan_is_measured_and_shown(real_scans):
    """Thick oblique slices: no skull-stripping, no registration, geometry all the same."""
    scan = read_volume(real_scans / "tcga_fg_6692_native" / "native_t1c.nii.gz")
    middle = scan.grid.ras_from_index((np.array(scan.array.shape) - 1) / 2)
    found = line_profile(scan, middle - np.array([40, 0, 0]), middle + np.array([40, 0, 0]))
    assert np.isfinite(found.values).all()
    for plane in ("axial", "coronal", "sagittal"):
        picture, (left, right, bottom, top) = display_slice(scan, plane)
        # Pixels of different height and width: the edges in mm decide, not the shape.
        voxels = dict(zip("ijk", scan.grid.size, strict=True))
        assert sorted(picture.shape) != sorted(voxels.values())
        across, up = abs(right - left) / picture.shape[1], abs(top - bottom) / picture.shape[0]
        assert sorted([across, up])[0] == pytest.approx(min(scan.grid.spacing_mm))
        figure = slice_figure([Panel(plane, picture, (left, right, bottom, top))], plane)
        assert figure_png(figure).startswith(b"\x89PNG")
