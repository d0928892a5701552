"""Weights of networks: bundles on the disk, found by name, checked by SHA-256, never a pickle.

A bundle is a folder in the shape of a MONAI bundle: ``metadata.json``, the model card;
``model.safetensors``, floats in half precision; ``LICENSE``. Some ship with the library,
others are imported into the user's folder, for a hospital without internet.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.resources import resource
from ContrastSynthLib.weights.model_card import SCHEMA_VERSION, parse_card, refuse_newer

if TYPE_CHECKING:
    import torch

TABLE = "Weights.json"
METADATA, MODEL, LICENCE = FILES = ("metadata.json", "model.safetensors", "LICENSE")
MAX_BYTES = 10_000_000
USER_FOLDER_VARIABLE = "CONTRASTSYNTH_WEIGHTS"


@dataclass(frozen=True)
class Bundle:
    """Weights with their model card. ``sha256`` is that of ``model.safetensors``."""

    name: str
    version: str
    sha256: str
    folder: Path
    metadata: Mapping[str, Any]

    @property
    def id(self) -> str:
        """What tells these weights from all others."""
        return f"{self.name}-{self.version}-{self.sha256[:8]}"

    @property
    def method(self) -> str:
        """The key of the method that they belong to."""
        return str(self.metadata["method"])

    @property
    def trained_on_virtual_patients(self) -> bool:
        """What has to be said wherever they are offered."""
        return bool(self.metadata["trained_on_virtual_patients"])

    @property
    def shipped(self) -> bool:
        """Whether they came with the library."""
        return self.folder.parent == _shipped_folder()


def user_folder() -> Path:
    """Return the folder of imported weights: CONTRASTSYNTH_WEIGHTS, else the platform's own."""
    named = os.environ.get(USER_FOLDER_VARIABLE)
    if named:
        return Path(named)
    home = Path.home()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "contrastsynth" / "weights"


def known_weights() -> dict[str, dict[str, Any]]:
    """Return the table of the weights that ship, by name."""
    listed = json.loads(resource(TABLE).read_text(encoding="utf-8"))["weights"]
    return {entry["name"]: entry for entry in listed}


def bundle_folders() -> list[Path]:
    """Return the folders in which bundles should be, shipped ones first; none is read."""
    shipped = [_shipped_folder() / name for name in sorted(known_weights())]
    # What begins with a dot is an import that did not come to its end.
    imported = sorted(path for path in user_folder().glob("[!.]*") if path.is_dir())
    return [*shipped, *imported]


def shipped_and_imported() -> list[Bundle]:
    """Return all bundles that can be read, shipped ones first; hashes are not checked."""
    found = []
    for folder in bundle_folders():
        try:
            found.append(read_bundle(folder))
        except RequestError:
            continue  # One damaged import must not stop the others; ``verify`` tells of it.
    return found


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in ``folder``; its hash is not checked, see :func:`verify`.

    Raises RequestError when it is no bundle or its metadata are not complete.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise RequestError(
            f"{folder}: is no bundle of weights, it has no {' and no '.join(missing)}. "
            f"Expected a folder with {', '.join(FILES)}; a .zip of one has to be imported first, "
            "with 'contrastsynth weights import'."
        )
    path = folder / METADATA
    metadata = parse_card(_read_bytes(path), path)
    return Bundle(metadata["name"], metadata["version"], metadata["sha256"], folder, metadata)


def look_up(wanted: str) -> Bundle:
    """Return the bundle that a name, an id or the path of a folder means; see :func:`verify`.

    A name means the weights that ship, and imported ones only where none of it ship. Raises
    MissingError when none are there, RequestError when several are or it is no bundle.
    """
    if wanted in known_weights():
        return read_bundle(resource(f"weights/{wanted}/{METADATA}").parent)
    there = shipped_and_imported()
    matching = [bundle for bundle in there if wanted in (bundle.name, bundle.id)]
    if len(matching) > 1 and not matching[0].shipped:
        ids = ", ".join(bundle.id for bundle in matching)
        raise RequestError(f"Several weights are named '{wanted}'. Give one of their ids: {ids}.")
    if matching:
        return matching[0]
    if Path(wanted).exists() or "/" in wanted or os.sep in wanted:
        return read_bundle(Path(wanted))
    raise MissingError(
        f"The weights '{wanted}' are not there. Import them with 'contrastsynth weights import "
        "PATH', or name the folder of a bundle with --weights. "
        f"There are: {', '.join(bundle.id for bundle in there) or 'none'}."
    )


def find_bundle(wanted: str, method_key: str | None) -> Bundle:
    """Return the bundle that a name, an id or a path means, checked and ready for the method.

    Without ``method_key`` it may be of any method: some use the networks of another. Raises
    MissingError when none are there; RequestError when it is no bundle, belongs to another
    method, is damaged, or needs a newer library.
    """
    bundle = look_up(wanted)
    if method_key is not None and bundle.method != method_key:
        raise RequestError(
            f"The weights {bundle.id} belong to the method '{bundle.method}', not to "
            f"'{method_key}'. 'contrastsynth weights list' shows which belong to which."
        )
    refuse_newer(bundle.metadata, bundle.folder)
    verify(bundle)
    return bundle


def verify(bundle: Bundle) -> None:
    """Raise RequestError unless the model has the SHA-256 by which it is known."""
    _verified_model(bundle)


def load_state(bundle: Bundle) -> dict[str, torch.Tensor]:
    """Return the tensors by name, on the CPU, floats as float32; the bytes are verified first.

    Raises RequestError when they are damaged, MissingError when a package is not installed.
    """
    content = _verified_model(bundle)
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
    in. Floats go to half precision, everything else stays as it is. Raises RequestError, and
    writes nothing, when the card is not complete, a tensor does not fit into half precision,
    the file gets larger than 10 MB, the disk does not take it, or the folder is there; with
    ``replace`` an older bundle there is replaced, but nothing else is.
    """
    if folder.exists():
        _refuse_to_replace(folder, replace)
    model = _model_bytes(state, folder)
    _refuse_large(len(model), folder / MODEL)
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
    """Copy a bundle, a folder or a .zip of one, into the user's folder and return that copy.

    Raises RequestError, and copies nothing, when it is no bundle, is damaged, needs a newer
    library or is there already.
    """
    content = _files_of_folder(path) if path.is_dir() else _files_of_zip(path)
    metadata = parse_card(content[METADATA], path / METADATA)
    refuse_newer(metadata, path)
    _refuse_damaged(content[MODEL], metadata["sha256"], path / MODEL, METADATA)
    bundle = Bundle(metadata["name"], metadata["version"], metadata["sha256"], path, metadata)
    place = user_folder() / bundle.id
    there = {known.id: known.folder for known in shipped_and_imported()}
    if bundle.id in there or place.exists():
        raise RequestError(
            f"The weights {bundle.id} are there already, in {there.get(bundle.id, place)}; nothing "
            "was copied. If 'contrastsynth weights verify' finds them damaged, delete them first."
        )
    _write_whole(content, place)
    return read_bundle(place)


def _shipped_folder() -> Path:
    return resource(TABLE).parent / "weights"


def _refuse_to_replace(folder: Path, replace: bool) -> None:
    if not replace:
        raise RequestError(f"{folder}: is there already. Choose another folder, or replace it.")
    if not folder.is_dir() or not {path.name for path in folder.iterdir()} <= set(FILES):
        raise RequestError(f"{folder}: holds more than a bundle, so it is not replaced.")


def _refuse_large(size: int, path: Path) -> None:
    if size > MAX_BYTES:
        raise RequestError(
            f"{path}: has {size / 1e6:.1f} MB. Expected at most {MAX_BYTES / 1e6:.0f} MB."
        )


def _refuse_damaged(content: bytes, sha256: str, path: Path, told_by: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise RequestError(
            f"{path}: is damaged or was changed. Its SHA-256 is {found}, but {told_by} says "
            f"{sha256}. Get these weights again."
        )


def _verified_model(bundle: Bundle) -> bytes:
    """Return the bytes of the model: those whose hash was looked at, not read a second time."""
    path = bundle.folder / MODEL
    content = _read_bytes(path)
    _refuse_damaged(content, bundle.sha256, path, METADATA)
    if bundle.shipped:
        known = known_weights().get(bundle.folder.name, {})
        _refuse_damaged(content, known.get("sha256", "nothing"), path, TABLE)
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        _refuse_large(path.stat().st_size, path)
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}).") from error


def _files_of_folder(folder: Path) -> dict[str, bytes]:
    read_bundle(folder)
    return {name: _read_bytes(folder / name) for name in FILES}


def _files_of_zip(path: Path) -> dict[str, bytes]:
    """Return the three files of the one bundle in an archive; nothing is unpacked."""
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
                _refuse_large(archive.getinfo(member).file_size, path / member)
            return {name: archive.read(member) for name, member in members.items()}
    # RuntimeError and NotImplementedError: it has a password, or a rare compression.
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise RequestError(
            f"{path}: is neither the folder of a bundle nor a .zip of one that can be read "
            f"({error})."
        ) from error


def _refuse_escape(name: str, archive: Path) -> None:
    """Raise RequestError for a member that would lie outside; both kinds of slashes count."""
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
    """Return a safetensors file of the state, without remarks: their order would be random."""
    safetensors = _safetensors()
    halved = {}
    for name, tensor in state.items():
        stored = tensor.detach().cpu()
        if stored.is_floating_point():
            stored = stored.half()
            if not stored.isfinite().all():
                raise RequestError(
                    f"{folder}: the tensor '{name}' holds values that are not finite in half "
                    "precision, which ends at 65504."
                )
        # A copy of its own: the format knows no two tensors that share their memory.
        halved[name] = stored.contiguous().clone()
    content: bytes = safetensors.torch.save(halved)
    return content


def _write_whole(content: Mapping[str, bytes], folder: Path) -> None:
    """Make ``folder`` with these files, in place of an older one; after an error, as before.

    Raises RequestError when the disk does not take them.
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
