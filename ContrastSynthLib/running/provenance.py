"""What made a result: enough to make it again, and nothing that tells who the patient is."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ContrastSynthLib import __version__
from ContrastSynthLib.registry.declaration import Method
from ContrastSynthLib.registry.parameters import Resolved
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import Bundle

SCHEMA_VERSION = 3
PACKAGES = ("numpy", "scipy", "SimpleITK", "scikit-image", "pydicom", "torch", "monai")


def software() -> dict[str, str | None]:
    """Return the versions of what computes; None for a package that is not installed."""
    found: dict[str, str | None] = {
        "contrastsynth": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def threads() -> dict[str, int]:
    """Return the thread counts on which bits may depend."""
    import SimpleITK as sitk

    counts = {"simpleitk": sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()}
    counts["processors"] = os.cpu_count() or 1
    if "torch" in sys.modules:
        counts["torch"] = sys.modules["torch"].get_num_threads()
    return counts


def memory() -> dict[str, int | None]:
    """Return the most memory that this process had so far, and on a GPU; None where unknown."""
    used: dict[str, int | None] = {"process_bytes": _most_resident_bytes(), "gpu_bytes": None}
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        used["gpu_bytes"] = int(sys.modules["torch"].cuda.max_memory_reserved())
    return used


def _most_resident_bytes() -> int | None:
    # Linux' getrusage counts the parent too, from which the process was forked.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def describe_inputs(inputs: Mapping[str, Sequence[Volume]]) -> dict[str, list[dict[str, Any]]]:
    """Return hash, grid and acquisition of the volumes of each role; never a name or a path."""
    return {
        role: [
            {
                "sha256": volume.sha256(),
                "grid": asdict(volume.grid),
                "acquisition": volume.acquisition.known(),
                # Not the mark itself: somebody else's may be any text.
                "synthetic": volume.synthetic is not None,
            }
            for volume in volumes
        ]
        for role, volumes in inputs.items()
    }


def describe_run(
    method: Method, resolved: Resolved, bundles: Mapping[str, Bundle], device: str, seed: int
) -> dict[str, Any]:
    """Return what was asked for: method, parameters with their sources, weights, the machine.

    ``bundles`` are the weights by the name of their network.
    """
    values = asdict(resolved.values)
    return {
        "schema_version": SCHEMA_VERSION,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "synthetic": True,
        "intended_use": method.intended_use,
        "method": {"key": method.key, "title": method.title, "citation": method.citation},
        "parameters": {
            name: {"value": value, "source": resolved.sources[name]}
            for name, value in values.items()
        },
        "weights": [
            {"network": name} | describe_weights(bundle) for name, bundle in bundles.items()
        ],
        "seed": seed,
        "device": device,
        "threads": threads(),
        "software": software(),
    }


def describe_weights(weights: Bundle) -> dict[str, Any]:
    """Return what tells the weights from all others, and their model card."""
    return {"id": weights.id, "sha256": weights.sha256, "card": dict(weights.metadata)}
