"""Declarations: what contradicts itself is refused, and names and values are checked."""

import json
from dataclasses import dataclass
from typing import Annotated

import pytest

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import (
    Input,
    Network,
    Output,
    Param,
    check_roles,
    describe,
    find_method,
    method,
    resolve_parameters,
)
from ContrastSynthLib.registry import declaration as module


@dataclass(frozen=True)
class Parameters:
    dose: Annotated[float, Param("Dose", "of the full dose", 0.0, 2.0)] = 0.5
    repetition_time_s: Annotated[
        float, Param("TR", "s", 0.002, 0.02, from_acquisition=("post", "repetition_time_s"))
    ] = 0.007
    steps: Annotated[int, Param("Steps", "", 1, 100)] = 3
    prior: Annotated[str, Param("Prior", choices=("tv", "gentv"))] = "tv"
    project: Annotated[bool, Param("Project")] = True


def declare(**changes):
    declared = {
        "key": "toy",
        "title": "A toy",
        "task": "dose",
        "inputs": {"pre": Input("Pre"), "post": Input("Post"), "t2": Input("T2", "T2", True)},
        "outputs": {"low": Output("Low", units_of="post")},
        "parameters": Parameters,
        "reference": "pre",
        "citation": "none",
        "intended_use": "Research.",
        "presets": {"paper": {"steps": 9}},
    }
    return method(**(declared | changes))(lambda **_: {})


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(module, "METHODS", {})
    declare()
    return module.METHODS["toy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "already declared"),
        ({"key": "b", "task": "dosis"}, "unknown task"),
        ({"key": "b", "inputs": {"pree": Input("x")}}, "unknown roles"),
        ({"key": "b", "inputs": {"pre": Input("x"), "mask": Input("x")}}, "do not declare it"),
        ({"key": "b", "reference": "t2"}, "required inputs"),
        ({"key": "b", "outputs": {"low": Output("Low", units_of="adc")}}, "required inputs"),
    ],
)
def test_a_contradiction_is_refused(toy, changes, message):
    with pytest.raises(ValueError, match=message):
        declare(**changes)
    assert list(module.METHODS) == ["toy"]


def test_an_old_key_still_finds_the_method(toy, monkeypatch):
    monkeypatch.setattr(module, "ALIASES", {"old_toy": "toy"})
    assert find_method("old_toy") is toy
    with pytest.raises(ValueError, match="already declared"):
        declare(key="old_toy")


def test_typos_are_answered_with_the_nearest_name(toy):
    with pytest.raises(RequestError, match="Did you mean 'toy'"):
        find_method("toi")
    with pytest.raises(RequestError, match="Did you mean 'post'"):
        check_roles(toy, {"pre": 1, "pst": 1})
    with pytest.raises(RequestError, match="Did you mean 'repetition_time_s'"):
        resolve_parameters(toy, {"repetition_time": 0.004})
    with pytest.raises(RequestError, match="Did you mean 'paper'"):
        resolve_parameters(toy, {}, preset="papers")


def test_missing_inputs_are_named(toy):
    with pytest.raises(RequestError, match=r"needs 'post' \(Post\).*--in pre=FILE --in post=FILE"):
        check_roles(toy, {"pre": 1, "mask": 1})
    check_roles(toy, {"pre": 1, "post": 1})


def test_values_come_from_the_user_then_preset_then_scan_then_default(toy):
    scan = {"post": Acquisition(repetition_time_s=0.0051)}
    resolved = resolve_parameters(toy, {"dose": "0.25"}, "paper", scan)
    assert resolved.values == Parameters(dose=0.25, repetition_time_s=0.0051, steps=9)
    assert resolved.sources == {
        "dose": "given",
        "repetition_time_s": "scan 'post'",
        "steps": "preset paper",
        "prior": "default",
        "project": "default",
    }
    assert resolved.stated == []
    assert resolve_parameters(toy, {"steps": 4}, "paper").values.steps == 4
    given = resolve_parameters(toy, {"repetition_time_s": 0.003}, None, scan)
    assert given.values.repetition_time_s == 0.003


def test_a_default_that_stands_in_for_the_scan_is_said(toy):
    (sentence,) = resolve_parameters(toy, {}, None, {"post": Acquisition()}).stated
    assert "repetition_time_s = 0.007 s, the default" in sentence
    assert "'post' does not contain it" in sentence
    slow = {"post": Acquisition(repetition_time_s=2.3)}
    (sentence,) = resolve_parameters(toy, {}, None, slow).stated
    assert "acquired with 2.3; this method takes" in sentence
    assert "0.002 to 0.02 s" in sentence


def test_a_choice_can_come_from_the_scan_too(toy):
    @dataclass(frozen=True)
    class WithAgent:
        agent: Annotated[
            str,
            Param(
                "Agent", choices=("gadobutrol", "gadoterate"), from_acquisition=("post", "agent")
            ),
        ] = "gadoterate"

    declare(key="agents", parameters=WithAgent)
    chosen = module.METHODS["agents"]
    known = resolve_parameters(chosen, {}, None, {"post": Acquisition(agent="gadobutrol")})
    assert known.values.agent == "gadobutrol"
    other = resolve_parameters(chosen, {}, None, {"post": Acquisition(agent="gadoxetate")})
    assert other.values.agent == "gadoterate"
    (sentence,) = other.stated
    assert "'post' was acquired with gadoxetate; this method takes one of gadobutrol" in sentence


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dose", "much", "is not a number. Expected 0 to 2 of the full dose"),
        ("dose", "2.01", "out of range. Expected 0 to 2"),
        ("dose", "-0.1", "out of range"),
        ("dose", "nan", "out of range"),
        ("dose", "inf", "out of range"),
        ("dose", None, "is not a number"),
        ("steps", "2.5", "is not a whole number"),
        ("steps", 2.5, "is not a whole number"),
        ("steps", "0", "out of range"),
        ("prior", "tvv", "Did you mean 'tv'"),
        ("project", "maybe", "is not true or false"),
    ],
)
def test_wrong_values_are_refused_and_the_right_ones_named(toy, name, value, message):
    with pytest.raises(RequestError, match=message):
        resolve_parameters(toy, {name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("dose", "2", 2.0), ("steps", "7", 7), ("steps", 7.0, 7), ("project", "No", False)],
)
def test_right_values_are_taken(toy, name, value, expected):
    assert getattr(resolve_parameters(toy, {name: value}).values, name) == expected


def test_a_parameter_without_a_description_is_a_defect(toy):
    @dataclass(frozen=True)
    class Bare:
        dose: float = 0.5

    declare(key="bare", parameters=Bare)
    with pytest.raises(ValueError, match="no Annotated"):
        resolve_parameters(module.METHODS["bare"], {})


def test_a_method_is_shown_with_everything_that_is_declared(toy):
    text = describe.method_as_text(toy)
    parts = ("[t2]", "0.002 to 0.02 s", "default 0.5", "read from the file of 'post'", "one of tv")
    for part in parts:
        assert part in text
    assert text.endswith("Presets\n  paper                  As in the paper")


def test_choices_and_presets_have_titles_beside_their_keys(toy):
    @dataclass(frozen=True)
    class Titled:
        prior: Annotated[
            str, Param("Prior", choices=("gen_tv", "tv"), titles={"tv": "Total variation"})
        ] = "tv"

    presets = {"paper": {}, "quick_one": {"prior": "tv"}, "fast": {}}
    declare(key="titled", parameters=Titled, presets=presets, preset_titles={"fast": "In seconds"})
    titled = module.METHODS["titled"]
    described = describe.method_as_dict(titled)
    (prior,) = described["parameters"]
    assert prior["choices"] == ["gen_tv", "tv"]
    assert prior["titles"] == {"gen_tv": "Gen tv", "tv": "Total variation"}
    assert list(described["presets"]) == list(presets)
    assert described["preset_titles"] == {
        "paper": "As in the paper",
        "quick_one": "Quick one",
        "fast": "In seconds",
    }
    text = describe.method_as_text(titled)
    assert "tv              Total variation" in text
    assert "quick_one              Quick one" in text
    assert resolve_parameters(titled, {"prior": "gen_tv"}).values.prior == "gen_tv"
    json.dumps(describe.methods_as_dict([toy, titled]))


def test_titles_of_what_cannot_be_chosen_are_refused(toy):
    with pytest.raises(ValueError, match="titles of unknown choices: tvv"):
        Param("Prior", choices=("tv",), titles={"tvv": "Total variation"})
    with pytest.raises(ValueError, match="titles of unknown presets: papers"):
        declare(key="b", preset_titles={"papers": "As in the paper"})


def test_only_what_goes_voxel_by_voxel_without_torch_can_be_previewed(toy):
    declare(key="local", measure=lambda **_: None)
    declare(key="net", measure=lambda **_: None, networks={"net": Network()})
    described = {key: describe.method_as_dict(one) for key, one in module.METHODS.items()}
    assert {key: one["can_preview"] for key, one in described.items()} == {
        "toy": False,
        "local": True,
        "net": False,
    }
