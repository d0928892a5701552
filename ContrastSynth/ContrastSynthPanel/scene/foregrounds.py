"""The patient's voxels in scans, and what is said of several nodes: their names and marks."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.preprocessing.foreground import Foreground, foreground
from ContrastSynthLib.volumes import Volume


def distinct_names(nodes: dict[str, Any]) -> dict[str, str]:
    """Return a name for each role; the role is added where two nodes have the same name."""
    names = [node.GetName() for node in nodes.values()]
    return {
        role: name if names.count(name) == 1 else f"{name} ({role})"
        for role, name in zip(nodes, names, strict=True)
    }


def brain_of(volumes: list[Volume], mask: Volume | None = None) -> Foreground:
    """Return the patient's voxels; MissingError where finding a head needs what is not there."""
    try:
        return foreground(volumes, mask)
    except ModuleNotFoundError as error:
        text = _(
            "The scans are not skull-stripped, and the outline of a head is found with the Python "
            "package scikit-image, which is not installed ({error}). Install it, skull-strip the "
            "scans, or choose a mask of the brain or breast."
        )
        raise MissingError(text.format(error=error)) from None


def marked(mark: str, source: str | None) -> str:
    """Return the mark of what was computed, with that of the synthetic volume it is from."""
    return f"{mark}; from a synthetic volume: {source}" if source else mark
