"""One matrix over every declared method, first half: declaration, outputs, seeds, ways to run it.

What must hold for all methods, whoever adds one; the second half is ``test_method_matrix_grids``.
"""

import csv
import json

import numpy as np
import pytest
from matrix import (
    READY,
    SEED,
    bits,
    fastest,
    inputs_of,
    made,
    made_fast,
    made_small,
    quick,
    sample_scans,
    scans,
    small,
    volumes_of,
)

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.series import read_series, write_series
from ContrastSynthLib.registry import METHODS, ROLES, declared_parameters, resolve_parameters
from ContrastSynthLib.registry.parameters import parse
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.batch import run_batch
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Series
from ContrastSynthLib.weights.bundles import shipped_and_imported


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
def test_outputs_are_what_is_declared(key):
    method = METHODS[key]
    result = made(key)
    assert set(result.outputs) == set(method.outputs)
    for name, output in result.outputs.items():
        declared = method.outputs[name]
        assert isinstance(output, Series) == declared.series
        for volume in volumes_of(output):
            assert volume.grid == scans()[method.reference].grid
            assert volume.array.dtype == np.float32
            assert volume.array.std() > 0, name
            assert key in volume.synthetic
        described = result.provenance["outputs"][name]
        assert described["kind"] == declared.kind
        assert described.get("unit", "") == declared.unit


@pytest.mark.parametrize("key", READY)
def test_inputs_are_not_written_into_and_the_same_seed_gives_the_same_bits(key):
    given = inputs_of(key, scans())
    # Earlier tests ran on these scans too, so that they are compared with a new sample.
    before = bits(inputs_of(key, sample_scans()))
    first, second = made_fast(key).outputs, run(quick(key, given)).outputs
    assert bits(given) == before
    assert bits(first) == bits(second)
    assert made_fast(key).provenance["seed"] == SEED


@pytest.mark.parametrize("key", READY)
def test_another_seed_gives_other_bits_where_the_method_is_random(key):
    other = Request(key, small(key), preset=fastest(key), seed=SEED + 1)
    assert (bits(run(other).outputs) != bits(made_small(key))) is METHODS[key].random


@pytest.mark.parametrize("key", READY)
def test_command_line_gives_the_bits_of_the_library(key, tmp_path):
    given = inputs_of(key, scans())
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
def test_a_batch_gives_the_bits_of_the_library(key, tmp_path):
    given, row = small(key), {"case": "one", "seed": str(SEED)}
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
