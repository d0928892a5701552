"""A large stack is solved in parts: each slice once, and close to what it is as a whole."""

from dataclasses import replace

import numpy as np
import pytest

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inversion.parts import OVERLAP_SLICES, combined_history, overlapping_parts


@pytest.mark.parametrize("count", [1, 7, 40, 400])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_each_slice_is_kept_once(count, dimensions):
    parts = overlapping_parts((count, 100, 100), dimensions, voxels=90_000)
    kept = np.concatenate([np.arange(count)[k] for k, _ in parts])
    np.testing.assert_array_equal(kept, np.arange(count))
    for keep, see in parts:
        assert keep.stop - keep.start <= 9
        beyond = (keep.start - see.start, see.stop - keep.stop)
        inner = [n for n, edge in zip(beyond, (keep.start, count - keep.stop), strict=True) if edge]
        assert set(inner) <= ({0} if dimensions == 2 else {*range(1, OVERLAP_SLICES + 1)})


def test_a_brain_is_one_part_and_a_large_head_is_not():
    assert len(overlapping_parts((155, 192, 176))) == 1
    assert len(overlapping_parts((400, 448, 400))) > 5


def test_histories_add_up():
    one = {"iteration": [1, 2], "objective": [4.0, 3.0], "change": [0.5, 0.1]}
    two = {"iteration": [1, 2, 3], "objective": [2.0, 1.0, 0.5], "change": [0.4, 0.2, 0.05]}
    assert combined_history([one]) == one
    assert combined_history([one, two]) == {
        "iteration": [1, 2, 3],
        "objective": [6.0, 4.0, 3.5],
        "change": [0.5, 0.2, 0.1],
    }


@pytest.mark.parametrize("dimensions", [2, 3])
def test_lip_car_in_parts_is_close_to_the_whole(monkeypatch, dimensions):
    pytest.importorskip("torch")
    from ContrastSynthLib.methods import lip_car
    from ContrastSynthLib.phantom.sample import sample_patient
    from ContrastSynthLib.running.request import Request
    from ContrastSynthLib.running.run import run

    # As if its voxels had 1 mm: few pixels in a slice.
    scans = {
        role: replace(volume, grid=Grid(volume.grid.size))
        for role, volume in sample_patient(seed=3, size=(24, 28, 20)).scans.items()
    }
    scans["mask"] = scans["pre"].with_array(scans["pre"].array > 0)
    settings = {"forward": "physics", "guess": "pre", "dose": 0.33, "dimensions": dimensions}
    settings |= {"iterations": 15, "tolerance": 1e-3}
    request = Request("lip_car", {role: scans[role] for role in ("low", "pre", "mask")}, settings)
    whole = run(request)
    parts = overlapping_parts

    def small(shape, dimensions):
        found = parts(shape, dimensions, voxels=shape[0] * shape[1] * shape[2] // 3)
        assert len(found) > 2
        return found

    monkeypatch.setattr(lip_car, "overlapping_parts", small)
    reports = []
    cut = run(request, lambda share, message: reports.append(share))
    assert reports == sorted(reports)
    one, other = (result.outputs["post"].array for result in (whole, cut))
    brain = scans["pre"].array > 0
    difference = np.abs(one - other)[brain].mean() / one[brain].mean()
    assert difference < 5e-3
    if dimensions == 2:  # in 3D the overlapping slices count twice
        last = [r.provenance["record"]["history"]["objective"][-1] for r in (whole, cut)]
        assert last[1] == pytest.approx(last[0], rel=0.05)
