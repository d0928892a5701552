"""Weights: what is written comes back, what is wrong is refused, a run records what it used."""

import hashlib
import json
import os
import shutil
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib import __version__, resources
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import Input, Network, Output, declaration, describe, method
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.weights import bundles as weights
from ContrastSynthLib.weights.bundles import (
    RENAMED,
    find_bundle,
    look_up,
    read_bundle,
    shipped_and_imported,
    user_folder,
    verify,
)
from ContrastSynthLib.weights.storage import import_bundle, load_state, save_bundle
from ContrastSynthLib.weights.tensors import check_tensors

MAX_BYTES = 10_000_000
MAX_BYTES_IN_ALL = 50_000_000


def card(**changes):
    return {
        "name": "toy",
        "version": "1.0",
        "oldest_library_version": "0.1.0",
        "task": "dose",
        "method": "toy",
        "network": {"name": "unet", "arguments": {}},
        "inputs": {"pre": "T1"},
        "normalisation": "median of the brain",
        "training": {
            "data": "virtual brains 0 to 99",
            "data_licence": "Apache-2.0",
            "commit": "0123abc",
            "command": "python training/toy.py",
            "seed": 1,
            "steps": 1000,
            "hours": 0.5,
            "hardware": "2 cores",
        },
        "metrics": {"psnr": 30.0},
        "limits": "A toy.",
        "licence": "Apache-2.0",
        "trained_on_virtual_patients": True,
        **changes,
    }


def safetensors_bytes(values):
    """Return one float16 tensor as the format's description has it, without its library."""
    data = np.asarray(values, "<f2").tobytes()
    entries = {"w": {"dtype": "F16", "shape": [len(values)], "data_offsets": [0, len(data)]}}
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + data


def make(folder, values=(1.0, 2.0), **changes):
    """Write a bundle by hand: no torch, no function under test."""
    folder.mkdir(parents=True)
    model = safetensors_bytes(values)
    made = {"schema_version": 1, "sha256": hashlib.sha256(model).hexdigest(), **card(**changes)}
    (folder / "metadata.json").write_text(json.dumps(made), "utf-8")
    (folder / "model.safetensors").write_bytes(model)
    (folder / "LICENSE").write_text("Apache-2.0\n", "utf-8")
    return folder


def write_table(resources_folder):
    """Write the table of the weights in a Resources folder as it should be."""
    entries = []
    for path in sorted(resources_folder.glob("weights/*/metadata.json")):
        made = json.loads(path.read_text("utf-8"))
        size = (path.parent / "model.safetensors").stat().st_size
        entries.append({k: made[k] for k in ("name", "version", "sha256", "method")})
        entries[-1]["bytes"] = size
    table = {"schema_version": 1, "weights": entries}
    (resources_folder / "Weights.json").write_text(json.dumps(table), "utf-8")


@pytest.fixture(autouse=True)
def imported(tmp_path, monkeypatch):
    """The user's folder, in a place of its own."""
    monkeypatch.setenv("CONTRASTSYNTH_WEIGHTS", str(tmp_path / "imported"))
    return tmp_path / "imported"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A Resources folder with the weights ``toy``; returns their folder."""
    folder = make(tmp_path / "Resources" / "weights" / "toy")
    write_table(tmp_path / "Resources")
    monkeypatch.setattr(resources, "FOLDERS", (tmp_path / "Resources",))
    return folder


def flip_last_byte(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# What is written


def test_a_state_comes_back_in_half_precision(tmp_path):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    shared = torch.arange(5)
    state = {
        "b": torch.randn(3, 5, 7, generator=generator).transpose(0, 2),
        "a": torch.randn(40, generator=generator, dtype=torch.float64),
        "index": shared,
        "tied": shared,
        "count": torch.tensor(2**40 + 1),
        "flag": torch.tensor([True, False]),
    }
    bundle = save_bundle(tmp_path / "toy", state, card(), "Licence text")
    loaded = load_state(bundle)
    assert set(loaded) == set(state)
    for name in ("a", "b"):
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], state[name].float(), rtol=1e-3, atol=0)
        assert not torch.equal(loaded[name], state[name].float())
    for name in ("count", "flag", "index", "tied"):
        assert loaded[name].dtype == state[name].dtype
        assert torch.equal(loaded[name], state[name])
    assert (bundle.folder / "LICENSE").read_text("utf-8") == "Licence text"
    assert tree(bundle.folder) == {"metadata.json", "model.safetensors", "LICENSE"}


def test_the_file_is_in_the_format_as_it_is_described(tmp_path):
    torch = pytest.importorskip("torch")
    state = {"w": torch.tensor([1.0, -2.5]), "n": torch.tensor([7])}
    bundle = save_bundle(tmp_path / "toy", state, card(), "L")
    content = (bundle.folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    assert {name: entry["dtype"] for name, entry in header.items()} == {"w": "F16", "n": "I64"}
    start, end = header["w"]["data_offsets"]
    np.testing.assert_array_equal(np.frombuffer(data[start:end], "<f2"), [1.0, -2.5])
    assert bundle.sha256 == hashlib.sha256(content).hexdigest()
    assert bundle.id == f"toy-1.0-{bundle.sha256[:8]}"


def test_a_file_written_by_hand_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    state = load_state(read_bundle(make(tmp_path / "toy", (0.5, 3.0))))
    assert torch.equal(state["w"], torch.tensor([0.5, 3.0]))


def test_the_same_state_gives_the_same_bytes(tmp_path):
    torch = pytest.importorskip("torch")
    names = [f"layer{n}" for n in range(20)]
    for folder, order in (("one", names), ("two", names[::-1])):
        state = {name: torch.full((3,), float(name[5:])) for name in order}
        save_bundle(tmp_path / folder, state, card(), "L")
    for name in ("metadata.json", "model.safetensors", "LICENSE"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        ([float("inf")], {}, "the tensor 'w' holds NaN or infinity"),
        ([float("nan")], {}, "NaN"),
        ([0.0] * (MAX_BYTES // 2 + 1), {}, "10.0 MB. Expected at most 10 MB"),
        ([1.0], {"metrics": {"psnr": float("nan")}}, "cannot be written as JSON"),
        ([1.0], {"limits": ""}, "'limits' is missing"),
        ([1.0], {"name": "../toy"}, "Expected letters, digits and underscores"),
    ],
)
def test_what_cannot_be_a_bundle_is_not_written(tmp_path, values, changes, message):
    torch = pytest.importorskip("torch")
    with pytest.raises(RequestError, match=message):
        save_bundle(tmp_path / "toy", {"w": torch.tensor(values)}, card(**changes), "L")
    assert tree(tmp_path) == set()


def test_a_value_beyond_half_precision_is_kept_in_single_precision(tmp_path):
    """Such as a running variance, without which hours of a training would be lost."""
    torch = pytest.importorskip("torch")
    state = {"large": torch.tensor([1e5, 1.0]), "small": torch.tensor([0.1])}
    kept = load_state(save_bundle(tmp_path / "toy", state, card(), "L"))
    assert torch.equal(kept["large"], state["large"])
    assert torch.equal(kept["small"], state["small"].half().float())
    check_tensors((tmp_path / "toy" / "model.safetensors").read_bytes(), tmp_path / "toy")


def test_a_bundle_is_replaced_only_on_request_and_nothing_else_ever(tmp_path):
    torch = pytest.importorskip("torch")
    first, second = ({"w": torch.tensor([value])} for value in (1.0, 2.0))
    save_bundle(tmp_path / "toy", first, card(), "L")
    with pytest.raises(RequestError, match="is there already"):
        save_bundle(tmp_path / "toy", second, card(), "L")
    bundle = save_bundle(tmp_path / "toy", second, card(), "L", replace=True)
    assert load_state(bundle)["w"].item() == 2.0
    (tmp_path / "toy" / "thesis.txt").touch()
    with pytest.raises(RequestError, match="holds more than a bundle"):
        save_bundle(tmp_path / "toy", first, card(), "L", replace=True)
    assert (tmp_path / "toy" / "thesis.txt").exists()
    assert load_state(bundle)["w"].item() == 2.0


@pytest.mark.parametrize("file", ["metadata.json", "model.safetensors", "LICENSE"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, file):
    torch = pytest.importorskip("torch")
    write = Path.write_bytes

    def full(self, data):
        if self.name == file:
            write(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write(self, data)

    save_bundle(tmp_path / "old", {"w": torch.tensor([1.0])}, card(), "L")
    before = tree(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    for name, replace in (("new", False), ("old", True)):
        with pytest.raises(RequestError, match="No space left"):
            save_bundle(tmp_path / name, {"w": torch.tensor([2.0])}, card(), "L", replace)
    assert tree(tmp_path) == before
    assert load_state(read_bundle(tmp_path / "old"))["w"].item() == 1.0


def test_a_failing_exchange_puts_the_old_bundle_back(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    save_bundle(tmp_path / "toy", {"w": torch.tensor([1.0])}, card(), "L")
    rename = Path.rename

    def fail(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(RequestError, match="could not be written"):
        save_bundle(tmp_path / "toy", {"w": torch.tensor([2.0])}, card(), "L", replace=True)
    assert load_state(read_bundle(tmp_path / "toy"))["w"].item() == 1.0
    assert {path.name for path in tmp_path.iterdir()} == {"toy"}


# What is read


REMOVE = object()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("limits", REMOVE, "'limits' is missing"),
        ("training.seed", REMOVE, "'training.seed' is missing"),
        ("network.name", REMOVE, "'network.name' is missing"),
        ("network", "unet", "'network' is 'unet'. Expected an object"),
        ("trained_on_virtual_patients", "no", "Expected true or false"),
        ("training.hours", "long", "Expected a whole number or a number"),
        ("name", "a/b", "Expected letters, digits"),
        ("version", "new", "such as 1.0"),
        ("oldest_library_version", "0.1", "such as 0.1.0"),
        ("sha256", "0" * 63, "64 digits"),
        ("schema_version", 2, f"'schema_version' is 2. ContrastSynth {__version__} reads 1"),
    ],
)
def test_a_wrong_model_card_is_named_with_its_file(tmp_path, key, value, message):
    path = make(tmp_path / "toy") / "metadata.json"
    made = json.loads(path.read_text("utf-8"))
    *above, last = key.split(".")
    section = made[above[0]] if above else made
    section.pop(last)
    if value is not REMOVE:
        section[last] = value
    path.write_text(json.dumps(made), "utf-8")
    with pytest.raises(RequestError) as raised:
        read_bundle(path.parent)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"metrics": NaN}', '{"metrics": 1e999}', "\xff"])
def test_what_is_no_json_is_no_model_card(tmp_path, text):
    path = make(tmp_path / "toy") / "metadata.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RequestError, match=r"metadata\.json: (is not JSON|expected an object)"):
        read_bundle(path.parent)


@pytest.mark.parametrize("file", ["metadata.json", "model.safetensors", "LICENSE"])
def test_a_folder_that_lacks_a_file_is_no_bundle(tmp_path, file):
    folder = make(tmp_path / "toy")
    (folder / file).unlink()
    with pytest.raises(RequestError, match=f"no bundle of weights, it has no {file}"):
        find_bundle(str(folder), "toy")


def test_tampered_weights_are_refused(tmp_path):
    folder = make(tmp_path / "toy")
    bundle = find_bundle(str(folder), "toy")
    flip_last_byte(folder)
    for attempt in (lambda: find_bundle(str(folder), "toy"), lambda: load_state(bundle)):
        with pytest.raises(RequestError, match=r"model\.safetensors: is damaged or was changed"):
            attempt()


def test_what_has_the_hash_but_not_the_format_is_refused(tmp_path):
    pytest.importorskip("torch")
    folder = make(tmp_path / "toy", sha256=hashlib.sha256(b"pickle").hexdigest())
    (folder / "model.safetensors").write_bytes(b"pickle")
    with pytest.raises(RequestError, match="is no safetensors file"):
        load_state(find_bundle(str(folder), "toy"))


def test_weights_of_another_method_are_refused(tmp_path):
    folder = make(tmp_path / "toy")
    with pytest.raises(RequestError, match="belong to the method 'toy', not to 'sphere'"):
        find_bundle(str(folder), "sphere")


@pytest.mark.parametrize("oldest", ["0.1.1", "0.2.0", "0.10.0", "1.0.0"])
def test_weights_for_a_newer_library_are_refused(tmp_path, monkeypatch, oldest):
    monkeypatch.setattr("ContrastSynthLib.weights.model_card.__version__", "0.1.0")
    folder = make(tmp_path / "toy", oldest_library_version=oldest)
    for attempt in (lambda: find_bundle(str(folder), "toy"), lambda: import_bundle(folder)):
        with pytest.raises(RequestError, match=f"need ContrastSynth {oldest} or newer"):
            attempt()


def test_weights_for_an_older_library_are_taken(tmp_path, monkeypatch):
    folder = make(tmp_path / "toy", oldest_library_version="0.9.0")
    monkeypatch.setattr("ContrastSynthLib.weights.model_card.__version__", "0.10.0")
    assert find_bundle(str(folder), "toy").name == "toy"


@pytest.mark.parametrize("package", ["safetensors", "torch"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    pytest.importorskip("safetensors")
    bundle = read_bundle(make(tmp_path / "toy"))
    for name in [name for name in sys.modules if name.split(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=f"without {package}, which is not installed"):
        load_state(bundle)


# Which ones are meant


def test_a_name_means_what_ships_and_an_id_exactly_one(shipped, imported):
    bundle = find_bundle("toy", "toy")
    assert (bundle.folder, bundle.shipped) == (shipped, True)
    other = import_bundle(make(imported.parent / "stick", (3.0,)))
    assert not other.shipped
    assert find_bundle("toy", "toy") == bundle
    assert find_bundle(other.id, "toy") == other
    assert find_bundle(bundle.id, "toy") == bundle
    assert shipped_and_imported() == [bundle, other]
    shutil.copytree(shipped, imported / bundle.id)
    assert find_bundle(bundle.id, "toy") == bundle


def test_an_imported_name_is_found_unless_there_are_several(shipped, tmp_path):
    first = import_bundle(make(tmp_path / "one", (1.0,), name="ours"))
    assert look_up("ours") == first
    second = import_bundle(make(tmp_path / "two", (2.0,), name="ours"))
    with pytest.raises(RequestError, match=r"Several weights are named 'ours'") as raised:
        look_up("ours")
    assert first.id in str(raised.value)
    assert second.id in str(raised.value)


def test_weights_that_are_not_there_say_what_to_do(shipped):
    with pytest.raises(MissingError, match=r"'sphere' were not found.*weights import PATH.*toy-1"):
        find_bundle("sphere", "sphere")
    with pytest.raises(RequestError, match="is no bundle of weights"):
        find_bundle("no/such/folder", "toy")


def test_shipped_weights_that_got_lost_are_missing(shipped):
    (shipped / "metadata.json").unlink()
    with pytest.raises(MissingError, match="Install ContrastSynth again"):
        find_bundle("toy", "toy")


def test_shipped_weights_must_be_those_of_the_table(shipped):
    """Someone who changes model and card together is found out by the table."""
    for path in shipped.iterdir():
        path.unlink()
    shipped.rmdir()
    make(shipped, (9.0,))
    with pytest.raises(RequestError, match=r"but Weights\.json says"):
        find_bundle("toy", "toy")


def test_one_damaged_import_does_not_stop_the_others(shipped, imported):
    broken = make(imported / "broken", (4.0,), name="broken")
    (broken / "LICENSE").unlink()
    make(imported / ".partial-x", (5.0,), name="partial")
    assert [bundle.name for bundle in shipped_and_imported()] == ["toy"]
    assert find_bundle("toy", "toy").shipped


def test_the_folder_of_the_user_is_the_platforms(monkeypatch):
    monkeypatch.delenv("CONTRASTSYNTH_WEIGHTS")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", os.path.join("C", "Local"))
    home = Path.home()
    for platform, data in (
        ("linux", home / ".local" / "share"),
        ("darwin", home / "Library" / "Application Support"),
        ("win32", Path("C") / "Local"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert user_folder() == data / "contrastsynth" / "weights"


# Importing


def zipped(folder, path, prefix="", extra=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"{prefix}{file.name}")
        for name in extra:
            archive.writestr(name, "x")
    return path


@pytest.mark.parametrize("form", ["folder", "flat.zip", "nested.zip"])
def test_a_bundle_is_imported_from_a_folder_and_a_zip(tmp_path, imported, form):
    folder = make(tmp_path / "stick")
    (folder / "model.pt").write_bytes(b"a pickle")
    source = {
        "folder": folder,
        "flat.zip": zipped(folder, tmp_path / "flat.zip"),
        "nested.zip": zipped(
            folder, tmp_path / "nested.zip", "a/toy/", ["__MACOSX/a/toy/._metadata.json"]
        ),
    }[form]
    bundle = import_bundle(source)
    assert bundle.folder == imported / bundle.id
    assert find_bundle("toy", "toy") == bundle
    assert tree(imported) == {
        bundle.id,
        *(f"{bundle.id}/{name}" for name in ("metadata.json", "model.safetensors", "LICENSE")),
    }
    assert (bundle.folder / "model.safetensors").read_bytes() == safetensors_bytes((1.0, 2.0))


def test_what_is_there_is_not_overwritten(tmp_path, shipped, imported):
    with pytest.raises(RequestError, match=r"are there already, in .*; nothing was copied"):
        import_bundle(shipped)
    folder = make(tmp_path / "stick", (7.0,))
    bundle = import_bundle(folder)
    (bundle.folder / "LICENSE").write_text("kept", "utf-8")
    with pytest.raises(RequestError, match="are there already"):
        import_bundle(folder)
    assert (bundle.folder / "LICENSE").read_text("utf-8") == "kept"


@pytest.mark.parametrize(
    "name", ["../evil", "toy/../../evil", "/etc/evil", "C:/evil", "..\\evil", "\\\\host\\evil"]
)
def test_a_malicious_zip_is_refused(tmp_path, imported, name):
    path = zipped(make(tmp_path / "stick"), tmp_path / "evil.zip", extra=[name])
    before = tree(tmp_path)
    with pytest.raises(RequestError, match="points out of the archive"):
        import_bundle(path)
    assert tree(tmp_path) == before


def test_a_zip_that_is_too_large_unpacked_is_refused(tmp_path, imported):
    folder = make(tmp_path / "stick")
    (folder / "LICENSE").write_bytes(bytes(MAX_BYTES + 100_000))
    path = zipped(folder, tmp_path / "bomb.zip")
    assert path.stat().st_size < 100_000
    with pytest.raises(RequestError, match=r"LICENSE: has 10\.1 MB\. Expected at most 10 MB"):
        import_bundle(path)


def test_zips_of_no_or_two_bundles_are_refused(tmp_path, imported):
    folder = make(tmp_path / "stick")
    two = zipped(folder, tmp_path / "two.zip", extra=["other/metadata.json"])
    (folder / "LICENSE").unlink()
    part = zipped(folder, tmp_path / "part.zip")
    (tmp_path / "text.zip").write_text("no zip", "utf-8")
    for path, message in (
        (two, "holds 2 files metadata.json"),
        (part, "has no LICENSE"),
        (tmp_path / "text.zip", "neither the folder of a bundle nor a readable .zip"),
        (tmp_path / "none.zip", "neither the folder of a bundle nor a readable .zip"),
    ):
        with pytest.raises(RequestError, match=message):
            import_bundle(path)
    assert not imported.exists()


@pytest.mark.parametrize("as_zip", [False, True])
def test_damaged_weights_are_not_imported(tmp_path, imported, as_zip):
    folder = make(tmp_path / "stick")
    flip_last_byte(folder)
    with pytest.raises(RequestError, match="is damaged or was changed"):
        import_bundle(zipped(folder, tmp_path / "stick.zip") if as_zip else folder)
    assert not imported.exists()


def test_an_import_onto_a_full_disk_leaves_nothing(tmp_path, imported, monkeypatch):
    folder = make(tmp_path / "stick")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RequestError, match="No space left"):
        import_bundle(folder)
    assert tree(imported) == set()


# The command line


def test_list(shipped, imported, tmp_path, capsys):
    ours = import_bundle(
        make(tmp_path / "s", (2.0,), name="ours", trained_on_virtual_patients=False)
    )
    make(imported / "broken", name="no-name")
    assert main(["weights", "list"]) == 0
    said = capsys.readouterr()
    first, second, last = said.out.splitlines()
    for word in (look_up("toy").id, "for toy", "shipped", "trained on virtual patients"):
        assert word in first
    assert ours.id in second
    assert "imported" in second
    assert "virtual" not in second
    assert last.startswith("2 weights")
    assert str(imported) in last
    assert "'name' is 'no-name'" in said.err


def test_list_as_json(shipped, capsys):
    assert main(["weights", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["schema_version"] == 1
    (entry,) = listed["weights"]
    assert entry["id"] == look_up("toy").id
    assert entry["trained_on_virtual_patients"] is True
    assert entry["shipped"] is True
    assert entry["bytes"] == len(safetensors_bytes((1.0, 2.0)))
    assert entry["card"]["limits"] == "A toy."


def test_verify_says_which_one_is_damaged(shipped, tmp_path, capsys):
    ours = import_bundle(make(tmp_path / "stick", (2.0,), name="ours"))
    assert main(["weights", "verify"]) == 0
    said = capsys.readouterr().out
    assert f"{look_up('toy').sha256}  whole" in said
    assert f"{ours.sha256}  whole" in said
    flip_last_byte(ours.folder)
    assert main(["weights", "verify"]) == 2
    said = capsys.readouterr()
    assert look_up("toy").id in said.out
    assert ours.id not in said.out
    assert "1 of 2" in said.err
    assert f"{ours.folder / 'model.safetensors'}: is damaged" in said.err
    assert main(["weights", "verify", "toy", str(shipped)]) == 0
    assert main(["weights", "verify", "toy", ours.id]) == 2
    assert main(["weights", "verify", "nothing"]) == 2


def test_import_prints_how_to_use_it(tmp_path, imported, capsys):
    folder = make(tmp_path / "stick")
    assert main(["weights", "import", str(folder)]) == 0
    said = capsys.readouterr().out
    assert look_up("toy").id in said
    assert "run toy --weights toy-1.0-" in said
    assert main(["weights", "import", str(folder)]) == 2
    assert "are there already" in capsys.readouterr().err


# A run


@dataclass(frozen=True)
class Parameters:
    pass


@pytest.fixture
def contexts(monkeypatch):
    """Declare a method with weights; returns the contexts that its runs got."""
    seen = []

    def toy(*, post, parameters, context):
        seen.append(context)
        return {"pre": post.array * 0.5}

    monkeypatch.setattr(declaration, "METHODS", dict(declaration.METHODS))
    method(
        key="toy",
        title="A toy",
        task="pre",
        inputs={"post": Input("Post")},
        outputs={"pre": Output("Pre", units_of="post")},
        parameters=Parameters,
        reference="post",
        citation="none",
        intended_use="Research.",
        networks={"toy": Network()},
    )(toy)
    return seen


@pytest.fixture(scope="module")
def post():
    return sample_patient(seed=5, size=(16, 18, 12)).scans["post"]


def test_a_run_passes_the_weights_on_and_records_them(contexts, shipped, post, tmp_path):
    result = run(Request("toy", {"post": post}, device="cpu"))
    bundle = look_up("toy")
    assert contexts[0].bundles == {"toy": bundle}
    (used,) = json.loads(result.write(tmp_path / "out")[-1].read_text("utf-8"))["weights"]
    assert (used["id"], used["sha256"]) == (bundle.id, bundle.sha256)
    assert used["card"] == json.loads((shipped / "metadata.json").read_text("utf-8"))
    assert str(tmp_path) not in json.dumps(used)
    (sentence,) = [warning for warning in result.warnings if "virtual patients" in warning]
    assert bundle.id in sentence


def test_a_run_takes_other_weights_by_path(contexts, shipped, post, tmp_path):
    folder = make(tmp_path / "own", (5.0,), name="own", trained_on_virtual_patients=False)
    result = run(Request("toy", {"post": post}, weights=str(folder), device="cpu"))
    assert contexts[0].bundles["toy"].name == "own"
    assert result.provenance["weights"][0]["card"]["name"] == "own"
    assert not any("virtual" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("chosen", "wanted", "error", "message"),
    [
        ("toy", "nothing", MissingError, "were not found"),
        ("toy", None, RequestError, "is damaged"),
        ("physics_pre", "toy", RequestError, "physics_pre has no weights"),
    ],
)
def test_wrong_weights_are_refused_before_any_file_is_read(
    contexts, shipped, chosen, wanted, error, message
):
    flip_last_byte(shipped)
    with pytest.raises(error, match=message):
        run(Request(chosen, {"post": "no such file.nrrd"}, weights=wanted, device="cpu"))


def test_a_method_without_weights_has_none_in_its_provenance(post):
    assert run(Request("physics_pre", {"post": post})).provenance["weights"] == []


def test_a_method_is_shown_with_its_weights(contexts, shipped, tmp_path):
    other = import_bundle(make(tmp_path / "stick", (2.0,), method="sphere"))
    text = describe.method_as_text(declaration.METHODS["toy"])
    assert "\nNetworks\n  toy\n" in text
    assert other.id not in text
    assert f"{look_up('toy').id}" in text
    assert "trained on virtual patients" in text
    assert "Weights" not in describe.method_as_text(declaration.METHODS["physics_pre"])


# What ships


def assert_table_and_folders_agree(table):
    listed = json.loads(table.read_text("utf-8"))
    assert listed["schema_version"] == 1
    folders = {path.name for path in table.parent.glob("weights/*") if path.is_dir()}
    assert [entry["name"] for entry in listed["weights"]] == sorted(folders)
    for entry in listed["weights"]:
        bundle = read_bundle(table.parent / "weights" / entry["name"])
        verify(bundle)
        assert entry == {
            "name": bundle.name,
            "version": bundle.version,
            "sha256": bundle.sha256,
            "method": bundle.method,
            "bytes": (bundle.folder / "model.safetensors").stat().st_size,
        }
        assert entry["bytes"] <= MAX_BYTES
        assert tree(bundle.folder) == {"metadata.json", "model.safetensors", "LICENSE"}
    assert sum(entry["bytes"] for entry in listed["weights"]) <= MAX_BYTES_IN_ALL


def test_the_table_and_the_folders_agree():
    assert_table_and_folders_agree(resource("Weights.json"))


@pytest.mark.parametrize("change", [{"bytes": 1}, {"version": "2.0"}, {"sha256": "0" * 64}])
def test_the_comparison_finds_what_does_not_agree(shipped, change):
    table = resource("Weights.json")
    assert_table_and_folders_agree(table)
    listed = json.loads(table.read_text("utf-8"))
    listed["weights"][0] |= change
    table.write_text(json.dumps(listed), "utf-8")
    with pytest.raises((AssertionError, RequestError)):
        assert_table_and_folders_agree(table)


def test_the_limit_is_the_one_that_is_tested():
    assert weights.MAX_BYTES == MAX_BYTES


def test_an_id_from_before_a_new_name_finds_the_same_weights():
    for before, now in RENAMED.items():
        assert look_up(before).id == now
        assert before.rpartition("-")[2] == now.rpartition("-")[2]


def test_weights_that_saw_real_and_virtual_patients_say_both(tmp_path):
    folder = make(tmp_path / "own", (5.0,), name="own")
    assert read_bundle(folder).trained_on == "trained on virtual patients"
    card = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    for real, said in ((25, "trained on 25 real and on virtual patients"), ("many", None)):
        card["training"]["real_patients"] = real
        (folder / "metadata.json").write_text(json.dumps(card), encoding="utf-8")
        assert read_bundle(folder).trained_on == (said or "trained on virtual patients")
