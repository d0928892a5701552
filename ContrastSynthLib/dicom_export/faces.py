"""Whether a face can be seen in the outputs: in their voxels, whatever their headers say."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.preprocessing.foreground import is_whole_head
from ContrastSynthLib.registry.volumes import IMAGE
from ContrastSynthLib.running.stored_result import StoredOutput
from ContrastSynthLib.volumes import BoolArray, Volume

BESIDE_SHARE = 0.1
"""A map of which more lies outside of the brain may show a face. Interpolation at its rim is a few
percent."""


def shows_a_face(outputs: Iterable[StoredOutput], template: Template) -> bool:
    """Return whether the outputs show more of the head than a skull-stripped brain.

    A network may have made all tissue alike, and the outline alone is a face. So it is also asked
    of the scan itself, where an image shows anything: is that a brain? Maps and labels may have any
    shape, and are judged by whether they lie within the images, or without any, within the scan.
    """
    images: list[Volume] = []
    others: list[Volume] = []
    for output in outputs:
        of_its_kind = images if output.described.get("kind") == IMAGE else others
        of_its_kind += [template.onto(volume, output.name) for volume in output.volumes]
    shown = images or [template.volume]
    if any(is_whole_head(volume) or is_whole_head(_under(volume, template)) for volume in shown):
        return True
    brain = np.logical_or.reduce([_there(volume) for volume in shown])
    return any(_reaches_beyond(volume, brain) for volume in others)


def _under(volume: Volume, template: Template) -> Volume:
    """Return the scan itself where a volume shows anything."""
    return volume.with_array(np.where(_there(volume), template.volume.array, 0))


def _there(volume: Volume) -> BoolArray:
    return np.asarray(volume.array != 0)


def _reaches_beyond(volume: Volume, brain: BoolArray) -> bool:
    there = _there(volume)
    return bool((there & ~brain).sum() > BESIDE_SHARE * there.sum())
