"""A method on single voxels: the very numbers of a run, and the voxels that a plane shows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS, resolve_parameters
from ContrastSynthLib.running.preview import prepare, voxels_near_plane
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

PREVIEWED = [method.key for method in METHODS.values() if method.can_preview]


@pytest.fixture(scope="module")
def patient():
    return sample_patient(size=(48, 56, 40))


def inputs_of(key, patient):
    return {role: patient.scans[role] for role in METHODS[key].inputs}


def test_what_goes_voxel_by_voxel_without_torch_can_be_previewed():
    assert {"physics_dose", "physics_pre"} <= set(PREVIEWED)
    assert not any(METHODS[key].needs_torch for key in PREVIEWED)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("key", PREVIEWED)
def test_single_voxels_are_those_of_a_run(key, masked, patient):
    given, method = inputs_of(key, patient), METHODS[key]
    if masked:
        brain = patient.brain & (np.arange(48) < 30)
        given["mask"] = patient.scans["pre"].with_array(brain)
    scans = {role: volume for role, volume in given.items() if role != "mask"}
    acquisitions = {role: volume.acquisition for role, volume in scans.items()}
    values = resolve_parameters(method, {}, None, acquisitions).values
    rng = np.random.default_rng(0)
    which = tuple(rng.integers(0, size, 4001) for size in patient.brain.shape)
    found = prepare(method, given).voxels(values, which)
    whole = run(Request(key, given)).outputs
    assert set(found) == set(whole)
    for role, values_there in found.items():
        assert values_there.dtype == np.float32
        np.testing.assert_array_equal(values_there, whole[role].array[which])


def test_no_voxels_are_no_voxels(patient):
    method = METHODS["physics_dose"]
    none = tuple(np.zeros(0, int) for _ in range(3))
    found = prepare(method, inputs_of("physics_dose", patient)).voxels(method.parameters(), none)
    assert found["low"].shape == (0,)


def test_what_works_on_whole_volumes_is_refused(patient):
    with pytest.raises(RequestError, match="there is no preview of it"):
        prepare(METHODS["sphere"], inputs_of("sphere", patient))


def test_differing_and_missing_inputs_are_refused(patient):
    given = inputs_of("physics_dose", patient)
    with pytest.raises(RequestError, match="physics_dose needs 'post'"):
        prepare(METHODS["physics_dose"], {"pre": given["pre"]})
    given["post"] = sample_patient(size=(24, 28, 20)).scans["post"]
    with pytest.raises(RequestError, match="different grids"):
        prepare(METHODS["physics_dose"], given)


def test_a_plane_in_the_middle_of_a_slice_shows_that_slice_alone():
    grid = Grid((5, 6, 7), spacing_mm=(1.0, 2.0, 3.0))
    middle = grid.index_to_ras @ [0, 0, 4, 1]
    k, j, i = voxels_near_plane(grid, middle[:3], (0, 0, 1))
    assert set(k) == {4}
    assert len(set(zip(j, i, strict=True))) == 30
    between = grid.index_to_ras @ [0, 0, 4.25, 1]
    assert set(voxels_near_plane(grid, between[:3], (0, 0, -1))[0]) == {4, 5}
    beyond = grid.index_to_ras @ [0, 0, 9, 1]
    assert voxels_near_plane(grid, beyond[:3], (0, 0, 1))[0].size == 0


def test_an_oblique_plane_shows_all_voxels_between_which_it_interpolates():
    rng = np.random.default_rng(1)
    for _ in range(20):
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        matrix = np.eye(4)
        matrix[:3, :3] = axes * rng.uniform(0.5, 4.0, 3)
        grid = Grid.from_index_to_lps((9, 8, 7), matrix)
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        middle = (grid.index_to_ras @ [4.2, 3.7, 3.1, 1])[:3]
        found = set(zip(*voxels_near_plane(grid, middle, normal), strict=True))
        points = middle + rng.uniform(-20, 20, (4000, 3))
        points -= ((points - middle) @ normal)[:, None] * normal
        indices = (np.c_[points, np.ones(4000)] @ np.linalg.inv(grid.index_to_ras).T)[:, :3]
        inside = indices[((indices > 0) & (indices < np.array(grid.size) - 1)).all(axis=1)]
        assert len(inside)
        for corner in itertools.product((0, 1), repeat=3):
            near = np.floor(inside).astype(int) + corner
            # A voxel of no weight need not be there.
            needed = near[(np.abs(near - inside) < 0.998).all(axis=1)]
            assert {tuple(index[::-1]) for index in needed.tolist()} <= found
        assert len(found) < grid.size[0] * grid.size[1] * grid.size[2] * 0.75
