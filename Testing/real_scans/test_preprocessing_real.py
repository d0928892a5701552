"""Preprocessing on real scans: what is a brain, what is a head, and where they lie."""

import numpy as np
import pytest

from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
from ContrastSynthLib.preprocessing.normalisation import fit, radiometric_gain

pytestmark = pytest.mark.real_scans


def test_a_real_pair_is_a_stripped_brain_in_the_right_order(real_pair):
    pre, post = read_volume(real_pair.pre), read_volume(real_pair.post)
    found = foreground([pre, post])
    assert found.source == "skull-stripped"
    both = (pre.array > 0) & (post.array > 0)
    assert not (found.mask & ~both).any()
    assert (both & ~found.mask).sum() < 50
    assert warnings_for_pair(pre, post, found.mask) == []
    assert "swapped" in warnings_for_pair(post, pre, found.mask)[0]


def test_the_gain_of_a_real_pair_is_near_its_median_ratio(real_pair):
    """Enhancement, shading and vessels lie above the mode: within 5 % in all three."""
    pre, post = read_volume(real_pair.pre), read_volume(real_pair.post)
    mask = foreground([pre, post]).mask
    gain = radiometric_gain(pre.array, post.array, mask)
    median = np.median(post.array[mask] / pre.array[mask])
    assert gain == pytest.approx(median, rel=0.05)
    assert radiometric_gain(post.array, pre.array, mask) * gain == pytest.approx(1, abs=0.005)
    scaled = fit("mean", pre.array, mask).apply(pre.array)
    rescaled = radiometric_gain(scaled, post.array, mask)
    assert rescaled == pytest.approx(gain * pre.array[mask].mean(), rel=1e-3)


NATIVE = "tcga_fg_6692_native"


@pytest.mark.parametrize("name", ["native_t1", "native_t1c", "native_t2", "native_fla"])
@pytest.mark.parametrize("air", ["as it is", "thresholded"])
def test_a_real_whole_head_is_a_guess(real_scans, name, air):
    scan = read_volume(real_scans / NATIVE / f"{name}.nii.gz")
    if air == "thresholded":
        scan = scan.with_array(np.where(scan.array > 60, scan.array, 0))
    found = foreground([scan])
    assert found.source == "guess"
    litres = found.mask.sum() * scan.grid.voxel_volume_ml / 1000
    assert 2.5 < litres < 4


def test_a_real_breast_slice_is_a_guess(real_scans):
    scan = read_volume(real_scans / "breast_dce_qin2d" / "pre_mean0-2.nii.gz")
    tumour = read_volume(real_scans / "breast_dce_qin2d" / "tumour.nii.gz").array > 0
    found = foreground([scan])
    assert found.source == "guess"
    assert found.mask[tumour].all()


@pytest.mark.parametrize(
    ("native", "published", "agrees"),
    [("native_fla", "flair", 0.95), ("native_t1", "t1", 0.95), ("native_t2", "t2", 0.9)],
)
def test_rigid_agrees_with_the_published_registration(real_scans, native, published, agrees):
    folder = real_scans / NATIVE
    fixed = read_volume(folder / "native_t1c.nii.gz")
    moving = read_volume(folder / f"{native}.nii.gz")
    theirs = read_volume(folder / f"coreg_to_t1c_{published}.nii.gz").array
    correlation = {}
    for mode in ("resample", "rigid"):
        aligned, report = align({"post": fixed, "other": moving}, "post", mode)
        ours = aligned["other"].array
        head = (fixed.array > 150) & (ours > 0) & (theirs > 0)
        correlation[mode] = np.corrcoef(ours[head], theirs[head])[0, 1]
    assert correlation["resample"] < 0.6
    assert correlation["rigid"] > agrees
    assert report["other"]["covered"] > 0.9


def test_a_registered_pair_stays_where_it_is(real_pair):
    pre, post = read_volume(real_pair.pre), read_volume(real_pair.post)
    _, report = align({"pre": pre, "post": post}, "pre", "rigid")
    assert report["post"]["rotation_deg"] < 0.3
    assert np.linalg.norm(report["post"]["translation_mm"]) < 0.5
