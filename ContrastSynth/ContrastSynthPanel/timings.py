"""What a run is expected to take, and what the last runs took, which Slicer's settings keep."""

from __future__ import annotations

import json
from typing import Any

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import Method
from ContrastSynthLib.running.estimate import estimate, remembered
from ContrastSynthPanel.scene import bridge

Node = Any  # of MRML
SETTING = "ContrastSynth/Timings"  # users' settings hold this name: it is never changed


def expected(method: Method, values: Any, reference: Node, device: str) -> str:
    """Return how long a run with this reference node takes, as far as it is known."""
    try:
        voxels = voxels_of(reference)
    except RequestError:  # no volume, or none that could be run
        return ""
    found = estimate(method, values, voxels, device, known_timings())
    if found is None:
        return ""
    memory = [_("{size} of memory").format(size=size_text(found.bytes))] if found.bytes else []
    if found.gpu_bytes:
        memory.append(_("{size} on the GPU").format(size=size_text(found.gpu_bytes)))
    elif found.gpu_share:
        share = f"{100 * found.gpu_share:.0f} %"
        memory.append(_("at most {share} of the free GPU memory").format(share=share))
    parts = ", ".join([time_text(found.seconds), *memory])
    if found.from_last_run:
        return _("A run takes about {parts} (from your last run).").format(parts=parts)
    where = _("measured on one core of a CPU")
    if method.needs_torch:
        where += "; " + _("more cores or a GPU are faster")
    if not found.same_parameters:
        where += "; " + _("with other parameters")
    return _("A run takes about {parts} ({where}).").format(parts=parts, where=where)


def remember(method: Method, provenance: dict) -> None:
    """Keep how long a run took, from its provenance."""
    try:
        kept = remembered(known_timings(), method, provenance)
    except (ValueError, KeyError, TypeError):
        return  # a worker of another version: there is nothing to learn from it
    qt.QSettings().setValue(SETTING, json.dumps(kept))


def known_timings() -> list:
    """Return what was remembered of earlier runs; nothing where that cannot be read."""
    try:
        kept = json.loads(str(qt.QSettings().value(SETTING) or "[]"))
        return [entry for entry in kept if entry.keys() >= {"method", "voxels", "seconds"}]
    except (ValueError, AttributeError, TypeError):
        return []


def voxels_of(node: Node) -> int:
    """Return how many voxels a volume, or the first of a series, has. Raises RequestError."""
    columns, rows, slices = bridge.world_grid(bridge.volume_of_sequence(node)).size
    return columns * rows * slices


def time_text(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 60:
        return _("{count} s").format(count=max(1, round(seconds)))
    if seconds < 3600:
        return _("{count} min").format(count=round(seconds / 60))
    return _("{count} h").format(count=f"{seconds / 3600:.1f}")


def size_text(count: float) -> str:
    """Return an amount of memory as a person says it."""
    if count < 1e9:
        return _("{count} MB").format(count=round(count / 1e7) * 10)
    return _("{count} GB").format(count=f"{count / 1e9:.1f}")
