"""From the post- to the pre-contrast scan, measured in the contrast and shading of the post scan.

Two scans of a session differ by gain, shading and often by sequence, which no method can know.
The result is therefore compared with the real pre scan in the post scan's contrast
(``data/matched.py``), of virtual patients with the post scan as it would be without agent. All
scans are in means of the post scan's brain; its outermost voxels are not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from data.matched import match_to_post, range_of
from data.real_pairs import largest_part
from numpy.typing import NDArray
from scipy import ndimage

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import TARGET, UNENHANCED, Scans
from evaluation.gains import fallen, gains
from evaluation.post_to_pre import POST_TO_PRE
from evaluation.task import KEPT, Measures, Outputs, Rise, Task
from evaluation.uncertainty import MEASURES as OF_UNCERTAINTY
from evaluation.uncertainty import RANKINGS, measure_uncertainty

HEADINGS = {
    "share": "share of reachable ↑",
    "left": "error left ↓",
    "out": "change outside ↓",
    "lost": "lost ↓",
    "lost_elsewhere": "lost elsewhere ↓",
    **{name: RANKINGS.get(name, name) for name in OF_UNCERTAINTY},
}
NOTE = """\
Compared with the real pre scan in the contrast and shading of the post scan, of virtual patients
with the post scan without agent. The range r is the target's 99.9th percentile in the brain; uptake
is where post exceeds the target by more than 0.1 r. Share: the gain in PSNR over taking post for
pre, of that of an oracle, the target inside the uptake and post outside. Error left: mean absolute
error inside the uptake, relative to taking post for pre. Change outside: mean absolute change
outside the uptake, in r. Lost: share of the brain that falls by more than 0.1 r where a row is
given the target, a scan without agent. Lost elsewhere: share of the brain outside the uptake of the
post scan that falls as much. Error in the most uncertain tenth: share of the absolute error that
lies in the tenth of the brain with the highest uncertainty; beside it that of a ranking by the
error itself and by the brightness of the post scan. Chance gives 0.1."""


@dataclass(frozen=True)
class Compared:
    """What a result is compared with: arrays (k, j, i), in means of the post scan's brain.

    ``brain`` is its largest part, ``inside`` the same without the outermost voxels; ``span`` is
    the range r, ``unit`` the mean of the brain in the unit of the post scan.
    """

    post: FloatArray
    target: FloatArray
    brain: BoolArray
    inside: BoolArray
    span: float
    unit: float

    @classmethod
    def of(cls, scans: Scans) -> Compared:
        """Return what the results of a case with its TARGET are compared with."""
        brain = _largest(scans.brain)
        inside = np.asarray(ndimage.binary_erosion(brain))
        unit = mean_of(scans["post"], brain)
        post, target = (in_means(scans[role], unit) for role in ("post", TARGET))
        return cls(post, target, brain, inside, range_of(target, inside), unit)

    @property
    def uptake(self) -> BoolArray:
        """Where post exceeds the target by more than 0.1 r."""
        return self.inside & (self.post - self.target > UPTAKE_THRESHOLD * self.span)


def in_means(volume: Volume, unit: float) -> FloatArray:
    """Return a scan (k, j, i) divided by ``unit`` and clipped at 0."""
    return np.asarray(np.maximum(volume.array, 0) / unit, dtype=np.float32)


def mean_of(post: Volume, brain: BoolArray) -> float:
    """Return the mean of a scan in the brain, values below 0 taken for 0."""
    return float(np.maximum(post.array[brain], 0).mean(dtype=np.float64))


def _largest(brain: BoolArray) -> BoolArray:
    try:
        return largest_part(brain)
    except ValueError as error:
        raise RequestError(f"The case cannot be measured. {error}") from None


def with_target(scans: Scans) -> Scans:
    """Return the case with its TARGET, in the unit of the post scan and 0 outside of the brain.

    Raises RequestError where the scans cannot be matched.
    """
    post, brain = scans["post"], _largest(scans.brain)
    if UNENHANCED in scans.truth:
        target = scans.truth[UNENHANCED]
    else:
        target = matched_target(scans["pre"], post, brain)
    return scans.with_scan(TARGET, post.with_array(np.where(brain, target, 0)))


def matched_target(pre: Volume, post: Volume, brain: BoolArray) -> NDArray[np.float32]:
    """Return the pre scan in the contrast of the post scan, in its unit: (k, j, i), in the box of
    the brain."""
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    unit = mean_of(post, brain)
    before = np.maximum(pre.array[box], np.float32(0))
    try:
        found = match_to_post(
            before, in_means(post, unit)[box], brain[box], post.grid.spacing_mm[::-1]
        )
    except ValueError as error:
        raise RequestError(str(error)) from None
    target = np.zeros(brain.shape, np.float32)
    target[box] = found.target * unit
    return target


def without_agent(scans: Scans) -> Scans:
    """Return the case with the target in place of the post scan."""
    return scans.with_scan("post", scans[TARGET])


def uptake_of(scans: Scans) -> BoolArray:
    """Return where the agent went, (k, j, i)."""
    return Compared.of(scans).uptake


def rise(scans: Scans) -> Rise:
    """Return how a case rises with the agent, in 99.9th percentiles of the target."""
    case = Compared.of(scans)

    def rise_with(outputs: Outputs) -> FloatArray:
        before = in_means(outputs["pre"], case.unit) if "pre" in outputs else case.target
        return np.asarray((case.post - before) / case.span, dtype=np.float32)

    return rise_with


def measure(scans: Scans, outputs: Outputs, brain: BoolArray) -> Measures:
    """Return the measures of HEADINGS inside ``brain`` (k, j, i).

    ``outputs`` are ``pre``, in the unit of the post scan, and perhaps ``uncertainty``, in means of
    the brain, and KEPT. Without ``pre`` it is the target in the uptake and post outside.
    """
    case = Compared.of(scans)
    where, up = case.inside & brain, case.uptake & brain
    if not where.any():
        raise RequestError("There is no brain to measure in.")
    oracle = np.where(case.uptake, case.target, case.post)
    made = in_means(outputs["pre"], case.unit) if "pre" in outputs else oracle
    kept = in_means(outputs[KEPT], case.unit) if KEPT in outputs else None
    uncertainty = outputs["uncertainty"].array[where] if "uncertainty" in outputs else None
    error = np.abs(made - case.target)
    return {
        **gains(case.post, case.target, made, where, up, case.span),
        "lost": None if kept is None else fallen(case.target, kept, where, case.span),
        "lost_elsewhere": fallen(case.post, made, where & ~up, case.span),
        **measure_uncertainty(error[where], uncertainty, case.post[where]),
    }


MATCHED_PAIRS = Task(
    name=POST_TO_PRE.name,
    output=POST_TO_PRE.output,
    # The second scan has a unit of its own.
    built_in={n: row for n, row in POST_TO_PRE.built_in.items() if n != "second_scan"},
    measure=measure,
    headings=HEADINGS,
    uptake=uptake_of,
    with_noise=POST_TO_PRE.with_noise,
    note=NOTE,
    prepare=with_target,
    without_agent=without_agent,
    rise=rise,
)
