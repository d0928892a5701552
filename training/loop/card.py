"""The bundle that a training leaves: weights, and the model card that says how they were made."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from data.prepared_cases import holds_pairs
from torch import nn

from ContrastSynthLib import __version__
from ContrastSynthLib.resources import resource
from ContrastSynthLib.weights.bundles import Bundle
from ContrastSynthLib.weights.storage import save_bundle
from loop.clock import Clock


def write_bundle(
    arguments: argparse.Namespace,
    network: nn.Module,
    card: Mapping[str, Any],
    clock: Clock,
    device: torch.device,
    name: str = "bundle",
) -> None:
    """Write a network to ``OUT/name``; ``card`` is the part of the model card that its script
    knows."""
    pairs = holds_pairs(arguments.data)
    metadata = {
        "version": "1.0",
        "oldest_library_version": "0.1.0",
        "metrics": {},
        "licence": "Apache-2.0",
        "trained_on_virtual_patients": not pairs or arguments.fine_tune is not None,
        **card,
        "training": {
            "data": "pairs of scans" if pairs else "virtual brains",
            "data_licence": "that of the pairs, not ours to state" if pairs else "Apache-2.0",
            **card.get("training", {}),
            **training_record(arguments, clock, device),
        },
    }
    folder = arguments.out / name
    save_bundle(folder, network.state_dict(), metadata, licence_of_weights(), replace=True)


def training_record(
    arguments: argparse.Namespace, clock: Clock, device: torch.device
) -> dict[str, Any]:
    """Return how weights were made, for their model card."""
    return {
        "command": f"python training/{' '.join(map(_without_folders, sys.argv))}",
        "commit": _commit(),
        "library_version": __version__,
        "seed": arguments.seed,
        "steps": clock.step,
        "hours": round(clock.seconds / 3600, 2),
        "hours_of": "CPU cores" if device.type == "cpu" else "GPU",
        "hardware": _hardware(device),
        "options": {name: _without_folders(value) for name, value in vars(arguments).items()},
    }


def parent_record(bundle: Bundle) -> dict[str, Any]:
    """Return which weights a training went on from, and how they were made, for the model card."""
    return {"id": bundle.id, "sha256": bundle.sha256, **bundle.metadata["training"]}


def licence_of_weights() -> str:
    """Return the text of the licence of weights."""
    folder = resource("Citations.json").parents[1]
    return (folder / "LICENSE").read_text(encoding="utf-8")


def _without_folders(value: Any) -> Any:
    """Return a path as its last name: a card says how weights were made, not where."""
    if not isinstance(value, Path) and "/" not in str(value):
        return value
    text = str(value)
    option, equals, path = text.partition("=") if text.startswith("--") else ("", "", text)
    return f"{option}{equals}{Path(path).name}"


def _commit() -> str:
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"
