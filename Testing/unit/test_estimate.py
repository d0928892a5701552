"""What a run is expected to take: from runs on this machine, else from the shipped table."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from ContrastSynthLib.inference.ladder import USED_SHARE
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS, resolve_parameters
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running import estimate as module
from ContrastSynthLib.running.estimate import estimate, remembered, timing_parameters
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

VOXELS = 8_000_000


def values_of(key, preset=None, **given):
    return resolve_parameters(METHODS[key], given, preset).values


def entry(key="sphere", **changes):
    values = values_of(key, changes.pop("preset", None))
    made = {
        "method": key,
        "parameters": timing_parameters(METHODS[key], values),
        "device": "cpu",
        "processors": os.cpu_count(),
        "voxels": VOXELS // 2,
        "seconds": 30.0,
        "bytes": 1e9,
        "gpu_bytes": None,
    }
    return made | changes


MEASURED = sorted(
    {one["method"] for one in json.loads(resource("Timings.json").read_text("utf-8"))["timings"]}
)


def test_only_methods_that_there_are_have_run_times():
    """They are optional: a new method has none until tools/measure_timings.py measures it."""
    assert set(MEASURED) <= set(METHODS)
    assert len(MEASURED) >= 6


@pytest.mark.parametrize("key", MEASURED)
def test_a_method_that_was_measured_was_measured_with_every_preset(key):
    for preset in (None, *METHODS[key].presets):
        found = estimate(METHODS[key], values_of(key, preset), VOXELS, "cpu")
        assert found is not None
        assert found.same_parameters
        assert not found.from_last_run
        assert 0.5 < found.seconds < 12 * 3600
        assert 1e8 < found.bytes < 16e9


def test_more_voxels_take_longer():
    few, many = (estimate(METHODS["sphere"], values_of("sphere"), n, "cpu") for n in (1e6, 8e6))
    assert few.seconds < many.seconds


def test_the_last_run_with_these_parameters_on_this_device_counts():
    known = [entry(), entry(device="cuda:0", seconds=2.0, gpu_bytes=3e9)]
    found = estimate(METHODS["sphere"], values_of("sphere"), VOXELS, "cpu", known)
    assert (found.seconds, found.bytes, found.from_last_run) == (60.0, 2e9, True)
    assert found.gpu_share is None
    for device in ("auto", "cuda:0", "cuda"):
        found = estimate(METHODS["sphere"], values_of("sphere"), VOXELS, device, known)
        assert (found.seconds, found.gpu_bytes) == (4.0, 6e9)


@pytest.mark.parametrize(
    "other",
    [
        {"preset": "fast"},
        {"device": "mps"},
        {"processors": 1000},
        {"key": "sphere_art"},
    ],
)
def test_another_run_does_not_count(other):
    found = estimate(METHODS["sphere"], values_of("sphere"), VOXELS, "cpu", [entry(**other)])
    assert not found.from_last_run


def test_a_measure_that_changes_no_time_does_not_matter():
    values = values_of("physics_dose", dose=0.1)
    assert estimate(METHODS["physics_dose"], values, VOXELS, "cuda", [entry("physics_dose")])
    assert timing_parameters(METHODS["physics_pre"], values_of("physics_pre")) == {}
    assert "dose" not in timing_parameters(METHODS["lip_car"], values_of("lip_car"))
    assert "iterations" in timing_parameters(METHODS["lip_car"], values_of("lip_car"))


def test_other_parameters_are_said_to_be_others():
    values = values_of("lip_car", iterations=151)
    assert not estimate(METHODS["lip_car"], values, VOXELS, "cpu").same_parameters


def test_on_a_gpu_the_share_of_the_ladder_is_given():
    found = estimate(METHODS["sphere"], values_of("sphere"), VOXELS, "cuda:0")
    assert found.gpu_share == USED_SHARE
    assert not found.from_last_run


def test_a_method_that_was_never_measured_has_no_estimate(tmp_path, monkeypatch):
    table = json.loads(resource("Timings.json").read_text(encoding="utf-8"))
    table["timings"] = []
    (tmp_path / "Timings.json").write_text(json.dumps(table), encoding="utf-8")
    monkeypatch.setattr(module, "resource", lambda name: tmp_path / name)
    assert estimate(METHODS["sphere"], values_of("sphere"), VOXELS, "cpu") is None


def test_what_a_run_took_is_remembered_once():
    patient = sample_patient(size=(48, 56, 40))
    inputs = {role: patient.scans[role] for role in ("pre", "post")}
    method, known = METHODS["physics_dose"], [entry(), {**entry("physics_dose"), "seconds": 99.0}]
    provenance = run(Request("physics_dose", inputs, {"dose": 0.25})).provenance
    kept = remembered(known, method, json.loads(json.dumps(provenance)))
    assert [one["method"] for one in kept] == ["sphere", "physics_dose"]
    assert kept[-1]["voxels"] == patient.brain.size
    assert kept[-1]["seconds"] == provenance["seconds"]
    assert kept[-1]["bytes"] is None or kept[-1]["bytes"] > 50e6
    json.dumps(kept)
    voxels = 4 * patient.brain.size
    found = estimate(method, values_of("physics_dose"), voxels, "auto", kept)
    assert found.from_last_run
    np.testing.assert_allclose(found.seconds, 4 * provenance["seconds"])


def test_few_are_remembered():
    many = [entry(processors=n) for n in range(module.MOST_REMEMBERED + 5)]
    provenance = {
        "parameters": {"mirrored": {"value": True}, "three_directions": {"value": True}},
        "device": "cpu",
        "threads": {"processors": 4000},
        "inputs": {"post": [{"grid": {"size": [2, 3, 4]}}]},
        "seconds": 1.0,
        "memory": {"process_bytes": 5, "gpu_bytes": None},
    }
    kept = remembered(many, METHODS["sphere"], provenance)
    assert len(kept) == module.MOST_REMEMBERED
    assert kept[-1]["voxels"] == 24
