"""One matrix over every declared method: what must hold for all of them, whoever adds one."""

import csv
import functools
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.series import read_series, write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import IMAGE, METHODS, ROLES, declared_parameters, resolve_parameters
from ContrastSynthLib.registry.parameters import parse
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.batch import run_batch
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import output_role
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Series, Volume
from ContrastSynthLib.weights.bundles import shipped_and_imported

SIZE = (32, 38, 26)
CUT = (14, 16, 8)
SEED = 11
HAS_NETWORKS = all(find_spec(name) for name in ("torch", "monai", "safetensors"))
READY = sorted(key for key, method in METHODS.items() if not method.needs_torch or HAS_NETWORKS)
RANDOM = [key for key in READY if METHODS[key].random]


@pytest.fixture(scope="module")
def scans():
    return sample_scans()


def sample_scans():
    found = sample_patient(seed=3, size=SIZE).scans
    phases = zip(("pre", "low", "post"), (0.0, 60.0, 120.0), strict=True)
    return {
        **found,
        "guess": found["post"],
        **dict.fromkeys(("t2", "flair", "adc"), found["pre"]),
        "phase": Series(tuple(at(found[role], time_s) for role, time_s in phases)),
    }


def at(volume, time_s):
    return replace(volume, acquisition=replace(volume.acquisition, time_s=time_s))


@pytest.fixture(scope="module")
def made(scans):
    """What a method makes of the sample patient, computed once: ``made(key)``."""
    return functools.cache(lambda key: run(Request(key, inputs_of(key, scans), seed=SEED)))


@pytest.fixture(scope="module")
def made_fast(scans):
    """The same with its quick preset."""
    return functools.cache(lambda key: run(quick(key, inputs_of(key, scans))))


@pytest.fixture(scope="module")
def made_small(scans):
    """What a method makes of few voxels with its quick preset, computed once."""
    return functools.cache(
        lambda key: run(Request(key, small(key, scans), preset=fastest(key), seed=SEED)).outputs
    )


def inputs_of(key, scans):
    """Give each role its scan; a role that the sample lacks has to be added to the sample."""
    missing = set(METHODS[key].inputs) - set(scans)
    assert not missing, f"the sample patient has no {missing}: add them for the matrix"
    return {role: fitting(scans[role], one) for role, one in METHODS[key].inputs.items()}


def fitting(scan, declared):
    """Return the last volume of a series where one volume is declared."""
    return scan.volumes[-1] if isinstance(scan, Series) and not declared.series else scan


def test_the_folder_and_the_registry_agree():
    import ContrastSynthLib.methods as package

    folder = resource("Citations.json").parents[1] / "ContrastSynthLib" / "methods"
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(package.METHOD_FILES) <= set(METHODS)


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
def test_weights_of_all_networks_are_there(key):
    there = {bundle.name for bundle in shipped_and_imported()}
    assert {network.weights or name for name, network in METHODS[key].networks.items()} <= there


@pytest.mark.parametrize("key", [key for key in METHODS if METHODS[key].then])
def test_what_goes_on_with_a_result_takes_it(key):
    method, following = METHODS[key], METHODS[key].next
    assert following is not None
    assert set(following.required) & set(method.outputs)
    assert set(following.required) <= {*method.outputs, *method.required}


@pytest.mark.parametrize("key", READY)
def test_outputs_are_what_is_declared(key, scans, made):
    method = METHODS[key]
    result = made(key)
    assert set(result.outputs) == set(method.outputs)
    for name, output in result.outputs.items():
        declared = method.outputs[name]
        assert isinstance(output, Series) == declared.series
        for volume in volumes_of(output):
            assert volume.grid == scans[method.reference].grid
            assert volume.array.dtype == np.float32
            assert volume.array.std() > 0, name
            assert key in volume.synthetic
        described = result.provenance["outputs"][name]
        assert described["kind"] == declared.kind
        assert described.get("unit", "") == declared.unit


def volumes_of(output):
    """Return the volumes of a series, or the one volume."""
    return list(output) if isinstance(output, Series) else [output]


def arrays(outputs):
    return {name: [v.array for v in volumes_of(output)] for name, output in outputs.items()}


def bits(outputs):
    return {name: [a.tobytes() for a in found] for name, found in arrays(outputs).items()}


@pytest.mark.parametrize("key", READY)
def test_inputs_are_not_written_into_and_the_same_seed_gives_the_same_bits(key, scans, made_fast):
    given = inputs_of(key, scans)
    # Earlier tests ran on these scans too, so that they are compared with a new sample.
    before = bits(inputs_of(key, sample_scans()))
    first, second = made_fast(key).outputs, run(quick(key, given)).outputs
    assert bits(given) == before
    assert bits(first) == bits(second)
    assert made_fast(key).provenance["seed"] == SEED


@pytest.mark.parametrize("key", READY)
def test_another_seed_gives_other_bits_where_the_method_is_random(key, scans, made_small):
    other = Request(key, small(key, scans), preset=fastest(key), seed=SEED + 1)
    assert (bits(run(other).outputs) != bits(made_small(key))) is METHODS[key].random


@pytest.mark.parametrize("key", READY)
def test_command_line_gives_the_bits_of_the_library(key, scans, made, tmp_path):
    given = inputs_of(key, scans)
    arguments = ["run", key, "--out", str(tmp_path / "out"), "--progress", "none"]
    arguments += ["--seed", str(SEED)]
    for role, value in given.items():
        suffix = ".seq.nrrd" if isinstance(value, Series) else ".nrrd"
        (write_series if isinstance(value, Series) else write_volume)(
            value, tmp_path / f"{role}{suffix}"
        )
        arguments += ["--in", f"{role}={tmp_path / role}{suffix}"]
    assert main(arguments) == 0
    expected = {"provenance.json"}
    for name, output in made(key).outputs.items():
        series = isinstance(output, Series)
        path = tmp_path / "out" / (f"{name}.seq.nrrd" if series else f"{name}.nrrd")
        expected.add(path.name)
        for written, volume in zip(
            read_series(path) if series else [read_volume(path)], volumes_of(output), strict=True
        ):
            assert written.array.tobytes() == volume.array.tobytes()
            np.testing.assert_allclose(
                written.grid.index_to_lps, volume.grid.index_to_lps, rtol=0, atol=1e-9
            )
            assert written.synthetic == volume.synthetic
            assert written.acquisition.time_s == volume.acquisition.time_s
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected


@pytest.mark.parametrize("key", READY)
def test_a_batch_gives_the_bits_of_the_library(key, scans, made_small, tmp_path):
    given, row = small(key, scans), {"case": "one", "seed": str(SEED)}
    for role, value in given.items():
        names = []
        for number, volume in enumerate(volumes_of(value)):
            names.append(f"{role}{number}.nrrd")
            write_volume(volume, tmp_path / names[-1])
        row[role] = ";".join(names)
        if isinstance(value, Series):
            row["time"] = ";".join(str(time_s) for time_s in value.times_s)
    table = tmp_path / "cases.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        writer.writeheader()
        writer.writerow(row)
    preset = {"preset": fastest(key)}
    run_batch(key, table, tmp_path / "out", parameters={}, common=preset, say=lambda text: None)
    for name, output in made_small(key).items():
        series = isinstance(output, Series)
        path = tmp_path / "out" / "one" / (f"{name}.seq.nrrd" if series else f"{name}.nrrd")
        written = read_series(path) if series else [read_volume(path)]
        assert [v.array.tobytes() for v in written] == bits({name: output})[name]


@pytest.mark.parametrize("key", READY)
def test_any_grid_will_do(key, scans, made_small, tmp_path):
    """Random grids, oblique, flipped, anisotropic: the result lies where its input did, in memory
    and on the disk: 200 of them where the method works voxel by voxel, and its values do not
    depend on the grid; 8 for a method that knows how large a voxel is."""
    rng = np.random.default_rng(0)
    voxelwise = METHODS[key].voxelwise
    given = small(key, scans)
    fast = fastest(key)
    here = arrays(made_small(key))
    for _ in range(200 if voxelwise else 8):
        grid = random_grid(rng, CUT)
        moved = {
            role: each(value, lambda v, grid=grid: replace(v, grid=grid))
            for role, value in given.items()
        }
        result = run(Request(key, moved, preset=fast, seed=SEED))
        there = arrays(result.outputs)
        for path in result.write(tmp_path)[:-1]:
            name = output_role(path)
            assert volumes_of(result.outputs[name])[0].grid == grid
            if voxelwise:
                np.testing.assert_array_equal(here[name], there[name])
            read = read_series if METHODS[key].outputs[name].series else read_volume
            written = volumes_in(read(path))[0].grid.index_to_lps
            np.testing.assert_allclose(written, grid.index_to_lps, rtol=0, atol=1e-9)


def on_grid(value, grid):
    return each(value, lambda volume: replace(volume, grid=grid))


def volumes_in(read):
    return read if isinstance(read, list) else [read]


def each(value, change):
    """Return a volume, or each volume of a series, changed."""
    if isinstance(value, Series):
        return Series(tuple(change(volume) for volume in value))
    return change(value)


@pytest.mark.parametrize("key", sorted(set(READY) - set(RANDOM)))
@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_voxels_in_the_file_does_not_matter(key, scans, made_small, order):
    """The same head, stored sagittally or from the top down, gives the same result."""
    turned = {
        role: each(value, lambda v: stored(v, order)) for role, value in small(key, scans).items()
    }
    here = made_small(key)
    there = run(Request(key, turned, preset=fastest(key))).outputs
    for name in here:
        for one, other in zip(volumes_of(there[name]), volumes_of(here[name]), strict=True):
            np.testing.assert_allclose(one.array, stored(other, order).array, rtol=1e-5, atol=1e-4)


def quick(key, given):
    """Return a request with the preset with which a method is quick."""
    return Request(key, given, preset=fastest(key), seed=SEED)


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
    given = inputs_of(key, scans) | {"mask": head_of(reference)}
    grid = Grid(CUT, spacing_mm=(6.0, 6.0, 6.0))
    return {role: each(value, lambda v: cut(v, grid)) for role, value in given.items()}


def head_of(reference, inside=True):
    """Return the mask of the head in a volume, or in the first of a series."""
    first = volumes_of(reference)[0]
    return first.with_array((first.array > 0) & inside)


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
        role: each(value, lambda v: Volume(v.array[15:16], grid, v.acquisition))
        for role, value in inputs_of(key, scans).items()
    }
    for output in run(Request(key, given)).outputs.values():
        assert volumes_of(output)[0].grid == grid


@pytest.mark.parametrize("key", READY)
def test_a_series_gives_a_series_whose_phases_are_single_runs(key, scans, made_small):
    method = METHODS[key]
    declared = (*method.inputs.values(), *method.outputs.values())
    if any(one.series for one in declared):
        pytest.skip("it has a series of its own")
    given = small(key, scans)
    role = next((role for role in ("post", "low") if role in given), method.reference)
    series = Series((at(given[role], 60.0), at(given[role], 120.0)))
    result = run(Request(key, given | {role: series}, preset=fastest(key), seed=SEED))
    for name, output in result.outputs.items():
        assert output.times_s.tolist() == [60.0, 120.0]
        for volume in output:
            assert volume.array.tobytes() == made_small(key)[name].array.tobytes(), name


@pytest.mark.parametrize("key", READY)
def test_a_given_mask_is_used(key, scans):
    given = inputs_of(key, scans)
    reference = scans[METHODS[key].reference]
    half = head_of(reference, np.arange(SIZE[0]) < SIZE[0] // 2)
    result = run(quick(key, given | {"mask": half}))
    assert result.provenance["mask"] == {"source": "given", "voxels": int(half.array.sum())}


@pytest.mark.parametrize("key", READY)
def test_intensities_scale_with_the_input(key, scans, made_fast):
    """Result in the units of the input: a scan in other units gives the result in those."""
    given = inputs_of(key, scans)
    scaled = {
        role: each(value, lambda v: v.with_array(v.array * 8)) for role, value in given.items()
    }
    here, there = made_fast(key).outputs, run(quick(key, scaled)).outputs
    for name, declared in METHODS[key].outputs.items():
        factor = 8 if declared.kind == IMAGE else 1
        for one, other in zip(volumes_of(there[name]), volumes_of(here[name]), strict=True):
            np.testing.assert_allclose(
                one.array, factor * other.array, rtol=1e-4, atol=1e-4 * factor
            )
