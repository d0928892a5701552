"""The networks that a method needs, some only with some of its parameters, and their weights."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from ContrastSynthLib import resources
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import MethodError, MissingError, RequestError
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import (
    Context,
    Input,
    Network,
    Output,
    Param,
    declaration,
    describe,
    method,
)
from ContrastSynthLib.registry.bundles import fits
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.weights.bundles import look_up
from ContrastSynthLib.weights.storage import import_bundle

NEEDED = {
    ("net", "direct"): ["forward", "direct"],
    ("net", "both"): ["forward", "direct"],
    ("net", "pre"): ["forward"],
    ("hybrid", "direct"): ["direct"],
    ("hybrid", "both"): ["direct"],
    ("hybrid", "pre"): [],
    ("formula", "direct"): [],
    ("formula", "both"): [],
    ("formula", "pre"): [],
}
"""What the toy needs with each engine and guess, in the order in which it declares them."""


@dataclass(frozen=True)
class Parameters:
    engine: Annotated[str, Param("Engine", choices=("net", "hybrid", "formula"))] = "net"
    guess: Annotated[str, Param("Guess", choices=("direct", "both", "pre"))] = "direct"


NETWORKS = {
    "forward": Network(when={"engine": ("net",)}),
    "direct": Network(
        of="another", when={"guess": ("direct", "both"), "engine": ("net", "hybrid")}
    ),
}


def safetensors_bytes(values):
    """Return one float16 tensor as the format's description has it, without its library."""
    data = np.asarray(values, "<f2").tobytes()
    entries = {"w": {"dtype": "F16", "shape": [len(values)], "data_offsets": [0, len(data)]}}
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + data


def make(folder: Path, values=(1.0, 2.0), **changes) -> Path:
    """Write a bundle by hand: no torch, no function under test."""
    folder.mkdir(parents=True)
    model = safetensors_bytes(values)
    made = {
        **{"schema_version": 1, "sha256": hashlib.sha256(model).hexdigest()},
        **{"name": folder.name, "version": "1.0", "oldest_library_version": "0.1.0"},
        **{"task": "pre", "method": "toy", "network": {"name": "unet", "arguments": {}}},
        **{"inputs": {"post": "T1"}, "normalisation": "median", "metrics": {}},
        "training": {
            **{"data": "virtual brains", "data_licence": "Apache-2.0", "commit": "0123abc"},
            **{"command": "python training/toy.py", "seed": 1, "steps": 1000},
            **{"hours": 0.5, "hardware": "2 cores"},
        },
        **{"limits": "A toy.", "licence": "Apache-2.0", "trained_on_virtual_patients": True},
        **changes,
    }
    (folder / "metadata.json").write_text(json.dumps(made), "utf-8")
    (folder / "model.safetensors").write_bytes(model)
    (folder / "LICENSE").write_text("Apache-2.0\n", "utf-8")
    return folder


def flip_last_byte(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.fixture(autouse=True)
def imported(tmp_path, monkeypatch):
    """The user's folder, in a place of its own."""
    monkeypatch.setenv("CONTRASTSYNTH_WEIGHTS", str(tmp_path / "imported"))
    return tmp_path / "imported"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A Resources folder with weights of three names, each of its own bytes; returns theirs.

    ``direct`` belongs to another method, as the networks do that several methods use.
    """
    folder = tmp_path / "Resources" / "weights"
    make(folder / "direct", (2.0,), method="another")
    make(folder / "forward", (1.0,))
    make(folder / "own", (3.0,))
    table = []
    for path in sorted(folder.iterdir()):
        card = json.loads((path / "metadata.json").read_text("utf-8"))
        table.append({key: card[key] for key in ("name", "version", "sha256", "method")})
        table[-1]["bytes"] = (path / "model.safetensors").stat().st_size
    listed = {"schema_version": 1, "weights": table}
    (folder.parent / "Weights.json").write_text(json.dumps(listed), "utf-8")
    monkeypatch.setattr(resources, "FOLDERS", (folder.parent,))
    return folder


def declare(function=lambda **_: {}, **changes) -> declaration.Method:
    declared = {
        **{"key": "toy", "title": "A toy", "task": "pre", "inputs": {"post": Input("Post")}},
        **{"outputs": {"pre": Output("Pre", units_of="post")}, "parameters": Parameters},
        **{"reference": "post", "citation": "none", "intended_use": "Research."},
        "networks": NETWORKS,
    }
    method(**(declared | changes))(function)
    return declaration.METHODS["toy"]


@pytest.fixture(autouse=True)
def methods(monkeypatch):
    """The methods, to which a test can add its own."""
    monkeypatch.setattr(declaration, "METHODS", dict(declaration.METHODS))


@pytest.fixture
def contexts():
    """Declare the toy; returns the contexts that its runs got."""
    seen: list[Context] = []

    def toy(*, post, parameters, context):
        seen.append(context)
        return {"pre": post.array * 0.5}

    declare(toy)
    return seen


@pytest.fixture(scope="module")
def post():
    return sample_patient(seed=5, size=(16, 18, 12)).scans["post"]


def request_for(post, engine: str, guess: str, weights: object = None) -> Request:
    """A request for the toy; in place of a volume, a file that is not there does as well."""
    values = {"engine": engine, "guess": guess}
    wanted = None if weights is None else str(weights)
    return Request("toy", {"post": post}, values, weights=wanted, device="cpu")


# What is declared


@pytest.mark.parametrize(("values", "needed"), NEEDED.items())
def test_networks_are_needed_where_all_conditions_hold(values, needed):
    assert list(declare().networks_for(Parameters(*values))) == needed


def test_networks_without_a_condition_are_always_needed_with_weights_of_their_name():
    for values, needed in NEEDED.items():
        declaration.METHODS.pop("toy", None)
        toy = declare(networks={"own": Network(), **NETWORKS, "last": Network("another")})
        wanted = {"own": "own", **{name: name for name in needed}, "last": "another"}
        assert toy.networks_for(Parameters(*values)) == wanted
    assert declaration.METHODS["physics_pre"].networks_for(object()) == {}


@pytest.mark.parametrize(
    ("declared", "torch", "packages"),
    [
        ({"networks": {}}, False, ["", ""]),
        ({"networks": {"own": Network()}}, True, ["networks", "networks"]),
        ({}, True, ["networks", ""]),
        ({"networks": {}, "requires": ("torch",)}, True, ["torch", "torch"]),
        ({"requires": ("torch",)}, True, ["torch networks", "torch"]),
    ],
)
def test_what_has_to_be_installed_is_declared(declared, torch, packages):
    toy = declare(**declared)
    assert toy.needs_torch is torch
    needs = [toy.packages_for(Parameters(*v)) for v in (("net", "direct"), ("formula", "pre"))]
    assert [" ".join(groups) for groups in needs] == packages


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": {"forward": Network(when={"engin": ("net",)})}}, "'forward' depends on"),
        (
            {
                "networks": {
                    "direct": NETWORKS["direct"],
                    "forward": Network(when={"engine": ("net",), "gess": ("pre",)}),
                }
            },
            "the network 'forward' depends on unknown parameters",
        ),
        ({"networks": {"forward": Network(when={"engine": "net"})}}, "needs tuples of values"),
        ({"requires": ("netwerks",)}, "unknown groups of packages: netwerks"),
        (
            {"networks": {"direct": Network(spared_by=("forwards", bool))}},
            "the network 'direct' is spared by an unknown one",
        ),
    ],
)
def test_a_declaration_that_cannot_be_met_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        declare(**changes)
    assert "toy" not in declaration.METHODS


def test_conditions_are_listed_as_data_and_as_text(shipped, tmp_path):
    toy = declare()
    listed = describe.method_as_dict(toy)
    assert json.loads(json.dumps(listed)) == listed
    assert listed["networks"] == {
        "forward": {"weights": "forward", "when": {"engine": ["net"]}},
        "direct": {
            "weights": "direct",
            "when": {"guess": ["direct", "both"], "engine": ["net", "hybrid"]},
        },
    }
    assert describe.method_as_dict(declaration.METHODS["physics_pre"])["networks"] == {}
    lines = describe.method_as_text(toy).splitlines()
    assert "  forward                when engine = net" in lines
    assert (
        "  direct                 when guess = direct or both and engine = net or hybrid" in lines
    )
    # What is there to run with: of these names, whichever method they belong to.
    shown = "\n".join(lines)
    other = import_bundle(make(tmp_path / "stick", (9.0,), name="stick", method="sphere"))
    for name in ("direct", "forward"):
        assert look_up(name).id in shown
    assert other.id not in describe.method_as_text(toy)


# What a run gets


@pytest.mark.parametrize(("values", "needed"), NEEDED.items())
def test_a_run_passes_on_the_weights_that_it_needs_and_records_them(
    contexts, shipped, post, tmp_path, values, needed
):
    result = run(request_for(post, *values))
    (context,) = contexts
    assert list(context.bundles) == needed
    assert {name: bundle.folder for name, bundle in context.bundles.items()} == {
        name: shipped / name for name in needed
    }
    (path,) = (path for path in result.write(tmp_path / "out") if path.suffix == ".json")
    listed = json.loads(path.read_text("utf-8"))["weights"]
    assert [entry["card"]["name"] for entry in listed] == needed
    assert [entry["network"] for entry in listed] == needed
    for entry in listed:
        bundle = look_up(entry["card"]["name"])
        assert (entry["id"], entry["sha256"]) == (bundle.id, bundle.sha256)
    warned = [warning for warning in result.warnings if "virtual patients" in warning]
    assert len(warned) == len(needed)
    assert all(look_up(name).id in " ".join(warned) for name in needed)


def test_weights_that_are_not_needed_need_not_be_there(contexts, shipped, post):
    flip_last_byte(shipped / "direct")
    run(request_for(post, "net", "pre"))
    assert list(contexts[0].bundles) == ["forward"]
    with pytest.raises(RequestError, match="is damaged"):
        run(request_for("no such file.nrrd", "net", "both"))


def test_missing_weights_are_reported_before_any_file_is_read(contexts, shipped):
    (shipped / "forward" / "metadata.json").unlink()
    with pytest.raises(MissingError, match="Install ContrastSynth again"):
        run(request_for("no such file.nrrd", "net", "pre"))
    assert contexts == []


def test_the_parameters_of_a_preset_count(shipped, post):
    seen = []

    def toy(*, post, parameters, context):
        seen.append(context)
        return {"pre": post.array}

    declare(toy, presets={"quick": {"engine": "hybrid"}, "plain": {"guess": "pre"}})
    for preset in ("quick", "plain"):
        run(Request("toy", {"post": post}, preset=preset, device="cpu"))
    assert [list(context.bundles) for context in seen] == [["direct"], ["forward"]]


# Other weights than a method's own


@pytest.mark.parametrize("name", ["forward", "direct"])
@pytest.mark.parametrize("by", ["path", "id"])
def test_other_weights_take_the_place_of_those_of_their_name(
    contexts, shipped, post, tmp_path, name, by
):
    owner = {"forward": "toy", "direct": "another"}[name]
    mine = tmp_path / "mine" / name
    folder = make(mine, (7.0,), trained_on_virtual_patients=False, method=owner)
    mine = import_bundle(folder)
    result = run(request_for(post, "net", "direct", folder if by == "path" else mine.id))
    lent = contexts[0].bundles
    assert list(lent) == ["forward", "direct"]
    (other,) = {"forward", "direct"} - {name}
    assert lent[name].id == mine.id
    assert lent[name].folder == (folder if by == "path" else mine.folder)
    assert lent[other].folder == shipped / other
    used = {entry["card"]["name"]: entry["id"] for entry in result.provenance["weights"]}
    assert used == {name: mine.id, other: look_up(other).id}
    assert look_up(name).id not in used.values()
    (warning,) = [warning for warning in result.warnings if "virtual" in warning]
    assert look_up(other).id in warning


@pytest.mark.parametrize(
    ("values", "name", "said"),
    [
        (("net", "direct"), "own", "named forward and direct with these parameters; own-1.0-"),
        (("net", "pre"), "direct", "named forward with these parameters; direct-1.0-"),
        (("hybrid", "pre"), "direct", "toy has no weights with these parameters; leave --weights"),
        (("formula", "direct"), "own", "toy has no weights with these parameters; leave --weights"),
    ],
)
def test_weights_of_a_name_that_is_not_needed_are_refused(contexts, shipped, values, name, said):
    for wanted in (name, shipped / name):
        with pytest.raises(RequestError, match=said):
            run(request_for("no such file.nrrd", *values, wanted))
    assert contexts == []


def test_other_weights_are_checked_too(contexts, shipped, tmp_path):
    folder = make(tmp_path / "mine" / "forward", (7.0,))
    flip_last_byte(folder)
    with pytest.raises(RequestError, match="is damaged"):
        run(request_for("no such file.nrrd", "net", "direct", folder))
    with pytest.raises(MissingError, match="'nothing' were not found"):
        run(request_for("no such file.nrrd", "net", "direct", "nothing"))


def test_the_command_line_replaces_them_as_well(contexts, shipped, post, tmp_path, capsys):
    from ContrastSynthLib.files.images import write_volume

    write_volume(post, tmp_path / "post.nrrd")
    folder = make(tmp_path / "mine" / "direct", (7.0,), method="another")
    words = ["run", "toy", "--in", f"post={tmp_path / 'post.nrrd'}", "--device", "cpu"]
    words += ["--out", str(tmp_path / "out"), "--weights"]
    assert main([*words, str(folder)]) == 0
    assert contexts[0].bundles["direct"].folder == folder
    assert main([*words, "own"]) == 2
    assert "toy needs weights named forward and direct" in capsys.readouterr().err


# Weights by the name of their network


def test_weights_of_any_name_are_given_to_the_network_that_is_named(
    contexts, shipped, post, tmp_path, capsys
):
    mine = make(tmp_path / "mine", (7.0,))
    by_network = {"forward": str(mine), "direct": "direct"}
    request = replace(request_for(post, "net", "direct"), weights=by_network)
    result = run(request)
    assert contexts[0].bundles["forward"].folder == mine
    assert [entry["network"] for entry in result.provenance["weights"]] == ["forward", "direct"]
    with pytest.raises(RequestError, match=r"Unknown network of toy .* 'forwards'.*'forward'"):
        run(replace(request, weights={"forwards": str(mine)}))
    with pytest.raises(RequestError, match="belong to the method 'another', not to 'toy'"):
        run(replace(request, weights={"forward": "direct"}))

    from ContrastSynthLib.files.images import write_volume

    write_volume(post, tmp_path / "post.nrrd")
    words = ["run", "toy", "--in", f"post={tmp_path / 'post.nrrd'}", "--out", str(tmp_path / "o")]
    assert main([*words, "--weights", f"forward={mine}", "--weights", "direct=direct"]) == 0
    assert contexts[-1].bundles["forward"].folder == mine
    assert main([*words, "--weights", f"forward={mine}", "--weights", "direct"]) == 2
    assert "--weights NETWORK=ID" in capsys.readouterr().err


def test_weights_of_another_network_of_the_method_are_refused(contexts, shipped, post, tmp_path):
    mine = make(tmp_path / "mine" / "direct", (7.0,))  # of the toy itself, but named so
    request = replace(request_for(post, "net", "direct"), weights={"forward": str(mine)})
    with pytest.raises(RequestError, match="another network of toy, not of 'forward'"):
        run(request)


def test_a_network_that_others_spare_is_not_asked_for(shipped, post, tmp_path):
    """Whether they do is told by the card of the other network's weights."""
    contexts = []

    def toy(*, post, parameters, context):
        contexts.append(context)
        return {"pre": post.array}

    spared = Network(of="another", spared_by=("forward", lambda card: card["name"] == "all"))
    declare(toy, networks={"direct": spared, "forward": Network()})
    whole = make(tmp_path / "mine", (7.0,), network={"name": "all", "arguments": {}})
    asked = request_for(post, "net", "pre")
    run(asked)
    assert list(contexts[-1].bundles) == ["direct", "forward"]
    flip_last_byte(shipped / "direct")
    for wanted in (str(whole), {"forward": str(whole)}):
        run(replace(asked, weights=wanted))
        assert [b.folder for b in contexts[-1].bundles.values()] == [whole]
    with pytest.raises(RequestError, match=r"With the weights mine-.* none of the network 'direct"):
        run(replace(asked, weights={"forward": str(whole), "direct": "direct"}))
    with pytest.raises(RequestError, match="is damaged"):
        run(asked)


def test_the_network_of_a_name_that_fits_none_is_proposed_by_its_method(
    contexts, shipped, tmp_path
):
    borrowed = make(tmp_path / "borrowed", (8.0,), method="another")
    with pytest.raises(RequestError, match=r"Name the network .*--weights direct="):
        run(request_for("no such file.nrrd", "net", "direct", borrowed))


def test_weights_of_any_name_fit_the_only_network_of_their_method(tmp_path):
    other = import_bundle(make(tmp_path / "stick", (9.0,), method="another"))
    assert fits(other, declare())
    declaration.METHODS.pop("toy")
    more = Network(of="another")
    assert not fits(other, declare(networks={**NETWORKS, "second": more}))
    declaration.METHODS.pop("toy")
    assert fits(other, declare(networks={**NETWORKS, "stick": more}))


def test_weights_of_another_name_are_those_of_the_only_network(contexts, shipped, post, tmp_path):
    mine = make(tmp_path / "mine", (7.0,))
    run(request_for(post, "net", "pre", mine))
    assert contexts[0].bundles["forward"].folder == mine
    with pytest.raises(RequestError, match=r"Name the network .*--weights forward="):
        run(request_for(post, "net", "direct", mine))


def test_a_network_that_was_not_declared_is_a_fault_of_the_method(contexts, shipped, post):
    run(request_for(post, "net", "pre"))
    with pytest.raises(MethodError, match="uses the network 'direct'"):
        contexts[0].network("direct")
