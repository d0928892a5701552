"""Lesions put into real scans, and taken out of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, find_objects, label

from ContrastSynthLib.analysis.enhancement import INVENTED, MISSED, missed_and_invented
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.files.images import read_volume

pytestmark = pytest.mark.real_scans


@pytest.fixture
def scans(real_pair):
    """The real difference in units of the reference level, the brain, and the grid."""
    pre, post = read_volume(real_pair.pre), read_volume(real_pair.post)
    brain = np.asarray((pre.array > 0) & (post.array > 0))
    found = uptake(pre, post, brain, convention="real_scans")
    return found.difference, brain, pre.grid


def test_a_lesion_of_6_mm_more_or_less_is_one_row(scans):
    real, brain, grid = scans
    same = missed_and_invented(real, real, brain, grid)
    assert {lesion.kind for lesion in same.lesions} == {"found"}

    # A ball in the deepest brain without uptake, which no other region touches.
    free = distance_transform_edt(brain & (real <= 0.1))
    offsets = np.indices(real.shape) - np.reshape(
        np.unravel_index(free.argmax(), real.shape), (3, 1, 1, 1)
    )
    ball = (offsets**2).sum(axis=0) <= 3**2
    assert free.max() > 3
    put_in = real.copy()
    put_in[ball] = 0.3
    report = missed_and_invented(real, put_in, brain, grid)
    assert report.lesions[:-1] == same.lesions
    assert report.lesions[-1].kind == "invented"
    assert report.invented_ml == pytest.approx(ball.sum() / 1000)
    assert np.array_equal(report.map == INVENTED, ball)

    # Without one of the lesions of the real scan.
    gone = same.lesions[len(same.lesions) // 2]
    regions, _ = label(brain & (real > 0.1), np.ones((3, 3, 3)))
    box = tuple(slice(start, stop) for start, stop in gone.bounds_kji)
    (number,) = (n for n, at in enumerate(find_objects(regions), start=1) if at == box)
    report = missed_and_invented(real, np.where(regions == number, 0, real), brain, grid)
    (missed,) = (lesion for lesion in report.lesions if lesion.kind == "missed")
    assert (missed.bounds_kji, missed.volume_ml) == (gone.bounds_kji, gone.volume_ml)
    assert len(report.lesions) == len(same.lesions)
    assert np.array_equal(report.map == MISSED, regions == number)
    assert report.missed_ml == gone.volume_ml
    assert report.invented_ml == 0


def test_most_of_the_uptake_of_a_real_scan_is_one_region(scans):
    """Why lost parts are reported: vessels and dura connect, a tenth of it counts as found."""
    real, brain, grid = scans
    largest = missed_and_invented(real, real, brain, grid).lesions[0]
    uptake_ml = (brain & (real > 0.1)).sum() * grid.voxel_volume_ml
    assert largest.volume_ml > 0.8 * uptake_ml
    # Without half of the brain it is found all the same, and half of it is reported as lost.
    half = real.copy()
    half[:, :, int(np.median(np.nonzero(brain)[2])) :] = 0.0
    report = missed_and_invented(real, half, brain, grid)
    assert report.lesions[0].kind == "found"
    assert report.lost_part_ml > 0.3 * uptake_ml
    assert report.missed_ml < 0.1 * uptake_ml
