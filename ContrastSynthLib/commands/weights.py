"""The commands ``weights list``, ``weights verify`` and ``weights import``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.running.jobs import JsonLines
from ContrastSynthLib.weights.bundles import (
    MODEL,
    Bundle,
    bundle_folders,
    look_up,
    read_bundle,
    user_folder,
    verified_model,
)
from ContrastSynthLib.weights.storage import import_bundle
from ContrastSynthLib.weights.tensors import check_network, check_tensors

SCHEMA_VERSION = 1


def list_weights(options: Namespace, lines: JsonLines | None) -> None:
    """List shipped and imported weights; print a warning for each that cannot be read."""
    bundles, unreadable = [], []
    for folder in bundle_folders():
        try:
            bundles.append(read_bundle(folder))
        except (RequestError, OSError) as error:
            unreadable.append(str(error))
    print_warnings(unreadable)
    if options.json:
        listed = [_as_dict(bundle) for bundle in bundles]
        print_json({"schema_version": SCHEMA_VERSION, "weights": listed})
        return
    for bundle in bundles:
        print(_as_line(bundle))
    print(f"{len(bundles)} weights; imported ones lie in {user_folder()}")


def verify_weights(options: Namespace, lines: JsonLines | None) -> None:
    """Check SHA-256, values and tensors of the named weights, or of all; print intact ones.

    Raises RequestError, after all were checked, when one is damaged or missing.
    """
    named = options.names or [str(folder) for folder in bundle_folders()]
    damaged = []
    for name in named:
        try:
            bundle = look_up(name) if options.names else read_bundle(Path(name))
            shapes = check_tensors(verified_model(bundle), bundle.folder / MODEL)
            check_network(bundle.metadata, shapes, bundle.folder / MODEL)
        except (MissingError, RequestError) as error:
            damaged.append(str(error))
        else:
            print(f"{bundle.id}  {bundle.sha256}  whole")
    if damaged:
        reasons = "\n".join(damaged)
        raise RequestError(
            f"{len(damaged)} of {len(named)} weights could not be verified:\n{reasons}"
        )


def import_weights(options: Namespace, lines: JsonLines | None) -> None:
    """Copy a bundle into the user's folder."""
    bundle = import_bundle(options.path)
    print(f"Imported {bundle.id} into {bundle.folder}")
    print(f"Use it with: contrastsynth run {bundle.method} --weights {bundle.id} ...")


def _as_dict(bundle: Bundle) -> dict[str, Any]:
    return {
        "id": bundle.id,
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "method": bundle.method,
        "shipped": bundle.shipped,
        "trained_on_virtual_patients": bundle.trained_on_virtual_patients,
        "bytes": (bundle.folder / MODEL).stat().st_size,
        "card": dict(bundle.metadata),
    }


def _as_line(bundle: Bundle) -> str:
    origin = "shipped" if bundle.shipped else "imported"
    line = f"{bundle.id:<32}  for {bundle.method:<20}  {origin:<8}  {bundle.trained_on}"
    return line.rstrip()
