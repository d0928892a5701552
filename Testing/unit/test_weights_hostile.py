"""Weights as a broken disk or an attacker leaves them: refused by name, and nothing is kept."""

import json
import struct
import zipfile

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.networks import NETWORKS, build_network
from ContrastSynthLib.weights import storage, tensors
from ContrastSynthLib.weights.bundles import bundle_folders, read_bundle, shipped_and_imported

NETWORK = {"name": "vnet", "arguments": {"in_channels": 1, "width": 2}}


@pytest.fixture(autouse=True)
def imported(tmp_path, monkeypatch):
    folder = tmp_path / "imported"
    monkeypatch.setenv("CONTRASTSYNTH_WEIGHTS", str(folder))
    return folder


def card(**changes):
    return {
        **{"name": "toy", "version": "1.0", "oldest_library_version": "0.1.0", "task": "full"},
        **{"method": "lip_car", "network": NETWORK, "inputs": ["low"], "normalisation": "mean"},
        "training": {
            **{"data": "virtual", "data_licence": "Apache-2.0", "commit": "0", "command": "none"},
            **{"seed": 1, "steps": 1, "hours": 0.1, "hardware": "none"},
        },
        **{"metrics": {}, "limits": "A toy.", "licence": "Apache-2.0"},
        **{"trained_on_virtual_patients": True},
        **changes,
    }


def write(folder, change=lambda state: None, **changes):
    """Write a bundle whose tensors were changed, with the right SHA-256."""
    state = build_network(**NETWORK).state_dict()
    change(state)
    return storage.save_bundle(folder, state, card(**changes), "Apache-2.0\n").folder


def rewrite(folder, model):
    """Put other bytes in place of the model, and their SHA-256 on the card."""
    import hashlib

    (folder / "model.safetensors").write_bytes(model)
    content = json.loads((folder / "metadata.json").read_text())
    content["sha256"] = hashlib.sha256(model).hexdigest()
    (folder / "metadata.json").write_text(json.dumps(content))


def header(content):
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(change, folder):
    path = folder / "model.safetensors"
    entries, data = header(path.read_bytes())
    change(entries)
    text = json.dumps(entries).encode()
    rewrite(folder, struct.pack("<Q", len(text)) + text + data)


def refused(folder, message, imported):
    with pytest.raises(RequestError, match=message):
        storage.import_bundle(folder)
    assert not imported.exists() or not list(imported.iterdir())


def test_right_weights_are_imported_and_verified(tmp_path, capsys):
    bundle = storage.import_bundle(write(tmp_path / "right"))
    assert main(["weights", "verify", bundle.id]) == 0
    assert bundle.id in capsys.readouterr().out


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(tmp_path, imported, value):
    folder = write(tmp_path / "bad")
    entries, data = header((folder / "model.safetensors").read_bytes())
    first = entries["last.bias"]["data_offsets"][0]
    half = torch.tensor([value]).half().numpy().tobytes()
    spoilt = data[:first] + half + data[first + 2 :]
    text = json.dumps(entries).encode()
    rewrite(folder, struct.pack("<Q", len(text)) + text + spoilt)
    refused(folder, "'last.bias' holds NaN or infinity", imported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("last.bias"), "it lacks 'last.bias'"),
        (lambda state: state.update(more=torch.zeros(3)), "it also has 'more'"),
        (lambda state: state.update({"last.bias": torch.zeros(7)}), "other shapes of 'last.bias'"),
        (lambda state: state.clear(), "lacks .* and .* more"),
    ],
)
def test_tensors_of_another_network(tmp_path, imported, change, message):
    refused(write(tmp_path / "bad", change), message, imported)


def test_a_network_that_asks_for_gigabytes_is_refused_without_them(tmp_path, imported):
    huge = {"name": "vnet", "arguments": {"in_channels": 1, "width": 100_000}}
    refused(write(tmp_path / "bad", network=huge), "other shapes of", imported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["last.bias"].update(shape=[2**50]), "Expected one of"),
        (lambda e: e["last.bias"].update(shape=[4000]), "needs 8000 bytes"),
        (lambda e: e["last.bias"].update(dtype="F8"), "is of type 'F8'"),
        (lambda e: e["last.bias"].update(shape="ab"), "Expected one of"),
        (lambda e: e["last.bias"].pop("data_offsets"), "has no type, shape and place"),
        (lambda e: e.update({"last.bias": 3}), "has no type, shape and place"),
        (
            lambda e: e["last.bias"].update(
                data_offsets=e["downs.0.convolutions.0.bias"]["data_offsets"]
            ),
            "needs 2 bytes|overlap",
        ),
    ],
)
def test_headers_that_lie(tmp_path, imported, change, message):
    folder = write(tmp_path / "bad")
    with_header(change, folder)
    refused(folder, message, imported)


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 20000) + b"[" * 20000,
        struct.pack("<Q", 10) + b"{",
    ],
)
def test_files_that_are_no_safetensors(tmp_path, imported, model):
    folder = write(tmp_path / "bad")
    rewrite(folder, model)
    refused(folder, "is no safetensors file", imported)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ('{"name": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"a": "' + "x" * 2_000_000 + '"}', "Expected at most 1000000"),
        ('{"a": 1e999}', "is not JSON"),
        ("null", "expected an object"),
    ],
)
def test_cards_that_are_no_cards(tmp_path, imported, text, message, capsys):
    folder = write(tmp_path / "bad")
    (folder / "metadata.json").write_text(text)
    refused(folder, message, imported)
    # The same folder among the imported ones hides none of the others.
    write(imported / "good")
    folder.rename(imported / "bad")
    assert main(["weights", "list"]) == 0
    out, err = capsys.readouterr()
    assert "toy-1.0" in out
    assert "bad" in err
    assert "toy" in {bundle.name for bundle in shipped_and_imported()}
    assert main(["weights", "verify"]) == 2


def test_a_zip_whose_packing_is_damaged(tmp_path, imported):
    folder = write(tmp_path / "right")
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"right/{file.name}")
    content = bytearray(path.read_bytes())
    for place in range(60, len(content) - 400, 37):
        content[place] ^= 0x55
    path.write_bytes(content)
    refused(path, "bad.zip", imported)


def test_weights_of_another_network_end_a_run_with_a_message(tmp_path):
    from ContrastSynthLib.inference.networks import load_network

    folder = write(tmp_path / "bad", lambda state: state.pop("last.bias"))
    with pytest.raises(RequestError, match=r"lacks 'last\.bias'"):
        load_network(read_bundle(folder))


@pytest.mark.parametrize("folder", bundle_folders(), ids=lambda folder: folder.name)
def test_shipped_weights_suit_their_networks(folder):
    bundle = read_bundle(folder)
    model = folder / "model.safetensors"
    tensors.check_network(bundle.metadata, tensors.check_tensors(model.read_bytes(), model), model)
    assert bundle.metadata["network"]["name"] in NETWORKS
