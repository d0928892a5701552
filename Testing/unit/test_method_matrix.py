"""One matrix over every declared method: what must hold for all of them, whoever adds one."""

import functools
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from ContrastSynthLib.files.images import read_volume, write_volume

from ContrastSynthLib.cli import main
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS, ROLES, declared_parameters, resolve_parameters
from ContrastSynthLib.registry.parameters import parse
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.run import Request, run
from ContrastSynthLib.volumes import Volume

SIZE = (32, 38, 26)
CUT = (14, 16, 8)
HAS_NETWORKS = all(find_spec(name) for name in ("torch", "monai", "safetensors"))
READY = sorted(
    key
    for key, method in METHODS.items()
    if method.ready and (not method.needs_torch or HAS_NETWORKS)
)


@pytest.fixture(scope="module")
def scans():
    return sample_scans()


def sample_scans():
    found = sample_patient(seed=3, size=SIZE).scans
    return {**found, "guess": found["post"]}


@pytest.fixture(scope="module")
def made(scans):
    """What a method makes of the sample patient, computed once: ``made(key)``."""
    return functools.cache(lambda key: run(Request(key, inputs_of(key, scans))))


@pytest.fixture(scope="module")
def made_small(scans):
    """What a method makes of few voxels with its quick preset, computed once."""
    return functools.cache(
        lambda key: run(Request(key, small(key, scans), preset=fastest(key))).outputs
    )


def inputs_of(key, scans):
    """Give each role its scan; a role that the sample lacks has to be added to the sample."""
    missing = set(METHODS[key].inputs) - set(scans)
    assert not missing, f"the sample patient has no {missing}: add them for the matrix"
    return {role: scans[role] for role in METHODS[key].inputs}


def test_the_folder_and_the_registry_agree():
    import ContrastSynthLib.methods as package

    folder = resource("Citations.json").parents[1] / "ContrastSynthLib" / "methods"
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(METHODS) == set(package.__all__)


@pytest.mark.parametrize("key", sorted(METHODS))
def test_declaration_is_complete(key):
    method = METHODS[key]
    assert method.citation in json.loads(resource("Citations.json").read_text("utf-8"))["citations"]
    assert method.title
    assert method.intended_use.startswith("Research")
    assert method.function.__doc__
    assert set(method.inputs) <= set(ROLES)
    for name, entry in declared_parameters(method).items():
        assert entry.param.title, name
        assert parse(key, entry, entry.default) == entry.default
    for preset in method.presets:
        resolved = resolve_parameters(method, {}, preset)
        for name, entry in declared_parameters(method).items():
            assert parse(key, entry, getattr(resolved.values, name)) is not None


@pytest.mark.parametrize("key", sorted(METHODS))
def test_weights_are_there_or_declared_as_pending(key):
    method = METHODS[key]
    if not method.needs_torch or method.weights_pending:
        return
    shipped = json.loads(resource("Weights.json").read_text("utf-8"))["weights"]
    needed = {method.weights} - {None} | set(method.weights_when)
    assert needed <= {entry["name"] for entry in shipped}


@pytest.mark.parametrize("key", READY)
def test_outputs_lie_on_the_reference_grid_and_are_finite(key, scans, made):
    method = METHODS[key]
    result = made(key)
    assert set(result.outputs) == set(method.outputs)
    for name, volume in result.outputs.items():
        assert volume.grid == scans[method.reference].grid
        assert volume.array.dtype == np.float32
        assert np.isfinite(volume.array).all()
        assert volume.array.std() > 0, name
        assert key in volume.synthetic
        if method.outputs[name].units_of is None:
            assert volume.array.min() >= 0
            assert volume.array.max() <= 1


@pytest.mark.parametrize("key", READY)
def test_inputs_are_not_written_into_and_bits_repeat(key, scans, made):
    given = inputs_of(key, scans)
    # Earlier tests ran on these scans too, so that they are compared with a new sample.
    before = {role: v.array.tobytes() for role, v in inputs_of(key, sample_scans()).items()}
    first, second = made(key).outputs, run(Request(key, given)).outputs
    assert {role: volume.array.tobytes() for role, volume in given.items()} == before
    for name in first:
        assert first[name].array.tobytes() == second[name].array.tobytes()


@pytest.mark.parametrize("key", READY)
def test_command_line_gives_the_bits_of_the_library(key, scans, made, tmp_path):
    given = inputs_of(key, scans)
    arguments = ["run", key, "--out", str(tmp_path / "out"), "--progress", "none"]
    for role, volume in given.items():
        write_volume(volume, tmp_path / f"{role}.nrrd")
        arguments += ["--in", f"{role}={tmp_path / role}.nrrd"]
    assert main(arguments) == 0
    for name, volume in made(key).outputs.items():
        written = read_volume(tmp_path / "out" / f"{name}.nrrd")
        assert written.array.tobytes() == volume.array.tobytes()
        np.testing.assert_allclose(
            written.grid.index_to_lps, volume.grid.index_to_lps, rtol=0, atol=1e-9
        )
        assert written.synthetic == volume.synthetic
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{name}.nrrd" for name in METHODS[key].outputs} | {"provenance.json"}


@pytest.mark.parametrize("key", READY)
def test_any_grid_will_do(key, scans, made_small, tmp_path):
    """200 random grids (8 for a network), oblique, flipped, anisotropic: the result lies where its
    input did, in memory and on the disk. A network knows how large and which way up a head is; the
    values of all other methods do not depend on where the voxels lie."""
    rng = np.random.default_rng(0)
    has_network = METHODS[key].needs_torch
    given = small(key, scans)
    fast = fastest(key)
    here = made_small(key)
    for _ in range(8 if has_network else 200):
        grid = random_grid(rng, CUT)
        moved = {role: replace(volume, grid=grid) for role, volume in given.items()}
        result = run(Request(key, moved, preset=fast))
        for path in result.write(tmp_path)[:-1]:
            name = path.stem
            assert result.outputs[name].grid == grid
            if not has_network:
                np.testing.assert_array_equal(here[name].array, result.outputs[name].array)
            written = read_volume(path).grid.index_to_lps
            np.testing.assert_allclose(written, grid.index_to_lps, rtol=0, atol=1e-9)


@pytest.mark.parametrize("key", READY)
@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_voxels_in_the_file_does_not_matter(key, scans, made_small, order):
    """The same head, stored sagittally or from the top down, gives the same result."""
    turned = {role: stored(v, order) for role, v in small(key, scans).items()}
    here = made_small(key)
    there = run(Request(key, turned, preset=fastest(key))).outputs
    for name in here:
        np.testing.assert_allclose(
            there[name].array, stored(here[name], order).array, rtol=1e-5, atol=1e-4
        )


def fastest(key):
    """Return the preset with which a method is quick; None where the defaults are."""
    return "fast" if "fast" in METHODS[key].presets else None


def stored(volume, order):
    """Return the volume with its axes in another order and the first of them reversed."""
    array = np.flip(volume.array.transpose(order), 0)
    # Columns of the matrix are i, j, k: the array's axes from the last to the first.
    columns = [2 - axis for axis in order][::-1]
    matrix = volume.grid.index_to_lps.copy()
    matrix[:, :3] = matrix[:, columns]
    matrix[:3, 3] += matrix[:3, 2] * (array.shape[0] - 1)
    matrix[:3, 2] *= -1
    grid = Grid.from_index_to_lps(array.shape[::-1], matrix)
    return replace(volume, array=np.ascontiguousarray(array), grid=grid)


def small(key, scans):
    """Return a method's inputs cut to few voxels, with a mask: whether a stretched head still
    looks like one is not asked here."""
    reference = scans[METHODS[key].reference]
    given = inputs_of(key, scans) | {"mask": reference.with_array(reference.array > 0)}
    grid = Grid(CUT, spacing_mm=(6.0, 6.0, 6.0))
    return {role: cut(volume, grid) for role, volume in given.items()}


def cut(volume, grid):
    """Return the middle of a volume on another grid, small enough for many runs."""
    i, j, k = CUT
    return replace(volume, array=volume.array[8 : 8 + k, 10 : 10 + j, 8 : 8 + i], grid=grid)


def random_grid(rng, size):
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.choice([-1, 1], 3) * rng.uniform(0.4, 6.0, 3)
    matrix[:3, 3] = rng.uniform(-200, 200, 3)
    return Grid.from_index_to_lps(size, matrix)


@pytest.mark.parametrize("key", READY)
def test_one_slice_is_a_volume(key, scans):
    grid = Grid(size=(SIZE[0], SIZE[1], 1))
    given = {
        role: Volume(volume.array[15:16], grid, volume.acquisition)
        for role, volume in inputs_of(key, scans).items()
    }
    for volume in run(Request(key, given)).outputs.values():
        assert volume.grid == grid


@pytest.mark.parametrize("key", READY)
def test_a_given_mask_is_used(key, scans):
    given = inputs_of(key, scans)
    reference = scans[METHODS[key].reference]
    half = (reference.array > 0) & (np.arange(SIZE[0]) < SIZE[0] // 2)
    result = run(Request(key, given | {"mask": reference.with_array(half)}))
    assert result.provenance["mask"] == {"source": "given", "voxels": int(half.sum())}


@pytest.mark.parametrize("key", READY)
def test_intensities_scale_with_the_input(key, scans, made):
    """Result in the units of the input: a scan in other units gives the result in those."""
    given = inputs_of(key, scans)
    scaled = {role: volume.with_array(volume.array * 8) for role, volume in given.items()}
    here, there = made(key).outputs, run(Request(key, scaled)).outputs
    for name, declared in METHODS[key].outputs.items():
        factor = 8 if declared.units_of else 1
        np.testing.assert_allclose(
            there[name].array, factor * here[name].array, rtol=1e-4, atol=1e-4 * factor
        )
