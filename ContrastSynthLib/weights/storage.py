"""Reading the tensors of a bundle, writing a bundle, importing one from a folder or a .zip file."""

from __future__ import annotations

import hashlib
import json
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.weights.bundles import (
    FILES,
    LICENCE,
    METADATA,
    MODEL,
    Bundle,
    read_bundle,
    read_bytes,
    refuse_damaged,
    refuse_large,
    shipped_and_imported,
    user_folder,
    verified_model,
)
from ContrastSynthLib.weights.model_card import SCHEMA_VERSION, parse_card, refuse_newer
from ContrastSynthLib.weights.tensors import check_network, check_tensors

if TYPE_CHECKING:
    import torch


DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def load_state(bundle: Bundle) -> dict[str, torch.Tensor]:
    """Return the tensors by name, on the CPU, floating-point ones as float32.

    Their SHA-256 is verified first. Raises RequestError when they are damaged, MissingError when
    torch or safetensors is not installed.
    """
    content = verified_model(bundle)
    safetensors = _safetensors()
    try:
        state = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise RequestError(f"{bundle.folder / MODEL}: is no safetensors file ({error}).") from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def save_bundle(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, Any],
    licence_text: str,
    replace: bool = False,
) -> Bundle:
    """Write a bundle and return it: the same tensors and metadata give the same bytes.

    ``metadata`` is the model card without ``schema_version`` and ``sha256``, which are filled
    in. Floating-point tensors are stored in half precision, those with a value too large for it in
    single precision, others unchanged. With ``replace`` a bundle that is in ``folder`` already is
    replaced. Raises RequestError, and writes nothing, when the card is not complete, a value is not
    finite, the file would exceed 10 MB, the disk cannot be written to, or ``folder`` exists and may
    not be replaced.
    """
    if folder.exists():
        _refuse_to_replace(folder, replace)
    model = _model_bytes(state, folder)
    refuse_large(len(model), folder / MODEL)
    digest = hashlib.sha256(model).hexdigest()
    card = {"schema_version": SCHEMA_VERSION, **metadata, "sha256": digest}
    try:
        text = json.dumps(card, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise RequestError(f"{folder / METADATA}: cannot be written as JSON ({error}).") from None
    parse_card(text.encode(), folder / METADATA)
    content = {METADATA: text.encode(), MODEL: model, LICENCE: licence_text.encode()}
    _write_whole(content, folder)
    return read_bundle(folder)


def import_bundle(path: Path) -> Bundle:
    """Copy a bundle, given as a folder or a .zip file, into the user's folder; return the copy.

    Raises RequestError, and copies nothing, when it is no bundle, is damaged, holds values that
    are not finite or other tensors than its network has, needs a newer version of the library or
    exists already.
    """
    content = _files_of_folder(path) if path.is_dir() else _files_of_zip(path)
    metadata = parse_card(content[METADATA], path / METADATA)
    refuse_newer(metadata, path)
    refuse_damaged(content[MODEL], metadata["sha256"], path / MODEL, METADATA)
    check_network(metadata, check_tensors(content[MODEL], path / MODEL), path / MODEL)
    bundle = Bundle(metadata["name"], metadata["version"], metadata["sha256"], path, metadata)
    place = user_folder() / bundle.id
    there = {known.id: known.folder for known in shipped_and_imported()}
    if bundle.id in there or place.exists():
        raise RequestError(
            f"The weights {bundle.id} are there already, in {there.get(bundle.id, place)}; nothing "
            "was copied. If 'contrastsynth weights verify' reports damage, delete them first."
        )
    _write_whole(content, place)
    return read_bundle(place)


def _refuse_to_replace(folder: Path, replace: bool) -> None:
    if not replace:
        raise RequestError(f"{folder}: is there already. Choose another folder, or replace it.")
    if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= set(FILES):
        raise RequestError(f"{folder}: holds more than a bundle, so it is not replaced.")


def _files_of_folder(folder: Path) -> dict[str, bytes]:
    read_bundle(folder)
    return {name: read_bytes(folder / name) for name in FILES}


def _files_of_zip(path: Path) -> dict[str, bytes]:
    """Return the three files of the one bundle in a .zip file, without unpacking it on disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                _refuse_escape(name, path)
            found = [PurePosixPath(name) for name in names if PurePosixPath(name).name == METADATA]
            if len(found) != 1:
                raise RequestError(
                    f"{path}: holds {len(found)} files {METADATA}. Expected one bundle."
                )
            members = {name: str(found[0].with_name(name)) for name in FILES}
            missing = [name for name, member in members.items() if member not in names]
            if missing:
                raise RequestError(f"{path}: has no {' and no '.join(missing)}.")
            for member in members.values():
                refuse_large(archive.getinfo(member).file_size, path / member)
            return {name: archive.read(member) for name, member in members.items()}
    # RuntimeError and NotImplementedError (one of its kinds): a password, a rare compression.
    except (*DAMAGED_ZIP, OSError, EOFError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"{path}: is neither the folder of a bundle nor a readable .zip file of one ({error})."
        ) from error


def _refuse_escape(name: str, archive: Path) -> None:
    """Raise RequestError for a member outside of the archive's folder, with / or \\ in its path."""
    member = PureWindowsPath(name)
    if member.drive or member.root or ".." in member.parts:
        raise RequestError(
            f"{archive}: the member '{name}' points out of the archive. It is not a bundle that "
            "ContrastSynth wrote; do not use it."
        )


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        package = (error.name or "safetensors").split(".")[0]
        raise MissingError(
            f"Weights cannot be read or written without {package}, which is not installed. "
            "Install torch and safetensors: in Slicer torch through the PyTorch extension and "
            "safetensors with slicer.util.pip_install('safetensors'), elsewhere with pip."
        ) from None
    return safetensors


def _model_bytes(state: Mapping[str, torch.Tensor], folder: Path) -> bytes:
    """Return the state as a safetensors file.

    It has no metadata of its own: safetensors would write them in random order.
    """
    safetensors = _safetensors()
    halved = {}
    for name, tensor in state.items():
        stored = tensor.detach().cpu()
        if stored.is_floating_point():
            stored = _as_small_as_possible(stored, f"{folder}: the tensor '{name}'")
        # A copy: safetensors refuses tensors that share memory.
        halved[name] = stored.contiguous().clone()
    content: bytes = safetensors.torch.save(halved)
    return content


def _as_small_as_possible(tensor: torch.Tensor, title: str) -> torch.Tensor:
    """Return a tensor in half precision; in single precision where that ends, at 65504.

    Variances of features that a normalisation keeps may be larger. Raises RequestError for values
    that are not finite.
    """
    halved, single = tensor.half(), tensor.float()
    if not single.isfinite().all():
        raise RequestError(f"{title} holds NaN or infinity.")
    return halved if halved.isfinite().all() else single


def _write_whole(content: Mapping[str, bytes], folder: Path) -> None:
    """Make ``folder`` with these files, replacing an older one.

    After an error the older one is as it was. Raises RequestError when writing fails.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as name:
            new, old = Path(name) / "new", Path(name) / "old"
            new.mkdir()
            for file, data in content.items():
                (new / file).write_bytes(data)
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except BaseException:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise RequestError(f"{folder}: could not be written ({error.strerror}).") from error
