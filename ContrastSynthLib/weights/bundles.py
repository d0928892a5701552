"""Bundles of network weights: what one holds, where it lies, how it is found and verified.

A bundle is a folder in the format of a MONAI bundle: ``metadata.json``, the model card;
``model.safetensors``, the tensors, floating-point ones in half precision where they fit;
``LICENSE``. Some bundles ship with the library. Others are imported from a file into the user's
folder, which works without internet. A bundle is identified by the SHA-256 of its tensors; a pickle
is never read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.resources import resource
from ContrastSynthLib.weights.model_card import parse_card, refuse_newer

TABLE = "Weights.json"
METADATA, MODEL, LICENCE = FILES = ("metadata.json", "model.safetensors", "LICENSE")
MAX_BYTES = 10_000_000
RENAMED = {"sphere-1.4-5aa6aab4": "sphere_virtual-1.4-5aa6aab4"}
"""The present id of weights that are shipped under another name than before."""
USER_FOLDER_VARIABLE = "CONTRASTSYNTH_WEIGHTS"


@dataclass(frozen=True)
class Bundle:
    """Weights with their model card, ``metadata``; ``sha256`` is that of ``model.safetensors``."""

    name: str
    version: str
    sha256: str
    folder: Path
    metadata: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Name, version and the first 8 digits of the SHA-256: unique to these weights."""
        return f"{self.name}-{self.version}-{self.sha256[:8]}"

    @property
    def method(self) -> str:
        """The key of the method that they belong to."""
        return str(self.metadata["method"])

    @property
    def trained_on_virtual_patients(self) -> bool:
        """Whether virtual patients were in the training: shown wherever the weights are listed."""
        return bool(self.metadata["trained_on_virtual_patients"])

    @property
    def real_patients(self) -> int:
        """How many real patients were in the training, as far as the card says."""
        said = self.metadata["training"].get("real_patients", 0)
        return said if isinstance(said, int) else 0

    @property
    def trained_on(self) -> str:
        """What has to be said of the training wherever the weights are offered, or nothing."""
        if not self.trained_on_virtual_patients:
            return ""
        real = f"{self.real_patients} real and on " if self.real_patients else ""
        return f"trained on {real}virtual patients"

    @property
    def shipped(self) -> bool:
        """Whether they came with the library."""
        return self.folder.parent == _shipped_folder()


def user_folder() -> Path:
    """Return the folder of imported weights: CONTRASTSYNTH_WEIGHTS, else the platform's own.

    Raises RequestError where the user has no home folder.
    """
    named = os.environ.get(USER_FOLDER_VARIABLE)
    if named:
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError:
        raise RequestError(
            "This user has no home folder (HOME is not set). Name a folder for imported weights in "
            f"{USER_FOLDER_VARIABLE}."
        ) from None
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "contrastsynth" / "weights"


def known_weights() -> dict[str, dict[str, Any]]:
    """Return the table of shipped weights, Resources/Weights.json, by name."""
    listed = json.loads(resource(TABLE).read_text(encoding="utf-8"))["weights"]
    return {entry["name"]: entry for entry in listed}


def bundle_folders() -> list[Path]:
    """Return the folders in which bundles are expected, shipped ones first; no file is read."""
    shipped = [_shipped_folder() / name for name in sorted(known_weights())]
    # A name that begins with a dot is that of an unfinished import.
    try:
        imported = sorted(path for path in user_folder().glob("[!.]*") if path.is_dir())
    except RequestError:  # without a home there are none
        imported = []
    return [*shipped, *imported]


def shipped_and_imported() -> list[Bundle]:
    """Return all readable bundles, shipped ones first; hashes are not checked."""
    found = []
    for folder in bundle_folders():
        try:
            found.append(read_bundle(folder))
        except (RequestError, OSError):
            continue  # One damaged import must not hide the others; ``verify`` reports it.
    return found


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in ``folder``; its hash is not checked, see :func:`verify`.

    Raises RequestError when a file is missing or the model card is not complete.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise RequestError(
            f"{folder}: is no bundle of weights, it has no {' and no '.join(missing)}. "
            f"Expected a folder with {', '.join(FILES)}. Import a .zip file with "
            "'contrastsynth weights import' first."
        )
    path = folder / METADATA
    metadata = parse_card(read_bytes(path), path)
    return Bundle(metadata["name"], metadata["version"], metadata["sha256"], folder, metadata)


def look_up(wanted: str) -> Bundle:
    """Return the bundle of a name, an id or the path of a folder; its hash is not checked.

    Where a shipped and an imported bundle have the same name, the shipped one is returned. Raises
    MissingError when there is none, RequestError when several imported ones have the name or the
    folder is no bundle.
    """
    wanted = RENAMED.get(wanted, wanted)
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
        f"The weights '{wanted}' were not found. Import them with 'contrastsynth weights import "
        "PATH', or give the folder of a bundle (--weights FOLDER). "
        f"Available: {', '.join(bundle.id for bundle in there) or 'none'}."
    )


def find_bundle(wanted: str, method_key: str | None, *, check_hash: bool = True) -> Bundle:
    """Return the bundle of a name, an id or a path, checked for use by a method.

    With ``method_key`` None it may belong to any method. Raises MissingError when there is none;
    RequestError when it is no bundle, belongs to another method, needs a newer version of the
    library or, with ``check_hash``, is damaged.
    """
    bundle = look_up(wanted)
    if method_key is not None and bundle.method != method_key:
        raise RequestError(
            f"The weights {bundle.id} belong to the method '{bundle.method}', not to "
            f"'{method_key}'. 'contrastsynth weights list' shows the method of each."
        )
    refuse_newer(bundle.metadata, bundle.folder)
    if check_hash:
        verify(bundle)
    return bundle


def verify(bundle: Bundle) -> None:
    """Raise RequestError unless the tensors have the SHA-256 of the model card.

    Shipped weights must have that of Resources/Weights.json as well.
    """
    verified_model(bundle)


def verified_model(bundle: Bundle) -> bytes:
    """Return the content of ``model.safetensors``, read once, after the check of :func:`verify`."""
    path = bundle.folder / MODEL
    content = read_bytes(path)
    refuse_damaged(content, bundle.sha256, path, METADATA)
    if bundle.shipped:
        known = known_weights().get(bundle.folder.name, {})
        refuse_damaged(content, known.get("sha256", "nothing"), path, TABLE)
    return content


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; raises RequestError if unreadable or above MAX_BYTES."""
    try:
        refuse_large(path.stat().st_size, path)
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}).") from error


def refuse_large(size: int, path: Path) -> None:
    """Raise RequestError for a file of more than MAX_BYTES."""
    if size > MAX_BYTES:
        raise RequestError(
            f"{path}: has {size / 1e6:.1f} MB. Expected at most {MAX_BYTES / 1e6:.0f} MB."
        )


def refuse_damaged(content: bytes, sha256: str, path: Path, stated_in: str) -> None:
    """Raise RequestError unless ``content`` has the SHA-256 that the file ``stated_in`` states."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise RequestError(
            f"{path}: is damaged or was changed. Its SHA-256 is {found}, but {stated_in} says "
            f"{sha256}. Get these weights again."
        )


def _shipped_folder() -> Path:
    return resource(TABLE).parent / "weights"
