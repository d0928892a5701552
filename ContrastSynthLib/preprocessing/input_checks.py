"""Checks of a pre- and a post-contrast scan before a method runs: right order, agent, alignment.

Contrast agent makes some tissue much brighter and hardly any darker. So, after correction for
the gain and averaging of the noise, nearly all voxels that changed are brighter in the post
scan. If the two are swapped, nearly all are darker; without agent, none changes; if the scans
are not aligned, about as many are darker as brighter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage as ndi

from ContrastSynthLib.physics.constants import MAD_TO_DEVIATION
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import BoolArray, Volume

# The difference is averaged over a cube of this width. This keeps uptake, which is larger than a
# voxel, and reduces noise and the bright and dark rims of a small misalignment.
CUBE_VOXELS = 3

# A voxel has changed when its difference exceeds this many standard deviations of the noise, and
# this share of the median signal, below which a difference is not visible.
DEVIATIONS = 4.0
SMALLEST_CHANGE = 0.01

# Smallest share of voxels that became brighter, or darker, to be a change. Noise gives 0.0002.
FEWEST_CHANGED = 1e-3

# Limit of the balance of a correct pair. Real pairs have 0.97 to 0.99, swapped ones the negative
# of that; scans with motion in between, and whole heads with scalp, -0.3 to 0.1.
ONE_SIDED = 0.5

USUAL_GAIN = (0.25, 4.0)


@dataclass(frozen=True)
class Change:
    """Shares of voxels that are brighter and darker in the post scan, and their balance.

    ``balance`` is (rise - fall) / (rise + fall) of the summed changes, -1 to 1; 0 without changes.
    """

    brighter: float
    darker: float
    balance: float


def warnings_for_pair(pre: Volume, post: Volume, mask: BoolArray) -> list[str]:
    """Return warnings, as sentences, about a pair of scans on one grid; empty when all is well.

    ``mask`` is the brain or breast, shape (k, j, i). The warnings are about swapped scans, missing
    uptake, other differences than uptake, and an unusual gain between the scans.

    Tested on real and virtual pairs with the enhancement scaled to a dose and noise added to both
    scans. The warnings were right up to noise of 3/10 of the median signal at a third of the
    dose, 1/10 at a tenth and 1/30 at a twentieth. With more noise, uptake is reported as
    missing; a correct pair was never reported as swapped.
    """
    inside = mask & (pre.array > 0) & (post.array > 0)
    if not inside.any():
        return ["Pre and post have no voxel in common that is above 0: are they of one patient?"]
    gain = radiometric_gain(pre.array, post.array, inside)
    change = change_of_signal(pre, post, inside, gain)
    found = []
    if max(change.brighter, change.darker) < FEWEST_CHANGED:
        found.append(
            "No uptake stands out between pre and post. Was the post scan made after the agent was "
            "given, and the pre scan before?"
        )
    elif change.balance < -ONE_SIDED:
        found.append(
            "Pre and post look swapped: the tissue that differs is darker in the post scan. Check "
            "which file is which."
        )
    elif change.balance < ONE_SIDED:
        found.append(
            "Pre and post differ by more than uptake: about as much tissue is darker in the post "
            "scan as is brighter. Are the two aligned (--align rigid), and does the mask cover the "
            "brain or breast only (--in mask=FILE)?"
        )
    if not USUAL_GAIN[0] <= gain <= USUAL_GAIN[1]:
        found.append(
            f"The post scan is {gain:.3g} times as bright as the pre scan in tissue without "
            "uptake. Were both exported from one session without rescaling?"
        )
    return found


def change_of_signal(pre: Volume, post: Volume, inside: BoolArray, gain: float) -> Change:
    """Return how much of the difference post / gain - pre is positive and how much is negative.

    ``inside`` (k, j, i) marks the voxels that are above 0 in both scans, at least one.
    """
    difference = np.where(inside, post.array / np.float32(gain) - pre.array, np.float32(0))
    cube = [min(CUBE_VOXELS, length) for length in inside.shape]
    total = ndi.uniform_filter(difference, cube, mode="constant")[inside]
    filled = ndi.uniform_filter(inside.astype(np.float32), cube, mode="constant")[inside]
    # Divided by the root of the number of voxels: the noise is then the same at the brain's edge.
    smooth = total / np.sqrt(filled)
    # Agent changes only one sign; the noise is estimated from the other one.
    sides = [side[side >= 0] for side in (smooth, -smooth)]
    deviation = MAD_TO_DEVIATION * min(
        float(np.median(side)) if side.size else 0.0 for side in sides
    )
    smallest = SMALLEST_CHANGE * float(np.median(pre.array[inside]))
    threshold = max(DEVIATIONS * deviation, smallest)
    rise = np.maximum(smooth - threshold, 0)
    fall = np.maximum(-smooth - threshold, 0)
    up, down = float(rise.sum(dtype=np.float64)), float(fall.sum(dtype=np.float64))
    return Change(
        brighter=float((rise > 0).mean()),
        darker=float((fall > 0).mean()),
        balance=(up - down) / (up + down) if up + down > 0 else 0.0,
    )
