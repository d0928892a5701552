"""Lesion by lesion: its size, how well it shows without the agent, and what a row makes of it.

Lesions are those of virtual patients, as far as they enhance. Of real scans, whose lesions are not
outlined, they are the connected regions that enhance, but for the largest of each case, which is
mostly vessels and dura.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, find_objects

from ContrastSynthLib.analysis.enhancement import DEFAULT_MINIMUM_OVERLAP
from ContrastSynthLib.analysis.regions import Box, connected
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import BoolArray, FloatArray
from evaluation.cases import Scans
from evaluation.enhance import LEAST_LESION_MM3
from evaluation.task import Rise, Task

HEADINGS = {"lesion_found": "lesions found, share ↑", "lesion_error": "error in lesions ↓"}
NOTE = """\
Found: a tenth of a lesion or more enhances, in the synthetic difference too, by more than 0.1.
Error: mean absolute error in the lesion over its mean rise. Its contrast without the agent: mean in
it less mean in the 3 voxels around it, in standard deviations of the brain, of the scan that shows
it best."""
RIM_VOXELS = 3
CONNECTIVITY = 26
SHARE_OF_LABEL = 0.5
"""Of a virtual lesion that must enhance; of the others parts are measured that do not show."""


@dataclass(frozen=True)
class Lesion:
    """A lesion: its voxels within a box (k, j, i), and what is known of it before any row."""

    box: Box
    voxels: BoolArray
    volume_ml: float
    contrast: float

    def measure(self, true: FloatArray, made: FloatArray) -> dict[str, float]:
        """Return HEADINGS of the rise that a row makes, beside the true one, both (k, j, i)."""
        rise, synthetic = (image[self.box][self.voxels] for image in (true, made))
        found = np.mean(synthetic > UPTAKE_THRESHOLD) >= DEFAULT_MINIMUM_OVERLAP
        error = np.abs(synthetic - rise).mean() / rise.mean()
        return {"lesion_found": float(found), "lesion_error": float(error)}


def lesions_of(task: Task, scans: Scans, rise: FloatArray) -> list[Lesion]:
    """Return the lesions of a case that enhance; ``rise`` is the true one (k, j, i)."""
    enhancing = scans.brain & (rise > UPTAKE_THRESHOLD)
    labels = scans.truth.get("lesion")
    if labels is None:
        least = LEAST_LESION_MM3 / (1000 * scans["pre"].grid.voxel_volume_ml)
        regions, _ = connected(enhancing, least, CONNECTIVITY)
        regions = sorted(regions, key=lambda region: region[1].sum())[:-1]
    else:
        boxes = enumerate(find_objects(labels.astype(int)), start=1)
        labelled = ((box, labels[box] == number) for number, box in boxes if box is not None)
        regions = [
            (box, inside)
            for box, inside in labelled
            if enhancing[box][inside].mean() >= SHARE_OF_LABEL
        ]
    shown = [_in_deviations(scans, role) for role in _seen(task, scans)]
    return [_lesion(scans, shown, box, voxels) for box, voxels in regions]


def rise_of(task: Task, scans: Scans) -> Rise:
    """Return how a case rises with the agent.

    Raises RequestError for a task without lesions.
    """
    if task.rise is None:
        raise RequestError(
            f"Lesions are not measured of the task '{task.name}'. Take a table of what is made "
            "without the agent, such as sphere_2 or enhance."
        )
    return task.rise(scans)


def _seen(task: Task, scans: Scans) -> list[str]:
    """Return the roles of what a row is given."""
    roles = ("post",) if task.output == "pre" else ("pre", *task.others)
    return [role for role in roles if role in scans.scans]


def _in_deviations(scans: Scans, role: str) -> FloatArray:
    """Return a scan (k, j, i) in standard deviations of the brain."""
    image = scans[role].array
    deviation = float(image[scans.brain].std())
    return np.asarray(image / deviation if deviation else image * 0.0, dtype=np.float32)


def _lesion(scans: Scans, shown: Sequence[FloatArray], box: Box, voxels: BoolArray) -> Lesion:
    """Return a lesion with its volume and its contrast in the scan that shows it best."""
    wide = tuple(
        slice(max(axis.start - RIM_VOXELS, 0), min(axis.stop + RIM_VOXELS, size))
        for axis, size in zip(box, scans.brain.shape, strict=True)
    )
    inside = np.zeros([axis.stop - axis.start for axis in wide], bool)
    at = tuple(slice(a.start - w.start, a.stop - w.start) for a, w in zip(box, wide, strict=True))
    inside[at] = voxels
    rim = binary_dilation(inside, iterations=RIM_VOXELS) & ~inside & scans.brain[wide]
    contrasts = [
        abs(float(image[wide][inside].mean() - image[wide][rim].mean()))
        for image in shown
        if rim.any()
    ]
    volume_ml = int(voxels.sum()) * scans["pre"].grid.voxel_volume_ml
    return Lesion(box, voxels, volume_ml, max(contrasts, default=0.0))
