"""A label map as one mask for each of its labels, with the names that Slicer gave them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import READERS, file_suffix, read_any_volume, read_header
from ContrastSynthLib.files.selection import split_selection
from ContrastSynthLib.volumes import Volume

MOST_LABELS = 1000
SEGMENT_KEY = re.compile(r"Segment(\d+)_LabelValue")
"""Key of Slicer's segmentations: the label of a segment, whose name stands in another key."""


def read_labels(path: str | Path) -> dict[str, Volume]:
    """Return the mask of each label of a label map, by its name.

    A label is named as its segment in a segmentation of Slicer (`.seg.nrrd`), else ``label 1``.
    Raises RequestError as :func:`read_any_volume` does, for values that are no labels, and where
    there is none.
    """
    plain, _ = split_selection(path)
    volume = read_any_volume(path, mask=True)
    labels = np.unique(volume.array[volume.array > 0])
    if labels.size == 0:
        raise RequestError(f"{plain}: the mask is empty, no voxel is above 0. Draw the regions.")
    if labels.size > MOST_LABELS or (labels != np.round(labels)).any():
        raise RequestError(
            f"{plain}: {labels.size} different values above 0. Expected a label map: whole "
            f"numbers, at most {MOST_LABELS}."
        )
    names = _names(plain)
    found: dict[str, Volume] = {}
    for label in labels.astype(int).tolist():
        name = names.get(label) or f"label {label}"
        name = f"{name} (label {label})" if name in found else name
        found[name] = replace(volume, array=(volume.array == label).astype(np.float32))
    return found


def _names(path: Path) -> Mapping[int, str]:
    """Return the names of the labels that the header of a file tells."""
    if not path.is_file() or file_suffix(path) not in READERS:
        return {}
    keys = read_header(path).keys
    found = {}
    for key, value in keys.items():
        segment = SEGMENT_KEY.fullmatch(key)
        if segment and value.strip().isdigit():
            name = keys.get(f"Segment{segment[1]}_Name", "")
            found[int(value)] = "".join(c for c in name if c.isprintable()).strip()
    return found
